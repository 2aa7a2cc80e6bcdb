from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from measure import catalog, records
from measure.spec import ConfigSpec, CrossingSpec, CurveSpec, MeasureError, PredictionSpec, SliceSpec
from tests import small_results as small

MODEL = "ladder-olmo-0.2m"
END = {"kind": "end", "exitstatus": 0, "seconds": 1.0}


def line_of(spec: Any, **rest: Any) -> records.Line:
    """A line as it comes back from a file."""
    line = records.of_result(spec, "measured", small.result(spec), **rest)
    return json.loads(json.dumps(line, allow_nan=False))


def test_a_curve_is_kept_with_its_null_and_intervals() -> None:
    spec = CurveSpec(f"{MODEL}@main", layer=2)
    curves = small.curves(spec)
    line = line_of(spec)
    assert (line["kind"], line["id"], line["type"], line["how"]) == ("result", spec.id, "CurveSpec", "measured")
    assert line["spec"]["layer"] == 2
    assert "spec" not in line["provenance"]
    assert (line["n"], line["degenerate"]) == (small.PAIRS, 0)
    np.testing.assert_allclose(line["curve"]["median"], curves.quartiles()[1], rtol=1e-4)
    np.testing.assert_allclose(line["null"]["q25"], curves.alphas, rtol=1e-4)
    kept, summary = line["metrics"]["max_slope"], curves.summary()["max_slope"]
    assert kept["n"] == summary["units"] == small.PAIRS // 2
    for ours, theirs in (("median", "median"), ("q75", "q75"), ("estimate", "estimate"), ("low", "low")):
        assert kept[ours] == pytest.approx(summary[theirs], rel=1e-4)


def test_degenerate_pairs_are_counted_and_what_is_no_number_is_null() -> None:
    spec = CurveSpec(MODEL)
    dead = small.curves(spec, distance=np.zeros((small.PAIRS, small.STEPS)))
    line = json.loads(json.dumps(records.of_result(spec, "stored", dead), allow_nan=False))
    assert line["degenerate"] == small.PAIRS
    assert set(line["curve"]["median"]) == {None}
    assert line["metrics"]["max_slope"]["low"] is None


