"""What a metric is: the formulas of a curve's metrics, and one table that says of every metric what is known of it.

Baselines take their tolerances from the table; records, page and figures its names, labels and straight-line values.

Notation: r = d / d(1); s_i = ||F(X[i+1]) - F(X[i])||, the length of a step of the output; v_i = s_i / mean(s), its
speed, 1 throughout on a straight and even run. `alphas` are evenly spaced from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from measure import distances

# How far from each end the output should stand still, in alpha.
EDGE = 0.2
# The output stands still where it moves at less than this share of its mean speed.
STILL = 0.5
# A fall of r below this is rounding.
ROUNDING = 1e-4
# Two outputs that are no farther apart than this share of their norm are one: what is between them is rounding.
DEGENERATE = 1e-5


def quartiles(values: Float[np.ndarray, "rows ..."]) -> Float[np.ndarray, "3 ..."]:
    """25, 50 and 75 % quantiles over rows, place by place, (3, ...)."""
    return np.quantile(values, [0.25, 0.5, 0.75], axis=0)


def max_slope(relative: Float[np.ndarray, "pairs steps"]) -> Float[np.ndarray, " pairs"]:
    """The paper's sharpness, max_i (r[i+1] - r[i]) (steps - 1): 1 for a straight line, at most about steps - 1."""
    return np.diff(relative, axis=1).max(axis=1) * (relative.shape[1] - 1)


def first_crossing(
    relative: Float[np.ndarray, "pairs steps"], alphas: Float[np.ndarray, " steps"], level: float
) -> Float[np.ndarray, " pairs"]:
    """First alpha at which r reaches `level`, interpolated between grid points; NaN where it never does."""
    reached = relative >= level
    after = reached.argmax(axis=1)
    before = np.maximum(after - 1, 0)
    rows = np.arange(len(relative))
    low, high = relative[rows, before], relative[rows, after]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(after > 0, (level - low) / (high - low), 0.0)
    crossing = alphas[before] + share * (alphas[after] - alphas[before])
    return np.where(reached.any(axis=1), crossing, np.nan)


def transition_width(
    relative: Float[np.ndarray, "pairs steps"], alphas: Float[np.ndarray, " steps"]
) -> Float[np.ndarray, " pairs"]:
    """alpha(r = 0.9) - alpha(r = 0.1), first crossings: 0.8 for a straight line, near 0 for a step."""
    return first_crossing(relative, alphas, 0.9) - first_crossing(relative, alphas, 0.1)


def edge_drift(
    relative: Float[np.ndarray, "pairs steps"], alphas: Float[np.ndarray, " steps"]
) -> Float[np.ndarray, " pairs"]:
    """How far r moves near its ends: mean of r(t) - r(0) over t <= 0.2 plus mean of r(1) - r(t) over t >= 0.8.

    Near 0 on plateaus, 0.184 for a straight line at 50 points; a sharp curve without plateaus stays high. Both ends
    are seen from A: near B a step across the line from A to B does not change r, so a bent path looks flat there. NaN
    on a grid so coarse that an edge holds its end point alone: nothing could drift there.
    """
    head, tail = _edges(alphas)
    if head.sum() < 2:
        return np.full(len(relative), np.nan)
    return (relative[:, head] - relative[:, :1]).mean(axis=1) + (relative[:, -1:] - relative[:, tail]).mean(axis=1)


def two_sided_drift(
    relative: Float[np.ndarray, "pairs steps"],
    to_end: Float[np.ndarray, "pairs steps"],
    alphas: Float[np.ndarray, " steps"],
) -> Float[np.ndarray, " pairs"]:
    """How far the output is from each end near that end, each seen from its own side.

    Mean of ||F(X) - F(X(0))|| / d(1) over alpha <= 0.2 plus mean of ||F(X) - F(X(1))|| / d(1) over alpha >= 0.8, the
    second being `to_end`. 0.184 for a straight line at 50 points, near 0 on plateaus; NaN as in `edge_drift`.
    """
    head, tail = _edges(alphas)
    if head.sum() < 2:
        return np.full(len(relative), np.nan)
    return relative[:, head].mean(axis=1) + to_end[:, tail].mean(axis=1)


def _edges(alphas: Float[np.ndarray, " steps"]) -> tuple[Bool[np.ndarray, " steps"], Bool[np.ndarray, " steps"]]:
    return alphas <= EDGE + 1e-9, alphas >= 1 - EDGE - 1e-9


