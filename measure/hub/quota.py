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
from dataclasses import dataclass
from pathlib import Path

from measure.hub import leases

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


def _numbers(folder: Path) -> list[int]:
    with os.scandir(folder) as entries:
        found = (re.fullmatch(r"batch-(\d{1,18})", entry.name) for entry in entries)
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


def turn(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Be the one process of this machine that fetches, until the block ends; wait for the one that is.

    One that ended is followed at once, one that shows no sign of life within a minute. Where nothing can be written
    there are no turns.
    """
    host = re.sub(r"[^A-Za-z0-9]+", "_", socket.gethostname())
    return leases.turn(folder / host, beat=BEAT, stale=DEAD)
