"""Spec in, result out: one function per kind. Decides what is run, not how (`runs`, `forward`) or when (`engine`)."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib import metadata
from typing import Any, Literal, overload

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from measure import (
    distances,
    distributions,
    finite,
    forward,
    kinds,
    parts,
    paths,
    progress,
    prompts,
    runs,
    several,
    toward,
)
from measure.asked import check_reads, course_of, for_pairs, positions_of, reads_of
from measure.catalog import Shape
from measure.course import NAMED, USUAL, Course, Some
from measure.crossings import Crossings
from measure.distances import Own
from measure.inputs import PromptsInput, check_flag, given_tokenizer, token_ids
from measure.models import LoadedModel, adopt, as_measured, load, read_own_config
from measure.predictions import Predictions
from measure.prompts import Pairs, Prompt, Triples
from measure.results import DEGENERATE, Curves, Result
from measure.runs import Choice, Contexts
from measure.slices import Slices
from measure.spec import (
    PRECISIONS,
    READS,
    ConfigSpec,
    CrossingSpec,
    CurveSpec,
    Interpolation,
    Intervention,
    MeasureError,
    Precision,
    PredictionSpec,
    Read,
    SliceSpec,
    Spec,
    block_of,
    check_choice,
    check_integer,
    check_plane,
    check_read,
    check_steps,
    fields_of,
)
from measure.structure import shape_of

_LOG = logging.getLogger("measure")
# Logits of some pairs' points held at a time: 32 MB in float32.
LOGITS_AT_ONCE = 2**23


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
        runs.check_layer(model, place)
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
    _LOG.info("measuring %d pair%s after block %s", len(pairs), "" if len(pairs) == 1 else "s", where)
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
    return slices(loaded, Triples(a, b, c), layer=layer, reads=[read], at=at, origin={"bos": bool(bos)})[read]


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


def measure_specs(
    specs: Sequence[Spec], model: LoadedModel, drawn: Pairs | Triples, *, origin: dict[str, Any]
) -> list[Result]:
    """The results that `specs` describe, which differ in their read alone: the blocks run once for all of them.

    On a model already loaded for them and prompts already drawn for them. Those of curves may differ in their layer
    too, whose clean runs are then shared.
    """
    kind, first = kinds.of(specs[0]), specs[0]
    if isinstance(drawn, Pairs) and kinds.takes_pairs(first):
        drawn = drawn.independent() if kind.independent or first.rows == "independent" else drawn
    found: list[Result] = list(kind.measuring()(specs, model, drawn, origin))
    kinds.check_results(kind, found, len(specs))
    for spec, result in zip(specs, found, strict=True):
        if not result.provenance:
            result.provenance.update(_provenance(model, drawn, spec.layer, spec.read, Choice("reference"), origin))
        result.provenance["spec"] = fields_of(spec)
    return found


def of_curves(specs: Sequence[CurveSpec], model: LoadedModel, drawn: Pairs, origin: dict[str, Any]) -> list[Curves]:
    """The kind `curves`; see `measure_specs`. The specs may differ in their layer."""
    layers = list(dict.fromkeys(spec.layer for spec in specs))
    reads = {layer: [spec.read for spec in specs if spec.layer == layer] for layer in layers}
    for layer, some in reads.items():
        check_reads(model, [layer], some)
    found: dict[int, dict[Read, Curves]] = {}
    # What stands in the place of B is of a layer.
    for group in [layers] if specs[0].toward == "b" else [[layer] for layer in layers]:
        course = _course_of([spec for spec in specs if spec.layer in group], model, drawn, origin)
        found |= layers_curves(model, drawn, layers=group, reads={layer: reads[layer] for layer in group}, **course)
    return [found[spec.layer][spec.read] for spec in specs]


def of_predictions(
    specs: Sequence[PredictionSpec], model: LoadedModel, drawn: Pairs, origin: dict[str, Any]
) -> list[Predictions]:
    """The kind `predictions`; see `measure_specs`."""
    found = predictions(model, drawn, span=specs[0].span, **_asked(specs, model, drawn, origin))
    return [found[spec.read] for spec in specs]


def of_crossings(
    specs: Sequence[CrossingSpec], model: LoadedModel, drawn: Pairs, origin: dict[str, Any]
) -> list[Crossings]:
    """The kind `crossings`; see `measure_specs`."""
    found = crossings(model, drawn, **_asked(specs, model, drawn, origin))
    return [found[spec.read] for spec in specs]


def of_slices(specs: Sequence[SliceSpec], model: LoadedModel, drawn: Triples, origin: dict[str, Any]) -> list[Slices]:
    """The kind `slices`; see `measure_specs`."""
    spec, reads = specs[0], [spec.read for spec in specs]
    at = np.linspace(*spec.extent, spec.size)
    found = slices(model, drawn, layer=spec.layer, reads=reads, at=at, origin=origin)
    return [found[spec.read] for spec in specs]


def of_config(spec: ConfigSpec) -> Shape:
    """The kind `config`: the dimensions in a model's own config."""
    return shape_of(read_own_config(spec.model))


