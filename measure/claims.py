"""What claims share: which curves may be compared, what counts as sharper, a verdict held against the expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest

from measure import stats
from measure.results import Curves
from measure.spec import MeasureError, NotMeasuredError, Read
from measure.stats import Effect, Interval, Trend, Verdict

# Fixed before measuring: two training seeds already differ by 0.03 in median max slope.
SLOPE_MARGIN = 0.1
DRIFT_MARGIN = 0.01
# In units of alpha; a straight line's width is 0.8. Chosen when the rungs' median widths were known.
WIDTH_MARGIN = 0.05
# Of pairs, or of the probability that one is above another.
SHARE_MARGIN = 0.1
# In bits, of the Jensen-Shannon divergence, which goes from 0 to 1.
DIVERGENCE_MARGIN = 0.1
# Near linear: a straight line has max slope 1 and edge drift 0.184.
LINEAR_SLOPE = 1.2
LINEAR_DRIFT = 0.16


_NOTHING: Mapping[str, str] = {}


class Claim:
    """One test's claim: holds verdicts against what the repository expects, and keeps them for the record.

    The `claim` fixture makes it. `subject` is the id under which a suite accepts a verdict. Where `must_be_measured`, a
    verdict without an interval is a failure of the test, else it is told as not measured; it never passes.
    """

    def __init__(self, subject: str, *, must_be_measured: bool = False) -> None:
        self.subject = subject
        self.verdict: Verdict | None = None
        self.expected = "supported"
        self.controls: dict[str, Verdict] = {}
        self._must_be_measured = must_be_measured

    def check(self, verdict: Verdict, accepted: Mapping[str, str] = _NOTHING) -> None:
        """Pass when the measured verdict is the expected one; an accepted negative is shown as an expected failure.

        `accepted` names the verdicts that are not `supported`, by the id of the test; under --protocol strict an id
        ends with the read. Raises `NotMeasuredError` for a verdict that has no interval.
        """
        self.verdict, self.expected = verdict, accepted.get(self.subject, "supported")
        self._check_measured({"the claim": verdict})
        if verdict.outcome != self.expected:
            pytest.fail(f"expected the claim to be {self.expected}, measured: {verdict}", pytrace=False)
        if self.expected != "supported":
            pytest.xfail(f"accepted as {verdict}")

    def refute(self, counterfeits: Mapping[str, Verdict]) -> None:
        """Pass when the claim is supported by none of the counterfeits: each is data on which it must not hold.

        Raises `NotMeasuredError` where one of them has no interval, and none is supported.
        """
        self.controls |= counterfeits
        believed = {name: verdict for name, verdict in counterfeits.items() if verdict.outcome == "supported"}
        if believed:
            lines = "\n".join(f"  {name}: {verdict}" for name, verdict in believed.items())
            pytest.fail(f"the claim is supported by data on which it must not hold:\n{lines}", pytrace=False)
        if not counterfeits:
            pytest.fail("claim.refute was given no counterfeit, and a control that cannot fail is none", pytrace=False)
        self._check_measured(counterfeits)

    def _check_measured(self, verdicts: Mapping[str, Verdict]) -> None:
        for name, verdict in verdicts.items():
            if verdict.outcome == "not measured":
                why = "measure more pairs, see --pairs" if verdict.n else "every pair is degenerate or left out"
                told = f"not measured: {name} has no interval (n = {verdict.n}); {why}"
                if self._must_be_measured:
                    pytest.fail(f"{told}. On the ladder's default sample every claim can be measured", pytrace=False)
                raise NotMeasuredError(told)


def under_strict(case: str, verdict: str, *reads: Read) -> dict[str, str]:
    """An accepted verdict of `case` under --protocol strict, with each of `reads`: ids there end with the read."""
    return {f"{case}-{read}": verdict for read in reads}


C = TypeVar("C", bound=Curves)


def mixed(first: C, second: C) -> tuple[C, C]:
    """Two results on as many units with the curves of every unit exchanged by a coin, the same at each call."""
    heads = np.random.default_rng(0).integers(0, 2, first.units.max() + 1).astype(bool)
    swap = np.where(first.units >= 0, heads[first.units], False)[:, None]
    return (
        replace(first, distance=np.where(swap, second.relative, first.relative), reference_norm=np.ones(len(first))),
        replace(second, distance=np.where(swap, first.relative, second.relative), reference_norm=np.ones(len(second))),
    )


def check_paired(curves: Sequence[Curves]) -> None:
    """Raise `MeasureError` unless all curves were measured on the same prompts, unit by unit."""
    prompts = {result.provenance["prompts_sha256"]: result.provenance["model"] for result in curves}
    if len(prompts) > 1:
        found = ", ".join(f"{model} on {sha256[:12]}" for sha256, model in prompts.items())
        raise MeasureError(
            f"a paired claim needs the same token ids for every model; found {found}. "
            "Models with different tokenizers cannot be paired: compare models of one tokenizer."
        )


def sharper(before: Curves, after: Curves, scrambled: Curves, between: str) -> tuple[Effect, ...]:
    """What must hold for `after` to have sharper regions than `before`, `between` saying which the two are.

    Median max slope rises and median edge drift falls; and since shuffled weights have as steep a slope as trained
    ones, the edges must be flatter than those of `scrambled`, the shuffled copy of `after`.
    """
    check_paired([before, after, scrambled])
    slopes = [result.by_unit("max_slope") for result in (before, after)]
    drifts = [result.by_unit("edge_drift") for result in (before, after, scrambled)]
    return (
        Effect(f"max slope rises, {between}", stats.median_rise(slopes[0], slopes[1]), SLOPE_MARGIN),
        Effect(f"edge drift falls, {between}", stats.median_rise(drifts[1], drifts[0]), DRIFT_MARGIN),
        Effect("edge drift below shuffled weights'", stats.median_rise(drifts[1], drifts[2]), DRIFT_MARGIN),
    )


def sharpening_trends(ordered: Sequence[Curves]) -> tuple[Trend, ...]:
    """Page's test, adjusted by Holm, that max slope rises and edge drift falls along `ordered`; none below three.

    Raises `MeasureError` when there is nothing to compare.
    """
    if len(ordered) < 2:
        raise MeasureError(f"a claim on growth needs two sizes or two revisions to compare; found {len(ordered)}.")
    check_paired(ordered)
    return stats.page_trends(
        {
            "trend: max slope rises": [result.by_unit("max_slope") for result in ordered],
            "trend: edge drift falls": [-result.by_unit("edge_drift") for result in ordered],
        }
    )


def onsets(labels: Sequence[str], ordered: Sequence[Curves]) -> tuple[str, ...]:
    """From which of `labels` on the simultaneous 95 % band of the change since the first lies beyond the margin."""
    slopes = stats.rises_band(labels, [result.by_unit("max_slope") for result in ordered])
    drifts = stats.rises_band(labels, [-result.by_unit("edge_drift") for result in ordered])
    return (f"onset (95 % band): max slope {slopes.onset(SLOPE_MARGIN)}, edge drift {drifts.onset(DRIFT_MARGIN)}",)


def null_note(curves: Curves) -> str:
    """Median metrics of the norm-only null beside which the curve is to be read."""
    slope, drift = (stats.median_interval(curves.null.by_unit(metric)) for metric in ("max_slope", "edge_drift"))
    return f"norm-only null of the last: max slope {_short(slope, 2)}, edge drift {_short(drift, 3)}"


def seed_note(seeds: Sequence[Curves]) -> str:
    """Smallest and largest median of max slope and edge drift over training seeds of one model."""
    ranges = []
    for metric, called in (("max_slope", "max slope"), ("edge_drift", "edge drift")):
        medians = [stats.median_interval(result.by_unit(metric)).estimate for result in seeds]
        ranges.append(f"{called} {min(medians):.3f} to {max(medians):.3f}")
    return f"{len(seeds)} training seeds of the smallest: {', '.join(ranges)}"


def _short(interval: Interval, digits: int) -> str:
    return f"{interval.estimate:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"
