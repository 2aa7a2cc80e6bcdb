"""Which files of a revision a model is loaded from, and whether its weights are its own and not main's."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from measure.base import checkpoint_files
from measure.base.checkpoint_files import FORMS, PICKLED, SAFE
from measure.hub import known, stale
from measure.hub.cache import cached_commit, memory, remembered_hashes
from measure.hub.listings import Listing, known_branches, listing_or_none
from measure.spec import MeasureError, NotMeasuredError

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
_log = logging.getLogger("measure")


def wanted_files(repo: str, sizes: dict[str, int], *, weights: bool, allow_pickle: bool) -> list[str]:
    """The files of a repository that a model is loaded from. Raises `MeasureError` where it holds none."""
    small = [name for name in sizes if name in SMALL_FILES]
    checkpoint_files.check_no_adapter(repo, sizes)
    if "config.json" not in sizes:
        raise NotMeasuredError(
            f"{repo} has no config.json, so it holds no transformers model; it has {', '.join(sorted(sizes)[:5])}."
        )
    if not weights:
        return small
    for form in (SAFE, *((PICKLED,) if allow_pickle else ())):
        if found := _one_set([name for name in sizes if form.has(name)]):
            return [*small, *found]
    pickled = [name for name in sizes if PICKLED.has(name)]
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
    whole = [name for name in names if name in (SAFE.whole, PICKLED.whole)]
    return whole or names


def files_elsewhere(repo: str, folder: Path, names: Sequence[str]) -> list[str]:
    """Files that an index in a snapshot tells of and that are not among `names`, as those in a folder of its own.

    Raises `MeasureError` where one would lie outside of the commit.
    """
    indices = [name for name in names if name.endswith(".index.json")]
    found = {part for name in indices for part in checkpoint_files.parts(folder / name)} - {*names}
    for part in sorted(found):
        if Path(part).is_absolute() or ".." in Path(part).parts:
            raise NotMeasuredError(f"{repo}: {indices[0]} tells of {part}, outside of the repository; it is not read.")
    return sorted(found)


def say_two_sets(repo: str, revision: str, listing: Listing, names: Sequence[str]) -> None:
    """Tell of weights that are there whole and in parts, of which nobody knows whether they are the same."""
    other = next((f"{name}.index.json" for name in names if f"{name}.index.json" in listing.sizes), None)
    if other is not None:
        _log.warning(
            "%s@%s holds its weights whole and in parts (%s); the whole file is taken, as by transformers",
            repo,
            revision,
            other,
        )


def weights_of(names: Iterable[str], *, pickled: bool = False) -> list[str]:
    """Of the files of a model those that hold weights, of one kind; the index of parts aside."""
    form = PICKLED if pickled else SAFE
    return sorted(name for name in names if form.has(name) and not name.endswith(".index.json"))


def check_apart(repo: str, revision: str, listing: Listing, names: Iterable[str]) -> None:
    """Raise `MeasureError` for a training checkpoint whose weights, or a file of them, are main's; asked once a commit.

    By the hashes that the hub states, before anything is fetched; nothing where it states none. Of a revision whose
    name tells of no training it is said, no more: it may be main before one file was mended.
    """
    own = _of_weights(listing.hashes, names) if revision != "main" else {}
    seen = known.of(memory() / "known", what="weights apart from main", repo=repo, commit=listing.commit)
    if not own or known.is_marked(seen):
        return
    try:
        main = listing_or_none(repo, "main")
    except MeasureError:
        return
    if main is not None and main.commit != listing.commit:
        _check_shared(repo, revision, own, _of_weights(main.hashes, main.sizes))
        known.set_mark(seen)


def check_apart_cached(repo: str, revision: str, folder: Path, names: Iterable[str]) -> None:
    """The same of what is in the cache, as far as one can tell what main was when last seen."""
    commit = cached_commit(repo, "main")
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
    parts = (name for name in names if any(form.has(name) for form in FORMS) and "index" not in name)
    return {name: hashes[name] for name in parts if name in hashes}


def _hashes_of(folder: Path) -> dict[str, str]:
    """The hashes of a snapshot's files: what the hub stated, else what their blobs are called by."""
    links = {path.name: path.readlink().name for path in folder.glob("*") if path.is_symlink()}
    return links | remembered_hashes(folder)
