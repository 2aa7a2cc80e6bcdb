"""`measure refresh`: measures past the store, writes what moved or is new, deletes nothing, goes on after a kill."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from measure import cli
from measure.harness import refresh
from measure.harness.engines import one_load
from measure.harness.engines.store import Store
from measure.spec import Spec
from tests.test_results import curves_of, line

SUITE = """
import pytest
from measure.spec import CurveSpec
from measure.stats import Effect, Interval, Verdict

CLAIM = "Curves exist (Fig. 0)"
SPECS = [pytest.param(CurveSpec(model, pairs=20, steps=9), id=name) for name, model in {models!r}.items()]

@pytest.mark.parametrize("spec", SPECS)
def test_claim(spec, measured, claim):
    slope = float(measured(spec).by_unit("max_slope").mean())
    claim.check(Verdict((Effect("e", Interval(slope, slope, slope, 10), {margin}),)))

@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec, measured, baseline):
    assert baseline == measured(spec)
"""
MODELS = {"one": "ladder-olmo-0.2m", "two": "ladder-olmo-0.2m@step0-tokens0M"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["measure.plugin"]')
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --snapshot-no-cleanup -p no:cacheprovider")
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    return tmp_path


def write(root: Path, models: dict[str, str] = MODELS, margin: float = 0.0) -> None:
    (root / "suites").mkdir(exist_ok=True)
    (root / "suites" / "test_it.py").write_text(SUITE.format(models=models, margin=margin))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run the command as in a process of its own: modules of these names from other folders are set aside."""
    aside = {name: sys.modules.pop(name, None) for name in ("conftest", "test_it")}
    try:
        status = cli.main(["refresh", *arguments])
    finally:
        for name, module in aside.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def baseline(root: Path, name: str) -> Path:
    return root / "suites" / "baselines" / "test_it" / f"test_baseline[{name}].json"


def edit(path: Path, change: float) -> None:
    content = json.loads(path.read_text())
    content["curve"]["median"][3] += change
    content["environment"]["torch"] = "1.0"
    path.write_text(json.dumps(content))


def test_new_then_unchanged_then_moved(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = run(capsys, "-k", "test")
    assert status == 0
    assert re.search(r"new +test_baseline\[one\]\.json", out)
    assert "written: 2 baselines" in out
    assert re.search(r"one +supported, stands +Curves exist", out)
    accepted = {name: baseline(project, name).read_text() for name in MODELS}

    assert "written: 0 baselines" in run(capsys, "-k", "test")[1]
    edit(baseline(project, "one"), 0.01)
    edit(baseline(project, "two"), 5e-6)
    moved = {name: baseline(project, name).read_text() for name in MODELS}

    status, out = run(capsys, "-k", "test", "--dry-run")
    assert status == 0
    assert "dry run, nothing written; would write 1 baseline" in out
    assert {name: baseline(project, name).read_text() for name in MODELS} == moved
    assert re.search(r"moved +test_baseline\[one\]\.json\n +the curve moved: 1 numbers", out)
    assert re.search(r"off by -0\.01 where 1e-05 is accepted", out)
    assert re.search(r"torch: 1\.0 -> \S+", out)

    assert "written: 1 baseline" in run(capsys, "-k", "test")[1]
    assert baseline(project, "one").read_text() == accepted["one"]
    assert baseline(project, "two").read_text() == moved["two"], "within tolerance: not rewritten"


def test_only_the_chosen_are_touched_and_nothing_is_deleted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "-k", "test")
    stray = baseline(project, "stray")
    stray.write_text("{}")
    for name in MODELS:
        edit(baseline(project, name), 0.01)
    two = baseline(project, "two").read_text()
    assert "written: 1 baseline" in run(capsys, "-k", "one")[1]
    assert baseline(project, "two").read_text() == two
    assert stray.exists()


def test_it_measures_past_the_store(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, "-k", "test")
    how: list[str] = []
    whole = one_load.measure_alike
    monkeypatch.setattr(
        one_load, "measure_alike", lambda *a: (done := whole(*a), how.extend(h for _, h in done.values()))[0]
    )
    run(capsys, "-k", "test")
    assert how == ["measured", "measured"]


