"""Claim: stable regions are much larger than polytopes (introduction, claim 4; footnote and Appendix F of version 4).

"When interpolating between semantically different prompts, we appear to cross only a single region boundary. However,
we expect many neurons to switch throughout this interpolation [...] (but testing this is a topic for future
research)."

Counted are gates whose pre-activation changes sign along the segment, in every block after the patch, on a grid of
which every second point may be left out. That many switch says little: they do in an untrained model. What makes
regions larger than polytopes are the sign changes *inside the flat parts*, where the output moves at less than half
its mean speed: there many boundaries of polytopes are crossed and no boundary of a region. The norm-only null has
hardly any flat parts, and what the model has must be more.

SiLU and GELU, in all these models, have no true polytopes: a sign change is the usual stand-in. In GPT-2 and
GPT-NeoX, which have no gates, it is that of the pre-activation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from measure import catalog, claims, stats
from measure.claims import Claim
from measure.names import Title
from measure.results.crossings import Crossings
from measure.spec import CrossingSpec
from measure.stats import Effect, Verdict

CLAIM = Title("Regions are larger than polytopes", place="claim 4")

# Of the segment, and of its sign changes; chosen when the rungs had been looked at (9 to 25 % flat).
FLAT_MARGIN = 0.05
# Between one boundary and two.
BOUNDARIES = 1.5
# Share of the sign changes that may be missed by leaving out every second point.
MISSED = 0.05
# An accepted negative stands here with its verdict, model by model.
EXPECTED: dict[str, str] = {
    # Without BOS it has no plateau: two-sided drift, not surely no more than its null's.
    "gemma3-270m": "inconclusive",
    # Not surely by the margin: sign changes in flat parts, above its null's; flat share of the segment, above its
    # null's.
    "ladder-olmo-0.2m": "inconclusive",
    "ladder-qwen2-0.2m": "inconclusive",
    # Supported here, under 3 of 4 other draws.
    "ladder-qwen2-1.1m": "inconclusive",
    # Under --protocol strict.
    **claims.under_strict("ladder-olmo-0.2m", "inconclusive", "final_norm", "residual"),
    **claims.under_strict("ladder-olmo-1.1m", "inconclusive", "residual"),
    **claims.under_strict("ladder-olmo-3m", "inconclusive", "residual"),
    **claims.under_strict("ladder-qwen2-0.2m", "inconclusive", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-qwen2-1.1m", "inconclusive", "residual"),
    **claims.under_strict("ladder-qwen2-3m", "inconclusive", "residual"),
}


@dataclass(frozen=True)
class Case:
    """One model on random pairs, trained and not."""

    trained: CrossingSpec
    untrained: CrossingSpec


def case(model: str) -> Case:
    trained = CrossingSpec(f"{model}@main")
    return Case(trained, replace(trained, weights="untrained:0"))


def weights_id(name: str, spec: CrossingSpec) -> str:
    return spec.id.replace("@main", "").replace(f"{name}-main", name).replace("-crossing", "")


MODELS = [model.name for model in catalog.studied()]
CASES = [pytest.param(case(name), id=name) for name in MODELS]


def counterfeits(case: Case, draw: int) -> dict[str, CrossingSpec]:
    return claims.counterfeits(case.trained, draw, claims.FEWER_KINDS)


CONTROLS = claims.controls(CASES, counterfeits)
SPECS = [
    pytest.param(spec, id=weights_id(name, spec))
    for name in MODELS
    for spec in (*vars(case(name)).values(), *counterfeits(case(name), 0).values())
]


def judge(result: Crossings, notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on one model's pairs, against their own norm-only null."""

    def level(metric: str) -> stats.Interval:
        return claims.level(lambda curves: curves.by_unit(metric), result)

    def above(metric: str) -> stats.Interval:
        return claims.level(lambda curves: curves.beyond_null(metric), result)

    missed, boundaries = level("missed_by_half"), level("region_boundaries")
    return Verdict(
        effects=(
            Effect("sign changes in flat parts, above its null's", above("flat_crossing_share"), FLAT_MARGIN),
            Effect("flat share of the segment, above its null's", above("flat_share"), FLAT_MARGIN),
            Effect(
                "two-sided drift not above null's, log + 0.2",
                stats.shifted(claims.level(claims.nearness, result), claims.DETOUR_MARGIN),
                0.0,
            ),
            Effect("region boundaries, fewer than two", stats.shifted(stats.negated(boundaries), BOUNDARIES), 0.0),
            Effect("missed on half the grid, below 5 %", stats.shifted(stats.negated(missed), MISSED), 0.0),
        ),
        notes=notes,
    )


def counts(result: Crossings) -> tuple[str, ...]:
    """The counts themselves, the last block's count between the ends alone, and where gates switch."""
    median = {
        name: stats.median_interval(result.by_unit(name))
        for name in ("total", "flat_crossings", "region_boundaries", "crossing_rate_ratio")
    }
    ends = np.median(result.end_crossings[:, -1])
    ratio = median["crossing_rate_ratio"]
    return (
        f"a segment: {median['total'].estimate:.0f} sign changes of {int(result.gates.sum())} gates, "
        f"{median['flat_crossings'].estimate:.0f} in flat parts; {median['region_boundaries'].estimate:.0f} boundary",
        f"last block, ends alone: {ends:.0f} of {result.gates[-1]} gates differ",
        f"sign changes per length, flat over moving parts: {ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]",
    )


def even(result: Crossings) -> Crossings:
    """The same sign changes under an output that moves evenly and straight: a planted line."""
    return claims.straight(result, result.distance[:, -1:] * result.alphas)


Measured = Callable[[CrossingSpec], Crossings]


@pytest.mark.parametrize("case", CASES)
def test_claim(case: Case, measured: Measured, claim: Claim) -> None:
    result = measured(case.trained)
    claim.check(judge(result, counts(result)), EXPECTED)


@pytest.mark.parametrize(("case", "others"), CONTROLS)
def test_control(case: Case, others: Mapping[str, CrossingSpec], measured: Measured, claim: Claim) -> None:
    result = measured(case.trained)
    claim.refute(
        {name: judge(measured(spec)) for name, spec in others.items()}
        | {
            "norm-only null under the same sign changes": judge(claims.replace_by_null(result)),
            "untrained weights": judge(measured(case.untrained)),
            "a planted line": judge(even(result)),
        }
    )
    claim.confirm({"planted plateaus under the same sign changes": judge(claims.planted(result))})


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: CrossingSpec, measured: Measured, baseline: object) -> None:
    assert baseline == measured(spec)
