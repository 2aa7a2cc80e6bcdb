"""Tell: the records of a run -> what its page and its table of claims show. Judges nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from msgspec import UNSET

from measure.kinds.rows import BaselineRow, EffectRow, Ended, Field, Numbers, Quartiles, State, TestRow, VerdictRow
from measure.report import page_names, page_paper, page_results, page_runs
from measure.report import table as report
from measure.report.page_history import History
from measure.report.records import Run
from measure.report.table import JUDGED, NOT_MEASURED, Case
from measure.report.view_rows import (
    Against,
    BaselineView,
    CaseView,
    ClaimView,
    ControlView,
    Count,
    CounterfeitView,
    Least,
    MetricView,
    Texts,
    VerdictCount,
    View,
)
from measure.results import metrics
from measure.shown import one_line

NOT_ACCEPTED = tuple(state.value for state in State if state is not State.AS_ACCEPTED)
OUTCOMES = ("supported", "contradicted", "inconclusive", NOT_MEASURED)
OTHER = "Tests that judge no claim"
REST = "baselines and tests of their own"
# Of a baseline that is as accepted, how many kinds of numbers are shown, those nearest their tolerance.
WORST = 2


def view(run: Run, before: Run | None = None, history: History | None = None) -> View:
    """What the page shows of a run, how it differs from the one before, and what earlier runs found."""
    shown = _alone(run, history or History())
    return shown if before is None else _beside(shown, run, before)


def subjects(run: Run) -> set[tuple[str, str]]:
    """The titles of a run's claims, each with every subject that it was asked of."""
    return {(row.claim, row.subject) for row in run.tests if row.claim and row.role in JUDGED}


def _alone(run: Run, history: History) -> View:
    tests = _tests(run)
    claims = _claims(tests, run, history)
    cases = [case for claim in claims for case in claim.cases]
    # Many results have the same prompts.
    sets = {prompts: place for place, prompts in enumerate(dict.fromkeys(_prompts(run)))}
    return View(
        problems=(*_problems(run, tests), *history.problems),
        facts=page_runs.facts(run, tests),
        tally=_tally(cases, tests),
        families=tuple(sorted({family for case in cases for family in case.families})),
        claims=claims,
        results={name: page_results.result(row, sets) for name, row in run.results.items()},
        metrics=_metrics(run),
        prompts=tuple(sets),
        runs=tuple(history.runs),
    )


def _prompts(run: Run) -> Iterable[page_results.Prompts]:
    return (row.prompts for row in run.results.values() if row.prompts)


def _metrics(run: Run) -> dict[str, MetricView]:
    """The metrics of a run's results, as the table of metrics has them; of others the name."""
    names = dict.fromkeys(name for row in run.results.values() for name in row.metrics)
    return {name: _metric(name) for name in names}


def _metric(name: str) -> MetricView:
    known = metrics.TABLE.get(name)
    if known is None:
        return MetricView(name.replace("_", " "), "")
    straight = "" if known.straight is None else f"; {known.straight:g} on a straight line"
    blind = f". Cannot see: {known.blind[0].lower()}{known.blind[1:]}" if known.blind else ""
    return MetricView(known.label, f"{known.formula}{straight}{blind}")


def _beside(shown: View, run: Run, before: Run) -> View:
    """A view with what differs from the run before: its cases marked, the earlier curves beside those that moved."""
    moved, old = page_runs.moved(run, before), page_runs.by_key(_claims(_tests(before), before, History()))
    claims = tuple(
        dataclasses.replace(
            claim,
            cases=tuple(page_runs.marked(case, old.get((claim.title, case.subject)), moved) for case in claim.cases),
        )
        for claim in shown.claims
    )
    earlier = {name: page_results.curve(before.results[name]) for name in moved}
    results = {
        name: dataclasses.replace(result, before=earlier[name]) if name in earlier else result
        for name, result in shown.results.items()
    }
    compared = page_runs.compared(run, before, claims, old, moved)
    return dataclasses.replace(shown, claims=claims, results=results, compared=compared)


