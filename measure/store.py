"""Remember: content-addressed, crash-safe results. A change in what is measured, or with what, is another address."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from measure.known import source_hash
from measure.results import Result, write_atomically
from measure.spec import MeasureError, Spec


def key(spec: Spec, conditions: Mapping[str, str]) -> str:
    """Address of a result: the spec, the measuring source, and the `conditions` it was measured under.

    `conditions` are hashes of weights and prompts, versions and the device type.
    """
    content = {"kind": type(spec).__name__, "spec": dataclasses.asdict(spec), "source": source_hash(), **conditions}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Store:
    """A folder of results, one file each.

    `refreshing` passes over what was stored before, but not over what this refresh, or an earlier one that was killed,
    has measured already: a journal in the folder remembers it until `end_refresh`. `dry` writes nothing at all.
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
        return not self._journal.exists() or address not in self._journal.read_text().splitlines()

    def end_refresh(self) -> None:
        """Forget what the refresh measured: the next one measures everything again."""
        self._journal.unlink(missing_ok=True)

    def _path(self, address: str) -> Path:
        return self.folder / address[:2] / f"{address}.npz"

    def get(self, address: str) -> Result | None:
        """The result at `address`, or None when there is none or its file is damaged (it is then measured again)."""
        path = self._path(address)
        if self._passed_over(address) or not path.exists():
            return None
        try:
            return Result.load(path)
        except MeasureError:
            return None

    def follow(self, link: str) -> Result | None:
        """The result that `link` leads to, or None; see `link`."""
        path = self._path(link).with_suffix(".link")
        return self.get(path.read_text()) if path.exists() else None

    def holds(self, link: str) -> bool:
        """Whether `link` leads to a result; it is not read."""
        path = self._path(link).with_suffix(".link")
        return path.exists() and not self._passed_over(path.read_text()) and self._path(path.read_text()).exists()

    def link(self, link: str, address: str) -> None:
        """Let `link`, made of what is known before a model is loaded, lead to the result at `address`."""
        path = self._path(link).with_suffix(".link")
        if not self.dry and not (path.exists() and path.read_text() == address):
            self._write(path, address.encode())

    def put(self, address: str, result: Result) -> None:
        """Keep `result`; a kill at any moment leaves the whole file or none."""
        if self.dry:
            return
        if self._write(self._path(address), result.to_bytes()) and self.refreshing:
            with self._journal.open("a") as journal:
                journal.write(address + "\n")

    def _write(self, path: Path, content: bytes) -> bool:
        """Whether `content` could be written. A result that cannot be kept is a result all the same."""
        try:
            write_atomically(path, content)
        except OSError as error:
            self.problems.append(
                f"results are not kept: {self.folder} cannot be written ({error.strerror}); give another folder with "
                "--store DIR."
            )
            return False
        return True
