"""Intervals and verdicts on numbers whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from measure import stats
from measure.stats import Effect, Fact, Interval, Trend, Verdict


def effect(low: float, high: float, margin: float = 0.1) -> Effect:
    return Effect("e", Interval((low + high) / 2, low, high, 10), margin)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.11, 0.5, "supported"),
        (0.09, 0.5, "inconclusive"),
        (-0.05, 0.05, "inconclusive"),
        (-0.5, -0.09, "inconclusive"),
        (-0.5, -0.11, "contradicted"),
    ],
)
def test_the_whole_interval_must_lie_beyond_the_margin(low: float, high: float, outcome: str) -> None:
    assert effect(low, high).outcome == outcome


def test_an_effect_that_is_no_number_supports_nothing() -> None:
    assert effect(np.nan, np.nan).outcome == "not measured"
    assert Verdict((effect(0.2, 0.3), effect(np.nan, np.nan))).outcome == "not measured"


def test_a_verdict_needs_every_part() -> None:
    good, weak, bad = effect(0.2, 0.3), effect(0.0, 0.3), effect(-0.3, -0.2)
    rising, falling = Trend("t", 0.001, 0.99, 10, 3), Trend("t", 0.99, 0.001, 10, 3)
    assert Verdict((good,), (rising,)).outcome == "supported"
    assert Verdict((good, weak), (rising,)).outcome == "inconclusive"
    assert Verdict((good, weak, bad)).outcome == "contradicted"
    assert Verdict((good,), (falling,)).outcome == "contradicted"
    assert "n = 10" in str(Verdict((good,)))


def test_a_paired_rise_is_narrower_than_its_parts() -> None:
    generator = np.random.default_rng(0)
    before = generator.normal(size=400) * 5
    after = before + 1 + generator.normal(size=400) * 0.1
    rise = stats.median_rise(before, after)
    alone = stats.median_interval(after)
    assert rise.low < 1 < rise.high
    assert rise.high - rise.low < alone.high - alone.low
    assert rise.n == 400


def test_units_without_a_value_on_either_side_are_left_out() -> None:
    before, after = np.array([1.0, np.nan, 3.0, 4.0]), np.array([2.0, 3.0, np.nan, 5.0])
    assert stats.median_rise(before, after).n == 2
    assert stats.median_rise(before, after).estimate == 1
    with pytest.raises(ValueError, match="the same units twice; found 4 and 3"):
        stats.median_rise(before, after[:3])


def test_too_few_units_have_no_interval() -> None:
    alone = stats.median_interval(np.array([1.0, np.nan]))
    assert alone.estimate == 1
    assert np.isnan(alone.low)
    assert stats.median_rise(np.array([1.0]), np.array([2.0])).n == 1
    five = stats.median_rise(np.zeros(5), np.ones(5))
    assert (five.estimate, np.isnan(five.low)) == (1, True)
    six = stats.median_rise(np.zeros(6), np.ones(6))
    assert (six.low, six.high) == (1, 1)


def test_drawing_in_blocks_changes_no_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(size=50)
    whole = stats.median_interval(values)
    monkeypatch.setattr(stats, "RESAMPLED_VALUES", 170)
    stats._resampled_medians.cache_clear()
    parts = stats.median_interval(values)
    assert parts.low == pytest.approx(whole.low, abs=0.05)
    assert parts.high == pytest.approx(whole.high, abs=0.05)


def test_intervals_are_seeded_and_turn_round() -> None:
    values = np.random.default_rng(1).normal(size=50)
    assert stats.median_interval(values) == stats.median_interval(values)
    found = stats.median_interval(values)
    assert stats.negated(found) == Interval(-found.estimate, -found.high, -found.low, 50)
    assert stats.shifted(found, 1.0).low == found.low + 1


def test_page_tells_rising_from_falling_from_nothing() -> None:
    generator = np.random.default_rng(2)
    noise = [generator.normal(size=60) for _ in range(4)]
    rising = [column + 0.5 * i for i, column in enumerate(noise)]
    found = stats.page_trend("t", rising)
    assert found is not None
    assert found.outcome == "supported"
    assert (found.n, found.treatments) == (60, 4)
    assert stats.page_trend("t", rising[::-1]).outcome == "contradicted"  # type: ignore[union-attr]
    assert stats.page_trend("t", noise).outcome == "inconclusive"  # type: ignore[union-attr]
    assert stats.page_trend("t", rising[:2]) is None
    assert stats.page_trend("t", [column[:5] for column in rising]) is None


def test_facts_are_so_or_not() -> None:
    assert Fact("all", 3, 3).outcome == "supported"
    assert Fact("some", 2, 3).outcome == "contradicted"
    assert Fact("none looked at", 0, 0).outcome == "not measured"
    verdict = Verdict(facts=(Fact("all", 3, 3), Fact("some", 2, 3)))
    assert (verdict.outcome, verdict.n) == ("contradicted", 6)
    assert "some 2 of 3" in str(verdict)


def test_the_signed_rank_test_and_its_effect_size() -> None:
    before = np.random.default_rng(0).normal(size=40)
    test = stats.signed_rank("up", before, before + 1)
    assert test is not None
    assert test.outcome == "supported"
    down = stats.signed_rank("up", before + 1, before)
    assert down is not None
    assert down.outcome == "contradicted"
    same = stats.signed_rank("up", before, before)
    assert same is not None
    assert (same.outcome, same.p) == ("inconclusive", 1.0)
    assert stats.signed_rank("up", before[:5], before[:5] + 1) is None
    assert stats.superiority(before, before + 1).estimate == 0.5
    assert stats.superiority(before, before).estimate == 0.0
    half = stats.superiority(np.zeros(40), np.repeat([-1.0, 1.0], 20))
    assert half.estimate == 0
    assert half.low < -0.1 < 0.1 < half.high


def test_strata_are_equal_parts_from_low_to_high() -> None:
    strata = stats.strata_of(np.array([5.0, 1.0, np.nan, 3.0, 2.0, 4.0, 6.0]), 3)
    assert strata.tolist() == [2, 0, -1, 1, 0, 1, 2]


def test_a_confound_is_taken_out_by_strata() -> None:
    """y follows z and nothing else; x follows z: at equal z there is no effect of x on y, without strata there is."""
    generator = np.random.default_rng(0)
    z = np.repeat([0.0, 10.0, 20.0], 200)
    x, y = z + generator.normal(size=600), z + generator.normal(size=600)
    apart, together = stats.strata_of(z, 3), np.zeros(600, int)
    assert stats.stratified_contrast(y, x, together).low > 5
    within = stats.stratified_contrast(y, x, apart)
    assert within.low < 0 < within.high
    assert within.n == 600
    assert stats.rank_correlation(y, x, together).low > 0.8
    correlation = stats.rank_correlation(y, x, apart)
    assert correlation.low < 0 < correlation.high
    assert stats.rank_correlation(x, x, apart).estimate == pytest.approx(1)


def test_strata_too_small_give_no_interval() -> None:
    values = np.arange(12.0)
    few = stats.stratified_contrast(values, values, stats.strata_of(values, 3))
    assert np.isnan(few.low)
    assert few.n == 12
    assert np.isnan(stats.rank_correlation(values[:4], values[:4], np.zeros(4, int)).low)
    assert np.isnan(stats.rank_correlation(values, values, np.full(12, -1)).estimate)


def test_units_that_are_alike_count_as_the_clusters_they_form() -> None:
    """40 units in 8 clusters of equal values are 8 observations: the interval must be that of 8, not of 40."""
    generator = np.random.default_rng(0)
    values = np.repeat(generator.normal(size=8), 5)
    clusters = np.repeat(np.arange(8), 5)
    apart = stats.median_contrast([values], [1.0])
    together = stats.median_contrast([values], [1.0], clusters=clusters)
    assert together.estimate == apart.estimate
    assert together.high - together.low > 1.2 * (apart.high - apart.low)
    assert np.isnan(stats.median_contrast([values[:25]], [1.0], clusters=clusters[:25]).low)


def test_a_difference_at_an_equal_covariate() -> None:
    generator = np.random.default_rng(0)
    low_x, high_x = generator.normal(0, 1, 80), generator.normal(3, 1, 80)
    noise = generator.normal(0, 0.1, (2, 80))
    clusters = np.arange(80)
    only_x = stats.adjusted_difference(2 * low_x + noise[0], 2 * high_x + noise[1], low_x, high_x, clusters)
    assert only_x.low < 0 < only_x.high
    beyond = stats.adjusted_difference(2 * low_x + noise[0], 2 * high_x + 1 + noise[1], low_x, high_x, clusters)
    assert beyond.estimate == pytest.approx(1, abs=0.1)
    assert 0.8 < beyond.low < beyond.high < 1.2
    assert np.isnan(stats.adjusted_difference(low_x, high_x, np.ones(80), np.ones(80), clusters).estimate)


def test_a_share_has_its_interval() -> None:
    found = stats.mean_interval(np.repeat([0.0, 1.0, np.nan], [30, 70, 5]))
    assert (found.estimate, found.n) == (0.7, 100)
    assert 0.58 < found.low < 0.64
    assert 0.76 < found.high < 0.82
    assert np.isnan(stats.mean_interval(np.ones(5)).low)


@pytest.mark.parametrize("n", [7, 8, 401])
def test_resampled_medians_are_those_of_the_values_to_the_last_bit(n: int) -> None:
    values = np.random.default_rng(1).normal(size=n).round(1)
    rows = np.random.default_rng(3).integers(0, n, size=(50, n))
    assert np.array_equal(stats._resampled_medians(values.tobytes(), 3, 50), np.median(values[rows], axis=1))


@pytest.mark.parametrize("seed", range(6))
def test_medians_over_resampled_clusters_are_those_of_the_rows_themselves(seed: int) -> None:
    generator = np.random.default_rng(seed)
    units = int(generator.integers(20, 90))
    # Few digits, so that there are ties.
    table = generator.normal(size=(units, 2)).round(int(generator.integers(1, 6)))
    clusters = generator.integers(0, 12, size=units)
    found = stats._clustered_medians(table, clusters, seed, 200)
    assert found is not None
    for column, medians in zip(table.T, found.T, strict=True):
        plain = stats._clustered(lambda rows, of=column: float(np.median(of[rows])), clusters, seed, 200)
        np.testing.assert_array_equal(medians, plain)
    assert stats._clustered_medians(table, clusters % 5, seed, 200) is None
