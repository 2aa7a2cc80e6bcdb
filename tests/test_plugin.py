"""The pytest face, by pytest inside pytest."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from measure import catalog
from measure.base.exits import EXIT_CLAIM_FAILED, EXIT_DRIFT, EXIT_NOT_MEASURED
from measure.claims import Claim
from measure.core import measurements
from measure.harness.engines import estimates
from measure.harness.items import specs_in
from measure.kinds.rows import EffectRow, State, TestRow
from measure.models import loading
from measure.report import records
from measure.report import table as report
from measure.report.records import Run
from measure.spec import CurveSpec, NotMeasuredError
from measure.stats import Effect, Interval, Verdict
from tests.conftest import tiny_network, whole_table

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
    monkeypatch.setattr(estimates, "accelerator_bytes", lambda: 0)


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    write(pytester)
    return pytester


def write(pytester: pytest.Pytester, claim: str = "0.2, 0.4", control: str = "-0.1, 0.1") -> None:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    folder = pytester.path / "suites"
    folder.mkdir(exist_ok=True)
    (folder / "test_it.py").write_text(SUITE.format(claim=claim, control=control))


def run_of(pytester: pytest.Pytester) -> Run:
    """What the last run left behind."""
    return records.read([records.runs(pytester.path / "reports" / "runs")[-1]])


def rows(pytester: pytest.Pytester) -> tuple[TestRow, ...]:
    """The tests of the last run."""
    return run_of(pytester).tests


def test_the_ladder_runs_and_hub_models_say_why_not(suite: pytest.Pytester) -> None:
    result = suite.runpytest("suites", "--snapshot-update")
    result.assert_outcomes(passed=3, skipped=3)
    result.stdout.fnmatch_lines(
        [
            "*claims (protocol paper; n: independent units)*",
            "Curves exist (Fig. 0)  supported on olmo 0.2m",
            "baselines: 1 as accepted, 0 moved or missing, 1 not measured",
            "not measured: olmo-1b (about * here, --models olmo-1b)",
            "records: reports/runs/*.jsonl",
            "the whole table: reports/runs/*.claims.txt",
        ]
    )
    head, claim, judged, _, _, effect, *rest = whole_table(suite.path).splitlines()
    assert (head, claim) == ("claims (protocol paper; n: independent units)", "Curves exist (Fig. 0)")
    assert re.fullmatch(r"  ladder-olmo-0.2m +supported +n = 4 +control: held against 1", judged)
    assert re.fullmatch(r" +an effect +\+0.300 \[\+0.200, \+0.400\] margin 0.1", effect)
    assert re.match(r"  olmo-1b +not measured: without an accelerator it would take about \d+ (s|min|h) here", rest[0])
    assert rest[-2].endswith("force it with --models olmo-1b")
    assert rest[-1] == "baselines: 1 as accepted, 0 moved or missing, 1 not measured"
    assert all(len(line) <= 100 for line in (head, claim, judged, effect, *rest))


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
    result.stdout.fnmatch_lines(["Curves exist (Fig. 0)  contradicted on olmo 0.2m"])
    assert re.search(r"\n  ladder-olmo-0.2m +contradicted \(expected\) n = 4 ", whole_table(pytester.path))
    (judged, skipped) = rows(pytester)
    assert (judged.role, judged.outcome, judged.expected) == ("claim", "xfailed", "contradicted")
    assert skipped.outcome == "skipped"
    write(pytester, claim='0.2, 0.4), {"ladder-olmo-0.2m": "contradicted"}, *(()')
    pytester.runpytest("suites", "-k", "claim").assert_outcomes(failed=1, skipped=1, deselected=4)


def test_a_believed_counterfeit_fails_the_control(pytester: pytest.Pytester) -> None:
    write(pytester, control="0.2, 0.3")
    result = pytester.runpytest("suites", "-k", "claim or control")
    result.assert_outcomes(passed=1, failed=1, skipped=2, deselected=2)
    result.stdout.fnmatch_lines(["*supported by data on which it must not hold:*", "*; CONTROL BROKEN on olmo 0.2m"])
    assert "control: BROKEN by a counterfeit" in whole_table(pytester.path)


def test_each_test_leaves_one_record_as_it_ends(suite: pytest.Pytester) -> None:
    suite.runpytest("suites")
    found = rows(suite)
    assert len(found) == 6
    claim = next(row for row in found if row.role == "claim" and row.outcome == "passed")
    assert (claim.claim, claim.place) == ("Curves exist (Fig. 0)", "Fig. 0)")
    assert (claim.subject, claim.name, claim.protocol) == ("ladder-olmo-0.2m", "test_claim", "paper")
    assert claim.verdict is not None
    assert claim.verdict.effects[0] == EffectRow(
        "an effect", pytest.approx(0.3), low=0.2, high=0.4, n=4, margin=0.1, outcome="supported"
    )
    skipped = [row for row in found if row.outcome == "skipped"]
    assert len(skipped) == 3
    assert all(row.reason is not None and row.reason.startswith("not measured: ") for row in skipped)
    assert all("(5.1 GB of float32 weights); force it with --models olmo-1b" in str(row.reason) for row in skipped)
    failed = next(row for row in found if row.role == "baseline" and row.outcome == "failed")
    assert failed.reason is not None
    assert "no baseline yet" in failed.reason
    assert failed.baseline is not None
    assert failed.baseline.state is State.NEW


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


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        ((), EXIT_CLAIM_FAILED, "On the ladder's default sample every claim can be measured"),
        (("--pairs", "12"), EXIT_NOT_MEASURED, "measure more pairs, see --pairs"),
    ],
)
def test_nothing_is_confirmed_or_refuted_on_no_data(
    pytester: pytest.Pytester, options: tuple[str, ...], status: int, told: str
) -> None:
    nan = "float('nan'), float('nan')"
    write(pytester, claim=f'{nan}), {{"ladder-olmo-0.2m": "inconclusive"}}, *(()', control=nan)
    result = pytester.runpytest("suites", "-k", "claim or control", "--models", "ladder-olmo-0.2m", *options)
    result.assert_outcomes(failed=2, deselected=4)
    assert result.ret == status
    result.stdout.fnmatch_lines(["Curves exist (Fig. 0)  not measured on olmo 0.2m"])
    assert "not measured: the claim has no interval (n = 4)" in whole_table(pytester.path)
    claim, control = rows(pytester)
    assert (claim.outcome, control.outcome) == ("failed", "failed")
    assert claim.verdict is not None
    assert claim.verdict.outcome == control.controls["a counterfeit"].outcome == "not measured"
    for row in (claim, control):
        assert row.reason is not None
        assert told in row.reason


def test_strict_asks_every_claim_with_each_read_and_says_which_survive(suite: pytest.Pytester) -> None:
    result = suite.runpytest("suites", "--protocol", "strict", "--pairs", "12", "--models", "ladder-olmo-0.2m")
    result.assert_outcomes(passed=6, skipped=1, deselected=7)
    result.stdout.fnmatch_lines(["Curves exist (Fig. 0)  supported on all 3"])
    table = whole_table(suite.path)
    assert re.search(r"\n  ladder-olmo-0.2m-residual +supported ", table)
    assert re.search(r"\nwhich claims survive, by what is read +final_norm +residual +logits\n", table)
    assert re.search(r"\nCurves exist \(Fig. 0\)\n  ladder-olmo-0.2m +yes +yes +yes\n", table)
    assert [row.read for row in rows(suite)] == ["final_norm", "residual", "logits"] * 2 + [None]


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

    nan = float("nan")
    claim = Claim("x")
    with pytest.raises(pytest.fail.Exception, match="supported by data on which it must not hold"):
        claim.refute({"dead": verdict(nan, nan, 0), "believed": verdict(0.5, 0.6, 20)})
    assert claim.controls.keys() == {"dead", "believed"}
    with pytest.raises(NotMeasuredError, match="every pair is degenerate or left out"):
        Claim("x").refute({"dead": verdict(nan, nan, 0)})
    with pytest.raises(pytest.fail.Exception, match="every pair is degenerate or left out"):
        Claim("x", must_be_measured=True).refute({"dead": verdict(nan, nan, 0)})


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
    result.stdout.fnmatch_lines(["Curves exist (Fig. 0)  control held on olmo 0.2m"])
    assert "  ladder-olmo-0.2m     claim not run; control: held against 1" in whole_table(suite.path).splitlines()


def test_collecting_keeps_the_records_of_the_last_run(suite: pytest.Pytester) -> None:
    suite.runpytest("suites")
    (path,) = records.runs(suite.path / "reports" / "runs")
    before = path.read_text()
    suite.runpytest("suites", "--collect-only")
    suite.runpytest("--fixtures", "suites")
    assert records.runs(suite.path / "reports" / "runs") == [path]
    assert path.read_text() == before


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
    whole = loading.load
    monkeypatch.setattr(loading, "load", lambda name, **k: loaded.append(name) or whole(name, **k))
    pytester.runpytest("suites").assert_outcomes(passed=8)
    assert loaded == ["ladder-olmo-0.2m", "ladder-olmo-1.1m"]


def test_specs_are_found_wherever_they_stand() -> None:
    a, b = CurveSpec("a"), CurveSpec("b")
    assert list(specs_in({"x": [a, (b,)], "y": 3})) == [a, b]
    assert list(specs_in("text")) == []


def test_a_claim_test_that_died_has_no_verdict(tmp_path: Path) -> None:
    row = TestRow("t", "claim", claim="C", subject="m", outcome="failed", reason="boom")
    assert report.claim_table([row]) == ["C", f"  {'m':<20} no verdict: the test failed"]


def test_exit_statuses_tell_claim_drift_and_not_measured_apart_in_that_order(pytester: pytest.Pytester) -> None:
    broken = '"ladder-olmo-0.2m", "no-such-model"'
    for claim, models, options, status, said in (
        ("0.2, 0.4", '"ladder-olmo-0.2m"', (), EXIT_DRIFT, "curves are not their baselines"),
        ("0.2, 0.4", '"no-such-model"', ("-k", "claim"), EXIT_NOT_MEASURED, "could not be measured"),
        ("0.2, 0.4", broken, (), EXIT_DRIFT, "curves are not their baselines"),
        ("0.05, 0.4", broken, (), EXIT_CLAIM_FAILED, "a claim, a control or another test failed"),
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
    assert result.ret == EXIT_CLAIM_FAILED


def test_an_error_of_the_judging_code_is_no_missing_measurement(pytester: pytest.Pytester) -> None:
    write(pytester)
    path = pytester.path / "suites" / "test_it.py"
    path.write_text(
        path.read_text().replace("claim.check(", "raise __import__('measure').MeasureError('judge'); claim.check(")
    )
    assert pytester.runpytest("suites", "-k", "claim").ret == EXIT_CLAIM_FAILED


def test_a_control_that_believes_a_counterfeit_is_a_failed_claim(pytester: pytest.Pytester) -> None:
    write(pytester, control="0.2, 0.3")
    assert pytester.runpytest("suites", "-k", "control").ret == EXIT_CLAIM_FAILED


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


BODY = """
import pytest
from measure.spec import CurveSpec
from measure.stats import Effect, Interval, Verdict

