"""The pytest face, by pytest inside pytest."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from measure import catalog, engine, plugin, report
from measure.rows import TestRow
from measure.spec import CurveSpec
from measure.stats import Effect, Interval, Verdict
from tests.conftest import tiny_network

SUITE = """
import pytest
from measure.spec import CurveSpec
from measure.stats import Effect, Interval, Verdict

CLAIM = "Curves exist (Fig. 0)"
MODELS = ["ladder-olmo-0.2m", "olmo-1b"]
PARAMS = [pytest.param(CurveSpec(m, pairs=4, steps=5), id=m) for m in MODELS]

def verdict(low, high):
    return Verdict((Effect("an effect", Interval((low + high) / 2, low, high, 4), 0.1),))

@pytest.mark.parametrize("spec", PARAMS)
def test_claim(spec, measured, claim):
    assert len(measured(spec)) > 0
    claim.check(verdict({claim}))

@pytest.mark.parametrize("spec", PARAMS)
def test_control(spec, measured, claim):
    claim.refute({{"a counterfeit": verdict({control})}})

@pytest.mark.parametrize("spec", PARAMS)
def test_baseline(spec, measured, baseline):
    assert baseline == measured(spec)
"""


@pytest.fixture(autouse=True)
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "accelerator_bytes", lambda: 0)


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    write(pytester)
    return pytester


def write(pytester: pytest.Pytester, claim: str = "0.2, 0.4", control: str = "-0.1, 0.1") -> None:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    folder = pytester.path / "suites"
    folder.mkdir(exist_ok=True)
    (folder / "test_it.py").write_text(SUITE.format(claim=claim, control=control))


def rows(pytester: pytest.Pytester) -> list[dict[str, Any]]:
    """The records of the tests of a run."""
    lines = (pytester.path / "reports" / "records.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "test" in row]


def test_the_ladder_runs_and_hub_models_say_why_not(suite: pytest.Pytester) -> None:
    result = suite.runpytest("suites", "--snapshot-update")
    result.assert_outcomes(passed=3, skipped=3)
    result.stdout.fnmatch_lines(
        [
            "*claims (protocol paper; n: independent units)*",
            "Curves exist (Fig. 0)",
            "  ladder-olmo-0.2m * supported * n = 4 * control: held against 1",
            "      an effect * +0.300 [[]+0.200, +0.400[]] margin 0.1",
            "  olmo-1b * not measured: 5.1 GB of float32 weights need an accelerator*",
            "*force it with --models olmo-1b*",
            "baselines: 1 as accepted, 0 moved or missing, 1 not measured",
        ]
    )
    assert all(len(line) <= 100 for line in result.outlines if line.startswith("  "))


def test_k_chooses_and_still_runs(suite: pytest.Pytester) -> None:
    suite.runpytest("suites", "-k", "olmo and claim").assert_outcomes(passed=1, skipped=1, deselected=4)


def test_a_claim_that_is_not_as_expected_fails_with_its_verdict(pytester: pytest.Pytester) -> None:
    write(pytester, claim="0.05, 0.4")
    result = pytester.runpytest("suites", "-k", "claim")
    result.assert_outcomes(failed=1, skipped=1, deselected=4)
    result.stdout.fnmatch_lines(["*expected the claim to be supported, measured: inconclusive, n = 4: an effect*"])


def test_an_accepted_negative_is_an_expected_failure(pytester: pytest.Pytester) -> None:
    write(pytester, claim='-0.4, -0.2), {"ladder-olmo-0.2m": "contradicted"}, *(()')
    result = pytester.runpytest("suites", "-k", "claim")
    result.assert_outcomes(xfailed=1, skipped=1, deselected=4)
    result.stdout.fnmatch_lines(["  ladder-olmo-0.2m * contradicted (expected) n = 4 *"])
    assert rows(pytester)[0]["outcome"] == "xfailed"
    write(pytester, claim='0.2, 0.4), {"ladder-olmo-0.2m": "contradicted"}, *(()')
    pytester.runpytest("suites", "-k", "claim").assert_outcomes(failed=1, skipped=1, deselected=4)


def test_a_believed_counterfeit_fails_the_control(pytester: pytest.Pytester) -> None:
    write(pytester, control="0.2, 0.3")
    result = pytester.runpytest("suites", "-k", "claim or control")
    result.assert_outcomes(passed=1, failed=1, skipped=2, deselected=2)
    result.stdout.fnmatch_lines(
        ["*supported by data on which it must not hold:*", "*control: BROKEN by a counterfeit*"]
    )


def test_each_test_leaves_one_record_as_it_ends(suite: pytest.Pytester) -> None:
    suite.runpytest("suites")
    records = rows(suite)
    assert len(records) == 6
    claim = next(record for record in records if record["kind"] == "claim" and record["outcome"] == "passed")
    assert claim["claim"] == "Curves exist (Fig. 0)"
    assert claim["verdict"]["effects"][0] == {
        "estimate": pytest.approx(0.3), "low": 0.2, "high": 0.4, "n": 4,
        "name": "an effect", "margin": 0.1, "outcome": "supported",
    }  # fmt: skip
    skipped = [record for record in records if record["outcome"] == "skipped"]
    assert len(skipped) == 3
    assert all(record["reason"].startswith("not measured: 5.1 GB") for record in skipped)
    failed = next(record for record in records if record["kind"] == "baseline" and record["outcome"] == "failed")
    assert "no baseline yet" in failed["reason"]


@pytest.mark.parametrize("option", [("--pairs", "16"), ("--protocol", "strict"), ("--precision", "float64")])
def test_another_sample_asserts_claims_and_skips_baselines(suite: pytest.Pytester, option: tuple[str, str]) -> None:
    result = suite.runpytest("suites", *option, "-rs")
    times = 3 if "strict" in option else 1
    result.assert_outcomes(passed=2 * times, skipped=2 * times + 2)
    result.stdout.fnmatch_lines(["*baselines belong to protocol paper with the default pairs*"])


@pytest.mark.parametrize(
    ("models", "outcomes"),
    [
        ("ladder", {"passed": 2, "skipped": 2, "deselected": 2}),
        ("ladder-olmo-0.2m", {"passed": 2, "deselected": 4}),
    ],
)
def test_models_chooses(suite: pytest.Pytester, models: str, outcomes: dict[str, int]) -> None:
    suite.runpytest("suites", "--models", models, "-k", "not baseline").assert_outcomes(**outcomes)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("ladder-olmo-02m", "*model 'ladder-olmo-02m' is unknown. Nearest in the catalog: ladder-olmo-0.2m*"),
        ("qwen2-7b", "*no chosen test measures qwen2-7b; they measure ladder-olmo-0.2m, olmo-1b*"),
    ],
)
def test_a_wrong_model_choice_is_one_message(suite: pytest.Pytester, models: str, message: str) -> None:
    result = suite.runpytest("suites", "--models", models)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


@pytest.mark.parametrize("pairs", ["-5", "0", "11"])
def test_too_few_pairs_for_an_interval_are_refused(suite: pytest.Pytester, pairs: str) -> None:
    result = suite.runpytest("suites", "--pairs", pairs)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--pairs {pairs}: half of them are independent*give 12 or more*"])


def test_nothing_is_confirmed_or_refuted_on_no_data(pytester: pytest.Pytester) -> None:
    nan = "float('nan'), float('nan')"
    write(pytester, claim=f'{nan}), {{"ladder-olmo-0.2m": "inconclusive"}}, *(()', control=nan)
    result = pytester.runpytest("suites", "-k", "claim or control", "--models", "ladder-olmo-0.2m")
    result.assert_outcomes(skipped=2, deselected=4)
    result.stdout.fnmatch_lines(["  ladder-olmo-0.2m * not measured: the claim has no interval (n = 4)*"])


def test_strict_asks_every_claim_with_each_read_and_says_which_survive(suite: pytest.Pytester) -> None:
    result = suite.runpytest("suites", "--protocol", "strict", "--pairs", "12", "--models", "ladder-olmo-0.2m")
    result.assert_outcomes(passed=6, skipped=1, deselected=7)
    result.stdout.fnmatch_lines(
        [
            "  ladder-olmo-0.2m-residual * supported *",
            "which claims survive, by what is read*final_norm * residual * logits*",
            "Curves exist (Fig. 0)",
            "  ladder-olmo-0.2m * yes * yes * yes",
        ]
    )
    assert [row["read"] for row in rows(suite)] == ["final_norm", "residual", "logits"] * 2 + [None]


def test_the_read_of_strict_reaches_the_measurement_and_not_where_a_suite_has_its_own(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    body = """
import pytest
from measure.spec import CurveSpec

