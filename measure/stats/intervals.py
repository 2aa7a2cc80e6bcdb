"""Intervals and bands by bootstrap: of medians, means, shares, contrasts and rank correlations.

Units without a number are left out. Below 6 units, or 6 clusters of them, there is no interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from measure.stats import shared_ends
from measure.stats.resampling import (
    RESAMPLES,
    bootstrap_medians,
    check_one_kind,
    finite_rows,
    has_values,
    influences_of,
    interval_of,
    kept_units,
    median_influences,
    resampled_medians,
    slopes_of,
    stretched,
    without_interval,
)
from measure.stats.shared_ends import FEWEST
from measure.stats.verdicts import CONFIDENCE, Band, Interval


def median_contrast(
    columns: Sequence[Float[np.ndarray, " units"]],
    weights: Sequence[float],
    *,
    clusters: Int[np.ndarray, " units"] | None = None,
    ends: Int[np.ndarray, "units 2"] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """sum_i weights[i] median(columns[i]) with its paired-bootstrap interval. All columns hold the same units.

    Units without a value in every column are left out. Below 6 units there is an estimate and no interval. With
    `clusters`, such as word pairs that share a word, whole clusters are resampled. `ends` are the units' last tokens.
    Raises ValueError if both are given.
    """
    check_one_kind(ends, clusters)
    factors = np.asarray(weights, dtype=float)
    if clusters is None:
        return of_medians(columns, lambda medians: medians @ factors, ends=ends, seed=seed, resamples=resamples)
    table = finite_rows(*columns)
    if not len(table):
        return without_interval(np.nan, 0)
    estimate = float(np.median(table, axis=0) @ factors)
    drawn = shared_ends.clustered_medians(table, clusters[has_values(*columns)], seed, resamples)
    return (
        without_interval(estimate, len(table)) if drawn is None else interval_of(estimate, drawn @ factors, len(table))
    )


def of_medians(
    columns: Sequence[Float[np.ndarray, " units"]],
    function: Callable[[Float[np.ndarray, "*resamples conditions"]], Float[np.ndarray, "*resamples"]],
    *,
    ends: Int[np.ndarray, "units 2"] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """A function of the columns' medians, such as a ratio of growths, with its paired-bootstrap interval.

    The function takes medians along the last axis. Units as in `median_contrast`. Resamples in which it is not finite
    are left out. If they are more than 2.5 % there is no interval, since an end of it may be one of them.
    """
    table = finite_rows(*columns)
    if not len(table):
        return without_interval(np.nan, 0)
    with np.errstate(all="ignore"):
        estimate = float(function(np.median(table, axis=0)))
        if len(table) < FEWEST or not np.isfinite(estimate):
            return without_interval(estimate, len(table))
        medians = bootstrap_medians(table, seed, resamples)
        drawn = function(medians)
    finite = np.isfinite(drawn)
    if finite.mean() < (1 + CONFIDENCE) / 2:
        return without_interval(estimate, len(table))
    influence = influences_of(table, medians[finite], drawn[finite])
    return stretched(
        interval_of(estimate, drawn[finite], len(table)), influence, kept_units(has_values(*columns), ends)
    )


def of_statistics(
    columns: Sequence[Float[np.ndarray, " units"]],
    statistics: Callable[[Float[np.ndarray, "resamples units conditions"]], Float[np.ndarray, "resamples some"]],
    influences: Callable[[Float[np.ndarray, "units conditions"]], Float[np.ndarray, "units some"]],
    function: Callable[[Float[np.ndarray, "resamples some"]], Float[np.ndarray, " resamples"]],
    *,
    ends: Int[np.ndarray, "units 2"] | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Interval:
    """A function of any statistics of the columns, with its paired-bootstrap interval.

    `influences` gives what each unit adds to the error of each statistic. Units and resamples without a number are
    treated as in `of_medians`.
    """
    table = finite_rows(*columns)
    if not len(table):
        return without_interval(np.nan, 0)
    with np.errstate(all="ignore"):
        estimate = float(function(statistics(table[None]))[0])
        if len(table) < FEWEST or not np.isfinite(estimate):
            return without_interval(estimate, len(table))
        rows = np.random.default_rng(seed).integers(0, len(table), size=(resamples, len(table)))
        found = statistics(table[rows])
        drawn = function(found)
    finite = np.isfinite(drawn)
    if np.mean(finite) < (1 + CONFIDENCE) / 2:
        return without_interval(estimate, len(table))
    slopes = slopes_of(found[finite], drawn[finite])
    return stretched(
        interval_of(estimate, drawn[finite], len(table)),
        influences(table) @ slopes,
        kept_units(has_values(*columns), ends),
    )


def median_interval(
    values: Float[np.ndarray, " units"],
    *,
    ends: Int[np.ndarray, "units 2"] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Median over units with its percentile-bootstrap interval; see `median_contrast`."""
    return median_contrast([values], [1.0], ends=ends, seed=seed, resamples=resamples)


