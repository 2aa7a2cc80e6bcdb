"""Which path to take: the fast one where it gives what the reference path gives, checked on the pairs at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from measure import catalog
from measure.core import batches, finite, kernels, parts, placement, reference, runs
from measure.core.course import USUAL, Course, Some
from measure.core.forward import LAST
from measure.models.loading import LoadedModel, as_measured
from measure.prompts.drawn import Prompt
from measure.spec import MeasureError, Read, block_of

# How far d may differ between the two paths, relative to ||F(A)||: rounding, no more.
AGREEMENT = {torch.float64: 1e-5, torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 5e-3}
AGREEMENT_TF32 = 5e-3


def check_layer(model: LoadedModel, layer: int) -> None:
    """Raise `MeasureError` when the model has no such layer."""
    if not 1 <= layer <= model.depth:
        raise MeasureError(
            f"layer={layer}: {model.name} has {model.depth} blocks; layers are counted from 1 "
            f"('after the first layer' is layer=1), so choose 1 to {model.depth}."
        )


@dataclass(frozen=True)
class Choice:
    """Which path to take, and why if it is the slow one; and how much goes into a forward."""

    path: runs.Path
    reason: str | None = None
    room: batches.Room = field(default_factory=batches.Room)
    # Whether keys and values of the positions before the points may be shared with other layers.
    shared: bool = False

    @property
    def provenance(self) -> dict[str, str]:
        """For a result's provenance."""
        found: dict[str, str] = {"path": self.path, **({"path_reason": self.reason} if self.reason else {})}
        if self.room.most is not None:
            found["memory"] = f"out of memory: no more than {self.room.most} pairs, or rows of a slice, in a forward"
        return found


def choose_path(
    model: LoadedModel,
    a: Sequence[Prompt],
    b: Sequence[Prompt],
    layer: int,
    reads: Sequence[Read],
    points: int,
    least: int | None = None,
    course: Course = USUAL,
) -> Choice:
    """The fast path where it gives what the reference path gives on these prompts, else the reference path.

    `points` is how many points will follow a prompt, `least` how many of them where memory is short. Raises
    `MeasureError` when the model has no such layer, does not read from left to right, does not return the residual
    stream from its blocks, or is a catalogued one on which the two paths ought to agree and do not; `NotMeasuredError`
    when there is no memory for a pair.
    """
    check_layer(model, layer)
    room = batches.Room()
    # One forward tells of all blocks.
    blocks = [read for read in reads if block_of(read)]
    groups = [[read] for read in reads if read not in blocks] + ([blocks] if blocks else [])
    sorts = _sorts(a, b, course)
    asked = (_Check(model, *some, layer, group, course) for group in groups for some in sorts)
    doubts = (_doubt(check, points, least or points, room) for check in asked)
    doubt = next((found for found in doubts if found), None)
    if doubt is None:
        return Choice("fast", room=room)
    # A counterfeit has no family: where its weights make much of rounding, the plain path is taken.
    known = catalog.models().get(model.name) if model.weights == "stored" else None
    if known is not None and known.origin != "added" and model.source == known.source:
        raise MeasureError(
            f"{doubt}, and {model.name} is of a family that the fast path is known to fit: the measuring code, torch "
            "or transformers is broken here. Run the tests of measure/core/forward.py."
        )
    return Choice("reference", doubt, room)


def _sorts(a: Sequence[Prompt], b: Sequence[Prompt], course: Course) -> list[tuple[Sequence[Prompt], Sequence[Prompt]]]:
    """The pairs of each check: all, of which the longest are looked at, and those with the most positions patched.

    Where the longest prompts differ late alone, shorter ones that differ early run by masks that they have none of.
    """
    if course.patched != "difference":
        return [(a, b)]
    lengths = [course.tail(*pair).length if pair[0] != pair[1] else 0 for pair in zip(a, b, strict=True)]
    most = [row for row, length in enumerate(lengths) if length == max(lengths)]
    if max(len(a[row]) for row in most) == max(map(len, a)):
        return [(a, b)]
    return [(a, b), ([a[row] for row in most], [b[row] for row in most])]


@dataclass(frozen=True, eq=False)
class _Check:
    """What the two paths are compared on."""

    model: LoadedModel
    a: Sequence[Prompt]
    b: Sequence[Prompt]
    layer: int
    reads: Sequence[Read]
    course: Course

    def rows(self, tokens: int, *, alone: bool) -> list[int]:
        """A pair of the longest context, and one as long beside it unless `alone`."""
        a, b, of = self.a, self.b, self.course
        longest = [row for row in range(len(a)) if len(a[row]) == tokens]
        # From a state to itself nothing moves, and any two paths agree.
        rows = [row for row in longest if a[row] != b[row]] or longest[:1]
        # Of several positions those of the most: one alone runs as the last does, and says nothing of more.
        rows = sorted(rows, key=lambda row: -of.tail(a[row], b[row]).length)[:2]
        rows = [row for row in rows if of.tail(a[row], b[row]) == of.tail(a[rows[0]], b[rows[0]])]
        return rows[:1] if alone else rows

    def moves(self, row: int) -> bool:
        """Whether anything can differ along a pair."""
        return self.course.points is not None or self.a[row] != self.b[row]


