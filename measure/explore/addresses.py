"""The token in the page's address: random, and on one port the same for a week, so that pages go on after a restart.

Kept in the cache folder of whoever starts the server, in a file that nobody else can read. What cannot be kept there,
or is not as it was written, is drawn anew.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

# Seconds after the last start for which an address is the next start's too.
KEPT = 7 * 24 * 3600.0
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")


def token(port: int, *, anew: bool = False) -> str:
    """The token of a server on `port`: that of its last start, or with `anew` another; of port 0 another each time."""
    fresh = secrets.token_urlsafe(24)
    place = _place(port) if port else None
    if place is None:
        return fresh
    found = fresh if anew else _kept(place) or fresh
    with suppress(OSError):
        _keep(place, found)
    return found


def _place(port: int) -> Path | None:
    """The file for a port; None where there is no home folder."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return cache / "stable-regions" / "explore" / str(port)


def _kept(place: Path) -> str | None:
    """The token in a file; None unless it is recent and nobody else can have read or written it."""
    try:
        told = place.lstat()
        text = place.read_text("ascii") if stat.S_ISREG(told.st_mode) else ""
    except (OSError, ValueError):
        return None
    # Windows has no such owners and modes: there the folder of a user is closed to others.
    if hasattr(os, "getuid") and (told.st_uid != os.getuid() or told.st_mode & 0o077):
        return None
    recent = 0 <= time.time() - told.st_mtime < KEPT
    return text if recent and _TOKEN.fullmatch(text) else None


def _keep(place: Path, text: str) -> None:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Open to the owner alone from the first byte on.
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f"{place.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(name, place)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