def speed(steps: Float[np.ndarray, "pairs spans"]) -> Float[np.ndarray, "pairs spans"]:
    """v_i = s_i / mean(s); NaN where the output never moves."""
    mean = steps.mean(axis=1, keepdims=True)
    return steps / np.where(mean > 0, mean, np.nan)


def edge_speed(
    steps: Float[np.ndarray, "pairs spans"], alphas: Float[np.ndarray, " steps"]
) -> Float[np.ndarray, " pairs"]:
    """Mean of v over the steps whose midpoint lies in [0, 0.2] or [0.8, 1]; NaN where no step's does."""
    middle = (alphas[1:] + alphas[:-1]) / 2
    edge = (middle <= EDGE + 1e-9) | (middle >= 1 - EDGE - 1e-9)
    if not edge.any():
        return np.full(len(steps), np.nan)
    return speed(steps)[:, edge].mean(axis=1)


def variation_width(
    steps: Float[np.ndarray, "pairs spans"], alphas: Float[np.ndarray, " steps"]
) -> Float[np.ndarray, " pairs"]:
    """Alpha at which 90 % of the output's path is behind it, minus alpha at 10 %: 0.8 on an even run, near 0 on a step.

    The transition width of the path's length, whose ends no turn of the path can move.
    """
    path = np.concatenate([np.zeros((len(steps), 1)), np.cumsum(steps, axis=1)], axis=1)
    return transition_width(path / np.where(path[:, -1:] > 0, path[:, -1:], np.nan), alphas)


def plateau_fraction(steps: Float[np.ndarray, "pairs spans"]) -> Float[np.ndarray, " pairs"]:
    """Share of the segment on which the output moves at less than half its mean speed: 0 on an even run."""
    still = speed(steps)
    return np.where(np.isnan(still).any(axis=1), np.nan, (still < STILL).mean(axis=1))


def fall(relative: Float[np.ndarray, "pairs steps"]) -> Float[np.ndarray, " pairs"]:
    """By how much r falls on its way from 0 to 1, all falls together; 0 for a monotone curve."""
    return np.maximum(-np.diff(relative, axis=1), 0).sum(axis=1)


@dataclass(frozen=True)
class Definition:
    """What is known of a metric: its `name` in code and files, its `label` in print, its formula, what it cannot see.

    `straight`: its value on a straight, even run of 50 points; None where there is none. `processors`, `devices`: how
    far a quartile of it may move between processors, and between devices, before a baseline calls it drift.

    `of`: curves to one number a pair, (pairs,); None where the result has it as a property of its own. A new metric of
    curves is its row in `CURVES` with this.
    """

    name: str
    label: str
    formula: str
    straight: float | None
    processors: float
    devices: float
    blind: str = ""
    of: Callable[[Any], Float[np.ndarray, " pairs"]] | None = None


# Of every curve.
CURVES = (
    Definition(
        "max_slope", "max slope", "max (r[i+1] - r[i]) (steps - 1), the paper's sharpness",
        1.0, 5e-4, 1e-2, "Where the steep step is, and what the rest does: shuffled weights are as steep.",
    ),
    Definition(
        "transition_width", "transition width", "alpha(r = 0.9) - alpha(r = 0.1), first crossings",
        0.8, 5e-5, 1e-3, "What happens after r first reaches 0.9, and movement at one distance from A.",
    ),
    Definition(
        "edge_drift", "edge drift", "mean of r over alpha <= 0.2 + mean of 1 - r over alpha >= 0.8",
        0.184, 1e-5, 2e-4, "Movement near B across the line from A: one-sided, so a bent path passes for flat.",
    ),
    Definition(
        "jump_location", "jump location", "first alpha with r = 0.5",
        0.5, 5e-5, 1e-3, "Whether there is a jump at all.",
    ),
    Definition(
        "edge_speed", "edge speed", "mean of v over steps in alpha <= 0.2 or >= 0.8, v = s / mean(s)",
        1.0, 2e-4, 2e-3, "How far the output is from its ends: a long way out and back in the middle lowers it too.",
    ),
    Definition(
        "peak_speed", "peak speed", "max v", 1.0, 5e-4, 1e-2, "How many peaks there are, and what the ends do.",
    ),
    Definition(
        "detour", "detour", "sum(s) / d(1)", 1.0, 2e-4, 2e-3, "Speed: a straight run may stand still and jump.",
    ),
    Definition(
        "two_sided_drift", "two-sided drift",
        "mean of ||F(X) - F(X(0))|| / d(1) over alpha <= 0.2 + mean of ||F(X) - F(X(1))|| / d(1) over alpha >= 0.8",
        0.184, 2e-5, 2e-4, "Small circles around an end, which are movement and no distance.",
    ),
    Definition(
        "variation_width", "path width", "alpha(90 % of the path) - alpha(10 % of it)",
        0.8, 5e-5, 1e-3, "What lies between: two jumps far apart are as wide as none.",
    ),
    Definition(
        "plateau_fraction", "plateau fraction", "share of steps with v < 0.5",
        0.0, 0.021, 0.041, "Where the still parts are: one in the middle counts as one at an end.",
    ),
    Definition(
        "fall", "fall", "sum of max(0, r[i] - r[i+1])", 0.0, 1e-4, 1e-3, "Movement at one distance from A.",
    ),
)  # fmt: skip

