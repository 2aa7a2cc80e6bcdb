"""The kind `curves`: what a baseline and a record keep of interpolation curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from measure.kinds import ACROSS, PROCESSORS, Kind, Texts, Tolerance, kept, register, tolerances
from measure.kinds.rows import QUARTILES, CurveRow, PairRows, Quartiles, ResultRow, Spread
from measure.results import Curves, metrics
from measure.results.metrics import Definition
from measure.spec import CurveSpec

FORM = "curves"
# Largest accepted change of a point of the quartile curves. `scale`: of d(1) and ||F(A)||, which r hides, relative to
# the number itself.
OWN = {PROCESSORS: {"curve": 1e-5, "scale": 1e-5}, ACROSS: {"curve": 2e-4, "scale": 2e-4}}
TOLERANCE_FROM = (
    "ten times what threads, instruction sets and libraries of processors moved them by, counts aside; across devices "
    "twice the 1e-4 allowed between processor and accelerator (tests/test_baselines.py)"
)


def tolerance(known: Sequence[Definition]) -> Tolerance:
    """How far a baseline of curves with these metrics may move."""
    return {devices: {**OWN[devices], **moves} for devices, moves in tolerances(known).items()}


def described(curves: Curves) -> dict[str, Any]:
    """What a baseline keeps: quartile curves, quartiles of metrics, of those of the null, and the scale."""
    scale = {"end_distance": curves.distance[:, -1], "reference_norm": curves.reference_norm}
    quartiles = zip(QUARTILES, curves.quartiles(), strict=True)
    return {
        "curve": {name: [kept.place(value) for value in row] for name, row in quartiles},
        "metrics": kept.metrics_of(curves, curves.kept_metrics),
        "null_metrics": kept.metrics_of(curves.null, curves.null_metrics),
        "scale": {name: kept.by_quartile(metrics.quartiles(values)) for name, values in scale.items()},
    }


def row_of(row: ResultRow, curves: Curves, names: Sequence[str]) -> ResultRow:
    """The row with what every kind of curves has, and the metrics named."""
    few = len(curves) <= kept.FEW
    return replace(
        row,
        n=len(curves),
        degenerate=int(curves.degenerate.sum()),
        curve=CurveRow(*kept.rounded(curves.quartiles()), alphas=kept.rounded(curves.alphas)),
        null=Quartiles(*kept.rounded(curves.null.quartiles())),
        metrics={name: kept.metric(curves, name) for name in names},
        null_metrics={name: Spread(*kept.rounded(curves.null.metric_quartiles(name))) for name in curves.null_metrics},
        pairs=PairRows(kept.rounded(curves.relative), kept.rounded(curves.max_slope)) if few else None,
    )


def _recorded(row: ResultRow, curves: Curves, _: Texts) -> ResultRow:
    return row_of(row, curves, metrics.NAMES)


def steps(spec: CurveSpec) -> int:
    """Points of a segment."""
    return spec.steps


KIND = register(
    Kind(
        name="curves",
        spec=CurveSpec,
        result=Curves,
        measure="measure.core.measurements:of_curves",
        metrics=metrics.CURVES,
        layers=True,
        points=steps,
        described=described,
        form=FORM,
        tolerance=tolerance(metrics.CURVES),
        tolerance_from=TOLERANCE_FROM,
        recorded=_recorded,
    )
)
