"""Two models on the same pairs: effects by hand, what differs, one model in memory at a time, what is refused."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pandas
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

import measure
from measure import Comparison, MeasureError, cli, stats
from measure.api import two_models
from measure.models.loading import no_progress_bars
from measure.prompts import drawn as prompts
from measure.prompts.drawn import Pairs
from measure.results import METRICS, Curves
from tests.conftest import random_prompts, tiny_network
from tests.states import adapted

RUNG = "ladder-olmo-0.2m"
EARLY = f"{RUNG}@step64-tokens0M"
A, B = random_prompts([5] * 8), random_prompts([5] * 8, seed=1)
IDS = list(zip(A, B, strict=True))


def other(network: Any, by: float = 0.05) -> Any:
    """The same architecture with weights that were moved."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return network


def compared(**more: Any) -> Comparison:
    found = measure.compare(tiny_network("olmo"), other(tiny_network("olmo")), IDS, steps=9, **more)
    assert isinstance(found, Comparison)
    return found


def test_effects_are_medians_of_paired_differences() -> None:
    found = compared()
    first = measure.interpolate(tiny_network("olmo"), A, B, steps=9)
    second = measure.interpolate(other(tiny_network("olmo")), A, B, steps=9)
    for metric in METRICS:
        effect = found.effects[metric]
        a, b, null_a, null_b = (getattr(one, metric) for one in (first, second, first.null, second.null))
        assert effect.difference == stats.median_interval(b - a, ends=first.unit_ends)
        assert effect.difference.estimate == pytest.approx(np.median(b - a))
        assert effect.beyond_null.estimate == pytest.approx(np.median((b - null_b) - (a - null_a)))
        assert (effect.a.estimate, effect.b.estimate) == (np.median(a), np.median(b))
        assert (effect.null_a.estimate, effect.null_b.estimate) == (np.median(null_a), np.median(null_b))
        assert effect.n == 8
        assert effect.measured
    np.testing.assert_array_equal(found.b.distance, second.distance)


def test_a_unit_that_has_no_metric_in_one_model_is_in_neither_median() -> None:
    found = compared()
    still = found.b.distance.copy()
    still[2] = 0
    again = Comparison(found.a, replace(found.b, distance=still))
    kept = np.arange(8) != 2
    effect = again.effect("max_slope")
    assert effect.n == effect.a.n == effect.null_b.n == 7
    assert effect.a.estimate == np.median(found.a.max_slope[kept])
    assert effect.difference.estimate == np.median((found.b.max_slope - found.a.max_slope)[kept])


def test_of_outputs_that_do_not_move_there_is_nothing_to_tell() -> None:
    found = compared()
    again = Comparison(found.a, replace(found.b, distance=0 * found.b.distance))
    assert (again.effect("max_slope").n, again.effect("max_slope").measured) == (0, False)
    assert again.lines()[-1].startswith("none: no pair has max slope, transition width, edge drift, ")


def test_a_pair_that_shares_a_prompt_is_left_out_and_that_is_said() -> None:
    rows = [*IDS, (A[0], B[3])]
    found = measure.compare(tiny_network("olmo"), other(tiny_network("olmo")), rows, steps=5)
    assert isinstance(found, Comparison)
    assert found.effect("detour").n == 8
    assert found.lines()[0] == "9 pairs, 1 of which share a prompt with an earlier one and are left out"


def test_below_six_units_there_are_curves_and_no_interval(capsys: pytest.CaptureFixture[str]) -> None:
    found = measure.compare(tiny_network("olmo"), other(tiny_network("olmo")), IDS[:5], steps=11)
    assert isinstance(found, Comparison)
    effect = found.effect("edge_speed")
    assert np.isfinite(effect.difference.estimate)
    assert not effect.measured
    assert found.lines()[-1] == "[not measured]: an interval takes 6 independent pairs, found 5."
    assert sum("[not measured]" in line for line in found.lines()) == 1 + len(METRICS)
    assert np.isnan(found.frame()["difference_low"]).all()


