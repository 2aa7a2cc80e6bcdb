"""The model hub: checkpoints to local folders, each failure to one message. Loads no weights.

What the hub says, the cache, hashes and the choice of files are in `hub_listings`, `hub_cache`, `hub_hashes` and
`hub_weights`; what others call is offered here.
"""

from __future__ import annotations

import glob
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure.base import checkpoint_files
from measure.base.checkpoint_files import PICKLED, SAFE
from measure.catalog import revisions
from measure.hub import quota
from measure.hub.cache import (
    cache_folder,
    cached_commit,
    cached_files,
    has_all,
    is_listed,
    memory,
    missing_files,
    remember_revision,
    remembered_branches,
    remembered_sizes,
)
from measure.hub.errors import DamagedError, Kind, not_in_cache, with_retries
from measure.hub.hashes import check_cached, check_hashes
from measure.hub.listings import (
    Listing,
    branches,
    explained_with_revisions,
    forget,
    is_reachable,
    known_branches,
    listed,
    listing_at,
    listing_or_none,
    nearest_names,
    nearest_revision,
    refs,
    spend,
)
from measure.hub.weights import (
    SMALL_FILES,
    check_apart,
    check_apart_cached,
    files_elsewhere,
    say_two_sets,
    wanted_files,
    weights_of,
)
from measure.spec import MeasureError, NotMeasuredError

__all__ = [
    "SMALL_FILES",
    "Checkpoint",
    "Kind",
    "branches",
    "bytes_to_fetch",
    "cached_files",
    "commit_of",
    "drop",
    "fetch",
    "fetch_file",
    "file_names",
    "file_sizes",
    "forget",
    "is_cached",
    "is_listed",
    "is_reachable",
    "known_branches",
    "listed",
    "listing_at",
    "memory",
    "nearest_revision",
    "refs",
    "weights_of",
]

# Bytes worth a look at the configuration first, at the price of one more round trip.
_LARGE = 2**26
_log = logging.getLogger("measure")


@dataclass(frozen=True)
class Checkpoint:
    """One revision of a model on this machine. `fetched`: this call brought it here, it was not in the cache before."""

    repo: str
    revision: str
    commit: str
    folder: Path
    fetched: bool


def fetch(
    repo: str,
    revision: str = "main",
    *,
    allow_pickle: bool = False,
    weights: bool = True,
    check: Callable[[Path], object] | None = None,
) -> Checkpoint:
    """Bring one revision of a model into the cache and check every file against the hash that the hub states.

    `revision` is a branch, a tag, a commit, or `tokensNB`: the training branch nearest to N billion tokens. Files that
    are in the cache already are not fetched again, and a connection cut goes on where it was. Whoever brought a file,
    it is held against its hash before it is first used, and again once it has changed. Only safetensors are taken,
    unless `allow_pickle`; with `weights=False` the configuration and the tokenizer alone. `check` is handed the folder
    once the configuration is there, before large weights are fetched, and may raise.
    Without network, or offline, the revision is taken from the cache. Raises `MeasureError` for whatever goes wrong.
    """
    revision = nearest_revision(repo, revision)
    listing = listing_or_none(repo, revision)
    if listing is None:
        return _from_cache(repo, revision, weights=weights, allow_pickle=allow_pickle)
    names = wanted_files(repo, listing.sizes, weights=weights, allow_pickle=allow_pickle)
    if weights:
        check_apart(repo, revision, listing, names)
        say_two_sets(repo, revision, listing, names)
    folder = cache_folder(repo) / "snapshots" / listing.commit
    fetched = _bring(repo, revision, listing, names, check=check)
    if elsewhere := files_elsewhere(repo, folder, names) if weights else []:
        fetched |= _bring(repo, revision, listing, [name for name in elsewhere if name in listing.sizes])
    if weights and not listing.hashes:
        check_apart_cached(repo, revision, folder, names)
    remember_revision(repo, revision, listing.commit)
    return Checkpoint(repo, revision, listing.commit, folder, fetched)


