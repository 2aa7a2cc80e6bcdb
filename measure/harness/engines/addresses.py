"""Where a store keeps the result of a spec: its address, and the link to it that is known before a model is loaded."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import torch

from measure import catalog, kinds
from measure.core import provenance
from measure.harness.engines.drawing import corpus_of, origin_of
from measure.harness.engines.protocol import Found, load_of
from measure.harness.engines.store import Store, key
from measure.hub import known
from measure.kinds import ENVIRONMENT
from measure.kinds.rows import How
from measure.models import loading as models
from measure.prompts import drawn as prompts
from measure.prompts import own_pairs
from measure.results import Result
from measure.spec import AnySpec, MeasureError, Spec, fields_of


def links_of(specs: Sequence[AnySpec]) -> dict[Spec, str]:
    """By spec of one model, the address under which a store links its result to what is known without loading."""
    measurable = [spec for spec in specs if kinds.is_run(spec)]
    if not measurable:
        return {}
    first = measurable[0]
    reference = catalog.resolve(first.model)
    conditions = {
        "identity": identity(first),
        "torch": torch.__version__,
        "transformers": metadata.version("transformers"),
        "tokenizers": metadata.version("tokenizers"),
        "device": models.device_of(reference),
    }
    found: dict[Spec, str] = {}
    for spec in measurable:
        # A corpus that cannot be read is the business of the specs that name it, when they are measured.
        with contextlib.suppress(MeasureError):
            origin = origin_of(spec, corpus_of(spec, reference.source))
            found[spec] = key(spec, {**conditions, **origin, **_by_own_pairs(spec), **_by_own_source(spec)})
    return found


def addresses_of(
    specs: Sequence[Spec], model: models.LoadedModel, drawn: prompts.Pairs | prompts.Triples
) -> dict[Spec, str]:
    """By spec of one model, the address of its result on the model that was loaded and the prompts that were drawn."""
    first = specs[0]
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
    return {spec: key(spec, conditions) for spec in specs}


def links_once_loaded(specs: Sequence[AnySpec], model: models.LoadedModel, before: str) -> dict[Spec, str]:
    """`links_of`, unless what was loaded is not what was asked for, or may be: then there are none.

    `before` is what the model was known to be before it was loaded.
    """
    return links_of(specs) if identity(specs[0]) == (model.commit or before) else {}


def identity(spec: AnySpec) -> str:
    """What the model of a spec is known to be without loading it."""
    return models.identity(spec.model, weights=load_of(spec).needs_weights)


def _by_own_pairs(spec: Spec) -> dict[str, str]:
    """What else a result on pairs of one's own is kept under; nothing for others."""
    return {"own_pairs": own_pairs.source_hash()} if own_pairs.is_held(spec.corpus) else {}


def _by_own_source(spec: Spec) -> dict[str, str]:
    """What else a result of a kind is kept under that is not of the measuring modules: the text of its files."""
    own = {type(spec).__module__, kinds.of(spec).measuring().__module__}
    files = [getattr(sys.modules.get(name), "__file__", None) for name in sorted(own) if not known.is_measuring(name)]
    # What was typed in has no file, and is not found again.
    texts = [known.hash_once(Path(file)) if file else secrets.token_hex() for file in files]
    return {"measured_by": " ".join(texts)} if texts else {}


def known_results(links: Mapping[Spec, str], store: Store | None) -> Found:
    """The specs that the store holds for a model of the same commit, or the same files: it need not be loaded."""
    found = {spec: own_result(spec, store.follow(link)) if store is not None else None for spec, link in links.items()}
    return {spec: (result, How.STORED) for spec, result in found.items() if result is not None}


def own_result(spec: Spec, result: Result | None) -> Result | None:
    """What a store held for a spec, if that is a result of it; what is not is measured again."""
    if result is None or result.kind != kinds.of(spec).name:
        return None
    said = result.provenance
    if said.get("spec") != json.loads(json.dumps(fields_of(spec))):
        return None
    whole = all(isinstance(said.get(name), str) for name in ("revision", "prompts_sha256", *ENVIRONMENT))
    return result if whole else None


def is_needed(specs: Sequence[AnySpec], store: Store | None) -> bool:
    """Whether a store lacks a result of these specs, as far as can be told without loading."""
    return len(known_results(links_of(specs), store)) < len(specs)
