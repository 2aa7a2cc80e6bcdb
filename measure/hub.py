"""The model hub: revisions to commits, checkpoints to local folders, each failure to one message. Loads no weights."""

from __future__ import annotations

import difflib
import glob
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from measure import checkpoint_files, files, known, quota, revisions, stale
from measure.files import write_atomically
from measure.hub_errors import DamagedError, Kind, explained, is_offline, is_unreachable, not_in_cache, patiently
from measure.spec import MeasureError, NotMeasuredError

# Bytes worth a look at the configuration first, at the price of one more round trip.
_LARGE = 2**26
# Seconds in which the hub must answer a question about a repository.
_TIMEOUT = 30.0
SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
_SAFE = re.compile(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?")
_PICKLED = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin(\.index\.json)?")
_log = logging.getLogger("measure")


@dataclass(frozen=True)
class Checkpoint:
    """One revision of a model on this machine. `fetched`: this call brought it here, it was not in the cache before."""

    repo: str
    revision: str
    commit: str
    folder: Path
    fetched: bool


@dataclass(frozen=True)
class Listing:
    """What the hub says of one revision: its commit, the size in bytes of each of its files, and hashes by name.

    A hash is the sha256 of a large file, else git's.
    """

    commit: str
    sizes: dict[str, int]
    hashes: dict[str, str] = field(default_factory=dict)


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
    listing = _listing_or_none(repo, revision)
    if listing is None:
        return _from_cache(repo, revision, weights=weights, allow_pickle=allow_pickle)
    names = _wanted(repo, listing.sizes, weights=weights, allow_pickle=allow_pickle)
    if weights:
        _check_apart(repo, revision, listing, names)
        _say_two_sets(repo, revision, listing, names)
    folder = _cache(repo) / "snapshots" / listing.commit
    fetched = _bring(repo, revision, listing, names, check=check)
    if elsewhere := _elsewhere(repo, folder, names) if weights else []:
        fetched |= _bring(repo, revision, listing, [name for name in elsewhere if name in listing.sizes])
    if weights and not listing.hashes:
        _check_apart_cached(repo, revision, folder, names)
    _remember_revision(repo, revision, listing.commit)
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
    folder = _cache(repo, kind) / "snapshots" / listing.commit
    absent = _missing(folder, names)
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
    if missing := _missing(folder, names):
        return missing
    try:
        _check_hashes(folder, names)
    except DamagedError as error:
        _log.warning("%s@%s in the cache is damaged and is fetched again: %s", repo, revision, error)
    return _missing(folder, names)


def _missing(folder: Path, names: Iterable[str]) -> list[str]:
    return [name for name in names if not (folder / name).exists()]


def _elsewhere(repo: str, folder: Path, names: Sequence[str]) -> list[str]:
    """Files that an index in a snapshot tells of and that are not among `names`, as those in a folder of its own.

    Raises `MeasureError` where one would lie outside of the commit.
    """
    indices = [name for name in names if name.endswith(".index.json")]
    found = {part for name in indices for part in checkpoint_files.parts(folder / name)} - {*names}
    for part in sorted(found):
        if Path(part).is_absolute() or ".." in Path(part).parts:
            raise NotMeasuredError(f"{repo}: {indices[0]} tells of {part}, outside of the repository; it is not read.")
    return sorted(found)


def _check_apart(repo: str, revision: str, listing: Listing, names: Iterable[str]) -> None:
    """Raise `MeasureError` for a training checkpoint whose weights, or a file of them, are main's; asked once a commit.

    By the hashes that the hub states, before anything is fetched; nothing where it states none. Of a revision whose
    name tells of no training it is said, no more: it may be main before one file was mended.
    """
    own = _of_weights(listing.hashes, names) if revision != "main" else {}
    seen = known.of(memory() / "known", what="weights apart from main", repo=repo, commit=listing.commit)
    if not own or known.is_marked(seen):
        return
    try:
        main = _listing_or_none(repo, "main")
    except MeasureError:
        return
    if main is not None and main.commit != listing.commit:
        _check_shared(repo, revision, own, _of_weights(main.hashes, main.sizes))
        known.set_mark(seen)


def _check_apart_cached(repo: str, revision: str, folder: Path, names: Iterable[str]) -> None:
    """The same of what is in the cache, as far as one can tell what main was when last seen."""
    commit = _cached_commit(repo, "main")
    if revision == "main" or commit in (None, folder.name):
        return
    main = folder.parent / str(commit)
    theirs = _hashes_of(main)
    _check_shared(repo, revision, _of_weights(_hashes_of(folder), names), _of_weights(theirs, theirs))


def _check_shared(repo: str, revision: str, own: dict[str, str], mains: dict[str, str]) -> None:
    held = [name for name, stated in own.items() if stated in mains.values()]
    if held and len(held) < len(own):
        error = stale.shared(f"{repo}@{revision}", held, len(own))
        if stale.order(revision, repo) is not None:
            raise error
        _log.warning("%s", error)
    elif held and stale.order(revision, repo) is not None and not _may_be_main(repo, revision):
        raise stale.equal(f"{repo}: revisions main and {revision}", own[held[0]], "on the hub")


def _may_be_main(repo: str, revision: str) -> bool:
    return stale.may_be_equal("main", revision, known_branches(repo), repo)


def _of_weights(hashes: dict[str, str], names: Iterable[str]) -> dict[str, str]:
    """Of hashes by name those of files with weights among `names`."""
    parts = (name for name in names if (_SAFE.fullmatch(name) or _PICKLED.fullmatch(name)) and "index" not in name)
    return {name: hashes[name] for name in parts if name in hashes}


def _hashes_of(folder: Path) -> dict[str, str]:
    """The hashes of a snapshot's files: what the hub stated, else what their blobs are called by."""
    links = {path.name: path.readlink().name for path in folder.glob("*") if path.is_symlink()}
    return links | _remembered_hashes(folder)


def _say_two_sets(repo: str, revision: str, listing: Listing, names: Sequence[str]) -> None:
    """Tell of weights that are there whole and in parts, of which nobody knows whether they are the same."""
    other = next((f"{name}.index.json" for name in names if f"{name}.index.json" in listing.sizes), None)
    if other is not None:
        _log.warning(
            "%s@%s holds its weights whole and in parts (%s); the whole file is taken, as by transformers",
            repo,
            revision,
            other,
        )


def known_branches(repo: str) -> tuple[str, ...]:
    """Names of a repository's branches; none where nobody can tell them."""
    try:
        return branches(repo)
    except MeasureError:
        return ()


def fetch_file(repo: str, filename: str, *, revision: str = "main", kind: Kind = "model") -> Path:
    """One file of a repository, from the cache or the hub, checked against its hash. Raises `MeasureError`."""
    listing = _listing_or_none(repo, revision, kind)
    if listing is None:
        commit = _cached_commit(repo, revision, kind)
        path = _cache(repo, kind) / "snapshots" / (commit or "none") / filename
        if not path.exists():
            raise not_in_cache(repo, revision, part=filename, kind=kind)
        _check_cached(repo, revision, _cache(repo, kind) / "snapshots" / (commit or "none"), [filename])
        return path
    if filename not in listing.sizes:
        checkpoint_files.check_no_adapter(repo, listing.sizes if kind == "model" else ())
        raise NotMeasuredError(f"{repo}@{revision} has no file {filename!r}; {_nearest(filename, listing.sizes)}")
    _bring(repo, revision, listing, [filename], kind)
    _remember_revision(repo, revision, listing.commit, kind)
    return _cache(repo, kind) / "snapshots" / listing.commit / filename


def file_names(repo: str, *, revision: str = "main", kind: Kind = "model") -> list[str]:
    """Names of a repository's files; without network, of those in the cache. Raises `MeasureError`."""
    listing = _listing_or_none(repo, revision, kind)
    if listing is not None:
        return sorted(listing.sizes)
    if not (held := cached_files(repo, revision=revision, kind=kind)):
        raise not_in_cache(repo, revision, kind=kind)
    return held


def file_sizes(repo: str, *, revision: str = "main", kind: Kind = "model") -> dict[str, int]:
    """Bytes of each of a repository's files, as the hub says; none where it does not answer."""
    try:
        listing = _listing_or_none(repo, revision, kind)
    except MeasureError:
        return {}
    return dict(listing.sizes) if listing else {}


def cached_files(repo: str, *, revision: str = "main", kind: Kind = "model") -> list[str]:
    """Names of a repository's files in the cache. Asks no network."""
    folder = _cache(repo, kind) / "snapshots" / (_cached_commit(repo, revision, kind) or "none")
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def bytes_to_fetch(repo: str, revision: str, *, weights: bool = True, allow_pickle: bool = False) -> int | None:
    """How much `fetch` would download; None where the hub does not answer. Downloads nothing."""
    listing = _listing_or_none(repo, nearest_revision(repo, revision))
    if listing is None:
        return None
    folder = _cache(repo) / "snapshots" / listing.commit
    names = _wanted(repo, listing.sizes, weights=weights, allow_pickle=allow_pickle)
    return sum(listing.sizes[name] for name in names if not (folder / name).exists())


def commit_of(repo: str, revision: str) -> str:
    """The commit that a revision stands at, on the hub or else in the cache. Raises `MeasureError` for neither."""
    revision = nearest_revision(repo, revision)
    listing = _listing_or_none(repo, revision)
    commit = listing.commit if listing else _cached_commit(repo, revision)
    if commit is None:
        raise not_in_cache(repo, revision)
    return commit


def is_cached(repo: str, revision: str = "main") -> bool:
    """Whether the weights of a revision are in the cache. Asks no network."""
    if (asked := revisions.wanted(revision)) is not None:
        nearest = asked.nearest(revisions.in_order(_remembered_branches(repo), repo))
        revision = nearest.name if nearest else revision
    commit = _cached_commit(repo, revision)
    folder = _cache(repo) / "snapshots" / (commit or "none")
    return commit is not None and _has_all(folder, _SAFE)


def is_reachable(repo: str) -> bool:
    """Whether the hub answers now when asked for a model; asked once, without patience."""
    from huggingface_hub import HfApi

    if is_offline():
        return False
    _spend()
    try:
        HfApi().model_info(repo, timeout=5.0)
    except Exception as error:
        return not is_unreachable(error)
    return True


def branches(repo: str, kind: Kind = "model") -> tuple[str, ...]:
    """Names of a repository's branches on the hub; without network, those it had when last asked."""
    try:
        found = patiently(lambda: _asked_branches(repo, kind))
    except Exception as error:
        known = _remembered_branches(repo, kind)
        if is_unreachable(error) and known:
            return known
        raise _explained(error, repo, "main", kind) from error
    _remember(repo, "branches.json", json.dumps(found), kind)
    return found


def refs(repo: str) -> dict[str, str]:
    """The commit of each branch of a model on the hub, by one request. Raises `MeasureError`, also offline."""
    try:
        found = patiently(lambda: _asked_refs(repo, "model"))
    except Exception as error:
        raise _explained(error, repo, "main") from error
    _remember(repo, "branches.json", json.dumps(tuple(found)))
    return found


def _asked_branches(repo: str, kind: Kind) -> tuple[str, ...]:
    return tuple(_asked_refs(repo, kind))


def _asked_refs(repo: str, kind: Kind) -> dict[str, str]:
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]

    if is_offline():
        raise OfflineModeIsEnabled("offline")
    _spend()
    # list_repo_refs of huggingface_hub has no timeout.
    answer = get_session().get(
        f"{constants.ENDPOINT}/api/{kind}s/{repo}/refs", headers=build_hf_headers(), timeout=_TIMEOUT
    )
    hf_raise_for_status(answer)
    return {branch["name"]: branch["targetCommit"] for branch in answer.json()["branches"]}


