from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

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


def test_pairs_from_the_same_last_token_are_disjoint() -> None:
    few = Corpus("few", (" ".join(f"w{i % 7}" for i in range(4000)),), "hash")
    pairs = prompts.draw(few, WordTokenizer(), "paper", 12, 0, "same_last_token")
    assert len(pairs) == 6
    assert pairs.units == tuple(range(6))
    assert all(a[-1] == b[-1] for a, b in zip(pairs.a, pairs.b, strict=True))
    strict = prompts.draw(few, WordTokenizer(bos=1, adds_bos=True), "strict", 12, 0, "same_last_token")
    assert (strict.a[:6], strict.units) == (strict.b[6:], (*range(6), *range(6)))
    assert strict.a[0] == (1, *pairs.a[0])


def test_too_few_windows_that_share_their_last_token_are_an_error() -> None:
    with pytest.raises(MeasureError, match="disjoint pairs end on the same token, 40 were asked for"):
        prompts.draw(
            Corpus("all different", ("".join(f"w{i} " for i in range(4000)),), "hash"), Distinct(), "paper", 80, 0,
            "same_last_token",
        )  # fmt: skip


class Distinct(WordTokenizer):
    """Every word its own token."""

    def __call__(self, texts: Any, **_: Any) -> dict[str, Any]:
        return {"input_ids": [[int(word[1:]) for word in text.split()] for text in texts]}


@pytest.mark.parametrize("protocol", ["paper", "strict"])
def test_written_pairs_survive_the_ladders_tokenizer_and_differ_in_their_last_token_alone(protocol: Any) -> None:
    """60 of each kind were asked for."""
    similar, dissimilar = (
        prompts.draw(CORPUS, ladder_tokenizer(), protocol, 800, 0, pairing) for pairing in ("similar", "dissimilar")
    )
    assert len(similar) == len(dissimilar) >= 2 * 60
    assert similar.units == dissimilar.units == (*range(len(similar) // 2),) * 2
    half = len(similar) // 2
    assert similar.a[:half] == dissimilar.a[:half]
    for pairs in (similar, dissimilar):
        assert (pairs.a[:half], pairs.b[:half]) == (pairs.b[half:], pairs.a[half:])
        assert all(a[:-1] == b[:-1] and a[-1] != b[-1] for a, b in zip(pairs.a, pairs.b, strict=True))


def test_the_printed_pairs_are_as_printed() -> None:
    rows = {row["name"]: row for row in map(json.loads, prompts.PRINTED.read_text().splitlines())}
    assert set(rows) == {"D1", "D2", "D3", "S1", "S2", "S3"}
    assert rows["D3"]["prefix"] + rows["D3"]["b"] == " And then she picked up the phone to call him"
    assert rows["S3"]["prefix"] + rows["S3"]["a"] == " The hiker reached the peak and admired the breathtaking"
    # The ladder's tokenizer splits the last words of S1 and S3.
    tokenizer = ladder_tokenizer()
    assert len(prompts.written(tokenizer, "printed_dissimilar")[0]) == 3
    assert len(prompts.written(tokenizer, "printed_similar")[0]) == 1


def test_a_tokenizer_that_splits_every_last_word_has_no_written_pairs() -> None:
    class Letters(WordTokenizer):
        def __call__(self, texts: Any, **_: Any) -> dict[str, Any]:
            return {"input_ids": [[ord(letter) for letter in text] for text in texts]}

    with pytest.raises(MeasureError, match="no pair of the file differs in its last token alone"):
        prompts.written(Letters(), "printed_similar")


def test_triples_are_consecutive_and_disjoint() -> None:
    drawn = prompts.windows(CORPUS, WordTokenizer(), 9, 0)
    triples = prompts.draw_triples(CORPUS, WordTokenizer(), "paper", 3, 0)
    assert (triples.a[1], triples.b[1], triples.c[1]) == drawn[3:6]
    assert len({*triples.a, *triples.b, *triples.c}) == 9
    strict = prompts.draw_triples(CORPUS, WordTokenizer(bos=1, adds_bos=True), "strict", 3, 0)
    assert strict.c[2] == (1, *drawn[8])
    assert strict.sha256 != triples.sha256


def test_only_independent_pairs_are_kept() -> None:
    pairs = prompts.Pairs(((1,), (2,), (3,)), ((2,), (3,), (4,)), (0, -1, 1))
    assert pairs.independent() == prompts.Pairs(((1,), (3,)), ((2,), (4,)), (0, 1))


def test_written_pairs_need_no_corpus() -> None:
    assert prompts.file_of("random") is None
    pairs = prompts.draw(prompts.NO_CORPUS, ladder_tokenizer(), "paper", 800, 0, "dissimilar")
    assert len(pairs) > 100


def test_no_word_stands_in_too_many_rows() -> None:
    """Rows that share a word are alike: whole words are resampled, and there must be enough of them."""
    rows = [json.loads(line) for line in prompts.WORDS.read_text().splitlines()]
    assert len({row["prefix"] for row in rows}) == len(rows)
    for column in ("similar", "dissimilar"):
        assert len({row[column] for row in rows}) >= 40
