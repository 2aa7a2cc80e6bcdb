"""Tell: results, models and verdicts -> the rows of a run's records. Measures and judges nothing."""

from __future__ import annotations

import base64
import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from measure import catalog, stats
from measure.crossings import Crossings
from measure.predictions import Predictions
from measure.records import place_type
from measure.results import METRICS, Curves, Result
from measure.rows import (
    BaselineRow,
    CurveRow,
    EffectRow,
    FactRow,
    Header,
    Metric,
    ModelRow,
    Number,
    PairRows,
    Quartiles,
    ResultRow,
    Revision,
    Row,
    Spread,
    TestRow,
    TrendRow,
    Triple,
    VerdictRow,
)
from measure.shown import Places
from measure.slices import SLICE_METRICS, Slices
from measure.spec import AnySpec, ConfigSpec, fields_of

DIGITS = 5
# Rows of a result up to which each one's own curve is kept: the paper's S1 to S3 and D1 to D3, both ways.
FEW = 12
# What claims rest on, beside the metrics of every curve.
_PREDICTION_METRICS = (
    "end_divergence",
    "flat_divergence",
    "straddling_divergence",
    "logit_deviation",
    "logit_correlation",
    "separation",
)
_CROSSING_METRICS = (
    "total",
    "flat_share",
    "flat_crossings",
    "flat_crossing_share",
    "crossing_rate_ratio",
    "region_boundaries",
    "missed_by_half",
)

# Tokens that these saw in all (paper, Fig. 4); on the hub `main` does not tell.
_WHOLE_TRAINING = {"olmo-1b": 3050 * 10**9, "olmo-7b": 2750 * 10**9}

# Ids of tokens to their texts.
Texts = Callable[[Sequence[int]], list[str]]


def rounded(values: Any) -> Any:
    """Numbers, in an array of any shape or alone, with 5 significant digits; None for what is no number."""
    if isinstance(values, np.ndarray) and values.ndim:
        one = rounded if values.ndim > 1 else _digits
        return tuple(one(value) for value in (values if values.ndim > 1 else values.tolist()))
    return _digits(float(values))


def _digits(value: float) -> Number:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def of_model(model: catalog.Model) -> ModelRow:
    """What a header says of one model."""
    return ModelRow(
        family=model.family,
        source=model.source,
        parameters=model.parameters,
        layers=model.layers,
        seed=model.seed,
        revisions=tuple(_of_revision(model, name) for name in model.revisions),
    )


def _of_revision(model: catalog.Model, name: str) -> Revision:
    """A revision with its training steps and tokens, None where neither a card nor its name tells."""
    if model.source == "ladder":
        card = catalog.read_card(Path(model.location))
        entry = next(revision for revision in card["revisions"] if revision["revision"] == name)
        return Revision(name, entry["step"], entry["tokens"])
    step, tokens = re.search(r"step(\d+)", name), re.search(r"tokens(\d+)([KMBT])", name)
    whole = _WHOLE_TRAINING.get(model.name) if name == "main" else None
    seen = int(tokens[1]) * 10 ** (3 + 3 * "KMBT".index(tokens[2])) if tokens else whole
    return Revision(name, int(step[1]) if step else None, seen)


def told(spec: AnySpec, places: Places) -> AnySpec:
    """A spec as it is told: with the paths in it written so that they can leave the machine."""
    found = replace(spec, model=places.path(spec.model))
    return found if isinstance(found, ConfigSpec) else replace(found, corpus=places.path(found.corpus))


def outward(row: Row, places: Places) -> Row:
    """A row with every path in what a run said written so that it can leave the machine; texts of prompts stay."""
    if isinstance(row, Header):
        models, corpus = (None if value is None else places.argument(value) for value in (row.models, row.corpus))
        return replace(row, arguments=tuple(map(places.argument, row.arguments)), models=models, corpus=corpus)
    if isinstance(row, ResultRow):
        error = None if row.error is None else places.text(row.error)
        return replace(row, provenance={n: places.every(v) for n, v in row.provenance.items()}, error=error)
    if not isinstance(row, TestRow):
        return row
    reason = None if row.reason is None else places.text(row.reason)
    return replace(row, reason=reason, baseline=_outward(row.baseline, places) if row.baseline else None)


def _outward(row: BaselineRow, places: Places) -> BaselineRow:
    why, notes = (tuple(map(places.text, lines)) for lines in (row.why, row.notes))
    changed = {name: tuple(map(places.every, sides)) for name, sides in row.changed.items()}
    return replace(row, why=why, notes=notes, changed=changed)


def of_verdict(verdict: stats.Verdict) -> VerdictRow:
    """A verdict as its row."""
    return VerdictRow(
        outcome=verdict.outcome,
        n=verdict.n,
        effects=tuple(
            EffectRow(**dataclasses.asdict(e.interval), name=e.name, margin=e.margin, outcome=verdict.outcome_of(e))
            for e in verdict.effects
        ),
        trends=tuple(
            TrendRow(**dataclasses.asdict(trend), outcome=verdict.outcome_of(trend)) for trend in verdict.trends
        ),
        facts=tuple(FactRow(**dataclasses.asdict(fact), outcome=fact.outcome) for fact in verdict.facts),
        notes=verdict.notes,
        draws=verdict.draws,
    )


def keeps_prompts(outcome: object) -> bool:
    """Whether the row of an outcome holds its prompts as text: results of few rows, and slices."""
    return isinstance(outcome, Slices) or (isinstance(outcome, Curves) and len(outcome) <= FEW)


