"""Cost against the amount of work: time and memory over pairs, alphas, prompt length and layers. Run by `make bench`.

Time must be linear in pairs, memory flat. Times of one process, in turn; memory is anonymous memory above that before.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from transformers import OlmoConfig, OlmoForCausalLM

from benchmarks.machine import watched_memory
from measure import measurements, models
from measure.prompts import Pairs

RUNG = "ladder-olmo-0.2m"


def chained(count: int, tokens: int, vocabulary: int) -> Pairs:
    ids = np.random.default_rng(0).integers(0, vocabulary, (count + 1, tokens))
    drawn = tuple(tuple(prompt) for prompt in ids.tolist())
    return Pairs(drawn[:-1], drawn[1:], tuple(range(count)))


def measured(model: models.LoadedModel, pairs: Pairs, steps: int = 50, layer: int = 1) -> tuple[float, int]:
    """Seconds and bytes of one measurement, after one of a few pairs."""
    few = Pairs(pairs.a[:4], pairs.b[:4], pairs.units[:4])
    measurements.curves(model, few, layer=layer, read="final_norm", steps=steps, origin={})
    with watched_memory() as peak:
        started = time.perf_counter()
        measurements.curves(model, pairs, layer=layer, read="final_norm", steps=steps, origin={})
        taken = time.perf_counter() - started
    return taken, peak.extra


def table(head: str, rows: dict[int, tuple[float, int]], benchmark: Any) -> None:
    print(f"\n\n| {head} | seconds | ms each | memory |\n|---|---|---|---|")
    for amount, (taken, extra) in rows.items():
        print(f"| {amount:,} | {taken:.3f} | {1000 * taken / amount:.3f} | {extra / 1e6:.0f} MB |")
        benchmark.extra_info[str(amount)] = {"seconds": taken, "bytes": extra}
    benchmark.pedantic(lambda: None, rounds=1)


def test_pairs(benchmark: Any) -> None:
    model = models.load(RUNG)
    rows = {count: measured(model, chained(count, 10, model.vocabulary)) for count in (10, 100, 1000, 10_000)}
    table("pairs on the smallest rung", rows, benchmark)
    assert rows[10_000][1] - rows[100][1] <= 300e6
    # Linear: a pair among many costs no more than one among a hundred.
    assert rows[10_000][0] / 10_000 <= 1.2 * rows[100][0] / 100


def test_alphas(benchmark: Any) -> None:
    model = models.load("ladder-olmo-1.1m")
    pairs = chained(100, 10, model.vocabulary)
    table("alphas, 100 pairs", {steps: measured(model, pairs, steps) for steps in (10, 50, 200, 1000)}, benchmark)


@pytest.mark.parametrize("lengths", [(10, 30, 100, 300, 1000)])
def test_prompt_length(lengths: tuple[int, ...], benchmark: Any) -> None:
    torch.manual_seed(0)
    config = OlmoConfig(
        vocab_size=2048,
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=4,
        max_position_embeddings=1024,
    )
    model = models.adopt(OlmoForCausalLM(config).eval(), None, "float32")
    rows = {tokens: measured(model, chained(20, tokens, 2048)) for tokens in lengths}
    table("tokens a prompt, 20 pairs", rows, benchmark)


def test_layers(benchmark: Any) -> None:
    model = models.load("ladder-olmo-3m")
    pairs = chained(200, 10, model.vocabulary)
    rows = {layer: measured(model, pairs, layer=layer) for layer in range(1, model.depth + 1)}
    table("patched after block, 200 pairs", rows, benchmark)
    assert rows[model.depth][0] < rows[1][0]
