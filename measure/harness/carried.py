"""What a test's report carries to the process that records: rows, failures, what could not be kept.

With pytest-xdist that is not the process that ran the test, and reports are what travels.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from measure.base.exits import EXIT_CLAIM_FAILED
from measure.base.progress import Pace
from measure.harness.options import OWN_PAIRS
from measure.harness.stash import HARNESS, LEFT_OUT, OTHER_PAIRS, OUTBOX, is_worker, recorder_of
from measure.spec import MeasureError

if TYPE_CHECKING:
    from measure.kinds.rows import Row
    from measure.report.records import Recorder

REPORTS = pytest.StashKey["Reports"]()


def listen(config: pytest.Config) -> None:
    """Make ready to record: a worker of pytest-xdist keeps its rows for the next report, others hear the reports."""
    if is_worker(config):
        config.stash[OUTBOX] = []
    else:
        config.stash[REPORTS] = Reports(config)
        config.pluginmanager.register(config.stash[REPORTS], "stable regions: reports")


def carry(item: pytest.Item, report: pytest.TestReport, told: dict[str, object]) -> None:
    """Give a report what it has to tell beside `told`; pytest-xdist carries what a report has to the controller."""
    stash = item.config.stash
    if HARNESS in stash and (problem := stash[HARNESS].store.problem):
        told["measure_problem"] = problem
    if LEFT_OUT in stash:
        told["measure_left_out"] = stash[LEFT_OUT]
    if OWN_PAIRS in stash:
        told["measure_pairs"] = stash.get(OTHER_PAIRS, [])
    if is_worker(item.config):
        told["measure_rows"] = _posted(stash[OUTBOX])
    vars(report).update(told)


def _posted(waiting: list[Row]) -> list[str]:
    """The rows that waited, as they travel."""
    from measure.report import records

    lines = [records.to_json(row).decode() for row in waiting] if waiting else []
    waiting.clear()
    return lines


class Reports:
    """Hears the reports in the process that records, which with pytest-xdist is not the one that ran the tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.failures: set[int] = set()
        # What could not be kept, a sentence each; as a mapping, to hold their order.
        self.problems: dict[str, None] = {}
        # Seconds that models would take which the run left out; what was told of pairs of one's own.
        self.left_out: dict[str, float] = {}
        self.pairs: list[str] = []
        self._pace, self._results = Pace(), 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of what failed, and of the rows that came with a worker's report."""
        if status := getattr(report, "measure_status", None):
            self.failures.add(status)
        if problem := getattr(report, "measure_problem", None):
            self.problems[problem] = None
        self.left_out |= getattr(report, "measure_left_out", {})
        self.pairs = getattr(report, "measure_pairs", None) or self.pairs
        lines = getattr(report, "measure_rows", ())
        if lines:
            from measure.report import records

            for line in lines:
                self._take(records.from_json(line.encode()))

    def _take(self, row: Row | None) -> None:
        try:
            if row is not None:
                recorder_of(self._config).take(row)
                self._show(row)
        except MeasureError as error:
            raise pytest.UsageError(str(error)) from None

    def _show(self, row: Row) -> None:
        """A line now and then on what a worker of pytest-xdist has measured."""
        from measure.kinds.rows import ResultRow

        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        self._results += isinstance(row, ResultRow)
        if isinstance(row, ResultRow) and reporter is not None and self._pace.is_due():
            reporter.ensure_newline()
            reporter.write_line(f"[{self._results} so far] {row.how} {row.id}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A suite that cannot be read is neither drift nor a model that is missing."""
        if report.failed:
            self.failures.add(EXIT_CLAIM_FAILED)


def problems_of(config: pytest.Config, recorder: Recorder) -> list[str]:
    """What of a run could not be kept, a sentence each."""
    told = config.stash[REPORTS]
    store = config.stash[HARNESS].store.problems[:1] if HARNESS in config.stash else []
    kept = [*told.problems, *store, *([recorder.problem] if recorder.problem else []), *unwritten()]
    return list(dict.fromkeys(kept))


def unwritten() -> list[str]:
    """Baselines that could not be written, a sentence each."""
    snapshot = sys.modules.get("measure.harness.snapshot")
    return snapshot.UNWRITTEN if snapshot is not None else []
