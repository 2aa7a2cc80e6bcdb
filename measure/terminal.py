"""Tell: what a run prints when it ends, from the rows of its tests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from measure import report
from measure.exits import EXIT_CLAIM_FAILED, EXIT_DRIFT, EXIT_NOT_MEASURED
from measure.rows import State, TestRow
from measure.shown import one_line

_MEANING = {
    EXIT_CLAIM_FAILED: "a claim, a control or another test failed",
    EXIT_DRIFT: "no claim failed, but curves are not their baselines",
    EXIT_NOT_MEASURED: "no claim failed and no curve moved, but something could not be measured",
}
_TOLD = {
    State.MOVED: "moved",
    State.INCOMPLETE: "lack what is measured by now (`measure refresh -k NAME --rewrite` completes them)",
    State.REFUSED: "cannot be compared",
    State.NEW: "were never accepted",
}


def lines_of(rows: Sequence[TestRow], protocol: str) -> Iterator[str]:
    """The title of the claims' table, then its lines, and what became of the baselines, control characters shown."""
    yield from map(one_line, _lines_of(rows, protocol))


def _lines_of(rows: Sequence[TestRow], protocol: str) -> Iterator[str]:
    yield f"claims (protocol {protocol}; n: independent units)"
    yield from report.claim_table(rows)
    yield from report.reads_table(rows)
    yield report.baseline_line(rows)
    noted = [note for row in rows if row.baseline is not None for note in row.baseline.notes]
    for note in dict.fromkeys(noted):
        count = noted.count(note)
        yield f"{count} baseline{'s' * (count != 1)}: {note}"


def ending(status: int, rows: Sequence[TestRow]) -> str:
    """What an exit status means, and of baselines what became of how many."""
    line = f"exit status {status}: {_MEANING[status]}"
    if status != EXIT_DRIFT:
        return line
    states = [row.baseline.state for row in rows if row.baseline is not None]
    told = [f"{states.count(state)} {text}" for state, text in _TOLD.items() if state in states]
    return f"{line}: {', '.join(told)}" if told else line


def seen_from(folder: Path, path: Path) -> Path:
    """A path as short as it can be written in `folder`."""
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def summarized(rows: Sequence[TestRow]) -> Iterator[str]:
    """Write GitHub's summary of the run, where it asks for one; tells why that could not be done."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if not summary:
        return
    try:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(report.step_summary(rows))
    except OSError as error:
        yield f"GITHUB_STEP_SUMMARY names a file that cannot be written ({error}); the run stands."
