"""Measures `Predictions`: next-token distributions and logit differences along curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from measure.core import distributions, finite, provenance, runs
from measure.core.course import USUAL, Course
from measure.core.segments import Arrays, Segments, along_segments, choice_of, straight_line
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Pairs
from measure.results.predictions import Predictions
from measure.spec import Read

# Logits of some pairs' points held at a time: 32 MB in float32.
LOGITS_AT_ONCE = 2**23


def predictions(
    model: LoadedModel,
    pairs: Pairs,
    *,
    layer: int,
    reads: Sequence[Read],
    steps: int,
    span: int,
    origin: dict[str, Any],
    course: Course = USUAL,
) -> dict[Read, Predictions]:
    """Curves of the independent pairs with the next-token distributions along them; see `Predictions`."""
    pairs = pairs.independent()
    choice = choice_of(model, pairs, layer, reads, steps, course)
    predicted = partial(_predicted, span=span)
    found = along_segments(model, pairs, steps, layer, reads, choice, predicted, course=course)
    results = {}
    for read in reads:
        arrays = {**found[read], "end_tokens": _texts(model, found[read]["end_tokens"])}
        told = provenance.of(model, pairs, layer, read, choice, origin, course)
        results[read] = Predictions(**arrays, provenance=told)
    return results


def _predicted(part: Segments, span: int) -> Arrays:
    """The arrays of `Predictions`; `end_tokens` as ids. Some pairs at a time, as logits take their room."""
    model, known, path = part.model, part.known, part.path
    straight = straight_line(part)
    # A's clean run is the alpha = 0 point; B's is B in its own context.
    ends = known.last(part.b)[:, None]
    clean = runs.outputs(model, known, part.b, ends, part.layer, ["residual"], path)["residual"]

    def logits(residual: Tensor) -> Tensor:
        return runs.norm_only(model, residual, "logits", known, path)

    normed = _normed(part, straight)
    size = max(1, LOGITS_AT_ONCE // (part.points.shape[1] * model.vocabulary))
    found = []
    for start in range(0, len(clean), size):
        some = slice(start, start + size)
        null, middle = straight[some], straight.shape[1] // 2
        # Together, as the unembedding's weights come from memory each time.
        states = [part.found["residual"][some], clean[some], *([] if normed is None else [null[:, [middle]]])]
        own, end, *rest = torch.split(logits(torch.cat(states, dim=1)), [one.shape[1] for one in states], dim=1)
        of_null = None
        if normed is not None:
            less = normed.null[some] - normed.origin
            of_null = distributions.mixed(own[:, [0, -1]], rest[0], normed.nothing, less)
        of_null = logits(null) if of_null is None else of_null
        by_few = _predicted_by_few(own, of_null, end, span)
        tops = by_few["end_tokens"]
        found.append(by_few | _differences(part, normed, some, tops, own, of_null))
    together = {name: np.concatenate([arrays[name] for arrays in found]) for name in found[0]}
    # Logits are run here whatever is read, and one that is infinite leaves no distribution.
    finite.check(model, together.pop("uncertainty"), part.a, part.b, part.points, part.layer, "logits")
    return {"separation": runs.norms(known.last(part.b) - known.last(part.a)), **together}


@dataclass(frozen=True, eq=False)
class _Normed:
    """What the final norm makes of states, for logits that are linear in it.

    `own` and `null`: of the points and of their null, (pairs, steps, width); `origin`: of the state 0, (1, 1, width),
    and `nothing`: the logits of that state, (1, 1, tokens).
    """

    own: Float[Tensor, "pairs steps width"]
    null: Float[Tensor, "pairs steps width"]
    origin: Float[Tensor, "1 1 width"]
    nothing: Float[Tensor, "1 1 tokens"]


def _normed(part: Segments, straight: Float[Tensor, "pairs steps width"]) -> _Normed | None:
    """None for the reference path, which runs every point, and where half a precision would hold no mixture."""
    if part.path == "reference" or part.model.tf32 or part.model.dtype.itemsize < 4:
        return None
    zero = torch.zeros_like(straight[:1, :1])
    read = partial(runs.norm_only, part.model, known=part.known, path=part.path)
    own, null, origin = (read(states, read="final_norm") for states in (part.found["residual"], straight, zero))
    return _Normed(own, null, origin, nothing=read(zero, read="logits"))


def _predicted_by_few(
    logits: Float[Tensor, "pairs steps tokens"],
    null: Float[Tensor, "pairs steps tokens"],
    clean: Float[Tensor, "pairs one tokens"],
    span: int,
) -> Arrays:
    own, straight = distributions.along(logits, span), distributions.along(null, span)
    first, second = own.top[:, 0], clean[:, 0].argmax(-1)
    found = {
        "uncertainty": own.entropy,
        "end_tokens": torch.stack([first, second], dim=1),
        "top_tokens": own.top,
        "end_divergence": own.ends,
        "span_divergence": own.spans,
        "null_top_tokens": straight.top,
        "null_span_divergence": straight.spans,
    }
    return {name: values.cpu().numpy() for name, values in found.items()}


def _differences(
    part: Segments,
    normed: _Normed | None,
    some: slice,
    tops: Int[np.ndarray, "pairs two"],
    logits: Float[Tensor, "pairs steps tokens"],
    null: Float[Tensor, "pairs steps tokens"],
) -> Arrays:
    """Logit differences of the pairs `some` between the tokens `tops`, along the curve and along its null."""
    head = part.model.network.get_output_embeddings()
    first, second = torch.from_numpy(tops).to(logits.device).T
    sides = {
        "logit_difference": (logits, None if normed is None else normed.own[some]),
        "null_logit_difference": (null, None if normed is None else normed.null[some]),
    }
    return {
        name: distributions.difference(of, states, head, first, second).cpu().numpy()
        for name, (of, states) in sides.items()
    }


def _texts(model: LoadedModel, ids: Int[np.ndarray, "pairs two"]) -> np.ndarray:
    """Token ids as text where the model has a tokenizer that decodes, else as numbers."""
    decode = getattr(model.tokenizer, "decode", str)
    return np.array([[decode(int(token)) for token in row] for row in ids])
