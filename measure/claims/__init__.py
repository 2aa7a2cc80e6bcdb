"""What claims share: what a jump, a plateau and sharper are, and the margins of each.

`Claim`, counterfeits and planted data live in `claims.claim` and `claims.controls`, and are offered here too.

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

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from measure import stats
from measure.claims.claim import Claim
from measure.claims.controls import (
    FEWER_KINDS,
    KINDS,
    controls,
    counterfeits,
    mixed,
    planted,
    planted_growth,
    replace_by_null,
    straight,
)
from measure.results import Curves, Result
from measure.results.metrics import TABLE
from measure.spec import MeasureError, Read
from measure.stats import Effect, Interval, Trend

__all__ = [
    "DETOUR_MARGIN",
    "DEVIATION_MARGIN",
    "DIVERGENCE_MARGIN",
    "FEWER_KINDS",
    "KINDS",
    "LINEAR_SLOPE",
    "SHARE_MARGIN",
    "SLOPE_MARGIN",
    "TENTH",
    "Claim",
    "Of",
    "check_paired",
    "contrast",
    "controls",
    "counterfeits",
    "jumps",
    "level",
    "mixed",
    "narrowness",
    "near_linear",
    "nearness",
    "null_note",
    "onsets",
    "planted",
    "planted_growth",
    "plateau",
    "replace_by_null",
    "rise",
    "seed_note",
    "sharpening_trends",
    "sharper",
    "slowness",
    "steepness",
    "straight",
    "under_strict",
]

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


def under_strict(case: str, verdict: str, *reads: Read) -> dict[str, str]:
    """Accepted verdicts of `case` under --protocol strict, one for each of `reads`, which ids end with."""
    return {f"{case}-{read}": verdict for read in reads}


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
    """Max slope minus the norm-only null's, per unit, (units,)."""
    return curves.beyond_null("max_slope")


def slowness(curves: Curves) -> Float[np.ndarray, " units"]:
    """ln of the null's edge speed over the curve's own, per unit, (units,)."""
    return -curves.against_null("edge_speed")


def nearness(curves: Curves) -> Float[np.ndarray, " units"]:
    """ln of the null's two-sided drift over the curve's own, per unit, (units,)."""
    return -curves.against_null("two_sided_drift")


def narrowness(curves: Curves) -> Float[np.ndarray, " units"]:
    """ln of the null's path width over the curve's own, per unit, (units,)."""
    return -curves.against_null("variation_width")


def level(of: Of, curves: Curves) -> Interval:
    """Median of `of` over units, with an interval that allows for pairs that share a last token."""
    return contrast(of, [curves], [1.0])


def rise(of: Of, before: Curves, after: Curves) -> Interval:
    """Median of `of` in `after` minus that in `before`, on the same units."""
    return contrast(of, [before, after], [-1.0, 1.0])


def contrast(of: Of, results: Sequence[Curves], weights: Sequence[float]) -> Interval:
    """sum_i weights[i] median(of(results[i])). Raises `MeasureError` if results are not on the same units."""
    check_paired(results)
    return stats.median_contrast([of(result) for result in results], weights, ends=results[0].unit_ends)


def jumps(curves: Curves) -> tuple[Effect, ...]:
    """The effects of a jump: what tells it from a bend. See the head of this module."""
    return (
        Effect("max slope above its null's", level(steepness, curves), SLOPE_MARGIN),
        Effect("edge speed below its null's, log", level(slowness, curves), TENTH),
        Effect("two-sided drift not above null's, log + 0.2", _by_no_detour(level(nearness, curves)), 0.0),
    )


def plateau(curves: Curves) -> tuple[Effect, ...]:
    """The effects of a plateau: near its ends the output stays, between them it jumps. See the head of this module."""
    return (*jumps(curves)[:2], Effect("two-sided drift below its null's, log", level(nearness, curves), TENTH))


def sharper(before: Curves, after: Curves, between: str) -> tuple[Effect, ...]:
    """The effects of `after` being sharper than `before`. `between` names the two in the verdict."""
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
    """The effects of a curve near a straight line: a slope below 1.2, and ends within a tenth of its null's."""
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
    """Page's tests, adjusted by Holm, that slope and slow ends beyond the null grow along `ordered`.

    No test below three results. Raises `MeasureError` below two.
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
    """A note on the first of `labels` from which on the change since the first result exceeds the margin.

    By its simultaneous 95 % band, for max slope and edge speed.
    """
    ends = ordered[0].unit_ends
    slopes, speeds = (
        stats.rises_band(labels, [of(result) for result in ordered], ends=ends) for of in (steepness, slowness)
    )
    return (f"onset (95 % band): max slope {slopes.onset(SLOPE_MARGIN)}, edge speed {speeds.onset(TENTH)}",)


def null_note(curves: Curves) -> str:
    """A note on median metrics beside those of the norm-only null."""
    parts = []
    for metric, digits in _NOTED:
        own, null = curves.interval(metric), curves.null.interval(metric)
        parts.append(f"{TABLE[metric].label} {_short(own, digits)}, null {_short(null, digits)}")
    return f"the last, and its norm-only null: {'; '.join(parts)}"


# Metrics that notes tell of, and digits after the point.
_NOTED = (("max_slope", 2), ("edge_speed", 2), ("two_sided_drift", 3))


def seed_note(seeds: Sequence[Curves]) -> str:
    """A note on the smallest and largest median of max slope and edge speed over training seeds of one model."""
    ranges = []
    for metric, digits in _NOTED[:2]:
        medians = [stats.median_interval(result.by_unit(metric)).estimate for result in seeds]
        ranges.append(f"{TABLE[metric].label} {min(medians):.{digits + 1}f} to {max(medians):.{digits + 1}f}")
    return f"{len(seeds)} training seeds of the smallest: {', '.join(ranges)}"


def _short(interval: Interval, digits: int) -> str:
    return f"{interval.estimate:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"
