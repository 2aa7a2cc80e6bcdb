"""A run's records: what is written, what is read back, and what is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from measure.harness import recording
from measure.kinds.rows import (
    BaselineRow,
    CurveRow,
    EffectRow,
    End,
    Header,
    ResultRow,
    Row,
    State,
    TestRow,
    VerdictRow,
)
from measure.report import records
from measure.spec import CurveSpec, MeasureError
from tests import small_results as small

MODEL = "ladder-olmo-0.2m"
END = End(exitstatus=0, seconds=1.0)


def result_row(how: str = "measured") -> ResultRow:
    spec = CurveSpec(MODEL)
    return recording.of_result(spec, how, small.curves(spec))


def row(name: str, outcome: str = "passed", **rest: Any) -> TestRow:
    return TestRow(name, "claim", outcome=outcome, **rest)


def text(content: Row) -> str:
    return records.to_json(content).decode()


def back(content: Row) -> Any:
    return records.from_json(records.to_json(content))


def test_lines_are_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "run.jsonl"
    writer = records.Writer(path)
    for number in range(3):
        writer.write(row("a\nb", seconds=np.float64(number)))
        # Whole as soon as it is written: a kill takes nothing away.
        assert [json.loads(line)["test"] for line in path.read_text().splitlines()] == ["a\nb"] * (number + 1)
    writer.write(End(np.int64(3), float("nan")))  # type: ignore[arg-type]
    writer.close()
    lines = path.read_text().splitlines()
    assert [json.loads(line).get("seconds", 0) for line in lines] == [0, 1, 2, None]
    assert json.loads(lines[-1]) == {"kind": "end", "exitstatus": 3, "seconds": None}
    assert writer.problem is None


def test_what_holds_its_default_is_left_out_and_comes_back() -> None:
    assert text(TestRow("t", "other")) == '{"kind":"test","test":"t","role":"other"}\n'
    assert back(TestRow("t", "other")) == TestRow("t", "other")
    assert text(END) == '{"kind":"end","exitstatus":0,"seconds":1.0}\n'
    for whole in (small.header(MODEL, models="auto", tests=3), result_row(), row("t", specs=("a", "b")), END):
        assert back(whole) == whole


def nan_rows() -> list[TestRow]:
    """One number that is none, wherever it may lie."""
    nan, infinite = float("nan"), float("inf")
    verdict = VerdictRow("not measured", 0, effects=(EffectRow("e", nan, -infinite, infinite, 0, 0.1, "not measured"),))
    baseline = BaselineRow(State.MOVED, changed={"x": (nan, [1.0, {"y": infinite}])})
    return [row("v", verdict=verdict, controls={"c": verdict}), row("b", baseline=baseline)]


def test_what_is_no_number_becomes_null_wherever_it_lies() -> None:
    alphas, nothing = (0.0, 1.0), (float("nan"), float("inf"))
    curve = CurveRow(nothing, nothing, (-float("inf"), 1.0), alphas=alphas)
    rows = [dataclasses.replace(result_row(), curve=curve, provenance={"x": float("nan")}), *nan_rows()]
    for found in rows:
        assert not any(word in text(found) for word in ("NaN", "Infinity"))
    result, judged, compared = map(back, rows)
    assert result.curve == CurveRow((None, None), (None, None), (None, 1.0), alphas=alphas)
    assert result.provenance == {"x": None}
    effect = judged.verdict.effects[0]
    assert (effect.estimate, effect.low, effect.high, effect.margin) == (None, None, None, 0.1)
    assert judged.controls == {"c": judged.verdict}
    assert compared.baseline.changed == {"x": (None, [1.0, {"y": None}])}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_what_another_writer_calls_no_number_is_read_as_null(number: str) -> None:
    line = f'{{"kind":"result","id":"a","type":"CurveSpec","spec":{{"model":"m","x":{number}}},"how":"stored"}}'
    found = records.from_json(line.encode())
    assert isinstance(found, ResultRow)
    assert found.spec["x"] is None


def test_half_a_surrogate_pair_survives() -> None:
    halves = ("\ud800", "a\udfffb", "\U0001f600")
    whole = row("t", reason=halves[0], specs=halves, controls={halves[1]: VerdictRow("supported", 1)})
    assert back(whole) == whole
    assert records.to_json(whole).isascii()


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("of another run")
    with pytest.raises(MeasureError) as error:
        records.Writer(path)
    assert str(error.value) == (
        f"{path} is there already, and records of another run are never written over; give another file with "
        "--records FILE, or remove that one."
    )
    assert path.read_text() == "of another run"


@pytest.mark.parametrize("place", ["file", "file/deeper", "file/still/deeper"])
def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("no folder")
    path = tmp_path / place / "run.jsonl"
    with pytest.raises(MeasureError) as error:
        records.Writer(path)
    assert str(error.value).startswith(f"records cannot be written to {path} (")
    assert str(error.value).endswith("give a file in a folder that can be written with --records FILE.")


def test_two_runs_may_make_the_folder_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.mkdir

    def after_another_run(folder: Path, *args: Any, **kwargs: Any) -> None:
        os.makedirs(folder, exist_ok=True)
        whole(folder, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", after_another_run)
    records.Writer(tmp_path / "new" / "runs" / "run.jsonl").close()
    assert (tmp_path / "new" / "runs" / "run.jsonl").exists()


def test_a_full_disk_ends_the_records_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.jsonl"
    recorder = records.Recorder(path)
    recorder.take(small.header(MODEL))
    tried: list[bytes] = []

    def full(_: int, line: bytes) -> int:
        tried.append(line)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        recorder.take(row("t"))
        recorder.take(row("u"))
    # There is room again, and a gap that nobody would see.
    recorder.take(row("v"))
    recorder.end(1)
    assert len(tried) == 1
    assert recorder.problem == (f"{path}: the records end here, a line could not be written (No space left on device)")
    assert [test.test for test in recorder.rows] == ["t", "u", "v"]
    run = records.read([path])
    assert (run.tests, run.end) == ((), None)
    assert run.header == small.header(MODEL)


def test_a_line_of_which_the_disk_took_a_part_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with room for half a line takes that half, and raises nothing."""
    writer = records.Writer(tmp_path / "run.jsonl")
    writer.write(small.header(MODEL))
    whole = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda file, line: whole(file, line[: len(line) // 2]))
        writer.write(row("t"))
    writer.write(row("u"))
    writer.close()
    assert writer.problem is not None
    assert "could not be written" in writer.problem


def test_a_recorder_keeps_the_rows_of_tests_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recorder = records.Recorder(None)
    for content in (small.header(MODEL), result_row(), row("t"), row("u", "failed")):
        recorder.take(content)
    recorder.end(0)
    assert recorder.rows == [row("t"), row("u", "failed")]
    assert (recorder.written, recorder.problem) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_recorder_makes_its_file_when_the_header_comes_and_once(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    recorder = records.Recorder(path)
    assert recorder.written is None
    assert not path.exists()
    # Under pytest-xdist each worker tells the header.
    for content in (small.header(MODEL), small.header(MODEL), row("t")):
        recorder.take(content)
    recorder.end(10)
    assert recorder.written == path
    run = records.read([path])
    assert (run.tests, run.problems) == ((row("t"),), ())
    assert run.end is not None
    assert run.end.exitstatus == 10


def test_names_of_runs_sort_in_time(tmp_path: Path) -> None:
    started = [
        datetime(2025, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 0, 0, 0, 9, tzinfo=UTC),
        datetime(2026, 1, 1, 0, 0, 0, 10, tzinfo=UTC),
        datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 10, 2, 3, 4, 5, tzinfo=UTC),
    ]
    paths = [records.new_path(tmp_path, moment) for moment in started]
    assert paths[0].name == f"20251231T235959.999999Z-{os.getpid()}.jsonl"
    for path in reversed(paths):
        path.touch()
    (tmp_path / "20270101T000000.000000Z-1.txt").touch()
    assert records.runs(tmp_path) == paths
    assert records.runs(tmp_path / "nowhere") == []
    first, second = records.new_path(tmp_path), records.new_path(tmp_path)
    assert first <= second
    assert abs(datetime.now(UTC).timestamp() - _started(second).timestamp()) < 60


def _started(path: Path) -> datetime:
    return datetime.strptime(path.name.partition("-")[0], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)


def written(path: Path, *parts: Row | str) -> Path:
    """A file of rows and of texts as they stand."""
    path.write_text("".join(part if isinstance(part, str) else text(part) for part in parts))
    return path


def test_a_half_written_last_line_and_unknown_kinds_are_passed_over(tmp_path: Path) -> None:
    tomorrow = '{"kind": "of tomorrow", "x": 1}\n\n'
    key = text(row("t")).replace('"kind"', '"key_of_tomorrow": [1], "kind"')
    path = written(
        tmp_path / "a.jsonl", small.header(MODEL), result_row(), tomorrow, key, '{"kind": "result", "id": "ha'
    )
    run = records.read([path])
    assert list(run.results) == [result_row().id]
    assert run.tests == (row("t"),)
    assert run.end is None
    assert len(run.problems) == 2
    assert run.problems[0].startswith("a.jsonl: 1 line is no whole record, passed over (Unterminated string")
    assert run.problems[1] == "a.jsonl: the run was stopped, or has not ended yet; what it had finished is here"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"kind": "test", "test": "t", "role": "judge"}', "Invalid enum value 'judge' - at `$.role`"),
        ('{"kind": "test", "role": "claim"}', "missing required field `test`"),
        ('{"kind": "end", "exitstatus": 0}', "missing required field `seconds`"),
        ('{"kind": "end", "exitstatus": 0, "seconds": null}', "Expected `float`, got `null` - at `$.seconds`"),
        ('{"id": "a"}', "it has no kind"),
        ('{"kind": 3}', "it has no kind"),
        ('["kind"]', "it is no object"),
        ("nothing", "Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_a_damaged_line_says_what_is_wrong_with_it(tmp_path: Path, line: str, said: str) -> None:
    run = records.read([written(tmp_path / "a.jsonl", small.header(MODEL), f"{line}\n", row("t"), END)])
    (problem,) = run.problems
    assert problem.startswith("a.jsonl: 1 line is no whole record, passed over (")
    assert said in problem
    assert run.tests == (row("t"),)
    run = records.read([written(tmp_path / "a.jsonl", small.header(MODEL), f"{line}\n", "{\n", END)])
    (problem,) = run.problems
    assert problem.startswith("a.jsonl: 2 lines are no whole record, passed over (")
    assert said in problem


# By kind, what a row must have.
WHOLE: dict[str, dict[str, Any]] = {
    "run": {"format": 3},
    "result": {"id": "a", "type": "CurveSpec", "spec": {"model": "m"}, "how": "measured"},
    "test": {"test": "t", "role": "claim"},
    "end": {"exitstatus": 0, "seconds": 1.0},
}


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


HOSTILE: list[Any] = [
    None, True, -1, 10**30, 10**400, 1e308, float("nan"), float("inf"), "", "text", "\ud800", [], [1], [[None]],
    {}, {"a": 1}, {"a": {"b": []}}, {"\udfff": None}, nested(60), {"a": nested(480)},
]  # fmt: skip


def refused_otherwise(line: bytes) -> str | None:
    """What reading a line raised that is no `MeasureError`."""
    try:
        with contextlib.suppress(MeasureError):
            records.from_json(line)
    except BaseException as error:
        return repr(error)
    return None


@pytest.mark.parametrize("kind", WHOLE)
def test_a_wrong_type_in_any_field_raises_nothing_else(kind: str) -> None:
    assert records.from_json(json.dumps({"kind": kind, **WHOLE[kind]}).encode()) is not None
    raised = {}
    for name in (*(field.name for field in dataclasses.fields(records._KINDS[kind])), "\udfff"):
        lines = [json.dumps({"kind": kind, **WHOLE[kind], name: value}).encode() for value in HOSTILE]
        raised[name] = next(filter(None, map(refused_otherwise, lines)), None)
    assert {name: error for name, error in raised.items() if error} == {}


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"null", id="null"),
        pytest.param(b"\x00", id="zero"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b'{"kind":"end","exitstatus":0,"seconds":1.0,"x":"\xed\xa0\x80"}', id="bytes of half a pair"),
        pytest.param(b"[" * 100_000, id="deep list"),
        pytest.param(b'{"a":' * 100_000, id="deep object"),
        pytest.param(b'{"kind":"run","format":3,"catalog":' + b'{"a":' * 900 + b"1" + b"}" * 901, id="deep models"),
        pytest.param(
            b'{"kind":"result","id":"a","type":"b","how":"c","spec":{"d":' + b"[" * 900 + b"]" * 900 + b"}}",
            id="deep spec",
        ),
        pytest.param(b'{"kind":"end","seconds":1.0,"exitstatus":' + b"9" * 5000 + b"}", id="5000 digits"),
        pytest.param(b'{"kind":["run"]}', id="list for a kind"),
        pytest.param(b'{"kind":"\\ud800"}', id="half a pair for a kind"),
    ],
)
def test_what_is_deep_huge_or_no_text_raises_nothing_else(line: bytes) -> None:
    assert refused_otherwise(line) is None


