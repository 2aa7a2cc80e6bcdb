"""What comes first in training, the order of pairs or their sharpness: on curves of which it is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from measure import claims
from measure.claims import training_order
from measure.results import Curves
from measure.spec import CurveSpec, MeasureError
from tests import small_results

UNITS = 120


def revisions(*sharpness: np.ndarray) -> list[Curves]:
    """Curves whose max slope over the null is in the order, and of the size, of `sharpness`."""
    rows = len(sharpness[0])
    fields = small_results.fields(1.0, rows) | {"units": np.arange(rows)}
    made = Curves(**fields, provenance=small_results.provenance(CurveSpec("ladder-olmo-0.2m")))
    made = replace(made, provenance=made.provenance | {"prompts_sha256": "the same"})
    found = []
    for values in sharpness:
        r = 1 / (1 + np.exp(-values[:, None] * (made.alphas - 0.5)))
        r = (r - r[:, :1]) / (r[:, -1:] - r[:, :1])
        found.append(claims.straight(made, r * made.distance[:, -1:]))
    return found


@pytest.fixture
def final() -> np.ndarray:
    return np.random.default_rng(1).permutation(np.linspace(10, 30, UNITS))


def test_an_order_that_is_settled_at_once_is_ahead_of_a_shape_that_comes_last(final: np.ndarray) -> None:
    untrained = np.random.default_rng(2).permutation(final) * 0.01
    found = training_order.order_ahead(revisions(untrained, final * 0.05, final * 0.05, final))
    assert found.low > 0.8
    assert found.n == UNITS


def test_a_shape_that_comes_first_is_not_behind(final: np.ndarray) -> None:
    untrained, other = (np.random.default_rng(seed).permutation(final) for seed in (2, 3))
    found = training_order.order_ahead(revisions(untrained * 0.01, other, other, final))
    assert found.high < -0.4


def test_order_and_shape_that_come_together_are_level(final: np.ndarray) -> None:
    """Half of the way of each: half of every pair's own rank, and half of the growth."""
    other = np.random.default_rng(2).permutation(final)
    found = training_order.order_ahead(revisions(other * 0.01, (final + other) / 4, final))
    order, shape = training_order.shares(revisions(other * 0.01, (final + other) / 4, final))
    assert found.low < (order - shape)[0] < found.high
    assert found.estimate == pytest.approx((order - shape)[0])


def test_what_comes_first_takes_three_revisions_of_the_same_prompts(final: np.ndarray) -> None:
    with pytest.raises(MeasureError, match="a revision between first and last; found 2 in all"):
        training_order.order_ahead(revisions(final, final))
    made = revisions(final, final, final)
    made[1] = replace(made[1], provenance=made[1].provenance | {"prompts_sha256": "others"})
    with pytest.raises(MeasureError, match="same token ids"):
        training_order.order_ahead(made)


def test_the_interval_covers() -> None:
    """Of 200 studies on 60 units each, about 95 % hold what 20,000 units show."""
    generator = np.random.default_rng(5)

    def drawn(count: int) -> list[np.ndarray]:
        last = generator.normal(size=count)
        first, middle = generator.normal(size=count) * 0.1, 0.5 * last + 0.5 * generator.normal(size=count)
        return [first, middle + 1, last + 3]

    def studied(columns: list[np.ndarray]) -> training_order.Interval:
        return training_order.stats.of_statistics(
            columns, training_order._statistics, training_order._influences, training_order._ahead, resamples=400
        )

    truth = float(training_order._ahead(training_order._statistics(np.stack(drawn(20_000), axis=1)[None]))[0])
    held = [found.low <= truth <= found.high for found in (studied(drawn(60)) for _ in range(200))]
    assert 0.91 <= np.mean(held) <= 0.985
