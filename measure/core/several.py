"""Several layers at once: which path each takes, by one check of the fast path that shares keys and values.

After the first layer the fast path is checked as of a layer alone (`agreement.choose_path`). What the other layers do
differently is where points come in, and that the positions before them do not run again: that is compared on one pair,
at the middle of its path, for all layers in one plain forward.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from measure.core import agreement, batches, forward, parts, placement, reference, runs
from measure.core.agreement import Choice
from measure.core.course import Course, Some
from measure.core.runs import Contexts
from measure.models.loading import LoadedModel, as_measured
from measure.prompts.drawn import Prompt
from measure.spec import Read, block_of

# Of fewer layers, what the shared keys and values take is no less than what they save.
LEAST = 3
# Of the keys and values that are held at a time, 128 MB: fewer pairs run together where they would be more.
BYTES = 2**27


def choices(
    model: LoadedModel,
    a: Sequence[Prompt],
    b: Sequence[Prompt],
    reads: Mapping[int, Sequence[Read]],
    points: int,
    course: Course,
) -> dict[int, Choice]:
    """`agreement.choose_path` for every layer of `reads`, for several of them by one check where that can be done."""
    for layer in reads:
        agreement.check_layer(model, layer)
    first = min(reads)
    found = {first: agreement.choose_path(model, a, b, first, reads[first], points, None, course)}
    pair = _pair(model, a, b, reads, points, course) if found[first].path == "fast" else None
    room = found[first].room
    if pair is not None and room.most is None:
        check = _Check(model, pair, reads, course)
        equal = _equal(check, (max(map(len, a)), points))
        positions = _positions(model, pair, room.positions)
        found |= {layer: Choice("fast", room=batches.Room(positions), shared=True) for layer in equal}
    return {
        layer: found[layer] if layer in found else agreement.choose_path(model, a, b, layer, some, points, None, course)
        for layer, some in reads.items()
    }


@dataclass(frozen=True, eq=False)
class _Check:
    """What the two paths are compared on: a pair, at each layer with some reads."""

    model: LoadedModel
    pair: Some
    reads: Mapping[int, Sequence[Read]]
    course: Course

    def passed(self, layer: int) -> list[list[tuple[int, int]]]:
        """What was seen to agree at a layer, for each read."""
        known, key = self.model.facts.passed, f"{self.course.key} | shared"
        return [known.setdefault((layer, read + key), []) for read in self.reads[layer]]


def _pair(
    model: LoadedModel,
    a: Sequence[Prompt],
    b: Sequence[Prompt],
    reads: Mapping[int, Sequence[Read]],
    points: int,
    course: Course,
) -> Some | None:
    """A pair with the longest context that goes somewhere; None where layers are checked one by one."""
    if len(reads) < LEAST or course.patched != -1 or course.read_at != -1:
        return None
    tokens = max(map(len, a))
    moves = [row for row in range(len(a)) if course.points is not None or a[row] != b[row]]
    row = next((row for row in moves if len(a[row]) == tokens), None)
    if row is None or not placement.fits(model, torch.tensor([a[row]])):
        return None
    return Some([a[row]], [b[row]], [row], points)


def _positions(model: LoadedModel, pair: Some, positions: int) -> int:
    """How many positions run together, of `positions`, where keys and values are held; one pair's at least."""
    shape, tokens = model.shape, len(pair.a[0])
    # As many heads for keys as for queries, at most.
    held = 2 * shape.layers * shape.hidden * tokens * model.dtype.itemsize
    return min(positions, max(1, BYTES // held) * batches.positions_of(model, tokens, pair.count))


def _equal(check: _Check, size: tuple[int, int]) -> list[int]:
    """The layers after which the fast path gives what the reference path gives; all of them known, or none at all.

    `size` is what is noted of those that pass: tokens of a prompt, and points.
    """
    layers = list(check.reads)

    def is_known(layer: int) -> bool:
        return all(any(size[0] <= t and size[1] <= n for t, n in seen) for seen in check.passed(layer))

    if all(map(is_known, layers)):
        return layers
    try:
        with as_measured(check.model.network, tf32=check.model.tf32):
            equal = _compared(check)
    # Whatever a model unlike those we know may raise; or memory that is short, of which a layer alone takes less.
    except Exception:
        return []
    for layer in equal:
        for seen in check.passed(layer):
            seen.append(size)
    check.model.facts.keep()
    return equal


def _compared(check: _Check) -> list[int]:
    model, pair = check.model, check.pair
    layers = sorted(check.reads)
    known = runs.several_contexts(model, (*pair.a, *pair.b), layers, "fast", {}, keep=pair.a)
    if not known[layers[0]].kept:
        return []
    expected = _plainly(check, layers)
    few, whole = [0, pair.count // 2], list(range(pair.count))

    def agrees(layer: int, chosen: list[int]) -> bool:
        points = check.course.drawn(known[layer], pair, forward.LAST, chosen).points
        found = runs.outputs(model, known[layer], pair.a, points, layer, check.reads[layer], "fast")
        at = chosen.index(few[1])
        return all(agreement.agrees(model, found[read], expected[layer][read], at) for read in check.reads[layer])

    # With as many points as will be measured after the first; after others where rounding may have grown.
    return [layer for layer in layers if (layer != layers[0] and agrees(layer, few)) or agrees(layer, whole)]


def _plainly(check: _Check, layers: Sequence[int]) -> dict[int, dict[Read, Float[Tensor, "one two units"]]]:
    """By layer and read what plain forwards give at the first point and the middle one, all layers in one forward."""
    model, pair, course = check.model, check.pair, check.course
    states = _states(check, layers)
    # A path begins at A, which is p_A's clean run whatever the layer: a row for all of them, where nothing is patched.
    few = [pair.count // 2] if course.points is None else [0, pair.count // 2]
    points = {
        layer: course.drawn(Contexts(states[layer], as_tuple=False), pair, forward.LAST, few).points[0]
        for layer in layers
    }
    ids = torch.tensor([pair.a[0]] * (len(few) * len(layers) + 1), device=model.device)
    found: dict[Read, Tensor] = {}
    reads = list(dict.fromkeys(read for some in check.reads.values() for read in some))
    for group in filter(
        None, ([read for read in reads if read == "logits"], [read for read in reads if read != "logits"])
    ):
        with parts.frozen([pair.a[0]] * len(ids)), _patched(model, points):
            found |= _read(model, ids, group)
    ends = [len(few) * number for number in range(1, len(layers) + 1)]
    rows = {layer: [end - 2 if len(few) == 2 else -1, end - 1] for layer, end in zip(layers, ends, strict=True)}
    return {layer: {read: found[read][rows[layer]][None] for read in check.reads[layer]} for layer in layers}


def _states(check: _Check, layers: Sequence[int]) -> dict[int, dict[Prompt, Tensor]]:
    """States of both prompts after each layer, from plain forwards; each block is held against what the model tells."""
    model, found = check.model, {layer: {} for layer in layers}  # type: ignore[var-annotated]
    for prompt in (check.pair.a[0], check.pair.b[0]):
        with ExitStack() as stack:
            # Of one of them is enough.
            for layer in layers if prompt == check.pair.a[0] else ():
                stack.enter_context(placement.held(model, layer))
            kept = stack.enter_context(_kept(model, layers))
            model.base(input_ids=torch.tensor([prompt], device=model.device), use_cache=False)
        for layer in layers:
            found[layer][prompt] = kept[layer][0]
    return found


@contextmanager
def _kept(model: LoadedModel, layers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """Within it the states after each of some blocks are kept."""
    kept: dict[int, Tensor] = {}

    def keep(place: int) -> Any:
        return lambda _module, _inputs, output: kept.update({place: forward.states_of(output)})

    hooks = [forward.hook_block(model, layer, keep(layer)) for layer in layers]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _patched(model: LoadedModel, points: Mapping[int, Float[Tensor, "some width"]]) -> Iterator[None]:
    """Within it the last position of each row in turn is overwritten after its layer, by one of the layer's points."""
    hooks, start = [], 0

    def patch(place: int, first: int) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            states = forward.states_of(output).clone()
            states[first : first + len(points[place]), -1] = points[place]
            return forward.replaced(output, states)

        return hook

    for layer, some in points.items():
        hooks.append(forward.hook_block(model, layer, patch(layer, start)))
        start += len(some)
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def _read(model: LoadedModel, ids: Tensor, reads: Sequence[Read]) -> dict[Read, Float[Tensor, "rows units"]]:
    """Reads of one plain forward at the last position."""
    places = {read: model.depth if read == "residual" else block_of(read) for read in reads}
    blocks = list(dict.fromkeys(place for place in places.values() if place is not None))
    with _kept(model, blocks) as kept:
        if "logits" in reads:
            alone = reference.last_alone(model.network)
            return {"logits": model.network(input_ids=ids, use_cache=False, **alone).logits[:, -1]}
        found = {"final_norm": model.base(input_ids=ids, use_cache=False).last_hidden_state[:, -1]}
    return found | {read: kept[place][:, -1] for read, place in places.items() if place is not None}
