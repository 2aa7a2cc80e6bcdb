"""Every family on the fast path: how far it is from the reference path, and how much faster. Run by `make bench`.

The difference is taken on the tiny models of the tests, whose weights are large enough that a wrong prompt would show;
the ratio at a shape where products of matrices take the time. Both paths run in turn in one process. Prints the table
of the README.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
import transformers

from measure.core import measurements
from measure.models.loading import LoadedModel, adopt
from measure.prompts.drawn import Pairs, Prompt
from tests.conftest import DEPTH, random_prompts
from tests.test_families import network
from tests.test_forward import both, disagreement

PAIRS, TOKENS, STEPS, ROUNDS = 2, 10, 50, 3
WIDE = {
    "vocab_size": 8192,
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
# Name in the table, in transformers, the tests' name of the tiny one, and what differs from the shape above.
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "OLMo": ("Olmo", "olmo", {}),
    "OLMo 2": ("Olmo2", "olmo2", {}),
    "Qwen2": ("Qwen2", "qwen2", {"num_key_value_heads": 2}),
    "Qwen3": ("Qwen3", "qwen3", {"num_key_value_heads": 2, "head_dim": 32}),
    "Llama": ("Llama", "llama", {}),
    "Mistral (windows)": ("Mistral", "mistral", {"num_key_value_heads": 2, "sliding_window": 8}),
    "GPT-2": ("GPT2", "gpt2", {}),
    "GPT-NeoX (Pythia)": ("GPTNeoX", "gpt_neox", {}),
    "Phi": ("Phi", "phi", {"num_key_value_heads": 8}),
    "Gemma": ("Gemma", "gemma", {"num_key_value_heads": 2, "head_dim": 32}),
    "Gemma 2 (windows, soft-capping)":
        ("Gemma2", "gemma2", {"head_dim": 32, "num_key_value_heads": 2, "sliding_window": 8}),
}  # fmt: skip


def largest_difference(tiny: str) -> float:
    """|d fast - d reference| / ||F(A)||, over six pairs, all alphas, every read, first, middle, last but one layer."""
    a, b = random_prompts([5, 7, 5, 1, 9, 5]), random_prompts([5, 3, 5, 4, 9, 2], seed=1)
    pairs = Pairs(a, b, tuple(range(len(a))))
    model = adopt(network(tiny), None, "float32")
    return max(
        disagreement(*both(model, pairs, layer, read))
        for layer in (1, DEPTH // 2, DEPTH - 1)
        for read in ("final_norm", "residual", "logits")
    )


def wide(name: str, changes: dict[str, Any]) -> LoadedModel:
    shape = {**WIDE, **changes}
    if name == "GPT2":
        renamed = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
        renamed |= {"intermediate_size": "n_inner", "max_position_embeddings": "n_positions"}
        shape = {renamed.get(key, key): value for key, value in shape.items()}
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**shape)
    return adopt(
        getattr(transformers, f"{name}ForCausalLM" if name != "GPT2" else "GPT2LMHeadModel")(config).eval(),
        None,
        "float32",
    )


def seconds(model: LoadedModel, pairs: Pairs, path: str) -> float:
    measure = measurements.fast_curves if path == "fast" else measurements.reference_curves
    started = time.perf_counter()
    measure(model, pairs, layer=1, read="final_norm", steps=STEPS, origin={})
    return time.perf_counter() - started


def speed_ratio(name: str, changes: dict[str, Any]) -> float:
    model = wide(name, changes)
    prompts: tuple[Prompt, ...] = random_prompts([TOKENS] * (PAIRS + 1))
    pairs = Pairs(prompts[:-1], prompts[1:], tuple(range(PAIRS)))
    seconds(model, pairs, "fast")
    # The slow one takes long enough to be timed once, between times of the fast one.
    before = [seconds(model, pairs, "fast") for _ in range(ROUNDS)]
    slow = seconds(model, pairs, "reference")
    return slow / statistics.median([*before, *(seconds(model, pairs, "fast") for _ in range(ROUNDS))])


def test_every_family(benchmark: Any) -> None:
    print("\n\n| family | largest difference, of ‖F(A)‖ | times faster |\n|---|---|---|")
    for family, (name, tiny, changes) in FAMILIES.items():
        off, ratio = largest_difference(tiny), speed_ratio(name, changes)
        benchmark.extra_info[family] = {"difference": off, "ratio": ratio}
        print(f"| {family} | {off:.1e} | {ratio:.0f} |")
        assert off <= 1e-5
        assert ratio > 5
    benchmark.pedantic(lambda: None, rounds=1)
