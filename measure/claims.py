"""What claims share: what is sharper, what is a plateau, which counterfeits; verdicts held against the expected.

Decided on 2026-11-27, after looking at ladder-olmo-0.2m and ladder-olmo-1.1m and their counterfeits (and knowing of the
other rungs the two-sided drift alone, which an earlier audit had told), before any other rung was judged by it:

- Everything is told beyond the pair's own norm-only null, which the final norm makes of a straight line. Slopes by
  subtraction; what a plateau lacks (speed at the ends, distance from them) as the log of the ratio to the null's, so
  that a tenth is a tenth on a toy and on a model whose null and curve are both nearly flat.
- *Jumps*: max slope above the null's by 0.1; edge speed below the null's by a tenth; two-sided drift above the null's
  by no more than a fifth. Slowing at the ends alone can be had by going a long way round in the middle: shuffled
  blocks of those two rungs have 0.3 to 0.9 more two-sided drift than their null, in logs, the trained rungs 0.06.
- *A plateau*: jumps, and two-sided drift *below* the null's by a tenth. The output stays near its ends, not only slows.
- *Sharper*: the second of two curves has more of each: slope by 0.1, edge speed by a tenth, drift no more by a fifth.
- No part compares with a counterfeit. Each is judged by the same parts in the trained model's place, so that a control
  can fail; a planted curve with plateaus must pass, so that it can succeed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, TypeVar

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from jaxtyping import Float

from measure import stats
from measure.accepted import Accepted
from measure.kinds import of as kind_of
from measure.options import MOST_DRAWS
from measure.results import Curves, Result
from measure.spec import MeasureError, NotMeasuredError, Read, Spec
from measure.stats import Effect, Interval, Trend, Verdict

# In max slope, a straight line's being 1.
SLOPE_MARGIN = 0.1
# A tenth, of the null's: a margin in logs.
TENTH = 0.1
# By how much of its null's a curve's two-sided drift may exceed it before its slow ends count as a way round.
DETOUR_MARGIN = 0.2
# Of curves' mean absolute deviations, in units of r.
DEVIATION_MARGIN = 0.01
# Of pairs, or of the probability that one is above another.
SHARE_MARGIN = 0.1
# In bits, of the Jensen-Shannon divergence, which goes from 0 to 1.
DIVERGENCE_MARGIN = 0.1
# Near linear: a straight line has max slope 1.
LINEAR_SLOPE = 1.2


_NOTHING: Mapping[str, str] = {}
_MORE = (
    "measure more pairs, see --pairs and --pairs-from: an interval stands on 6 at least, and on 6 different last tokens"
)


class Claim:
    """One test's claim: holds verdicts against what the repository expects, and keeps them for the record.

    The `claim` fixture makes it. `subject` is the id under which a suite accepts a verdict. Where `must_be_measured`, a
    verdict without an interval is a failure of the test, else it is told as not measured; it never passes. `known`:
    what was accepted of this case before. Where not `held`, on another sample, a verdict is told and not held against
    the expected one. `keep` is handed each verdict, to accept it. `named` are the counterfeits that the test is asked
    to refute. Where pairs were not `drawn` but given, they may be too few to tell even what was planted.
    """

    def __init__(
        self,
        subject: str,
        *,
        must_be_measured: bool = False,
        known: Accepted | None = None,
        held: bool = True,
        keep: Callable[[Verdict], None] | None = None,
        named: Iterable[str] = (),
        drawn: bool = True,
    ) -> None:
        self.subject = subject
        self.verdict: Verdict | None = None
        self.expected = "supported"
        self.controls: dict[str, Verdict] = {}
        self.planted: dict[str, Verdict] = {}
        # What an accepted negative has moved by.
        self.drift: list[str] = []
        self._must_be_measured = must_be_measured
        self._known = known or Accepted()
        self._held = held
        self._keep = keep
        self._named = tuple(named)
        self._drawn = drawn

    def check(self, verdict: Verdict, accepted: Mapping[str, str] = _NOTHING) -> None:
        """Pass when the measured verdict is the expected one; an accepted negative is shown as an expected failure.

        `accepted` names the verdicts that are not `supported`, by the id of the test; under --protocol strict an id
        ends with the read. Raises `NotMeasuredError` for a verdict that has no interval.
        """
        if self._keep is not None and verdict.outcome != "not measured":
            self._keep(verdict)
        if self._held:
            verdict = replace(verdict, draws=tuple(self._known.draws.values()))
        self.verdict = verdict
        self.expected = accepted.get(self.subject, "supported") if self._held else verdict.outcome
        self._check_measured({"the claim": verdict})
        if verdict.outcome != self.expected:
            pytest.fail(f"expected the claim to be {self.expected}, measured: {verdict}", pytrace=False)
        if self.expected != "supported" and self._held:
            self._check_effects(verdict)
            pytest.xfail(f"accepted as {verdict}")

    def _check_effects(self, verdict: Verdict) -> None:
        """An accepted negative is held to its effects: one that vanishes, turns or leaves its interval is drift."""
        self.drift = self._known.drift(verdict) if self._keep is None else []
        if self.drift:
            lines = "\n".join(f"  {line}" for line in self.drift)
            pytest.fail(
                f"accepted as {self.expected} and still so, by other effects than were accepted:\n{lines}\n"
                "Find out why; if it is meant, accept it with --snapshot-update.",
                pytrace=False,
            )

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
        self._check_looked_at()

    def _check_looked_at(self) -> None:
        """Fail where a counterfeit named for the test was left out, or where two of them gave one verdict."""
        left_out = [name for name in self._named if name not in self.controls]
        effects = {name: self.controls[name].effects for name in self._named if name in self.controls}
        same = [(a, b) for a, b in combinations(effects, 2) if effects[a] == effects[b]]
        if left_out:
            pytest.fail(f"counterfeits named for this claim and not refuted: {', '.join(left_out)}", pytrace=False)
        if same:
            first, second = same[0]
            pytest.fail(
                f"{first!r} and {second!r} gave the same verdict to the last digit, so that one was not looked at: "
                f"{self.controls[first]}",
                pytrace=False,
            )

    def confirm(self, planted: Mapping[str, Verdict]) -> None:
        """Pass when the claim is supported by each of `planted`: data built to have what it says.

        Without it a control could be one that nothing passes.
        """
        self.planted |= planted
        self._check_enough(planted)
        refused = {name: verdict for name, verdict in planted.items() if verdict.outcome != "supported"}
        if refused or not planted:
            lines = "\n".join(f"  {name}: {verdict}" for name, verdict in refused.items()) or "  none was given"
            pytest.fail(f"the claim is not supported by data built to support it:\n{lines}", pytrace=False)

    def _check_enough(self, planted: Mapping[str, Verdict]) -> None:
        """Raise `NotMeasuredError` where pairs that were given leave open what the data were built to have."""
        open_ones = [verdict for verdict in planted.values() if verdict.outcome in ("inconclusive", "not measured")]
        if open_ones and not self._drawn:
            raise NotMeasuredError(
                f"not measured: {open_ones[0].n} independent pairs are too few to tell whether a claim holds: data "
                "built to support it are inconclusive too. Give more pairs with --pairs-from."
            )

    def _check_measured(self, verdicts: Mapping[str, Verdict]) -> None:
        for name, verdict in verdicts.items():
            if verdict.outcome == "not measured":
                why = _MORE if verdict.n else "every pair is degenerate or left out"
                told = f"not measured: {name} has no interval (n = {verdict.n}); {why}"
                if self._must_be_measured:
                    pytest.fail(f"{told}. On the ladder's default sample every claim can be measured", pytrace=False)
                raise NotMeasuredError(told)


def under_strict(case: str, verdict: str, *reads: Read) -> dict[str, str]:
    """An accepted verdict of `case` under --protocol strict, with each of `reads`: ids there end with the read."""
    return {f"{case}-{read}": verdict for read in reads}


C = TypeVar("C", bound=Curves)


_EXCHANGED = ("distance", "step_distance", "end_side_distance")


def mixed(first: C, second: C) -> tuple[C, C]:
    """Two results on as many units with the curves of every unit exchanged by a coin, the same at each call.

    Curves and their nulls, each in units of its own d(1).
    """
    heads = np.random.default_rng(0).integers(0, 2, first.units.max() + 1).astype(bool)
    swap = np.where(first.units >= 0, heads[first.units], False)[:, None]
    names = [*_EXCHANGED, *(f"null_{name}" for name in _EXCHANGED)]
    scaled = [{name: _over_end(result, getattr(result, name)) for name in names} for result in (first, second)]
    one: dict[str, Any] = {name: np.where(swap, scaled[1][name], scaled[0][name]) for name in names}
    other: dict[str, Any] = {name: np.where(swap, scaled[0][name], scaled[1][name]) for name in names}
    ones = np.ones(len(first))
    return replace(first, **one, reference_norm=ones), replace(second, **other, reference_norm=ones)


def _over_end(result: Curves, values: Float[np.ndarray, "pairs some"] | None) -> Float[np.ndarray, "pairs some"]:
    known = np.full((len(result), 1), np.nan) if values is None else values
    return known / result.end_distance[:, None]


def check_paired(curves: Sequence[Result]) -> None:
    """Raise `MeasureError` unless all curves were measured on the same prompts, unit by unit."""
    # Two results may hold the same independent pairs, one of them others beside.
    prompts = {
        result.provenance.get("independent_sha256", result.provenance["prompts_sha256"]): result.provenance["model"]
        for result in curves
    }
    if len(prompts) > 1:
        found = ", ".join(f"{model} on {sha256[:12]}" for sha256, model in prompts.items())
        raise MeasureError(
            f"a paired claim needs the same token ids for every model; found {found}. "
            "Models with different tokenizers cannot be paired: compare models of one tokenizer."
        )


# One value of a result per independent unit.
Of = Callable[[Curves], Float[np.ndarray, " units"]]


def steepness(curves: Curves) -> Float[np.ndarray, " units"]:
    """Max slope above the pair's own null's, (units,)."""
    return curves.beyond_null("max_slope")


def slowness(curves: Curves) -> Float[np.ndarray, " units"]:
    """By how much, in logs, edge speed is below the pair's own null's, (units,)."""
    return -curves.against_null("edge_speed")


def nearness(curves: Curves) -> Float[np.ndarray, " units"]:
    """By how much, in logs, two-sided drift is below the pair's own null's, (units,)."""
    return -curves.against_null("two_sided_drift")


def narrowness(curves: Curves) -> Float[np.ndarray, " units"]:
    """By how much, in logs, the path's width is below the pair's own null's, (units,)."""
    return -curves.against_null("variation_width")


