"""Training runs as units: how an effect stands over seeds of one recipe, where a verdict speaks of one checkpoint.

Of the ladder it reads what `measure ladder seeds` kept; runs that a user named are measured, and their claims are about
runs. An effect is told with the mean over runs and its 95 % interval by Student's t (between two sizes, by Welch's), n
being the number of runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from measure import claims, stats
from measure.catalog import FEWEST_RUNS
from measure.ladder import seeds
from measure.ladder.seeds import Checkpoint, SeedRun
from measure.results import Curves
from measure.stats import Effect, Interval, Trend


def steepness(checkpoint: Checkpoint) -> float:
    """Median of max slope above the pair's own null's."""
    return checkpoint.beyond_null["max_slope"].estimate


def slowness(checkpoint: Checkpoint) -> float:
    """By how much, in logs, the median edge speed is below its null's."""
    return -math.log(checkpoint.curve["edge_speed"].estimate / checkpoint.null["edge_speed"].estimate)


_TOLD: tuple[tuple[str, Callable[[Checkpoint], float]], ...] = (
    ("steeper over null", steepness),
    ("slower ends (log)", slowness),
)


def along_training(model: str) -> tuple[str, ...]:
    """The change from untrained to trained over runs of a rung, `ladder-FAMILY-SIZE`; nothing below three runs."""
    found = _runs(model)
    if len(found) < FEWEST_RUNS:
        return ()
    changes = [(name, paired([of(run.trained) - of(run.untrained) for run in found])) for name, of in _TOLD]
    return (_line(f"over {len(found)} training runs (n = runs)", changes),)


def by_size(family: str, sizes: Sequence[str]) -> tuple[str, ...]:
    """The change from the smallest of `sizes` to the largest that has three runs; nothing where none but it has."""
    kept = [(size, _runs(f"{family}-{size}")) for size in sizes]
    told = [(size, found) for size, found in kept if len(found) >= FEWEST_RUNS]
    if len(told) < 2:
        return ()
    (small, smaller), (large, larger) = told[0], told[-1]
    changes = [
        (name, between([of(run.trained) for run in smaller], [of(run.trained) for run in larger])) for name, of in _TOLD
    ]
    return (_line(f"{small} to {large} over {len(smaller)} and {len(larger)} training runs (n = runs)", changes),)


def _runs(model: str) -> tuple[SeedRun, ...]:
    """Kept runs of a rung, all of the recipe of the first; none for what is no rung."""
    source, _, rest = model.partition("-")
    family, _, size = rest.partition("-")
    found = seeds.load(family, size) if source == "ladder" else ()
    return tuple(run for run in found if run.recipe_sha256 == found[0].recipe_sha256)


def paired(changes: Sequence[float]) -> Interval:
    """Mean of one change for each run, with Student's 95 % interval."""
    error = np.var(changes, ddof=1) / len(changes)
    return _interval(float(np.mean(changes)), float(error), len(changes) - 1, len(changes))


def between(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Difference of two means over different runs, with Welch's 95 % interval."""
    errors = [float(np.var(values, ddof=1)) / len(values) for values in (before, after)]
    spread = sum(error**2 / (len(values) - 1) for error, values in zip(errors, (before, after), strict=True))
    # Runs that are all alike have no spread, and then no degrees of freedom are needed.
    freedom = sum(errors) ** 2 / spread if spread else 1.0
    return _interval(float(np.mean(after) - np.mean(before)), sum(errors), freedom, len(before) + len(after))


# Runs that are measured: one number for each, the median over its pairs.


def of_run(of: claims.Of, curves: Curves) -> float:
    """The median over independent pairs of one run, NaN where no pair has a value."""
    values = of(curves)
    kept = values[np.isfinite(values)]
    return float(np.median(kept)) if len(kept) else math.nan


_SHARPER = (
    ("steeper over null", claims.steepness, 0.0, claims.SLOPE_MARGIN),
    ("slower ends (log)", claims.slowness, 0.0, claims.TENTH),
    ("no detour (log + 0.2)", claims.nearness, claims.DETOUR_MARGIN, 0.0),
)


def sharper(before: Sequence[Curves], after: Sequence[Curves], between: str) -> tuple[Effect, ...]:
    """As `claims.sharper`, over runs: `before` and `after` are of the same runs, in the same order."""
    return tuple(
        Effect(
            f"{name}, {between}",
            paired([of_run(of, b) - of_run(of, a) + moved for a, b in zip(before, after, strict=True)]),
            margin,
        )
        for name, of, moved, margin in _SHARPER
    )


def sharper_between(smaller: Sequence[Curves], larger: Sequence[Curves], called: str) -> tuple[Effect, ...]:
    """As `claims.sharper`, between runs of two sizes, which are different runs."""
    return tuple(
        Effect(
            f"{name}, {called}",
            stats.shifted(between([of_run(of, one) for one in smaller], [of_run(of, one) for one in larger]), moved),
            margin,
        )
        for name, of, moved, margin in _SHARPER
    )


def near_linear(first: Sequence[Curves], called: str) -> tuple[Effect, ...]:
    """As `claims.near_linear`, over runs."""
    slopes = [of_run(lambda curves: curves.by_unit("max_slope"), one) for one in first]
    return (
        Effect(
            f"{called}: max slope below {claims.LINEAR_SLOPE}",
            paired([claims.LINEAR_SLOPE - slope for slope in slopes]),
            0.0,
        ),
        Effect(
            f"{called}: edge speed within 0.1 of null's, log",
            paired([claims.TENTH - of_run(claims.slowness, one) for one in first]),
            0.0,
        ),
    )


def trends(runs: Sequence[Sequence[Curves]]) -> tuple[Trend, ...]:
    """As `claims.sharpening_trends`, with runs as units; none below six runs or three revisions."""
    named = (("trend: steeper over null", claims.steepness), ("trend: slower ends", claims.slowness))
    return stats.page_trends(
        {
            name: [np.array([of_run(of, one) for one in column]) for column in zip(*runs, strict=True)]
            for name, of in named
        }
    )


def _interval(mean: float, variance: float, freedom: float, runs: int) -> Interval:
    from scipy.special import stdtrit

    reach = float(stdtrit(freedom, 0.975)) * math.sqrt(variance)
    return Interval(mean, mean - reach, mean + reach, runs)


def _line(where: str, changes: Sequence[tuple[str, Interval]]) -> str:
    return f"{where}: {'; '.join(f'{name} {interval}' for name, interval in changes)}"
