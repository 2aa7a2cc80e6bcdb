"""Models that come wrapped, compiled or adapted: what is measured is what they compute, and what is known is theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import measure
from measure.core import agreement
from measure.models import loading as models
from measure.models import structure
from measure.spec import MeasureError
from tests.conftest import tiny_network
from tests.families import A, B
from tests.states import Wrapper, adapted


def curves(network: Any, **options: Any) -> measure.Curves:
    return measure.interpolate(network, A, B, steps=5, **options)


# Compiled and spread over devices


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("compiled")


def whole(network: Any) -> Any:
    return torch.compile(network, backend=never)


def in_place(network: Any) -> Any:
    network.compile(backend=never)
    return network


def base_in_place(network: Any) -> Any:
    network.model.compile(backend=never)
    return network


def forward_alone(network: Any) -> Any:
    network.model.forward = torch.compile(network.model.forward, backend=never)
    return network


def every_block(network: Any) -> Any:
    for place, block in enumerate(network.model.layers):
        network.model.layers[place] = torch.compile(block, backend=never)
    return network


def twice(network: Any) -> Any:
    return nn.DataParallel(torch.compile(network, backend=never))


@pytest.mark.filterwarnings("default::DeprecationWarning")
@pytest.mark.parametrize("change", [whole, in_place, base_in_place, forward_alone, every_block, twice])
@pytest.mark.parametrize("read", ["final_norm", "logits"])
def test_nothing_is_compiled_to_be_measured(change: Any, read: Any) -> None:
    expected = curves(tiny_network("qwen2"), read=read)
    found = curves(change(tiny_network("qwen2")), read=read)
    np.testing.assert_allclose(found.distance, expected.distance, atol=1e-6 * expected.reference_norm.max())
    assert found.provenance["weights_sha256"] == expected.provenance["weights_sha256"] or change is every_block


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_a_compiled_model_compiles_again_afterwards() -> None:
    called: list[int] = []

    def backend(graph: Any, _inputs: Any) -> Any:
        called.append(1)
        return graph.forward

    network = torch.compile(tiny_network("qwen2"), backend=backend)
    curves(network)
    assert not called
    network(input_ids=torch.tensor(A))
    assert called


def test_gates_are_counted_without_compiling() -> None:
    network = in_place(tiny_network("qwen2"))
    assert len(measure.core.forward.gate_counts(models.adopt(network, None, "float32"), 1)) == 3


# Wrapped


class Answering(Wrapper):
    """Answers for the model inside, as some engines do."""

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name) if name == "model" else getattr(self.model, name)


class Deep(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.inner = Wrapper(network)


def test_a_module_around_a_model_names_the_model_inside() -> None:
    with pytest.raises(MeasureError, match=r"a Wrapper around a Qwen2ForCausalLM, .* hand over .* model\.model\."):
        curves(Wrapper(tiny_network("qwen2")))
    with pytest.raises(MeasureError, match=r"an? Answering around a Qwen2ForCausalLM, .* hand over .* model\.model\."):
        curves(Answering(tiny_network("qwen2")))
    with pytest.raises(MeasureError, match=r"a Deep around a Qwen2ForCausalLM, .* model\.inner\.model\."):
        curves(Deep(tiny_network("qwen2")))


@pytest.mark.parametrize("given", [nn.Linear(2, 2), nn.DataParallel(nn.Linear(2, 2)), 7, None, len])
def test_what_holds_no_model_is_refused(given: Any) -> None:
    with pytest.raises(
        MeasureError, match=r"model is a \w+; expected a catalog name, a folder, a hub id, or a Hugging"
    ):
        curves(given)


class OwnModel(type(tiny_network("qwen2"))):  # type: ignore[misc]
    """Somebody's own class, whose unembedding transformers does not find."""

    def get_output_embeddings(self) -> None:
        return None


def test_a_class_of_ones_own_may_keep_its_unembedding_elsewhere() -> None:
    network = tiny_network("qwen2")
    expected = curves(network)
    network.__class__ = OwnModel
    np.testing.assert_array_equal(curves(network).distance, expected.distance)


