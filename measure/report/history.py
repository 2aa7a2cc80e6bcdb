"""How each claim stood, run after run: `reports/history.jsonl`, a line for each case of a run. Measures nothing.

Lines are only ever added, those of a run in one write when it ends, so that two runs at once do not mix; what a kill or
a full disk left of a line is closed by the next run, and told by whoever reads it. Runs on other pairs than the usual
ones (another protocol, number, corpus, seed or precision) say so in the subject: they are other cases.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from measure.base import files
from measure.base.exits import EXIT_NOT_MEASURED
from measure.kinds.rows import Ended, Header, Number, TestRow
from measure.report import records
from measure.report import table as report
from measure.spec import MeasureError

FORMAT = 1
FILE = records.FOLDER.parent / "history.jsonl"
Outcome = Literal["supported", "inconclusive", "contradicted", "not measured", "failed"]
# By outcome, the worst last: of several cases a claim's mark is the worst.
MARKS: dict[Outcome, str] = {
    "not measured": ".",
    "supported": "+",
    "inconclusive": "~",
    "contradicted": "-",
    "failed": "x",
}
CHANGED = "|"
# Runs in a strip.
LAST = 20
# Changes that are told beneath it.
TOLD = 10


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How a case of a claim stood in one run.

    `run`: the name of its records; `code`: the first characters of the measuring code's hash. `effect` is the one that
    decides the verdict, the first that is not supported, else the first; `estimate`, `low`, `high`, `margin` are its
    own, None where there is none.
    """

    started: str
    run: str
    code: str
    claim: str
    place: str
    subject: str
    outcome: Outcome
    estimate: Number
    low: Number
    high: Number
    margin: Number
    n: int
    effect: str | None = None


Case = tuple[str, str]
# By case, the runs in which it changed, with the entry that it had stood by.
Moved = Mapping[Case, Mapping[str, "Entry"]]


def case_of(entry: Entry) -> Case:
    """What is followed from run to run: the claim and its subject."""
    return entry.claim, entry.subject


# Writing


def keep(written: Path, header: Header, rows: Sequence[TestRow]) -> str | None:
    """Add a run's lines to the history beside the folder of its records; returns why that could not be done."""
    path = written.parent.parent / FILE.name
    try:
        append(path, entries(written.name, header, rows))
    except OSError as error:
        return f"nothing of this run is in the history: {path} cannot be written ({error.strerror or error})."
    return None


def entries(run: str, header: Header, rows: Sequence[TestRow]) -> list[Entry]:
    """How every case stood that a run judged, or was to judge."""
    sample = sample_of(header)
    found = []
    for title in report.titles(rows):
        for case in report.cases([row for row in rows if row.claim == title]):
            if case.claim is not None:
                found.append(_entry(run, header, f"{case.subject}{sample}", case.claim))
    return found


def sample_of(header: Header) -> str:
    """What is added to the subjects of a run on other pairs than the usual ones; "" on the usual ones."""
    told = [
        header.protocol if header.protocol != "paper" else "",
        f"{header.pairs} pairs" if header.pairs is not None else "",
        f"corpus {header.corpus}" if header.corpus is not None else "",
        f"seed {header.seed}" if header.seed else "",
        header.precision if header.precision not in (None, "float32") else "",
    ]
    parts = ", ".join(filter(None, told))
    return f" ({parts})" if parts else ""


def _entry(run: str, header: Header, subject: str, row: TestRow) -> Entry:
    verdict = row.verdict
    effect = report.lead(verdict.effects) if verdict is not None else None
    told = (effect.estimate, effect.low, effect.high, effect.margin) if effect is not None else (None,) * 4
    # Rows that come from no file have NaN for what is no number.
    estimate, low, high, margin = (value if value is not None and math.isfinite(value) else None for value in told)
    return Entry(
        started=header.started,
        run=run,
        code=header.code,
        claim=row.claim or "",
        place=row.place,
        subject=subject,
        outcome=_outcome(row),
        estimate=estimate,
        low=low,
        high=high,
        margin=margin,
        n=effect.n if effect is not None else verdict.n if verdict is not None else 0,
        effect=effect.name if effect is not None else None,
    )


def _outcome(row: TestRow) -> Outcome:
    """The verdict; without one, whether the test failed or was never in a position to judge."""
    if row.verdict is not None:
        known: dict[str, Outcome] = {outcome: outcome for outcome in MARKS}
        return known.get(row.verdict.outcome, "failed")
    denied = row.outcome != Ended.FAILED or row.status == EXIT_NOT_MEASURED
    return "not measured" if denied else "failed"


