"""Claim: the MLPs after the patch make the plateau, attention less (not in the paper; found on a small model).

In a 12-block character model the median width goes from 0.36 back to 0.80, a straight line's, when the MLPs of the four
blocks after the patch are scaled by 0, and to 0.31 when they are amplified (billy000400/marsv, dir13); freezing MLPs
removes plateaus and freezing attention hardly does (Shinkle 2025).

What the MLPs of the first third of the later blocks add to the residual stream is scaled by 0, 0.5, 1 and 1.5, in every
run, so that A and B stay and F is the changed model's. With them the output must be steeper over its null and slower at
its ends than without; both must grow with the factor (Page's test, adjusted by Holm); and without the attention of
those blocks it must be slower at its ends than without their MLPs: else it is the blocks, and not their MLPs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from measure import catalog, claims
from measure.claims import Claim
from measure.names import Title
from measure.results import Curves
from measure.spec import CurveSpec, Scaled
from measure.stats import Effect, Verdict

CLAIM = Title("The MLPs after the patch make the plateau, attention less", place="not in the paper")
MODELS = catalog.deep(4)
# An accepted negative stands here with its verdict, model by model.
EXPECTED: dict[str, str] = {
    # Both trends hold, and it is steeper with MLPs; not surely by the margin: MLPs over attention (+0.08).
    "gemma3-270m": "inconclusive",
    # Both trends hold; not surely by the margin: with MLPs over without, MLPs over attention.
    "ladder-olmo-1.1m": "inconclusive",
    "ladder-olmo-3m": "inconclusive",
    "ladder-qwen2-1.1m": "inconclusive",
    "ladder-qwen2-3m": "inconclusive",
    # Under --protocol strict.
    **claims.under_strict("ladder-olmo-1.1m", "inconclusive", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-olmo-3m", "inconclusive", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-qwen2-1.1m", "inconclusive", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-qwen2-3m", "inconclusive", "final_norm", "residual", "logits"),
}


@dataclass(frozen=True)
class Parts:
    """One trained model as it is, with its first later MLPs scaled, and with its first later attention taken away."""

    whole: CurveSpec
    without: CurveSpec
    half: CurveSpec
    more: CurveSpec
    no_attention: CurveSpec


def parts(name: str) -> Parts:
    whole = CurveSpec(f"{name}@main")
    last = 1 + max(1, round((catalog.models()[name].layers - 1) / 3))

    def scaled(part: str, factor: float) -> CurveSpec:
        return replace(whole, rows="independent", interventions=(Scaled(part, blocks=(2, last), factor=factor),))

    return Parts(whole, scaled("mlp", 0.0), scaled("mlp", 0.5), scaled("mlp", 1.5), scaled("attention", 0.0))


CASES = [pytest.param(parts(name), id=name) for name in MODELS]


def counterfeits(case: Parts, draw: int) -> dict[str, CurveSpec]:
    return claims.counterfeits(case.whole, draw, claims.FEWER_KINDS)


CONTROLS = claims.controls(CASES, counterfeits)
SPECS = [
    pytest.param(spec, id=spec.id)
    for case in map(parts, MODELS)
    for spec in (case.without, case.half, case.more, case.no_attention)
]


@dataclass(frozen=True)
class Found:
    """Curves of `Parts`."""

    whole: Curves
    without: Curves
    half: Curves
    more: Curves
    no_attention: Curves


def judge(found: Found, notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on one model's curves."""
    rather = claims.rise(claims.slowness, found.without, found.no_attention)
    return Verdict(
        effects=(
            *claims.sharper(found.without, found.whole, "without its MLPs to with them")[:2],
            Effect("slower ends (log), without MLPs to without attention", rather, claims.TENTH),
        ),
        trends=claims.sharpening_trends([found.without, found.half, found.whole, found.more]),
        notes=notes,
    )


def told(found: Found) -> tuple[str, ...]:
    """Medians of each."""
    rows = {
        "MLPs times 0": found.without,
        "0.5": found.half,
        "1": found.whole,
        "1.5": found.more,
        "attention times 0": found.no_attention,
    }
    slopes, speeds = (
        ", ".join(f"{name} {np.nanmedian(curves.by_unit(metric)):.2f}" for name, curves in rows.items())
        for metric in ("max_slope", "edge_speed")
    )
    return f"median max slope: {slopes}", f"median edge speed: {speeds}"


Measured = Callable[[CurveSpec], Curves]


def measured_parts(case: Parts, measured: Measured) -> Found:
    return Found(*(measured(spec) for spec in vars(case).values()))


@pytest.mark.parametrize("case", CASES)
def test_claim(case: Parts, measured: Measured, claim: Claim) -> None:
    found = measured_parts(case, measured)
    claim.check(judge(found, told(found)), EXPECTED)


@pytest.mark.parametrize(("case", "others"), CONTROLS)
def test_control(case: Parts, others: Mapping[str, CurveSpec], measured: Measured, claim: Claim) -> None:
    found = measured_parts(case, measured)
    null = found.whole.null
    claim.refute(
        {name: judge(replace(found, whole=measured(spec))) for name, spec in others.items()}
        | {
            "attention in the place of MLPs": judge(
                replace(found, without=found.no_attention, no_attention=found.without)
            ),
            "norm-only null in the place of each": judge(Found(null, null, null, null, null)),
            "factors in reversed order": judge(
                replace(found, without=found.more, half=found.whole, whole=found.half, more=found.without)
            ),
            "MLPs never changed": judge(Found(found.whole, found.whole, found.whole, found.whole, found.no_attention)),
        }
    )
    slopes = {"whole": 5.0, "without": 1.2, "half": 3.0, "more": 7.0, "no_attention": 5.0}
    planted = {name: claims.planted(vars(found)[name], slope) for name, slope in slopes.items()}
    claim.confirm({"planted: the more of its MLPs, the sharper": judge(Found(**planted))})


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: CurveSpec, measured: Measured, baseline: object) -> None:
    assert baseline == measured(spec)
