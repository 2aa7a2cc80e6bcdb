"""Ctrl-C and SIGTERM: a command ends in one line and soon, whatever it is in the middle of. Knows no command."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
# Seconds that a command has to let go of what it holds.
GRACE = 2.0


class StoppedError(KeyboardInterrupt):
    """A signal, where it met the command."""


@dataclass
class Heard:
    """The signal that came, None before one does."""

    number: int | None = None
    _told: threading.Event = field(default_factory=threading.Event)
    _before: frozenset[threading.Thread] = field(default_factory=lambda: frozenset(threading.enumerate()))

    def take(self, number: int, _: FrameType | None) -> None:
        """Begin to end; a second signal ends the process at once."""
        self.number = number
        for other in _NAMES:
            signal.signal(other, signal.SIG_DFL)
        # What breaks while everything is let go of is nobody's business.
        sys.unraisablehook = lambda _: None
        threading.excepthook = lambda _: None
        timer = threading.Timer(GRACE, self._end)
        timer.daemon = True
        timer.start()
        raise StoppedError

    def ended(self) -> int:
        """Say so in one line; returns the exit status."""
        number = signal.Signals(self.number or signal.SIGINT)
        if not self._told.is_set():
            self._told.set()
            start = "\n" if sys.stderr.isatty() else ""
            said = f"{start}measure: stopped by {_NAMES[number]}; what was finished is kept."
            print(said, file=sys.stderr, flush=True)
        own = [one for one in threading.enumerate() if one not in self._before and not one.daemon]
        if self.number is not None and own:
            # A download, say, that the interpreter would wait for.
            os._exit(128 + number)
        return 128 + number

    def _end(self) -> None:
        """What holds on all the same is left where it is."""
        os._exit(self.ended())


@contextmanager
def heard() -> Iterator[Heard]:
    """Within it a signal is raised as `StoppedError`, in the main thread; its handlers before are put back."""
    found = Heard()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = {number: signal.signal(number, found.take) for number in _NAMES}
    hooks = sys.unraisablehook, threading.excepthook
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook, threading.excepthook = hooks