def level(of: Of, curves: Curves) -> Interval:
    """Median of `of` over units, its interval wide enough for pairs that share a last token."""
    return contrast(of, [curves], [1.0])


def rise(of: Of, before: Curves, after: Curves) -> Interval:
    """By how much the median of `of` is higher in `after`, on the same units."""
    return contrast(of, [before, after], [-1.0, 1.0])


def contrast(of: Of, results: Sequence[Curves], weights: Sequence[float]) -> Interval:
    """sum_i weights[i] median(of(results[i])), all on the same units. Raises `MeasureError` where they are not."""
    check_paired(results)
    return stats.median_contrast([of(result) for result in results], weights, ends=results[0].unit_ends)


def jumps(curves: Curves) -> tuple[Effect, ...]:
    """What must hold for the output to jump, and not to bend: see the head of this module."""
    return (
        Effect("max slope above its null's", level(steepness, curves), SLOPE_MARGIN),
        Effect("edge speed below its null's, log", level(slowness, curves), TENTH),
        Effect("two-sided drift not above null's, log + 0.2", _by_no_detour(level(nearness, curves)), 0.0),
    )


def plateau(curves: Curves) -> tuple[Effect, ...]:
    """What must hold for the output to stay near its ends and jump between: see the head of this module."""
    return (*jumps(curves)[:2], Effect("two-sided drift below its null's, log", level(nearness, curves), TENTH))


