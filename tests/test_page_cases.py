"""The page's cases where a claim has several tests of one subject, where data lacked, and what became of baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import written_runs as written
from tests.test_page import case, shown


def test_baselines_that_are_incomplete_or_refused_are_not_accepted(tmp_path: Path) -> None:
    lines = written.whole_run()
    for name, state in (("first", "incomplete"), ("shuffled", "refused")):
        said = written.compared(state, why=[f"{name} is {state}"])
        lines.insert(
            -1, written.row("baseline", written.REGIONS, f"of {name}", "failed", specs=["plane"], baseline=said)
        )
    _, view = shown(tmp_path, lines)
    tally = {entry["word"]: entry["count"] for entry in view["tally"]}
    assert (tally["baselines moved"], tally["baselines incomplete"], tally["tests failed"]) == (2, 1, 4)
    found = case(view, "rung-b")
    assert [(line["state"], line["why"]) for line in found["baselines"]] == [
        ("incomplete", ["first is incomplete"]),
        ("refused", ["shuffled is refused"]),
    ]
    assert found["moved"]
    assert found["failed"]
    assert view["claims"][1]["drift"] == [["incomplete", 1], ["refused", 1]]
    table = (tmp_path / "out" / "claims.txt").read_text().splitlines()
    assert table[-1] == ("baselines: 1 as accepted, 2 moved or missing, 1 incomplete, 1 not comparable, 0 not measured")


def test_a_baseline_that_is_as_accepted_shows_what_is_to_be_known_of_it(tmp_path: Path) -> None:
    lines = written.whole_run()
    lines[7]["baseline"]["notes"] = ["of an older spec", "fewer digits"]
    _, view = shown(tmp_path, lines)
    first, last = case(view, "rung-a")["baselines"]
    assert (first["state"], first["notes"]) == ("as accepted", ["of an older spec", "fewer digits"])
    assert "notes" not in last
    assert "baselines incomplete" not in [entry["word"] for entry in view["tally"]]


def named(line: written.Line, name: str, **changed: Any) -> written.Line:
    """The line of another test of the same subject."""
    return {**line, "test": line["test"].replace("test_claim", name).replace("test_control", name), **changed}


def test_no_claim_test_of_one_subject_is_lost(tmp_path: Path) -> None:
    lines = written.whole_run()
    weak = written.verdict("inconclusive", written.effect("edge drift falls", 0.0, "inconclusive"))
    lines.insert(6, named(lines[5], "test_drifts", verdict=weak, outcome="failed"))
    more = {"labels swapped": written.verdict("inconclusive", written.effect("max slope rises", 0.0))}
    lines.insert(8, named(lines[7], "test_labels", controls=more, specs=["plane"]))
    _, view = shown(tmp_path, lines)
    slopes, drifts, _ = view["claims"][0]["cases"]
    assert [slopes["subject"], drifts["subject"]] == ["rung-a (test_claim)", "rung-a (test_drifts)"]
    assert [slopes["state"], drifts["state"]] == ["supported", "inconclusive"]
    assert slopes["anchor"] != drifts["anchor"]
    for one in (slopes, drifts):
        assert one["control"]["state"] == "held"
        names = [entry["name"] for entry in one["control"]["counterfeits"]]
        assert names == ["shuffled weights for the trained", "labels swapped"]
        assert [name for name, _, role, *_ in one["specs"] if role == "control"] == ["shuffled", "plane"]
    assert view["claims"][0]["verdicts"] == [
        {"word": "supported", "count": 1, "unexpected": 0},
        {"word": "inconclusive", "count": 1, "unexpected": 1},
    ]
    assert [len(slopes["baselines"]), len(drifts["baselines"])] == [2, 0]


def test_a_claim_test_that_refuted_too_is_its_own_control(tmp_path: Path) -> None:
    lines = written.whole_run()
    lines[5]["controls"] = lines.pop(6)["controls"]
    _, view = shown(tmp_path, lines)
    assert case(view, "rung-a")["control"]["state"] == "held"
    assert (view["claims"][0]["held"], view["claims"][0]["controls"]) == (1, 1)
    assert view["claims"][0]["counterfeits"] == ["shuffled weights for the trained"]


def test_what_failed_for_lack_of_data_is_not_measured(tmp_path: Path) -> None:
    lines = written.whole_run()
    reason = "not measured: rung-a has no interval (n = 1)\nsuites/test_x.py:3: in test_claim"
    nothing = written.verdict("not measured", written.effect("max slope rises", 0.0, "not measured"))
    lines[5] |= {"verdict": nothing, "outcome": "failed", "reason": reason}
    _, view = shown(tmp_path, lines)
    found = case(view, "rung-a")
    assert (found["state"], found["measured"], found["failed"]) == ("not measured", False, True)
    assert found["reason"] == reason
    tally = {entry["word"]: entry["count"] for entry in view["tally"]}
    assert (tally["supported"], tally["not measured"]) == (0, 2)
    table = (tmp_path / "out" / "claims.txt").read_text().splitlines()
    assert table[2] == f"  {'rung-a':<20} not measured: rung-a has no interval (n = 1)"


def test_a_control_that_failed_for_lack_of_data_did_not_hold(tmp_path: Path) -> None:
    lines = written.whole_run()
    nothing = written.verdict("not measured", written.effect("max slope rises", 0.0, "not measured"))
    lines[6]["controls"]["nobody"] = nothing
    lines[6] |= {"outcome": "failed", "reason": "not measured: nobody has no interval"}
    _, view = shown(tmp_path, lines)
    assert case(view, "rung-a")["control"]["state"] == "not measured"
    assert case(view, "rung-a")["control"]["reason"] == "not measured: nobody has no interval"
    assert (view["claims"][0]["held"], view["claims"][0]["controls"]) == (0, 1)


def test_of_several_claim_tests_of_one_subject_each_is_compared(tmp_path: Path) -> None:
    before, after = written.whole_run(), written.whole_run()
    for lines, outcome in ((before, "supported"), (after, "inconclusive")):
        other = written.verdict(outcome, written.effect("edge drift falls", 0.5, outcome))
        lines.insert(6, named(lines[5], "test_drifts", verdict=other))
    _, view = shown(tmp_path, before, after)
    assert [line[1:2] + line[3:] for line in view["compared"]["verdicts"]] == [
        ["rung-a (test_drifts)", "supported", "inconclusive"]
    ]
    assert view["compared"]["gone"] == []
    assert case(view, "rung-a (test_drifts)")["before"]["state"] == "supported"


def test_a_test_that_judges_nothing_stands_by_its_name(tmp_path: Path) -> None:
    lines = written.whole_run()
    lines[-1:-1] = [
        written.row("shape", written.GROWTH, "rung-a", specs=["first"]),
        written.row("shape", None, "rung-b", "failed", reason="no such model"),
    ]
    _, view = shown(tmp_path, lines)
    of_claim, of_none = (claim["cases"][-1] for claim in (view["claims"][0], view["claims"][-1]))
    assert [line["subject"] for line in of_claim["baselines"]] == ["gone", "shape: rung-a"]
    assert view["claims"][-1]["title"] == "Tests that judge no claim"
    (line,) = of_none["baselines"]
    assert (line["subject"], line["state"], line["reason"]) == ("shape: rung-b", "failed", "no such model")
    assert of_none["failed"]