# Adapted


@pytest.fixture
def adapter() -> Any:
    pytest.importorskip("peft")
    return adapted(tiny_network("qwen2"), lora_dropout=0.5)


def test_an_adapted_model_is_measured_with_its_adapter(adapter: Any) -> None:
    found, bare = curves(adapter), curves(tiny_network("qwen2"))
    inside = curves(adapter.get_base_model())
    merged = curves(adapter.merge_and_unload())
    scale = merged.reference_norm.max()
    np.testing.assert_allclose(found.distance, merged.distance, atol=1e-5 * scale)
    np.testing.assert_array_equal(found.distance, inside.distance)
    assert np.abs(found.distance - bare.distance).max() > 0.01 * scale
    assert found.provenance["adapters"] == "default"
    assert "adapters" not in merged.provenance
    assert found.provenance["weights_sha256"] != bare.provenance["weights_sha256"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    kept: list[str] = []
    checked, alike = agreement._plainly, models._check_adapted
    monkeypatch.setattr(agreement, "_plainly", lambda *given: [kept.append("paths"), checked(*given)][1])
    monkeypatch.setattr(models, "_check_adapted", lambda *given: [kept.append("adapter"), alike(*given)][1])
    return kept


def test_an_adapted_model_as_it_was_is_not_looked_at_again(adapter: Any, asked: list[str]) -> None:
    curves(adapter)
    curves(adapter)
    assert asked == ["adapter", "paths"]


def disabled(adapter: Any) -> None:
    adapter.base_model.disable_adapter_layers()


def scaled(adapter: Any) -> None:
    for module in adapter.modules():
        if hasattr(module, "scale_layer"):
            module.scale_layer(0.5)


def other_adapter(adapter: Any) -> None:
    from peft import LoraConfig

    adapter.add_adapter("other", LoraConfig(r=2, target_modules=["up_proj"], init_lora_weights=False))
    adapter.set_adapter("other")


@pytest.mark.parametrize(("change", "name"), [(disabled, "disabled"), (scaled, "default"), (other_adapter, "other")])
def test_what_an_adapter_does_beside_its_weights_is_seen(
    adapter: Any, asked: list[str], change: Any, name: str
) -> None:
    first = curves(adapter)
    change(adapter)
    second = curves(adapter)
    assert asked == ["adapter", "paths"] * 2
    assert second.provenance["config_sha256"] != first.provenance["config_sha256"]
    assert second.provenance["adapters"] == name
    assert np.abs(second.distance - first.distance).max() > 0.01 * first.reference_norm.max()


def test_adapters_that_are_more_than_layers_are_refused(adapter: Any) -> None:
    def louder(_module: Any, _inputs: Any, output: Any) -> Any:
        output.logits = output.logits * 1.1
        return output

    adapter.register_forward_hook(louder)
    with pytest.raises(MeasureError, match="gives other logits than the model with its adapters' layers alone; only"):
        curves(adapter)


def test_adapters_that_ask_for_more_than_token_ids_are_refused(adapter: Any) -> None:
    def asks(_module: Any, _inputs: Any) -> None:
        raise ValueError("task_ids are missing")

    adapter.register_forward_pre_hook(asks)
    with pytest.raises(
        MeasureError, match=r"cannot be run on token ids alone \(ValueError\('task_ids are missing'\)\)"
    ):
        curves(adapter)


def test_an_embedding_that_was_trained_beside_an_adapter_has_a_size() -> None:
    pytest.importorskip("peft")
    model = models.adopt(adapted(tiny_network("qwen2"), modules_to_save=["embed_tokens", "lm_head"]), None, "float32")
    assert model.vocabulary == 97


def test_models_without_adapters_are_told_to_have_none() -> None:
    network = tiny_network("qwen2")
    assert structure.adapters(network) == ""
    assert structure.adapter_states(network) == []
