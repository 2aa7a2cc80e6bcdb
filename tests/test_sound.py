"""Weights that are no numbers, or of another kind than the rest, are refused by name, handed over or loaded."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import measure
from measure.core import predicting, runs
from measure.models import loading as models
from measure.models import sound
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Pairs
from measure.spec import MeasureError
from tests.conftest import tiny_model, tiny_network

A, B = [[5, 6, 7, 8]], [[9, 10, 11, 12]]
MATRIX = "model.layers.2.mlp.down_proj.weight"


def curve(model: Any, **how: Any) -> measure.Curves:
    return measure.interpolate(model, A, B, steps=4, **how)


def saved(folder: Path, change: Callable[[dict[str, Tensor]], None], family: str = "qwen2") -> Path:
    """A folder with a tiny model whose stored tensors were changed."""
    tiny_network(family).save_pretrained(folder)
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})
    return folder


# Numbers


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [MATRIX, "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"])
def test_weights_that_are_no_numbers_are_refused_handed_over_or_loaded(
    tmp_path: Path, place: str, value: float
) -> None:
    said = rf"the weights hold NaN or infinity, first in {re.escape(place)}; restore the checkpoint"
    network = tiny_network("qwen2")
    with torch.no_grad():
        network.get_parameter(place).view(-1)[-1] = value
    with pytest.raises(MeasureError, match=said):
        curve(network)

    def spoil(weights: dict[str, Tensor]) -> None:
        weights[place].view(-1)[-1] = value

    for kind in ("stored", "scrambled:0"):
        with pytest.raises(MeasureError, match=said):
            models.load(str(saved(tmp_path, spoil)), weights=kind)


def test_a_tensor_with_two_names_is_told_by_the_first() -> None:
    network = tiny_network("qwen2")
    network.lm_head.weight = network.model.embed_tokens.weight
    with torch.no_grad():
        network.lm_head.weight[96, 3] = torch.nan
    with pytest.raises(MeasureError, match="first in model.embed_tokens.weight"):
        curve(network)


def test_a_number_too_large_for_16_bits_is_told_as_such(tmp_path: Path) -> None:
    def grow(weights: dict[str, Tensor]) -> None:
        weights[MATRIX][0, 0] = 1e6

    folder = saved(tmp_path, grow)
    with pytest.raises(MeasureError, match=rf"first in {re.escape(MATRIX)}; take a wider precision, or restore"):
        models.load(str(folder), precision="float16")
    assert models.load(str(folder)).dtype == torch.float32


@pytest.mark.parametrize("dtype", sound.FLOATS)
def test_numbers_whose_sum_is_none_are_numbers(dtype: torch.dtype) -> None:
    largest = torch.full((64,), torch.finfo(dtype).max, dtype=dtype)
    assert sound.is_finite(largest)
    assert sound.is_finite(torch.empty(0, dtype=dtype))
    for value in (float("nan"), float("inf"), float("-inf")):
        largest[33] = value
        assert not sound.is_finite(largest)
    assert sound.is_finite(largest, mask=True), "what is left out of attention stands at minus infinity"


def test_a_buffer_that_is_no_number_is_refused_and_a_mask_is_not() -> None:
    network = tiny_network("llama")
    network.model.register_buffer("mask", torch.full((8, 8), float("-inf")).triu(1), persistent=False)
    assert len(curve(network)) == 1
    network.model.rotary_emb.inv_freq[1] = torch.nan
    with pytest.raises(MeasureError, match=r"the buffer model.rotary_emb.inv_freq holds NaN or infinity"):
        curve(network)


def test_weights_spoilt_between_two_calls_are_seen() -> None:
    network = tiny_network("qwen2")
    curve(network)
    with torch.no_grad():
        network.get_parameter(MATRIX)[0, 0] = torch.nan
    with pytest.raises(MeasureError, match=re.escape(MATRIX)):
        curve(network)


def overflowing(block: int) -> Any:
    """A model whose weights are numbers, and whose states are none from a block on."""
    network = tiny_network("qwen2")
    with torch.no_grad():
        network.model.layers[block - 1].mlp.down_proj.weight.fill_(1e30)
        network.model.layers[block - 1].mlp.up_proj.weight.fill_(1e30)
    return network


@pytest.mark.parametrize("block", [1, 3])
def test_states_that_are_no_numbers_name_their_block(block: int) -> None:
    with pytest.raises(MeasureError, match=rf"states in float32 are NaN or infinity from block {block} of 4 on"):
        curve(overflowing(block))
    model = models.adopt(overflowing(block), None, "float32")
    triples = [[(5, 6, 7)], [(8, 9, 3)], [(4, 4, 5)]]
    with pytest.raises(MeasureError, match=rf"from block {block} of 4 on"):
        measure.slice2d(model, *triples, size=3)


def loud(model: LoadedModel) -> LoadedModel:
    """The same with an unembedding whose logits are no numbers, and weights that are."""
    with torch.no_grad():
        model.network.lm_head.weight.fill_(3e38)
    return model


def test_logits_that_are_no_numbers_are_seen_whatever_is_read() -> None:
    model, pairs = loud(tiny_model("qwen2")), Pairs(((5, 6, 7),), ((8, 9, 3),), (0,))
    with pytest.raises(MeasureError, match="are NaN or infinity from the unembedding on"):
        predicting.predictions(model, pairs, layer=1, reads=["final_norm"], steps=5, span=1, origin={})
    with pytest.raises(MeasureError, match="logits are NaN or infinity, so that no token is the most probable"):
        measure.slice2d(model, [(5, 6, 7)], [(8, 9, 3)], [(4, 4, 5)], size=3)


def test_the_most_probable_token_is_what_it_was() -> None:
    model = tiny_model("qwen2")
    known = runs.contexts(model, [(5, 6, 7)], 1, "fast")
    states = torch.randn(9, 32)
    expected = runs.norm_only(model, states[None], "logits", known, "fast")[0].argmax(-1)
    assert runs.top_tokens(model, states, known, "fast").tolist() == expected.tolist()


# Types, as they are stored


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.uint8, torch.bool, torch.float8_e4m3fn])
def test_what_is_stored_as_no_floating_point_number_is_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    def cast(weights: dict[str, Tensor]) -> None:
        weights[MATRIX] = (weights[MATRIX] * 20).to(dtype)

    name = str(dtype).removeprefix("torch.")
    with pytest.raises(MeasureError, match=rf"{re.escape(MATRIX)} is stored as {name}, and its config.json says"):
        models.load(str(saved(tmp_path, cast)))


def test_pickled_weights_are_asked_for_their_types_too(tmp_path: Path) -> None:
    network = tiny_network("olmo")
    network.config.architectures = [type(network).__name__]
    network.config.save_pretrained(tmp_path)
    weights = network.state_dict()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    assert models.load(str(tmp_path), allow_pickle=True).sha256 == models.weights_hash(network)
    torch.save({**weights, MATRIX: weights[MATRIX].to(torch.int16)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(MeasureError, match=rf"{re.escape(MATRIX)} is stored as int16"):
        models.load(str(tmp_path), allow_pickle=True)


def test_masks_that_old_checkpoints_hold_are_no_weights(tmp_path: Path) -> None:
    def masks(weights: dict[str, Tensor]) -> None:
        for block in range(4):
            weights[f"transformer.h.{block}.attn.bias"] = torch.ones(1, 1, 64, 64, dtype=torch.bool).tril()

    assert models.load(str(saved(tmp_path, masks, "gpt2"))).sha256 == models.weights_hash(tiny_network("gpt2"))

    def biases(weights: dict[str, Tensor]) -> None:
        weights["transformer.h.1.attn.c_attn.bias"] = torch.zeros(96, dtype=torch.int8)

    with pytest.raises(MeasureError, match=r"transformer.h.1.attn.c_attn.bias is stored as int8"):
        models.load(str(saved(tmp_path, biases, "gpt2")))


# Types and places of a model that is handed over


class Coded(nn.Module):
    """A layer of somebody's own that keeps its weight in 8 bits."""

    def __init__(self, layer: nn.Linear, name: str, dtype: torch.dtype = torch.int8) -> None:
        super().__init__()
        self.scale = nn.Parameter(layer.weight.detach().abs().max() / 100)
        self.register_buffer(name, (layer.weight / self.scale).detach().to(dtype))
        self.code = name

    def forward(self, states: Tensor) -> Tensor:
        return states @ (getattr(self, self.code).float() * self.scale).T


