"""Runs the points between A and B, some pairs at a time, and keeps what was asked of each part."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float
from torch import Tensor

from measure.base import progress
from measure.core import batches, distances, finite, forward, parts, paths, runs, several
from measure.core.agreement import Choice
from measure.core.course import NAMED, USUAL, Course, Some
from measure.core.runs import Contexts
from measure.models.loading import LoadedModel, as_measured
from measure.prompts.drawn import Pairs, Prompt
from measure.spec import MeasureError, Read, block_of

LOG = logging.getLogger("measure")


# What is kept of each pair: named arrays whose first axis is the pairs'.
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Segments:
    """What came out along the segments of some pairs, their A prompts equally long and their B prompts.

    `signs` holds what `forward.gate_signs` collected, forward by forward; `lacking` why a pair has no path.
    """

    model: LoadedModel
    layer: int
    a: list[Prompt]
    b: list[Prompt]
    points: Float[Tensor, "pairs steps *length width"]
    known: Contexts
    found: runs.Found
    path: runs.Path
    signs: list[Tensor]
    course: Course = USUAL
    lacking: tuple[str, ...] = ()


Keep = Callable[[Segments], Arrays]


@dataclass(frozen=True, eq=False)
class Asked:
    """What is read after a layer, and how that is run."""

    reads: Sequence[Read]
    choice: Choice


def choice_of(
    model: LoadedModel, pairs: Pairs, layer: int, reads: Sequence[Read], points: int, course: Course
) -> Choice:
    return choices(model, pairs, {layer: reads}, points, course)[layer]


def choices(
    model: LoadedModel, pairs: Pairs, reads: Mapping[int, Sequence[Read]], points: int, course: Course
) -> dict[int, Choice]:
    for layer in reads:
        parts.check(model, course.interventions, layer)
    with parts.intervened(model, course.interventions):
        return several.choices(model, pairs.a, pairs.b, reads, points, course)


def along_segments(
    model: LoadedModel,
    pairs: Pairs,
    steps: int,
    layer: int,
    reads: Sequence[Read],
    choice: Choice,
    keep: Keep | None = None,
    *,
    gates: bool = False,
    course: Course = USUAL,
) -> dict[Read, Arrays]:
    """By read, the fields of `Curves` for every pair, and what `keep` makes of each part."""
    asked = {layer: Asked(reads, choice)}
    return along_layers(model, pairs, steps, asked, keep, gates=gates, course=course)[layer]


def along_layers(
    model: LoadedModel,
    pairs: Pairs,
    steps: int,
    asked: Mapping[int, Asked],
    keep: Keep | None = None,
    *,
    gates: bool = False,
    course: Course = USUAL,
) -> dict[int, dict[Read, Arrays]]:
    """`along_segments` after each of some layers.

    Memory does not grow with the number of pairs beyond what is returned. Raises `MeasureError` where no pair has a
    path.
    """
    count = course.count(steps)
    shared: dict[int, Arrays] = {layer: {} for layer in asked}
    found: dict[int, dict[Read, Arrays]] = {layer: {one: {} for one in of.reads} for layer, of in asked.items()}
    clean = _Clean(model, asked)
    lacking: dict[int, str] = {}

    def work(layer: int, rows: list[int]) -> None:
        some = Some([pairs.a[row] for row in rows], [pairs.b[row] for row in rows], rows, count)
        of = asked[layer]
        part = _run_segments(model, some, clean.known(layer, some, of.choice), layer, of, gates, course)
        lacking.update({row: why for row, why in zip(rows, part.lacking, strict=True) if why})
        if keep is not None:
            _fill(shared[layer], rows, len(pairs), keep(part))
        for read in of.reads:
            _fill(found[layer][read], rows, len(pairs), _distances(part, read))
        progress.advance(len(rows))

    with parts.intervened(model, course.interventions), as_measured(model.network, tf32=model.tf32):
        for rows in _chunks(model, pairs, asked, count, course):
            a, b = pairs.a[rows[0]], pairs.b[rows[0]]
            positions = max(batches.positions_of(model, len(a), count, course.tail(a, b).length), len(a) + len(b))
            for layer, of in asked.items():
                of.choice.room.run(model, rows, partial(work, layer), positions)
    _check_paths(pairs, lacking)
    last = np.array([[a[-1], b[-1]] for a, b in zip(pairs.a, pairs.b, strict=True)])
    same = {"alphas": paths.alphas(count), "units": np.array(pairs.units), "last_tokens": last}
    return {
        layer: {read: {**same, **shared[layer], **arrays} for read, arrays in by_read.items()}
        for layer, by_read in found.items()
    }


def _chunks(
    model: LoadedModel, pairs: Pairs, asked: Mapping[int, Asked], points: int, course: Course
) -> Iterator[list[int]]:
    every = [of.reads for of in asked.values()]
    return batches.chunks(
        model,
        pairs.a,
        pairs.b,
        points,
        min(of.choice.room.positions for of in asked.values()),
        logits=any("logits" in reads for reads in every),
        blocks=max(sum(block_of(read) is not None for read in reads) for reads in every),
        course=course,
    )


def _check_paths(pairs: Pairs, lacking: Mapping[int, str]) -> None:
    """Say which pairs have no path. Raises `MeasureError` where none has one."""
    if not lacking:
        return
    named = "; ".join(f"pair {row + 1}: {lacking[row]}" for row in sorted(lacking)[:NAMED])
    if len(lacking) == len(pairs):
        raise MeasureError(
            f"there is no path of that kind between A and B ({named}); use path='linear', or give other prompts."
        )
    LOG.warning("%d of %d pairs have no path and are degenerate (%s)", len(lacking), len(pairs), named)


class _Clean:
    """States of prompts after the patched blocks, for one part of the pairs at a time."""

    def __init__(self, model: LoadedModel, asked: Mapping[int, Asked]) -> None:
        self.model = model
        self.layers = list(asked)
        self.keep = any(of.choice.shared for of in asked.values())
        # By path and layer, those of the part before, some of whose prompts may come again.
        self.before: dict[tuple[runs.Path, int], Contexts] = {}
        self.wanted: dict[runs.Path, tuple[Prompt, ...]] = {}

    def known(self, layer: int, some: Some, choice: Choice) -> Contexts:
        """After `layer`, of the prompts of some pairs; of all layers at once where several are asked for."""
        wanted, path = (*some.a, *some.b), choice.path
        if len(self.layers) == 1:
            self.before[path, layer] = runs.contexts(self.model, wanted, layer, path, self.before.get((path, layer)))
        elif self.wanted.get(path) != wanted:
            held = {of: known for (how, of), known in self.before.items() if how == path}
            keep = some.a if self.keep else ()
            found = runs.several_contexts(self.model, wanted, self.layers, path, held, keep=keep)
            self.before.update({(path, of): known for of, known in found.items()})
            self.wanted[path] = wanted
        known = self.before[path, layer]
        return known if choice.shared else replace(known, kept={})


def _run_segments(
    model: LoadedModel, some: Some, known: Contexts, layer: int, asked: Asked, gates: bool, course: Course
) -> Segments:
    a, path = list(some.a), asked.choice.path
    tail = course.tail(a[0], some.b[0])
    drawn = course.drawn(known, some, tail)
    parts.run_clean(a)
    watch: AbstractContextManager[list[Tensor]] = forward.gate_signs(model, layer) if gates else nullcontext([])
    with watch as signs:
        found = runs.outputs(model, known, a, drawn.points, layer, asked.reads, path, tail)
    lacking = tuple(drawn.lacking)
    return Segments(model, layer, a, list(some.b), drawn.points, known, found, path, signs, course, lacking)


def _fill(whole: Arrays, rows: list[int], count: int, part: Arrays) -> None:
    for name, values in part.items():
        whole.setdefault(name, np.empty((count, *values.shape[1:]), values.dtype))[rows] = values


def _distances(part: Segments, read: Read) -> Arrays:
    """What depends on the read: the curve seen from both ends, each step's length, the same of its null, its scale."""
    found = part.found[read]
    if block_of(read) is None:
        null = runs.norm_only(part.model, straight_line(part), read, part.known, part.path)
    else:
        # Nothing follows the block.
        null = paths.between(part.course.null, found[:, 0], found[:, -1], paths.alphas(found.shape[1]))
    if part.course.distance == "l2":
        distance = runs.from_start(found)
        finite.check(part.model, distance, part.a, part.b, part.points, part.layer, read)
        arrays = {
            "distance": distance,
            **_along(found, ""),
            "null_distance": runs.from_start(null),
            **_along(null, "null_"),
        }
    else:
        arrays = distances.along(found, part.course.distance)
        _check_numbers(part, read, arrays)
        of_null = distances.along(null, part.course.distance)
        arrays |= {f"null_{name}": values for name, values in of_null.items() if name != "end_length"}
    arrays["reference_norm"] = runs.norms(found[:, 0])
    return _without_path(arrays, part.lacking)


