"""The command `measure slice`: the plane through three prompts."""

from __future__ import annotations

import argparse
from typing import Any

from measure.commands.common import add_command, save, say
from measure.commands.measuring import add_measuring, model_of
from measure.spec import READS


def add(commands: Any) -> None:
    """What the command takes."""
    command = add_command(
        commands,
        "slice",
        run,
        "Measure the 2-D slice of the residual stream through three prompts.",
        'measure slice ladder-olmo-1.1m " The house was very" " The house was in" " He said that" --save slice.png',
    )
    add_measuring(command, "prompt_a", "prompt_b", "prompt_c")
    command.add_argument("--read", choices=READS, default="final_norm", help="what is read (default final_norm)")
    command.add_argument("--layer", type=int, default=1, help="blocks before the patch, from 1 (default 1)")
    command.add_argument("--size", type=int, default=32, help="cells a side (default 32)")
    command.add_argument(
        "--extent",
        type=float,
        nargs=2,
        default=(-0.25, 1.25),
        metavar=("LOW", "HIGH"),
        help="range of alpha and beta (default -0.25 1.25)",
    )


def run(options: argparse.Namespace) -> int:
    """Run it; returns the exit status."""
    from measure.api.one_model import slice2d
    from measure.prompts import tables

    tables.check_names(options.save, tables=False)
    slices = slice2d(
        model_of(options),
        options.prompt_a,
        options.prompt_b,
        options.prompt_c,
        layer=options.layer,
        read=options.read,
        size=options.size,
        extent=tuple(options.extent),
        bos=options.bos,
        precision=options.precision,
    )
    if slices.degenerate[0]:
        reason = "C lies on the line AB" if slices.on_line[0] else "nothing of it changes the output"
        say(f"degenerate triple: {reason}, so there are no colours; give three prompts that differ more")
        save(options.save, lambda name: tables.write_slices(slices, name))
        return 0
    for name in ("solid_share", "steep_share", "boundary_width"):
        say(f"{name:<15} {getattr(slices, name)[0]:.4f}")
    say("nearest of A, B and C by colour, capital within 0.1 of its own; alpha to the right, beta up")
    # Letters are about twice as high as wide.
    print(*("".join(2 * letter for letter in row) for row in reversed(slices.letters(0))), sep="\n")
    save(options.save, lambda name: tables.write_slices(slices, name))
    return 0
