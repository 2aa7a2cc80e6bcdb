"""What a machine can do: the matrix products of a piece of work replayed alone, and the memory that the work took."""

from __future__ import annotations

import ctypes
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
ENOUGH = 1.0
_PRODUCTS = {torch.ops.aten.mm.default: (0, 1), torch.ops.aten.addmm.default: (1, 2)}


class _Recorder(TorchDispatchMode):
    """Keeps the operands' shapes of every product of a matrix of activations and one of weights, and the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[tuple[int, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _PRODUCTS:
            left, right = (args[place] for place in _PRODUCTS[func])
            self.products.append((left.shape[0], right))
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Products:
    """The matrix products of a piece of work: rows of each left operand, and the right operand itself."""

    products: list[tuple[int, Tensor]]

    @property
    def operations(self) -> int:
        """Floating-point operations: two for each product of two numbers."""
        return sum(2 * rows * right.numel() for rows, right in self.products)

    def rate(self) -> float:
        """Operations a second of these products and nothing else.

        On the weights themselves, so that they come from memory as in the work. Shuffled, since of a long list only a
        part is replayed, which must have as much of every shape.
        """
        lefts: dict[tuple[int, int], Tensor] = {}
        for rows, right in self.products:
            if (rows, right.shape[0]) not in lefts:
                lefts[rows, right.shape[0]] = torch.randn(rows, right.shape[0], dtype=right.dtype, device=right.device)
        shuffled = random.Random(0).sample(self.products, len(self.products))
        done = 0
        started = time.perf_counter()
        for rows, right in shuffled:
            torch.mm(lefts[rows, right.shape[0]], right)
            done += 2 * rows * right.numel()
            if time.perf_counter() - started > ENOUGH:
                break
        wait(self.products[0][1].device)
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
