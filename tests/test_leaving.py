"""What a run leaves behind holds no folder of this machine, and is found again all the same."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from measure import catalog, cli
from measure.harness import recording
from measure.kinds.rows import BaselineRow, Header, ResultRow, State, TestRow
from measure.report import page, records
from measure.shown import Places
from measure.spec import CurveSpec

SUITE = """
import pytest
from measure import CurveSpec, Effect, Interval, Verdict

CLAIM = "Curves exist (Fig. 0)"
SPECS = [CurveSpec({own!r}, pairs=24, steps=5)]

@pytest.mark.parametrize("spec", SPECS, ids=["own"])
def test_claim(spec, measured, claim):
    measured(spec)
    claim.check(Verdict((Effect("an effect", Interval(0.3, 0.2, 0.4, 12), 0.1),)))

@pytest.mark.parametrize("spec", SPECS, ids=["own"])
def test_baseline(spec, measured, baseline):
    assert baseline == measured(spec)

def test_that_fails(measured):
    measured(CurveSpec({missing!r}))
"""


def model_in(folder: Path) -> Path:
    shutil.copytree(catalog.LADDER / "ladder-olmo-0.2m" / "main", folder)
    shutil.copytree(catalog.LADDER / "tokenizer", folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder outside of the project."""
    home = tmp_path_factory.mktemp("home of someone")
    model_in(home / "runs" / "mine")
    prose = (catalog.LADDER.parent.parent / "corpus" / "prose.jsonl").read_text()
    (home / "my corpus.jsonl").write_text(prose)
    return home


def test_a_run_tells_no_folders_and_its_results_are_found_again(pytester: pytest.Pytester, home: Path) -> None:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    pytester.makeini("[pytest]\naddopts = --snapshot-no-cleanup")
    own = home / "runs" / "mine"
    folder = pytester.mkdir("suites")
    (folder / "test_it.py").write_text(SUITE.format(own=str(own), missing=str(home / "none")))
    options = ["--corpus", str(home / "my corpus.jsonl"), "--store", str(home / "store")]
    for number in range(2):
        result = pytester.runpytest("suites", *options, "--pairs", "24")
        assert result.parseoutcomes().get("failed") == 1
        (path, *_) = reversed(records.runs(pytester.path / "reports" / "runs"))
        kept = path.read_text()
        for secret in (str(home), home.name, str(Path.home()), str(pytester.path)):
            assert secret not in kept
        run = records.read([path])
        assert [row.how for row in run.results.values() if row.error is None] == [["measured"], ["stored"]][number]
        assert {name for row in run.tests for name in row.specs} <= run.results.keys()
        assert run.header is not None
        assert (run.header.corpus or "").startswith("my corpus.jsonl#")
        assert page.write([path], pytester.path / "out")
        for name in ("index.html", "claims.txt"):
            assert str(home) not in (pytester.path / "out" / name).read_text()
        assert str(home) not in str(page.unpacked((pytester.path / "out" / "index.html").read_text()))
    # Another corpus of that name is another.
    (home / "other").mkdir()
    shutil.copy(home / "my corpus.jsonl", home / "other")
    assert Places(pytester.path).path(str(home / "other" / "my corpus.jsonl")) != run.header.corpus


def test_a_baseline_of_a_folder_tells_none_and_is_compared(pytester: pytest.Pytester, home: Path) -> None:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    pytester.makeini("[pytest]\naddopts = --snapshot-no-cleanup")
    text = SUITE.format(own=str(home / "runs" / "mine"), missing="ladder-olmo-0.2m")
    (pytester.mkdir("suites") / "test_it.py").write_text(text)
    pytester.runpytest("suites", "-k", "own", "--snapshot-update").assert_outcomes(passed=2, deselected=1)
    (path,) = (pytester.path / "suites" / "baselines" / "test_it").glob("*.json")
    assert str(home) not in path.read_text()
    assert json.loads(path.read_text())["spec"]["model"].startswith("mine#")
    pytester.runpytest("suites", "-k", "own").assert_outcomes(passed=2, deselected=1)


def test_every_row_is_cleaned() -> None:
    places = Places(Path("/home/me/project"))
    rows = [
        Header(3, arguments=("suites", "--corpus=/data/x.jsonl"), models="/data/m,ladder", corpus="/data/x.jsonl"),
        ResultRow("a", "CurveSpec", {"model": "m"}, "failed", {"why": "see /data/x/y"}, error="no /data/x/y"),
        TestRow(
            "t",
            "claim",
            reason="/home/me/project/suites/t.py:3: no /data/x/y",
            baseline=BaselineRow(
                State.MOVED, why=("see /data/x/y",), notes=("/data/x/y",), changed={"a": ("/data/x/y", 1)}
            ),
        ),
    ]
    for row in rows:
        told = records.to_json(recording.outward(row, places)).decode()
        assert "/data" not in told
        assert "/home" not in told
    spec = CurveSpec("/data/m@main", corpus="/data/x.jsonl")
    assert "data" not in recording.told(spec, places).id
    assert recording.told(CurveSpec("ladder-olmo-0.2m"), places) == CurveSpec("ladder-olmo-0.2m")


HOSTILE = "x\x1b]0;owned\x07\x1b[2J\r\u202e"


@pytest.mark.parametrize(
    "command",
    [
        ["curve", HOSTILE, "a", "b"],
        ["curve", f"/{HOSTILE}", "a", "b"],
        ["curve", "ladder-olmo-0.2m", "a", HOSTILE, "--layer", "99"],
        ["report", HOSTILE],
        ["refresh", HOSTILE],
        ["ladder", "train", HOSTILE, "--corpus", "x", "--heldout", "y"],
        ["ladder", "verify", "--heldout", f"{HOSTILE}.txt"],
        ["curve", "ladder-olmo-0.2m", "a", "b", "--save", f"/dev/null/{HOSTILE}.npz"],
        ["curve", "m" * 5000, "a", "b"],
        ["curve", "m/" * 2500, "a", "b"],
    ],
)
def test_hostile_names_are_shown_in_one_sentence(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", offline)
    assert cli.main(command) == 2
    said = capsys.readouterr()
    assert said.err.startswith("measure: ")
    assert not set(said.err + said.out) & set("\x1b\x07\r\u202e")


def test_an_unknown_argument_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["models", f"--{HOSTILE}"])
    assert "\x1b" not in capsys.readouterr().err


def test_a_table_of_hostile_records_sends_nothing_to_the_terminal(tmp_path: Path) -> None:
    from tests import written_runs as written

    lines = [
        json.loads(json.dumps(line).replace("rung-a", f"rung{json.dumps(HOSTILE)[1:-1]}"))
        for line in written.whole_run()
    ]
    path = written.write(tmp_path / "run.jsonl", lines)
    page.write([path], tmp_path)
    table = (tmp_path / "claims.txt").read_text()
    assert "\\x1b[2J" in table
    assert not set(table) & set("\x1b\x07\r\u202e")
