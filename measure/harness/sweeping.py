"""Which revisions a sweep measures: all, those of a pattern, or those named; what is stale is left out beforehand.

`ID@all` is every training checkpoint and `main`, `ID@step*000` those whose names match.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from measure import catalog
from measure.catalog import checkpoint_suites, revisions
from measure.hub import audit
from measure.hub import checkpoints as hub
from measure.spec import MeasureError, NotMeasuredError

_ALL = "all"


@dataclass(frozen=True)
class Chosen:
    """Revisions in order of training, `main` the last, and a line for each that was left out."""

    revisions: tuple[str, ...]
    lines: tuple[str, ...] = ()


def is_pattern(revision: str) -> bool:
    """Whether a revision stands for several."""
    return revision == _ALL or any(sign in revision for sign in "*?[")


def of_repository(repository: str, asked: Sequence[str]) -> Chosen:
    """The revisions of a model on the hub that are meant. Raises `MeasureError` where none is."""
    return of_run(_one_place(repository), asked)


def _one_place(repository: str) -> checkpoint_suites.Run:
    """A repository as a run, of which nothing else is known."""
    return checkpoint_suites.Run(
        repository, "", (checkpoint_suites.Place(repository),), (0, 0, 0, 0, 0, 0, False), 0, ()
    )


def of_run(run: checkpoint_suites.Run, asked: Sequence[str]) -> Chosen:
    """The same of a run, which may lie in several repositories."""
    names = list(dict.fromkeys(asked))
    if any(map(is_pattern, names)):
        names = _expanded(run, names)
    ordered = [*(name for name in names if name != "main"), *(["main"] if "main" in names else [])]
    return _without_stale(run, ordered) if len(ordered) > 1 else Chosen(tuple(ordered))


def _expanded(run: checkpoint_suites.Run, asked: Sequence[str]) -> list[str]:
    """The training checkpoints that patterns stand for, beside those named, in order of training."""
    there = _trained(run)
    found: dict[str, None] = {}
    for text in asked:
        matching = [name for name in there if text == _ALL or fnmatchcase(name, text)] if is_pattern(text) else [text]
        if not matching:
            shown = ", ".join(there if len(there) < 5 else [*there[:3], "...", there[-1]]) or "none"
            raise NotMeasuredError(
                f"{run.name}@{text} matches none of its {len(there)} training checkpoints ({shown}); give a pattern "
                "that one of them matches, or all."
            )
        found |= dict.fromkeys([*matching, *(["main"] if text == _ALL else [])])
    order = {name: place for place, name in enumerate(there)}
    return sorted(found, key=lambda name: order.get(name, len(order)))


def _trained(run: checkpoint_suites.Run) -> list[str]:
    """A run's training checkpoints in order of training, each where it is taken from; not the one that is its main."""
    found = []
    for place in dict.fromkeys(place.repository for place in run.places):
        for one in revisions.in_order(hub.branches(place), place):
            if one.name != run.main and _place_of(run, one.name) == place:
                found.append(one)
    return [one.name for one in sorted(found, key=lambda one: (*one.order, one.ingredient, one.name))]


def _place_of(run: checkpoint_suites.Run, revision: str) -> str:
    return catalog.place_of(run, revision)[0]


def _without_stale(run: checkpoint_suites.Run, names: Sequence[str]) -> Chosen:
    """What an audit leaves of revisions, each repository being asked for its own."""
    really = {name: catalog.place_of(run, name) for name in names}
    faults: dict[str, str] = {}
    for place in dict.fromkeys(place for place, _ in really.values()):
        own = {name: _resolved(place, revision) for name, (at, revision) in really.items() if at == place}
        try:
            found = audit.audit(place, own.values()).faults
        except MeasureError as error:
            # What cannot be audited is measured, and compared then.
            return Chosen(tuple(names), (f"{run.name}: its revisions were not audited ({error})",))
        faults |= {name: _told(found[revision]) for name, revision in own.items() if revision in found}
    kept = tuple(name for name in names if name not in faults)
    lines = tuple(f"{run.name}@{name} is left out: it {text}" for name, text in faults.items())
    if not kept:
        raise NotMeasuredError(
            f"{run.name}: none of its {len(names)} revisions asked for is what its name says ({lines[0]}); see "
            f"`measure audit {run.name}`."
        )
    return Chosen(kept, lines)


def _resolved(place: str, revision: str) -> str:
    """The branch that stands for a number of tokens; where none does, measuring it will say so."""
    try:
        return hub.nearest_revision(place, revision)
    except MeasureError:
        return revision


def _told(found: Sequence[audit.Finding]) -> str:
    return ", and ".join(f"{one.text}{f' ({one.source})' if one.source else ''}" for one in found)


def repositories(name: str) -> Mapping[str, tuple[str, ...] | None]:
    """The repositories to audit for a model by its catalog name or hub id, each with the revisions meant; None for all.

    Raises `MeasureError` for a model that is not on the hub, and for a pattern that matches nothing.
    """
    reference = catalog.resolve(name)
    if reference.source != "hub":
        raise MeasureError(
            f"{name} is no model of the hub, whose file hashes are what is audited; give a hub id, or a name of the "
            "catalog whose weights are on the hub."
        )
    plain, revision = catalog.split(name)
    run = checkpoint_suites.runs().get(plain)
    if run is None and not revision:
        return {reference.location: None}
    run = run or _one_place(reference.location)
    where = [catalog.place_of(run, one) for one in _expanded(run, [revision or _ALL])]
    return {
        place: tuple(_resolved(place, one) for at, one in where if at == place)
        for place in dict.fromkeys(at for at, _ in where)
    }