def _bring(
    repo: str,
    revision: str,
    listing: Listing,
    names: Sequence[str],
    kind: Kind = "model",
    *,
    check: Callable[[Path], object] | None = None,
) -> bool:
    """Have files of a commit in the cache, all of them as the hub states; whether one was not there before."""
    folder = cache_folder(repo, kind) / "snapshots" / listing.commit
    absent = missing_files(folder, names)
    if not _lacking(repo, revision, folder, names):
        return False
    # One process of a machine fetches at a time; what another has brought meanwhile is not fetched again.
    with quota.turn(memory() / "turns"):
        missing = _lacking(repo, revision, folder, names)
        if not missing:
            return False
        needed = sum(listing.sizes[name] for name in missing)
        _check_space(repo, needed)
        if check is not None and needed > _LARGE:
            _download(repo, revision, listing.commit, ["config.json"])
            check(folder)
        _download(repo, revision, listing.commit, names, kind, large=needed > _LARGE)
    return bool(absent)


def _lacking(repo: str, revision: str, folder: Path, names: Sequence[str]) -> list[str]:
    """The files that are not there; where all are, those that are not what the hub states, and are gone now."""
    if missing := missing_files(folder, names):
        return missing
    try:
        check_hashes(folder, names)
    except DamagedError as error:
        _log.warning("%s@%s in the cache is damaged and is fetched again: %s", repo, revision, error)
    return missing_files(folder, names)


def fetch_file(repo: str, filename: str, *, revision: str = "main", kind: Kind = "model") -> Path:
    """One file of a repository, from the cache or the hub, checked against its hash. Raises `MeasureError`."""
    listing = listing_or_none(repo, revision, kind)
    if listing is None:
        commit = cached_commit(repo, revision, kind)
        path = cache_folder(repo, kind) / "snapshots" / (commit or "none") / filename
        if not path.exists():
            raise not_in_cache(repo, revision, part=filename, kind=kind)
        check_cached(repo, revision, cache_folder(repo, kind) / "snapshots" / (commit or "none"), [filename])
        return path
    if filename not in listing.sizes:
        checkpoint_files.check_no_adapter(repo, listing.sizes if kind == "model" else ())
        raise NotMeasuredError(f"{repo}@{revision} has no file {filename!r}; {nearest_names(filename, listing.sizes)}")
    _bring(repo, revision, listing, [filename], kind)
    remember_revision(repo, revision, listing.commit, kind)
    return cache_folder(repo, kind) / "snapshots" / listing.commit / filename


def file_names(repo: str, *, revision: str = "main", kind: Kind = "model") -> list[str]:
    """Names of a repository's files; without network, of those in the cache. Raises `MeasureError`."""
    listing = listing_or_none(repo, revision, kind)
    if listing is not None:
        return sorted(listing.sizes)
    if not (held := cached_files(repo, revision=revision, kind=kind)):
        raise not_in_cache(repo, revision, kind=kind)
    return held


def file_sizes(repo: str, *, revision: str = "main", kind: Kind = "model") -> dict[str, int]:
    """Bytes of each of a repository's files, as the hub says; none where it does not answer."""
    try:
        listing = listing_or_none(repo, revision, kind)
    except MeasureError:
        return {}
    return dict(listing.sizes) if listing else {}


def bytes_to_fetch(repo: str, revision: str, *, weights: bool = True, allow_pickle: bool = False) -> int | None:
    """How much `fetch` would download; None where the hub does not answer. Downloads nothing."""
    listing = listing_or_none(repo, nearest_revision(repo, revision))
    if listing is None:
        return None
    folder = cache_folder(repo) / "snapshots" / listing.commit
    names = wanted_files(repo, listing.sizes, weights=weights, allow_pickle=allow_pickle)
    return sum(listing.sizes[name] for name in names if not (folder / name).exists())


