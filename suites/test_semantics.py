"""Claim: inside a region predictions stay, across its boundary they change (abstract; introduction, 1 and 3).

"Our analysis suggests that these regions [...] correspond to semantic distinctions [...]: similar prompts cluster
within regions, and activations from the same region lead to similar next token predictions."

On each pair's segment two points a fifth of ||A - B|| apart are compared, and two others as far apart: where r moves
least, both inside a flat part, and where it moves most, astride the transition. The distance in the residual stream
is the same. Next-token distributions must diverge more and top tokens agree less across the transition, and inside
the flat part they must diverge by less than a tenth of a bit. (At first that last part was held against the shuffled
copy, whose own divergence depends on the size of its logits; it stands beside the verdict now.)
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

CLAIM = "Inside a region predictions stay, across its boundary they change (claims 1 and 3)"

# The version 4 of the paper sets pairs of low slope against pairs of high slope.
LOW_SLOPE = 1.2
# An accepted negative stands here with its verdict, model by model.
EXPECTED: dict[str, str] = {}


@dataclass(frozen=True)
class Case:
    """One model and its counterfeits on random pairs."""

    trained: PredictionSpec
    untrained: PredictionSpec
    scrambled: PredictionSpec


def case(model: str) -> Case:
    trained = PredictionSpec(f"{model}@main")
    return Case(trained, replace(trained, weights="untrained:0"), replace(trained, weights="scrambled:0"))


def weights_id(name: str, spec: PredictionSpec) -> str:
    return name if spec.weights == "stored" else f"{name}-{spec.weights.replace(':', '')}"


MODELS = [model.name for model in catalog.studied()]
CASES = [pytest.param(case(name), id=name) for name in MODELS]
# What stands beside the curves here, divergences and logit differences, stands nowhere else.
SPECS = [pytest.param(spec, id=weights_id(name, spec)) for name in MODELS for spec in vars(case(name)).values()]


def judge(result: Predictions, notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on one model's pairs."""
    flat, astride = result.by_unit("flat_divergence"), result.by_unit("straddling_divergence")
    agreement = result.by_unit("flat_agreement") - result.by_unit("straddling_agreement")
    inside = stats.shifted(stats.negated(stats.median_interval(flat)), claims.DIVERGENCE_MARGIN)
    return Verdict(
        effects=(
            Effect("bits of divergence, astride - inside", stats.median_rise(flat, astride), claims.DIVERGENCE_MARGIN),
            Effect("same top token, inside - astride", stats.mean_interval(agreement), claims.SHARE_MARGIN),
            Effect("divergence inside, below 0.1 bits", inside, 0.0),
        ),
        notes=notes,
    )


def described(result: Predictions, scrambled: Predictions) -> tuple[str, ...]:
    """Both sides of the comparison, and the pairs of low slope by their last tokens."""
    bits = [stats.median_interval(result.by_unit(f"{side}_divergence")).estimate for side in ("flat", "straddling")]
    tops = [stats.mean_interval(result.by_unit(f"{side}_agreement")).estimate for side in ("flat", "straddling")]
    low = result.max_slope < LOW_SLOPE
    return (
        f"divergence {bits[0]:.3f} bits inside, {bits[1]:.3f} astride; top token kept {tops[0]:.2f} and {tops[1]:.2f}",
        f"in the shuffled copy {np.nanmedian(scrambled.flat_divergence):.3f} bits inside, "
        f"{np.nanmedian(scrambled.straddling_divergence):.3f} astride",
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
    claim.check(judge(result, described(result, measured(case.scrambled))), EXPECTED)


@pytest.mark.parametrize("case", CASES)
def test_control(case: Case, measured: Measured, claim: Claim) -> None:
    claim.refute(
        {
            "flat parts and transitions swapped": judge(swapped(measured(case.trained))),
            "shuffled weights": judge(measured(case.scrambled)),
            "untrained weights": judge(measured(case.untrained)),
        }
    )


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: PredictionSpec, measured: Measured, baseline: object) -> None:
    assert baseline == measured(spec)
