"""Claim: widths that others have published of Pythia are found again (not in the paper; `measure/published.json`).

Pythia-1.4B-deduped at 20 training revisions and Pythia-410M-deduped: X goes along the arc from A to B after the first
block, d is the symmetric distance between the logits, a curve's width is t(d = 0.9) - t(d = 0.1), and 60 pairs of
tokens behind three carriers, by their exact token ids, have a median (billy000400/marsv, dir18 and dir19; each number's
file and commit stand beside it). A checkpoint is as published where its median, and of those with single numbers the
first pair's widths and its states after the first block, lie within the tolerances of the table, fixed beforehand.

A checkpoint is measured where it is in the hub's cache, or where --models names it; the others are told with how to get
them. There are no baselines: the published numbers are the accepted ones. That the arithmetic is a plain script's is a
test on the ladder, `tests/test_published.py`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from measure.claims import Claim, published
from measure.claims.published import Case, Measured, Width
from measure.names import Title
from measure.spec import MeasureError, NotMeasuredError
from measure.stats import Fact, Verdict

CLAIM = Title("Widths that others have published of Pythia are found again", place="not in the paper")
# What a model must have to be asked.
TAKES = "a Pythia that others have published widths of"
# Nothing is read but the logits, so --protocol strict has nothing to ask twice.
READS: tuple[str, ...] = ()
# Which checkpoints are at hand is seen here, one by one.
BY_ITSELF = True
# Every checkpoint is expected to be as published.
EXPECTED: dict[str, str] = {}

CASES = [pytest.param(case, id=case.id) for case in published.cases()]


def judge(found: list[Measured]) -> Verdict:
    """Each checkpoint's own numbers against those published of it."""
    return Verdict(
        facts=(Fact("checkpoints as published", sum(one.agrees for one in found), len(found)),),
        notes=tuple(published.lines(found)),
    )


@cache
def own(told: Width) -> Measured:
    """A checkpoint's own numbers, measured once for claim and control."""
    # Here, so that collecting suites takes no engine.
    from measure.api import published_runs

    return published_runs.measured(told)


def at_hand(case: Case, models: str) -> list[Measured]:
    """The checkpoints of a case that are measured; the test is skipped where there are none, saying what is missing."""
    if models == "ladder":
        pytest.skip("not measured: --models ladder leaves hub models out")
    named = models != "auto"
    if not case.widths:
        pytest.skip(f"not measured: nothing is published of {case.id} at the revisions named")
    chosen = case.at_hand(named=named)
    if not chosen:
        pytest.skip(case.not_at_hand(named=named))
    try:
        return [own(told) for told in chosen]
    except NotMeasuredError:
        raise
    except MeasureError as error:
        # A checkpoint that is not what its name says: its trace would tell nothing more.
        pytest.fail(str(error), pytrace=False)


@pytest.mark.parametrize("case", CASES)
def test_claim(case: Case, claim: Claim, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]) -> None:
    models = pytestconfig.getoption("--models")
    found = at_hand(case, models)
    verdict = judge(found)
    notes = tuple(filter(None, (*verdict.notes, case.not_at_hand(named=models != "auto"))))
    with capsys.disabled():
        print("", *notes, sep="\n")
    claim.check(replace(verdict, notes=notes), EXPECTED)


@pytest.mark.parametrize("case", CASES)
def test_control(case: Case, claim: Claim, pytestconfig: pytest.Config) -> None:
    found = at_hand(case, pytestconfig.getoption("--models"))
    claim.refute(
        {
            "a straight line's widths": judge([planted(one, 0.8) for one in found]),
            "another checkpoint's numbers": judge([replace(one, published=other(one.published)) for one in found]),
            "published medians moved by twice the tolerance": judge([planted(one, moved=2.0) for one in found]),
            "curves without a width": judge([planted(one, float("nan")) for one in found]),
        }
    )
    claim.confirm({"planted: the published numbers": judge([planted(one) for one in found])})


def planted(one: Measured, width: float | None = None, moved: float = 0.0) -> Measured:
    """What would be found on the published checkpoint itself, or with every width another."""
    told, first = one.published, published.first_pair(one.published)
    median = told.median + moved * published.table().tolerance.median if width is None else width
    widths = np.full(one.widths.shape, median)
    if first is None:
        return replace(one, widths=widths)
    if width is None:
        widths[0] = first.widths
    return replace(one, widths=widths, cosines=np.array(first.cosines), distances=np.array(first.distances))


def other(told: Width) -> Width:
    """The published checkpoint whose median is farthest from one's."""
    return max(published.table().widths, key=lambda one: abs(one.median - told.median))
