"""The command line, `measure models | curve | sweep | slice | ...`: reads it, and runs the command that it names."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from measure.base import signals
from measure.commands import (
    audit,
    compare,
    curve,
    fetch,
    history,
    ladder,
    models,
    plan,
    refresh,
    report,
    review,
    slices,
    sweep,
)
from measure.commands.common import add_command
from measure.explore import command as explorer
from measure.shown import shown
from measure.spec import MeasureError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    A mistake in the input, and what the machine denies, is one message on stderr and exit status 2; a signal is one
    line, and 130 or 143.
    """
    with signals.heard() as heard:
        try:
            options = parse(sys.argv[1:] if arguments is None else arguments)
            _say_on_stderr()
            status: int = options.run(options)
        except BrokenPipeError:
            # Whoever read has enough. Python would flush the rest at its end, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except BaseException as error:
            if heard.number is not None:
                return heard.ended()
            if (said := _in_a_sentence(error)) is None:
                raise
            print(f"measure: {said}", file=sys.stderr)
            return 2
        return status


def _in_a_sentence(error: BaseException) -> str | None:
    """What to say of a mistake, or of what the machine denies; None for a defect, which is told whole."""
    if isinstance(error, MeasureError):
        return str(error)
    if isinstance(error, MemoryError):
        return "the machine has no memory left; end what else uses it, or take a larger one."
    if isinstance(error, OSError) and error.errno is not None:
        where = shown(str(error.filename)[:200]) if error.filename else "a file"
        return f"{where} cannot be read or written ({error.strerror}); make room or mend it, or name another."
    return None


class _Parser(argparse.ArgumentParser):
    """Whose messages hold no control characters of the arguments."""

    def error(self, message: str) -> NoReturn:
        super().error(shown(message))


def _with_layers_joined(given: Sequence[str]) -> list[str]:
    """`--layer 1 7` as one argument, so that a model and prompts may follow it."""
    found: list[str] = []
    for one in given:
        behind = found[-2:-1] == ["--layer"] and re.fullmatch(r"[\d,]+", found[-1]) and re.fullmatch(r"\d+", one)
        if behind:
            found[-1] += f",{one}"
        else:
            found.append(one)
    return found


class _OnStderr(logging.Handler):
    """Writes where stderr is now, names of models and files as they can be shown."""

    def emit(self, record: logging.LogRecord) -> None:
        print(shown(f"measure: {self.format(record)}"), file=sys.stderr)


def _say_on_stderr() -> None:
    """What takes long says so, apart from the results."""
    log = logging.getLogger("measure")
    if not any(isinstance(handler, _OnStderr) for handler in log.handlers):
        log.addHandler(_OnStderr())
        log.setLevel(logging.INFO)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command and its options; ends the process with status 2 where they are none."""
    given = _with_layers_joined(arguments)
    # Until Python 3.13 an optional positional that stands behind an option is not seen: so they are asked for or not.
    return _parser(pairs_from=any(one.startswith("--pairs-f") for one in given)).parse_args(given)


def _parser(*, pairs_from: bool = False) -> argparse.ArgumentParser:
    parser = _Parser("measure", description="Measure stable regions in the residual stream.")
    names = (
        "models | curve | sweep | slice | explore | compare | audit | plan | fetch | report | history | review"
        " | refresh | ladder"
    )
    commands = parser.add_subparsers(required=True, metavar=names)
    models.add(commands)
    curve.add(commands, pairs_from)
    sweep.add(commands, pairs_from)
    slices.add(commands)
    explorer.add_options(add_command(commands, "explore", explorer.run, explorer.TEXT, explorer.EXAMPLE))
    compare.add(commands)
    audit.add(commands)
    plan.add(commands)
    fetch.add(commands)
    report.add(commands)
    history.add(commands)
    review.add(commands)
    refresh.add(commands)
    ladder.add(commands)
    return parser
