"""Tell: the history of the claims -> what the page shows of earlier runs beside each claim. Judges nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from measure.report import history, page_names
from measure.report.history import Entry
from measure.report.view_rows import Past, PastRun
from measure.shown import one_line
from measure.spec import MeasureError

# Of each claim and subject so many runs are shown, the last ones.
LAST = 50
# Names in the file are ours; longer ones are not.
_LONGEST = 120


@dataclass
class History:
    """Earlier runs in order of their start, and of each claim's title and subject what was found in the last ones."""

    runs: list[PastRun] = field(default_factory=list)
    lines: dict[history.Case, deque[Past]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    # What is added to the subjects of the run that is shown; see `history.sample_of`.
    sample: str = ""

    def of(self, claim: str, subject: str) -> tuple[Past, ...]:
        """The last runs' findings, the last one last."""
        return tuple(self.lines.get((claim, f"{subject}{self.sample}"), ()))


def read(path: Path, keys: Iterable[history.Case], sample: str = "") -> History:
    """What the file at `path` holds of some claims and subjects, on one sample; nothing where there is no file."""
    try:
        kept = history.read(path)
    except MeasureError as error:
        return History(problems=(f"{error} No earlier runs are shown.",))
    wanted = {(claim, f"{subject}{sample}") for claim, subject in keys}
    last: dict[history.Case, deque[Entry]] = {}
    for entry in kept.entries:
        if history.case_of(entry) in wanted:
            last.setdefault(history.case_of(entry), deque(maxlen=LAST)).append(entry)
    shown = {id(entry) for entries in last.values() for entry in entries}
    runs = list(dict.fromkeys(_run(entry) for entry in kept.entries if id(entry) in shown))
    places = {run: place for place, run in enumerate(runs)}
    moved = history.changes(kept.entries)
    lines = {
        case: deque(_past(entry, places[_run(entry)], entry.run in moved.get(case, ())) for entry in entries)
        for case, entries in last.items()
    }
    return History(runs, lines, kept.problems, sample)


def _run(entry: Entry) -> PastRun:
    return PastRun(page_names.when(entry.started), _cut(entry.code), _cut(entry.run))


def _past(entry: Entry, place: int, changed: bool) -> Past:
    return Past(place, entry.outcome, entry.estimate, entry.low, entry.high, entry.margin, entry.n, changed)


def _cut(text: str) -> str:
    shown = one_line(text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
