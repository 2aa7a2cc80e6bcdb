"""Linear layers of few positions on a processor, by kernels that read the weights as they lie.

For `x W^T` torch calls the processor library's general product (MKL's `sgemm`), which first copies all of W into an
order of its own. Under some hundred positions that takes a third of its time. oneDNN, which torch carries for its
compiled graphs, multiplies without the copy. Both sum in float32, each in its own order.

The bounds below are where it was seen to be faster, with one thread and with two (benchmarks/README.md).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# Weights of a layer at least, and positions at most.
LARGE = 2**19
MOST = 256
# Between so many positions the operands are changed over, W x^T: faster again, above all for whole tiles of 16, but
# what comes out lies the other way round in memory. Attention and long distances are slower on that, sums and products
# of numbers are not: only for layers without bias that widen or narrow as those around the gates do.
CHANGED_OVER = range(32, 113)
WIDENS = (2, 6)
TILE = 16


class _AsItLies(TorchFunctionMode):
    """`nn.functional.linear` by oneDNN where that is faster; every other function of torch as it is."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is functional.linear and not kwargs and _is_for_us(*args):
            return product(*args)
        return function(*args, **(kwargs or {}))


def as_it_lies(like: Float[Tensor, "... width"]) -> AbstractContextManager[Any]:
    """Within it, large linear layers read their weights as they lie; no change where that is not faster."""
    return _AsItLies() if is_faster(like) else nullcontext()


def filling(positions: int, like: Float[Tensor, "... width"]) -> int:
    """How many positions to add to a forward of so many, so that operands changed over come in whole tiles."""
    return -positions % TILE if positions in CHANGED_OVER and is_faster(like) else 0


def turned(states: Float[Tensor, "prompts positions width"]) -> Float[Tensor, "prompts positions width"]:
    """The same states, in memory as products of operands changed over come out and are taken in fastest."""
    if len(states) == 1 and states.shape[1] in CHANGED_OVER and is_faster(states):
        return states.transpose(1, 2).contiguous().transpose(1, 2)
    return states


def is_faster(like: Float[Tensor, "... width"]) -> bool:
    """Whether these kernels are faster, on a model whose states are like that. With AVX2 there is nothing in it."""
    return (
        like.shape[-1] ** 2 >= LARGE
        and like.device.type == "cpu"
        and like.dtype == torch.float32
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
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


def _is_for_us(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Few positions and many weights, in float32 on the processor, plain in every way: the kernel checks nothing."""
    operands = [x, weight] if bias is None else [x, weight, bias]
    return (
        weight.numel() >= LARGE
        and x.numel() <= MOST * x.shape[-1]
        and all(_is_plain(operand) for operand in operands)
        and weight.ndim == 2
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
    narrow, wide = sorted(weight.shape)
    if bias is None and x.numel() // x.shape[-1] in CHANGED_OVER and WIDENS[0] <= wide / narrow <= WIDENS[1]:
        other_way: Tensor = kernel(weight, x.reshape(-1, x.shape[-1]), None, "none", [], "")
        return other_way.t().view(*x.shape[:-1], len(weight))
    found: Tensor = kernel(x, weight, bias, "none", [], "")
    return found
