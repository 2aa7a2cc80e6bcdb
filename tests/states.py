"""States of a loaded model that is handed over, and what becomes of it; see `tests.families`."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import nn

from tests.conftest import tiny_network
from tests.families import DEPTH, VOCABULARY, A, Outcome, measured, plainly


@dataclass(frozen=True)
class State:
    """`made` gives what is handed over, and the network whose plain forwards it is held against, if not itself."""

    made: Callable[[], tuple[Any, Any]]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    needs_peft: bool = False


def outcome(name: str) -> Outcome:
    state = STATES[name]
    given, same = state.made()
    return measured(given, lambda layer, read: plainly(same, layer, read), state.around)


def plain() -> Any:
    return tiny_network("qwen2")


def changed(change: Callable[[Any], Any]) -> Callable[[], tuple[Any, Any]]:
    """The model with a change, held against the model without."""

    def made() -> tuple[Any, Any]:
        network = plain()
        found = change(network)
        return network if found is None else found, plain()

    return made


def itself(change: Callable[[Any], Any]) -> Callable[[], tuple[Any, Any]]:
    """The model with a change, held against itself."""

    def made() -> tuple[Any, Any]:
        network = plain()
        change(network)
        return network, network

    return made


def _refused(made: Callable[[], Any]) -> Callable[[], tuple[Any, Any]]:
    return lambda: (made(), None)


def _dropout() -> tuple[Any, Any]:
    return tiny_network("gpt2").train(), tiny_network("gpt2")


def _checkpointing(network: Any) -> None:
    network.gradient_checkpointing_enable()
    network.train()


def _adds(network: Any) -> None:
    network.model.layers[1].register_forward_hook(lambda _module, _inputs, output: output + 1.5)


def _asked_before() -> tuple[Any, Any]:
    network, other = plain(), plain()
    network(input_ids=torch.tensor(A), output_hidden_states=True)
    _adds(network)
    _adds(other)
    return network, other


def _looks(network: Any) -> None:
    network.model.layers[1].register_forward_hook(lambda *_: None)


def _twice() -> tuple[Any, Any]:
    network, other = plain(), plain()
    network.model.layers[3] = network.model.layers[1]
    other.model.layers[3].load_state_dict(other.model.layers[1].state_dict())
    return network, other


def _blocks_compiled(network: Any) -> None:
    for place, block in enumerate(network.model.layers):
        network.model.layers[place] = torch.compile(block)


def _dispatched(network: Any) -> None:
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    for module in (network, *network.model.layers):
        add_hook_to_module(module, AlignDevicesHook(io_same_device=True))


class Wrapper(nn.Module):
    """Somebody's own module around a model."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.model = network

    def forward(self, **options: Any) -> Any:
        return self.model(**options)


_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def _made(config: str, model: str, **more: Any) -> Callable[[], tuple[Any, Any]]:
    def network() -> Any:
        return getattr(transformers, model)(getattr(transformers, config)(**{**_SIZES, **more})).eval()

    return _refused(network)


