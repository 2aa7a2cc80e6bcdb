"""Which spec runs when and where: by model, behind the store, in this process."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import secrets
import sys
import traceback
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from measure import (
    batches,
    catalog,
    gpus,
    hub,
    inputs,
    kinds,
    known,
    measurements,
    models,
    own_pairs,
    progress,
    prompts,
    provenance,
    several,
    stale,
)
from measure.baselines import ENVIRONMENT
from measure.engines import Begin, Found, Load, Outcome, Report, load_of, untold
from measure.fetching import Fetcher
from measure.results import Result
from measure.spec import (
    AnySpec,
    Keep,
    MeasureError,
    NotMeasuredError,
    Pairing,
    Protocol,
    Spec,
    fields_of,
)
from measure.store import Store, key

# Layers that are measured together at most.
LAYERS = 10


class InProcess:
    """Measures the specs that it was told of, each model loaded once, the next checkpoint fetched meanwhile.

    An error belongs to the specs it struck and stops no other. `report` is told of each spec whether it was `stored`,
    `measured` or `failed`, as it ends, `begin` of what is done meanwhile. `keep` says which checkpoints brought from
    the hub stay on the disk, `disk` how many bytes they may take.
    """

    def __init__(
        self,
        store: Store | None,
        report: Report,
        *,
        begin: Begin = untold,
        keep: Keep = "all",
        allow_pickle: bool = False,
        disk: int | None = None,
    ) -> None:
        # A file may have changed since another run of this process.
        _corpus.cache_clear()
        self.store = store
        self.gathered: dict[Load, list[AnySpec]] = defaultdict(list)
        self._report = report
        self._begin = begin
        self._outcomes: dict[AnySpec, Outcome] = {}
        self._fetcher = Fetcher(keep, allow_pickle=allow_pickle, budget=disk)
        # By repository and hash, the revision that was asked for first, and what it was.
        self._weights: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        # By hash and folder, the name asked for, and the configuration's hash.
        self._folders: dict[str, dict[Path, tuple[str, str]]] = defaultdict(dict)

    def gather(self, specs: Iterable[AnySpec]) -> None:
        """Take note of specs that will be asked for."""
        for spec in specs:
            group = self.gathered[load_of(spec)]
            if spec not in group:
                group.append(spec)

    def outcome(self, spec: AnySpec) -> Outcome:
        """The result of a spec, or its error; the first one asked of a model measures all that were gathered for it."""
        if spec not in self._outcomes:
            self.gather([spec])
            self._measure(load_of(spec))
        return self._outcomes[spec]

    def close(self) -> None:
        """Stop fetching."""
        self._fetcher.close()

    def _open(self, load: Load) -> list[AnySpec]:
        return [spec for spec in self.gathered[load] if spec not in self._outcomes]

    def _measure(self, load: Load) -> None:
        specs = self._open(load)
        self._fetch_ahead(load)
        following = next((other for other in self.gathered if other[0] != load[0] and self._open(other)), None)
        if following is not None:
            self._fetch_ahead(following)
        self._keep(self._found(load, specs))
        if not any(self._open(other) for other in self.gathered if other[0] == load[0]):
            self._fetcher.used(load[0])

    def _keep(self, found: Found) -> None:
        for spec, (outcome, how) in found.items():
            self._outcomes[spec] = outcome
            self._report(spec, how)

    def settle(self, found: Found) -> None:
        """Take the outcomes of one load that were found elsewhere, held against earlier ones as if found here."""
        try:
            self._check_weights(found)
        except Exception as error:  # handed to the tests that asked
            found = dict.fromkeys(found, (_kept(error), "failed"))
        self._keep(found)

    def forget(self, load: Load) -> None:
        """Hold nothing more of a load: neither what was asked of it nor what came of it."""
        open_ones = self._open(load)
        for spec in self.gathered.pop(load, []):
            self._outcomes.pop(spec, None)
        # What was fetched ahead, and measured by another, would keep its room on the disk.
        if open_ones and not any(other[0] == load[0] and self._open(other) for other in list(self.gathered)):
            self._fetcher.used(load[0])

    def _fetch_ahead(self, load: Load) -> None:
        specs = self._open(load)
        weights = needs_weights(load)
        needed = partial(_is_needed, specs, self.store)
        self._fetcher.ahead(load[0], weights=weights, needed=needed)

    def _found(self, load: Load, specs: list[AnySpec]) -> Found:
        try:
            found = _known(links_of(specs), self.store)
            missing = [spec for spec in specs if spec not in found]
            if missing:
                self._fetcher.wait(load[0], weights=needs_weights(load))
                pickle = self._fetcher.allow_pickle
                found.update(_measure_group(missing, self.store, self._begin, allow_pickle=pickle))
            self._check_weights(found)
        except Exception as error:  # handed to the tests that asked
            return dict.fromkeys(specs, (_kept(error), "failed"))
        return found

    def _check_weights(self, found: Found) -> None:
        """Raise `MeasureError` where two revisions of a model hold the same weights: one of them is stale.

        Also two folders with the same weights and the same configuration, wherever they lie.
        """
        for spec, (result, _) in found.items():
            if not (isinstance(result, Result) and kinds.is_run(spec) and spec.weights == "stored"):
                continue
            reference = catalog.resolve(spec.model)
            if reference.source == "hub":
                self._check_revision(reference, result.provenance)
            elif reference.source == "folder":
                self._check_place(spec.model, Path(reference.location).resolve(), result.provenance)

    def _check_revision(self, reference: catalog.Reference, provenance: Mapping[str, Any]) -> None:
        place, asked, weights = reference.location, reference.revision, provenance["weights_sha256"]
        seen = self._weights[place].setdefault(weights, (asked, provenance["revision"]))
        # Branches are asked for only where there is something to tell.
        names = hub.known_branches(place) if seen[0] != asked else ()
        if seen[0] != asked and not stale.may_be_equal(seen[1], provenance["revision"], names, place):
            raise stale.equal(f"{place}: revisions {seen[0]} and {asked}", weights, "on the hub")

    def _check_place(self, name: str, place: Path, provenance: Mapping[str, Any]) -> None:
        weights, config = provenance["weights_sha256"], provenance["config_sha256"]
        seen = self._folders[weights]
        for other, (called, its_config) in seen.items() if place not in seen else ():
            common = _in_common(other, place)
            if common and stale.may_be_equal(common[1], common[2], models.revisions_in(common[0])):
                continue
            if common or its_config == config:
                raise stale.equal(f"{called} and {name}", weights, "or one folder copied twice")
        seen.setdefault(place, (name, config))


def _in_common(first: Path, second: Path) -> tuple[Path, str, str] | None:
    """The folder of a training that two folders belong to, and what each is called in it; None where there is none."""
    if first.parent == second.parent:
        return first.parent, first.name, second.name
    if second.parent == first:
        return first, "main", second.name
    if first.parent == second:
        return second, first.name, "main"
    return None


def measure(specs: Iterable[AnySpec], store: Store | None, report: Report) -> dict[AnySpec, Outcome]:
    """Measure every spec; see `InProcess`."""
    specs = list(dict.fromkeys(specs))
    engine = InProcess(store, report)
    try:
        engine.gather(specs)
        return {spec: engine.outcome(spec) for spec in specs}
    finally:
        engine.close()


def needs_weights(load: Load) -> bool:
    """Whether loading takes more than the configuration."""
    return load[1] != "config" and not load[1].startswith("untrained")


_MEASURING = {f"measure.{name}" for name in known.MEASURING_MODULES}


def _known(links: Mapping[Spec, str], store: Store | None) -> Found:
    """The specs that the store holds for a model of the same commit, or the same files: it need not be loaded."""
    found = {spec: _if_of(spec, store.follow(link)) if store is not None else None for spec, link in links.items()}
    return {spec: (result, "stored") for spec, result in found.items() if result is not None}


def _if_of(spec: Spec, result: Result | None) -> Result | None:
    """What a store held for a spec, if that is a result of it; what is not is measured again."""
    if result is None or result.kind != kinds.of(spec).name:
        return None
    said = result.provenance
    if said.get("spec") != json.loads(json.dumps(fields_of(spec))):
        return None
    whole = all(isinstance(said.get(name), str) for name in ("revision", "prompts_sha256", *ENVIRONMENT))
    return result if whole else None


def _is_needed(specs: Sequence[AnySpec], store: Store | None) -> bool:
    return len(_known(links_of(specs), store)) < len(specs)


def _identity(spec: AnySpec) -> str:
    return models.identity(spec.model, weights=needs_weights(load_of(spec)))


def _links_once_loaded(specs: Sequence[AnySpec], model: models.LoadedModel, before: str) -> dict[Spec, str]:
    """`links_of`, unless what was loaded is not what was asked for, or may be: then there are none.

    `before` is what the model was known to be before it was loaded.
    """
    return links_of(specs) if _identity(specs[0]) == (model.commit or before) else {}


def links_of(specs: Sequence[AnySpec]) -> dict[Spec, str]:
    """By spec of one model, the address under which a store links its result to what is known without loading."""
    measurable = [spec for spec in specs if kinds.is_run(spec)]
    if not measurable:
        return {}
    first = measurable[0]
    reference = catalog.resolve(first.model)
    conditions = {
        "identity": models.identity(first.model, weights=needs_weights(load_of(first))),
        "torch": torch.__version__,
        "transformers": metadata.version("transformers"),
        "tokenizers": metadata.version("tokenizers"),
        "device": models.device_of(reference),
    }
    found: dict[Spec, str] = {}
    for spec in measurable:
        # A corpus that cannot be read is the business of the specs that name it, when they are measured.
        with contextlib.suppress(MeasureError):
            origin = _origin(spec, corpus_of(spec, reference.source))
            found[spec] = key(spec, {**conditions, **origin, **_by_own_pairs(spec), **_by_own_source(spec)})
    return found


def _measure_group(group: list[AnySpec], store: Store | None, begin: Begin, *, allow_pickle: bool) -> Found:
    first = group[0]
    model, links = None, {}
    if kinds.is_run(first):
        begin(f"loading {first.model}")
        before = _identity(first) if catalog.resolve(first.model).source != "hub" else ""
        model = models.load(first.model, weights=first.weights, precision=first.precision, allow_pickle=allow_pickle)
        links = _links_once_loaded(group, model, before)
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
                found.update(dict.fromkeys(specs, (_kept(error), "failed")))
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
        return {spec: (kinds.of(spec).measuring()(spec), "measured") for spec in specs}
    return _measure_alike([spec for spec in specs if kinds.is_run(spec)], model, store, links)


def _kept(error: Exception) -> MeasureError:
    """An error to be kept for later: its text without its frames, which would hold the model in memory.

    A `NotMeasuredError` where the world denied something; whatever else was not foreseen is a defect, told whole.
    """
    if isinstance(error, MeasureError):
        kind = NotMeasuredError if isinstance(error, NotMeasuredError) else MeasureError
        return kind(str(error))
    if batches.is_out_of_memory(error):
        return NotMeasuredError(
            f"the machine has no memory left ({error}); end what else uses it, or take a larger one."
        )
    if lost := gpus.told_as_lost(error):
        return NotMeasuredError(lost)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NotMeasuredError(f"the disk is full ({error}); make room, or set HF_HOME and --store to a larger one.")
    return MeasureError(
        "unexpected error while measuring, a defect of the harness or of a library it stands on:\n"
        + "".join(traceback.format_exception(error))
    )


def _measure_alike(
    specs: list[Spec], model: models.LoadedModel, store: Store | None, links: Mapping[Spec, str]
) -> dict[Spec, tuple[Outcome, str]]:
    """Specs that differ in their read, or in layer and read: those the store holds from there, the others together."""
    first = specs[0]
    source = corpus_of(first, model.source)
    corpus = _corpus_for(first, source)
    # Rows as they stand need a tokenizer for the BOS of protocol strict alone.
    if model.tokenizer is None and not (corpus.rows and first.protocol == "paper"):
        lacking = model.no_tokenizer or "save the model's tokenizer in its folder"
        raise MeasureError(f"{first.model} has no tokenizer to draw prompts with; {lacking}.")
    prompts.check_rows(corpus.rows, model.vocabulary, model.context, corpus.name, model.name)
    inputs.check_ends(corpus.rows, corpus.name, model.tokenizer, model.network.config)
    if own_pairs.is_held(first.corpus):
        for side in (0, 1):
            called = f"{corpus.name}, column {'ab'[side]}"
            inputs.token_ids(called, list(corpus.texts[side::2]), model.tokenizer, False, model)
    drawn = _drawn(first, _Content(corpus.sha256, corpus), _Tokenizer.of(model.tokenizer))
    # A tokenizer may know more than the model that it lies beside.
    every = (*drawn.a, *drawn.b, *(drawn.c if isinstance(drawn, prompts.Triples) else ()))
    prompts.check_rows(every, model.vocabulary, model.context, "the prompts drawn", model.name)
    versions = provenance.environment(model)
    conditions = {
        "weights": model.sha256,
        "config": model.config_sha256,
        "prompts": drawn.sha256,
        "torch": versions["torch"],
        "transformers": versions["transformers"],
        "device": model.device.type,
        **_by_own_pairs(first),
        **_by_own_source(first),
    }
    addresses = {spec: key(spec, conditions) for spec in specs}
    stored = {
        spec: _if_of(spec, store.get(address)) if store is not None else None for spec, address in addresses.items()
    }
    missing = [spec for spec, result in stored.items() if result is None]
    found: dict[Spec, tuple[Outcome, str]] = {
        s: (result, "stored") for s, result in stored.items() if result is not None
    }
    if missing:
        origin = _origin(first, source)
        for spec, result in zip(missing, measurements.measure_specs(missing, model, drawn, origin=origin), strict=True):
            found[spec] = result, "measured"
            if store is not None:
                store.put(addresses[spec], result)
    if store is not None:
        for spec in found.keys() & links.keys():
            store.link(links[spec], addresses[spec])
    return found


def prompts_of(spec: Spec, result: Result, tokenizer: Any) -> tuple[tuple[prompts.Prompt, ...], ...]:
    """The prompts of each row of a result as token ids, A and B of a pair, A, B and C of a triple.

    They are drawn again, as a result does not hold them; none where that gives others than were measured.
    """
    corpus = _corpus_for(spec, corpus_of(spec, catalog.resolve(spec.model).source))
    drawn = _drawn(spec, _Content(corpus.sha256, corpus), _Tokenizer.of(tokenizer))
    for found in (drawn, drawn.independent()) if isinstance(drawn, prompts.Pairs) else (drawn,):
        if found.sha256 == result.provenance.get("prompts_sha256"):
            sides = (found.a, found.b) if isinstance(found, prompts.Pairs) else (found.a, found.b, found.c)
            return tuple(zip(*sides, strict=True))
    return ()


def _corpus_for(spec: Spec, source: str) -> prompts.Corpus:
    """What a spec's prompts are drawn from; nothing for those that this package ships in pairs."""
    return prompts.NO_CORPUS if _written(spec) else _corpus(source)


