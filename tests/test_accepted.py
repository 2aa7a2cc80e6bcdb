"""Accepted verdicts: kept, held against, over draws of pairs; on other samples told and not held; draws of controls."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from measure.base.exits import EXIT_CLAIM_FAILED, EXIT_DRIFT
from measure.claims import accepted
from measure.claims.accepted import Accepted
from measure.harness.engines import estimates
from measure.harness.items import VERDICTS
from measure.harness.snapshot import baseline_in
from measure.kinds.rows import TestRow
from measure.report import records
from measure.spec import MeasureError
from measure.stats import Effect, Interval, Verdict
from tests.conftest import whole_table

SUITE = """
import pytest
from measure import claims
from measure.spec import CurveSpec
from measure.stats import Effect, Interval, Verdict

CLAIM = "Seeds make numbers"
CASES = [pytest.param(CurveSpec("ladder-olmo-0.2m", pairs=12, steps=6), id="m")]
CONTROLS = claims.controls(CASES, lambda case, draw: claims.counterfeits(case, draw, claims.KINDS[:1]))
EXPECTED = {expected}
SHIFT = {shift}

def verdict(curves, low=0.0):
    middle = {by_seed}[curves.provenance["spec"]["seed"]] + SHIFT
    return Verdict((Effect("an effect", Interval(middle, middle - 0.05, middle + 0.05, 6), 0.1),))

@pytest.mark.parametrize("case", CASES)
def test_claim(case, measured, claim):
    claim.check(verdict(measured(case)), EXPECTED)

@pytest.mark.parametrize(("case", "others"), CONTROLS)
def test_control(case, others, measured, claim):
    weights = [measured(spec).provenance["weights"] for spec in others.values()]
    flat = Verdict((Effect("an effect", Interval(0.0, -0.1, 0.1, 6), 0.1),))
    claim.refute({{name: flat for name in others}})
    claim.confirm({{"planted": verdict(measured(case))}})
    assert len(set(weights)) == 1 and weights[0].startswith("shuffled_after_1:")