def test_predictions_and_crossings_keep_what_claims_rest_on() -> None:
    line = line_of(PredictionSpec(MODEL))
    np.testing.assert_allclose(line["logit"]["median"], line["curve"]["median"], atol=1e-4)
    assert line["metrics"]["end_divergence"]["median"] == 0.4
    assert "pairs" not in line
    line = line_of(CrossingSpec(MODEL))
    assert line["gates"] == [40, 40]
    assert len(line["crossings"]["median"]) == len(line["flat"]) == small.STEPS - 1
    assert line["flat"][0] > line["flat"][small.STEPS // 2]
    assert {"flat_share", "total", "region_boundaries"} <= line["metrics"].keys()


def test_few_pairs_are_kept_one_by_one_with_their_tokens() -> None:
    spec = PredictionSpec(MODEL, pairing="printed_similar")
    line = line_of(spec, texts=lambda ids: [f"<{number}>" for number in ids])
    assert np.shape(line["pairs"]["relative"]) == (4, small.STEPS)
    assert line["pairs"]["last_tokens"][1] == ["<2>", "<3>"]
    assert line["pairs"]["end_tokens"][0] == [" the", " a"]


def test_slices_come_back_as_colours_distances_and_tokens() -> None:
    spec = SliceSpec(MODEL)
    slices = small.slices(spec)
    line = line_of(spec, texts=lambda ids: [f"<{number}>" for number in ids])
    assert (line["size"], line["extent"]) == (small.SIZE, [-0.25, 1.25])
    np.testing.assert_allclose(records.slice_colours(line, 1) / 255, slices.rgb[1], atol=0.5 / 255 + 1e-9)
    largest = slices.distance[1].max(axis=(1, 2))[:, None, None]
    assert (np.abs(records.slice_distances(line, 1) - slices.distance[1]) <= 0.51 / 255 * largest).all()
    tokens = np.array(line["triples"][1]["tokens"])[records.slice_tokens(line, 1)]
    assert (tokens == np.char.mod("<%d>", slices.top_tokens[1])).all()
    assert line["triples"][0]["solid_share"] == pytest.approx(slices.solid_share[0], rel=1e-4)


def test_more_tokens_than_a_byte_tells_apart_are_told_apart() -> None:
    spec = SliceSpec(MODEL, size=20)
    slices = small.slices(spec)
    many = np.arange(400).reshape(20, 20)
    grid = np.linspace(-0.25, 1.25, 20)
    wide = {"alphas": grid, "betas": grid, "distance": np.tile(1.0 + many, (small.TRIPLES, 3, 1, 1))}
    content = {**slices.__dict__, **wide, "top_tokens": np.stack([many] * small.TRIPLES)}
    known = {name: value for name, value in content.items() if name in type(slices).__dataclass_fields__}
    line = records.of_result(spec, "measured", type(slices)(**known))
    assert (records.slice_tokens(line, 0) == many).all()


def test_a_shape_and_a_failure_are_results_too() -> None:
    shape = catalog.models()[MODEL].shape
    assert records.of_result(ConfigSpec(MODEL), "measured", shape)["shape"]["layers"] == shape.layers
    failed = records.of_result(CurveSpec(MODEL), "failed", MeasureError("the weights are gone"))
    assert (failed["how"], failed["error"]) == ("failed", "the weights are gone")


@pytest.mark.parametrize(
    ("value", "kept"), [(1 / 3, 0.33333), (123456.0, 123460.0), (1e-12, 1e-12), (float("nan"), None), (0.0, 0.0)]
)
def test_numbers_have_five_digits(value: float, kept: float | None) -> None:
    assert records.rounded(value) == kept
    assert records.rounded(np.array([[value]])) == [[kept]]


def test_a_model_is_told_with_its_revisions_and_their_tokens() -> None:
    about = records.of_model(catalog.models()[MODEL])
    assert about["revisions"][0] == {"name": "step0-tokens0M", "step": 0, "tokens": 0}
    assert about["revisions"][1]["tokens"] == 131072
    hub = records.of_model(catalog.models()["olmo-1b"])["revisions"]
    assert hub[1] == {"name": "step2000-tokens4B", "step": 2000, "tokens": 4 * 10**9}
    assert hub[-1] == {"name": "main", "step": None, "tokens": 3050 * 10**9}
    assert records.of_model(catalog.models()["gpt2"])["revisions"] == [{"name": "main", "step": None, "tokens": None}]


def test_lines_are_appended_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "records.jsonl"
    for number in range(3):
        records.append(path, {"number": np.int64(number), "text": "a\nb"})
    assert [json.loads(text)["number"] for text in path.read_text().splitlines()] == [0, 1, 2]
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.append(path, {"number": float("nan")})
    assert len(path.read_text().splitlines()) == 3


def row(name: str, outcome: str = "passed", **rest: Any) -> records.Line:
    return {"kind": "claim", "test": name, "outcome": outcome, **rest}


def test_a_half_written_last_line_and_unknown_kinds_are_passed_over(tmp_path: Path) -> None:
    result = line_of(CurveSpec(MODEL))
    content = [small.header(MODEL), result, {"kind": "of tomorrow", "x": 1}, row("t")]
    run = records.read([small.write(tmp_path / "a.jsonl", *content, tail='{"kind": "result", "id": "ha')])
    assert list(run.results) == [result["id"]]
    assert [test["test"] for test in run.tests] == ["t"]
    assert run.end is None
    assert run.problems == (
        "a.jsonl: 1 line is no whole record, passed over",
        "a.jsonl: the run was stopped, or has not ended yet; what it had finished is here",
    )


def test_a_run_that_was_interrupted_says_so(tmp_path: Path) -> None:
    path = small.write(tmp_path / "a.jsonl", small.header(MODEL), row("t"), {**END, "exitstatus": 2})
    assert "the run was stopped" in records.read([path]).problems[0]


def test_of_runs_merged_the_later_line_stands(tmp_path: Path) -> None:
    result = line_of(CurveSpec(MODEL))
    first = small.write(tmp_path / "a.jsonl", small.header(MODEL), result, row("t", "failed"), row("u"), END)
    later = small.header("ladder-qwen2-0.2m", started="later")
    second = small.write(tmp_path / "b.jsonl", later, {**result, "how": "stored"}, row("t"), END)
    strict = small.write(tmp_path / "c.jsonl", small.header(MODEL, protocol="strict"), row("t", "skipped"), END)
    run = records.read([first, second, strict])
    assert run.results[result["id"]]["how"] == "stored"
    assert [(test["test"], test["protocol"], test["outcome"]) for test in run.tests] == [
        ("t", "paper", "passed"),
        ("u", "paper", "passed"),
        ("t", "strict", "skipped"),
    ]
    assert set(run.header["catalog"]) == {MODEL, "ladder-qwen2-0.2m"}
    assert run.problems == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "records.jsonl cannot be read (No such file or directory); a run of the suites writes"),
        ("", "holds no records; run the suites first"),
        ('{"test": "t", "kind": "claim"}\n', "records of another format, from before records had a header"),
        ('{"kind": "run", "format": 3}\n', "records of format 3; this version reads format 2"),
        ("[1]\nnothing\n", "holds no records"),
    ],
)
def test_what_is_no_run_is_refused_in_one_sentence(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "records.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(MeasureError) as error:
        records.read([path])
    assert message in str(error.value)


def test_no_files_are_refused() -> None:
    with pytest.raises(MeasureError, match="no records were named"):
        records.read([])


SUITE = """
import pytest
from measure.spec import CurveSpec, SliceSpec
from measure.stats import Effect, Interval, Verdict

CLAIM = "Curves exist (Fig. 0)"
CURVE, SLICE = CurveSpec("ladder-olmo-0.2m", pairs=12, steps=5), SliceSpec("ladder-olmo-0.2m", triples=1, size=4)
FAILING = CurveSpec("ladder-olmo-0.2m", layer=99)

@pytest.mark.parametrize("specs", [(CURVE, SLICE)], ids=["both"])
def test_claim(specs, measured, claim):
    measured(specs[0])
    measured(specs[1])
    measured(specs[0])
    claim.check(Verdict((Effect("an effect", Interval(0.3, 0.2, 0.4, 12), 0.1),)))

@pytest.mark.parametrize("spec", [FAILING], ids=["failing"])
def test_control(spec, measured, claim):
    measured(spec)

@pytest.mark.parametrize("spec", [CURVE], ids=["curve"])
def test_baseline(spec, measured, baseline):
    assert baseline == measured(spec)

@pytest.mark.parametrize("spec", [CURVE])
def test_that_measures_nothing(spec):
    assert spec
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    pytester.mkdir("suites").joinpath("test_it.py").write_text(SUITE)
    return pytester


def test_a_run_leaves_its_results_its_tests_and_its_end(project: pytest.Pytester) -> None:
    project.runpytest("suites", "--snapshot-update", "--junitxml=report.xml").assert_outcomes(passed=3, failed=1)
    path = project.path / "reports" / "records.jsonl"
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["run", *["result"] * 3, "claim", "control", "baseline", "end"]
    run = records.read([path])
    assert run.end is not None
    assert run.header["arguments"][0] == "suites"
    assert (run.header["models"], run.header["tests"]) == ("auto", 4)
    assert run.header["catalog"][MODEL]["layers"] == 4
    claim, control, baseline = run.tests
    assert [run.results[name]["type"] for name in claim["specs"]] == ["CurveSpec", "SliceSpec"]
    assert run.results[control["specs"][0]]["how"] == "failed"
    assert "layer" in run.results[control["specs"][0]]["error"]
    assert (baseline["baseline"]["state"], baseline["baseline"]["accepted"]) == ("new", None)
    triple = run.results[claim["specs"][1]]["triples"][0]
    assert triple["tokens"]
    assert not triple["tokens"][0].startswith("token ")

    xml = ElementTree.parse(project.path / "report.xml")
    properties = {p.get("name"): p.get("value") for p in xml.iter("property")}
    assert properties == {
        "verdict": "supported",
        "expected": "supported",
        "n": "12",
        "effect: an effect": "+0.3 [+0.2, +0.4] margin 0.1 n 12 supported",
    }


def test_a_baseline_that_moved_is_recorded_beside_what_was_measured(project: pytest.Pytester) -> None:
    project.runpytest("suites", "-k", "baseline", "--snapshot-update")
    (file,) = (project.path / "baselines").rglob("*.json")
    content = json.loads(file.read_text())
    content["curve"]["median"][2] += 0.01
    content["environment"]["torch"] = "1.0"
    file.write_text(json.dumps(content))
    project.runpytest("suites", "-k", "baseline").assert_outcomes(failed=1, deselected=3)
    (test,) = records.read([project.path / "reports" / "records.jsonl"]).tests
    found = test["baseline"]
    assert (found["state"], found["accepted"]["median"]) == ("moved", content["curve"]["median"])
    assert found["measured"]["median"][2] == pytest.approx(content["curve"]["median"][2] - 0.01)
    assert found["tolerance"]["curve"] == content["tolerance"]["curve"]
    assert found["farthest"][0]["excess"] == pytest.approx(0.01 / content["tolerance"]["curve"])
    assert list(found["changed"]) == ["torch"]


@pytest.mark.parametrize(
    ("values", "means"),
    [([], []), ([1], [1]), ([0, 10], [4, 6]), ([1, 2, 3, 4, 5, 6], [1.6, 2.2, 3, 4, 4.8, 5.4]),
     ([1, 1, 1, 1, 1, None], [1, 1, 1, None, None, None])],
)  # fmt: skip
def test_running_means_are_over_five_neighbours(values: list[float | None], means: list[float | None]) -> None:
    assert records.running_mean(values) == means


def test_tests_that_measure_nothing_leave_the_records_of_the_last_run(project: pytest.Pytester) -> None:
    project.runpytest("suites", "-k", "claim")
    path = project.path / "reports" / "records.jsonl"
    before = path.read_text()
    project.runpytest("suites", "-k", "nothing").assert_outcomes(passed=1, deselected=3)
    assert path.read_text() == before