def nearest_revision(repo: str, revision: str) -> str:
    """The training branch nearest to the tokens that `tokensNB` asks for; any other revision as it stands.

    Of several stages the first is meant, unless `stage2-tokensNB` tells another. Raises `MeasureError` when no branch
    of the model tells its tokens.
    """
    asked = revisions.wanted(revision)
    if asked is None:
        return revision
    names = branches(repo)
    found = asked.nearest(revisions.in_order(names, repo))
    if found is None or found.tokens is None:
        raise NotMeasuredError(
            f"{repo}@{revision}: none of its {len(names)} branches is a training checkpoint that tells its tokens"
            f"{_looked_for(repo, asked)}; name a branch: {', '.join(names[:5])}."
        )
    if not asked.tokens / 2 <= found.tokens <= 2 * asked.tokens:
        raise NotMeasuredError(
            f"{repo}@{revision}: the nearest of its training checkpoints is {found.name}, after "
            f"{found.tokens / 1e9:g} billion tokens, which is too far off to stand for it; name a branch."
        )
    return found.name


def _looked_for(repo: str, asked: revisions.Wanted) -> str:
    """Which branches would have told it, and what a user can tell."""
    family = revisions.family_of(repo)
    stage = f" in stage {asked.stage}" if asked.stage is not None else ""
    if family is None:
        return f"{stage} (looked for stepN-tokensNB; --revision-pattern and --tokens-a-step tell of others)"
    return f"{stage} (looked for {family.pattern}{'' if family.tokens_a_step else ', tokens a step are not published'})"


