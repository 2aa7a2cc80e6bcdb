"""The specs of one load: which are measured together, and each taken from the store or measured."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from measure import catalog, kinds
from measure.base import progress
from measure.core import batches, inputs, measurements, several
from measure.harness.engines import drawing
from measure.harness.engines.addresses import addresses_of, identity, links_once_loaded, own_result
from measure.harness.engines.failures import kept
from measure.harness.engines.protocol import Begin, Found, Outcome
from measure.harness.engines.store import Store
from measure.kinds.rows import How
from measure.models import loading as models
from measure.prompts import drawn as prompts
from measure.prompts import own_pairs
from measure.spec import AnySpec, MeasureError, Spec

# Layers that are measured together at most.
LAYERS = 10


def measure_load(group: list[AnySpec], store: Store | None, begin: Begin, *, allow_pickle: bool) -> Found:
    """Load what the specs name, and measure each; an error is the outcome of those that it struck."""
    first = group[0]
    model, links = None, {}
    if kinds.is_run(first):
        begin(f"loading {first.model}")
        before = identity(first) if catalog.resolve(first.model).source != "hub" else ""
        model = models.load(first.model, weights=first.weights, precision=first.precision, allow_pickle=allow_pickle)
        links = links_once_loaded(group, model, before)
    found: Found = {}
    waiting = together(alike(group))
    while waiting:
        specs = waiting.pop(0)
        try:
            place = f"{first.model}, spec {len(found) + 1} of {len(group)}"
            begin(f"{place}: {specs[0].id}")
            with progress.heard(partial(_at_pair, begin, place)):
                found.update(_outcomes(specs, model, store, links))
        except Exception as error:  # handed to the tests that asked
            apart = alike(specs)
            # Of several layers each alone: what cannot be measured is the business of those that it struck.
            if len(apart) > 1 and (isinstance(error, MeasureError) or batches.is_out_of_memory(error)):
                waiting[:0] = apart
            else:
                found.update(dict.fromkeys(specs, (kept(error), How.FAILED)))
    return found


def _at_pair(begin: Begin, place: str, pairs: int) -> None:
    begin(f"{place}, after {pairs} pairs")


def alike(specs: Iterable[AnySpec]) -> list[list[Any]]:
    """Specs of one model by what differs in the read alone: such are measured together."""
    found: dict[AnySpec, list[AnySpec]] = defaultdict(list)
    for spec in specs:
        # At the logits every distance has a meaning.
        found[dataclasses.replace(spec, read="logits") if kinds.is_run(spec) else spec].append(spec)
    return list(found.values())


def together(groups: Iterable[list[Any]]) -> list[list[Any]]:
    """Groups of `alike`, those of curves that differ in their layer too put together, some layers at a time.

    Several layers share clean runs, and lose no more than their own results when a run is killed.
    """
    found: dict[AnySpec, list[list[AnySpec]]] = defaultdict(list)
    for specs in groups:
        first = specs[0]
        shared = dataclasses.replace(first, layer=1, read="logits") if kinds.of(first).layers else first
        found[shared].append(specs)
    some = [many[at : at + LAYERS] for many in found.values() for at in range(0, len(many), LAYERS)]
    return [
        specs
        for many in some
        for specs in ([[spec for one in many for spec in one]] if len(many) >= several.LEAST else many)
    ]


def _outcomes(
    specs: list[AnySpec], model: models.LoadedModel | None, store: Store | None, links: Mapping[Spec, str]
) -> Mapping[Any, tuple[Outcome, str]]:
    if model is None:
        return {spec: (kinds.of(spec).measuring()(spec), How.MEASURED) for spec in specs}
    return measure_alike([spec for spec in specs if kinds.is_run(spec)], model, store, links)


def measure_alike(
    specs: list[Spec], model: models.LoadedModel, store: Store | None, links: Mapping[Spec, str]
) -> dict[Spec, tuple[Outcome, str]]:
    """Specs that differ in their read, or in layer and read: those the store holds from there, the others together."""
    drawn = _prompts_for(specs[0], model)
    addresses = addresses_of(specs, model, drawn)
    stored = {
        spec: own_result(spec, store.get(address)) if store is not None else None for spec, address in addresses.items()
    }
    missing = [spec for spec, result in stored.items() if result is None]
    found: dict[Spec, tuple[Outcome, str]] = {
        s: (result, How.STORED) for s, result in stored.items() if result is not None
    }
    if missing:
        origin = drawing.origin_of(specs[0], drawing.corpus_of(specs[0], model.source))
        for spec, result in zip(missing, measurements.measure_specs(missing, model, drawn, origin=origin), strict=True):
            found[spec] = result, How.MEASURED
            if store is not None:
                store.put(addresses[spec], result)
    if store is not None:
        for spec in found.keys() & links.keys():
            store.link(links[spec], addresses[spec])
    return found


def _prompts_for(spec: Spec, model: models.LoadedModel) -> prompts.Pairs | prompts.Triples:
    """The prompts of a spec. Raises `MeasureError` for those that this model cannot read."""
    corpus = drawing.corpus_for(spec, drawing.corpus_of(spec, model.source))
    # Rows as they stand need a tokenizer for the BOS of protocol strict alone.
    if model.tokenizer is None and not (corpus.rows and spec.protocol == "paper"):
        lacking = model.no_tokenizer or "save the model's tokenizer in its folder"
        raise MeasureError(f"{spec.model} has no tokenizer to draw prompts with; {lacking}.")
    prompts.check_rows(corpus.rows, model.vocabulary, model.context, corpus.name, model.name)
    inputs.check_ends(corpus.rows, corpus.name, model.tokenizer, model.network.config)
    if own_pairs.is_held(spec.corpus):
        for side in (0, 1):
            called = f"{corpus.name}, column {'ab'[side]}"
            inputs.token_ids(called, list(corpus.texts[side::2]), model.tokenizer, False, model)
    drawn = drawing.draw(spec, corpus, model.tokenizer)
    # A tokenizer may know more than the model that it lies beside.
    every = (*drawn.a, *drawn.b, *(drawn.c if isinstance(drawn, prompts.Triples) else ()))
    prompts.check_rows(every, model.vocabulary, model.context, "the prompts drawn", model.name)
    return drawn
