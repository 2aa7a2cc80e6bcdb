"""A result as one `.npz` file: written whole, sealed, read without trust. Knows no metrics."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_type_hints

import numpy as np
from jaxtyping import jaxtyped

from measure.base import files
from measure.base.files import write_atomically
from measure.spec import MeasureError

_FORMAT = 1
R = TypeVar("R", bound="Result")


class Result:
    """What every measurement returns: frozen arrays and their provenance, to and from one `.npz` file.

    Each subclass is a dataclass of NumPy arrays and a `provenance`. `kind` names it in its files. Raises `MeasureError`
    if another class has that name.
    """

    kind: ClassVar[str]
    provenance: dict[str, Any]
    _kinds: ClassVar[dict[str, type[Result]]] = {}

    def __init_subclass__(cls, kind: str = "") -> None:
        if not kind:
            return
        other = cls._kinds.get(kind, cls)
        # A module that is imported anew makes its classes anew.
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise MeasureError(
                f"{cls.__name__} has kind={kind!r}, the name of {other.__module__}.{other.__name__} in files; give it "
                "another."
            )
        cls.kind = kind
        cls._kinds[kind] = cls

    def to_bytes(self, address: str = "") -> bytes:
        """The result as one `.npz` archive, provenance included. Not compressed: that took a tenth of a run's time.

        It holds the `address` that a store keeps it at, and a seal by which a changed archive is found.
        """
        every = [entry.name for entry in dataclasses.fields(self) if entry.name != "provenance"]  # type: ignore[arg-type]
        said = {"format": _FORMAT, "kind": self.kind, "provenance": self.provenance, "address": address}
        # As it will be read.
        header = json.loads(json.dumps(said))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in every:
                if getattr(self, name) is not None:
                    _add(archive, name, getattr(self, name))
            seal = _seal(archive.infolist(), header)
            _add(archive, "header", np.array(json.dumps({**header, "seal": seal})))
        return buffer.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write the result to `path` (`.npz`), under a temporary name and then renamed; returns the path written.

        Raises `MeasureError` for another ending, since the file would not be what its name says.
        """
        target = Path(path)
        if target.suffix not in ("", ".npz"):
            raise MeasureError(f"save({str(path)!r}): numbers are kept as .npz; for a table see to_csv and frame.")
        target = target.with_suffix(".npz")
        write_atomically(target, self.to_bytes())
        return target

    @classmethod
    def load(cls: type[R], path: str | Path) -> R:
        """Read a result written by `save`. Raises `MeasureError` when the file is no such result."""
        return cls.read(path)[0]

    @classmethod
    def read(cls: type[R], path: str | Path) -> tuple[R, str]:
        """As `load`, with the address that the store kept the result at, "" if none."""
        expected = getattr(cls, "kind", None)
        try:
            with np.load(io.BytesIO(files.content(Path(path))), allow_pickle=False) as archive:
                header = json.loads(str(archive["header"]))
                arrays = {name: archive[name] for name in archive.files if name != "header"}
                members = [one for one in archive.zip.infolist() if one.filename != "header.npy"]
            found, provenance = header.get("kind"), header.get("provenance")
            # Files of earlier versions have none.
            if (seal := header.pop("seal", None)) is not None and seal != _seal(members, header):
                raise ValueError("it is not as it was written")
        except FileNotFoundError:
            raise MeasureError(f"{path} does not exist; give the path that save returned.") from None
        except Exception as error:
            # numpy, zipfile, zlib and json each raise their own errors on a damaged archive.
            raise _damaged(path, error) from error
        if found not in ([expected] if expected else [*cls._kinds]) or header.get("format") != _FORMAT:
            raise MeasureError(
                f"{path} holds {found!r} in format {header.get('format')!r}; expected "
                f"{expected or ' or '.join(cls._kinds)!r} in format {_FORMAT}. "
                "Use the class, or the version of this package, that wrote it."
            )
        try:
            result: R = cls._kinds[found](**arrays, provenance=provenance)  # type: ignore[assignment,call-arg]
            result._check()
        # What checks types under test raises its own too.
        except Exception as error:
            raise _damaged(path, error) from error
        return result, str(header.get("address", ""))

    def _check(self) -> None:
        """Raise `ValueError` unless every array is of the type and the shape that its field states."""
        if not isinstance(self.provenance, dict):
            raise ValueError("its provenance is none")
        with jaxtyped("context"):
            for name, kind in _types(self.kind).items():
                if not isinstance(getattr(self, name), kind):
                    array = getattr(self, name)
                    raise ValueError(f"{name} is {getattr(array, 'dtype', None)} {getattr(array, 'shape', '')}")


def _damaged(path: str | Path, error: Exception) -> MeasureError:
    return MeasureError(f"{path} is not a whole result file ({error}); measure again and save, or restore the file.")


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    """Put an array into an archive, as `numpy.savez` does."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def _seal(members: Iterable[zipfile.ZipInfo], header: dict[str, Any]) -> str:
    """A hash of what an archive holds: of the arrays their checksums, which reading them holds them against."""
    content = [sorted((one.filename, one.CRC, one.file_size) for one in members), header]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


@cache
def _types(kind: str) -> dict[str, Any]:
    """The type of each array of a kind of result."""
    of: Any = Result._kinds[kind]
    hints = get_type_hints(of)
    return {one.name: hints[one.name] for one in dataclasses.fields(of) if one.name != "provenance"}
