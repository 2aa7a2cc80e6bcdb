"""The command `measure ladder seeds`: further seeds of rungs, of which what was measured is kept."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure.commands.common import add_command, say
from measure.commands.training import check_counts, take_threads, tokenized
from measure.ladder.recipe import Recipe
from measure.spec import MeasureError

if TYPE_CHECKING:
    from measure.results import Curves


def add(parts: Any) -> None:
    """What the command takes."""
    command = add_command(
        parts,
        "seeds",
        run,
        "Train seeds of rungs, and keep of each what is measured before and after training; goes on after a kill. "
        "Without --corpus it trains nothing and measures again what is at hand.",
        "measure ladder seeds --corpus 'corpus/train*' --heldout 'corpus/heldout*' --rungs olmo-0.2m --seeds 5\n"
        "  measure ladder seeds --weights runs/seeds/weights",
    )
    command.add_argument("--corpus", help="a corpus with a TEXT column to train on: file, folder or glob")
    command.add_argument("--heldout", help="a corpus that is not trained on, for the held-out losses")
    command.add_argument("--rungs", metavar="RUNG,...", help="olmo-0.2m,qwen2-1.1m,... (default the smallest of each)")
    number = command.add_mutually_exclusive_group()
    number.add_argument("--seeds", type=int, metavar="N", help="the first N seeds, from 0 (default 5)")
    number.add_argument("--seed", type=int, nargs="+", metavar="K", help="these seeds")
    command.add_argument("--steps", type=int, default=Recipe().steps, help="optimizer steps (default %(default)s)")
    command.add_argument("--out", type=Path, default=Path("runs/seeds"), help="folder of files (default %(default)s)")
    command.add_argument("--weights", type=Path, help="folder that trained weights are kept in (default OUT/weights)")
    command.add_argument("--train-only", action="store_true", help="keep the weights and measure nothing yet")
    command.add_argument("--threads", type=int, default=None, help="processor threads (default: torch's choice)")


def run(options: argparse.Namespace) -> int:
    """Run it; returns the exit status."""
    from measure.ladder import seed_training

    check_counts(options)
    names = options.rungs.split(",") if options.rungs else None
    numbers = _seed_numbers(options)
    # Before a corpus is read, which takes its time.
    seed_training.chosen(names or [], numbers or [])
    _check_seeds_corpora(options)
    take_threads(options.threads)
    weights = options.weights or options.out / "weights"
    if not options.train_only:
        seed_training.check_writable(options.out, "--out")
    if options.corpus is None:
        for run in seed_training.at_hand(weights, names, numbers):
            seed_training.keep(run, options.out, default_curves, say)
        return 0
    seed_training.check_writable(weights, "--weights")
    seed_training.put_tokenizer(weights)
    text, heldout = (tokenized(source, weights) for source in (options.corpus, options.heldout))
    training = seed_training.Training(Recipe(steps=options.steps, revisions=(0,)), text, heldout, weights, say)
    chosen = seed_training.chosen(names or ["olmo-0.2m", "qwen2-0.2m"], range(5) if numbers is None else numbers)
    seed_training.train_seeds(chosen, training, None if options.train_only else options.out, default_curves)
    return 0


def _seed_numbers(options: argparse.Namespace) -> list[int] | None:
    """The seeds asked for; None where that is left open."""
    for name in ("seeds", "steps"):
        given = getattr(options, name)
        if given is not None and given < 1:
            raise MeasureError(f"--{name} {given}: give a positive number.")
    return list(range(options.seeds)) if options.seeds else options.seed


def _check_seeds_corpora(options: argparse.Namespace) -> None:
    if (options.corpus is None) != (options.heldout is None):
        raise MeasureError("training takes both --corpus, to train on, and --heldout, for the losses; give both.")
    if options.corpus is None and (options.weights is None or options.train_only):
        raise MeasureError(
            "no corpus to train on: give --corpus and --heldout; or, to measure again what was trained, --weights DIR."
        )


def default_curves(model: str) -> Curves:
    """The curves of a model on the default draw."""
    from measure.harness.engines import in_process as engine
    from measure.results import Curves
    from measure.spec import CurveSpec

    spec = CurveSpec(model)
    found = engine.measure([spec], None, lambda *_: None)[spec]
    if isinstance(found, Exception):
        raise found
    assert isinstance(found, Curves)
    return found