def test_below_six_last_tokens_there_is_no_interval() -> None:
    ends = [((*a[:-1], 5), (*b[:-1], 6)) for a, b in IDS]
    found = measure.compare(tiny_network("olmo"), other(tiny_network("olmo")), ends, steps=11)
    assert isinstance(found, Comparison)
    assert found.effect("edge_speed").n == 8
    assert found.lines()[-1] == "[not measured]: the independent pairs end on fewer than 6 different tokens."


def test_the_same_model_twice_is_said_and_differs_in_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", RUNG, RUNG, "--pairs", "6", "--steps", "3"]) == 0
    out = capsys.readouterr().out
    assert "the weights are equal, and the configurations too.\nnothing else was found to differ.\n" in out
    assert "no verdict: each interval holds at 95 % for itself and is held against no margin" in out
    found = measure.compare(tiny_network("olmo"), tiny_network("olmo"), IDS, steps=11)
    assert isinstance(found, Comparison)
    assert found.same == "the weights are equal, and the configurations too"
    for effect in found.effects.values():
        assert [effect.difference.low, effect.difference.high] == [0, 0]


def test_equal_weights_under_another_configuration_are_told_apart() -> None:
    turned = tiny_network("llama")
    turned.config.rms_norm_eps = 1e-3
    found = measure.compare(tiny_network("llama"), turned, IDS, steps=3)
    assert isinstance(found, Comparison)
    assert found.same == "the weights are equal, and the configurations are not"
    assert [str(one) for one in found.differences] == ["config.rms_norm_eps: 1e-06 against 0.001"]


def test_an_adapter_is_told() -> None:
    found = measure.compare(tiny_network("llama"), adapted(tiny_network("llama")), IDS, steps=5)
    assert isinstance(found, Comparison)
    told = {one.what: (one.a, one.b) for one in found.differences}
    assert told["adapters"] == ("none", "default")
    assert found.differences[0].what == "weights"
    assert found.effect("max_slope").difference.estimate != 0


# Models by name


def words(vocabulary: dict[str, int], **more: Any) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **more)


WORDS = {"<unk>": 0, **{f"w{number}": number for number in range(1, 97)}}
TEXTS = [(f"w{number} w{number + 1}", f"w{number + 30} w{number + 31}") for number in range(5, 25, 2)]


def folder(place: Path, tokenizer: Any = None, *, moved: float = 0.0, family: str = "olmo", **config: Any) -> str:
    network = tiny_network(family)
    for name, value in config.items():
        setattr(network.config, name, value)
    with no_progress_bars():
        (other(network, moved) if moved else network).save_pretrained(place)
    (words(WORDS) if tokenizer is None else tokenizer).save_pretrained(place)
    return str(place)


def test_one_model_is_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = folder(tmp_path / "base"), folder(tmp_path / "tuned", moved=0.05)
    loaded: list[weakref.ref[Any]] = []

    def load(name: str, **more: Any) -> Any:
        assert [one() for one in loaded] == [None] * len(loaded)
        found = loading(name, **more)
        loaded.append(weakref.ref(found.network))
        return found

    loading = two_models.load
    monkeypatch.setattr(two_models, "load", load)
    found = measure.compare(*names, TEXTS, layer=[1, 2], steps=3)
    assert len(loaded) == 2
    assert isinstance(found, dict)
    assert list(found) == [1, 2]
    assert found[2].a.prompts is not None
    assert list(found[2].a.prompts[0]) == list(TEXTS[0])


def test_what_differs_between_a_base_and_a_tuned_model(tmp_path: Path) -> None:
    chat = words({**WORDS}, additional_special_tokens=["<turn>"], chat_template="{{ messages }}")
    names = folder(tmp_path / "base"), folder(tmp_path / "tuned", chat, moved=0.05, rope_theta=5000.0)
    found = measure.compare(*names, TEXTS, steps=3)
    assert isinstance(found, Comparison)
    told = {one.what: (one.a, one.b) for one in found.differences}
    assert told.keys() >= {"weights", "tokenizer", "chat template"}
    assert told["tokenizer"] == ("none of its own", "1 of its own (97 '<turn>')")
    assert told["chat template"][0] == "none"
    assert told["chat template"][1].startswith("14 characters, sha256 ")
    assert next(iter(told)) == "weights"


