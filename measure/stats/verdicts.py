"""What is estimated and what it says of a claim: intervals, effects, trends, facts, bands, verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Outcome = Literal["supported", "contradicted", "inconclusive", "not measured"]
CONFIDENCE = 0.95
# Errors beyond a bootstrap interval thin out more slowly than a normal's: of nine null parts held at the normal's bound
# 6 to 9 % of verdicts were contradicted and not 5 %; at this one 3 to 5 % (medians of 100 and 400 units, normal and
# exponential; simulated).
TAIL_FREEDOM = 6


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval, from `n` independent units."""

    estimate: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.estimate:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True)
class Effect:
    """One part of a claim: an interval and the margin that it is held against.

    Positive values are what the claim says.
    """

    name: str
    interval: Interval
    margin: float

    @property
    def outcome(self) -> Outcome:
        """Supported when the whole interval lies above the margin, contradicted when all of it lies below -margin.

        Not measured when there is no interval: nothing is inconclusive on no data.
        """
        if not np.isfinite([self.interval.low, self.interval.high]).all():
            return "not measured"
        if self.interval.low > self.margin:
            return "supported"
        if self.interval.high < -self.margin:
            return "contradicted"
        return "inconclusive"

    def upper(self, level: float) -> float:
        """Upper bound that the truth exceeds with probability `level`.

        The upper end of the interval, moved out as quantiles of Student's t with 6 degrees of freedom are.
        """
        from scipy.special import stdtrit

        moved = float(stdtrit(TAIL_FREEDOM, 1 - level) / stdtrit(TAIL_FREEDOM, (1 + CONFIDENCE) / 2))
        return self.interval.estimate + max(0.0, self.interval.high - self.interval.estimate) * moved

    def __str__(self) -> str:
        return f"{self.name} {self.interval}"


@dataclass(frozen=True)
class Trend:
    """A rank test for a trend over `treatments` conditions on the same `n` units: Page's, or signed ranks for two.

    `p` is the p-value for a rise, `p_reversed` for a fall.
    """

    name: str
    p: float
    p_reversed: float
    n: int
    treatments: int

    @property
    def outcome(self) -> Outcome:
        if self.p < 1 - CONFIDENCE:
            return "supported"
        return "contradicted" if self.p_reversed < 1 - CONFIDENCE else "inconclusive"

    def __str__(self) -> str:
        return f"{self.name} p = {self.p:.2g}"


@dataclass(frozen=True)
class Fact:
    """One part of a claim that is counted, without an interval: `agree` of `of` cases are as the claim says."""

    name: str
    agree: int
    of: int

    @property
    def outcome(self) -> Outcome:
        if not self.of:
            return "not measured"
        return "supported" if self.agree == self.of else "contradicted"

    def __str__(self) -> str:
        return f"{self.name} {self.agree} of {self.of}"


@dataclass(frozen=True)
class Verdict:
    """What the evidence says of one claim. Supported if every part is; contradicted if one part is.

    *Supported* needs no correction for the number of parts: a false claim passes only if its false part does.
    *Contradicted* needs one, since any part can bring it about: each part is tested at 5 % divided by the number of
    parts (Bonferroni).

    `notes` are shown beside the verdict and decide nothing. `draws` are outcomes under other draws of units. Where one
    of them differs from this outcome, the verdict depends on the draw, and is inconclusive.
    """

    effects: tuple[Effect, ...] = ()
    trends: tuple[Trend, ...] = ()
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()
    draws: tuple[str, ...] = ()

    @property
    def parts(self) -> list[Effect | Trend | Fact]:
        return [*self.effects, *self.trends, *self.facts]

    def outcome_of(self, part: Effect | Trend | Fact) -> Outcome:
        """The part's own outcome. Inconclusive if it is contradicted only before the correction for other parts.

        The level is 5 % divided by the number of parts: for an effect at most the 2.5 % of its interval, for trends,
        which Holm has adjusted among themselves, the levels of all of them together. A fact is exact.
        """
        level = (1 - CONFIDENCE) / len(self.parts)
        holds = True
        if isinstance(part, Effect):
            holds = part.upper(min(level, (1 - CONFIDENCE) / 2)) < -part.margin
        elif isinstance(part, Trend):
            holds = part.p_reversed < level * len(self.trends)
        return "inconclusive" if part.outcome == "contradicted" and not holds else part.outcome

    @property
    def outcome(self) -> Outcome:
        outcomes = {self.outcome_of(part) for part in self.parts}
        if "not measured" in outcomes:
            return "not measured"
        own: Outcome = "contradicted" if "contradicted" in outcomes else "inconclusive"
        if outcomes == {"supported"}:
            own = "supported"
        return own if set(self.draws) <= {own} else "inconclusive"

    @property
    def n(self) -> int:
        return min([effect.interval.n for effect in self.effects] or [sum(fact.of for fact in self.facts)])

    def __str__(self) -> str:
        parts = "; ".join(f"{part} ({self.outcome_of(part)})" for part in self.parts)
        return f"{self.outcome}, n = {self.n}: {parts}"


@dataclass(frozen=True)
class Band:
    """A trajectory with its simultaneous 95 % band: with that confidence the whole trajectory lies inside.

    `estimate`, `low` and `high` hold one number for each of `labels`. `n` is the number of independent units.
    """

    labels: tuple[str, ...]
    estimate: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n: int

    def onset(self, margin: float) -> str | None:
        """First label from which on the whole band stays above `margin`. None if the end of the band does not."""
        found = None
        for label, low in zip(reversed(self.labels), reversed(self.low), strict=True):
            if not low > margin:
                break
            found = label
        return found
