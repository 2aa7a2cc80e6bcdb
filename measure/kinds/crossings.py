"""The kind `crossings`: what a baseline and a record keep of curves with the gates that change sign along them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from measure.kinds import Kind, Texts, curves, kept, register
from measure.kinds.rows import ResultRow
from measure.results import metrics
from measure.results.crossings import Crossings
from measure.spec import CrossingSpec

_METRICS = (*metrics.CURVES, *metrics.CROSSINGS)
# In the order in which records have them.
_RECORDED = (
    "total",
    "flat_share",
    "flat_crossings",
    "flat_crossing_share",
    "crossing_rate_ratio",
    "region_boundaries",
    "missed_by_half",
)


def _recorded(row: ResultRow, result: Crossings, _: Texts) -> ResultRow:
    still = result.flat[~result.degenerate]
    return replace(
        curves.row_of(row, result, (*metrics.NAMES, *_RECORDED)),
        gates=tuple(result.gates.tolist()),
        ends=kept.rounded(np.median(result.end_crossings, axis=0)),
        crossings=kept.quantiles(result.crossings.sum(axis=1).astype(float)),
        flat=kept.rounded(still.mean(axis=0)) if len(still) else None,
    )


KIND = register(
    Kind(
        name="crossings",
        spec=CrossingSpec,
        result=Crossings,
        measure="measure.core.measurements:of_crossings",
        metrics=_METRICS,
        independent=True,
        points=curves.steps,
        described=curves.described,
        form=curves.FORM,
        tolerance=curves.tolerance(_METRICS),
        tolerance_from=curves.TOLERANCE_FROM,
        recorded=_recorded,
    )
)
