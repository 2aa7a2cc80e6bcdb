"""The Python face: prompts and a model in, curves and slices out. Checks what is given; `measurements` measures."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, overload

import numpy as np

from measure.base import progress
from measure.core import agreement, planes
from measure.core.asked import check_reads, course_of, for_pairs, positions_of, reads_of
from measure.core.distances import Own
from measure.core.inputs import PromptsInput, check_flag, given_tokenizer, token_ids
from measure.core.measurements import layers_curves
from measure.models.loading import LoadedModel, adopt, load
from measure.prompts import drawn as prompts
from measure.prompts.drawn import Pairs, Prompt, Triples
from measure.results import Curves
from measure.results.slices import Slices
from measure.spec import (
    PRECISIONS,
    READS,
    Interpolation,
    Intervention,
    MeasureError,
    Precision,
    Read,
    block_of,
    check_choice,
    check_integer,
    check_plane,
    check_read,
    check_steps,
)

LOG = logging.getLogger("measure")


@overload
def interpolate(
    model: Any,
    prompts_a: PromptsInput,
    prompts_b: PromptsInput | None = None,
    *,
    layer: int = 1,
    read: Read | None = None,
    steps: int = 50,
    path: Interpolation = "linear",
    points: Any = None,
    distance: str | Own = "l2",
    patched: int | Literal["difference"] = -1,
    read_at: int = -1,
    interventions: Sequence[Intervention] = (),
    bos: bool = False,
    tokenizer: Any = None,
    precision: Precision = "float32",
) -> Curves: ...
@overload
def interpolate(
    model: Any,
    prompts_a: PromptsInput,
    prompts_b: PromptsInput | None = None,
    *,
    layer: int | Sequence[int] | Literal["all"],
    read: Read | None = None,
    steps: int = 50,
    path: Interpolation = "linear",
    points: Any = None,
    distance: str | Own = "l2",
    patched: int | Literal["difference"] = -1,
    read_at: int = -1,
    interventions: Sequence[Intervention] = (),
    bos: bool = False,
    tokenizer: Any = None,
    precision: Precision = "float32",
) -> Curves | dict[int, Curves]: ...
@overload
def interpolate(
    model: Any,
    prompts_a: PromptsInput,
    prompts_b: PromptsInput | None = None,
    *,
    layer: int | Sequence[int] | Literal["all"] = 1,
    read: Read | Sequence[Read] | None = None,
    steps: int = 50,
    path: Interpolation = "linear",
    points: Any = None,
    distance: str | Own = "l2",
    patched: int | Literal["difference"] = -1,
    read_at: int | Sequence[int] = -1,
    interventions: Sequence[Intervention] = (),
    bos: bool = False,
    tokenizer: Any = None,
    precision: Precision = "float32",
) -> Any: ...
def interpolate(
    model: Any,
    prompts_a: PromptsInput,
    prompts_b: PromptsInput | None = None,
    *,
    layer: int | Sequence[int] | Literal["all"] = 1,
    read: Read | Sequence[Read] | None = None,
    steps: int = 50,
    path: Interpolation = "linear",
    points: Any = None,
    distance: str | Own = "l2",
    patched: int | Literal["difference"] = -1,
    read_at: int | Sequence[int] = -1,
    interventions: Sequence[Intervention] = (),
    bos: bool = False,
    tokenizer: Any = None,
    precision: Precision = "float32",
) -> Any:
    """How far the output moves while the residual stream goes from A to B: curves d(alpha) (paper, section 3).

    A and B are the residual stream after block `layer`, at the last position of prompts A and B. Prompt A is run with
    X(alpha) = A + alpha (B - A) in the place of A. F(X) is what is then read at that position, and
    d(alpha) = ||F(A) - F(X(alpha))||, in the units of the read.

    `model`: a catalog name, a Hugging Face folder or a hub id, each with an optional `@revision`. Or a loaded Hugging
    Face causal language model: it is measured on its own device, in its own dtype, and left as found.
    `prompts_a`, `prompts_b`: strings, or token ids of shape (pairs, tokens). One bare string is one pair. Lengths may
    differ, also within a pair. Ids are taken without padding.
    `bos`: put the BOS in front of strings that do not begin with it. They get no other special tokens.
    `tokenizer`: of strings, where the model has none or another is meant. A tokenizer of transformers or of
    tokenizers, a folder with one, or the name of a model.
    `precision`: of a model that is loaded here.

    `layer`: the block after which the stream is patched, counted from 1. A list, or `"all"`: several layers on one
    loading, their clean runs shared. After the last block, with `read="residual"`, r is exactly alpha.
    `read`: `final_norm`, what the authors' code reads and the default; `residual`, before that norm; `logits`; or
    `block:N`, the stream after block N, where N is `layer` or later. A list: several reads of one run.
    `steps`: points on the way, both ends among them.
    `path`: `linear`; `slerp`, which turns from A's direction to B's and changes the norm evenly; `arc`, which turns at
    the norm of A. A pair without an arc is degenerate: A or B is 0, or they point in opposite directions.
    `points`: states of one's own instead of a path, (pairs, points, width). d is taken from the first of them. Leave
    out `prompts_b` and `steps`.
    `distance`: `l2`; `symmetric`, d / (d + d') with d' the distance from F(X(1)); `projection`, the length along
    F(X(1)) - F(X(0)); `cosine`; `kl`, KL(F(X(0)) || F(X(alpha))) in nats; `js`, in bits. The last two are of
    next-token distributions, and read the logits. Or a function: outputs (pairs, points, units) and ends (pairs, 2,
    units) to numbers (pairs, points).
    `patched`: the position that is patched, from the end (-1 is the last). Or `difference`: every position from the
    first in which the prompts of a pair differ.
    `read_at`: the position that is read, from the end, no earlier than the patched one. A list: several.
    `interventions`: what the `mlp` or `attention` of blocks (first, last) adds to the stream is changed.
    `Scaled(part, blocks, factor)` multiplies it in every run; `Frozen(part, blocks)` keeps it as in the clean run of A.

    Returns `Curves`, with `.distance` and `.relative` of shape (pairs, steps). If several layers, reads or positions
    are asked for: a dict by layer, in it one by read, in it one by position, each left out where there is but one.
    Raises `MeasureError` (a ValueError) for input that cannot be measured. The message says what to change.
    """
    steps = check_integer("steps", steps)
    check_steps(steps)
    check_choice("precision", precision, PRECISIONS)
    reads, positions = reads_of(read, distance), positions_of(read_at)
    course = course_of(path, points, distance, patched, steps, interventions)
    # What is None is refused below, but for B beside points.
    given: dict[str, Any] = {"prompts_a": prompts_a, "prompts_b": prompts_b}
    given = {"prompts_a": prompts_a} if points is not None and prompts_b is None else given
    several = layer == "all" if isinstance(layer, str) else isinstance(layer, Iterable)
    # Before a model is loaded.
    _layers(layer) if several else check_integer("layer", layer)
    loaded, pairs = given_pairs(model, given, bos, tokenizer, precision)
    layers = checked_layers(loaded, layer)
    check_reads(loaded, layers, reads)
    courses = {at: for_pairs(course, loaded, pairs, at) for at in positions}
    texts = as_text(given.values())
    found: dict[int, dict[Read, dict[int, Curves]]] = {place: {one: {} for one in reads} for place in layers}
    for at, of in courses.items():
        origin = {"bos": bool(bos)}
        with watched(pairs, layers):
            there = layers_curves(
                loaded, pairs, layers=layers, reads=reads, steps=steps, origin=origin, course=of, texts=texts
            )
        for place, one in ((place, one) for place in layers for one in reads):
            found[place][one][at] = there[place][one]
    return _unwrapped(found, (several, read is not None and not isinstance(read, str), isinstance(read_at, Iterable)))


def _unwrapped(found: Any, several: Sequence[bool]) -> Any:
    """Dicts in dicts, those left out of which but one key was asked for."""
    if not several:
        return found
    inside = {key: _unwrapped(one, several[1:]) for key, one in found.items()}
    return inside if several[0] else next(iter(inside.values()))


def given_pairs(
    model: Any, given: Mapping[str, PromptsInput], bos: bool, tokenizer: Any, precision: Precision
) -> tuple[LoadedModel, Pairs]:
    """The model, loaded or adopted, and the pairs of the prompts given."""
    check_choice("precision", precision, PRECISIONS)
    loaded, sides = _given(model, given, bos, tokenizer, precision)
    return loaded, _pairs(*sides)


def checked_layers(model: LoadedModel, given: Any) -> list[int]:
    """The layers asked for. Raises `MeasureError` for one that the model has not."""
    asked = given if isinstance(given, str | Iterable) else [check_integer("layer", given)]
    layers = _layers(asked) or list(range(1, model.depth + 1))
    for place in layers:
        agreement.check_layer(model, place)
    return layers


def _pairs(a: tuple[Prompt, ...], b: tuple[Prompt, ...] | None = None) -> Pairs:
    """Pairs that were handed in; without B, beside points of one's own, a repeated context is no unit of its own."""
    if b is not None:
        return Pairs(a, b, prompts.independent_units(a, b))
    first = {prompt: a.index(prompt) for prompt in a}
    numbers = {row: number for number, row in enumerate(dict.fromkeys(first.values()))}
    return Pairs(a, a, tuple(numbers.get(row, -1) for row in range(len(a))))


@contextmanager
def watched(pairs: Pairs, layers: Sequence[int]) -> Iterator[None]:
    """Say what is measured, and how far that is."""
    where = f"{layers[0]} to {layers[-1]}" if len(layers) > 3 else ", ".join(map(str, layers))
    LOG.info("measuring %d pair%s after block %s", len(pairs), "" if len(pairs) == 1 else "s", where)
    with progress.shown(f"after block {where}", len(pairs) * len(layers)):
        yield


def _layers(given: Any) -> list[int]:
    """Several layers that are asked for; none for all there are."""
    if isinstance(given, str) and given != "all":
        raise MeasureError(f"layer={given!r} is a str; expected an integer, several, or 'all'.")
    found = [] if isinstance(given, str) else [check_integer("layer", one) for one in given]
    if not found and not isinstance(given, str):
        raise MeasureError("layer is empty; expected a number, several, or 'all'.")
    return list(dict.fromkeys(found))


def as_text(given: Iterable[PromptsInput]) -> np.ndarray | None:
    """Prompts that were given as text, (prompts, sides); None where they are ids, or can be gone through but once."""
    sides = [[side] if isinstance(side, str) else side for side in given]
    if all(isinstance(side, Sequence) and all(isinstance(text, str) for text in side) for side in sides):
        # Beside points of one's own there is no prompt B.
        return np.array([*sides, [""] * len(sides[0])][: max(2, len(sides))]).T
    return None


def slice2d(
    model: Any,
    prompts_a: PromptsInput,
    prompts_b: PromptsInput,
    prompts_c: PromptsInput,
    *,
    layer: int = 1,
    read: Read = "final_norm",
    size: int = 32,
    extent: tuple[float, float] = (-0.25, 1.25),
    bos: bool = False,
    tokenizer: Any = None,
    precision: Precision = "float32",
) -> Slices:
    """How far the output is from three reference runs, over the plane through A, B and C (paper, Appendix C, Fig. 1).

    The plane is X = A + alpha (B - A) + beta (C - P), where P is the foot of C on the line AB. Alpha and beta run over
    `extent` in `size` steps. Each X is patched in after block `layer`, at the last position, in prompt A, then in
    prompt B, then in prompt C: d_A(X) = ||F_A(A) - F_A(X)||, and d_B and d_C likewise. The rest is as in `interpolate`.

    Returns `Slices`, with `.distance` of shape (triples, 3, size, size): triple, reference, beta, alpha. If C lies on
    the line AB there is no plane. Such a triple is `.degenerate`, and its colours and metrics are NaN.
    Raises `MeasureError` (a ValueError) for input that cannot be measured. The message says what to change.
    """
    layer, size = check_integer("layer", layer), check_integer("size", size)
    _check_choices(read, precision)
    low, high = check_plane(size, extent)
    given = {"prompts_a": prompts_a, "prompts_b": prompts_b, "prompts_c": prompts_c}
    loaded, (a, b, c) = _given(model, given, bos, tokenizer, precision)
    at = np.linspace(low, high, size)
    return planes.slices(loaded, Triples(a, b, c), layer=layer, reads=[read], at=at, origin={"bos": bool(bos)})[read]


def _check_choices(read: Read, precision: Precision) -> None:
    if block_of(check_read(read)) is not None:
        raise MeasureError(f"read={read!r}: slices are read at {', '.join(READS)}; choose one of them.")
    check_choice("precision", precision, PRECISIONS)


def _given(
    model: Any, given: Mapping[str, PromptsInput], bos: bool, tokenizer: Any, precision: Precision
) -> tuple[LoadedModel, list[tuple[Prompt, ...]]]:
    """The model, loaded or adopted, and as many checked prompts in each list."""
    check_flag("bos", bos)
    tokenizer = given_tokenizer(tokenizer)
    if isinstance(model, LoadedModel):
        loaded = model
    elif isinstance(model, str | os.PathLike):
        loaded = load(os.fspath(model), precision=precision)
    else:
        loaded = adopt(model, tokenizer, precision)
    chosen = tokenizer if tokenizer is not None else loaded.tokenizer
    ids = {name: token_ids(name, rows, chosen, bool(bos), loaded) for name, rows in given.items()}
    first, *others = ids
    for other in others:
        if len(ids[other]) != len(ids[first]):
            raise MeasureError(
                f"{len(ids[first])} prompts in {first} against {len(ids[other])} in {other}; a "
                f"{'pair' if len(ids) == 2 else 'triple'} takes one of each, so give as many."
            )
    return loaded, list(ids.values())
