"""What the processes that share a cache folder may ask of the hub, and whose turn it is to fetch.

Made for file systems without locks, NFS among them: files are created exclusively, numbered, and aged by the file
server's clock alone, so that clocks may be apart. A folder that cannot be written limits nobody.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Requests that the hub answers an account in five minutes (told in allenai/open-instruct, pull request 1528).
WINDOW = 300.0
LIMIT = 3000
# They are taken in batches, to be used soon; so many batches that those still in use do not break the limit.
BATCH = 50
USABLE = 60.0
_BATCHES = int(LIMIT / BATCH * WINDOW / (WINDOW + USABLE))
# Seconds between two signs of life of who fetches, and without one after which it counts as dead.
BEAT = 5.0
DEAD = 60.0
_POLL = 0.1


@dataclass
class _Credit:
    """Requests of a batch that this process has left, and until when, by its own clock."""

    left: int = 0
    until: float = 0.0


_CREDITS: dict[Path, _Credit] = {}
_LOCK = threading.Lock()


def take(folder: Path, count: int = 1) -> None:
    """Wait until the hub may be asked `count` times, with all other processes that share `folder`."""
    with _LOCK:
        credit = _CREDITS.setdefault(folder, _Credit())
        if time.monotonic() > credit.until:
            credit.left = 0
        while credit.left < count:
            try:
                _wait_for(_batch(folder))
            except OSError:
                return
            # What was left of the batch before is younger than this one's end.
            credit.left, credit.until = credit.left + BATCH, time.monotonic() + USABLE
        credit.left -= count


def _batch(folder: Path) -> float:
    """Take the next batch; in how many seconds it may be used.

    Batch n begins a window after batch n - 50 began, so that no window holds more than 50 of them. A file's time is
    when its batch begins.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max(_numbers(folder), default=-1)
    while (mine := _create(folder / f"batch-{number}")) is None:
        number += 1
    earlier = _time(folder / f"batch-{number - _BATCHES}")
    begins = mine if earlier is None else max(mine, earlier + WINDOW)
    if begins > mine:
        os.utime(folder / f"batch-{number}", (begins, begins))
    for old in _numbers(folder):
        if old < number - 2 * _BATCHES:
            with contextlib.suppress(OSError):
                os.unlink(folder / f"batch-{old}")
    return begins - mine


def _wait_for(seconds: float) -> None:
    if seconds > 0:
        time.sleep(seconds)


def _numbers(folder: Path, name: str = "batch-") -> list[int]:
    with os.scandir(folder) as entries:
        found = (re.fullmatch(rf"{re.escape(name)}(\d{{1,18}})", entry.name) for entry in entries)
        return [int(match[1]) for match in found if match]


def _create(path: Path) -> float | None:
    """The file server's time at which this process made a file; None where it is another's."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return None
    return path.stat().st_mtime


def _time(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


# Whose turn it is.


@contextlib.contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Be the one process of this machine that fetches, until the block ends; wait for the one that is.

    The turn is the file HOST-N with the highest N. Its holder makes it grow; one that has not grown for a minute, by
    the clock of who waits, is taken over by whoever creates HOST-(N + 1), which one alone can. Where nothing can be
    written there are no turns.
    """
    try:
        mine = _take_turn(folder)
    except OSError:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_live, args=(mine, over), name="turn", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(OSError), mine.open("ab") as file:
            file.write(_OVER)


_OVER = b"over\n"


def _take_turn(folder: Path) -> Path:
    """Wait for the turn; the file that tells that it is ours. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    host = f"{re.sub(r'[^A-Za-z0-9]+', '_', socket.gethostname())}-"
    seen, since = (-1, -1), time.monotonic()
    while True:
        number = max(_numbers(folder, host), default=-1)
        last = folder / f"{host}{number}"
        size, ended = _state(last)
        if (number, size) != seen:
            seen, since = (number, size), time.monotonic()
        if number < 0 or ended or time.monotonic() - since > DEAD:
            mine = folder / f"{host}{number + 1}"
            if _create(mine) is not None:
                if max(_numbers(folder, host)) == number + 1:
                    _sweep(folder, host, number)
                    return mine
                # Others had their turns meanwhile, and cleared away the files that it was counted from.
                os.unlink(mine)
        time.sleep(_POLL)


def _state(path: Path) -> tuple[int, bool]:
    """How long a turn's file is, and whether its holder said that it is over."""
    try:
        # Opening it asks the file server anew, where its answers are kept for a while.
        content = path.read_bytes()
    except OSError:
        return 0, False
    return len(content), content.endswith(_OVER)


def _sweep(folder: Path, host: str, number: int) -> None:
    """Remove turns long over; the last of them stays, from which whoever looks counts on."""
    for old in _numbers(folder, host):
        if old < number:
            with contextlib.suppress(OSError):
                os.unlink(folder / f"{host}{old}")


def _live(mine: Path, over: threading.Event) -> None:
    while not over.wait(BEAT):
        with contextlib.suppress(OSError), mine.open("ab") as file:
            file.write(b".")
