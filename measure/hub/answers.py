"""What one worker of a run was told, for all of them: a question is put once, by whoever has it first.

Answers are files in the run's folder: they end with it, and no clock says which of them hold. While one worker asks,
told by a lease, the others wait for what it hears; a refusal is an answer too. Knows nothing of the hub.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from measure.base import files
from measure.base.files import write_atomically
from measure.hub.leases import Leases
from measure.spec import MeasureError, NotMeasuredError

# The folder of a run's answers, in the run's.
FOLDER = "answers"
# Seconds between two looks for the answer to a question that another has put: bringing a checkpoint may take hours.
_SOON, _LATER = 0.1, 2.0
_T = TypeVar("_T")


@dataclass(frozen=True)
class Answers:
    """The answers that a run has in `folder`; `leases` are those of this worker."""

    folder: Path
    leases: Leases

    def once(self, question: Sequence[str], ask: Callable[[], _T], *, keep: bool) -> _T:
        """What `ask` returns, or what it returned to another worker; the `MeasureError` that it raises, or raised.

        Where not `keep`, refusals alone are kept: whoever comes next calls `ask` too, one at a time. None is no answer.
        """
        path, pause = self._path(question), _SOON
        while (told := _read(path)) is None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                lease = self.leases.take(path.with_name(f"{path.name}.lease"))
            except OSError:
                # Where nothing can be written each asks for itself.
                return ask()
            if lease is not None:
                with lease:
                    return _asked(path, ask, keep=keep)
            time.sleep(pause)
            pause = min(1.5 * pause, _LATER)
        return _answer(told)

    def tell(self, question: Sequence[str], value: Any) -> None:
        """Answer a question before anybody puts it."""
        path = self._path(question)
        if _read(path) is None:
            _write(path, {"value": value})

    def _path(self, question: Sequence[str]) -> Path:
        name = hashlib.sha256(json.dumps(list(question)).encode()).hexdigest()[:32]
        return self.folder / FOLDER / name[:2] / name


def _asked(path: Path, ask: Callable[[], _T], *, keep: bool) -> _T:
    # A file system that remembers what is not there asks anew once something was created beside it.
    if (told := _read(path)) is not None:
        return _answer(told)
    try:
        found = ask()
    except MeasureError as error:
        _write(path, {"error": str(error), "denied": isinstance(error, NotMeasuredError)})
        raise
    if keep and found is not None:
        _write(path, {"value": found})
    return found


def _read(path: Path) -> dict[str, Any] | None:
    """What was written; None for what is not there, or is damaged."""
    with contextlib.suppress(OSError, MeasureError):
        told: dict[str, Any] = files.unsealed(path.name, files.content(path))
        return told
    return None


def _write(path: Path, told: dict[str, Any]) -> None:
    # Where it cannot be kept the next one asks again.
    with contextlib.suppress(OSError):
        write_atomically(path, files.sealed(path.name, told))


def _answer(told: dict[str, Any]) -> Any:
    if "error" in told:
        raise (NotMeasuredError if told["denied"] else MeasureError)(told["error"])
    return told["value"]


# Of the run that this process takes part in; empty where it asks for itself alone.
_OF_RUN: list[Answers] = []


def share(run: Path, leases: Leases) -> Answers:
    """From now on this process shares the answers of the run in a folder."""
    _OF_RUN[:] = [Answers(run, leases)]
    return _OF_RUN[0]


def stop() -> None:
    """From now on this process asks for itself."""
    _OF_RUN.clear()


@contextlib.contextmanager
def shared(run: Path, leases: Leases) -> Iterator[Answers]:
    """Share the answers of a run until the block ends."""
    try:
        yield share(run, leases)
    finally:
        stop()


def once(question: Sequence[str], ask: Callable[[], _T]) -> _T:
    """What `ask` returns, in JSON's types, asked once in a run: see `Answers.once`."""
    return _with_run(question, ask, keep=True)


def alone(question: Sequence[str], act: Callable[[], _T]) -> _T:
    """What `act` returns, which one worker of a run does at a time, and none any more once it was refused."""
    return _with_run(question, act, keep=False)


def _with_run(question: Sequence[str], ask: Callable[[], _T], *, keep: bool) -> _T:
    run = next(iter(_OF_RUN), None)
    return run.once(question, ask, keep=keep) if run else ask()
