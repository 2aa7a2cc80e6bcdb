"""The table of claims, from rows that no run left behind."""

from __future__ import annotations

from typing import Any

import pytest

from measure.kinds.rows import BaselineRow, EffectRow, State, TestRow, VerdictRow
from measure.report import table as report

CLAIM = "Curves exist (Fig. 0)"


def verdict(outcome: str = "supported", low: float | None = 0.2) -> VerdictRow:
    return VerdictRow(outcome, 4, (EffectRow("an effect", 0.3, low, 0.4, 4, 0.1, outcome),))


def row(name: str, role: Any = "claim", subject: str = "m", **rest: Any) -> TestRow:
    test = f"suites/test_it.py::{name}[{subject}]"
    return TestRow(test, role, claim=CLAIM, place="Fig. 0", subject=subject, **rest)


def claim(name: str = "test_claim", outcome: str = "supported", **rest: Any) -> TestRow:
    return row(name, verdict=verdict(outcome), **rest)


def control(name: str = "test_control", controls: dict[str, VerdictRow] | None = None, **rest: Any) -> TestRow:
    return row(name, "control", controls=controls or {}, **rest)


def lines(*rows: TestRow) -> list[str]:
    """The table without its one title."""
    table = report.claim_table(rows)
    assert table[0] == CLAIM
    assert max(map(len, table)) <= 100
    return table[1:]


def test_claims_stand_by_their_place_and_then_by_their_title() -> None:
    placed = (("b", "2"), ("d", "1"), ("a", "2"), ("c (Fig. 9)", "10"))
    rows = [TestRow("t", "claim", claim=title, place=place, subject="m") for title, place in placed]
    assert report.titles(rows) == ["d", "c (Fig. 9)", "a", "b"]
    assert [line for line in report.claim_table(rows) if not line.startswith(" ")] == ["d", "c (Fig. 9)", "a", "b"]
    assert report.place("c (Fig. 9)") == "Fig. 9)"


def test_of_several_claim_tests_of_one_subject_each_is_shown_with_its_name() -> None:
    shown = lines(
        claim("test_slopes"),
        claim("test_drifts", "inconclusive"),
        claim(subject="other"),
        control(controls={"labels swapped": verdict("inconclusive")}),
    )
    heads = [line.split()[:3] for line in shown if "control:" in line]
    assert heads == [
        ["m", "(test_slopes)", "supported"],
        ["m", "(test_drifts)", "inconclusive"],
        ["other", "supported", "n"],
    ]
    assert [line.endswith("control: held against 1") for line in shown if " n = " in line] == [True, True, False]


def test_claim_tests_of_one_name_are_told_apart_by_their_ids() -> None:
    rows = [claim(), TestRow(f"suites/test_other.py::test_claim[{'x' * 80}]", "claim", claim=CLAIM, subject="m")]
    table = report.claim_table(rows)
    assert any("suites/test_it.py::test_claim[m]" in line for line in table)
    assert any("suites/test_other.py::tes" in line for line in table)
    assert len(report.cases(rows)) == 2


@pytest.mark.parametrize(
    ("controls", "said"),
    [
        ([{"a": "inconclusive"}, {"b": "contradicted", "c": "inconclusive"}], "held against 3"),
        ([{"a": "inconclusive"}, {"a": "inconclusive"}], "held against 2"),
        ([{"a": "inconclusive"}, {"b": "supported"}], "BROKEN by b"),
        ([{"a": "supported"}, {"a": "supported"}], "BROKEN by a"),
    ],
)
def test_counterfeits_of_several_controls_are_put_together(controls: list[dict[str, str]], said: str) -> None:
    rows = [
        control(f"test_control_{place}", {name: verdict(outcome) for name, outcome in found.items()})
        for place, found in enumerate(controls)
    ]
    assert lines(claim(), *rows)[0].endswith(f"control: {said}")
    assert lines(*rows) == [f"  {'m':<20} claim not run; control: {said}"]


def test_a_control_that_came_to_nothing_is_not_hidden_by_one_that_held() -> None:
    held = control("test_a", {"a": verdict("inconclusive")})
    assert lines(claim(), held, control("test_b", outcome="skipped"))[0].endswith("control: held against 1, 1 skipped")
    assert lines(claim(), control("test_b", outcome="failed"), held)[0].endswith("control: failed")
    broken = control("test_a", {"a": verdict("supported")}, outcome="failed")
    assert lines(claim(), control("test_b", outcome="failed"), broken)[0].endswith("control: BROKEN by a")


