"""The command `measure curve`: the curve between two prompts, or of every pair of a list."""

from __future__ import annotations

import argparse
from typing import Any

from measure.commands import ways
from measure.commands.common import add_command, save, say
from measure.commands.measuring import READ, add_pairs, layers_of, model_of, pairs_of


def add(commands: Any, pairs_from: bool) -> None:
    """What the command takes; `pairs_from` says that a file takes the place of two prompts."""
    command = add_command(
        commands,
        "curve",
        run,
        "Measure the interpolation curve between two prompts, or of every pair of a list.",
        'measure curve ladder-olmo-1.1m " The house was very" " The house was in" --save curve.png\n'
        "  measure curve smollm2-135m-instruct --pairs-from printed --layer 1 7 --save pairs.csv --save pairs.pdf",
    )
    add_pairs(command, pairs_from)
    command.add_argument("--read", metavar="READ", help=f"{READ} (default final_norm, of kl and js logits)")
    command.add_argument(
        "--layer",
        default="1",
        metavar="N ...",
        help="blocks before the patch, from 1; or all (default 1)",
    )
    command.add_argument("--steps", type=int, default=50, help="points of the curve (default 50)")


def run(options: argparse.Namespace) -> int:
    """Run it; returns the exit status."""
    from measure.api.one_model import interpolate
    from measure.prompts import tables

    tables.check_names(options.save, source=options.pairs_from)
    (a, b), labels = pairs_of(options)
    layer = layers_of(options.layer)
    measured = interpolate(
        model_of(options),
        a,
        b,
        layer=layer,
        read=options.read,
        steps=options.steps,
        bos=options.bos,
        precision=options.precision,
        **ways.asked(options),
    )
    found = measured if isinstance(measured, dict) else {measured.provenance["layer"]: measured}
    say(*tables.lines(found, labels, drawn=not options.save))
    save(options.save, lambda name: tables.write_curves(found, name, labels))
    return 0
