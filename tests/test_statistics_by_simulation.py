"""The statistics do what they say, on simulated studies whose truth is known. Seeded; 1,200 studies or fewer each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from measure import stats

STUDIES = 1200
RESAMPLES = 600
# How often each last token is met: of 800 prompts the first holds some 45, and there are 430 different ones.
TOKENS = 1 / (np.arange(20_000) + 3) ** 1.1
TOKENS_UPTO = TOKENS.cumsum() / TOKENS.sum()


def covered(interval: stats.Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def share(outcomes: list[bool]) -> float:
    return sum(outcomes) / len(outcomes)


def skewed_pairs(generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two correlated columns with long right tails, as max slopes have; medians 1 and 1.5."""
    shared = generator.normal(size=n)
    before = np.exp(0.4 * shared + 0.2 * generator.normal(size=n))
    after = 1.5 * np.exp(0.4 * shared + 0.3 * generator.normal(size=n))
    return before, after


@pytest.mark.parametrize("n", [60, 200])
def test_a_paired_interval_covers_the_true_rise(n: int) -> None:
    generator = np.random.default_rng(n)
    rises = [stats.median_rise(*skewed_pairs(generator, n), seed=i, resamples=RESAMPLES) for i in range(STUDIES)]
    assert 0.93 <= share([covered(rise, 0.5) for rise in rises]) <= 0.97


def test_an_interval_of_a_median_covers_it() -> None:
    generator = np.random.default_rng(1)
    found = [
        stats.median_interval(np.exp(generator.normal(size=100)), seed=i, resamples=RESAMPLES) for i in range(STUDIES)
    ]
    assert 0.93 <= share([covered(interval, 1.0) for interval in found]) <= 0.97


