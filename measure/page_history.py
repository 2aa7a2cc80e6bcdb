"""Tell: `reports/history.jsonl`, a line for each claim and run -> what the page shows of earlier runs. Judges nothing.

The file is appended to by runs, and may have been cut, edited or written by another version: what is no line of this
format is passed over, counted and told.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from measure import files, page_names
from measure.records import FOLDER
from measure.shown import one_line
from measure.view_rows import Past, PastRun

FORMAT = 1
HISTORY = FOLDER.parent / "history.jsonl"
# Of each claim and subject so many runs are shown, the last ones.
LAST = 50
OUTCOMES = ("supported", "inconclusive", "contradicted", "not measured", "failed")
# Names in the file are ours; longer ones are not.
_LONGEST = 120

Key = tuple[str, str]


@dataclass(frozen=True)
class Line:
    """What the history holds of one claim's subject in one run."""

    format: int
    started: str
    run: str
    code: str
    claim: str
    subject: str
    outcome: str
    place: str = ""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    n: int | None = None


@dataclass
class History:
    """Runs in the order of the file, and of each claim's title and subject what was found in the last ones."""

    runs: list[PastRun] = field(default_factory=list)
    lines: dict[Key, deque[Past]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def of(self, claim: str, subject: str) -> tuple[Past, ...]:
        """The last runs' findings, the last one last."""
        return tuple(self.lines.get((claim, subject), ()))


def read(path: Path, keys: Iterable[Key]) -> History:
    """What the file at `path` holds of some claims and subjects; nothing where there is no file."""
    try:
        content = files.content(path)
    except FileNotFoundError:
        return History()
    except OSError as error:
        return History(problems=(f"{path.name} cannot be read ({error.strerror}), so no earlier runs are shown.",))
    wanted, found = set(keys), History()
    places: dict[PastRun, int] = {}
    damaged = foreign = 0
    for text in content.split(b"\n"):
        if not text.strip():
            continue
        line = _line(text)
        if isinstance(line, Line):
            if (line.claim, line.subject) in wanted:
                _keep(found, places, line)
        elif line:
            foreign += 1
        else:
            damaged += 1
    found.problems = tuple(_told(path, damaged, foreign))
    return _used(found)


def _told(path: Path, damaged: int, foreign: int) -> Iterable[str]:
    if damaged:
        yield (
            f"{path.name}: {damaged} line{'s are' if damaged > 1 else ' is'} no whole line of a history, passed over; "
            "earlier runs are shown without."
        )
    if foreign:
        yield (
            f"{path.name}: {foreign} line{'s are' if foreign > 1 else ' is'} of another format than {FORMAT}, passed "
            "over; the version that wrote them can show them."
        )


def _line(text: bytes) -> Line | bool:
    """A line; True for one of another format, False for one that is damaged."""
    try:
        content = json.loads(text, parse_constant=_no_number)
        if isinstance(content, dict) and _of_another_format(content):
            return True
        line = msgspec.convert(content, Line)
        datetime.fromisoformat(line.started)
    except (ValueError, RecursionError, OverflowError, msgspec.ValidationError):
        return False
    numbers = (line.estimate, line.low, line.high, line.margin)
    right = all(value is None or math.isfinite(value) for value in numbers) and (line.n is None or 0 <= line.n < 2**53)
    return line if right and line.outcome in OUTCOMES else False


def _of_another_format(content: dict[str, object]) -> bool:
    found = content.get("format")
    return isinstance(found, int | str) and not isinstance(found, bool) and found != FORMAT


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _keep(found: History, places: dict[PastRun, int], line: Line) -> None:
    run = PastRun(page_names.when(line.started), _cut(line.code), _cut(line.run))
    if run not in places:
        places[run] = len(found.runs)
        found.runs.append(run)
    past = Past(places[run], line.outcome, line.estimate, line.low, line.high, line.margin, line.n)
    found.lines.setdefault((line.claim, line.subject), deque(maxlen=LAST)).append(past)


def _cut(text: str) -> str:
    shown = one_line(text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def _used(found: History) -> History:
    """A history without the runs of which no line is left."""
    left = sorted({past.run for lines in found.lines.values() for past in lines})
    places = {old: new for new, old in enumerate(left)}
    lines = {
        key: deque((past._replace(run=places[past.run]) for past in kept), LAST) for key, kept in found.lines.items()
    }
    return History([found.runs[place] for place in left], lines, found.problems)