@pytest.mark.parametrize("spec", [CurveSpec("ladder-olmo-0.2m", pairs=12, steps=5)])
def test_claim(spec, measured, claim, request):
    read = request.node.callspec.params.get("strict_read", "final_norm")
    assert measured(spec).provenance["read"] == read
"""
    folder = pytester.mkdir("suites")
    folder.joinpath("test_any.py").write_text(body)
    folder.joinpath("test_own.py").write_text(body + "READS = ('final_norm',)\n")
    pytester.runpytest("suites", "--protocol", "strict").assert_outcomes(passed=4)


def test_an_accepted_negative_of_strict_is_named_with_its_read(pytester: pytest.Pytester) -> None:
    write(pytester, claim='-0.4, -0.2), {"ladder-olmo-0.2m-residual": "contradicted"}, *(()')
    result = pytester.runpytest("suites", "-k", "claim and 0.2m", "--protocol", "strict")
    result.assert_outcomes(xfailed=1, failed=2, deselected=11)


def test_a_believed_counterfeit_is_not_hidden_by_one_that_has_no_data() -> None:
    def verdict(low: float, high: float, n: int) -> Verdict:
        return Verdict((Effect("e", Interval(low, low, high, n), 0.1),))

    note: dict[str, Any] = {}
    nan = float("nan")
    with pytest.raises(pytest.fail.Exception, match="supported by data on which it must not hold"):
        plugin.Claim(note, "x").refute({"dead": verdict(nan, nan, 0), "believed": verdict(0.5, 0.6, 20)})
    with pytest.raises(pytest.skip.Exception, match="every pair is degenerate or left out"):
        plugin.Claim(note, "x").refute({"dead": verdict(nan, nan, 0)})


def test_a_suite_that_asks_for_strict_gets_strict(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    pytester.mkdir("suites").joinpath("test_strict.py").write_text(
        """
