"""Prompts in the records: whose, as which text, and none where they are not surely those that were measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from measure.harness import recording
from measure.harness.engines import drawing
from measure.kinds.rows import ResultRow
from measure.models import loading as models
from measure.prompts import drawn as prompts
from measure.report import records
from measure.spec import CurveSpec, PredictionSpec, SliceSpec
from tests import small_results as small

MODEL = "ladder-olmo-0.2m"
SUITE = """
import pytest
from measure.spec import CurveSpec, PredictionSpec, SliceSpec

SPECS = [
    PredictionSpec("ladder-olmo-0.2m", pairing="printed_dissimilar", steps=5, span=2),
    CurveSpec("ladder-olmo-0.2m", pairs=4, steps=5),
    PredictionSpec("ladder-olmo-0.2m", pairs=4, steps=5, span=2),
    CurveSpec("ladder-olmo-0.2m", pairs=14, steps=5),
    CurveSpec("ladder-olmo-0.2m", pairs=14, steps=5, rows="independent"),
    SliceSpec("ladder-olmo-0.2m", triples=2, size=3),
]

@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_it(spec, measured):
    measured(spec)
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    pytester.makepyfile(test_it=SUITE)
    return pytester


def results(pytester: pytest.Pytester) -> list[ResultRow]:
    run = records.read([records.runs(pytester.path / "reports" / "runs")[-1]])
    return list(run.results.values())


def test_few_pairs_and_slices_are_kept_with_their_prompts_measured_or_stored(suite: pytest.Pytester) -> None:
    suite.runpytest().assert_outcomes(passed=6)
    printed, few, predicted, many, independent, slices = results(suite)
    own = [row for row in prompts.written_rows(prompts.PRINTED) if row["name"].startswith("D")]
    forth = [(row["prefix"] + row["a"], row["prefix"] + row["b"]) for row in own]
    assert printed.prompts == (*forth, *((b, a) for a, b in forth))
    tokenizer = models.named_tokenizer(MODEL)
    drawn = prompts.draw(prompts.load_corpus("default"), tokenizer, "paper", 4, 0)
    assert [tuple(map(tuple, prompts.tokenize(tokenizer, pair))) for pair in few.prompts] == [
        *zip(drawn.a, drawn.b, strict=True)
    ]
    # Predictions are of the independent pairs alone.
    assert predicted.prompts == few.prompts[::2]
    assert (many.n, many.prompts) == (14, ())
    assert (independent.n, len(independent.prompts)) == (7, 7)
    assert [len(triple) for triple in slices.prompts] == [3, 3]
    before = [row.prompts for row in results(suite)]
    suite.runpytest().assert_outcomes(passed=6)
    assert {row.how for row in results(suite)} == {"stored"}
    assert [row.prompts for row in results(suite)] == before


def test_prompts_that_are_not_those_measured_are_not_told(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.runpytest("-k", "slice")
    assert results(suite)[0].prompts
    monkeypatch.setattr(drawing, "_triples", lambda *_: prompts.Triples(((1,),), ((2,),), ((3,),)))
    suite.runpytest("-k", "slice").assert_outcomes(passed=1, deselected=5)
    assert (results(suite)[0].how, results(suite)[0].prompts) == ("stored", ())


def test_a_row_keeps_prompts_of_few_pairs_and_of_slices_alone() -> None:
    texts = [("a", "b")] * 4
    few = PredictionSpec(MODEL, pairing="printed_similar")
    row = recording.of_result(few, "stored", small.result(few), prompts=texts)
    assert row.prompts == tuple(texts)
    back = records.from_json(records.to_json(row))
    assert isinstance(back, ResultRow)
    assert back.prompts == row.prompts
    many = CurveSpec(MODEL)
    assert recording.of_result(many, "stored", small.result(many), prompts=texts * 4).prompts == ()
    triples = [("a", "b", "c\ud800")] * small.TRIPLES
    plane = SliceSpec(MODEL)
    line = records.to_json(recording.of_result(plane, "stored", small.result(plane), prompts=triples))
    read = records.from_json(line)
    assert isinstance(read, ResultRow)
    assert read.prompts == tuple(triples)


def test_records_from_before_have_no_prompts() -> None:
    few = PredictionSpec(MODEL, pairing="printed_similar")
    line = records.to_json(recording.of_result(few, "stored", small.result(few)))
    assert b"prompts" not in line
    read = records.from_json(line)
    assert isinstance(read, ResultRow)
    assert read == replace(read, prompts=())
