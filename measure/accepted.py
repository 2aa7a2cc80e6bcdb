"""What was accepted of a suite's verdicts: each effect of a case, and the outcomes under other draws of pairs.

One JSON file a suite, beside its baselines: `{subject: {"effects": {name: [estimate, low, high]}, "draws": {seed:
outcome}}}`. An accepted negative is held to its effects; a verdict that other draws do not share is inconclusive.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from measure.results import write_atomically
from measure.spec import MeasureError
from measure.stats import Verdict

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


def read(path: Path) -> dict[str, Accepted]:
    """What a suite's file holds, by subject; nothing where there is none. Raises `MeasureError` for a damaged file."""
    try:
        content = json.loads(path.read_text()) if path.exists() else {}
        return {subject: _parsed(entry) for subject, entry in content.items()}
    except (ValueError, TypeError, AttributeError, KeyError, OSError) as error:
        raise MeasureError(f"the accepted verdicts in {path.name} cannot be read ({error}); {_MEND}.") from None


def _parsed(entry: dict[str, Any]) -> Accepted:
    effects = {name: (float(a), float(b), float(c)) for name, (a, b, c) in entry["effects"].items()}
    return Accepted(effects, {str(seed): str(outcome) for seed, outcome in entry["draws"].items()})


def keep(path: Path, subject: str, verdict: Verdict, seed: int) -> None:
    """Accept a verdict: of seed 0 its effects, of another seed its outcome."""
    known = read(path)
    old = known.get(subject, Accepted())
    if seed:
        new = Accepted(old.effects, old.draws | {str(seed): verdict.outcome})
    else:
        intervals = {effect.name: effect.interval for effect in verdict.effects}
        rounded = {n: (round(i.estimate, 6), round(i.low, 6), round(i.high, 6)) for n, i in intervals.items()}
        new = Accepted(rounded, old.draws)
    whole = dict(sorted((known | {subject: new}).items()))
    text = json.dumps({name: asdict(entry) for name, entry in whole.items()}, indent=1)
    write_atomically(path, (text + "\n").encode())
