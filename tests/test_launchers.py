"""Workers of each kind are started, started anew when they die, and told of when they cannot go on."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from measure import catalog
from measure.catalog import revisions
from measure.harness.engines import gpus, pool, pool_worker, protocol, shards
from measure.harness.engines.launchers import processes, ray, slurm
from measure.harness.engines.launchers.processes import Processes
from measure.harness.engines.store import Store
from measure.spec import CurveSpec, MeasureError, NotMeasuredError
from tests.test_shards import SHAPE, job


def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Workers run this instead, with the folder and the number of the worker as arguments."""
    script = tmp_path / "worker.py"
    script.write_text(code)
    start = subprocess.Popen

    def popen(command: list[str], **options: Any) -> Any:
        return start([sys.executable, str(script), *command[-2:]], **options)

    monkeypatch.setattr(processes.subprocess, "Popen", popen)


def looked(found: Processes) -> list[str]:
    said: list[str] = []
    until = time.monotonic() + 60
    while found.alive and time.monotonic() < until:
        said += found.look()
        time.sleep(0.02)
    return said


def test_a_process_that_dies_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os, signal, sys; log = open(f'{sys.argv[1]}/logs/worker-{sys.argv[2]}.log', 'a+'); "
        "log.write('begins\\n'); log.flush(); log.seek(0); "
        "len(log.readlines()) < 4 and os.kill(os.getpid(), signal.SIGKILL)"
    )
    scripted(monkeypatch, tmp_path, code)
    found = Processes()
    found.start(tmp_path, 2)
    assert looked(found) == []
    assert [(tmp_path / "logs" / f"worker-{n}.log").read_text().count("begins") for n in (0, 1)] == [4, 4]


def test_one_that_never_begins_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FEW_STARTS", 2)
    scripted(monkeypatch, tmp_path, "raise SystemExit('no such module')")
    found = Processes()
    found.start(tmp_path, 1)
    assert looked(found) == ["worker 0 died 2 times before it began (no such module)"]


def test_one_that_cannot_go_on_says_why_and_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, tmp_path, f"print('the GPU is gone'); raise SystemExit({pool_worker.GAVE_UP})")
    found = Processes()
    found.start(tmp_path, 1)
    assert looked(found) == ["worker 0: the GPU is gone"]


def test_each_process_sees_a_gpu_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, sys; open(f'{sys.argv[1]}/gpu-{sys.argv[2]}', 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])"
    scripted(monkeypatch, tmp_path, code)
    found = Processes(["4", "6"])
    assert found.workers() == 2
    found.start(tmp_path, 2)
    looked(found)
    assert [(tmp_path / f"gpu-{number}").read_text() for number in (0, 1)] == ["4", "6"]


def test_more_gpus_than_there_are_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "names", lambda: ["0", "1"])
    assert gpus.chosen(None) == ["0", "1"]
    assert gpus.chosen(1) == ["0"]
    monkeypatch.setattr(gpus, "names", list)
    with pytest.raises(NotMeasuredError, match="--gpus 2: this machine has none; give as many at most"):
        gpus.chosen(2)


def test_the_end_of_its_parent_ends_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, tmp_path, "import sys; sys.stdin.read()")
    found = Processes()
    found.start(tmp_path, 1)
    found.stop()
    assert found.alive == 0


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (ray.RayActors, r"--engine ray needs Ray, which is not installed here; install it \(`pip install"),
        (lambda: slurm.SlurmJobs("slurm", {}), "--engine slurm needs submitit, which is not installed here"),
    ],
)
def test_what_is_not_installed_is_told(start: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ray", "submitit"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(NotMeasuredError, match=said):
        start()


def test_what_a_job_asks_for_is_read() -> None:
    found = slurm.parameters("slurm_partition=gpu,timeout_min=240")
    assert found == {"slurm_partition": "gpu", "timeout_min": 240}
    assert slurm.parameters("") == {}
    with pytest.raises(MeasureError, match="--slurm 'gpu' is no NAME=VALUE; expected submitit's names, as in"):
        slurm.parameters("gpu")


class Executor:
    """submitit's, which submits nothing; its `arrays` are the lengths of what was submitted together."""

    arrays: list[int] = []  # noqa: RUF012
    results: list[Any] = []  # noqa: RUF012

    def __init__(self, **_: Any) -> None:
        pass

    def update_parameters(self, **_: Any) -> None:
        pass

    def batch(self) -> Any:
        Executor.arrays.append(0)
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, *_: Any) -> Any:
        Executor.arrays[-1] += 1
        return SimpleNamespace(job_id="1", done=lambda: True, result=self._result, cancel=lambda check: None)

    def _result(self) -> Any:
        found = Executor.results.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> type[Executor]:
    monkeypatch.setattr(slurm, "_submitit", lambda: SimpleNamespace(AutoExecutor=Executor))
    Executor.arrays, Executor.results = [], []
    return Executor