def sharper(before: Curves, after: Curves, between: str) -> tuple[Effect, ...]:
    """What must hold for `after` to jump more than `before`, `between` saying which the two are."""
    return (
        Effect(f"steeper over null, {between}", rise(steepness, before, after), SLOPE_MARGIN),
        Effect(f"slower ends (log), {between}", rise(slowness, before, after), TENTH),
        Effect(
            f"no detour (log + 0.2), {between}",
            _by_no_detour(rise(nearness, before, after)),
            0.0,
        ),
    )


def _by_no_detour(nearer: Interval) -> Interval:
    return stats.shifted(nearer, DETOUR_MARGIN)


def near_linear(curves: Curves, called: str) -> tuple[Effect, ...]:
    """What must hold for a curve to be near a straight line: a slope below 1.2, ends within a tenth of its null's."""
    slope = level(lambda result: -result.by_unit("max_slope"), curves)
    return (
        Effect(f"{called}: max slope below {LINEAR_SLOPE}", stats.shifted(slope, LINEAR_SLOPE), 0.0),
        Effect(
            f"{called}: edge speed within 0.1 of null's, log",
            stats.shifted(stats.negated(level(slowness, curves)), TENTH),
            0.0,
        ),
    )


def sharpening_trends(ordered: Sequence[Curves]) -> tuple[Trend, ...]:
    """Page's test, adjusted by Holm, that slope and slow ends beyond the null grow along `ordered`; none below three.

    Raises `MeasureError` when there is nothing to compare.
    """
    if len(ordered) < 2:
        raise MeasureError(f"a claim on growth needs two sizes or two revisions to compare; found {len(ordered)}.")
    check_paired(ordered)
    return stats.page_trends(
        {
            "trend: steeper over null": [steepness(result) for result in ordered],
            "trend: slower ends": [slowness(result) for result in ordered],
        },
        ends=ordered[0].unit_ends,
    )


