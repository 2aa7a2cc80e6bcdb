"""The hub's cache on this machine, and what was found out beside it. Asks no network.

The cache is models--OWNER--NAME/{blobs,refs/REVISION,snapshots/COMMIT}, as huggingface_hub documents it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from measure.base import files
from measure.base.checkpoint_files import Form
from measure.base.files import write_atomically
from measure.hub.errors import Kind
from measure.spec import MeasureError


def cache_folder(repo: str, kind: Kind = "model") -> Path:
    """The folder of a repository in the cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / "--".join([f"{kind}s", *repo.split("/")])


def memory() -> Path:
    """The folder beside the cache in which is kept what was found out."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "measure"


def memory_of(repo: str, kind: Kind = "model") -> Path:
    """What the hub said of a repository: offline it is all one knows."""
    return memory() / cache_folder(repo, kind).name


def remember(repo: str, name: str, text: str, kind: Kind = "model") -> None:
    """Keep a text about a repository under a name."""
    path = memory_of(repo, kind) / name
    # Where it cannot be kept the hub is asked again.
    with suppress(OSError):
        if remembered_text(path) != text:
            write_atomically(path, text.encode())


def remember_revision(repo: str, revision: str, commit: str, kind: Kind = "model") -> None:
    """Keep at which commit a revision stands."""
    if not re.fullmatch("[0-9a-f]{40}", revision):
        remember(repo, f"refs/{quote(revision, safe='')}", commit, kind)


def remembered_branches(repo: str, kind: Kind = "model") -> tuple[str, ...]:
    """The branches that a repository had when last asked; none where that is not known."""
    with suppress(MeasureError):
        found = files.read_json(memory_of(repo, kind) / "branches.json")
        if isinstance(found, list) and all(isinstance(name, str) for name in found):
            return tuple(found)
    return ()


def remembered_sizes(repo: str, commit: str, kind: Kind = "model") -> dict[str, int] | None:
    """Bytes of each file of a commit, as the hub told; None where it did not."""
    with suppress(MeasureError):
        found = files.read_json(memory_of(repo, kind) / f"{commit}.json")
        if isinstance(found, dict) and all(type(size) is int and size >= 0 for size in found.values()):
            return found
    return None


def remembered_text(path: Path) -> str | None:
    """The text that was kept at `path`; None where there is none that can be read."""
    with suppress(OSError, UnicodeDecodeError):
        return files.content(path).decode()
    return None


def sealed(text: str) -> str:
    """A text behind its own hash: by a damaged one whole files would be taken for damaged ones."""
    return f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def remembered_hashes(folder: Path) -> dict[str, str]:
    """What the hub stated of the files in a snapshot's folder; nothing where it did not, or where that is damaged."""
    with suppress(OSError, ValueError):
        kept = (memory() / folder.parent.parent.name / f"{folder.name}.hashes").read_text()
        text = kept.partition("\n")[2]
        found: dict[str, str] = json.loads(text) if kept == sealed(text) else {}
        return found
    return {}


def cached_commit(repo: str, revision: str, kind: Kind = "model") -> str | None:
    """The commit that a revision had when last seen, by us or by another user of the cache."""
    if (cache_folder(repo, kind) / "snapshots" / revision).is_dir() or remembered_sizes(
        repo, revision, kind
    ) is not None:
        return revision
    own = memory_of(repo, kind) / "refs" / quote(revision, safe="")
    for path in (own, cache_folder(repo, kind) / "refs" / revision):
        found = (remembered_text(path) or "").strip()
        if re.fullmatch("[0-9a-f]{40}", found):
            return found
    return None


def missing_files(folder: Path, names: Iterable[str]) -> list[str]:
    """Of files by name those that a snapshot lacks."""
    return [name for name in names if not (folder / name).exists()]


def has_all(folder: Path, form: Form) -> bool:
    """Whether a snapshot holds weights of one kind whole: the whole file, or every part of as many as its name says."""
    names = [path.name for path in folder.glob("*") if form.has(path.name) and path.exists()]
    parts = [name for name in names if not name.endswith(".index.json")]
    of = [int(match[1]) for name in parts if (match := re.search(r"-of-(\d+)\.", name))]
    return len(of) < len(parts) or (bool(of) and len(of) == max(of))


def cached_files(repo: str, *, revision: str = "main", kind: Kind = "model") -> list[str]:
    """Names of a repository's files in the cache. Asks no network."""
    folder = cache_folder(repo, kind) / "snapshots" / (cached_commit(repo, revision, kind) or "none")
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def is_listed(repo: str, commit: str) -> bool:
    """Whether the hub told which files a commit has, so that it is known whether all are in the cache."""
    return remembered_sizes(repo, commit) is not None
