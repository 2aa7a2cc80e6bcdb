"""Files of Plateau Lab: curves of a plain script come out again, whatever the settings; others are one sentence."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import measure
from measure import MeasureError, cli
from measure.api import plateau_lab
from measure.models.loading import no_progress_bars
from tests.conftest import tiny_network
from tests.plateau_lab_record import record
from tests.test_two_models import WORDS, words

A, B = [5, 9, 20, 31, 7], [5, 9, 44, 12, 63]
ways = pytest.mark.skipif(
    "path" not in inspect.signature(measure.interpolate).parameters, reason="this version goes straight alone"
)


@pytest.fixture
def model(tmp_path: Path) -> str:
    with no_progress_bars():
        tiny_network("llama").save_pretrained(tmp_path / "mine")
    words(WORDS).save_pretrained(tmp_path / "mine")
    return str(tmp_path / "mine")


TEXTS = {number: word for word, number in WORDS.items()}


def exported(place: Path, *records: dict[str, Any], name: str = "found.jsonl") -> str:
    (place / name).write_text("".join(json.dumps(one) + "\n" for one in records))
    return str(place / name)


def measured(**settings: Any) -> dict[str, Any]:
    return record(tiny_network("llama"), A, B, texts=TEXTS, **settings)


SETTINGS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "straight": {"kind": "linear"},
    "later": {"layer": 2},
    "in B's context": {"context": "b"},
    "from the first difference": {"position": "different_suffix"},
    "in B's context from the first difference": {"position": "different_suffix", "context": "b"},
    "after the last block": {"layer": 3, "steps": 5},
}


@ways
@pytest.mark.parametrize("name", SETTINGS)
def test_a_plain_scripts_curves_come_out_again(name: str, model: str, tmp_path: Path) -> None:
    one = measured(**SETTINGS[name])
    (found,) = plateau_lab.redo(exported(tmp_path, one), model)
    blocks = [f"block {number}" for number in range(one["settings"]["patch_layer"] + 1, 5)]
    assert list(found.exported.curves) == [*blocks, "logits"]
    assert len(found.differences) == 4 * (len(blocks) + 1)
    assert found.largest < 2e-6


@ways
def test_a_curve_that_is_another_is_told_by_its_largest_difference(model: str, tmp_path: Path) -> None:
    one = measured()
    one["effect"]["rows"][-1]["values"]["c"][4] += 0.25
    (found,) = plateau_lab.redo(exported(tmp_path, one), model)
    assert found.differences["logits", "c"] == pytest.approx(0.25, abs=1e-5)
    assert found.largest == found.differences["logits", "c"]
    assert plateau_lab.lines([found])[-1] == "largest difference 0.25, beyond the 0.0001 that float32 leaves"


@ways
def test_prompts_of_other_lengths_are_patched_at_their_last_position(model: str, tmp_path: Path) -> None:
    one = record(tiny_network("llama"), A, B[:3], texts=TEXTS)
    (found,) = plateau_lab.redo(exported(tmp_path, one), model)
    assert found.largest < 2e-6


@ways
def test_what_has_no_meaning_there_and_here_is_not_compared(model: str, tmp_path: Path) -> None:
    one = measured()
    one["effect"]["rows"][0]["values"] = dict.fromkeys(one["effect"]["rows"][0]["values"])
    (found,) = plateau_lab.redo(exported(tmp_path, one), model)
    assert found.differences["block 1", "c"] == np.inf
    assert "block 1   c                      defined in one of the two alone" in "\n".join(plateau_lab.lines([found]))


@ways
def test_where_nothing_moves_there_is_nothing_to_compare(model: str, tmp_path: Path) -> None:
    one = record(tiny_network("llama"), A, A, texts=TEXTS)
    for row in one["effect"]["rows"]:
        row["values"] = dict.fromkeys(row["values"])
    found = plateau_lab.redo(exported(tmp_path, one), model)
    assert plateau_lab.lines(found)[-1] == "nothing to compare: no curve has a meaning there, and none here"
    assert list(plateau_lab.frame(found)) == ["record", "read", "metric", "t", "theirs", "ours", "difference"]


@ways
def test_the_command_tells_and_saves(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = exported(tmp_path, measured(steps=5), measured(kind="linear", steps=7))
    table, figure = str(tmp_path / "redone.csv"), str(tmp_path / "redone.png")
    assert cli.main(["compare", path, model, "--save", table, "--save", figure]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("found.jsonl, line 1: mine on ")
    assert out[0].endswith("after block 1, slerp, 5 points, context A")
    assert out[-3].startswith("largest difference ")
    assert out[-3].endswith(", within the 0.0001 that float32 leaves")
    read = pandas.read_csv(table)
    assert len(read) == 4 * 5 * (5 + 7)
    assert list(read["record"].unique()) == [1, 2]
    assert np.abs(read["difference"]).max() < 2e-6
    assert Path(figure).read_bytes()[:4] == b"\x89PNG"


@ways
def test_one_measurement_may_be_in_a_file_of_json(model: str, tmp_path: Path) -> None:
    one = measured(steps=5)
    (tmp_path / "one.json").write_text("\ufeff" + json.dumps([one], indent=1))
    assert len(plateau_lab.redo(tmp_path / "one.json", model)) == 1


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gpt2", "openai-community/gpt2"),
        ("pythia-1.4b", "EleutherAI/pythia-1.4b@abc"),
        ("qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B"),
        ("qwen3-1.7b-base", "Qwen/Qwen3-1.7B-Base@abc"),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B@abc"),
        ("ladder-olmo-0.2m", "ladder-olmo-0.2m"),
    ],
)
def test_models_of_its_menu_are_found_on_the_hub(name: str, meant: str, tmp_path: Path) -> None:
    one = {**measured(steps=5), "model": name, "model_revision": "abc" if "@" in meant else None}
    (found,) = plateau_lab.read(exported(tmp_path, one))
    assert plateau_lab._named(found) == meant


def changed(**more: Any) -> dict[str, Any]:
    return {**measured(steps=5), **more}


def with_settings(**more: Any) -> dict[str, Any]:
    one = measured(steps=5)
    return {**one, "settings": {**one["settings"], **more}}


def with_rows(change: Any) -> dict[str, Any]:
    one = measured(steps=5)
    change(one["effect"]["rows"])
    return one


DAMAGED: dict[str, tuple[Any, str]] = {
    "an older schema": (lambda: changed(schema_version=4), "found.jsonl, line 1: its schema is 4; expected 7, which"),
    "no schema": (lambda: {k: v for k, v in changed().items() if k != "schema_version"}, "its schema is 1; expected 7"),
    "a schema in letters": (lambda: changed(schema_version="seven"), "its schema is 'seven'; expected 7"),
    "something else": (lambda: {"a": 1}, "found {'a': 1}; expected a measurement that Plateau Lab exported"),
    "a number": (lambda: 3, "found 3; expected a measurement that Plateau Lab exported"),
    "steps": (
        lambda: with_settings(steps="many"),
        "not as schema 7 has it (Expected `int`, got `str` - at `$.settings",
    ),
    "a path": (lambda: with_settings(interpolation="spline"), "Invalid enum value 'spline' - at `$.settings.interpol"),
    "the embedding": (
        lambda: with_settings(patch_layer=-1),
        "its patch_layer is -1, the embedding; here patches stand",
    ),
    "points": (lambda: with_settings(steps=6), "its 5 points are not 6 evenly from 0 to 1"),
    "no tokens": (lambda: changed(input_tokens=[[], [{"id": 3}]]), "a sequence of it has no tokens"),
    "one sequence": (lambda: changed(input_tokens=[[{"id": 3}]]), "Expected `array` of length 2, got 1"),
    "no curve": (lambda: with_rows(list.clear), "it holds no curve"),
    "a curve twice": (lambda: with_rows(lambda rows: rows.append(rows[0])), "it holds a curve twice"),
    "a layer before": (
        lambda: with_rows(lambda rows: rows[0].update(key="-1")),
        "a curve of it is called '-1', neither",
    ),
    "a short curve": (lambda: with_rows(lambda rows: rows[0]["values"]["c"].pop()), "a curve of 0 has not a value for"),
    "a hole": (lambda: with_rows(lambda rows: rows[0]["values"]["c"].insert(0, None)), "Expected `float`, got `null`"),
    "unknown model": (
        lambda: changed(model="my-model"),
        "its model 'my-model' is neither in Plateau Lab's menu nor in",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_files_that_cannot_be_redone_are_one_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, message = DAMAGED[name]
    assert cli.main(["compare", exported(tmp_path, make())]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"schema_version": 7, "model": "x"', "found.jsonl, line 1: no whole JSON (Expecting ',' delimiter"),
        (b'{"schema_version": 7}\n{"model": NaN}\n', "expected a measurement that Plateau Lab exported"),
        (b'\xff\xfe{"a"', "found.jsonl, line 1: no whole JSON (it is not in UTF-8"),
        (b"\n\n", "found.jsonl holds no measurement; export at least one"),
        (b"", "found.jsonl holds no measurement; export at least one"),
    ],
)
def test_damaged_files_are_one_sentence(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "found.jsonl").write_bytes(content)
    assert cli.main(["compare", str(tmp_path / "found.jsonl")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_tokens_that_are_others_here_are_refused(model: str, tmp_path: Path) -> None:
    one = measured(steps=5)
    one["input_tokens"][1][2]["text"] = " house"
    with pytest.raises(MeasureError, match="its token 44 is ' house', and 'w44' in .*mine; name the model that was"):
        plateau_lab.redo(exported(tmp_path, one), model)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--layer", "2"], "--layer is for two models; gone.jsonl says its own"),
        (["--pairs-from", "words"], "--pairs-from is for two models; gone.jsonl says its own"),
        (["--save", "x.npz"], "what was redone is kept as a table (.csv, .parquet, .json) or a figure"),
        ([], "there is no file 'gone.jsonl'; give one that Plateau Lab exported as JSONL"),
    ],
)
def test_options_of_two_models_are_not_ignored(
    more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", "gone.jsonl", *more]) == 2
    assert message in capsys.readouterr().err
    assert cli.main(["compare", "gone.jsonl", "ladder-olmo-0.2m", "ladder-olmo-0.2m"]) == 2
    assert "a file and at most one model to measure it on; found ladder-olmo-0.2m" in capsys.readouterr().err
