"""What is taken between outputs: of each distance its formula, and what is known of it. Imports no torch.

A new distance is a function here, its row in `TABLE`, its word in `Distance`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from torch import Tensor

Distance = Literal["l2", "symmetric", "projection", "cosine", "kl", "js"]
# Outputs (pairs, points, units) and the first and the last of each pair (pairs, 1, units), in float64, to the distance
# of every point from the first and from the last, (pairs, points) each.
Formula = Callable[["Tensor", "Tensor", "Tensor"], tuple["Tensor", "Tensor"]]


@dataclass(frozen=True)
class Definition:
    """A distance: its formula; whether it is between next-token distributions, and so read at the logits.

    `even`: whether it grows evenly where the output runs straight and evenly.
    """

    of: Formula
    of_distributions: bool = False
    even: bool = False


def apart(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distance in float64, (..., units) to (...); logits that are both minus infinity are equal."""
    x, y = x.double(), y.double()
    return (x - y).masked_fill(x == y, 0.0).norm(dim=-1)


def _l2(x: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    return apart(x, first), apart(x, last)


def _symmetric(x: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """d / (d + d'), d from the first output and d' from the last."""
    before, behind = apart(x, first), apart(x, last)
    return before / (before + behind), behind / (before + behind)


def _projection(x: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """The signed length along the line from the first output to the last."""
    way = (last - first) / apart(last, first)[..., None]
    return ((x - first) * way).sum(-1), ((last - x) * way).sum(-1)


def _cosine(x: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """1 minus the cosine of the angle between two outputs; as half the square of a chord, so that equal ones give 0."""
    unit, before, behind = (side / side.norm(dim=-1, keepdim=True) for side in (x, first, last))
    return ((unit - before) ** 2).sum(-1) / 2, ((unit - behind) ** 2).sum(-1) / 2


def _kl(x: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Kullback-Leibler divergence of the end's distribution from the point's, KL(end || X), in nats."""
    log = x.log_softmax(-1)
    return _divergence(first.log_softmax(-1), log), _divergence(last.log_softmax(-1), log)


def _js(x: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Jensen-Shannon divergence, in bits: 0 where equal, 1 where disjoint."""
    log = x.log_softmax(-1)
    return _jensen(first.log_softmax(-1), log), _jensen(last.log_softmax(-1), log)


def _jensen(p: Tensor, q: Tensor) -> Tensor:
    # Exactly 0 between equal ones.
    middle = p.where(p == q, p.logaddexp(q) - math.log(2))
    return (_divergence(p, middle) + _divergence(q, middle)) / (2 * math.log(2))


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of logarithms of distributions; a token that p never takes adds nothing, whatever q says of it."""
    share = p.exp()
    return (share * (p - q)).where(share > 0, 0.0).sum(-1).clamp_min(0)


TABLE: dict[str, Definition] = {
    "l2": Definition(_l2, even=True),
    "symmetric": Definition(_symmetric, even=True),
    "projection": Definition(_projection, even=True),
    "cosine": Definition(_cosine),
    "kl": Definition(_kl, of_distributions=True),
    "js": Definition(_js, of_distributions=True),
}
DISTANCES: tuple[str, ...] = get_args(Distance)
# Those between next-token distributions: read at the logits.
OF_DISTRIBUTIONS = tuple(name for name, one in TABLE.items() if one.of_distributions)
EVEN = tuple(name for name, one in TABLE.items() if one.even)
