"""Checkpoints that are not what their names say, found by the hub's own file hashes before anything is fetched.

Equal weights under two names, files shared with `main`, weights that are missing or too few; and what others have
found (`measure.catalog.known_bad`). Asks the hub for its listings alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from measure.catalog import known_bad, revisions
from measure.hub import checkpoints as hub
from measure.hub import stale
from measure.hub.errors import is_offline
from measure.spec import NotMeasuredError

Kind = Literal["equal", "shared", "missing", "parts", "known", "allowed", "mended", "no hashes", "empty main"]
_STALE: tuple[Kind, ...] = ("equal", "shared", "missing", "parts", "known")


@dataclass(frozen=True)
class Finding:
    """What was found of one revision, `text` being the end of a sentence that begins with its name."""

    revision: str
    kind: Kind
    text: str
    source: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether the revision is not what its name says; what is allowed or mended is told, no more."""
        return self.kind in _STALE


@dataclass(frozen=True)
class Audit:
    """What was found of a repository's revisions, in order of training, `main` last."""

    repository: str
    revisions: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> dict[str, list[Finding]]:
        """The faults of each revision that has one."""
        found: dict[str, list[Finding]] = {}
        for one in self.findings:
            if one.is_fault:
                found.setdefault(one.revision, []).append(one)
        return found

    @property
    def sound(self) -> tuple[str, ...]:
        """The revisions without a fault that have weights."""
        others = {*self.faults, *(one.revision for one in self.findings if one.kind == "empty main")}
        return tuple(name for name in self.revisions if name not in others)


@dataclass(frozen=True)
class _Files:
    """The weights of one revision: hashes of its files by name, safetensors and pickled ones."""

    safe: Mapping[str, str]
    pickled: Mapping[str, str]

    @property
    def kinds(self) -> list[frozenset[str]]:
        return [frozenset(kind.values()) for kind in (self.safe, self.pickled) if kind]


def audit(repository: str, names: Iterable[str] | None = None) -> Audit:
    """Audit every training checkpoint of a repository and `main`, or the revisions named.

    One request tells the commits of all branches, one more is made for each commit that was not listed before. A `main`
    without weights is a fault only where it was named: some repositories hold checkpoints alone. Raises
    `MeasureError` where the hub cannot be asked, and for a repository without training checkpoints.
    """
    if is_offline():
        raise NotMeasuredError(
            f"{repository} cannot be audited: the hub's own hashes are asked for, and HF_HUB_OFFLINE is set; audit it "
            "where there is a network."
        )
    heads = hub.refs(repository)
    names = None if names is None else tuple(names)
    asked = _asked(repository, heads, names)
    files = {name: _files(repository, name, heads[name]) for name in asked}
    findings = [
        *_missing(files, main="main" in (names or ())),
        *_equal(repository, files, tuple(heads)),
        *_shared(repository, files),
    ]
    findings += _against_the_table(repository, asked, findings)
    order = {name: place for place, name in enumerate(asked)}
    return Audit(repository, tuple(asked), tuple(sorted(findings, key=lambda one: order[one.revision])))


def _asked(repository: str, heads: Mapping[str, str], names: Iterable[str] | None) -> list[str]:
    """The revisions to look at, in order of training, main last: what others are held against."""
    trained = [one.name for one in revisions.in_order(heads, repository)]
    if names is None and not trained:
        raise NotMeasuredError(
            f"{repository} has no training checkpoints to audit: of its {len(heads)} branches "
            f"({', '.join(list(heads)[:5])}) none is named like one; tell how they are named by --revision-pattern."
        )
    wanted = set(trained if names is None else names)
    found = [name for name in trained if name in wanted]
    found += sorted(name for name in wanted - {*trained, "main"} if name in heads)
    return [*found, *(["main"] if "main" in heads else [])]


def _files(repository: str, name: str, commit: str) -> _Files:
    listing = hub.listing_at(repository, name, commit)
    if listing is None:
        raise NotMeasuredError(
            f"{repository} cannot be audited: the hub could not be reached for its revision {name}; audit it again "
            "where there is a network."
        )
    kinds = [hub.weights_of(listing.sizes, pickled=pickled) for pickled in (False, True)]
    safe, pickled = ({one: listing.hashes.get(one, "") for one in found} for found in kinds)
    return _Files(safe, pickled)


