"""Fetch hub checkpoints one ahead of the measuring, and drop those brought here once they are used. Loads nothing."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from measure import catalog, hub, models
from measure.spec import Keep, MeasureError

# Seconds in which what is under way may come to its end when a run is over.
_GRACE = 5.0


class Fetcher:
    """Brings checkpoints to this machine in the order in which they are named, one at a time, in the background.

    `keep` says what stays of those that it brought: `all`, the `last` used, or `none`; what was in the cache before
    always stays. The thread is one that a process may end without: a download of hours holds up nobody.
    """

    def __init__(self, keep: Keep = "all", *, allow_pickle: bool = False) -> None:
        self.keep = keep
        self.allow_pickle = allow_pickle
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._pending: dict[tuple[str, bool], Future[None]] = {}
        self._brought: dict[str, hub.Checkpoint] = {}
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
                found = models.fetch(catalog.resolve(name), weights=weights, allow_pickle=self.allow_pickle)
                if found.fetched and weights:
                    self._brought[name] = found
        except Exception as error:  # told to whom it concerns
            future.set_exception(error)
        else:
            future.set_result(None)

    def used(self, name: str) -> None:
        """A model is no more needed in this run: drop what `keep` does not keep."""
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
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(_GRACE)


def _drop(checkpoint: hub.Checkpoint) -> None:
    # What cannot be deleted takes room, no more.
    with contextlib.suppress(Exception):
        hub.drop(checkpoint)


def _source(name: str) -> str:
    try:
        return catalog.resolve(name).source
    except MeasureError:
        return "unknown"