def commit_of(repo: str, revision: str) -> str:
    """The commit that a revision stands at, on the hub or else in the cache. Raises `MeasureError` for neither."""
    revision = nearest_revision(repo, revision)
    listing = listing_or_none(repo, revision)
    commit = listing.commit if listing else cached_commit(repo, revision)
    if commit is None:
        raise not_in_cache(repo, revision)
    return commit


def is_cached(repo: str, revision: str = "main") -> bool:
    """Whether the weights of a revision are in the cache. Asks no network."""
    if (asked := revisions.wanted(revision)) is not None:
        nearest = asked.nearest(revisions.in_order(remembered_branches(repo), repo))
        revision = nearest.name if nearest else revision
    commit = cached_commit(repo, revision)
    folder = cache_folder(repo) / "snapshots" / (commit or "none")
    return commit is not None and has_all(folder, SAFE)


def drop(checkpoint: Checkpoint) -> None:
    """Delete a revision from the cache, save the files that another revision there shares."""
    from huggingface_hub import constants, scan_cache_dir

    scan_cache_dir(constants.HF_HUB_CACHE).delete_revisions(checkpoint.commit).execute()


def _download(
    repo: str,
    revision: str,
    commit: str,
    names: Sequence[str],
    kind: Kind = "model",
    *,
    large: bool = False,
) -> None:
    """Fetch `names` of a commit and check them; what may pass is tried again."""
    from huggingface_hub import snapshot_download

    def once() -> None:
        # A listing, and of each file what it is and what is in it.
        spend(1 + 2 * len(names))
        snapshot_download(
            repo,
            repo_type=kind,
            revision=commit,
            # Names, not patterns.
            allow_patterns=[glob.escape(name) for name in names],
            tqdm_class=None if large else _silent(),
        )
        folder = cache_folder(repo, kind) / "snapshots" / commit
        absent = missing_files(folder, names)
        if absent:
            raise DamagedError(f"{absent[0]} is not there after its download")
        check_hashes(folder, names)

    try:
        with_retries(once)
    except Exception as error:
        raise explained_with_revisions(error, repo, revision, kind) from error


def _silent() -> type[Any]:
    """A progress bar that is not shown: one is for what takes a while."""
    from tqdm import tqdm

    class Silent(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **{**options, "disable": True})

    return Silent


def _check_space(repo: str, needed: int) -> None:
    """Raise `MeasureError` where a download would fill the disk."""
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE)
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    if needed > free:
        raise NotMeasuredError(
            f"{repo}: {needed / 1e9:.2f} GB are to be fetched and {free / 1e9:.2f} GB are free in {place}. Make room "
            "(`hf cache delete`), set HF_HOME to a larger disk, or drop checkpoints after use with --keep none."
        )


def _from_cache(repo: str, revision: str, *, weights: bool, allow_pickle: bool) -> Checkpoint:
    commit = cached_commit(repo, revision)
    folder = cache_folder(repo) / "snapshots" / (commit or "none")
    if commit is None or not (folder / "config.json").exists():
        raise not_in_cache(repo, revision)
    sizes = remembered_sizes(repo, commit)
    forms = (SAFE, PICKLED) if allow_pickle else (SAFE,)
    if sizes is None and weights and not any(has_all(folder, form) for form in forms):
        raise not_in_cache(repo, revision, part="the weights")
    if sizes is None:
        sizes = dict.fromkeys(checkpoint_files.read(folder), 0)
    names = wanted_files(repo, sizes, weights=weights, allow_pickle=allow_pickle)
    if absent := missing_files(folder, names):
        raise not_in_cache(repo, revision, part=absent[0])
    check_cached(repo, revision, folder, names)
    if weights:
        there = [name for name in files_elsewhere(repo, folder, names) if (folder / name).exists()]
        check_cached(repo, revision, folder, there)
        check_apart_cached(repo, revision, folder, names)
    return Checkpoint(repo, revision, commit, folder, fetched=False)
