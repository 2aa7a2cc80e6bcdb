"""Units that are alike: how much wider an interval over them is than if each stood alone.

Where they fall into `clusters`, whole clusters are resampled. Last tokens are shared across units and make no clusters.
A unit is a pair of prompts; `ends` holds the last token of either. The variance of a statistic is the sum, over all
units i and j that share a token on either side, of psi_i psi_j, where psi_i is what unit i adds to the statistic's
error: the dyadic cluster-robust variance. Sources: Fafchamps & Gubert (2007); Aronow, Samii & Assenova (2015).

It holds if the tokens, not only the prompts, stand for others that might have been drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

# Smallest n whose extremes hold a median with 95 % confidence: 1 - 2 * 0.5**6 = 0.97. Below it no interval is given,
# neither of so few units nor of so few clusters or last tokens.
FEWEST = 6


def alike_sum(terms: Float[np.ndarray, " units"], ends: Int[np.ndarray, "units 2"]) -> float:
    """Sum of terms[i] * terms[j] over all units i and j that share a token on either side; each shares with itself.

    By token; two units that share two tokens were then counted twice, so those pairs are taken off once.
    Source: Cameron, Gelbach & Miller (2011).
    """
    names, places = np.unique(ends, return_inverse=True)
    places = places.reshape(ends.shape)
    low, high = places.min(axis=1), places.max(axis=1)
    two = low != high
    by_token = _sums(np.concatenate([low, high[two]]), np.concatenate([terms, terms[two]]))
    by_both = _sums((low * len(names) + high)[two], terms[two])
    return float(by_token @ by_token - by_both @ by_both)


def cluster_sum(terms: Float[np.ndarray, " units"], clusters: Int[np.ndarray, " units"]) -> float:
    """Sum of terms[i] * terms[j] over all units i and j of one cluster."""
    sums = _sums(clusters, terms)
    return float(sums @ sums)


def _sums(groups: Int[np.ndarray, " terms"], terms: Float[np.ndarray, " terms"]) -> Float[np.ndarray, " groups"]:
    # Of no terms numpy's sums are integers.
    return np.bincount(np.unique(groups, return_inverse=True)[1], weights=terms).astype(np.float64)


def too_few(groups: Int[np.ndarray, "*shape"]) -> bool:
    """Whether there are fewer than 6 clusters, or last tokens."""
    return len(np.unique(groups)) < FEWEST


def stretch(influence: Float[np.ndarray, " units"], ends: Int[np.ndarray, "units 2"]) -> float:
    """How many times wider the interval is; never below 1, and 1 when no token is shared. NaN below 6 tokens.

    Few large tokens bias the plain ratio of errors downward and make it noisy, so it is held as with G clusters, where
    G is n over the mean number of units that one unit is like: times G / (G - 1), and Student's t with G - 1 degrees of
    freedom (the Satterthwaite approximation when units are independent), both relative to n separate units.
    Sources: Bell & McCaffrey (2002); Cameron & Miller (2015), sections VI.B and VI.D.
    """
    from scipy.special import stdtrit

    count = len(influence)
    clusters = count**2 / alike_sum(np.ones(count), ends)
    if too_few(ends) or clusters <= 1:
        return float("nan")
    alone = float(influence @ influence)
    ratio = max(0.0, alike_sum(influence, ends)) / alone if alone else 1.0
    bias = clusters / (clusters - 1) * (count - 1) / count
    reach = stdtrit(clusters - 1, 0.975) / stdtrit(count - 1, 0.975)
    return max(1.0, math.sqrt(ratio * bias) * float(reach))


def of_median(values: Float[np.ndarray, " units"]) -> Float[np.ndarray, " units"]:
    """What each unit adds to the error of the median: (units), of mean 0.

    The infinitesimal jackknife of the bootstrap's mean median, in closed form: between two neighbours in order, those
    above and below pull by their distance times the density of the median's place. So ties pull nothing, and the sum
    of squares is about the bootstrap's variance. Sources: Harrell & Davis (1982); Efron (2014).
    """
    order = np.argsort(values, kind="stable")
    pull = np.zeros(len(values))
    pull[order[1:]] = np.cumsum(np.diff(values[order]) * _density(len(values)))
    return (pull - pull.mean()) / len(values)


@lru_cache(maxsize=512)
def _density(count: int) -> Float[np.ndarray, " gaps"]:
    """Density at 1/n, 2/n, ... of the share of values below the median of n of them: Beta((n + 1) / 2, (n + 1) / 2)."""
    share = np.arange(1, count) / count
    half = (count + 1) / 2
    whole = math.lgamma(2 * half) - 2 * math.lgamma(half)
    return np.exp(whole + (half - 1) * (np.log(share) + np.log1p(-share)))


def of_rank_correlation(x: Float[np.ndarray, " units"], y: Float[np.ndarray, " units"]) -> Float[np.ndarray, " units"]:
    """What each unit adds to the error of Spearman's rank correlation: (units), of mean 0. All 0 if one is constant.

    Its own product of ranks, and what it does to the ranks of those above it.
    """
    from scipy.stats import rankdata

    ranks = [rankdata(column) - (len(x) + 1) / 2 for column in (x, y)]
    sizes = [float(np.sqrt(np.mean(rank * rank))) for rank in ranks]
    if not all(sizes):
        return np.zeros(len(x))
    a, b = (rank / size for rank, size in zip(ranks, sizes, strict=True))
    raised = _above(x, b) / sizes[0] + _above(y, a) / sizes[1]
    pull = a * b + raised
    return (pull - pull.mean()) / len(x)


def _above(by: Float[np.ndarray, " units"], values: Float[np.ndarray, " units"]) -> Float[np.ndarray, " units"]:
    """Sum of `values` over the units that stand above each unit in `by`, those level with it counted half."""
    places = np.unique(by, return_inverse=True)[1]
    sums = np.bincount(places, weights=values)
    return (sums[::-1].cumsum()[::-1] - sums / 2)[places]


def normal_p(terms: Float[np.ndarray, " units"], variance: float) -> tuple[float, float]:
    """P-values that the sum of the terms, 0 by chance, lies above and below 0; neither says anything on no variance."""
    from scipy.special import ndtr

    z = terms.sum() / math.sqrt(variance) if variance > 0 else 0.0
    return float(ndtr(-z)), float(ndtr(z))


def clustered_medians(
    table: Float[np.ndarray, "units conditions"], clusters: Int[np.ndarray, " units"], seed: int, resamples: int
) -> Float[np.ndarray, "resamples conditions"] | None:
    """Medians of every column over resampled whole clusters; None below 6 clusters.

    A resample is told by how often it holds each unit, so that each column is sorted once for all of them.
    """
    if too_few(clusters):
        return None
    times, cluster = _times_drawn(clusters, seed, resamples)
    found = []
    for column in table.T:
        order = np.argsort(column, kind="stable")
        # How many values of the resample stand at or before each place of the sorted column.
        upto = times[:, cluster[order]].cumsum(axis=1)
        size = upto[:, -1:]
        middles = [(upto <= place).sum(axis=1) for place in ((size - 1) // 2, size // 2)]
        found.append((column[order][middles[0]] + column[order][middles[1]]) / 2)
    return np.stack(found, axis=1)


def _times_drawn(
    clusters: Int[np.ndarray, " units"], seed: int, resamples: int
) -> tuple[Int[np.ndarray, "resamples clusters"], Int[np.ndarray, " units"]]:
    """How often each resample holds each cluster, and the number of each unit's cluster."""
    names, cluster = np.unique(clusters, return_inverse=True)
    draws = np.random.default_rng(seed).integers(0, len(names), size=(resamples, len(names)))
    times = np.zeros(draws.shape, dtype=np.int64)
    np.add.at(times, (np.arange(resamples)[:, None], draws), 1)
    return times, cluster


def clustered(
    of: Callable[[Int[np.ndarray, " rows"]], float], clusters: Int[np.ndarray, " units"], seed: int, resamples: int
) -> Float[np.ndarray, " resamples"] | None:
    """A statistic over resampled whole clusters; None below 6 clusters."""
    names = np.unique(clusters)
    if too_few(clusters):
        return None
    members = [np.flatnonzero(clusters == name) for name in names]
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, len(names), size=(resamples, len(names)))
    return np.array([of(np.concatenate([members[number] for number in draw])) for draw in draws])


def clustered_means(
    values: Float[np.ndarray, " units"], clusters: Int[np.ndarray, " units"], seed: int, resamples: int
) -> Float[np.ndarray, " resamples"] | None:
    """Means over resampled whole clusters; None below 6 clusters."""
    if too_few(clusters):
        return None
    times, cluster = _times_drawn(clusters, seed, resamples)
    return (times @ np.bincount(cluster, weights=values)) / (times @ np.bincount(cluster))
