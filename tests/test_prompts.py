from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from measure import catalog, prompts
from measure.prompts import Corpus
from measure.spec import PROMPT_TOKENS, MeasureError
from tests.conftest import WordTokenizer

WORDS = " ".join(f"w{i}" for i in range(1000))
CORPUS = Corpus("words", (WORDS, "too short", WORDS[::-1]), "hash")


def ladder_tokenizer() -> object:
    return AutoTokenizer.from_pretrained(catalog.LADDER / "tokenizer")


def test_paper_pairs_are_chained_and_every_second_is_a_unit() -> None:
    pairs = prompts.draw(CORPUS, WordTokenizer(bos=1, adds_bos=True), "paper", 7, seed=0)
    assert len(pairs) == 7
    assert pairs.a[1:] == pairs.b[:-1]
    assert pairs.units == (0, -1, 1, -1, 2, -1, -1)
    assert {len(prompt) for prompt in (*pairs.a, *pairs.b)} == {PROMPT_TOKENS}


def test_strict_pairs_are_disjoint_in_both_directions_with_the_conventional_bos() -> None:
    pairs = prompts.draw(CORPUS, WordTokenizer(bos=1, adds_bos=True), "strict", 8, seed=0)
    assert (pairs.a[:4], pairs.b[:4]) == (pairs.b[4:], pairs.a[4:])
    assert len({*pairs.a[:4], *pairs.b[:4]}) == 8
    assert pairs.units == (0, 1, 2, 3, 0, 1, 2, 3)
    assert all(prompt[0] == 1 and len(prompt) == PROMPT_TOKENS + 1 for prompt in pairs.a)
    without = prompts.draw(CORPUS, WordTokenizer(bos=1), "strict", 8, seed=0)
    assert all(len(prompt) == PROMPT_TOKENS for prompt in without.a)


def test_windows_lie_in_one_text_and_never_overlap() -> None:
    tokenizer = WordTokenizer()
    texts = [tokenizer(text)["input_ids"] for text in CORPUS.texts]
    drawn = prompts.windows(CORPUS, tokenizer, 100, seed=3)
    places = [
        {(t, i) for t, text in enumerate(texts) for i in range(len(text)) if tuple(text[i : i + 10]) == prompt}
        for prompt in drawn
    ]
    assert all(places)


def test_sampling_is_seeded() -> None:
    first, again, other = (prompts.draw(CORPUS, WordTokenizer(), "paper", 20, seed) for seed in (0, 0, 1))
    assert first == again
    assert first.sha256 == again.sha256 != other.sha256


def test_a_corpus_too_short_says_what_would_fit() -> None:
    short = Corpus("short", ("a b c d e f g h i j k l",), "hash")
    with pytest.raises(MeasureError, match=r"'short' is too short: 5 prompts of 10 tokens were asked for, and 1 fit"):
        prompts.draw(short, WordTokenizer(), "paper", 4, seed=0)


def test_the_default_corpus_is_ours_and_large_enough() -> None:
    corpus = prompts.load_corpus("default")
    assert sum(map(len, corpus.texts)) >= 60_000
    assert len(set(corpus.texts)) == len(corpus.texts)
    openings = {text[:40] for text in corpus.texts}
    assert len(openings) == len(corpus.texts)
    for protocol in ("paper", "strict"):
        pairs = prompts.draw(corpus, ladder_tokenizer(), protocol, 1600, seed=0)  # type: ignore[arg-type]
        assert len(set(pairs.units) - {-1}) == 800


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv", "glob", "folder"])
def test_any_table_with_texts_is_a_corpus(tmp_path: Path, kind: str) -> None:
    table = Dataset.from_dict({"TEXT": ["one text", "another"], "SOURCE": ["x", "y"]})
    name = tmp_path / f"table.{'parquet' if kind in ('glob', 'folder') else kind}"
    {"csv": table.to_csv, "jsonl": table.to_json}.get(kind, table.to_parquet)(name)
    source = {"glob": str(tmp_path / "tab*"), "folder": str(tmp_path)}.get(kind, str(name))
    corpus = prompts.load_corpus(source)
    assert corpus.texts == ("one text", "another")
    assert corpus.sha256 == prompts.load_corpus(source).sha256


def test_a_corpus_without_texts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.jsonl").write_text(json.dumps({"text": "lower case"}) + "\n")
    with pytest.raises(MeasureError, match="has columns text but no TEXT"):
        prompts.load_corpus(str(tmp_path / "table.jsonl"))
    with pytest.raises(MeasureError, match=re.escape("found no parquet, JSON or CSV file there")):
        prompts.load_corpus(str(tmp_path / "none*"))


def test_rows_that_are_no_text_and_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "null.jsonl").write_text('{"TEXT": "one"}\n{"TEXT": null}\n')
    with pytest.raises(MeasureError, match="TEXT of row 1 is None, no text"):
        prompts.load_corpus(str(tmp_path / "null.jsonl"))
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(MeasureError, match=r"could not be read .* expected whole parquet"):
        prompts.load_corpus(str(tmp_path / "damaged.parquet"))


def test_an_empty_text_holds_no_prompt() -> None:
    with_empty = Corpus("words", ("", WORDS), "hash")
    assert prompts.draw(with_empty, WordTokenizer(), "paper", 5, 0).a[0][0] > 0


def test_bos_is_put_in_front_or_refused() -> None:
    assert prompts.tokenize(WordTokenizer(bos=1), ["a b"], bos=True) == (
        (1, *prompts.tokenize(WordTokenizer(), ["a b"])[0]),
    )
    with pytest.raises(MeasureError, match="has no BOS token"):
        prompts.tokenize(WordTokenizer(), ["a b"], bos=True)


def test_pairs_that_share_a_prompt_are_no_independent_units() -> None:
    a, b = ((1,), (2,), (3,), (1,)), ((2,), (3,), (4,), (5,))
    assert prompts.independent_units(a, b) == (0, -1, 1, -1)


def test_the_hash_sees_ids_order_and_lengths() -> None:
    pairs = [
        prompts.Pairs(((1, 2),), ((3,),), (0,)),
        prompts.Pairs(((1,),), ((2, 3),), (0,)),
        prompts.Pairs(((3,),), ((1, 2),), (0,)),
    ]
    assert len({entry.sha256 for entry in pairs}) == 3
    assert np.unique([len(entry.sha256) for entry in pairs]) == 64
