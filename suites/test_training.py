"""Claim: sharpness grows with training (Janiak et al. 2024, section 4, "Impact of training progress", Fig. 4).

"First, curves for randomly initialized models appear close to linear. However, as training progresses, we observe an
increasing sharpness in the curves [...]. This suggests the emergence and refinement of stable regions throughout the
training process."

From the first to the last revision the output must come to jump: steeper than its own norm-only null, slower at its
ends, and not by going a longer way round (`measure/claims/`); and the first curve must be near a straight line.

Of three runs of one recipe or more, which differ in their seed, the claim is about runs: n is their number, and each
effect the mean over runs of what each run's pairs have for a median (`measure/claims/over_runs.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from measure import catalog, claims
from measure.claims import Claim, over_runs
from measure.names import Title
from measure.results import Curves
from measure.spec import CurveSpec
from measure.stats import Verdict

CLAIM = Title("Sharpness grows with training", place="Fig. 4, claim 2")
# What a model must have to be asked.
TAKES = "revisions of its training"

MODELS = [model for model in catalog.models().values() if len(model.revisions) > 1 and not catalog.runs(model)]
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


@dataclass(frozen=True)
class Runs:
    """The runs of one recipe, each at the revisions that all of them have."""

    names: tuple[str, ...]
    runs: tuple[Trajectory, ...]


def runs(models: Sequence[catalog.Model]) -> Runs:
    common = tuple(name for name in models[0].revisions if all(name in model.revisions for model in models))
    return Runs(common, tuple(trajectory(replace(model, revisions=common)) for model in models))


TRAJECTORIES = [pytest.param(trajectory(model), id=model.name) for model in MODELS]
# By the names of their runs, so that a recipe comes once.
RECIPES = {
    tuple(model.name for model in found): found for found in map(catalog.runs, catalog.models().values()) if found
}
# What was left out of one run as stale is left out of all.
TRAJECTORIES += [
    pytest.param(recipe, id=f"{recipe.runs[0].model}-runs")
    for recipe in map(runs, RECIPES.values())
    if len(recipe.names) > 1
]


def counterfeits(model: Trajectory | Runs, draw: int) -> dict[str, CurveSpec | tuple[CurveSpec, ...]]:
    """Of one model a spec by kind, of runs one for each."""
    if isinstance(model, Trajectory):
        return dict(claims.counterfeits(model.revisions[-1], draw))
    each = [claims.counterfeits(run.revisions[-1], draw) for run in model.runs]
    return {kind: tuple(one[kind] for one in each) for kind in each[0]}


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


def judge_runs(found: Sequence[Sequence[Curves]]) -> Verdict:
    """The claim on runs, each its revisions in order of training."""
    first, last = [run[0] for run in found], [run[-1] for run in found]
    effects = over_runs.sharper(first, last, "first to last") + over_runs.near_linear(first, "first")
    notes = (f"over {len(found)} training runs (n = runs)", claims.null_note(last[0]))
    return Verdict(effects=effects, trends=over_runs.trends(found), notes=notes)


@pytest.mark.parametrize("model", TRAJECTORIES)
def test_claim(model: Trajectory | Runs, measured: Callable[[CurveSpec], Curves], claim: Claim) -> None:
    if isinstance(model, Runs):
        claim.check(judge_runs([[measured(spec) for spec in run.revisions] for run in model.runs]), EXPECTED)
        return
    revisions = [measured(spec) for spec in model.revisions]
    notes = (
        *claims.onsets(model.names, revisions),
        claims.null_note(revisions[-1]),
        *over_runs.along_training(model.model),
    )
    claim.check(judge(revisions, notes), EXPECTED)


@pytest.mark.parametrize(("model", "others"), CONTROLS)
def test_control(
    model: Trajectory | Runs,
    others: Mapping[str, CurveSpec | tuple[CurveSpec, ...]],
    measured: Callable[[CurveSpec], Curves],
    claim: Claim,
) -> None:
    if isinstance(model, Runs):
        control_runs(model, others, measured, claim)
        return
    revisions = [measured(spec) for spec in model.revisions]
    before = revisions[:-1]
    claim.refute(
        {name: judge([*before, measured(spec)]) for name, spec in others.items() if isinstance(spec, CurveSpec)}
        | {
            "norm-only null of every revision": judge([result.null for result in revisions]),
            "norm-only null of the last": judge([*before, revisions[-1].null]),
            "the last patched after its last block": judge([*before, measured(model.last_block)]),
            "untrained weights for the last": judge([*before, measured(model.untrained)]),
            "revisions in reversed order": judge(revisions[::-1]),
        }
    )
    claim.confirm({"planted: from the null to plateaus": judge(claims.planted_growth(revisions))})


def control_runs(
    model: Runs, others: Mapping[str, Sequence[CurveSpec]], measured: Callable[[CurveSpec], Curves], claim: Claim
) -> None:
    """The same control, each counterfeit in the place of every run's last revision."""
    found = [[measured(spec) for spec in run.revisions] for run in model.runs]

    def with_last(last: Sequence[Curves]) -> Verdict:
        return judge_runs([[*run[:-1], one] for run, one in zip(found, last, strict=True)])

    claim.refute(
        {name: with_last([measured(spec) for spec in specs]) for name, specs in others.items()}
        | {
            "norm-only null of every revision": judge_runs([[result.null for result in run] for run in found]),
            "norm-only null of the last": with_last([run[-1].null for run in found]),
            "the last patched after its last block": with_last([measured(run.last_block) for run in model.runs]),
            "untrained weights for the last": with_last([measured(run.untrained) for run in model.runs]),
            "revisions in reversed order": judge_runs([run[::-1] for run in found]),
        }
    )
    grown = [[straight(run[0]), *claims.planted_growth(run)[1:]] for run in found]
    claim.confirm({"planted: from straight lines to plateaus": judge_runs(grown)})


def straight(curves: Curves) -> Curves:
    """A straight line whose norm-only null is one: of few runs a null of their own may not be near it."""
    even = curves.distance[:, -1:] * curves.alphas
    return replace(claims.straight(curves, even), null_distance=even)


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: CurveSpec, measured: Callable[[CurveSpec], Curves], baseline: object) -> None:
    assert baseline == measured(spec)
