"""What precision does to the numbers: TF32 and bfloat16 against float32, float32 against float64. Run by `make bench`.

On every rung and on one wide model with random weights: the largest change of the median curve, and the changes of the
median max slope and edge drift. TF32 is what NVIDIA's matrix units do; where there are none it is imitated: operands of
every linear layer are rounded to ten bits of mantissa, their products summed in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from measure import catalog
from measure.core import measurements
from measure.models import loading as models
from measure.prompts import drawn as prompts
from measure.prompts.drawn import Pairs
from measure.results import Curves

PAIRS = 400
Build = Callable[[torch.dtype], models.LoadedModel]


def to_ten_bits(values: Tensor) -> Tensor:
    """float32 rounded to TF32's mantissa, to nearest."""
    bits = values.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


@contextmanager
def imitated_tf32(network: nn.Module) -> Iterator[None]:
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    weights = [module.weight.data for module in linear]
    hooks = [module.register_forward_pre_hook(lambda _, inputs: (to_ten_bits(inputs[0]),)) for module in linear]
    for module in linear:
        module.weight.data = to_ten_bits(module.weight.data)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, weight in zip(linear, weights, strict=True):
            module.weight.data = weight


def rung(name: str) -> Build:
    names = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}
    return lambda dtype: models.load(name, precision=names[dtype])  # type: ignore[arg-type]


def wide(dtype: torch.dtype) -> models.LoadedModel:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=2048, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
        num_key_value_heads=2,
    )  # fmt: skip
    names = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}
    return models.adopt(Qwen2ForCausalLM(config).to(dtype).eval(), None, names[dtype])  # type: ignore[arg-type]


RUNGS = [model.name for model in catalog.models().values() if model.source == "ladder" and not model.seed]
MODELS: dict[str, tuple[Build, int]] = {
    **{name: (rung(name), PAIRS) for name in RUNGS},
    "Qwen2-0.5B's blocks, random": (wide, 4),
}


def curves(model: models.LoadedModel, pairs: Pairs) -> Curves:
    return measurements.fast_curves(model, pairs, layer=1, read="final_norm", steps=50, origin={})


def off(found: Curves, exact: Curves) -> tuple[float, float, float]:
    """Change of the median curve, of the median max slope and of the median edge drift."""
    curve = np.abs(np.nanmedian(found.relative, axis=0) - np.nanmedian(exact.relative, axis=0)).max()
    slope, drift = (
        np.nanmedian(getattr(found, name)) - np.nanmedian(getattr(exact, name)) for name in ("max_slope", "edge_drift")
    )
    return float(curve), float(slope), float(drift)


@pytest.mark.parametrize("name", MODELS)
def test_precision(name: str, benchmark: Any) -> None:
    build, count = MODELS[name]
    model = build(torch.float32)
    corpus = prompts.load_corpus("default")
    tokenizer = model.tokenizer or models.load("ladder-olmo-0.2m").tokenizer
    pairs = prompts.draw(corpus, tokenizer, "paper", count, 0)
    single = curves(model, pairs)
    with imitated_tf32(model.network):
        rounded = curves(model, pairs)
    rows = {
        "float32 against float64": off(single, curves(build(torch.float64), pairs)),
        "TF32 (imitated) against float32": off(rounded, single),
        "bfloat16 against float32": off(curves(build(torch.bfloat16), pairs), single),
    }
    if next(iter(MODELS)) == name:
        print("\n\n| model | precision | curve | max slope | edge drift |\n|---|---|---|---|---|")
    for kind, (curve, slope, drift) in rows.items():
        benchmark.extra_info[kind] = {"curve": curve, "max_slope": slope, "edge_drift": drift}
        print(f"| {name} | {kind} | {curve:.1e} | {slope:+.1e} | {drift:+.1e} |", flush=True)
    benchmark.pedantic(lambda: None, rounds=1)
    assert rows["float32 against float64"][0] <= 1e-5
