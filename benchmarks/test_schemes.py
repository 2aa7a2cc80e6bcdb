"""Our core against the authors' scheme, at Qwen2-0.5B's shape with random weights. Run by `make bench`.

Ratios are taken in one process, the schemes in turn: the speed of a shared machine drifts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from measure import measurements, models, paths, prompts

PAIRS, TOKENS, STEPS, ROUNDS = 4, 10, 50, 3


@pytest.fixture(scope="module")
def model() -> models.LoadedModel:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=151936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return models.adopt(Qwen2ForCausalLM(config).eval(), None, "float32")


@pytest.fixture(scope="module")
def pairs() -> prompts.Pairs:
    ids = np.random.default_rng(0).integers(0, 151936, (2, PAIRS, TOKENS))
    a, b = (tuple(tuple(prompt) for prompt in side.tolist()) for side in ids)
    return prompts.Pairs(a, b, tuple(range(PAIRS)))


@torch.no_grad()
def authors_scheme(model: models.LoadedModel, pairs: prompts.Pairs) -> np.ndarray:
    """Per alpha one forward of all pairs, every hidden state kept and logits at every position; r, (pairs, steps)."""
    network = model.network
    ids_a, ids_b = torch.tensor(pairs.a), torch.tensor(pairs.b)

    def hidden_states(ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        states: tuple[torch.Tensor, ...] = network(ids, output_hidden_states=True, use_cache=False).hidden_states
        return states

    a, b = (hidden_states(ids)[1][:, -1] for ids in (ids_a, ids_b))
    clean = hidden_states(ids_a)[-1][:, -1]
    distances = []
    for alpha in paths.alphas(STEPS):

        def patch(_: object, __: object, output: torch.Tensor, alpha: float = alpha) -> torch.Tensor:
            output[:, -1] = a + alpha * (b - a)
            return output

        hook = network.model.layers[0].register_forward_hook(patch)
        try:
            distances.append(torch.linalg.vector_norm(hidden_states(ids_a)[-1][:, -1] - clean, dim=-1))
        finally:
            hook.remove()
    distance = torch.stack(distances, dim=1).double().numpy()
    return distance / distance[:, -1:]


def ours(model: models.LoadedModel, pairs: prompts.Pairs) -> np.ndarray:
    return measurements.curves(model, pairs, layer=1, read="final_norm", steps=STEPS, origin={}).relative


def seconds(run: Callable[..., np.ndarray], *arguments: object) -> float:
    start = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - start


def test_ours_against_the_authors_scheme(
    model: models.LoadedModel,
    pairs: prompts.Pairs,
    benchmark: Callable[..., object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    difference = np.abs(ours(model, pairs) - authors_scheme(model, pairs)).max()
    rounds = [(seconds(authors_scheme, model, pairs), seconds(ours, model, pairs)) for _ in range(ROUNDS)]
    theirs, own = (statistics.median(times) for times in zip(*rounds, strict=True))
    benchmark.extra_info.update(ratio=theirs / own, largest_difference=difference)  # type: ignore[attr-defined]
    benchmark.pedantic(ours, args=(model, pairs), rounds=1)  # type: ignore[attr-defined]
    with capsys.disabled():
        print(
            f"\nQwen2-0.5B's shape, {PAIRS} pairs, {torch.get_num_threads()} threads, medians of {ROUNDS}: "
            f"authors' scheme {theirs / PAIRS:.2f} s a pair, ours {own / PAIRS:.2f} s: "
            f"{theirs / own:.1f} times faster; largest difference of r {difference:.1e}"
        )
    assert difference <= 1e-5
