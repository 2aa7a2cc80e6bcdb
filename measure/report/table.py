"""Tell: the tests of a run -> the table of claims. Measures and judges nothing."""

from __future__ import annotations

import dataclasses
import html
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from measure.kinds.rows import EffectRow, Ended, Number, State, TestRow, VerdictRow

JUDGED = ("claim", "control")
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Case:
    """A subject of a claim with one claim test, None where it has none, and the tests that refuted counterfeits."""

    subject: str
    claim: TestRow | None
    controls: tuple[TestRow, ...]

    @property
    def counterfeits(self) -> tuple[tuple[str, VerdictRow], ...]:
        """Those of all its tests, put together."""
        return tuple(pair for row in self.controls for pair in row.controls.items())

    @property
    def believed(self) -> tuple[str, ...]:
        """The counterfeits that were taken for the real thing."""
        return tuple(dict.fromkeys(name for name, verdict in self.counterfeits if verdict.outcome == "supported"))

    @property
    def without_counterfeits(self) -> tuple[str, ...]:
        """The outcomes of its control tests that came to no counterfeit."""
        return tuple(row.outcome for row in self.controls if not row.controls)

    @property
    def control_state(self) -> str:
        """Broken, held, not run, not measured, or the outcome of a control test that judged nothing."""
        if not self.controls or self.believed:
            return "broken" if self.believed else "not run"
        if any(map(control_lacks_data, self.controls)):
            return NOT_MEASURED
        outcomes = self.without_counterfeits
        if Ended.FAILED in outcomes or not self.counterfeits:
            return Ended.FAILED if Ended.FAILED in outcomes else outcomes[0]
        return "held"


def strongest(case: Case) -> str | None:
    """The counterfeit that came nearest to support, and by how much it fell short; None without any to compare.

    Each is known by the effect that falls farthest short of its margin, in units of what the claim's own has beyond it.
    """
    own = {e.name: e for e in case.claim.verdict.effects} if case.claim and case.claim.verdict else {}
    found = []
    for name, verdict in case.counterfeits:
        short = [(_nearness(effect, own[effect.name]), effect) for effect in verdict.effects if effect.name in own]
        if short:
            nearness, effect = min(short, key=lambda pair: pair[0])
            found.append((nearness, name, effect))
    if not found:
        return None
    _, name, effect = max(found, key=lambda entry: entry[0])
    return (
        f"strongest counterfeit: {name}; its {effect.name} {_signed(effect.estimate)} [{_signed(effect.low)}, "
        f"{_signed(effect.high)}] where more than {effect.margin:+g} is asked and the claim has "
        f"{_signed(own[effect.name].estimate)}"
    )


def _nearness(effect: EffectRow, own: EffectRow) -> float:
    """How near an effect's interval comes to its margin: 0 at it, -1 as far below it as the claim's own is above."""
    if effect.low is None or own.estimate is None:
        return -math.inf
    return (effect.low - effect.margin) / max(abs(own.estimate - own.margin), 1e-9)


def lead(effects: Sequence[EffectRow]) -> EffectRow | None:
    """The effect that decides a verdict: the first that is not supported, else the first."""
    return next((effect for effect in effects if effect.outcome != "supported"), effects[0] if effects else None)


def claim_lacks_data(row: TestRow) -> bool:
    """Whether a test failed since there was too little to judge its claim by."""
    return row.outcome == Ended.FAILED and row.verdict is not None and row.verdict.outcome == NOT_MEASURED


def control_lacks_data(row: TestRow) -> bool:
    """Whether a test failed since there was too little to judge a counterfeit by."""
    unjudged = row.outcome == Ended.FAILED and any(verdict.outcome == NOT_MEASURED for verdict in row.controls.values())
    return unjudged or (row.role == "control" and claim_lacks_data(row))


def cases(rows: Sequence[TestRow]) -> list[Case]:
    """The cases of one claim, in order of appearance: of each subject every claim test, with all of its controls.

    A test that judged and refuted is its own control.
    """
    judged = [row for row in rows if row.role in JUDGED]
    found = []
    for subject in dict.fromkeys(row.subject for row in judged):
        of_subject = [row for row in judged if row.subject == subject]
        claims = [row for row in of_subject if row.role == "claim"]
        controls = tuple(row for row in of_subject if row.role == "control")
        if not claims:
            found.append(Case(subject, None, controls))
        for row, name in zip(claims, _names(claims), strict=True):
            called = subject if len(claims) == 1 else f"{subject} ({name})"
            found.append(Case(called, row, (*controls, row) if row.controls else controls))
    return found


