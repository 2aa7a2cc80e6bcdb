"""Intervals and verdicts on numbers whose answers are known."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from measure import stats
from measure.stats import Effect, Fact, Interval, Trend, Verdict, resampling, shared_ends


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


def nine(*parts: Effect | Trend) -> Verdict:
    """A verdict of nine parts: these, and effects that are supported."""
    effects = tuple(part for part in parts if isinstance(part, Effect))
    trends = tuple(part for part in parts if isinstance(part, Trend))
    return Verdict((effect(0.2, 0.3),) * (9 - len(parts)) + effects, trends)


def test_what_contradicts_alone_need_not_among_nine() -> None:
    """At 5 % over nine parts the upper bound lies 1.479 times as far from the estimate."""
    close, clear = effect(-0.31, -0.11), effect(-0.36, -0.16)
    assert Verdict((close,)).outcome == Verdict((close, close)).outcome == "contradicted"
    assert nine(close).outcome_of(close) == nine(close).outcome == "inconclusive"
    assert nine(clear).outcome_of(clear) == nine(clear).outcome == "contradicted"
    assert close.upper(0.025) == pytest.approx(-0.11)
    assert close.upper(0.05 / 9) == pytest.approx(-0.21 + 0.1 * 1.47899, abs=1e-4)
    assert nine(close).outcome_of(effect(0.2, 0.3)) == "supported"
    assert str(nine(close)).startswith("inconclusive")
    assert "-0.110] (inconclusive)" in str(nine(close))


def test_a_reversed_trend_holds_at_the_share_of_the_trends() -> None:
    weak, strong = Trend("t", 0.99, 0.008, 10, 3), Trend("t", 0.99, 0.005, 10, 3)
    assert Verdict(trends=(weak,)).outcome == "contradicted"
    assert nine(weak).outcome_of(weak) == nine(weak).outcome == "inconclusive"
    assert nine(strong).outcome == nine(weak, weak).outcome == "contradicted"
    assert Verdict(trends=(Trend("t", 0.9, 0.04, 10, 3),) * 3).outcome == "contradicted"
    fact = Fact("some", 2, 3)
    assert Verdict((effect(0.2, 0.3),) * 8, facts=(fact,)).outcome_of(fact) == "contradicted"


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
    monkeypatch.setattr(resampling, "RESAMPLED_VALUES", 170)
    resampling.resampled_medians.cache_clear()
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
    assert np.array_equal(resampling.resampled_medians(values.tobytes(), 3, 50), np.median(values[rows], axis=1))


@pytest.mark.parametrize("seed", range(6))
def test_medians_over_resampled_clusters_are_those_of_the_rows_themselves(seed: int) -> None:
    generator = np.random.default_rng(seed)
    units = int(generator.integers(20, 90))
    # Few digits, so that there are ties.
    table = generator.normal(size=(units, 2)).round(int(generator.integers(1, 6)))
    clusters = generator.integers(0, 12, size=units)
    found = shared_ends.clustered_medians(table, clusters, seed, 200)
    assert found is not None
    for column, medians in zip(table.T, found.T, strict=True):
        plain = shared_ends.clustered(lambda rows, of=column: float(np.median(of[rows])), clusters, seed, 200)
        np.testing.assert_array_equal(medians, plain)
    assert shared_ends.clustered_medians(table, clusters % 5, seed, 200) is None


def all_of(ends: np.ndarray | None) -> dict[str, tuple[float, float, float]]:
    """Estimate, low and high by every function that takes `ends`, on the same 120 units."""
    generator = np.random.default_rng(7)
    table = generator.normal(size=(120, 4)) + 0.1 * np.arange(4)
    table[3, 0] = table[5, 1] = np.nan
    a, b, c, d = table.T
    apart = stats.strata_of(c, 2)
    intervals = {
        "contrast": stats.median_contrast([a, b, c], [1.0, -2.0, 1.0], ends=ends),
        "median": stats.median_interval(a, ends=ends),
        "rise": stats.median_rise(a, b, ends=ends),
        "mean": stats.mean_interval(a, ends=ends),
        "superiority": stats.superiority(a, b, ends=ends),
        "stratified": stats.stratified_contrast(a, b, apart, ends=ends),
        "rank": stats.rank_correlation(a, b, apart, ends=ends),
        "ratio": stats.of_medians([a, b, c + 5, d], lambda m: (m[..., 1] - m[..., 0]) / m[..., 2], ends=ends),
    }
    found = {name: (interval.estimate, interval.low, interval.high) for name, interval in intervals.items()}
    band = stats.rises_band("abcd", [a, b, c, d], ends=ends)
    return found | {f"band {i}": (band.estimate[i], band.low[i], band.high[i]) for i in range(3)}


def widths(found: dict[str, tuple[float, float, float]]) -> np.ndarray:
    return np.array([high - low for _, low, high in found.values()])


def test_tokens_that_nobody_shares_change_nothing() -> None:
    plain = all_of(None)
    # Two tokens in each unit, or one and the same.
    for ends in (np.arange(240).reshape(120, 2), np.stack([np.arange(120)] * 2, axis=1)):
        for name, found in all_of(ends).items():
            assert found == pytest.approx(plain[name], rel=1e-9), name


def test_shared_tokens_never_narrow_an_interval_and_move_no_estimate() -> None:
    plain, wide = all_of(None), all_of(np.stack([np.arange(120) % 12, 100 + np.arange(120)], axis=1))
    assert [found[0] for found in plain.values()] == [found[0] for found in wide.values()]
    assert (widths(wide) >= widths(plain)).all()


def test_units_as_alike_as_can_be_have_the_interval_of_their_tokens() -> None:
    """400 units, ten of a value for each of 40 first tokens: 40 observations, and Student's t for them."""
    few = np.random.default_rng(2).normal(size=40)
    ends = np.stack([np.repeat(np.arange(40), 10), 100 + np.arange(400)], axis=1)
    many = stats.mean_interval(np.repeat(few, 10), ends=ends)
    half = 2.02 * few.std(ddof=1) / np.sqrt(40)
    assert (many.high - many.low) / 2 == pytest.approx(half, rel=0.05)


