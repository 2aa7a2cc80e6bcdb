"""Workers as jobs of Slurm, by submitit: arrays no longer than the cluster takes, put in again when they are preempted.

The same with submitit's local executor, by which what is meant for a cluster is tried on one machine.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from measure.spec import MeasureError, NotMeasuredError

# Where Slurm does not tell: what it has unless a cluster sets another.
_USUAL_ARRAY = 1001
# How often a worker that died is put in again.
_RESTARTS = 100


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise NotMeasuredError(
            "--engine slurm needs submitit, which is not installed here; install it (`pip install "
            "'stable-regions[slurm]'`), or write an array of your own, each job of which runs --shard K/N."
        ) from None
    return submitit


def parameters(text: str) -> dict[str, str | int]:
    """What `NAME=VALUE,...` says of a job, in submitit's names. Raises `MeasureError` for what is none."""
    found: dict[str, str | int] = {}
    for part in filter(None, text.split(",")):
        name, sign, value = part.partition("=")
        if not (sign and name.isidentifier() and value):
            raise MeasureError(
                f"--slurm {part!r} is no NAME=VALUE; expected submitit's names, as in "
                "slurm_partition=gpu,timeout_min=240,gpus_per_node=1."
            )
        found[name] = int(value) if value.isdecimal() else value
    return found


def longest_array() -> int:
    """How many jobs an array may have here."""
    try:
        told = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=True, timeout=60)
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", told.stdout, re.MULTILINE)
    except (OSError, subprocess.SubprocessError):
        found = None
    return max(1, int(found[1]) if found else _USUAL_ARRAY)


def launcher(config: pytest.Config) -> SlurmJobs:
    """Raises `MeasureError` for parameters that are none, or where submitit is missing."""
    return SlurmJobs("slurm", parameters(config.getoption("--slurm")))


class SlurmJobs:
    """Workers that submitit starts: on `slurm`, or as processes of this machine, `local`."""

    def __init__(self, where: Literal["slurm", "local"], given: Mapping[str, str | int]) -> None:
        self._submitit = _submitit()
        self._where = where
        self._given = dict(given)
        self._jobs: dict[int, Any] = {}
        self._restarts: dict[int, int] = {}
        self._executor: Any = None
        self._run = Path()

    def workers(self) -> int:
        """Two, where it is only tried."""
        return 2

    def start(self, run: Path, count: int) -> None:
        """Submit the workers, in arrays."""
        self._run = run
        try:
            self._executor = self._submitit.AutoExecutor(folder=run / "jobs" / "%j", cluster=self._where)
            self._executor.update_parameters(**{"timeout_min": 24 * 60, **self._given})
        except (RuntimeError, ValueError, TypeError, NameError) as error:
            raise NotMeasuredError(
                f"jobs cannot be submitted ({str(error).splitlines()[0]}); is this a node from which `sbatch` can be "
                "called, and are the names in --slurm submitit's?"
            ) from None
        longest = longest_array() if self._where == "slurm" else count
        for first in range(0, count, longest):
            self._submit(range(first, min(count, first + longest)))

    def _submit(self, numbers: range | list[int]) -> None:
        with self._executor.batch():
            made = {number: self._executor.submit(Worker(), str(self._run), number) for number in numbers}
        self._jobs.update(made)

    @property
    def alive(self) -> int:
        """How many workers wait or work."""
        return len(self._jobs)

    def look(self) -> list[str]:
        """Put in again those that died; what those said that cannot go on."""
        said, dead = [], []
        for number, job in list(self._jobs.items()):
            if not job.done():
                continue
            del self._jobs[number]
            try:
                why = job.result()
            except Exception as error:  # whatever ended it is told
                self._restarts[number] = self._restarts.get(number, 0) + 1
                if self._restarts[number] <= _RESTARTS:
                    dead.append(number)
                    continue
                why = str(error).strip().splitlines()[-1]
            said += [f"worker {number} (job {job.job_id}): {why}"] if why else []
        if dead:
            self._submit(dead)
        return said

    def stop(self) -> None:
        """Cancel what waits or works."""
        for job in self._jobs.values():
            job.cancel(check=False)
        self._jobs = {}


class Worker:
    """What a job runs; before its time is over, or when it is preempted, it is put in again."""

    def __call__(self, run: str, number: int) -> str | None:
        """Work until all is done; see `pool_worker.run`."""
        from measure.harness.engines import pool_worker

        return pool_worker.run(run, number)

    def checkpoint(self, run: str, number: int) -> Any:
        """The same again: what was measured is in the store."""
        return _submitit().helpers.DelayedSubmission(self, run, number)
