"""Claim: the blocks after the patch make the plateau (not in the paper; found elsewhere on Pythia and GPT-2).

Patched after block 0, 6, 12, 18 or 23 of 24, Pythia-1.4B's median width is 0.55, 0.65, 0.73, 0.80 and 0.81, a straight
line's being 0.8 (billy000400/marsv, dir18): the fewer blocks follow, the less there is of a plateau.

One model patched after every block in turn, on the same pairs. After the first block, when all follow, the output must
be steeper over its null and slower at its ends than after the block that half of them follow, so that it is no matter
of one block alone; and over all blocks both must grow with the number that follows (Page's test, adjusted by Holm).
Patched after its last block a model's output is its norm-only null, so that this end of the trend cannot fail: it is
left out of the test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from measure import catalog, claims, stats
from measure.claims import Claim
from measure.names import Title
from measure.results import Curves
from measure.spec import CurveSpec
from measure.stats import Verdict

CLAIM = Title("The blocks after the patch make the plateau", place="not in the paper")
# A trend takes three blocks before the last.
MODELS = catalog.deep(4)
# An accepted negative stands here with its verdict, model by model.
EXPECTED: dict[str, str] = {
    # Both trends hold; not surely by the margin: slower ends, half of the blocks to all.
    "ladder-olmo-1.1m": "inconclusive",
    "ladder-olmo-3m": "inconclusive",
    "ladder-qwen2-1.1m": "inconclusive",
    "ladder-qwen2-3m": "inconclusive",
    # Under --protocol strict.
    **claims.under_strict("ladder-olmo-1.1m", "inconclusive", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-olmo-3m", "inconclusive", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-qwen2-1.1m", "inconclusive", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-qwen2-3m", "inconclusive", "final_norm", "residual", "logits"),
}


@dataclass(frozen=True)
class Depths:
    """One trained model patched after each of its blocks but the last, and untrained after the first."""

    trained: tuple[CurveSpec, ...]
    untrained: CurveSpec


def depths(name: str) -> Depths:
    """The curves of the suite on layers: after the first block those of all pairs, which others use."""
    first = CurveSpec(f"{name}@main")
    later = (replace(first, layer=layer, rows="independent") for layer in range(2, catalog.models()[name].layers))
    return Depths((first, *later), replace(first, weights="untrained:0", rows="independent"))


CASES = [pytest.param(depths(name), id=name) for name in MODELS]


def counterfeits(case: Depths, draw: int) -> dict[str, CurveSpec]:
    return claims.counterfeits(case.trained[0], draw, claims.FEWER_KINDS)


CONTROLS = claims.controls(CASES, counterfeits)


def judge(by_depth: Sequence[Curves], notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on one model's curves, after its first block and on."""
    first, half = by_depth[0], by_depth[len(by_depth) // 2]
    return Verdict(
        effects=claims.sharper(half, first, "half of the blocks to all")[:2],
        trends=claims.sharpening_trends(by_depth[::-1]),
        notes=notes,
    )


def told(by_depth: Sequence[Curves]) -> tuple[str, ...]:
    """Medians block by block, and how many blocks must follow."""
    labels = [f"{after} blocks after it" for after in range(1, len(by_depth) + 1)]
    speeds = [stats.median_interval(-claims.slowness(curves)).estimate for curves in by_depth]
    return (
        f"edge speed over its null's, log, after layers 1 to {len(by_depth)}: {' '.join(f'{x:+.2f}' for x in speeds)}",
        *claims.onsets(labels, by_depth[::-1]),
    )


Measured = Callable[[CurveSpec], Curves]


@pytest.mark.parametrize("case", CASES)
def test_claim(case: Depths, measured: Measured, claim: Claim) -> None:
    by_depth = [measured(spec) for spec in case.trained]
    claim.check(judge(by_depth, told(by_depth)), EXPECTED)


@pytest.mark.parametrize(("case", "others"), CONTROLS)
def test_control(case: Depths, others: Mapping[str, CurveSpec], measured: Measured, claim: Claim) -> None:
    by_depth = [measured(spec) for spec in case.trained]
    later = by_depth[1:]
    claim.refute(
        {name: judge([measured(spec), *later]) for name, spec in others.items()}
        | {
            "norm-only null after every block": judge([curves.null for curves in by_depth]),
            "untrained weights after the first": judge([measured(case.untrained), *later]),
            "blocks in reversed order": judge(by_depth[::-1]),
            "half of the blocks for all of the first half": judge(
                [by_depth[len(by_depth) // 2]] * (len(by_depth) // 2) + by_depth[len(by_depth) // 2 :]
            ),
        }
    )
    slopes = np.linspace(6.0, 1.5, len(by_depth))
    planted = [claims.planted(curves, slope) for curves, slope in zip(by_depth, slopes, strict=True)]
    claim.confirm({"planted: the softer, the fewer blocks follow": judge(planted)})
