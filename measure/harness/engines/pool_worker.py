"""One worker of a pool, wherever it was started: reads what is to be done from the run's folder, and does it.

`python -m measure.harness.engines.pool_worker FOLDER NUMBER` is how processes of one machine are started.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from measure import catalog
from measure.base import files
from measure.catalog import revisions
from measure.harness.engines import gpus, shards
from measure.harness.engines.protocol import Load
from measure.harness.engines.shards import Board, Job
from measure.harness.engines.store import Store
from measure.harness.engines.work import CannotGoOnError, Worker, unwritten
from measure.hub import answers
from measure.hub.leases import Leases, this_process
from measure.results import write_atomically
from measure.spec import Keep, MeasureError

# The exit status of a worker that says why it cannot go on.
GAVE_UP = 3
# How a spec ends, as a worker's log has it.
ENDS = ("stored", "measured", "failed")
_WHOLE = "work"
_AS_THEY_ARE = ("workers", "pairs_from", "keep", "allow_pickle", "disk", "naming", "path")


@dataclass(frozen=True)
class Work:
    """Everything that a worker must know: what is to be done, by how many, into which store, of which models."""

    jobs: tuple[Job, ...]
    workers: int
    store: Path
    models: tuple[catalog.Model, ...] = ()
    # Where paths among the models' names start.
    folder: Path = Path()
    pairs_from: str | None = None
    keep: Keep = "all"
    allow_pickle: bool = False
    disk: int | None = None
    # How training checkpoints are named, and their tokens a step, where the user told it.
    naming: tuple[str, int | None] | None = None
    # Where the modules of kinds of one's own are imported from.
    path: tuple[str, ...] = ()


def write(run: Path, work: Work) -> None:
    """Put down what is to be done where workers find it. Raises `NotMeasuredError` for a spec that cannot be told."""
    import msgspec

    for job in work.jobs:
        for spec in job.specs:
            shards.check_told(spec)
    told = {
        "jobs": [[job.load, [shards.to_plain(spec) for spec in job.specs]] for job in work.jobs],
        "models": msgspec.to_builtins(work.models),
        "store": str(work.store.absolute()),
        "folder": str(work.folder.absolute()),
        **{name: getattr(work, name) for name in _AS_THEY_ARE},
    }
    write_atomically(run / _WHOLE, files.sealed(_WHOLE, told))


def read(run: Path) -> Work:
    """What `write` put down. Raises `MeasureError` where it is not there, or is damaged."""
    import msgspec

    try:
        told: dict[str, Any] = files.unsealed(_WHOLE, files.content(run / _WHOLE))
    except OSError as error:
        raise MeasureError(
            f"{run / _WHOLE} cannot be read ({error.strerror}); workers need the store of the process that started "
            "them, under the same path: give one that they share with --store DIR."
        ) from None
    # Kinds are registered by their modules.
    sys.path += [place for place in told["path"] if place not in sys.path]
    jobs = tuple(Job(Load(*load), tuple(map(shards.from_plain, specs))) for load, specs in told["jobs"])
    models = tuple(msgspec.convert(model, catalog.Model) for model in told["models"])
    named: dict[str, Any] = {
        name: tuple(told[name]) if isinstance(told[name], list) else told[name] for name in _AS_THEY_ARE
    }
    return Work(jobs=jobs, models=models, store=Path(told["store"]), folder=Path(told["folder"]), **named)


def run(folder: str, number: int) -> str | None:
    """Work until all is done; why not, a sentence, where this worker cannot go on."""
    place = Path(folder)
    name = f"worker {number}"
    try:
        work = read(place)
        shards.check(place, "cuda" if gpus.count() else "none")
        log = place / "logs" / f"worker-{number}.log"
        log.parent.mkdir(exist_ok=True)
        # Written by lines, each in one piece: a worker that was started anew writes on where another was killed.
        with log.open("a", buffering=1) as file:
            return _logged(file, place, work, number, name)
    except MeasureError as error:
        return str(error)
    except OSError as error:
        return unwritten(place, error)


def _logged(file: TextIO, place: Path, work: Work, number: int, name: str) -> str | None:
    def tell(what: str) -> None:
        file.write(f"{time.strftime('%H:%M:%S')} {what}\n")

    tell(f"{this_process(name)} begins")
    _prepare(work)
    leases = Leases(name)
    worker = Worker(
        Board(place, leases),
        Store(work.store),
        lambda spec, how: tell(f"{how} {spec.id}"),
        begin=tell,
        keep=work.keep,
        allow_pickle=work.allow_pickle,
        disk=work.disk,
    )
    shares = shards.dealt(work.jobs, work.workers)
    try:
        with answers.shared(place, leases):
            worker.work(*shards.own_and_others(shares, number % work.workers))
    except CannotGoOnError as error:
        tell(f"cannot go on: {error}")
        return str(error)
    finally:
        worker.close()
        leases.close()
    tell(f"ends, having measured {worker.measured} loads")
    return None


class Told:
    """The specs that workers of a run have told to be done, those of loads under way too."""

    def __init__(self, run: Path) -> None:
        self._logs = run / "logs"
        # Where each log is read on.
        self._read: dict[Path, int] = {}
        self._done: set[str] = set()

    def count(self) -> int:
        """How many there are by now."""
        for log in self._logs.glob("worker-*.log"):
            with log.open("rb") as file:
                file.seek(self._read.get(log, 0))
                whole, end, _ = file.read().rpartition(b"\n")
                self._read[log] = self._read.get(log, 0) + len(whole + end)
            told = (line.split(" ", 2) for line in whole.decode(errors="replace").splitlines())
            self._done |= {parts[2] for parts in told if len(parts) == 3 and parts[1] in ENDS}
        return len(self._done)


def _prepare(work: Work) -> None:
    """Know the models and the pairs that the process knew which started the worker."""
    if work.folder.is_dir():
        os.chdir(work.folder)
    catalog.forget_added()
    for model in work.models:
        catalog.add(model)
    revisions.forget_own()
    if work.naming is not None:
        revisions.use_own(*work.naming)
    if work.pairs_from is not None:
        from measure.prompts import own_pairs

        own_pairs.hold(work.pairs_from)


def _end_with(parent: TextIO) -> None:
    """End this process when the one that started it has ended: that closes its side of our standard input."""
    parent.read()
    os._exit(1)


def main(arguments: Sequence[str]) -> int:
    """Run as a process of the machine of the pool; the exit status."""
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    why = run(arguments[0], int(arguments[1]))
    if why is not None:
        print(why)
    return 0 if why is None else GAVE_UP


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # The thread that reads standard input would hold up an ordinary end.
    os._exit(status)