def claims_table(run: Run, problems: Iterable[str]) -> list[str]:
    """The claims as a run prints them, of each protocol apart."""
    lines = list(problems)
    for protocol in dict.fromkeys(row.protocol for row in run.tests):
        some = [row for row in run.tests if row.protocol == protocol]
        lines.append(f"claims (protocol {protocol or 'unknown'}; n: independent units)")
        lines += [*report.claim_table(some), *report.reads_table(some), report.baseline_line(some)]
    return [one_line(line) for line in lines]


def _tests(run: Run) -> tuple[TestRow, ...]:
    """The tests' rows; where runs of two protocols were merged both are named."""
    if len({row.protocol for row in run.tests}) < 2:
        return run.tests
    return tuple(dataclasses.replace(row, subject=f"{row.subject} ({row.protocol})") for row in run.tests)


def _problems(run: Run, tests: Sequence[TestRow]) -> list[str]:
    found = list(run.problems)
    if run.header is None:
        return found
    if not tests:
        found.append("No test had ended when these records were read: there is nothing to show yet.")
    elif all(row.outcome == Ended.SKIPPED for row in tests):
        reasons = list(dict.fromkeys(str(row.reason) for row in tests))
        found.append(f"Everything was skipped, nothing was measured. The reasons: {'; '.join(reasons[:3])}")
    if tests and not run.results:
        found.append("These records hold no curves, so none is drawn; the verdicts are whole.")
    return found


def _tally(cases: Sequence[CaseView], tests: Sequence[TestRow]) -> tuple[Count, ...]:
    """The numbers that stand on top of the page."""
    states = [case.state for case in cases if case.judged]
    drift = [line.state for case in cases for line in case.baselines]
    incomplete = drift.count(State.INCOMPLETE)
    return (
        *(Count(word, states.count(word)) for word in OUTCOMES),
        Count("tests failed", sum(row.outcome == Ended.FAILED for row in tests)),
        Count("baselines as accepted", drift.count(State.AS_ACCEPTED)),
        Count("baselines moved", drift.count(State.MOVED) + drift.count(State.REFUSED)),
        *([Count("baselines incomplete", incomplete)] if incomplete else []),
    )


def _claims(tests: Sequence[TestRow], run: Run, history: History) -> tuple[ClaimView, ...]:
    """Every claim in the order of the paper, with its cases; what belongs to none comes last."""
    titles = [*report.titles(tests), None]
    told = [(title or OTHER, [row for row in tests if (row.claim or None) == title]) for title in titles]
    found = [(title, rows) for title, rows in told if rows]
    anchors = page_names.links([page_names.without_place(title) for title, _ in found])
    return tuple(
        _claim(title, anchor, rows, _cases(rows, run, anchor, history), run)
        for (title, rows), anchor in zip(found, anchors, strict=True)
    )


def _cases(rows: Sequence[TestRow], run: Run, anchor: str, history: History) -> list[CaseView]:
    """The cases of a claim, each with the baselines that share a result with it and with none before it."""
    judged = report.cases(rows)
    anchors = page_names.links([*(case.subject for case in judged), REST], f"{anchor}/")
    cases = [_case(case, run, link, history) for case, link in zip(judged, anchors, strict=False)]
    used = [{one.id for one in case.specs} for case in cases]
    of_case: list[list[BaselineView]] = [[] for _ in cases]
    rest: list[BaselineView] = []
    for row in rows:
        if row.role not in JUDGED:
            ids = used if row.role == "baseline" else []
            place = next((place for place, own in enumerate(ids) if own & set(row.specs)), None)
            (rest if place is None else of_case[place]).append(_baseline(row, run))
    whole = [_with_baselines(case, lines) for case, lines in zip(cases, of_case, strict=True)]
    return [*whole, _loose(rest, anchors[-1])] if rest else whole


