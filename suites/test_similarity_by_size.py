"""Claim: the larger the Qwen2 model, the smaller the difference between similar and dissimilar prompts (footnote 3).

"For bigger models from the Qwen2 family, we observe smaller difference between semantically similar and different
prompts. We hypothesize that more capable models are able to make more precise predictions, even for very similar
prompts."

The difference is that of the suite on similarity: in median max slope and edge speed beyond the norm-only null,
dissimilar against similar word pairs, whole second words resampled. From the smallest to the largest model it must
shrink by more than the margins. The paper speaks of 0.5 to 7 billion parameters; *contradicted* on the ladder means
reversed at 0.2 to 3 million.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from measure import catalog, claims, stats
from measure.claims import Claim, Of
from measure.names import Title
from measure.results.predictions import Predictions
from measure.spec import Pairing, PredictionSpec
from measure.stats import Effect, Interval, Verdict

CLAIM = Title("In larger Qwen2 models similar and dissimilar prompts differ less", place="footnote 3")
# What a model must have to be asked.
TAKES = "two sizes of Qwen2"

# An accepted negative stands here with its verdict, family by family.
EXPECTED: dict[str, str] = {
    # The other way round: difference in steepness over null shrinks; difference in slow ends (log) shrinks.
    "ladder-qwen2": "contradicted",
    # Under --protocol strict.
    **claims.under_strict("ladder-qwen2", "contradicted", "final_norm", "logits"),
    **claims.under_strict("ladder-qwen2", "inconclusive", "residual"),
}
# Dissimilar minus similar, of the smaller model minus that of the larger: similar, dissimilar; similar, dissimilar.
CONTRAST = (-1.0, 1.0, 1.0, -1.0)


@dataclass(frozen=True)
class Sizes:
    """Similar and dissimilar word pairs of the smallest and of the largest model, and of both untrained."""

    smaller: tuple[PredictionSpec, PredictionSpec]
    larger: tuple[PredictionSpec, PredictionSpec]
    untrained_smaller: tuple[PredictionSpec, PredictionSpec]
    untrained_larger: tuple[PredictionSpec, PredictionSpec]


def sizes(source: catalog.Source) -> Sizes:
    models = catalog.sizes("qwen2", source)

    def both(model: catalog.Model, weights: str) -> tuple[PredictionSpec, PredictionSpec]:
        def spec(pairing: Pairing) -> PredictionSpec:
            return PredictionSpec(f"{model.name}@main", weights=weights, pairing=pairing, steps=50)

        return spec("similar"), spec("dissimilar")

    return Sizes(
        both(models[0], "stored"),
        both(models[-1], "stored"),
        both(models[0], "untrained:0"),
        both(models[-1], "untrained:0"),
    )


GROUPS = [pytest.param(sizes("ladder"), id="ladder-qwen2"), pytest.param(sizes("hub"), id="qwen2")]


def counterfeits(models: Sizes, draw: int) -> dict[str, tuple[PredictionSpec, PredictionSpec]]:
    """Each counterfeit of the smaller model, whose difference would so come to nothing."""
    similar, dissimilar = (claims.counterfeits(spec, draw, claims.FEWER_KINDS) for spec in models.smaller)
    return {kind: (similar[kind], dissimilar[kind]) for kind in similar}


CONTROLS = claims.controls(GROUPS, counterfeits)


def judge(smaller: tuple[Predictions, Predictions], larger: tuple[Predictions, Predictions]) -> Verdict:
    """The claim on (similar, dissimilar) of a smaller and of a larger model."""
    ordered = (*smaller, *larger)
    claims.check_paired(ordered[::2])
    claims.check_paired(ordered[1::2])
    words = second_words(smaller[1])

    def shrinks(of: Of) -> Interval:
        return stats.median_contrast([of(result) for result in ordered], CONTRAST, clusters=words)

    return Verdict(
        effects=(
            Effect("difference in steepness over null shrinks", shrinks(claims.steepness), claims.SLOPE_MARGIN),
            Effect("difference in slow ends (log) shrinks", shrinks(claims.slowness), claims.TENTH),
        )
    )


def second_words(result: Predictions) -> np.ndarray:
    """The second word of each row's pair, by its token."""
    return result.last_tokens[: len(result) // 2, 1]


Measured = Callable[[PredictionSpec], Predictions]


def both(measured: Measured, specs: tuple[PredictionSpec, PredictionSpec]) -> tuple[Predictions, Predictions]:
    return measured(specs[0]), measured(specs[1])


@pytest.mark.parametrize("models", GROUPS)
def test_claim(models: Sizes, measured: Measured, claim: Claim) -> None:
    claim.check(judge(both(measured, models.smaller), both(measured, models.larger)), EXPECTED)


@pytest.mark.parametrize(("models", "others"), CONTROLS)
def test_control(
    models: Sizes, others: Mapping[str, tuple[PredictionSpec, PredictionSpec]], measured: Measured, claim: Claim
) -> None:
    smaller, larger = both(measured, models.smaller), both(measured, models.larger)
    untrained = both(measured, models.untrained_smaller), both(measured, models.untrained_larger)
    null = smaller[0].null, smaller[1].null
    claim.refute(
        {name: judge(both(measured, specs), larger) for name, specs in others.items()}
        | {
            "norm-only null of the smaller": judge(null, larger),
            "labels swapped at random": judge(claims.mixed(*smaller), claims.mixed(*larger)),
            "untrained weights": judge(*untrained),
            "one model for both": judge(smaller, smaller),
        }
    )
    planted = (claims.replace_by_null(smaller[0]), claims.planted(smaller[1]))
    claim.confirm({"planted: plateaus in the smaller alone": judge(planted, (null[0], null[1]))})