def drop(checkpoint: Checkpoint) -> None:
    """Delete a revision from the cache, save the files that another revision there shares."""
    from huggingface_hub import constants, scan_cache_dir

    scan_cache_dir(constants.HF_HUB_CACHE).delete_revisions(checkpoint.commit).execute()


# The hub itself.


# A process stays on one commit of each revision, and asks for it once.
_LISTINGS: dict[tuple[str, ...], Listing] = {}


def forget() -> None:
    """Ask the hub again where a branch stands, whatever it said before."""
    _LISTINGS.clear()


def _listing_or_none(repo: str, revision: str, kind: Kind = "model") -> Listing | None:
    """What the hub says of a revision, None where it cannot be reached. Raises `MeasureError` where it refuses."""
    from huggingface_hub import HfApi, constants

    if is_offline():
        return None
    if known := _LISTINGS.get((constants.ENDPOINT, repo, revision, kind)) or _shared(repo, revision, kind):
        return known
    ask = HfApi().dataset_info if kind == "dataset" else HfApi().model_info

    def once() -> Any:
        _spend()
        return ask(repo, revision=revision, files_metadata=True, timeout=_TIMEOUT)

    try:
        info = patiently(once)
    except Exception as error:
        if is_unreachable(error):
            return None
        raise _explained(error, repo, revision, kind) from error
    files = info.siblings or ()
    stated = {file.rfilename: getattr(file.lfs, "sha256", None) or file.blob_id for file in files}
    hashes = {name: sha for name, sha in stated.items() if sha}
    listing = Listing(str(info.sha), {file.rfilename: file.size or 0 for file in files}, hashes)
    _LISTINGS[constants.ENDPOINT, repo, revision, kind] = listing
    if hashes:
        _remember(repo, f"{listing.commit}.hashes", _sealed(json.dumps(hashes)), kind)
    _remember(repo, f"{listing.commit}.json", json.dumps(listing.sizes), kind)
    if _SINCE:
        with suppress(OSError):
            write_atomically(_answer(repo, revision, kind), listing.commit.encode())
    return listing