CURVE = CurveSpec("ladder-olmo-0.2m", pairs=12, steps=5)
CASES = pytest.mark.parametrize("spec", [pytest.param(CURVE, id="case")])

def verdict(low, high):
    return Verdict((Effect("an effect", Interval((low + high) / 2, low, high, 12), 0.1),))

SUPPORTED, COUNTERFEIT = verdict(0.2, 0.4), {"a counterfeit": verdict(-0.1, 0.1)}
"""


def write_suites(pytester: pytest.Pytester, **bodies: str) -> None:
    """Suites by their modules' names."""
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    folder = pytester.path / "suites"
    folder.mkdir(exist_ok=True)
    for name, body in bodies.items():
        (folder / f"{name}.py").write_text(BODY + body)


def test_a_role_is_what_a_test_did_and_not_its_name(pytester: pytest.Pytester) -> None:
    write_suites(
        pytester,
        test_roles="""
CLAIM = "Roles are told apart (Fig. 0)"

@CASES
def test_anything(spec, measured, claim):
    claim.check(SUPPORTED)

@CASES
def test_control_of_size(spec, measured, claim):
    claim.check(SUPPORTED)

@CASES
def test_claim_on_counterfeits(spec, claim):
    claim.refute(COUNTERFEIT)

@CASES
def test_both(spec, claim):
    claim.check(SUPPORTED)
    claim.refute(COUNTERFEIT)

@CASES
def test_claim_that_is_a_baseline(spec, measured, baseline):
    assert baseline == measured(spec)

@CASES
def test_claim_of_no_kind(spec, measured):
    assert len(measured(spec)) == 12

@CASES
def test_that_dies(spec, claim):
    raise ValueError

@CASES
def test_control_that_dies(spec, claim):
    raise ValueError
""",
    )
    pytester.runpytest("suites", "--snapshot-update").assert_outcomes(passed=6, failed=2)
    assert {row.name: row.role for row in rows(pytester)} == {
        "test_anything": "claim",
        "test_control_of_size": "claim",
        "test_claim_on_counterfeits": "control",
        "test_both": "claim",
        "test_claim_that_is_a_baseline": "baseline",
        "test_claim_of_no_kind": "other",
        # What came to nothing is called by its name.
        "test_that_dies": "claim",
        "test_control_that_dies": "control",
    }
    assert {row.claim for row in rows(pytester)} == {"Roles are told apart (Fig. 0)"}