def _asked(specs: Sequence[CurveSpec], model: LoadedModel, drawn: Pairs, origin: dict[str, Any]) -> dict[str, Any]:
    """What curves are measured by, of specs that differ in their read alone."""
    layer, reads = specs[0].layer, [spec.read for spec in specs]
    check_reads(model, [layer], reads)
    return {"layer": layer, "reads": reads, **_course_of(specs, model, drawn, origin)}


def _course_of(specs: Sequence[CurveSpec], model: LoadedModel, drawn: Pairs, origin: dict[str, Any]) -> dict[str, Any]:
    """What is the same after every layer."""
    return {"steps": specs[0].steps, "origin": origin, "course": toward.of_spec(specs[0], model, drawn)}


# What is kept of each pair: named arrays whose first axis is the pairs'.
_Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class _Segments:
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


_Keep = Callable[[_Segments], _Arrays]


def curves(model: LoadedModel, pairs: Pairs, *, layer: int, read: Read, steps: int, origin: dict[str, Any]) -> Curves:
    """Curves of every pair, by the fast path where it gives what the reference path gives, else by the reference path.

    `origin` is added to the provenance, which says which path it was, and why if it was the slow one.
    Raises `MeasureError` as `runs.choose_path` does.
    """
    return all_curves(model, pairs, layer=layer, reads=[read], steps=steps, origin=origin)[read]


def all_curves(
    model: LoadedModel,
    pairs: Pairs,
    *,
    layer: int,
    reads: Sequence[Read],
    steps: int,
    origin: dict[str, Any],
    course: Course = USUAL,
) -> dict[Read, Curves]:
    """`curves` with each of `reads`, the blocks run once."""
    return layers_curves(model, pairs, layers=[layer], reads=reads, steps=steps, origin=origin, course=course)[layer]


