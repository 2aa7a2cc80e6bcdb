"""Paths as users write them: what is there is meant, whatever is in its name. Opens nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def at(text: str) -> Path | None:
    """The path that `text` names, where something is there; None where nothing is.

    A leading `~` is the home folder where there is nothing of that very name: no shell opens it behind `--models=`.
    """
    paths = [Path(text)] if text else []
    if text.startswith("~"):
        with suppress(RuntimeError):  # there is no home folder
            paths.append(Path(text).expanduser())
    return next((path for path in paths if _is_there(path)), None)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    # Too long, a NUL in it, or in a folder that is closed to us.
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there."""
    return _is_there(path) and path.is_dir()


def is_file(path: Path) -> bool:
    """Whether a file is there."""
    return _is_there(path) and path.is_file()


def is_written_as_one(text: str) -> bool:
    """Whether `text` can be nothing but a path: no id on the hub looks like it."""
    return text.startswith((".", "/", "~")) or text.endswith("/") or "\\" in text or text.count("/") > 1
