"""How far a call is, for who waits for it: a bar on a terminal or in a notebook once it takes longer than a moment."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_BAR: ContextVar[Any] = ContextVar("bar", default=None)
# Seconds after which it is worth a line.
_MOMENT = 2.0


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
