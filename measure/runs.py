"""Run points in their prompts' contexts, by the fast path or the reference path; check the one against the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from measure import catalog, finite, forward, linear, paths, placement
from measure.models import LoadedModel, as_measured
from measure.prompts import Prompt
from measure.spec import MeasureError, NotMeasuredError, Read

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
    """States after the patched block of some prompts, (tokens, width) each, and how the model's blocks hand them on."""

    states: dict[Prompt, Float[Tensor, "tokens width"]]
    as_tuple: bool

    def last(self, prompts: Sequence[Prompt]) -> Float[Tensor, "prompts width"]:
        """States at the last position of each prompt."""
        return torch.stack([self.states[prompt][-1] for prompt in prompts])

    def earlier(self, prompts: Sequence[Prompt]) -> Float[Tensor, "prompts earlier width"]:
        """States at the positions before the last, of prompts of one length."""
        return torch.stack([self.states[prompt][:-1] for prompt in prompts])


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


def outputs(
    model: LoadedModel,
    known: Contexts,
    prompts: Sequence[Prompt],
    points: Float[Tensor, "prompts points width"],
    layer: int,
    reads: Sequence[Read],
    path: Path,
) -> Found:
    """What comes out when each prompt's last position is overwritten by each of its points after `layer` blocks.

    One tensor (prompts, points, units) for each of `reads`, and the residual state in any case. The fast path takes
    prompts of one length and runs its blocks once for all reads.
    """
    if path == "fast":
        direct = reads[0] if len(reads) == 1 else "residual"
        earlier = known.earlier(prompts)
        rows = rows_of(points.shape[1], earlier.shape[1], points.shape[2])
        more = linear.filling(earlier.shape[1] + points.shape[1], points) if len(prompts) * rows == 1 else 0
        cut = in_rows(points, rows, more)
        out = forward.run_from_layer(
            model, earlier.repeat_interleave(rows, 0), cut, layer, direct, as_tuple=known.as_tuple
        )
        residual = together(out.residual, *points.shape[:2])
        found: Found = {"residual": residual, direct: together(out.read, *points.shape[:2])}
        return found | {read: norm_only(model, residual, read, known, path) for read in reads if read not in found}
    wanted: list[Read] = list(dict.fromkeys((*reads, "residual")))
    return {
        read: torch.stack(
            [_reference_row(model, prompt, row, layer, read) for prompt, row in zip(prompts, points, strict=True)]
        )
        for read in wanted
    }


def rows_of(points: int, earlier: int, width: int) -> int:
    """Into how many rows of a batch a prompt's points are cut.

    All in one, attention costs the square of their number; in many, the positions before them run many times. With
    24 width^2 operations for a position in a block and 4 width for each pair of positions, rows of
    sqrt(earlier (6 width + earlier)) cost least; none gets shorter than that, or than `ROW`.
    """
    return max(1, int(points / max(ROW, (earlier * (6 * width + earlier)) ** 0.5)))


def positions_of(model: LoadedModel, tokens: int, points: int) -> int:
    """How many positions run for a prompt of so many tokens and its points."""
    return points + rows_of(points, tokens - 1, model.shape.hidden) * (tokens - 1)


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
    model: LoadedModel, prompt: Prompt, points: Float[Tensor, "points width"], layer: int, read: Read
) -> Float[Tensor, "points units"]:
    ids = torch.tensor(prompt, device=model.device)
    return torch.stack([forward.reference_read(model, ids, point, layer, read) for point in points])


