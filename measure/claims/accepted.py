"""What was accepted of a suite's verdicts: each effect of a case, and the outcomes under other draws of pairs.

One JSON file a suite, beside its baselines: `{subject: {"effects": {name: [estimate, low, high]}, "draws": {seed:
outcome}}}`. An accepted negative is held to its effects; a verdict that other draws do not share is inconclusive.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypedDict, get_args

import msgspec

from measure.base import files
from measure.base.files import write_atomically
from measure.spec import MeasureError
from measure.stats import Outcome, Verdict

_MEND = "restore it (git checkout), or accept the verdicts anew with --snapshot-update"


@dataclass(frozen=True)
class Accepted:
    """Of one case: an interval (estimate, low, high) for each effect, and the outcome by the seed of other draws."""

    effects: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    draws: dict[str, str] = field(default_factory=dict)

    def drift(self, verdict: Verdict) -> list[str]:
        """Effects that are gone, or whose estimate has left the accepted interval; where none were accepted, none."""
        now = {effect.name: effect.interval.estimate for effect in verdict.effects}
        lines = []
        for name, (estimate, low, high) in self.effects.items():
            told = f"{name}: accepted {estimate:+.3f} [{low:+.3f}, {high:+.3f}], measured"
            if name not in now:
                lines.append(f"{told} no more")
            elif not low <= now[name] <= high:
                lines.append(f"{told} {now[name]:+.3f}")
        return lines


class _Entry(TypedDict):
    effects: dict[str, tuple[float, float, float]]
    draws: dict[str, str]


def read(path: Path) -> dict[str, Accepted]:
    """What a suite's file holds, by subject; nothing where there is none. Raises `MeasureError` for a damaged file."""
    try:
        content = msgspec.convert(files.read_json(path), dict[str, _Entry]) if os.path.lexists(path) else {}
        found = {subject: Accepted(entry["effects"], entry["draws"]) for subject, entry in content.items()}
        _check(found)
    except ValueError as error:
        raise MeasureError(f"the accepted verdicts in {path.name} cannot be read ({error}); {_MEND}.") from None
    return found


def _check(found: Mapping[str, Accepted]) -> None:
    """Raise `ValueError` for what no verdict is."""
    for subject, entry in found.items():
        for name, (estimate, low, high) in entry.effects.items():
            if not low <= estimate <= high:
                raise ValueError(f"{subject}: {name} is {estimate}, outside of its own interval [{low}, {high}]")
        for seed, outcome in entry.draws.items():
            if not seed.isdecimal() or outcome not in get_args(Outcome):
                raise ValueError(f"{subject}: draw {seed!r} is {outcome!r}, which is no outcome of a draw")


def keep(path: Path, subject: str, verdict: Verdict, seed: int) -> None:
    """Accept a verdict: of seed 0 its effects, of another seed its outcome."""
    known = read(path)
    old = known.get(subject, Accepted())
    if seed:
        new = Accepted(old.effects, old.draws | {str(seed): verdict.outcome})
    else:
        # JSON knows no NaN, and nothing can be held to it.
        intervals = {e.name: e.interval for e in verdict.effects if math.isfinite(e.interval.low + e.interval.high)}
        rounded = {n: (round(i.estimate, 6), round(i.low, 6), round(i.high, 6)) for n, i in intervals.items()}
        new = Accepted(rounded, old.draws)
    whole = dict(sorted((known | {subject: new}).items()))
    text = json.dumps({name: asdict(entry) for name, entry in whole.items()}, indent=1)
    try:
        write_atomically(path, (text + "\n").encode())
    except OSError as error:
        raise MeasureError(
            f"the verdict on {subject} could not be accepted: {path.name} cannot be written ({error.strerror})."
        ) from None
