"""Pairs of one's own under the suites: what they are called, which are independent, what is asked of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from measure.base.exits import EXIT_NOT_MEASURED
from measure.harness import plan
from measure.harness.engines import in_process as engine
from measure.harness.engines.store import Store
from measure.models import loading as models
from measure.prompts import drawn as prompts
from measure.prompts import own_pairs
from measure.report import records
from measure.report.records import Run
from measure.spec import ConfigSpec, CrossingSpec, CurveSpec, MeasureError, PredictionSpec, SliceSpec
from tests.conftest import WordTokenizer

MODEL = "ladder-olmo-0.2m"
WORDS = ("house", "river", "king", "doctor", "snow", "bread", "ship", "owl", "wolf", "road", "hill", "lamp")


def written(folder: Path, rows: Sequence[tuple[str, str]], name: str = "mine.csv") -> str:
    """A file of pairs."""
    path = folder / name
    path.write_text("a,b\n" + "".join(f"{a},{b}\n" for a, b in rows))
    return str(path)


def apart(count: int) -> list[tuple[str, str]]:
    """Pairs without a prompt in common."""
    return [(f" The {WORDS[n]} was", f" She saw a {WORDS[-1 - n]} and") for n in range(count)]


def test_the_name_of_pairs_tells_what_they_hold_and_not_where_they_lie(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = own_pairs.hold(written(tmp_path, apart(3), "my pairs:1.csv"))
    assert first == own_pairs.hold(written(tmp_path / "other", apart(3), "my pairs:1.csv"))
    assert first != own_pairs.hold(written(tmp_path, apart(4), "my pairs:1.csv"))
    swapped = [(b, a) for a, b in apart(3)]
    assert first != own_pairs.hold(written(tmp_path, swapped, "my pairs:1.csv"))
    assert first.startswith("pairs-from-my-pairs-1.csv-")
    assert replace(CurveSpec(MODEL), corpus=first).id == f"{MODEL}-corpus{first}"
    assert own_pairs.is_held(first)
    assert not own_pairs.is_held("default")


def test_of_pairs_that_share_a_prompt_one_is_a_unit_and_which_is_drawn_by_lot() -> None:
    a, b = ("p", "p", "q", "r", "same"), ("x", "y", "z", "q", "same")
    lots = {own_pairs.independent(a, b, seed) for seed in range(20)}
    assert lots == {(0, -1, 1, -1, -1), (-1, 0, 1, -1, -1), (0, -1, -1, 1, -1), (-1, 0, -1, 1, -1)}
    assert own_pairs.independent(("p", "q", "r"), ("x", "y", "z")) == (0, 1, 2)
    # A row written twice, and once the other way round, is one unit.
    assert sorted(own_pairs.independent(("p", "p", "x"), ("x", "x", "p"))) == [-1, -1, 0]


def test_pairs_are_taken_in_their_order_and_under_strict_both_ways(tmp_path: Path) -> None:
    name = own_pairs.hold(written(tmp_path, [*apart(3), apart(1)[0]]))
    spec, corpus, tokenizer = replace(CurveSpec(MODEL), corpus=name), own_pairs.corpus(name), WordTokenizer(1)
    ids = [prompts.tokenize(tokenizer, pair) for pair in [*apart(3), apart(1)[0]]]
    found = own_pairs.drawn(spec, corpus, tokenizer)
    assert [*zip(found.a, found.b, strict=True)] == ids
    assert sorted(found.units) == [-1, 0, 1, 2]
    both = own_pairs.drawn(replace(spec, protocol="strict"), corpus, WordTokenizer(1, adds_bos=True))
    assert both.a == tuple((1, *prompt) for prompt in (*found.a, *found.b))
    assert both.b == tuple((1, *prompt) for prompt in (*found.b, *found.a))
    assert both.units == found.units * 2
    behind = own_pairs.drawn(replace(spec, pairing="random_with_bos"), corpus, tokenizer)
    assert behind.a == tuple((1, *prompt) for prompt in found.a)


def test_pairs_that_a_tokenizer_takes_for_one_prompt_are_refused(tmp_path: Path) -> None:
    name = own_pairs.hold(written(tmp_path, [("ab", "ba")]))
    with pytest.raises(MeasureError, match="for this tokenizer A and B of every pair are one prompt; give others"):
        own_pairs.drawn(replace(CurveSpec(MODEL), corpus=name), own_pairs.corpus(name), WordTokenizer())


def test_what_takes_other_prompts_says_which() -> None:
    random, similar, printed = (CurveSpec(MODEL, pairing=kind) for kind in ("random", "similar", "printed_similar"))
    assert own_pairs.all_lack([random, printed]) is None
    assert own_pairs.all_lack([]) is None
    assert own_pairs.all_lack([similar]) == "the word pairs of this package"
    assert own_pairs.all_lack([random, SliceSpec(MODEL)]) == "triples of prompts"
    assert own_pairs.all_lack([ConfigSpec(MODEL)]) == "the dimensions of models, and no prompts"


def test_a_run_is_told_what_is_easily_overlooked(tmp_path: Path) -> None:
    rows = [*apart(2), (" The house was", " No"), ("Rain", " Snow"), (" one", " one")]
    lines = own_pairs.described(own_pairs.hold(written(tmp_path, rows)))
    assert lines[0].startswith("5 pairs of prompts from mine.csv-")
    assert "3 of them without a prompt in common: the independent units of every verdict" in lines[0]
    assert lines[1] == "in row 5 A and B are one prompt, which has no curve: left out of every verdict"
    assert lines[2].startswith("1 of 10 prompts begin without a blank")
    (alone,) = own_pairs.described(own_pairs.hold(written(tmp_path, apart(1))))
    assert alone.endswith("no two with a prompt in common: each is an independent unit")


def test_independent_pairs_are_counted_by_the_seed_of_the_run(tmp_path: Path) -> None:
    """Of a chain of three the middle one alone, or both others."""
    name = own_pairs.hold(written(tmp_path, [(" one", " two"), (" two", " three"), (" three", " four")]))
    counts = [
        max(own_pairs.independent((" one", " two", " three"), (" two", " three", " four"), seed)) + 1
        for seed in range(8)
    ]
    assert set(counts) == {1, 2}
    for seed, count in enumerate(counts):
        assert f"{count} of them without a prompt in common" in own_pairs.described(name, seed)[0]


SUITE = """
import pytest
from measure import stats
from measure.spec import ConfigSpec, CurveSpec, PredictionSpec, SliceSpec
from measure.stats import Effect, Verdict

