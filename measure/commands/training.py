"""What the commands that train share: the corpus as tokens, counts, threads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from measure import catalog
from measure.spec import MeasureError

if TYPE_CHECKING:
    from measure.ladder.train import Text


def check_counts(options: argparse.Namespace) -> None:
    """Raise `MeasureError` for fewer steps than none, and for no threads."""
    if options.steps < 0:
        raise MeasureError(f"--steps {options.steps}: give the number of optimizer steps, 0 for none.")
    if options.threads is not None and options.threads < 1:
        raise MeasureError(f"--threads {options.threads}: give a positive number, or leave it out for torch's choice.")


def take_threads(number: int | None) -> None:
    """Let torch take so many threads; None leaves it to torch."""
    if number is not None:
        import torch

        torch.set_num_threads(number)


def tokenized(source: str, out: Path) -> Text:
    """A corpus as the ladder's tokens, by the tokenizer in `out`, or the shipped one where there is none."""
    from transformers import PreTrainedTokenizerFast

    from measure.ladder.train import tokenize
    from measure.prompts.drawn import load_texts

    own = out / "tokenizer"
    folder = own if own.exists() else catalog.LADDER / "tokenizer"
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    except Exception as error:  # transformers and tokenizers each raise their own
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise MeasureError(f"the tokenizer in {folder} could not be loaded ({why}); restore or remove it.") from error
    return tokenize(load_texts(source), tokenizer)