def test_fewer_than_six_tokens_give_an_estimate_and_no_interval() -> None:
    five = np.stack([np.arange(120) % 5, np.arange(120) % 5], axis=1)
    assert np.isnan(widths(all_of(five))).all()
    assert np.isfinite(widths(all_of(np.arange(120)[:, None] % 6 + [0, 0]))).all()
    assert [found[0] for found in all_of(five).values()] == [found[0] for found in all_of(None).values()]
    # One token in every unit: nothing stands apart.
    assert np.isnan(widths(all_of(np.stack([np.zeros(120, int), np.arange(120)], axis=1)))).all()
    values = np.arange(120.0)
    assert stats.page_trend("t", [values, values, values + 1], ends=five) is None
    assert stats.page_trends({"t": [values, values, values + 1]}, ends=five) == ()
    assert stats.signed_rank("t", values, values + 1, ends=five) is None


def test_rows_without_a_value_drop_their_tokens() -> None:
    """The tokens of units left out would make six of five, or make all the others alike."""
    values = np.random.default_rng(0).normal(size=40)
    ends = np.stack([np.arange(40) % 5, np.arange(40) % 5], axis=1)
    ends[39], values[39] = (7, 8), np.nan
    assert np.isnan(stats.median_rise(values, values + 1, ends=ends).low)
    assert np.isnan(stats.mean_interval(values, ends=ends).low)
    assert stats.signed_rank("t", values, values + 1, ends=ends) is None
    alone = np.arange(80).reshape(40, 2)
    alone[39] = alone[0]
    assert stats.median_interval(values, ends=alone) == stats.median_interval(values)


def test_units_written_twice_count_once() -> None:
    generator = np.random.default_rng(0)
    once = generator.normal(size=(200, 2))
    ends = np.arange(400).reshape(200, 2)
    # The second of each has its ends the other way round.
    (a, b), twice = once.T, np.concatenate([ends, ends[:, ::-1]])
    (aa, bb) = np.concatenate([once, once]).T
    for single, double in (
        (stats.median_interval(a), stats.median_interval(aa, ends=twice)),
        (stats.median_rise(a, b), stats.median_rise(aa, bb, ends=twice)),
        (stats.mean_interval(a), stats.mean_interval(aa, ends=twice)),
        (stats.superiority(a, b), stats.superiority(aa, bb, ends=twice)),
    ):
        assert double.estimate == pytest.approx(single.estimate)
        assert double.high - double.low == pytest.approx(single.high - single.low, rel=0.2)
    single_test, double_test = stats.signed_rank("t", a, a + b), stats.signed_rank("t", aa, aa + bb, ends=twice)
    assert single_test is not None
    assert double_test is not None
    assert double_test.p == pytest.approx(single_test.p, abs=0.01)
    columns = [a, b, a + 0.1], [aa, bb, aa + 0.1]
    single_page, double_page = stats.page_trend("t", columns[0]), stats.page_trend("t", columns[1], ends=twice)
    assert single_page is not None
    assert double_page is not None
    assert double_page.p == pytest.approx(single_page.p, abs=0.02)


