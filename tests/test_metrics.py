"""Metrics of curves and of the output's path, on paths whose answers are known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from measure.results import METRICS, Curves, metrics

STEPS = 50
ALPHAS = np.linspace(0, 1, STEPS)


def along(*paths: np.ndarray) -> Curves:
    """Curves of outputs that run along `paths`, (steps, 2) each; their null runs straight and evenly."""
    points = np.stack(paths)
    alphas = np.linspace(0, 1, points.shape[1])
    line = points[:, :1] + alphas[:, None] * (points[:, -1:] - points[:, :1])
    distance, null = (np.linalg.norm(rows - rows[:, :1], axis=2) for rows in (points, line))
    return Curves(
        alphas,
        distance,
        null,
        np.full(len(points), 10.0),
        np.arange(len(points)),
        {"model": "known"},
        step_distance=np.linalg.norm(np.diff(points, axis=1), axis=2),
        null_step_distance=np.linalg.norm(np.diff(line, axis=1), axis=2),
        end_side_distance=np.linalg.norm(points - points[:, -1:], axis=2),
        null_end_side_distance=np.linalg.norm(line - line[:, -1:], axis=2),
    )


def straight(share: np.ndarray) -> np.ndarray:
    """A path straight to (3, 4), `share` of it gone at each step."""
    return share[:, None] * np.array([3.0, 4.0])


def line() -> np.ndarray:
    return straight(ALPHAS)


def step() -> np.ndarray:
    return straight((ALPHAS > 0.5).astype(float))


def sigmoid(slope: float = 6.0) -> np.ndarray:
    share = 1 / (1 + np.exp(-4 * slope * (ALPHAS - 0.5)))
    return straight((share - share[0]) / (share[-1] - share[0]))


def concave() -> np.ndarray:
    share = 1 - np.exp(-5 * ALPHAS)
    return straight(share / share[-1])


def half_circle() -> np.ndarray:
    """A path of even speed that bends: from (0, 0) round to (2, 0)."""
    return np.stack([1 - np.cos(np.pi * ALPHAS), np.sin(np.pi * ALPHAS)], axis=1)


def returning() -> np.ndarray:
    """Straight and even as a line, with a way out to one side and back in the middle tenth."""
    path = line()
    inside = (ALPHAS > 0.45) & (ALPHAS < 0.55)
    path[inside] += 30 * np.array([-0.8, 0.6])
    return path


def test_a_straight_line_has_the_values_in_the_table() -> None:
    found = along(line())
    for one in metrics.CURVES:
        assert one.straight is not None
        assert getattr(found, one.name)[0] == pytest.approx(one.straight, abs=1e-3), one.name
        assert getattr(found.null, one.name)[0] == pytest.approx(one.straight, abs=1e-3), one.name


def test_a_step_has_plateaus_on_both_sides() -> None:
    found = along(step())
    assert found.edge_speed[0] == 0
    assert found.peak_speed[0] == pytest.approx(49)
    assert found.detour[0] == pytest.approx(1)
    assert found.two_sided_drift[0] == 0
    assert found.variation_width[0] == pytest.approx(0.8 / 49)
    assert found.plateau_fraction[0] == pytest.approx(48 / 49)
    assert found.fall[0] == 0


def test_a_sigmoid_is_flat_and_a_concave_curve_is_so_at_one_end_alone() -> None:
    found = along(sigmoid(), concave())
    assert found.edge_speed[0] < 0.05
    assert found.two_sided_drift[0] < 0.01
    assert found.edge_speed[1] > 1.5
    assert found.two_sided_drift[1] > 0.3
    np.testing.assert_allclose(found.detour, 1)


def test_ends_are_the_outer_fifths_by_the_middle_of_each_step() -> None:
    """Eleven points: two steps of ten lie in each outer fifth, their middles at 0.05, 0.15, 0.85 and 0.95."""
    alphas = np.linspace(0, 1, 11)
    steps = np.ones((1, 10))
    steps[0, [1, 2, 7, 8]] = [3.0, 5.0, 5.0, 3.0]
    assert metrics.edge_speed(steps, alphas)[0] == pytest.approx((1 + 3 + 3 + 1) / 4 / 2.2)


def test_a_bent_path_is_as_fast_at_its_ends_and_the_one_sided_drift_is_deceived() -> None:
    found = along(half_circle())
    assert found.edge_speed[0] == pytest.approx(1)
    assert found.detour[0] == pytest.approx(np.pi / 2, abs=1e-3)
    # At B the output moves across the line from A: 1 - r hides it, and each end seen from its own side does not.
    assert found.edge_drift[0] < 0.17
    assert found.two_sided_drift[0] > 0.27


def test_two_sided_drift_is_the_same_whichever_end_is_called_a() -> None:
    bent = np.concatenate([half_circle()[:25], 3 * half_circle()[25:]])
    there, back = along(bent), along(bent[::-1])
    np.testing.assert_allclose(there.two_sided_drift, back.two_sided_drift)
    np.testing.assert_allclose(there.edge_speed, back.edge_speed)
    assert there.edge_drift[0] != pytest.approx(back.edge_drift[0], abs=0.01)


def test_a_path_that_returns_is_slow_at_its_ends_and_no_nearer_to_them() -> None:
    found = along(returning())
    assert found.edge_speed[0] < 0.2
    assert found.detour[0] > 10
    assert found.two_sided_drift[0] == pytest.approx(0.184, abs=1e-3)
    assert found.fall[0] > 5
    assert found.monotone[0] == 0


def test_speed_does_not_depend_on_units_and_alpha_does() -> None:
    one, other = along(sigmoid()), along(1000 * sigmoid())
    for name in METRICS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), err_msg=name)


def test_a_plateau_in_the_middle_counts_as_one_and_two_jumps_are_as_wide_as_none() -> None:
    twice = straight(np.where(ALPHAS < 0.1, 0.0, np.where(ALPHAS < 0.9, 0.5, 1.0)))
    found = along(twice)
    assert found.plateau_fraction[0] == pytest.approx(47 / 49)
    assert found.variation_width[0] == pytest.approx(0.8, abs=0.05)


def test_monotone_up_to_rounding() -> None:
    shaken = line() + 1e-7 * np.random.default_rng(0).normal(size=(STEPS, 2))
    found = along(line(), shaken, returning())
    assert found.monotone.tolist() == [1, 1, 0]


def test_curves_without_steps_have_no_speed_and_keep_the_rest() -> None:
    """As files of older versions are read."""
    known = along(sigmoid())
    old = Curves(known.alphas, known.distance, known.null_distance, known.reference_norm, known.units)
    for name in ("edge_speed", "peak_speed", "detour", "two_sided_drift", "variation_width", "plateau_fraction"):
        assert np.isnan(getattr(old, name)).all(), name
        assert np.isnan(getattr(old.null, name)).all(), name
    assert old.max_slope[0] == known.max_slope[0]


def test_an_output_that_never_moves_has_no_speed() -> None:
    assert np.isnan(metrics.speed(np.zeros((1, 4)))).all()
    assert np.isnan(metrics.plateau_fraction(np.zeros((1, 4)))).all()
    assert np.isnan(metrics.variation_width(np.zeros((1, 4)), np.linspace(0, 1, 5))).all()


def test_a_grid_without_an_edge_has_no_edge_speed() -> None:
    assert np.isnan(metrics.edge_speed(np.ones((1, 1)), np.array([0.0, 1.0])))[0]


def test_degenerate_pairs_have_none_of_them() -> None:
    found = along(line(), np.zeros((STEPS, 2)))
    for name in METRICS:
        assert np.isfinite(getattr(found, name)[0]), name
        assert np.isnan(getattr(found, name)[1]), name
    assert np.isnan(found.monotone[1])


def test_beyond_the_null_in_differences_and_in_logs() -> None:
    found = along(sigmoid(2.0), line())
    np.testing.assert_allclose(found.beyond_null("max_slope"), found.max_slope - found.null.max_slope)
    np.testing.assert_allclose(found.against_null("edge_speed"), np.log(found.edge_speed / found.null.edge_speed))
    assert found.against_null("edge_speed")[1] == pytest.approx(0, abs=1e-12)


def test_a_perfect_plateau_counts_as_a_hundredth_of_its_null() -> None:
    assert along(step()).against_null("edge_speed")[0] == pytest.approx(np.log(0.01))


def test_against_a_null_of_zero_there_is_no_ratio() -> None:
    assert np.isnan(along(sigmoid()).against_null("plateau_fraction")[0])


def test_the_table_says_of_every_metric_what_it_cannot_see() -> None:
    names = [one.name for one in metrics.TABLE.values()]
    assert len(names) == len(set(names)) == len(metrics.TABLE)
    assert tuple(one.name for one in metrics.CURVES) == METRICS
    for one in metrics.CURVES:
        assert one.blind.endswith("."), one.name
    for one in metrics.TABLE.values():
        assert one.label, one.name
        assert one.formula, one.name
        assert 0 < one.processors <= one.devices, one.name


def test_a_fall_is_no_slope_and_no_rounding() -> None:
    """Up by 1 in all, with a fall of 1 in a single step: the steepest rise is what counts."""
    share = np.concatenate([np.linspace(0, 1.5, 25), np.linspace(0.5, 1, 25)])
    found = along(straight(share))
    assert found.max_slope[0] == pytest.approx(49 * 1.5 / 24)
    assert found.fall[0] == pytest.approx(1)
    small = np.concatenate([np.linspace(0, 0.5, 25), np.linspace(0.499, 1, 25)])
    assert along(straight(small)).monotone[0] == 0


def test_baselines_would_see_a_thousandth_of_a_metric() -> None:
    """On processors; the fraction of still steps moves by whole steps alone."""
    loose = {one.name for one in metrics.CURVES if one.processors > 1e-3 * max(1.0, one.straight or 0.0)}
    assert loose == {"plateau_fraction"}
    assert metrics.TABLE["plateau_fraction"].processors < 1.1 / 49


def test_degenerate_pairs_have_no_steps_whatever_was_measured() -> None:
    found = along(line(), np.zeros((STEPS, 2)))
    moved = Curves(**{**vars_of(found), "step_distance": np.ones((2, STEPS - 1))})
    assert np.isfinite(moved.steps[0]).all()
    assert np.isnan(moved.steps[1]).all()


def vars_of(curves: Curves) -> dict[str, Any]:
    return {field.name: getattr(curves, field.name) for field in dataclasses.fields(curves)}


def test_units_keep_the_last_tokens_of_their_own_rows() -> None:
    """Chained pairs: every second row is a unit, rows of -1 between them."""
    found = along(*[line()] * 5)
    tokens = np.arange(10).reshape(5, 2)
    chained = Curves(**{**vars_of(found), "units": np.array([-1, 0, -1, 1, 1]), "last_tokens": tokens})
    assert chained.unit_ends is not None
    assert chained.unit_ends.tolist() == [[2, 3], [6, 7]]
    assert found.unit_ends is None


def test_the_interval_of_a_metric_knows_of_shared_last_tokens() -> None:
    slopes = 1 + np.repeat(np.random.default_rng(0).uniform(size=10), 6)
    found = along(*[sigmoid(slope) for slope in slopes])
    shared = np.stack([np.repeat(np.arange(10), 6), 100 + np.arange(60)], axis=1)
    alike = Curves(**{**vars_of(found), "last_tokens": shared})
    widths = [one.interval("max_slope").high - one.interval("max_slope").low for one in (found, alike)]
    assert widths[1] > 1.5 * widths[0]


def test_the_band_holds_the_middle_half_of_the_pairs() -> None:
    found = along(*[straight(ALPHAS**power) for power in (0.5, 1.0, 2.0, 3.0, 4.0)])
    np.testing.assert_allclose(found.quartiles()[0], ALPHAS**3)
    np.testing.assert_allclose(found.quartiles()[2], ALPHAS)
