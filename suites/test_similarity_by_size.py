"""Claim: the larger the Qwen2 model, the smaller the difference between similar and dissimilar prompts (footnote 3).

"For bigger models from the Qwen2 family, we observe smaller difference between semantically similar and different
prompts. We hypothesize that more capable models are able to make more precise predictions, even for very similar
prompts."

The difference is that of the suite on similarity: in median max slope and edge drift, dissimilar against similar word
pairs. From the smallest to the largest model it must shrink by more than the margins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from measure import catalog, claims, stats
from measure.claims import Claim
from measure.predictions import Predictions
from measure.spec import Pairing, PredictionSpec
from measure.stats import Effect, Verdict

CLAIM = "In larger Qwen2 models similar and dissimilar prompts differ less (footnote 3)"

# An accepted negative stands here with its verdict, family by family.
EXPECTED = {
    # At the ladder's sizes dissimilar prompts still grow sharper and similar ones stay near straight.
    "ladder-qwen2": "contradicted",
    # Under --protocol strict the same; before the norm not surely by the margin.
    **claims.under_strict("ladder-qwen2", "contradicted", "final_norm", "logits"),
    **claims.under_strict("ladder-qwen2", "inconclusive", "residual"),
}
# Dissimilar minus similar, of the smaller model minus that of the larger: similar, dissimilar; similar, dissimilar.
CONTRAST = (-1.0, 1.0, 1.0, -1.0)


@dataclass(frozen=True)
class Sizes:
    """Similar and dissimilar word pairs of the smallest and of the largest model, and of their shuffled copies."""

    smaller: tuple[PredictionSpec, PredictionSpec]
    larger: tuple[PredictionSpec, PredictionSpec]
    scrambled_smaller: tuple[PredictionSpec, PredictionSpec]
    scrambled_larger: tuple[PredictionSpec, PredictionSpec]


def sizes(source: catalog.Source) -> Sizes:
    models = catalog.sizes("qwen2", source)

    def both(model: catalog.Model, weights: str) -> tuple[PredictionSpec, PredictionSpec]:
        def spec(pairing: Pairing) -> PredictionSpec:
            return PredictionSpec(f"{model.name}@main", weights=weights, pairing=pairing, steps=50)

        return spec("similar"), spec("dissimilar")

    return Sizes(
        both(models[0], "stored"),
        both(models[-1], "stored"),
        both(models[0], "scrambled:0"),
        both(models[-1], "scrambled:0"),
    )


GROUPS = [pytest.param(sizes("ladder"), id="ladder-qwen2"), pytest.param(sizes("hub"), id="qwen2")]


def judge(smaller: tuple[Predictions, Predictions], larger: tuple[Predictions, Predictions]) -> Verdict:
    """The claim on (similar, dissimilar) of a smaller and of a larger model."""
    ordered = (*smaller, *larger)
    claims.check_paired(ordered[::2])
    claims.check_paired(ordered[1::2])
    slope = stats.median_contrast([result.by_unit("max_slope") for result in ordered], CONTRAST)
    drift = stats.median_contrast([-result.by_unit("edge_drift") for result in ordered], CONTRAST)
    return Verdict(
        effects=(
            Effect("difference in max slope shrinks", slope, claims.SLOPE_MARGIN),
            Effect("difference in edge drift shrinks", drift, claims.DRIFT_MARGIN),
        )
    )


Measured = Callable[[PredictionSpec], Predictions]


def both(measured: Measured, specs: tuple[PredictionSpec, PredictionSpec]) -> tuple[Predictions, Predictions]:
    return measured(specs[0]), measured(specs[1])


@pytest.mark.parametrize("models", GROUPS)
def test_claim(models: Sizes, measured: Measured, claim: Claim) -> None:
    claim.check(judge(both(measured, models.smaller), both(measured, models.larger)), EXPECTED)


@pytest.mark.parametrize("models", GROUPS)
def test_control(models: Sizes, measured: Measured, claim: Claim) -> None:
    smaller, larger = both(measured, models.smaller), both(measured, models.larger)
    scrambled = both(measured, models.scrambled_smaller), both(measured, models.scrambled_larger)
    claim.refute(
        {
            "labels swapped at random": judge(claims.mixed(*smaller), claims.mixed(*larger)),
            "shuffled weights": judge(*scrambled),
        }
    )
