"""What a worker does: takes loads that nobody works on, measures them, tells what came of them. Judges nothing.

A worker is a process of pytest that was given `--shard`, or one that a `measure.harness.engines.pool` started.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from measure.harness.engines import gpus, shards
from measure.harness.engines.in_process import InProcess
from measure.harness.engines.protocol import Begin, Found, Load, Outcome, Report, untold
from measure.harness.engines.shards import Board, Job, Noted
from measure.harness.engines.store import Store
from measure.hub import answers
from measure.hub.leases import Lease, Leases
from measure.spec import AnySpec, Keep, MeasureError, NotMeasuredError

# Of the loads that others work on, how many a worker watches while it has none of its own.
WATCHED = 8
# Seconds between two looks, which grow while nothing changes.
_SOON, _LATER = 0.1, 5.0


class CannotGoOnError(NotMeasuredError):
    """This worker is of no more use: its GPU is gone, or its disk is full. Others may go on."""


class _Unchecked(InProcess):
    """Measures for others, who hold the weights of different loads against each other; `how` each spec was found."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.how: dict[AnySpec, str] = {}

    def _check_weights(self, found: Found) -> None:
        pass

    def _keep(self, found: Found) -> None:
        self.how |= {spec: how for spec, (_, how) in found.items()}
        super()._keep(found)

    def forget(self, load: Load) -> None:
        """See `InProcess.forget`."""
        for spec in self.gathered.get(load, ()):
            self.how.pop(spec, None)
        super().forget(load)


class Worker:
    """Measures jobs of a board into a store; `report` is told of each spec as an engine tells it."""

    def __init__(
        self,
        board: Board,
        store: Store,
        report: Report,
        *,
        begin: Begin = untold,
        keep: Keep = "all",
        allow_pickle: bool = False,
        disk: int | None = None,
    ) -> None:
        self.board = board
        self._begin = begin
        self._store = Noted(store.folder)
        self.engine = _Unchecked(self._store, report, begin=begin, keep=keep, allow_pickle=allow_pickle, disk=disk)
        self._on_gpu = gpus.count() > 0
        # How many loads this worker measured.
        self.measured = 0

    def work(self, own: Sequence[Job], others: Iterable[Job]) -> None:
        """Measure its own jobs, then those of others that nobody works on, until all are done or the run is over.

        Raises `CannotGoOnError` where this worker can measure nothing more.
        """
        for job in own:
            # In this order checkpoints are fetched ahead.
            self.engine.gather(job.specs)
        waiting = [job for some in (own, others) for job in some if not self._passed(job)]
        pause = _SOON
        while (waiting := [job for job in waiting if not self.board.is_done(job)]) and not self.board.ended:
            if any(list(map(self._passed, waiting[:WATCHED]))):
                pause = _SOON
                continue
            holder = self.board.holder(waiting[0])
            self._begin(f"waiting for {len(waiting)} loads that others measure, {waiting[0].load[0]} by {holder}")
            time.sleep(pause)
            pause = min(2 * pause, _LATER)

    def _passed(self, job: Job) -> bool:
        """Whether a job is done, by this worker if by no other."""
        try:
            if not self.board.is_done(job) and not self.board.ended:
                lease = self.board.take(job)
                if lease is None:
                    return self.board.is_done(job)
                with lease:
                    self._finish(job)
        except OSError as error:
            raise CannotGoOnError(unwritten(self.board.folder, error)) from None
        self.engine.forget(job.load)
        return True

    def _finish(self, job: Job) -> None:
        self._check_gpu()
        deaths = self.board.deaths(job)
        if deaths >= shards.MOST_DEATHS:
            found: Found = dict.fromkeys(job.specs, (_deadly(job, deaths, self.board), "failed"))
        else:
            self.engine.gather(job.specs)
            outcomes = {spec: self.engine.outcome(spec) for spec in job.specs}
            found = {spec: (outcome, self.engine.how[spec]) for spec, outcome in outcomes.items()}
            self._check_kept(found)
            self.measured += 1
        self.board.finish(job, found, self._store.addresses)
        self._store.addresses.clear()

    def _check_kept(self, found: Found) -> None:
        """Raise `CannotGoOnError` where outcomes tell of this worker, and not of the load."""
        if self._store.problem is not None:
            raise CannotGoOnError(self._store.problem)
        if any(isinstance(outcome, Exception) for outcome, _ in found.values()):
            self._check_gpu()

    def _check_gpu(self) -> None:
        # Without this, whatever comes next would be measured on the processor.
        if self._on_gpu and (why := gpus.lost()):
            raise CannotGoOnError(why)

    def close(self) -> None:
        """Stop fetching."""
        self.engine.close()


def _deadly(job: Job, deaths: int, board: Board) -> NotMeasuredError:
    return NotMeasuredError(
        f"{deaths} workers died one after the other while they measured {job.load[0]}, the last {board.holder(job)}; "
        "most likely the machine's memory was full: measure it alone, with --models, on a larger one."
    )