def onsets(labels: Sequence[str], ordered: Sequence[Curves]) -> tuple[str, ...]:
    """From which of `labels` on the simultaneous 95 % band of the change since the first lies beyond the margin."""
    ends = ordered[0].unit_ends
    slopes, speeds = (
        stats.rises_band(labels, [of(result) for result in ordered], ends=ends) for of in (steepness, slowness)
    )
    return (f"onset (95 % band): max slope {slopes.onset(SLOPE_MARGIN)}, edge speed {speeds.onset(TENTH)}",)


def null_note(curves: Curves) -> str:
    """Median metrics beside those of the norm-only null."""
    parts = []
    for metric, called, digits in _NOTED:
        own, null = curves.interval(metric), curves.null.interval(metric)
        parts.append(f"{called} {_short(own, digits)}, null {_short(null, digits)}")
    return f"the last, and its norm-only null: {'; '.join(parts)}"


_NOTED = (("max_slope", "max slope", 2), ("edge_speed", "edge speed", 2), ("two_sided_drift", "two-sided drift", 3))


def seed_note(seeds: Sequence[Curves]) -> str:
    """Smallest and largest median of max slope and edge speed over training seeds of one model."""
    ranges = []
    for metric, called, digits in _NOTED[:2]:
        medians = [stats.median_interval(result.by_unit(metric)).estimate for result in seeds]
        ranges.append(f"{called} {min(medians):.{digits + 1}f} to {max(medians):.{digits + 1}f}")
    return f"{len(seeds)} training seeds of the smallest: {', '.join(ranges)}"