import pytest
from measure.spec import CurveSpec

@pytest.mark.parametrize("spec", [CurveSpec("ladder-olmo-0.2m", pairs=12, steps=5, protocol="strict")])
def test_it(spec, measured):
    assert measured(spec).provenance["spec"]["protocol"] == "strict"
"""
    )
    pytester.runpytest("suites").assert_outcomes(passed=1)


def test_a_control_alone_says_what_it_found(suite: pytest.Pytester) -> None:
    result = suite.runpytest("suites", "-k", "control", "--models", "ladder-olmo-0.2m")
    result.stdout.fnmatch_lines(["  ladder-olmo-0.2m     claim not run; control: held against 1"])


def test_collecting_keeps_the_records_of_the_last_run(suite: pytest.Pytester) -> None:
    suite.runpytest("suites")
    records = suite.path / "reports" / "records.jsonl"
    before = records.read_text()
    suite.runpytest("suites", "--collect-only")
    suite.runpytest("--fixtures", "suites")
    assert records.read_text() == before


def test_an_id_that_cannot_name_a_file_is_refused_at_collection(suite: pytest.Pytester) -> None:
    path = suite.path / "suites" / "test_it.py"
    path.write_text(path.read_text().replace("id=m)", "id='L0:' + m)"))
    result = suite.runpytest("suites")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*the id of *test_baseline*names its baseline file, and ':' cannot stand in a file name*"]
    )


def test_a_model_is_measured_once_for_all_its_tests_in_order(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    pytester.mkdir("suites").joinpath("test_order.py").write_text(
        """
import pytest
from measure.spec import CurveSpec
MODELS = ["ladder-olmo-1.1m", "ladder-olmo-0.2m"]

@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_plain(layer, name): pass

@pytest.mark.parametrize("spec", [CurveSpec(m, pairs=4, steps=5, layer=n) for n in (1, 2) for m in MODELS])
def test_it(spec, measured):
    assert measured(spec).provenance["model"] == spec.model
