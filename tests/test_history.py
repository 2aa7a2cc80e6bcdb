"""The history: a line a case and run, only ever added to, whole whatever happens; where a claim changed is seen."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from measure import cli
from measure.kinds.rows import EffectRow, Header, TestRow, VerdictRow
from measure.report import history, records
from measure.report.history import Entry
from measure.spec import MeasureError

HEADER = Header(records.FORMAT, started="2026-01-02T03:04:05+00:00", code="abc")
CLAIM = "Sharpness grows (Fig. 4)"
KEYS = [
    "format", "started", "run", "code", "claim", "place", "subject", "outcome", "estimate", "low", "high", "margin", "n"
]  # fmt: skip


def effect(name: str, estimate: float, outcome: str = "supported") -> EffectRow:
    return EffectRow(name, estimate, estimate - 0.1, estimate + 0.1, 12, 0.1, outcome)


def claim(subject: str, found: str | None = "supported", *effects: EffectRow, **rest: Any) -> TestRow:
    verdict = None if found is None else VerdictRow(found, 20, effects)
    return TestRow(f"s.py::test_claim[{subject}]", "claim", claim=CLAIM, place="Fig. 4)", subject=subject,
                   verdict=verdict, **rest)  # fmt: skip


def entry(run: int, outcome: str = "supported", estimate: float | None = 0.5, **rest: Any) -> Entry:
    bounds = (None, None) if estimate is None else (estimate - 0.1, estimate + 0.1)
    found = Entry(
        started=f"2026-01-{run:02}T00:00:00+00:00", run=f"{run}.jsonl", code="abc", claim=CLAIM, place="Fig. 4)",
        subject="rung", outcome=outcome, estimate=estimate, low=bounds[0], high=bounds[1], margin=0.1, n=12,  # type: ignore[arg-type]
        effect="slope",
    )  # fmt: skip
    return dataclasses.replace(found, **rest)


def test_a_line_holds_the_effect_that_decides() -> None:
    whole, weak = effect("first", 0.5), effect("second", 0.1, "inconclusive")
    rows = [claim("a", "supported", whole), claim("b", "inconclusive", whole, weak), claim("c", "supported")]
    a, b, c = history.entries("run.jsonl", HEADER, rows)
    assert (a.effect, a.estimate, a.low, a.high, a.margin, a.n) == ("first", 0.5, 0.4, 0.6, 0.1, 12)
    assert (b.effect, b.estimate, b.outcome) == ("second", 0.1, "inconclusive")
    assert (c.effect, c.estimate, c.margin, c.n) == (None, None, None, 20)
    line = json.loads(history.to_line(a))
    assert [*line] == [*KEYS, "effect"]
    assert (line["format"], line["run"], line["code"], line["place"]) == (1, "run.jsonl", "abc", "Fig. 4)")


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        (claim("a", "contradicted", outcome="xfailed", expected="contradicted"), "contradicted"),
        (claim("a", "supported", outcome="failed", status=1), "supported"),
        (claim("a", None, outcome="skipped"), "not measured"),
        (claim("a", "not measured", outcome="failed", status=11), "not measured"),
        (claim("a", None, outcome="failed", status=11), "not measured"),
        (claim("a", None, outcome="failed", status=1), "failed"),
    ],
)
def test_outcomes(row: TestRow, outcome: str) -> None:
    [found] = history.entries("r", HEADER, [row])
    assert found.outcome == outcome


def test_what_is_no_number_is_null() -> None:
    unknown = EffectRow("e", math.nan, math.nan, math.inf, 3, 0.1, "not measured")
    [found] = history.entries("r", HEADER, [claim("a", "not measured", unknown)])
    assert b'"estimate":null,"low":null,"high":null,"margin":0.1,"n":3' in history.to_line(found)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"protocol": "strict"}, "a (strict)"),
        ({"pairs": 40, "seed": 2}, "a (40 pairs, seed 2)"),
        ({"corpus": "mine.csv"}, "a (corpus mine.csv)"),
        ({"precision": "bfloat16"}, "a (bfloat16)"),
        ({"seed": 0, "precision": "float32"}, "a"),
    ],
)
def test_other_pairs_are_other_cases(changed: dict[str, Any], told: str) -> None:
    [found] = history.entries("r", dataclasses.replace(HEADER, **changed), [claim("a")])
    assert found.subject == told


def test_lines_are_added_in_one_write_and_a_half_one_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "history.jsonl"
    history.append(path, [])
    assert not path.exists()
    history.append(path, [entry(1)])
    with path.open("ab") as file:
        file.write(history.to_line(entry(2))[:40])
    writes: list[bytes] = []
    whole = os.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", lambda handle, block: (writes.append(block), whole(handle, block))[1])
        history.append(path, [entry(3), entry(3, subject="other")])
    assert len(writes) == 1
    found = history.read(path)
    assert [(one.run, one.subject) for one in found.entries] == [
        ("1.jsonl", "rung"), ("3.jsonl", "rung"), ("3.jsonl", "other")
    ]  # fmt: skip
    [problem] = found.problems
    assert f"{path.name}: 1 line is no whole line of a history, passed over (line 2: " in problem


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.test_history import entry; from measure.report import history\n"
        "for run in range(1, 21):\n"
        "    history.append(Path(sys.argv[1]), [entry(run, subject=sys.argv[2], claim='c' * 500)] * 40)"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in ("one", "two")]
    assert [one.wait() for one in both] == [0, 0]
    found = history.read(path)
    assert found.problems == ()
    assert len(found.entries) == 2 * 20 * 40
    # A line that the other is just writing looks half written: closing it leaves an empty line, which no reader minds.
    lines = filter(None, path.read_bytes().splitlines())
    subjects = [json.loads(line)["subject"] for line in lines]
    blocks = [subjects[place : place + 40] for place in range(0, len(subjects), 40)]
    assert all(len(set(block)) == 1 for block in blocks), "a run's lines stand together"


def test_a_disk_that_took_a_part_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    written = tmp_path / "reports" / "runs" / "r.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, block: whole(handle, block[:30]))
        said = history.keep(written, HEADER, [claim("a")])
    path = tmp_path / "reports" / "history.jsonl"
    assert said == f"nothing of this run is in the history: {path} cannot be written (No space left on device)."
    assert history.keep(written, HEADER, [claim("b")]) is None
    found = history.read(path)
    assert [one.subject for one in found.entries] == ["b"]
    assert len(found.problems) == 1


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: os.mkfifo(path)])
def test_what_is_no_file_is_told_and_never_waited_on(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    make(path)
    said = history.keep(tmp_path / "runs" / "r.jsonl", HEADER, [claim("a")])
    assert said is not None
    assert said.startswith("nothing of this run is in the history: ")
    with pytest.raises(MeasureError, match="cannot be read"):
        history.read(path)


GOOD = json.loads(history.to_line(entry(1)))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"format": 1', "is no whole line of a history, passed over (line 1: "),
        ("[1]", "it is no object"),
        (json.dumps({**GOOD, "n": "12"}), "Expected `int`, got `str`"),
        (json.dumps({**GOOD, "outcome": "perhaps"}), "Invalid enum value"),
        (json.dumps({**GOOD, "started": "yesterday"}), "isoformat"),
        (json.dumps({**GOOD, "started": "2026-01-01T00:00:00"}), "names no time zone"),
        (json.dumps({**GOOD, "low": math.nan}), "NaN is no JSON number"),
        (json.dumps({name: value for name, value in GOOD.items() if name != "claim"}), "missing required field"),
        (json.dumps({**GOOD, "format": 2}), "was written by another version, passed over (line 1: format 2, this"),
        (json.dumps({"kind": "run", "format": 3}), "was written by another version"),
        ("\x00\xff", "not in UTF-8"),
        ("[" * 100_000, "nested"),
    ],
)
def test_damaged_and_foreign_lines_are_counted_and_told(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(line.encode("latin-1") + b"\n\n" + history.to_line(entry(2)))
    found = history.read(path)
    assert [one.run for one in found.entries] == ["2.jsonl"]
    assert said in " ".join(found.problems)


def test_fields_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(json.dumps({**GOOD, "colour": "blue"}))
    assert history.read(path) == history.History((entry(1),))
    assert history.read(tmp_path / "none.jsonl") == history.History()


def test_a_change_is_another_outcome_or_an_estimate_beyond_the_interval() -> None:
    runs = [
        entry(1, estimate=0.5),
        entry(2, estimate=0.58),
        entry(3, estimate=0.62),
        entry(4, "not measured", None),
        entry(5, "inconclusive", 0.62),
        entry(6, "failed", None),
        entry(7, "inconclusive", 0.9),
        entry(8, "inconclusive", 0.2, effect="another"),
    ]
    moved = history.changes(runs)[(CLAIM, "rung")]
    # It crept away from the first run, though never far from the one before.
    assert [*moved] == ["3.jsonl", "5.jsonl", "6.jsonl", "7.jsonl"]
    assert moved["3.jsonl"].run == "1.jsonl"
    assert moved["5.jsonl"].run == "3.jsonl"


def test_the_strip_has_a_claim_a_line_with_the_worst_of_its_cases() -> None:
    later = entry(4, claim="Later (Fig. 9)", place="Fig. 9)")
    runs = [entry(1), entry(2, "inconclusive"), entry(2, subject="other"), entry(3, "not measured", None),
            entry(3, subject="never", outcome="not measured"), later]  # fmt: skip
    told = history.lines(history.History(tuple(runs)))
    assert told[0] == "4 runs, 2026-01-01 00:00 to 2026-01-04 00:00"
    assert told[1] == ". not measured  + supported  ~ inconclusive  - contradicted  x failed  | changed"
    assert told[3] == f" +|~ .    {CLAIM}"
    assert told[4] == "       +  Later (Fig. 9)"
    assert "1 case was asked for and never measured" in told
    assert told[-2] == f"  2026-01-02 00:00  rung: {CLAIM}"
    assert told[-1].strip() == (
        "supported, +0.500 [+0.400, +0.600], n = 12  ->  inconclusive, +0.500 [+0.400, +0.600], n = 12; by the same "
        "measuring code, 2.jsonl"
    )
    last = history.lines(history.History(tuple(runs)), last=1, every=True, text="later")
    assert last[3:] == ["Later (Fig. 9)", " +  rung: supported, +0.500 [+0.400, +0.600], n = 12"]


def test_of_several_cases_the_worst_is_shown() -> None:
    runs = (entry(1, "failed", None), entry(1, "inconclusive", subject="b"), entry(2, "contradicted"),
            entry(2, "inconclusive", subject="b"), entry(3, "not measured", None), entry(3, subject="b"))  # fmt: skip
    assert history.lines(history.History(runs))[3] == f" x|-|+  {CLAIM}"


def test_a_change_tells_the_code_and_the_effects_where_they_differ() -> None:
    runs = (entry(1), entry(2, "inconclusive", 0.05, effect="drift", code="def"), entry(3, code=""))
    told = history.lines(history.History(runs))
    assert told[-3].endswith("n = 12 of 'slope'; by code that is not known, 3.jsonl")
    assert told[-1].endswith(
        "n = 12 of 'slope'  ->  inconclusive, +0.050 [-0.050, +0.150], n = 12 of 'drift'; code abc -> def, 2.jsonl"
    )


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["history"]) == 2
    assert "reports/history.jsonl holds no runs; a run of the suites leaves a line" in capsys.readouterr().err
    history.append(Path("reports/history.jsonl"), [entry(1, subject="one\x1b[2J\ntwo")])
    with Path("reports/history.jsonl").open("a") as file:
        file.write("half")
    assert cli.main(["history", "--cases"]) == 0
    out = capsys.readouterr().out
    assert "1 line is no whole line" in out
    assert "one\\x1b[2J\\ntwo: supported" in out
    assert cli.main(["history", "-k", "nothing"]) == 0
    assert "no case that is asked for was measured yet" in capsys.readouterr().out
    assert cli.main(["history", "--last", "0"]) == 2
    assert "--last 0: give a number of runs from 1." in capsys.readouterr().err
    Path("empty.jsonl").write_text("half")
    assert cli.main(["history", "empty.jsonl"]) == 2
    assert "empty.jsonl: 1 line is no whole line" in capsys.readouterr().err


SUITE = """
import pytest
from measure import CurveSpec, Effect, Interval, Verdict