# Of curves with predictions along them.
PREDICTIONS = (
    Definition("end_divergence", "divergence of the ends", "JSD(0, 1), bits", None, 1e-5, 1e-3),
    Definition("flat_divergence", "divergence inside", "JSD over the span in which r moves least", None, 5e-5, 1e-3),
    Definition("straddling_divergence", "divergence astride", "JSD over the span in which it moves most",
               None, 5e-5, 1e-3),
    Definition("flat_agreement", "same top token inside", "1 where the span's ends agree", None, 1e-3, 1e-3),
    Definition("straddling_agreement", "same top token astride", "1 where the span's ends agree", None, 1e-3, 1e-3),
    Definition("separation", "distance of A and B", "||A - B|| at the patched layer", None, 1e-5, 2e-4),
    Definition("logit_deviation", "logit deviation", "mean |l - r| over alpha", None, 5e-5, 1e-3),
    Definition("logit_deviation_from_line", "logit deviation from a line", "mean |l - alpha|", None, 5e-5, 1e-3),
    Definition("logit_deviation_from_other", "logit deviation from another pair", "mean |l - r of the pair before|",
               None, 5e-5, 1e-3),
    Definition("logit_correlation", "logit correlation", "correlation of the steps of l with those of r",
               None, 2.5e-4, 5e-3),
)  # fmt: skip

# Of curves with the gates counted that change sign along them.
CROSSINGS = (
    Definition("total", "sign changes", "gates whose sign changes, step by step", None, 2.0, 2.0),
    Definition("flat_share", "flat share", "share of steps with v < 0.5", 0.0, 0.01, 0.01),
    Definition("flat_crossings", "sign changes in flat parts", "those in steps with v < 0.5", None, 2.0, 2.0),
    Definition("flat_crossing_share", "share of them in flat parts", "of all sign changes", None, 0.01, 0.01),
    Definition("crossing_rate_ratio", "rate, flat over moving", "sign changes per alpha", None, 0.05, 0.05),
    Definition("missed_by_half", "missed on half the grid", "share of the sign changes", None, 1e-3, 1e-3),
    Definition("region_boundaries", "region boundaries", "stretches with v > 1.5", 0.0, 0.5, 0.5),
)  # fmt: skip

# Of two-dimensional slices.
SLICES = (
    Definition("solid_share", "solid share", "cells within 0.1 of A's, B's or C's own colour", None, 5e-3, 5e-3),
    Definition("steep_share", "steepest tenth's share", "of all change between neighbours", None, 1e-3, 1e-3),
    Definition("boundary_width", "boundary width", "in alpha, see Slices.boundary_width", None, 5e-3, 5e-3),
)

NAMES = tuple(one.name for one in CURVES)
# What looks at the output's own path, which is Euclidean whatever distance r is made of.
OF_THE_PATH = ("edge_speed", "peak_speed", "detour", "variation_width", "plateau_fraction")
TABLE = {one.name: one for one in (*CURVES, *PREDICTIONS, *CROSSINGS, *SLICES)}


def straight(name: str, distance: str) -> float | None:
    """A metric's value on a straight, even run of 50 points under a distance.

    None where there is none: cosine and divergences go with the square of a short way, and how fast they grow on a long
    one hangs on where it lies.
    """
    return TABLE[name].straight if distance in distances.EVEN or name in OF_THE_PATH else None


def add_properties(result: type, definitions: Iterable[Definition]) -> None:
    """Give `result` a property for each metric that says itself what it is `of`."""
    for one in definitions:
        if one.of is not None:
            found = cached_property(one.of)
            found.__set_name__(result, one.name)
            setattr(result, one.name, found)
