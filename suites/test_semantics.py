"""Claim: inside a region predictions stay, across its boundary they change (abstract; introduction, 1 and 3).

"Our analysis suggests that these regions [...] correspond to semantic distinctions [...]: similar prompts cluster
within regions, and activations from the same region lead to similar next token predictions."

On each pair's segment two points a fifth of ||A - B|| apart are compared, and two others as far apart: where r moves
least, both inside a flat part, and where it moves most, astride the transition. The distance in the residual stream
is the same. Next-token distributions must diverge more and top tokens agree less across the transition, and inside
the flat part predictions must stay closer than they do in the shuffled copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from measure import catalog, claims, stats
from measure.plugin import Claim
from measure.predictions import Predictions
from measure.spec import PredictionSpec
from measure.stats import Effect, Verdict

CLAIM = "Inside a region predictions stay, across its boundary they change (claims 1 and 3)"

# The version 4 of the paper sets pairs of low slope against pairs of high slope.
LOW_SLOPE = 1.2
# An accepted negative stands here with its verdict, model by model.
EXPECTED = {
    # Its shuffled copy's predictions are nearly uniform and so diverge by little: below it, but not by the margin.
    "ladder-olmo-0.2m": "inconclusive",
    # Under --protocol strict, for the same reason.
    **claims.under_strict("ladder-olmo-0.2m", "inconclusive", "final_norm", "residual", "logits"),
}


@dataclass(frozen=True)
class Case:
    """One model and its counterfeits on random pairs."""

    trained: PredictionSpec
    untrained: PredictionSpec
    scrambled: PredictionSpec
    scrambled_again: PredictionSpec


def case(model: str) -> Case:
    trained = PredictionSpec(f"{model}@main")
    untrained, scrambled, again = (replace(trained, weights=w) for w in ("untrained:0", "scrambled:0", "scrambled:1"))
    return Case(trained, untrained, scrambled, again)


CASES = [pytest.param(case(name), id=name) for name, model in catalog.models().items() if model.seed == 0]


def judge(result: Predictions, scrambled: Predictions, notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on one model's pairs, against its shuffled copy."""
    claims.check_paired([result, scrambled])
    flat, astride = result.by_unit("flat_divergence"), result.by_unit("straddling_divergence")
    agreement = result.by_unit("flat_agreement") - result.by_unit("straddling_agreement")
    shuffled = stats.median_rise(flat, scrambled.by_unit("flat_divergence"))
    return Verdict(
        effects=(
            Effect("bits of divergence, astride - inside", stats.median_rise(flat, astride), claims.DIVERGENCE_MARGIN),
            Effect("same top token, inside - astride", stats.mean_interval(agreement), claims.SHARE_MARGIN),
            Effect("divergence inside, below shuffled's", shuffled, claims.DIVERGENCE_MARGIN),
        ),
        notes=notes,
    )


def described(result: Predictions) -> tuple[str, ...]:
    """Both sides of the comparison, and the pairs of low slope by their last tokens."""
    bits = [stats.median_interval(result.by_unit(f"{side}_divergence")).estimate for side in ("flat", "straddling")]
    tops = [stats.mean_interval(result.by_unit(f"{side}_agreement")).estimate for side in ("flat", "straddling")]
    low = result.max_slope < LOW_SLOPE
    return (
        f"divergence {bits[0]:.3f} bits inside, {bits[1]:.3f} astride; top token kept {tops[0]:.2f} and {tops[1]:.2f}",
        f"{int(low.sum())} of {len(result)} pairs have max slope below {LOW_SLOPE}, "
        f"{int(result.same_last_token[low].sum())} of them share their last token",
    )


Measured = Callable[[PredictionSpec], Predictions]


def swapped(result: Predictions) -> Predictions:
    """The same predictions under curves that move where they stood, and stand where they moved."""
    speed = np.diff(result.relative, axis=1)
    reversed_speed = np.nanmax(speed, axis=1, keepdims=True) - speed
    distance = np.concatenate([np.zeros((len(result), 1)), np.cumsum(reversed_speed, axis=1)], axis=1)
    return replace(result, distance=distance * result.reference_norm[:, None])


@pytest.mark.parametrize("case", CASES)
def test_claim(case: Case, measured: Measured, claim: Claim) -> None:
    result = measured(case.trained)
    claim.check(judge(result, measured(case.scrambled), described(result)), EXPECTED)


@pytest.mark.parametrize("case", CASES)
def test_control(case: Case, measured: Measured, claim: Claim) -> None:
    scrambled = measured(case.scrambled)
    claim.refute(
        {
            "flat parts and transitions swapped": judge(swapped(measured(case.trained)), scrambled),
            "shuffled weights": judge(measured(case.scrambled_again), scrambled),
            "untrained weights": judge(measured(case.untrained), scrambled),
        }
    )