def append(path: Path, found: Sequence[Entry]) -> None:
    """Add lines in one write, closing what a killed run left half written. Raises `OSError`."""
    if not found:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o644)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "no ordinary file")
        block = _closing(handle) + b"".join(map(to_line, found))
        if os.write(handle, block) < len(block):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(handle)


def _closing(handle: int) -> bytes:
    """A line's end where the file has a line without one.

    Another process may be writing that line: then an empty one is left, which `read` passes over.
    """
    size = os.fstat(handle).st_size
    return b"\n" if size and os.pread(handle, 1, size - 1) != b"\n" else b""


def to_line(entry: Entry) -> bytes:
    """An entry as its line."""
    content = {"format": FORMAT, **dataclasses.asdict(entry)}
    return (json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n").encode()


# Reading


@dataclass(frozen=True)
class History:
    """Entries in the order in which their runs started; a sentence on each kind of line that was passed over."""

    entries: tuple[Entry, ...] = ()
    problems: tuple[str, ...] = ()


def read(path: Path = FILE) -> History:
    """A history; nothing where there is none. Raises `MeasureError` for a file that cannot be read."""
    try:
        lines = files.content(path).splitlines()
    except FileNotFoundError:
        return History()
    except OSError as error:
        raise MeasureError(f"the history {path.name} cannot be read ({error.strerror or error}).") from None
    found: list[Entry] = []
    passed: dict[str, list[str]] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_from_line(line))
            except MeasureError as error:
                passed.setdefault("is no whole line of a history", []).append(f"line {number}: {error}")
            except LookupError as error:
                passed.setdefault("was written by another version", []).append(f"line {number}: {error.args[0]}")
    ordered = sorted(found, key=lambda entry: datetime.fromisoformat(entry.started))
    return History(tuple(ordered), tuple(f"{path.name}: {_counted(what, why)}" for what, why in passed.items()))


def _counted(what: str, why: Sequence[str]) -> str:
    lines = f"1 line {what}" if len(why) == 1 else f"{len(why)} lines, each of which {what}"
    return f"{lines}, passed over ({why[0]})"


def _from_line(line: bytes) -> Entry:
    """Raises `MeasureError` for what is no entry, `LookupError` for one of another format."""
    content = files.parsed(line)
    if not isinstance(content, dict):
        raise MeasureError("it is no object")
    found = content.get("format")
    if found != FORMAT:
        raise LookupError(f"format {found!r}, this one reads {FORMAT}")
    try:
        entry = msgspec.convert(content, Entry)
        if datetime.fromisoformat(entry.started).tzinfo is None:
            raise ValueError(f"{entry.started!r} names no time zone")
        if not 0 <= entry.n < 2**53:
            raise ValueError(f"n is {entry.n}")
    except (ValueError, OverflowError, RecursionError) as error:
        raise MeasureError(str(error)) from None
    return entry


# Changes


def changes(found: Iterable[Entry]) -> dict[Case, dict[str, Entry]]:
    """Of each case the runs in which it stood otherwise than before, by name, with the entry that it had stood by.

    Another outcome, or of the same effect an estimate outside the interval of the run that changed it last: held to
    the run just before, a number that creeps would never be seen. Runs that did not measure a case are passed over.
    """
    stood: dict[Case, Entry] = {}
    moved: dict[Case, dict[str, Entry]] = {}
    for entry in found:
        if entry.outcome == "not measured":
            continue
        case = case_of(entry)
        before = stood.setdefault(case, entry)
        if _differs(entry, before):
            moved.setdefault(case, {})[entry.run] = before
            stood[case] = entry
    return moved


def _differs(entry: Entry, before: Entry) -> bool:
    if entry.outcome != before.outcome:
        return True
    if entry.effect != before.effect or entry.estimate is None or before.low is None or before.high is None:
        return False
    return not before.low <= entry.estimate <= before.high


# Telling