def _names(rows: Sequence[TestRow]) -> list[str]:
    """What tells tests of one subject apart: their functions' names, or their ids where those are the same."""
    apart = len({(row.name, row.read) for row in rows}) == len(rows)
    return [row.name if apart else row.test for row in rows]


def titles(rows: Iterable[TestRow]) -> list[str]:
    """The claims' titles, in the order in which they stand in the paper."""
    placed = sorted({(row.place, row.claim) for row in rows if row.claim})
    return list(dict.fromkeys(title for _, title in placed))


def place(title: str) -> str:
    """Where in the paper a claim stands: its figures, in brackets at the end of its title."""
    return title.rpartition("(")[2]


def claim_table(rows: Sequence[TestRow]) -> list[str]:
    """The lines of the claim table, at most 100 columns wide."""
    judged = [row for row in rows if row.role in JUDGED]
    by_title = {title: cases([row for row in judged if row.claim == title]) for title in titles(judged)}
    width = _width(case.subject for found in by_title.values() for case in found)
    lines: list[str] = []
    for title, found in by_title.items():
        lines.append(title)
        for case in found:
            above, beside = _placed(case.subject, width)
            lines += [*above, *_case_lines(beside, case)]
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


def _case_lines(subject: str, case: Case) -> list[str]:
    shown = case.claim
    if shown is None or shown.outcome == Ended.SKIPPED or shown.verdict is None or claim_lacks_data(shown):
        lines = textwrap.wrap(_unjudged(case), 97 - len(subject))
        return [f"  {subject if not i else ' ' * len(subject)} {line}" for i, line in enumerate(lines)]
    accepted = "" if shown.expected == "supported" else " (expected)"
    outcome = shown.verdict.outcome + accepted
    head = f"  {subject} {outcome:<23} n = {shown.verdict.n:<5} control: {_control(case)}"
    return [head, *_control_lines(case), *_verdict_lines(shown.verdict)]


def _unjudged(case: Case) -> str:
    """Why a case has no verdict."""
    if case.claim is None:
        return f"claim not run; control: {'; '.join(_unmeasured(case)) or _control(case)}"
    if claim_lacks_data(case.claim):
        return _no_data(case.claim)
    if case.claim.outcome == Ended.SKIPPED:
        return case.claim.reason or f"{NOT_MEASURED}: no reason given"
    return f"no verdict: the test {case.claim.outcome}"


def _no_data(row: TestRow) -> str:
    """Why a test had too little to judge by, in a line."""
    said = next(iter((row.reason or "").strip().splitlines()), "no reason given")
    return said if said.startswith(NOT_MEASURED) else f"{NOT_MEASURED}: {said}"


def _control(case: Case) -> str:
    state = case.control_state
    if state == "broken":
        return f"BROKEN by {', '.join(case.believed)}"
    if state == "held":
        others = case.without_counterfeits
        beside = [f"{others.count(outcome)} {outcome}" for outcome in dict.fromkeys(others)]
        return ", ".join([f"held against {len(case.counterfeits)}", *beside])
    return state


def _unmeasured(case: Case) -> list[str]:
    """Why a case's controls had too little to judge by."""
    rows = case.controls if case.control_state == NOT_MEASURED else ()
    return [_no_data(row) for row in rows if control_lacks_data(row)]


def _control_lines(case: Case) -> list[str]:
    told = strongest(case) if case.control_state == "held" else None
    return _indented([*(f"control {said}" for said in _unmeasured(case)), *([told] if told else [])])


def _indented(texts: Iterable[str]) -> list[str]:
    return [f"      {line}" for text in texts for line in textwrap.wrap(text, 93, subsequent_indent="  ")]


def _verdict_lines(verdict: VerdictRow) -> list[str]:
    effects = [
        f"      {e.name:<44} {_signed(e.estimate)} [{_signed(e.low)}, {_signed(e.high)}] "
        f"margin {e.margin:g} {'' if e.outcome == 'supported' else e.outcome}".rstrip()
        for e in verdict.effects
    ]
    trends = [f"      {t.name:<44} p {_p_value(t.p)}, {t.treatments} conditions  {t.outcome}" for t in verdict.trends]
    facts = [
        f"      {f.name:<44} {f.agree} of {f.of}  {f.outcome.replace('supported', '')}".rstrip() for f in verdict.facts
    ]
    return [*effects, *trends, *facts, *_draw_line(verdict), *_indented(verdict.notes)]


