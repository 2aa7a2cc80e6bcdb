"""What came out: curves with the gates that change sign along them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from measure.results import METRICS, Curves, metrics

# It crosses a boundary where it moves at more than this many times its mean speed.
FAST_SPEED = 1.5


@dataclass(frozen=True, eq=False, kw_only=True)
class Crossings(Curves, kind="crossings"):
    """Curves, and the gate pre-activations that change sign along them, in every block after the patch.

    A sign change is the boundary of a true polytope where the activation function is piecewise linear (ReLU); with SiLU
    and GELU, which have no polytopes, it is the usual stand-in (Black et al. 2022).

    `gates` (blocks,): gates of each block after the patch.
    `crossings` (pairs, blocks, steps - 1): gates whose pre-activation changes sign in each step.
    `coarse` (pairs, blocks): sign changes counted on every second point: what a grid half as fine would find.
    `end_crossings` (pairs, blocks): gates whose sign differs between alpha 0 and alpha 1.
    """

    kept_metrics: ClassVar[tuple[str, ...]] = (
        *METRICS,
        *(one.name for one in metrics.CROSSINGS),
    )

    gates: Int[np.ndarray, " blocks"]
    crossings: Int[np.ndarray, "pairs blocks spans"]
    coarse: Int[np.ndarray, "pairs blocks"]
    end_crossings: Int[np.ndarray, "pairs blocks"]

    @property
    def total(self) -> Float[np.ndarray, " pairs"]:
        """Sign changes along the segment, all blocks, (pairs,)."""
        return self.crossings.sum(axis=(1, 2)).astype(float)

    @property
    def missed_by_half(self) -> Float[np.ndarray, " pairs"]:
        """Share of the sign changes that a grid half as fine would miss, (pairs,); NaN where there is none."""
        total = np.where(self.total > 0, self.total, np.nan)
        return 1 - self.coarse.sum(axis=1) / total

    @property
    def flat(self) -> Bool[np.ndarray, "pairs spans"]:
        """Steps in which the output moves at less than half its mean speed over the segment, (pairs, steps - 1)."""
        return self.speed < metrics.STILL

    @property
    def flat_share(self) -> Float[np.ndarray, " pairs"]:
        """Share of the segment in which the output stands still, (pairs,); NaN if degenerate."""
        return self.plateau_fraction

    @property
    def flat_crossings(self) -> Float[np.ndarray, " pairs"]:
        """Sign changes inside the flat parts, (pairs,); NaN if degenerate."""
        inside = (self.crossings.sum(axis=1) * self.flat).sum(axis=1)
        return np.where(self.degenerate, np.nan, inside)

    @property
    def flat_crossing_share(self) -> Float[np.ndarray, " pairs"]:
        """Share of the sign changes that lie inside the flat parts, (pairs,); NaN if degenerate or without any."""
        return self.flat_crossings / np.where(self.total > 0, self.total, np.nan)

    @property
    def crossing_rate_ratio(self) -> Float[np.ndarray, " pairs"]:
        """Sign changes per unit of alpha inside the flat parts over those outside, (pairs,); NaN without either part.

        Near 1, gates switch as often where the output stands still as where it moves.
        """
        inside, share = self.flat_crossings, self.flat_share
        outside = self.total - inside
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = (inside / share) / (outside / (1 - share))
        return np.where((share > 0) & (share < 1) & (outside > 0), ratio, np.nan)

    @property
    def region_boundaries(self) -> Float[np.ndarray, " pairs"]:
        """Stretches in which the output moves faster than 1.5 times its mean speed, (pairs,); NaN if degenerate.

        They are the boundaries between regions. A straight run hovers about its mean and has none.
        """
        fast = self.speed > FAST_SPEED
        starts = fast[:, :1].astype(int).sum(axis=1) + (fast[:, 1:] & ~fast[:, :-1]).sum(axis=1)
        return np.where(self.degenerate, np.nan, starts)
