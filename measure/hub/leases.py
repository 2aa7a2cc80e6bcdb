"""Who works on what, told by files in a folder that several machines share. Knows nothing of what the work is.

Made for the file systems of clusters, NFS among them. It takes that a file can be created exclusively, and that what
was synced is seen by who opens the file afterwards. No file is locked, and none is renamed or removed that another may
hold. Clocks are not compared: a holder counts up in its file every few seconds, and who waits watches, by a clock of
its own, whether the file still changes.

A lease on NAME is the file `NAME.0`. Whoever takes it over creates `NAME.1`, which one alone can, and so on: the
highest number holds. A `turn` is a lease that is taken and let go of again and again; its older files are cleared away.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

# Seconds between two signs of life, and without one after which a holder counts as dead.
BEAT = 10.0
STALE = 90.0
# The last line of a lease, always as long: how many signs of life there were, or that its holder let go by itself.
_SIGN = b"%08d\n"
_RELEASED = b"released\n"
# Seconds between two looks at whose turn it is.
_POLL = 0.1


@dataclass(frozen=True)
class Holder:
    """Who has a lease: `machine` and `born` tell a process from every other, where the system tells them."""

    worker: str
    host: str
    pid: int
    machine: str
    born: str

    def __str__(self) -> str:
        return f"{self.worker} ({self.host}, process {self.pid})"

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended: a process of this machine that is no more."""
        return self._is_here and _born(self.pid) != self.born

    @property
    def is_alive(self) -> bool:
        """Whether it is known to be there: a process of this machine."""
        return self._is_here and _born(self.pid) == self.born

    @property
    def _is_here(self) -> bool:
        return self.machine != "" and self.machine == _machine()


def this_process(worker: str) -> Holder:
    """This process as a holder."""
    return Holder(worker, socket.gethostname(), os.getpid(), _machine(), _born(os.getpid()))


@cache
def _machine() -> str:
    """What tells this machine, since it started, and this space of process numbers from others; "" if none is told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _born(pid: int) -> str:
    """When a process of this machine started, by the system's ticks; "" for one that is not there, or only its end."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # A process that was killed and that nobody has asked after yet holds nothing.
    return "" if told[0] in "ZX" else told[19]


@dataclass
class Lease:
    """What this process holds until the block ends, or until it is taken over because the process seemed dead."""

    path: Path
    number: int
    _file: int
    _leases: Leases
    # Where the last line of its file begins, and how many signs of life there were.
    _end: int
    _signs: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_lost(self) -> bool:
        """Whether another has taken it over: what this process still does is done twice."""
        return os.path.exists(_numbered(self.path, self.number + 1))

    def beat(self) -> None:
        """Give a sign of life; where that cannot be written, others will take over."""
        with self._lock, contextlib.suppress(OSError):
            if self._file >= 0:
                self._signs += 1
                os.pwrite(self._file, _SIGN % self._signs, self._end)
                os.fsync(self._file)

    def release(self) -> None:
        """Let go; whoever comes next need not wait."""
        self._leases.drop(self)
        with self._lock:
            file, self._file = self._file, -1
            if file >= 0:
                with contextlib.suppress(OSError):
                    os.pwrite(file, _RELEASED, self._end)
                    os.fsync(file)
                with contextlib.suppress(OSError):
                    os.close(file)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass
class _Watched:
    """A lease of somebody else's as it was seen last, and since when it has not changed, by this process's clock."""

    number: int
    content: bytes
    since: float


