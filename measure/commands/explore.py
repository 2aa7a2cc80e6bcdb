"""The command `measure explore`, whose options and server are the explorer's own."""

from __future__ import annotations

from typing import Any

from measure.commands.common import add_command
from measure.explore import command as explorer


def add(commands: Any) -> None:
    """The command."""
    explorer.add_options(add_command(commands, "explore", explorer.run, explorer.TEXT, explorer.EXAMPLE))
