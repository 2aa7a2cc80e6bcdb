"""`measure review`: what drifted is shown against its baseline, and decided on one by one; what is written was seen."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from measure import cli
from measure.base import files
from measure.commands import review as asking
from measure.harness import drift, review
from measure.kinds.rows import BaselineRow, Farthest, Quartiles, Side, State, TestRow
from measure.report import records

SUITE = """
import pytest
from measure import CurveSpec, SliceSpec

CLAIM = "Curves exist (Fig. 0)"
MODEL = "ladder-olmo-0.2m"
CURVES = [pytest.param(CurveSpec(MODEL, pairs=12, steps=9, seed=k), id=name) for k, name in enumerate(("one", "two"))]
SLICE = pytest.param(SliceSpec(MODEL, triples=2, size=8), id="plane")

@pytest.mark.parametrize("spec", [*CURVES, SLICE])
def test_baseline(spec, measured, baseline):
    assert baseline == measured(spec)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    (pytester.mkdir("suites") / "test_it.py").write_text(SUITE)
    pytester.makeini("[pytest]\naddopts = --snapshot-no-cleanup -p no:cacheprovider")
    monkeypatch.chdir(pytester.path)
    measured(pytester, "--snapshot-update")
    return pytester


def measured(project: pytest.Pytester, *options: str) -> Path:
    """A run, and its records."""
    project.runpytest("suites", "-q", "--tb=no", *options)
    return records.runs(project.path / "reports" / "runs")[-1]


def baseline(project: pytest.Pytester, name: str) -> Path:
    return project.path / "suites" / "baselines" / "test_it" / f"test_baseline[{name}].json"


def edit(path: Path, change: float = 0.01) -> None:
    """A baseline from which the curve, or the colours, have moved by so much."""
    content = json.loads(path.read_text())
    if "curve" in content:
        content["curve"]["median"][3] += change
    else:
        content["triples"]["red"][1][4] += change
    content["environment"]["torch"] = "1.0"
    path.write_text(json.dumps(content))


def texts(project: pytest.Pytester) -> dict[str, str]:
    return {name: baseline(project, name).read_text() for name in ("one", "two", "plane")}


@pytest.fixture
def drifted(project: pytest.Pytester) -> dict[str, str]:
    """A run after which all three are not as accepted; what was accepted before."""
    right = texts(project)
    edit(baseline(project, "one"), 0.02)
    edit(baseline(project, "two"), 0.01)
    edit(baseline(project, "plane"))
    measured(project)
    return right


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["review", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def type_in(monkeypatch: pytest.MonkeyPatch, lines: str) -> None:
    monkeypatch.setattr(asking, "_is_a_terminal", lambda: True)
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))


