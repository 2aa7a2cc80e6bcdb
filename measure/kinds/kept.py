"""Numbers as baselines and records keep them: rounded, by quartile, with intervals. Knows neither files nor kinds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

from measure import stats
from measure.kinds.rows import QUARTILES, Metric, Number, Quartiles
from measure.results import RowResult, metrics

# Significant digits in a record; places after the point in a baseline.
DIGITS = 5
PLACES = 6
# RowResult of a result up to which each one is kept, with its prompts: the paper's S1 to S3 and D1 to D3, both ways.
FEW = 12


def rounded(values: Any) -> Any:
    """Numbers, in an array of any shape or alone, with 5 significant digits; None for what is no number."""
    if isinstance(values, np.ndarray) and values.ndim:
        one = rounded if values.ndim > 1 else _digits
        return tuple(one(value) for value in (values if values.ndim > 1 else values.tolist()))
    return _digits(float(values))


def _digits(value: float) -> Number:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def metric(result: RowResult, name: str) -> Metric:
    """A metric as a record keeps it: quartiles over rows, the median over independent units with its interval."""
    q25, median, q75 = map(rounded, result.metric_quartiles(name))
    return Metric(q25, median, q75, **_told(result.interval(name)))


def _told(interval: stats.Interval) -> dict[str, Any]:
    return {**{name: rounded(getattr(interval, name)) for name in ("estimate", "low", "high")}, "n": interval.n}


def quantiles(rows: Float[np.ndarray, "rows places"]) -> Quartiles:
    """Quartiles, place by place, over the rows that have every value, as a record keeps them."""
    kept = rows[np.isfinite(rows).all(axis=1)]
    nothing = np.full((3, rows.shape[1]), np.nan)
    return Quartiles(*rounded(metrics.quartiles(kept) if len(kept) else nothing))


def place(value: float) -> Number:
    """A number as a baseline keeps it, for JSON, which knows no NaN."""
    return round(float(value), PLACES) if math.isfinite(value) else None


def by_quartile(values: Iterable[float]) -> dict[str, Number]:
    """The three quartiles of a number as a baseline keeps them."""
    return {quartile: place(value) for quartile, value in zip(QUARTILES, values, strict=True)}


def metrics_of(result: RowResult, names: Iterable[str]) -> dict[str, dict[str, Number]]:
    """Metrics by name as a baseline keeps them."""
    return {name: by_quartile(result.metric_quartiles(name)) for name in names}
