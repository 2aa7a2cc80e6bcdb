"""Tell: results, models and verdicts -> the rows of a run's records. Measures and judges nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from measure import catalog, kinds, stats
from measure.catalog import revisions
from measure.kinds import Kind, Texts, kept
from measure.kinds.rows import (
    BaselineRow,
    EffectRow,
    FactRow,
    Header,
    ModelRow,
    ResultRow,
    Revision,
    Row,
    TestRow,
    TrendRow,
    VerdictRow,
)
from measure.results import Result, RowResult
from measure.shown import Places
from measure.spec import PATHS, AnySpec, fields_of

# Tokens that these saw in all (paper, Fig. 4); on the hub `main` does not tell.
_WHOLE_TRAINING = {"olmo-1b": 3050 * 10**9, "olmo-7b": 2750 * 10**9}


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
    asked, place = name, model.location
    if model.name in catalog.checkpoints():
        reference = catalog.resolve(f"{model.name}@{name}")
        asked, place = reference.revision, reference.location
    found = revisions.parse(asked, place)
    if found is None:
        return Revision(name, None, _WHOLE_TRAINING.get(model.name) if name == "main" else None)
    return Revision(name, found.step, found.tokens)


def told(spec: AnySpec, places: Places) -> AnySpec:
    """A spec as it is told: with the paths in it written so that they can leave the machine."""
    return replace(spec, **{name: places.path(getattr(spec, name)) for name in PATHS if hasattr(spec, name)})


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


def keeps_prompts(spec: AnySpec, outcome: object) -> bool:
    """Whether the row of an outcome holds its prompts as text: results of few rows, and triples."""
    return isinstance(outcome, RowResult) and (kinds.takes_triples(spec) or len(outcome) <= kept.FEW)


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
    if keeps_prompts(spec, outcome):
        row = replace(row, prompts=tuple(prompts))
    # What is no number is written as null, and must not end a run in which warnings are errors.
    with np.errstate(divide="ignore", invalid="ignore"):
        return _with_outcome(row, kinds.of(spec), outcome, texts or _numbers)


def _with_outcome(row: ResultRow, kind: Kind, outcome: object, texts: Texts) -> ResultRow:
    """The row with the fields that its kind has."""
    if isinstance(outcome, Exception):
        return replace(row, error=str(outcome))
    if isinstance(outcome, Result):
        provenance = {name: value for name, value in outcome.provenance.items() if name != "spec"}
        row = replace(row, provenance=provenance)
    return kind.recorded(row, outcome, texts) if kind.recorded is not None else _recorded(row, kind, outcome)


def _recorded(row: ResultRow, kind: Kind, outcome: object) -> ResultRow:
    """What is kept where a kind says nothing else: how many rows, and its metrics."""
    assert isinstance(outcome, RowResult), (
        f"{kind.name} says nothing of what a record keeps of a {type(outcome).__name__}"
    )
    return replace(
        row,
        n=len(outcome),
        degenerate=int(outcome.degenerate.sum()),
        metrics={metric.name: kept.metric(outcome, metric.name) for metric in kind.metrics},
    )


def _numbers(ids: Sequence[int]) -> list[str]:
    """Tokens whose texts are not known."""
    return [f"token {number}" for number in ids]
