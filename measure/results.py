"""What came out: results to and from disk; curves and their derived metrics."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tempfile
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from jaxtyping import Float, Int

from measure import figures, stats
from measure.spec import MeasureError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A pair whose two ends give (nearly) the same output has no relative distance: see `Curves.degenerate`.
DEGENERATE = 1e-5
EDGE = 0.2
METRICS = ("max_slope", "transition_width", "edge_drift", "jump_location")
_FORMAT = 1
R = TypeVar("R", bound="Result")


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a kill at any moment leaves the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private to their owner; results are ordinary files.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


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

    Near 0 on plateaus, 0.184 for a straight line at 50 points; a sharp curve without plateaus stays high. NaN on a
    grid so coarse that an edge holds its end point alone: nothing could drift there.
    """
    head = alphas <= EDGE + 1e-9
    tail = alphas >= 1 - EDGE - 1e-9
    if head.sum() < 2:
        return np.full(len(relative), np.nan)
    return (relative[:, head] - relative[:, :1]).mean(axis=1) + (relative[:, -1:] - relative[:, tail]).mean(axis=1)


class Result:
    """What every measurement returns: frozen arrays and their provenance, to and from one `.npz` file.

    Each subclass is a dataclass of NumPy arrays and a `provenance`; `kind` names it in its files.
    """

    kind: ClassVar[str]
    provenance: dict[str, Any]
    _kinds: ClassVar[dict[str, type[Result]]] = {}

    def __init_subclass__(cls, kind: str) -> None:
        cls.kind = kind
        cls._kinds[kind] = cls

    def to_bytes(self) -> bytes:
        """The result as one `.npz` archive, provenance included; not compressed, which took a tenth of a run's time."""
        names = [entry.name for entry in dataclasses.fields(self) if entry.name != "provenance"]  # type: ignore[arg-type]
        header = json.dumps({"format": _FORMAT, "kind": self.kind, "provenance": self.provenance})
        buffer = io.BytesIO()
        np.savez(buffer, **{name: getattr(self, name) for name in names}, header=np.array(header))
        return buffer.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write the result to `path` (`.npz`), under a temporary name and then renamed; returns the path written."""
        target = Path(path)
        target = target if target.suffix == ".npz" else target.with_name(target.name + ".npz")
        write_atomically(target, self.to_bytes())
        return target

    @classmethod
    def load(cls: type[R], path: str | Path) -> R:
        """Read a result written by `save`. Raises `MeasureError` when the file is no such result."""
        expected = getattr(cls, "kind", None)
        try:
            with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as archive:
                header = json.loads(str(archive["header"]))
                arrays = {name: archive[name] for name in archive.files if name != "header"}
        except FileNotFoundError:
            raise MeasureError(f"{path} does not exist; give the path that save returned.") from None
        except Exception as error:
            # numpy, zipfile, zlib and json each raise their own errors on a damaged archive.
            raise MeasureError(
                f"{path} is not a whole result file ({error}); measure again and save, or restore the file."
            ) from error
        found = header.get("kind")
        if found not in ([expected] if expected else cls._kinds) or header.get("format") != _FORMAT:
            raise MeasureError(
                f"{path} holds {found!r} in format {header.get('format')!r}; expected "
                f"{expected or ' or '.join(cls._kinds)!r} in format {_FORMAT}. "
                "Use the class, or the version of this package, that wrote it."
            )
        result: R = cls._kinds[found](**arrays, provenance=header["provenance"])  # type: ignore[assignment,call-arg]
        return result


@dataclass(frozen=True, eq=False)
class Curves(Result, kind="curves"):
    """Interpolation curves of many pairs.

    `alphas` (steps,); `distance` (pairs, steps): d(alpha) = ||F(A) - F(X(alpha))|| in the units of the read;
    `null_distance` (pairs, steps): the same for the norm-only null, see `null`;
    `reference_norm` (pairs,): ||F(A)||;
    `units` (pairs,): rows with the same number are one independent unit of inference (the two directions of a pair,
    say), -1 marks rows that share a prompt with an earlier unit and are left out of every interval;
    `provenance`: what was measured, on what, with which versions.
    """

    alphas: Float[np.ndarray, " steps"]
    distance: Float[np.ndarray, "pairs steps"]
    null_distance: Float[np.ndarray, "pairs steps"]
    reference_norm: Float[np.ndarray, " pairs"]
    units: Int[np.ndarray, " pairs"]
    provenance: dict[str, Any] = field(default_factory=dict)

    # What a baseline compares beside the curve.
    kept_metrics: ClassVar[tuple[str, ...]] = METRICS

    def __len__(self) -> int:
        return len(self.distance)

    @cached_property
    def degenerate(self) -> np.ndarray:
        """(pairs,) bool: d(1) <= 1e-5 ||F(A)||, so that r would be a ratio of rounding errors, or d is not finite."""
        finite = np.isfinite(self.distance).all(axis=1)
        return ~(finite & (self.distance[:, -1] > DEGENERATE * self.reference_norm))

    @cached_property
    def relative(self) -> Float[np.ndarray, "pairs steps"]:
        """r = d / d(1), (pairs, steps); NaN for degenerate pairs."""
        end = np.where(self.degenerate, np.nan, self.distance[:, -1])
        return self.distance / end[:, None]

    @property
    def end_distance(self) -> Float[np.ndarray, " pairs"]:
        """d(1) per pair, (pairs,); NaN for degenerate pairs."""
        return np.where(self.degenerate, np.nan, self.distance[:, -1])

    @cached_property
    def max_slope(self) -> Float[np.ndarray, " pairs"]:
        """The paper's sharpness per pair, (pairs,); see `measure.results.max_slope`."""
        return max_slope(self.relative)

    @cached_property
    def transition_width(self) -> Float[np.ndarray, " pairs"]:
        """alpha(r = 0.9) - alpha(r = 0.1) per pair, (pairs,)."""
        return transition_width(self.relative, self.alphas)

    @cached_property
    def edge_drift(self) -> Float[np.ndarray, " pairs"]:
        """Movement near the two ends per pair, (pairs,); see `measure.results.edge_drift`."""
        return edge_drift(self.relative, self.alphas)

    @cached_property
    def jump_location(self) -> Float[np.ndarray, " pairs"]:
        """First alpha with r = 0.5, interpolated, per pair, (pairs,)."""
        return first_crossing(self.relative, self.alphas, 0.5)

    @cached_property
    def null(self) -> Curves:
        """The norm-only null, pair by pair: what follows the blocks, applied to the straight line between the two ends.

        The final norm alone bends a straight line (two orthogonal residuals give max slope 1.32): what a curve has
        beyond its null is the blocks' doing.
        """
        return replace(self, distance=self.null_distance, null_distance=self.null_distance)

    def by_unit(self, metric: str) -> Float[np.ndarray, " units"]:
        """One value of `metric` per independent unit, (units,): rows of a unit are averaged, NaN where one is NaN.

        Two results on the same prompts have the same units in the same order, so that they can be compared in pairs.
        """
        values = getattr(self, metric)
        used = self.units >= 0
        counts = np.bincount(self.units[used])
        return np.bincount(self.units[used], weights=values[used]) / counts

    def quartiles(self) -> Float[np.ndarray, "3 steps"]:
        """Pointwise 25, 50 and 75 % quantiles of r over all pairs, degenerate ones left out, (3, steps)."""
        kept = self.relative[~self.degenerate]
        if not len(kept):
            return np.full((3, len(self.alphas)), np.nan)
        return np.quantile(kept, [0.25, 0.5, 0.75], axis=0)

    def metric_quartiles(self, metric: str) -> Float[np.ndarray, " quartiles"]:
        """25, 50 and 75 % quantiles of a metric over all pairs that have it, (3,)."""
        values = getattr(self, metric)
        finite = values[np.isfinite(values)]
        return np.quantile(finite, [0.25, 0.5, 0.75]) if len(finite) else np.full(3, np.nan)

    def summary(self) -> dict[str, dict[str, float | int]]:
        """For each metric: median and quartiles over pairs, n and degenerate counts, and the 95 % interval.

        `estimate` is the median over independent units (`units` of them), `low` and `high` its interval by bootstrap.
        """
        return {metric: self._summary(metric) for metric in METRICS}

    def _summary(self, metric: str) -> dict[str, float | int]:
        q25, median, q75 = self.metric_quartiles(metric)
        interval = stats.median_interval(self.by_unit(metric))
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

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the median relative distance with its quartile band (as the paper's Fig. 3); returns the axes."""
        model, revision = (self.provenance.get(name, "") for name in ("model", "revision"))
        label = f"{model}@{revision}" if revision not in ("", "main", "unknown") else model
        return figures.curve_band(self.alphas, self.quartiles(), label=label, ax=ax)

    def __repr__(self) -> str:
        model = self.provenance.get("model", "?")
        slope = self._summary("max_slope")
        interval = f"[{slope['low']:.2f}, {slope['high']:.2f}]" if slope["low"] == slope["low"] else "no interval"
        return (
            f"Curves({model}: {len(self)} pair{'' if len(self) == 1 else 's'} x {len(self.alphas)} steps, "
            f"median max slope {slope['estimate']:.2f} {interval} (n = {slope['units']}), "
            f"{slope['degenerate']} degenerate)"
        )
