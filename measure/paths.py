"""Where in residual space: points on a segment."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor


def alphas(steps: int) -> Float[np.ndarray, " steps"]:
    """`steps` evenly spaced interpolation coefficients from 0 to 1, both ends included (paper, section 3)."""
    return np.linspace(0.0, 1.0, steps)


def segment(
    a: Float[Tensor, "pairs width"], b: Float[Tensor, "pairs width"], at: Float[np.ndarray, " steps"]
) -> Float[Tensor, "pairs steps width"]:
    """X(alpha) = A + alpha (B - A) for every pair and every alpha, in the precision of `a`."""
    weights = a.new_tensor(at)[:, None]
    return a[:, None] + weights * (b - a)[:, None]
