"""How soon, and how steeply, the output's divergence from A's grows with length: of curves that hold KL(F(A) || F(X)).

The *blow-up length* is that at which KL first reaches `THRESHOLD`, as a share of ||B - A||; one that never does so has
1, the whole length, at least. The *exponent* is p of KL ~ length^p, the slope of ln KL over ln length within `WINDOW`:
2 where the output moves evenly, since KL is quadratic in a small change of what it is taken of.

`THRESHOLD`, in nats: points of one region of SmolLM2 differ by 0.017 bits of Jensen-Shannon divergence, those of two
by 0.67; to 0.1 nats of KL belong about 0.04 bits.
`WINDOW`, in shares of ||B - A||: on shorter lengths every output that has derivatives gives 2, whatever else it does;
on longer ones a path to B has come to where it jumps, and KL grows no longer as a power.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from measure.results import Curves
from measure.spec import MeasureError

THRESHOLD = 0.1
WINDOW = (0.1, 0.4)
# What two points are told apart by in float64.
_ROUNDING = 1e-9


def blow_up(
    divergence: Float[np.ndarray, "pairs steps"],
    lengths: Float[np.ndarray, " steps"],
    threshold: float = THRESHOLD,
) -> Float[np.ndarray, " pairs"]:
    """The length at which each row first reaches `threshold`, (pairs,); the last length where it does not.

    Interpolated between two points by the square root of the divergence, which is linear where that is quadratic. NaN
    where a number of a row is none.
    """
    root, level = np.sqrt(np.maximum(divergence, 0.0)), np.sqrt(threshold)
    reached = root >= level
    after = np.where(reached.any(axis=1), reached.argmax(axis=1), len(lengths) - 1)
    before, rows = np.maximum(after - 1, 0), np.arange(len(root))
    low, high = root[rows, before], root[rows, after]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(high > low, np.clip((level - low) / (high - low), 0.0, 1.0), 1.0)
    found = lengths[before] + share * (lengths[after] - lengths[before])
    return np.where(np.isfinite(divergence).all(axis=1), found, np.nan)


def exponent(
    divergence: Float[np.ndarray, "pairs steps"],
    lengths: Float[np.ndarray, " steps"],
    window: tuple[float, float] = WINDOW,
) -> Float[np.ndarray, " pairs"]:
    """p of divergence ~ length^p by least squares on logarithms over a window, (pairs,), float64.

    NaN where a row is not above 0 throughout the window. Raises `MeasureError` for fewer than three lengths in it.
    """
    inside = (lengths >= window[0] - _ROUNDING) & (lengths <= window[1] + _ROUNDING) & (lengths > 0)
    if inside.sum() < 3:
        raise MeasureError(
            f"an exponent takes three lengths from {window[0]:g} to {window[1]:g}, and {inside.sum()} of "
            f"{len(lengths)} lie there; take more steps."
        )
    x = np.log(lengths[inside].astype(np.float64))
    x = x - x.mean()
    part = divergence[:, inside].astype(np.float64)
    usable = np.all(np.isfinite(part) & (part > 0), axis=1)
    y = np.log(np.where(usable[:, None], part, 1.0))
    return np.where(usable, y @ x / (x @ x), np.nan)


def lateness(curves: Curves) -> Float[np.ndarray, " units"]:
    """ln of the blow-up length, (units,)."""
    return by_unit(curves, np.log(blow_up(_known(curves), curves.alphas)))


def power(curves: Curves) -> Float[np.ndarray, " units"]:
    """The exponent, (units,)."""
    return by_unit(curves, exponent(_known(curves), curves.alphas))


def unreached(curves: Curves) -> float:
    """Share of pairs that never reach the threshold."""
    known = _known(curves)
    largest = known[np.isfinite(known).all(axis=1)].max(axis=1, initial=0.0)
    return float(np.mean(largest < THRESHOLD))


def _known(curves: Curves) -> Float[np.ndarray, "pairs steps"]:
    """KL along every pair; NaN for degenerate ones. Raises `MeasureError` for curves of another distance."""
    distance = curves.provenance.get("distance", "l2")
    if distance != "kl":
        raise MeasureError(f"blow-up lengths and exponents are of distance='kl'; these curves are of {distance!r}.")
    return np.where(curves.degenerate[:, None], np.nan, curves.distance)


def by_unit(curves: Curves, values: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, " units"]:
    """One value per independent unit, as `Curves.by_unit` makes it."""
    used = curves.units >= 0
    counts = np.bincount(curves.units[used])
    return np.bincount(curves.units[used], weights=values[used]) / counts
