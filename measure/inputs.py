"""What users hand in: prompts as strings or token ids, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from measure import prompts
from measure.models import LoadedModel
from measure.prompts import Prompt
from measure.spec import MeasureError

PromptsInput = str | Sequence[str] | Sequence[Sequence[int]] | np.ndarray | Tensor


def token_ids(name: str, given: PromptsInput, tokenizer: Any, bos: bool, model: LoadedModel) -> tuple[Prompt, ...]:
    """Strings or token ids as checked token ids."""
    if isinstance(given, str):
        given = [given]
    if isinstance(given, Mapping) or not isinstance(given, Iterable) or getattr(given, "ndim", 1) == 0:
        raise MeasureError(
            f"{name} is a {type(given).__name__}; expected a string, a list of strings, or token ids of shape "
            "(pairs, tokens), such as the input_ids of a tokenizer's output."
        )
    rows = list(given)
    if not rows:
        raise MeasureError(f"{name} is empty; give at least one prompt.")
    if all(isinstance(row, str) for row in rows):
        if tokenizer is None:
            raise MeasureError(
                f"{name} holds strings and the model came without a tokenizer; pass tokenizer= or token ids."
            )
        ids = prompts.tokenize(tokenizer, rows, bos=bos)
    elif bos:
        raise MeasureError(f"bos=True is for strings; {name} holds token ids: put the BOS id into them.")
    else:
        ids = tuple(_as_prompt(name, row) for row in rows)
    empty = [position for position, prompt in enumerate(ids) if not prompt]
    if empty:
        raise MeasureError(
            f"{name}[{empty[0]}] is {rows[empty[0]]!r}, which has no tokens; a prompt needs at least one."
        )
    prompts.check_rows(ids, model.vocabulary, model.context, name, model.name)
    return ids


def _as_prompt(name: str, row: Any) -> Prompt:
    try:
        values = np.asarray(row)
    except ValueError:  # nested lists of unequal lengths
        values = np.empty((0, 0))
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
        raise MeasureError(
            f"{name} holds {row!r}; expected strings, or token ids of shape (pairs, tokens): "
            "one list of integers a prompt."
        )
    return tuple(values.tolist())
