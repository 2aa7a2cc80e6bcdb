"""Claim: sharpness grows with model size (Janiak et al. 2024, section 4, "Impact of model size", Fig. 3).

"The curves appear to get sharper with increased model size. We quantify this sharpening effect in Figure 3c by plotting
the median of maximum slope of the relative distance, which confirms the qualitative observation."

Sizes of one family are measured on the same prompts and compared in pairs: the largest must jump more than the
smallest, each beyond its own norm-only null (`measure/claims/`). The verdict is on these checkpoints; where several
training runs of two sizes of the ladder were measured, the effect over runs stands beside it, n being the number of
runs. Of a family that the user named with three runs or more of its smallest and largest size the claim is about runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest
from _pytest.mark import ParameterSet

from measure import catalog, claims
from measure.claims import Claim, over_runs
from measure.names import Title
from measure.results import Curves
from measure.spec import CurveSpec
from measure.stats import Verdict

CLAIM = Title("Sharpness grows with model size", place="Fig. 3, claim 2")
# What a model must have to be asked.
TAKES = "two sizes of one family"

FAMILIES: dict[str, list[catalog.Model]] = {
    "ladder-olmo": catalog.sizes("olmo", "ladder"),
    "ladder-qwen2": catalog.sizes("qwen2", "ladder"),
    "olmo": catalog.sizes("olmo", "hub"),
    "qwen2": catalog.sizes("qwen2", "hub"),
    **catalog.relatives(),
}
# An accepted negative stands here with its verdict, family by family.
EXPECTED: dict[str, str] = {
    # Under --protocol strict.
    **claims.under_strict("ladder-olmo", "inconclusive", "residual"),
    **claims.under_strict("ladder-qwen2", "inconclusive", "residual"),
}


@dataclass(frozen=True)
class Runs:
    """Training runs of the smallest size and of the largest; these patched after the last block; all untrained."""

    small: tuple[CurveSpec, ...]
    large: tuple[CurveSpec, ...]
    last_block: tuple[CurveSpec, ...]
    untrained: tuple[tuple[CurveSpec, ...], tuple[CurveSpec, ...]]


@dataclass(frozen=True)
class Family:
    """The sizes of one family, smallest first, each untrained too, and the smallest size from several seeds."""

    name: str
    labels: tuple[str, ...]
    sizes: tuple[CurveSpec, ...]
    last_block: CurveSpec
    untrained: tuple[CurveSpec, ...]
    seeds: tuple[CurveSpec, ...]
    runs: Runs | None = None


def family(name: str, models: Sequence[catalog.Model]) -> Family:
    names = [f"{model.name}@main" for model in models]
    return Family(
        name=name,
        labels=tuple(model.name.removeprefix(f"{name}-") for model in models),
        sizes=tuple(CurveSpec(model) for model in names),
        last_block=CurveSpec(names[-1], layer=models[-1].layers, rows="independent"),
        untrained=tuple(CurveSpec(model, weights="untrained:0", rows="independent") for model in names),
        seeds=tuple(CurveSpec(f"{model.name}@main") for model in catalog.seeds(models[0])),
        runs=runs(models),
    )


def runs(models: Sequence[catalog.Model]) -> Runs | None:
    """The runs of the smallest size and of the largest; None where either has too few."""
    small, large = (catalog.runs(model) for model in (models[0], models[-1]))
    if not (small and large and len(models) > 1):
        return None
    smaller, larger = (tuple(CurveSpec(f"{run.name}@main") for run in found) for found in (small, large))

    def untrained(specs: tuple[CurveSpec, ...]) -> tuple[CurveSpec, ...]:
        return tuple(replace(spec, weights=f"untrained:{n}", rows="independent") for n, spec in enumerate(specs))

    return Runs(
        small=smaller,
        large=larger,
        last_block=tuple(replace(spec, layer=models[-1].layers, rows="independent") for spec in larger),
        untrained=(untrained(smaller), untrained(larger)),
    )


def group(name: str, models: Sequence[catalog.Model]) -> ParameterSet:
    skip = [pytest.mark.skip(f"not measured: the family {name} has one size, nothing to compare")]
    return pytest.param(family(name, models), id=name, marks=skip if len(models) < 2 else [])


GROUPS = [group(name, models) for name, models in FAMILIES.items()]


def counterfeits(sizes: Family, draw: int) -> dict[str, CurveSpec | tuple[CurveSpec, ...]]:
    """Of the largest size a spec by kind, of runs of it one for each."""
    if sizes.runs is None:
        return dict(claims.counterfeits(sizes.sizes[-1], draw))
    each = [claims.counterfeits(spec, draw) for spec in sizes.runs.large]
    return {kind: tuple(one[kind] for one in each) for kind in each[0]}


CONTROLS = claims.controls(GROUPS, counterfeits)
# Sizes and seeds; what has training revisions has its baseline of `main` in the suite on training.
SPECS = [
    pytest.param(spec, id=spec.id)
    for name, models in FAMILIES.items()
    for spec in dict.fromkeys((*family(name, models).sizes, *family(name, models).seeds))
    # Of models of their own the suite on families has the baselines.
    if len(catalog.models()[spec.ref.name].revisions) == 1 and name not in catalog.relatives()
]


def judge(sizes: Sequence[Curves], notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on sizes in order."""
    return Verdict(
        effects=claims.sharper(sizes[0], sizes[-1], "smallest to largest"),
        trends=claims.sharpening_trends(sizes),
        notes=notes,
    )


