"""How sure: bootstrap intervals, trend tests, verdicts. numpy and scipy only; knows nothing of models.

All inference is over independent units (disjoint pairs). Treating chained pairs as independent under-covers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Outcome = Literal["supported", "contradicted", "inconclusive", "not measured"]
CONFIDENCE = 0.95
RESAMPLES = 4000
# Values drawn at a time, so that memory does not grow with the number of units.
RESAMPLED_VALUES = 2_000_000
# Smallest n whose extremes hold a median with 95 % confidence: 1 - 2 * 0.5**6 = 0.97. Below it no interval is given.
FEWEST = 6


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
    """One part of a claim, signed so that positive is what the claim says, held against its margin."""

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

    def __str__(self) -> str:
        return f"{self.name} {self.interval}"


@dataclass(frozen=True)
class Trend:
    """A rank test (Page; signed ranks for two) for a trend over `treatments` conditions on the same `n` units."""

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
    """One part of a claim that is so or not so: `agree` of `of` things looked at are as the claim says."""

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
    """What the evidence says of one claim: every part must be supported; one contradicted part contradicts it.

    Asking for every part needs no correction for their number: a false claim passes only if its false part does.
    `notes` are shown beside the verdict and decide nothing.
    """

    effects: tuple[Effect, ...] = ()
    trends: tuple[Trend, ...] = ()
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> list[Effect | Trend | Fact]:
        return [*self.effects, *self.trends, *self.facts]

    @property
    def outcome(self) -> Outcome:
        outcomes = {part.outcome for part in self.parts}
        if "not measured" in outcomes:
            return "not measured"
        if "contradicted" in outcomes:
            return "contradicted"
        return "supported" if outcomes == {"supported"} else "inconclusive"

    @property
    def n(self) -> int:
        return min([effect.interval.n for effect in self.effects] or [sum(fact.of for fact in self.facts)])

    def __str__(self) -> str:
        parts = "; ".join(f"{part} ({part.outcome})" for part in self.parts)
        return f"{self.outcome}, n = {self.n}: {parts}"


def _finite_rows(*columns: Float[np.ndarray, " units"]) -> Float[np.ndarray, "kept conditions"]:
    """Units that have a value under every condition: (kept, conditions)."""
    table = np.stack(columns, axis=1).astype(np.float64)
    return table[np.isfinite(table).all(axis=1)]


def _bootstrap_medians(
    table: Float[np.ndarray, "units conditions"], seed: int, resamples: int
) -> Float[np.ndarray, "resamples conditions"]:
    """Medians of each condition over resampled units; the same units for every condition, so pairing is kept."""
    return np.stack([_resampled_medians(column.tobytes(), seed, resamples) for column in table.T], axis=1)


@lru_cache(maxsize=512)
def _resampled_medians(column: bytes, seed: int, resamples: int) -> Float[np.ndarray, " resamples"]:
    """Medians of resampled float64 values; one seed draws the same units of every column of one length.

    Kept, since a curve's metric stands in many effects, controls and bands. Ranks are sorted instead of values: small
    integers sort several times faster, and the medians are the same to the last bit.
    """
    values = np.frombuffer(column)
    count = len(values)
    order = np.argsort(values)
    ranks = np.empty(count, np.int16 if count < 2**15 else np.int64)
    ranks[order] = np.arange(count)
    generator = np.random.default_rng(seed)
    block = max(1, RESAMPLED_VALUES // count)
    parts = []
    for start in range(0, resamples, block):
        drawn = ranks[generator.integers(0, count, size=(min(block, resamples - start), count))]
        drawn.sort(axis=1)
        below, above = (values[order[drawn[:, place]]] for place in ((count - 1) // 2, count // 2))
        parts.append((below + above) / 2)
    medians = np.concatenate(parts)
    medians.flags.writeable = False
    return medians


@dataclass(frozen=True)
class Band:
    """A trajectory with its simultaneous 95 % band: with that confidence the whole of it lies inside.

    `estimate`, `low`, `high` hold one number for each of `labels`; `n` independent units.
    """

    labels: tuple[str, ...]
    estimate: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n: int

    def onset(self, margin: float) -> str | None:
        """First label from which on the whole band stays above `margin`; None when its end does not."""
        found = None
        for label, low in zip(reversed(self.labels), reversed(self.low), strict=True):
            if not low > margin:
                break
            found = label
        return found


def _interval(estimate: float, draws: Float[np.ndarray, " resamples"], n: int) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(float(estimate), float(low), float(high), n)


def median_contrast(
    columns: Sequence[Float[np.ndarray, " units"]],
    weights: Sequence[float],
    *,
    clusters: Int[np.ndarray, " units"] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """sum_i weights[i] median(columns[i]) with its paired-bootstrap interval: the columns hold the same units.

    Units without a value in every column are left out; below 6 units there is an estimate and no interval. Where units
    are alike in `clusters` (word pairs that share a word), whole clusters are resampled, and below 6 of them there is
    no interval.
    """
    table = _finite_rows(*columns)
    if not len(table):
        return Interval(np.nan, np.nan, np.nan, 0)
    factors = np.asarray(weights, dtype=float)
    estimate = float(np.median(table, axis=0) @ factors)
    if clusters is not None:
        kept = clusters[np.isfinite(np.stack(columns, axis=1)).all(axis=1)]
        drawn = _clustered_medians(table, kept, seed, resamples)
    else:
        drawn = _bootstrap_medians(table, seed, resamples) if len(table) >= FEWEST else None
    if drawn is None:
        return Interval(estimate, np.nan, np.nan, len(table))
    return _interval(estimate, drawn @ factors, len(table))


def _clustered_medians(
    table: Float[np.ndarray, "units conditions"], clusters: Int[np.ndarray, " units"], seed: int, resamples: int
) -> Float[np.ndarray, "resamples conditions"] | None:
    """Medians of every column over resampled whole clusters; None below 6 clusters.

    A resample is told by how often it holds each unit, so that each column is sorted once for all of them.
    """
    names, cluster = np.unique(clusters, return_inverse=True)
    if len(names) < FEWEST:
        return None
    draws = np.random.default_rng(seed).integers(0, len(names), size=(resamples, len(names)))
    times = np.zeros(draws.shape, dtype=np.int64)
    np.add.at(times, (np.arange(resamples)[:, None], draws), 1)
    found = []
    for column in table.T:
        order = np.argsort(column, kind="stable")
        # How many values of the resample stand at or before each place of the sorted column.
        upto = times[:, cluster[order]].cumsum(axis=1)
        size = upto[:, -1:]
        middles = [(upto <= place).sum(axis=1) for place in ((size - 1) // 2, size // 2)]
        found.append((column[order][middles[0]] + column[order][middles[1]]) / 2)
    return np.stack(found, axis=1)


def _clustered(
    of: Callable[[Int[np.ndarray, " rows"]], float], clusters: Int[np.ndarray, " units"], seed: int, resamples: int
) -> Float[np.ndarray, " resamples"] | None:
    """A statistic over resampled whole clusters; None below 6 clusters."""
    names = np.unique(clusters)
    if len(names) < FEWEST:
        return None
    members = [np.flatnonzero(clusters == name) for name in names]
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, len(names), size=(resamples, len(names)))
    return np.array([of(np.concatenate([members[number] for number in draw])) for draw in draws])


def adjusted_difference(
    low: Float[np.ndarray, " units"],
    high: Float[np.ndarray, " units"],
    covariate_low: Float[np.ndarray, " units"],
    covariate_high: Float[np.ndarray, " units"],
    clusters: Int[np.ndarray, " units"],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> Interval:
    """Mean of `high` minus mean of `low` at an equal covariate, by least squares with one slope for both.

    Whole clusters of units are resampled; below 6 of them, or where the covariate does not vary, there is no interval.
    """
    table = np.stack([low, high, covariate_low, covariate_high], axis=1)
    kept = np.isfinite(table).all(axis=1)
    table = table[kept]

    def difference(rows: Int[np.ndarray, " rows"]) -> float:
        y, x = table[rows][:, :2], table[rows][:, 2:]
        # Within each label the covariate's slope, then the difference of means less what that slope explains.
        x_off, y_off = x - x.mean(axis=0), y - y.mean(axis=0)
        slope = (x_off * y_off).sum() / (x_off * x_off).sum()
        return float((y[:, 1] - y[:, 0]).mean() - slope * (x[:, 1] - x[:, 0]).mean())

    if not len(table) or not table[:, 2:].std(axis=0).any():
        return Interval(np.nan, np.nan, np.nan, len(table))
    drawn = _clustered(difference, clusters[kept], seed, resamples)
    estimate = difference(np.arange(len(table)))
    return Interval(estimate, np.nan, np.nan, len(table)) if drawn is None else _interval(estimate, drawn, len(table))


def median_interval(values: Float[np.ndarray, " units"], *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Median over units with its percentile-bootstrap interval; see `median_contrast`."""
    return median_contrast([values], [1.0], seed=seed, resamples=resamples)


