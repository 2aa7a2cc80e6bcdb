"""Distances between outputs: against formulas written out in NumPy, at the edges of their meaning, some at a time."""

from __future__ import annotations

import re
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

import measure
from measure.core import distances
from measure.distances import DISTANCES, TABLE
from measure.results import Curves, metrics
from measure.spec import MeasureError
from tests.conftest import tiny_network

A, B = [[5, 6, 7, 8], [9, 4, 5, 6, 7]], [[9, 10, 11, 12], [5, 8, 9, 3, 2]]
FOUND = torch.randn(3, 7, 11, generator=torch.Generator().manual_seed(0))


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def by_hand(name: str, x: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """From `first`, of points (points, units) in float64."""
    d, other = np.linalg.norm(x - first, axis=-1), np.linalg.norm(x - last, axis=-1)
    p, q = np.exp(log_softmax(first)), np.exp(log_softmax(x))
    m = (p + q) / 2
    kl = lambda p, q: (p * np.log(p / q)).sum(-1)  # noqa: E731
    found: np.ndarray = {
        "l2": d,
        "symmetric": d / (d + other),
        "projection": (x - first) @ (last - first) / np.linalg.norm(last - first),
        "cosine": 1 - x @ first / np.linalg.norm(x, axis=-1) / np.linalg.norm(first),
        "kl": kl(p, q),
        "js": (kl(p, m) + kl(q, m)) / 2 / np.log(2),
    }[name]
    return found


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("chunk", [distances.CHUNK, 30, 1])
def test_each_distance_is_its_formula_however_it_is_cut(name: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "CHUNK", chunk)
    found = distances.along(FOUND, name)
    for row, points in enumerate(FOUND.double().numpy()):
        first, last = points[0], points[-1]
        np.testing.assert_allclose(found["distance"][row], by_hand(name, points, first, last), atol=1e-12)
        np.testing.assert_allclose(found["end_side_distance"][row], by_hand(name, points, last, first), atol=1e-12)
        np.testing.assert_allclose(found["step_distance"][row], np.linalg.norm(np.diff(points, axis=0), axis=1))
        np.testing.assert_allclose(found["end_length"][row], np.linalg.norm(last - first))
    assert (found["distance"][:, 0] == 0).all()
    assert all(values.dtype == np.float64 for values in found.values())


@pytest.mark.parametrize("name", ["kl", "js"])
@pytest.mark.parametrize("lowest", [-1e4, -3e38, -np.inf])
def test_a_token_of_probability_0_leaves_divergences_finite(name: str, lowest: float) -> None:
    logits = FOUND.clone()
    logits[:, :, 3] = lowest
    found = distances.along(logits, name)["distance"]
    without = distances.along(torch.cat([logits[..., :3], logits[..., 4:]], dim=-1), name)["distance"]
    np.testing.assert_allclose(found, without, atol=1e-12)
    # Ends that agree in it, a point that does not.
    logits[:, 2, 3] = 1.0
    assert np.isfinite(distances.along(logits, name)["distance"]).all()


def test_a_difference_of_a_thousand_logits_is_finite() -> None:
    logits = torch.tensor([[[1000.0, 0.0], [500.0, 0.0], [0.0, 1000.0]]])
    np.testing.assert_allclose(distances.along(logits, "kl")["distance"], [[0, 0, 1000]], atol=1e-9)
    np.testing.assert_allclose(distances.along(logits, "js")["distance"], [[0, 0, 1]], atol=1e-9)


@pytest.mark.parametrize("name", ["symmetric", "projection", "cosine"])
def test_of_a_read_every_curve_goes_from_0_to_1(name: str) -> None:
    found = measure.interpolate(tiny_network("qwen2"), A, B, steps=9, distance=name)
    np.testing.assert_array_equal(found.relative[:, 0], 0)
    np.testing.assert_allclose(found.relative[:, -1], 1)
    assert np.isfinite(list(found.summary()["two_sided_drift"].values())[:3]).all()
    assert found.provenance["distance"] == name
    assert set(found.frame()["distance"]) == {name}


@pytest.mark.parametrize("name", ["l2", "symmetric", "projection"])
def test_the_straight_line_has_the_values_in_the_table(name: str) -> None:
    """After the last block, before the norm, the output runs straight; the null runs straight anyhow."""
    found = measure.interpolate(tiny_network("qwen2"), A, B, layer=4, read="residual", distance=name)
    for one in metrics.CURVES:
        straight = metrics.straight(one.name, name)
        assert straight == one.straight
        assert getattr(found, one.name) == pytest.approx(straight, abs=2e-3), one.name
        assert getattr(found.null, one.name) == pytest.approx(straight, abs=2e-3), one.name


@pytest.mark.parametrize("name", ["cosine", "kl", "js", "own:d"])
def test_what_follows_the_path_alone_has_a_straight_value_for_every_distance(name: str) -> None:
    known = {one.name for one in metrics.CURVES if metrics.straight(one.name, name) is not None}
    assert known == {"edge_speed", "peak_speed", "detour", "variation_width", "plateau_fraction"}


def test_divergences_are_read_at_the_logits() -> None:
    network = tiny_network("qwen2")
    found = measure.interpolate(network, A, B, steps=5, distance="kl")
    assert found.provenance["read"] == "logits"
    same = measure.interpolate(network, A, B, steps=5, distance="kl", read="logits")
    np.testing.assert_array_equal(found.distance, same.distance)
    # The path is the output's own, whatever is taken between its points.
    plain = measure.interpolate(network, A, B, steps=5, read="logits")
    np.testing.assert_allclose(found.edge_speed, plain.edge_speed, rtol=1e-5)
    np.testing.assert_allclose(found.detour, plain.detour, rtol=1e-5)
    np.testing.assert_allclose(found.arc_length[:, -1], plain.steps.sum(axis=1), rtol=1e-5)


def test_somebodys_own_distance_may_begin_anywhere() -> None:
    def manhattan(outputs: np.ndarray, ends: np.ndarray) -> np.ndarray:
        return np.abs(outputs - ends[:, :1]).sum(-1) + 3  # type: ignore[no-any-return]

    found = measure.interpolate(tiny_network("qwen2"), A, B, steps=11, distance=manhattan)
    np.testing.assert_allclose(found.distance[:, 0], 3)
    np.testing.assert_array_equal(found.relative[:, 0], 0)
    np.testing.assert_allclose(found.relative[:, -1], 1)
    assert found.provenance["distance"].startswith("own:")
    assert np.isfinite(found.two_sided_drift).all()


@pytest.mark.parametrize(
    ("distance", "message"),
    [
        ("l1", "distance='l1' is not known; choose one of l2, symmetric"),
        (3, "distance=3 is a int; expected one of l2"),
        (lambda x, ends: x, "it gave numbers of shape (1, 5, 32); expected a finite number for each point"),
        (lambda x, ends: x[..., 0] * np.nan, "it gave what is no finite number"),
        (lambda x, ends: 1 / 0, "it failed (ZeroDivisionError: division by zero)"),
        (lambda x: x, "it failed (TypeError"),
        (lambda x, ends: x[..., 0] + 1j, "it failed (TypeError: complex numbers)"),
    ],
)
def test_a_distance_that_is_none_is_refused(distance: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(MeasureError, match=re.escape(message)):
        measure.interpolate(tiny_network("qwen2"), A, B, steps=5, distance=distance)


@pytest.mark.parametrize("read", ["final_norm", "residual", "block:3", ["final_norm", "logits"]])
def test_a_read_without_distributions_is_refused(read: Any) -> None:
    with pytest.raises(MeasureError, match="holds none; use read='logits'"):
        measure.interpolate(tiny_network("qwen2"), A, B, read=read, distance="js")


@pytest.mark.parametrize("name", ["symmetric", "projection", "cosine", "kl", "js"])
def test_equal_ends_are_degenerate_whatever_the_distance(name: str) -> None:
    found = measure.interpolate(tiny_network("qwen2"), [*A, A[0]], [A[0], *B[1:], B[0]], steps=5, distance=name)
    assert list(found.degenerate) == [True, False, False]
    assert np.isnan(found.relative[0]).all()


def test_another_distance_comes_back_from_its_file(tmp_path: Any) -> None:
    found = measure.interpolate(tiny_network("qwen2"), A, B, steps=5, distance="cosine")
    again = Curves.load(found.save(tmp_path / "c"))
    np.testing.assert_array_equal(again.relative, found.relative)
    np.testing.assert_array_equal(again.null.detour, found.null.detour)


def test_every_word_has_its_formula() -> None:
    assert tuple(TABLE) == DISTANCES


@pytest.mark.parametrize("name", ["l2", "symmetric"])
def test_logits_that_are_all_minus_infinity_are_no_distance(name: str) -> None:
    ruled_out = torch.cat([FOUND, torch.full((*FOUND.shape[:2], 2), -torch.inf)], dim=2)
    expected, found = distances.along(FOUND, name), distances.along(ruled_out, name)
    for each in expected:
        np.testing.assert_allclose(found[each], expected[each], rtol=1e-12)
