"""Tell: what was run, where and when; of two runs, what differs between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence

from measure.kinds import ACROSS, curves
from measure.kinds.rows import Ended, Header, Number, Numbers, ResultRow, TestRow
from measure.report import page_names
from measure.report.records import Run
from measure.report.view_rows import Before, CaseView, ChangedVerdict, ClaimView, Compared, Pair

# A curve that two runs have in common moved when a point of its quartiles did, by what baselines accept whatever the
# devices: records have too few digits for less.
MOVED = curves.OWN[ACROSS]["curve"]
# Of the claim's title and the case's subject.
Key = tuple[str, str]


def facts(run: Run, tests: Sequence[TestRow]) -> tuple[Pair, ...]:
    """What was run, where and when, label by text."""
    models = sorted({result.model for result in run.results.values()})
    counts = counted("negative as accepted" if row.outcome == Ended.XFAILED else row.outcome for row in tests)
    took = f", in {run.end.seconds:.0f} s" if run.end else ""
    return (
        ("measured", ", ".join(models) or "nothing"),
        *_of_header(run.header),
        *_computed_on(run.results.values()),
        ("tests", f"{counts or 'none'}{took}"),
    )


def _of_header(header: Header | None) -> list[Pair]:
    if header is None:
        return []
    found = {
        "started": page_names.when(header.started),
        "protocol": header.protocol,
        "asked for": header.arguments,
        "machine": header.machine,
        "versions": header.versions,
    }
    return [(name, text) for name, value in found.items() if value and (text := _said(value))]


_ALIKE = ("device", "dtype", "path")


def _computed_on(results: Collection[ResultRow]) -> list[Pair]:
    """What all results were computed on alike."""
    found = {name: {str(result.provenance.get(name)) for result in results} for name in _ALIKE}
    shared = [f"{name} {value}" for name, values in found.items() if len(values) == 1 for value in values]
    return [("computed on", ", ".join(shared))] if shared else []


def _said(value: object) -> str:
    """What a header says, in words; what it does not know is left out."""
    held = _held(value)
    if held is not None:
        return ", ".join(f"{name} {_said(entry)}" for name, entry in held.items() if entry not in (None, ""))
    return " ".join(map(_said, value)) if isinstance(value, list | tuple) else str(value)


def _held(value: object) -> Mapping[str, object] | None:
    """The fields of a row, or what a mapping holds; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if not dataclasses.is_dataclass(value):
        return None
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def counted(words: Iterable[str]) -> str:
    """`3 passed, 1 failed`, in order of appearance."""
    listed = list(words)
    return ", ".join(f"{listed.count(word)} {word}" for word in dict.fromkeys(listed))


def moved(run: Run, before: Run) -> dict[str, float]:
    """Of the results in both runs those that moved, by how much."""
    changes = {name: _change(run.results[name], before.results[name]) for name in _common(run, before)}
    return {name: round(change, 6) for name, change in changes.items() if change > MOVED}


def _common(run: Run, before: Run) -> list[str]:
    return [name for name in run.results if name in before.results]


def _change(new: ResultRow, old: ResultRow) -> float:
    """The largest change of a point of the quartile curves; of slices, of the median of a metric."""
    if new.curve and old.curve:
        changes = [_farthest(*sides) for sides in zip(new.curve.rows(), old.curve.rows(), strict=True)]
    else:
        common = [name for name in new.metrics if name in old.metrics]
        changes = [_off(new.metrics[name].median, old.metrics[name].median) for name in common]
    return min(max(changes, default=0.0), 1e9)


def _farthest(new: Numbers, old: Numbers) -> float:
    if len(new) != len(old):
        return float("inf")
    return max(map(_off, new, old), default=0.0)


def _off(new: Number, old: Number) -> float:
    """How far a number went; what is no number on one side alone went infinitely far."""
    if new is None or old is None:
        return 0.0 if new is old else float("inf")
    return abs(new - old)


def by_key(claims: Iterable[ClaimView]) -> dict[Key, CaseView]:
    """The cases of a run, as those of another are found beside them."""
    return {(claim.title, case.subject): case for claim in claims for case in claim.cases}


def marked(case: CaseView, old: CaseView | None, results: Collection[str]) -> CaseView:
    """A case with what it was before; it moved too where its verdict or control changed, or one of `results` is its."""
    before = Before(old.state, old.effects) if old else Before()
    drifted = _changed(case, old) or any(used.id in results for used in case.specs)
    return dataclasses.replace(case, before=before, moved=case.moved or drifted)


def _changed(case: CaseView, old: CaseView | None) -> bool:
    if old is None:
        # What neither run measured is no change.
        return case.state != "not measured"
    return (case.state, case.control.state) != (old.state, old.control.state)


def compared(
    run: Run, before: Run, claims: Sequence[ClaimView], old: Mapping[Key, CaseView], results: Mapping[str, float]
) -> Compared:
    """What differs between two runs, of which `old` are the earlier's cases and `results` those that moved."""
    here = by_key(claims)
    return Compared(
        facts=_changed_facts(run, before),
        verdicts=tuple(_changed_verdicts(claims, old)),
        gone=tuple(f"{subject}: {title}" for title, subject in old if (title, subject) not in here),
        curves=tuple(sorted(results.items(), key=lambda pair: -pair[1])),
        common=len(_common(run, before)),
    )


def _changed_verdicts(claims: Sequence[ClaimView], old: Mapping[Key, CaseView]) -> list[ChangedVerdict]:
    found = []
    for claim in claims:
        for case in claim.cases:
            earlier = old.get((claim.title, case.subject))
            if _changed(case, earlier):
                was = (earlier or Before()).state
                found.append(ChangedVerdict(claim.title, case.subject, case.anchor, was, case.state))
    return found


def _changed_facts(run: Run, before: Run) -> tuple[tuple[str, str, str], ...]:
    """What was different about the two runs, label, before and after; when they started always."""
    new, old = (_flat(one.header) for one in (run, before))
    names = dict.fromkeys([*new, *old])
    return tuple((name, old.get(name, "-"), new.get(name, "-")) for name in names if new.get(name) != old.get(name))


def _flat(header: Header | None) -> dict[str, str]:
    """A header's fields, those of its parts one by one."""
    found: dict[str, str] = {}
    for name, value in (_held(header) or {}).items():
        held = _held(value)
        if held is not None:
            found |= {f"{name}: {key}": _said(entry) for key, entry in held.items()}
        elif name != "format":
            found[name] = page_names.when(_said(value)) if name == "started" else _said(value)
    return found