def median_rise(
    before: Float[np.ndarray, " before"],
    after: Float[np.ndarray, " after"],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """median(after) - median(before) on the same units, with its paired-bootstrap interval; see `median_contrast`.

    Raises ValueError when the two differ in length.
    """
    if before.shape != after.shape:
        raise ValueError(f"a paired effect needs the same units twice; found {len(before)} and {len(after)}.")
    return median_contrast([before, after], [-1.0, 1.0], seed=seed, resamples=resamples)


def negated(interval: Interval) -> Interval:
    """The interval of minus the estimate: a fall written as a rise."""
    return Interval(-interval.estimate, -interval.high, -interval.low, interval.n)


def shifted(interval: Interval, by: float) -> Interval:
    """The interval of the estimate plus a constant: a distance to a fixed bound."""
    return Interval(interval.estimate + by, interval.low + by, interval.high + by, interval.n)


def rises_band(
    labels: Sequence[str],
    conditions: Sequence[Float[np.ndarray, " units"]],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Band:
    """median(condition) - median(first condition) along `conditions`, with a simultaneous 95 % band.

    Whole trajectories are resampled, unit by unit; the band's half-width at each point is the 95 % quantile of the
    largest deviation, in units of that point's own standard error, of a resampled trajectory from the measured one. So
    an onset read off it is no artefact of many comparisons. The first condition, zero by definition, is left out.
    """
    table = _finite_rows(*conditions)
    medians = np.median(table, axis=0)
    estimate = medians[1:] - medians[0]
    if len(table) < FEWEST:
        nothing = (float("nan"),) * len(estimate)
        return Band(tuple(labels[1:]), tuple(estimate.tolist()), nothing, nothing, len(table))
    drawn = _bootstrap_medians(table, seed, resamples)
    deviations = drawn[:, 1:] - drawn[:, :1] - estimate
    errors = deviations.std(axis=0)
    # Where resampling never moves a median its error is 0, and so is its deviation.
    scaled = np.abs(deviations) / np.where(errors > 0, errors, 1.0)
    reach = np.quantile(scaled.max(axis=1), CONFIDENCE) * errors
    low, high = (tuple((estimate + sign * reach).tolist()) for sign in (-1, 1))
    return Band(tuple(labels[1:]), tuple(estimate.tolist()), low, high, len(table))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in order: rejecting those below 0.05 keeps the chance of any false one at 5 %."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, position in enumerate(np.argsort(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = largest
    return adjusted


def page_trends(named: dict[str, Sequence[Float[np.ndarray, " units"]]]) -> tuple[Trend, ...]:
    """Page's test for each of a claim's trends, p-values adjusted by Holm; none with fewer than three conditions."""
    return adjusted(*(page_trend(name, conditions) for name, conditions in named.items()))


def adjusted(*trends: Trend | None) -> tuple[Trend, ...]:
    """A claim's tests with their p-values adjusted by Holm; those that do not apply left out."""
    found = [trend for trend in trends if trend is not None]
    rising, falling = (holm([getattr(trend, side) for trend in found]) for side in ("p", "p_reversed"))
    return tuple(replace(trend, p=p, p_reversed=q) for trend, p, q in zip(found, rising, falling, strict=True))


def page_trend(name: str, conditions: Sequence[Float[np.ndarray, " units"]]) -> Trend | None:
    """Page's test that values rise along `conditions` (in order), on the units that have them all.

    None when there are fewer than three conditions or 6 units: a trend is then not applicable. Supported means that
    the order is not chance; how large the change is, and whether it is steady, is for the effects to say.
    Source: Page (1963), by `scipy.stats.page_trend_test`, asymptotic p.
    """
    from scipy.stats import page_trend_test

    if len(conditions) < 3:
        return None
    table = _finite_rows(*conditions)
    if len(table) < FEWEST:
        return None
    rising = page_trend_test(table, method="asymptotic").pvalue
    falling = page_trend_test(table[:, ::-1], method="asymptotic").pvalue
    return Trend(name, float(rising), float(falling), len(table), len(conditions))


def signed_rank(name: str, before: Float[np.ndarray, " units"], after: Float[np.ndarray, " units"]) -> Trend | None:
    """Wilcoxon's signed-rank test that `after` lies above `before`, unit by unit; None below 6 units that have both.

    Its effect size is `superiority`. Source: Wilcoxon (1945), by `scipy.stats.wilcoxon`.
    """
    from scipy.stats import wilcoxon

    table = _finite_rows(before, after)
    if len(table) < FEWEST:
        return None
    # On no difference anywhere there is nothing to rank: scipy would divide by 0.
    if not (table[:, 0] != table[:, 1]).any():
        return Trend(name, 1.0, 1.0, len(table), 2)
    low, high = table.T
    rising, falling = (wilcoxon(high, low, alternative=side).pvalue for side in ("greater", "less"))
    return Trend(name, float(rising), float(falling), len(table), 2)


def superiority(
    before: Float[np.ndarray, " units"],
    after: Float[np.ndarray, " units"],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Share of units in which `after` lies above `before`, ties counted half, minus 0.5: -0.5 to 0.5, 0 is chance.

    The effect size of a paired rank test (probability of superiority); percentile bootstrap over units, whose interval
    closes on the estimate when all units agree and is then too narrow.
    """
    table = _finite_rows(before, after)
    return mean_interval((np.sign(table[:, 1] - table[:, 0])) / 2, seed=seed, resamples=resamples)


def mean_interval(values: Float[np.ndarray, " units"], *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Mean over units (a share, where values are 0 or 1) with its percentile-bootstrap interval; none below 6 units."""
    kept = values[np.isfinite(values)]
    if len(kept) < FEWEST:
        return Interval(float(kept.mean()) if len(kept) else np.nan, np.nan, np.nan, len(kept))
    rows = np.random.default_rng(seed).integers(0, len(kept), size=(resamples, len(kept)))
    return _interval(float(kept.mean()), kept[rows].mean(axis=1), len(kept))


def strata_of(values: Float[np.ndarray, " units"], count: int) -> Int[np.ndarray, " units"]:
    """Which of `count` equal parts, from the lowest values (0) to the highest, each unit is in; -1 without a value."""
    found = np.full(len(values), -1)
    finite = np.flatnonzero(np.isfinite(values))
    ranks = np.argsort(np.argsort(values[finite], kind="stable"), kind="stable")
    found[finite] = ranks * count // max(len(finite), 1)
    return found


def stratified_contrast(
    values: Float[np.ndarray, " units"],
    by: Float[np.ndarray, " units"],
    strata: Int[np.ndarray, " units"],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Median of `values` in the upper half of `by` minus that in the lower half, averaged over the strata.

    Units are resampled within each half of each stratum. Units without a value, or in stratum -1, are left out; a half
    of fewer than 6 units gives no interval.
    """
    used = (strata >= 0) & np.isfinite(values) & np.isfinite(by)
    estimates: list[float] = []
    draws: list[Float[np.ndarray, " resamples"]] = []
    fewest = FEWEST
    for number in np.unique(strata[used]):
        inside = used & (strata == number)
        upper = strata_of(np.where(inside, by, np.nan), 2)
        for half, sign in ((1, 1.0), (0, -1.0)):
            part = values[upper == half].astype(np.float64)
            fewest = min(fewest, len(part))
            if len(part):
                estimates.append(sign * float(np.median(part)))
                draws.append(sign * _resampled_medians(part.tobytes(), seed + len(draws) + 1, resamples))
    count = int(used.sum())
    if not draws or fewest < FEWEST:
        return Interval(float("nan"), np.nan, np.nan, count)
    return _interval(2 * float(np.mean(estimates)), 2 * np.mean(draws, axis=0), count)


def rank_correlation(
    values: Float[np.ndarray, " units"],
    by: Float[np.ndarray, " units"],
    strata: Int[np.ndarray, " units"],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> Interval:
    """Spearman's rank correlation of `values` and `by` within each stratum, averaged over strata by their size.

    Units are resampled within strata. Units without a value, or in stratum -1, are left out; a stratum of fewer than 6
    gives no interval.
    """
    used = (strata >= 0) & np.isfinite(values) & np.isfinite(by)
    generator = np.random.default_rng(seed)
    estimate, drawn, fewest = 0.0, np.zeros(resamples), FEWEST
    for number in np.unique(strata[used]):
        x, y = (column[used & (strata == number)] for column in (values, by))
        share, fewest = len(x) / used.sum(), min(fewest, len(x))
        rows = generator.integers(0, len(x), size=(resamples, len(x)))
        estimate += share * float(_spearman(x[None], y[None])[0])
        drawn += share * _spearman(x[rows], y[rows])
    count = int(used.sum())
    if not count or fewest < FEWEST:
        return Interval(float("nan"), np.nan, np.nan, count)
    return _interval(estimate, drawn, count)


def _spearman(x: Float[np.ndarray, "rows units"], y: Float[np.ndarray, "rows units"]) -> Float[np.ndarray, " rows"]:
    """Rank correlation of rows of `x` with rows of `y`, ties by their mean rank; 0 where one is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(column, axis=1) for column in (x, y)]
    a, b = (column - column.mean(axis=1, keepdims=True) for column in ranks)
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return (a * b).sum(axis=1) / np.where(size > 0, size, 1.0)
