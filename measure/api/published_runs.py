"""Published widths of Pythia, measured here on the same prompts by their exact token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from measure.api.one_model import interpolate
from measure.claims import published
from measure.claims.published import Measured, Width
from measure.core import runs
from measure.models.loading import LoadedModel, as_measured, load
from measure.prompts import drawn as prompts
from measure.spec import MeasureError, NotMeasuredError

STEPS = 50


def measured(told: Width, model: Any = None) -> Measured:
    """The widths of a checkpoint, or of `model` in its place, on the published pairs by their exact token ids.

    Raises `MeasureError` for a model that cannot be had or has no tokenizer or too few tokens.
    """
    loaded = model if isinstance(model, LoadedModel) else load(model or told.name)
    a, b = _prompts(loaded)
    asked: dict[str, Any] = {"path": "slerp", "distance": "symmetric"}
    found = interpolate(loaded, a, b, layer=1, read="logits", steps=STEPS, **asked)
    carriers = len(published.table().carriers)
    by_carrier = published.widths(found.distance, found.alphas).reshape(-1, carriers)
    return Measured(told, by_carrier, *_first_states(loaded, a, b, carriers))


def _prompts(loaded: LoadedModel) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """A and B of every pair, its carriers one after the other."""
    if loaded.tokenizer is None:
        raise MeasureError(
            f"{loaded.name} has no tokenizer to read the carriers with; put its tokenizer.json beside it."
        )
    carriers = prompts.tokenize(loaded.tokenizer, published.table().carriers)
    rows = [(carrier, pair) for pair in published.table().pairs for carrier in carriers]
    return [(*carrier, a) for carrier, (a, _) in rows], [(*carrier, b) for carrier, (_, b) in rows]


def _first_states(
    loaded: LoadedModel, a: Sequence[prompts.Prompt], b: Sequence[prompts.Prompt], carriers: int
) -> tuple[Float[np.ndarray, " carriers"], Float[np.ndarray, " carriers"]]:
    """Cosine and distance of the first pair's states after the first block, carrier by carrier."""
    sides = a[:carriers], b[:carriers]
    with as_measured(loaded.network):
        known = runs.contexts(loaded, (*sides[0], *sides[1]), 1, "reference")
        first, second = (known.last(side).double() for side in sides)
    cosines = torch.nn.functional.cosine_similarity(first, second)
    return cosines.cpu().numpy(), torch.linalg.vector_norm(first - second, dim=-1).cpu().numpy()


def lines_of(told: Sequence[Width]) -> list[str]:
    """`published.lines` of the checkpoints that are on this machine, and how to get the others.

    Raises `NotMeasuredError` where none is.
    """
    here = [one for one in told if not published.lacking(one)]
    missing = published.lacking_all([one for one in told if one not in here])
    if not here:
        raise NotMeasuredError(f"{missing}.")
    return [*published.lines([measured(one) for one in here]), *([f"not measured: {missing}"] if missing else [])]
