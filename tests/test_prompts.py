from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from measure import catalog
from measure.hub import checkpoints as hub
from measure.prompts import drawn as prompts
from measure.prompts.drawn import Corpus
from measure.spec import PROMPT_TOKENS, MeasureError
from tests.conftest import WordTokenizer

WORDS = " ".join(f"w{i}" for i in range(1000))
CORPUS = Corpus("words", (WORDS, "too short", WORDS[::-1]), "hash")


# Ten prompts of a file, no two alike, of several lengths.
ROWS = tuple((i, 20 + i % 3, *range(50, 50 + i % 4), 60 + i % 2) for i in range(10))


def from_file(rows: tuple[prompts.Prompt, ...]) -> Corpus:
    return Corpus("ids.jsonl", (), "hash", rows)


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


def test_no_window_runs_into_the_next_text() -> None:
    texts = tuple(" ".join(f"t{text}w{word}" for word in range(PROMPT_TOKENS)) for text in range(40))
    tokenizer = WordTokenizer()
    whole = {tuple(tokenizer(text)["input_ids"]) for text in texts}
    assert set(prompts.windows(Corpus("short", texts, "hash"), tokenizer, 40, seed=1)) == whole


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


def test_a_shared_second_prompt_is_seen_too() -> None:
    assert prompts.independent_units([(1,), (2,), (3,)], [(9,), (9,), (8,)]) == (0, -1, 1)


def test_a_prompt_has_one_partner_of_the_same_last_token() -> None:
    rows = tuple((i, 20, 7) for i in range(6))
    a, b = prompts._same_last_token(from_file(rows), None, 3, 0)
    assert sorted((*a, *b)) == sorted(rows)


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


def test_rows_of_a_file_are_paired_as_they_stand() -> None:
    for seed in (0, 1):
        pairs = prompts.draw(from_file(ROWS), None, "paper", 7, seed)
        assert list(zip(pairs.a, pairs.b, strict=True)) == [(ROWS[i], ROWS[i + 1]) for i in range(7)]
        assert pairs.units == (0, -1, 1, -1, 2, -1, -1)
    strict = prompts.draw(from_file(ROWS), WordTokenizer(), "strict", 8, seed=0)
    assert (strict.a, strict.b) == (ROWS[:8], (*ROWS[4:8], *ROWS[:4]))
    triples = prompts.draw_triples(from_file(ROWS), None, "paper", 3, seed=0)
    assert (triples.a, triples.b, triples.c) == (ROWS[0:9:3], ROWS[1:9:3], ROWS[2:9:3])


def test_a_repeated_row_makes_no_second_unit() -> None:
    again = tuple(ROWS[i] for i in (0, 1, 2, 3, 1, 4, 5, 6, 6, 7))
    pairs = prompts.draw(from_file(again), None, "paper", 9, seed=0)
    assert (*pairs.a, pairs.b[-1]) == again
    # Of every second pair, 0-1, 2-3, 1-4 and 5-6, the third holds a prompt of the first.
    assert pairs.units == (0, -1, 1, -1, -1, -1, 2, -1, -1)


def test_where_pairs_are_disjoint_a_repeated_row_is_taken_once() -> None:
    again, once = from_file((*ROWS[:4], ROWS[1], *ROWS[4:], ROWS[6])), from_file(ROWS)
    for drawn in (
        lambda rows: prompts.draw(rows, WordTokenizer(), "strict", 10, 0),
        lambda rows: prompts.draw(rows, WordTokenizer(), "strict", 8, 0, "same_last_token"),
        lambda rows: prompts.draw(rows, None, "paper", 8, 0, "same_last_token"),
        lambda rows: prompts.draw_triples(rows, None, "paper", 3, 0),
    ):
        assert drawn(again) == drawn(once)
    with pytest.raises(MeasureError, match="'ids.jsonl without its repeated rows' .* 12 .* asked for, and it holds 10"):
        prompts.draw(again, WordTokenizer(), "strict", 12, 0)


def test_all_rows_of_a_file_are_looked_through_for_a_last_token() -> None:
    """Of a corpus of texts four times as many windows as pairs are drawn."""
    rows = ((1,), (2,), (3,), (4,), (5,), (9, 1))
    assert prompts.draw(from_file(rows), None, "paper", 2, 0, "same_last_token").a == ((1,),)
    with pytest.raises(MeasureError, match="of 5 prompts 0 disjoint pairs end on the same token, 1 were asked for"):
        prompts.draw(from_file(rows[:5]), None, "paper", 2, 0, "same_last_token")


