"""Workers as processes of this machine, one a GPU where there are any: started, and started anew when they die."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from measure.harness.engines import gpus, pool_worker

# Of so many starts in a row none came to measure anything.
FEW_STARTS = 10
# Seconds in which a worker may end by itself.
_GRACE = 5.0


@dataclass
class _Slot:
    """A worker's place: the process that fills it, and how often one died there before it began."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    log_size: int = 0
    failed_starts: int = 0


def launcher(config: pytest.Config) -> Processes:
    """Raises `NotMeasuredError` where this machine has fewer GPUs than are asked for."""
    return Processes(gpus.chosen(config.getoption("--gpus")))


class Processes:
    """Workers of one machine; `gpus` are what each sees of its GPUs, none where there are none."""

    def __init__(self, gpus: Sequence[str] = ()) -> None:
        self._gpus = gpus
        self._slots: list[_Slot] = []
        self._run = Path()
        self._open: list[str] = []

    def workers(self) -> int:
        """One for each GPU, or processor where there is none."""
        return len(self._gpus) or os.cpu_count() or 1

    def start(self, run: Path, count: int) -> None:
        """Start the workers."""
        self._run = run
        self._slots = [_Slot(number) for number in range(count)]
        (run / "logs").mkdir(parents=True, exist_ok=True)
        for slot in self._slots:
            self._fill(slot)

    def _fill(self, slot: _Slot) -> None:
        environment = dict(os.environ)
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot.number % len(self._gpus)]
        # As many threads together as one process would have.
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(self._slots))))
        slot.log_size = _size(self._log(slot))
        with self._said(slot).open("wb") as said:
            slot.process = subprocess.Popen(
                [sys.executable, "-m", "measure.harness.engines.pool_worker", str(self._run), str(slot.number)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the process that started them, which then ends them.
                start_new_session=True,
            )

    def _log(self, slot: _Slot) -> Path:
        return self._run / "logs" / f"worker-{slot.number}.log"

    def _said(self, slot: _Slot) -> Path:
        return self._run / "logs" / f"worker-{slot.number}.said"

    @property
    def alive(self) -> int:
        """How many workers there are."""
        return sum(slot.process is not None for slot in self._slots)

    def look(self) -> list[str]:
        """Start anew those that died; what those said that cannot go on."""
        return [said for slot in self._slots for said in self._look(slot)]

    def _look(self, slot: _Slot) -> list[str]:
        status = slot.process.poll() if slot.process is not None else None
        if slot.process is None or status is None:
            return []
        if slot.process.stdin is not None:
            slot.process.stdin.close()
        slot.process = None
        last = self._said(slot).read_text(errors="replace").strip().splitlines()[-1:]
        if status == pool_worker.GAVE_UP:
            return [f"worker {slot.number}: {' '.join(last)}"]
        if status == 0:
            return []
        began = _size(self._log(slot)) > slot.log_size
        slot.failed_starts = 0 if began else slot.failed_starts + 1
        if slot.failed_starts >= FEW_STARTS:
            return [f"worker {slot.number} died {FEW_STARTS} times before it began ({' '.join(last)})"]
        self._fill(slot)
        return []

    def stop(self) -> None:
        """End every worker; what it had finished is kept."""
        for slot in self._slots:
            if slot.process is not None and slot.process.stdin is not None:
                slot.process.stdin.close()
        for slot in self._slots:
            if slot.process is not None:
                try:
                    slot.process.wait(_GRACE)
                except subprocess.TimeoutExpired:
                    slot.process.kill()
                    slot.process.wait()
                slot.process = None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