def test_a_dry_run_writes_nothing_at_all(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.relative_to(project) for path in project.rglob("*") if "__pycache__" not in path.parts)
    assert "would write 2 baselines" in run(capsys, "-k", "test", "--dry-run")[1]
    after = sorted(path.relative_to(project) for path in project.rglob("*") if "__pycache__" not in path.parts)
    assert [path for path in after if path not in before] == []


def test_a_failing_measurement_is_told_and_the_others_go_through(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rung = project / "rung"
    rung.mkdir()
    (rung / "config.json").write_text("{}")
    write(project, {"one": MODELS["one"], "broken": str(rung)})
    status, out = run(capsys, "-k", "test")
    assert status == 1
    assert "written: 1 baseline" in out
    assert baseline(project, "one").exists()
    assert re.search(r"failed .*test_baseline\[broken\].*could not be read", out)
    assert re.search(r"broken +no verdict: the measurement failed", out)


def test_a_verdict_that_no_longer_stands_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(project, margin=100.0)
    status, out = run(capsys, "-k", "one")
    assert status == 1
    assert re.search(r"one +inconclusive, FALLEN, expected supported", out)


def test_a_killed_refresh_goes_on_where_it_was(tmp_path: Path) -> None:
    Store(tmp_path).put("aa01", curves_of(line()))
    killed = Store(tmp_path, refreshing=True)
    assert killed.get("aa01") is None
    killed.put("aa01", curves_of(line()))
    resumed = Store(tmp_path, refreshing=True)
    assert resumed.get("aa01") is not None
    assert resumed.get("bb02") is None
    resumed.end_refresh()
    assert Store(tmp_path, refreshing=True).get("aa01") is None
    assert Store(tmp_path).get("aa01") is not None


def test_an_interrupted_run_keeps_its_journal(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = one_load.measure_alike

    def dies(specs: list[Spec], *rest: Any) -> object:
        if "step0" in specs[0].model:
            raise KeyboardInterrupt
        return whole(specs, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(one_load, "measure_alike", dies)
        assert run(capsys, "-k", "test")[0] == 2
    assert len((project / ".store" / "refreshed").read_text().splitlines()) == 1
    how: list[str] = []
    monkeypatch.setattr(
        one_load, "measure_alike", lambda *a: (done := whole(*a), how.extend(h for _, h in done.values()))[0]
    )
    assert run(capsys, "-k", "test")[0] == 0
    # The other one is found where it was put, without loading its model.
    assert how == ["measured"]
    assert not (project / ".store" / "refreshed").exists()


def test_orphans_are_listed_and_removed_only_when_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "-k", "test")
    assert "no orphans" in run(capsys, "--orphans")[1]
    for name in ("old", "older"):
        shutil.copy(baseline(project, "one"), baseline(project, name))
    out = run(capsys, "--orphans")[1]
    assert "test_baseline[old].json" in out
    assert "test_baseline[one].json" not in out
    assert run(capsys, "--remove", "test_baseline[old].json")[0] == 0
    assert not baseline(project, "old").exists()
    assert baseline(project, "older").exists()
    assert run(capsys, "--remove", "test_baseline[one].json")[0] == 2
    assert baseline(project, "one").exists()


def test_the_installed_command_with_warnings_as_errors(project: Path) -> None:
    (project / "pytest.ini").write_text("[pytest]\naddopts = --snapshot-no-cleanup\nfilterwarnings = error")
    command = [Path(sys.executable).with_name("measure"), "refresh", "-k", "one", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "would write 1 baseline" in done.stdout


def test_mistakes_are_one_message(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out = run(capsys, "-k", "nothing_like_it")
    assert (status, "no test has such a name" in out) == (2, True)
    monkeypatch.chdir(project / "suites")
    assert cli.main(["refresh", "-k", "one"]) == 2
    assert "run `measure refresh` in the root of the project" in capsys.readouterr().err
    assert refresh._last_line("a\nb\n") == "b"
