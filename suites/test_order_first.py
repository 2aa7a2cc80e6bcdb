"""Claim: which pairs are sharp is settled before the sharpness is there (not in the paper; found on Pythia-1.4B).

Along 20 revisions of Pythia-1.4B-deduped each pair's rank by width became the final one between steps 64 and 128, while
the median width was still near a straight line's and fell between 1,000 and 2,000 (billy000400/marsv, dir19).

Here: at each revision between the first and the last, how far the pairs' order by max slope beyond the null has come
towards its final one, and how far the median has, both as shares of their whole way (`claims/training_order.py`).
The order must be ahead by a tenth of the way, on the mean over those revisions. A share of growth means nothing without
growth, so the model must jump more at the end than at first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from measure import catalog, claims
from measure.claims import Claim, training_order
from measure.names import Title
from measure.results import Curves
from measure.spec import CurveSpec
from measure.stats import Effect, Verdict

CLAIM = Title("Which pairs are sharp is settled before the sharpness is there", place="not in the paper")
# What a model must have to be asked.
TAKES = "revisions of its training"
MODELS = [model for model in catalog.models().values() if len(model.revisions) > 2]
# An accepted negative stands here with its verdict, model by model.
EXPECTED: dict[str, str] = {
    # Contradicted here, the order behind the shape, and under 2 of 4 other draws.
    "ladder-olmo-0.2m": "inconclusive",
    # Not surely by the margin: order ahead of shape.
    "ladder-olmo-1.1m": "inconclusive",
    # Not surely by the margin: order ahead of shape; slower ends.
    "ladder-qwen2-0.2m": "inconclusive",
    # Under --protocol strict.
    **claims.under_strict("ladder-olmo-0.2m", "inconclusive", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-olmo-1.1m", "inconclusive", "final_norm", "logits"),
    **claims.under_strict("ladder-olmo-1.1m", "contradicted", "residual"),
    **claims.under_strict("ladder-qwen2-0.2m", "inconclusive", "final_norm", "residual", "logits"),
}


@dataclass(frozen=True)
class Trajectory:
    """One model's revisions from untrained to `main`."""

    revisions: tuple[CurveSpec, ...]


def trajectory(model: catalog.Model) -> Trajectory:
    return Trajectory(tuple(CurveSpec(f"{model.name}@{revision}") for revision in model.revisions))


TRAJECTORIES = [pytest.param(trajectory(model), id=model.name) for model in MODELS]


def counterfeits(model: Trajectory, draw: int) -> dict[str, CurveSpec]:
    return claims.counterfeits(model.revisions[-1], draw, claims.FEWER_KINDS)


CONTROLS = claims.controls(TRAJECTORIES, counterfeits)


def judge(revisions: Sequence[Curves], notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on revisions in order of training."""
    return Verdict(
        effects=(
            Effect(
                "order ahead of shape, share of the way", training_order.order_ahead(revisions), claims.SHARE_MARGIN
            ),
            *claims.sharper(revisions[0], revisions[-1], "first to last")[:2],
        ),
        notes=notes,
    )


def told(names: Sequence[str], revisions: Sequence[Curves]) -> tuple[str, ...]:
    """How far both have come, revision by revision."""
    ways = training_order.shares(revisions).T
    parts = [f"{name} {order:.0%} and {shape:.0%}" for name, (order, shape) in zip(names[1:-1], ways, strict=True)]
    return (f"order and shape, of their way: {', '.join(parts)}",)


Measured = Callable[[CurveSpec], Curves]


@pytest.mark.parametrize("model", TRAJECTORIES)
def test_claim(model: Trajectory, measured: Measured, claim: Claim) -> None:
    revisions = [measured(spec) for spec in model.revisions]
    names = [spec.ref.revision for spec in model.revisions]
    claim.check(judge(revisions, told(names, revisions)), EXPECTED)


@pytest.mark.parametrize(("model", "others"), CONTROLS)
def test_control(model: Trajectory, others: Mapping[str, CurveSpec], measured: Measured, claim: Claim) -> None:
    revisions = [measured(spec) for spec in model.revisions]
    before, last = revisions[:-1], revisions[-1]
    claim.refute(
        {name: judge([*before, measured(spec)]) for name, spec in others.items()}
        | {
            "norm-only null of the last": judge([*before, last.null]),
            "revisions in reversed order": judge(revisions[::-1]),
            "order of the first kept to the last but one": judge([*[revisions[0]] * len(before), last]),
            "planted: the shape first, the order last": judge(shape_first(last, len(before))),
        }
    )
    claim.confirm({"planted: the order first, the shape last": judge(order_first(last, len(before)))})


def order_first(last: Curves, count: int) -> list[Curves]:
    """From another order to the final one at once, from near the null to plateaus at the last step alone."""
    sharp = steps_of(last)
    return [grown(last, np.roll(sharp, 1) / 20), *[grown(last, sharp / 20)] * (count - 1), grown(last, sharp)]


def shape_first(last: Curves, count: int) -> list[Curves]:
    """As steep as at the end from the second revision on, each pair with the steepness of another."""
    sharp = steps_of(last)
    other = np.roll(sharp, 1)
    return [grown(last, other / 20), *[grown(last, other)] * (count - 1), grown(last, sharp)]


def steps_of(last: Curves) -> np.ndarray:
    """How steep each row's step is to be: spread from 8 to 40 by chance, the same at each call."""
    return np.random.default_rng(0).uniform(8, 40, len(last))


def grown(last: Curves, sharpness: np.ndarray) -> Curves:
    """A step at the middle, as steep as is asked of each row, over a null that is a straight line."""
    rows = 1 / (1 + np.exp(-sharpness[:, None] * (last.alphas - 0.5)))
    rows = (rows - rows[:, :1]) / (rows[:, -1:] - rows[:, :1])
    line = last.alphas * last.distance[:, -1:]
    null = {
        "null_distance": line,
        "null_step_distance": np.abs(np.diff(line, axis=1)),
        "null_end_side_distance": np.abs(line[:, -1:] - line),
    }
    return replace(claims.straight(last, rows * last.distance[:, -1:]), **null)
