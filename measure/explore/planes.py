"""The plane of a slice, run some rows at a time in one prompt's context: `measure.slice2d` but for rounding.

`slice2d` runs all cells of a context before the next one's. Here a part of them is a step of its own, so that rows can
be shown as they come, and nothing is run that is not shown. Takes no turns and knows no page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from measure.core import agreement, finite, paths, runs
from measure.core.agreement import Choice
from measure.core.runs import Contexts, Found
from measure.models.loading import LoadedModel, as_measured
from measure.prompts.drawn import Prompt
from measure.results import DEGENERATE
from measure.spec import MeasureError, Read

# Cells of a step at most: 128 take two thirds of the time that 32 take each, and more of them no less.
MOST_CELLS = 128


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane through three prompts, its cells as axes (beta, alpha, width), and the contexts that they run in."""

    model: LoadedModel
    prompts: tuple[Prompt, ...]
    layer: int
    read: Read
    known: Contexts
    choice: Choice
    corners: Float[Tensor, "3 width"]
    foot: float
    cells: Float[Tensor, "rows columns width"]


def laid(
    model: LoadedModel, prompts: Sequence[Prompt], layer: int, read: Read, at: Float[np.ndarray, " size"]
) -> Plane:
    """The plane through A, B and C after a block, alpha and beta at the values `at`.

    Raises `MeasureError` where C lies on the line AB, and as `agreement.choose_path` does.
    """
    others = [*prompts[1:], prompts[0]]
    choice = agreement.choose_path(model, prompts, others, layer, [read], min(len(at) ** 2, MOST_CELLS))
    with as_measured(model.network, tf32=model.tf32):
        known = runs.contexts(model, prompts, layer, choice.path)
        corners = known.last(prompts)
        a, b, c = corners[:1], corners[1:2], corners[2:]
        foot = float(paths.foot(a, b, c))
        beside = float(torch.linalg.vector_norm(c - paths.segment(a, b, np.array([foot]))[0]))
        # Written so that a NaN counts: A and B may be one point.
        if not beside > DEGENERATE * float(torch.linalg.vector_norm(c - a)):
            raise MeasureError(
                "prompt C lies on the line from A to B, so there is no plane; give three prompts that differ."
            )
        cells = paths.plane(a, b, c, at)[0]
    return Plane(model, tuple(prompts), layer, read, known, choice, corners, foot, cells)


@dataclass(frozen=True, eq=False)
class Part:
    """Some cells in one context: how far from `own`, what is read at the context's own state, and final states."""

    distance: Float[np.ndarray, " cells"]
    residual: Float[Tensor, "cells width"]
    own: Float[Tensor, "1 1 units"]


def part(plane: Plane, place: int, cells: Float[Tensor, "cells width"], before: Part | None) -> Part:
    """Run some cells in the context of the prompt numbered `place`; without a part `before`, its own state as well.

    Raises `MeasureError` for what is no number, and where there is no memory.
    """
    points = cells if before is not None else torch.cat([plane.corners[place : place + 1], cells])
    first = len(points) - len(cells)
    with as_measured(plane.model.network, tf32=plane.model.tf32):
        found = _outputs(plane, place, points)
        own = before.own if before is not None else found[plane.read][:, :1].clone()
        distance = runs.distances(found[plane.read], own)
        sides = [plane.prompts[place]], [plane.prompts[place - 1]]
        finite.check(plane.model, distance, *sides, points[None], plane.layer, plane.read)
    return Part(distance[0, first:], found["residual"][0, first:], own)


def _outputs(plane: Plane, place: int, points: Float[Tensor, "points width"]) -> Found:
    found: list[Found] = []
    prompt, path = plane.prompts[place], plane.choice.path

    def work(_: list[int]) -> None:
        found.append(runs.outputs(plane.model, plane.known, [prompt], points[None], plane.layer, [plane.read], path))

    # One row: what does not fit is told in a sentence.
    plane.choice.room.run(plane.model, [0], work, len(prompt) + len(points))
    return found[0]


def top_tokens(plane: Plane, residual: Float[Tensor, "cells width"]) -> list[int]:
    """The most probable next token at each of some final residual states."""
    with as_measured(plane.model.network, tf32=plane.model.tf32):
        found = runs.top_tokens(plane.model, residual, plane.known, plane.choice.path)
    return [int(one) for one in found]
