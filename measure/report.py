"""Tell: records of a run -> the table of claims. Reads plain records; measures and judges nothing."""

from __future__ import annotations

import html
import math
import re
import textwrap
from collections.abc import Iterable
from typing import Any

Record = dict[str, Any]


def claim_table(rows: list[Record]) -> list[str]:
    """The lines of the claim table, at most 100 columns wide."""
    lines: list[str] = []
    judged = [row for row in rows if row["claim"] and row["kind"] in ("claim", "control")]
    width = _width(row["subject"] for row in judged)
    for title in sorted({row["claim"] for row in judged}, key=place):
        lines.append(title)
        of_claim = [row for row in judged if row["claim"] == title]
        for subject in dict.fromkeys(row["subject"] for row in of_claim):
            kinds = {row["kind"]: row for row in of_claim if row["subject"] == subject}
            above, beside = _placed(subject, width)
            lines += [*above, *_subject_lines(beside, kinds.get("claim"), kinds.get("control"))]
    return lines


# Longer subjects, of models by folder or hub id, stand on a line of their own.
SUBJECT = 38


def _width(subjects: Iterable[str]) -> int:
    return max([20, *(len(subject) for subject in subjects if len(subject) <= SUBJECT)])


def _placed(subject: str, width: int) -> tuple[list[str], str]:
    """A line of its own for a long subject, and what stands beside its verdict, `width` wide."""
    if len(subject) <= width:
        return [], f"{subject:<{width}}"
    return [f"  {subject if len(subject) <= 98 else f'{subject[:48]}…{subject[-49:]}'}"], " " * width


def _subject_lines(subject: str, claim_row: Record | None, control_row: Record | None) -> list[str]:
    shown = claim_row or control_row
    assert shown is not None
    verdict = shown.get("verdict")
    if shown["outcome"] == "skipped" or verdict is None:
        state = shown["reason"] if shown["outcome"] == "skipped" else f"no verdict: the test {shown['outcome']}"
        state = state if claim_row is not None else f"claim not run; control: {_control(control_row)}"
        lines = textwrap.wrap(state or "not measured: no reason given", 97 - len(subject))
        return [f"  {subject if not i else ' ' * len(subject)} {line}" for i, line in enumerate(lines)]
    accepted = "" if shown["expected"] == "supported" else " (expected)"
    outcome = verdict["outcome"] + accepted
    head = f"  {subject} {outcome:<23} n = {verdict['n']:<5} control: {_control(control_row)}"
    effects = [
        f"      {e['name']:<44} {_signed(e['estimate'])} [{_signed(e['low'])}, {_signed(e['high'])}] "
        f"margin {e['margin']:g} {'' if e['outcome'] == 'supported' else e['outcome']}".rstrip()
        for e in verdict["effects"]
    ]
    trends = [
        f"      {t['name']:<44} p {_p_value(t['p'])}, {t['treatments']} conditions  {t['outcome']}"
        for t in verdict["trends"]
    ]
    facts = [
        f"      {f['name']:<44} {f['agree']} of {f['of']}  {f['outcome'].replace('supported', '')}".rstrip()
        for f in verdict.get("facts", [])
    ]
    notes = [line for note in verdict["notes"] for line in textwrap.wrap(note, 93, subsequent_indent="  ")]
    return [head, *effects, *trends, *facts, *(f"      {line}" for line in notes)]


_SHORT = {"supported": "yes", "contradicted": "contradicted", "inconclusive": "inconclusive"}


def reads_table(rows: list[Record]) -> list[str]:
    """Under which read each claim survives, where a run asked with several; at most 100 columns wide."""
    judged = [row for row in rows if row["claim"] and row["kind"] == "claim" and row.get("read") and "verdict" in row]
    reads = list(dict.fromkeys(row["read"] for row in judged))
    if not reads:
        return []
    subjects = {id(row): row["subject"].removesuffix(f"-{row['read']}") for row in judged}
    width = max(35, _width(subjects.values()))
    head = "".join(f"{read:<15}" for read in reads).rstrip()
    lines = [f"{'which claims survive, by what is read':<{width + 3}}{head}"]
    for title in sorted({row["claim"] for row in judged}, key=place):
        lines.append(title)
        of_claim = [row for row in judged if row["claim"] == title]
        for subject in dict.fromkeys(subjects[id(row)] for row in of_claim):
            found = {row["read"]: row["verdict"]["outcome"] for row in of_claim if subjects[id(row)] == subject}
            cells = "".join(f"{_SHORT.get(found.get(read, ''), 'not measured'):<15}" for read in reads)
            above, beside = _placed(subject, width)
            lines += [*above, f"  {beside} {cells}".rstrip()]
    return lines


def place(title: str) -> str:
    """Titles go in the order of the paper's figures, which stand in brackets at their end."""
    return title.rpartition("(")[2]


def _signed(value: float | None) -> str:
    # Records have null for what is no number.
    return "none" if value is None or math.isnan(value) else f"{value:+.3f}"


def _p_value(p: float | None) -> str:
    # Below this an asymptotic p has no meaning of its own.
    return "none" if p is None or math.isnan(p) else "< 1e-16" if p < 1e-16 else f"= {p:.1g}"


def _control(row: Record | None) -> str:
    if row is None or "controls" not in row:
        return "not run" if row is None else row["outcome"]
    believed = [name for name, verdict in row["controls"].items() if verdict["outcome"] == "supported"]
    return f"BROKEN by {', '.join(believed)}" if believed else f"held against {len(row['controls'])}"


# GitHub takes summaries of less than 1 MB.
SUMMARY_BYTES = 1_000_000


def step_summary(rows: list[Record]) -> str:
    """The run as a GitHub step summary, what failed first; cut below the size that GitHub takes."""
    failed = [row for row in rows if row["outcome"] == "failed"]
    parts = [f"## {len(failed)} of {len(rows)} suite tests failed", baseline_line(rows)]
    for row in failed:
        parts.append(
            f"<details open><summary>{_escaped(row['test'])}</summary>\n\n{_block(row['reason'] or '')}</details>"
        )
    parts.append(_block("\n".join((*claim_table(rows), *reads_table(rows)))))
    text = "\n\n".join(parts) + "\n"
    whole = text.encode()
    if len(whole) < SUMMARY_BYTES:
        return text
    note = "\n```\n\ncut here: the whole is in reports/records.jsonl\n"
    return whole[: SUMMARY_BYTES - len(note) - 1].decode(errors="ignore") + note


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _block(text: str) -> str:
    """A code block that no back-tick in `text` can end."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def baseline_line(rows: list[Record]) -> str:
    """One line on the baseline tests of a run."""
    outcomes = [row["outcome"] for row in rows if row["kind"] == "baseline"]
    return (
        f"baselines: {outcomes.count('passed')} as accepted, {outcomes.count('failed')} moved or missing, "
        f"{outcomes.count('skipped')} not measured"
    )