def _spend(requests: int = 1) -> None:
    """Wait until the hub may be asked again, with all processes that share the cache."""
    quota.take(memory() / "requests", requests)


# Since when answers of other processes count, by the file server's time; empty where each process asks for itself.
_SINCE: list[float] = []


def share_answers(since: float | None) -> None:
    """Take what any process that shares the cache was told of a revision after `since`, and tell them; None ends it.

    `since` is a time of the file server, such as that of a file made as a run began: all workers of a run then stay on
    one commit of each revision, and the hub is asked once for all of them.
    """
    _SINCE[:] = [] if since is None else [since]


def _answer(repo: str, revision: str, kind: Kind) -> Path:
    return _memory(repo, kind) / "answers" / quote(revision, safe="")


def _shared(repo: str, revision: str, kind: Kind) -> Listing | None:
    """What another process of this run was told of a revision."""
    from huggingface_hub import constants

    path = _answer(repo, revision, kind)
    with suppress(OSError):
        if _SINCE and path.stat().st_mtime >= _SINCE[0]:
            commit = (_remembered(path) or "").strip()
            sizes = _remembered_sizes(repo, commit, kind)
            hashes = _remembered_hashes(_cache(repo, kind) / "snapshots" / commit)
            if sizes is not None:
                listing = Listing(commit, sizes, hashes)
                return _LISTINGS.setdefault((constants.ENDPOINT, repo, revision, kind), listing)
    return None


