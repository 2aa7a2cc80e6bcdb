"""Which files a model in a folder is loaded from, and what among them makes it another than it seems. No torch."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure.spec import MeasureError

# As PEFT and MLX write an adapter.
ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "adapters.safetensors")
_INDEX = ".index.json"
# Bytes compared at a time, and those by which two files are told apart before they are read whole.
_PART = 2**24
_SAMPLE = 2**16


@dataclass(frozen=True)
class Form:
    """A form of weights, by how transformers names its files: one `whole`, or numbered parts with an index."""

    whole: str

    @property
    def ending(self) -> str:
        """What its files end in, an index aside."""
        return Path(self.whole).suffix

    @property
    def index(self) -> str:
        """The file that tells which part holds which tensor."""
        return self.whole + _INDEX

    def has(self, name: str) -> bool:
        """Whether a file is of this form by its name: the whole one, a part, or an index."""
        stem, ending, index = map(re.escape, (Path(self.whole).stem, self.ending, _INDEX))
        return re.fullmatch(rf"{stem}(-\d+-of-\d+)?{ending}({index})?", name) is not None


SAFE, PICKLED = Form("model.safetensors"), Form("pytorch_model.bin")
FORMS = (SAFE, PICKLED)
ENDINGS = tuple(form.ending for form in FORMS)


def _json(path: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where it cannot be read, which is for loading to say."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def parts(index: Path) -> list[str]:
    """Names of the files that an index tells of, as it tells them."""
    told = _json(index).get("weight_map")
    return sorted({name for name in told.values() if isinstance(name, str)}) if isinstance(told, dict) else []


def weights(folder: Path, *, pickled: bool = False) -> list[str]:
    """Names, seen from `folder`, of the files from which transformers takes the weights, whether they are there or not.

    A file that the configuration names, else the whole one, else those of the index, wherever they lie.
    """
    named, form = _json(folder / "config.json").get("transformers_weights"), PICKLED if pickled else SAFE
    first = named if isinstance(named, str) else form.whole if (folder / form.whole).is_file() else form.index
    return parts(folder / first) if first.endswith(_INDEX) else [first]


def held(folder: Path) -> list[str]:
    """Of `weights` those that are there; pickled ones where there are no others."""
    found = ([name for name in weights(folder, pickled=kind) if (folder / name).is_file()] for kind in (False, True))
    return next((names for names in found if names), [])


def read(folder: Path) -> dict[str, Path]:
    """Every file that loading a model may read, by its name seen from `folder`: also those of an index elsewhere."""
    named = _json(folder / "config.json").get("transformers_weights")
    found = {path.name for path in folder.glob("*")} | ({named} if isinstance(named, str) else set())
    found |= {part for name in sorted(found) if name.endswith(_INDEX) for part in parts(folder / name)}
    return {name: folder / name for name in sorted(found) if (folder / name).is_file()}


# Adapters


def check_no_adapter(place: str, names: Collection[str], base: str = "") -> None:
    """Raise `MeasureError` where there are files of an adapter among the `names` in a model's place.

    None is ever applied here, and whether transformers does hangs on what else is installed.
    """
    found = [name for name in ADAPTER if name in names]
    if not found:
        return
    merge = "merge it into its model with PEFT (merge_and_unload, then save_pretrained) and give the folder of that"
    made_for = f", made for {base}," if base else ""
    if "config.json" not in names or not any(_is_whole(name) for name in names):
        raise MeasureError(
            f"{place} holds an adapter ({', '.join(found)}){made_for} and no whole model; no adapter is applied here: "
            f"{merge}."
        )
    raise MeasureError(
        f"{place} holds an adapter ({', '.join(found)}){made_for} beside a whole model, and what is installed would "
        f"decide whether it is applied: {merge}; or, if it is not wanted, put the model's files alone in a folder."
    )


def _is_whole(name: str) -> bool:
    stems = tuple(f"{Path(form.whole).stem}-0" for form in FORMS)
    return name.removesuffix(_INDEX) in {form.whole for form in FORMS} or name.startswith(stems)


def check_folder(folder: Path) -> None:
    """Raise `MeasureError` where a folder holds an adapter: `check_no_adapter`."""
    base = _json(folder / ADAPTER[0]).get("base_model_name_or_path")
    names = {name for name in os.listdir(folder) if (folder / name).is_file()} if folder.is_dir() else set()
    check_no_adapter(str(folder), names, base if isinstance(base, str) else "")


# One set of weights


def two_sets(folder: Path) -> list[Path]:
    """The whole file and those of the index beside it, where all are there: transformers takes the first, silently."""
    found = [folder / name for name in parts(folder / SAFE.index)]
    whole = folder / SAFE.whole
    both = whole.is_file() and found and all(path.is_file() for path in found) and whole not in found
    return [whole, *found] if both else []


def check_same(paths: list[Path]) -> None:
    """Raise `MeasureError` unless the first of safetensors files holds what the others hold together."""
    whole, *others = paths
    try:
        first = {name: (whole, *told) for name, told in _tensors(whole).items()}
        second = {name: (path, *told) for path in others for name, told in _tensors(path).items()}
        off = next(
            (name for name in sorted({*first, *second}) if not _is_same(first.get(name), second.get(name))), None
        )
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        off = f"nothing, since one cannot be read ({error})"
    if off is not None:
        raise MeasureError(
            f"{whole.parent} holds a whole {whole.name} and the parts of {whole.name}{_INDEX}, which differ, first in "
            f"{off}: which of the two is the model nobody can tell, and transformers takes the whole file. Remove "
            "what is not meant."
        )


def _tensors(path: Path) -> dict[str, tuple[str, list[int], int, int]]:
    """By name the type, the shape, and where in the file the tensors of a safetensors file stand."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        if size > path.stat().st_size:
            raise ValueError("its header is cut")
        header = json.loads(file.read(size))
    return {
        name: (told["dtype"], told["shape"], *(8 + size + offset for offset in told["data_offsets"]))
        for name, told in header.items()
        if name != "__metadata__"
    }


def stored_types(folder: Path) -> dict[str, str]:
    """By name the types of the tensors that a model is loaded from, as files of safetensors say them."""
    found: dict[str, str] = {}
    for name in weights(folder):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
            found |= {tensor: told[0] for tensor, told in _tensors(folder / name).items()}
    return found


def _is_same(first: Any, second: Any) -> bool:
    if first is None or second is None or first[1:3] != second[1:3] or first[4] - first[3] != second[4] - second[3]:
        return False
    return all(a == b for a, b in zip(_bytes(first[0], *first[3:]), _bytes(second[0], *second[3:]), strict=True))


def _bytes(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        for place in range(start, end, _PART):
            file.seek(place)
            yield file.read(min(_PART, end - place))


def shared(folder: Path, other: Path) -> list[str]:
    """Names of the files of weights in `folder` that stand in `other` too, byte by byte."""
    theirs = [other / name for name in held(other)]
    return [name for name in held(folder) if any(_is_copy(folder / name, their) for their in theirs)]


def _is_copy(first: Path, second: Path) -> bool:
    if first.stat().st_size != second.stat().st_size:
        return False
    size = first.stat().st_size
    # Checkpoints of one training are of one size, and differ almost everywhere.
    spans = [(max(0, size * part // 4 - _SAMPLE), size * part // 4) for part in (4, 3, 2)]
    alike = (list(_bytes(first, *span)) == list(_bytes(second, *span)) for span in (*spans, (0, _SAMPLE)))
    whole = (a == b for a, b in zip(_bytes(first, 0, size), _bytes(second, 0, size), strict=True))
    return first.samefile(second) or (all(alike) and all(whole))
