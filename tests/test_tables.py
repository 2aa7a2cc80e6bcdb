"""Results as tables and files: what stands in them, by which ending, and what is refused before measuring."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas
import pytest

import measure
from measure import MeasureError, cli
from measure.prompts import tables
from measure.results import METRICS, Curves
from tests.conftest import random_prompts, tiny_network

A, B = [[5, 6, 7], [8, 9, 10], [5, 6, 7]], [[11, 12, 13], [14, 15, 16], [17, 18, 19]]
ASKED = ("curve", "ladder-olmo-0.2m", "--steps", "5")


def test_a_row_a_pair_with_every_metric_and_its_nulls() -> None:
    curves = measure.interpolate(tiny_network("qwen2"), A, B, steps=5)
    table = curves.frame(["x", "y", "z"])
    assert list(table["label"]) == ["x", "y", "z"]
    assert list(table["unit"]) == [0, 1, -1]
    assert "prompt_a" not in table
    for metric in METRICS:
        np.testing.assert_array_equal(table[metric], getattr(curves, metric))
        np.testing.assert_array_equal(table[f"null_{metric}"], getattr(curves.null, metric))


def test_prompts_that_were_given_as_text_are_kept(tmp_path: Path) -> None:
    curves = measure.interpolate("ladder-olmo-0.2m", [" He said", " the dog"], [" the house", " a cat"], steps=3)
    again = Curves.load(curves.save(tmp_path / "kept"))
    assert list(again.frame()["prompt_b"]) == [" the house", " a cat"]
    read = pandas.read_csv(again.to_csv(tmp_path / "kept.csv"))
    assert list(read["prompt_a"]) == [" He said", " the dog"]
    np.testing.assert_allclose(read["max_slope"], curves.max_slope)


def test_numbers_are_not_kept_under_a_name_that_says_something_else(tmp_path: Path) -> None:
    curves = measure.interpolate(tiny_network("qwen2"), A, B, steps=3)
    (tmp_path / "file").write_text("")
    for place in (".", tmp_path, tmp_path / "file" / "inside.csv"):
        with pytest.raises(MeasureError, match=r"^to_csv\(.*; give a file in a folder that can be written\.$"):
            curves.to_csv(place)
    (tmp_path / "file").unlink()
    with pytest.raises(MeasureError, match=r"numbers are kept as \.npz; for a table see to_csv and frame"):
        curves.save(tmp_path / "x.csv")
    assert list(tmp_path.iterdir()) == []


def test_some_pairs_are_taken_with_the_units_that_are_left() -> None:
    curves = measure.interpolate(tiny_network("qwen2"), A, B, steps=5)
    some = curves.take(np.array([1, 2]))
    assert list(some.units) == [0, -1]
    np.testing.assert_array_equal(some.max_slope, curves.max_slope[1:])


def test_several_layers_come_by_layer() -> None:
    network = tiny_network("qwen2")
    found = measure.interpolate(network, A, B, steps=5, layer="all")
    assert list(found) == list(range(1, network.config.num_hidden_layers + 1))
    alone = measure.interpolate(network, A, B, steps=5, layer=2)
    np.testing.assert_array_equal(found[2].distance, alone.distance)
    assert list(measure.interpolate(network, A, B, steps=5, layer=[3, 1])) == [3, 1]
    with pytest.raises(MeasureError, match="layer is empty; expected a number, several, or 'all'"):
        measure.interpolate(network, A, B, layer=[])


def run(*more: str) -> int:
    return cli.main([*ASKED, *more])


def test_the_papers_pairs_by_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(tmp_path / f"pairs{ending}") for ending in (".csv", ".parquet", ".json", ".npz", ".svg")]
    saving = [part for name in names for part in ("--save", name)]
    assert run("--pairs-from", "printed", "--layer", "1", "2", *saving) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out[1:8]] == ["pair", "D1", "D2", "D3", "S1", "S2", "S3"]
    assert out[8].startswith("median max slope of D ")
    assert "(no interval on fewer than 6), n = 3 independent" in out[8]
    assert out[-1] == f"saved {names[-1]}"
    table = pandas.read_csv(names[0])
    assert list(table["layer"]) == [1] * 6 + [2] * 6
    assert table.loc[0, "prompt_a"] == " The house at the end of the street was very"
    pandas.testing.assert_frame_equal(pandas.read_parquet(names[1]), table, check_dtype=False)
    assert [row["label"] for row in json.loads(Path(names[2]).read_text())] == ["D1", "D2", "D3", "S1", "S2", "S3"] * 2
    second = Curves.load(tmp_path / "pairs-layer2.npz")
    np.testing.assert_allclose(table["edge_speed"][6:], second.edge_speed)
    assert "after block 2" in Path(names[-1]).read_text().replace("<!-- ", "")


@pytest.mark.parametrize(
    ("content", "ending"),
    [
        ('a,b,label\n" The house was"," The dog was",one\n" He said","null",\n', ".csv"),
        ('{"a": " The house was", "b": " The dog was", "label": "one"}\n{"a": " He said", "b": "null"}\n', ".jsonl"),
    ],
)
def test_pairs_of_ones_own(content: str, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / f"mine[1]{ending}").write_text(content)
    assert run("--pairs-from", str(tmp_path / f"mine[1]{ending}")) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[:2]] == ["pair", "one"]
    found = measure.pairs(tmp_path / f"mine[1]{ending}")
    assert found.a == (" The house was", " He said")
    assert found.b[1] == "null"
    assert len(found) == 2


def test_where_too_few_last_tokens_leave_no_interval_that_is_said() -> None:
    a, b = random_prompts([5] * 8), random_prompts([5] * 8, seed=1)
    few = [(*prompt[:-1], 5 + row % 3) for row, prompt in enumerate(a)]
    ends = [(*prompt[:-1], 8 + row % 2) for row, prompt in enumerate(b)]
    shown = tables.lines({1: measure.interpolate(tiny_network("olmo"), few, ends, steps=5)})
    assert shown[-1].startswith("median edge speed ")
    assert "(no interval on fewer than 6 last tokens), n = 8 independent" in shown[-1]
    shown = tables.lines({1: measure.interpolate(tiny_network("olmo"), a[:5], b[:5], steps=5)})
    assert "(no interval on fewer than 6), n = 5 independent" in shown[-1]


def test_a_curve_that_is_saved_is_not_drawn_in_the_terminal_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [" The house was very", " The house was in", "--steps", "5"]
    assert run(*asked) == 0
    drawn = capsys.readouterr().out.splitlines()
    assert drawn[-1].endswith(f"1.0000 {'#' * 60}")
    assert run(*asked, "--save", str(tmp_path / "one.csv")) == 0
    assert capsys.readouterr().out.splitlines() == [*drawn[:-5], f"saved {tmp_path / 'one.csv'}"]


REFUSED = {
    "columns": (
        "p,q\n1,2\n",
        "mine.csv",
        "it has columns p, q and no a and no b; name the two columns of prompts",
    ),
    "cell": ('a,b\n" x",\n', "mine.csv", "b of row 1 is empty; write a prompt there, or drop the row"),
    "number": ('{"a": " x", "b": 3}\n', "mine.jsonl", "b of row 1 is 3, no text; write a prompt there"),
    "no rows": ("a,b\n", "mine.csv", "it holds no row below its header; give at least one pair"),
    "empty": ("", "mine.csv", "it has no columns and no a and no b"),
    "kind": ("a b", "mine.txt", "that is no file of pairs; expected printed or words, or a file that ends in .parquet"),
    "missing": (None, "mine.csv", "there is nothing of that name; expected printed or words, or a file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_no_pairs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, file, message = REFUSED[name]
    if content is not None:
        (tmp_path / file).write_text(content)
    assert run("--pairs-from", str(tmp_path / file)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.jpg", "its ending says what to write; expected one of .csv, .parquet, .json, .npz, .png, .svg, .pdf"),
        ("", "is no name; give the name of a file"),
        ("folder.csv", "is a folder; give the name of a file, such as curve.npz"),
        ("gone/x.csv", "there is no folder"),
    ],
)
def test_files_that_cannot_be_written_are_refused_before_anything_is_measured(
    name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.setattr("measure.api.one_model.interpolate", None)
    assert run("--pairs-from", "words", "--save", str(tmp_path / name) if name else "") == 2
    assert message in capsys.readouterr().err


def test_layers_are_numbers_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["curve", "--layer", "1", "2", "ladder-olmo-0.2m", " a", " b", "--steps", "3"]) == 0
    assert capsys.readouterr().out.count("after block") == 2
    assert run(" a", " b", "--layer", "x") == 2
    assert "--layer 'x': expected numbers of blocks from 1, such as 1 7, or all" in capsys.readouterr().err


def test_a_prompt_without_its_blank_is_hinted_at_once(caplog: pytest.LogCaptureFixture) -> None:
    measure.core.inputs._hint_at_blanks.cache_clear()
    for _ in range(2):
        measure.interpolate("ladder-olmo-0.2m", ["The house"], [" the dog"], steps=3)
    assert caplog.text.count("a prompt begins without a blank") == 1


def test_few_pairs_are_lines_and_many_a_band() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    curves = measure.interpolate(tiny_network("qwen2"), A, B, steps=5)
    axes = curves.plot(labels=["D1", "D2", "S1"])
    assert [line.get_label() for line in axes.lines[:3]] == ["D1", "D2", "S1"]
    assert len({line.get_color() for line in axes.lines[:3]}) == 2
    # Each pair's null stands beside it, thin, in its colour.
    for row in range(3):
        np.testing.assert_allclose(axes.lines[3 + row].get_ydata(), curves.null.relative[row])
        assert axes.lines[3 + row].get_color() == axes.lines[row].get_color()
    tables.draw({1: curves})
    told = [text.get_text() for text in pyplot.gcf().legends[0].get_texts()]
    assert told == ["1", "2", "3", "norm-only null (thin)"]
    for labels in (["D1", "D2"], "abc"):
        with pytest.raises(MeasureError, match=r"^labels: \d given for 3 pairs; give one each, or none\.$"):
            curves.plot(labels=labels)
        with pytest.raises(MeasureError, match=r"^labels: \d given for 3 pairs"):
            curves.frame(labels)
    pyplot.close("all")