def norm_only(
    model: LoadedModel, residual: Float[Tensor, "prompts points width"], read: Read, known: Contexts, path: Path
) -> Float[Tensor, "prompts points units"]:
    """The read of residual states that stand where the last block's output stands: no block runs."""
    if path == "fast":
        # Each point as a prompt of its own: in one prompt they would stand under a mask of the square of their number.
        alone = residual.flatten(0, 1)[:, None]
        return forward.run_norm_only(model, alone, read, as_tuple=known.as_tuple).view(*residual.shape[:2], -1)
    prompt = next(iter(known.states))
    return torch.stack([_reference_row(model, prompt, row, model.depth, read) for row in residual])


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
    model: LoadedModel, a: Sequence[Prompt], b: Sequence[Prompt], points: int, positions: int, *, logits: bool
) -> Iterator[list[int]]:
    """Rows to run together: A prompts of one length, at most `positions` positions to a forward (one pair at least).

    With `logits` no more than can be held.
    """
    bound = min(positions, LOGIT_VALUES // model.vocabulary) if logits else positions
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, pair in enumerate(zip(a, b, strict=True)):
        groups[len(pair[0]), len(pair[1])].append(row)
    for (a_tokens, b_tokens), rows in groups.items():
        size = max(1, bound // max(positions_of(model, a_tokens, points), a_tokens + b_tokens))
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
) -> Choice:
    """The fast path where it gives what the reference path gives on these prompts, else the reference path.

    `points` is how many points will follow a prompt, `least` how many of them where memory is short. Raises
    `MeasureError` when the model has no such layer, does not read from left to right, does not return the residual
    stream from its blocks, or is a catalogued one on which the two paths ought to agree and do not; `NotMeasuredError`
    when there is no memory for a pair.
    """
    check_layer(model, layer)
    room = Room()
    doubts = (_doubt(model, a, b, layer, read, points, least or points, room) for read in reads)
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


def _doubt(
    model: LoadedModel,
    a: Sequence[Prompt],
    b: Sequence[Prompt],
    layer: int,
    read: Read,
    points: int,
    least: int,
    room: Room,
) -> str | None:
    """Why the fast path is not to be trusted with this model and prompts; None when it agrees with the reference.

    Memory that is short says nothing of a path: then `least` points of one pair are compared, and in `room` is one pair
    from then on. Raises `NotMeasuredError` where there is not enough for that.
    """
    if room.most is None:
        try:
            return _compare(model, a, b, layer, read, points, alone=False)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        room.shrink(model, 1)
    try:
        return _compare(model, a, b, layer, read, least, alone=True)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    raise _no_memory(model, positions_of(model, max(map(len, a)), least))


def _compare(
    model: LoadedModel, a: Sequence[Prompt], b: Sequence[Prompt], layer: int, read: Read, points: int, *, alone: bool
) -> str | None:
    """Why the fast path differs from the reference; None when it agrees.

    Compared on a pair with the longest context, and one as long beside it unless `alone`, at the first, middle and last
    alpha, and on a short pair alone where few positions run by kernels of their own; a model that passed is not asked
    again for prompts as long or shorter, followed by as many points or fewer in a row.
    """
    tokens = max(map(len, a))
    row = -(-points // rows_of(points, tokens - 1, model.shape.hidden))
    passed = model.facts.passed.setdefault((layer, read), [])
    if any(tokens <= longest and row <= most for longest, most in passed):
        return None
    longest = [row for row in range(len(a)) if len(a[row]) == tokens]
    # From a state to itself nothing moves, and any two paths agree.
    rows = [row for row in longest if a[row] != b[row]][:2] or longest[:1]
    rows = rows[:1] if alone else rows
    first, second = [a[row] for row in rows], [b[row] for row in rows]
    with as_measured(model.network, tf32=model.tf32):
        asked = [(first, second, points)]
        if linear.is_faster(model.embedding):
            # Few positions run by kernels of their own, in memory the other way round.
            asked.append(([first[0][-10:]], [second[0][-10:]], 50))
        expected: Float[Tensor, "pairs steps units"] | None = None
        for a_prompts, b_prompts, count in asked:
            alphas, some = paths.alphas(count), [0, count // 2, count - 1]
            if expected is not None and (a_prompts, b_prompts, count) == (first[:1], second[:1], points):
                expected = expected[:1]
            else:
                expected = _plainly(model, a_prompts, b_prompts, alphas[some], layer, read, alone)
            _check_finite(model, expected, a_prompts, b_prompts, alphas[some], layer, read)
            try:
                found = _segments(model, a_prompts, b_prompts, alphas, layer, read, "fast")
            except Exception as error:  # whatever a model unlike those we know may raise
                if is_out_of_memory(error):
                    raise
                return f"the fast path failed: {error!r}"
            scale = norms(expected[:, 0])[:, None]
            off = np.abs(from_start(found)[:, some] - from_start(expected)) / scale
            beyond = ~(off <= _agreement(model) * _amplified(from_start(found) / scale)[:, some])
            if beyond.any():
                return f"the fast path differs from the reference by {off[beyond].max():.2g} of ||F(A)||"
    if a[rows[0]] != b[rows[0]]:
        passed.append((tokens, row))
        model.facts.keep()
    return None


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


def _plainly(
    model: LoadedModel,
    a: Sequence[Prompt],
    b: Sequence[Prompt],
    alphas: Float[np.ndarray, " steps"],
    layer: int,
    read: Read,
    alone: bool,
) -> Float[Tensor, "pairs steps units"]:
    """What the reference path gives on pairs whose A prompts are equally long, all points in one plain forward.

    With `alone` each point in a forward of its own. Raises `MeasureError` where a plain forward fails, the model does
    not read from left to right, or its block `layer` does not return the residual stream.
    """
    try:
        if not alone:
            return _in_one(model, a, b, alphas, layer, read)
        return torch.cat([_in_one(model, a, b, alphas[[step]], layer, read) for step in range(len(alphas))], dim=1)
    except MeasureError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        what = (str(error).strip().splitlines() or ["no word"])[0].rstrip(".")
        raise MeasureError(
            f"{model.name}: a plain forward of {len(a[0])} tokens failed ({type(error).__name__}: {what}); expected a "
            "causal language model that runs on token ids alone."
        ) from error


def _in_one(
    model: LoadedModel,
    a: Sequence[Prompt],
    b: Sequence[Prompt],
    alphas: Float[np.ndarray, " steps"],
    layer: int,
    read: Read,
) -> Float[Tensor, "pairs steps units"]:
    known: dict[Prompt, Tensor] = {}
    other = _other_end(model, a[0])
    for length in {len(prompt) for prompt in (*a, *b)}:
        group = [prompt for prompt in dict.fromkeys((*a, *b, other)) if len(prompt) == length]
        states = forward.reference_states(model, torch.tensor(group, device=model.device), layer)
        known.update(zip(group, states, strict=True))
    _check_causal(model, known[a[0]], known[other])
    ends = [torch.stack([known[prompt][-1] for prompt in side]) for side in (a, b)]
    points = paths.segment(ends[0], ends[1], alphas)
    ids = torch.tensor(a, device=model.device).repeat_interleave(len(alphas), 0)
    if placement.fits(model, ids):
        with placement.held(model, layer):
            return forward.reference_read(model, ids, points.flatten(0, 1), layer, read).view(*points.shape[:2], -1)
    with placement.held(model, layer):
        forward.reference_read(model, ids[0, -placement.FEW_TOKENS :], points[0, 0], layer, read)
    return forward.reference_read(model, ids, points.flatten(0, 1), layer, read).view(*points.shape[:2], -1)


def _check_finite(
    model: LoadedModel,
    found: Float[Tensor, "pairs steps units"],
    a: Sequence[Prompt],
    b: Sequence[Prompt],
    alphas: Float[np.ndarray, " steps"],
    layer: int,
    read: Read,
) -> None:
    """Raise `MeasureError` where the reference path gives what is no number: that is no doubt about the fast one."""
    distances = from_start(found)
    if not np.isfinite(distances).all():
        known = contexts(model, (*a, *b), layer, "reference")
        points = paths.segment(known.last(a), known.last(b), alphas)
        finite.check(model, distances, list(a), list(b), points, layer, read)


def _agreement(model: LoadedModel) -> float:
    return AGREEMENT_TF32 if model.tf32 else AGREEMENT[model.dtype]


def _segments(
    model: LoadedModel,
    a: Sequence[Prompt],
    b: Sequence[Prompt],
    alphas: Float[np.ndarray, " steps"],
    layer: int,
    read: Read,
    path: Path,
) -> Float[Tensor, "pairs steps units"]:
    known = contexts(model, (*a, *b), layer, path)
    points = paths.segment(known.last(a), known.last(b), alphas)
    return outputs(model, known, a, points, layer, [read], path)[read]


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
