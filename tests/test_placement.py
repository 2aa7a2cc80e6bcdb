"""What is patched is the residual stream: a list of blocks at another place is seen, and the model is left as found."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn

import measure
from measure.core import forward, placement
from measure.models import loading as models
from measure.models import structure
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Pairs
from measure.spec import MeasureError, Read
from tests.conftest import DEPTH, tiny_network
from tests.families import A, B, config_of, network_of

READS: tuple[Read, ...] = ("final_norm", "logits", "residual")


def measured(network: Any, **options: Any) -> Any:
    return measure.interpolate(network, A, B, steps=3, **options)


def hooks(network: nn.Module) -> dict[str, Any]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs")
    return {
        name: ([list(getattr(module, kind)) for kind in kinds], sorted(vars(module)))
        for name, module in network.named_modules()
    }


def parts_taken_for_blocks(network: Any, monkeypatch: pytest.MonkeyPatch) -> LoadedModel:
    network.model.parts = nn.ModuleList([block.self_attn for block in network.model.layers])
    monkeypatch.setattr(models, "find_blocks", lambda _: ("parts",))
    return models.adopt(network, None, "float32")


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("layer", [1, 2, DEPTH])
def test_a_list_of_parts_of_blocks_is_no_place_to_patch(
    read: Read, layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = parts_taken_for_blocks(tiny_network("olmo"), monkeypatch)
    place = min(layer, DEPTH - 1)
    said = rf"OlmoForCausalLM: what block {place} returns is not the hidden state that the model tells after {place} "
    with pytest.raises(MeasureError, match=said):
        measured(model, read=read, layer=layer)


def test_long_prompts_are_looked_at_in_a_forward_of_a_few_tokens(
    olmo: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "MOST_BYTES", 1)
    assert measured(olmo).provenance["path"] == "fast"
    model = parts_taken_for_blocks(tiny_network("olmo"), monkeypatch)
    with pytest.raises(MeasureError, match="is not the hidden state that the model tells"):
        measured(model)


@pytest.mark.parametrize("pair", [([[5]], [[6]]), ([[5]], [[6, 7]])])
def test_one_token_is_enough_to_look_at(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert measure.interpolate(tiny_network("olmo"), *pair, steps=3).provenance["path"] == "fast"
    with pytest.raises(MeasureError, match="is not the hidden state that the model tells"):
        measure.interpolate(parts_taken_for_blocks(tiny_network("olmo"), monkeypatch), *pair, steps=3)


@pytest.mark.parametrize("asked", [False, True])
def test_hooks_are_left_as_found(family: str, asked: bool) -> None:
    network = tiny_network(family)
    if asked:
        network(input_ids=torch.tensor(A), output_hidden_states=True)
    before = hooks(network)
    for read in READS:
        measured(network, read=read)
    assert hooks(network) == before


def test_hooks_are_left_as_found_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network("olmo")
    model = parts_taken_for_blocks(network, monkeypatch)
    before = hooks(network)
    with pytest.raises(MeasureError):
        measured(model)
    assert hooks(network) == before


def test_a_model_that_tells_no_hidden_states_is_held_against_what_its_next_block_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = measured(tiny_network("olmo")).distance
    monkeypatch.setattr(placement, "_takes_hidden_states", lambda _: False)
    np.testing.assert_array_equal(measured(tiny_network("olmo")).distance, expected)
    with pytest.raises(MeasureError, match="is not the hidden state that the model tells"):
        measured(parts_taken_for_blocks(tiny_network("olmo"), monkeypatch))


def test_blocks_that_run_in_rounds_are_refused(olmo: LoadedModel) -> None:
    base = olmo.network.model
    plain = base.norm.forward

    def again(states: torch.Tensor) -> torch.Tensor:
        rotary = base.rotary_emb(states, torch.arange(states.shape[1])[None])
        for block in base.layers:
            states = block(states, position_embeddings=rotary)
        return plain(states)

    base.norm.forward = again
    with pytest.raises(MeasureError, match=r"its 4 blocks run 8 times in a forward, and not in turn"):
        measured(olmo)


def test_a_block_that_does_not_run_has_no_state_after_it() -> None:
    network = tiny_network("olmo")
    network.config.num_hidden_layers = network.model.config.num_hidden_layers = 2
    model = LoadedModel(network, None, ("layers",), "short", "main", "stored", "loaded", "", "")
    with pytest.raises(MeasureError, match=r"short: block 3 of 4 does not run in a plain forward of token ids"):
        measured(model, layer=3)
    with pytest.raises(MeasureError, match=r"short: block 4 of 4 does not run .* runs its last"):
        measured(model, layer=1)


@pytest.mark.parametrize("layer", [1, 2, 3, 4])
@pytest.mark.parametrize("read", READS)
def test_a_block_in_two_places_is_patched_in_one(layer: int, read: Read) -> None:
    network, other = tiny_network("olmo"), tiny_network("olmo")
    network.model.layers[3] = network.model.layers[1]
    other.model.layers[3].load_state_dict(other.model.layers[1].state_dict())
    pairs = Pairs(A, B, (0, 1))
    found, expected = (
        measure.core.measurements.reference_curves(
            models.adopt(one, None, "float32"), pairs, layer=layer, read=read, steps=3, origin={}
        ).distance
        for one in (network, other)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert measured(network, layer=layer, read=read).provenance["path"] == "fast"


def test_gates_of_one_activation_function_for_all_blocks_are_not_counted(olmo: LoadedModel) -> None:
    for block in olmo.block_list:
        block.mlp.act_fn = olmo.block_list[0].mlp.act_fn  # type: ignore[union-attr, assignment]
    with pytest.raises(MeasureError, match="block 3 has its activation function from a block before it"):
        forward.gate_counts(olmo, 1)


@pytest.mark.parametrize("family", ["mixtral", "mamba"])
def test_gates_are_counted_where_each_position_has_them_once(family: str) -> None:
    model = models.adopt(network_of(family), None, "float32")
    with pytest.raises(MeasureError, match="once in each of 3 blocks; the activation functions were given . tensors"):
        forward.gate_counts(model, 1)


def test_several_lists_as_long_as_the_model_is_deep_are_refused() -> None:
    network = tiny_network("olmo")
    network.model.norms = nn.ModuleList([nn.LayerNorm(32) for _ in range(DEPTH)])
    with pytest.raises(MeasureError, match=r"looked for one list of 4 blocks .*: layers \(4\), norms \(4\)\. Only"):
        structure.find_blocks(network)


def test_lists_inside_blocks_are_parts_of_them() -> None:
    network = tiny_network("olmo")
    for block in network.model.layers:
        block.experts = nn.ModuleList([nn.Linear(4, 4) for _ in range(DEPTH)])
    assert structure.find_blocks(network) == ("layers",)


def test_blocks_of_several_kinds_are_one_list() -> None:
    network = transformers.AutoModelForCausalLM.from_config(config_of("jamba"))
    assert len({type(block) for block in models.adopt(network, None, "float32").block_list}) > 1


def test_the_model_of_text_is_told_from_a_tower_as_deep() -> None:
    network = transformers.AutoModelForCausalLM.from_config(config_of("gemma3"))
    lists = [len(module) for module in network.model.modules() if isinstance(module, nn.ModuleList)]
    assert lists.count(DEPTH) == 2
    assert structure.find_blocks(network) == ("language_model", "layers")


def test_a_plain_forward_that_fails_is_one_sentence(olmo: LoadedModel) -> None:
    def broken(*_: object) -> None:
        raise KeyError("pixel_values")

    olmo.network.model.norm.register_forward_pre_hook(broken)
    with pytest.raises(MeasureError, match=r"a plain forward of 10 tokens failed \(KeyError: 'pixel_values'\); expec"):
        measured(olmo)


SIZES = {
    "a list of sizes": ({"hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": [4, 6], "vocab_size": 9}, 6),
    "none": ({"hidden_size": 8, "num_hidden_layers": 2, "vocab_size": 9}, 32),
}


@pytest.mark.parametrize(("given", "intermediate"), SIZES.values(), ids=SIZES)
def test_a_shape_needs_no_heads(given: dict[str, Any], intermediate: int) -> None:
    config = SimpleNamespace(**given)
    config.get_text_config = lambda decoder: config
    shape = structure.shape_of(config)
    assert (shape.heads, shape.key_value_heads, shape.intermediate, shape.tied) == (1, 1, intermediate, False)


@pytest.mark.parametrize("name", ["hidden_size", "num_hidden_layers", "vocab_size"])
def test_a_configuration_without_a_size_is_refused(name: str) -> None:
    config = SimpleNamespace(hidden_size=8, num_hidden_layers=2, vocab_size=9, model_type="odd")
    config.get_text_config = lambda decoder: config
    delattr(config, name)
    with pytest.raises(MeasureError, match=rf"the config of a odd .*{name}"):
        structure.shape_of(config)


def test_a_context_of_minus_one_is_no_bound() -> None:
    config = transformers.OlmoConfig(max_position_embeddings=64)
    assert structure.context_of(config) == 64
    config.max_position_embeddings = -1
    assert structure.context_of(config) is None


def test_a_decoder_cut_out_of_an_encoder_decoder_is_as_deep_as_its_decoder() -> None:
    config = transformers.BartConfig(encoder_layers=2, decoder_layers=3, d_model=16, vocab_size=97)
    network = transformers.BartForCausalLM(config).eval()
    assert models.adopt(network, None, "float32").depth == 3
    assert structure.shape_of(network.config).layers == 3
