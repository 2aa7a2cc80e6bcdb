"""Whatever is handed in as prompts is measured as it is meant, or refused in a sentence that names it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jaxtyping
import numpy as np
import pandas
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import measure
from measure import catalog
from measure.core import inputs
from measure.harness.engines.one_load import measure_alike
from measure.hub import errors as hub_errors
from measure.hub import listings as hub_listings
from measure.models.loading import LoadedModel, load
from measure.prompts import drawn as prompts
from measure.prompts.drawn import Corpus
from measure.spec import CurveSpec, MeasureError
from tests.conftest import VOCABULARY, tiny_network

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "gate", "house", "the", "old"]


@pytest.fixture(autouse=True)
def as_users_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the type checks of these tests."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def words(**special: str) -> Any:
    """A tokenizer of whole words, which knows six."""
    raw = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, **{"bos_token": "<s>", "eos_token": "</s>", **special})


def letters(unknown: str | None) -> Any:
    """A tokenizer of letters that knows no accents; without `unknown` it passes over what it does not know."""
    vocabulary = {letter: place + 4 for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz ")}
    raw = Tokenizer(models.BPE({"<unk>": 3, **vocabulary}, [], unk_token=unknown))
    raw.normalizer = normalizers.Lowercase()
    return PreTrainedTokenizerFast(tokenizer_object=raw, **({"unk_token": unknown} if unknown else {}))


def taken(given: Any, tokenizer: Any = None, *, bos: bool = False, **config: Any) -> tuple[prompts.Prompt, ...]:
    model: Any = SimpleNamespace(
        vocabulary=VOCABULARY,
        context=64,
        name="tiny",
        no_tokenizer="",
        network=SimpleNamespace(config=SimpleNamespace(**config)),
    )
    return inputs.token_ids("prompts_a", given, tokenizer, bos, model)


def test_the_bos_stands_in_front_once() -> None:
    written, plain = "<s> the old gate", "the old gate"
    assert taken([written, plain], words(), bos=True) == ((1, 6, 7, 4),) * 2
    assert taken(["<s> the old", "the old"], words()) == ((1, 6, 7), (6, 7))
    twice = "prompts_a[1] begins with the BOS token (id 1) twice; take one off"
    for given in ([plain, f"<s>{written}"], [[1, 6], [1, 1, 6]], np.array([[1, 6, 7], [1, 1, 6]])):
        with pytest.raises(MeasureError, match=re.escape(twice)):
            taken(given, words())
    with pytest.raises(MeasureError, match="bos=True is for strings; prompts_a holds token ids"):
        taken([[1, 6]], words(), bos=True)
    with pytest.raises(MeasureError, match=re.escape(twice)):
        taken([plain, f"<s>{written}"], words(), bos=True)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("pad", ["<pad>", "</s>", "<s>"])
@pytest.mark.parametrize("texts", [["the old gate", "the old"], ["the", "the old gate", "old gate"]])
def test_padded_ids_are_refused(side: str, pad: str, texts: list[str]) -> None:
    tokenizer = words(pad_token=pad)
    tokenizer.padding_side = side
    padded = tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")
    where = "ends" if side == "right" else "begins"
    with pytest.raises(MeasureError, match=rf"prompts_a\[\d\] {where} in padding, \d tokens? of id \d; give"):
        taken(padded["input_ids"], tokenizer)
    with pytest.raises(MeasureError, match="prompts_a is a BatchEncoding; expected a string"):
        taken(padded, tokenizer)
    assert taken([ids[mask] for ids, mask in zip(padded["input_ids"], padded["attention_mask"].bool(), strict=True)])


def test_a_models_own_pad_token_counts_too() -> None:
    assert taken([[5, 6, 9], [5, 6]]) == ((5, 6, 9), (5, 6))
    with pytest.raises(MeasureError, match=re.escape("prompts_a[0] ends in padding, 1 token of id 9")):
        taken([[5, 6, 9], [5, 6]], pad_token_id=9)


def test_a_token_that_means_something_else_too_is_no_padding() -> None:
    ends = words(pad_token="</s>")
    assert taken([[6, 7, 2], [4, 5, 2]], ends) == ((6, 7, 2), (4, 5, 2))
    assert taken([[6, 7, 2], [4, 5]], ends)
    assert taken([[6, 2, 7, 2], [4, 5, 6, 7]], ends), "windows of a stream of texts"
    starts = words(pad_token="<s>")
    assert taken(["<s> the", "<s> the old"], starts)


def test_a_file_of_padded_ids_is_refused(olmo: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tuple((5, 6 + place % 2, *([0] * (place % 3))) for place in range(12))
    monkeypatch.setattr(prompts, "load_corpus", lambda _: Corpus("ids.jsonl", (), "a hash", rows))
    olmo.network.config.pad_token_id = 0
    with pytest.raises(MeasureError, match=re.escape("ids.jsonl[1] ends in padding, 1 token of id 0")):
        measure_alike([CurveSpec("tiny", corpus="padded.jsonl", pairs=4)], olmo, None, {})


def test_a_letter_that_the_tokenizer_does_not_know_is_named() -> None:
    with pytest.raises(MeasureError, match=r"prompts_a\[1\] holds 'door', which the tokenizer does not know: <unk>"):
        taken(["the gate", "the old door"], words(unk_token="<unk>"))
    with pytest.raises(MeasureError, match="holds 'door'"):
        # A tokenizer that was not told its special tokens.
        taken(["the old door"], words())
    for tokenizer in (letters("<unk>"), letters(None)):
        assert taken(["The cafe"], tokenizer) == taken(["the cafe"], tokenizer)
        with pytest.raises(MeasureError, match=r"prompts_a\[0\] holds 'é', which the tokenizer does not know"):
            taken(["The café"], tokenizer)
    assert taken(["the <unk> gate"], words(unk_token="<unk>")) == ((6, 3, 4),), "as it is written"


def test_a_byte_level_tokenizer_knows_every_letter() -> None:
    tokenizer = load("ladder-olmo-0.2m").tokenizer
    for text in ("café 🙂", "e\u0301", " \u00a0x", "\u200bx"):
        assert inputs._encoded("p", [text], tokenizer, False)


def test_no_prompt_is_drawn_over_what_the_tokenizer_does_not_know() -> None:
    text = " ".join(["the", "old", "gate", "house"] * 20)
    with_gap = f"{text} door {text}"
    corpus = Corpus("c", (with_gap,), "")
    for seed in range(20):
        drawn = prompts.windows(corpus, words(unk_token="<unk>"), 8, seed)
        assert all(3 not in prompt for prompt in drawn)


def test_a_token_of_bytes_that_is_called_unknown_stands_for_itself() -> None:
    """Nothing is unknown to it, and what a text holds may be drawn."""
    tokenizer = load("ladder-olmo-0.2m").tokenizer
    tokenizer.add_special_tokens({"unk_token": "<|end|>"})
    corpus = Corpus("c", ("one two three<|end|>" * 200,), "")
    drawn = prompts.windows(corpus, tokenizer, 30, seed=0)
    assert any(tokenizer.unk_token_id in prompt for prompt in drawn)
    assert inputs._encoded("p", ["one<|end|>"], tokenizer, False)


@pytest.mark.parametrize("text", ["ab\ud83d", "\udcffab", "\ude00\ud83d"])
def test_half_a_character_is_named(text: str) -> None:
    network = tiny_network("olmo")
    with pytest.raises(MeasureError, match=re.escape("prompts_b[1] holds half a character ('\\ud")) as caught:
        measure.interpolate(network, ["the", "old"], ["gate", text], tokenizer=words(), steps=3)
    assert str(caught.value).isascii()


def saved(tmp_path: Path) -> Path:
    words(pad_token="<pad>").save_pretrained(tmp_path / "words")
    return tmp_path / "words"


TAKEN: dict[str, Callable[[Path], Any]] = {
    "loaded": lambda _: words(),
    "raw": lambda _: words().backend_tokenizer,
    "folder": saved,
    "folder as text": lambda path: str(saved(path)),
    "file": lambda path: saved(path) / "tokenizer.json",
    "function": lambda _: lambda texts, **_: {"input_ids": [[WORDS.index(w) for w in t.split()] for t in texts]},
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_tokenizer_is_given_as_it_is_at_hand(tmp_path: Path, case: str) -> None:
    network = tiny_network("olmo")
    found = measure.interpolate(network, "the old", "the gate", tokenizer=TAKEN[case](tmp_path), steps=3)
    assert (found.distance == measure.interpolate(network, [[6, 7]], [[6, 4]], steps=3).distance).all()


def test_a_tokenizer_goes_by_the_name_of_its_model(tmp_path: Path) -> None:
    tiny_network("olmo").save_pretrained(tmp_path / "run" / "step1")
    words().save_pretrained(tmp_path / "run" / "step1")
    assert inputs.given_tokenizer(f"{tmp_path}/run@step1").bos_token_id == 1
    assert inputs.given_tokenizer("ladder-olmo-0.2m@main").get_vocab() == load("ladder-olmo-0.2m").tokenizer.get_vocab()


REFUSED: dict[str, tuple[Any, str]] = {
    "missing folder": ("./not-there", "tokenizer='./not-there': there is no folder './not-there'"),
    "unknown name": ("nobody", "tokenizer='nobody': model 'nobody' is unknown"),
    "not on this machine": (
        "nobody/nothing",
        "tokenizer='nobody/nothing': nobody/nothing@main is not in",
    ),
    "folder without": (catalog.LADDER, "there is no tokenizer; expected a folder with a tokenizer.json"),
    "dict": ({}, "tokenizer is a dict; expected a tokenizer of transformers or tokenizers"),
    "class": (PreTrainedTokenizerFast, "tokenizer is a class "),
    "function": (len, "the tokenizer, a builtin_function_or_method, could not take prompts_a (TypeError"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_tokenizer_is_refused(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_listings, "is_offline", lambda: True)
    monkeypatch.setattr(hub_errors, "is_offline", lambda: True)
    given, message = REFUSED[case]
    with pytest.raises(MeasureError, match=re.escape(message)):
        measure.interpolate(tiny_network("olmo"), "the old", "the gate", tokenizer=given, steps=3)


@pytest.mark.parametrize("order", [1, -1])
def test_a_prompt_with_itself_takes_no_unit(order: int) -> None:
    p, q, r, s = [5, 6, 7], [5, 6, 8], [9, 6, 8], [9, 4, 8]
    pairs = [(p, p), (p, q), (q, q), (r, r), (r, s)][::order]
    found = measure.interpolate(tiny_network("olmo"), [a for a, _ in pairs], [b for _, b in pairs], steps=4)
    assert (found.units >= 0).tolist() == [a is not b for a, b in pairs]
    assert found.summary()["max_slope"]["units"] == 2
    assert "nan" not in repr(found)


def test_all_pairs_of_a_list_give_a_median() -> None:
    ids = [[5, 6, 7 + place] for place in range(4)]
    pairs = [(a, b) for a in ids for b in ids]
    found = measure.interpolate(tiny_network("olmo"), [a for a, _ in pairs], [b for _, b in pairs], steps=4)
    assert found.summary()["max_slope"]["units"] == 2
    assert found.degenerate.sum() == 4


ALIKE: dict[str, Any] = {
    "integers of numpy": [[np.int64(5), np.uint8(6)]],
    "tensor": torch.tensor([[5, 6]], dtype=torch.int32),
    "tensors": [torch.tensor([5, 6])],
    "tuples": ((5, 6),),
    "range": [range(5, 7)],
    "generator": (row for row in [[5, 6]]),
    "series": pandas.Series([[5, 6]], index=["x"]),
}


@pytest.mark.parametrize("case", ALIKE)
def test_ids_are_taken_in_whatever_holds_them(case: str) -> None:
    assert taken(ALIKE[case]) == ((5, 6),)
    assert {type(token) for row in taken([[5, np.int64(6)]]) for token in row} == {int}


def test_strings_are_taken_in_whatever_holds_them() -> None:
    for given in ("the gate", ["the gate"], np.array(["the gate"]), iter(["the gate"]), pandas.Series(["the gate"])):
        assert taken(given, words()) == ((6, 4),)


OTHERS: dict[str, tuple[Any, str]] = {
    "bytes": (b"the", "prompts_a is a bytes; expected a string"),
    "bytes in a list": ([b"the"], "prompts_a holds b'the'; expected strings"),
    "set": ({"the", "old"}, "prompts_a is a set; expected"),
    "columns": (pandas.DataFrame({"the": ["old"]}), "prompts_a is a DataFrame of columns; give one of them"),
    "masked": (np.ma.MaskedArray([[5, 6]], [[0, 1]]), "prompts_a is a MaskedArray; expected"),
    "none among strings": (["the", None], "prompts_a[1] is None among strings; expected strings alone"),
    "ids among strings": (["the", [5]], "prompts_a[1] is [5] among strings"),
    "none": ([None], "prompts_a holds None"),
    "truth": ([[True, 5]], "prompts_a holds [True, 5]"),
    "halves": ([[5.0, 6.0]], "prompts_a holds [5.0, 6.0]"),
    "bfloat16": (torch.ones(1, 2, dtype=torch.bfloat16), "prompts_a holds tensor([1., 1...orch.bfloat16)"),
    "sparse": (torch.eye(2, dtype=torch.long).to_sparse(), "prompts_a holds tensor(indice"),
    "nothing in it": (torch.empty(1, 2, dtype=torch.long, device="meta"), "prompts_a is a tensor that cannot be read"),
    "too large": ([[2**70]], "prompts_a holds [1180591620717411303424]"),
    "no rows": (np.zeros((0, 3), int), "prompts_a is empty"),
    "no columns": (np.zeros((1, 0), int), "which has no tokens"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_prompt_is_refused(case: str) -> None:
    given, message = OTHERS[case]
    with pytest.raises(MeasureError, match=re.escape(message)):
        taken(given, words())


@pytest.mark.parametrize("bos", ["no", None, 2])
def test_bos_is_true_or_false(bos: Any) -> None:
    with pytest.raises(MeasureError, match=re.escape(f"bos={bos!r} is a {type(bos).__name__}; expected True or False")):
        measure.interpolate(tiny_network("olmo"), "the old", "the gate", tokenizer=words(), bos=bos)
