"""The same last tokens in other contexts: what is kept, what is dealt out anew, and that rows stay in their places."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from measure.harness.engines import in_process as engine
from measure.prompts import contexts, own_pairs
from measure.prompts import drawn as prompts
from measure.prompts.drawn import Corpus
from measure.spec import CurveSpec
from tests.conftest import WordTokenizer

CORPUS = Corpus("words", (" ".join(f"w{i}" for i in range(2000)),), "hash")


def drawn(pairing: str, protocol: str = "paper", seed: int = 0, *, bos: bool = False) -> prompts.Pairs:
    tokenizer = WordTokenizer(bos=1, adds_bos=bos)
    return prompts.draw(CORPUS, tokenizer, protocol, 20, seed, pairing)  # type: ignore[arg-type]


def ends(pairs: prompts.Pairs) -> list[tuple[int, int]]:
    return [(a[-1], b[-1]) for a, b in zip(pairs.a, pairs.b, strict=True)]


@pytest.mark.parametrize("protocol", ["paper", "strict"])
@pytest.mark.parametrize("pairing", contexts.KINDS)
def test_rows_end_on_the_same_tokens_and_are_the_same_units(pairing: str, protocol: str) -> None:
    natural, other = drawn("random", protocol), drawn(pairing, protocol)
    assert ends(natural) == ends(other)
    assert natural.units == other.units
    assert not set(natural.a) & set(other.a)


def test_random_contexts_are_the_same_tokens_dealt_out_anew_by_the_seed() -> None:
    natural, other = drawn("random"), drawn("random_context")
    assert [len(prompt) for prompt in natural.a] == [len(prompt) for prompt in other.a]
    pools = [Counter(t for p in {*pairs.a, *pairs.b} for t in p[:-1]) for pairs in (natural, other)]
    assert pools[0] == pools[1]
    stayed = sum(t == u for a, b in zip(natural.a, other.a, strict=True) for t, u in zip(a[:-1], b[:-1], strict=True))
    assert stayed < 9
    # A prompt of two chained pairs is one prompt still.
    assert other.a[1:] == other.b[:-1]
    assert drawn("random_context") == other
    assert drawn("random_context", seed=1).sha256 != other.sha256


def test_without_context_the_last_token_is_alone_or_behind_the_bos_that_it_had() -> None:
    assert set(drawn("no_context").a) == {prompt[-1:] for prompt in drawn("random").a}
    assert all(len(prompt) == 2 and prompt[0] == 1 for prompt in drawn("no_context", "strict", bos=True).a)
    assert all(len(prompt) == 11 and prompt[0] == 1 for prompt in drawn("random_context", "strict", bos=True).a)
    # Of a BOS alone nothing can be taken.
    assert contexts.changed("no_context", [(1,)], 1, 0) == {(1,): (1,)}
    assert contexts.changed("random_context", [(1,), (5,)], 1, 0) == {(1,): (1,), (5,): (5,)}


def test_pairs_of_ones_own_have_their_contexts_changed_too(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("a,b\n one two three, four five six\n seven eight nine, ten eleven twelve\n")
    spec = CurveSpec("ladder-olmo-0.2m@main", corpus=own_pairs.hold(str(path)))
    corpus, tokenizer = own_pairs.corpus(spec.corpus), WordTokenizer()
    natural = own_pairs.drawn(spec, corpus, tokenizer)
    alone = own_pairs.drawn(replace(spec, pairing="no_context"), corpus, tokenizer)
    assert alone.a == tuple(prompt[-1:] for prompt in natural.a)
    assert ends(own_pairs.drawn(replace(spec, pairing="random_context"), corpus, tokenizer)) == ends(natural)


def test_a_rung_is_measured_without_context() -> None:
    """Prompts of one token, and pairs that are then one prompt."""
    spec = CurveSpec("ladder-olmo-0.2m@main", pairs=40, rows="independent", steps=5)
    asked = {pairing: replace(spec, pairing=pairing) for pairing in ("random", *contexts.KINDS)}  # type: ignore[arg-type]
    found = engine.measure(asked.values(), None, lambda *_: None)
    natural, _, none = (found[one] for one in asked.values())
    same = natural.last_tokens[:, 0] == natural.last_tokens[:, 1]  # type: ignore[union-attr]
    assert (none.degenerate == same).all()  # type: ignore[union-attr]
    assert none.provenance["path"] == "fast"  # type: ignore[union-attr]