def test_the_sum_over_units_that_share_a_token_is_that_of_all_such_pairs() -> None:
    generator = np.random.default_rng(3)
    ends, terms = generator.integers(0, 9, size=(60, 2)), generator.normal(size=60)
    share = (ends[:, None, :, None] == ends[None, :, None, :]).any(axis=(2, 3))
    assert shared_ends.alike_sum(terms, ends) == pytest.approx(terms @ share @ terms)


def test_influences_are_those_of_the_jackknife_and_the_bootstrap() -> None:
    generator = np.random.default_rng(4)
    x = generator.normal(size=200)
    y = (x + generator.normal(size=200)).round(2)
    without = [np.delete(np.arange(200), unit) for unit in range(200)]
    jackknife = np.array([stats.spearman(x[rows][None], y[rows][None])[0] for rows in without])
    np.testing.assert_allclose(
        shared_ends.of_rank_correlation(x, y), jackknife.mean() - jackknife, rtol=0.02, atol=1e-4
    )
    assert not shared_ends.of_rank_correlation(x, np.ones(200)).any()
    influence = shared_ends.of_median(x)
    assert influence.sum() == pytest.approx(0, abs=1e-9)
    drawn = resampling.resampled_medians(x.tobytes(), 0, 4000)
    assert np.sqrt(influence @ influence) == pytest.approx(drawn.std(), rel=0.1)
    assert not shared_ends.of_median(np.ones(9)).any()


def test_a_function_of_medians_has_its_paired_interval() -> None:
    generator = np.random.default_rng(0)
    shared = np.exp(0.3 * generator.normal(size=300))
    low, high = 2 * shared, 6 * shared * np.exp(0.02 * generator.normal(size=300))
    ratio = stats.of_medians([low, high], lambda medians: medians[..., 1] / medians[..., 0])
    assert ratio.estimate == np.median(high) / np.median(low)
    assert 2.9 < ratio.low < 3 < ratio.high < 3.1
    rise = stats.of_medians([low, high], lambda medians: medians[..., 1] - medians[..., 0])
    assert rise == stats.median_rise(low, high)
    assert np.isnan(stats.of_medians([low[:5], high[:5]], lambda medians: medians[..., 1]).low)
    assert stats.of_medians([low[:0]], lambda medians: medians[..., 0]).n == 0


@pytest.mark.parametrize(("centre", "known"), [(1.0, True), (0.4, True), (0.3, False), (-1.0, False)])
def test_a_function_of_medians_that_is_not_finite_too_often_has_no_interval(centre: float, known: bool) -> None:
    """The log of a median whose standard error is about 0.12."""
    values = np.random.default_rng(0).normal(size=101)
    values += centre - np.median(values)
    found = stats.of_medians([values], lambda medians: np.log(medians[..., 0]))
    assert np.isfinite(found.low) == np.isfinite(found.high) == known


def test_means_and_signed_ranks_over_clusters() -> None:
    """40 units in 8 clusters of equal values are 8 observations."""
    generator = np.random.default_rng(1)
    few = generator.normal(size=8) + 0.5
    values, clusters = np.repeat(few, 5), np.repeat(np.arange(8), 5)
    values = np.append(values, np.nan)
    clusters = np.append(clusters, 99)
    zero = np.zeros(41)
    together, of_eight = stats.mean_interval(values, clusters=clusters), stats.mean_interval(few)
    assert (together.estimate, together.low, together.high) == pytest.approx(
        (of_eight.estimate, of_eight.low, of_eight.high)
    )
    assert together.n == 40
    shares = stats.superiority(zero, values, clusters=clusters), stats.superiority(zero[:8], few)
    assert (shares[0].low, shares[0].high) == pytest.approx((shares[1].low, shares[1].high))
    test = stats.signed_rank("t", zero, values, clusters=clusters)
    ranks = np.sign(few) * (np.argsort(np.argsort(np.abs(few))) + 0.6)
    assert test is not None
    z = ranks.sum() / np.sqrt(ranks @ ranks)
    assert (test.p, test.p_reversed) == pytest.approx((NormalDist().cdf(-z), NormalDist().cdf(z)))
    five = clusters[:25]
    assert np.isnan(stats.mean_interval(values[:25], clusters=five).low)
    assert np.isnan(stats.superiority(zero[:25], values[:25], clusters=five).low)
    assert stats.signed_rank("t", zero[:25], values[:25], clusters=five) is None