def test_the_checkpoints_type_is_told_though_both_are_measured_in_another(tmp_path: Path) -> None:
    half = folder(tmp_path / "half")
    network = tiny_network("olmo").to(torch.bfloat16)
    with no_progress_bars():
        network.save_pretrained(tmp_path / "half")
    found = measure.compare(folder(tmp_path / "base"), half, TEXTS, steps=3)
    assert isinstance(found, Comparison)
    told = {one.what: (one.a, one.b) for one in found.differences}
    assert told["stored in"] == ("float32", "bfloat16")
    assert "measured in" not in told


def test_a_loaded_model_is_compared_with_one_by_name(tmp_path: Path) -> None:
    name = folder(tmp_path / "base")
    found = measure.compare(other(tiny_network("olmo")), name, TEXTS, steps=3)
    assert isinstance(found, Comparison)
    assert {one.what: (one.a, one.b) for one in found.differences}["tokenizer"] == ("none came with it", "97 tokens")


def test_pairs_are_drawn_disjoint_from_the_shipped_prose() -> None:
    found = measure.compare(EARLY, RUNG, pairs=3, seed=2, steps=3)
    assert isinstance(found, Comparison)
    ids = prompts.windows(prompts.load_corpus("default"), measure.api.two_models.named_tokenizer(RUNG), 6, 2)
    assert found.a.provenance["prompts_sha256"] == Pairs(ids[:3], ids[3:], (0, 1, 2)).sha256
    assert [found.a.provenance[name] for name in ("corpus", "seed", "bos")] == ["default", 2, False]
    assert list(found.a.units) == [0, 1, 2]


def test_kinds_of_written_pairs_stand_for_themselves() -> None:
    asked = measure.pairs("printed")
    found = measure.compare(EARLY, RUNG, asked, steps=11)
    assert isinstance(found, Comparison)
    assert list(found.kinds()) == ["D", "S"]
    table = found.frame()
    assert list(table["kind"].unique()) == ["D", "S"]
    assert set(table["n"]) == {3}
    by_pair = found.pair_frame()
    assert list(by_pair["label"]) == list(asked.labels)
    np.testing.assert_array_equal(by_pair["max_slope_b"], found.b.max_slope)
    np.testing.assert_array_equal(by_pair["null_detour_a"], found.a.null.detour)


# The command


def test_the_command_writes_tables_figures_and_curves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(tmp_path / f"found{ending}") for ending in (".csv", ".json", ".parquet", ".svg", ".png", ".npz")]
    saving = [part for name in names for part in ("--save", name)]
    assert cli.main(["compare", EARLY, RUNG, "--pairs", "6", "--layer", "1", "3", "--steps", "5", *saving]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"a: {EARLY}, weights ")
    assert out[1].endswith(", in float32")
    assert "after block 3, read final_norm:" in out
    table = pandas.read_csv(names[0])
    assert list(table["layer"]) == [1] * len(METRICS) + [3] * len(METRICS)
    assert list(table["metric"][: len(METRICS)]) == list(METRICS)
    assert json.loads(Path(names[1]).read_text())[0]["model_a"] == EARLY
    pandas.testing.assert_frame_equal(
        pandas.read_parquet(names[2]).drop(columns="kind"), table.drop(columns="kind"), check_dtype=False
    )
    drawn = Path(names[3]).read_text()
    assert "two-sided drift" in drawn.replace("<!-- ", "")
    assert "n = 6" in drawn
    first, second = (Curves.load(tmp_path / f"found-layer3-{side}.npz") for side in "ab")
    again = Comparison(first, second)
    row = table[(table["layer"] == 3) & (table["metric"] == "detour")].iloc[0]
    assert again.effect("detour").difference.estimate == pytest.approx(row["difference"])


