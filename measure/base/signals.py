"""Ctrl-C and SIGTERM: a command ends in one line and soon, whatever it is in the middle of. Knows no command."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
# Seconds that a command has to let go of what it holds.
GRACE = 2.0


class StoppedError(KeyboardInterrupt):
    """A signal, where it met the command."""


@dataclass
class Heard:
    """The signal that came, None before one does; `stderr` is the real one, whoever captures it meanwhile."""

    stderr: int
    number: int | None = None
    _told: threading.Event = field(default_factory=threading.Event)
    _before: frozenset[threading.Thread] = field(default_factory=lambda: frozenset(threading.enumerate()))

    def take(self, number: int, frame: FrameType | None) -> None:
        """Begin to end; a second signal ends the process at once."""
        self.number = number
        if _is_importing(frame):
            # Nothing is held yet, and libraries half loaded may crash.
            os._exit(self.ended())
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
            start = "\n" if os.isatty(self.stderr) else ""
            said = f"{start}measure: stopped by {_NAMES[number]}; what was finished is kept.\n"
            with suppress(OSError, ValueError):
                sys.stdout.flush()
            with suppress(OSError):
                os.write(self.stderr, said.encode())
        own = [one for one in threading.enumerate() if one not in self._before and not one.daemon]
        if self.number is not None and own:
            # A download, say, that the interpreter would wait for.
            os._exit(128 + number)
        return 128 + number

    def _end(self) -> None:
        """What holds on all the same is left where it is."""
        os._exit(self.ended())


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def heard() -> Iterator[Heard]:
    """Within it a signal is raised as `StoppedError`, in the main thread; its handlers before are put back."""
    if threading.current_thread() is not threading.main_thread():
        yield Heard(2)
        return
    found = Heard(os.dup(2))
    before = {number: signal.signal(number, found.take) for number in _NAMES}
    hooks = sys.unraisablehook, threading.excepthook
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if found.number is None:
            sys.unraisablehook, threading.excepthook = hooks
        os.close(found.stderr)
