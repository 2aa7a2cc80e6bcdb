"""The files that a model is loaded from: where they lie, what they are identified by, whether they are one model."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from measure import catalog
from measure.base import checkpoint_files
from measure.base.packed_forms import PACKED_SOURCES
from measure.hub import checkpoints as hub
from measure.hub import known, packed, shelf, stale
from measure.hub.tokenizer_places import tokenizer_places
from measure.models.config import read_config
from measure.spec import MeasureError

_LOG = logging.getLogger("measure")


@dataclass(frozen=True)
class Place:
    """Where a model's files are; `commit` is the hub's, empty for what did not come from there."""

    folder: Path
    revision: str
    commit: str = ""


def bring(reference: catalog.Reference, *, weights: bool, allow_pickle: bool) -> Place:
    """Have a model's files on this machine. Raises `MeasureError` as `fetch` and `local_folder` do."""
    if reference.source != "hub":
        return Place(local_folder(reference), reference.revision)
    found = fetch(reference, weights=weights, allow_pickle=allow_pickle)
    return Place(found.folder, found.revision, found.commit)


def local_folder(reference: catalog.Reference) -> Path:
    """The folder of a model that is on this machine; one that lies in one file is unpacked first.

    Raises `MeasureError` as `packed.Reader.unpacked` and `shelf.folder` do.
    """
    if reference.source == "index":
        return shelf.folder(reference.location)
    if reference.source in PACKED_SOURCES:
        path = packed_path(reference)
        return packed.reader_of(path).unpacked(path)
    return Path(reference.location)


def packed_path(reference: catalog.Reference) -> Path:
    """The file with a whole model that a reference names, brought from the hub where it lies there."""
    scheme, _, rest = reference.location.partition("://")
    if not rest:
        return Path(reference.location)
    parts = rest.split("/", 2)
    if scheme != "hf" or len(parts) != 3:
        label, ending = reference.source.upper(), reference.source
        raise MeasureError(f"{reference.location}: a {label} file on the hub is named hf://OWNER/NAME/FILE.{ending}.")
    return hub.fetch_file("/".join(parts[:2]), parts[2])


def fetch(reference: catalog.Reference, *, weights: bool = True, allow_pickle: bool = False) -> hub.Checkpoint:
    """Bring a hub model into the cache; one that cannot be measured is refused before its weights are fetched."""
    return hub.fetch(
        reference.location,
        reference.revision,
        weights=weights,
        allow_pickle=allow_pickle,
        check=partial(read_config, name=reference.name),
    )


def identity(name: str, *, weights: bool = True) -> str:
    """What a model is before it is loaded: the hub's commit, or a hash of the files in its folder."""
    reference = catalog.resolve(name)
    if reference.source == "hub":
        commit = hub.commit_of(reference.location, reference.revision)
        # Of a commit that the hub has not listed nobody knows whether all its files are here.
        return commit if hub.is_listed(reference.location, commit) else f"{commit} as it is in the cache"
    if reference.source == "index":
        item = shelf.ITEMS[reference.location]
        return packed.reader_of(Path(item.file)).identity(item.sha256)
    if reference.source in PACKED_SOURCES:
        path = packed_path(reference)
        return packed.reader_of(path).identity(packed.file_hash(path))
    digest = hashlib.sha256()
    for told, path in _read_files(reference, Path(reference.location)):
        if weights or path.suffix not in checkpoint_files.ENDINGS:
            digest.update(f"{told}|{known.hash_once(path)}|".encode())
    return digest.hexdigest()


def _read_files(reference: catalog.Reference, folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file that loading a model may read, wherever it lies, and what it is called there."""
    yield from checkpoint_files.read(folder).items()
    if reference.source == "ladder":
        yield "card.json", folder.parent / "card.json"
    for place in tokenizer_places(reference, folder):
        if place != folder:
            yield from ((f"{place.name}/{name}", place / name) for name in hub.SMALL_FILES if (place / name).is_file())


def check_files(reference: catalog.Reference, folder: Path) -> None:
    """Raise `MeasureError` where a folder holds more than one model, or weights that are another revision's.

    An adapter beside the weights; a whole file and parts that are not the same; of a training checkpoint a file that is
    main's.
    """
    checkpoint_files.check_folder(folder)
    if both := checkpoint_files.two_sets(folder):
        seen = known.of_files(hub.memory() / "known", both, what="one set of weights")
        if not known.is_marked(seen):
            checkpoint_files.check_same(both)
            known.set_mark(seen)
    if reference.source == "folder" and reference.revision != "main":
        _check_apart(reference, folder)


def _check_apart(reference: catalog.Reference, folder: Path) -> None:
    """Raise `MeasureError` where a training checkpoint, a folder in a folder, holds weights that are main's.

    Of a revision whose name tells of no training it is said, no more.
    """
    root = folder.parents[len(Path(reference.revision).parts) - 1]
    main = next((place for place in (root / "main", root) if (place / "config.json").is_file()), None)
    held = checkpoint_files.shared(folder, main) if main is not None else []
    every = checkpoint_files.held(folder)
    name = f"{reference.name}@{reference.revision}"
    trained = stale.order(reference.revision) is not None
    if held and len(held) < len(every):
        error = stale.shared(name, held, len(every))
        if trained:
            raise error
        _LOG.warning("%s", error)
    elif held and trained and not stale.may_be_equal("main", reference.revision, revisions_in(root)):
        raise stale.equal(f"{name} and main", known.hash_file(folder / held[0]), "or one file copied twice")


def revisions_in(folder: Path) -> list[str]:
    """Names of the folders in a folder that hold a model."""
    return sorted(path.parent.name for path in folder.glob("*/config.json"))


def read_own_config(name: str) -> Any:
    """The configuration of a catalog name, folder or hub id; takes no weights. Raises `MeasureError` without one."""
    reference = catalog.resolve(name)
    if reference.source != "hub":
        return read_config(local_folder(reference), name)
    revision = hub.nearest_revision(reference.location, reference.revision)
    return read_config(hub.fetch_file(reference.location, "config.json", revision=revision).parent, name)
