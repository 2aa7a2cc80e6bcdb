"""Run points in their prompts' contexts, by the fast path or the reference path; check the one against the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from measure import catalog, finite, forward, linear, parts, placement, prefixes
from measure.course import USUAL, Course, Some
from measure.forward import LAST, Tail
from measure.models import LoadedModel, as_measured
from measure.prefixes import KeysValues
from measure.prompts import Prompt
from measure.spec import MeasureError, NotMeasuredError, Read, block_of

Path = Literal["fast", "reference"]

# Points in a row at least: in shorter ones what a cut saves is lost again in copies (benchmarks/README.md).
ROW = 128

# Logits held at a time, in numbers: 256 MB in float32.
LOGIT_VALUES = 2**26

# How far d may differ between the two paths, relative to ||F(A)||: rounding, no more.
AGREEMENT = {torch.float64: 1e-5, torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 5e-3}
AGREEMENT_TF32 = 5e-3


# What came out at points, by read: (prompts, points, units).
Found = dict[Read, Float[Tensor, "prompts points units"]]


@dataclass(frozen=True, eq=False)
class Contexts:
    """States after the patched block of some prompts, (tokens, width) each, and how the model's blocks hand them on.

    `kept` holds keys and values of all blocks, where several layers share them: for each prompt, in which row of what.
    """

    states: dict[Prompt, Float[Tensor, "tokens width"]]
    as_tuple: bool
    kept: Mapping[Prompt, tuple[KeysValues, int]] = field(default_factory=dict)

    def last(self, prompts: Sequence[Prompt]) -> Float[Tensor, "prompts width"]:
        """States at the last position of each prompt."""
        return torch.stack([self.states[prompt][-1] for prompt in prompts])

    def earlier(self, prompts: Sequence[Prompt], tail: Tail = LAST) -> Float[Tensor, "prompts earlier width"]:
        """States at the positions before the patched one, of prompts of one length."""
        return torch.stack([self.states[prompt][: -tail.length] for prompt in prompts])

    def kept_before(self, prompts: Sequence[Prompt], tokens: int) -> KeysValues | None:
        """Keys and values at the first `tokens` positions of each prompt; None unless they are kept of all."""
        if not tokens or any(prompt not in self.kept for prompt in prompts):
            return None
        return prefixes.gathered([self.kept[prompt] for prompt in prompts], tokens)

    def patched(self, prompts: Sequence[Prompt], tail: Tail) -> Float[Tensor, "prompts *length width"]:
        """States at the patched position of each prompt; with `tail.every` at all of them, (prompts, length, width)."""
        return torch.stack(
            [
                self.states[prompt][-tail.length :] if tail.every else self.states[prompt][-tail.length]
                for prompt in prompts
            ]
        )


def contexts(
    model: LoadedModel, prompts: Iterable[Prompt], layer: int, path: Path, before: Contexts | None = None
) -> Contexts:
    """States after `layer` blocks of every distinct prompt, each run once; the fast path runs a length together.

    Those that `before` holds are taken from there: chained pairs share a prompt with the pairs before them.
    """
    wanted = dict.fromkeys(prompts)
    held = before.states if before is not None else {}
    found: dict[Prompt, Tensor] = {prompt: held[prompt] for prompt in wanted if prompt in held}
    distinct = [prompt for prompt in wanted if prompt not in found]
    if path == "reference":
        for prompt in distinct:
            found[prompt] = forward.reference_states(model, torch.tensor(prompt, device=model.device), layer)
        return Contexts(found, as_tuple=False)
    by_length: dict[int, list[Prompt]] = defaultdict(list)
    for prompt in distinct:
        by_length[len(prompt)].append(prompt)
    as_tuple = before is not None and before.as_tuple
    for group in by_length.values():
        boundary = forward.run_to_layer(model, torch.tensor(group, device=model.device), layer)
        found.update(zip(group, boundary.states, strict=True))
        as_tuple = boundary.as_tuple
    return Contexts(found, as_tuple)


def several_contexts(
    model: LoadedModel,
    prompts: Iterable[Prompt],
    layers: Sequence[int],
    path: Path,
    before: Mapping[int, Contexts],
    *,
    keep: Collection[Prompt] = (),
) -> dict[int, Contexts]:
    """`contexts` after each of some layers; the fast path runs each prompt once for all of them.

    To `keep` their keys and values some run through all blocks, where that can be done.
    """
    wanted = list(dict.fromkeys(prompts))
    if path == "reference":
        return {layer: contexts(model, wanted, layer, path, before.get(layer)) for layer in layers}
    held = {layer: before[layer].states if layer in before else {} for layer in layers}
    states = {layer: {prompt: held[layer][prompt] for prompt in wanted if prompt in held[layer]} for layer in layers}
    was = before[layers[0]].kept if layers[0] in before else {}
    kept = {prompt: was[prompt] for prompt in wanted if prompt in was}
    by_length: dict[tuple[int, bool], list[Prompt]] = defaultdict(list)
    for prompt in wanted:
        if prompt not in states[layers[0]] or (prompt in keep and prompt not in kept):
            by_length[len(prompt), prompt in keep].append(prompt)
    as_tuple = {layer: layer in before and before[layer].as_tuple for layer in layers}
    for (_, all_blocks), group in by_length.items():
        ids = torch.tensor(group, device=model.device)
        for layer, boundary in forward.run_to_layers(model, ids, layers, keep=all_blocks).items():
            states[layer].update(zip(group, boundary.states, strict=True))
            as_tuple[layer] = boundary.as_tuple
            if boundary.kept is not None:
                kept |= {prompt: (boundary.kept, row) for row, prompt in enumerate(group)}
    return {layer: Contexts(states[layer], as_tuple[layer], kept) for layer in layers}


def outputs(
    model: LoadedModel,
    known: Contexts,
    prompts: Sequence[Prompt],
    points: Float[Tensor, "prompts points *length width"],
    layer: int,
    reads: Sequence[Read],
    path: Path,
    tail: Tail = LAST,
) -> Found:
    """What comes out when each prompt's last position is overwritten by each of its points after `layer` blocks.

    One tensor (prompts, points, units) for each of `reads`, and the residual state in any case. The fast path takes
    prompts of one length and runs its blocks once for all reads. `tail` tells of another position, or several: then a
    point is a state for each of those that are patched.
    """
    if path == "fast":
        blocks = {read: place for read in reads if (place := block_of(read)) is not None}
        others = [read for read in reads if read not in blocks]
        direct = others[0] if len(others) == 1 else "residual"
        earlier = known.earlier(prompts, tail)
        run = _in_tail(known, prompts, points, tail)
        rows = min(points.shape[1], rows_of(run.shape[1], earlier.shape[1], run.shape[2]))
        alone = len(prompts) * rows * tail.length == 1
        more = linear.filling(earlier.shape[1] + points.shape[1], points) if alone else 0
        cut = in_rows(run.reshape(len(run), -1, tail.length * run.shape[2]), rows, more)
        kept = known.kept_before([prompt for prompt in prompts for _ in range(rows)], earlier.shape[1])
        with parts.frozen([prompt for prompt in prompts for _ in range(rows)], tail.length, cut.shape[1]):
            out = forward.run_from_layer(
                model,
                earlier.repeat_interleave(rows, 0),
                cut.reshape(len(cut), -1, run.shape[2]),
                layer,
                direct,
                as_tuple=known.as_tuple,
                blocks=tuple(blocks.values()),
                tail=tail,
                **({} if kept is None else {"kept": kept}),
            )
        residual = together(out.residual, *points.shape[:2])
        found: Found = {"residual": residual, direct: together(out.read, *points.shape[:2])}
        found |= {read: together(out.blocks[place], *points.shape[:2]) for read, place in blocks.items()}
        return found | {read: norm_only(model, residual, read, known, path) for read in reads if read not in found}
    wanted: list[Read] = list(dict.fromkeys((*reads, "residual")))
    # Blocks by one forward for each point; other reads one after the other, as who counts in the forwards expects.
    groups = [[read] for read in wanted if block_of(read) is None] + [[read for read in wanted if block_of(read)]]
    whole: Found = {}
    for group in filter(None, groups):
        sides = zip(prompts, points, strict=True)
        rows_found = [_reference_row(model, prompt, row, layer, group, tail) for prompt, row in sides]
        whole |= {read: torch.stack([row[read] for row in rows_found]) for read in group}
    return whole


def _in_tail(
    known: Contexts, prompts: Sequence[Prompt], points: Float[Tensor, "prompts points *length width"], tail: Tail
) -> Float[Tensor, "prompts positions width"]:
    """Every position that runs for each point: those patched, and those behind them as A's clean run has them."""
    if tail.length == 1 or tail.every:
        return points.reshape(len(points), -1, points.shape[-1])
    later = torch.stack([known.states[prompt][1 - tail.length :] for prompt in prompts])
    behind = later[:, None].expand(-1, points.shape[1], -1, -1)
    return torch.cat([points[:, :, None], behind], dim=2).flatten(1, 2)


