"""Fetch hub checkpoints one ahead of the measuring, and drop those brought here once they are used. Loads nothing."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from measure import catalog
from measure.hub import answers, disk
from measure.hub import checkpoints as hub
from measure.models import loading as models
from measure.spec import Keep, MeasureError

# Seconds in which what is under way may come to its end when a run is over.
_GRACE = 5.0


class Fetcher:
    """Brings checkpoints to this machine in the order in which they are named, one at a time, in the background.

    `keep` says what stays of those that it brought: `all`, the `last` used, or `none`; what was in the cache before
    always stays. With `budget`, in bytes, what is used is dropped as soon as its room is needed. The thread is one that
    a process may end without: a download of hours holds up nobody.
    """

    def __init__(self, keep: Keep = "all", *, allow_pickle: bool = False, budget: int | None = None) -> None:
        self.keep = keep
        self._budget = disk.Budget(budget, hub.memory() / "brought", hub.drop) if budget is not None else None
        self._awaited: str | None = None
        self.allow_pickle = allow_pickle
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._pending: dict[tuple[str, bool], Future[None]] = {}
        self._brought: dict[str, hub.Checkpoint] = {}
        # By name, repository and revision of what this run uses of the budget.
        self._ours: dict[str, tuple[str, str]] = {}
        self._used: list[str] = []

    def ahead(self, name: str, *, weights: bool, needed: Callable[[], bool]) -> None:
        """Fetch a hub model in the background unless it is under way, or turns out not to be `needed`."""
        if _source(name) == "hub" and (name, weights) not in self._pending:
            future: Future[None] = Future()
            self._pending[name, weights] = future
            self._submit(lambda: self._bring(future, name, weights, needed))

    def wait(self, name: str, *, weights: bool) -> None:
        """Return when a model asked for is here; raises what kept it from coming."""
        if future := self._pending.get((name, weights)):
            self._awaited = name
            if self._budget is not None:
                self._budget.woken.set()
            future.result()

    def _submit(self, job: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="fetch", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _bring(self, future: Future[None], name: str, weights: bool, needed: Callable[[], bool]) -> None:
        try:
            if not self._over.is_set() and needed():
                reference = catalog.resolve(name)
                if self._make_room(name, reference, weights=weights):
                    fetch = partial(models.fetch, reference, weights=weights, allow_pickle=self.allow_pickle)
                    # A machine's workers bring a checkpoint one after the other, and none once that has failed.
                    found = answers.alone(_question(reference, weights=weights), fetch)
                    self._note(name, found, weights=weights)
        except Exception as error:  # told to whom it concerns
            future.set_exception(error)
        else:
            future.set_result(None)

    def _note(self, name: str, found: hub.Checkpoint, *, weights: bool) -> None:
        if self._budget is not None:
            self._budget.here(found)
        if found.fetched and weights:
            self._brought[name] = found

    def _make_room(self, name: str, reference: catalog.Reference, *, weights: bool) -> bool:
        """Wait until a checkpoint is within the budget; False where the run is over before."""
        if self._budget is None or not weights:
            return True
        place, revision = reference.location, hub.nearest_revision(reference.location, reference.revision)
        needed = hub.bytes_to_fetch(place, revision, allow_pickle=self.allow_pickle) or 0
        self._ours[name] = (place, revision)

        def wanted() -> bool:
            # One fetched ahead gives way to the one that is waited for; it is fetched again when its turn comes.
            if self._awaited == name:
                for other in list(self._ours):
                    if other != name:
                        self._release(other)
                        self._pending.pop((other, True), None)
            return not self._over.is_set()

        self._budget.reserve(place, revision, needed, must=wanted)
        return not self._over.is_set()

    def _release(self, name: str) -> None:
        if self._budget is not None and (held := self._ours.pop(name, None)):
            self._budget.used(*held)

    def used(self, name: str) -> None:
        """A model is no more needed in this run: drop what `keep` does not keep."""
        self._release(name)
        if self.keep == "all" or name not in self._brought:
            return
        self._used.append(name)
        spared = 1 if self.keep == "last" else 0
        for other in self._used[: len(self._used) - spared]:
            # By the same thread: nothing is fetched into a repository while a part of it is deleted.
            self._submit(partial(_drop, self._brought.pop(other)))
        self._used = self._used[len(self._used) - spared :]

    def close(self) -> None:
        """Let go of what was still to be fetched; what was to be dropped is."""
        self._over.set()
        # What waits for room learns by this that it is over.
        for name in list(self._ours):
            self._release(name)
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(_GRACE)


def _drop(checkpoint: hub.Checkpoint) -> None:
    # What cannot be deleted takes room, no more.
    with contextlib.suppress(Exception):
        hub.drop(checkpoint)


def _question(reference: catalog.Reference, *, weights: bool) -> tuple[str, ...]:
    """What tells the bringing of a checkpoint into a cache of a machine from every other."""
    place = (socket.gethostname(), str(hub.memory()))
    return ("brought", *place, reference.location, reference.revision, "whole" if weights else "without weights")


def _source(name: str) -> str:
    try:
        return catalog.resolve(name).source
    except MeasureError:
        return "unknown"