def test_a_run_that_was_interrupted_says_so(tmp_path: Path) -> None:
    for status, said in ((2, 1), (3, 1), (0, 0), (1, 0), (11, 0)):
        path = small.write(tmp_path / "a.jsonl", small.header(MODEL), row("t"), End(status, 1.0))
        assert len(records.read([path]).problems) == said
        assert all("the run was stopped" in problem for problem in records.read([path]).problems)


def test_of_runs_merged_the_later_line_stands(tmp_path: Path) -> None:
    result = result_row()
    first = small.write(tmp_path / "a.jsonl", small.header(MODEL), result, row("t", "failed"), row("u"), END)
    later = small.header("ladder-qwen2-0.2m", started="later")
    second = small.write(tmp_path / "b.jsonl", later, result_row("stored"), row("t"), END)
    strict = small.header(MODEL, protocol="strict")
    third = small.write(tmp_path / "c.jsonl", strict, row("t", "skipped", protocol="strict"), END)
    run = records.read([first, second, third])
    assert run.results[result.id].how == "stored"
    assert [(test.test, test.protocol, test.outcome) for test in run.tests] == [
        ("t", "paper", "passed"),
        ("u", "paper", "passed"),
        ("t", "strict", "skipped"),
    ]
    assert run.header is not None
    assert set(run.header.catalog) == {MODEL, "ladder-qwen2-0.2m"}
    assert run.header.protocol == "strict"
    assert run.headers == (small.header(MODEL), later, strict)
    assert run.problems == ()