def _missing(files: Mapping[str, _Files], *, main: bool) -> list[Finding]:
    """Revisions without weights, with fewer parts than their names say, or of which the hub states no hashes."""
    found = []
    for name, one in files.items():
        held = one.safe or one.pickled
        if not held and name == "main" and not main:
            found.append(Finding(name, "empty main", "has no weights: the repository holds checkpoints alone"))
        elif not held:
            found.append(Finding(name, "missing", "has no weights"))
        elif absent := _absent(held):
            found.append(
                Finding(name, "parts", f"has {len(held)} of {absent[0]} files of weights: {absent[1]} is missing")
            )
        elif not all(held.values()):
            found.append(Finding(name, "no hashes", "is listed without hashes, so that it cannot be compared"))
    return found


def _absent(names: Iterable[str]) -> tuple[int, str] | None:
    """How many parts there should be and the first that is missing; None where all are there."""
    parts = {name: match for name in names if (match := re.search(r"-(\d+)-of-(\d+)\.", name))}
    whole = any(name not in parts for name in names)
    if whole or not parts:
        return None
    of = max(int(match[2]) for match in parts.values())
    width = max(len(match[1]) for match in parts.values())
    there = {int(match[1]) for match in parts.values() if int(match[2]) == of}
    lacking = next((number for number in range(1, of + 1) if number not in there), None)
    return None if lacking is None else (of, f"part {lacking:0{width}}")


def _equal(repository: str, files: Mapping[str, _Files], names: Sequence[str]) -> list[Finding]:
    """Revisions that hold the same weights: faults, and those that may."""
    groups: dict[frozenset[str], list[str]] = defaultdict(list)
    for name, one in files.items():
        for kind in one.kinds:
            if "" not in kind:
                groups[kind].append(name)
    found: dict[str, Finding] = {}
    for hashes, group in groups.items():
        if len(group) > 1:
            found |= {one.revision: one for one in _of_group(repository, group, names, min(hashes)[:12])}
    return list(found.values())


def _of_group(repository: str, group: Sequence[str], names: Sequence[str], sha256: str) -> list[Finding]:
    """What is told of revisions with the same weights: `group`, in order of training."""
    may = _may_stay(repository, group, names)
    found = []
    for name in group:
        others = [other for other in group if other != name]
        told = f"the weights of {_listed(others)} (sha256 {sha256})"
        if name not in may:
            found.append(Finding(name, "equal", f"holds {told}"))
        elif name != "main" and may >= {*group}:
            found.append(Finding(name, "allowed", f"holds {told}, as it may"))
    return found


def _may_stay(repository: str, group: Sequence[str], names: Sequence[str]) -> set[str]:
    """Those of a group that may be what their names say: main and the last step; steps 0 and 1; else none.

    Of others nobody can tell which it is.
    """
    if "main" in group:
        return {"main", *(one for one in group if stale.may_be_equal("main", one, names, repository))}
    first = [one for one in group if (stale.order(one, repository) or (0, 2))[1] < 2]
    pair = len(first) == 2 and stale.may_be_equal(first[0], first[1], names, repository)
    return set(first) if pair else set()


def _listed(names: Sequence[str]) -> str:
    shown = list(names) if len(names) < 4 else [*names[:3], f"{len(names) - 3} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _shared(repository: str, files: Mapping[str, _Files]) -> list[Finding]:
    """Training checkpoints some of whose files are main's while others differ: parts of one step and of another."""
    main = files.get("main")
    mains = {sha for kind in (main.kinds if main else ()) for sha in kind} - {""}
    found = []
    for name, one in files.items():
        for kind in (one.safe, one.pickled) if name != "main" and stale.order(name, repository) else ():
            held = [file for file, sha in kind.items() if sha in mains]
            if 0 < len(held) < len(kind):
                what = f"{_listed(held)} {'is' if len(held) == 1 else 'are'} main's"
                found.append(
                    Finding(name, "shared", f"is part of one step and part of another: {what}, of {len(kind)}")
                )
                break
    return found


def _against_the_table(repository: str, names: Sequence[str], found: Sequence[Finding]) -> list[Finding]:
    """What others have found: told with the source where the hashes show it too, or cannot; else mended since."""
    shown = {(one.revision, "missing" if one.kind == "parts" else one.kind) for one in found}
    told = []
    for name in names:
        for known in known_bad.of(repository, name):
            if known.shows == "numbers" or (name, known.shows) in shown:
                told.append(Finding(name, "known", f"is known: {known.fault}", known.source))
            else:
                text = f"was told of ({known.fault}), and the hub's hashes show it no more"
                told.append(Finding(name, "mended", text, known.source))
    return told
