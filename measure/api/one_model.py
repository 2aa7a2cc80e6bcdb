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
    """Distance of the output from p_A's clean run while the residual stream goes from A to B (paper, section 3).

    A and B are the residual-stream states after `layer` blocks (counted from 1) at the last position of prompts A
    and B; in p_A's context the state X(alpha) = A + alpha (B - A) is patched in at the last position, and
    d(alpha) = ||F(A) - F(X(alpha))|| is taken on what `read` names, there: `final_norm` (after the final norm, what
    the authors' code reads; so where no read is named), `residual` (before it), `logits`, or `block:N` (the residual
    stream after block N, `layer` or later). Distances are in the units of the read.

    `model`: a catalog name, a Hugging Face folder or a hub id, each with an optional `@revision`, or a loaded
    Hugging Face causal language model, which is measured on its own device and in its own dtype and left as found.
    `prompts_a`, `prompts_b`: strings, or token ids of shape (pairs, tokens); one bare string is one pair. Lengths
    may differ, also within a pair. Strings get no special tokens unless `bos`, which puts the BOS in front of those
    that do not begin with it. Ids are taken without padding.
    `tokenizer`: of strings, where the model has none or another is meant: a tokenizer of transformers or of
    tokenizers, a folder with one, or the name of a model whose tokenizer it is.
    `layer` equal to the number of blocks is allowed: with `read="residual"` r is then exactly alpha.
    `path`: how X goes: `linear`; `slerp`, the direction by the arc between A's and B's, the norm evenly; `arc`, the
    same directions at ||A||. A pair without an arc (A or B 0, or opposite directions) is degenerate.
    `points`: points of one's own in place of a path, (pairs, points, width), d(0) being at the first and d(1) at the
    last; `prompts_b` and `steps` are then left out.
    `distance`: `l2`; `symmetric`, d / (d + d'), d' being that from F(X(1)); `projection`, the length along F(X(1)) -
    F(X(0)); `cosine`; `kl`, KL(F(X(0)) || F(X(alpha))) in nats, or `js`, in bits, both of the logits, which are read
    where no read is named; or a function of outputs (pairs, points, units) and ends (pairs, 2, units) to (pairs,
    points).
    `patched`: the position that is patched, from the end, or `difference`: all from the first in which the prompts of a
    pair differ. `read_at`: the position that is read, from the end, no earlier than the patched one.

    `interventions`: `Scaled(part, blocks, factor)` and `Frozen(part, blocks)`, what the `mlp` or `attention` of blocks,
    (first, last), adds to the residual stream, times a number in every run, or as in p_A's clean run.

    Several layers, or `"all"`, are measured on one loading, their clean runs once; several reads in one run.

    Returns `Curves` with `.distance` and `.relative` of shape (pairs, steps); of several layers a dict by layer, of
    several reads a dict by read, of several positions a dict by position; of more than one of them dicts in this order.
    Raises `MeasureError` (a ValueError) for input that cannot be measured; the message says what to change.
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
    """Distance of the output from three reference runs over the plane through A, B and C (paper, Appendix C, Fig. 1).

    X = A + alpha (B - A) + beta (C - P), P the foot of C on the line AB; alpha and beta run over `extent` in `size`
    steps. X is patched in after `layer` blocks at the last position, in p_A's, p_B's and p_C's context in turn, and
    d_A(X) = ||F_A(A) - F_A(X)||, d_B and d_C likewise. Everything else is as in `interpolate`.

    Returns `Slices` with `.distance` of shape (triples, 3, size, size), axes (triple, reference, beta, alpha). A triple
    whose C lies on the line AB spans no plane: it is `.degenerate`, and its colours and metrics are NaN.
    Raises `MeasureError` (a ValueError) for input that cannot be measured; the message says what to change.
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
