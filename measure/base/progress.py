"""How far a call is, for who waits for it: a bar on a terminal or in a notebook once it takes longer than a moment."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_BAR: ContextVar[Any] = ContextVar("bar", default=None)
# Seconds after which it is worth a line.
_MOMENT = 2.0
# Seconds between two lines where there is no terminal, which would keep them all.
PAUSE = 15.0


class Pace:
    """Says when the next line is due where each one stays."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Whether the last line was long enough ago; then this one is the last."""
        now = time.monotonic()
        if now - self._last < PAUSE:
            return False
        self._last = now
        return True


class _Counter:
    """Hears of pairs as they are measured, in the place of a bar."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._done, self._tell = 0, tell

    def update(self, pairs: int) -> None:
        self._done += pairs
        self._tell(self._done)


@contextmanager
def heard(tell: Callable[[int], None]) -> Iterator[None]:
    """Tell how many pairs are measured, each time that some more are, until the end of the block."""
    before = _BAR.set(_Counter(tell))
    try:
        yield
    finally:
        _BAR.reset(before)


@contextmanager
def shown(what: str, pairs: int) -> Iterator[None]:
    """Show how many of so many pairs are measured, until the end of the block."""
    from tqdm import tqdm

    watched = sys.stderr is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    with tqdm(total=pairs, desc=what, unit="pair", delay=_MOMENT, leave=False, disable=not watched) as bar:
        before = _BAR.set(bar)
        try:
            yield
        finally:
            _BAR.reset(before)


def advance(pairs: int) -> None:
    """So many more pairs are measured."""
    if (bar := _BAR.get()) is not None:
        bar.update(pairs)