def test_tests_over_separate_units_are_close_to_those_of_scipy() -> None:
    generator = np.random.default_rng(5)
    columns = list((generator.normal(size=(300, 3)) + 0.05 * np.arange(3)).T)
    ends = np.arange(600).reshape(300, 2)
    for plain, alike in (
        (stats.page_trend("t", columns), stats.page_trend("t", columns, ends=ends)),
        (stats.signed_rank("t", *columns[:2]), stats.signed_rank("t", *columns[:2], ends=ends)),
        (stats.signed_rank("t", *columns[:2]), stats.signed_rank("t", *columns[:2], clusters=ends[:, 0])),
    ):
        assert plain is not None
        assert alike is not None
        assert (alike.p, alike.p_reversed) == pytest.approx((plain.p, plain.p_reversed), abs=0.01)
        assert (alike.n, alike.treatments) == (plain.n, plain.treatments)
    same = stats.page_trend("t", [columns[0]] * 3, ends=ends)
    assert same is not None
    assert (same.p, same.outcome) == (0.5, "inconclusive")
    none = stats.signed_rank("t", columns[0], columns[0], ends=ends)
    assert none is not None
    assert none.p == 1


def test_units_are_alike_in_one_way_only() -> None:
    values, clusters, ends = np.arange(12.0), np.arange(12), np.arange(24).reshape(12, 2)
    with pytest.raises(ValueError, match="in their ends or in their clusters; found both"):
        stats.mean_interval(values, clusters=clusters, ends=ends)
    with pytest.raises(ValueError, match="found both"):
        stats.median_contrast([values], [1.0], clusters=clusters, ends=ends)
    with pytest.raises(ValueError, match="found both"):
        stats.signed_rank("t", values, values + 1, clusters=clusters, ends=ends)


def test_all_three_numbers_of_an_interval_are_moved_and_turned() -> None:
    interval = stats.Interval(1.0, 0.5, 2.0, 7)
    assert stats.shifted(interval, 0.25) == stats.Interval(1.25, 0.75, 2.25, 7)
    assert stats.negated(interval) == stats.Interval(-1.0, -2.0, -0.5, 7)


def test_a_stratified_interval_lies_about_its_estimate() -> None:
    """Three strata: the mean of their contrasts, not the sum."""
    generator = np.random.default_rng(3)
    by, strata = generator.normal(size=300), np.arange(300) % 3
    found = stats.stratified_contrast(5.0 * (by > 0) + generator.normal(size=300), by, strata)
    assert found.low < found.estimate < found.high
    assert found.estimate == pytest.approx(5, abs=0.5)
    assert found.high - found.low < 1.5


def test_strata_count_by_their_size() -> None:
    """Rank correlation 1 in the large stratum, -1 in the small one."""
    by = np.concatenate([np.arange(90.0), np.arange(10.0)])
    values = np.concatenate([np.arange(90.0), -np.arange(10.0)])
    found = stats.rank_correlation(values, by, np.repeat([0, 1], [90, 10]))
    assert found.estimate == pytest.approx(0.9 - 0.1)


def test_few_large_tokens_are_corrected_for() -> None:
    """Twelve tokens of ten units each, as alike as can be: twelve clusters, and Student's t of eleven."""
    from scipy.special import stdtrit

    influence = np.repeat(np.random.default_rng(0).normal(size=12), 10)
    influence -= influence.mean()
    ends = np.stack([np.repeat(np.arange(12), 10), 100 + np.arange(120)], axis=1)
    reach = stdtrit(11, 0.975) / stdtrit(119, 0.975)
    assert shared_ends.stretch(influence, ends) == pytest.approx(np.sqrt(10 * (12 / 11) * (119 / 120)) * reach)


def test_a_mean_over_clusters_is_over_as_many_units_as_were_drawn() -> None:
    clusters = np.concatenate([np.arange(10), np.full(30, 10)])
    found = stats.mean_interval(np.ones(40), clusters=clusters)
    assert (found.estimate, found.low, found.high) == (1, 1, 1)
