"""Measures `Crossings`: the gates of MLPs that change sign along curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from measure.core import agreement, batches, forward, provenance
from measure.core.course import USUAL, Course
from measure.core.segments import Arrays, Segments, along_segments, choice_of
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Pairs
from measure.results.crossings import Crossings
from measure.spec import Read


def crossings(
    model: LoadedModel,
    pairs: Pairs,
    *,
    layer: int,
    reads: Sequence[Read],
    steps: int,
    origin: dict[str, Any],
    course: Course = USUAL,
) -> dict[Read, Crossings]:
    """Curves of the independent pairs with the gates that change sign along them; see `Crossings`.

    Raises `MeasureError` for a model whose blocks have no gates to be found, or none after `layer`.
    """
    pairs = pairs.independent()
    agreement.check_layer(model, layer)
    choice = choice_of(model, pairs, layer, reads, steps, course)
    gates = np.array(forward.gate_counts(model, layer))
    found = along_segments(model, pairs, steps, layer, reads, choice, _crossed, gates=True, course=course)
    return {
        read: Crossings(
            **found[read], gates=gates, provenance=provenance.of(model, pairs, layer, read, choice, origin, course)
        )
        for read in reads
    }


def _crossed(part: Segments) -> Arrays:
    """What of `Crossings` does not depend on the read."""
    found: dict[str, list[np.ndarray]] = {"crossings": [], "coarse": [], "end_crossings": []}
    for signs in _signs_by_block(part):
        found["crossings"].append(_changes(signs))
        found["coarse"].append(_changes(signs[:, ::2]).sum(axis=1))
        found["end_crossings"].append(_changes(signs[:, [0, -1]])[:, 0])
    return {name: np.stack(columns, axis=1) for name, columns in found.items()}


def _changes(signs: Bool[Tensor, "pairs points gates"]) -> Int[np.ndarray, "pairs spans"]:
    """Gates whose sign differs between each point and the next."""
    return (signs[:, 1:] != signs[:, :-1]).sum(-1, dtype=torch.int32).cpu().numpy()


def _signs_by_block(part: Segments) -> list[Bool[Tensor, "pairs points gates"]]:
    """Where gates are positive at the points, one tensor for each block after the patch."""
    count, points = part.found["residual"].shape[:2]
    blocks = part.model.depth - part.layer
    if part.path == "fast":
        earlier = len(part.a[0]) - 1
        return [batches.together(signs[:, earlier:], count, points) for signs in part.signs]
    # One plain forward for each point of each pair, all blocks in turn.
    last = [signs[0, -1] for signs in part.signs[: count * points * blocks]]
    return [torch.stack(last[block::blocks]).view(count, points, -1) for block in range(blocks)]