def test_arrays_are_no_longer_than_the_cluster_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, submitted: type[Executor]
) -> None:
    told = SimpleNamespace(stdout="MaxJobCount = 10000\nMaxArraySize            = 1001\n")
    monkeypatch.setattr(slurm.subprocess, "run", lambda *_, **__: told)
    slurm.SlurmJobs("slurm", {}).start(tmp_path, 2500)
    assert submitted.arrays == [1001, 1001, 498]


def test_a_job_that_died_is_put_in_again(tmp_path: Path, submitted: type[Executor]) -> None:
    submitted.results = [None, RuntimeError("killed"), "the GPU is gone"]
    found = slurm.SlurmJobs("local", {})
    found.start(tmp_path, 2)
    assert found.look() == []
    assert found.alive == 1
    assert found.look() == ["worker 1 (job 1): the GPU is gone"]
    assert submitted.arrays == [2, 1]


# The pool


class Idle:
    """Workers that do nothing and say why."""

    alive = 0

    def __init__(self, *said: str) -> None:
        self.said = list(said)
        self.started = 0

    def workers(self) -> int:
        return 2

    def start(self, run: Path, count: int) -> None:
        assert pool_worker.read(run).workers == count
        self.started = count

    def look(self) -> list[str]:
        found, self.said = self.said, []
        return found

    def stop(self) -> None:
        pass


def test_what_no_worker_is_left_for_is_told(tmp_path: Path) -> None:
    how: list[str] = []
    found = pool.Pool(
        Idle("worker 0: the GPU is gone"), 1, Store(tmp_path), lambda _, state: how.append(state), lambda _: None
    )
    specs = [CurveSpec("ladder-olmo-0.2m", pairs=4, steps=5, layer=layer) for layer in (1, 2)]
    found.gather(specs)
    outcomes = [found.outcome(spec) for spec in specs]
    assert [type(one) for one in outcomes] == [NotMeasuredError] * 2
    assert "no worker is left (worker 0: the GPU is gone); their logs are in" in str(outcomes[0])
    assert how == ["failed"] * 2
    found.close()


def test_one_checkpoint_is_not_worth_starting_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Idle()
    found = pool.Pool(workers, None, Store(tmp_path), lambda *_: None, lambda _: None, least=2)
    monkeypatch.setattr(found._engine, "_found", lambda _, specs: dict.fromkeys(specs, (SHAPE, "measured")))
    spec = CurveSpec("ladder-olmo-0.2m", pairs=4, steps=5)
    found.gather([spec])
    assert found.outcome(spec) == SHAPE
    assert workers.started == 0


def test_work_travels_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = pool_worker.Work(
        (job(), job(weights="scrambled:0")),
        3,
        tmp_path,
        (catalog.models()["gpt2"],),
        tmp_path,
        "words",
        "none",
        True,
        10**9,
        ("ckpt_{step}", 1024),
        ("/somewhere/else",),
    )
    pool_worker.write(tmp_path, work)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "path", list(sys.path))
        assert pool_worker.read(tmp_path) == work
        assert sys.path[-1] == "/somewhere/else"
    monkeypatch.chdir(tmp_path)
    pool_worker._prepare(replace(work, models=(), pairs_from=None))
    assert revisions.own() == revisions.Family("your own", ".*", "ckpt_{step}", 1024)
    revisions.forget_own()


def test_a_worker_without_the_store_of_its_pool_says_so(tmp_path: Path) -> None:
    said = str(pool_worker.run(str(tmp_path / "nowhere"), 0))
    assert "cannot be read (No such file or directory); workers need the store of the process that started them" in said


def test_a_worker_of_another_code_is_refused(tmp_path: Path) -> None:
    run = shards.enter(tmp_path / "shared", {**shards.conditions(), "torch": "1.0"})
    pool_worker.write(run, pool_worker.Work((job(),), 1, tmp_path))
    assert "and the run that it would join was begun with torch 1.0" in str(pool_worker.run(str(run), 0))


def test_what_cannot_be_told_to_a_worker_is_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class OddSpec(CurveSpec):
        pass

    spec = OddSpec("ladder-olmo-0.2m")
    work = pool_worker.Work((shards.Job(protocol.Load("ladder-olmo-0.2m", "stored", "float32"), (spec,)),), 1, tmp_path)
    with pytest.raises(NotMeasuredError, match="odd cannot be told to a worker: OddSpec has fields that are"):
        pool_worker.write(tmp_path, work)


def test_what_workers_have_done_is_read_on_from_their_logs(tmp_path: Path) -> None:
    told = pool_worker.Told(tmp_path)
    assert told.count() == 0
    (tmp_path / "logs").mkdir()
    first, second = (tmp_path / "logs" / f"worker-{number}.log" for number in range(2))
    first.write_text("10:00:00 worker 0 begins\n10:00:01 measured one\n10:00:02 measured tw")
    assert told.count() == 1
    with first.open("a") as file:
        file.write("o\n10:00:03 failed three\n10:00:04 loading four\n")
    # A worker that was killed may have left one to another.
    second.write_text("10:00:05 measured one\n10:00:06 stored five\n")
    assert told.count() == 4