def adapted(network: Any, **more: Any) -> Any:
    """With a LoRA whose weights are no zeros."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    settings = {"r": 4, "target_modules": ["q_proj", "down_proj"], "init_lora_weights": False, **more}
    with warnings.catch_warnings():
        # PEFT asks transformers by a name that is to go.
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(network, LoraConfig(**settings)).eval()


def _merged(given: Any) -> Any:
    return copy.deepcopy(given).merge_and_unload()


def _lora(change: Callable[[Any], Any] = lambda _: None, **more: Any) -> Callable[[], tuple[Any, Any]]:
    def made() -> tuple[Any, Any]:
        given = adapted(plain(), **more)
        merged = _merged(given)
        change(given)
        return given, merged

    return made


def _two() -> tuple[Any, Any]:
    from peft import LoraConfig

    given = adapted(plain())
    given.add_adapter("other", LoraConfig(r=2, target_modules=["up_proj"], init_lora_weights=False))
    given.base_model.set_adapter(["default", "other"])
    return given, _merged(given)


def _disabled() -> tuple[Any, Any]:
    given = adapted(plain())
    given.base_model.disable_adapter_layers()
    return given, plain()


def _compiled_lora() -> tuple[Any, Any]:
    given = adapted(plain())
    return torch.compile(given), _merged(given)


def _native() -> tuple[Any, Any]:
    from peft import LoraConfig

    torch.manual_seed(1)
    network = plain()
    network.add_adapter(LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
    return network.eval(), network


def _ia3() -> tuple[Any, Any]:
    from peft import IA3Config, get_peft_model

    settings = {
        "target_modules": ["k_proj", "down_proj"],
        "feedforward_modules": ["down_proj"],
        "init_ia3_weights": False,
    }
    torch.manual_seed(1)
    given = get_peft_model(plain(), IA3Config(task_type="CAUSAL_LM", **settings)).eval()
    return given, _merged(given)


def _virtual(config: str) -> Any:
    import peft

    return peft.get_peft_model(plain(), getattr(peft, config)(task_type="CAUSAL_LM", num_virtual_tokens=3)).eval()


def _by_tokens() -> Any:
    return adapted(plain(), task_type="CAUSAL_LM", alora_invocation_tokens=[5, 6])


def _autocast() -> Any:
    return torch.autocast("cpu", torch.bfloat16)


STATES: dict[str, State] = {
    "as loaded": State(changed(lambda network: None)),
    "in train mode, with dropout": State(_dropout),
    "in train mode, with gradient checkpointing": State(changed(_checkpointing)),
    "without gradients (`requires_grad_(False)`)": State(changed(lambda network: network.requires_grad_(False))),
    "under `torch.autocast`": State(changed(lambda network: None), _autocast),
    "under `torch.inference_mode`": State(changed(lambda network: None), torch.inference_mode),
    "attention by `eager`": State(changed(lambda network: network.set_attn_implementation("eager"))),
    "in float64": State(changed(lambda network: network.double())),
    "in bfloat16, `precision` not given": State(_refused(lambda: plain().to(torch.bfloat16))),
    "a hook that only looks": State(changed(_looks)),
    "a hook that changes what a block returns": State(itself(_adds)),
    "the same, hung on after hidden states were asked for": State(_asked_before),
    "one block in two places": State(_twice),
    "`torch.compile(model)`": State(changed(torch.compile)),
    "`model.compile()`": State(changed(lambda network: network.compile())),
    "every block compiled": State(changed(_blocks_compiled)),
    "`nn.DataParallel(model)`": State(changed(nn.DataParallel)),
    "hooks of accelerate (a dispatched model)": State(changed(_dispatched), needs_peft=True),
    "PEFT: LoRA": State(_lora(), needs_peft=True),
    "PEFT: LoRA, in train mode, with dropout": State(
        _lora(lambda given: given.train(), lora_dropout=0.2), needs_peft=True
    ),
    "PEFT: LoRA, compiled": State(_compiled_lora, needs_peft=True),
    "PEFT: LoRA, merged in place": State(_lora(lambda given: given.merge_adapter()), needs_peft=True),
    "PEFT: LoRA beside a trained embedding": State(_lora(modules_to_save=["embed_tokens"]), needs_peft=True),
    "PEFT: DoRA": State(_lora(use_dora=True), needs_peft=True),
    "PEFT: two adapters at once": State(_two, needs_peft=True),
    "PEFT: adapters disabled": State(_disabled, needs_peft=True),
    "PEFT: IA3": State(_ia3, needs_peft=True),
    "an adapter added by `model.add_adapter`": State(_native, needs_peft=True),
    "PEFT: prompt tuning": State(_refused(lambda: _virtual("PromptTuningConfig")), needs_peft=True),
    "PEFT: prefix tuning": State(_refused(lambda: _virtual("PrefixTuningConfig")), needs_peft=True),
    "PEFT: activated LoRA": State(_refused(_by_tokens), needs_peft=True),
    "a module of one's own around it": State(_refused(lambda: Wrapper(plain()))),
    "its `forward`, or another function": State(_refused(lambda: plain().forward)),
    "a model without unembedding": State(_made("LlamaConfig", "LlamaModel")),
    "a sequence classifier": State(_made("LlamaConfig", "LlamaForSequenceClassification")),
    "an encoder": State(_made("BertConfig", "BertModel")),
    "a masked language model": State(_made("BertConfig", "BertForMaskedLM")),
    "an encoder-decoder": State(
        _made("T5Config", "T5ForConditionalGeneration", d_model=32, d_ff=64, d_kv=8, num_layers=2)
    ),
}
