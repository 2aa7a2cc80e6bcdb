"""Not in the paper: before the final norm the effects are weaker.

The paper's text reads the residual stream "after last layer"; the authors' code reads it after the final norm, which
alone bends a straight line. Here the growth of sharpness with training is measured with both reads on the same
forwards: read before the norm, max slope must rise less and edge drift fall less, by the margins. Beside it stand
both growths, and that in the logits, so that one sees whether the effect survives without the norm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from measure import catalog, claims, stats
from measure.claims import Claim
from measure.results import Curves
from measure.spec import CurveSpec, Read
from measure.stats import Effect, Verdict

CLAIM = "Before the final norm the effects are weaker (not in the paper)"

# This suite chooses its reads itself, also under --protocol strict.
READS: tuple[Read, ...] = ("final_norm", "residual", "logits")
# An accepted negative stands here with its verdict, model by model.
EXPECTED = {
    # Max slope rises less before the norm, beyond the margin; edge drift falls less too, not surely by the margin.
    "ladder-olmo-0.2m": "inconclusive",
    "ladder-qwen2-0.2m": "inconclusive",
}
# Growth after the norm minus growth before it: first and last after the norm, first and last before it.
CONTRAST = (-1.0, 1.0, 1.0, -1.0)

Growth = tuple[CurveSpec, CurveSpec]


@dataclass(frozen=True)
class Reads:
    """One model's first and last revision with each read, and twice its untrained copy."""

    trained: tuple[Growth, ...]
    untrained: tuple[Growth, ...]


def growth(model: catalog.Model, read: Read, last_weights: str) -> Growth:
    first, last = (f"{model.name}@{revision}" for revision in (model.revisions[0], model.revisions[-1]))
    return CurveSpec(first, read=read), CurveSpec(last, weights=last_weights, read=read)


def reads(model: catalog.Model) -> Reads:
    return Reads(
        tuple(growth(model, read, "stored") for read in READS),
        tuple(growth(model, read, "untrained:1") for read in READS),
    )


MODELS = [model for model in catalog.models().values() if len(model.revisions) > 1]
GROUPS = [pytest.param(reads(model), id=model.name) for model in MODELS]
# Those read after the final norm have their baselines in the suite on training.
SPECS = [
    pytest.param(spec, id=spec.id)
    for group in map(reads, MODELS)
    for spec in dict.fromkeys(spec for specs in (*group.trained, *group.untrained) for spec in specs)
    if spec.read != "final_norm"
]

Measured = Callable[[CurveSpec], Curves]
Grown = tuple[Curves, Curves]


def judge(after: Grown, before: Grown, notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on (first, last) read after the norm and before it."""
    ordered = (*after, *before)
    claims.check_paired(ordered)
    slope = stats.median_contrast([curves.by_unit("max_slope") for curves in ordered], CONTRAST)
    drift = stats.median_contrast([-curves.by_unit("edge_drift") for curves in ordered], CONTRAST)
    return Verdict(
        effects=(
            Effect("max slope rises less before the norm", slope, claims.SLOPE_MARGIN),
            Effect("edge drift falls less before the norm", drift, claims.DRIFT_MARGIN),
        ),
        notes=notes,
    )


def grown(measured: Measured, specs: Growth) -> Grown:
    return measured(specs[0]), measured(specs[1])


def survives(measured: Measured, model: Reads) -> tuple[str, ...]:
    """Growth of sharpness with training, read by read."""
    rows = []
    for read, specs in zip(READS, model.trained, strict=True):
        first, last = grown(measured, specs)
        slope = stats.median_rise(first.by_unit("max_slope"), last.by_unit("max_slope"))
        drift = stats.median_rise(last.by_unit("edge_drift"), first.by_unit("edge_drift"))
        rows.append(f"{read}: max slope rises {slope}, edge drift falls {drift}")
    return tuple(rows)


@pytest.mark.parametrize("model", GROUPS)
def test_claim(model: Reads, measured: Measured, claim: Claim) -> None:
    after, before = (grown(measured, specs) for specs in model.trained[:2])
    claim.check(judge(after, before, survives(measured, model)), EXPECTED)


@pytest.mark.parametrize("model", GROUPS)
def test_control(model: Reads, measured: Measured, claim: Claim) -> None:
    after, before = (grown(measured, specs) for specs in model.trained[:2])
    claim.refute(
        {
            "reads swapped": judge(before, after),
            "reads swapped at random": judge(*zip(*map(claims.mixed, after, before), strict=True)),
            "untrained for the trained": judge(*(grown(measured, specs) for specs in model.untrained[:2])),
        }
    )


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: CurveSpec, measured: Measured, baseline: object) -> None:
    assert baseline == measured(spec)