def layers_curves(
    model: LoadedModel,
    pairs: Pairs,
    *,
    layers: Sequence[int],
    reads: Sequence[Read] | Mapping[int, Sequence[Read]],
    steps: int,
    origin: dict[str, Any],
    course: Course = USUAL,
    texts: np.ndarray | None = None,
) -> dict[int, dict[Read, Curves]]:
    """`all_curves` after each of `layers`, the clean runs shared. `reads` may differ by layer.

    `texts`: the prompts as text, to be kept beside the curves.
    """
    by_layer = reads if isinstance(reads, Mapping) else dict.fromkeys(layers, reads)
    by_layer = {layer: by_layer[layer] for layer in layers}
    found = _choices(model, pairs, by_layer, course.count(steps), course)
    asked = {layer: _Asked(some, found[layer]) for layer, some in by_layer.items()}
    return _curves_by(asked, model, pairs, steps, origin, course, texts)


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is read after a layer, and how that is run."""

    reads: Sequence[Read]
    choice: Choice


def _curves_by(
    asked: Mapping[int, _Asked],
    model: LoadedModel,
    pairs: Pairs,
    steps: int,
    origin: dict[str, Any],
    course: Course = USUAL,
    texts: np.ndarray | None = None,
) -> dict[int, dict[Read, Curves]]:
    found = _along_layers(model, pairs, steps, asked, course=course)

    def curves_of(layer: int, read: Read, arrays: _Arrays) -> Curves:
        provenance = _provenance(model, pairs, layer, read, asked[layer].choice, origin, course)
        return Curves(**arrays, provenance=provenance, prompts=texts)

    return {
        layer: {read: curves_of(layer, read, arrays) for read, arrays in by_read.items()}
        for layer, by_read in found.items()
    }


def fast_curves(
    model: LoadedModel,
    pairs: Pairs,
    *,
    layer: int,
    read: Read,
    steps: int,
    origin: dict[str, Any],
    chunk: int = forward.CHUNK_POSITIONS,
    course: Course = USUAL,
) -> Curves:
    """The curves by the fast path, `chunk` positions to a forward; the result depends on `chunk` by rounding alone."""
    asked = _Asked([read], Choice("fast", room=runs.Room(chunk)))
    return _curves_by({layer: asked}, model, pairs, steps, origin, course)[layer][read]


def reference_curves(
    model: LoadedModel,
    pairs: Pairs,
    *,
    layer: int,
    read: Read,
    steps: int,
    origin: dict[str, Any],
    course: Course = USUAL,
) -> Curves:
    """The same curves by the reference path: one plain full forward for every alpha of every pair."""
    runs.check_layer(model, layer)
    asked = _Asked([read], Choice("reference"))
    return _curves_by({layer: asked}, model, pairs, steps, origin, course)[layer][read]


def predictions(
    model: LoadedModel,
    pairs: Pairs,
    *,
    layer: int,
    reads: Sequence[Read],
    steps: int,
    span: int,
    origin: dict[str, Any],
    course: Course = USUAL,
) -> dict[Read, Predictions]:
    """Curves of the independent pairs with the next-token distributions along them; see `Predictions`."""
    pairs = pairs.independent()
    choice = _choice(model, pairs, layer, reads, steps, course)
    predicted = partial(_predicted, span=span)
    found = _along_segments(model, pairs, steps, layer, reads, choice, predicted, course=course)
    results = {}
    for read in reads:
        arrays = {**found[read], "end_tokens": _texts(model, found[read]["end_tokens"])}
        provenance = _provenance(model, pairs, layer, read, choice, origin, course)
        results[read] = Predictions(**arrays, provenance=provenance)
    return results


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
    runs.check_layer(model, layer)
    choice = _choice(model, pairs, layer, reads, steps, course)
    gates = np.array(forward.gate_counts(model, layer))
    found = _along_segments(model, pairs, steps, layer, reads, choice, _crossed, gates=True, course=course)
    return {
        read: Crossings(
            **found[read], gates=gates, provenance=_provenance(model, pairs, layer, read, choice, origin, course)
        )
        for read in reads
    }


def _choice(model: LoadedModel, pairs: Pairs, layer: int, reads: Sequence[Read], points: int, course: Course) -> Choice:
    return _choices(model, pairs, {layer: reads}, points, course)[layer]


def _choices(
    model: LoadedModel, pairs: Pairs, reads: Mapping[int, Sequence[Read]], points: int, course: Course
) -> dict[int, Choice]:
    for layer in reads:
        parts.check(model, course.interventions, layer)
    with parts.intervened(model, course.interventions):
        return several.choices(model, pairs.a, pairs.b, reads, points, course)


def _along_segments(
    model: LoadedModel,
    pairs: Pairs,
    steps: int,
    layer: int,
    reads: Sequence[Read],
    choice: Choice,
    keep: _Keep | None = None,
    *,
    gates: bool = False,
    course: Course = USUAL,
) -> dict[Read, _Arrays]:
    """By read, the fields of `Curves` for every pair, and what `keep` makes of each part."""
    asked = {layer: _Asked(reads, choice)}
    return _along_layers(model, pairs, steps, asked, keep, gates=gates, course=course)[layer]


def _along_layers(
    model: LoadedModel,
    pairs: Pairs,
    steps: int,
    asked: Mapping[int, _Asked],
    keep: _Keep | None = None,
    *,
    gates: bool = False,
    course: Course = USUAL,
) -> dict[int, dict[Read, _Arrays]]:
    """`_along_segments` after each of some layers.

    Memory does not grow with the number of pairs beyond what is returned. Raises `MeasureError` where no pair has a
    path.
    """
    count = course.count(steps)
    shared: dict[int, _Arrays] = {layer: {} for layer in asked}
    found: dict[int, dict[Read, _Arrays]] = {layer: {one: {} for one in of.reads} for layer, of in asked.items()}
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
            positions = max(runs.positions_of(model, len(a), count, course.tail(a, b).length), len(a) + len(b))
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
    model: LoadedModel, pairs: Pairs, asked: Mapping[int, _Asked], points: int, course: Course
) -> Iterator[list[int]]:
    every = [of.reads for of in asked.values()]
    return runs.chunks(
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
    _LOG.warning("%d of %d pairs have no path and are degenerate (%s)", len(lacking), len(pairs), named)


class _Clean:
    """States of prompts after the patched blocks, for one part of the pairs at a time."""

    def __init__(self, model: LoadedModel, asked: Mapping[int, _Asked]) -> None:
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
    model: LoadedModel, some: Some, known: Contexts, layer: int, asked: _Asked, gates: bool, course: Course
) -> _Segments:
    a, path = list(some.a), asked.choice.path
    tail = course.tail(a[0], some.b[0])
    drawn = course.drawn(known, some, tail)
    parts.run_clean(a)
    watch: AbstractContextManager[list[Tensor]] = forward.gate_signs(model, layer) if gates else nullcontext([])
    with watch as signs:
        found = runs.outputs(model, known, a, drawn.points, layer, asked.reads, path, tail)
    lacking = tuple(drawn.lacking)
    return _Segments(model, layer, a, list(some.b), drawn.points, known, found, path, signs, course, lacking)


def _fill(whole: _Arrays, rows: list[int], count: int, part: _Arrays) -> None:
    for name, values in part.items():
        whole.setdefault(name, np.empty((count, *values.shape[1:]), values.dtype))[rows] = values


def _distances(part: _Segments, read: Read) -> _Arrays:
    """What depends on the read: the curve seen from both ends, each step's length, the same of its null, its scale."""
    found = part.found[read]
    if block_of(read) is None:
        null = runs.norm_only(part.model, _straight(part), read, part.known, part.path)
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


