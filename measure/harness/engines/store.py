"""Remember: content-addressed, crash-safe results. A change in what is measured, or with what, is another address."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from measure.base import files
from measure.base.files import write_atomically
from measure.hub.known import source_hash
from measure.results import Result
from measure.spec import MeasureError, Spec, fields_of

# Of an address so many letters name the folder: 4,096 folders, each of 500 files where there are a million results.
LETTERS = 3
_EARLIER = 2


def key(spec: Spec, conditions: Mapping[str, str]) -> str:
    """Address of a result: the spec, the measuring source, and the `conditions` it was measured under.

    `conditions` are hashes of weights and prompts, versions and the device type.
    """
    content = {"kind": type(spec).__name__, "spec": fields_of(spec), "source": source_hash(), **conditions}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Store:
    """A folder of results, one file each.

    `refreshing` passes over what was stored before, but not over what this refresh, or an earlier one that was killed,
    has measured already: a journal in the folder remembers it until `end_refresh`. `dry` writes nothing at all.
    Whatever cannot be read, or is not what was kept at its address, is no result: it is measured again.
    """

    folder: Path
    refreshing: bool = False
    dry: bool = False
    # Why results were not kept: a disk that is full, or a folder that cannot be written.
    problems: list[str] = field(default_factory=list, compare=False)

    @property
    def problem(self) -> str | None:
        """Why something was not kept, the first time; None where all was."""
        return self.problems[0] if self.problems else None

    @property
    def _journal(self) -> Path:
        return self.folder / "refreshed"

    def _passed_over(self, address: str) -> bool:
        if not self.refreshing:
            return False
        journal = _bytes(self._journal) or b""
        return address.encode() not in journal.splitlines()

    def end_refresh(self) -> None:
        """Forget what the refresh measured: the next one measures everything again."""
        try:
            self._journal.unlink(missing_ok=True)
        except OSError as error:
            self.problems.append(f"{self._journal} cannot be removed ({error.strerror}); remove it before a refresh.")

    def sweep(self) -> None:
        """Remove what killed runs left half written, a while ago."""
        if not self.dry:
            with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
                files.sweep(
                    [entry.path for entry in entries if len(entry.name) in (_EARLIER, LETTERS) and entry.is_dir()]
                )

    def _path(self, address: str) -> Path:
        return self._file(f"{address}.npz")

    def _file(self, name: str) -> Path:
        """Where a file is kept; where earlier versions kept it, if it is there alone."""
        path, earlier = self.folder / name[:LETTERS] / name, self.folder / name[:_EARLIER] / name
        return earlier if not os.path.exists(path) and os.path.exists(earlier) else path

    def get(self, address: str) -> Result | None:
        """The result at `address`, or None when there is none or its file is damaged (it is then measured again)."""
        path = self._path(address)
        if self._passed_over(address) or not os.path.isfile(path):
            return None
        try:
            result, kept_at = Result.read(path)
        except MeasureError:
            return None
        return result if kept_at == address else None

    def follow(self, link: str) -> Result | None:
        """The result that `link` leads to, or None; see `link`."""
        address = self._address(link)
        return self.get(address) if address is not None else None

    def holds(self, link: str) -> bool:
        """Whether `link` leads to a result; it is not read."""
        address = self._address(link)
        return address is not None and not self._passed_over(address) and os.path.isfile(self._path(address))

    def _link(self, link: str) -> Path:
        return self._file(f"{link}.link")

    def _address(self, link: str) -> str | None:
        """Where `link` leads; None where there is none, or it is not as it was written."""
        content = _bytes(self._link(link))
        try:
            return str(files.unsealed(link, content)) if content is not None else None
        except MeasureError:
            return None

    def link(self, link: str, address: str) -> None:
        """Let `link`, made of what is known before a model is loaded, lead to the result at `address`."""
        if not self.dry and self._address(link) != address:
            self._write(self._link(link), files.sealed(link, address))

    def put(self, address: str, result: Result) -> None:
        """Keep `result`; a kill at any moment leaves the whole file or none."""
        if self.dry:
            return
        if self._write(self._path(address), result.to_bytes(address)) and self.refreshing:
            try:
                if os.path.lexists(self._journal):
                    files.content(self._journal)
                with self._journal.open("a") as journal:
                    journal.write(address + "\n")
            except OSError as error:
                self._note(error)

    def _write(self, path: Path, content: bytes) -> bool:
        """Whether `content` could be written. A result that cannot be kept is a result all the same."""
        try:
            write_atomically(path, content)
        except OSError as error:
            self._note(error)
            return False
        return True

    def _note(self, error: OSError) -> None:
        self.problems.append(
            f"results are not kept: {self.folder} cannot be written ({error.strerror}); give another folder with "
            "--store DIR."
        )


def _bytes(path: Path) -> bytes | None:
    """What a file holds; None where there is none that can be read, a folder among them."""
    try:
        return files.content(path)
    except OSError:
        return None