def _case(case: Case, run: Run, anchor: str, history: History) -> CaseView:
    """One subject of a claim: its verdict, its control, and the results that both rest on."""
    claim = case.claim
    row = claim or case.controls[0]
    verdict = (claim.verdict if claim else None) or VerdictRow("", 0)
    lacks_data = report.claim_lacks_data(row) if claim else report.control_lacks_data(row)
    measured = row.outcome != Ended.SKIPPED and not lacks_data
    used = [name for name in dict.fromkeys(row.specs) if name in run.results]
    asked = dict.fromkeys(name for control in case.controls for name in control.specs)
    beside = [name for name in asked if name in run.results and name not in used]
    specs = page_names.of_case({name: run.results[name] for name in (*used, *beside)}, used, run)
    name = page_names.subject(case.subject)
    printed = page_paper.beside(row.claim or "", [run.results[name] for name in used], run)
    return CaseView(
        subject=case.subject,
        anchor=anchor,
        judged=True,
        measured=measured,
        failed=Ended.FAILED in [test.outcome for test in (row, *case.controls)],
        state=verdict.outcome or ("no verdict" if measured else NOT_MEASURED),
        expected=row.expected,
        outcome=claim.outcome if claim else "not run",
        reason=row.reason,
        n=verdict.n if verdict.outcome else None,
        effects=verdict.effects,
        lead=report.lead(verdict.effects),
        trends=verdict.trends,
        facts=verdict.facts,
        notes=verdict.notes,
        control=_control(case),
        specs=specs,
        families=_families(row.subject, [one.id for one in specs], run),
        name=name if name != case.subject else UNSET,
        history=history.of(row.claim or "", row.subject) or UNSET,
        printed=printed or UNSET,
    )


def _farthest(effects: Sequence[EffectRow]) -> tuple[EffectRow, ...]:
    """The effect that refutes a counterfeit best, where there is any."""
    known = [effect for effect in effects if effect.low is not None]
    return (min(known, key=lambda effect: (effect.low or 0.0) - effect.margin),) if known else tuple(effects[:1])


def _control(case: Case) -> ControlView:
    """What became of a case's counterfeits."""
    counterfeits = tuple(
        CounterfeitView(name, verdict.outcome, verdict.n, _farthest(verdict.effects))
        for name, verdict in case.counterfeits
    )
    reasons = [row.reason for row in case.controls if row.reason]
    told = "\n".join(reasons) if reasons else None
    return ControlView(case.control_state, counterfeits, told, report.strongest(case))


def _families(subject: str, results: Iterable[str], run: Run) -> Texts:
    known = run.header.catalog if run.header else {}
    models = {run.results[name].model for name in results}
    # Where nothing was measured the subject's own name has to do.
    models |= {name for name in known if subject.startswith(name)} if not models else set()
    return tuple(sorted({known[model].family if model in known else "other" for model in models}))


def _with_baselines(case: CaseView, lines: Sequence[BaselineView]) -> CaseView:
    return dataclasses.replace(
        case,
        baselines=tuple(lines),
        failed=case.failed or any(line.outcome == Ended.FAILED for line in lines),
        moved=any(line.state in NOT_ACCEPTED for line in lines),
    )


def _loose(lines: Sequence[BaselineView], anchor: str) -> CaseView:
    """The tests of a claim that belong to none of its cases, as a case that has no verdict."""
    case = CaseView(
        subject=REST,
        anchor=anchor,
        judged=False,
        measured=any(line.outcome != Ended.SKIPPED for line in lines),
        failed=False,
    )
    return _with_baselines(case, lines)


def _baseline(row: TestRow, run: Run) -> BaselineView:
    """One test that judges no claim: what became of its baseline, and the curve beside the accepted one."""
    found = row.baseline
    measured = [run.results[name] for name in row.specs if name in run.results]
    name = page_names.described(measured[0], run) if len(measured) == 1 else UNSET
    called = row.subject if row.role == "baseline" else f"{row.name.removeprefix('test_')}: {row.subject}"
    if found is None:
        state = {"skipped": NOT_MEASURED}.get(row.outcome, row.outcome)
        return BaselineView(called, row.outcome, state, reason=row.reason, name=name)
    as_accepted = found.state is State.AS_ACCEPTED
    # Of a counterfeit that keeps A and B, and is as it was, there is no more to see than that.
    quiet = as_accepted and "_after_" in found.file
    return BaselineView(
        subject=called,
        outcome=row.outcome,
        state=found.state.value,
        why=found.why,
        reason=row.reason,
        file=found.file,
        farthest=found.farthest[: WORST if as_accepted else None],
        changed=tuple((name, _cut(old), _cut(new)) for name, (old, new) in found.changed.items()),
        curve=None if quiet else _against(found),
        notes=found.notes or UNSET,
        name=name,
        accept=UNSET if as_accepted else page_names.command(row.test),
    )


