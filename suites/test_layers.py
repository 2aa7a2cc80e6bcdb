"""Claim: after a later layer curves are smoother, and still jump (Janiak et al. 2024, Appendix E, Figs. 23 and 24).

"We present qualitative comparison of sharpness of the shapes of d(alpha) [...] when we interpolate and patch after 1st
(Figure 23) and after 7th (Figure 24) layer in Qwen2-1.5B. [...] While smoother, results [...]"

Smoother: paired on the same prompts, median max slope above the norm-only null's is lower after the later layer. Still
jumping: there too the output jumps beyond its null (`measure/claims/`). Models below 14 layers are too shallow for
layer 7: their later layer is max(2, round(depth / 4)). All layers are swept beside the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from measure import catalog, claims, stats
from measure.claims import Claim
from measure.names import Title
from measure.results import Curves
from measure.spec import CurveSpec
from measure.stats import Effect, Verdict

CLAIM = Title("After a later layer curves are smoother and still jump", place="Figs. 23-24")

PAPER_LAYER = 7
# Between the first layer and the last there must be one.
MODELS = catalog.deep(3)
# An accepted negative stands here with its verdict, model by model.
EXPECTED: dict[str, str] = {
    # Much smoother after the seventh, and there hardly slower at its ends than its null.
    "gemma3-270m": "inconclusive",
    # Slopes fall from layer to layer; after the seventh, of 200 pairs, not surely by the margin.
    "smollm2-135m-instruct": "inconclusive",
    # Not surely by the margin: smoother: steepness over null, first - later.
    "ladder-olmo-1.1m": "inconclusive",
    "ladder-qwen2-1.1m": "inconclusive",
    "ladder-qwen2-3m": "inconclusive",
    # Supported here, under 1 of 4 other draws.
    "ladder-olmo-3m": "inconclusive",
    # Under --protocol strict.
    **claims.under_strict("ladder-olmo-1.1m", "inconclusive", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-olmo-3m", "inconclusive", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-qwen2-1.1m", "inconclusive", "final_norm", "residual", "logits"),
    **claims.under_strict("ladder-qwen2-3m", "inconclusive", "final_norm"),
}


@dataclass(frozen=True)
class Layers:
    """One trained model after its first and a later layer, untrained after both, and all its layers."""

    model: str
    trained: tuple[CurveSpec, CurveSpec]
    untrained: tuple[CurveSpec, CurveSpec]
    sweep: tuple[CurveSpec, ...]


def later_layer(model: catalog.Model) -> int:
    return PAPER_LAYER if model.layers >= 2 * PAPER_LAYER else max(2, round(model.layers / 4))


def layers(name: str) -> Layers:
    model = catalog.models()[name]
    main, later = f"{name}@main", later_layer(model)

    def both(weights: str) -> tuple[CurveSpec, CurveSpec]:
        return spec(main, weights=weights), spec(main, weights=weights, layer=later)

    return Layers(
        model=name,
        trained=both("stored"),
        untrained=both("untrained:0"),
        sweep=tuple(spec(main, layer=layer) for layer in range(1, model.layers + 1)),
    )


def spec(model: str, *, layer: int = 1, weights: str = "stored") -> CurveSpec:
    """Curves of the pairs that inference uses; of the trained model after its first layer, which others use, of all."""
    usual = weights == "stored" and layer == 1
    return CurveSpec(model, weights=weights, layer=layer, rows="all" if usual else "independent")


GROUPS = [pytest.param(layers(name), id=name) for name in MODELS]


def counterfeits(model: Layers, draw: int) -> dict[str, CurveSpec]:
    return claims.counterfeits(model.trained[1], draw, claims.FEWER_KINDS)


CONTROLS = claims.controls(GROUPS, counterfeits)
# After the first layer curves have their baselines in the suites on training, size, families and counterfeits; after
# the last one in that on families.
SPECS = [
    pytest.param(spec, id=spec.id)
    for group in map(layers, MODELS)
    for spec in (*group.sweep[:-1], group.untrained[1], *counterfeits(group, 0).values())
    if spec.layer > 1
]


def judge(first: Curves, later: Curves, notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on curves after the first and after the later layer."""
    smoother = claims.rise(claims.steepness, later, first)
    return Verdict(
        effects=(
            Effect("smoother: steepness over null, first - later", smoother, claims.SLOPE_MARGIN),
            *claims.jumps(later),
        ),
        notes=notes,
    )


def sweep_note(metric: str, called: str, sweep: list[Curves]) -> str:
    medians = (stats.median_interval(curves.by_unit(metric)).estimate for curves in sweep)
    return f"{called} after layers 1 to {len(sweep)}: {' '.join(f'{median:.2f}' for median in medians)}"


@pytest.mark.parametrize("model", GROUPS)
def test_claim(model: Layers, measured: Callable[[CurveSpec], Curves], claim: Claim) -> None:
    first, later = (measured(spec) for spec in model.trained)
    sweep = [measured(spec) for spec in model.sweep]
    notes = (sweep_note("max_slope", "max slope", sweep), sweep_note("edge_speed", "edge speed", sweep))
    claim.check(judge(first, later, notes), EXPECTED)


@pytest.mark.parametrize(("model", "others"), CONTROLS)
def test_control(
    model: Layers, others: Mapping[str, CurveSpec], measured: Callable[[CurveSpec], Curves], claim: Claim
) -> None:
    first, later = (measured(spec) for spec in model.trained)
    untrained = [measured(spec) for spec in model.untrained]
    claim.refute(
        {name: judge(first, measured(spec)) for name, spec in others.items()}
        | {
            "norm-only null": judge(first, later.null),
            "patched after the last block": judge(first, measured(model.sweep[-1])),
            "untrained weights": judge(untrained[0], untrained[1]),
            "layers swapped": judge(later, first),
        }
    )
    claim.confirm({"planted plateaus, then softer ones": judge(claims.planted(first), claims.planted(later, 3.0))})


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: CurveSpec, measured: Callable[[CurveSpec], Curves], baseline: object) -> None:
    assert baseline == measured(spec)
