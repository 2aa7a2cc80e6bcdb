"""What a pytest session holds: what measures for it, its records, what was chosen; each made when first asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from measure.spec import MeasureError

if TYPE_CHECKING:
    from measure.harness.session import Harness
    from measure.kinds.rows import Row
    from measure.report.records import Recorder

# Where a process measures, and where the run's records are; see `measure.harness.session`.
HARNESS = pytest.StashKey["Harness"]()
RECORDER = pytest.StashKey["Recorder"]()
# The models that --models names; None where it names none.
NAMED = pytest.StashKey[set[str] | None]()
# Revisions of a sweep that were left out, a sentence each.
SWEPT = pytest.StashKey[list[str]]()
# Claims that are not asked of them, each with what its suite takes.
UNASKED = pytest.StashKey[list[str]]()
# Models that no test measures, with the seconds that they would take here.
LEFT_OUT = pytest.StashKey[dict[str, float]]()
# What is told of the pairs of --pairs-from, a sentence each.
OTHER_PAIRS = pytest.StashKey[list[str]]()
# Rows of a worker's records that wait for the next report to travel on.
OUTBOX = pytest.StashKey[list["Row"]]()
# Why this process, one of several shards, judges nothing.
NOT_JUDGED = pytest.StashKey[str]()


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is a worker of pytest-xdist."""
    return hasattr(config, "workerinput")


def harness_of(config: pytest.Config) -> Harness:
    """What measures in this process, made when the first spec is known."""
    if HARNESS not in config.stash:
        from measure.harness.session import Harness

        try:
            config.stash[HARNESS] = Harness(config, lambda row: emit(config, row))
        except MeasureError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[HARNESS]


def emit(config: pytest.Config, row: Row) -> None:
    """A row goes into the records, without this machine's folders, from a worker of pytest-xdist by the next report."""
    from measure.harness import recording
    from measure.harness.session import places

    row = recording.outward(row, places(config))
    if is_worker(config):
        config.stash[OUTBOX].append(row)
    elif RECORDER in config.stash:
        config.stash[RECORDER].take(row)


def recorder_of(config: pytest.Config) -> Recorder:
    """What writes the records of this run, begun when first asked for."""
    if RECORDER not in config.stash:
        from measure.report import records

        given = config.getoption("--records")
        path = Path(given) if given else records.new_path(config.rootpath / records.FOLDER)
        dry = (config.getoption("--refresh") or "").startswith("dry")
        config.stash[RECORDER] = records.Recorder(None if dry else path, asked=bool(given))
    return config.stash[RECORDER]
