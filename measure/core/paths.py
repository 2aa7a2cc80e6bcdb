"""Where in residual space: points on a segment or an arc, on a plane."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from measure.spec import Interpolation

# Directions of which no arc can be told from another: the angle between them is within this of a half turn, in radians.
OPPOSITE = 1e-6
# Below this angle the arc is the chord to the last digit of float64.
NEARLY_ONE = 1e-6


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


def between(
    kind: Interpolation,
    a: Float[Tensor, "*pairs width"],
    b: Float[Tensor, "*pairs width"],
    at: Float[np.ndarray, " steps"],
) -> Float[Tensor, "*pairs steps width"]:
    """X(alpha) from A towards B for every pair and every alpha, in the precision of `a`.

    `linear`: A + alpha (B - A). `slerp`: the direction goes by the arc between those of A and B, evenly in angle, the
    norm evenly from ||A|| to ||B||; ends on B. `arc`: the same directions at ||A|| throughout; where ||B|| is another
    it ends on ||A|| B / ||B||, not on B. Both arcs are worked out in float64 and rounded once, and are NaN where there
    is none: see `without_arc`.
    """
    if kind == "linear":
        return segment(a.flatten(0, -2), b.flatten(0, -2), at).view(*a.shape[:-1], len(at), a.shape[-1])
    start, end = a.double(), b.double()
    norms = [torch.linalg.vector_norm(side, dim=-1)[..., None, None] for side in (start, end)]
    first, last = start[..., None, :] / norms[0], end[..., None, :] / norms[1]
    angle = angles(a, b)[..., None, None]
    alpha = torch.as_tensor(at, dtype=torch.float64, device=a.device)[:, None]
    shares = [torch.sin(part * angle) / torch.sin(angle) for part in (1 - alpha, alpha)]
    near = angle < NEARLY_ONE
    direction = torch.where(near, 1 - alpha, shares[0]) * first + torch.where(near, alpha, shares[1]) * last
    norm = norms[0] if kind == "arc" else norms[0] + alpha * (norms[1] - norms[0])
    found = torch.where(angle > np.pi - OPPOSITE, torch.nan, norm * direction)
    return found.to(a.dtype)


def angles(a: Float[Tensor, "*pairs width"], b: Float[Tensor, "*pairs width"]) -> Float[Tensor, "*pairs"]:
    """The angle between A and B in radians, float64; NaN where either has no direction."""
    start, end = a.double(), b.double()
    first, last = (side / torch.linalg.vector_norm(side, dim=-1, keepdim=True) for side in (start, end))
    # Exact for small angles and for large ones, which the arc cosine is not.
    apart, together = (torch.linalg.vector_norm(side, dim=-1) for side in (first - last, first + last))
    return 2 * torch.atan2(apart, together)


def without_arc(kind: Interpolation, a: Float[Tensor, "*pairs width"], b: Float[Tensor, "*pairs width"]) -> list[str]:
    """Of each pair why there is no arc from A to B; empty where there is one, and on a straight line always."""
    return [_why(kind, *some) for some in zip(a.flatten(0, -2), b.flatten(0, -2), strict=True)]


def _why(kind: Interpolation, a: Float[Tensor, " width"], b: Float[Tensor, " width"]) -> str:
    if kind == "linear":
        return ""
    for name, side in (("A", a), ("B", b)):
        if not side.any():
            return f"{name} is the origin, which has no direction"
    if angles(a, b) > np.pi - OPPOSITE:
        return "A and B point in opposite directions, between which no arc is shorter than another"
    return ""


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
