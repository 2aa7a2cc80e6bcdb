"""Linear layers of few positions on a processor, by kernels that do not copy the weights.

For `x W^T` torch calls the processor library's general product (MKL's `sgemm`), which first copies all of W into an
order of its own. Under some hundred positions that takes a third of its time. oneDNN, which torch carries for its
compiled graphs, multiplies without the copy. Both sum in float32, each in its own order.

The bounds below are where it was seen to be faster with two threads, and with one no slower on the whole
(benchmarks/README.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

# Weights of a layer at least.
LARGE = 2**19
# From so many on, an unembedding's, the copy that torch makes of them costs most of the time in narrow models too.
HUGE = 2**24


@dataclass(frozen=True)
class Bounds:
    """Where these kernels are faster on one class of processor.

    `most` positions at most. In the range `swapped` the operands are swapped, W x^T: faster again, above all for whole
    tiles of 16, but the result is transposed in memory. Attention and long distances are slower on
    that, sums and products of numbers are not: only for layers without bias that widen or narrow as those around the
    gates do.
    """

    most: int
    swapped: range


# By what torch calls the processor's instructions; others have none.
BOUNDS = {"AVX512": Bounds(256, range(32, 113)), "AVX2": Bounds(1024, range(0))}
WIDENS = (2, 6)
TILE = 16


@contextmanager
def few_positions(
    module: nn.Module, states: Float[Tensor, "prompts positions width"]
) -> Iterator[Float[Tensor, "prompts positions width"]]:
    """Within it, large linear layers of `module` run by these kernels; no change where they are not faster.

    Yields the states in the memory layout that suits them.
    """
    with without_copies(module, states):
        yield _transposed(states)


@contextmanager
def without_copies(module: nn.Module, like: Float[Tensor, "... width"]) -> Iterator[None]:
    """`few_positions`, of a model whose states are like that and are not at hand."""
    least = LARGE if is_faster(like) else HUGE if _is_at_hand(like) else None
    layers = [layer for layer in module.modules() if _is_large(layer, least)] if least is not None else []
    for layer in layers:
        vars(layer)["forward"] = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


def _is_large(module: nn.Module, least: int) -> TypeGuard[nn.Linear]:
    """A linear layer of many weights, torch's own in every way: no other kind, nor one that somebody has changed."""
    return type(module) is nn.Linear and module.weight.numel() >= least and "forward" not in vars(module)


def _forward(layer: nn.Linear, x: Tensor) -> Tensor:
    operands = (x, layer.weight, layer.bias)
    return product(*operands) if _is_for_us(*operands) else functional.linear(*operands)


def bounds() -> Bounds | None:
    """Where these kernels are faster on this processor."""
    return BOUNDS.get(torch.backends.cpu.get_cpu_capability())


def _swaps(positions: int) -> bool:
    found = bounds()
    return found is not None and positions in found.swapped


def padding(positions: int, like: Float[Tensor, "... width"]) -> int:
    """How many positions to add to a forward of so many, so that swapped operands come in whole tiles."""
    return -positions % TILE if _swaps(positions) and is_faster(like) else 0


def _transposed(states: Float[Tensor, "prompts positions width"]) -> Float[Tensor, "prompts positions width"]:
    """The same states, transposed in memory as products of swapped operands come out and are taken in fastest."""
    if len(states) == 1 and _swaps(states.shape[1]) and is_faster(states):
        return states.transpose(1, 2).contiguous().transpose(1, 2)
    return states


def is_faster(like: Float[Tensor, "... width"]) -> bool:
    """Whether these kernels are faster, on a model whose states are like that."""
    return like.shape[-1] ** 2 >= LARGE and _is_at_hand(like)


def _is_at_hand(like: Float[Tensor, "... width"]) -> bool:
    """Whether there are such kernels for these states."""
    return (
        like.device.type == "cpu"
        and like.dtype == torch.float32
        and bounds() is not None
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and bool(torch.backends.mkldnn.enabled)
        and is_exact()
    )


@lru_cache(maxsize=1)
def is_exact() -> bool:
    """Whether these kernels sum in float32, tried once: an environment variable may have told oneDNN to round."""
    generator = torch.Generator("cpu").manual_seed(0)
    # Whatever the process has as its default device and dtype.
    x, weight, bias = (
        torch.randn(*shape, generator=generator, dtype=torch.float32, device="cpu")
        for shape in ((64, 256), (1024, 256), (1024,))
    )
    expected = x.double() @ weight.double().t()
    with torch.no_grad():
        off = [product(x, weight) - expected, product(x, weight, bias) - bias.double() - expected]
    return all(float(difference.abs().max() / expected.abs().max()) < 1e-5 for difference in off)


def _is_for_us(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Few positions, in float32 on the processor, operands plain in every way: the kernel checks nothing."""
    operands = [x, weight] if bias is None else [x, weight, bias]
    found = bounds()
    return (
        found is not None
        and x.numel() <= found.most * x.shape[-1]
        and all(_is_plain(operand) for operand in operands)
        and weight.is_contiguous()
        # Of a bias it reads as many entries as there are outputs, one after another, whatever lies there.
        and (bias is None or (bias.shape == weight.shape[:1] and bias.is_contiguous()))
    )


def _is_plain(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
    )


def product(
    x: Float[Tensor, "*rows inner"], weight: Float[Tensor, "outer inner"], bias: Tensor | None = None
) -> Tensor:
    """`x W^T + bias` by oneDNN, (*rows, outer)."""
    # What torch's own compiler writes for a linear layer; torch has no public name for it.
    kernel = torch.ops.mkldnn._linear_pointwise
    rows = x.reshape(-1, x.shape[-1])
    # Rows with gaps between them would go through a kernel a thousand times slower.
    rows = rows if rows.is_contiguous() or rows.t().is_contiguous() else rows.contiguous()
    narrow, wide = sorted(weight.shape)
    if bias is None and _swaps(len(rows)) and WIDENS[0] <= wide / narrow <= WIDENS[1]:
        transposed: Tensor = kernel(weight, rows, None, "none", [], "")
        return transposed.t().view(*x.shape[:-1], len(weight))
    found: Tensor = kernel(rows, weight, bias, "none", [], "")
    return found.view(*x.shape[:-1], len(weight))