def judge_runs(small: Sequence[Curves], large: Sequence[Curves]) -> Verdict:
    """The claim between runs of two sizes."""
    notes = (f"over {len(small)} and {len(large)} training runs (n = runs)", claims.null_note(large[0]))
    return Verdict(effects=over_runs.sharper_between(small, large, "smallest to largest"), notes=notes)


@pytest.mark.parametrize("sizes", GROUPS)
def test_claim(sizes: Family, measured: Callable[[CurveSpec], Curves], claim: Claim) -> None:
    if sizes.runs is not None:
        small, large = ([measured(spec) for spec in specs] for specs in (sizes.runs.small, sizes.runs.large))
        claim.check(judge_runs(small, large), EXPECTED)
        return
    curves = [measured(spec) for spec in sizes.sizes]
    notes = [claims.null_note(curves[-1])]
    if len(curves) < 3:
        notes.append("trend: not applicable with two sizes")
    if len(sizes.seeds) > 1:
        notes.append(claims.seed_note([measured(spec) for spec in sizes.seeds]))
    claim.check(judge(curves, (*notes, *over_runs.by_size(sizes.name, sizes.labels))), EXPECTED)


@pytest.mark.parametrize(("sizes", "others"), CONTROLS)
def test_control(
    sizes: Family,
    others: Mapping[str, CurveSpec | tuple[CurveSpec, ...]],
    measured: Callable[[CurveSpec], Curves],
    claim: Claim,
) -> None:
    if sizes.runs is not None:
        control_runs(sizes.runs, others, measured, claim)
        return
    trained, untrained, seeds = (
        [measured(spec) for spec in specs] for specs in (sizes.sizes, sizes.untrained, sizes.seeds)
    )
    smaller = trained[:-1]
    alone = {name: spec for name, spec in others.items() if isinstance(spec, CurveSpec)}
    refuted = {name: judge([*smaller, measured(spec)]) for name, spec in alone.items()} | {
        "norm-only null at every size": judge([result.null for result in trained]),
        "norm-only null of the largest": judge([*smaller, trained[-1].null]),
        "the largest patched after its last block": judge([*smaller, measured(sizes.last_block)]),
        "untrained weights at every size": judge(untrained),
        "sizes in reversed order": judge(trained[::-1]),
    }
    if len(seeds) > 1:
        refuted["training seeds for sizes"] = judge(seeds)
    claim.refute(refuted)
    claim.confirm({"planted: from the null to plateaus": judge(claims.planted_growth(trained))})


def control_runs(
    sizes: Runs, others: Mapping[str, Sequence[CurveSpec]], measured: Callable[[CurveSpec], Curves], claim: Claim
) -> None:
    """The same control, each counterfeit in the place of every run of the largest size."""
    small, large = ([measured(spec) for spec in specs] for specs in (sizes.small, sizes.large))
    claim.refute(
        {name: judge_runs(small, [measured(spec) for spec in specs]) for name, specs in others.items()}
        | {
            "norm-only null at every size": judge_runs([run.null for run in small], [run.null for run in large]),
            "norm-only null of the largest": judge_runs(small, [run.null for run in large]),
            "the largest patched after its last block": judge_runs(small, [measured(s) for s in sizes.last_block]),
            "untrained weights at every size": judge_runs(*([measured(s) for s in part] for part in sizes.untrained)),
            "sizes in reversed order": judge_runs(large, small),
        }
    )
    grown = [claims.planted_growth([a, b]) for a, b in zip(small, large, strict=False)]
    claim.confirm({"planted: from the null to plateaus": judge_runs(*map(list, zip(*grown, strict=True)))})


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: CurveSpec, measured: Callable[[CurveSpec], Curves], baseline: object) -> None:
    assert baseline == measured(spec)
