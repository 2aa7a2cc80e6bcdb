"""The files that this package writes for itself: written whole, read without trust, sealed, swept of leftovers.

Whoever edited or cut such a file, reading it ends in its content or in one `MeasureError`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from measure.spec import MeasureError

# Of what we write nothing is nested deeper than ten.
_DEEPEST = 40
_LARGEST = 2**63
# Only such may be too large.
_LONG = re.compile(r"\d{19}|\d[eE]\+?\d{3}")
# No write takes so long, in seconds; what fills a folder may take hours.
OLD = 3600.0
OLD_FOLDER = 24 * 3600.0


def parsed(given: bytes | str) -> Any:
    """JSON of ours: UTF-8, numbers that are some, no key twice, not nested deep. Raises `MeasureError` with the reason.

    Reasons are parts of a sentence: whoever knows the file says which it is, and what to do.
    """
    try:
        text = given.decode() if isinstance(given, bytes) else given
        # Bytes that were read as half characters.
        text.encode()
        # Looking at each number takes twice as long as reading it.
        numbers: dict[str, Any] = {"parse_float": _float, "parse_int": _int} if _LONG.search(text) else {}
        value = json.loads(text, parse_constant=_no_number, object_pairs_hook=_each_once, **numbers)
    except UnicodeError as error:
        raise MeasureError(f"it is not in UTF-8 (byte {getattr(error, 'start', 0)})") from None
    except RecursionError:
        raise MeasureError("it is nested too deep") from None
    except ValueError as error:
        raise MeasureError(str(error)) from None
    _check_depth(value)
    return value


def content(path: Path) -> bytes:
    """What a file holds. Raises `OSError`, also for a pipe or a device, on which reading may never end."""
    if stat.S_ISDIR(mode := path.stat().st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "no ordinary file", str(path))
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """`parsed` of a file. Raises `MeasureError` with the reason, also where it cannot be read."""
    try:
        return parsed(content(path))
    except OSError as error:
        raise MeasureError(error.strerror or str(error)) from None


def _no_number(name: str) -> float:
    raise MeasureError(f"{name} is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise MeasureError(f"{text[:20]} is too large a number")
    return value


def _int(text: str) -> int:
    if len(text) > 20 or not -_LARGEST <= int(text) < _LARGEST:
        raise MeasureError(f"{text[:20]}... is too large a number")
    return int(text)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise MeasureError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _check_depth(value: Any) -> None:
    """Level by level, since what is nested deep cannot be walked by recursion."""
    level = [value]
    for _ in range(_DEEPEST):
        inside = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [one for some in inside for one in some if isinstance(one, dict | list)]
        if not level:
            return
    raise MeasureError("it is nested too deep")


# Sealed: a content and what tells that it is the one that was written, in this place.


def seal(place: str, text: str) -> str:
    """What tells that a text is the one that was written, in this place."""
    return hashlib.sha256(f"{place}\n{text}".encode()).hexdigest()[:16]


def sealed(place: str, value: Any) -> bytes:
    """JSON that `unsealed` takes from this place alone; `place` is the file's name, or what it stands for."""
    text = json.dumps(value)
    return f"{text}\n{seal(place, text)}\n".encode()


def unsealed(place: str, given: bytes) -> Any:
    """What was sealed. Raises `MeasureError` for all that was not, or not in this place."""
    body, _, found = given.removesuffix(b"\n").rpartition(b"\n")
    with suppress(UnicodeDecodeError):
        if seal(place, body.decode()).encode() == found:
            return parsed(body)
    raise MeasureError("it is not as it was written")


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a kill at any moment leaves the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep_once(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private to their owner; results are ordinary files.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@cache
def _sweep_once(folder: Path) -> None:
    """Remove what killed runs left in a folder, when a process first writes into it."""
    sweep([folder])


# Temporaries of killed runs.

# As `write_atomically` calls them; in the store, whatever stands behind the name.
_OURS = re.compile(r"\.[0-9a-f]{64}\.(npz|link)\..+|\..+\.(npz|link|json|jsonl|html|txt|md|pt)\.[a-z0-9_]{8}")


def sweep(folders: Iterable[str | Path]) -> None:
    """Remove temporaries that killed runs left in these folders, those of a running one aside: they are young.

    What cannot be looked at or removed stays.
    """
    until = time.time() - OLD
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") and _OURS.fullmatch(entry.name):
                    with suppress(OSError):
                        if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime < until:
                            os.unlink(entry.path)


def sweep_folders(place: Path, pattern: str) -> None:
    """Remove folders in `place` that were being filled, a day after anything in them was touched.

    `pattern` is what stands before their last eight letters, as a regular expression.
    """
    until = time.time() - OLD_FOLDER
    with suppress(OSError):
        for path in place.iterdir():
            if re.fullmatch(rf"{pattern}[a-z0-9_]{{8}}", path.name) and path.is_dir() and not path.is_symlink():
                with suppress(OSError):
                    if max(one.stat().st_mtime for one in (path, *path.rglob("*"))) < until:
                        shutil.rmtree(path, ignore_errors=True)