def _cut(value: Field) -> str:
    """Of a hash the first characters tell which it is."""
    text = str(value)
    return text[:12] if len(text) == 64 else text


def _against(found: BaselineRow) -> Against | None:
    """The accepted curve, and the residual in millionths: numbers of few digits, most of them 0."""
    accepted = found.accepted.curve if found.accepted else None
    measured = found.measured.curve if found.measured else None
    if accepted is None or measured is None:
        return None
    sides = list(zip(accepted.rows(), measured.rows(), strict=True))
    if not all(old and len(old) == len(new) for old, new in sides):
        return None
    residual = Quartiles(*(_millionths(old, new) for old, new in sides))
    return Against(page_results.quartiles(accepted), residual, found.tolerance.get("curve", 0.0))


def _millionths(accepted: Numbers, measured: Numbers) -> Numbers:
    pairs = zip(accepted, measured, strict=True)
    return tuple(None if old is None or new is None else round(1e6 * (new - old)) for old, new in pairs)


def _claim(title: str, anchor: str, rows: Sequence[TestRow], cases: Sequence[CaseView], run: Run) -> ClaimView:
    """A claim with its one line: verdicts counted, the least of its effects, n, its controls, what its curves did."""
    judged = [case for case in cases if case.judged]
    sizes = [case.n for case in judged if case.n is not None]
    controls = [case.control for case in judged if case.control.counterfeits]
    names = dict.fromkeys(entry.name for control in controls for entry in control.counterfeits)
    drift = [line.state for case in cases for line in case.baselines]
    return ClaimView(
        title=title,
        anchor=anchor,
        cases=tuple(cases),
        verdicts=_verdicts(judged),
        least=_least(judged),
        n=(min(sizes), max(sizes)) if sizes else None,
        counterfeits=tuple(names),
        held=sum(control.state == "held" for control in controls),
        broken=tuple(case.subject for case in judged if case.control.state == "broken"),
        controls=len(controls),
        drift=tuple((state, drift.count(state)) for state in dict.fromkeys(drift)),
        short=page_names.short(rows, title),
        drawn=_drawn(judged, run),
    )


def _drawn(cases: Sequence[CaseView], run: Run) -> str | None:
    """The case whose curves are drawn first: of the largest model, whatever was found, and of those the first."""
    known = run.header.catalog if run.header else {}

    def size(case: CaseView) -> int:
        models = {run.results[one.id].model for one in case.specs if one.role == "claim"}
        return max((known[model].parameters for model in models if model in known), default=0)

    found = [case for case in cases if case.measured]
    return max(found, key=size).anchor if found else None


def _verdicts(judged: Sequence[CaseView]) -> tuple[VerdictCount, ...]:
    states = {word: [case for case in judged if case.state == word] for word in (*OUTCOMES, "no verdict")}
    return tuple(
        VerdictCount(word, len(found), sum(case.outcome == Ended.FAILED for case in found))
        for word, found in states.items()
        if found
    )


def _least(judged: Sequence[CaseView]) -> Least | None:
    """Of the case farthest from being supported, or least beyond it, the effect that decides."""
    leads = [(case.lead, case) for case in judged if case.lead]
    if not leads:
        return None
    effect, case = min(leads, key=lambda pair: (pair[1].state == "supported", _beyond(pair[0])))
    return Least(effect, case.subject, case.anchor)


def _beyond(effect: EffectRow) -> float:
    """How far an effect's interval lies beyond its margin; the least first."""
    return float("-inf") if effect.low is None else effect.low - effect.margin