def _written(spec: Spec) -> Path | None:
    """The file of this package that a spec's prompts stand in; None for those that are drawn."""
    return prompts.file_of(spec.pairing) if kinds.takes_pairs(spec) else None


def _origin(spec: Spec, source: str) -> dict[str, str]:
    """Where a spec's prompts come from: a file of this package, or a corpus."""
    written = _written(spec)
    if written:
        return {"corpus": written.name, "corpus_sha256": hashlib.sha256(written.read_bytes()).hexdigest()}
    corpus = _corpus(source)
    return {"corpus": corpus.name, "corpus_sha256": corpus.sha256}


def _by_own_pairs(spec: Spec) -> dict[str, str]:
    """What else a result on pairs of one's own is kept under; nothing for others."""
    return {"own_pairs": own_pairs.source_hash()} if own_pairs.is_held(spec.corpus) else {}


def _by_own_source(spec: Spec) -> dict[str, str]:
    """What else a result of a kind is kept under that is not of the measuring modules: the text of its files."""
    own = {type(spec).__module__, kinds.of(spec).measuring().__module__}
    files = [getattr(sys.modules.get(name), "__file__", None) for name in sorted(own - _MEASURING)]
    # What was typed in has no file, and is not found again.
    texts = [known.hash_once(Path(file)) if file else secrets.token_hex() for file in files]
    return {"measured_by": " ".join(texts)} if texts else {}


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