def lines(found: History, *, last: int = LAST, text: str = "", every: bool = False) -> list[str]:
    """The history as a terminal shows it: a claim a line, or `every` case, over the `last` runs; then what changed.

    `text`: those alone in whose claim or subject it stands.
    """
    chosen = [entry for entry in found.entries if text.lower() in f"{entry.claim} {entry.subject}".lower()]
    measured = {case_of(entry) for entry in chosen if entry.outcome != "not measured"}
    kept = [entry for entry in chosen if case_of(entry) in measured]
    runs = list(dict.fromkeys(entry.run for entry in kept))[-last:]
    moved = changes(kept)
    never = len({case_of(entry) for entry in chosen}) - len(measured)
    body = _by_case(kept, runs, moved) if every else _by_claim(kept, runs, moved)
    return [*_head(kept, runs), *body, *_never(never), *_told(kept, runs, moved)]


def _head(kept: Sequence[Entry], runs: Sequence[str]) -> list[str]:
    if not runs:
        return ["no case that is asked for was measured yet"]
    times = [entry.started for entry in kept if entry.run in (runs[0], runs[-1])]
    key = "  ".join(f"{mark} {outcome}" for outcome, mark in MARKS.items())
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    return [f"{count}, {_short(times[0])} to {_short(times[-1])}", f"{key}  {CHANGED} changed", ""]


def _short(started: str) -> str:
    return datetime.fromisoformat(started).strftime("%Y-%m-%d %H:%M")


def _never(count: int) -> list[str]:
    cases = "1 case was" if count == 1 else f"{count} cases were"
    return ["", f"{cases} asked for and never measured"] if count else []


def _strip(cases: Mapping[Case, Mapping[str, Entry]], runs: Sequence[str], moved: Moved) -> str:
    """A mark a run, the worst of the cases' own, and before it what says that one of them changed."""
    order = list(MARKS.values())
    shown = []
    for run in runs:
        marks = [MARKS[of_run[run].outcome] for of_run in cases.values() if run in of_run]
        changed = any(run in moved.get(case, ()) for case in cases)
        shown.append((CHANGED if changed else " ") + (max(marks, key=order.index) if marks else " "))
    return "".join(shown)


def _grouped(kept: Sequence[Entry]) -> dict[str, dict[Case, dict[str, Entry]]]:
    """By claim, in the order of the paper, then by case, the entries by run."""
    found: dict[str, dict[Case, dict[str, Entry]]] = {}
    for entry in sorted(kept, key=lambda entry: (entry.place, entry.claim)):
        found.setdefault(entry.claim, {}).setdefault(case_of(entry), {})[entry.run] = entry
    return found


def _by_claim(kept: Sequence[Entry], runs: Sequence[str], moved: Moved) -> list[str]:
    return [f"{_strip(cases, runs, moved)}  {claim}" for claim, cases in _grouped(kept).items()]


def _by_case(kept: Sequence[Entry], runs: Sequence[str], moved: Moved) -> list[str]:
    told = []
    for claim, cases in _grouped(kept).items():
        told.append(claim)
        for case, of_run in cases.items():
            latest = [entry for entry in of_run.values() if entry.outcome != "not measured"][-1]
            told.append(f"{_strip({case: of_run}, runs, moved)}  {case[1]}: {_standing(latest)}")
    return told


def _standing(entry: Entry) -> str:
    """An outcome with the effect that decides it."""
    if entry.estimate is None or entry.low is None or entry.high is None:
        return entry.outcome
    return f"{entry.outcome}, {entry.estimate:+.3f} [{entry.low:+.3f}, {entry.high:+.3f}], n = {entry.n}"


def _told(kept: Sequence[Entry], runs: Sequence[str], moved: Moved) -> list[str]:
    """The last changes, the newest first."""
    found = [entry for entry in reversed(kept) if entry.run in runs and entry.run in moved.get(case_of(entry), ())]
    told = [line for entry in found[:TOLD] for line in _change(entry, moved[case_of(entry)][entry.run])]
    more = [f"... and {len(found) - TOLD} changes before"] if len(found) > TOLD else []
    return ["", "changed", *told, *more] if told else []


def _change(entry: Entry, before: Entry) -> list[str]:
    by = "by the same measuring code" if before.code == entry.code else f"code {before.code} -> {entry.code}"
    # Records of earlier versions do not say by which.
    code = by if before.code and entry.code else "by code that is not known"
    effects = [f" of {one.effect!r}" if one.effect and before.effect != entry.effect else "" for one in (before, entry)]
    return [
        f"  {_short(entry.started)}  {entry.subject}: {entry.claim}",
        f"      {_standing(before)}{effects[0]}  ->  {_standing(entry)}{effects[1]}; {code}, {entry.run}",
    ]
