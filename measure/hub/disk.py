"""A budget for the checkpoints that runs bring into the cache: held by dropping those that nobody uses any more.

What was in the cache before is not counted and always stays. The budget is one for all processes that share the
cache: each checkpoint that was brought has a folder, in it what it is and a file for each process that uses it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from measure.base import files
from measure.base.files import write_atomically
from measure.hub import quota
from measure.hub.checkpoints import Checkpoint
from measure.spec import MeasureError, NotMeasuredError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
# Seconds after which a process of another machine counts as ended.
_OLD = 24 * 3600.0
# Seconds between two looks for room that another process may have made.
_POLL = 2.0


def size(text: str) -> int:
    """Bytes, as 200GB. Raises `MeasureError` for what is none."""
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,3})?) ?([KMGT]?)B?", text.strip(), re.IGNORECASE)
    found = int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if found < 1:
        raise MeasureError(f"--disk {text!r}: expected a number of bytes with its unit, such as 200GB or 500MB.")
    return found


@dataclass(frozen=True)
class Brought:
    """A checkpoint that a run brought, or is about to: how many bytes, and which commit once it is here."""

    place: Path
    repo: str
    revision: str
    bytes: int
    commit: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Budget:
    """So many bytes, for what lies in `ledger`. `drop` deletes a checkpoint from the cache."""

    limit: int
    ledger: Path
    drop: Callable[[Checkpoint], None]
    # Set where this process may have made room.
    woken: threading.Event = field(default_factory=threading.Event, compare=False)

    def reserve(self, repo: str, revision: str, needed: int, *, must: Callable[[], bool] = lambda: True) -> None:
        """Wait until there is room for a checkpoint, dropping what nobody uses, and become one who uses it.

        `must` tells whether it is still wanted. Raises `NotMeasuredError` for one that is larger than the budget.
        """
        if needed > self.limit:
            raise NotMeasuredError(
                f"{repo}@{revision}: one checkpoint takes {_told(needed)}, and --disk allows {_told(self.limit)} in "
                "all; give it more, or measure a smaller model."
            )
        place = self.ledger / hashlib.sha256(f"{repo}@{revision}".encode()).hexdigest()[:32]
        while must():
            with quota.turn(self.ledger.with_name("room")):
                if self._has_room(place, needed):
                    self._note(Brought(place, repo, revision, needed), anew=needed > 0)
                    return
            self.woken.wait(_POLL)
            self.woken.clear()

    def here(self, found: Checkpoint) -> None:
        """What was reserved is in the cache now."""
        for one in self._all():
            if (one.repo, one.revision) == (found.repo, found.revision) and not one.commit:
                self._keep(replace(one, commit=found.commit, folder=str(found.folder)))

    def used(self, repo: str, revision: str) -> None:
        """This process needs a checkpoint no more; it is dropped when its room is needed."""
        for one in self._all():
            if (one.repo, one.revision) == (repo, revision):
                with contextlib.suppress(OSError):
                    os.unlink(one.place / _user())
        self.woken.set()

    @property
    def taken(self) -> int:
        """Bytes of all that was brought and not dropped."""
        return sum(one.bytes for one in self._all())

    def _has_room(self, place: Path, needed: int) -> bool:
        """Drop what nobody uses, the oldest first, until there is room; whether there is."""
        for one in self._all():
            if one.place == place:
                # It is here, or comes by another process: nothing more is needed.
                return True
            if self.taken + needed > self.limit and not _is_in_use(one.place):
                self._let_go(one)
        return self.taken + needed <= self.limit

    def _let_go(self, one: Brought) -> None:
        if one.commit:
            # What cannot be deleted takes room, no more.
            with contextlib.suppress(Exception):
                self.drop(Checkpoint(one.repo, one.revision, one.commit, Path(one.folder), fetched=True))
        shutil.rmtree(one.place, ignore_errors=True)

    def _note(self, one: Brought, *, anew: bool) -> None:
        # What was in the cache before has no entry, and gets none.
        if anew and not (one.place / "what.json").exists():
            self._keep(one)
        if one.place.is_dir():
            (one.place / _user()).touch()

    def _keep(self, one: Brought) -> None:
        told = {"repo": one.repo, "revision": one.revision, "bytes": one.bytes}
        told |= {"commit": one.commit, "folder": one.folder}
        write_atomically(one.place / "what.json", json.dumps(told).encode())

    def _all(self) -> list[Brought]:
        """What was brought, the oldest first; what cannot be read is passed over."""
        return [one for _, one in sorted(self._read(), key=lambda pair: pair[0])]

    def _read(self) -> Iterator[tuple[float, Brought]]:
        for path in self.ledger.glob("*/what.json"):
            with contextlib.suppress(MeasureError, OSError, TypeError, KeyError):
                told = files.read_json(path)
                found = Brought(path.parent, **{name: told[name] for name in ("repo", "revision", "commit", "folder")},
                                bytes=int(told["bytes"]))  # fmt: skip
                yield path.parent.stat().st_ctime, found


def _user() -> str:
    return f"user-{re.sub('[^A-Za-z0-9]+', '_', socket.gethostname())}-{os.getpid()}"


def _is_in_use(place: Path) -> bool:
    """Whether a process that is not known to have ended uses a checkpoint."""
    return any(_is_alive(path) for path in place.glob("user-*"))


def _is_alive(user: Path) -> bool:
    host, _, pid = user.name.removeprefix("user-").rpartition("-")
    try:
        if host != _user().removeprefix("user-").rpartition("-")[0]:
            return time.time() - user.stat().st_mtime < _OLD
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        return True
    return True


def _told(number: int) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 10**8 else f"{number / 1e6:.1f} MB"
