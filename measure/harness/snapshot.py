"""syrupy's roles for baselines: one JSON file a test, compared within the tolerance that it holds, written whole."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from syrupy.data import SnapshotCollection
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from syrupy.location import PyTestLocation
from syrupy.types import SerializableData, SerializedData

from measure.base import files
from measure.base.files import write_atomically
from measure.harness import baselines
from measure.harness.items import VERDICTS, baseline_folder
from measure.harness.regression import compare
from measure.kinds.rows import State
from measure.shown import Places, shown

# Baselines that could not be written in this process, a sentence each; `plugin` empties it as a run begins.
UNWRITTEN: list[str] = []


class CurveBaseline(SingleFileSnapshotExtension):
    """Baselines of the tests of one suite, in `folder`; `places` writes the paths in them."""

    _write_mode = WriteMode.TEXT
    file_extension = "json"
    folder: Path
    places: Places

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        """The folder of the suite's baselines."""
        return str(cls.folder)

    def serialize(self, data: SerializableData, **_: Any) -> SerializedData:
        """The text of a baseline for a measured result."""
        return baselines.to_text(baselines.describe(data, self.places))

    def read_snapshot_data_from_location(
        self, *, snapshot_location: str, snapshot_name: str, session_id: str
    ) -> SerializableData | None:
        """The text of a baseline file, None where there is none."""
        return text_of(Path(snapshot_location))

    def owns_snapshot_collection(self, *, filepath: str, test_location: PyTestLocation) -> bool:
        """Whether a file beside the baselines is one: accepted verdicts are none, and never cleared away as unused."""
        place = Path(filepath).parent
        owned = super().owns_snapshot_collection(filepath=filepath, test_location=test_location)
        return owned and place != self.folder.parent / VERDICTS

    def matches(self, *, serialized_data: SerializableData, snapshot_data: SerializableData) -> bool:
        """Whether what was measured is as accepted, within the tolerance written in the baseline."""
        return compare(str(serialized_data), str(snapshot_data)).state is State.AS_ACCEPTED

    def diff_lines(self, serialized_data: SerializedData, snapshot_data: SerializedData) -> Iterator[str]:
        """What a failed baseline test prints."""
        yield from map(shown, compare(str(serialized_data), str(snapshot_data or "")).why)

    @classmethod
    def write_snapshot_collection(
        cls, *, snapshot_collection: SnapshotCollection, name_order: dict[str, int] | None = None
    ) -> None:
        """Write one baseline under a temporary name and then rename it, so that a kill never leaves half a file."""
        snapshot, path = next(iter(snapshot_collection)), Path(snapshot_collection.location)
        try:
            write_atomically(path, str(snapshot.data).encode())
        except OSError as error:
            UNWRITTEN.append(f"the baseline {path.name} could not be written ({error.strerror}): it is as it was.")


def text_of(path: Path) -> str | None:
    """The text of a baseline file, None where there is none; of one that cannot be read what will be refused."""
    try:
        text = files.content(path).decode(errors="surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return text.replace("\r\n", "\n") or " "


@cache
def baseline_in(folder: Path, root: Path) -> type[CurveBaseline]:
    """syrupy's extension for a suite whose baselines lie in `folder`; syrupy takes a class, not an object."""
    return type("CurveBaseline", (CurveBaseline,), {"folder": folder, "places": Places(root)})


def baseline_file(item: pytest.Item) -> Path:
    """Where the first baseline of a test stands."""
    extension = baseline_in(baseline_folder(item), item.config.rootpath)
    return Path(extension.get_location(test_location=PyTestLocation(item), index=0))
