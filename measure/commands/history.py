"""The command `measure history`: how the claims stood, run after run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from measure.commands.common import add_command, say
from measure.shown import one_line
from measure.spec import MeasureError


def add(commands: Any) -> None:
    """What the command takes."""
    command = add_command(
        commands,
        "history",
        run,
        "Show how the claims stood in the last runs, and where one changed.",
        "measure history --cases -k training",
    )
    command.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="the history (default reports/history.jsonl)"
    )
    command.add_argument("--last", type=int, default=20, metavar="N", help="runs that are shown (default %(default)s)")
    command.add_argument("--cases", action="store_true", help="a line for each case, with its last verdict")
    command.add_argument("-k", dest="text", default="", metavar="TEXT", help="claims and cases with TEXT in their name")


def run(options: argparse.Namespace) -> int:
    """Run it; returns the exit status."""
    from measure.report import history

    if options.last < 1:
        raise MeasureError(f"--last {options.last}: give a number of runs from 1.")
    path = options.file or history.FILE
    found = history.read(path)
    if not found.entries:
        raise MeasureError(
            " ".join([*found.problems, f"{path} holds no runs; a run of the suites leaves a line for each case in it."])
        )
    told = history.lines(found, last=options.last, text=options.text, every=options.cases)
    say(*map(one_line, [*found.problems, *told]))
    return 0