def _short(interval: Interval, digits: int) -> str:
    return f"{interval.estimate:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


# Counterfeits


S = TypeVar("S", bound=Spec)
# What is left of the trained model's A and B and of the blocks after the patch, by what the kind is called.
_LATER = {
    "later blocks shuffled": "shuffled",
    "later rows shuffled": "rows",
    "later spectrum kept": "spectrum",
    "later blocks Gaussian": "gaussian",
    "later neurons permuted": "neurons",
}


KINDS = (*_LATER, "all weights shuffled")
# For measurements that take long: of those that keep A and B what keeps most, and what keeps least.
FEWER_KINDS = (
    "later blocks shuffled",
    "later spectrum kept",
    "later neurons permuted",
    "all weights shuffled",
)


def counterfeits(spec: S, draw: int = 0, kinds: Sequence[str] = KINDS) -> dict[str, S]:
    """Counterfeits of a trained model by what they are called, on the pairs of `spec` that inference uses.

    The later blocks are those after `spec.layer`, so that A and B stay what they were.
    """
    # Other measurements take the independent pairs alone as they are.
    alone: dict[str, Any] = {"rows": "independent"} if kind_of(spec).chooses_rows else {}
    found: dict[str, S] = {}
    for kind in kinds:
        weights = f"{_LATER[kind]}_after_{spec.layer}:{draw}" if kind in _LATER else f"scrambled:{draw}"
        found[kind] = replace(spec, weights=weights, **alone)
    return found


def controls(
    cases: Sequence[ParameterSet], of: Callable[..., Mapping[str, object]], draws: int = MOST_DRAWS
) -> list[ParameterSet]:
    """Each case with its counterfeits, `of(case, draw)`, once for every draw; `--draws` says how many are run."""
    return [_control(case, of(*case.values, draw), draw) for draw in range(draws) for case in cases]


def _control(case: ParameterSet, counterfeits: Mapping[str, object], draw: int) -> ParameterSet:
    # The mark tells a test's claim which counterfeits it is to refute.
    mark = pytest.mark.draw(draw, named=tuple(counterfeits))
    case_id = f"{case.id}-draw{draw}" if draw else case.id
    return pytest.param(*case.values, counterfeits, id=case_id, marks=[*case.marks, mark])


def planted(curves: C, slope: float = 6.0, places: tuple[float, float] = (0.4, 0.6)) -> C:
    """The same pairs with plateaus: an output that runs straight from F(A) to F(B), and r a sigmoid of that slope.

    Where it jumps differs from row to row, evenly between two `places` in alpha.
    """
    place = np.linspace(*places, len(curves))[:, None]
    rows = 1 / (1 + np.exp(-4 * slope * (curves.alphas - place)))
    rows = (rows - rows[:, :1]) / (rows[:, -1:] - rows[:, :1])
    distance = rows * curves.distance[:, -1:]
    return straight(curves, distance)


def planted_growth(ordered: Sequence[C]) -> list[C]:
    """As many results, from the norm-only null of the first to plateaus in the place of the last."""
    last = len(ordered) - 1
    steps = [planted(result, max(1.5, 6.0 * place / last)) for place, result in enumerate(ordered) if place]
    return [replace_by_null(ordered[0]), *steps]


def replace_by_null(curves: C) -> C:
    """The norm-only null in the place of the curves."""
    null = curves.null
    return replace(curves, **{name: getattr(null, name) for name in _EXCHANGED})


def straight(curves: C, distance: Float[np.ndarray, "pairs steps"]) -> C:
    """The same pairs with an output at `distance` from F(A), straight on the way to F(B)."""
    return replace(
        curves,
        distance=distance,
        step_distance=np.abs(np.diff(distance, axis=1)),
        end_side_distance=np.abs(distance[:, -1:] - distance),
    )
