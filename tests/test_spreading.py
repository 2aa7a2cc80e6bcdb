"""What a run that is spread is refused for, through pytest: one sentence each, and two shards of one number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import spread_project as spread

LOADS = [("ladder-olmo-0.2m", "stored"), ("ladder-qwen2-0.2m", "stored")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shard", "3/2"], "--shard: there is no shard 3 of 2; give 1/2 to 2/2."),
        (["--shard", "2"], "--shard: '2' is no shard; expected K/N, the K-th of N shards, as in 1/4."),
        (["--engine", "ray"], "--engine ray needs Ray, which is not installed here; install it"),
        (["--engine", "submitit-local"], "--engine slurm needs submitit, which is not installed here; install it"),
        (["--engine", "slurm"], "--engine slurm: say how many jobs to submit, with --workers N."),
        (["--gpus", "2"], "--gpus 2: this machine has none; give as many at most."),
        (["--models", "nosuch*"], "nosuch* matches no training in the catalog; `measure models` lists them."),
    ],
)
def test_what_a_spread_run_cannot_have_is_told_in_a_sentence(
    options: list[str], said: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ray", "submitit"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("measure.harness.engines.gpus.names", list)
    spread.project(pytester.path / "project", LOADS)
    monkeypatch.chdir(pytester.path / "project")
    result = pytester.runpytest_inprocess("--rootdir", ".", "suites", *options)
    (line,) = [line for line in result.errlines if line.strip()]
    assert said in line
    assert line.startswith("ERROR: ")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def until_there(folder: Path, pattern: str, process: subprocess.Popen[bytes]) -> None:
    while not list(folder.glob(pattern)):
        assert process.poll() is None, "ended before it began"
        time.sleep(0.05)


def test_of_two_shards_of_one_number_the_second_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    folder = spread.project(tmp_path / "project", LOADS)
    first = spread.start(folder, "first", "--shard", "1/2")
    until_there(folder, ".store/shared/*/0/shard-1-of-2.0", first)
    # However slow it is: it shall not be done before the second asks.
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second = spread.start(folder, "second", "--shard", "1/2")
        assert second.wait(timeout=600) == pytest.ExitCode.USAGE_ERROR
    finally:
        os.kill(first.pid, signal.SIGCONT)
    said = (folder / "second.txt").read_text()
    assert f"ERROR: shard 1/2 of these tests is at work already, shard 1/2 ({os.uname().nodename}, process" in said
    assert "; give each process a number of its own, or end that one first." in said
    assert "Traceback" not in said
    assert first.wait(timeout=600) == 0
    assert "Curves exist (Fig. 0)  supported" in (folder / "first.txt").read_text()


def test_the_shard_that_judges_computes_the_rows_of_what_it_measured_once(tmp_path: Path) -> None:
    folder = spread.project(tmp_path / "project", [("ladder-olmo-0.2m", "stored")])
    with (folder / "conftest.py").open("a") as file:
        file.write(
            "from pathlib import Path\n"
            "from measure.harness import recording\n"
            "whole = recording.of_result\n"
            "def counted(*given):\n"
            "    with Path('computed').open('a') as file:\n"
            "        print(given[0].id, file=file)\n"
            "    return whole(*given)\n"
            "recording.of_result = counted\n"
        )
    assert spread.start(folder, "alone", "--shard", "1/1").wait() == 0, (folder / "alone.txt").read_text()
    computed = (folder / "computed").read_text().splitlines()
    assert len(computed) == len(set(computed)) == 2
    rows = [json.loads(line) for line in (folder / "alone.jsonl").read_text().splitlines()]
    told = [row["id"] for row in rows if row["kind"] == "result"]
    assert sorted(told) == sorted(2 * computed)