def test_a_claim_without_parameters_is_asked_of_its_module(pytester: pytest.Pytester) -> None:
    write_suites(
        pytester,
        test_lone="""
def test_claim(measured, claim):
    assert len(measured(CURVE)) == 12
    claim.check(verdict(-0.4, -0.2), {"lone": "contradicted"})

def test_control(claim):
    claim.refute(COUNTERFEIT)
""",
    )
    result = pytester.runpytest("suites", "--models", "ladder-olmo-0.2m")
    result.assert_outcomes(xfailed=1, passed=1)
    result.stdout.fnmatch_lines(["lone  contradicted on lone"])
    assert re.search(
        r"\nlone\n  lone +contradicted \(expected\) n = 12 +control: held against 1", whole_table(pytester.path)
    )
    claim, control = rows(pytester)
    assert (claim.subject, control.subject) == ("lone", "lone")
    assert (claim.claim, claim.place, control.claim) == ("lone", "lone", "lone")


def test_what_is_measured_beside_the_parameters_leaves_its_rows(pytester: pytest.Pytester) -> None:
    write_suites(
        pytester,
        test_beside="""
from dataclasses import replace

@CASES
def test_it(spec, measured):
    assert len(measured(replace(spec, layer=2))) == 12

def test_alone(measured):
    assert len(measured(replace(CURVE, layer=3))) == 12

def test_hub(measured):
    measured(CurveSpec("olmo-1b"))
""",
    )
    result = pytester.runpytest("suites", "-rs")
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(["*not measured: without an accelerator it would take*"])
    run = run_of(pytester)
    layers = {row.name: [run.results[name].spec["layer"] for name in row.specs] for row in run.tests}
    assert layers == {"test_it": [2], "test_alone": [3], "test_hub": []}
    # What stood in the parameters was measured with it.
    assert sorted(int(str(result.spec["layer"])) for result in run.results.values()) == [1, 2, 3]