CLAIM = "Curves exist (Fig. 0)"
SPECS = [CurveSpec("ladder-olmo-0.2m", steps=5), PredictionSpec("ladder-olmo-0.2m", steps=5, span=2),
    CurveSpec("ladder-olmo-0.2m", steps=5, rows="independent"),
    CurveSpec("ladder-olmo-0.2m", steps=5, pairing="same_last_token"),
    PredictionSpec("ladder-olmo-0.2m", pairing="similar")]

def verdict(curves):
    return Verdict((Effect("slope", stats.median_interval(curves.by_unit("max_slope")), -9.0),))

@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_claim(spec, measured, claim):
    claim.check(verdict(measured(spec)), {spec.id: "contradicted" for spec in SPECS})

@pytest.mark.claim("Planes exist", place="Fig. 1")
@pytest.mark.parametrize("spec", [SliceSpec("ladder-olmo-0.2m")], ids=["plane"])
def test_plane(spec, measured, claim):
    raise AssertionError("not asked")

@pytest.mark.parametrize("spec", SPECS[:1], ids=lambda spec: spec.id)
def test_baseline(spec, measured, baseline):
    assert baseline == measured(spec)

def test_else(measured):
    measured(SliceSpec("ladder-olmo-0.2m"))
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    pytester.makepyfile(test_it=SUITE)
    return pytester


def run_of(pytester: pytest.Pytester) -> Run:
    return records.read([records.runs(pytester.path / "reports" / "runs")[-1]])


def test_my_pairs_stand_under_every_claim_that_draws_pairs(suite: pytest.Pytester) -> None:
    mine = written(suite.path, [*apart(7), apart(1)[0]])
    result = suite.runpytest("--pairs-from", mine, "-rs")
    result.assert_outcomes(passed=3, skipped=1, deselected=4)
    result.stdout.fnmatch_lines(
        [
            "8 pairs of prompts from mine.csv-*, 7 of them without a prompt in common*",
            "not asked of these pairs: Curves exist (Fig. 0): 1 of its cases take pairs drawn so that both end on *",
            "not asked of these pairs: Curves exist (Fig. 0): 1 of its cases take the word pairs of this package",
            "not asked of these pairs: Planes exist: takes triples of prompts",
            "baselines are not compared: they are of other pairs",
            "*not asked of the pairs of --pairs-from: takes triples of prompts",
        ]
    )
    run = run_of(suite)
    name = own_pairs.hold(mine)
    assert run.header is not None
    assert run.header.pairs_from == name
    assert {row.spec["corpus"] for row in run.results.values()} == {name}
    assert [row.n for row in run.results.values()] == [8, 7, 7]
    every, predicted, _ = run.results.values()
    assert every.prompts == (*apart(7), apart(1)[0])
    assert set(predicted.prompts) == set(apart(7))
    judged = [row for row in run.tests if row.verdict]
    # Their number is no count of drawn pairs, and they are held to no accepted verdict.
    assert [(row.verdict.n, row.expected) for row in judged if row.verdict] == [(7, "supported")] * 3
    suite.runpytest("--pairs-from", mine).assert_outcomes(passed=3, skipped=1, deselected=4)
    assert {row.how for row in run_of(suite).results.values()} == {"stored"}


