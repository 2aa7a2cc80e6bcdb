"""Kill workers that share a run at random moments (SIGKILL); see that nothing is lost, and little measured twice.

    .venv/bin/python -m tests.torture_workers --kills 100

Over shards, processes, Ray and submitit's local executor in turn, those that are installed: workers are killed until
the run has had its share of kills. Then its merged records must be those of one process to the last digit, and no spec
may have been measured more than twice.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib.util
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from measure import catalog
from tests import spread_project as spread

NEEDS = {"ray": "ray", "submitit": "submitit"}
# Kills in one run: more would leave loads of which five workers died, which is told as the loads' fault.
A_RUN = 6
# So many that a run lasts long enough to be killed.
PAIRS = 1200
SECONDS = 1800


class LostError(AssertionError):
    """Something is lost, or was measured too often."""


def loads() -> list[tuple[str, str]]:
    """24 loads of the smallest models."""
    names = [f"{m.name}@{r}" for m in catalog.models().values() if m.name.endswith("0.2m") for r in m.revisions]
    several = [(name, weights) for weights in ("stored", "scrambled:0", "scrambled:1") for name in names]
    return several[:24]


class Started:
    """The processes of one run, each started again when it is killed."""

    def __init__(self, folder: Path, engine: str) -> None:
        self.folder, self.engine = folder, engine
        self.names: list[str] = []
        self.running: dict[str, tuple[list[str], subprocess.Popen[bytes]]] = {}
        for given in spread.ENGINES[engine]:
            self.start(list(given))

    def start(self, given: list[str]) -> None:
        name = f"run-{len(self.names)}"
        self.names.append(name)
        self.running[name] = given, spread.start(self.folder, name, *given)

    def look(self) -> bool:
        """Start again what was killed; whether anything runs."""
        for name, (given, process) in list(self.running.items()):
            status = process.poll()
            if status is None:
                continue
            del self.running[name]
            if status == -signal.SIGKILL:
                self.start(given)
            elif status != 0:
                raise LostError(f"ended with {status}: {(self.folder / f'{name}.txt').read_text()[-3000:]}")
        return bool(self.running)

    def workers(self) -> list[int]:
        """Processes that hold a load."""
        if self.engine == "shard":
            return [process.pid for _, process in self.running.values()]
        return [pid for pid in holders(self.folder) if is_worker(pid)]

    def stop(self) -> None:
        for _, process in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def holders(folder: Path) -> Iterator[int]:
    """Processes that the leases name which were not let go of."""
    for path in folder.glob(".store/shared/*/*/loads/*/*.lease.*"):
        with contextlib.suppress(OSError, ValueError):
            content = path.read_bytes()
            if not content.endswith(b"released\n"):
                yield int(json.loads(content.partition(b"\n")[0])["pid"])


def is_worker(pid: int) -> bool:
    """Whether a process is there, and is one of ours: numbers are given again."""
    try:
        return b"SPREAD_TORTURE" in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def killed(folder: Path, engine: str, kills: int, draw: random.Random) -> tuple[int, list[str]]:
    """Run to the end, with so many kills on the way at most; how many there were, and the names of the records."""
    started, done = Started(folder, engine), 0
    until = time.monotonic() + SECONDS
    due = time.monotonic() + draw.uniform(5, 15)
    try:
        while started.look():
            if time.monotonic() > until:
                raise LostError(f"not done after {SECONDS} s")
            if done < kills and time.monotonic() > due and (pids := started.workers()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(draw.choice(pids), signal.SIGKILL)
                    done += 1
                due = time.monotonic() + draw.uniform(0.5, 10)
            time.sleep(0.05)
    finally:
        started.stop()
    print(f"{engine}: {done} kills", flush=True)
    return done, [name for name in started.names if (folder / f"{name}.jsonl").exists()]


def measured(folder: Path, names: list[str], engine: str) -> collections.Counter[str]:
    """How often each spec was measured."""
    found: collections.Counter[str] = collections.Counter()
    if engine != "shard":
        for path in folder.glob(".store/shared/*/*/logs/*.log"):
            found.update(re.findall(r"^\S+ measured (\S+)$", path.read_text(), re.MULTILINE))
        return found
    for name in names:
        own: collections.Counter[str] = collections.Counter()
        judged = False
        for line in (folder / f"{name}.jsonl").read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                judged |= row.get("kind") == "test"
                if row.get("how") == "measured":
                    own[row["id"]] += 1
        # Who judges tells each once more.
        found.update({one: count - judged for one, count in own.items()})
    return found


def check(folder: Path, names: list[str], engine: str, alone: object) -> None:
    """Raise `LostError` unless all is as one process has it, and nothing was measured more than twice."""
    # The one that judged stands last.
    names.sort(key=lambda name: b'"kind":"test"' in (folder / f"{name}.jsonl").read_bytes())
    if spread.found(folder, names) != alone:
        raise LostError(f"{folder}: the merged records are not those of one process")
    most = measured(folder, names, engine).most_common(1)
    if most and most[0][1] > 2:
        raise LostError(f"{folder}: {most[0][0]} was measured {most[0][1]} times")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ["SPREAD_TORTURE"] = "1"
    engines = [name for name in spread.ENGINES if importlib.util.find_spec(NEEDS.get(name, "measure")) is not None]
    print(f"seed {options.seed}; over {', '.join(engines)}")
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = spread.project(Path(place) / "alone", loads(), pairs=PAIRS, steps=50)
        if spread.start(folder, "alone").wait() != 0:
            raise LostError((folder / "alone.txt").read_text())
        alone = spread.found(folder, ["alone"])
        left, turn = options.kills, 0
        while left > 0:
            engine, some = engines[turn % len(engines)], min(left, A_RUN)
            folder = spread.project(Path(place) / f"{turn}-{engine}", loads(), pairs=PAIRS, steps=50)
            done, names = killed(folder, engine, some, draw)
            check(folder, names, engine, alone)
            left, turn = left - done, turn + 1
    print(f"{options.kills} kills in {turn} runs: nothing lost, nothing measured more than twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())
