"""Where in residual space: points on a segment, on a plane."""

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


def foot(
    a: Float[Tensor, "triples width"], b: Float[Tensor, "triples width"], c: Float[Tensor, "triples width"]
) -> Float[Tensor, " triples"]:
    """Where on the line AB the foot P of the perpendicular from C stands: P = A + foot (B - A). In float64."""
    along, beside = (b - a).double(), (c - a).double()
    return (beside * along).sum(-1) / (along * along).sum(-1)


def plane(
    a: Float[Tensor, "triples width"],
    b: Float[Tensor, "triples width"],
    c: Float[Tensor, "triples width"],
    at: Float[np.ndarray, " size"],
) -> Float[Tensor, "triples size size width"]:
    """X = A + alpha (B - A) + beta (C - P), P the foot of C on the line AB; axes (triple, beta, alpha, width).

    `at` holds the values of alpha, and of beta. Worked out in float64 and then rounded once. Source: Appendix C.
    """
    start, along = a.double(), (b - a).double()
    across = c.double() - start - foot(a, b, c)[:, None] * along
    weights = torch.as_tensor(at, dtype=torch.float64, device=a.device)
    alpha, beta = weights[None, None, :, None], weights[None, :, None, None]
    points = start[:, None, None] + alpha * along[:, None, None] + beta * across[:, None, None]
    return points.to(a.dtype)
