"""The command `measure plan`: what a run would take."""

from __future__ import annotations

import argparse
from typing import Any

from measure.commands.choosing import add_choice, paths_of, pytest_options
from measure.commands.common import add_command, say


def add(commands: Any) -> None:
    """What the command takes."""
    command = add_command(
        commands,
        "plan",
        run,
        "Tell what a run of the suites would fetch, run, take and need; downloads and measures nothing.",
        "measure plan -k olmo --models all",
    )
    add_choice(command)


def run(options: argparse.Namespace) -> int:
    """Run it; returns the exit status."""
    from measure.harness import plan

    collected = plan.collect(options.expression, pytest_options(options), paths=paths_of(options, "plan"))
    say(*plan.lines(plan.plan(collected), plan.corpora_to_fetch(collected)))
    return 0
