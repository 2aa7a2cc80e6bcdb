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

from measure import baselines
from measure.items import baseline_folder
from measure.regression import compare
from measure.results import write_atomically
from measure.rows import State


class CurveBaseline(SingleFileSnapshotExtension):
    """Baselines of the tests of one suite, in `folder`."""

    _write_mode = WriteMode.TEXT
    file_extension = "json"
    folder: Path

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        """The folder of the suite's baselines."""
        return str(cls.folder)

    def serialize(self, data: SerializableData, **_: Any) -> SerializedData:
        """The text of a baseline for a measured result."""
        return baselines.to_text(baselines.describe(data))

    def matches(self, *, serialized_data: SerializableData, snapshot_data: SerializableData) -> bool:
        """Whether what was measured is as accepted, within the tolerance written in the baseline."""
        return compare(str(serialized_data), str(snapshot_data)).state is State.AS_ACCEPTED

    def diff_lines(self, serialized_data: SerializedData, snapshot_data: SerializedData) -> Iterator[str]:
        """What a failed baseline test prints."""
        yield from compare(str(serialized_data), str(snapshot_data or "")).why

    @classmethod
    def write_snapshot_collection(
        cls, *, snapshot_collection: SnapshotCollection, name_order: dict[str, int] | None = None
    ) -> None:
        """Write one baseline under a temporary name and then rename it, so that a kill never leaves half a file."""
        snapshot = next(iter(snapshot_collection))
        write_atomically(Path(snapshot_collection.location), str(snapshot.data).encode())


@cache
def baseline_in(folder: Path) -> type[CurveBaseline]:
    """syrupy's extension for a suite whose baselines lie in `folder`; syrupy takes a class, not an object."""
    return type("CurveBaseline", (CurveBaseline,), {"folder": folder})


def baseline_file(item: pytest.Item) -> Path:
    """Where the first baseline of a test stands."""
    extension = baseline_in(baseline_folder(item))
    return Path(extension.get_location(test_location=PyTestLocation(item), index=0))
