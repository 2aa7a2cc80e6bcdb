"""What was found out about a model's weights, kept as long as they are what they were: their hash, which checks passed.

In a process by the model object, across processes by its files. Hashing half a billion parameters takes two seconds and
the check of the fast path as long, and both would come with every call.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks

from measure.base import files
from measure.base.files import write_atomically
from measure.spec import MeasureError

# (layer, read) -> tokens of a prompt and points in a row with which the fast path was seen to be the reference.
Passed = dict[tuple[int, str], list[tuple[int, int]]]


@dataclass(frozen=True)
class Facts:
    """What is known of weights: `sha256`, and what passed. `path` is where the passed checks are kept, if anywhere."""

    sha256: str
    passed: Passed = field(default_factory=dict)
    path: Path | None = None

    def keep(self) -> None:
        """Write the passed checks down for other processes; a folder that cannot be written takes nothing from us."""
        if self.path is not None:
            rows = [[*key, *row] for key, rows in self.passed.items() for row in rows]
            _write(self.path, rows)


_OF_MODEL: WeakKeyDictionary[nn.Module, tuple[str, Facts]] = WeakKeyDictionary()


def mark(network: nn.Module, *more: str) -> str | None:
    """What a loaded model is, without reading all of its weights; None for one whose changes cannot be seen.

    Changes with every tensor that is replaced, moved, cast or changed in place by torch, every module that is replaced,
    and every hook. Tensors changed behind torch's back (`tensor.data`, an array that shares the memory) are seen where
    a whole row or column has changed. `more` is what else the facts hang on.
    """
    try:
        tensors = dict([*network.named_parameters(remove_duplicate=False), *network.named_buffers()])
        told = [f"{name}|{_told(tensor)}" for name, tensor in tensors.items()]
        digest = hashlib.sha256("\n".join([*told, *_modules(network), *more]).encode())
        for values in _samples(tensors.values()):
            digest.update(values)
    # Of a tensor of an unusual kind, or one made under inference mode, torch counts no versions.
    except (RuntimeError, NotImplementedError, TypeError, AttributeError):
        return None
    return digest.hexdigest()


def _told(tensor: Tensor) -> str:
    shape, device = tuple(tensor.shape), tensor.device
    return f"{id(tensor)} {tensor.data_ptr()} {tensor._version} {tensor.dtype} {shape} {tensor.stride()} {device}"


_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def _modules(network: nn.Module) -> Iterator[str]:
    """What runs, and what was hung on it. Handles of hooks are numbered through, and no number comes twice."""
    yield f"{[list(getattr(global_hooks, f'_global{name}')) for name in _HOOKS]} {torch.backends.mkldnn.enabled}"
    for name, module in network.named_modules():
        hooks = [list(getattr(module, kind)) for kind in _HOOKS]
        own = id(vars(module).get("forward")), id(type(module).forward)
        yield f"{name} {id(module)} {type(module).__qualname__} {hooks} {own}"


def _samples(tensors: Iterable[Tensor]) -> Iterator[bytes]:
    """Of every matrix a number of each row and of each column, along its diagonal; smaller tensors whole."""
    parts: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for tensor in tensors:
        parts.setdefault((tensor.device, tensor.dtype), []).append(_diagonal(tensor.detach()))
    for some in parts.values():
        yield torch.cat(some).cpu().contiguous().view(torch.uint8).numpy().tobytes()


def _diagonal(tensor: Tensor) -> Tensor:
    if tensor.ndim < 2 or tensor.numel() == 0:
        return tensor.reshape(-1)
    return tensor.reshape(-1)[:: _stride(tensor.numel() // tensor.shape[-1], tensor.shape[-1])]


@lru_cache(maxsize=256)
def _stride(rows: int, columns: int) -> int:
    """The largest step through a matrix, row after row, that leaves out no row and no column."""
    # Prime to the number of columns, it comes to every one in turn; shorter than a row, it leaves none out.
    return next(step for step in range(max(1, min(rows, columns - 1)), 0, -1) if math.gcd(step, columns) == 1)


def of_model(network: nn.Module, marked: str | None) -> Facts | None:
    """What is known of a loaded model that is still as `marked`."""
    known = _OF_MODEL.get(network)
    return known[1] if known is not None and marked is not None and known[0] == marked else None


def remember(network: nn.Module, marked: str | None, facts: Facts) -> None:
    """Keep the facts as long as the model lives, and answer for nothing else."""
    if marked is not None:
        _OF_MODEL[network] = marked, facts


# Across processes

# A change in any of these may change a number: results of the old source are not found again.
MEASURING = (
    "base/checkpoint_files.py",
    "base/places.py",
    "core",
    "distances.py",
    "hub/known.py",
    "hub/stale.py",
    "hub/tokenizer_places.py",
    "models",
    "names.py",
    "prompts",
    "results",
    "spec.py",
)
_HOUSE = Path(__file__).parents[1]


def is_measuring(module: str) -> bool:
    """Whether a module is one of those, by its full name."""
    places = [f"measure.{place.removesuffix('.py').replace('/', '.')}" for place in MEASURING]
    return any(module == place or module.startswith(f"{place}.") for place in places)


@cache
def source_hash() -> str:
    """sha256 over the source of the measuring modules."""
    digest = hashlib.sha256()
    for place in MEASURING:
        for path in sorted((_HOUSE / place).rglob("*.py")) or [_HOUSE / place]:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_once(path: Path) -> str:
    """`hash_file`, read again only where the file was changed, touched or replaced since this process read it."""
    state = path.stat()
    return _hash_of_state(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)


@lru_cache(maxsize=1024)
def _hash_of_state(path: Path, *_: int) -> str:
    return hash_file(path)


def of_files(folder: Path, paths: Iterable[Path], **conditions: Any) -> Path:
    """Where in `folder` is kept what is known of files: by place, size, inode and times, and by `conditions`.

    The time of a change of the inode is among them, which no program can set back.
    """
    states = [(str(path.resolve()), path.stat()) for path in sorted(paths)]
    told = [[name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for name, s in states]
    return of(folder, files=told, **conditions)


def of(folder: Path, **conditions: Any) -> Path:
    """Where in `folder` is kept what is known under these conditions."""
    address = hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()
    return folder / address[:2] / f"{address}.json"


def read_hash(path: Path) -> str | None:
    """The sha256 kept at `path`; None where none is."""
    found = _read(path)
    return found if isinstance(found, str) and re.fullmatch("[0-9a-f]{64}", found) else None


def write_hash(path: Path, sha256: str) -> None:
    """Keep a hash; where that cannot be done it is not kept."""
    _write(path, sha256)


def is_marked(path: Path) -> bool:
    """Whether something was seen once under the conditions of `path`, and kept by `set_mark`."""
    return _read(path) is True


def set_mark(path: Path) -> None:
    """Keep that something was seen under the conditions of `path`; where that cannot be done it is not kept."""
    _write(path, True)


def read_passed(path: Path) -> Passed:
    """The passed checks kept at `path`, none where none are."""
    found: Passed = {}
    kept = _read(path)
    for row in kept if isinstance(kept, list) else ():
        with suppress(TypeError, ValueError):
            layer, read, tokens, points = row
            found.setdefault((int(layer), str(read)), []).append((int(tokens), int(points)))
    return found


def _read(path: Path) -> Any:
    with suppress(OSError, MeasureError):
        return files.unsealed(path.name, files.content(path))
    return None


def _write(path: Path, content: Any) -> None:
    with suppress(OSError):
        write_atomically(path, files.sealed(path.name, content))


def machine(device: torch.device) -> Mapping[str, str]:
    """What kernels are chosen by: the device and, for a processor, its instructions and number of threads."""
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device)}
    return {"device": torch.backends.cpu.get_cpu_capability(), "threads": str(torch.get_num_threads())}