def coded(network: Any) -> None:
    network.model.layers[1].mlp.up_proj = Coded(network.model.layers[1].mlp.up_proj, "q")


def coded_in_32_bits(network: Any) -> None:
    network.model.layers[1].mlp.up_proj = Coded(network.model.layers[1].mlp.up_proj, "qweight", torch.int32)


def coded_in_a_tiny_float(network: Any) -> None:
    network.model.layers[1].mlp.up_proj = Coded(network.model.layers[1].mlp.up_proj, "w", torch.float8_e4m3fn)


def loosely(network: Any) -> None:
    layer = network.model.layers[1].mlp.up_proj
    layer.packed = (layer.weight.detach() * 20).to(torch.int8)


class Wrapped(Tensor):
    """A tensor that only stands for others, as those of quantizing libraries do."""

    @staticmethod
    def __new__(cls, values: Tensor) -> Any:
        return Tensor._make_wrapper_subclass(cls, values.shape, dtype=values.dtype)  # type: ignore[attr-defined]

    def __init__(self, values: Tensor) -> None:
        self.codes = values.to(torch.int8)

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "detach" in str(function):
            return Wrapped(args[0].codes.float())
        raise NotImplementedError(function)


def wrapped(network: Any) -> None:
    layer = network.model.layers[1].mlp.up_proj
    layer.weight = nn.Parameter(Wrapped(layer.weight.detach()), requires_grad=False)