def test_one_after_the_other_is_decided(
    project: pytest.Pytester,
    drifted: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = texts(project)
    type_in(monkeypatch, "a\nperhaps\n\nkeep\nS\n")
    status, out, _ = run(capsys)
    assert status == 10
    # The worst first: of the slices the colour, of the curves the one that moved farther.
    ids = re.findall(r"moved: suites/test_it\.py::test_baseline\[(\w+)\]", out)
    assert len(ids) == 3
    after = texts(project)
    assert after[ids[0]] == drifted[ids[0]], "as --snapshot-update had written it, byte for byte"
    assert {name: after[name] for name in ids[1:]} == {name: before[name] for name in ids[1:]}
    assert "'perhaps' is none of them; type a, k, s or q" in out
    assert out.rstrip().endswith("1 accepted, 1 kept, 1 not decided")
    # What was decided stands: accepted and kept are not asked about again.
    type_in(monkeypatch, "q\n")
    status, out, _ = run(capsys)
    assert (status, re.findall(r"moved: .*\[(\w+)\]", out)) == (10, [ids[2]])
    type_in(monkeypatch, "a\na\n")
    status, out, _ = run(capsys, "--again")
    assert status == 0
    assert texts(project) == drifted
    measured(project)
    status, out, _ = run(capsys)
    assert status == 0
    assert "nothing drifted, 3 baselines as accepted" in out


def test_the_curve_is_drawn_against_its_baseline_with_what_else_changed(
    project: pytest.Pytester, drifted: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys)
    shown = out[out.index("moved: suites/test_it.py::test_baseline[one]") :]
    assert "model ladder-olmo-0.2m, weights stored, layer 1, read final_norm" in shown
    assert "d / d(1) over alpha, medians: o baseline  x measured  # both" in shown
    assert "measured - baseline, at most 0.02, where 1e-05 is accepted:" in shown
    assert "median curve at alpha = 0.375: measured" in shown
    assert "off by -0.02 where 1e-05 is accepted" in shown
    assert re.search(r"what else differs .*:\n +torch: 1\.0 -> \d", shown)
    assert "accept it with" not in shown
    plane = out[out.index("moved: suites/test_it.py::test_baseline[plane]") :]
    assert "triple 2, nearest of A, B and C, alpha across and beta up:" in plane
    assert re.search(r"\n  baseline +measured\n  ([ABC] ){4}   +([ABC] ){3}[ABC]\n", plane)


def test_where_nobody_can_be_asked_there_is_a_command_for_each(
    project: pytest.Pytester,
    drifted: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    status, out, _ = run(capsys)
    assert status == 10
    assert "3 of 3 baselines not as accepted" in out
    commands = re.findall("^to accept it: (.*)$", out, re.MULTILINE)
    assert "measure review --accept 'suites/test_it.py::test_baseline[one]'" in commands
    for command in commands:
        assert run(capsys, *shlex.split(command)[2:])[0] == 0
    assert texts(project) == drifted
    assert run(capsys)[0] == 0
    path = records.runs()[-1]
    copy = path.rename(project.path / "elsewhere.jsonl")
    _, out, _ = run(capsys, str(copy))
    assert out.count("accepted since the run") == 3


def test_accepting_by_name(
    project: pytest.Pytester, drifted: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = texts(project)
    status, _, err = run(capsys, "--accept", "test_baseline[one].json", "nobody")
    assert status == 2
    assert "--accept nobody: it names no baseline that is not as accepted in this run; give one of: suites/" in err
    assert texts(project) == before, "nothing is written where one name is wrong"
    assert run(capsys, "--accept", "test_baseline[one].json")[:2] == (
        0, "accepted suites/baselines/test_it/test_baseline[one].json\n"
    )  # fmt: skip
    assert texts(project) == {**before, "one": drifted["one"]}
    assert "was accepted before" in run(capsys, "--accept", "suites/test_it.py::test_baseline[one]")[1]


def test_a_new_curve_is_accepted_as_the_first(project: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    right = baseline(project, "one").read_text()
    baseline(project, "one").unlink()
    measured(project)
    _, out, _ = run(capsys)
    assert "there is no baseline yet: this curve would be the first" in out
    assert "d / d(1) over alpha, medians: x measured" in out
    assert run(capsys, "--accept", "test_baseline[one].json")[0] == 0
    assert baseline(project, "one").read_text() == right


def test_what_an_incomplete_baseline_lacks_is_added_and_no_number_moves(
    project: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    path = baseline(project, "one")
    content = json.loads(path.read_text())
    del content["metrics"]["max_slope"]
    content["curve"]["median"][3] += 4e-6
    accepted = content["curve"]["median"]
    path.write_text(json.dumps(content))
    measured(project)
    status, out, _ = run(capsys, "--accept", "test_baseline[one].json")
    assert (status, "no accepted number changed" in out) == (0, True)
    now = json.loads(path.read_text())
    assert now["curve"]["median"] == accepted
    assert "max_slope" in now["metrics"]
    assert run(capsys)[0] == 0


def test_a_damaged_baseline_is_told_with_its_reason(
    project: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    right = baseline(project, "one").read_text()
    baseline(project, "one").write_text(right[:100])
    measured(project)
    _, out, _ = run(capsys)
    assert "refused: suites/test_it.py::test_baseline[one]" in out
    assert "the baseline file is not whole JSON" in out
    assert run(capsys, "--accept", "test_baseline[one].json")[0] == 0
    assert baseline(project, "one").read_text() == right


@pytest.mark.parametrize("change", [lambda path: edit(path, 0.5), Path.unlink, lambda path: path.write_text("")])
def test_a_file_that_was_changed_since_the_run_is_not_written_over(
    change: Any, project: pytest.Pytester, drifted: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    change(baseline(project, "one"))
    there = baseline(project, "one").exists() and baseline(project, "one").read_text()
    status, out, _ = run(capsys)
    assert status == 10
    assert "its file was changed since the run, so that nobody saw the two beside each other: run the suites" in out
    status, _, err = run(capsys, "--accept", "test_baseline[one].json")
    assert status == 2
    assert "test_baseline[one] was not accepted: its file was changed since the run" in err
    assert (baseline(project, "one").exists() and baseline(project, "one").read_text()) == there


def test_a_file_that_changes_while_it_is_looked_at_is_not_written_over(
    project: pytest.Pytester,
    drifted: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    type_in(monkeypatch, "")

    def typed() -> str:
        for name in ("one", "two", "plane"):
            edit(baseline(project, name), 0.5)
        return "a\n"

    monkeypatch.setattr(asking, "_typed", typed)
    before = {name: json.loads(text) for name, text in texts(project).items()}
    status, out, _ = run(capsys)
    assert status == 10
    assert "was not accepted: its file was changed since the run" in out
    assert all(json.loads(text) != before[name] for name, text in texts(project).items())
    assert "accepted suites/" not in out


def change_record(records_at: Path, changed: dict[str, Any]) -> None:
    """Damage what the records offer to accept."""
    lines = [json.loads(line) for line in records_at.read_text().splitlines()]
    for line in lines:
        if line["kind"] == "test" and "offer" in (line.get("baseline") or {}):
            offer = line["baseline"]["offer"]
            offer |= {name: value(offer) if callable(value) else value for name, value in changed.items()}
    records_at.write_text("".join(json.dumps(line) + "\n" for line in lines))


def sealed(path: str, text: str | None = None) -> dict[str, Any]:
    """An offer that somebody else made, its seal and all."""
    said = lambda offer: offer["text"] if text is None else text  # noqa: E731
    return {"path": path, "text": said, "seal": lambda offer: files.seal(path, said(offer))}


@pytest.mark.parametrize(
    "changed",
    [
        {"text": lambda offer: offer["text"].replace("1", "2", 1)},
        {"path": "suites/baselines/test_it/another.json"},
        sealed("../outside.json"),
        sealed("/tmp/outside-of-everything.json"),
        sealed("suites/test_it.py"),
        sealed("suites/baselines/test_it/test_baseline[one].json", "{}"),
        sealed("a\x00b.json"),
    ],
)
def test_a_record_that_is_not_as_the_run_left_it_accepts_nothing(
    changed: dict[str, Any], project: pytest.Pytester, drifted: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in project.path.parent.rglob("*") if path.is_file()}
    path = records.runs()[-1]
    change_record(path, changed)
    before[path.absolute()] = path.read_bytes()
    status, out, _ = run(capsys)
    assert status == 10
    assert "its record is not as the run left it: run the suites again" in out
    status, _, err = run(capsys, "--accept", "suites/test_it.py::test_baseline[one]")
    assert status == 2
    assert "was not accepted: its record is not as the run left it" in err
    after = {path: path.read_bytes() for path in project.path.parent.rglob("*") if path.is_file()}
    assert {path: text for path, text in after.items() if "__pycache__" not in path.parts} == {
        path: text for path, text in before.items() if "__pycache__" not in path.parts
    }


def header_of(path: Path, **changed: Any) -> None:
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(json.dumps({**json.loads(first), **changed}) + "\n" + "".join(rest))


def test_records_of_other_code_are_refused(
    project: pytest.Pytester, drifted: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = records.runs()[-1]
    header_of(path, code="0123456789ab")
    status, _, err = run(capsys)
    assert status == 2
    assert f"{path} holds records of other measuring code (0123456789ab, here it is" in err
    header_of(path, code="")
    assert "holds records of a version that could not be reviewed; run the suites again." in run(capsys)[2]


def test_records_that_are_none(
    project: pytest.Pytester,
    drifted: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = records.runs()[-1].absolute()
    assert "nobody.jsonl cannot be read" in run(capsys, "nobody.jsonl")[2]
    (project.path / "empty.jsonl").write_text("")
    assert "empty.jsonl holds no records" in run(capsys, "empty.jsonl")[2]
    assert "suites holds no records of a run" in run(capsys, "suites")[2]
    with path.open("a") as file:
        file.write('{"kind": "test", "te')
    status, out, _ = run(capsys)
    assert (status, "1 line is no whole record, passed over" in out) == (10, True)
    monkeypatch.chdir(project.path / "suites")
    assert "there is no suites/test_it.py here; run `measure review` in the root" in run(capsys, str(path))[2]
    (project.path / "elsewhere").mkdir()
    monkeypatch.chdir(project.path / "elsewhere")
    assert "reports/runs holds no records of a run" in run(capsys)[2]


def test_what_was_not_compared_is_no_silent_pass(project: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    measured(project, "--pairs", "40")
    status, out, _ = run(capsys)
    assert status == 11
    assert "no baseline was compared in this run, so nothing can be said of drift" in out
    assert "3 not compared: baselines belong to protocol paper with the default pairs" in out
    path = measured(project)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    row = next(line for line in lines if line["kind"] == "test")
    row |= {"baseline": None, "outcome": "failed", "reason": "no network", "status": 11}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    status, out, _ = run(capsys)
    assert (status, "1 not compared: no network" in out) == (11, True)


def test_a_run_that_accepted_leaves_nothing_to_decide(
    project: pytest.Pytester, drifted: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    measured(project, "--snapshot-update")
    status, out, _ = run(capsys)
    assert status == 0
    assert out.count("accepted since the run") == 3


def test_verdicts_that_moved_are_named(project: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    path = measured(project)
    with path.open("ab") as file:
        file.write(records.to_json(TestRow("suites/test_it.py::test_claim[a b]", "claim", outcome="failed", status=10)))
    status, out, _ = run(capsys)
    assert status == 10
    assert "to accept them: pytest 'suites/test_it.py::test_claim[a b]' --snapshot-update" in out


def test_the_input_ends(
    project: pytest.Pytester,
    drifted: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = texts(project)
    type_in(monkeypatch, "")
    status, out, _ = run(capsys)
    assert status == 10
    assert "the input ended: what is not decided is as it was" in out
    assert texts(project) == before


def test_a_folder_that_cannot_be_written(
    project: pytest.Pytester,
    drifted: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = texts(project)
    monkeypatch.setattr(review, "write_atomically", full)
    type_in(monkeypatch, "a\nk\nq\n")
    status, out, _ = run(capsys)
    assert status == 10
    assert "could not be written (No space left on device): it is as it was." in out
    assert "it will be asked about again" in out
    assert texts(project) == before
    (project.path / "file").write_text("")
    assert "--save file: pictures cannot be written there" in run(capsys, "--save", "file")[2]


def test_pictures(project: pytest.Pytester, drifted: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--save", "shown/here")
    names = sorted(path.name for path in Path("shown/here").iterdir())
    assert names == [f"test_it-test_baseline[{name}].png" for name in ("one", "plane", "two")]
    assert all((Path("shown/here") / name).read_bytes().startswith(b"\x89PNG") for name in names)
    assert "saved shown/here/test_it-test_baseline[one].png" in out


def test_killed_in_the_middle_what_was_accepted_stays(project: pytest.Pytester, drifted: dict[str, str]) -> None:
    before = texts(project)
    first, stage = pty.openpty()
    command = [Path(sys.executable).with_name("measure"), "review"]
    started = subprocess.Popen(command, stdin=stage, stdout=stage, stderr=stage, start_new_session=True)
    os.close(stage)
    os.write(first, b"a\n")
    said = b""
    until = time.monotonic() + 60
    while said.count(b"quit q: ") < 2 and time.monotonic() < until:
        said += os.read(first, 10_000)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    os.close(first)
    assert b"accepted suites/baselines/" in said
    after = texts(project)
    changed = [name for name in after if after[name] != before[name]]
    assert len(changed) == 1
    assert after[changed[0]] == drifted[changed[0]]


def row(measured: Side | None, accepted: Side | None, *farthest: Farthest) -> TestRow:
    found = BaselineRow(State.REFUSED, "x.json", why=("of another spec",), measured=measured, accepted=accepted,
                        farthest=farthest)  # fmt: skip
    return TestRow("s.py::test_baseline[x]", "baseline", subject="x", baseline=found)


def side(*values: float | None) -> Side:
    return Side(curve=Quartiles(values, values, values))


RAMP = tuple(np.linspace(0, 1, 11).tolist())


def test_the_marks_stand_where_the_numbers_are() -> None:
    lifted = tuple(value + 0.5 for value in RAMP)
    told = drift.lines(row(side(*lifted), side(*RAMP)), {})
    top = told.index("d / d(1) over alpha, medians: o baseline  x measured  # both") + 1
    panel = told[top : top + drift.HEIGHT]
    assert panel[0].startswith(" 1.50 |")
    assert panel[-1].startswith(" 0.00 |o")
    assert (panel[0][-1], panel[4][-1]) == ("x", "o")
    assert told[top + drift.HEIGHT] == "measured - baseline, at most 0.5:"
    assert told[top + drift.HEIGHT + 1] == "+5e-01|" + "*" * drift.WIDTH
    assert told[top + drift.HEIGHT + 3] == "     0|" + "-" * drift.WIDTH


@pytest.mark.parametrize(
    "found",
    [
        row(None, None),
        row(side(*RAMP), None),
        row(None, side(*RAMP)),
        row(side(*RAMP), side(*RAMP[:5])),
        row(side(*RAMP), side(*RAMP)),
        row(side(None, 0.5, None, 1.0), side(0.0, None, None, None)),
        row(side(None, None), side(None, None)),
        row(side(), side(1.0)),
        row(Side(triples=dict.fromkeys(drift.COLOURS, ((0.5,) * 16,))), None),
        row(Side(triples=dict.fromkeys(drift.COLOURS, ((0.5,) * 3,))), None),
        row(Side(triples={"red": ((0.5,) * 16,)}), Side(), Farthest("red", "red of triple 9", 1.0, None, 0.1, None)),
    ],
)
def test_sides_of_any_shape_are_told_and_drawn(found: TestRow) -> None:
    told = drift.lines(found, {})
    assert "of another spec" in told
    figure = drift.picture(found)
    if figure is not None:
        figure.savefig(io.BytesIO(), format="png")


def test_numbers_beyond_their_tolerance_are_told_once_a_kind() -> None:
    off = [Farthest(f"k{n}", f"median of k{n}", 1.0, 2.0, 0.1, 10.0 - n) for n in range(9)]
    near = Farthest("near", "near", 1.0, 1.0, 0.1, 0.5)
    nothing = Farthest("null", "median of null", None, 1.0, 0.1, None)
    told = drift.lines(row(None, None, off[0], nothing, *off[1:], near), {})
    assert "  median of null: measured None, accepted 1.0, where one is no number" in told
    assert "  median of k1: measured 1.0, accepted 2.0, 9.0 times its tolerance of 0.1" in told
    assert "  and 3 kinds more" in told
    assert not any("near" in line for line in told)


def test_names_that_several_have_are_told(tmp_path: Path) -> None:
    one = review.Drifted(replace(row(None, None), baseline=BaselineRow(State.MOVED, "x.json")), "damaged")
    found = review.Found(tmp_path, tmp_path, records.Run(None, {}, ()), (one, one))
    with pytest.raises(review.MeasureError, match="it is the name of several baselines"):
        review.accept_named(found, [one.test.test], print)
