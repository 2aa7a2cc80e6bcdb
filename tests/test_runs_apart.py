"""Runs keep their own records: two at once, one that is killed, and one whose tests run in several processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from measure.kinds.rows import State
from measure.report import records

SUITE = """
import pytest
from measure import CurveSpec, Effect, Interval, Verdict

CLAIM = "Curves exist (Fig. 0)"
MODELS = {models}
SPECS = [pytest.param(CurveSpec(m, pairs=12, steps=5), id=m.replace("@", "-")) for m in MODELS]

def verdict(low, high):
    return Verdict((Effect("an effect", Interval((low + high) / 2, low, high, 12), 0.1),))

@pytest.mark.parametrize("spec", SPECS)
def test_claim(spec, measured, claim):
    measured(spec)
    claim.check(verdict({claim}))

@pytest.mark.parametrize("spec", SPECS)
def test_control(spec, measured, claim):
    measured(spec)
    claim.refute({{"a counterfeit": verdict(-0.1, 0.1)}})

@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec, measured, baseline):
    assert baseline == measured(spec)
"""
MODELS = ["ladder-olmo-0.2m", "ladder-olmo-0.2m@step0-tokens0M", "ladder-qwen2-0.2m"]


def write(folder: Path, models: list[str] = MODELS, claim: str = "0.2, 0.4") -> None:
    (folder / "suites").mkdir(exist_ok=True)
    (folder / "suites" / "test_it.py").write_text(SUITE.format(models=models, claim=claim))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["measure.plugin"]\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\nfilterwarnings = error\n")
    write(tmp_path)
    return tmp_path


def start(project: Path, *options: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "suites", *options]
    return subprocess.Popen(command, cwd=project, env=kept, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run(project: Path, *options: str) -> tuple[int, str]:
    started = start(project, *options)
    said, _ = started.communicate()
    return started.returncode, said


def table(said: str) -> list[str]:
    """What a run prints of claims and baselines."""
    lines = said.splitlines()
    first = next(place for place, line in enumerate(lines) if "claims (protocol" in line)
    return [line for line in lines[first + 1 :] if line.startswith((" ", "Curves", "baselines", "exit status"))]


def whole(path: Path) -> records.Run:
    """A run's records, each line of which is whole, with one header that stands first and one end that stands last."""
    kinds = [json.loads(line)["kind"] for line in path.read_text().splitlines()]
    assert (kinds[0], kinds[-1]) == ("run", "end")
    assert (kinds.count("run"), kinds.count("end")) == (1, 1)
    found = records.read([path])
    assert found.problems == ()
    return found


def test_two_runs_at_once_keep_their_own_records(project: Path) -> None:
    started = [start(project, "-k", name) for name in ("olmo", "qwen2")]
    for one in started:
        one.communicate()
    found = [whole(path) for path in records.runs(project / "reports" / "runs")]
    subjects = {frozenset(row.subject for row in one.tests) for one in found}
    assert subjects == {
        frozenset(["ladder-olmo-0.2m", "ladder-olmo-0.2m-step0-tokens0M"]),
        frozenset(["ladder-qwen2-0.2m"]),
    }
    assert sorted(len(one.results) for one in found) == [1, 2]


def test_a_run_that_is_killed_leaves_the_earlier_ones_whole_and_what_it_had(project: Path) -> None:
    run(project)
    (first,) = records.runs(project / "reports" / "runs")
    before = first.read_bytes()
    path = project / "suites" / "test_it.py"
    path.write_text(
        path.read_text().replace(
            "    measured(spec)\n    claim.check",
            "    __import__('time').sleep(0.5)\n    measured(spec)\n    claim.check",
        )
    )
    killed = start(project)
    while not (found := [path for path in records.runs(project / "reports" / "runs") if path != first]) or (
        found[0].read_text().count('"kind":"test"') < 1
    ):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert first.read_bytes() == before
    rest = records.read(found)
    assert rest.tests
    assert rest.end is None
    assert "was stopped" in rest.problems[-1]


@pytest.mark.parametrize(
    ("models", "claim", "status"),
    [
        (MODELS, "0.2, 0.4", 0),
        (MODELS, "0.05, 0.4", 1),
        (["ladder-olmo-0.2m", "no-such-model"], "0.2, 0.4", 11),
    ],
)
def test_in_several_processes_table_and_exit_status_are_as_in_one(
    project: Path, models: list[str], claim: str, status: int
) -> None:
    write(project, models)
    run(project, "--snapshot-update", "-n", "2")
    write(project, models, claim)
    alone, together = run(project), run(project, "-n", "2")
    assert alone[0] == together[0] == status
    assert table(alone[1]) == table(together[1])
    one, several = (whole(path) for path in records.runs(project / "reports" / "runs")[-2:])
    assert several.header is not None
    assert one.header is not None
    assert several.header.catalog == one.header.catalog
    assert several.header.tests == one.header.tests == 3 * len(models)
    assert {(row.test, row.outcome) for row in several.tests} == {(row.test, row.outcome) for row in one.tests}
    assert several.results.keys() == one.results.keys()


def test_several_processes_accept_and_compare_baselines(project: Path) -> None:
    status, said = run(project, "-n", "2", "--snapshot-update")
    assert status == 0, said
    files = sorted((project / "suites" / "baselines" / "test_it").glob("*.json"))
    assert len(files) == len(MODELS)
    content = json.loads(files[0].read_text())
    content["curve"]["median"][2] += 0.01
    files[0].write_text(json.dumps(content))
    status, said = run(project, "-n", "2")
    assert status == 10
    assert re.search(r"exit status 10: no claim failed, but curves are not their baselines: 1 moved", said)
    last = whole(records.runs(project / "reports" / "runs")[-1])
    states = [row.baseline.state for row in last.tests if row.baseline is not None]
    assert sorted(states) == sorted([State.MOVED, State.AS_ACCEPTED, State.AS_ACCEPTED])