def test_too_few_pairs_are_told_by_the_verdict(suite: pytest.Pytester) -> None:
    result = suite.runpytest("--pairs-from", written(suite.path, apart(1)), "-k", "claim")
    result.assert_outcomes(failed=3, deselected=5)
    assert result.ret == EXIT_NOT_MEASURED
    told = [row.reason for row in run_of(suite).tests]
    assert all(text and "has no interval (n = 1)" in text and "--pairs-from" in text for text in told)


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (None, (), "*--pairs-from: pairs from *: there is nothing of that name; expected printed or words*"),
        ([], (), "*--pairs-from: *it holds no row below its header; give at least one pair*"),
        ([(" a", " a")], (), "*--pairs-from: *in every row A and B are one prompt; give pairs that differ*"),
        ([(" a", "")], (), "*--pairs-from: *b of row 1 is empty; write a prompt there, or drop the row*"),
        (apart(2), ("--pairs", "20"), "*--pairs-from *takes every pair*--pairs says how many are drawn; leave one*"),
        (apart(2), ("--corpus", "x.csv"), "*--pairs-from *--corpus says what pairs are drawn from; leave one*"),
        (apart(2), ("--snapshot-update",), "*--pairs-from *nothing can be accepted here; leave out --snapshot-update*"),
    ],
)
def test_what_cannot_be_pairs_is_one_sentence(
    suite: pytest.Pytester, rows: Any, options: tuple[str, ...], said: str
) -> None:
    mine = written(suite.path, rows) if rows is not None else "nowhere.csv"
    result = suite.runpytest("--pairs-from", mine, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in result.errlines if line.strip()]
    assert len(errors) == 1
    result.stderr.fnmatch_lines([said])


def test_a_folder_other_columns_and_results_of_before_are_refused(suite: pytest.Pytester) -> None:
    (suite.path / "results.csv").write_text("pair,prompt_a,prompt_b,max_slope\n1,x,y,2.0\n")
    for given, said in (
        (".", "*that is no file of pairs; expected printed or words, or a file that ends in*"),
        ("results.csv", "*columns pair, prompt_a, prompt_b, max_slope and no a and no b; name the two columns*"),
    ):
        result = suite.runpytest("--pairs-from", given)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([said])


def test_other_pairs_and_another_way_of_counting_them_are_other_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, how = Store(tmp_path / "store"), []

    def measured(name: str) -> list[str]:
        how.clear()
        spec = CurveSpec(MODEL, steps=5, corpus=name)
        engine.measure([spec], kept, lambda _, state: how.append(state))
        return list(how)

    mine = own_pairs.hold(written(tmp_path, apart(2)))
    assert measured(mine) == ["measured"]
    assert measured(mine) == ["stored"]
    assert measured(own_pairs.hold(written(tmp_path, apart(3)))) == ["measured"]
    monkeypatch.setattr(own_pairs, "source_hash", lambda: "units counted otherwise")
    assert measured(mine) == ["measured"]


def test_a_prompt_that_a_tokenizer_does_not_take_is_named_by_its_column(tmp_path: Path) -> None:
    name = own_pairs.hold(written(tmp_path, [(" a house", " no" * 600)]))
    spec = CurveSpec(MODEL, steps=5, corpus=name)
    (outcome,) = engine.measure([spec], None, lambda *_: None).values()
    assert isinstance(outcome, MeasureError)
    assert f"{name}, column b[0] has" in str(outcome)


def test_a_plan_counts_the_rows_that_are_written(suite: pytest.Pytester) -> None:
    mine = written(suite.path, [*apart(7), apart(1)[0]])
    name = own_pairs.hold(mine)
    assert own_pairs.tokens(name) == 4
    for spec, count in (
        (CurveSpec(MODEL, corpus=name), 8),
        (CurveSpec(MODEL, corpus=name, rows="independent"), 7),
        (CrossingSpec(MODEL, corpus=name), 7),
        (PredictionSpec(MODEL, corpus=name, protocol="strict"), 14),
    ):
        assert own_pairs.rows(spec) == count
    # Of a chain of three pairs one is a unit or two are, as the lot falls.
    chain = own_pairs.hold(written(suite.path, [("p", "q"), ("q", "r"), ("r", "s")], "chain.csv"))
    for seed in range(6):
        spec = CurveSpec(MODEL, corpus=chain, rows="independent", seed=seed)
        assert own_pairs.rows(spec) == max(own_pairs.independent(("p", "q", "r"), ("q", "r", "s"), seed)) + 1
    (found,) = plan.plan(plan.collect(None, ["--pairs-from", mine], paths=["test_it.py"]))
    (drawn,) = plan.plan(plan.collect("claim and not similar and not last", paths=["test_it.py"]))
    assert 0 < found.work.tokens < drawn.work.tokens / 20


def test_the_printed_pairs_and_the_words_are_pairs_too() -> None:
    assert len(own_pairs.held(own_pairs.hold("printed"))) == 6
    tokenizer = models.named_tokenizer(MODEL)
    name = own_pairs.hold("words")
    found = own_pairs.drawn(CurveSpec(MODEL, corpus=name), own_pairs.corpus(name), tokenizer)
    assert (len(found), max(found.units) + 1) == (188, 94)
    # Of each prefix the similar or the dissimilar pair is drawn: neither kind stands for all.
    similar = sum(unit >= 0 for unit in found.units[0::2])
    assert 30 < similar < 64
