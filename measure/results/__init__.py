"""What came out: results of so many rows; curves and their derived metrics."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from measure import stats
from measure.base.files import write_atomically
from measure.results import figures, metrics
from measure.results.files import Result
from measure.results.metrics import DEGENERATE, first_crossing
from measure.spec import MeasureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from pandas import DataFrame

__all__ = ["DEGENERATE", "LEAST_SHARE", "METRICS", "Curves", "Result", "RowResult", "write_atomically"]

METRICS = metrics.NAMES
# Of the null's value: what is less counts as this in `Curves.against_null`.
LEAST_SHARE = 0.01


class RowResult(Result):
    """A result of so many rows, of pairs or triples of prompts, with one number a row of each of its metrics.

    Rows with the same number in a field `units` (rows,) are one independent unit of inference, as in `Curves`. Without
    such a field each row is one. `last_tokens` (rows, 2), if known, are the ids that the prompts of a pair end on.
    """

    def __len__(self) -> int:
        raise NotImplementedError

    @property
    def degenerate(self) -> Bool[np.ndarray, " rows"]:
        """(rows,) bool: rows that have no metrics. None of them, unless a kind says otherwise."""
        return np.zeros(len(self), dtype=bool)

    def _units(self) -> Int[np.ndarray, " rows"]:
        return np.asarray(getattr(self, "units", np.arange(len(self))))

    @property
    def unit_ends(self) -> Int[np.ndarray, "units 2"] | None:
        """The ids that A and B of each independent unit end on, (units, 2), from its first row. None if not known."""
        ends = getattr(self, "last_tokens", None)
        if ends is None:
            return None
        units = self._units()
        used = np.flatnonzero(units >= 0)
        _, first = np.unique(units[used], return_index=True)
        return np.asarray(ends[used[first]])

    def by_unit(self, metric: str) -> Float[np.ndarray, " units"]:
        """One value of `metric` per independent unit, (units,): rows of a unit are averaged, NaN where one is NaN.

        Two results on the same prompts have the same units in the same order, so that they can be compared in pairs.
        """
        values, units = getattr(self, metric), self._units()
        used = units >= 0
        counts = np.bincount(units[used])
        return np.bincount(units[used], weights=values[used]) / counts

    def metric_quartiles(self, metric: str) -> Float[np.ndarray, " quartiles"]:
        """25, 50 and 75 % quantiles of a metric over all rows that have it, (3,)."""
        values = getattr(self, metric)
        finite = values[np.isfinite(values)]
        return metrics.quartiles(finite) if len(finite) else np.full(3, np.nan)

    def interval(self, metric: str) -> stats.Interval:
        """Median of `metric` over independent units, with its 95 % interval."""
        return stats.median_interval(self.by_unit(metric), ends=self.unit_ends)


@dataclass(frozen=True, eq=False)
class Curves(RowResult, kind="curves"):
    """Interpolation curves of many pairs.

    `alphas` (steps,): the points on the way from A to B;
    `distance` (pairs, steps): d(alpha) = ||F(A) - F(X(alpha))|| in the units of the read;
    `null_distance` (pairs, steps): the same for the norm-only null, see `null`;
    `reference_norm` (pairs,): ||F(A)||;
    `units` (pairs,): rows with the same number, such as the two directions of a pair, are one independent unit of
    inference; -1 marks rows that share a prompt with an earlier unit and are left out of every interval;
    `provenance`: what was measured, on what, with which versions.

    Some metrics look from both ends. They need the following arrays, in the units of the read, and are NaN without
    them (None, as in files of older versions). Each has one of the null beside it:
    `step_distance` (pairs, steps - 1): s_i = ||F(X[i+1]) - F(X[i])||, how far the output moves in each step;
    `end_side_distance` (pairs, steps): ||F(X(alpha)) - F(X(1))||, the distance from B's end.

    `last_tokens` (pairs, 2): the ids that prompts A and B end on, None if not known; units that share one depend on
    each other.
    `prompts` (pairs, 2): prompts A and B as text, None if not known, as in results of the suites.
    `end_length` (pairs,): ||F(X(1)) - F(X(0))||, if `distance` is another distance; steps are always Euclidean.

    If another distance was measured (`provenance["distance"]`, see `measure.distances`), d and r are of that distance.
    """

    alphas: Float[np.ndarray, " steps"]
    distance: Float[np.ndarray, "pairs steps"]
    null_distance: Float[np.ndarray, "pairs steps"]
    reference_norm: Float[np.ndarray, " pairs"]
    units: Int[np.ndarray, " pairs"]
    provenance: dict[str, Any] = field(default_factory=dict)
    step_distance: Float[np.ndarray, "pairs gaps"] | None = None
    null_step_distance: Float[np.ndarray, "pairs gaps"] | None = None
    end_side_distance: Float[np.ndarray, "pairs steps"] | None = None
    null_end_side_distance: Float[np.ndarray, "pairs steps"] | None = None
    last_tokens: Int[np.ndarray, "pairs 2"] | None = None
    prompts: Shaped[np.ndarray, "pairs 2"] | None = None
    end_length: Float[np.ndarray, " pairs"] | None = None

    # What a baseline compares beside the curve.
    kept_metrics: ClassVar[tuple[str, ...]] = METRICS
    # And of the norm-only null.
    null_metrics: ClassVar[tuple[str, ...]] = METRICS

    def _check(self) -> None:
        super()._check()
        if self.step_distance is not None and self.step_distance.shape[1] != len(self.alphas) - 1:
            raise ValueError(f"there are {self.step_distance.shape[1]} steps between {len(self.alphas)} points")

    def __len__(self) -> int:
        return len(self.distance)

    @cached_property
    def degenerate(self) -> np.ndarray:
        """(pairs,) bool: the ends are so near that r would be a ratio of rounding errors, or d is not finite.

        That is where ||F(X(1)) - F(X(0))|| <= 1e-5 ||F(A)||. For another distance also where d(1) <= 1e-10, since
        cosine and divergences grow with the square.
        """
        finite = np.isfinite(self.distance).all(axis=1)
        if self.end_length is None:
            return ~(finite & (self.distance[:, -1] > DEGENERATE * self.reference_norm))
        apart = np.abs(self.distance[:, -1] - self.distance[:, 0]) > DEGENERATE**2
        return ~(finite & apart & (self.end_length > DEGENERATE * self.reference_norm))

    @cached_property
    def relative(self) -> Float[np.ndarray, "pairs steps"]:
        """r = d / d(1), (pairs, steps); NaN for degenerate pairs.

        For another distance (d - d(0)) / (d(1) - d(0)), since d(0) of one's own distance need not be 0.
        """
        end = np.where(self.degenerate, np.nan, self.distance[:, -1])
        if self.end_length is None:
            return self.distance / end[:, None]
        start = self.distance[:, :1]
        return (self.distance - start) / (end[:, None] - start)

    @property
    def end_distance(self) -> Float[np.ndarray, " pairs"]:
        """d(1) per pair, (pairs,); NaN for degenerate pairs."""
        return np.where(self.degenerate, np.nan, self.distance[:, -1])

    @cached_property
    def steps(self) -> Float[np.ndarray, "pairs spans"]:
        """s_i, (pairs, steps - 1); NaN for degenerate pairs, and where it was not measured."""
        shape = len(self), len(self.alphas) - 1
        known = np.full(shape, np.nan) if self.step_distance is None else self.step_distance
        return np.where(self.degenerate[:, None], np.nan, known)

    @property
    def arc_length(self) -> Float[np.ndarray, "pairs steps"]:
        """Length of the output's path up to each point, in the units of the read, (pairs, steps).

        0 at the first point and the whole length, detours counted, at the last.
        """
        return np.concatenate([np.zeros((len(self), 1)), np.cumsum(self.steps, axis=1)], axis=1)

    @property
    def speed(self) -> Float[np.ndarray, "pairs spans"]:
        """v_i = s_i / mean(s), (pairs, steps - 1): 1 throughout on a straight, even run; NaN if degenerate."""
        return metrics.speed(self.steps)

    @cached_property
    def max_slope(self) -> Float[np.ndarray, " pairs"]:
        """The paper's sharpness per pair, (pairs,); see `measure.results.metrics.max_slope`."""
        return metrics.max_slope(self.relative)

    @cached_property
    def transition_width(self) -> Float[np.ndarray, " pairs"]:
        """alpha(r = 0.9) - alpha(r = 0.1) per pair, (pairs,)."""
        return metrics.transition_width(self.relative, self.alphas)

    @cached_property
    def edge_drift(self) -> Float[np.ndarray, " pairs"]:
        """Movement near the two ends per pair, both seen from A, (pairs,); see `measure.results.metrics.edge_drift`."""
        return metrics.edge_drift(self.relative, self.alphas)

    @cached_property
    def jump_location(self) -> Float[np.ndarray, " pairs"]:
        """First alpha with r = 0.5, interpolated, per pair, (pairs,)."""
        return first_crossing(self.relative, self.alphas, 0.5)

    @cached_property
    def edge_speed(self) -> Float[np.ndarray, " pairs"]:
        """Mean speed of the output in the outer fifths over its mean, (pairs,): 1 straight, near 0 on plateaus."""
        return metrics.edge_speed(self.steps, self.alphas)

    @cached_property
    def peak_speed(self) -> Float[np.ndarray, " pairs"]:
        """The output's largest speed over its mean, (pairs,): 1 on a straight, even run."""
        return self.speed.max(axis=1)

    @cached_property
    def detour(self) -> Float[np.ndarray, " pairs"]:
        """Length of the output's path over how far apart its ends are, both Euclidean, (pairs,): 1 where straight."""
        length = self.end_distance if self.end_length is None else self.end_length
        return self.steps.sum(axis=1) / length

    @cached_property
    def two_sided_drift(self) -> Float[np.ndarray, " pairs"]:
        """Distance from each end near it, over d(1), (pairs,); see `measure.results.metrics.two_sided_drift`.

        For another distance each side is divided by its own distance of the two ends: a divergence has a direction.
        """
        known = np.full(self.distance.shape, np.nan) if self.end_side_distance is None else self.end_side_distance
        if self.end_length is not None:
            whole = np.where(self.degenerate, np.nan, known[:, 0] - known[:, -1])
            return metrics.two_sided_drift(self.relative, (known - known[:, -1:]) / whole[:, None], self.alphas)
        return metrics.two_sided_drift(self.relative, known / self.end_distance[:, None], self.alphas)

    @cached_property
    def variation_width(self) -> Float[np.ndarray, " pairs"]:
        """Transition width of the path's length, (pairs,); see `measure.results.metrics.variation_width`."""
        return metrics.variation_width(self.steps, self.alphas)

    @cached_property
    def plateau_fraction(self) -> Float[np.ndarray, " pairs"]:
        """Share of the segment on which the output moves at less than half its mean speed, (pairs,)."""
        return metrics.plateau_fraction(self.steps)

    @cached_property
    def fall(self) -> Float[np.ndarray, " pairs"]:
        """By how much r falls on its way, (pairs,): 0 for a monotone curve."""
        return metrics.fall(self.relative)

    @property
    def monotone(self) -> Float[np.ndarray, " pairs"]:
        """1.0 where r never falls by more than rounding, else 0.0, (pairs,); its mean is the share of such curves."""
        return np.where(self.degenerate, np.nan, self.fall <= metrics.ROUNDING)

    @cached_property
    def null(self) -> Curves:
        """The norm-only null, pair by pair: what follows the blocks, applied to the straight line between the two ends.

        The final norm alone bends a straight line: two orthogonal residuals give max slope 1.32. What a curve has
        beyond its null is due to the blocks.
        """
        return replace(
            self,
            distance=self.null_distance,
            step_distance=self.null_step_distance,
            end_side_distance=self.null_end_side_distance,
        )

    def beyond_null(self, metric: str) -> Float[np.ndarray, " units"]:
        """`metric` minus the same metric of the pair's own norm-only null, (units,)."""
        return self.by_unit(metric) - self.null.by_unit(metric)

    def against_null(self, metric: str) -> Float[np.ndarray, " units"]:
        """ln of `metric` over the same metric of the pair's own norm-only null, (units,): 0 if the two are equal.

        A metric below a hundredth of the null's counts as a hundredth, since a perfect plateau has no logarithm. NaN if
        the null's is 0.
        """
        null = self.null.by_unit(metric)
        share = self.by_unit(metric) / np.where(null > 0, null, np.nan)
        return np.log(np.maximum(share, LEAST_SHARE))

    def quartiles(self) -> Float[np.ndarray, "3 steps"]:
        """Pointwise 25, 50 and 75 % quantiles of r over all pairs, degenerate ones left out, (3, steps)."""
        kept = self.relative[~self.degenerate]
        if not len(kept):
            return np.full((3, len(self.alphas)), np.nan)
        return metrics.quartiles(kept)

    def summary(self) -> dict[str, dict[str, float | int]]:
        """For each metric: median and quartiles over pairs, n, number of degenerate pairs, and the 95 % interval.

        `estimate` is the median over `units` independent units, `low` and `high` its interval by bootstrap.
        """
        return {metric: self._summary(metric) for metric in METRICS}

    def _summary(self, metric: str) -> dict[str, float | int]:
        q25, median, q75 = self.metric_quartiles(metric)
        interval = self.interval(metric)
        return {
            "median": float(median),
            "q25": float(q25),
            "q75": float(q75),
            "n": int(np.isfinite(getattr(self, metric)).sum()),
            "degenerate": int(self.degenerate.sum()),
            "estimate": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "units": interval.n,
        }

    def take(self, rows: Int[np.ndarray, " rows"]) -> Curves:
        """The curves of some pairs, by row number from 0. Units are numbered anew."""
        fields = {
            entry.name: values[rows]
            for entry in dataclasses.fields(self)
            if entry.name not in ("alphas", "provenance", "units")
            and isinstance(values := getattr(self, entry.name), np.ndarray)
        }
        units = np.full(len(rows), -1)
        used = self.units[rows] >= 0
        units[used] = np.unique(self.units[rows][used], return_inverse=True)[1]
        return replace(self, **fields, units=units)

    def frame(self, labels: Sequence[str] | None = None) -> DataFrame:
        """A table, one row a pair: label, prompts if known, unit, every metric, and the null's as `null_...`.

        `unit` is -1 for a pair that shares a prompt with an earlier one and is left out of intervals. A degenerate pair
        has no metrics.
        """
        import pandas

        columns: dict[str, Any] = {"pair": np.arange(1, len(self) + 1)}
        if labels is not None:
            columns["label"] = self._labelled(labels)
        if self.prompts is not None:
            columns |= {"prompt_a": self.prompts[:, 0], "prompt_b": self.prompts[:, 1]}
        columns |= {name: self.provenance.get(name) for name in ("layer", "read")}
        unusual = ("interpolation", "distance", "patched", "read_at", "interventions")
        columns |= {name: str(self.provenance[name]) for name in unusual if name in self.provenance}
        columns |= {"unit": self.units, "degenerate": self.degenerate}
        for metric in METRICS:
            columns |= {metric: getattr(self, metric), f"null_{metric}": getattr(self.null, metric)}
        return pandas.DataFrame(columns)

    def to_csv(self, path: str | Path, labels: Sequence[str] | None = None) -> Path:
        """Write `frame` as CSV, under a temporary name and then renamed; returns the path written.

        Raises `MeasureError` for a file that cannot be written.
        """
        content = str(self.frame(labels).to_csv(index=False)).encode()
        try:
            write_atomically(Path(path), content)
        except OSError as error:
            why = "it is a folder" if Path(path).is_dir() else error.strerror
            raise MeasureError(f"to_csv({str(path)!r}): {why}; give a file in a folder that can be written.") from error
        return Path(path)

    def plot(self, ax: Axes | None = None, *, labels: Sequence[str] | None = None) -> Axes:
        """Draw the median relative distance with its quartile band (as the paper's Fig. 3); returns the axes.

        With `labels`, one a pair, draw a line for each pair instead (as its Fig. 2). The norm-only null is drawn as a
        thin line. Raises `MeasureError` if there is not one label for each pair.
        """
        if labels is not None:
            named = self._labelled(labels)
            nulls = self.null.relative
            return figures.curve_lines(self.alphas, self.relative, named, null=nulls, title=self._name, ax=ax)
        null = self.null.quartiles()[1]
        return figures.curve_band(self.alphas, self.quartiles(), null=null, label=self._name, ax=ax)

    def _labelled(self, labels: Sequence[str]) -> list[str]:
        """Labels of the pairs. Raises `MeasureError` where there is not one for each."""
        given = [labels] if isinstance(labels, str) else list(labels)
        if len(given) != len(self):
            pairs = f"{len(self)} pair{'' if len(self) == 1 else 's'}"
            raise MeasureError(f"labels: {len(given)} given for {pairs}; give one each, or none.")
        return given

    @property
    def _name(self) -> str:
        """The model, of a folder its last part, and its revision."""
        model, revision = (str(self.provenance.get(name, "")) for name in ("model", "revision"))
        model = Path(model).name if Path(model).is_absolute() else model
        return f"{model}@{revision}" if revision not in ("", "main", "unknown") else model

    def __repr__(self) -> str:
        model = self.provenance.get("model", "?")
        slope = self._summary("max_slope")
        interval = f"[{slope['low']:.2f}, {slope['high']:.2f}]" if slope["low"] == slope["low"] else "no interval"
        return (
            f"Curves({model}: {len(self)} pair{'' if len(self) == 1 else 's'} x {len(self.alphas)} steps, "
            f"median max slope {slope['estimate']:.2f} {interval} (n = {slope['units']}), "
            f"{slope['degenerate']} degenerate)"
        )


metrics.add_properties(Curves, metrics.CURVES)
