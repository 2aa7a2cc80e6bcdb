"""Bootstrap resampling of medians, and the steps that every interval shares. Draws numbers; judges nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from measure.stats import shared_ends
from measure.stats.verdicts import CONFIDENCE, Interval

RESAMPLES = 4000
# Values drawn at a time, so that memory does not grow with the number of units.
RESAMPLED_VALUES = 2_000_000


def has_values(*columns: Float[np.ndarray, " units"]) -> Bool[np.ndarray, " units"]:
    """Which units have a value under every condition."""
    return np.isfinite(np.stack(columns, axis=1)).all(axis=1)


def finite_rows(*columns: Float[np.ndarray, " units"]) -> Float[np.ndarray, "kept conditions"]:
    """Units that have a value under every condition: (kept, conditions)."""
    return np.stack(columns, axis=1).astype(np.float64)[has_values(*columns)]


def bootstrap_medians(
    table: Float[np.ndarray, "units conditions"], seed: int, resamples: int
) -> Float[np.ndarray, "resamples conditions"]:
    """Medians of each condition over resampled units; the same units for every condition, so pairing is kept."""
    return np.stack([resampled_medians(column.tobytes(), seed, resamples) for column in table.T], axis=1)


@lru_cache(maxsize=2048)
def resampled_medians(column: bytes, seed: int, resamples: int) -> Float[np.ndarray, " resamples"]:
    """Medians of resampled float64 values; one seed draws the same units of every column of one length.

    Cached, since one metric of a curve is used in many effects, controls and bands. A resample is stored as how often
    it holds each unit. Its median is looked for near the middle of the sorted values, within five standard errors; if
    one lies outside, among all of them.
    """
    values = np.frombuffer(column)
    order = np.argsort(values, kind="stable")
    count, reach = len(values), math.ceil(2.5 * math.sqrt(len(values)))
    parts = []
    for times in _times_held(count, seed, resamples):
        near = _middles(times, order, max(0, count // 2 - reach), min(count, count // 2 + reach))
        places = near if near is not None else _middles(times, order, 0, count)
        assert places is not None, "among all there is a middle"
        parts.append((values[order[places[0]]] + values[order[places[1]]]) / 2)
    medians = np.concatenate(parts)
    medians.flags.writeable = False
    return medians


@lru_cache(maxsize=8)
def _times_held(count: int, seed: int, resamples: int) -> tuple[Integer[np.ndarray, "units resamples"], ...]:
    """How often each resample holds each unit, some resamples at a time."""
    generator = np.random.default_rng(seed)
    block = max(1, RESAMPLED_VALUES // count)
    parts = []
    for start in range(0, resamples, block):
        drawn = generator.integers(0, count, size=(min(block, resamples - start), count))
        drawn += count * np.arange(len(drawn))[:, None]
        times = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        parts.append(np.ascontiguousarray(times.T.astype(np.uint8 if times.max() < 256 else np.uint16)))
    return tuple(parts)


def _middles(
    times: Integer[np.ndarray, "units resamples"], order: Int[np.ndarray, " units"], low: int, high: int
) -> tuple[Int[np.ndarray, " resamples"], Int[np.ndarray, " resamples"]] | None:
    """Places in `order` of the two values in the middle of each resample; None if one is outside `low` to `high`."""
    count = len(order)
    # Half the width is twice the speed.
    integers = np.int16 if count < 2**15 else np.int64
    below = times[order[:low]].sum(axis=0, dtype=integers)
    upto = below + times[order[low:high]].cumsum(axis=0, dtype=integers)
    places = [(upto <= middle).sum(axis=0) for middle in ((count - 1) // 2, count // 2)]
    inside = (below <= (count - 1) // 2).all() and (places[1] < high - low).all()
    return (low + places[0], low + places[1]) if inside else None


def interval_of(estimate: float, draws: Float[np.ndarray, " resamples"], n: int) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(float(estimate), float(low), float(high), n)


def without_interval(estimate: float, n: int) -> Interval:
    """An estimate without an interval."""
    return Interval(float(estimate), np.nan, np.nan, n)


def stretched(
    interval: Interval, influence: Float[np.ndarray, " units"], ends: Int[np.ndarray, "units 2"] | None
) -> Interval:
    """The interval widened about its estimate for units that share last tokens. Unchanged without `ends`."""
    by = 1.0 if ends is None else shared_ends.stretch(influence, ends)
    if by == 1:
        return interval
    low, high = (interval.estimate + by * (side - interval.estimate) for side in (interval.low, interval.high))
    return replace(interval, low=low, high=high)


def kept_units(
    finite: Bool[np.ndarray, " units"], alike: Int[np.ndarray, "units ..."] | None
) -> Int[np.ndarray, "kept ..."] | None:
    """The ends or clusters of the units that have a value."""
    return None if alike is None else alike[finite]


def check_one_kind(ends: Int[np.ndarray, "units 2"] | None, clusters: Int[np.ndarray, " units"] | None) -> None:
    if ends is not None and clusters is not None:
        raise ValueError("units are alike in their ends or in their clusters; found both.")


def influences_of(
    table: Float[np.ndarray, "units conditions"],
    medians: Float[np.ndarray, "resamples conditions"],
    drawn: Float[np.ndarray, " resamples"],
) -> Float[np.ndarray, " units"]:
    """What each unit adds to the error of a function of medians, linearized by least squares over the draws."""
    return median_influences(table) @ slopes_of(medians, drawn)


def slopes_of(
    statistics: Float[np.ndarray, "resamples some"], drawn: Float[np.ndarray, " resamples"]
) -> Float[np.ndarray, " some"]:
    """Slopes of a function of statistics, by least squares over resamples."""
    return np.linalg.lstsq(statistics - statistics.mean(axis=0), drawn - drawn.mean(), rcond=None)[0]


def median_influences(table: Float[np.ndarray, "units conditions"]) -> Float[np.ndarray, "units conditions"]:
    """What each unit adds to the error of each column's median."""
    return np.stack([shared_ends.of_median(column) for column in table.T], axis=1)
