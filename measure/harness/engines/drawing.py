"""The prompts of a spec, drawn once for all models that share a tokenizer. Loads no model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from measure import catalog, kinds
from measure.prompts import drawn as prompts
from measure.prompts import own_pairs
from measure.results import Result
from measure.spec import Pairing, Protocol, Spec


def corpus_of(spec: Spec, source: str) -> str:
    """What `default` means: the shipped prose for the ladder and local folders, the paper's corpus for hub models."""
    if spec.corpus == "default" and source == "hub":
        return prompts.PAPER_CORPUS
    return spec.corpus


def corpus_for(spec: Spec, source: str) -> prompts.Corpus:
    """What a spec's prompts are drawn from; nothing for those that this package ships in pairs."""
    return prompts.NO_CORPUS if _written(spec) else _corpus(source)


def _written(spec: Spec) -> Path | None:
    """The file of this package that a spec's prompts stand in; None for those that are drawn."""
    return prompts.file_of(spec.pairing) if kinds.takes_pairs(spec) else None


def origin_of(spec: Spec, source: str) -> dict[str, str]:
    """Where a spec's prompts come from: a file of this package, or a corpus."""
    written = _written(spec)
    if written:
        return {"corpus": written.name, "corpus_sha256": hashlib.sha256(written.read_bytes()).hexdigest()}
    corpus = _corpus(source)
    return {"corpus": corpus.name, "corpus_sha256": corpus.sha256}


def prompts_of(spec: Spec, result: Result, tokenizer: Any) -> tuple[tuple[prompts.Prompt, ...], ...]:
    """The prompts of each row of a result as token ids, A and B of a pair, A, B and C of a triple.

    They are drawn again, as a result does not hold them; none where that gives others than were measured.
    """
    corpus = corpus_for(spec, corpus_of(spec, catalog.resolve(spec.model).source))
    drawn = draw(spec, corpus, tokenizer)
    for found in (drawn, drawn.independent()) if isinstance(drawn, prompts.Pairs) else (drawn,):
        if found.sha256 == result.provenance.get("prompts_sha256"):
            sides = (found.a, found.b) if isinstance(found, prompts.Pairs) else (found.a, found.b, found.c)
            return tuple(zip(*sides, strict=True))
    return ()


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


def draw(spec: Spec, corpus: prompts.Corpus, tokenizer: Any) -> prompts.Pairs | prompts.Triples:
    """The prompts of a spec out of a corpus, from memory where they were drawn with an equal tokenizer before."""
    return _draw(spec, _Content(corpus.sha256, corpus), _Tokenizer.of(tokenizer))


def _draw(spec: Spec, content: _Content, tokenizer: _Tokenizer) -> prompts.Pairs | prompts.Triples:
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
    """A corpus as it is when a run first asks for it; see `forget`."""
    return own_pairs.corpus(source) if own_pairs.is_held(source) else prompts.load_corpus(source)


def forget() -> None:
    """Read each corpus anew: its file may have changed since another run of this process."""
    _corpus.cache_clear()
