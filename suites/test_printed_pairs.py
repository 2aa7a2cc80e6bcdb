"""Claim: the paper's own six pairs, as they are printed (section 4, Fig. 2a and 2b, Appendix B).

S1 to S3 should be near straight lines and D1 to D3 jump. A tokenizer that splits a last word leaves its pair out. So
few pairs have no interval: each is looked at, both directions averaged, by the bounds of `measure/claims/`, and the
claim holds where every one is as the paper shows it. The suite on similarity asks the same of 94 word triples.
No baselines here: the pairs have theirs in that suite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from measure import catalog, claims
from measure.claims import Claim
from measure.names import Title
from measure.results.predictions import Predictions
from measure.spec import PredictionSpec
from measure.stats import Fact, Verdict

CLAIM = Title("The paper's own pairs S1 to S3 and D1 to D3 show it", place="Fig. 2a, 2b")

# An accepted negative stands here with its verdict, model by model.
EXPECTED: dict[str, str] = {
    # D1 and D2 jump, D3 does not; of the similar pairs one is near straight.
    "gemma3-270m": "contradicted",
    # D1 and D2 jump; the similar pairs are not near straight, of and in (S2) least.
    "smollm2-135m-instruct": "contradicted",
    # The other way round: dissimilar pairs that jump.
    "ladder-olmo-0.2m": "contradicted",
    "ladder-olmo-1.1m": "contradicted",
    "ladder-qwen2-0.2m": "contradicted",
    "ladder-qwen2-1.1m": "contradicted",
    # The other way round: similar pairs near straight.
    "ladder-olmo-3m": "contradicted",
    # The other way round: similar pairs near straight; dissimilar pairs that jump.
    "ladder-qwen2-3m": "contradicted",
    # Under --protocol strict.
    **claims.under_strict("ladder-olmo-0.2m", "contradicted", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-olmo-1.1m", "contradicted", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-olmo-3m", "contradicted", "final_norm", "logits"),
    **claims.under_strict("ladder-qwen2-0.2m", "contradicted", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-qwen2-1.1m", "contradicted", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-qwen2-3m", "contradicted", "final_norm", "residual", "logits"),
}
KINDS = ("later neurons permuted",)


@dataclass(frozen=True)
class Printed:
    """The printed pairs of both kinds, of a model and untrained."""

    similar: PredictionSpec
    dissimilar: PredictionSpec
    untrained: tuple[PredictionSpec, PredictionSpec]


def printed(model: str) -> Printed:
    similar = PredictionSpec(f"{model}@main", pairing="printed_similar", steps=50)
    dissimilar = replace(similar, pairing="printed_dissimilar")
    untrained = replace(similar, weights="untrained:0"), replace(dissimilar, weights="untrained:0")
    return Printed(similar, dissimilar, untrained)


CASES = [pytest.param(printed(model.name), id=model.name) for model in catalog.studied()]


def counterfeits(case: Printed, draw: int) -> dict[str, tuple[PredictionSpec, PredictionSpec]]:
    similar, dissimilar = (claims.counterfeits(side, draw, KINDS) for side in (case.similar, case.dissimilar))
    return {kind: (similar[kind], dissimilar[kind]) for kind in similar}


CONTROLS = claims.controls(CASES, counterfeits)
SPECS = [
    pytest.param(spec, id=spec.id)
    for model in catalog.studied()
    for both in (printed(model.name).untrained, *counterfeits(printed(model.name), 0).values())
    for spec in both
]


def judge(similar: Predictions, dissimilar: Predictions) -> Verdict:
    """The claim on the printed pairs of both kinds."""
    straight, jumping = near_straight(similar), jumps(dissimilar)
    return Verdict(
        facts=(
            Fact("similar pairs near straight", int(straight.sum()), len(straight)),
            Fact("dissimilar pairs that jump", int(jumping.sum()), len(jumping)),
        ),
        notes=(numbers("similar", similar), numbers("dissimilar", dissimilar)),
    )


def near_straight(result: Predictions) -> np.ndarray:
    """Pairs below the bound on max slope, whose ends are within a tenth of their null's speed, (units,) bool."""
    return (result.by_unit("max_slope") < claims.LINEAR_SLOPE) & (claims.slowness(result) < claims.TENTH)


def jumps(result: Predictions) -> np.ndarray:
    """Pairs that jump beyond their own null, each by the margins that `claims.jumps` asks of a median, (units,)."""
    return (
        (claims.steepness(result) > claims.SLOPE_MARGIN)
        & (claims.slowness(result) > claims.TENTH)
        & (claims.nearness(result) > -claims.DETOUR_MARGIN)
    )


def numbers(called: str, result: Predictions) -> str:
    rows = zip(result.by_unit("max_slope"), claims.steepness(result), claims.slowness(result), strict=True)
    shown = ", ".join(f"{slope:.2f} ({steep:+.2f}, {slow:+.2f})" for slope, steep, slow in rows)
    return f"{called} pairs, max slope (above its null's; edge speed below, log): {shown}"


Measured = Callable[[PredictionSpec], Predictions]


@pytest.mark.parametrize("case", CASES)
def test_claim(case: Printed, measured: Measured, claim: Claim) -> None:
    claim.check(judge(measured(case.similar), measured(case.dissimilar)), EXPECTED)


@pytest.mark.parametrize(("case", "others"), CONTROLS)
def test_control(
    case: Printed, others: Mapping[str, tuple[PredictionSpec, PredictionSpec]], measured: Measured, claim: Claim
) -> None:
    similar, dissimilar = measured(case.similar), measured(case.dissimilar)
    one, other = case.untrained
    claim.refute(
        {name: judge(measured(first), measured(second)) for name, (first, second) in others.items()}
        | {
            "norm-only null": judge(similar.null, dissimilar.null),
            "untrained weights": judge(measured(one), measured(other)),
        }
    )
    line = claims.straight(similar, similar.distance[:, -1:] * similar.alphas)
    claim.confirm({"planted: straight lines and plateaus": judge(line, claims.planted(dissimilar))})


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: PredictionSpec, measured: Measured, baseline: object) -> None:
    assert baseline == measured(spec)
