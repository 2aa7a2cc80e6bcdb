"""Claim: the smaller model stops sharpening earlier (Janiak et al. 2024, section 4, Fig. 4c).

"Interestingly, the rate of this sharpening effect appears to plateau earlier for smaller OLMo-1B model compared to the
larger OLMo-7B."

Over the last factor of four in training tokens, the larger model's max slope must rise by more than the smaller one's,
and its edge drift fall by more. (The factor of four was chosen when the rungs' medians along training were known; the
margins are those of every claim.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from measure import claims, stats
from measure.claims import Claim
from measure.results import Curves
from measure.spec import CurveSpec
from measure.stats import Effect, Verdict

CLAIM = "The smaller model stops sharpening earlier (Fig. 4c)"

# An accepted negative stands here with its verdict, family by family.
EXPECTED = {
    # Max slope says yes; the late fall of edge drift is larger too, but not by the whole margin at n = 400.
    "ladder-olmo": "inconclusive",
    # Under --protocol strict the same, whatever is read.
    **claims.under_strict("ladder-olmo", "inconclusive", "final_norm", "residual", "logits"),
}


@dataclass(frozen=True)
class Late:
    """A smaller and a larger model, each after a quarter of its training and at its end, and their shuffled copies."""

    name: str
    models: tuple[CurveSpec, CurveSpec, CurveSpec, CurveSpec]
    scrambled: tuple[CurveSpec, CurveSpec, CurveSpec, CurveSpec]


def late(name: str, smaller: tuple[str, str], larger: tuple[str, str]) -> Late:
    a, b, c, d = (*smaller, *larger)
    return Late(
        name,
        (CurveSpec(a), CurveSpec(b), CurveSpec(c), CurveSpec(d)),
        (
            CurveSpec(a, weights="scrambled:0"),
            CurveSpec(b, weights="scrambled:0"),
            CurveSpec(c, weights="scrambled:0"),
            CurveSpec(d, weights="scrambled:0"),
        ),
    )


LADDER = late(
    "ladder-olmo",
    ("ladder-olmo-0.2m@step512-tokens2M", "ladder-olmo-0.2m@main"),
    ("ladder-olmo-1.1m@step512-tokens2M", "ladder-olmo-1.1m@main"),
)
# A quarter of 3,050 and of 2,750 billion tokens.
REAL = late("olmo", ("olmo-1b@tokens762B", "olmo-1b@main"), ("olmo-7b@tokens688B", "olmo-7b@main"))
GROUPS = [pytest.param(group, id=group.name) for group in (LADDER, REAL)]
# Revisions in the catalog, and `main`'s shuffled copies, have their baselines in the suite on training.
SPECS = [
    pytest.param(spec, id=spec.id)
    for group in (LADDER, REAL)
    for spec in (*group.models[::2], *group.scrambled[::2])
    if not (group is LADDER and spec.weights == "stored")
]
# Late change of the larger model minus that of the smaller: smaller early, late; larger early, late.
CONTRAST = (1.0, -1.0, -1.0, 1.0)


def judge(smaller: tuple[Curves, Curves], larger: tuple[Curves, Curves]) -> Verdict:
    """The claim on (after a quarter, at the end) of a smaller and of a larger model."""
    ordered = (*smaller, *larger)
    claims.check_paired(ordered)
    slope = stats.median_contrast([curves.by_unit("max_slope") for curves in ordered], CONTRAST)
    drift = stats.median_contrast([-curves.by_unit("edge_drift") for curves in ordered], CONTRAST)
    return Verdict(
        effects=(
            Effect("late rise of max slope, larger - smaller", slope, claims.SLOPE_MARGIN),
            Effect("late fall of edge drift, larger - smaller", drift, claims.DRIFT_MARGIN),
        )
    )


@pytest.mark.parametrize("group", GROUPS)
def test_claim(group: Late, measured: Callable[[CurveSpec], Curves], claim: Claim) -> None:
    a, b, c, d = (measured(spec) for spec in group.models)
    claim.check(judge((a, b), (c, d)), EXPECTED)


@pytest.mark.parametrize("group", GROUPS)
def test_control(group: Late, measured: Callable[[CurveSpec], Curves], claim: Claim) -> None:
    a, b, c, d = (measured(spec) for spec in group.models)
    e, f, g, h = (measured(spec) for spec in group.scrambled)
    claim.refute(
        {
            "sizes swapped": judge((c, d), (a, b)),
            "training reversed": judge((b, a), (d, c)),
            "shuffled weights": judge((e, f), (g, h)),
        }
    )


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: CurveSpec, measured: Callable[[CurveSpec], Curves], baseline: object) -> None:
    assert baseline == measured(spec)
