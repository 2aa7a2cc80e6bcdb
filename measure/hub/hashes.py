"""Files of the cache held against the hashes that the hub states. Fetches nothing.

`HfApi.verify_repo_checksums` is no substitute: it asks the hub at each call, hashes a whole snapshot at each call, and
leaves damaged files where they are. Here a file is hashed once as long as it stays as it is, also without a network.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from measure.hub import known
from measure.hub.cache import memory, remembered_hashes
from measure.hub.errors import DamagedError, is_offline
from measure.spec import NotMeasuredError


def check_hashes(folder: Path, names: Iterable[str]) -> None:
    """Hold files of a snapshot against the hashes that the hub gave them, each once as long as it stays as it is.

    All that are damaged are removed, then `DamagedError` is raised: none of them is taken for whole by anybody.
    """
    stated = remembered_hashes(folder)
    damaged = [told for name in names if (told := _damage(folder / name, stated.get(name)))]
    if damaged:
        raise DamagedError(", and ".join(damaged))


def _damage(entry: Path, stated: str | None) -> str | None:
    """How a file of a snapshot is not what the hub states, or else its blob's name does; it is removed then."""
    # One step: a blob may itself be a link into a storage that all repositories share, under another hash. Where there
    # are no symbolic links a file stands in its own place, and its name says nothing.
    blob = entry.parent / entry.readlink() if entry.is_symlink() else entry
    stated = stated or (blob.name if blob != entry else "")
    # Some mirrors of the hub name blobs by what is no hash of theirs.
    if not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", stated):
        return None
    seen = known.of_files(memory() / "known", [blob], what="as the hub states", stated=stated)
    if known.is_marked(seen):
        return None
    found = _digest(blob, stated)
    if found == stated:
        known.set_mark(seen)
        return None
    # What is whole and stands in the wrong place is some other file's.
    _remove(entry, *(() if found == blob.name else (blob, blob.resolve())))
    return f"{entry.name} came with the hash {found[:12]}, the hub states {stated[:12]}"


def _digest(blob: Path, like: str) -> str:
    """The hash of a file, git's or sha256, by the length of the one that it is to be held against."""
    start = hashlib.sha256 if len(like) == 64 else partial(hashlib.sha1, b"blob %d\0" % blob.stat().st_size)
    with blob.open("rb") as file:
        return hashlib.file_digest(file, start).hexdigest()


def _remove(entry: Path, *blobs: Path) -> None:
    try:
        for path in (entry, *blobs):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise NotMeasuredError(
            f"{entry} is not what the hub states and cannot be removed ({error.strerror}); remove it, or set HF_HOME "
            "to another folder."
        ) from error


def check_cached(repo: str, revision: str, folder: Path, names: Iterable[str]) -> None:
    """`check_hashes` where nothing can be fetched again. Raises `MeasureError`."""
    try:
        check_hashes(folder, names)
    except DamagedError as error:
        why = "HF_HUB_OFFLINE is set" if is_offline() else "the hub cannot be reached"
        raise NotMeasuredError(
            f"{repo}@{revision}: {error}; it was not kept, and {why}. Fetch it where there is a network (`measure "
            "fetch`)."
        ) from None