def test_a_band_covers_the_whole_trajectory_where_single_intervals_do_not() -> None:
    generator = np.random.default_rng(2)
    truth = np.array([0.0, 0.1, 0.3, 0.3, 0.5])
    whole, pointwise = [], []
    for study in range(STUDIES // 2):
        shared = generator.normal(size=(120, 1))
        table = shared + generator.normal(size=(120, 5)) + truth
        band = stats.rises_band("abcde", list(table.T), seed=study, resamples=RESAMPLES)
        inside = [low <= t <= high for low, t, high in zip(band.low, truth[1:], band.high, strict=True)]
        whole.append(all(inside))
        singles = [stats.median_rise(table[:, 0], column, seed=study, resamples=RESAMPLES) for column in table.T[1:]]
        pointwise.append(all(covered(single, t) for single, t in zip(singles, truth[1:], strict=True)))
    assert 0.93 <= share(whole) <= 0.98
    assert share(pointwise) < 0.91


def test_trend_tests_hold_their_size() -> None:
    generator = np.random.default_rng(3)
    single, family = [], []
    for _ in range(STUDIES):
        shared = generator.normal(size=(100, 1))
        columns = [list((shared + generator.normal(size=(100, 4))).T) for _ in range(2)]
        trends = stats.page_trends({"a": columns[0], "b": columns[1]})
        family.append(any(trend.outcome == "supported" for trend in trends))
        alone = stats.page_trend("a", columns[0])
        single.append(alone is not None and alone.outcome == "supported")
    assert 0.035 <= share(single) <= 0.065
    assert share(family) <= 0.065


def test_chained_pairs_taken_as_independent_cover_too_little() -> None:
    """So nobody brings them back: each prompt stands in two pairs, and the study holds less than it seems."""
    generator = np.random.default_rng(4)
    chained, disjoint = [], []
    for study in range(STUDIES):
        prompts = generator.normal(size=201)
        pairs = prompts[:-1] + prompts[1:] + 0.3 * generator.normal(size=200)
        chained.append(covered(stats.median_interval(pairs, seed=study, resamples=RESAMPLES), 0.0))
        disjoint.append(covered(stats.median_interval(pairs[::2], seed=study, resamples=RESAMPLES), 0.0))
    assert share(chained) < 0.91
    assert 0.93 <= share(disjoint) <= 0.97


def test_page_on_chained_pairs_has_twice_its_size() -> None:
    generator = np.random.default_rng(5)
    false = []
    for _ in range(STUDIES):
        prompts = generator.normal(size=(201, 3))
        pairs = prompts[:-1] + prompts[1:]
        trend = stats.page_trend("t", list(pairs.T))
        false.append(trend is not None and trend.outcome == "supported")
    assert share(false) > 0.08


def test_holm_adjusts_in_order_and_never_below_the_raw_value() -> None:
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert stats.holm([]) == []


def test_an_onset_is_where_the_band_stays_above_the_margin() -> None:
    band = stats.Band(("a", "b", "c", "d"), (1.0,) * 4, (0.3, -0.1, 0.2, 0.3), (2.0,) * 4, 50)
    assert band.onset(0.1) == "c"
    assert band.onset(0.25) == "d"
    assert band.onset(0.5) is None


def last_tokens(generator: np.random.Generator, n: int) -> np.ndarray:
    return np.searchsorted(TOKENS_UPTO[:-1], generator.random((n, 2)))


def by_token(generator: np.random.Generator, ends: np.ndarray, variance: float) -> np.ndarray:
    """Noise, and what the last token of either prompt adds: drawn anew, so that the truth is 0 over all tokens."""
    places = np.unique(ends, return_inverse=True)[1].reshape(ends.shape)
    effect = np.sqrt(variance) * generator.normal(size=ends.size)
    return effect[places].sum(axis=1) + generator.normal(size=len(ends))


def median_of(values: np.ndarray, ends: np.ndarray | None, seed: int) -> stats.Interval:
    return stats.median_interval(values, ends=ends, seed=seed, resamples=400)


def mean_of(values: np.ndarray, ends: np.ndarray | None, seed: int) -> stats.Interval:
    return stats.mean_interval(values, ends=ends, seed=seed, resamples=400)


def rise_of(values: np.ndarray, ends: np.ndarray | None, seed: int) -> stats.Interval:
    before = np.random.default_rng([9, seed]).normal(size=len(values))
    return stats.median_rise(before, before + values, ends=ends, seed=seed, resamples=400)


IntervalOf = Callable[[np.ndarray, np.ndarray | None, int], stats.Interval]


@pytest.mark.parametrize(("of", "variance"), [(median_of, 0.12), (mean_of, 0.08), (rise_of, 0.22)])
def test_intervals_over_shared_last_tokens_cover_where_those_over_units_do_not(of: IntervalOf, variance: float) -> None:
    generator = np.random.default_rng(6)
    apart, alike = [], []
    for study in range(700):
        ends = last_tokens(generator, 400)
        values = by_token(generator, ends, variance)
        apart.append(of(values, None, study))
        alike.append(of(values, ends, study))
    errors = np.std([interval.estimate for interval in apart])
    assumed = np.mean([interval.high - interval.low for interval in apart]) / (2 * 1.96)
    assert 1.3 < errors / assumed < 1.6
    assert share([covered(interval, 0.0) for interval in apart]) < 0.91
    assert 0.93 <= share([covered(interval, 0.0) for interval in alike]) <= 0.97


@pytest.mark.parametrize("of", [median_of, mean_of, rise_of])
def test_intervals_over_shared_last_tokens_that_do_nothing_are_hardly_wider(of: IntervalOf) -> None:
    generator = np.random.default_rng(7)
    found = []
    for study in range(400):
        ends = last_tokens(generator, 400)
        found.append(covered(of(generator.normal(size=400), ends, study), 0.0))
    assert 0.93 <= share(found) <= 0.975


def test_trend_tests_over_shared_last_tokens_hold_their_size() -> None:
    generator = np.random.default_rng(8)
    apart, alike = [], []
    for _ in range(STUDIES):
        ends = last_tokens(generator, 400)
        columns = [by_token(generator, ends, 0.1) for _ in range(3)]
        for found, of in ((apart, None), (alike, ends)):
            trends = (
                stats.page_trend("t", columns, ends=of),
                stats.signed_rank("t", 0 * columns[0], columns[0], ends=of),
            )
            found.append([trend is not None and trend.p < 0.05 for trend in trends])
    assert (np.mean(apart, axis=0) > 0.09).all()
    assert (np.mean(alike, axis=0) <= 0.065).all()
    assert (np.mean(alike, axis=0) >= 0.025).all()


@pytest.mark.parametrize(
    ("of", "n", "shared"),
    [(stats.mean_interval, 200, 0.0), (stats.mean_interval, 200, 0.5), (stats.median_interval, 100, 0.0)],
)
def test_a_verdict_of_nine_null_parts_is_seldom_contradicted(
    of: Callable[..., stats.Interval], n: int, shared: float
) -> None:
    """Every part's truth is minus its margin, the likeliest to be called contradicted while it is not."""
    generator = np.random.default_rng(10)
    corrected, uncorrected = [], []
    for study in range(STUDIES // 2):
        common, own = generator.normal(size=(n, 1)), generator.normal(size=(n, 9))
        table = np.sqrt(shared) * common + np.sqrt(1 - shared) * own - 0.1
        parts = [of(column, seed=study, resamples=400) for column in table.T]
        effects = tuple(stats.Effect("e", part, 0.1) for part in parts)
        corrected.append(stats.Verdict(effects).outcome == "contradicted")
        uncorrected.append(any(effect.outcome == "contradicted" for effect in effects))
    # 5 % and the simulation's standard error.
    assert share(corrected) <= 0.059
    assert share(uncorrected) > 0.1