def test_a_marker_names_a_claim_and_its_place(pytester: pytest.Pytester) -> None:
    write_suites(
        pytester,
        test_marked="""
CLAIM = "Of the module (Fig. 1)"

@pytest.mark.claim("Of the test", place="Fig. 9")
@CASES
def test_marked(spec, claim):
    claim.check(SUPPORTED)

@pytest.mark.claim("Of another (Figs. 2, 3)")
@CASES
def test_marked_without_a_place(spec, claim):
    claim.check(SUPPORTED)

@CASES
def test_unmarked(spec, claim):
    claim.check(SUPPORTED)
""",
    )
    result = pytester.runpytest("suites", "--strict-markers")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["Of the module (Fig. 1) *", "Of the test *"])
    assert {row.name: (row.claim, row.place) for row in rows(pytester)} == {
        "test_marked": ("Of the test", "Fig. 9"),
        "test_marked_without_a_place": ("Of another (Figs. 2, 3)", "Figs. 2, 3)"),
        "test_unmarked": ("Of the module (Fig. 1)", "Fig. 1)"),
    }


@pytest.mark.parametrize(
    "given", ["", "()", "('')", "('  ')", "('a text', where='Fig. 9')", "('a text', 'another')", "(3)",
              "('a text', place=9)"],
)  # fmt: skip
def test_a_marker_that_names_no_claim_is_refused(pytester: pytest.Pytester, given: str) -> None:
    write_suites(pytester, test_marked=f"@pytest.mark.claim{given}\n@CASES\ndef test_it(spec, claim): pass\n")
    result = pytester.runpytest("suites")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "".join(result.errlines).strip() == (
        "ERROR: suites/test_marked.py::test_it[case]: the marker claim needs the claim's text, and its place at most, "
        'as in @pytest.mark.claim("Sharpness grows with training", place="Fig. 4").'
    )
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_two_modules_with_one_claim_are_refused(pytester: pytest.Pytester) -> None:
    claim = 'CLAIM = "Curves exist (Fig. 0)"\n\n@CASES\ndef test_it(spec, claim): claim.check(SUPPORTED)\n'
    write_suites(pytester, test_one=claim, test_two=claim)
    result = pytester.runpytest("suites")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    folder = pytester.path / "suites"
    assert "".join(result.errlines).strip() == (
        f"ERROR: {folder / 'test_one.py'} and {folder / 'test_two.py'} both hold the claim 'Curves exist (Fig. 0)', "
        "and verdicts are told apart by their claims; give one of them another text."
    )
    write_suites(pytester, test_two=claim.replace("exist", "are there"))
    pytester.runpytest("suites").assert_outcomes(passed=2)