def listing_at(repo: str, revision: str, commit: str) -> Listing | None:
    """What the hub says, or said earlier, of a revision that stands at `commit`; None where it cannot be reached.

    What it said once of a commit is not asked again. Raises `MeasureError` where it refuses.
    """
    from huggingface_hub import constants

    sizes, hashes = _remembered_sizes(repo, commit), _remembered_hashes(_cache(repo) / "snapshots" / commit)
    if sizes is None or not hashes:
        return _listing_or_none(repo, revision)
    return _LISTINGS.setdefault((constants.ENDPOINT, repo, revision, "model"), Listing(commit, sizes, hashes))


def weights_of(names: Iterable[str], *, pickled: bool = False) -> list[str]:
    """Of the files of a model those that hold weights, of one kind; the index of parts aside."""
    kind = _PICKLED if pickled else _SAFE
    return sorted(name for name in names if kind.fullmatch(name) and not name.endswith(".index.json"))


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
        _spend(1 + 2 * len(names))
        snapshot_download(
            repo,
            repo_type=kind,
            revision=commit,
            # Names, not patterns.
            allow_patterns=[glob.escape(name) for name in names],
            tqdm_class=None if large else _silent(),
        )
        folder = _cache(repo, kind) / "snapshots" / commit
        absent = _missing(folder, names)
        if absent:
            raise DamagedError(f"{absent[0]} is not there after its download")
        _check_hashes(folder, names)

    try:
        patiently(once)
    except Exception as error:
        raise _explained(error, repo, revision, kind) from error


def _silent() -> type[Any]:
    """A progress bar that is not shown: one is for what takes a while."""
    from tqdm import tqdm

    class Silent(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **{**options, "disable": True})

    return Silent


def _check_hashes(folder: Path, names: Iterable[str]) -> None:
    """Hold files of a snapshot against the hashes that the hub gave them, each once as long as it stays as it is.

    All that are damaged are removed, then `DamagedError` is raised: none of them is taken for whole by anybody.
    """
    stated = _remembered_hashes(folder)
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
    digest = hashlib.sha256() if len(like) == 64 else hashlib.sha1(b"blob %d\0" % blob.stat().st_size)
    with blob.open("rb") as file:
        while part := file.read(2**24):
            digest.update(part)
    return digest.hexdigest()


def _remove(entry: Path, *blobs: Path) -> None:
    try:
        for path in (entry, *blobs):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise NotMeasuredError(
            f"{entry} is not what the hub states and cannot be removed ({error.strerror}); remove it, or set HF_HOME "
            "to another folder."
        ) from error


