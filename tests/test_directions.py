"""Blow-up lengths and exponents: of planted power laws, against a plain script, and of what has none."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from measure.claims import directions
from measure.results import Curves
from measure.spec import CurveSpec, MeasureError
from tests import small_results

LENGTHS = np.linspace(0, 1, 21)


def law(exponent: float, at: float, threshold: float = directions.THRESHOLD) -> np.ndarray:
    """A divergence that reaches the threshold at a length, as a power of it."""
    return threshold * (LENGTHS / at) ** exponent


def curves(*rows: np.ndarray, **changed: Any) -> Curves:
    fields = small_results.fields(1.0, len(rows)) | {"alphas": LENGTHS, "units": np.arange(len(rows))}
    fields |= {"distance": np.stack(rows), "end_length": np.ones(len(rows))} | changed
    return Curves(**fields, provenance=small_results.provenance(CurveSpec("ladder-olmo-0.2m")) | {"distance": "kl"})


@pytest.mark.parametrize("exponent", [1.0, 2.0, 2.5, 6.0])
def test_the_exponent_of_a_power_law_is_its_own_whatever_its_size(exponent: float) -> None:
    rows = np.stack([law(exponent, 0.3), law(exponent, 5.0), 1e-9 * law(exponent, 0.7)])
    np.testing.assert_allclose(directions.exponent(rows, LENGTHS), exponent, rtol=1e-9)


def test_the_exponent_is_the_slope_that_a_plain_fit_gives_within_the_window_alone() -> None:
    generator = np.random.default_rng(0)
    row = law(3.0, 0.5) * np.exp(0.2 * generator.standard_normal(len(LENGTHS)))
    inside = [place for place, length in enumerate(LENGTHS) if 0.1 - 1e-9 <= length <= 0.4 + 1e-9]
    assert len(inside) == 7
    slope = np.polyfit([math.log(LENGTHS[n]) for n in inside], [math.log(row[n]) for n in inside], 1)[0]
    changed = row.copy()
    changed[[1, *range(9, 21)]] = 77.0
    found = directions.exponent(np.stack([row, changed]), LENGTHS)
    np.testing.assert_allclose(found, slope, rtol=1e-12)


def test_a_quadratic_divergence_reaches_the_threshold_where_it_was_planted() -> None:
    places = [0.013, 0.05, 0.333, 0.71, 1.0]
    np.testing.assert_allclose(directions.blow_up(np.stack([law(2.0, at) for at in places]), LENGTHS), places)


def test_the_blow_up_length_lies_between_the_points_that_a_plain_script_finds() -> None:
    row = law(5.0, 0.42)
    after = next(place for place, value in enumerate(row) if value >= directions.THRESHOLD)
    low, high, level = math.sqrt(row[after - 1]), math.sqrt(row[after]), math.sqrt(directions.THRESHOLD)
    plain = LENGTHS[after - 1] + (level - low) / (high - low) * (LENGTHS[after] - LENGTHS[after - 1])
    found = directions.blow_up(row[None], LENGTHS)[0]
    assert found == pytest.approx(plain)
    assert 0.4 < found < 0.45


def test_what_never_comes_so_far_has_the_whole_length_and_is_counted() -> None:
    rows = law(2.0, 2.0), law(2.0, 0.5)
    np.testing.assert_allclose(directions.blow_up(np.stack(rows), LENGTHS), [1.0, 0.5])
    assert directions.unreached(curves(*rows)) == 0.5


def test_the_first_time_counts_where_a_divergence_falls_again() -> None:
    row = law(2.0, 0.3)
    row[10:15] = 0.0
    assert directions.blow_up(row[None], LENGTHS)[0] == pytest.approx(0.3)


def test_what_is_no_number_or_degenerate_has_neither() -> None:
    lost = law(2.0, 0.3)
    lost[20] = np.nan
    assert np.isnan(directions.blow_up(lost[None], LENGTHS)).all()
    flat = law(2.0, 0.3)
    flat[3] = 0.0
    assert np.isnan(directions.exponent(flat[None], LENGTHS)).all()
    made = curves(law(2.0, 0.3), law(2.0, 0.3), end_length=np.array([1.0, 0.0]))
    assert np.isnan(directions.lateness(made)).tolist() == [False, True]
    assert np.isnan(directions.power(made)).tolist() == [False, True]
    assert directions.unreached(made) == 0.0


def test_both_directions_of_a_pair_are_one_unit_and_what_stands_outside_is_left_out() -> None:
    made = curves(law(2.0, 0.2), law(4.0, 0.8), law(9.0, 0.4), units=np.array([0, 0, -1]))
    found = directions.blow_up(made.distance, LENGTHS)
    np.testing.assert_allclose(directions.lateness(made), np.log(found[:2]).mean())
    np.testing.assert_allclose(directions.power(made), 3.0)


def test_few_points_and_another_distance_are_refused() -> None:
    with pytest.raises(
        MeasureError, match="takes three lengths from 0.1 to 0.4, and 1 of 5 lie there; take more steps"
    ):
        directions.exponent(np.ones((1, 5)), np.linspace(0, 1, 5))
    euclidean = replace(curves(law(2.0, 0.3)), provenance={})
    for of in (directions.lateness, directions.power, directions.unreached):
        with pytest.raises(MeasureError, match="are of distance='kl'; these curves are of 'l2'"):
            of(euclidean)