def median_rise(
    before: Float[np.ndarray, " before"],
    after: Float[np.ndarray, " after"],
    *,
    ends: Int[np.ndarray, "before 2"] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """median(after) - median(before) on the same units, with its paired-bootstrap interval; see `median_contrast`.

    Raises ValueError when the two differ in length.
    """
    if before.shape != after.shape:
        raise ValueError(f"a paired effect needs the same units twice; found {len(before)} and {len(after)}.")
    return median_contrast([before, after], [-1.0, 1.0], ends=ends, seed=seed, resamples=resamples)


def negated(interval: Interval) -> Interval:
    """The interval of minus the estimate, which turns a fall into a rise."""
    return Interval(-interval.estimate, -interval.high, -interval.low, interval.n)


def shifted(interval: Interval, by: float) -> Interval:
    """The interval of the estimate plus a constant, such as the distance to a fixed bound."""
    return Interval(interval.estimate + by, interval.low + by, interval.high + by, interval.n)


def rises_band(
    labels: Sequence[str],
    conditions: Sequence[Float[np.ndarray, " units"]],
    *,
    ends: Int[np.ndarray, "units 2"] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Band:
    """median(condition) - median(first condition) along `conditions`, with a simultaneous 95 % band.

    Whole trajectories are resampled, unit by unit. Each resampled trajectory has a largest deviation from the measured
    one, counted in standard errors of each point. The half-width of the band is the 95 % quantile of that deviation,
    times the point's standard error. So an onset read off the band is no artefact of many comparisons. The first
    condition is zero by definition and left out. With `ends` the standard errors are widened.
    """
    table = finite_rows(*conditions)
    medians = np.median(table, axis=0)
    estimate = medians[1:] - medians[0]
    if len(table) < FEWEST:
        nothing = (float("nan"),) * len(estimate)
        return Band(tuple(labels[1:]), tuple(estimate.tolist()), nothing, nothing, len(table))
    drawn = bootstrap_medians(table, seed, resamples)
    deviations = drawn[:, 1:] - drawn[:, :1] - estimate
    errors = deviations.std(axis=0)
    # Where resampling never moves a median its error is 0, and so is its deviation.
    scaled = np.abs(deviations) / np.where(errors > 0, errors, 1.0)
    if ends is not None:
        pulls = median_influences(table)
        pulls = (pulls[:, 1:] - pulls[:, :1]).T
        errors = errors * [shared_ends.stretch(pull, ends[has_values(*conditions)]) for pull in pulls]
    reach = np.quantile(scaled.max(axis=1), CONFIDENCE) * errors
    low, high = (tuple((estimate + sign * reach).tolist()) for sign in (-1, 1))
    return Band(tuple(labels[1:]), tuple(estimate.tolist()), low, high, len(table))


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

    Whole clusters of units are resampled. There is no interval below 6 of them, or if the covariate does not vary.
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
        return without_interval(np.nan, len(table))
    drawn = shared_ends.clustered(difference, clusters[kept], seed, resamples)
    estimate = difference(np.arange(len(table)))
    return without_interval(estimate, len(table)) if drawn is None else interval_of(estimate, drawn, len(table))


def mean_interval(
    values: Float[np.ndarray, " units"],
    *,
    clusters: Int[np.ndarray, " units"] | None = None,
    ends: Int[np.ndarray, "units 2"] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean over units (a share, where values are 0 or 1) with its percentile-bootstrap interval; none below 6 units."""
    check_one_kind(ends, clusters)
    finite = np.isfinite(values)
    kept = values[finite]
    if len(kept) < FEWEST:
        return without_interval(float(kept.mean()) if len(kept) else np.nan, len(kept))
    mean = float(kept.mean())
    if clusters is not None:
        drawn = shared_ends.clustered_means(kept, clusters[finite], seed, resamples)
        return without_interval(mean, len(kept)) if drawn is None else interval_of(mean, drawn, len(kept))
    rows = np.random.default_rng(seed).integers(0, len(kept), size=(resamples, len(kept)))
    found = interval_of(mean, kept[rows].mean(axis=1), len(kept))
    return stretched(found, kept - kept.mean(), kept_units(finite, ends))


def superiority(
    before: Float[np.ndarray, " units"],
    after: Float[np.ndarray, " units"],
    *,
    clusters: Int[np.ndarray, " units"] | None = None,
    ends: Int[np.ndarray, "units 2"] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Share of units in which `after` lies above `before`, ties counted half, minus 0.5: -0.5 to 0.5, 0 is chance.

    The effect size of a paired rank test (probability of superiority), by percentile bootstrap over units. When all
    units agree the interval shrinks to the estimate and is too narrow.
    """
    table = finite_rows(before, after)
    sides = np.full(len(before), np.nan)
    sides[has_values(before, after)] = np.sign(table[:, 1] - table[:, 0]) / 2
    return mean_interval(sides, clusters=clusters, ends=ends, seed=seed, resamples=resamples)


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
    ends: Int[np.ndarray, "units 2"] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Median of `values` in the upper half of `by` minus that in the lower half, averaged over the strata.

    Units are resampled within each half of each stratum. Units without a value, or in stratum -1, are left out. There
    is no interval if a half has fewer than 6 units.
    """
    used = (strata >= 0) & np.isfinite(values) & np.isfinite(by)
    estimates: list[float] = []
    draws: list[Float[np.ndarray, " resamples"]] = []
    influence, fewest = np.zeros(len(values)), FEWEST
    for number in np.unique(strata[used]):
        inside = used & (strata == number)
        upper = strata_of(np.where(inside, by, np.nan), 2)
        for half, sign in ((1, 1.0), (0, -1.0)):
            part = values[upper == half].astype(np.float64)
            fewest = min(fewest, len(part))
            if len(part):
                influence[upper == half] = sign * shared_ends.of_median(part)
                estimates.append(sign * float(np.median(part)))
                draws.append(sign * resampled_medians(part.tobytes(), seed + len(draws) + 1, resamples))
    count = int(used.sum())
    if not draws or fewest < FEWEST:
        return without_interval(np.nan, count)
    found = interval_of(2 * float(np.mean(estimates)), 2 * np.mean(draws, axis=0), count)
    return stretched(found, influence[used], kept_units(used, ends))


def rank_correlation(
    values: Float[np.ndarray, " units"],
    by: Float[np.ndarray, " units"],
    strata: Int[np.ndarray, " units"],
    *,
    ends: Int[np.ndarray, "units 2"] | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Interval:
    """Spearman's rank correlation of `values` and `by` within each stratum, averaged over strata by their size.

    Units are resampled within strata. Units without a value, or in stratum -1, are left out. There is no interval if a
    stratum has fewer than 6 units.
    """
    used = (strata >= 0) & np.isfinite(values) & np.isfinite(by)
    generator = np.random.default_rng(seed)
    estimate, drawn, fewest, influence = 0.0, np.zeros(resamples), FEWEST, np.zeros(len(values))
    for number in np.unique(strata[used]):
        inside = used & (strata == number)
        x, y = (column[inside] for column in (values, by))
        share, fewest = len(x) / used.sum(), min(fewest, len(x))
        rows = generator.integers(0, len(x), size=(resamples, len(x)))
        estimate += share * float(spearman(x[None], y[None])[0])
        drawn += share * spearman(x[rows], y[rows])
        influence[inside] = share * shared_ends.of_rank_correlation(x, y)
    count = int(used.sum())
    if not count or fewest < FEWEST:
        return without_interval(np.nan, count)
    return stretched(interval_of(estimate, drawn, count), influence[used], kept_units(used, ends))


def spearman(x: Float[np.ndarray, "rows units"], y: Float[np.ndarray, "rows units"]) -> Float[np.ndarray, " rows"]:
    """Rank correlation of rows of `x` with rows of `y`, ties by their mean rank; 0 where one is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(column, axis=1) for column in (x, y)]
    a, b = (column - column.mean(axis=1, keepdims=True) for column in ranks)
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return (a * b).sum(axis=1) / np.where(size > 0, size, 1.0)
