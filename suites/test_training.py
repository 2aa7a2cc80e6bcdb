"""Claim: sharpness grows with training (Janiak et al. 2024, section 4, "Impact of training progress", Fig. 4).

"First, curves for randomly initialized models appear close to linear. However, as training progresses, we observe an
increasing sharpness in the curves [...]. This suggests the emergence and refinement of stable regions throughout the
training process."

Max slope alone is no evidence of stable regions: shuffling the entries of the trained matrices raises it as much. So
from the first to the last revision median max slope must rise *and* edge drift must fall, and the trained model's edges
must be flatter than its shuffled copy's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from measure import catalog, stats
from measure.plugin import Claim
from measure.results import Curves
from measure.spec import CurveSpec
from measure.stats import Effect, Verdict

CLAIM = "Sharpness grows with training (Fig. 4)"

# Fixed before measuring (protocol strict): two training seeds already differ by 0.03 in median max slope.
SLOPE_MARGIN = 0.1
DRIFT_MARGIN = 0.01
# Near linear: a straight line has max slope 1 and edge drift 0.184.
LINEAR_SLOPE = 1.2
LINEAR_DRIFT = 0.16

MODELS = [model for model in catalog.models().values() if model.family == "olmo" and len(model.revisions) > 1]
EXPECTED: dict[str, str] = {}


@dataclass(frozen=True)
class Trajectory:
    """One model's revisions from untrained to `main`, and its counterfeits."""

    revisions: tuple[CurveSpec, ...]
    scrambled: CurveSpec
    scrambled_again: CurveSpec
    untrained_again: CurveSpec


def trajectory(model: catalog.Model) -> Trajectory:
    main = f"{model.name}@{model.revisions[-1]}"
    return Trajectory(
        revisions=tuple(CurveSpec(f"{model.name}@{revision}") for revision in model.revisions),
        scrambled=CurveSpec(main, weights="scrambled:0"),
        scrambled_again=CurveSpec(main, weights="scrambled:1"),
        untrained_again=CurveSpec(main, weights="untrained:1"),
    )


TRAJECTORIES = [pytest.param(trajectory(model), id=model.name) for model in MODELS]
SPECS = [pytest.param(spec, id=spec.id) for model in MODELS for spec in trajectory(model).revisions]


def judge(revisions: list[Curves], scrambled: Curves) -> Verdict:
    """The claim on revisions in order of training, against the shuffled copy of the last one."""
    first, last = revisions[0], revisions[-1]
    slopes = [curves.by_unit("max_slope") for curves in revisions]
    drifts = [curves.by_unit("edge_drift") for curves in revisions]
    fall = stats.negated(stats.median_rise(drifts[0], drifts[-1]))
    flatter = stats.median_rise(drifts[-1], scrambled.by_unit("edge_drift"))
    straight = stats.shifted(stats.negated(stats.median_interval(first.by_unit("max_slope"))), LINEAR_SLOPE)
    undecided = stats.shifted(stats.median_interval(first.by_unit("edge_drift")), -LINEAR_DRIFT)
    trends = [
        stats.page_trend("trend: max slope rises", slopes),
        stats.page_trend("trend: edge drift falls", [-drift for drift in drifts]),
    ]
    assert len(last) == len(first)
    return Verdict(
        effects=(
            Effect("max slope rises, first to last", stats.median_rise(slopes[0], slopes[-1]), SLOPE_MARGIN),
            Effect("edge drift falls, first to last", fall, DRIFT_MARGIN),
            Effect("edge drift below shuffled weights'", flatter, DRIFT_MARGIN),
            Effect(f"untrained max slope below {LINEAR_SLOPE}", straight, 0.0),
            Effect(f"untrained edge drift above {LINEAR_DRIFT}", undecided, 0.0),
        ),
        trends=tuple(trend for trend in trends if trend is not None),
    )


@pytest.mark.parametrize("model", TRAJECTORIES)
def test_claim(model: Trajectory, measured: Callable[[CurveSpec], Curves], claim: Claim) -> None:
    revisions = [measured(spec) for spec in model.revisions]
    name = model.scrambled.model.partition("@")[0]
    claim.check(judge(revisions, measured(model.scrambled)), expected=EXPECTED.get(name, "supported"))


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
