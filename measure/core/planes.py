"""Measures `Slices`: outputs over the plane through three states, in three contexts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from measure.core import agreement, batches, finite, forward, paths, provenance, runs
from measure.core.agreement import Choice
from measure.core.runs import Contexts
from measure.core.segments import Arrays
from measure.models.loading import LoadedModel, as_measured
from measure.prompts.drawn import Prompt, Triples
from measure.results import DEGENERATE
from measure.results.slices import Slices
from measure.spec import Read


def slices(
    model: LoadedModel,
    triples: Triples,
    *,
    layer: int,
    reads: Sequence[Read],
    at: Float[np.ndarray, " size"],
    origin: dict[str, Any],
) -> dict[Read, Slices]:
    """Slices of every triple with each of `reads`, alpha and beta at the values `at`; see `slice2d`."""
    references = triples.a + triples.b + triples.c
    # The check draws its points on segments between references, from each to the next of its triple.
    choice = agreement.choose_path(
        model,
        references,
        triples.b + triples.c + triples.a,
        layer,
        reads,
        min(len(at) ** 2, forward.CHUNK_POSITIONS),
        min(len(at) ** 2, batches.ROW),
    )
    with as_measured(model.network, tf32=model.tf32):
        sides = zip(triples.a, triples.b, triples.c, strict=True)
        rows = [_slice(model, triple, layer, reads, at, choice) for triple in sides]
    results = {}
    for read in reads:
        arrays = {name: np.stack([row[read][name] for row in rows]) for name in rows[0][read]}
        told = provenance.of(model, triples, layer, read, choice, origin)
        results[read] = Slices(at, at, **arrays, provenance=told)
    return results


def _slice(
    model: LoadedModel, triple: tuple[Prompt, ...], layer: int, reads: Sequence[Read], at: np.ndarray, choice: Choice
) -> dict[Read, Arrays]:
    """One triple's fields of `Slices`, by read."""
    known = runs.contexts(model, triple, layer, choice.path)
    corners = known.last(triple)
    a, b, c = corners[:1], corners[1:2], corners[2:]
    foot = float(paths.foot(a, b, c))
    beside = float(torch.linalg.vector_norm(c - paths.segment(a, b, np.array([foot]))[0]))
    # Also where A and B are one point and there is no line; written so that a NaN counts.
    on_line = not beside > DEGENERATE * float(torch.linalg.vector_norm(c - a))
    foot = 0.0 if on_line else foot
    grid = a[:, None].expand(len(at), len(at), -1) if on_line else paths.plane(a, b, c, at)[0]
    # The references themselves follow the grid.
    points = torch.cat([grid.reshape(len(at) ** 2, -1), corners])
    cells = len(at) ** 2
    by_read: dict[Read, dict[str, list[Any]]] = {
        read: {"distance": [], "reference_distance": [], "reference_norm": []} for read in reads
    }
    top = np.empty(0, int)
    for place, prompt in enumerate(triple):
        found = _some_at_a_time(model, known, prompt, points, layer, reads, choice)
        for read, kept in by_read.items():
            own = found[read][:, cells + place]
            distance = runs.distances(found[read], own[:, None])[0]
            finite.check(model, distance[None], [prompt], [triple[place - 1]], points[None], layer, read)
            kept["distance"].append(distance[:cells].reshape(len(at), len(at)))
            kept["reference_distance"].append(distance[cells:])
            kept["reference_norm"].append(runs.norms(own)[0])
        if place == 0:
            top = runs.top_tokens(model, found["residual"][0, :cells], known, choice.path)
    shared = {
        "reference_points": np.array([[0.0, 0.0], [1.0, 0.0], [foot, 1.0]]),
        "top_tokens": top.reshape(len(at), len(at)),
        "on_line": np.array(on_line),
    }
    return {
        read: {**{name: np.array(values) for name, values in kept.items()}, **shared} for read, kept in by_read.items()
    }


def _some_at_a_time(
    model: LoadedModel,
    known: Contexts,
    prompt: Prompt,
    points: Float[Tensor, "points width"],
    layer: int,
    reads: Sequence[Read],
    choice: Choice,
) -> runs.Found:
    """`runs.outputs` of many points in one context, some at a time; (1, points, units)."""
    parts = torch.split(points, batches.ROW)
    step = max(1, forward.CHUNK_POSITIONS // (len(prompt) + batches.ROW))
    if "logits" in reads:
        step = max(1, min(step, batches.LOGIT_VALUES // (batches.ROW * model.vocabulary)))
    found: list[runs.Found] = []

    def work(chosen: list[int]) -> None:
        some = torch.cat([parts[part] for part in chosen])[None]
        found.append(runs.outputs(model, known, [prompt], some, layer, reads, choice.path))

    for start in range(0, len(parts), step):
        choice.room.run(model, list(range(len(parts)))[start : start + step], work, len(prompt) + batches.ROW)
    return {read: torch.cat([one[read] for one in found], dim=1) for read in found[0]}