@dataclass(frozen=True)
class _Content:
    """A corpus that is equal to another one of the same content."""

    sha256: str
    corpus: prompts.Corpus = field(compare=False)


def _drawn(spec: Spec, content: _Content, tokenizer: _Tokenizer) -> prompts.Pairs | prompts.Triples:
    if kinds.takes_triples(spec):
        return _triples(content, tokenizer, spec.protocol, spec.triples, spec.seed)
    assert kinds.takes_pairs(spec)
    if own_pairs.is_held(spec.corpus):
        return own_pairs.drawn(spec, content.corpus, tokenizer.tokenizer)
    return _pairs(content, tokenizer, spec.protocol, spec.pairs, spec.seed, spec.pairing)


# Prompts are drawn once for all models that share a tokenizer: tokenizing a corpus takes its time.
@lru_cache(maxsize=16)
def _pairs(
    content: _Content, tokenizer: _Tokenizer, protocol: Protocol, pairs: int, seed: int, pairing: Pairing
) -> prompts.Pairs:
    return prompts.draw(content.corpus, tokenizer.tokenizer, protocol, pairs, seed, pairing)


@lru_cache(maxsize=4)
def _triples(content: _Content, tokenizer: _Tokenizer, protocol: Protocol, triples: int, seed: int) -> prompts.Triples:
    return prompts.draw_triples(content.corpus, tokenizer.tokenizer, protocol, triples, seed)


@cache
def _corpus(source: str) -> prompts.Corpus:
    """A corpus as it is when a run first asks for it; each `InProcess` reads anew."""
    return own_pairs.corpus(source) if own_pairs.is_held(source) else prompts.load_corpus(source)


def accelerator_bytes() -> int:
    """Memory of the largest accelerator at hand, 0 where there is none."""
    if not torch.cuda.is_available():
        return 0
    return max(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count()))
