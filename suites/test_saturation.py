"""Claim: the smaller model stops sharpening earlier (Janiak et al. 2024, section 4, Fig. 4c).

"Interestingly, the rate of this sharpening effect appears to plateau earlier for smaller OLMo-1B model compared to the
larger OLMo-7B."

A statement on *when*, not on how much: of all its growth from untrained to trained, the smaller model must have reached
a larger share after a quarter of its training tokens than the larger one, by a tenth, in max slope above the null's and
in edge speed below it. (The quarter was chosen when the rungs' medians along training were known.) A share of growth
means nothing without growth, so both models must jump more at the end than untrained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from measure import claims, stats
from measure.claims import Claim, Of
from measure.names import Title
from measure.results import Curves
from measure.spec import CurveSpec
from measure.stats import Effect, Interval, Verdict

CLAIM = Title("The smaller model stops sharpening earlier", place="Fig. 4c")
# What a model must have to be asked.
TAKES = "two sizes of one family, each with revisions of its training"

# An accepted negative stands here with its verdict, family by family.
EXPECTED: dict[str, str] = {
    # Not surely by the margin: share of growth reached earlier, slow ends.
    "ladder-olmo": "inconclusive",
    # Under --protocol strict.
    **claims.under_strict("ladder-olmo", "inconclusive", "final_norm", "residual", "logits"),
}


@dataclass(frozen=True)
class Late:
    """A smaller and a larger model, each untrained, after a quarter of its training and at its end."""

    name: str
    smaller: tuple[CurveSpec, CurveSpec, CurveSpec]
    larger: tuple[CurveSpec, CurveSpec, CurveSpec]


def course(start: CurveSpec, quarter: str, end: str) -> tuple[CurveSpec, CurveSpec, CurveSpec]:
    return start, CurveSpec(quarter), CurveSpec(end)


LADDER = Late(
    "ladder-olmo",
    course(CurveSpec("ladder-olmo-0.2m@step0-tokens0M"), "ladder-olmo-0.2m@step512-tokens2M", "ladder-olmo-0.2m@main"),
    course(CurveSpec("ladder-olmo-1.1m@step0-tokens0M"), "ladder-olmo-1.1m@step512-tokens2M", "ladder-olmo-1.1m@main"),
)
# A quarter of 3,050 and of 2,750 billion tokens; of their start only the architecture is published.
REAL = Late(
    "olmo",
    course(CurveSpec("olmo-1b@main", weights="untrained:0", rows="independent"), "olmo-1b@tokens762B", "olmo-1b@main"),
    course(CurveSpec("olmo-7b@main", weights="untrained:0", rows="independent"), "olmo-7b@tokens688B", "olmo-7b@main"),
)
GROUPS = [pytest.param(group, id=group.name) for group in (LADDER, REAL)]


def counterfeits(group: Late, draw: int) -> dict[str, CurveSpec]:
    """Of the end of the larger model: with it in the larger's place there is nothing that could come late."""
    return claims.counterfeits(group.larger[2], draw)


CONTROLS = claims.controls(GROUPS, counterfeits)
# The ladder's revisions have their baselines in the suite on training, `main` in that on size.
SPECS = [pytest.param(spec, id=spec.id) for spec in (REAL.smaller[1], REAL.larger[1])]

Course = tuple[Curves, Curves, Curves]


def reached_earlier(of: Of, smaller: Course, larger: Course) -> Interval:
    """Share of all growth reached after a quarter of training, smaller minus larger."""
    ordered = (*smaller, *larger)
    claims.check_paired(ordered)

    def difference(medians: np.ndarray) -> np.ndarray:
        a, b, c, d, e, f = np.moveaxis(medians, -1, 0)
        return np.asarray((b - a) / (c - a) - (e - d) / (f - d))

    return stats.of_medians([of(curves) for curves in ordered], difference, ends=smaller[0].unit_ends)


def judge(smaller: Course, larger: Course, notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on (untrained, after a quarter, at the end) of a smaller and of a larger model."""
    grown = [
        effect
        for size, (start, _, end) in (("smaller", smaller), ("larger", larger))
        for effect in claims.sharper(start, end, size)[:2]
    ]
    return Verdict(
        effects=(
            Effect(
                "share of growth reached earlier, max slope",
                reached_earlier(claims.steepness, smaller, larger),
                claims.SHARE_MARGIN,
            ),
            Effect(
                "share of growth reached earlier, slow ends",
                reached_earlier(claims.slowness, smaller, larger),
                claims.SHARE_MARGIN,
            ),
            *grown,
        ),
        notes=notes,
    )


def reached(called: str, model: Course) -> str:
    """The shares themselves."""
    shares = []
    for of, name in ((claims.steepness, "max slope"), (claims.slowness, "edge speed")):
        start, quarter, end = (float(np.nanmedian(of(curves))) for curves in model)
        shares.append(f"{name} {(quarter - start) / (end - start):.0%}")
    return f"reached by the {called} model after a quarter of training: {', '.join(shares)}"


Measured = Callable[[CurveSpec], Curves]


def along(measured: Measured, specs: tuple[CurveSpec, CurveSpec, CurveSpec]) -> Course:
    return measured(specs[0]), measured(specs[1]), measured(specs[2])


@pytest.mark.parametrize("group", GROUPS)
def test_claim(group: Late, measured: Measured, claim: Claim) -> None:
    smaller, larger = along(measured, group.smaller), along(measured, group.larger)
    claim.check(judge(smaller, larger, (reached("smaller", smaller), reached("larger", larger))), EXPECTED)


@pytest.mark.parametrize(("group", "others"), CONTROLS)
def test_control(group: Late, others: Mapping[str, CurveSpec], measured: Measured, claim: Claim) -> None:
    smaller, larger = along(measured, group.smaller), along(measured, group.larger)
    claim.refute(
        {name: judge(smaller, (*larger[:2], measured(spec))) for name, spec in others.items()}
        | {
            "sizes swapped": judge(larger, smaller),
            "training reversed": judge(smaller[::-1], larger[::-1]),
            "one model for both": judge(smaller, smaller),
        }
    )
    start, _, end = smaller
    early, late = claims.planted(end, 5.0), claims.planted(end, 2.0)
    claim.confirm({"planted: all at once, and late": judge((start, early, claims.planted(end)), (start, late, early))})


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: CurveSpec, measured: Measured, baseline: object) -> None:
    assert baseline == measured(spec)
