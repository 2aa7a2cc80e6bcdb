"""Claim: the logit difference follows the output distance (Janiak et al. 2024, section 4, Fig. 2c).

"The change in logit difference follows a similar dynamic to d(alpha), suggesting that change in d(alpha) reflects an
interpretable change in model predictions."

l = logit[top of p_A] - logit[top of p_B], the tops those of the clean runs, scaled to 0 at A and 1 at B. It must lie
closer to the pair's own r than to a straight line and than to another pair's r, in mean absolute deviation over
alpha, by the margin of edge drift, which is such a mean too; and its steps must correlate with those of r beyond 0.5.
(Were the output to run straight from F(A) to F(B), l would equal r by arithmetic, but both would then be near the
straight line. The 0.5 was chosen when correlations had been seen.) Pairs with one top token have no logit difference:
counted, left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from measure import catalog, claims, stats
from measure.claims import Claim
from measure.predictions import Predictions
from measure.spec import PredictionSpec
from measure.stats import Effect, Verdict

CLAIM = "The logit difference follows the output distance (Fig. 2c)"

LEAST_CORRELATION = 0.5
# An accepted negative stands here with its verdict, model by model.
EXPECTED = {
    # Under --protocol strict: before the norm closer to its own r than to another's, not surely by the margin.
    **claims.under_strict("ladder-olmo-3m", "inconclusive", "residual"),
}


@dataclass(frozen=True)
class Case:
    """One model and its counterfeits on random pairs, and the model on the paper's D1 to D3."""

    trained: PredictionSpec
    untrained: PredictionSpec
    scrambled: PredictionSpec
    printed: PredictionSpec


def case(model: str) -> Case:
    trained = PredictionSpec(f"{model}@main")
    return Case(
        trained,
        replace(trained, weights="untrained:0"),
        replace(trained, weights="scrambled:0"),
        PredictionSpec(f"{model}@main", pairing="printed_dissimilar", steps=50),
    )


CASES = [pytest.param(case(model.name), id=model.name) for model in catalog.studied()]


def judge(result: Predictions, notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on one model's pairs."""
    own = result.by_unit("logit_deviation")
    line, other = (result.by_unit(f"logit_deviation_from_{what}") for what in ("line", "other"))
    correlation = stats.median_interval(result.by_unit("logit_correlation"))
    return Verdict(
        effects=(
            Effect("closer to r than to a straight line", stats.median_rise(own, line), claims.DRIFT_MARGIN),
            Effect("closer to r than to another pair's", stats.median_rise(own, other), claims.DRIFT_MARGIN),
            Effect("correlation of steps, beyond 0.5", stats.shifted(correlation, -LEAST_CORRELATION), 0.0),
        ),
        notes=notes,
    )


def deviations(result: Predictions) -> str:
    """Size of the deviation, and how many pairs have none."""
    equal = int(result.equal_tops.sum())
    deviation = stats.median_interval(result.by_unit("logit_deviation"))
    return f"mean |l - r| {deviation}; {equal} of {len(result)} pairs have equal top tokens"


def predicted(result: Predictions) -> str:
    """Top predictions of each printed pair, and how far l is from r; only the direction printed."""
    half = len(result) // 2
    rows = zip(result.end_tokens[:half], result.logit_deviation[:half], strict=True)
    return "printed pairs: " + ", ".join(f"{str(a)!r} to {str(b)!r} {deviation:.3f}" for (a, b), deviation in rows)


Measured = Callable[[PredictionSpec], Predictions]


@pytest.mark.parametrize("case", CASES)
def test_claim(case: Case, measured: Measured, claim: Claim) -> None:
    result = measured(case.trained)
    claim.check(judge(result, (deviations(result), predicted(measured(case.printed)))), EXPECTED)


@pytest.mark.parametrize("case", CASES)
def test_control(case: Case, measured: Measured, claim: Claim) -> None:
    result = measured(case.trained)
    claim.refute(
        {
            "norm-only null": judge(replace(result, distance=result.null_distance)),
            "another pair's distances": judge(replace(result, distance=np.roll(result.distance, 1, axis=0))),
            "shuffled weights": judge(measured(case.scrambled)),
            "untrained weights": judge(measured(case.untrained)),
        }
    )
