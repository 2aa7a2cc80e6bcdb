"""Where in residual space: points on a segment."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def alphas(steps: int) -> Float[np.ndarray, " steps"]:
    """`steps` evenly spaced interpolation coefficients from 0 to 1, both ends included (paper, section 3)."""
    return np.linspace(0.0, 1.0, steps)


def segment(
    a: Float[Tensor, "pairs width"], b: Float[Tensor, "pairs width"], at: Float[np.ndarray, " steps"]
) -> Float[Tensor, "pairs steps width"]:
    """X(alpha) = A + alpha (B - A) for every pair and every alpha.

    In the precision of `a`; of 16-bit states the points are worked out in float32 and then rounded once.
    """
    exact = a.dtype if a.dtype == torch.float64 else torch.float32
    start, end = a.to(exact)[:, None], b.to(exact)[:, None]
    weights = torch.as_tensor(at, dtype=exact, device=a.device)[:, None]
    return (start + weights * (end - start)).to(a.dtype)
