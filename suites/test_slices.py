"""Claim: along training solid regions emerge in 2-D slices and their boundaries sharpen (Figs. 1 and 5-22, Appendix C).

"Initially, the plot shows a smooth gradient of colors. As training progresses, distinct regions of solid color
emerge, and the boundaries between these regions become increasingly sharp. [...] Some of them hint at existing
regions splitting."

18 disjoint triples, as many as the paper shows, the same at every revision. From the first to the last revision must
rise the share of cells within 0.1 of A's, B's or C's own colour and the share of all change held by the steepest 10 %
of cells, and the width of boundaries must fall. Shuffled weights sharpen boundaries too: what they lack is solid
colour, so the trained slices must be more solid than their shuffled copies. A region that splits (as in Fig. 11) is
looked for from each revision to the next, and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from measure import catalog, claims, stats
from measure.claims import Claim
from measure.slices import Slices, splits
from measure.spec import SliceSpec
from measure.stats import Effect, Verdict

CLAIM = "Along training solid regions emerge in slices (Figs. 1, 5-22)"

# Of the cells, or of the change; chosen when a trained, an untrained and a shuffled rung had been looked at.
CELLS_MARGIN = 0.02
# In units of alpha.
WIDTH_MARGIN = 0.1
# An accepted negative stands here with its verdict, model by model.
EXPECTED = {
    # The solid share rises, most of all early, and falls back: at the end not surely above the start by the margin.
    "ladder-olmo-0.2m": "inconclusive",
    "ladder-qwen2-0.2m": "inconclusive",
    # Under --protocol strict: before the norm the solid share rises by less.
    **claims.under_strict("ladder-olmo-0.2m", "inconclusive", "final_norm", "residual"),
    **claims.under_strict("ladder-olmo-1.1m", "inconclusive", "residual"),
    **claims.under_strict("ladder-qwen2-0.2m", "inconclusive", "final_norm", "residual"),
}


@dataclass(frozen=True)
class Trajectory:
    """One model's revisions from untrained to `main`, and its counterfeits."""

    names: tuple[str, ...]
    revisions: tuple[SliceSpec, ...]
    scrambled: SliceSpec
    scrambled_again: SliceSpec
    untrained_again: SliceSpec


def trajectory(model: catalog.Model) -> Trajectory:
    main = f"{model.name}@{model.revisions[-1]}"
    return Trajectory(
        model.revisions,
        tuple(SliceSpec(f"{model.name}@{revision}") for revision in model.revisions),
        SliceSpec(main, weights="scrambled:0"),
        SliceSpec(main, weights="scrambled:1"),
        SliceSpec(main, weights="untrained:1"),
    )


MODELS = [model for model in catalog.models().values() if len(model.revisions) > 1]
GROUPS = [pytest.param(trajectory(model), id=model.name) for model in MODELS]
SPECS = [
    pytest.param(spec, id=spec.id)
    for group in map(trajectory, MODELS)
    for spec in (*group.revisions, group.scrambled, group.scrambled_again, group.untrained_again)
]


def judge(revisions: Sequence[Slices], scrambled: Slices, notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on revisions in order of training, against the shuffled copy of the last one."""
    claims.check_paired([*revisions, scrambled])
    first, last = revisions[0], revisions[-1]
    solid, steep, narrow = (
        [result.solid_share for result in revisions],
        [result.steep_share for result in revisions],
        [-result.boundary_width for result in revisions],
    )
    return Verdict(
        effects=(
            Effect("solid share of cells rises", stats.median_rise(solid[0], solid[-1]), CELLS_MARGIN),
            Effect("steepest tenth holds more of the change", stats.median_rise(steep[0], steep[-1]), CELLS_MARGIN),
            Effect("boundaries narrow", stats.median_rise(last.boundary_width, first.boundary_width), WIDTH_MARGIN),
            Effect("more solid than shuffled", stats.median_rise(scrambled.solid_share, solid[-1]), CELLS_MARGIN),
        ),
        trends=stats.page_trends(
            {"trend: solid share": solid, "trend: steepest tenth": steep, "trend: narrower boundaries": narrow}
        ),
        notes=notes,
    )


def course(revisions: Sequence[Slices]) -> tuple[str, ...]:
    """Medians along training."""
    rows = []
    for metric, called in (("solid_share", "solid share"), ("boundary_width", "boundary width")):
        medians = (stats.median_interval(getattr(result, metric)).estimate for result in revisions)
        rows.append(f"{called} along training: {' '.join(f'{median:.2f}' for median in medians)}")
    return tuple(rows)


def split_note(names: Sequence[str], revisions: Sequence[Slices]) -> str:
    """Where a region of one revision is two or more in the next."""
    found = [
        (names[later], sum(splits(revisions[later - 1], revisions[later], t) for t in range(len(revisions[later]))))
        for later in range(1, len(revisions))
    ]
    where = ", ".join(f"{count} up to {name.partition('-')[0]}" for name, count in found if count)
    return f"regions that split, over {len(revisions[0])} slices: {where or 'none found'}"


Measured = Callable[[SliceSpec], Slices]


@pytest.mark.parametrize("model", GROUPS)
def test_claim(model: Trajectory, measured: Measured, claim: Claim) -> None:
    revisions = [measured(spec) for spec in model.revisions]
    notes = (*course(revisions), split_note(model.names, revisions))
    claim.check(judge(revisions, measured(model.scrambled), notes), EXPECTED)


@pytest.mark.parametrize("model", GROUPS)
def test_control(model: Trajectory, measured: Measured, claim: Claim) -> None:
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
def test_baseline(spec: SliceSpec, measured: Measured, baseline: object) -> None:
    assert baseline == measured(spec)