def test_results_that_are_not_of_one_measurement_are_refused() -> None:
    found = compared()
    later = measure.interpolate(other(tiny_network("olmo")), A, B, steps=9, layer=2)
    with pytest.raises(MeasureError, match="differ in their layer: 1 against 2; measure both alike"):
        Comparison(found.a, later)
    with pytest.raises(MeasureError, match="differ in their prompts; measure both alike"):
        Comparison(found.a, measure.interpolate(tiny_network("olmo"), B, A, steps=9))
    with pytest.raises(MeasureError, match="differ in their points or units"):
        Comparison(found.a, measure.interpolate(tiny_network("olmo"), A, B, steps=8))
    elsewhere = replace(found.b, provenance={**found.b.provenance, "distance": "cosine"})
    with pytest.raises(MeasureError, match="differ in their distance: None against 'cosine'; measure both alike"):
        Comparison(found.a, elsewhere)
    with pytest.raises(MeasureError, match="2 labels for 8 pairs; give one each"):
        Comparison(found.a, found.b, labels=("x", "y"))
    with pytest.raises(MeasureError, match="metric 'sharpness' is not known; choose one of max_slope"):
        found.effect("sharpness")


# Refused


def test_tokenizers_that_read_prompts_otherwise_are_refused_before_weights_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swapped = {**WORDS, "w7": 8, "w8": 7}
    names = folder(tmp_path / "base"), folder(tmp_path / "tuned", words(swapped))
    monkeypatch.setattr(two_models, "load", None)
    text = (
        r"the tokenizers of a \(.*base\) and b \(.*tuned\) differ: 'w7 w8' is read from token 1 on as id 7 and id 8 in"
    )
    with pytest.raises(MeasureError, match=text):
        measure.compare(*names, TEXTS)
    with pytest.raises(MeasureError, match="differ: token id 7 is 'w7' in a and 'w8' in b; give two models that read"):
        measure.compare(*names, [((5, 6), (9, 10))])


def test_a_tokenizer_of_another_kind_is_refused_on_drawn_pairs(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match="and id .* in a and b; give two models that read prompts as the same"):
        measure.compare(RUNG, folder(tmp_path / "mine"), pairs=6)


def test_an_added_token_may_be_another_one_unless_the_prompts_hold_it(tmp_path: Path) -> None:
    marks = [words(WORDS, additional_special_tokens=[name]) for name in ("<reserved>", "<turn>")]
    names = [folder(tmp_path / name, tokenizer) for name, tokenizer in zip(("base", "tuned"), marks, strict=True)]
    found = measure.compare(*names, TEXTS, steps=3)
    assert isinstance(found, Comparison)
    assert "tokenizer" in {one.what for one in found.differences}
    with pytest.raises(MeasureError, match="token id 97 is '<reserved>' in a and '<turn>' in b"):
        measure.compare(*names, [((5, 97), (9, 10))])


def test_layers_that_one_model_has_not_are_refused_before_weights_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_models, "load", None)
    with pytest.raises(MeasureError, match=r"layer=6: a \(ladder-olmo-0.2m\) has 4 blocks; .* so choose 1 to 4"):
        measure.compare(RUNG, "ladder-olmo-1.1m", layer=[1, 6])
    with pytest.raises(
        MeasureError, match=r"layer='all': a \(ladder-olmo-0.2m\) has 4 blocks and b .* 7; name the layers"
    ):
        measure.compare(RUNG, "ladder-olmo-1.1m", layer="all")


