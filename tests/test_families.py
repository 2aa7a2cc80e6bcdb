"""Eleven families on the fast path, found by structure: it gives what plain forwards give, also under short windows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from measure.core import agreement, forward, measurements
from measure.models.loading import adopt
from measure.prompts.drawn import Pairs
from tests.conftest import BUILDERS, DEPTH, SCALE, VOCABULARY, random_prompts, tiny_network
from tests.test_forward import BOUND, both, disagreement

_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": SCALE,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
# Windows of 3 positions are shorter than most of the prompts.
MORE: dict[str, tuple[str, dict[str, Any]]] = {
    "olmo2": ("Olmo2", {}),
    "qwen3": ("Qwen3", {"head_dim": 8}),
    "mistral": ("Mistral", {"sliding_window": 3}),
    "phi": ("Phi", {"num_key_value_heads": 4}),
    "gemma": ("Gemma", {"head_dim": 8}),
    "gemma2": ("Gemma2", {"head_dim": 8, "sliding_window": 3}),
    "qwen2 with windows": ("Qwen2", {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 2}),
}
FAMILIES = [*BUILDERS, *MORE]


def network(family: str) -> Any:
    if family in BUILDERS:
        return tiny_network(family)
    name, options = MORE[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{**_SHAPE, **options})
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


# The five others are held against the reference with every read in tests/test_forward.py.
@pytest.mark.parametrize("family", MORE)
@pytest.mark.parametrize("layer", [1, DEPTH // 2, DEPTH - 1])
def test_fast_is_reference_on_every_family(family: str, layer: int, pairs: Pairs) -> None:
    model = adopt(network(family), None, "float32")
    fast, reference = both(model, pairs, layer, "logits")
    assert disagreement(fast, reference) <= BOUND


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_takes_the_fast_path_and_has_gates(family: str, pairs: Pairs) -> None:
    model = adopt(network(family), None, "float32")
    curves = measurements.curves(model, pairs, layer=1, read="final_norm", steps=5, origin={})
    assert curves.provenance["path"] == "fast"
    assert len(forward.gate_counts(model, 1)) == DEPTH - 1


@pytest.mark.parametrize("family", ["mistral", "gemma2", "qwen2 with windows"])
def test_a_window_that_is_forgotten_is_seen(family: str, pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = forward._points_mask
    monkeypatch.setattr(
        forward, "_points_mask", lambda earlier, points, like, window=None: whole(earlier, points, like)
    )
    model = adopt(network(family), None, "float32")
    assert agreement.choose_path(model, pairs.a, pairs.b, 1, ["final_norm"], 5).path == "reference"


def test_a_long_context_is_not_taken_for_checked_after_a_short_one_with_many_points(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = forward._points_mask
    monkeypatch.setattr(
        forward, "_points_mask", lambda earlier, points, like, window=None: whole(earlier, points, like)
    )
    model = adopt(network("mistral"), None, "float32")
    for tokens, steps, path in ((2, 1000, "fast"), (20, 9, "reference")):
        a, b = random_prompts([tokens] * 2)
        found = measurements.curves(model, Pairs((a,), (b,), (0,)), layer=1, read="final_norm", steps=steps, origin={})
        assert found.provenance["path"] == path