def of_result(
    spec: AnySpec,
    how: str,
    outcome: object,
    texts: Texts | None = None,
    prompts: Sequence[tuple[str, ...]] = (),
) -> ResultRow:
    """The row of one spec's outcome: a result, a shape or an error. `texts` tells tokens by their ids.

    `prompts` are those of each row as text, which only some rows keep, see `keeps_prompts`.
    """
    row = ResultRow(id=spec.id, type=type(spec).__name__, spec=fields_of(spec), how=how)
    if keeps_prompts(outcome):
        row = replace(row, prompts=tuple(prompts))
    # What is no number is written as null, and must not end a run in which warnings are errors.
    with np.errstate(divide="ignore", invalid="ignore"):
        return _with_outcome(row, outcome, texts or _numbers)


def _with_outcome(row: ResultRow, outcome: object, texts: Texts) -> ResultRow:
    """The row with the fields that its kind has."""
    if isinstance(outcome, Exception):
        return replace(row, error=str(outcome))
    if isinstance(outcome, Result):
        provenance = {name: value for name, value in outcome.provenance.items() if name != "spec"}
        row = replace(row, provenance=provenance)
        if isinstance(outcome, Slices):
            return _with_slices(row, outcome, texts)
        assert isinstance(outcome, Curves)
        return _with_curves(row, outcome, texts)
    assert dataclasses.is_dataclass(outcome)
    assert not isinstance(outcome, type)
    return replace(row, shape=dataclasses.asdict(outcome))


def _numbers(ids: Sequence[int]) -> list[str]:
    """Tokens whose texts are not known."""
    return [f"token {number}" for number in ids]


def _with_curves(row: ResultRow, curves: Curves, texts: Texts) -> ResultRow:
    names: tuple[str, ...] = ()
    if isinstance(curves, Predictions):
        names, row = _PREDICTION_METRICS, _with_predictions(row, curves)
    if isinstance(curves, Crossings):
        names, row = _CROSSING_METRICS, _with_crossings(row, curves)
    return replace(
        row,
        n=len(curves),
        degenerate=int(curves.degenerate.sum()),
        curve=CurveRow(*rounded(curves.quartiles()), alphas=rounded(curves.alphas)),
        null=Quartiles(*rounded(curves.null.quartiles())),
        metrics={name: _metric(curves, name) for name in (*METRICS, *names)},
        null_metrics={name: Spread(*rounded(curves.null.metric_quartiles(name))) for name in curves.null_metrics},
        pairs=_each_pair(curves, texts) if len(curves) <= FEW else None,
    )


def _metric(curves: Curves, name: str) -> Metric:
    return _with_interval(curves.metric_quartiles(name), curves.interval(name))


def _with_interval(quartiles: Iterable[float], interval: stats.Interval) -> Metric:
    numbers = {name: rounded(getattr(interval, name)) for name in ("estimate", "low", "high")}
    q25, median, q75 = map(rounded, quartiles)
    return Metric(q25, median, q75, **numbers, n=interval.n)


def _quantiles(rows: Float[np.ndarray, "pairs steps"]) -> Quartiles:
    """Quartiles over the rows that have every value."""
    kept = rows[np.isfinite(rows).all(axis=1)]
    nothing = np.full((3, rows.shape[1]), np.nan)
    return Quartiles(*rounded(np.quantile(kept, [0.25, 0.5, 0.75], axis=0) if len(kept) else nothing))


def _with_predictions(row: ResultRow, result: Predictions) -> ResultRow:
    return replace(row, logit=_quantiles(result.scaled_logit_difference), equal_tops=int(result.equal_tops.sum()))


def _with_crossings(row: ResultRow, result: Crossings) -> ResultRow:
    kept = result.flat[~result.degenerate]
    return replace(
        row,
        gates=tuple(result.gates.tolist()),
        ends=rounded(np.median(result.end_crossings, axis=0)),
        crossings=_quantiles(result.crossings.sum(axis=1).astype(float)),
        flat=rounded(kept.mean(axis=0)) if len(kept) else None,
    )


def _each_pair(curves: Curves, texts: Texts) -> PairRows:
    rows = PairRows(rounded(curves.relative), rounded(curves.max_slope))
    if not isinstance(curves, Predictions):
        return rows
    return replace(
        rows,
        logit=rounded(curves.scaled_logit_difference),
        last_tokens=tuple(tuple(texts(row)) for row in curves.last_tokens.tolist()),
        end_tokens=tuple(map(tuple, curves.end_tokens.tolist())),
    )


def _with_slices(row: ResultRow, slices: Slices, texts: Texts) -> ResultRow:
    metrics = {}
    for name in SLICE_METRICS:
        values = getattr(slices, name)
        known = values[np.isfinite(values)]
        quartiles = np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else np.full(3, np.nan)
        metrics[name] = _with_interval(quartiles, stats.median_interval(values))
    return replace(
        row,
        n=len(slices),
        degenerate=int(slices.degenerate.sum()),
        size=len(slices.alphas),
        extent=rounded(slices.alphas[[0, -1]]),
        metrics=metrics,
        triples=tuple(_triple(slices, number, texts) for number in range(len(slices))),
    )


def _triple(slices: Slices, number: int, texts: Texts) -> Triple:
    colours = np.nan_to_num(np.clip(slices.rgb[number], 0, 1))
    tokens, places = np.unique(slices.top_tokens[number], return_inverse=True)
    return Triple(
        rgb=_base64(np.round(255 * colours).astype(np.uint8)),
        largest=rounded(slices.distance[number].max(axis=(1, 2))),
        degenerate=bool(slices.degenerate[number]),
        reference_points=rounded(slices.reference_points[number]),
        own_colours=rounded(slices.own_colours[number]),
        tokens=tuple(texts(tokens.tolist())),
        top=_base64(places.reshape(-1).astype(place_type(len(tokens)))),
        metrics={name: rounded(getattr(slices, name)[number]) for name in SLICE_METRICS},
    )


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()