CLAIM = "Curves exist (Fig. 0)"
SPEC = pytest.param(CurveSpec("ladder-olmo-0.2m", pairs=12, steps=5), id="rung")

@pytest.mark.parametrize("spec", [SPEC])
def test_claim(spec, measured, claim):
    measured(spec)
    claim.check(Verdict((Effect("an effect", Interval(0.3, 0.2, 0.4, 12), 0.1),)))
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    (pytester.mkdir("suites") / "test_it.py").write_text(SUITE)
    return pytester


def test_a_run_adds_its_lines_beside_its_records(project: pytest.Pytester) -> None:
    for _ in range(2):
        project.runpytest("suites").assert_outcomes(passed=1)
    names = [path.name for path in records.runs(project.path / "reports" / "runs")]
    found = history.read(project.path / "reports" / "history.jsonl")
    assert found.problems == ()
    assert [one.run for one in found.entries] == names
    header = records.read([project.path / "reports" / "runs" / names[0]]).header
    assert header is not None
    assert (found.entries[0].started, found.entries[0].code) == (header.started, header.code)
    assert len(header.code) == 12
    assert (found.entries[0].subject, found.entries[0].estimate) == ("rung", 0.3)


def test_a_run_whose_records_go_elsewhere_adds_none(project: pytest.Pytester) -> None:
    project.runpytest("suites", "--records", "mine/runs/r.jsonl").assert_outcomes(passed=1)
    project.runpytest("suites", "--refresh", "dry").assert_outcomes(passed=1)
    assert not [*project.path.rglob("history.jsonl")]


def test_workers_of_one_run_leave_one_line(project: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    project.runpytest("suites", "-n", "2", "-p", "xdist").assert_outcomes(passed=1)
    assert len(history.read(project.path / "reports" / "history.jsonl").entries) == 1


def test_a_history_that_cannot_be_written_ends_nothing(project: pytest.Pytester) -> None:
    (project.path / "reports" / "history.jsonl").mkdir(parents=True)
    found = project.runpytest("suites")
    found.assert_outcomes(passed=1)
    assert "nothing of this run is in the history: " in found.stdout.str()