def test_a_test_that_judged_and_refuted_is_its_own_control() -> None:
    both = claim(controls={"a": verdict("inconclusive"), "b": verdict("inconclusive")})
    assert lines(both)[0].endswith("control: held against 2")
    believed = claim("test_other", controls={"a": verdict("supported")}, outcome="failed")
    assert [line.rpartition("control: ")[2] for line in lines(both, believed) if "control: " in line] == [
        "held against 2",
        "BROKEN by a",
    ]
    assert lines(both, control(controls={"c": verdict("inconclusive")}))[0].endswith("control: held against 3")


REASON = "m has no interval (n = 1); the pairs are degenerate\nsuites/test_it.py:3: in test_claim"


@pytest.mark.parametrize("reason", [REASON, f"not measured: {REASON}", f"\n{REASON}"])
def test_a_claim_that_failed_for_lack_of_data_shows_why_and_no_verdict(reason: str) -> None:
    failed = claim(outcome="not measured", subject="m")
    shown = lines(TestRow(**{**vars(failed), "outcome": "failed", "reason": reason}))
    assert shown == [f"  {'m':<20} not measured: m has no interval (n = 1); the pairs are degenerate"]


def test_a_claim_that_lacks_data_and_a_reason_says_so() -> None:
    failed = row("test_claim", verdict=verdict("not measured"), outcome="failed")
    assert lines(failed) == [f"  {'m':<20} not measured: no reason given"]


def test_a_control_that_failed_for_lack_of_data_shows_why_and_does_not_hold() -> None:
    refuted = {"a": verdict("not measured", None), "b": verdict("inconclusive")}
    failed = control(controls=refuted, outcome="failed", reason=REASON)
    said = "not measured: m has no interval (n = 1); the pairs are degenerate"
    assert " ".join(" ".join(lines(failed)).split()) == f"m claim not run; control: {said}"
    head, beneath, *_ = lines(claim(), failed)
    assert head.endswith("control: not measured")
    assert beneath == f"      control {said}"
    broken = TestRow(**{**vars(failed), "controls": {**failed.controls, "c": verdict("supported")}})
    assert lines(claim(), broken)[0].endswith("control: BROKEN by c")


def test_reads_of_several_tests_of_one_subject_stand_apart() -> None:
    rows = [
        claim(name, outcome, subject=f"m-{read}", read=read)
        for name, read, outcome in (
            ("test_a", "residual", "supported"),
            ("test_a", "logits", "inconclusive"),
            ("test_b", "residual", "contradicted"),
        )
    ]
    table = report.reads_table(rows)
    assert [line.split() for line in table[2:]] == [
        ["m", "(test_a)", "yes", "inconclusive"],
        ["m", "(test_b)", "contradicted", "not", "measured"],
    ]
    assert report.reads_table(rows[:2])[2].split() == ["m", "yes", "inconclusive"]


def test_baselines_that_are_incomplete_or_not_comparable_are_counted_apart() -> None:
    states = [State.AS_ACCEPTED, State.MOVED, State.NEW, State.INCOMPLETE, State.REFUSED, State.REFUSED]
    rows = [
        row("test_baseline", "baseline", baseline=BaselineRow(state), outcome="passed" if not place else "failed")
        for place, state in enumerate(states)
    ]
    skipped = row("test_baseline", "baseline", outcome="skipped")
    died = row("test_baseline", "baseline", outcome="failed")
    assert report.baseline_line([*rows, skipped, died]) == (
        "baselines: 1 as accepted, 3 moved or missing, 1 incomplete, 2 not comparable, 1 not measured"
    )
    assert report.baseline_line([rows[0], rows[3]]) == (
        "baselines: 1 as accepted, 0 moved or missing, 1 incomplete, 0 not measured"
    )
    assert report.baseline_line([rows[0], died]) == "baselines: 1 as accepted, 1 moved or missing, 0 not measured"
    noted = row("test_baseline", "baseline", baseline=BaselineRow(State.AS_ACCEPTED, notes=("fewer digits",)))
    assert report.baseline_line([noted]) == "baselines: 1 as accepted, 0 moved or missing, 0 not measured"


def test_a_summary_that_is_cut_says_where_the_whole_is() -> None:
    text = report.step_summary([row("test_claim", outcome="failed", reason="é" * 700_000)])
    assert len(text.encode()) < report.SUMMARY_BYTES
    assert text.endswith("\n```\n\ncut here: the whole is in the run's records\n")
