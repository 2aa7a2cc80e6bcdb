"""Which spec runs when and where: by model, behind the store, in this process."""

from __future__ import annotations

import dataclasses
import hashlib
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from measure import measurements, models, prompts
from measure.catalog import Shape
from measure.results import Result
from measure.spec import AnySpec, ConfigSpec, CurveSpec, MeasureError, Pairing, Protocol, SliceSpec, Spec
from measure.store import Store, key

Outcome = Result | Shape | Exception
Load = tuple[str, str, str]
Report = Callable[[AnySpec, str], None]


def load_of(spec: AnySpec) -> Load:
    """What has to be loaded for `spec`: specs with the same answer are measured on one loading."""
    if isinstance(spec, ConfigSpec):
        return spec.model, "config", ""
    return spec.model, spec.weights, spec.precision


def measure(specs: Iterable[AnySpec], store: Store | None, report: Report) -> dict[AnySpec, Outcome]:
    """Measure every spec, each model loaded once; an error belongs to the specs it struck and stops no other.

    `report` is told of each spec whether it was `stored`, `measured` or `failed`, as it ends.
    """
    by_load: dict[Load, list[AnySpec]] = defaultdict(list)
    for spec in dict.fromkeys(specs):
        by_load[load_of(spec)].append(spec)
    outcomes: dict[AnySpec, Outcome] = {}
    for group in by_load.values():
        outcomes.update(_measure_group(group, store, report))
    return outcomes


def _measure_group(group: list[AnySpec], store: Store | None, report: Report) -> dict[AnySpec, Outcome]:
    first = group[0]
    outcomes: dict[AnySpec, Outcome] = {}
    try:
        model = (
            models.load(first.model, weights=first.weights, precision=first.precision)
            if isinstance(first, Spec)
            else None
        )
        failure = None
    except Exception as error:  # handed to the tests that asked
        model, failure = None, _kept(error)
    alike: dict[AnySpec, list[AnySpec]] = defaultdict(list)
    for spec in group:
        alike[_whatever_is_read(spec)].append(spec)
    for specs in alike.values():
        try:
            if failure is not None:
                raise failure
            found = _outcomes(specs, model, store)
        except Exception as error:  # handed to the tests that asked
            found = dict.fromkeys(specs, (_kept(error), "failed"))
        for spec, (outcome, how) in found.items():
            outcomes[spec] = outcome
            report(spec, how)
    return outcomes


def _whatever_is_read(spec: AnySpec) -> AnySpec:
    """Specs with the same answer differ in their read alone, and are measured together."""
    return dataclasses.replace(spec, read="final_norm") if isinstance(spec, Spec) else spec


def _outcomes(
    specs: list[AnySpec], model: models.LoadedModel | None, store: Store | None
) -> Mapping[Any, tuple[Outcome, str]]:
    if model is None:
        return {spec: (models.read_shape(spec.model), "measured") for spec in specs}
    return _measure_alike([spec for spec in specs if isinstance(spec, Spec)], model, store)


def _kept(error: Exception) -> MeasureError:
    """An error to be kept for later: its text without its frames, which would hold the model in memory."""
    if isinstance(error, MeasureError):
        return MeasureError(str(error))
    return MeasureError(f"unexpected error while measuring:\n{''.join(traceback.format_exception(error))}")


def _measure_alike(
    specs: list[Spec], model: models.LoadedModel, store: Store | None
) -> dict[Spec, tuple[Outcome, str]]:
    """Specs that differ in their read alone: those the store holds from there, the others together."""
    first = specs[0]
    if model.tokenizer is None:
        raise MeasureError(
            f"{first.model} has no tokenizer to draw prompts with; save the model's tokenizer in its folder."
        )
    source = corpus_of(first, model.source)
    written = isinstance(first, CurveSpec) and prompts.file_of(first.pairing)
    drawn = _drawn(first, source, _Tokenizer.of(model.tokenizer))
    versions = measurements.environment(model)
    conditions = {
        "weights": model.sha256,
        "config": model.config_sha256,
        "prompts": drawn.sha256,
        "torch": versions["torch"],
        "transformers": versions["transformers"],
        "device": model.device.type,
    }
    addresses = {spec: key(spec, conditions) for spec in specs}
    stored = {spec: store.get(address) if store is not None else None for spec, address in addresses.items()}
    missing = [spec for spec, result in stored.items() if result is None]
    found: dict[Spec, tuple[Outcome, str]] = {
        s: (result, "stored") for s, result in stored.items() if result is not None
    }
    if missing:
        if written:
            origin = {"corpus": written.name, "corpus_sha256": hashlib.sha256(written.read_bytes()).hexdigest()}
        else:
            origin = {"corpus": source, "corpus_sha256": _corpus(source).sha256}
        for spec, result in zip(missing, measurements.measure_specs(missing, model, drawn, origin=origin), strict=True):
            found[spec] = result, "measured"
            if store is not None:
                store.put(addresses[spec], result)
    return found


def corpus_of(spec: Spec, source: str) -> str:
    """What `default` means: the shipped prose for the ladder and local folders, the paper's corpus for hub models."""
    if spec.corpus == "default" and source == "hub":
        return prompts.PAPER_CORPUS
    return spec.corpus


@dataclass(frozen=True)
class _Tokenizer:
    """A tokenizer that is equal to another one of the same content: the revisions of a model each load their own."""

    content: str
    tokenizer: Any = field(compare=False)

    @classmethod
    def of(cls, tokenizer: Any) -> _Tokenizer:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        text = backend.to_str() + str(tokenizer.bos_token_id) if backend is not None else f"object {id(tokenizer)}"
        return cls(hashlib.sha256(text.encode()).hexdigest(), tokenizer)


def _drawn(spec: Spec, source: str, tokenizer: _Tokenizer) -> prompts.Pairs | prompts.Triples:
    if isinstance(spec, SliceSpec):
        return _triples(source, tokenizer, spec.protocol, spec.triples, spec.seed)
    assert isinstance(spec, CurveSpec)
    return _pairs(source, tokenizer, spec.protocol, spec.pairs, spec.seed, spec.pairing)


# Prompts are drawn once for all models that share a tokenizer: tokenizing a corpus takes its time.
@lru_cache(maxsize=16)
def _pairs(
    source: str, tokenizer: _Tokenizer, protocol: Protocol, pairs: int, seed: int, pairing: Pairing
) -> prompts.Pairs:
    corpus = prompts.NO_CORPUS if prompts.file_of(pairing) else _corpus(source)
    return prompts.draw(corpus, tokenizer.tokenizer, protocol, pairs, seed, pairing)


@lru_cache(maxsize=4)
def _triples(source: str, tokenizer: _Tokenizer, protocol: Protocol, triples: int, seed: int) -> prompts.Triples:
    return prompts.draw_triples(_corpus(source), tokenizer.tokenizer, protocol, triples, seed)


@cache
def _corpus(source: str) -> prompts.Corpus:
    return prompts.load_corpus(source)


def accelerator_bytes() -> int:
    """Memory of the largest accelerator at hand, 0 where there is none."""
    import torch

    if not torch.cuda.is_available():
        return 0
    return max(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count()))
