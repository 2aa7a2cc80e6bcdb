"""Same as before?: what was measured against the accepted baseline, and why not, in words. Reads and writes no file."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from measure.base import files
from measure.catalog.ladder_cards import NOT_AS_THE_CARD_SAYS
from measure.harness import baselines
from measure.harness.baselines import Compared, Content
from measure.kinds import ACROSS, PROCESSORS
from measure.kinds.rows import BaselineRow, Farthest, Offer, Quartiles, Side, Spread, State
from measure.shown import Places
from measure.spec import PATHS, MeasureError

HASH = 12
# Of the hash by which a file is known again.
SEEN = 16
# What a damaged file may raise where its numbers are read.
_DAMAGED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)
# So many times what the code allows is no tolerance that somebody chose.
_WIDEST = 1000


@dataclass(frozen=True)
class Deviation:
    """How far one compared number is from the baseline's; `kind` is the number's without its place."""

    kind: str
    what: str
    measured: float | None
    accepted: float | None
    tolerance: float

    @property
    def excess(self) -> float:
        """The deviation over its tolerance; infinite where only one of the two is a number."""
        if self.measured is None or self.accepted is None:
            return 0.0 if self.measured is self.accepted else math.inf
        return abs(self.measured - self.accepted) / self.tolerance

    def __str__(self) -> str:
        if self.measured is None or self.accepted is None:
            return f"{self.what}: measured {self.measured}, baseline {self.accepted} (None: no number)"
        return (
            f"{self.what}: measured {self.measured:.6f}, baseline {self.accepted:.6f}, "
            f"off by {self.measured - self.accepted:+.2g} where {self.tolerance:.2g} is accepted"
        )


@dataclass(frozen=True)
class Comparison:
    """What became of a baseline: `why` it is not as accepted, what is to be known all the same, and every deviation."""

    state: State
    why: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    # Names that the file lacks, and names that it has and that are measured no more, each with its group.
    lacking: tuple[tuple[str, str], ...] = ()
    gone: tuple[tuple[str, str], ...] = ()


# Asked of one pair of texts by syrupy, for the exit status and for the record.
@lru_cache(maxsize=8)
def compare(measured_text: str, accepted_text: str) -> Comparison:
    """Hold a measured result against its baseline, both as the texts of baseline files; "" where there is none."""
    if not accepted_text:
        new = "no baseline yet for this test: look at the curve, then accept it with --snapshot-update"
        return Comparison(State.NEW, (new,))
    measured = baselines.parse(measured_text)
    try:
        accepted = baselines.parse(accepted_text)
        refused = _other_spec(measured, accepted) or _not_comparable(measured, accepted)
        return Comparison(State.REFUSED, tuple(refused)) if refused else _compare(measured, accepted)
    except MeasureError as error:
        return Comparison(State.REFUSED, (f"{error}: {_MEND}",))
    except _DAMAGED as error:
        return Comparison(
            State.REFUSED,
            (f"the baseline file is not as this version writes it ({error!r}): restore it (git checkout)",),
        )


_MEND = "restore it (git checkout), or measure it anew with --snapshot-update"
_REWRITE = "`measure refresh -k NAME --rewrite`"


def _compare(measured: Content, accepted: Content) -> Comparison:
    """Two baselines of one spec on the same prompts."""
    found = deviations(measured, accepted)
    off = [deviation for deviation in found if not deviation.excess <= 1]
    moved = [*_counted(measured, accepted), *_moved(off, _noun(measured))]
    lacking, gone = _names(measured, accepted), _names(accepted, measured)
    parts = [*moved]
    if gone:
        parts.append(
            f"the baseline holds {_listed(gone)}, which is measured no more: {_REWRITE} takes it out, if that is meant"
        )
    if lacking:
        parts.append(
            f"the baseline lacks {_listed(lacking)}: it was accepted before that was measured. What it has is "
            f"compared; {_REWRITE} completes it"
        )
    state = State.MOVED if moved else State.REFUSED if gone else State.INCOMPLETE if lacking else State.AS_ACCEPTED
    why = [*parts, *_circumstances(measured, accepted)] if moved else parts
    return Comparison(state, tuple(why), tuple(_notes(measured, accepted)), tuple(found), lacking, gone)


def _listed(names: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{name} of the norm-only null" if group == "null_metrics" else name for group, name in names)


def _names(first: Content, second: Content) -> tuple[tuple[str, str], ...]:
    """Names of compared numbers in the first that the second lacks."""
    there = {(one.group, one.name) for one in baselines.numbers(second)}
    here = dict.fromkeys((one.group, one.name) for one in baselines.numbers(first))
    return tuple(name for name in here if name not in there)


def deviations(measured: Content, accepted: Content) -> list[Deviation]:
    """Every number that two baselines of one spec have in common, the worst first.

    Raises `MeasureError` for tolerances that are none, and for numbers that are not as many.
    """
    table = accepted["tolerance"][baselines.device_class(measured, accepted)]
    common = {(one.group, one.name) for one in baselines.numbers(accepted)}
    new = [one for one in baselines.numbers(measured) if (one.group, one.name) in common]
    common = {(one.group, one.name) for one in new}
    old = [one for one in baselines.numbers(accepted) if (one.group, one.name) in common]
    if [one.what for one in new] != [one.what for one in old]:
        raise MeasureError(f"the baseline file has {len(old)} numbers where {len(new)} are measured")
    own = measured["tolerance"][baselines.device_class(measured, accepted)]
    for name in own.keys() & table.keys():
        if not table[name] <= _WIDEST * own[name]:
            raise MeasureError(
                f"the baseline's tolerance of {name} is {table[name]:g}, more than {_WIDEST} times the code's, "
                f"{own[name]:g}"
            )
    found = [
        Deviation(one.kind, one.what, one.value, other.value, _tolerance(table, other))
        for one, other in zip(new, old, strict=True)
    ]
    return sorted(found, key=lambda deviation: -deviation.excess)


def _tolerance(table: dict[str, Any], accepted: Compared) -> float:
    """How far a number may move: what its name is allowed, else a share of the number itself."""
    name = accepted.name if accepted.name in table or accepted.group in ("metrics", "null_metrics") else "scale"
    if name not in table:
        raise MeasureError(f"the baseline file has no tolerance of {name}")
    allowed = table[name]
    if not (isinstance(allowed, int | float) and not isinstance(allowed, bool) and 0 < allowed < math.inf):
        raise MeasureError(f"the baseline's tolerance of {name} is {allowed!r}, expected a number above 0")
    # A number that is 0 may not move at all.
    return allowed * max(abs(accepted.value or 0.0), 1e-12) if name == "scale" else float(allowed)


def _other_spec(measured: Content, accepted: Content) -> list[str]:
    """Why the baseline is one of another spec: a field that only one of the two has stands at its default there."""
    new, old = baselines.asked(measured), baselines.asked(accepted)
    old |= {name: new[name] for name in PATHS if name in old and _is_path_of(old[name], new.get(name))}
    lines = [*_changes({n: new[n] for n in new if n in old}, {n: old[n] for n in old if n in new})]
    lines += [
        f"  {name}: {new[name]!r}, which the baseline knows nothing of; it was made with what is now the default, "
        f"{measured['defaults'][name]!r}"
        for name in new.keys() - old.keys()
        if new[name] != measured["defaults"][name]
    ]
    lines += [
        f"  {name}: {old[name]!r} in the baseline, a field that specs have no more"
        for name in old.keys() - new.keys()
        if name in accepted["spec"]
    ]
    if not lines:
        return []
    moved = [n for n in accepted["defaults"] if n in measured["defaults"] and _default_moved(n, measured, accepted)]
    why = [f"the default of {name} was changed since the baseline was accepted" for name in moved]
    return [
        "the baseline was made for another spec:",
        *sorted(lines),
        *why,
        "if this spec is meant, accept its curve with --snapshot-update",
    ]


def _is_path_of(old: object, new: object) -> bool:
    """Whether an absolute path, as earlier versions wrote it, is the one that is now written without its folders."""
    whole = isinstance(old, str) and isinstance(new, str) and old.startswith("/")
    return whole and (Places(Path("/")).path(str(old)) == new or str(old).endswith(f"/{new}"))


def _default_moved(name: str, measured: Content, accepted: Content) -> bool:
    """Whether a field that neither side names has another default now."""
    named = name in measured["spec"] or name in accepted["spec"]
    return not named and bool(measured["defaults"][name] != accepted["defaults"][name])


def _not_comparable(measured: Content, accepted: Content) -> list[str]:
    """Why numbers of one spec cannot be held against each other."""
    if measured["kind"] != accepted["kind"]:
        return [f"measured {measured['kind']}, the baseline holds {accepted['kind']}"]
    lengths = [_lengths(content) for content in (measured, accepted)]
    if lengths[0] != lengths[1]:
        return [f"curves of {lengths[0][0]} points, in the baseline of {' and '.join(map(str, lengths[1]))}: {_MEND}"]
    if measured["prompts_sha256"] != accepted["prompts_sha256"] or measured["pairs"] != accepted["pairs"]:
        return [
            "the prompts are not those of the baseline (corpus, tokenizer or sampling changed): "
            f"{measured['pairs']} with sha256 {str(measured['prompts_sha256'])[:HASH]}, in the baseline "
            f"{accepted['pairs']} with {str(accepted['prompts_sha256'])[:HASH]}",
            "if the new prompts are meant, accept their curve with --snapshot-update",
        ]
    return []


def _lengths(content: Content) -> list[int]:
    """Points of each quartile curve; of slices how many triples there are of each number; nothing of other numbers."""
    groups = [content[name] for name in ("curve", "triples") if name in content]
    return sorted({len(row) for group in groups for row in group.values()})


def _counted(measured: Content, accepted: Content) -> list[str]:
    """What is told of a result as a whole and is not as it was."""
    lines = []
    here, there = (content["environment"]["path"] for content in (measured, accepted))
    if here != there:
        lines.append(
            f"measured on the {here} path, the baseline on the {there} path: the two no longer agree on this model"
        )
    if measured["degenerate"] != accepted["degenerate"]:
        lines.append(f"degenerate: measured {measured['degenerate']}, baseline {accepted['degenerate']}")
    return lines


def _noun(measured: Content) -> str:
    """What a result is called: those of other kinds are no curves."""
    return "curve" if measured.keys() & {"curve", "triples"} else "result"


def _moved(off: list[Deviation], noun: str) -> list[str]:
    if not off:
        return []
    curve = next((one for one in off if one.kind == "curve" and one is not off[0]), None)
    head = [f"the {noun} moved: {len(off)} numbers are out of tolerance, the worst is", f"  {off[0]}"]
    return [*head, f"  {curve}"] if curve else head


def _circumstances(measured: Content, accepted: Content) -> list[str]:
    """Beside a curve that moved: where its tolerance comes from, what else changed, and what to do."""
    changed = _changes(measured["environment"], accepted["environment"])
    return [
        f"tolerance {baselines.device_class(measured, accepted)}: {accepted['tolerance'].get('from', 'of no source')}",
        _metric_line(measured, accepted),
        "what else differs from when the baseline was accepted:" if changed else
        "nothing else differs (same weights, versions, device): the measuring code changed the number",
        *changed,
        *_advice(measured["environment"], _noun(measured)),
    ]  # fmt: skip


def _metric_line(measured: Content, accepted: Content) -> str:
    """How far the medians of the two metrics that claims rest on went, of other kinds those of their first two."""
    if "triples" in measured:
        old, new = ([row[0] for row in content["triples"]["solid_share"]] for content in (accepted, measured))
        return f"solid share of cells by triple: {old} -> {new}"
    common = [name for name in measured["metrics"] if name in accepted["metrics"]]
    known = [name for name in ("max_slope", "edge_drift") if name in common] or common[:2]
    return ", ".join(
        f"median {name} {accepted['metrics'][name]['median']} -> {measured['metrics'][name]['median']}"
        for name in known
    )


def _advice(environment: dict[str, Any], noun: str) -> list[str]:
    if str(environment.get("card")).startswith(NOT_AS_THE_CARD_SAYS):
        return [
            "the rung's weights file was changed after its card was written: see `measure ladder verify`, and "
            "restore it (git checkout -- measure/ladder/weights) unless it was meant"
        ]
    return [f"if the new {noun} is right, accept it with --snapshot-update in a commit that says why"]


def _changes(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    names = sorted(new.keys() | old.keys())
    shown = {name: (str(old.get(name)), str(new.get(name))) for name in names if old.get(name) != new.get(name)}
    # Of a hash the first characters tell which it is.
    return [
        f"  {name}: {a[:HASH] if 'sha256' in name else a} -> {b[:HASH] if 'sha256' in name else b}"
        for name, (a, b) in shown.items()
    ]


def _notes(measured: Content, accepted: Content) -> list[str]:
    """What is to be known of a baseline that is as accepted."""
    told = []
    for devices in (PROCESSORS, ACROSS):
        new, old = measured["tolerance"][devices], accepted["tolerance"][devices]
        differ = [f"{name} {old[name]:g} (code {new[name]:g})" for name in new if old.get(name, new[name]) != new[name]]
        if differ:
            more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
            told.append(
                f"tolerance {devices} is not the code's: {', '.join(differ[:3])}{more}; {_REWRITE} takes the code's"
            )
    if accepted["format"] != measured["format"]:
        told.append(f"of format {accepted['format']}; {_REWRITE} writes format {measured['format']}")
    return told


def rewritten(measured_text: str, accepted_text: str) -> str | None:
    """The baseline in this version's form, its accepted numbers as they were; None where it is in that form already.

    What the file lacks is taken from what was measured, what is measured no more goes, tolerances become the code's.
    Raises `MeasureError` where that would change what was accepted: numbers that moved, or that the code's own
    tolerance would not accept; what cannot be compared; what was measured on another class of devices.
    """
    comparison = compare(measured_text, accepted_text)
    if comparison.state in (State.MOVED, State.NEW) or (comparison.state is State.REFUSED and not comparison.gone):
        raise MeasureError(f"it is {comparison.state}, and only its form is rewritten: {comparison.why[0]}")
    measured, accepted = baselines.parse(measured_text), baselines.parse(accepted_text)
    content = _with_numbers_of(measured, accepted)
    if comparison.lacking:
        here, there = (side["environment"]["device"] for side in (measured, accepted))
        if str(here).partition(" ")[0] != str(there).partition(" ")[0]:
            raise MeasureError(f"it was accepted on {there} and can be completed there alone, not on {here}")
        content["completed_on"] = measured["environment"]
    elif "completed_on" in accepted:
        content["completed_on"] = accepted["completed_on"]
    off = [one for one in deviations(measured, content) if not one.excess <= 1]
    if off:
        raise MeasureError(f"the code's tolerance does not accept what the file's did: {off[0]}")
    text = baselines.to_text(content)
    return None if text == accepted_text else text


def _with_numbers_of(measured: Content, accepted: Content) -> Content:
    """What was measured, with the accepted numbers in place of its own where there are any."""
    content = {**measured, "environment": accepted["environment"]}
    for group in ("curve", "metrics", "null_metrics", "scale", "triples"):
        if group in measured:
            content[group] = {name: accepted[group].get(name, value) for name, value in measured[group].items()}
    return content


def row(file: str, measured_text: str, accepted_text: str) -> BaselineRow:
    """What became of a baseline, for the record."""
    comparison = compare(measured_text, accepted_text)
    measured, accepted = _side(measured_text), _side(accepted_text)
    # Worst first: of each kind the first stays.
    worst = {one.kind: one for one in reversed(comparison.deviations)}.values()
    tolerance: dict[str, float] = {}
    changed: dict[str, tuple[Any, Any]] = {}
    if comparison.deviations:
        new, old = baselines.parse(measured_text), baselines.parse(accepted_text)
        tolerance = old["tolerance"][baselines.device_class(new, old)]
        new, old = new["environment"], old["environment"]
        changed = {n: (old.get(n), new.get(n)) for n in old.keys() | new.keys() if old.get(n) != new.get(n)}
    return BaselineRow(
        state=comparison.state,
        file=file,
        why=comparison.why if accepted_text else (),
        notes=comparison.notes,
        measured=measured,
        accepted=accepted,
        tolerance=tolerance,
        farthest=tuple(
            Farthest(one.kind, one.what, one.measured, one.accepted, one.tolerance, one.excess)
            for one in sorted(worst, key=lambda one: -one.excess)
        ),
        changed=changed,
    )


def offer(path: str, measured_text: str, accepted_text: str) -> Offer:
    """What accepting a measured result would write to the file `path`, the text of which it was held against."""
    return Offer(path, measured_text, files.seal(path, measured_text), seen(accepted_text))


def seen(text: str) -> str:
    """What tells one text of a baseline file from another; "" for a file that is not there."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:SEEN] if text else ""


def _side(text: str) -> Side | None:
    """What one side of a comparison is drawn from; None where it cannot be read."""
    try:
        content = baselines.parse(text)
        curve = Quartiles(**content["curve"]) if "curve" in content else None
        metrics = {name: Spread(**values) for name, values in content.get("metrics", {}).items()}
        triples = {n: tuple(map(tuple, rows)) for n, rows in content.get("triples", {}).items()}
        return Side(curve, metrics, triples)
    except (MeasureError, *_DAMAGED):
        return None
