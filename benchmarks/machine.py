"""What a machine can do: the matrix products of a piece of work replayed alone, and the memory that the work took."""

from __future__ import annotations

import ctypes
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

T = TypeVar("T")
# Seconds of products after which their rate is known.
ENOUGH = 0.3
_PRODUCTS = {torch.ops.aten.mm.default: (0, 1), torch.ops.aten.addmm.default: (1, 2)}
# None where torch was built without it.
_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


@dataclass(frozen=True, eq=False)
class Product:
    """One product of a matrix of activations, of that shape and so in memory, and one of weights, and its kernel."""

    activations: tuple[int, ...]
    strides: tuple[int, ...]
    weights: Tensor
    # oneDNN's, which takes weights as they lie, (outer, inner), in either place; else `mm`, which takes them turned.
    by_onednn: bool = False
    weights_first: bool = False

    @property
    def operations(self) -> int:
        """Floating-point operations: two for each product of two numbers."""
        inner = self.activations[-1]
        return 2 * math.prod(self.activations) // inner * self.weights.numel()

    def again(self, activations: Tensor) -> None:
        if not self.by_onednn:
            torch.mm(activations, self.weights)
            return
        first, second = (self.weights, activations) if self.weights_first else (activations, self.weights)
        assert _ONEDNN is not None
        _ONEDNN(first, second, None, "none", [], "")


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps every product of a matrix of activations and one of weights."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: list[Product] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _PRODUCTS:
            left, right = (args[place] for place in _PRODUCTS[func])
            self.products.append(Product(tuple(left.shape), left.stride(), right))
        elif _ONEDNN is not None and func is _ONEDNN.default:
            # Weights are the models' own parameters here, not views of them.
            turned = isinstance(args[0], torch.nn.Parameter)
            weights, activations = args[:2] if turned else (args[1], args[0])
            self.products.append(Product(tuple(activations.shape), activations.stride(), weights, True, turned))
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Products:
    """The matrix products of a piece of work."""

    products: list[Product]

    @property
    def operations(self) -> int:
        """Floating-point operations of all."""
        return sum(product.operations for product in self.products)

    def rate(self) -> float:
        """Operations a second of these products and nothing else, by the kernels that were called.

        On the weights themselves, so that they come from memory as in the work. Shuffled, since of a long list only a
        part is replayed, which must have as much of every shape.
        """
        activations: dict[tuple[tuple[int, ...], ...], Tensor] = {}
        for product in self.products:
            place, weights = (product.activations, product.strides), product.weights
            if place not in activations:
                activations[place] = torch.empty_strided(*place, dtype=weights.dtype, device=weights.device).normal_()
        shuffled = random.Random(0).sample(self.products, len(self.products))
        done = 0
        started = time.perf_counter()
        for product in shuffled:
            product.again(activations[product.activations, product.strides])
            done += product.operations
            if time.perf_counter() - started > ENOUGH:
                break
        wait(self.products[0].weights.device)
        return done / (time.perf_counter() - started)


def wait(device: torch.device) -> None:
    """Until all that was asked of an accelerator is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def recorded(work: Callable[[], T]) -> tuple[T, Products]:
    """What `work` returns, and its matrix products, from one run of it."""
    with torch.no_grad(), _Recorder() as recorder:
        found = work()
    return found, Products(recorder.products)


@dataclass
class Peak:
    """The most anonymous memory above what there was before, in bytes, once the block has ended."""

    extra: int = 0
    _done: threading.Event = field(default_factory=threading.Event)


def anonymous_bytes() -> int:
    """Memory of this process that is no file's (RssAnon)."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) * 1024


@contextmanager
def watched_memory() -> Iterator[Peak]:
    """Watches this process's anonymous memory, each few milliseconds."""
    # What was freed before and is still held would be used again unseen.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    peak, before = Peak(), anonymous_bytes()

    def watch() -> None:
        while not peak._done.wait(0.003):
            peak.extra = max(peak.extra, anonymous_bytes() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        peak._done.set()
        thread.join()
