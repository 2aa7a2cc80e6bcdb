"""The command `measure sweep`: layers against reads."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from measure.commands import ways
from measure.commands.common import add_command, save, say
from measure.commands.measuring import READ, add_pairs, layers_of, model_of, pairs_of
from measure.results import metrics
from measure.spec import MeasureError, check_choice

if TYPE_CHECKING:
    from measure.api.sweeps import Sweep

_TEXT = (
    "Measure curves after several layers with several reads, and draw the median of a metric, layers against reads. "
    "Every block behind the patch is read from one run."
)
_EXAMPLE = (
    'measure sweep ladder-olmo-1.1m " The house was very" " The house was in" --save sweep.png\n'
    "  measure sweep smollm2-135m-instruct --pairs-from printed --layer 1 7 --metric max_slope --save sweep.csv"
)


def add(commands: Any, pairs_from: bool) -> None:
    """The command; `pairs_from` says whether it takes a file in place of two prompts."""
    command = add_command(commands, "sweep", run, _TEXT, _EXAMPLE)
    add_pairs(command, pairs_from)
    command.add_argument("--read", default="all", metavar="READ,...", help=f"{READ}; or all (default all)")
    command.add_argument(
        "--layer", default="all", metavar="N ...", help="blocks before the patch, from 1 (default all)"
    )
    command.add_argument("--steps", type=int, default=50, help="points of a curve (default 50)")
    command.add_argument(
        "--metric", default="edge_speed", metavar="NAME", help=f"{', '.join(metrics.NAMES)} (default edge_speed)"
    )


def run(options: argparse.Namespace) -> int:
    """Measure, print and keep a sweep."""
    from measure.api import sweeps
    from measure.prompts import tables

    tables.check_names(options.save, source=options.pairs_from)
    _check(options)
    sides, labels = pairs_of(options)
    found = _measured(options, model_of(options), layers_of(options.layer), sides)
    say(*found.lines(options.metric))
    save(options.save, lambda name: sweeps.write(found, name, options.metric, labels))
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raise `MeasureError` for what could not be shown once all is measured."""
    check_choice("metric", options.metric, metrics.NAMES)
    numbers = [name for name in options.save if name.lower().endswith(".npz")]
    if numbers:
        raise MeasureError(
            f"--save {numbers[0]!r}: a sweep is kept as a table (.csv, .parquet, .json) or a figure; from Python each "
            "of its curves can be saved."
        )


def _measured(options: argparse.Namespace, model: Any, layer: Any, prompts: tuple[Any, Any]) -> Sweep:
    """What the options ask for."""
    from measure.api.sweeps import sweep

    reads = options.read.split(",") if options.read else ["all"]
    return sweep(
        model,
        *prompts,
        layer=layer,
        read="all" if reads == ["all"] else reads[0] if len(reads) == 1 else reads,
        steps=options.steps,
        bos=options.bos,
        precision=options.precision,
        **ways.asked(options),
    )
