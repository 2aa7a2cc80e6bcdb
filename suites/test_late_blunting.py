"""Claim: late in training plateaus blunt again (not in the paper; found on Pythia-1.4B).

From step 64,000 to 143,000 of Pythia-1.4B-deduped the median width of 1,000 pairs grew by 0.016 [0.008, 0.022] where it
had been falling until then (billy000400/marsv, dir19): "grows with training" is not monotone.

From a revision late in training, half of the ladder's tokens and a quarter of OLMo's, to its end the output must jump
less, steepness over the null and slowness at the ends each by a fiftieth, as much as was found there; and late in
training there must be a jump to lose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from measure import claims
from measure.claims import Claim
from measure.names import Title
from measure.results import Curves
from measure.spec import CurveSpec
from measure.stats import Effect, Verdict

CLAIM = Title("Late in training plateaus blunt again", place="not in the paper")
# What a model must have to be asked.
TAKES = "revisions of its training"
# An accepted negative stands here with its verdict, model by model.
EXPECTED: dict[str, str] = {
    # Not surely by the margin: both.
    "ladder-olmo-0.2m": "inconclusive",
    # Steeper still from half of its training to its end.
    "ladder-olmo-1.1m": "contradicted",
    # Under --protocol strict.
    **claims.under_strict("ladder-olmo-0.2m", "contradicted", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-olmo-1.1m", "contradicted", "final_norm", "residual", "logits"),
}
# In max slope, and in the log of edge speed.
BLUNTING_MARGIN = 0.02
# The revision from which on a model is looked at.
LATE = {
    "ladder-olmo-0.2m": "step1024-tokens4M",
    "ladder-olmo-1.1m": "step1024-tokens4M",
    "olmo-1b": "tokens762B",
    "olmo-7b": "tokens688B",
}


@dataclass(frozen=True)
class Ending:
    """One model late in training and at its end."""

    late: CurveSpec
    end: CurveSpec


CASES = [
    pytest.param(Ending(CurveSpec(f"{name}@{revision}"), CurveSpec(f"{name}@main")), id=name)
    for name, revision in LATE.items()
]


def counterfeits(case: Ending, draw: int) -> dict[str, CurveSpec]:
    """Of the end, in the place of what was before: with them at the end anything has blunted."""
    return claims.counterfeits(case.end, draw, claims.FEWER_KINDS)


CONTROLS = claims.controls(CASES, counterfeits)


def judge(late: Curves, end: Curves, notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on one model late in training and at its end."""
    return Verdict(
        effects=(
            Effect("less steep over null at the end", claims.rise(claims.steepness, end, late), BLUNTING_MARGIN),
            Effect("faster ends (log) at the end", claims.rise(claims.slowness, end, late), BLUNTING_MARGIN),
            Effect("late: max slope above its null's", claims.level(claims.steepness, late), claims.SLOPE_MARGIN),
        ),
        notes=notes,
    )


Measured = Callable[[CurveSpec], Curves]


@pytest.mark.parametrize("case", CASES)
def test_claim(case: Ending, measured: Measured, claim: Claim) -> None:
    late, end = measured(case.late), measured(case.end)
    claim.check(judge(late, end, (claims.null_note(end),)), EXPECTED)


@pytest.mark.parametrize(("case", "others"), CONTROLS)
def test_control(case: Ending, others: Mapping[str, CurveSpec], measured: Measured, claim: Claim) -> None:
    late, end = measured(case.late), measured(case.end)
    claim.refute(
        {name: judge(measured(spec), end) for name, spec in others.items()}
        | {
            "norm-only nulls of both": judge(late.null, end.null),
            "one revision for both": judge(late, late),
            "late and end exchanged by a coin, pair by pair": judge(*claims.mixed(late, end)),
        }
    )
    claim.confirm({"planted: plateaus that blunt": judge(claims.planted(late, 6.0), claims.planted(end, 5.0))})