def unwritten(place: Path, error: OSError) -> str:
    """What to say where workers cannot tell each other anything."""
    return (
        f"{place} cannot be written ({error.strerror}), where workers tell each other what is done; make room, or give "
        "another folder that all of them share with --store DIR."
    )


class Judge:
    """An engine that takes what workers found, load by load in the order of the run, as if it had found it itself."""

    def __init__(self, engine: InProcess, board: Board, store: Store, jobs: Sequence[Job]) -> None:
        self.engine, self._board, self._store = engine, board, store
        self._left = list(jobs)
        for job in jobs:
            engine.gather(job.specs)

    def take(self) -> bool:
        """Take what is done by now; whether that is all."""
        while self._left and self._board.is_done(self._left[0]):
            job = self._left.pop(0)
            found = self._board.found(job, self._store)
            if len(found) == len(job.specs):
                self.engine.settle(found)
            # What the store has lost is measured here.
            for spec in job.specs:
                self.engine.outcome(spec)
        return not self._left

    @property
    def left(self) -> int:
        """How many loads have not been taken."""
        return len(self._left)

    def give_up(self, error: NotMeasuredError) -> None:
        """Give each spec of a load that is not done an error, and take the others."""
        while not self.take():
            job = self._left.pop(0)
            self.engine.settle(dict.fromkeys(job.specs, (error, "failed")))


class Shard:
    """One of several processes that were given the same tests: it measures its share, and the last of them judges.

    As an engine it has outcomes in the process that judges alone, see `share`.
    """

    def __init__(self, number: int, count: int, store: Store, report: Report, begin: Begin, **options: Any) -> None:
        self.name = f"shard {number}/{count}"
        self._number, self._count, self._store = number, count, store
        self._report, self._begin, self._options = report, begin, options
        self._engine = InProcess(store, report, begin=begin, **options)
        # Who knows outcomes: while this process measures and while it judges, another engine.
        self._answers = self._engine
        self._leases = Leases(self.name)
        self._judging: Lease | None = None
        self._board: Board | None = None

    @property
    def gathered(self) -> Mapping[Load, list[AnySpec]]:
        """See `Engine`."""
        return self._engine.gathered

    def gather(self, specs: Iterable[AnySpec]) -> None:
        """See `Engine`."""
        self._engine.gather(specs)

    def outcome(self, spec: AnySpec) -> Outcome:
        """See `Engine`."""
        return self._answers.outcome(spec)

    def share(self) -> str | None:
        """Measure this shard's loads, and what others left; None where this process is the one that judges.

        Else why it is not, a sentence. Raises `MeasureError` where it cannot take part.
        """
        jobs = shards.jobs_of(self.gathered)
        place = shards.place_of(self._store.folder, jobs)
        try:
            self._board = Board(shards.enter(place, shards.conditions()), self._leases)
            return self._shared(self._board, jobs)
        except OSError as error:
            raise NotMeasuredError(unwritten(place, error)) from None

    def _shared(self, board: Board, jobs: Sequence[Job]) -> str | None:
        if self._leases.wait_for(self._place(board), self._begin) is None:
            raise MeasureError(self._twice(board))
        if board.ended:
            return self._judged_already(board)
        shards.check(board.folder, "cuda" if gpus.count() else "none")
        answers.share(board.folder, self._leases)
        measured = self._measured(board, jobs)
        judging = self._leases.take(board.folder / "judging")
        if judging is None or board.ended:
            return self._judged_already(board) if board.ended else f"{self.name} measured {measured}; another judges."
        self._judging = judging
        # Those measured here are taken once more: weights are compared in the order of the whole run.
        judge = Judge(
            InProcess(self._store, self._report, begin=self._begin, **self._options), board, self._store, jobs
        )
        self._answers = judge.engine
        judge.take()
        return None

    def _measured(self, board: Board, jobs: Sequence[Job]) -> str:
        own, others = shards.own_and_others(shards.dealt(jobs, self._count), self._number - 1)
        worker = Worker(board, self._store, self._report, begin=self._begin, **self._options)
        self._answers = worker.engine
        try:
            worker.work(own, others)
        finally:
            worker.close()
            self._answers = self._engine
        return f"{worker.measured} of {len(jobs)} loads"

    def _place(self, board: Board) -> Path:
        return board.folder / f"shard-{self._number}-of-{self._count}"

    def _twice(self, board: Board) -> str:
        return (
            f"{self.name} of these tests is at work already, {self._leases.holder_of(self._place(board))}; give each "
            "process a number of its own, or end that one first."
        )

    def _judged_already(self, board: Board) -> str:
        return (
            f"everything was measured and judged by {board.ended}; to have what failed tried again, or all judged "
            f"anew, remove {board.folder} (results stay in the store)."
        )

    def end(self, records: Path | None) -> None:
        """Say that this process has judged, and where its records are."""
        if self._judging is not None and self._board is not None:
            shards.end(self._board.folder, f"{self.name} (records: {records})")
            self._judging.release()
            self._judging = None

    def close(self) -> None:
        """See `Engine`."""
        for engine in {self._engine, self._answers}:
            engine.close()
        answers.stop()
        self._leases.close()