def _check_cached(repo: str, revision: str, folder: Path, names: Iterable[str]) -> None:
    """`_check_hashes` where nothing can be fetched again. Raises `MeasureError`."""
    try:
        _check_hashes(folder, names)
    except DamagedError as error:
        why = "HF_HUB_OFFLINE is set" if is_offline() else "the hub cannot be reached"
        raise NotMeasuredError(
            f"{repo}@{revision}: {error}; it was not kept, and {why}. Fetch it where there is a network (`measure "
            "fetch`)."
        ) from None


def _wanted(repo: str, sizes: dict[str, int], *, weights: bool, allow_pickle: bool) -> list[str]:
    """The files of a repository that a model is loaded from. Raises `MeasureError` where it holds none."""
    small = [name for name in sizes if name in SMALL_FILES]
    checkpoint_files.check_no_adapter(repo, sizes)
    if "config.json" not in sizes:
        raise NotMeasuredError(
            f"{repo} has no config.json, so it holds no transformers model; it has {', '.join(sorted(sizes)[:5])}."
        )
    if not weights:
        return small
    for pattern in (_SAFE, *((_PICKLED,) if allow_pickle else ())):
        if found := _one_set([name for name in sizes if pattern.fullmatch(name)]):
            return [*small, *found]
    pickled = [name for name in sizes if _PICKLED.fullmatch(name)]
    if pickled:
        raise NotMeasuredError(
            f"{repo} holds its weights pickled only ({pickled[0]}); loading a pickle can run code. Use a revision with "
            "safetensors, or allow it with --allow-pickle (tensors alone are then unpickled)."
        )
    raise NotMeasuredError(
        f"{repo} has no weights as transformers writes them; looked for model.safetensors, whole or in numbered parts, "
        f"found {', '.join(sorted(sizes)[:5])}."
    )


def _one_set(names: list[str]) -> list[str]:
    """Of a whole file and the same in numbered parts the whole one; the parts with their index."""
    whole = [name for name in names if name in ("model.safetensors", "pytorch_model.bin")]
    return whole or names


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


# The cache, models--OWNER--NAME/{blobs,refs/REVISION,snapshots/COMMIT} as huggingface_hub documents it, and our memory.


def _cache(repo: str, kind: Kind = "model") -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / "--".join([f"{kind}s", *repo.split("/")])


def memory() -> Path:
    """The folder beside the cache in which is kept what was found out."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "measure"


def _memory(repo: str, kind: Kind = "model") -> Path:
    """What the hub said of a repository: offline it is all one knows."""
    return memory() / _cache(repo, kind).name


def _remember(repo: str, name: str, text: str, kind: Kind = "model") -> None:
    path = _memory(repo, kind) / name
    # Where it cannot be kept the hub is asked again.
    with suppress(OSError):
        if _remembered(path) != text:
            write_atomically(path, text.encode())


def _remember_revision(repo: str, revision: str, commit: str, kind: Kind = "model") -> None:
    if not re.fullmatch("[0-9a-f]{40}", revision):
        _remember(repo, f"refs/{quote(revision, safe='')}", commit, kind)


def _remembered_branches(repo: str, kind: Kind = "model") -> tuple[str, ...]:
    with suppress(MeasureError):
        found = files.read_json(_memory(repo, kind) / "branches.json")
        if isinstance(found, list) and all(isinstance(name, str) for name in found):
            return tuple(found)
    return ()


def _remembered_sizes(repo: str, commit: str, kind: Kind = "model") -> dict[str, int] | None:
    with suppress(MeasureError):
        found = files.read_json(_memory(repo, kind) / f"{commit}.json")
        if isinstance(found, dict) and all(type(size) is int and size >= 0 for size in found.values()):
            return found
    return None


def _remembered(path: Path) -> str | None:
    """The text that was kept at `path`; None where there is none that can be read."""
    with suppress(OSError, UnicodeDecodeError):
        return files.content(path).decode()
    return None


def _sealed(text: str) -> str:
    """A text behind its own hash: by a damaged one whole files would be taken for damaged ones."""
    return f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def _remembered_hashes(folder: Path) -> dict[str, str]:
    """What the hub stated of the files in a snapshot's folder; nothing where it did not, or where that is damaged."""
    with suppress(OSError, ValueError):
        kept = (memory() / folder.parent.parent.name / f"{folder.name}.hashes").read_text()
        text = kept.partition("\n")[2]
        found: dict[str, str] = json.loads(text) if kept == _sealed(text) else {}
        return found
    return {}