"""


@pytest.fixture(autouse=True)
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "accelerator_bytes", lambda: 0)


def write(
    pytester: pytest.Pytester, by_seed: str = "[0.5, 0.5, 0.5]", expected: str = "{}", shift: float = 0.0
) -> None:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    folder = pytester.path / "suites"
    folder.mkdir(exist_ok=True)
    (folder / "test_it.py").write_text(SUITE.format(by_seed=by_seed, expected=expected, shift=shift))


def rows(pytester: pytest.Pytester) -> tuple[TestRow, ...]:
    return records.read([records.runs(pytester.path / "reports" / "runs")[-1]]).tests


def kept(pytester: pytest.Pytester) -> dict[str, Accepted]:
    return accepted.read(pytester.path / "suites" / "baselines" / "verdicts" / "test_it.json")


def test_a_verdict_is_accepted_with_its_effects_and_by_seed(pytester: pytest.Pytester) -> None:
    write(pytester, by_seed="[0.5, 0.5, 0.12]")
    for seed in (0, 1, 2):
        pytester.runpytest("suites", "-k", "claim", "--seed", str(seed), "--snapshot-update").assert_outcomes(
            passed=1, deselected=3
        )
    assert kept(pytester) == {"m": Accepted({"an effect": (0.5, 0.45, 0.55)}, {"1": "supported", "2": "inconclusive"})}
    # One draw does not share the verdict, which is then nobody's.
    result = pytester.runpytest("suites", "-k", "claim")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(["*expected the claim to be supported, measured: inconclusive*"])
    assert "      under 2 other draws of pairs: 1 supported, 1 inconclusive" in whole_table(pytester.path).splitlines()


def test_an_accepted_negative_whose_effect_moves_is_drift(pytester: pytest.Pytester) -> None:
    negative = '{"m": "inconclusive"}'
    write(pytester, by_seed="[0.1]", expected=negative)
    pytester.runpytest("suites", "-k", "claim", "--snapshot-update").assert_outcomes(xfailed=1, deselected=3)
    pytester.runpytest("suites", "-k", "claim").assert_outcomes(xfailed=1, deselected=3)
    write(pytester, by_seed="[0.1]", expected=negative, shift=-0.09)
    result = pytester.runpytest("suites", "-k", "claim")
    assert result.ret == EXIT_DRIFT
    result.stdout.fnmatch_lines(
        ["*accepted as inconclusive and still so, by other effects than were accepted:",
         "*an effect: accepted +0.100 [[]+0.050, +0.150[]], measured +0.010"]
    )  # fmt: skip
    pytester.runpytest("suites", "-k", "claim", "--snapshot-update").assert_outcomes(xfailed=1, deselected=3)
    pytester.runpytest("suites", "-k", "claim").assert_outcomes(xfailed=1, deselected=3)


def test_under_strict_nothing_is_held_to_effects_of_the_other_protocol(pytester: pytest.Pytester) -> None:
    """Of a suite that chooses its reads itself the case has one name under both."""
    negative = '{"m": "inconclusive"}'
    write(pytester, by_seed="[0.1]", expected=negative)
    pytester.runpytest("suites", "-k", "claim", "--snapshot-update").assert_outcomes(xfailed=1, deselected=3)
    write(pytester, by_seed="[0.1]", expected=negative, shift=-0.09)
    path = pytester.path / "suites" / "test_it.py"
    path.write_text(path.read_text() + "\nREADS = ('logits',)\n")
    pytester.runpytest("suites", "-k", "claim", "--protocol", "strict").assert_outcomes(xfailed=1, deselected=3)


@pytest.mark.parametrize("option", [("--seed", "1"), ("--pairs", "14"), ("--precision", "float64")])
def test_on_another_sample_verdicts_are_told_and_controls_asserted(
    pytester: pytest.Pytester, option: tuple[str, str]
) -> None:
    write(pytester, by_seed="[0.1, 0.1]")
    assert pytester.runpytest("suites", "-k", "claim").ret == EXIT_CLAIM_FAILED
    pytester.runpytest("suites", "-k", "claim", *option).assert_outcomes(passed=1, deselected=3)
    (row,) = rows(pytester)
    assert row.verdict is not None
    assert (row.verdict.outcome, row.expected) == ("inconclusive", "inconclusive")
    # What is planted must be supported on any sample.
    assert pytester.runpytest("suites", "-k", "control", *option).ret == EXIT_CLAIM_FAILED


def test_a_seed_draws_other_prompts(pytester: pytest.Pytester) -> None:
    write(pytester)
    hashes = []
    for seed in ("0", "1"):
        pytester.runpytest("suites", "-k", "claim", "--seed", seed)
        run = records.read([records.runs(pytester.path / "reports" / "runs")[-1]])
        hashes += [row.provenance["prompts_sha256"] for row in run.results.values()]
    assert len(set(hashes)) == 2


def test_draws_says_how_many_counterfeits_of_each_are_asked(pytester: pytest.Pytester) -> None:
    write(pytester)
    pytester.runpytest("suites", "-k", "control").assert_outcomes(passed=1, deselected=3)
    pytester.runpytest("suites", "-k", "control", "--draws", "3").assert_outcomes(passed=3, deselected=1)
    found = rows(pytester)
    assert {row.subject for row in found} == {"m"}
    assert [name for row in found for name in row.controls] == [
        "later blocks shuffled",
        "later blocks shuffled, draw 2",
        "later blocks shuffled, draw 3",
    ]
    assert [verdict.outcome for row in found for verdict in row.planted.values()] == ["supported"] * 3


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--draws", "0"), "--draws 0: each counterfeit has 3 draws; give 1 to 3."),
        (("--draws", "4"), "--draws 4: each counterfeit has 3 draws; give 1 to 3."),
        (("--seed", "-1"), "--seed -1: seeds are 0 or above; leave it out for the default draw, 0."),
    ],
)
def test_draws_and_seeds_that_are_none_are_one_sentence(
    pytester: pytest.Pytester, option: tuple[str, str], said: str
) -> None:
    write(pytester)
    result = pytester.runpytest("suites", *option)
    result.stderr.fnmatch_lines([f"ERROR: {said}"])


def entry(interval: str = "[0.2, 0.1, 0.3]", draws: str = "{}") -> str:
    return f'{{"m": {{"effects": {{"e": {interval}}}, "draws": {draws}}}}}'


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"m": 1}',
        '{"m": {"effects": {}}}',
        '{"m": {"draws": {}}}',
        '{"m": {"effects": {}, "draws": {}}, "m": {"effects": {}, "draws": {}}}',
        "[" * 100_000,
        "\ufeff{}",
        *map(entry, ("[1, 2]", "[NaN, NaN, NaN]", "[0, -1e400, 1e400]", "[0, -Infinity, 1]", '["0", "0", "0"]')),
        *map(entry, ("[0.5, 0.1, 0.3]", "[0.2, 0.3, 0.1]", "[true, false, true]", f"[1, 0, {'9' * 5000}]")),
        *(entry(draws=draws) for draws in ('{"1": "believed"}', '{"x": "supported"}', '{"1": ["supported"]}', "[]")),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "test_it.json"
    path.write_text(text)
    with pytest.raises(MeasureError, match=r"the accepted verdicts in test_it.json cannot be read .*--snapshot-update"):
        accepted.read(path)


def test_a_file_that_is_none_or_no_text_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "test_it.json"
    path.write_bytes(b'{"caf\xe9": {}}')
    with pytest.raises(MeasureError, match="cannot be read .*it is not in UTF-8"):
        accepted.read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(MeasureError, match="cannot be read .*Is a directory"):
        accepted.read(path)


def test_an_effect_that_is_no_number_is_held_to_nothing(tmp_path: Path) -> None:
    nothing = Interval(float("nan"), float("nan"), float("nan"), 0)
    verdict = Verdict((Effect("e", nothing, 0.1), Effect("f", Interval(0.2, 0.1, 0.3, 40), 0.1)))
    accepted.keep(tmp_path / "it.json", "m", verdict, 0)
    assert accepted.read(tmp_path / "it.json") == {"m": Accepted({"f": (0.2, 0.1, 0.3)}, {})}


def test_a_verdict_that_cannot_be_kept_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    verdict = Verdict((Effect("f", Interval(0.2, 0.1, 0.3, 40), 0.1),))
    with pytest.raises(MeasureError, match=r"the verdict on m could not be accepted: it.json cannot be written \("):
        accepted.keep(tmp_path / "file" / "it.json", "m", verdict, 0)


def test_an_update_clears_no_verdicts_away(tmp_path: Path) -> None:
    """As syrupy clears what it takes for baselines that no test uses."""
    extension = baseline_in(tmp_path / "test_it", tmp_path)()
    place: Any = SimpleNamespace(basename="test_it")
    owned = [
        extension.owns_snapshot_collection(filepath=str(tmp_path / name / "test_it.json"), test_location=place)
        for name in ("test_it", VERDICTS)
    ]
    assert owned == [True, False]


def test_what_is_kept_of_one_case_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "verdicts" / "test_it.json"
    low, high = (Verdict((Effect("e", Interval(x, x - 0.1, x + 0.1, 40), 0.1),)) for x in (0.0, 0.5))
    accepted.keep(path, "b", low, 0)
    accepted.keep(path, "a", high, 0)
    accepted.keep(path, "a", low, 3)
    assert accepted.read(path) == {
        "a": Accepted({"e": (0.5, 0.4, 0.6)}, {"3": "inconclusive"}),
        "b": Accepted({"e": (0.0, -0.1, 0.1)}, {}),
    }
    assert list(accepted.read(path)) == ["a", "b"]
    assert accepted.read(tmp_path / "none.json") == {}