HEADER = '{"kind": "run", "format": 3}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "records.jsonl cannot be read (No such file or directory); a run of the suites writes"),
        ("", "holds no records; run the suites first"),
        ('{"test": "t", "kind": "claim"}\n', "records of another format, from before records had a header"),
        (
            '{"kind": "run", "format": 2}\n{"kind": "claim", "test": "t"}\n',
            "records.jsonl holds records of format 2; this version reads format 3. Run the suites again, or use the "
            "version that wrote them.",
        ),
        ('{"kind": "run", "format": 4}\n', "records of format 4; this version reads format 3"),
        ("[1]\nnothing\n", "holds no whole header of a run (it is no object); run the suites again."),
        ('{"kind": "run", "fo', "holds no whole header of a run (Unterminated string"),
        (
            f'{HEADER}{{"kind": "test", "test": "t", "role": "claim"}}\n{HEADER}',
            "records.jsonl holds records of 2 runs mixed together; each run has a file of its own, and "
            "`measure report --merge A B` shows several as one.",
        ),
    ],
)
def test_what_is_no_run_is_refused_in_one_sentence(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "records.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(MeasureError) as error:
        records.read([path])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


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


def runs_of(project: pytest.Pytester) -> list[Path]:
    return records.runs(project.path / "reports" / "runs")


def test_a_run_leaves_its_results_its_tests_and_its_end(project: pytest.Pytester) -> None:
    project.runpytest("suites", "--snapshot-update", "--junitxml=report.xml").assert_outcomes(passed=3, failed=1)
    (path,) = runs_of(project)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["run", *["result"] * 3, *["test"] * 3, "end"]
    assert lines[0]["format"] == records.FORMAT == 3
    run = records.read([path])
    assert run.problems == ()
    assert run.end is not None
    assert run.end.exitstatus == 1
    header = run.header
    assert isinstance(header, Header)
    assert header.arguments[0] == "suites"
    assert (header.models, header.tests) == ("auto", 4)
    assert (header.pairs, header.corpus, header.precision, header.protocol) == (None, None, None, "paper")
    assert header.catalog[MODEL].layers == 4
    assert header.machine is not None
    assert header.machine.cores == os.cpu_count()
    assert {"measure", "torch", "transformers", "numpy", "python"} == header.versions.keys()
    claim, control, baseline = run.tests
    assert (claim.role, control.role, baseline.role) == ("claim", "control", "baseline")
    assert (claim.status, control.status, baseline.status) == (0, 1, 0)
    assert [run.results[name].type for name in claim.specs] == ["CurveSpec", "SliceSpec"]
    failed = run.results[control.specs[0]]
    assert failed.how == "failed"
    assert failed.error is not None
    assert "layer" in failed.error
    assert baseline.baseline is not None
    assert (baseline.baseline.state, baseline.baseline.accepted) == (State.NEW, None)
    triple = run.results[claim.specs[1]].triples[0]
    assert triple.tokens
    assert not triple.tokens[0].startswith("token ")

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
    (file,) = (project.path / "suites" / "baselines" / "test_it").rglob("*.json")
    content = json.loads(file.read_text())
    content["curve"]["median"][2] += 0.01
    content["environment"]["torch"] = "1.0"
    file.write_text(json.dumps(content))
    project.runpytest("suites", "-k", "baseline").assert_outcomes(failed=1, deselected=3)
    (test,) = records.read([runs_of(project)[-1]]).tests
    found = test.baseline
    assert found is not None
    assert found.accepted is not None
    assert found.accepted.curve is not None
    assert found.measured is not None
    assert found.measured.curve is not None
    accepted = content["curve"]["median"]
    assert (found.file, found.state, found.accepted.curve.median) == (file.name, State.MOVED, tuple(accepted))
    assert found.measured.curve.median[2] == pytest.approx(accepted[2] - 0.01)
    tolerance = content["tolerance"]["on processors"]["curve"]
    assert found.tolerance["curve"] == tolerance
    assert found.farthest[0].kind == "curve"
    assert found.farthest[0].excess == pytest.approx(0.01 / tolerance)
    assert found.changed == {"torch": ("1.0", pytest.importorskip("torch").__version__)}


@pytest.mark.parametrize(
    ("values", "means"),
    [
        ([], []),
        ([1.0], [1.0]),
        ([0.0, 10.0], [4.0, 6.0]),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.6, 2.2, 3.0, 4.0, 4.8, 5.4]),
        ([1.0, 1.0, 1.0, 1.0, 1.0, None], [1.0, 1.0, 1.0, None, None, None]),
    ],
)
def test_running_means_are_over_five_neighbours(values: list[float | None], means: list[float | None]) -> None:
    assert records.running_mean(values) == means


def test_tests_that_measure_nothing_leave_the_records_of_the_last_run(project: pytest.Pytester) -> None:
    project.runpytest("suites", "-k", "claim")
    (path,) = runs_of(project)
    before = path.read_text()
    project.runpytest("suites", "-k", "nothing").assert_outcomes(passed=1, deselected=3)
    assert runs_of(project) == [path]
    assert path.read_text() == before