class Answering(Tensor):
    """A tensor that answers for numbers kept otherwise."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return super().__torch_function__(function, types, args, kwargs or {})


def answering(network: Any) -> None:
    layer = network.model.layers[1].mlp.up_proj
    weight = layer.weight.detach().as_subclass(Answering)
    del layer.weight
    layer.register_buffer("weight", weight)


def whole_numbers(network: Any) -> None:
    layer = network.model.layers[1].mlp.up_proj
    layer.weight = nn.Parameter(layer.weight.detach().to(torch.int8), requires_grad=False)


def sparse(network: Any) -> None:
    layer = network.model.layers[1].mlp.up_proj
    layer.weight = nn.Parameter(layer.weight.detach().to_sparse(), requires_grad=False)


def complex_numbers(network: Any) -> None:
    layer = network.model.layers[1].mlp.up_proj
    layer.weight = nn.Parameter(layer.weight.detach().to(torch.complex64))


def by_torch(network: Any) -> None:
    class Linear(nn.Linear):
        """A stand-in for a layer of torch's own quantization, whatever the processor."""

    Linear.__module__ = "torch.ao.nn.quantized.dynamic.modules.linear"
    network.model.layers[1].mlp.up_proj = Linear(32, 64, bias=False)


def by_a_library(network: Any) -> None:
    class Linear4bit(nn.Linear):
        """A stand-in for a layer whose weight is quantized when it first runs."""

    Linear4bit.__module__ = "bitsandbytes.nn.modules"
    network.model.layers[1].mlp.up_proj = Linear4bit(32, 64, bias=False)


class Recipe(nn.Linear):
    """A layer that keeps beside its weight how it is to be read."""

    def get_extra_state(self) -> Any:
        return {"scale": 3.0}


def with_a_recipe(network: Any) -> None:
    network.model.layers[1].mlp.up_proj = Recipe(32, 64, bias=False)


QUANTIZED = (
    answering,
    with_a_recipe,
    coded,
    coded_in_32_bits,
    coded_in_a_tiny_float,
    loosely,
    wrapped,
    whole_numbers,
    by_torch,
    by_a_library,
)


@pytest.mark.parametrize("change", [*QUANTIZED, complex_numbers, sparse])
def test_layers_that_hold_no_plain_numbers_are_refused_by_name(change: Callable[[Any], None]) -> None:
    network = tiny_network("llama")
    change(network)
    with pytest.raises(MeasureError, match=r"model.layers.1.mlp.up_proj.*quantized.*take the checkpoint"):
        curve(network)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_torchs_own_quantized_layers_are_refused() -> None:
    if not torch.backends.quantized.engine or torch.backends.quantized.engine == "none":
        pytest.skip("no engine for quantized layers")
    network = torch.ao.quantization.quantize_dynamic(tiny_network("llama"), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(MeasureError, match=r"model.layers.0.self_attn.q_proj is quantized \(Linear of torch\)"):
        curve(network)


def test_integers_that_say_where_things_are_are_no_weights() -> None:
    network = tiny_network("llama")
    block = network.model.layers[0]
    block.register_buffer("position_ids", torch.arange(64, dtype=torch.int32)[None])
    block.register_buffer("seen", torch.arange(6).view(2, 3))
    block.register_buffer("hidden", torch.ones(4, 4, dtype=torch.uint8).tril())
    block.register_buffer("num_batches_tracked", torch.tensor(3))
    assert len(curve(network)) == 1


def some_blocks(network: Any) -> None:
    network.model.layers[:2].to(torch.bfloat16)


def one_norm(network: Any) -> None:
    network.model.layers[1].input_layernorm.to(torch.bfloat16)


def unembedding(network: Any) -> None:
    network.lm_head.to(torch.float64)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (some_blocks, r"is in float32 but for model.layers.0.\S+ in bfloat16, .* and 15 more; expected one precision"),
        (one_norm, r"is in float32 but for model.layers.1.input_layernorm.weight in bfloat16; expected one precision"),
        (unembedding, r"is in float32 but for lm_head.weight in float64; expected one precision: convert it whole"),
    ],
)
def test_a_mixture_of_precisions_is_refused_by_name(change: Callable[[Any], None], said: str) -> None:
    network = tiny_network("llama")
    change(network)
    for precision in ("float32", "bfloat16"):
        with pytest.raises(MeasureError, match=said):
            curve(network, precision=precision)