def _check_numbers(part: _Segments, read: Read, arrays: _Arrays) -> None:
    """Raise `MeasureError` where an output is no number; a distance may have no meaning where all of them are."""
    steps = np.concatenate([arrays["step_distance"], arrays["end_length"][:, None]], axis=1)
    unlimited = np.where(np.isinf(arrays["distance"]), np.inf, 0.0)
    for values in (steps, unlimited):
        finite.check(part.model, values, part.a, part.b, part.points, part.layer, read)


def _without_path(arrays: _Arrays, lacking: Sequence[str]) -> _Arrays:
    """Of a pair that has no path no number is kept."""
    gone = [row for row, why in enumerate(lacking) if why]
    for name in arrays if gone else ():
        if name != "reference_norm":
            arrays[name][gone] = np.nan
    return arrays


def _along(found: Float[Tensor, "pairs steps units"], prefix: str) -> _Arrays:
    """How far the output moves in each step, and how far it is from its end."""
    return {
        f"{prefix}step_distance": runs.distances(found[:, 1:], found[:, :-1]),
        f"{prefix}end_side_distance": runs.distances(found, found[:, -1:]),
    }


def _predicted(part: _Segments, span: int) -> _Arrays:
    """The arrays of `Predictions`; `end_tokens` as ids. Some pairs at a time, as logits take their room."""
    model, known, path = part.model, part.known, part.path
    straight = _straight(part)
    # A's clean run is the alpha = 0 point; B's is B in its own context.
    ends = known.last(part.b)[:, None]
    clean = runs.outputs(model, known, part.b, ends, part.layer, ["residual"], path)["residual"]

    def logits(residual: Tensor) -> Tensor:
        return runs.norm_only(model, residual, "logits", known, path)

    # The reference path runs every point, and half a precision holds no mixture.
    plain = path == "reference" or model.tf32 or model.dtype.itemsize < 4
    normed, nothing = (None, None) if plain else _less_nothing(part, straight)
    size = max(1, LOGITS_AT_ONCE // (part.points.shape[1] * model.vocabulary))
    found = []
    for start in range(0, len(clean), size):
        some = slice(start, start + size)
        null, middle = straight[some], straight.shape[1] // 2
        # Together, as the unembedding's weights come from memory each time.
        states = [part.found["residual"][some], clean[some], *([] if plain else [null[:, [middle]]])]
        own, end, *rest = torch.split(logits(torch.cat(states, dim=1)), [one.shape[1] for one in states], dim=1)
        of_null = None
        if normed is not None and nothing is not None:
            of_null = distributions.mixed(own[:, [0, -1]], rest[0], nothing, normed[some])
        found.append(_predicted_by_few(own, logits(null) if of_null is None else of_null, end, span))
    together = {name: np.concatenate([arrays[name] for arrays in found]) for name in found[0]}
    # Logits are run here whatever is read, and one that is infinite leaves no distribution.
    finite.check(model, together.pop("uncertainty"), part.a, part.b, part.points, part.layer, "logits")
    return {"separation": runs.norms(known.last(part.b) - known.last(part.a)), **together}


def _less_nothing(part: _Segments, states: Float[Tensor, "pairs steps width"]) -> tuple[Tensor, Tensor]:
    """What the final norm makes of states, less what it makes of the state 0; and the logits of that state."""
    zero = torch.zeros_like(states[:1, :1])
    normed, origin, nothing = (
        runs.norm_only(part.model, some, read, part.known, part.path)
        for some, read in ((states, "final_norm"), (zero, "final_norm"), (zero, "logits"))
    )
    return normed - origin, nothing


def _predicted_by_few(
    logits: Float[Tensor, "pairs steps tokens"],
    null: Float[Tensor, "pairs steps tokens"],
    clean: Float[Tensor, "pairs one tokens"],
    span: int,
) -> _Arrays:
    own, straight = distributions.along(logits, span), distributions.along(null, span)
    first, second = own.top[:, 0], clean[:, 0].argmax(-1)
    found = {
        "uncertainty": own.entropy,
        "end_tokens": torch.stack([first, second], dim=1),
        "top_tokens": own.top,
        "end_divergence": own.ends,
        "span_divergence": own.spans,
        "null_top_tokens": straight.top,
        "null_span_divergence": straight.spans,
    }
    return {
        **{name: values.cpu().numpy() for name, values in found.items()},
        "logit_difference": _difference(logits, first, second),
        "null_logit_difference": _difference(null, first, second),
    }


def _straight(part: _Segments) -> Float[Tensor, "pairs steps width"]:
    """The straight line between the two final residual states, which the norm-only null starts from."""
    residual = part.found["residual"]
    return paths.between(part.course.null, residual[:, 0], residual[:, -1], paths.alphas(residual.shape[1]))


def _difference(
    logits: Float[Tensor, "pairs steps tokens"], first: Int[Tensor, " pairs"], second: Int[Tensor, " pairs"]
) -> Float[np.ndarray, "pairs steps"]:
    """logit[first] - logit[second] at every point; NaN where the two are one token."""
    rows = torch.arange(len(logits), device=logits.device)
    difference = logits[rows, :, first] - logits[rows, :, second]
    return torch.where((first == second)[:, None], torch.nan, difference).double().cpu().numpy()


def _texts(model: LoadedModel, ids: Int[np.ndarray, "pairs two"]) -> np.ndarray:
    """Token ids as text where the model has a tokenizer that decodes, else as numbers."""
    decode = getattr(model.tokenizer, "decode", str)
    return np.array([[decode(int(token)) for token in row] for row in ids])


def _crossed(part: _Segments) -> _Arrays:
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


def _signs_by_block(part: _Segments) -> list[Bool[Tensor, "pairs points gates"]]:
    """Where gates are positive at the points, one tensor for each block after the patch."""
    count, points = part.found["residual"].shape[:2]
    blocks = part.model.depth - part.layer
    if part.path == "fast":
        earlier = len(part.a[0]) - 1
        return [runs.together(signs[:, earlier:], count, points) for signs in part.signs]
    # One plain forward for each point of each pair, all blocks in turn.
    last = [signs[0, -1] for signs in part.signs[: count * points * blocks]]
    return [torch.stack(last[block::blocks]).view(count, points, -1) for block in range(blocks)]


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
    choice = runs.choose_path(
        model,
        references,
        triples.b + triples.c + triples.a,
        layer,
        reads,
        min(len(at) ** 2, forward.CHUNK_POSITIONS),
        min(len(at) ** 2, runs.ROW),
    )
    with as_measured(model.network, tf32=model.tf32):
        sides = zip(triples.a, triples.b, triples.c, strict=True)
        rows = [_slice(model, triple, layer, reads, at, choice) for triple in sides]
    results = {}
    for read in reads:
        arrays = {name: np.stack([row[read][name] for row in rows]) for name in rows[0][read]}
        provenance = _provenance(model, triples, layer, read, choice, origin)
        results[read] = Slices(at, at, **arrays, provenance=provenance)
    return results


def _slice(
    model: LoadedModel, triple: tuple[Prompt, ...], layer: int, reads: Sequence[Read], at: np.ndarray, choice: Choice
) -> dict[Read, _Arrays]:
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
    parts = torch.split(points, runs.ROW)
    step = max(1, forward.CHUNK_POSITIONS // (len(prompt) + runs.ROW))
    if "logits" in reads:
        step = max(1, min(step, runs.LOGIT_VALUES // (runs.ROW * model.vocabulary)))
    found: list[runs.Found] = []

    def work(chosen: list[int]) -> None:
        some = torch.cat([parts[part] for part in chosen])[None]
        found.append(runs.outputs(model, known, [prompt], some, layer, reads, choice.path))

    for start in range(0, len(parts), step):
        choice.room.run(model, list(range(len(parts)))[start : start + step], work, len(prompt) + runs.ROW)
    return {read: torch.cat([one[read] for one in found], dim=1) for read in found[0]}


@lru_cache
def _version(package: str) -> str:
    # Kept, since it is read from a file: a hundredth of the time of one pair on a model of half a billion parameters.
    return metadata.version(package)


def environment(model: LoadedModel) -> dict[str, str]:
    """What the numbers were computed with: versions, device, dtype."""
    device = model.device
    return {
        "measure": _version("stable-regions"),
        "torch": torch.__version__,
        "transformers": _version("transformers"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type} {platform.machine()}",
        "dtype": str(model.dtype).removeprefix("torch."),
    }


def _provenance(
    model: LoadedModel,
    drawn: Pairs | Triples,
    layer: int,
    read: Read,
    choice: Choice,
    origin: dict[str, Any],
    course: Course = USUAL,
) -> dict[str, Any]:
    return {
        "model": model.name,
        "revision": model.revision,
        **({"commit": model.commit} if model.commit else {}),
        **({"gguf": model.gguf} if model.gguf else {}),
        **({"adapters": model.adapters} if model.adapters else {}),
        "weights": model.weights,
        "weights_sha256": model.sha256,
        "config_sha256": model.config_sha256,
        "card": model.card,
        **({"tokenizer": model.tokenizer_place} if model.tokenizer_place else {}),
        "prompts_sha256": drawn.sha256,
        **({"independent_sha256": drawn.independent().sha256} if isinstance(drawn, Pairs) else {}),
        "layer": layer,
        "read": read,
        **course.provenance,
        **choice.provenance,
        **origin,
        **environment(model),
    }
