"""Fetch hub checkpoints one ahead of the measuring, and drop those brought here once they are used. Loads nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, get_args

from measure import catalog, hub, models
from measure.spec import MeasureError

Keep = Literal["none", "last", "all"]
KEEP: tuple[str, ...] = get_args(Keep)


class Fetcher:
    """Brings checkpoints to this machine in the order in which they are named, one at a time, in the background.

    `keep` says what stays of those that it brought: `all`, the `last` used, or `none`; what was in the cache before
    always stays.
    """

    def __init__(self, keep: Keep = "all", *, allow_pickle: bool = False) -> None:
        self.keep = keep
        self.allow_pickle = allow_pickle
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fetch")
        self._pending: dict[tuple[str, bool], Future[None]] = {}
        self._brought: dict[str, hub.Checkpoint] = {}
        self._used: list[str] = []

    def ahead(self, name: str, *, weights: bool, needed: Callable[[], bool]) -> None:
        """Fetch a hub model in the background unless it is under way, or turns out not to be `needed`."""
        if _source(name) == "hub" and (name, weights) not in self._pending:
            self._pending[name, weights] = self._pool.submit(self._bring, name, weights, needed)

    def wait(self, name: str, *, weights: bool) -> None:
        """Return when a model asked for is here; raises what kept it from coming."""
        if future := self._pending.get((name, weights)):
            future.result()

    def _bring(self, name: str, weights: bool, needed: Callable[[], bool]) -> None:
        if not needed():
            return
        found = models.fetch(catalog.resolve(name), weights=weights, allow_pickle=self.allow_pickle)
        if found.fetched and weights:
            self._brought[name] = found

    def used(self, name: str) -> None:
        """A model is no more needed in this run: drop what `keep` does not keep."""
        if self.keep == "all" or name not in self._brought:
            return
        self._used.append(name)
        spared = 1 if self.keep == "last" else 0
        for other in self._used[: len(self._used) - spared]:
            hub.drop(self._brought.pop(other))
        self._used = self._used[len(self._used) - spared :]

    def close(self) -> None:
        """Let go of what was still to be fetched."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _source(name: str) -> str:
    try:
        return catalog.resolve(name).source
    except MeasureError:
        return "unknown"