def rows_of(points: int, earlier: int, width: int) -> int:
    """Into how many rows of a batch a prompt's points are cut.

    All in one, attention costs the square of their number; in many, the positions before them run many times. With
    24 width^2 operations for a position in a block and 4 width for each pair of positions, rows of
    sqrt(earlier (6 width + earlier)) cost least; none gets shorter than that, or than `ROW`.
    """
    return max(1, int(points / max(ROW, (earlier * (6 * width + earlier)) ** 0.5)))


def positions_of(model: LoadedModel, tokens: int, points: int, tail: int = 1) -> int:
    """How many positions run for a prompt of so many tokens and its points, each of `tail` positions."""
    return tail * points + rows_of(tail * points, tokens - tail, model.shape.hidden) * (tokens - tail)


def in_rows(points: Float[Tensor, "prompts points width"], rows: int, more: int) -> Float[Tensor, "rows some width"]:
    """Each prompt's points cut into as many rows of one length, `more` than they need; its last point fills them up."""
    prompts, count, width = points.shape
    size = -(-count // rows) + more
    filled = torch.cat([points, points[:, -1:].expand(-1, rows * size - count, -1)], dim=1)
    return filled.reshape(prompts * rows, size, width)


def together(
    found: Shaped[Tensor, "rows some units"], prompts: int, points: int
) -> Shaped[Tensor, "prompts points units"]:
    """What came out of rows that `in_rows` made, by prompt again."""
    return found.reshape(prompts, -1, found.shape[-1])[:, :points]


def _reference_row(
    model: LoadedModel,
    prompt: Prompt,
    points: Float[Tensor, "points *length width"],
    layer: int,
    reads: Sequence[Read],
    tail: Tail = LAST,
) -> dict[Read, Float[Tensor, "points units"]]:
    ids = torch.tensor(prompt, device=model.device)
    with parts.frozen([prompt]):
        found = [_plain_reads(model, ids, point, layer, reads, tail) for point in points]
    return {read: torch.stack([one[read] for one in found]) for read in reads}


def _plain_reads(
    model: LoadedModel, ids: Tensor, points: Tensor, layer: int, reads: Sequence[Read], tail: Tail = LAST
) -> dict[Read, Tensor]:
    """By read what plain forwards of prompts of one length give, each with a point of its own."""
    if tail == LAST and not any(map(block_of, reads)):
        return {read: forward.reference_read(model, ids, points, layer, read) for read in reads}
    return forward.reference_reads(model, ids, points, layer, reads, tail)


def norm_only(
    model: LoadedModel, residual: Float[Tensor, "prompts points width"], read: Read, known: Contexts, path: Path
) -> Float[Tensor, "prompts points units"]:
    """The read of residual states that stand where the last block's output stands: no block runs."""
    if path == "fast":
        # Each point as a prompt of its own: in one prompt they would stand under a mask of the square of their number.
        alone = residual.flatten(0, 1)[:, None]
        return forward.run_norm_only(model, alone, read, as_tuple=known.as_tuple).view(*residual.shape[:2], -1)
    prompt = next(iter(known.states))
    return torch.stack([_reference_row(model, prompt, row, model.depth, [read])[read] for row in residual])


def top_tokens(
    model: LoadedModel, residual: Float[Tensor, "points width"], known: Contexts, path: Path
) -> Int[np.ndarray, " points"]:
    """The most probable next token at each final residual state; logits of a part of the points at a time."""
    size = max(1, LOGIT_VALUES // model.vocabulary)
    parts = [norm_only(model, part[None], "logits", known, path)[0].max(-1) for part in torch.split(residual, size)]
    if not all(torch.isfinite(part.values).all() for part in parts):
        raise MeasureError(
            f"{model.name}: logits are NaN or infinity, so that no token is the most probable; take a wider precision, "
            "such as 'float32', or restore the checkpoint."
        )
    return torch.cat([part.indices for part in parts]).cpu().numpy()


def from_start(read: Float[Tensor, "prompts points units"]) -> Float[np.ndarray, "prompts points"]:
    """Distance of every point's read from the first point's own, so that d(0) is exactly 0."""
    return distances(read, read[:, :1])


def distances(
    read: Float[Tensor, "prompts points units"], reference: Float[Tensor, "prompts others units"]
) -> Float[np.ndarray, "prompts points"]:
    """Euclidean distance between reads, float64."""
    return norms(read - reference)


def norms(read: Float[Tensor, "*points units"]) -> Float[np.ndarray, "*points"]:
    """Euclidean norm of reads, float64.

    Summed in float32, or in float64 if that is what the read is in: over 2,048 units that is 2e-7 off at worst, and six
    times as fast as a sum in float64.
    """
    exact = torch.float64 if read.dtype == torch.float64 else torch.float32
    return torch.linalg.vector_norm(read, dim=-1, dtype=exact).double().cpu().numpy()


def chunks(
    model: LoadedModel,
    a: Sequence[Prompt],
    b: Sequence[Prompt],
    points: int,
    positions: int,
    *,
    logits: bool,
    blocks: int = 0,
    course: Course = USUAL,
) -> Iterator[list[int]]:
    """Rows to run together: A prompts of one length, at most `positions` positions to a forward (one pair at least).

    With `logits` no more than can be held, and with the states after so many `blocks`. Where not the last position is
    patched, of one rows hold as many positions from the patched one on.
    """
    bound = min(positions, LOGIT_VALUES // model.vocabulary) if logits else positions
    bound = min(bound, LOGIT_VALUES // (blocks * model.shape.hidden)) if blocks else bound
    groups: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for row, pair in enumerate(zip(a, b, strict=True)):
        groups[len(pair[0]), len(pair[1]), course.tail(*pair).length].append(row)
    for (a_tokens, b_tokens, tail), rows in groups.items():
        size = max(1, bound // max(positions_of(model, a_tokens, points, tail), a_tokens + b_tokens))
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


def check_layer(model: LoadedModel, layer: int) -> None:
    """Raise `MeasureError` when the model has no such layer."""
    if not 1 <= layer <= model.depth:
        raise MeasureError(
            f"layer={layer}: {model.name} has {model.depth} blocks; layers are counted from 1 "
            f"('after the first layer' is layer=1), so choose 1 to {model.depth}."
        )


@dataclass
class Room:
    """How much goes into a forward: `positions`, and no more than `most` rows once a device had no memory for more."""

    positions: int = forward.CHUNK_POSITIONS
    most: int | None = None

    def run(self, model: LoadedModel, rows: list[int], work: Callable[[list[int]], None], positions: int) -> None:
        """Do `work` on rows, in halves and quarters where the device has no memory for all at once.

        A row takes `positions` positions. Raises `MeasureError` when a single one does not fit.
        """
        if self.most is None or len(rows) <= self.most:
            if _fits(work, rows):
                return
            if len(rows) == 1:
                raise _no_memory(model, positions)
            self.shrink(model, len(rows) // 2)
        size = self.most or 1  # which may become smaller on the way
        for start in range(0, len(rows), size):
            self.run(model, rows[start : start + size], work, positions)

    def shrink(self, model: LoadedModel, most: int) -> None:
        """No more than so many rows from now on."""
        self.most = most
        if model.device.type == "cuda":
            torch.cuda.empty_cache()


def _no_memory(model: LoadedModel, positions: int) -> NotMeasuredError:
    return NotMeasuredError(
        f"{model.name}: there is no memory left on {model.device} for a single pair: some "
        f"{activation_bytes(model, positions) / 1e9:.2f} GB are needed beside the model's weights. Take "
        "shorter prompts or fewer steps, end what else uses the device, or take a larger one."
    )


def _fits(work: Callable[[list[int]], None], rows: list[int]) -> bool:
    """Do `work`; False where memory ran out. What the failed forward held is let go of on return."""
    try:
        work(rows)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device, or the machine, had no memory left."""
    # On a processor torch raises a RuntimeError of no class of its own, as libraries under it do.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(told in str(error) for told in _NO_MEMORY)


_NO_MEMORY = ("DefaultCPUAllocator", "bad_alloc", "out of memory", "STATUS_ALLOC_FAILED")


def activation_bytes(model: LoadedModel, positions: int) -> int:
    """About what a forward of so many positions takes beside the weights, in bytes."""
    return model.dtype.itemsize * positions * model.shape.activations


@dataclass(frozen=True)
class Choice:
    """Which path to take, and why if it is the slow one; and how much goes into a forward."""

    path: Path
    reason: str | None = None
    room: Room = field(default_factory=Room)
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
    room = Room()
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
            "or transformers is broken here. Run the tests of measure/forward.py."
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


def _doubt(check: _Check, points: int, least: int, room: Room) -> str | None:
    """Why the fast path is not to be trusted with this model and prompts; None when it agrees with the reference.

    Memory that is short says nothing of a path: then `least` points of one pair are compared, and in `room` is one pair
    from then on. Raises `NotMeasuredError` where there is not enough for that.
    """
    model = check.model
    if room.most is None:
        try:
            return _compare(check, points, alone=False)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        room.shrink(model, 1)
    try:
        return _compare(check, least, alone=True)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    raise _no_memory(model, positions_of(model, max(map(len, check.a)), least))


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
    row = -(-points // rows_of(points, tokens - 1, model.shape.hidden)) * tail.length
    # One position alone, in as many points, says nothing of several.
    key = check.course.key + (" | one position" if tail.every and tail.length == 1 else "")
    passed = [model.facts.passed.setdefault((check.layer, read + key), []) for read in check.reads]
    if all(any(tokens <= longest and row <= most for longest, most in known) for known in passed):
        return None
    asked = [Some([a[row] for row in rows], [b[row] for row in rows], rows, points)]
    with as_measured(model.network, tf32=model.tf32):
        if linear.is_faster(model.embedding):
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
        if is_out_of_memory(error):
            raise
        return f"the fast path failed: {error!r}"
    for read in check.reads:
        scale = norms(expected[read][:, 0])[:, None]
        off = np.abs(from_start(found[read])[:, _few(pairs)] - from_start(expected[read])) / scale
        beyond = ~(off <= _agreement(model) * _amplified(from_start(found[read]) / scale)[:, _few(pairs)])
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
    scale = norms(expected[:, 0])[:, None]
    distance = from_start(found) / scale
    off = np.abs(distance[:, at] - from_start(expected)[:, 1] / scale[:, 0])
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
        if is_out_of_memory(error):
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
        found = forward.reference_states(model, torch.tensor(group, device=model.device), layer)
        states.update(zip(group, found, strict=True))
    _check_causal(model, states[a[0]], states[other])
    tail = check.course.tail(a[0], b[0])
    points = check.course.drawn(Contexts(states, as_tuple=False), pairs, tail, some).points
    ids = torch.tensor(a, device=model.device).repeat_interleave(len(some), 0)
    rows, frozen = points.flatten(0, 1), parts.frozen([prompt for prompt in a for _ in some])
    # States are told apart from those patched by their position, the last.
    if placement.fits(model, ids) and tail == LAST:
        with frozen, placement.held(model, layer):
            out = _plain_reads(model, ids, rows, layer, reads, tail)
    else:
        with placement.held(model, layer):
            point = points[0, 0].reshape(-1, points.shape[-1])[0]
            forward.reference_read(model, ids[0, -placement.FEW_TOKENS :], point, layer, "final_norm")
        with frozen:
            out = _plain_reads(model, ids, rows, layer, reads, tail)
    return {read: out[read].view(*points.shape[:2], -1) for read in reads}


def _check_finite(check: _Check, pairs: Some, found: Float[Tensor, "pairs steps units"], read: Read) -> None:
    """Raise `MeasureError` where the reference path gives what is no number: that is no doubt about the fast one."""
    distances = from_start(found)
    if not np.isfinite(distances).all():
        known = contexts(check.model, (*pairs.a, *pairs.b), check.layer, "reference")
        tail = check.course.tail(pairs.a[0], pairs.b[0])
        points = check.course.drawn(known, pairs, tail, _few(pairs)).points
        finite.check(check.model, distances, list(pairs.a), list(pairs.b), points, check.layer, read)


def _agreement(model: LoadedModel) -> float:
    return AGREEMENT_TF32 if model.tf32 else AGREEMENT[model.dtype]


def _segments(check: _Check, pairs: Some, path: Path) -> Found:
    known = contexts(check.model, (*pairs.a, *pairs.b), check.layer, path)
    tail = check.course.tail(pairs.a[0], pairs.b[0])
    points = check.course.drawn(known, pairs, tail, list(range(pairs.count))).points
    return outputs(
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
