"""Claim: inside a region predictions stay, across its boundary they change (abstract; introduction, 1 and 3).

"Our analysis suggests that these regions [...] correspond to semantic distinctions [...]: similar prompts cluster
within regions, and activations from the same region lead to similar next token predictions."

On each pair's segment two points a fifth of ||A - B|| apart are compared, and two others as far apart: where r moves
least, both inside a flat part, and where it moves most, astride the transition. The distance in the residual stream
is the same. Next-token distributions must diverge more and top tokens agree less across the transition, each by more
than along the norm-only null, where no block runs and the same is so by a tenth of a bit; and inside the flat part they
must diverge by less than that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from measure import catalog, claims, stats
from measure.claims import Claim
from measure.names import Title
from measure.results.predictions import Predictions
from measure.spec import PredictionSpec
from measure.stats import Effect, Verdict

CLAIM = Title("Inside a region predictions stay, across its boundary they change", place="claims 1 and 3")

# The version 4 of the paper sets pairs of low slope against pairs of high slope.
LOW_SLOPE = 1.2
# An accepted negative stands here with its verdict, model by model.
EXPECTED: dict[str, str] = {
    # Not surely by the margin: same token inside - astride; divergence inside.
    "gemma3-270m": "inconclusive",
    # Not surely by the margin: bits astride - inside, above its null's; same token inside - astride, above its
    # null's.
    "ladder-olmo-0.2m": "inconclusive",
    "ladder-qwen2-0.2m": "inconclusive",
    # Supported here, under 2 of 4 other draws.
    "ladder-olmo-1.1m": "inconclusive",
    # Supported here, under 3 of 4 other draws.
    "ladder-olmo-3m": "inconclusive",
    # Supported here, under 1 of 4 other draws.
    "ladder-qwen2-1.1m": "inconclusive",
    # Not surely by the margin: bits astride - inside, above its null's.
    "ladder-qwen2-3m": "inconclusive",
    # Under --protocol strict.
    **claims.under_strict("ladder-olmo-0.2m", "inconclusive", "final_norm"),
    **claims.under_strict("ladder-qwen2-0.2m", "inconclusive", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-qwen2-1.1m", "inconclusive", "final_norm"),
}


@dataclass(frozen=True)
class Case:
    """One model on random pairs, trained and not, and patched after its last block."""

    trained: PredictionSpec
    untrained: PredictionSpec
    last_block: PredictionSpec


def case(model: catalog.Model) -> Case:
    trained = PredictionSpec(f"{model.name}@main")
    return Case(trained, replace(trained, weights="untrained:0"), replace(trained, layer=model.layers))


MODELS = catalog.studied()
CASES = [pytest.param(case(model), id=model.name) for model in MODELS]


def counterfeits(case: Case, draw: int) -> dict[str, PredictionSpec]:
    return claims.counterfeits(case.trained, draw, claims.FEWER_KINDS)


CONTROLS = claims.controls(CASES, counterfeits)
# What stands beside the curves here, divergences and logit differences, stands nowhere else.
SPECS = [
    pytest.param(spec, id=spec.id.replace("-main-prediction", ""))
    for group in map(case, MODELS)
    for spec in (*vars(group).values(), *counterfeits(group, 0).values())
]


def judge(result: Predictions, notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on one model's pairs."""
    inside = claims.level(lambda curves: -curves.by_unit("flat_divergence"), result)
    agreement = agrees_less_astride(result) - agrees_less_astride(result.null)
    return Verdict(
        effects=(
            Effect(
                "bits astride - inside, above its null's",
                stats.median_rise(
                    diverges_more_astride(result.null), diverges_more_astride(result), ends=result.unit_ends
                ),
                claims.DIVERGENCE_MARGIN,
            ),
            Effect(
                "same token inside - astride, above its null's",
                stats.mean_interval(agreement, ends=result.unit_ends),
                claims.SHARE_MARGIN,
            ),
            Effect("divergence inside, below 0.1 bits", stats.shifted(inside, claims.DIVERGENCE_MARGIN), 0.0),
        ),
        notes=notes,
    )


def diverges_more_astride(result: Predictions) -> np.ndarray:
    """Bits of divergence astride the transition, minus those inside the flat part, (units,)."""
    return result.by_unit("straddling_divergence") - result.by_unit("flat_divergence")


def agrees_less_astride(result: Predictions) -> np.ndarray:
    """Agreement of top tokens inside the flat part, minus that astride, (units,)."""
    return result.by_unit("flat_agreement") - result.by_unit("straddling_agreement")


def described(result: Predictions) -> tuple[str, ...]:
    """Both sides of the comparison, of the model and of its null, and the pairs of low slope by their last tokens."""
    low = result.max_slope < LOW_SLOPE
    return (
        f"the model: {both_sides(result)}",
        f"its norm-only null: {both_sides(result.null)}",
        f"{int(low.sum())} of {len(result)} pairs have max slope below {LOW_SLOPE}, "
        f"{int(result.same_last_token[low].sum())} of them share their last token",
    )


def both_sides(result: Predictions) -> str:
    bits = [stats.median_interval(result.by_unit(f"{side}_divergence")).estimate for side in ("flat", "straddling")]
    tops = [stats.mean_interval(result.by_unit(f"{side}_agreement")).estimate for side in ("flat", "straddling")]
    return (
        f"divergence {bits[0]:.3f} bits inside, {bits[1]:.3f} astride; top token kept {tops[0]:.2f} and {tops[1]:.2f}"
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
    claim.check(judge(result, described(result)), EXPECTED)


@pytest.mark.parametrize(("case", "others"), CONTROLS)
def test_control(case: Case, others: Mapping[str, PredictionSpec], measured: Measured, claim: Claim) -> None:
    result = measured(case.trained)
    claim.refute(
        {name: judge(measured(spec)) for name, spec in others.items()}
        | {
            "norm-only null": judge(null_of(result)),
            "patched after the last block": judge(measured(case.last_block)),
            "untrained weights": judge(measured(case.untrained)),
            "flat parts and transitions swapped": judge(swapped(result)),
        }
    )
    claim.confirm({"planted: one token before the jump, another after it": judge(planted(result))})


def null_of(result: Predictions) -> Predictions:
    """The norm-only null with its own predictions in the place of the curves."""
    null = claims.replace_by_null(result)
    along = result.null
    return replace(
        null,
        top_tokens=along.top_tokens,
        logit_difference=along.logit_difference,
        span_divergence=along.span_divergence,
    )


def planted(result: Predictions) -> Predictions:
    """Plateaus on whose two sides two tokens are certain."""
    sharp = claims.planted(result)
    beyond = (sharp.relative > 0.5).astype(int)
    span = result.span
    apart = (beyond[:, span:] != beyond[:, :-span]).astype(float)
    return replace(sharp, top_tokens=beyond, span_divergence=apart)


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: PredictionSpec, measured: Measured, baseline: object) -> None:
    assert baseline == measured(spec)
