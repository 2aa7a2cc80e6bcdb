"""Metrics on curves whose answers are known, and results that survive the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from measure.base import files
from measure.results import Curves, metrics
from measure.spec import MeasureError


def curves_of(*relative: np.ndarray, scale: float = 3.0) -> Curves:
    distance = scale * np.stack(relative)
    steps = distance.shape[1]
    null = scale * np.tile(np.linspace(0, 1, steps), (len(distance), 1))
    return Curves(
        np.linspace(0, 1, steps),
        distance,
        null,
        np.full(len(distance), 10.0),
        np.arange(len(distance)),
        {"model": "known"},
        # The output runs straight from one end to the other.
        step_distance=np.abs(np.diff(distance, axis=1)),
        null_step_distance=np.abs(np.diff(null, axis=1)),
        end_side_distance=np.abs(distance[:, -1:] - distance),
        null_end_side_distance=np.abs(null[:, -1:] - null),
    )


def line(steps: int = 50) -> np.ndarray:
    return np.linspace(0, 1, steps)


def step(steps: int = 50) -> np.ndarray:
    return (line(steps) > 0.5).astype(float)


def sigmoid(slope: float, steps: int = 50) -> np.ndarray:
    curve = 1 / (1 + np.exp(-4 * slope * (line(steps) - 0.5)))
    return (curve - curve[0]) / (curve[-1] - curve[0])


def concave(steps: int = 50) -> np.ndarray:
    curve = 1 - np.exp(-5 * line(steps))
    return curve / curve[-1]


def test_a_straight_line() -> None:
    known = curves_of(line())
    assert known.max_slope[0] == pytest.approx(1)
    assert known.transition_width[0] == pytest.approx(0.8)
    assert known.edge_drift[0] == pytest.approx(0.184, abs=5e-4)
    assert known.jump_location[0] == pytest.approx(0.5)


def test_a_step() -> None:
    known = curves_of(step())
    assert known.max_slope[0] == pytest.approx(49)
    assert known.edge_drift[0] == 0
    assert known.transition_width[0] == pytest.approx(0.8 / 49)
    assert known.jump_location[0] == pytest.approx(0.5)


@pytest.mark.parametrize(("steps", "read"), [(11, 4.8), (30, 9.6), (50, 9.9), (201, 10.0)])
def test_the_grid_limits_the_max_slope_of_a_sigmoid(steps: int, read: float) -> None:
    assert curves_of(sigmoid(10, steps)).max_slope[0] == pytest.approx(read, abs=0.1)


def test_sharp_without_a_plateau_is_told_by_edge_drift() -> None:
    plateau, none = curves_of(sigmoid(4.8)), curves_of(concave())
    assert none.max_slope[0] == pytest.approx(4.8, abs=0.1)
    assert plateau.max_slope[0] == pytest.approx(none.max_slope[0], rel=0.05)
    assert none.edge_drift[0] > 0.3
    assert plateau.edge_drift[0] < 0.03


def test_the_norm_alone_bends_a_straight_line_between_orthogonal_residuals() -> None:
    """protocol `strict`: A orthogonal to B and of one length gives max slope 1.32."""
    alphas = line()
    points = np.stack([1 - alphas, alphas], axis=1)
    chords = np.linalg.norm(points / np.linalg.norm(points, axis=1, keepdims=True) - [1, 0], axis=1)
    assert curves_of(chords / chords[-1]).max_slope[0] == pytest.approx(1.32, abs=0.01)


def test_crossings_are_interpolated_and_may_be_missing() -> None:
    alphas = np.array([0.0, 0.5, 1.0])
    found = metrics.first_crossing(np.array([[0.0, 0.4, 1.0], [0.0, 0.2, 0.3], [0.7, 0.8, 1.0]]), alphas, 0.5)
    assert found[0] == pytest.approx(0.5 + 0.5 * (0.1 / 0.6))
    assert np.isnan(found[1])
    assert found[2] == 0


def test_degenerate_pairs_are_counted_never_divided() -> None:
    known = curves_of(line(), np.zeros(50), line() * 3e-6, np.full(50, np.nan))
    assert known.degenerate.tolist() == [False, True, True, True]
    assert np.isnan(known.relative[1:]).all()
    assert np.isnan(known.max_slope[1:]).all()
    assert known.summary()["max_slope"]["n"] == 1
    assert known.summary()["max_slope"]["degenerate"] == 3
    np.testing.assert_allclose(known.quartiles()[1], line())


def test_a_curve_that_is_not_finite_is_degenerate() -> None:
    known = curves_of(line(), line(), line())
    known.distance[1, 7], known.distance[2, -1] = np.nan, np.inf
    assert known.degenerate.tolist() == [False, True, True]
    assert np.isfinite(known.quartiles()).all()


def test_edges_too_coarse_to_drift_have_no_drift() -> None:
    assert np.isnan(curves_of(line(5)).edge_drift[0])
    assert curves_of(line(6)).edge_drift[0] == pytest.approx(0.2)


def test_only_degenerate_pairs_give_no_number_and_no_warning() -> None:
    known = curves_of(np.zeros(50), np.zeros(50))
    assert np.isnan(known.summary()["edge_drift"]["median"])
    assert known.summary()["edge_drift"]["n"] == 0
    assert "2 degenerate" in repr(known)


def test_units_average_directions_and_leave_dependent_pairs_out() -> None:
    known = curves_of(line(), step(), step(), line())
    known = replace(known, units=np.array([0, 1, -1, 1]))
    np.testing.assert_allclose(known.by_unit("max_slope"), [1, 25])
    assert known.summary()["max_slope"]["median"] == pytest.approx(25)
    assert known.summary()["max_slope"]["estimate"] == pytest.approx(13)


def test_summary_carries_n_and_interval() -> None:
    known = curves_of(*(sigmoid(slope) for slope in np.linspace(2, 4, 21)))
    slope = known.summary()["max_slope"]
    assert slope["n"] == slope["units"] == 21
    assert slope["low"] < slope["estimate"] == slope["median"] < slope["high"]
    assert slope["q25"] < slope["median"] < slope["q75"]


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    known = curves_of(line(), step())
    path = known.save(tmp_path / "curve")
    assert path.name == "curve.npz"
    again = Curves.load(path)
    for name in ("alphas", "distance", "null_distance", "reference_norm", "units"):
        np.testing.assert_array_equal(getattr(again, name), getattr(known, name))
    assert again.provenance == known.provenance
    assert [file.name for file in tmp_path.iterdir()] == ["curve.npz"]


def test_a_truncated_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = curves_of(line()).save(tmp_path / "curve.npz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MeasureError, match="not a whole result file"):
        Curves.load(path)
    np.savez(tmp_path / "other.npz", x=1)
    with pytest.raises(MeasureError, match="not a whole result file"):
        Curves.load(tmp_path / "other.npz")
    with pytest.raises(MeasureError, match="does not exist"):
        Curves.load(tmp_path / "none.npz")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    files.write_atomically(target, b"old")

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(target, b"new and longer")
    assert target.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_plot_draws_the_median_and_its_band() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    known = curves_of(*(sigmoid(slope) for slope in (2, 3, 4)))
    axes = known.plot()
    np.testing.assert_allclose(axes.lines[0].get_ydata(), known.quartiles()[1])
    assert len(axes.collections) == 1
    assert axes.get_title() == "known"
    early = replace(known, provenance={"model": "known", "revision": "step8"})
    assert early.plot(axes) is axes
    null, null_early = "known, norm-only null", "known@step8, norm-only null"
    assert axes.get_legend_handles_labels()[1] == ["known", null, "known@step8", null_early]
    np.testing.assert_allclose(axes.lines[1].get_ydata(), known.null.quartiles()[1])
    assert len(axes.collections) == 2
    pyplot.close("all")
