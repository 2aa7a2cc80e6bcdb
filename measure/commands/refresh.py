"""The command `measure refresh`: baselines measured anew."""

from __future__ import annotations

import argparse
from typing import Any

from measure.commands.choosing import add_paths, paths_of
from measure.commands.common import add_command, say
from measure.spec import MeasureError


def add(commands: Any) -> None:
    """What the command takes."""
    command = add_command(
        commands,
        "refresh",
        run,
        "Measure baselines anew, past the store: writes what moved beyond tolerance or is new, deletes nothing.",
        "measure refresh -k qwen2 --dry-run",
    )
    add_paths(command)
    choice = command.add_mutually_exclusive_group()
    choice.add_argument("-k", dest="expression", metavar="EXPR", help="the tests to measure, as for pytest -k")
    choice.add_argument("--orphans", action="store_true", help="list baselines that no test has")
    choice.add_argument("--remove", nargs="+", metavar="FILE", help="delete these orphans")
    command.add_argument("--dry-run", action="store_true", help="show the table and write nothing")
    command.add_argument(
        "--rewrite",
        action="store_true",
        help="change the form alone: complete what lacks a metric, take the code's tolerance and format",
    )
    command.add_argument("--allow-pickle", action="store_true", help="load pickled weights if there are no safetensors")
    command.add_argument("--models", default="auto", help="as for pytest --models")


def run(options: argparse.Namespace) -> int:
    """Run it; returns the exit status."""
    from measure.harness import refresh

    paths = paths_of(options, "refresh")
    if options.orphans:
        found = refresh.orphans(paths)
        say(*found) if found else say("no orphans: every baseline has its test")
        return 0
    if options.remove:
        say(*(f"removed {path}" for path in refresh.remove_orphans(options.remove, paths)))
        return 0
    if options.expression is None and not options.rewrite:
        raise MeasureError("say which baselines: -k EXPR, as for pytest -k; or --orphans, --remove FILE, --rewrite.")
    chosen = ["--models", options.models, *(["--allow-pickle"] if options.allow_pickle else [])]
    lines, status = refresh.refresh(
        options.expression or "", paths=paths, dry=options.dry_run, rewrite=options.rewrite, arguments=chosen
    )
    say(*lines)
    return status