def test_a_row_that_begins_with_the_bos_gets_no_second_one() -> None:
    rows = ((1, 5, 6), (7, 8), (1, 9), (4, 1))
    strict = prompts.draw(from_file(rows), WordTokenizer(bos=1, adds_bos=True), "strict", 4, 0)
    assert strict.a == ((1, 5, 6), (1, 7, 8), (1, 9), (1, 4, 1))
    assert prompts.draw(from_file(rows), WordTokenizer(bos=1, adds_bos=True), "paper", 3, 0).a == rows[:3]


def test_a_file_with_too_few_rows_says_how_many_pairs_fit() -> None:
    message = "801 prompts were asked for, and it holds 10. Use a longer file, or ask for fewer: --pairs 9 fits."
    with pytest.raises(MeasureError, match=re.escape(message)):
        prompts.draw(from_file(ROWS), None, "paper", 800, 0)
    assert len(prompts.draw(from_file(ROWS), None, "paper", 9, 0)) == 9
    with pytest.raises(MeasureError, match="it holds 2. Use a longer file.$"):
        prompts.draw(from_file(ROWS[:2]), None, "paper", 2, 0)


def test_rows_that_a_model_cannot_run_are_named() -> None:
    rows = ((5, 6), (7, 96), (8, 97, -1), (1,) * 5)
    prompts.check_rows(rows[:2], 97, 2, "ids.npy")
    message = "ids.npy[2] has token id 97; olmo-1b knows ids 0 to 96, a vocabulary of 97. Was it tokenized for another"
    with pytest.raises(MeasureError, match=re.escape(message)):
        prompts.check_rows(rows, 97, None, "ids.npy", "olmo-1b")
    with pytest.raises(
        MeasureError, match=re.escape("ids.npy[3] has 5 tokens; the context of the model is 4. Shorten")
    ):
        prompts.check_rows((*rows[:2], rows[1], rows[3]), 97, 4, "ids.npy")
    with pytest.raises(MeasureError, match=re.escape("ids.npy[0] has token id -1;")):
        prompts.check_rows(((-1,),), 97, None, "ids.npy")


def test_a_file_of_ids_is_a_corpus_without_texts(tmp_path: Path) -> None:
    rows = [[5, 6], [7, 8]]
    np.save(tmp_path / "ids.npy", np.array(rows))
    (tmp_path / "ids.jsonl").write_text("[5, 6]\n[7, 8]\n")
    (tmp_path / "ragged.jsonl").write_text("[5, 6]\n[7, 8, 9]\n")
    array, lines, ragged = (prompts.load_corpus(str(tmp_path / f)) for f in ("ids.npy", "ids.jsonl", "ragged.jsonl"))
    assert (array.name, array.texts, array.rows) == ("ids.npy", (), ((5, 6), (7, 8)))
    assert array.sha256 == lines.sha256 != ragged.sha256
    with pytest.raises(MeasureError, match="ids.npy' holds token ids; expected texts: files with a TEXT column"):
        prompts.load_texts(str(tmp_path / "ids.npy"))
    assert prompts.load_texts("default") == prompts.load_corpus("default")
    with pytest.raises(MeasureError, match="token file .*gone.pt is not there"):
        prompts.load_corpus(str(tmp_path / "gone.pt"))


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was asked of the hub, which has every file; it lies in `tmp_path`."""
    asked: list[tuple[str, ...]] = []

    def fetch_file(repo: str, filename: str, *, revision: str = "main", kind: str = "model") -> Path:
        asked.append((repo, filename, revision, kind))
        return tmp_path / filename

    monkeypatch.setattr(hub, "fetch_file", fetch_file)
    return asked


def test_a_file_on_the_hub_is_a_corpus(tmp_path: Path, fetched: list[tuple[str, ...]]) -> None:
    np.save(tmp_path / "ids.npy", np.array([[5, 6], [7, 8]]))
    (tmp_path / "texts.jsonl").write_text('{"TEXT": "one"}\n')
    corpus = prompts.load_corpus("hf://owner/name@v1/ids.npy")
    assert (corpus.name, corpus.rows) == ("hf://owner/name@v1/ids.npy", ((5, 6), (7, 8)))
    assert corpus.sha256 == prompts.load_corpus(str(tmp_path / "ids.npy")).sha256
    assert prompts.load_corpus("hf://datasets/owner/name/texts.jsonl").texts == ("one",)
    assert fetched == [("owner/name", "ids.npy", "v1", "model"), ("owner/name", "texts.jsonl", "main", "dataset")]


def test_a_file_on_the_hub_that_nothing_can_read_is_not_fetched(fetched: list[tuple[str, ...]]) -> None:
    with pytest.raises(
        MeasureError, match=r"end in '\.bin' cannot be read; expected one of .*\.npy.* Nothing was fetched"
    ):
        prompts.load_corpus("hf://owner/name/ids.bin")
    assert not fetched
