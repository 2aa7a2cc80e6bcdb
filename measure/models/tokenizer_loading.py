"""Load a model's tokenizer, or say why it has none."""

from __future__ import annotations

import ctypes
import json
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from measure import catalog
from measure.base import places
from measure.hub import packed
from measure.hub.tokenizer_places import VOCABULARIES, tokenizer_places, trainers_root
from measure.models.files import fetch, local_folder
from measure.spec import MeasureError

_NO_VOCABULARY = "{} holds a tokenizer_config.json and no vocabulary beside it (save a tokenizer.json there)"


@dataclass(frozen=True)
class FoundTokenizer:
    """A tokenizer, and where it lies if not with its model; or None, and why there is none if anything is there."""

    held: Any = None
    place: str = ""
    missing: str = ""


def find_tokenizer(reference: catalog.Reference, folder: Path) -> FoundTokenizer:
    """The tokenizer of a model whose files are in `folder`. Raises `MeasureError` for one that cannot be loaded."""
    missing = ""
    for place in tokenizer_places(reference, folder):
        held, lacking = _tokenizer_in(place)
        missing = missing or lacking
        if held is not None:
            above = place in trainers_root(reference) and place != folder
            return FoundTokenizer(held, "in the folder above the checkpoint's" if above else "")
    return FoundTokenizer(missing=missing)


def _tokenizer_in(place: Path) -> tuple[Any, str]:
    """The tokenizer in a folder, or None; and what is lacking where there are files of one."""
    from transformers import AutoTokenizer

    files = [name for name in (*VOCABULARIES, "tokenizer_config.json") if (place / name).is_file()]
    if not files:
        return None, ""
    if files[0].endswith(".model") and find_spec("sentencepiece") is None:
        return None, (
            f"{place} holds its tokenizer as {files[0]}, which takes the package sentencepiece to read, and that is "
            "not installed (`pip install sentencepiece`, or save a tokenizer.json beside it)"
        )
    try:
        held = _unpacked_tokenizer(place)
        held = held or AutoTokenizer.from_pretrained(place, trust_remote_code=False, local_files_only=True)
        _give_memory_back()
        if not isinstance(held.model_max_length, int | float):
            raise TypeError(f"model_max_length is {held.model_max_length!r}, expected a number")
    except Exception as error:  # transformers and tokenizers each raise their own
        if files == ["tokenizer_config.json"]:
            return None, _NO_VOCABULARY.format(place)
        raise MeasureError(f"the tokenizer in {place} could not be loaded ({error}); restore its files.") from error
    # transformers makes one that knows its special tokens alone where the vocabulary is missing.
    empty = files == ["tokenizer_config.json"] and not set(held.get_vocab()) - set(held.all_special_tokens)
    return (None, _NO_VOCABULARY.format(place)) if empty else (held, "")


def _give_memory_back() -> None:
    """Let the C library give back what it holds and nobody uses: of a large vocabulary, 200 MB. Only glibc can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _unpacked_tokenizer(folder: Path) -> Any:
    """The tokenizer of an unpacked file, as `AutoTokenizer` gives it in twice the memory; None: it is no such.

    transformers reads the file as JSON beside; a vocabulary of 262,000 words then takes 550 MB.
    """
    from transformers import PreTrainedTokenizerFast

    if not (packed.is_unpacked(folder) and (folder / "tokenizer.json").is_file()):
        return None
    settings = json.loads((folder / "tokenizer_config.json").read_bytes())
    if settings.pop("tokenizer_class", None) not in ("TokenizersBackend", "PreTrainedTokenizerFast"):
        return None
    settings.pop("backend", None)
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), name_or_path=str(folder), **settings)


def named_tokenizer(name: str) -> Any:
    """The tokenizer in a folder, in a tokenizer.json, or of a model by its catalog name or hub id.

    Raises `MeasureError` where there is none.
    """
    place = None if catalog.find(catalog.split(name)[0]) is not None else places.at(name)
    if place is not None and place.name in VOCABULARIES and place.is_file():
        place = place.parent
    if place is None or (place / "config.json").is_file():
        try:
            reference = catalog.resolve(name if place is None else str(place))
            on_hub = reference.source == "hub"
            found = find_tokenizer(
                reference, fetch(reference, weights=False).folder if on_hub else local_folder(reference)
            )
        except MeasureError as error:
            raise type(error)(f"tokenizer={name!r}: {error}") from None
    else:
        held, lacking = _tokenizer_in(place)
        found = FoundTokenizer(held, missing=lacking)
    if found.held is None:
        raise MeasureError(
            f"tokenizer={name!r}: {found.missing or 'there is no tokenizer'}; expected a folder with a tokenizer.json, "
            "a model's name, or a loaded tokenizer."
        )
    return found.held
