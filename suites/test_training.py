"""Claim: sharpness grows with training (Janiak et al. 2024, section 4, "Impact of training progress", Fig. 4).

"First, curves for randomly initialized models appear close to linear. However, as training progresses, we observe an
increasing sharpness in the curves [...]. This suggests the emergence and refinement of stable regions throughout the
training process."

Max slope alone is no evidence of stable regions: shuffling the entries of the trained matrices raises it as much. So
from the first to the last revision median max slope must rise *and* edge drift must fall, and the trained model's edges
must be flatter than its shuffled copy's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from measure import catalog, claims, stats
from measure.claims import Claim
from measure.results import Curves
from measure.spec import CurveSpec
from measure.stats import Effect, Verdict

CLAIM = "Sharpness grows with training (Fig. 4, claim 2)"

MODELS = [model for model in catalog.models().values() if len(model.revisions) > 1]
# An accepted negative stands here with its verdict, model by model.
EXPECTED: dict[str, str] = {}


@dataclass(frozen=True)
class Trajectory:
    """One model's revisions from untrained to `main`, and its counterfeits."""

    model: str
    names: tuple[str, ...]
    revisions: tuple[CurveSpec, ...]
    scrambled: CurveSpec
    scrambled_again: CurveSpec
    untrained_again: CurveSpec


def trajectory(model: catalog.Model) -> Trajectory:
    main = f"{model.name}@{model.revisions[-1]}"
    return Trajectory(
        model=model.name,
        names=model.revisions,
        revisions=tuple(CurveSpec(f"{model.name}@{revision}") for revision in model.revisions),
        scrambled=CurveSpec(main, weights="scrambled:0"),
        scrambled_again=CurveSpec(main, weights="scrambled:1"),
        untrained_again=CurveSpec(main, weights="untrained:1"),
    )


TRAJECTORIES = [pytest.param(trajectory(model), id=model.name) for model in MODELS]
# Untrained copies of seed 0 have their baselines in the suite on families.
SPECS = [
    pytest.param(spec, id=spec.id)
    for group in map(trajectory, MODELS)
    for spec in (*group.revisions, group.scrambled, group.scrambled_again, group.untrained_again)
]


def judge(revisions: Sequence[Curves], scrambled: Curves, notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on revisions in order of training, against the shuffled copy of the last one."""
    first = revisions[0]
    slope, drift = (stats.median_interval(first.by_unit(metric)) for metric in ("max_slope", "edge_drift"))
    linear = (
        Effect(
            f"first max slope below {claims.LINEAR_SLOPE}",
            stats.shifted(stats.negated(slope), claims.LINEAR_SLOPE),
            0.0,
        ),
        Effect(f"first edge drift above {claims.LINEAR_DRIFT}", stats.shifted(drift, -claims.LINEAR_DRIFT), 0.0),
    )
    return Verdict(
        effects=claims.sharper(first, revisions[-1], scrambled, "first to last") + linear,
        trends=claims.sharpening_trends(revisions),
        notes=notes,
    )


@pytest.mark.parametrize("model", TRAJECTORIES)
def test_claim(model: Trajectory, measured: Callable[[CurveSpec], Curves], claim: Claim) -> None:
    revisions = [measured(spec) for spec in model.revisions]
    notes = (*claims.onsets(model.names, revisions), claims.null_note(revisions[-1]))
    claim.check(judge(revisions, measured(model.scrambled), notes), EXPECTED)


@pytest.mark.parametrize("model", TRAJECTORIES)
def test_control(model: Trajectory, measured: Callable[[CurveSpec], Curves], claim: Claim) -> None:
    revisions = [measured(spec) for spec in model.revisions]
    scrambled = measured(model.scrambled)
    claim.refute(
        {
            "shuffled weights for the trained": judge([*revisions[:-1], measured(model.scrambled_again)], scrambled),
            "untrained weights for the trained": judge([revisions[0], measured(model.untrained_again)], scrambled),
            "revisions in reversed order": judge(revisions[::-1], scrambled),
        }
    )


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: CurveSpec, measured: Callable[[CurveSpec], Curves], baseline: object) -> None:
    assert baseline == measured(spec)