def test_a_buffer_in_16_bits_is_refused_and_a_wider_one_is_not() -> None:
    network = tiny_network("llama")
    exact = curve(network).distance
    network.model.rotary_emb.inv_freq = network.model.rotary_emb.inv_freq.double()
    assert abs(curve(network).distance - exact).max() < 1e-5
    network.model.rotary_emb.inv_freq = network.model.rotary_emb.inv_freq.half()
    with pytest.raises(MeasureError, match="but for model.rotary_emb.inv_freq in float16"):
        curve(network)
    # As `from_pretrained` makes it: what tells positions stays in 32 bits.
    narrow = tiny_network("llama")
    for parameter in narrow.parameters():
        parameter.data = parameter.data.bfloat16()
    assert curve(narrow, precision="bfloat16").provenance["dtype"] == "bfloat16"


def test_what_a_family_keeps_in_32_bits_is_no_mixture() -> None:
    network = tiny_network("llama").to(torch.bfloat16)
    network.model.norm.to(torch.float32)
    with pytest.raises(MeasureError, match="is in bfloat16 but for model.norm.weight in float32"):
        sound.check("tiny", network)
    network._keep_in_fp32_modules_strict = {"model.norm"}
    sound.check("tiny", network)
    models._check_dtype("tiny", network, "bfloat16")


def test_a_part_without_weights_is_refused_by_name() -> None:
    network = tiny_network("llama")
    network.model.layers[3].mlp.to("meta")
    with pytest.raises(MeasureError, match=r"model.layers.3.mlp.gate_proj.weight, .* on the meta device, without weig"):
        curve(network)
    with pytest.raises(MeasureError, match="the model is on the meta device and has no weights"):
        curve(network.to("meta"))


class Elsewhere(nn.Module):
    """As much of a model as is looked at, with a part that says it is on another device."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Linear(4, 4)

    def named_buffers(self, *_: Any, **__: Any) -> Any:
        class There(Tensor):
            device = torch.device("cuda:1")  # type: ignore[assignment]

        yield "part", torch.zeros(3).as_subclass(There)


def test_a_part_on_another_device_is_refused_by_name() -> None:
    with pytest.raises(MeasureError, match=r"tiny is on cpu but for part on cuda:1; a model is measured on one device"):
        sound.check("tiny", Elsewhere())


def test_a_model_without_parameters_is_refused() -> None:
    network = tiny_network("llama")
    network.model, network.lm_head = nn.Identity(), nn.Identity()
    with pytest.raises(MeasureError, match="has no parameters"):
        sound.check("tiny", network)


@pytest.mark.parametrize("family", ["olmo", "qwen2", "llama", "gpt_neox", "gpt2"])
def test_sound_models_pass_in_every_precision(family: str) -> None:
    for dtype in sound.FLOATS:
        sound.check(family, tiny_network(family).to(dtype))
    sound.check(family, nn.utils.parametrizations.weight_norm(tiny_network(family).lm_head))


def test_a_model_as_it_was_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    check = sound.check
    monkeypatch.setattr(sound, "check", lambda name, network: [looked.append(name), check(name, network)][1])
    network = tiny_network("qwen2")
    curve(network)
    curve(network)
    assert len(looked) == 1
    network.model.norm.to(torch.float16)
    with pytest.raises(MeasureError, match="one precision"):
        curve(network)
