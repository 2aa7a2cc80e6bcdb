"""An engine that hands loads to workers and takes what they found, load by load in the order of the run.

Who starts the workers is another's business: see `launchers`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from measure import catalog
from measure.catalog import revisions
from measure.harness.engines import pool_worker, shards
from measure.harness.engines.in_process import InProcess
from measure.harness.engines.pool_worker import Work
from measure.harness.engines.protocol import Begin, Load, Outcome, Report
from measure.harness.engines.shards import Board, Job
from measure.harness.engines.store import Store
from measure.harness.engines.work import Judge, unwritten
from measure.hub import answers
from measure.hub import checkpoints as hub
from measure.hub.leases import Leases
from measure.spec import AnySpec, NotMeasuredError

# Seconds between two looks, which grow while nothing is done.
_SOON, _LATER = 0.1, 2.0


@runtime_checkable
class Launcher(Protocol):
    """What starts workers of a run, and looks after them."""

    def workers(self) -> int:
        """How many to start where nobody says."""

    def start(self, run: Path, count: int) -> None:
        """Start so many workers, numbered from 0."""

    @property
    def alive(self) -> int:
        """How many have not ended their work."""

    def look(self) -> list[str]:
        """See that those that died are started anew; what those said that cannot go on, a sentence each."""

    def stop(self) -> None:
        """End them all."""


class Pool:
    """Measures what it was told of in workers, all of it when the first outcome is asked for.

    What it was not told of before then is measured in this process.
    """

    def __init__(
        self,
        launcher: Launcher,
        workers: int | None,
        store: Store,
        report: Report,
        begin: Begin,
        *,
        pairs_from: str | None = None,
        least: int = 1,
        **options: Any,
    ) -> None:
        self._launcher, self._workers, self._store, self._begin = launcher, workers, store, begin
        self._pairs_from, self._options = pairs_from, options
        # Below so many checkpoints this process measures alone.
        self._least = least
        self._engine = InProcess(store, report, begin=begin, **options)
        self._over = False

    @property
    def gathered(self) -> Mapping[Load, list[AnySpec]]:
        """See `Engine`."""
        return self._engine.gathered

    def gather(self, specs: Iterable[AnySpec]) -> None:
        """See `Engine`."""
        self._engine.gather(specs)

    def outcome(self, spec: AnySpec) -> Outcome:
        """See `Engine`."""
        if not self._over:
            self._over = True
            if len({load[0] for load in self.gathered}) >= self._least:
                self._shared()
        return self._engine.outcome(spec)

    def _shared(self) -> None:
        jobs = shards.jobs_of(self.gathered)
        place = shards.place_of(self._store.folder, jobs).absolute()
        try:
            run = shards.enter(place, shards.conditions(), anew=True)
            board = Board(run, Leases("controller"))
            with answers.shared(run, board.leases) as told:
                for question, value in hub.listed().items():
                    told.tell(question, value)
                self._work(run, jobs, Judge(self._engine, board, self._store, jobs))
        except OSError as error:
            self._fail(jobs, NotMeasuredError(unwritten(place, error)))
        except NotMeasuredError as error:
            self._fail(jobs, error)

    def _fail(self, jobs: Iterable[Job], error: NotMeasuredError) -> None:
        for job in jobs:
            self._engine.settle(dict.fromkeys(job.specs, (error, "failed")))

    def _work(self, run: Path, jobs: tuple[Job, ...], judge: Judge) -> None:
        workers = self._workers or self._launcher.workers()
        own = revisions.own()
        work = Work(
            jobs,
            workers,
            self._store.folder,
            catalog.added(),
            Path.cwd(),
            self._pairs_from,
            naming=(own.pattern, own.tokens_a_step) if own else None,
            path=tuple(str(Path(place).absolute()) for place in sys.path),
        )
        pool_worker.write(run, replace(work, **self._options))
        self._begin(f"starting {workers} workers")
        try:
            self._launcher.start(run, workers)
            self._wait(judge, run)
        finally:
            self._launcher.stop()
            shards.end(run, "the process that started its workers")

    def _wait(self, judge: Judge, run: Path) -> None:
        pause, said, left, heard = _SOON, [], -1, pool_worker.Told(run)
        while not judge.take():
            said += self._launcher.look()
            if not self._launcher.alive and not judge.take():
                told = "; ".join(said) or "all have ended"
                judge.give_up(NotMeasuredError(f"no worker is left ({told}); their logs are in {run / 'logs'}."))
                return
            pause = _SOON if judge.left != left else min(1.5 * pause, _LATER)
            left = judge.left
            self._begin(f"{self._launcher.alive} workers: {heard.count()} specs done, {left} loads not whole")
            time.sleep(pause)

    def close(self) -> None:
        """See `Engine`."""
        self._launcher.stop()
        self._engine.close()
