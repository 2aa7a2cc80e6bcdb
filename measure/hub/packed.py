"""Models of which one file holds all, whatever its form: unpacked once, by the module of its form. Loads nothing."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from measure.base.packed_forms import PACKED_FORMS, PackedForm, packed_form
from measure.hub import checkpoints as hub
from measure.hub import known
from measure.spec import NotMeasuredError


class Reader(Protocol):
    """What the module of a form has."""

    CARD: str

    def identity(self, sha256: str) -> str:
        """What a file of this hash is known by once it is unpacked: another when it would be unpacked otherwise."""

    def card(self, folder: Path) -> dict[str, Any] | None:
        """What an unpacked file was; None for a folder that was never one, or is not whole."""

    def unpacked(self, path: Path) -> Path:
        """The folder of a file: config.json, tokenizer, float32 model.safetensors; made where needed."""


def reader(form: PackedForm) -> Reader:
    """The module of a form."""
    return cast(Reader, importlib.import_module(form.module))


def reader_of(path: Path) -> Reader:
    """The module that unpacks a file. Raises `NotMeasuredError` for a file that ends in none of the forms' endings."""
    form = packed_form(path.name)
    if form is None:
        endings = " or ".join(one.ending for one in PACKED_FORMS)
        raise NotMeasuredError(f"{path} is no model in one file; expected one that ends in {endings}.")
    return reader(form)


def cards(folder: Path) -> Mapping[str, dict[str, Any]]:
    """What the file was that a folder was unpacked from, by its form; empty for a folder that was never one."""
    found = {form.source: reader(form).card(folder) for form in PACKED_FORMS if is_of(form, folder)}
    return {source: card for source, card in found.items() if card is not None}


def is_of(form: PackedForm, folder: Path) -> bool:
    """Whether a folder says that it was unpacked from a file of this form."""
    return (folder / reader(form).CARD).is_file()


def is_unpacked(folder: Path) -> bool:
    """Whether a folder says that it was unpacked from a file."""
    return any(is_of(form, folder) for form in PACKED_FORMS)


def file_hash(path: Path) -> str:
    """sha256 of a file, read again only where it has changed since any process read it."""
    kept = known.of_files(hub.memory() / "known", [path], what="file")
    sha256 = known.read_hash(kept)
    if sha256 is None:
        sha256 = known.hash_once(path)
        known.write_hash(kept, sha256)
    return sha256
