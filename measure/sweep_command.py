"""The command `measure sweep`: its options, and what it prints and writes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from measure import metrics, ways
from measure.spec import MeasureError, check_choice

if TYPE_CHECKING:
    from measure.sweeps import Sweep

TEXT = (
    "Measure curves after several layers with several reads, and draw the median of a metric, layers against reads. "
    "Every block behind the patch is read from one run."
)
EXAMPLE = (
    'measure sweep ladder-olmo-1.1m " The house was very" " The house was in" --save sweep.png\n'
    "  measure sweep smollm2-135m-instruct --pairs-from printed --layer 1 7 --metric max_slope --save sweep.csv"
)


def add_options(command: argparse.ArgumentParser) -> None:
    """What `measure sweep` takes beside what the measuring commands share."""
    command.add_argument(
        "--layer", default="all", metavar="N ...", help="blocks before the patch, from 1 (default all)"
    )
    command.add_argument("--steps", type=int, default=50, help="points of a curve (default 50)")
    command.add_argument(
        "--metric", default="edge_speed", metavar="NAME", help=f"{', '.join(metrics.NAMES)} (default edge_speed)"
    )


def check(options: argparse.Namespace) -> None:
    """Raise `MeasureError` for what could not be shown once all is measured."""
    check_choice("metric", options.metric, metrics.NAMES)
    numbers = [name for name in options.save if name.lower().endswith(".npz")]
    if numbers:
        raise MeasureError(
            f"--save {numbers[0]!r}: a sweep is kept as a table (.csv, .parquet, .json) or a figure; from Python each "
            "of its curves can be saved."
        )


def written(found: Sweep, name: str, metric: str, labels: Sequence[str] | None) -> list[str]:
    """Write a sweep; returns what was written."""
    from measure.sweeps import write

    return write(found, name, metric, labels)


def measured(options: argparse.Namespace, model: Any, layer: Any, prompts: tuple[Any, Any]) -> Sweep:
    """What the options ask for."""
    from measure.sweeps import sweep

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
