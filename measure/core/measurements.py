"""Spec in, result out: one function per kind. Decides what is run, not how (`runs`) or when (the engines)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from measure import kinds
from measure.catalog import Shape
from measure.core import agreement, batches, forward, gates, planes, predicting, provenance, toward
from measure.core.agreement import Choice
from measure.core.asked import check_reads
from measure.core.course import USUAL, Course
from measure.core.segments import Arrays, Asked, along_layers, choices
from measure.models.loading import LoadedModel, read_own_config
from measure.models.structure import shape_of
from measure.prompts.drawn import Pairs, Triples
from measure.results import Curves, Result
from measure.results.crossings import Crossings
from measure.results.predictions import Predictions
from measure.results.slices import Slices
from measure.spec import ConfigSpec, CrossingSpec, CurveSpec, PredictionSpec, Read, SliceSpec, Spec, fields_of


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
            result.provenance.update(provenance.of(model, drawn, spec.layer, spec.read, Choice("reference"), origin))
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
    found = predicting.predictions(model, drawn, span=specs[0].span, **_asked(specs, model, drawn, origin))
    return [found[spec.read] for spec in specs]


def of_crossings(
    specs: Sequence[CrossingSpec], model: LoadedModel, drawn: Pairs, origin: dict[str, Any]
) -> list[Crossings]:
    """The kind `crossings`; see `measure_specs`."""
    found = gates.crossings(model, drawn, **_asked(specs, model, drawn, origin))
    return [found[spec.read] for spec in specs]


def of_slices(specs: Sequence[SliceSpec], model: LoadedModel, drawn: Triples, origin: dict[str, Any]) -> list[Slices]:
    """The kind `slices`; see `measure_specs`."""
    spec, reads = specs[0], [spec.read for spec in specs]
    at = np.linspace(*spec.extent, spec.size)
    found = planes.slices(model, drawn, layer=spec.layer, reads=reads, at=at, origin=origin)
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


def curves(model: LoadedModel, pairs: Pairs, *, layer: int, read: Read, steps: int, origin: dict[str, Any]) -> Curves:
    """Curves of every pair, by the fast path where it gives what the reference path gives, else by the reference path.

    `origin` is added to the provenance, which says which path it was, and why if it was the slow one.
    Raises `MeasureError` as `agreement.choose_path` does.
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
    found = choices(model, pairs, by_layer, course.count(steps), course)
    asked = {layer: Asked(some, found[layer]) for layer, some in by_layer.items()}
    return _curves_by(asked, model, pairs, steps, origin, course, texts)


def _curves_by(
    asked: Mapping[int, Asked],
    model: LoadedModel,
    pairs: Pairs,
    steps: int,
    origin: dict[str, Any],
    course: Course = USUAL,
    texts: np.ndarray | None = None,
) -> dict[int, dict[Read, Curves]]:
    found = along_layers(model, pairs, steps, asked, course=course)

    def curves_of(layer: int, read: Read, arrays: Arrays) -> Curves:
        told = provenance.of(model, pairs, layer, read, asked[layer].choice, origin, course)
        return Curves(**arrays, provenance=told, prompts=texts)

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
    asked = Asked([read], Choice("fast", room=batches.Room(chunk)))
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
    agreement.check_layer(model, layer)
    asked = Asked([read], Choice("reference"))
    return _curves_by({layer: asked}, model, pairs, steps, origin, course)[layer][read]
