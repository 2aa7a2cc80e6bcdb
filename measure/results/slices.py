"""What came out: two-dimensional slices of the residual stream, their colours and their derived metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from measure import stats
from measure.results import RowResult, figures, metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A cell has the colour of a reference when no channel differs by more than this.
SAME_COLOUR = 0.1
STEEPEST = 0.1
# A region is a connected patch of at least this share of the slice in which the output moves at less than half the
# slice's mean speed; it was split when two later regions each hold this share of its cells.
SMALLEST_REGION = 0.02
SLOW = 0.5
SPLIT_SHARE = 0.2
SLICE_METRICS = tuple(one.name for one in metrics.SLICES)


@dataclass(frozen=True, eq=False)
class Slices(RowResult, kind="slices"):
    """Slices X = A + alpha (B - A) + beta (C - P) through triples A, B, C, P the foot of C on the line AB (Appendix C).

    `alphas`, `betas` (size,): the grid.
    `distance` (triples, 3, size, size), axes (triple, reference A B C, beta, alpha): ||F(reference) - F(X)||, each
    reference in the context of its own prompt, whose own reference point is run beside the grid.
    `reference_distance` (triples, 3, 3), axes (triple, reference, point A B C): the same at the three points.
    `reference_norm` (triples, 3): ||F(reference)||.
    `reference_points` (triples, 3, 2): alpha and beta of A, B and C; C stands at beta = 1.
    `top_tokens` (triples, size, size): id of the most probable next token, in A's context.
    `on_line` (triples,): C lies on the line AB, so that there is no plane.
    """

    alphas: Float[np.ndarray, " size"]
    betas: Float[np.ndarray, " size"]
    distance: Float[np.ndarray, "triples 3 size size"]
    reference_distance: Float[np.ndarray, "triples 3 3"]
    reference_norm: Float[np.ndarray, "triples 3"]
    reference_points: Float[np.ndarray, "triples 3 2"]
    top_tokens: Int[np.ndarray, "triples size size"]
    on_line: Bool[np.ndarray, " triples"]
    provenance: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.distance)

    @cached_property
    def _largest(self) -> Float[np.ndarray, "triples 3"]:
        return self.distance.max(axis=(2, 3))

    @cached_property
    def degenerate(self) -> Bool[np.ndarray, " triples"]:
        """(triples,): C lies on the line AB, or a distance field is rounding or not finite; no colours there."""
        finite = np.isfinite(self.distance).all(axis=(1, 2, 3))
        return self.on_line | ~finite | (self._largest <= metrics.DEGENERATE * self.reference_norm).any(axis=1)

    def _scaled(self, distance: np.ndarray) -> np.ndarray:
        """Distances (triples, 3, ...) over the largest of their own field; NaN for degenerate triples."""
        largest = np.where(self.degenerate[:, None], np.nan, self._largest)
        return distance / largest.reshape(*largest.shape, *[1] * (distance.ndim - 2))

    @cached_property
    def rgb(self) -> Float[np.ndarray, "triples size size 3"]:
        """Colours, (triples, beta, alpha, channel): 1 - d / max d for A (red), B (green), C (blue)."""
        return np.moveaxis(1 - self._scaled(self.distance), 1, -1)

    @cached_property
    def own_colours(self) -> Float[np.ndarray, "triples 3 3"]:
        """Colours of the points A, B and C themselves, (triples, point, channel)."""
        return np.moveaxis(1 - self._scaled(self.reference_distance), 1, -1)

    @cached_property
    def solid(self) -> Bool[np.ndarray, "triples size size"]:
        """Cells whose colour is that of A, B or C: no channel differs by more than 0.1."""
        away = np.abs(self.rgb[:, None] - self.own_colours[:, :, None, None]).max(axis=-1)
        return (away <= SAME_COLOUR).any(axis=1)

    @cached_property
    def gradient(self) -> Float[np.ndarray, "triples 3 size size"]:
        """Size of the gradient of d / max d in (alpha, beta), one for each reference."""
        by_beta, by_alpha = np.gradient(self._scaled(self.distance), self.betas, self.alphas, axis=(2, 3))
        return np.hypot(by_beta, by_alpha)

    @cached_property
    def speed(self) -> Float[np.ndarray, "triples size size"]:
        """How fast the colour changes at each cell: root of the sum of the three squared gradients."""
        return np.sqrt((self.gradient**2).sum(axis=1))

    @cached_property
    def solid_share(self) -> Float[np.ndarray, " triples"]:
        """Share of cells within 0.1 of A's, B's or C's own colour, (triples,)."""
        return np.where(self.degenerate, np.nan, self.solid.mean(axis=(1, 2)))

    @cached_property
    def steep_share(self) -> Float[np.ndarray, " triples"]:
        """Share of the total change of colour held by the steepest 10 % of cells, (triples,): 0.1 on an even slope."""
        flat = np.sort(self.speed.reshape(len(self), -1), axis=1)
        return flat[:, -_steepest(flat.shape[1]) :].sum(axis=1) / flat.sum(axis=1)

    @cached_property
    def boundary_width(self) -> Float[np.ndarray, " triples"]:
        """Width of boundaries, (triples,): range of d / max d over its mean gradient in its steepest 10 %.

        In units of the plane's (alpha, beta), averaged over the three fields: what a boundary of that slope needs to
        cross the whole range.
        """
        scaled = self._scaled(self.distance)
        spread = scaled.max(axis=(2, 3)) - scaled.min(axis=(2, 3))
        steep = np.sort(self.gradient.reshape(len(self), 3, -1), axis=2)
        return (spread / steep[..., -_steepest(steep.shape[2]) :].mean(axis=2)).mean(axis=1)

    def regions(self, triple: int) -> Int[np.ndarray, "size size"]:
        """Connected patches, numbered from 1, in which the output moves at less than half the slice's mean speed.

        0 elsewhere and in patches below 2 % of the slice.
        """
        from scipy import ndimage

        speed = self.speed[triple]
        labels, count = ndimage.label(speed < SLOW * speed.mean())
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        kept = [label for label in range(1, count + 1) if sizes[label] >= SMALLEST_REGION * labels.size]
        return sum((np.where(labels == old, new, 0) for new, old in enumerate(kept, 1)), np.zeros_like(labels))

    def letters(self, triple: int) -> list[str]:
        """One slice as text, a line for each beta, from the lowest: the nearest own colour, in capitals where solid."""
        away = np.abs(self.rgb[triple] - self.own_colours[triple][:, None, None]).max(axis=-1)
        names = np.where(
            self.solid[triple], np.array(list("ABC"))[away.argmin(0)], np.array(list("abc"))[away.argmin(0)]
        )
        return ["".join(row) for row in names]

    def summary(self) -> dict[str, dict[str, float | int]]:
        """For each metric: median over triples, its 95 % bootstrap interval, n, and how many triples are degenerate."""
        found = {metric: stats.median_interval(getattr(self, metric)) for metric in SLICE_METRICS}
        return {
            metric: {
                "estimate": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "n": interval.n,
                "degenerate": int(self.degenerate.sum()),
            }
            for metric, interval in found.items()
        }

    def plot(self, triple: int = 0, ax: Axes | None = None) -> Axes:
        """Draw one slice in the paper's colours, A, B and C marked (as Fig. 1); returns the axes."""
        extent = (self.alphas[0], self.alphas[-1], self.betas[0], self.betas[-1])
        title = f"{self.provenance.get('model', '')}@{self.provenance.get('revision', '')}".strip("@")
        return figures.colour_slice(self.rgb[triple], extent, self.reference_points[triple], title=title, ax=ax)

    def __repr__(self) -> str:
        model = self.provenance.get("model", "?")
        solid = stats.median_interval(self.solid_share)
        interval = f"[{solid.low:.2f}, {solid.high:.2f}]" if solid.low == solid.low else "no interval"
        return (
            f"Slices({model}: {len(self)} triple{'' if len(self) == 1 else 's'} x {len(self.betas)} x "
            f"{len(self.alphas)} cells, median solid share {solid.estimate:.2f} {interval} (n = {solid.n}), "
            f"{int(self.degenerate.sum())} degenerate)"
        )


def _steepest(cells: int) -> int:
    return max(1, round(STEEPEST * cells))


def splits(before: Slices, after: Slices, triple: int) -> int:
    """How many regions of `before` are split in `after`: two later regions each hold a fifth of its cells or more."""
    old, new = before.regions(triple), after.regions(triple)
    count = 0
    for label in range(1, old.max() + 1):
        inside = np.bincount(new[old == label], minlength=1)[1:]
        count += int((inside >= SPLIT_SHARE * (old == label).sum()).sum() >= 2)
    return count