def test_records_are_written_where_they_are_asked_for(suite: pytest.Pytester) -> None:
    result = suite.runpytest("suites", "-k", "claim", "--records", "kept/here.jsonl")
    result.assert_outcomes(passed=1, skipped=1, deselected=4)
    result.stdout.fnmatch_lines(["records: kept/here.jsonl"])
    assert len(records.read([suite.path / "kept" / "here.jsonl"]).tests) == 2
    assert not (suite.path / "reports").exists()


def test_records_that_cannot_be_written_are_one_sentence(suite: pytest.Pytester) -> None:
    taken = suite.path / "taken.jsonl"
    taken.write_text("of another run")
    for given, said in (
        (taken, f"{taken} is there already, and records of another run are never written over"),
        (taken / "below" / "it.jsonl", f"records cannot be written to {taken}/below/it.jsonl (Not a directory)"),
    ):
        result = suite.runpytest("suites", "-k", "claim", "--records", str(given))
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        (line,) = filter(None, result.errlines)
        assert line.startswith(f"ERROR: {said}")
        assert "--records FILE" in line
        result.stdout.no_fnmatch_line("*INTERNALERROR*")
        result.assert_outcomes(deselected=4)
    assert taken.read_text() == "of another run"


def test_where_nothing_can_be_recorded_is_measured_all_the_same(suite: pytest.Pytester) -> None:
    (suite.path / "reports").write_text("no folder")
    result = suite.runpytest("suites", "-k", "claim")
    result.assert_outcomes(passed=1, skipped=1, deselected=4)
    assert result.ret == pytest.ExitCode.OK
    (line,) = [line for line in result.outlines if line.startswith("nothing of this run is recorded: ")]
    assert "records cannot be written to " in line
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (AssertionError("never so"), EXIT_CLAIM_FAILED, "unexpected error while measuring, a defect of the harness"),
        (KeyError("x"), EXIT_CLAIM_FAILED, "unexpected error while measuring, a defect of the harness"),
        (MemoryError("64 GiB"), EXIT_NOT_MEASURED, "the machine has no memory left (64 GiB)"),
        (OSError(28, "No space left on device"), EXIT_NOT_MEASURED, "the disk is full"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_defect_is_told_apart_from_what_the_world_denies(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, told: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(measurements, "measure_specs", fail)
    result = suite.runpytest("suites", "-k", "claim or baseline", "--models", "ladder-olmo-0.2m", "--snapshot-update")
    result.assert_outcomes(failed=2, deselected=4)
    assert result.ret == status
    result.stdout.fnmatch_lines([f"exit status {status}: *"])
    run = run_of(suite)
    assert [row.outcome for row in run.tests] == ["failed", "failed"]
    assert all(row.reason is not None and told in row.reason for row in run.tests)
    (result_row,) = run.results.values()
    assert result_row.error is not None
    assert told in result_row.error
    # A defect is told whole.
    assert ("in fail" in result_row.error) == (status == EXIT_CLAIM_FAILED)
    assert not list(suite.path.rglob("*.json"))


HOOK = """
from dataclasses import replace
from measure import catalog

pytest_plugins = ["measure.plugin"]

def pytest_measure_models(config):
    rung = catalog.models()["ladder-olmo-0.2m"]
    return [%s]
"""


@pytest.fixture
def own(pytester: pytest.Pytester) -> Iterator[pytest.Pytester]:
    """A repository whose hook names a folder and a model of the catalog by another name."""
    folder = shutil.copytree(catalog.LADDER / "ladder-qwen2-0.2m" / "main", pytester.path / "mine" / "step1")
    shutil.copytree(catalog.LADDER / "tokenizer", folder, dirs_exist_ok=True)
    write_suites(
        pytester,
        test_own="""
from measure import catalog

OWN = [model for model in catalog.models().values() if model.name in ("step1", "renamed")]

@pytest.mark.parametrize("name", [model.name for model in OWN])
def test_name(name): pass

@pytest.mark.parametrize("spec", [pytest.param(CurveSpec(m.name, pairs=12, steps=5), id=m.name) for m in OWN])
def test_it(spec, measured):
    assert len(measured(spec)) == 12
""",
    )
    pytester.makeconftest(HOOK % "'mine/step1', replace(rung, name='renamed', origin='added')")
    yield pytester
    catalog.forget_added()


def test_a_repository_names_models_of_its_own(own: pytest.Pytester) -> None:
    result = own.runpytest("suites", "-v")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*test_it[[]step1[]] PASSED*", "*test_it[[]renamed[]] PASSED*"])
    run = run_of(own)
    assert run.header is not None
    assert set(run.header.catalog) == {"step1", "renamed"}
    # A later session in the same process begins with the shipped ones.
    write_suites(own)
    own.runpytest("suites").assert_outcomes(skipped=2)


def test_a_model_that_a_repository_names_can_be_chosen(own: pytest.Pytester) -> None:
    result = own.runpytest("suites", "--models", "step1")
    assert result.errlines == []
    result.assert_outcomes(passed=3, deselected=1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("3", "pytest_measure_models: the hook gave 3; expected names, or objects of measure.catalog.Model"),
        ("'no/such/folder'", "pytest_measure_models: there is no folder 'no/such/folder'"),
        ("replace(rung, location='elsewhere')", "pytest_measure_models: elsewhere would be called ladder-olmo-0.2m"),
    ],
)
def test_what_is_no_model_is_refused_by_name(own: pytest.Pytester, given: str, said: str) -> None:
    own.makeconftest(HOOK % given)
    result = own.runpytest("suites")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = filter(None, result.errlines)
    assert said in line
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


@pytest.mark.parametrize("place", ["no/such/folder/summary.md", "suites"])
def test_a_step_summary_that_cannot_be_written_ends_nothing(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path / place))
    result = suite.runpytest("suites", "-k", "claim")
    result.assert_outcomes(passed=1, skipped=1, deselected=4)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["GITHUB_STEP_SUMMARY names a file that cannot be written (*); the run stands.", "records: reports/runs/*"]
    )
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_a_reason_of_half_a_surrogate_pair_ends_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token's text may be one, and stand in the message of an assertion."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    write_suites(pytester, test_half="@CASES\ndef test_it(spec, claim): pytest.fail('token \\ud800')\n")
    result = pytester.runpytest("suites")
    result.assert_outcomes(failed=1)
    assert result.ret == EXIT_CLAIM_FAILED
    (row,) = rows(pytester)
    assert row.reason is not None
    assert "token \ud800" in row.reason
    assert "1 of 1 suite tests failed" in (pytester.path / "summary.md").read_text(errors="replace")