def test_pairs_come_in_many_forms() -> None:
    networks = tiny_network("olmo"), other(tiny_network("olmo"))
    expected = compared()
    for given in (np.array(IDS), torch.tensor(IDS), (pair for pair in IDS), Pairs(A, B, tuple(range(8)))):
        found = measure.compare(*networks, given, steps=9)
        assert isinstance(found, Comparison)
        np.testing.assert_array_equal(found.b.distance, expected.b.distance)
    texts = np.array([(" He said", " the house"), (" a dog", " a cat")])
    found = measure.compare(EARLY, RUNG, texts, steps=3)
    assert isinstance(found, Comparison)
    assert found.a.prompts is not None
    assert list(found.a.prompts[1]) == [" a dog", " a cat"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({"prompts": "words"}, r"prompts is a str; .* for a set or file by name write measure.pairs\('words'\)"),
    "none": ({"prompts": []}, "prompts is empty; give at least one pair"),
    "set": ({"prompts": {("a", "b")}}, "prompts is a set; expected a list of pairs"),
    "singles": ({"prompts": [" one", " two"]}, r"prompts\[0\] is ' one'; expected a pair \(A, B\) of strings or of"),
    "three": ({"prompts": [(" a", " b", " c")]}, r"prompts\[0\] is \(' a', ' b', ' c'\); expected a pair"),
    "half a pair": ({"prompts": [(3, 4)]}, r"prompts\[0\] is \(3, 4\); expected a pair"),
    "mixed": ({"prompts": [(" a", " b"), (" a", (3, 4))]}, "among strings; expected strings alone, or token ids alone"),
    "both": ({"prompts": [(" a", " b")], "pairs": 5}, "pairs=5 counts pairs that are drawn, and prompts are given too"),
    "no pairs": ({"pairs": 0}, "pairs=0: expected at least 1, to draw pairs by"),
    "seed": ({"seed": -1}, "seed=-1: expected at least 0, to draw pairs by"),
    "too many": ({"pairs": 10**6}, "prompts of 10 tokens were asked for, and"),
    "layer": ({"layer": "some"}, "layer='some' is not known; choose one of all"),
    "no layers": ({"layer": []}, "layer is empty; expected a number, several, or 'all'"),
    "read": ({"read": "block"}, "read='block' is not known"),
    "precision": ({"precision": "int8"}, "precision='int8' is not known"),
    "steps": ({"steps": 1}, "a curve needs at least 2 points"),
    "bos": ({"bos": "no"}, "bos='no' is a str; expected True or False"),
    "half a character": ({"prompts": [(" \ud83d", " b")]}, "it was cut within a character, and is no Unicode text"),
    "an empty text": ({"prompts": [("", " b")]}, "which has no tokens; a prompt needs at least one"),
    "fractions": ({"prompts": [((3.5, 4), (5, 6))]}, "expected strings, or token ids of shape"),
    "nested": ({"prompts": [(((3, 4),), ((5, 6),))]}, "expected strings, or token ids of shape"),
    "ids": ({"prompts": [((3, 10**9), (4, 5))]}, "has token id 1000000000"),
    "tokenizer": ({"tokenizer": 3}, "tokenizer is a int; expected a tokenizer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Types are wrong on purpose.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    given, message = REFUSED[name]
    with pytest.raises(MeasureError, match=message) as error:
        measure.compare(EARLY, RUNG, **given)
    assert "\n" not in str(error.value)


def test_an_unknown_second_model_is_refused_before_the_first_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_models, "load", None)
    with pytest.raises(MeasureError, match="model 'ladder-olmo' is unknown. Nearest in the catalog"):
        measure.compare(RUNG, "ladder-olmo")


def test_drawing_takes_a_tokenizer() -> None:
    with pytest.raises(MeasureError, match="neither model has a tokenizer to draw prompts with; pass tokenizer="):
        measure.compare(tiny_network("olmo"), tiny_network("olmo"))
    with pytest.raises(MeasureError, match="bos=True, but this tokenizer has no BOS token"):
        measure.compare(EARLY, RUNG, bos=True, pairs=2)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([RUNG], "compare takes two models, 1 given"),
        ([RUNG, RUNG, RUNG], "compare takes two models, 3 given"),
        ([RUNG, RUNG, "--save", "x.txt"], "its ending says what to write"),
        ([RUNG, RUNG, "--layer", "one"], "expected numbers of blocks from 1"),
        ([RUNG, RUNG, "--pairs-from", "gone.csv"], "there is nothing of that name"),
    ],
)
def test_commands_that_are_none(command: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *command]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
