"""What every command is added with, and how it says what it found."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from measure.shown import shown
from measure.spec import MeasureError


def add_command(commands: Any, name: str, run: Any, text: str, example: str) -> argparse.ArgumentParser:
    """A new command, which `run` does with its options; its help is `text` and an example."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text,
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    return command


def say(*lines: object) -> None:
    """Write lines on stdout at once, their control characters shown."""
    for line in lines:
        print(shown(str(line)), flush=True)


def save(names: Sequence[str], write: Callable[[str], list[str]]) -> None:
    """Write files, each as its ending says, and say which were written."""
    for name in names:
        try:
            written = write(name)
        except OSError as error:
            raise MeasureError(f"--save {name}: {error}; give a file in a folder that can be written.") from error
        say(*(f"saved {place}" for place in written) if written else [f"not drawn: {name} (degenerate)"])
