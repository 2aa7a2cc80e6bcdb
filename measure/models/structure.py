"""Where things are in a Hugging Face model: what is wrapped around it, its base model, its blocks, its sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from measure import catalog
from measure.spec import MeasureError

_EXPECTED = "expected a catalog name, a folder, a hub id, or a Hugging Face causal language model"


def unwrapped(given: Any) -> Any:
    """The language model inside what compiles it, spreads it over devices or adapts it; any other as it is.

    Compiled or not, in parallel or not, the same is computed, and adapters are layers inside the model.
    Raises `MeasureError` for what is no causal language model, and for adapters that are more than layers.
    """
    network = given
    while True:
        if "_orig_mod" in getattr(network, "_modules", ()):  # by torch.compile
            network = network._orig_mod
        elif isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            network = network.module
        elif _is_adapted(network):
            _check_adapters(network)
            network = network.get_base_model()
        else:
            break
    _check_is_model(network)
    _check_is_language_model(network)
    return network


def _is_adapted(network: Any) -> bool:
    """Whether PEFT is wrapped around a model; it need not be installed for that to be told."""
    return type(network).__module__.startswith("peft.") and hasattr(network, "get_base_model")


def _check_adapters(network: Any) -> None:
    active = network.active_adapters
    for name in [active] if isinstance(active, str) else active:
        config = network.peft_config[name]
        kind = str(getattr(config.peft_type, "value", config.peft_type))
        if config.is_prompt_learning:
            raise MeasureError(
                f"adapter {name!r} is {kind}, which puts virtual tokens or states before every prompt, so that the "
                "prompts given are not what is read; only adapters that are layers of the model can be measured."
            )
        if getattr(config, "alora_invocation_tokens", None):
            raise MeasureError(
                f"adapter {name!r} is {kind} that is switched on by tokens of the prompt; only adapters that are the "
                "same at every position can be measured."
            )


def _check_is_model(network: Any) -> None:
    if isinstance(network, nn.Module) and _is_model(network):
        return
    inside = network.named_modules() if isinstance(network, nn.Module) else ()
    place = next((name for name, module in inside if _is_model(module)), None)
    if place is None:
        raise MeasureError(f"model is a {type(network).__name__}; {_EXPECTED}.")
    raise MeasureError(
        f"model is a {type(network).__name__} around a {type(network.get_submodule(place)).__name__}, and what it does "
        f"beside that is not known; hand over the model inside, model.{place}."
    )


def _is_model(module: Any) -> bool:
    # Some wrappers answer for what is inside them.
    own = hasattr(type(module), "base_model_prefix") or "base_model_prefix" in getattr(module, "__dict__", ())
    return own and hasattr(module, "config")


def _check_is_language_model(network: Any) -> None:
    name = type(network).__name__
    if getattr(network.config, "is_encoder_decoder", False):
        raise MeasureError(
            f"model is a {name}, an encoder-decoder; only decoders, which read from left to right, can be measured."
        )
    # A class of somebody's own may keep its unembedding where transformers does not look.
    if type(network).__module__.startswith("transformers.") and _unembedding(network) is None:
        raise MeasureError(
            f"model is a {name}, which has no unembedding; load it as a causal language model, by AutoModelForCausalLM."
        )


def _unembedding(network: Any) -> Any:
    try:
        return network.get_output_embeddings()
    except (AttributeError, NotImplementedError):
        return None


def adapters(network: nn.Module) -> str:
    """Which adapters are in a model, as they stand; empty for one without."""
    layers: list[Any] = [module for module in network.modules() if _is_adapter(module)]
    active = {name for layer in layers if not _told(layer, "disable_adapters") for name in layer.active_adapters}
    return ", ".join(sorted(active)) or ("disabled" if layers else "")


def adapter_states(network: nn.Module) -> list[str]:
    """What adapters do beside their weights, layer by layer: which are active or merged, and how strong."""
    kinds = ("active_adapters", "disable_adapters", "merged_adapters", "scaling")
    layers = ((name, module) for name, module in network.named_modules() if _is_adapter(module))
    return [f"{name} {[_told(layer, kind) for kind in kinds]}" for name, layer in layers]


def _is_adapter(module: nn.Module) -> bool:
    return type(module).__module__.startswith("peft.") and hasattr(module, "active_adapters")


def _told(layer: nn.Module, kind: str) -> Any:
    return getattr(layer, kind, None)


def text_config(config: Any) -> Any:
    """The part of a configuration that is about the decoder of text; of most models it is all of it."""
    return config.get_text_config(decoder=True)


def depth_of(config: Any) -> int:
    """How many blocks a configuration says."""
    config = text_config(config)
    # Where an encoder has a number of its own, `num_hidden_layers` is the encoder's.
    found = next((value for name in _DEPTHS if (value := getattr(config, name, None)) is not None), None)
    if not isinstance(found, int):
        raise MeasureError(
            f"the config of a {getattr(config, 'model_type', '') or type(config).__name__} does not say how many "
            "blocks it has (num_hidden_layers); only decoders with one list of blocks can be measured."
        )
    return found


_DEPTHS = ("decoder_layers", "num_decoder_layers", "num_hidden_layers")


def base_name(network: Any) -> str | None:
    """What the model without its unembedding is called in a language model; None where there is none."""
    inside = network._modules
    if isinstance(inside.get(network.base_model_prefix), nn.Module):
        return str(network.base_model_prefix)
    others = [name for name, module in inside.items() if _is_model(module)]
    return others[0] if len(others) == 1 else None


def find_blocks(network: Any) -> tuple[str, ...]:
    """Path of the list of blocks inside the base model, found by structure: the list as long as the model is deep.

    That it is the right one is seen when it is first run (`agreement.choose_path`).
    Raises `MeasureError` when there is none, or several.
    """
    depth, name = depth_of(network.config), base_name(network)
    base = None if name is None else network._modules[name]
    lists = {} if base is None else {n: m for n, m in base.named_modules() if isinstance(m, nn.ModuleList)}
    fitting = [place for place, modules in lists.items() if len(modules) == depth]
    # One inside another is a part of a block.
    outer = [place for place in fitting if not any(place.startswith(f"{other}.") for other in fitting)]
    chosen = outer if len(outer) < 2 else _of_text(network, base, outer)
    if len(chosen) == 1:
        return tuple(chosen[0].split("."))
    found = ", ".join(f"{place} ({len(modules)})" for place, modules in lists.items()) or "none"
    raise MeasureError(
        f"{type(network).__name__}: looked for one list of {depth} blocks in its base model, "
        f"found these lists: {found}. Only decoders with one list of blocks can be measured."
    )


def _of_text(network: Any, base: Any, places: list[str]) -> list[str]:
    """Of some lists those in the model of text: what is next around them has its configuration."""
    kind = type(text_config(network.config))
    return [place for place in places if type(next(_configs_around(base, place), None)) is kind]


def _configs_around(base: nn.Module, place: str) -> Iterator[Any]:
    names = place.split(".")
    for length in range(len(names) - 1, -1, -1):
        config = getattr(base.get_submodule(".".join(names[:length])), "config", None)
        if config is not None:
            yield config


def network_blocks(network: Any, path: tuple[str, ...] = ()) -> nn.ModuleList:
    """The list of blocks of a model, at `path` in its base model where that is known already."""
    found = base_of(network).get_submodule(".".join(path or find_blocks(network)))
    assert isinstance(found, nn.ModuleList)
    return found


def base_of(network: Any) -> nn.Module:
    """The model without its unembedding."""
    base: nn.Module = network._modules[base_name(network)]
    return base


def shape_of(config: Any) -> catalog.Shape:
    """The dimensions in a configuration; a model without attention is given one head."""
    layers, config = depth_of(config), text_config(config)
    hidden = _size(config, "hidden_size", "d_model")
    heads = _size(config, "num_attention_heads", "decoder_attention_heads", otherwise=1)
    return catalog.Shape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        key_value_heads=_size(config, "num_key_value_heads", otherwise=heads),
        # GPT-2 leaves it out where it is the usual four times the width.
        intermediate=_size(config, "intermediate_size", "decoder_ffn_dim", otherwise=4 * hidden),
        vocabulary=_size(config, "vocab_size"),
        tied=bool(getattr(config, "tie_word_embeddings", False)),
    )


def _size(config: Any, *names: str, otherwise: int | None = None) -> int:
    """A size by the first name that has one, of a list of sizes, one a block, the largest."""
    for name in names:
        found = getattr(config, name, None)
        sizes = [size for size in (found if isinstance(found, list | tuple) else [found]) if isinstance(size, int)]
        if any(sizes):
            return max(sizes)
    if otherwise is None:
        raise MeasureError(
            f"the config of a {getattr(config, 'model_type', '') or type(config).__name__} has no {names[0]}; "
            "only models of which it is known can be measured."
        )
    return otherwise


def context_of(config: Any) -> int | None:
    """The most tokens a prompt may have, where a configuration tells; some write -1 for no bound."""
    found = getattr(text_config(config), "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None


def is_compiled(module: nn.Module) -> bool:
    """Whether torch would compile a module when it runs."""
    return (
        "_orig_mod" in module._modules
        or module._compiled_call_impl is not None
        or hasattr(vars(module).get("forward"), "_torchdynamo_orig_callable")
    )


def run_eagerly() -> Any:
    """A context in which nothing is compiled: minutes for every length of prompt, and the numbers are the same."""
    return torch.compiler.set_stance("force_eager")
