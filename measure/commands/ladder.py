"""The command `measure ladder`: the small models that come with the project, trained and checked."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from measure import catalog
from measure.commands import ladder_seeds
from measure.commands.common import add_command, say
from measure.commands.training import check_counts, take_threads, tokenized
from measure.ladder.recipe import Recipe, rung
from measure.spec import MeasureError


def add(commands: Any) -> None:
    """What the command takes."""
    parser = commands.add_parser("ladder", help="Train and check the small models that come with the project.")
    parts = parser.add_subparsers(required=True, metavar="tokenizer | train | card | verify | seeds")
    tokenizer = add_command(
        parts,
        "tokenizer",
        _tokenizer,
        "Train the ladder's tokenizer.",
        "measure ladder tokenizer --corpus 'corpus/train*' --out runs/ladder",
    )
    train = add_command(
        parts,
        "train",
        _train,
        "Train a rung; called again after a kill, it goes on where it was.",
        "measure ladder train ladder-olmo-0.2m --corpus 'corpus/train*' --heldout 'corpus/heldout*' --out runs/ladder",
    )
    train.add_argument("rung", help="ladder-olmo-0.2m, ladder-qwen2-1.1m, ...; -seedN at the end gives another seed")
    train.add_argument("--revisions", default="all", help="which to keep: all, main, or steps such as 0,256 (and main)")
    train.add_argument("--steps", type=int, default=Recipe().steps, help="optimizer steps (default %(default)s)")
    train.add_argument("--threads", type=int, default=None, help="processor threads (default: torch's choice)")
    for command in (tokenizer, train):
        command.add_argument("--corpus", required=True, help="a corpus with a TEXT column: file, folder or glob")
    for command in (train,):
        command.add_argument("--heldout", required=True, help="a corpus that is not trained on, for the card's losses")
    card = add_command(
        parts, "card", _card, "Write the model card of all rungs.", "measure ladder card --out runs/ladder"
    )
    for command in (tokenizer, train, card):
        command.add_argument(
            "--out", type=Path, default=Path("runs/ladder"), help="folder of rungs (default %(default)s)"
        )
    verify = add_command(
        parts, "verify", _verify, "Check the shipped weights against their cards.", "measure ladder verify"
    )
    verify.add_argument("--heldout", default=None, help="also recompute the held-out losses on this corpus")
    verify.add_argument("--out", type=Path, default=catalog.LADDER, help="folder of rungs (default: the shipped ones)")
    ladder_seeds.add(parts)


def _tokenizer(options: argparse.Namespace) -> int:
    from measure.ladder.seed_training import check_writable
    from measure.ladder.train import train_tokenizer
    from measure.prompts.drawn import load_texts

    check_writable(options.out, "--out")
    tokenizer = train_tokenizer(load_texts(options.corpus), options.out / "tokenizer")
    say(f"{len(tokenizer)} tokens, saved in {options.out / 'tokenizer'}")
    return 0


def _train(options: argparse.Namespace) -> int:
    check_counts(options)
    from measure.ladder import card
    from measure.ladder import train as training
    from measure.ladder.seed_training import check_writable

    chosen = rung(options.rung)
    recipe = Recipe(steps=options.steps, revisions=_revisions(options.revisions, options.steps))
    check_writable(options.out, "--out")
    take_threads(options.threads)
    folder = options.out / chosen.name
    text, heldout = (tokenized(source, options.out) for source in (options.corpus, options.heldout))
    training.check_heldout(heldout, recipe.sequence)
    training.train(chosen, recipe, text, folder)
    card.write_card(chosen, recipe, text, heldout, folder)
    training.forget_state(folder)
    say(f"{chosen.name}: {', '.join(recipe.schedule().values())} in {folder}")
    return 0


def _revisions(text: str, steps: int) -> tuple[int, ...]:
    """The steps whose weights are kept, `main` aside."""
    if text == "main":
        return ()
    if text == "all":
        return tuple(step for step in Recipe().revisions if step < steps)
    wrong = [part for part in text.split(",") if not re.fullmatch("[0-9]{1,12}", part) or int(part) >= steps]
    if wrong:
        raise MeasureError(
            f"--revisions {text!r}: {wrong[0]!r} is no step below {steps}; give all, main, or steps such as 0,256."
        )
    return tuple(sorted({int(part) for part in text.split(",")}))


def _card(options: argparse.Namespace) -> int:
    from measure.ladder.card import ladder_page
    from measure.results import write_atomically

    write_atomically(options.out / "README.md", ladder_page(options.out).encode())
    say(f"written {options.out / 'README.md'}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from measure.ladder.card import verify

    heldout = tokenized(options.heldout, options.out) if options.heldout else None
    wrong = []
    for path in sorted(options.out.glob("*/card.json")):
        known = catalog.models().get(path.parent.name)
        absent = catalog.left_out(known) if known is not None and options.out == catalog.LADDER else ()
        found = verify(path.parent, heldout, absent)
        said = "as its card says" if not found else "NOT as its card says"
        if absent:
            none_here = known is not None and len(absent) == len(known.revisions)
            said = f"{'' if none_here else f'{said}; '}in a clone alone: {', '.join(absent)}"
        say(f"{path.parent.name:<28} {said}")
        wrong += found
    say(*wrong)
    return 1 if wrong else 0
