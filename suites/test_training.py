"""Claim: sharpness grows with training (Janiak et al. 2024, section 4, "Impact of training progress", Fig. 4).

"First, curves for randomly initialized models appear close to linear. However, as training progresses, we observe an
increasing sharpness in the curves [...]. This suggests the emergence and refinement of stable regions throughout the
training process."

From the first to the last revision the output must come to jump: steeper than its own norm-only null, slower at its
ends, and not by going a longer way round (`measure/claims.py`); and the first curve must be near a straight line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from measure import catalog, claims, over_runs
from measure.claims import Claim
from measure.results import Curves
from measure.spec import CurveSpec
from measure.stats import Verdict

CLAIM = "Sharpness grows with training (Fig. 4, claim 2)"
# What a model must have to be asked.
TAKES = "revisions of its training"

MODELS = [model for model in catalog.models().values() if len(model.revisions) > 1]
# An accepted negative stands here with its verdict, model by model.
EXPECTED: dict[str, str] = {
    # Supported here, under 3 of 4 other draws.
    "ladder-olmo-0.2m": "inconclusive",
    # Not surely by the margin: slower ends (log), first to last.
    "ladder-qwen2-0.2m": "inconclusive",
    # Under --protocol strict.
    **claims.under_strict("ladder-olmo-0.2m", "inconclusive", "final_norm"),
}


@dataclass(frozen=True)
class Trajectory:
    """One model's revisions from untrained to `main`, the last one patched after its last block, an untrained copy."""

    model: str
    names: tuple[str, ...]
    revisions: tuple[CurveSpec, ...]
    last_block: CurveSpec
    untrained: CurveSpec


def trajectory(model: catalog.Model) -> Trajectory:
    main = CurveSpec(f"{model.name}@{model.revisions[-1]}")
    return Trajectory(
        model=model.name,
        names=model.revisions,
        revisions=tuple(CurveSpec(f"{model.name}@{revision}") for revision in model.revisions),
        last_block=replace(main, layer=model.layers, rows="independent"),
        untrained=replace(main, weights="untrained:1", rows="independent"),
    )


TRAJECTORIES = [pytest.param(trajectory(model), id=model.name) for model in MODELS]


def counterfeits(model: Trajectory, draw: int) -> dict[str, CurveSpec]:
    return claims.counterfeits(model.revisions[-1], draw)


CONTROLS = claims.controls(TRAJECTORIES, counterfeits)
# Untrained copies of seed 0 and patches after the last block have their baselines in the suite on families.
SPECS = [
    pytest.param(spec, id=spec.id) for group in map(trajectory, MODELS) for spec in (*group.revisions, group.untrained)
]


def judge(revisions: Sequence[Curves], notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on revisions in order of training."""
    return Verdict(
        effects=claims.sharper(revisions[0], revisions[-1], "first to last")
        + claims.near_linear(revisions[0], "first"),
        trends=claims.sharpening_trends(revisions),
        notes=notes,
    )


@pytest.mark.parametrize("model", TRAJECTORIES)
def test_claim(model: Trajectory, measured: Callable[[CurveSpec], Curves], claim: Claim) -> None:
    revisions = [measured(spec) for spec in model.revisions]
    notes = (
        *claims.onsets(model.names, revisions),
        claims.null_note(revisions[-1]),
        *over_runs.along_training(model.model),
    )
    claim.check(judge(revisions, notes), EXPECTED)


@pytest.mark.parametrize(("model", "others"), CONTROLS)
def test_control(
    model: Trajectory, others: Mapping[str, CurveSpec], measured: Callable[[CurveSpec], Curves], claim: Claim
) -> None:
    revisions = [measured(spec) for spec in model.revisions]
    before = revisions[:-1]
    claim.refute(
        {name: judge([*before, measured(spec)]) for name, spec in others.items()}
        | {
            "norm-only null of every revision": judge([result.null for result in revisions]),
            "norm-only null of the last": judge([*before, revisions[-1].null]),
            "the last patched after its last block": judge([*before, measured(model.last_block)]),
            "untrained weights for the last": judge([*before, measured(model.untrained)]),
            "revisions in reversed order": judge(revisions[::-1]),
        }
    )
    claim.confirm({"planted: from the null to plateaus": judge(claims.planted_growth(revisions))})


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: CurveSpec, measured: Callable[[CurveSpec], Curves], baseline: object) -> None:
    assert baseline == measured(spec)
