"""What a run's records tell of results, models and verdicts, read back as it is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from measure import catalog
from measure.harness import recording
from measure.kinds.kept import rounded
from measure.kinds.rows import EffectRow, FactRow, ResultRow, Revision, TrendRow, VerdictRow
from measure.report import records
from measure.spec import ConfigSpec, CrossingSpec, CurveSpec, MeasureError, PredictionSpec, SliceSpec
from measure.stats import Effect, Fact, Interval, Trend, Verdict
from tests import small_results as small

MODEL = "ladder-olmo-0.2m"


def back(row: ResultRow) -> ResultRow:
    """A row as it comes back from a file."""
    found = records.from_json(records.to_json(row))
    assert isinstance(found, ResultRow)
    return found


def row_of(spec: Any, **rest: Any) -> ResultRow:
    return back(recording.of_result(spec, "measured", small.result(spec), **rest))


def test_a_row_comes_back_from_its_line_as_it_was() -> None:
    printed = PredictionSpec(MODEL, pairing="printed_similar")
    for spec in (CurveSpec(MODEL), PredictionSpec(MODEL), printed, CrossingSpec(MODEL)):
        assert row_of(spec) == recording.of_result(spec, "measured", small.result(spec))
    # JSON has no tuples: a spec's are lists.
    slices = recording.of_result(SliceSpec(MODEL), "measured", small.slices(SliceSpec(MODEL)))
    assert slices.spec["extent"] == (-0.25, 1.25)
    read = back(slices)
    assert (read.triples, read.metrics, read.spec["extent"]) == (slices.triples, slices.metrics, [-0.25, 1.25])


def test_a_curve_is_kept_with_its_null_and_intervals() -> None:
    spec = CurveSpec(f"{MODEL}@main", layer=2)
    curves = small.curves(spec)
    row = row_of(spec)
    assert (row.id, row.type, row.how) == (spec.id, "CurveSpec", "measured")
    assert records.to_json(row).startswith(b'{"kind":"result","id":')
    assert row.spec["layer"] == 2
    assert "spec" not in row.provenance
    assert row.provenance["weights_sha256"] == curves.provenance["weights_sha256"]
    assert (row.n, row.degenerate) == (small.PAIRS, 0)
    assert row.curve is not None
    assert row.null is not None
    np.testing.assert_allclose(row.curve.alphas, curves.alphas, rtol=1e-4)
    np.testing.assert_allclose(row.curve.rows(), curves.quartiles(), rtol=1e-4)
    np.testing.assert_allclose(row.null.q25, curves.alphas, rtol=1e-4)
    kept, summary = row.metrics["max_slope"], curves.summary()["max_slope"]
    assert kept.n == summary["units"] == small.PAIRS // 2
    for name in ("median", "q25", "q75", "estimate", "low", "high"):
        assert getattr(kept, name) == pytest.approx(summary[name], rel=1e-4)


def test_degenerate_pairs_are_counted_and_what_is_no_number_is_null() -> None:
    spec = CurveSpec(MODEL)
    dead = small.curves(spec, distance=np.zeros((small.PAIRS, small.STEPS)))
    row = back(recording.of_result(spec, "stored", dead))
    assert (row.how, row.degenerate) == ("stored", small.PAIRS)
    assert row.curve is not None
    assert set(row.curve.median) == {None}
    assert row.metrics["max_slope"].low is None
    assert row.metrics["max_slope"].n == 0


def test_predictions_and_crossings_keep_what_claims_rest_on() -> None:
    row = row_of(PredictionSpec(MODEL))
    assert row.logit is not None
    assert row.curve is not None
    np.testing.assert_allclose(row.logit.median, row.curve.median, atol=1e-4)
    assert row.metrics["end_divergence"].median == 0.4
    assert row.equal_tops == small.predictions(PredictionSpec(MODEL)).equal_tops.sum()
    assert row.pairs is None
    assert b'"pairs":{' not in records.to_json(row)
    row = row_of(CrossingSpec(MODEL))
    assert row.gates == (40, 40)
    assert row.crossings is not None
    assert row.flat is not None
    assert len(row.crossings.median) == len(row.flat) == small.STEPS - 1
    first, middle = row.flat[0], row.flat[small.STEPS // 2]
    assert first is not None
    assert middle is not None
    assert first > middle
    assert {"flat_share", "total", "region_boundaries"} <= row.metrics.keys()


def test_few_pairs_are_kept_one_by_one_with_their_tokens() -> None:
    spec = PredictionSpec(MODEL, pairing="printed_similar")
    row = row_of(spec, texts=lambda ids: [f"<{number}>" for number in ids])
    assert row.pairs is not None
    assert np.shape(row.pairs.relative) == (4, small.STEPS)
    assert row.pairs.last_tokens[1] == ("<2>", "<3>")
    assert row.pairs.end_tokens[0] == (" the", " a")


def test_slices_come_back_as_colours_distances_and_tokens() -> None:
    spec = SliceSpec(MODEL)
    slices = small.slices(spec)
    row = row_of(spec, texts=lambda ids: [f"<{number}>" for number in ids])
    assert (row.size, row.extent) == (small.SIZE, (-0.25, 1.25))
    np.testing.assert_allclose(records.slice_colours(row, 1) / 255, slices.rgb[1], atol=0.5 / 255 + 1e-9)
    largest = slices.distance[1].max(axis=(1, 2))[:, None, None]
    assert (np.abs(records.slice_distances(row, 1) - slices.distance[1]) <= 0.51 / 255 * largest).all()
    tokens = np.array(row.triples[1].tokens)[records.slice_tokens(row, 1)]
    assert (tokens == np.char.mod("<%d>", slices.top_tokens[1])).all()
    assert row.triples[0].metrics["solid_share"] == pytest.approx(slices.solid_share[0], rel=1e-4)


def test_more_tokens_than_a_byte_tells_apart_are_told_apart() -> None:
    spec = SliceSpec(MODEL, size=20)
    slices = small.slices(spec)
    many = np.arange(400).reshape(20, 20)
    grid = np.linspace(-0.25, 1.25, 20)
    wide = {"alphas": grid, "betas": grid, "distance": np.tile(1.0 + many, (small.TRIPLES, 3, 1, 1))}
    content = {**slices.__dict__, **wide, "top_tokens": np.stack([many] * small.TRIPLES)}
    known = {name: value for name, value in content.items() if name in type(slices).__dataclass_fields__}
    row = back(recording.of_result(spec, "measured", type(slices)(**known)))
    assert (records.slice_tokens(row, 0) == many).all()


def test_a_shape_and_a_failure_are_results_too() -> None:
    shape = catalog.models()[MODEL].shape
    row = back(recording.of_result(ConfigSpec(MODEL), "measured", shape))
    assert row.shape is not None
    assert row.shape["layers"] == shape.layers
    failed = back(recording.of_result(CurveSpec(MODEL), "failed", MeasureError("the weights are gone")))
    assert (failed.how, failed.error, failed.curve) == ("failed", "the weights are gone", None)


@pytest.mark.parametrize(
    ("value", "kept"),
    [(1 / 3, 0.33333), (123456.0, 123460.0), (1e-12, 1e-12), (float("nan"), None), (float("-inf"), None), (0.0, 0.0)],
)
def test_numbers_have_five_digits(value: float, kept: float | None) -> None:
    assert rounded(value) == kept
    assert rounded(np.array([[value]])) == ((kept,),)


def test_a_model_is_told_with_its_revisions_and_their_tokens() -> None:
    about = recording.of_model(catalog.models()[MODEL])
    assert (about.family, about.source, about.layers) == ("olmo", "ladder", 4)
    assert about.revisions[0] == Revision("step0-tokens0M", step=0, tokens=0)
    assert about.revisions[1].tokens == 262144
    hub = recording.of_model(catalog.models()["olmo-1b"]).revisions
    assert hub[1] == Revision("step2000-tokens4B", step=2000, tokens=4 * 10**9)
    assert hub[-1] == Revision("main", step=None, tokens=3050 * 10**9)
    assert recording.of_model(catalog.models()["gpt2"]).revisions == (Revision("main", step=None, tokens=None),)


def test_a_verdict_keeps_every_part_with_its_outcome() -> None:
    verdict = Verdict(
        (Effect("rises", Interval(0.3, 0.2, 0.4, 12), 0.1),),
        trends=(Trend("trend: rises", p=1e-9, p_reversed=0.5, n=12, treatments=3),),
        facts=(Fact("agree", 3, 4),),
        notes=("a note",),
    )
    assert recording.of_verdict(verdict) == VerdictRow(
        outcome=verdict.outcome,
        n=12,
        effects=(EffectRow("rises", 0.3, 0.2, 0.4, 12, margin=0.1, outcome="supported"),),
        trends=(TrendRow("trend: rises", 1e-9, 3, "supported", p_reversed=0.5, n=12),),
        facts=(FactRow("agree", 3, 4, verdict.facts[0].outcome),),
        notes=("a note",),
    )