def _doubt(check: _Check, points: int, least: int, room: batches.Room) -> str | None:
    """Why the fast path is not to be trusted with this model and prompts; None when it agrees with the reference.

    Memory that is short says nothing of a path: then `least` points of one pair are compared, and in `room` is one pair
    from then on. Raises `NotMeasuredError` where there is not enough for that.
    """
    model = check.model
    if room.most is None:
        try:
            return _compare(check, points, alone=False)
        except Exception as error:
            if not batches.is_out_of_memory(error):
                raise
        room.shrink(model, 1)
    try:
        return _compare(check, least, alone=True)
    except Exception as error:
        if not batches.is_out_of_memory(error):
            raise
    raise batches.no_memory(model, batches.positions_of(model, max(map(len, check.a)), least))


def _compare(check: _Check, points: int, *, alone: bool) -> str | None:
    """Why the fast path differs from the reference; None when it agrees.

    Compared on a pair with the longest context, and one as long beside it unless `alone`, at the first, middle and last
    point, and on a short pair alone where few positions run by kernels of their own; a model that passed is not asked
    again for prompts as long or shorter, followed by as many points or fewer in a row.
    """
    model, a, b = check.model, check.a, check.b
    tokens = max(map(len, a))
    rows = check.rows(tokens, alone=alone)
    tail = check.course.tail(a[rows[0]], b[rows[0]])
    row = -(-points // batches.rows_of(points, tokens - 1, model.shape.hidden)) * tail.length
    # One position alone, in as many points, says nothing of several.
    key = check.course.key + (" | one position" if tail.every and tail.length == 1 else "")
    passed = [model.facts.passed.setdefault((check.layer, read + key), []) for read in check.reads]
    if all(any(tokens <= longest and row <= most for longest, most in known) for known in passed):
        return None
    asked = [Some([a[row] for row in rows], [b[row] for row in rows], rows, points)]
    with as_measured(model.network, tf32=model.tf32):
        if kernels.is_faster(model.embedding):
            # Few positions run by kernels of their own, in memory the other way round.
            few = -max(10, tail.length)
            asked.append(Some([asked[0].a[0][few:]], [asked[0].b[0][few:]], rows[:1], 50))
        expected: dict[Read, Float[Tensor, "pairs steps units"]] = {}
        for number, pairs in enumerate(asked):
            same = number and (pairs.a, pairs.b, pairs.count) == (asked[0].a[:1], asked[0].b[:1], points)
            expected = {read: found[:1] for read, found in expected.items()} if same else _plainly(check, pairs, alone)
            if told := _off(check, pairs, expected):
                return told
    if check.moves(rows[0]):
        for known in passed:
            known.append((tokens, row))
        model.facts.keep()
    return None


def _few(pairs: Some) -> list[int]:
    """The points that are compared: the first, the middle and the last."""
    return [0, pairs.count // 2, pairs.count - 1]


def _off(check: _Check, pairs: Some, expected: Mapping[Read, Float[Tensor, "pairs steps units"]]) -> str | None:
    """How the fast path differs from what is expected on some pairs; None where by rounding alone."""
    model = check.model
    for read in check.reads:
        _check_finite(check, pairs, expected[read], read)
    try:
        found = _segments(check, pairs, "fast")
    except Exception as error:  # whatever a model unlike those we know may raise
        if batches.is_out_of_memory(error):
            raise
        return f"the fast path failed: {error!r}"
    for read in check.reads:
        scale = runs.norms(expected[read][:, 0])[:, None]
        off = np.abs(runs.from_start(found[read])[:, _few(pairs)] - runs.from_start(expected[read])) / scale
        beyond = ~(off <= _agreement(model) * _amplified(runs.from_start(found[read]) / scale)[:, _few(pairs)])
        if beyond.any():
            return f"the fast path differs from the reference by {off[beyond].max():.2g} of ||F(A)||"
    return None


def agrees(
    model: LoadedModel,
    found: Float[Tensor, "pairs points units"],
    expected: Float[Tensor, "pairs two units"],
    at: int,
) -> bool:
    """Whether what was found at the point numbered `at` is, by rounding, what was expected at the second of two.

    The first ones of both are where the path begins.
    """
    scale = runs.norms(expected[:, 0])[:, None]
    distance = runs.from_start(found) / scale
    off = np.abs(distance[:, at] - runs.from_start(expected)[:, 1] / scale[:, 0])
    return bool((off <= _agreement(model) * _amplified(distance)[:, at]).all())


def _amplified(distance: Float[np.ndarray, "pairs steps"]) -> Float[np.ndarray, "pairs steps"]:
    """By how much rounding of a state grows on its way out: a tenth of the speed of d over alpha, 1 at least.

    Where a pretrained model jumps, a speed of 43 was seen: there two float32 paths were 1.4e-5 apart, and in float64
    equal to the last digit.
    """
    if distance.shape[1] < 2:
        return np.ones_like(distance)
    speed = np.abs(np.gradient(distance, axis=1)) * (distance.shape[1] - 1)
    # Written so that a NaN amplifies nothing.
    return np.where(speed > 10, speed / 10, 1.0)


def _plainly(check: _Check, pairs: Some, alone: bool) -> dict[Read, Float[Tensor, "pairs steps units"]]:
    """What the reference path gives on pairs whose A prompts are equally long, all points in one plain forward.

    With `alone` each point in a forward of its own. Raises `MeasureError` where a plain forward fails, the model does
    not read from left to right, or its block `layer` does not return the residual stream.
    """
    try:
        if not alone:
            return _in_one(check, pairs, _few(pairs))
        found = [_in_one(check, pairs, [step]) for step in _few(pairs)]
        return {read: torch.cat([one[read] for one in found], dim=1) for read in check.reads}
    except MeasureError:
        raise
    except Exception as error:
        if batches.is_out_of_memory(error):
            raise
        what = (str(error).strip().splitlines() or ["no word"])[0].rstrip(".")
        raise MeasureError(
            f"{check.model.name}: a plain forward of {len(pairs.a[0])} tokens failed ({type(error).__name__}: {what}); "
            "expected a causal language model that runs on token ids alone."
        ) from error


def _in_one(check: _Check, pairs: Some, some: list[int]) -> dict[Read, Float[Tensor, "pairs steps units"]]:
    model, layer, reads, a, b = check.model, check.layer, check.reads, pairs.a, pairs.b
    states: dict[Prompt, Tensor] = {}
    other = _other_end(model, a[0])
    for length in {len(prompt) for prompt in (*a, *b)}:
        group = [prompt for prompt in dict.fromkeys((*a, *b, other)) if len(prompt) == length]
        found = reference.reference_states(model, torch.tensor(group, device=model.device), layer)
        states.update(zip(group, found, strict=True))
    _check_causal(model, states[a[0]], states[other])
    tail = check.course.tail(a[0], b[0])
    points = check.course.drawn(runs.Contexts(states, as_tuple=False), pairs, tail, some).points
    ids = torch.tensor(a, device=model.device).repeat_interleave(len(some), 0)
    rows, frozen = points.flatten(0, 1), parts.frozen([prompt for prompt in a for _ in some])
    # States are told apart from those patched by their position, the last.
    if placement.fits(model, ids) and tail == LAST:
        with frozen, placement.held(model, layer):
            out = reference.reference_reads(model, ids, rows, layer, reads, tail)
    else:
        with placement.held(model, layer):
            point = points[0, 0].reshape(-1, points.shape[-1])[0]
            reference.reference_read(model, ids[0, -placement.FEW_TOKENS :], point, layer, "final_norm")
        with frozen:
            out = reference.reference_reads(model, ids, rows, layer, reads, tail)
    return {read: out[read].view(*points.shape[:2], -1) for read in reads}


def _check_finite(check: _Check, pairs: Some, found: Float[Tensor, "pairs steps units"], read: Read) -> None:
    """Raise `MeasureError` where the reference path gives what is no number: that is no doubt about the fast one."""
    distances = runs.from_start(found)
    if not np.isfinite(distances).all():
        known = runs.contexts(check.model, (*pairs.a, *pairs.b), check.layer, "reference")
        tail = check.course.tail(pairs.a[0], pairs.b[0])
        points = check.course.drawn(known, pairs, tail, _few(pairs)).points
        finite.check(check.model, distances, list(pairs.a), list(pairs.b), points, check.layer, read)


def _agreement(model: LoadedModel) -> float:
    return AGREEMENT_TF32 if model.tf32 else AGREEMENT[model.dtype]


def _segments(check: _Check, pairs: Some, path: runs.Path) -> runs.Found:
    known = runs.contexts(check.model, (*pairs.a, *pairs.b), check.layer, path)
    tail = check.course.tail(pairs.a[0], pairs.b[0])
    points = check.course.drawn(known, pairs, tail, list(range(pairs.count))).points
    return runs.outputs(
        check.model, known, pairs.a, points, check.layer, check.reads, path, *([tail] if tail != LAST else [])
    )


def _other_end(model: LoadedModel, prompt: Prompt) -> Prompt:
    """The prompt with another last token."""
    return (*prompt[:-1], (prompt[-1] + 1) % model.vocabulary)


def _check_causal(
    model: LoadedModel, states: Float[Tensor, "tokens width"], other: Float[Tensor, "tokens width"]
) -> None:
    """Raise `MeasureError` when changing the last token has changed what stands before it."""
    moved = float((states[:-1] - other[:-1]).abs().max()) if len(states) > 1 else 0.0
    if moved > _agreement(model) * float(states.abs().max()):
        raise MeasureError(
            f"{model.name} does not read from left to right: its last token changes the states before it, so that "
            "patching the last position alone has no meaning. Only causal language models can be measured."
        )
