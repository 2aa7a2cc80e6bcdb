"""Cost against the amount of work: time and memory over pairs, alphas, prompt length and layers. Run by `make bench`.

Time must be linear in pairs, memory flat. Times of one process, in turn; memory is anonymous memory above that before.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import OlmoConfig, OlmoForCausalLM

from benchmarks.machine import watched_memory
from measure.core import measurements
from measure.models import loading as models
from measure.prompts.drawn import Pairs

RUNG = "ladder-olmo-0.2m"
ROUNDS = 3


def chained(count: int, tokens: int, vocabulary: int) -> Pairs:
    ids = np.random.default_rng(0).integers(0, vocabulary, (count + 1, tokens))
    drawn = tuple(tuple(prompt) for prompt in ids.tolist())
    return Pairs(drawn[:-1], drawn[1:], tuple(range(count)))


Row = tuple[float, int]


def measured(work: dict[int, Callable[[], object]]) -> dict[int, Row]:
    """Median seconds and bytes of each piece of work: all in turn, a few times over, after one time for the memory."""
    times: dict[int, list[float]] = {amount: [] for amount in work}
    extra = {}
    next(iter(work.values()))()
    for amount, one in work.items():
        with watched_memory() as peak:
            one()
        extra[amount] = peak.extra
    for _ in range(ROUNDS):
        for amount, one in work.items():
            started = time.perf_counter()
            one()
            times[amount].append(time.perf_counter() - started)
    return {amount: (statistics.median(found), extra[amount]) for amount, found in times.items()}


def curves(model: models.LoadedModel, pairs: Pairs, steps: int = 50, layer: int = 1) -> Callable[[], object]:
    return lambda: measurements.curves(model, pairs, layer=layer, read="final_norm", steps=steps, origin={})


def table(head: str, each: str, rows: dict[int, Row], units: dict[int, int], benchmark: Any) -> None:
    """`units`: of each amount, by how many its time is divided."""
    print(f"\n\n| {head} | seconds | ms {each} | memory |\n|---|---|---|---|")
    for amount, (taken, extra) in rows.items():
        print(f"| {amount:,} | {taken:.3f} | {1000 * taken / units[amount]:.3f} | {extra / 1e6:.0f} MB |")
        benchmark.extra_info[str(amount)] = {"seconds": taken, "bytes": extra}
    benchmark.pedantic(lambda: None, rounds=1)


def test_pairs(benchmark: Any) -> None:
    model = models.load(RUNG)
    counts = (10, 100, 1000, 10_000)
    rows = measured({count: curves(model, chained(count, 10, model.vocabulary)) for count in counts})
    table("pairs on the smallest rung", "a pair", rows, {count: count for count in counts}, benchmark)
    assert rows[10_000][1] - rows[100][1] <= 300e6
    # Linear: a pair among many costs no more than one among a hundred.
    assert rows[10_000][0] / 10_000 <= 1.2 * rows[100][0] / 100


def test_alphas(benchmark: Any) -> None:
    model = models.load("ladder-olmo-1.1m")
    pairs = chained(100, 10, model.vocabulary)
    alphas = (10, 50, 200, 1000)
    rows = measured({steps: curves(model, pairs, steps) for steps in alphas})
    table("alphas, 100 pairs", "an alpha", rows, {steps: steps for steps in alphas}, benchmark)


def test_prompt_length(benchmark: Any) -> None:
    torch.manual_seed(0)
    config = OlmoConfig(
        vocab_size=2048,
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=4,
        max_position_embeddings=1024,
        eos_token_id=2,
    )
    model = models.adopt(OlmoForCausalLM(config).eval(), None, "float32")
    lengths = (10, 30, 100, 300, 1000)
    rows = measured({tokens: curves(model, chained(20, tokens, 2048)) for tokens in lengths})
    # Of a pair, A's other tokens and its alphas, and B's up to the patch, run.
    table("tokens a prompt, 20 pairs", "a token and alpha", rows, {n: 20 * (n + 50) for n in lengths}, benchmark)


def test_layers(benchmark: Any) -> None:
    model = models.load("ladder-olmo-3m")
    pairs = chained(200, 10, model.vocabulary)
    layers = range(1, model.depth)
    rows = measured({layer: curves(model, pairs, layer=layer) for layer in layers})
    units = {layer: model.depth - layer for layer in layers}
    table("patched after block, 200 pairs", "a block behind the patch", rows, units, benchmark)
    assert rows[model.depth - 1][0] < rows[1][0]