class Leases:
    """What one worker holds, with one thread that gives its signs of life, and what it has seen of others.

    With `cleared` the older files of a lease are removed by who takes it: it may be taken any number of times, and
    nobody can tell how many holders died.
    """

    def __init__(self, worker: str, *, beat: float = BEAT, stale: float = STALE, cleared: bool = False) -> None:
        self.holder = this_process(worker)
        self._beat, self._stale, self._cleared = beat, stale, cleared
        self._held: list[Lease] = []
        self._watched: dict[Path, _Watched] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, path: Path) -> Lease | None:
        """The lease on `path`, None while another holds it. Raises `OSError` where nothing can be written."""
        number, free = self._next(path)
        if not free:
            return None
        try:
            file = os.open(_numbered(path, number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return None
        if self._cleared and self._last(path) != number:
            # Others had it meanwhile, and cleared away the files that it was counted from.
            os.close(file)
            _unlink(_numbered(path, number))
            return None
        told = json.dumps(vars(self.holder)).encode() + b"\n"
        try:
            os.write(file, told + _SIGN % 0)
            os.fsync(file)
        except OSError:
            os.close(file)
            raise
        if self._cleared:
            for old in _numbers(path):
                if old < number:
                    _unlink(_numbered(path, old))
        lease = Lease(path, number, file, self, _end=len(told))
        self._held.append(lease)
        self._watched.pop(path, None)
        self._live()
        return lease

    def wait_for(self, path: Path, begin: Callable[[str], None]) -> Lease | None:
        """The lease on `path`, waiting until its holder counts as dead; None as soon as that is seen to be alive."""
        first = None
        while (lease := self.take(path)) is None:
            seen = self._watched.get(path)
            holder, content = self.holder_of(path), seen.content if seen else b""
            first = first or (holder, content)
            if (holder is not None and holder.is_alive) or (holder, content) != first:
                return None
            begin(f"waiting to see whether {holder} is alive")
            time.sleep(min(1.0, self._stale / 10))
        return lease

    def holder_of(self, path: Path) -> Holder | None:
        """Who holds `path`, or held it last; None where that is not told."""
        number = self._last(path)
        return _read(_numbered(path, number))[0] if number >= 0 else None

    def deaths(self, path: Path) -> int:
        """How many holders of `path` did not let go of it by themselves, the last one aside."""
        return sum(not _read(_numbered(path, number))[1] for number in range(self._last(path)))

    def drop(self, lease: Lease) -> None:
        """Give no more signs of life for a lease."""
        with contextlib.suppress(ValueError):
            self._held.remove(lease)

    def close(self) -> None:
        """Let go of everything."""
        self._over.set()
        for lease in tuple(self._held):
            lease.release()

    def _last(self, path: Path) -> int:
        """The highest number of the leases on `path`, -1 where there is none."""
        if self._cleared:
            return max(_numbers(path), default=-1)
        seen = self._watched.get(path)
        number = seen.number if seen else -1
        while os.path.exists(_numbered(path, number + 1)):
            number += 1
        return number

    def _next(self, path: Path) -> tuple[int, bool]:
        """The number that the next lease has, and whether it may be taken."""
        number = self._last(path)
        if number < 0:
            return 0, True
        try:
            holder, released, content = _read(_numbered(path, number))
        except FileNotFoundError:
            # Cleared away by who has it now.
            return number + 1, False
        dead = released or (holder is not None and holder.is_gone)
        return number + 1, dead or self._is_stale(path, number, content)

    def _is_stale(self, path: Path, number: int, content: bytes) -> bool:
        now, seen = time.monotonic(), self._watched.get(path)
        if seen is None or (seen.number, seen.content) != (number, content):
            self._watched[path] = _Watched(number, content, now)
            return False
        return now - seen.since > self._stale

    def _live(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._give_signs, name="leases", daemon=True)
            self._thread.start()

    def _give_signs(self) -> None:
        while not self._over.wait(self._beat):
            for lease in tuple(self._held):
                lease.beat()


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _numbers(path: Path) -> list[int]:
    """The numbers of the leases on `path`, by listing its folder."""
    with os.scandir(path.parent) as entries:
        found = (re.fullmatch(rf"{re.escape(path.name)}\.(\d{{1,18}})", entry.name) for entry in entries)
        return [int(match[1]) for match in found if match]


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _read(path: Path) -> tuple[Holder | None, bool, bytes]:
    """Who wrote a lease, whether it was let go of, and all it says; no holder where that is not there yet."""
    content = path.read_bytes()
    holder = None
    with contextlib.suppress(ValueError, TypeError):
        holder = Holder(**json.loads(content.partition(b"\n")[0]))
    return holder, content.endswith(_RELEASED), content


@contextlib.contextmanager
def turn(path: Path, *, beat: float, stale: float) -> Iterator[None]:
    """Hold the lease on `path` until the block ends; wait for those who hold it.

    Where nothing can be written there are no turns.
    """
    leases = Leases("its turn", beat=beat, stale=stale, cleared=True)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        while leases.take(path) is None:
            time.sleep(_POLL)
    try:
        yield
    finally:
        leases.close()