def _check_numbers(part: Segments, read: Read, arrays: Arrays) -> None:
    """Raise `MeasureError` where an output is no number; a distance may have no meaning where all of them are."""
    steps = np.concatenate([arrays["step_distance"], arrays["end_length"][:, None]], axis=1)
    unlimited = np.where(np.isinf(arrays["distance"]), np.inf, 0.0)
    for values in (steps, unlimited):
        finite.check(part.model, values, part.a, part.b, part.points, part.layer, read)


def _without_path(arrays: Arrays, lacking: Sequence[str]) -> Arrays:
    """Of a pair that has no path no number is kept."""
    gone = [row for row, why in enumerate(lacking) if why]
    for name in arrays if gone else ():
        if name != "reference_norm":
            arrays[name][gone] = np.nan
    return arrays


def _along(found: Float[Tensor, "pairs steps units"], prefix: str) -> Arrays:
    """How far the output moves in each step, and how far it is from its end."""
    return {
        f"{prefix}step_distance": runs.distances(found[:, 1:], found[:, :-1]),
        f"{prefix}end_side_distance": runs.distances(found, found[:, -1:]),
    }


def straight_line(part: Segments) -> Float[Tensor, "pairs steps width"]:
    """The straight line between the two final residual states, which the norm-only null starts from."""
    residual = part.found["residual"]
    return paths.between(part.course.null, residual[:, 0], residual[:, -1], paths.alphas(residual.shape[1]))
