"""Tell: what a run prints when it ends, from the rows of its tests."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from measure.base.exits import EXIT_CLAIM_FAILED, EXIT_DRIFT, EXIT_NOT_MEASURED
from measure.base.files import write_atomically
from measure.kinds.rows import Ended, State, TestRow
from measure.report import table as report
from measure.report.table import NOT_MEASURED, Case
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


# In this order; what else there is, of controls alone, comes after.
_OUTCOMES = ("supported", "inconclusive", "contradicted", NOT_MEASURED, "no verdict")
_MARK = "ladder-"


def verdicts(rows: Sequence[TestRow], width: int, denied: Container[str] = ()) -> list[str]:
    """A line a claim, `width` wide: what it is supported on and what not; more where its title or names need them.

    `denied` are tests that were kept from measuring.
    """
    judged = [row for row in rows if row.role in report.JUDGED]
    by_title = {title: report.cases([row for row in judged if row.claim == title]) for title in report.titles(judged)}
    asked = [case.subject for found in by_title.values() for case in found if not _is_left_out(case)]
    # All of them being models of the ladder, it need not be said of each.
    mark = _MARK if asked and all(_MARK in subject for subject in asked) else ""
    left = min(max((len(title) for title in by_title), default=0), width * 9 // 20)
    lines = []
    for title, found in by_title.items():
        told = _few_lines(found, mark, width - left - 2, denied)
        beside = zip_longest(_wrapped(title, left), told, fillvalue="")
        lines += [f"{part:<{left}}  {line}".rstrip() for part, line in beside]
    return [one_line(line) for line in lines]


def _is_left_out(case: Case) -> bool:
    """Whether a case was not asked at all."""
    return all(row.outcome == Ended.SKIPPED for row in ([case.claim] if case.claim is not None else case.controls))


def _named(case: Case, mark: str) -> str:
    return case.subject.replace(mark, "") if mark else case.subject


def _outcome(case: Case, denied: Container[str]) -> str:
    shown = case.claim
    if shown is None:
        return f"control {case.control_state}"
    if report.claim_lacks_data(shown):
        return NOT_MEASURED
    if shown.verdict is None:
        return NOT_MEASURED if shown.test in denied else "no verdict"
    return shown.verdict.outcome


def _few_lines(found: Sequence[Case], mark: str, width: int, denied: Container[str]) -> list[str]:
    """What is told of a claim in two lines: where names take more, the longest list is its number."""
    measured = [case for case in found if not _is_left_out(case)]
    by_outcome: dict[str, list[str]] = {}
    for case in measured:
        by_outcome.setdefault(_outcome(case, denied), []).append(_named(case, mark))
    counted: list[str] = []
    for outcome in ["", *sorted(by_outcome, key=lambda one: -len(" ".join(by_outcome[one])))]:
        counted.append(outcome)
        lines = _wrapped(_told(found, mark, by_outcome, counted), width)
        if len(lines) <= 2:
            break
    return lines


def _told(found: Sequence[Case], mark: str, by_outcome: Mapping[str, Sequence[str]], counted: Sequence[str]) -> str:
    """The outcomes of a claim's cases in words, and what is wrong with a case's test or control."""
    measured = sum(map(len, by_outcome.values()))
    if not measured:
        return NOT_MEASURED
    parts = [
        f"{outcome} on {len(by_outcome[outcome])}"
        if outcome in counted
        else _on(outcome, by_outcome[outcome], measured)
        for outcome in dict.fromkeys((*_OUTCOMES, *by_outcome))
        if outcome in by_outcome
    ]
    wrong = [_named(case, mark) for case in found if case.claim is not None and _is_other(case.claim)]
    broken = [_named(case, mark) for case in found if case.control_state == "broken"]
    parts += [f"NOT AS EXPECTED on {', '.join(_together(wrong))}"] if wrong else []
    parts += [f"CONTROL BROKEN on {', '.join(_together(broken))}"] if broken else []
    return "; ".join(parts)


def _is_other(row: TestRow) -> bool:
    """Whether a verdict is another than was expected."""
    return (
        row.outcome == Ended.FAILED
        and row.verdict is not None
        and row.verdict.outcome not in (row.expected, NOT_MEASURED)
    )


def _on(outcome: str, subjects: Sequence[str], of: int) -> str:
    return f"{outcome} on all {of}" if len(subjects) == of > 2 else f"{outcome} on {', '.join(_together(subjects))}"


def _together(subjects: Sequence[str]) -> list[str]:
    """Names, sizes of one family side by side."""
    families: dict[str, list[str]] = {}
    for subject in subjects:
        family, dash, size = subject.rpartition("-")
        families.setdefault(family if dash and size[:1].isdigit() else f"\n{subject}", []).append(size or subject)
    return [name[1:] if name[:1] == "\n" else f"{name} {' '.join(sizes)}" for name, sizes in families.items()]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 20), break_long_words=False, break_on_hyphens=False) or [""]


def wrapped(text: str, width: int) -> list[str]:
    """A text of some lines, none wider than `width` unless a word is; what follows is set in."""
    lines = [line for line in text.splitlines() if line.strip()]
    return [
        one_line(part)
        for place, line in enumerate(lines)
        for part in textwrap.wrap(
            line,
            width,
            initial_indent="  " if place else "",
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]


def causes(failed: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Of tests that could not be measured, by id and cause, each cause once and whole."""
    by_cause: dict[str, list[str]] = {}
    for test, cause in failed:
        by_cause.setdefault(cause, []).append(test)
    for cause, tests in by_cause.items():
        named = tests[0] if len(tests) == 1 else f"{len(tests)} tests, the first of them {tests[0]}"
        yield f"{named}: {cause}"


def left_out(seconds: Mapping[str, float], choice: str) -> str:
    """One line on the models that no test measured, by their names with the seconds that each would take here."""
    ordered = sorted(seconds, key=lambda name: seconds[name])
    first = ordered[0]
    named = [f"{first} (about {in_words(seconds[first])} here, --models {first})"]
    named += [f"{name} ({in_words(seconds[name])})" for name in ordered[1:3]]
    named += [f"{len(ordered) - 3} more"] if len(ordered) > 3 else []
    because = "left out by --models ladder" if choice == "ladder" else NOT_MEASURED
    whole = f"; all of them about {in_words(sum(seconds.values()))}, --models all" if len(ordered) > 1 else ""
    return f"{because}: {', '.join(named)}{whole}"


def in_words(seconds: float) -> str:
    """About how long something takes."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"


def write_table(rows: Sequence[TestRow], protocol: str, records: Path) -> tuple[Path | None, str]:
    """Write the whole table of claims beside a run's records; where it is, and why it could not be written."""
    path = records.with_suffix(".claims.txt")
    content = "".join(f"{line}\n" for line in lines_of(rows, protocol))
    try:
        write_atomically(path, content.encode(errors="backslashreplace"))
    except OSError as error:
        return None, f"{path}: the table of claims could not be written ({error.strerror})"
    return path, ""


def _lines_of(rows: Sequence[TestRow], protocol: str) -> Iterator[str]:
    yield f"claims (protocol {protocol}; n: independent units)"
    yield from report.claim_table(rows)
    yield from report.reads_table(rows)
    yield from baselines(rows)


def baselines(rows: Sequence[TestRow]) -> Iterator[str]:
    """What became of the baselines, and what is to be known of them, each note once."""
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
