"""The command `measure review`: each curve that drifted, accepted or not."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from measure.commands.choosing import last_run
from measure.commands.common import add_command, say


def add(commands: Any) -> None:
    """What the command takes."""
    command = add_command(
        commands,
        "review",
        run,
        "Look at each curve that was not its baseline in a run, and accept it, keep the baseline, or decide later; "
        "where there is no terminal, list them with the command that accepts each.",
        "measure review --save drifted",
    )
    command.add_argument(
        "records",
        nargs="?",
        type=Path,
        metavar="RUN",
        help="records of a run, or a folder of them (default reports/runs)",
    )
    command.add_argument("--save", type=Path, metavar="DIR", help="write a picture of each into this folder")
    command.add_argument("--again", action="store_true", help="ask again about those that were decided to stay")
    command.add_argument("--accept", nargs="+", metavar="TEST", help="accept the baselines of these tests, ask nothing")


def run(options: argparse.Namespace) -> int:
    """Run it; returns the exit status."""
    from measure.harness import review
    from measure.report import page, records

    given: Path = options.records or records.FOLDER
    path = last_run(given) if options.records is None or given.is_dir() else given
    with page.damage_told(str(path)):
        found = review.find(path, again=options.again)
        pictures = review.save(found, options.save) if options.save is not None else []
        told, listed = review.summary(found), list(review.listed(found))
    say(*(f"saved {place}" for place in pictures))
    if options.accept:
        return review.accept_named(found, options.accept, say)
    say(*told)
    if found.undecided and _is_a_terminal():
        return review.ask(found, say, _prompt, _typed)
    say(*listed)
    return review.status(found)


def _is_a_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty() and sys.stdout.isatty()


def _typed() -> str:
    """The next line of the terminal; "" where it is gone."""
    try:
        return sys.stdin.readline()
    except UnicodeDecodeError:
        return "?\n"
    except OSError:
        return ""


def _prompt(text: str) -> None:
    print(text, end="", flush=True)