def _draw_line(verdict: VerdictRow) -> list[str]:
    """Over how many draws of pairs a verdict is the same; nothing where other draws were not judged."""
    if not verdict.draws:
        return []
    counts = [f"{verdict.draws.count(outcome)} {outcome}" for outcome in dict.fromkeys(verdict.draws)]
    return _indented([f"under {len(verdict.draws)} other draws of pairs: {', '.join(counts)}"])


def _signed(value: Number) -> str:
    # Records have null for what is no number.
    return "none" if value is None or math.isnan(value) else f"{value:+.3f}"


def _p_value(p: Number) -> str:
    # Below this an asymptotic p has no meaning of its own.
    return "none" if p is None or math.isnan(p) else "< 1e-16" if p < 1e-16 else f"= {p:.1g}"


_SHORT = {"supported": "yes", "contradicted": "contradicted", "inconclusive": "inconclusive"}


def reads_table(rows: Sequence[TestRow]) -> list[str]:
    """Under which read each claim survives, where a run asked with several; at most 100 columns wide."""
    judged = [_without_read(row) for row in rows if row.claim and row.role == "claim" and row.read and row.verdict]
    reads = list(dict.fromkeys(row.read for row in judged))
    if not reads:
        return []
    by_title = {title: _by_subject([row for row in judged if row.claim == title]) for title in titles(judged)}
    width = max(35, _width(subject for found in by_title.values() for subject in found))
    head = "".join(f"{read:<15}" for read in reads).rstrip()
    lines = [f"{'which claims survive, by what is read':<{width + 3}}{head}"]
    for title, found in by_title.items():
        lines.append(title)
        for subject, outcomes in found.items():
            cells = "".join(f"{_SHORT.get(outcomes.get(read, ''), NOT_MEASURED):<15}" for read in reads)
            above, beside = _placed(subject, width)
            lines += [*above, f"  {beside} {cells}".rstrip()]
    return lines


def _without_read(row: TestRow) -> TestRow:
    return dataclasses.replace(row, subject=row.subject.removesuffix(f"-{row.read}"))


def _by_subject(rows: Sequence[TestRow]) -> dict[str, dict[str | None, str]]:
    """Of each subject, and of each of its tests where it has several, the outcome by what was read."""
    found: dict[str, dict[str | None, str]] = {}
    for subject in dict.fromkeys(row.subject for row in rows):
        of_subject = [row for row in rows if row.subject == subject]
        several = len({row.name for row in of_subject}) > 1 or len({row.read for row in of_subject}) < len(of_subject)
        for row, name in zip(of_subject, _names(of_subject), strict=True):
            outcome = row.verdict.outcome if row.verdict else NOT_MEASURED
            found.setdefault(f"{subject} ({name})" if several else subject, {})[row.read] = outcome
    return found


# GitHub takes summaries of less than 1 MB.
SUMMARY_BYTES = 1_000_000


def step_summary(rows: Sequence[TestRow]) -> str:
    """The run as a GitHub step summary, what failed first; cut below the size that GitHub takes."""
    failed = [row for row in rows if row.outcome == Ended.FAILED]
    parts = [f"## {len(failed)} of {len(rows)} suite tests failed", baseline_line(rows)]
    for row in failed:
        parts.append(f"<details open><summary>{_escaped(row.test)}</summary>\n\n{_block(row.reason or '')}</details>")
    parts.append(_block("\n".join((*claim_table(rows), *reads_table(rows)))))
    text = "\n\n".join(parts) + "\n"
    # Half of a surrogate pair, which a token's text may be, has no bytes.
    whole = text.encode("utf-8", "backslashreplace")
    if len(whole) < SUMMARY_BYTES:
        return whole.decode()
    note = "\n```\n\ncut here: the whole is in the run's records\n"
    return whole[: SUMMARY_BYTES - len(note) - 1].decode(errors="ignore") + note


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _block(text: str) -> str:
    """A code block that no back-tick in `text` can end."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def baseline_line(rows: Sequence[TestRow]) -> str:
    """One line on the baseline tests of a run."""
    of_baselines = [row for row in rows if row.role == "baseline"]
    outcomes = [row.outcome for row in of_baselines]
    states = [row.baseline.state for row in of_baselines if row.outcome == Ended.FAILED and row.baseline]
    apart = {"incomplete": states.count(State.INCOMPLETE), "not comparable": states.count(State.REFUSED)}
    counts = [
        f"{outcomes.count(Ended.PASSED)} as accepted",
        f"{outcomes.count(Ended.FAILED) - sum(apart.values())} moved or missing",
        *(f"{count} {word}" for word, count in apart.items() if count),
        f"{outcomes.count(Ended.SKIPPED)} {NOT_MEASURED}",
    ]
    return f"baselines: {', '.join(counts)}"