"""
    )
    loaded: list[str] = []
    whole = engine.models.load
    monkeypatch.setattr(engine.models, "load", lambda name, **k: loaded.append(name) or whole(name, **k))
    pytester.runpytest("suites").assert_outcomes(passed=8)
    assert loaded == ["ladder-olmo-0.2m", "ladder-olmo-1.1m"]


def test_specs_are_found_wherever_they_stand() -> None:
    a, b = CurveSpec("a"), CurveSpec("b")
    assert list(plugin.specs_in({"x": [a, (b,)], "y": 3})) == [a, b]
    assert list(plugin.specs_in("text")) == []


def test_a_claim_test_that_died_has_no_verdict(tmp_path: Path) -> None:
    row = TestRow("t", "claim", claim="C", subject="m", outcome="failed", reason="boom")
    assert report.claim_table([row]) == ["C", f"  {'m':<20} no verdict: the test failed"]


def test_exit_statuses_tell_claim_drift_and_not_measured_apart_in_that_order(pytester: pytest.Pytester) -> None:
    broken = '"ladder-olmo-0.2m", "no-such-model"'
    for claim, models, options, status, said in (
        ("0.2, 0.4", '"ladder-olmo-0.2m"', (), plugin.EXIT_DRIFT, "curves are not their baselines"),
        ("0.2, 0.4", '"no-such-model"', ("-k", "claim"), plugin.EXIT_NOT_MEASURED, "could not be measured"),
        ("0.2, 0.4", broken, (), plugin.EXIT_DRIFT, "curves are not their baselines"),
        ("0.05, 0.4", broken, (), plugin.EXIT_CLAIM_FAILED, "a claim, a control or another test failed"),
        ("0.2, 0.4", '"ladder-olmo-0.2m"', ("--snapshot-update",), 0, None),
    ):
        write(pytester, claim=claim)
        path = pytester.path / "suites" / "test_it.py"
        path.write_text(path.read_text().replace('"ladder-olmo-0.2m", "olmo-1b"', models))
        result = pytester.runpytest("suites", *options)
        assert result.ret == status
        if said:
            result.stdout.fnmatch_lines([f"exit status {status}: *{said}*"])
        else:
            result.stdout.no_fnmatch_line("exit status*")


def test_a_suite_that_cannot_be_read_is_neither_drift_nor_a_missing_model(pytester: pytest.Pytester) -> None:
    write(pytester)
    path = pytester.path / "suites" / "test_it.py"
    path.write_text(path.read_text().replace('"ladder-olmo-0.2m", "olmo-1b"', '"no-such-model"'))
    (pytester.path / "suites" / "test_broken.py").write_text("import no_such_module")
    result = pytester.runpytest("suites", "-k", "claim", "--continue-on-collection-errors")
    assert result.ret == plugin.EXIT_CLAIM_FAILED


def test_an_error_of_the_judging_code_is_no_missing_measurement(pytester: pytest.Pytester) -> None:
    write(pytester)
    path = pytester.path / "suites" / "test_it.py"
    path.write_text(
        path.read_text().replace("claim.check(", "raise __import__('measure').MeasureError('judge'); claim.check(")
    )
    assert pytester.runpytest("suites", "-k", "claim").ret == plugin.EXIT_CLAIM_FAILED


def test_a_control_that_believes_a_counterfeit_is_a_failed_claim(pytester: pytest.Pytester) -> None:
    write(pytester, control="0.2, 0.3")
    assert pytester.runpytest("suites", "-k", "control").ret == plugin.EXIT_CLAIM_FAILED


def test_a_hub_model_without_a_baseline_says_how_to_get_one(pytester: pytest.Pytester, tmp_path: Path) -> None:
    tiny_network("olmo").save_pretrained(tmp_path / "mine")
    shutil.copytree(catalog.LADDER / "tokenizer", tmp_path / "mine", dirs_exist_ok=True)
    write(pytester)
    path = pytester.path / "suites" / "test_it.py"
    path.write_text(path.read_text().replace('"ladder-olmo-0.2m", "olmo-1b"', '"mine"'))
    result = pytester.runpytest("suites", "-k", "test_baseline", "--models", str(tmp_path / "mine"), "-rs")
    result.assert_outcomes(skipped=1, deselected=2)
    result.stdout.fnmatch_lines(
        ["*not measured: no curve was accepted for this model yet*measure refresh -k mine --models */mine*"]
    )
    catalog._ADDED.clear()
    catalog.models.cache_clear()


def test_the_step_summary_begins_with_what_failed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    write(pytester, claim="0.05, 0.4")
    pytester.runpytest("suites", "-k", "claim")
    text = (pytester.path / "summary.md").read_text()
    assert text.startswith("## 1 of 2 suite tests failed")
    assert text.index("expected the claim to be supported") < text.index("Curves exist (Fig. 0)")
    assert "<summary>suites/test_it.py::test_claim[ladder-olmo-0.2m]</summary>" in text


def test_a_step_summary_stays_below_what_is_taken_and_is_no_markup() -> None:
    row = TestRow("t[<b>]", "claim", claim="C", subject="m", outcome="failed", reason="```\n" * 9)
    text = report.step_summary([row])
    assert "<b>" not in text
    assert "````\n```" in text
    long = report.step_summary([replace(row, reason="x" * 2_000_000)])
    assert len(long.encode()) < report.SUMMARY_BYTES
    assert long.endswith("cut here: the whole is in the run's records\n")
