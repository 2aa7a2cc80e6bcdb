"""Baselines: what moves a curve fails its test in words a stranger understands; what does not move it passes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from measure import catalog
from measure.base.exits import EXIT_CLAIM_FAILED
from measure.core import forward, measurements
from measure.harness import baselines, regression, snapshot
from measure.harness.regression import compare
from measure.kinds.rows import QUARTILES, State, TestRow
from measure.models import loading as models
from measure.prompts import drawn as prompts
from measure.report import records
from measure.results import Curves
from measure.shown import Places
from measure.spec import CrossingSpec, CurveSpec, PredictionSpec, SliceSpec, Spec

SUITE = """
import pytest
from measure.spec import CurveSpec

@pytest.mark.parametrize("spec", [pytest.param(CurveSpec({model!r}, pairs={pairs}), id="rung")])
def test_baseline(spec, measured, baseline):
    assert baseline == measured(spec)
"""
RUNG = "ladder-olmo-0.2m"


@pytest.fixture(scope="module")
def curves() -> Curves:
    from dataclasses import asdict

    model = models.load(RUNG)
    pairs = prompts.draw(prompts.load_corpus("default"), model.tokenizer, "paper", 200, 0)
    spec = CurveSpec(RUNG, pairs=200)
    return measurements.fast_curves(model, pairs, layer=1, read="final_norm", steps=50, origin={"spec": asdict(spec)})


def text(result: Any) -> str:
    return baselines.to_text(baselines.describe(result))


def explain(measured: str, accepted: str) -> list[str]:
    return list(compare(measured, accepted).why)


def changed(curves: Curves, edit: Callable[[dict[str, Any]], None]) -> str:
    content = json.loads(text(curves))
    edit(content)
    return json.dumps(content)


def test_the_same_curve_is_its_baseline(curves: Curves) -> None:
    assert explain(text(curves), text(curves)) == []


def test_a_baseline_holds_spec_curve_metrics_tolerance_and_environment(curves: Curves) -> None:
    content = json.loads(text(curves))
    assert content["spec"]["model"] == RUNG
    assert content["pairs"] == 200
    assert [len(content["curve"][quartile]) for quartile in QUARTILES] == [50] * 3
    assert content["metrics"]["max_slope"]["median"] == pytest.approx(np.median(curves.max_slope), abs=1e-6)
    assert content["environment"]["weights_sha256"] == curves.provenance["weights_sha256"]
    assert "tests/test_baselines.py" in content["tolerance"]["from"]


@pytest.mark.parametrize("nearly", ["float64", "threads", "chunk", "reference path"])
def test_rounding_stays_within_a_third_of_the_tolerance(curves: Curves, nearly: str) -> None:
    """Where the tolerance comes from: these change how a number is rounded and nothing else."""
    model = models.load(RUNG, precision="float64" if nearly == "float64" else "float32")
    pairs = prompts.draw(prompts.load_corpus("default"), model.tokenizer, "paper", 200, 0)
    origin = {"spec": curves.provenance["spec"]}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2) if nearly == "threads" else threads)
        chunk = 100 if nearly == "chunk" else forward.CHUNK_POSITIONS
        if nearly == "reference path":
            pairs = prompts.Pairs(pairs.a[:20], pairs.b[:20], pairs.units[:20])
            curves = measurements.fast_curves(
                models.load(RUNG), pairs, layer=1, read="final_norm", steps=50, origin=origin
            )
            other = measurements.reference_curves(model, pairs, layer=1, read="final_norm", steps=50, origin=origin)
        else:
            other = measurements.fast_curves(
                model, pairs, layer=1, read="final_norm", steps=50, origin=origin, chunk=chunk
            )
    finally:
        torch.set_num_threads(threads)
    worst = regression.deviations(baselines.describe(other), baselines.describe(curves))[0]
    assert worst.excess < 1 / 3, worst


def test_a_moved_curve_names_the_worst_number_its_place_and_the_tolerance(curves: Curves) -> None:
    def move(content: dict[str, Any]) -> None:
        content["curve"]["median"][10] += 0.01
        content["environment"]["torch"] = "1.0"
        content["environment"]["weights_sha256"] = "0" * 64

    lines = "\n".join(explain(text(curves), changed(curves, move)))
    assert "the curve moved: 1 numbers are out of tolerance" in lines
    assert "median curve at alpha = 0.204: measured 0." in lines
    assert "off by -0.01 where 1e-05 is accepted" in lines
    assert "tolerance on processors: " in lines
    assert f"torch: 1.0 -> {torch.__version__}" in lines
    assert f"weights_sha256: {'0' * 12} -> {curves.provenance['weights_sha256'][:12]}" in lines
    assert "--snapshot-update" in lines


def test_with_nothing_else_changed_the_code_is_named(curves: Curves) -> None:
    moved = changed(curves, lambda content: content["metrics"]["max_slope"].update(median=9.0))
    assert any("the measuring code changed the number" in line for line in explain(text(curves), moved))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: content["spec"].update(layer=2), "the baseline was made for another spec:\n  layer: 2 -> 1"),
        (lambda content: content.update(degenerate=3), "degenerate: measured 0, baseline 3"),
        (lambda content: content.update(prompts_sha256="x"), "the prompts are not those of the baseline"),
        (lambda content: content.pop("metrics"), "the baseline file lacks metrics: restore it"),
        (
            lambda content: content["curve"].update(median=[0.0]),
            "curves of 50 points, in the baseline of 1 and 50",
        ),
        (lambda content: content["tolerance"].pop("on processors"), "not as this version writes it (KeyError("),
        (lambda content: content["tolerance"]["on processors"].pop("max_slope"), "has no tolerance of max_slope"),
        *(
            (
                lambda content, bad=bad: content["tolerance"]["on processors"].update(curve=bad),
                f"the baseline's tolerance of curve is {bad!r}, expected a number above 0",
            )
            for bad in (0, -1, "1e-5", None, True, [])
        ),
        *(
            (
                lambda content, bad=bad: content["tolerance"]["across devices"].update(curve=bad),
                "expected a number above 0",
            )
            for bad in (0, -1, "1e-5", None)
        ),
        *(
            (
                lambda content, bad=bad: content["tolerance"]["on processors"].update(max_slope=bad),
                "the baseline's tolerance of max_slope is",
            )
            for bad in (2**31, 1e300, 1.0)
        ),
        (
            lambda content: content["curve"]["median"].__setitem__(3, float("nan")),
            "not whole JSON (NaN is no JSON number)",
        ),
        (lambda content: content["scale"]["end_distance"].update(median=1.0), "median of d(1): measured"),
        (lambda content: content.update(format=0), "not of format 2: restore it"),
        (lambda content: content.update(format=3), "of format 3, which a newer version of this package wrote"),
        (lambda content: content.update(kind=["curves"]), "measured curves, the baseline holds ['curves']"),
        (lambda content: content.update(spec=7), "not as this version writes it"),
    ],
)
def test_other_differences_are_said(curves: Curves, edit: Callable[[dict[str, Any]], None], message: str) -> None:
    assert message in "\n".join(explain(text(curves), changed(curves, edit)))


def test_a_corrupt_or_missing_baseline_is_said(curves: Curves) -> None:
    assert explain(text(curves), text(curves)[:300])[0].startswith("the baseline file is not whole JSON")
    assert "no baseline yet" in explain(text(curves), "")[0]


def test_a_number_against_none_is_a_deviation() -> None:
    assert regression.Deviation("x", "x", None, 1.0, 0.1).excess == np.inf
    assert regression.Deviation("x", "x", None, None, 0.1).excess == 0
    assert "measured None, baseline 1.0" in str(regression.Deviation("x", "x", None, 1.0, 0.1))


def test_a_curve_of_degenerate_pairs_has_a_baseline_of_plain_json() -> None:
    flat = Curves(
        np.linspace(0, 1, 5), np.zeros((3, 5)), np.zeros((3, 5)), np.ones(3), np.arange(3),
        {"spec": {}, "prompts_sha256": "p", **dict.fromkeys(baselines.ENVIRONMENT, "x")},
    )  # fmt: skip
    content = json.loads(text(flat), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert content["metrics"]["max_slope"]["median"] is None
    assert content["degenerate"] == 3
    assert explain(text(flat), text(flat)) == []


def project(pytester: pytest.Pytester, pairs: int = 200) -> Path:
    """A project with a rung of its own, a suite on it, and a baseline accepted from a run that filled the store."""
    rung = pytester.path / "rung"
    shutil.copytree(catalog.LADDER / RUNG / "main", rung)
    shutil.copytree(catalog.LADDER / "tokenizer", rung, dirs_exist_ok=True)
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    pytester.makeini(
        "[pytest]\naddopts = --snapshot-no-cleanup\ntruncation_limit_lines = 0\ntruncation_limit_chars = 0"
    )
    pytester.mkdir("suites").joinpath("test_rung.py").write_text(SUITE.format(model=str(rung), pairs=pairs))
    return rung


@pytest.mark.parametrize("factor", [1.1, 1.0003])
def test_a_scaled_matrix_fails_its_baseline_also_after_a_run_that_filled_the_store(
    pytester: pytest.Pytester, factor: float
) -> None:
    rung = project(pytester)
    pytester.runpytest("suites", "--snapshot-update").assert_outcomes(passed=1)
    path = pytester.path / "suites" / "baselines" / "test_rung" / "test_baseline[rung].json"
    accepted = path.read_text()
    pytester.runpytest("suites").assert_outcomes(passed=1)

    weights = load_file(rung / "model.safetensors")
    weights["model.layers.2.mlp.down_proj.weight"] *= factor
    save_file(weights, rung / "model.safetensors", metadata={"format": "pt"})
    result = pytester.runpytest("suites")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*the curve moved: * numbers are out of tolerance, the worst is*",
            "*weights_sha256: * -> *",
            "*--snapshot-update*",
        ]
    )
    assert path.read_text() == accepted

    pytester.runpytest("suites", "--snapshot-update").assert_outcomes(passed=1)
    assert path.read_text() != accepted


def test_a_broken_fast_path_fails_the_suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    project(pytester, pairs=12)
    pytester.runpytest("suites", "--snapshot-update").assert_outcomes(passed=1)
    whole = forward.run_from_layer
    monkeypatch.setattr(forward, "run_from_layer", lambda m, earlier, *a, **k: whole(m, earlier.roll(1, 0), *a, **k))
    result = pytester.runpytest("suites", "--store", "elsewhere")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*measured on the reference path, the baseline on the fast path: the two no longer agree*"]
    )


def test_a_baseline_within_tolerance_is_not_rewritten(pytester: pytest.Pytester) -> None:
    project(pytester)
    pytester.runpytest("suites", "--snapshot-update")
    path = pytester.path / "suites" / "baselines" / "test_rung" / "test_baseline[rung].json"
    content = json.loads(path.read_text())
    content["curve"]["median"][10] += 5e-6
    path.write_text(json.dumps(content))
    before = path.read_text()
    pytester.runpytest("suites", "--snapshot-update").assert_outcomes(passed=1)
    assert path.read_text() == before


def test_a_corrupt_baseline_fails_and_an_update_mends_it(pytester: pytest.Pytester) -> None:
    project(pytester)
    pytester.runpytest("suites", "--snapshot-update")
    path = pytester.path / "suites" / "baselines" / "test_rung" / "test_baseline[rung].json"
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    result = pytester.runpytest("suites")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the baseline file is not whole JSON*restore it*"])
    pytester.runpytest("suites", "--snapshot-update").assert_outcomes(passed=1)
    assert path.read_text() == whole


def test_an_update_touches_the_chosen_tests_alone_and_a_dying_test_keeps_its_baseline(
    pytester: pytest.Pytester,
) -> None:
    project(pytester)
    pytester.runpytest("suites", "--snapshot-update")
    folder = pytester.path / "suites" / "baselines" / "test_rung"
    (folder / "test_baseline[another].json").write_text("another test's")
    shutil.rmtree(pytester.path / "rung")
    pytester.runpytest("suites", "--snapshot-update").assert_outcomes(failed=1)
    assert sorted(path.name for path in folder.iterdir()) == ["test_baseline[another].json", "test_baseline[rung].json"]


def measured(spec: Spec) -> Any:
    model = models.load(RUNG)
    corpus = prompts.load_corpus("default")
    if isinstance(spec, SliceSpec):
        drawn: Any = prompts.draw_triples(corpus, model.tokenizer, "paper", spec.triples, 0)
    else:
        assert isinstance(spec, CurveSpec)
        drawn = prompts.draw(corpus, model.tokenizer, "paper", spec.pairs, 0)
    return measurements.measure_specs([spec], model, drawn, origin={})[0]


@pytest.mark.parametrize(
    ("spec", "field", "said"),
    [
        (PredictionSpec(RUNG, pairs=20), "span_divergence", "straddling_divergence"),
        (PredictionSpec(RUNG, pairs=20), "end_divergence", "end_divergence"),
        (CrossingSpec(RUNG, pairs=20), "crossings", "total"),
        (CrossingSpec(RUNG, pairs=20), "step_distance", "flat_share"),
    ],
)
def test_what_stands_beside_a_curve_is_compared_too(spec: Spec, field: str, said: str) -> None:
    result = measured(spec)
    assert explain(text(result), text(result)) == []
    values = getattr(result, field)
    even = np.broadcast_to(values.mean(axis=-1, keepdims=True), values.shape)
    moved = replace(result, **{field: even if field == "step_distance" else 2 * values})
    found = compare(text(moved), text(result))
    assert found.state is State.MOVED
    assert said in {deviation.kind for deviation in found.deviations if deviation.excess > 1}


def test_a_slice_baseline_sees_scale_place_and_orientation() -> None:
    slices = measured(SliceSpec(RUNG, size=12, triples=2))
    accepted = text(slices)
    assert explain(text(slices), accepted) == []
    for moved, said in (
        (
            replace(slices, distance=3 * slices.distance, reference_distance=3 * slices.reference_distance),
            "largest d of",
        ),
        (replace(slices, distance=slices.distance.swapaxes(2, 3)), "cell"),
        (replace(slices, reference_points=0 * slices.reference_points), "foot of triple"),
        (replace(slices, reference_norm=2 * slices.reference_norm), "||F("),
    ):
        lines = explain(text(moved), accepted)
        assert "the curve moved" in lines[0]
        assert said in lines[1], lines
    content = json.loads(accepted)
    content["kind"] = "curves"
    assert explain(text(slices), json.dumps(content))[0].startswith("the baseline file lacks")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"curve": 1e-05', '"curve": 1e400'),
        ('"curve": 1e-05', '"curve": Infinity'),
        ('"curve": 1e-05', '"curve": 1e-05, "curve": 1'),
        ('"degenerate": 0', '"degenerate": ' + "9" * 5000),
        ('"degenerate": 0', '"degenerate": "0"'),
        ('"degenerate": 0', '"degenerate": ' + "[" * 900 + "]" * 900),
        ('"kind": "curves"', '"kind": {}'),
        ('"environment": {', '"environment": {"x": [], '),
        ('"defaults": {', '"defaults": [], "old": {'),
        ('"median": [', '"median": ["x", '),
    ],
)
def test_what_no_editor_meant_is_refused(curves: Curves, old: str, new: str) -> None:
    """And none of it passes for what was accepted, nor breaks the record of its test."""
    whole = text(curves)
    assert old in whole
    damaged = whole.replace(old, new, 1)
    (first, *_) = explain(whole, damaged)
    assert "\n" not in first
    row = regression.row("it.json", whole, damaged)
    assert row.state is State.REFUSED
    assert records.from_json(records.to_json(TestRow("t", "baseline", baseline=row))) is not None


def test_a_baseline_that_is_no_text_or_no_file_is_refused(tmp_path: Path, curves: Curves) -> None:
    whole = text(curves)
    path = tmp_path / "it.json"
    assert snapshot.text_of(path) is None
    for content in (
        whole.encode("utf-16"),
        whole.replace("cpu", "cpu\xe9").encode("latin1"),
        b"",
        b"\xef\xbb\xbf" + whole.encode(),
    ):
        path.write_bytes(content)
        assert "the baseline file is not whole JSON" in explain(whole, snapshot.text_of(path) or "")[0]
    path.unlink()
    path.mkdir()
    assert "the baseline file is not whole JSON" in explain(whole, snapshot.text_of(path) or "")[0]
    (tmp_path / "ends.json").write_bytes(whole.replace("\n", "\r\n").encode())
    assert snapshot.text_of(tmp_path / "ends.json") == whole


def test_a_baseline_holds_no_folders_and_an_older_one_that_does_is_compared(curves: Curves, tmp_path: Path) -> None:
    asked = {**curves.provenance["spec"], "model": "/home/me/runs/x@step3", "corpus": str(tmp_path / "c.jsonl")}
    own = replace(curves, provenance={**curves.provenance, "spec": asked})
    told = baselines.to_text(baselines.describe(own, Places(tmp_path)))
    assert "/home/me" not in told
    assert str(tmp_path) not in told
    assert '"corpus": "c.jsonl"' in told
    older = baselines.to_text(baselines.describe(own))
    assert "/home/me/runs/x@step3" in older
    assert explain(told, told) == explain(told, older) == []
    other = baselines.to_text(
        baselines.describe(replace(own, provenance={**own.provenance, "spec": {**asked, "model": "/home/me/runs/y"}}))
    )
    assert "another spec" in explain(told, other)[0]


def test_baselines_that_cannot_be_written_are_refused_before_anything_is_measured(pytester: pytest.Pytester) -> None:
    project(pytester, 20)
    (pytester.path / "suites" / "baselines").write_text("no folder")
    result = pytester.runpytest("suites", "--snapshot-update")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --snapshot-update: * cannot be written (Not a directory)*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_a_baseline_that_could_not_be_written_is_told_and_fails_the_run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    project(pytester, 20)
    monkeypatch.setattr(snapshot, "write_atomically", full)
    result = pytester.runpytest("suites", "--snapshot-update")
    assert result.ret == EXIT_CLAIM_FAILED
    result.stdout.fnmatch_lines(["the baseline * could not be written (No space left on device): it is as it was."])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
