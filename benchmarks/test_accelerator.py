"""On a GPU: the rate at which the core runs, over that of its matrix products alone at the same shapes and precision.

Run by `make bench`; skipped where there is no GPU.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmarks import test_schemes as schemes
from benchmarks.machine import recorded, wait
from measure import measurements, models
from measure.models import as_measured
from measure.prompts import Pairs
from measure.spec import Precision

PAIRS, ROUNDS = 1000, 3
# Of the rate of the products alone, at least.
CASES: dict[str, tuple[Callable[[], Any], float]] = {
    "Qwen2-0.5B's shape": (schemes.qwen2, 0.6),
    "OLMo-7B's shape": (
        lambda: schemes.olmo(
            hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32
        ),
        0.7,
    ),
}  # fmt: skip


def share(
    build: Callable[[], Any], precision: Precision, device: str, pairs: int = PAIRS
) -> tuple[float, float, float]:
    """Seconds a pair, operations a second, and these over the rate of the products alone."""
    torch.manual_seed(0)
    # Filled where it is used: 28 GB of random numbers are soon made there.
    with torch.device(device):
        network = build().to(torch.bfloat16 if precision == "bfloat16" else torch.float32).eval()
    model = models.adopt(network, None, precision)
    drawn = schemes.drawn(pairs, 10, model.vocabulary)

    def work(some: Pairs = drawn) -> object:
        return measurements.fast_curves(model, some, layer=1, read="final_norm", steps=schemes.STEPS, origin={})

    work()
    products = recorded(work)[1]
    times, rates = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        wait(torch.device(device))
        times.append(time.perf_counter() - started)
        with as_measured(model.network, tf32=model.tf32):
            rates.append(products.rate())
    achieved = [products.operations / taken for taken in times]
    return (
        statistics.median(times) / pairs,
        statistics.median(achieved),
        statistics.median(a / b for a, b in zip(achieved, rates, strict=True)),
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_share_of_the_matrix_rate(name: str, precision: Precision, benchmark: Any) -> None:
    build, least = CASES[name]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    seconds, rate, found = share(build, precision, "cuda")
    most = torch.cuda.max_memory_allocated()
    benchmark.extra_info.update(seconds_a_pair=seconds, gflops=rate / 1e9, of_the_machine=found, bytes=most)
    benchmark.pedantic(lambda: None, rounds=1)
    print(
        f"\n{name}, {PAIRS} pairs, {precision}: {1000 * seconds:.2f} ms a pair, {rate / 1e12:.1f} TFLOP/s, "
        f"{found:.0%} of the machine, {most / 1e9:.1f} GB"
    )
    assert found >= least
