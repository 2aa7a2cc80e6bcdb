"""Next-token distributions along curves: the likeliest tokens, entropies and divergences; logits by linearity.

Numbers are taken a part of the vocabulary at a time, so that they lie in a processor's caches, and summed in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

# Numbers that stay in a processor's caches while something is made of them.
CACHED = 2**18
# A logit so far below the highest is taken for this far: its probability, 4e-31, adds nothing that float32 could hold.
FLOOR = -70.0
# How far off, relative to the largest, what is linear may be: rounding, no more.
LINEAR = 4e-6
# The same of single logits, which the unembedding rounds.
ROUNDED = 1e-5


@dataclass(frozen=True, eq=False)
class Along:
    """Distributions at the points of some curves, two of which are compared `span` steps apart.

    `top` (pairs, steps): the most probable token. `entropy` (pairs, steps): in nats, float64, NaN where a logit is no
    number. `spans` (pairs, steps - span): Jensen-Shannon divergence, in bits, between each point and the one `span`
    steps on; `ends` (pairs,): the same between the first and the last.
    """

    top: Int[Tensor, "pairs steps"]
    entropy: Float[Tensor, "pairs steps"]
    spans: Float[Tensor, "pairs spans"]
    ends: Float[Tensor, " pairs"]


def along(logits: Float[Tensor, "pairs steps tokens"], span: int) -> Along:
    """What is to be told of the distributions of these logits."""
    found = [_of_pair(some.float(), span) for some in logits]
    return Along(*(torch.stack(side) for side in zip(*found, strict=True)))


def _of_pair(logits: Float[Tensor, "steps tokens"], span: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    size = max(1, CACHED // len(logits)) if logits.device.type == "cpu" else logits.shape[1]
    parts = torch.split(logits, size, dim=1)
    highest = torch.stack([part.amax(1) for part in parts])
    peak = highest.amax(0)
    below = [(part - peak[:, None]).clamp_min_(FLOOR) for part in parts]
    shares = [part.exp() for part in below]
    whole = sum(share.sum(1, dtype=torch.float64) for share in shares)
    assert isinstance(whole, Tensor)
    scale = whole.reciprocal().float()
    negative, spans, ends = torch.zeros_like(whole), torch.zeros_like(whole[span:]), torch.zeros_like(whole[:1])
    for share, under in zip(shares, below, strict=True):
        share.mul_(scale[:, None])
        negative += under.mul_(share).sum(1, dtype=torch.float64)
        spans += _sum_of_logs(share[span:] + share[:-span])
        ends += _sum_of_logs(share[:1] + share[-1:])
    # Of the probabilities as they were rounded, so that rounding falls out of the differences below.
    mass = whole * scale.double()
    entropy = -negative - scale.double().log() * mass

    def divergence(sums: Tensor, first: slice, second: slice) -> Tensor:
        mean = math.log(2) * (mass[first] + mass[second]) / 2 - sums / 2
        return ((mean - (entropy[first] + entropy[second]) / 2) / math.log(2)).clamp(0, 1)

    between = divergence(spans, slice(span, None), slice(None, -span))
    return _top(parts, highest), entropy, between, divergence(ends, slice(0, 1), slice(-1, None))[0]


def _sum_of_logs(doubled: Float[Tensor, "rows tokens"]) -> Float[Tensor, " rows"]:
    """Sum of s log s; no probability is 0 (`FLOOR`)."""
    return doubled.log().mul_(doubled).sum(1, dtype=torch.float64)


def _top(parts: tuple[Tensor, ...], highest: Float[Tensor, "parts steps"]) -> Int[Tensor, " steps"]:
    """The first of the highest logits of each point, looked for in the first part that holds it."""
    which = highest.argmax(0)
    if len(parts) == 1:
        return parts[0].argmax(1)
    found = torch.empty_like(which)
    for number in sorted(set(which.tolist())):
        rows = which == number
        found[rows] = parts[number][rows].argmax(1) + number * parts[0].shape[1]
    return found


def difference(
    logits: Float[Tensor, "pairs steps tokens"],
    normed: Float[Tensor, "pairs steps width"] | None,
    head: Any,
    first: Int[Tensor, " pairs"],
    second: Int[Tensor, " pairs"],
) -> Float[Tensor, "pairs steps"]:
    """logit[first] - logit[second] at every point, float64; NaN where the two are one token.

    By the unembedding `head` in float64 where it is linear and takes `normed`, what the final norm made of the states:
    between logits of some tens, float32 leaves little of the difference of pairs that are close together.
    """
    rows = torch.arange(len(logits), device=logits.device)
    found = (logits[rows, :, first] - logits[rows, :, second]).double()
    # Of torch's own kind alone: the weights of others may be packed, or elsewhere.
    if normed is not None and type(head) is nn.Linear and head.weight.device == normed.device:
        # (pairs, width) against (pairs, steps, width).
        exact = torch.einsum("pw,psw->ps", head.weight[first].double() - head.weight[second].double(), normed.double())
        if head.bias is not None:
            exact += (head.bias[first].double() - head.bias[second].double())[:, None]
        # Not where logits are capped or scaled; written so that a NaN is not taken for agreement.
        linear = (exact - found).abs().amax(1) <= ROUNDED * torch.maximum(logits.amax((1, 2)), -logits.amin((1, 2)))
        found = torch.where(linear[:, None], exact, found)
    return torch.where((first == second)[:, None], torch.nan, found)


def mixed(
    ends: Float[Tensor, "pairs two tokens"],
    middle: Float[Tensor, "pairs one tokens"],
    nothing: Float[Tensor, "one one tokens"],
    normed: Float[Tensor, "pairs steps width"],
) -> Float[Tensor, "pairs steps tokens"] | None:
    """Logits along states between two, by linearity from those of the two, `ends`; None where they are not linear.

    What a norm makes of a state between two is, but for a scale, between what it makes of these, and the unembedding is
    linear. `normed` is what it makes of the states, less what it makes of the state 0, and `nothing` that state's
    logits. `middle` holds the logits of the middle state, which tell whether it is so: where they are capped it is not.
    """
    weights = _weights(normed)
    if weights is None:
        return None
    found = torch.matmul(weights.to(ends.dtype), ends - nothing)
    if nothing.any():
        found += nothing
    off = (found[:, [normed.shape[1] // 2]] - middle).abs().amax()
    # Written so that a NaN is not taken for agreement.
    return found if bool(off <= LINEAR * middle.abs().amax()) else None


def _weights(rows: Float[Tensor, "pairs steps width"]) -> Float[Tensor, "pairs steps two"] | None:
    """Of what mixture of the first and the last each row is, in float64; None where one is not."""
    exact = rows.double()
    if not torch.isfinite(exact).all():
        return None
    basis = exact[:, [0, -1]]
    weights = exact @ basis.mT @ torch.linalg.pinv(basis @ basis.mT, rtol=1e-10, hermitian=True)
    off = (weights @ basis - exact).abs().amax()
    return weights if bool(off <= LINEAR * exact.abs().amax()) else None
