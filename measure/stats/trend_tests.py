"""Rank tests for a trend over conditions, and Holm's adjustment of their p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from measure.stats import shared_ends
from measure.stats.resampling import check_one_kind, finite_rows, has_values, kept_units
from measure.stats.shared_ends import FEWEST
from measure.stats.verdicts import Trend


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in order: rejecting those below 0.05 keeps the chance of any false one at 5 %."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, position in enumerate(np.argsort(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = largest
    return adjusted


def adjusted(*trends: Trend | None) -> tuple[Trend, ...]:
    """A claim's tests with their p-values adjusted by Holm, without those that are None."""
    found = [trend for trend in trends if trend is not None]
    rising, falling = (holm([getattr(trend, side) for trend in found]) for side in ("p", "p_reversed"))
    return tuple(replace(trend, p=p, p_reversed=q) for trend, p, q in zip(found, rising, falling, strict=True))


def page_trends(
    named: dict[str, Sequence[Float[np.ndarray, " units"]]], *, ends: Int[np.ndarray, "units 2"] | None = None
) -> tuple[Trend, ...]:
    """Page's test for each of a claim's trends, p-values adjusted by Holm; none with fewer than three conditions."""
    return adjusted(*(page_trend(name, conditions, ends=ends) for name, conditions in named.items()))


def page_trend(
    name: str, conditions: Sequence[Float[np.ndarray, " units"]], *, ends: Int[np.ndarray, "units 2"] | None = None
) -> Trend | None:
    """Page's test that values rise along `conditions` (in order), on the units that have them all.

    None if there are fewer than three conditions or 6 units. Supported means that the order is not chance. How large
    the change is, and whether it is steady, is for the effects to say.
    Source: Page (1963), by `scipy.stats.page_trend_test`, asymptotic p; with `ends` the same sum over units, of ranks
    times places, with the variance of units that share tokens.
    """
    from scipy.stats import page_trend_test, rankdata

    if len(conditions) < 3:
        return None
    table = finite_rows(*conditions)
    if len(table) < FEWEST:
        return None
    if ends is not None:
        places = np.arange(len(conditions)) - (len(conditions) - 1) / 2
        return _dependent_trend(
            name, rankdata(table, axis=1) @ places, len(conditions), ends[has_values(*conditions)], None
        )
    rising = page_trend_test(table, method="asymptotic").pvalue
    falling = page_trend_test(table[:, ::-1], method="asymptotic").pvalue
    return Trend(name, float(rising), float(falling), len(table), len(conditions))


def _dependent_trend(
    name: str,
    terms: Float[np.ndarray, " units"],
    treatments: int,
    ends: Int[np.ndarray, "units 2"] | None,
    clusters: Int[np.ndarray, " units"] | None,
) -> Trend | None:
    """The test of a sum of one term per unit, each 0 by chance, over units that depend on each other.

    The terms are not centred for their variance: it is the variance under chance, which no few large clusters bias
    downward.
    """
    variance = float(terms @ terms)
    if ends is not None:
        variance = max(variance, shared_ends.alike_sum(terms, ends))
    if clusters is not None:
        variance = shared_ends.cluster_sum(terms, clusters)
    if any(groups is not None and shared_ends.too_few(groups) for groups in (ends, clusters)):
        return None
    return Trend(name, *shared_ends.normal_p(terms, variance), len(terms), treatments)


def signed_rank(
    name: str,
    before: Float[np.ndarray, " units"],
    after: Float[np.ndarray, " units"],
    *,
    ends: Int[np.ndarray, "units 2"] | None = None,
    clusters: Int[np.ndarray, " units"] | None = None,
) -> Trend | None:
    """Wilcoxon's signed-rank test that `after` lies above `before`, unit by unit; None below 6 units that have both.

    Its effect size is `superiority`. Source: Wilcoxon (1945), by `scipy.stats.wilcoxon`; with `clusters`, or `ends`,
    the same sum with the variance of units that are alike: Rosner, Glynn & Lee (2006).
    """
    from scipy.stats import rankdata, wilcoxon

    check_one_kind(ends, clusters)
    table, finite = finite_rows(before, after), has_values(before, after)
    if len(table) < FEWEST:
        return None
    rise = table[:, 1] - table[:, 0]
    # On no difference anywhere there is nothing to rank: scipy would divide by 0.
    if not rise.any():
        return Trend(name, 1.0, 1.0, len(table), 2)
    if ends is not None or clusters is not None:
        ranks = np.zeros(len(rise))
        ranks[rise != 0] = rankdata(np.abs(rise[rise != 0]))
        return _dependent_trend(name, np.sign(rise) * ranks, 2, kept_units(finite, ends), kept_units(finite, clusters))
    low, high = table.T
    rising, falling = (wilcoxon(high, low, alternative=side).pvalue for side in ("greater", "less"))
    return Trend(name, float(rising), float(falling), len(table), 2)