def _cached_commit(repo: str, revision: str, kind: Kind = "model") -> str | None:
    """The commit that a revision had when last seen, by us or by another user of the cache."""
    if (_cache(repo, kind) / "snapshots" / revision).is_dir() or _remembered_sizes(repo, revision, kind) is not None:
        return revision
    own = _memory(repo, kind) / "refs" / quote(revision, safe="")
    for path in (own, _cache(repo, kind) / "refs" / revision):
        found = (_remembered(path) or "").strip()
        if re.fullmatch("[0-9a-f]{40}", found):
            return found
    return None


def _has_all(folder: Path, pattern: re.Pattern[str]) -> bool:
    """Whether a snapshot holds weights of one kind whole: the whole file, or every part of as many as its name says."""
    names = [path.name for path in folder.glob("*") if pattern.fullmatch(path.name) and path.exists()]
    parts = [name for name in names if not name.endswith(".index.json")]
    of = [int(match[1]) for name in parts if (match := re.search(r"-of-(\d+)\.", name))]
    return len(of) < len(parts) or (bool(of) and len(of) == max(of))


def _from_cache(repo: str, revision: str, *, weights: bool, allow_pickle: bool) -> Checkpoint:
    commit = _cached_commit(repo, revision)
    folder = _cache(repo) / "snapshots" / (commit or "none")
    if commit is None or not (folder / "config.json").exists():
        raise not_in_cache(repo, revision)
    sizes = _remembered_sizes(repo, commit)
    kinds = (_SAFE, _PICKLED) if allow_pickle else (_SAFE,)
    if sizes is None and weights and not any(_has_all(folder, kind) for kind in kinds):
        raise not_in_cache(repo, revision, part="the weights")
    if sizes is None:
        sizes = dict.fromkeys(checkpoint_files.read(folder), 0)
    names = _wanted(repo, sizes, weights=weights, allow_pickle=allow_pickle)
    if absent := _missing(folder, names):
        raise not_in_cache(repo, revision, part=absent[0])
    _check_cached(repo, revision, folder, names)
    if weights:
        there = [name for name in _elsewhere(repo, folder, names) if (folder / name).exists()]
        _check_cached(repo, revision, folder, there)
        _check_apart_cached(repo, revision, folder, names)
    return Checkpoint(repo, revision, commit, folder, fetched=False)


def is_listed(repo: str, commit: str) -> bool:
    """Whether the hub told which files a commit has, so that it is known whether all are in the cache."""
    return _remembered_sizes(repo, commit) is not None


def _explained(error: Exception, repo: str, revision: str, kind: Kind = "model") -> MeasureError:
    return explained(error, repo, revision, kind, lambda: _nearest_branch(repo, revision, kind))


def _nearest_branch(repo: str, revision: str, kind: Kind) -> str:
    try:
        return _nearest(revision, _asked_branches(repo, kind), repo)
    except Exception:  # the message is worth giving without them
        return "see its branches on the hub."


def _apart(first: revisions.Revision, second: revisions.Revision) -> tuple[int, int]:
    """How far apart two checkpoints are: in stages, then in steps."""
    (stage, step), (other_stage, other_step) = first.order, second.order
    return abs(stage - other_stage), abs(step - other_step)


def _nearest(wanted: str, names: Iterable[str], repo: str = "") -> str:
    """The names most like one that does not exist; of training steps, those next to it."""
    names = list(names)
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.0)
    if (asked := revisions.parse(wanted, repo)) is not None:
        found = sorted(revisions.in_order(names, repo), key=lambda other: _apart(asked, other))
        near = [revision.name for revision in found[:3]] or near
    return f"nearest: {', '.join(near)}." if near else "it has none."
