"""Not in the paper: before the final norm the effects are weaker.

The paper's text reads the residual stream "after last layer"; the authors' code reads it after the final norm, which
alone bends a straight line. Here the growth of sharpness with training is measured with both reads on the same
forwards, each beyond its own norm-only null: read before the norm, max slope must rise less and edge speed fall less,
by the margins. (What is weaker before the norm in bare numbers is largely the norm's own bend.) Beside it stand both
growths, and that in the logits, so that one sees whether the effect survives without the norm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pytest

from measure import catalog, claims
from measure.claims import Claim
from measure.names import Title
from measure.results import Curves
from measure.spec import CurveSpec, Read, Rows
from measure.stats import Effect, Verdict

CLAIM = Title("Before the final norm the effects are weaker", place="not in the paper")

# This suite chooses its reads itself, also under --protocol strict.
READS: tuple[Read, ...] = ("final_norm", "residual", "logits")
# An accepted negative stands here with its verdict, model by model.
EXPECTED: dict[str, str] = {
    # Not surely by the margin: each part; before the norm it is steeper, if anything.
    "gemma3-270m": "inconclusive",
    # Not surely by the margin: each part.
    "smollm2-135m-instruct": "inconclusive",
    # Not surely by the margin: steeper over null, less before the norm; slower ends (log), less before the norm.
    "ladder-olmo-0.2m": "inconclusive",
    "ladder-olmo-1.1m": "inconclusive",
    "ladder-qwen2-0.2m": "inconclusive",
}
# Growth after the norm minus growth before it: first and last after the norm, first and last before it.
CONTRAST = (-1.0, 1.0, 1.0, -1.0)

# Which counterfeits it must refute: what is read of them differs, their blocks do not.
KINDS = ("later blocks shuffled", "later neurons permuted", "all weights shuffled")

Growth = tuple[CurveSpec, CurveSpec]


@dataclass(frozen=True)
class Reads:
    """One model's first and last revision with each read, and twice its untrained copy."""

    trained: tuple[Growth, ...]
    untrained: tuple[Growth, ...]


def growth(model: catalog.Model, read: Read, last_weights: str) -> Growth:
    """First and last revision with a read; of a model that has but one, untrained weights stand for the first."""
    last = CurveSpec(f"{model.name}@{model.revisions[-1]}", read=read)
    first = replace(last, model=f"{model.name}@{model.revisions[0]}")
    if len(model.revisions) == 1:
        first = replace(last, weights="untrained:0", rows="independent")
    rows: Rows = "all" if last_weights == "stored" else "independent"
    return first, replace(last, weights=last_weights, rows=rows)


def reads(model: catalog.Model) -> Reads:
    return Reads(
        tuple(growth(model, read, "stored") for read in READS),
        tuple(growth(model, read, "untrained:1") for read in READS),
    )


MODELS = [*(model for model in catalog.models().values() if len(model.revisions) > 1), *catalog.alone()]
GROUPS = [pytest.param(reads(model), id=model.name) for model in MODELS]


def counterfeits(model: Reads, draw: int) -> dict[str, tuple[CurveSpec, CurveSpec]]:
    """Each counterfeit of the last revision, read after the norm and before it."""
    (_, after), (_, before) = model.trained[:2]
    return {
        kind: (spec, replace(spec, read=before.read)) for kind, spec in claims.counterfeits(after, draw, KINDS).items()
    }


CONTROLS = claims.controls(GROUPS, counterfeits)
# Those read after the final norm have their baselines in the suite on training.
SPECS = [
    pytest.param(spec, id=spec.id)
    for group in map(reads, MODELS)
    for spec in dict.fromkeys(
        spec for specs in (*group.trained, *group.untrained, *counterfeits(group, 0).values()) for spec in specs
    )
    if spec.read != "final_norm"
]

Measured = Callable[[CurveSpec], Curves]
Grown = tuple[Curves, Curves]


def judge(after: Grown, before: Grown, notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on (first, last) read after the norm and before it."""
    ordered = (*after, *before)
    slope, speed = (claims.contrast(of, ordered, CONTRAST) for of in (claims.steepness, claims.slowness))
    return Verdict(
        effects=(
            Effect("steeper over null, less before the norm", slope, claims.SLOPE_MARGIN),
            Effect("slower ends (log), less before the norm", speed, claims.TENTH),
        ),
        notes=notes,
    )


def grown(measured: Measured, specs: Growth) -> Grown:
    return measured(specs[0]), measured(specs[1])


def at_random(after: Grown, before: Grown) -> tuple[Grown, Grown]:
    """Both reads of the first and of the last exchanged, unit by unit, by a coin."""
    (a, c), (b, d) = claims.mixed(after[0], before[0]), claims.mixed(after[1], before[1])
    return (a, b), (c, d)


def survives(measured: Measured, model: Reads) -> tuple[str, ...]:
    """Growth of sharpness with training, read by read."""
    rows = []
    for read, specs in zip(READS, model.trained, strict=True):
        first, last = grown(measured, specs)
        slope, speed = (claims.rise(of, first, last) for of in (claims.steepness, claims.slowness))
        rows.append(f"{read}: beyond the null max slope rises {slope}, edge speed falls {speed}")
    return tuple(rows)


@pytest.mark.parametrize("model", GROUPS)
def test_claim(model: Reads, measured: Measured, claim: Claim) -> None:
    after, before = (grown(measured, specs) for specs in model.trained[:2])
    claim.check(judge(after, before, survives(measured, model)), EXPECTED)


@pytest.mark.parametrize(("model", "others"), CONTROLS)
def test_control(
    model: Reads, others: Mapping[str, tuple[CurveSpec, CurveSpec]], measured: Measured, claim: Claim
) -> None:
    after, before = (grown(measured, specs) for specs in model.trained[:2])
    untrained = grown(measured, model.untrained[0]), grown(measured, model.untrained[1])
    claim.refute(
        {name: judge((after[0], measured(one)), (before[0], measured(other))) for name, (one, other) in others.items()}
        | {
            "reads swapped": judge(before, after),
            "reads swapped at random": judge(*at_random(after, before)),
            "norm-only null of both reads": judge((after[0].null, after[1].null), (before[0].null, before[1].null)),
            "untrained for the trained": judge(*untrained),
        }
    )
    planted = (after[0].null, claims.planted(after[1])), (before[0].null, claims.planted(before[1], 2.0))
    claim.confirm({"planted plateaus, softer before the norm": judge(*planted)})


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: CurveSpec, measured: Measured, baseline: object) -> None:
    assert baseline == measured(spec)
