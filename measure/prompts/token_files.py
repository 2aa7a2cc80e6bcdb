"""Prompts as token ids in a file, taken as they stand: which files those are, here or on the hub, and how each is read.

Fetches nothing and knows no model: whether the ids are in a model's vocabulary is asked by `prompts.check_rows`.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import re
import reprlib
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from measure.base import places
from measure.prompts.text_files import ending
from measure.spec import MeasureError, NotMeasuredError

_WRITERS = {
    ".npy": "np.save(file, ids)",
    ".safetensors": "safetensors.torch.save_file({'input_ids': ids}, file)",
    ".pt": "torch.save(ids, file)",
}
# These may as well hold texts.
_LINES = (".jsonl", ".json", ".ndjson", ".jsonl.gz", ".json.gz", ".ndjson.gz")
TOKEN_ENDINGS = (*_WRITERS, *_LINES)
_KEY = "input_ids"
_UNPACKING = (gzip.BadGzipFile, EOFError, zlib.error)
# No vocabulary comes near it: a larger number is no id but a mistake.
_LARGEST_ID = 2**31 - 1
# The hub's own way to write it; spaces, and data sets without an owner, are left out.
_HUB = re.compile(
    r"hf://(?P<dataset>datasets/)?(?P<repo>(?!datasets/|spaces/)[\w.-]+/[\w.-]+)(@(?P<revision>[^/@]+))?/(?P<name>.+)",
    re.ASCII,
)

Rows = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class HubFile:
    """One file of a repository on the model hub; `repo` is OWNER/NAME."""

    repo: str
    kind: Literal["model", "dataset"]
    revision: str
    filename: str


def hub_file(source: str) -> HubFile | None:
    """The file that an hf:// source names; None for any other source.

    `hf://OWNER/NAME/FILE`, `hf://OWNER/NAME@REVISION/FILE`, and `hf://datasets/OWNER/NAME[@REVISION]/FILE`; FILE may
    stand in a folder, and a slash inside REVISION is written %2F. Raises `MeasureError` for an hf:// source of another
    form.
    """
    if not source.startswith("hf://"):
        return None
    found = _HUB.fullmatch(source)
    if found is None or not {"", ".", ".."}.isdisjoint(found["name"].split("/")):
        raise MeasureError(
            f"corpus {source!r} names no file on the hub; expected hf://OWNER/NAME/FILE, hf://OWNER/NAME@REVISION/FILE "
            "or hf://datasets/OWNER/NAME/FILE."
        )
    kind: Literal["model", "dataset"] = "dataset" if found["dataset"] else "model"
    return HubFile(found["repo"], kind, unquote(found["revision"] or "main"), found["name"])


def is_token_file(path: Path) -> bool:
    """Whether `path` holds prompts as token ids, by its ending; JSON by its first line: a list, or has `input_ids`.

    JSON that holds texts is none: an object with TEXT, or a list of objects. The file of an ending that holds nothing
    else need not exist.
    """
    if ending(path) not in _LINES:
        return ending(path) in TOKEN_ENDINGS
    if not places.is_file(path):
        return False
    try:
        with _opened(path) as file:
            first = json.loads(file.readline())
    # No JSON, or no text, or nested too deep; or not what its ending says.
    except (ValueError, RecursionError, *_UNPACKING):
        return False
    if isinstance(first, dict):
        return _KEY in first and "TEXT" not in first
    return isinstance(first, list) and not any(isinstance(item, dict) for item in first)


def read_token_file(path: Path) -> Rows:
    """The prompts in a file, in its order: one tuple of token ids a row, with nothing put in front or taken off.

    `.npy`, `.safetensors` and `.pt` hold integers of shape (prompts, tokens): an array; one tensor, or one named
    `input_ids`; a tensor, or a dict with one named `input_ids`. `.jsonl` and `.json` hold one prompt a line, a list of
    ids or an object with `input_ids`; there lengths may differ. Nothing but arrays is ever unpickled.
    Raises `MeasureError` for a file that is missing or damaged, and for one that holds anything else.
    """
    if ending(path) not in TOKEN_ENDINGS:
        raise MeasureError(
            f"token file {path}: the ending {path.suffix!r} is not known; expected {', '.join(TOKEN_ENDINGS)}."
        )
    if not places.is_file(path):
        found = "is a folder" if places.is_folder(path) else "is not there"
        raise NotMeasuredError(f"token file {path} {found}; give the path of one file, no folder and no glob.")
    in_lines = ending(path) in _LINES
    rows = _lines(path) if in_lines else _array(path)
    if not rows:
        raise _refusal(path, "it holds no prompt")
    for number, row in enumerate(rows):
        place = f"line {number + 1}" if in_lines else f"row {number}"
        if not row:
            raise _refusal(path, f"{place} is empty")
        if not 0 <= min(row) <= max(row) <= _LARGEST_ID:
            wrong = next(token for token in row if not 0 <= token <= _LARGEST_ID)
            raise _refusal(path, f"{place} holds {wrong}, which is no token id")
    return rows


def _refusal(path: Path, found: str) -> MeasureError:
    if ending(path) in _LINES:
        expected = 'on each line a list of token ids, such as [464, 3290], or an object with it as "input_ids"'
    else:
        expected = f"integers from 0 of shape (prompts, tokens), as {_WRITERS[ending(path)]} writes them"
    return MeasureError(f"token file {path}: {found}; expected {expected}.")


def _lines(path: Path) -> Rows:
    try:
        with _opened(path) as packed, io.TextIOWrapper(packed, encoding="utf-8-sig") as file:
            return tuple(_line(path, number, line) for number, line in enumerate(file, 1))
    except UnicodeDecodeError:
        raise _refusal(path, "it is no text in UTF-8") from None
    except _UNPACKING:
        raise _refusal(path, "its gzip stream is damaged or cut short") from None


def _opened(path: Path) -> Any:  # gzip and open have no type in common that TextIOWrapper takes
    return gzip.open(path) if ending(path).endswith(".gz") else path.open("rb")


def _line(path: Path, number: int, line: str) -> tuple[int, ...]:
    try:
        ids = json.loads(line)
    except ValueError:
        raise _refusal(path, f"line {number} is no JSON: {reprlib.repr(line)}") from None
    except RecursionError:
        raise _refusal(path, f"line {number} is nested too deep: {reprlib.repr(line)}") from None
    if isinstance(ids, dict):
        if _KEY not in ids:
            raise _refusal(path, f"line {number} is an object without {_KEY}, of {reprlib.repr(sorted(ids))}")
        ids = ids[_KEY]
    if not isinstance(ids, list):
        raise _refusal(path, f"line {number} holds {reprlib.repr(ids)}, no list")
    # Not isinstance: true and false are no ids.
    wrong = [token for token in ids if type(token) is not int]
    if wrong:
        raise _refusal(path, f"line {number} holds {reprlib.repr(wrong[0])}, no integer")
    return tuple(ids)


def _array(path: Path) -> Rows:
    load = {".npy": _npy, ".safetensors": _safetensors, ".pt": _pt}[ending(path)]
    try:
        array = load(path)
    except MeasureError:
        raise
    except pickle.UnpicklingError:
        found = "it holds other things than tensors, or is damaged; nothing else is unpickled, since that can run code"
        raise _refusal(path, found) from None
    except Exception as error:  # numpy, safetensors and torch each raise their own, torch whatever damage leads to
        raise MeasureError(
            f"token file {path} could not be read ({type(error).__name__}): it is damaged or cut short, or holds "
            f"Python objects. Expected a whole file as {_WRITERS[ending(path)]} writes it; fetch it or write it again."
        ) from error
    if array.dtype.kind not in "iu":
        raise _refusal(path, f"it holds {array.dtype}")
    if array.ndim != 2:
        raise _refusal(path, f"its shape is {array.shape} (prompts of several lengths go into a .jsonl file)")
    return tuple(map(tuple, array.tolist()))


def _npy(path: Path) -> Any:
    from numpy.lib.format import open_memmap

    # Takes neither pickled objects nor archives, which np.load would.
    return open_memmap(path, mode="r")


def _safetensors(path: Path) -> Any:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        if len(names) != 1 and _KEY not in names:
            raise _refusal(path, f"it holds {len(names)} tensors, none of them named {_KEY}: {reprlib.repr(names)}")
        return _numpy(path, file.get_tensor(_KEY if _KEY in names else names[0]))


def _pt(path: Path) -> Any:
    import torch

    with warnings.catch_warnings():
        # Of sparse tensors, which are refused below, torch 2.14 tells that it looks at them.
        warnings.filterwarnings("ignore", "Validating sparse tensor", UserWarning)
        held = torch.load(path, weights_only=True, map_location="cpu")
    if isinstance(held, Mapping):
        if _KEY not in held:
            raise _refusal(path, f"it holds a dict without {_KEY}, of {reprlib.repr(list(held))}")
        held = held[_KEY]
    if not isinstance(held, torch.Tensor):
        raise _refusal(path, f"it holds a {type(held).__name__}, no tensor")
    return _numpy(path, held)


def _numpy(path: Path, tensor: Any) -> Any:
    try:
        return tensor.numpy()
    except TypeError:  # a type or a layout that arrays have not
        raise _refusal(path, f"it holds {tensor.dtype}, {tensor.layout}") from None
