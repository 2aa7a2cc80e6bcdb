"""The kind `predictions`: what a baseline and a record keep of curves with next-token distributions along them."""

from __future__ import annotations

from dataclasses import replace

from measure.kinds import Kind, Texts, curves, kept, register
from measure.kinds.rows import PairRows, ResultRow
from measure.results import metrics
from measure.results.predictions import Predictions
from measure.spec import PredictionSpec

_METRICS = (*metrics.CURVES, *metrics.PREDICTIONS)
# What claims rest on, beside the metrics of every curve.
_RECORDED = (
    "end_divergence",
    "flat_divergence",
    "straddling_divergence",
    "logit_deviation",
    "logit_correlation",
    "separation",
)


def _recorded(row: ResultRow, result: Predictions, texts: Texts) -> ResultRow:
    row = curves.row_of(row, result, (*metrics.NAMES, *_RECORDED))
    return replace(
        row,
        logit=kept.quantiles(result.scaled_logit_difference),
        equal_tops=int(result.equal_tops.sum()),
        pairs=None if row.pairs is None else _with_tokens(row.pairs, result, texts),
    )


def _with_tokens(rows: PairRows, result: Predictions, texts: Texts) -> PairRows:
    return replace(
        rows,
        logit=kept.rounded(result.scaled_logit_difference),
        last_tokens=tuple(tuple(texts(row)) for row in result.last_tokens.tolist()),
        end_tokens=tuple(map(tuple, result.end_tokens.tolist())),
    )


KIND = register(
    Kind(
        name="predictions",
        spec=PredictionSpec,
        result=Predictions,
        measure="measure.core.measurements:of_predictions",
        metrics=_METRICS,
        independent=True,
        points=curves.steps,
        logits=1,
        tokens=True,
        described=curves.described,
        form=curves.FORM,
        tolerance=curves.tolerance(_METRICS),
        tolerance_from=curves.TOLERANCE_FROM,
        recorded=_recorded,
    )
)
