"""Writes GGUF files of tiny models, as llama.cpp's converter does, for the tests of what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

from measure import catalog

TOKENIZER = catalog.LADDER / "tokenizer" / "tokenizer.json"
F32, Q8_0, Q4_0 = (gguf.GGMLQuantizationType[name] for name in ("F32", "Q8_0", "Q4_0"))
_SHAPE: dict[str, Any] = {
    "vocab_size": 2048,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}


_MORE: dict[str, dict[str, Any]] = {
    "gemma2": {"head_dim": 16, "sliding_window": 8},
    "gemma3": {"head_dim": 16, "sliding_window": 8},
    "qwen3": {"head_dim": 16},
}
_KINDS: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "gemma2": (Gemma2Config, Gemma2ForCausalLM),
    "gemma3": (Gemma3TextConfig, Gemma3ForCausalLM),
    "starcoder2": (Starcoder2Config, Starcoder2ForCausalLM),
}


def network(family: str, *, tied: bool = True) -> Any:
    """A tiny model with random weights, its norms' scales and its biases not left as they begin."""
    torch.manual_seed(0)
    made: Any
    if family == "gpt2":
        shape = {"vocab_size": 2048, "n_embd": 64, "n_inner": 256, "n_layer": 3, "n_head": 4, "n_positions": 1024}
        made = GPT2LMHeadModel(GPT2Config(**shape, initializer_range=0.2, bos_token_id=0, eos_token_id=0))
    else:
        config, kind = _KINDS[family]
        made = kind(config(**_SHAPE, **_MORE.get(family, {}), tie_word_embeddings=tied))
    with torch.no_grad():
        for name, values in made.named_parameters():
            if "norm" in name or ".ln_" in name or name.endswith(".bias"):
                values += 0.3 * torch.randn_like(values)
    return made.eval()


def _as_llama_cpp(family: str, name: str, values: np.ndarray, config: Any) -> np.ndarray:
    """What llama.cpp's converter does to a tensor: rotary halves interleaved, and Gemma's norms plus one."""
    if family == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
        count = config.num_attention_heads if name.endswith("q_proj.weight") else config.num_key_value_heads
        return values.reshape(count, 2, len(values) // count // 2, -1).swapaxes(1, 2).reshape(values.shape)
    if family == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return values.T
    return values + 1 if family in ("gemma2", "gemma3") and "norm" in name else values


def write(
    path: Path,
    model: Any,
    kind: gguf.GGMLQuantizationType = F32,
    *,
    leave_out: str = "",
    said: dict[str, Any] | None = None,
    extra: dict[str, np.ndarray] | None = None,
) -> Path:
    """Write a model with the ladder's tokenizer; matrices in `kind`.

    `leave_out`: the name of a tensor. `said`: keys of the family besides the usual ones. `extra`: tensors besides.
    """
    config = model.config
    family = {"gemma3_text": "gemma3"}.get(config.model_type, config.model_type)
    writer = gguf.GGUFWriter(path, family)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    _add_shape(writer, family, config)
    for key, value in (said or {}).items():
        writer.add_key_value(f"{family}.{key}", value, gguf.GGUFValueType.get_type(value))
    _add_tokenizer(writer)
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == family)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    tied = config.tie_word_embeddings
    tensors = {
        name: values.numpy() for name, values in model.state_dict().items() if not (tied and name == "lm_head.weight")
    }
    for name, values in tensors.items():
        stem, _, ending = name.rpartition(".")
        target = f"{names.get_name(stem)}.{ending}"
        if name == leave_out:
            continue
        made = np.ascontiguousarray(_as_llama_cpp(family, name, values, config), np.float32)
        if made.ndim == 2 and kind != F32:
            writer.add_tensor(target, gguf.quantize(made, kind), raw_dtype=kind)
        else:
            writer.add_tensor(target, made)
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_shape(writer: gguf.GGUFWriter, family: str, config: Any) -> None:
    """What differs between families."""
    if family == "gpt2":
        writer.add_feed_forward_length(config.n_inner)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    if family == "starcoder2":
        writer.add_layer_norm_eps(config.norm_epsilon)
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if family in ("gemma2", "gemma3", "qwen3"):
        writer.add_key_length(config.head_dim)
    if family in ("gemma2", "gemma3"):
        writer.add_sliding_window(config.sliding_window)
    if family == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    elif family == "gemma3":
        writer.add_rope_freq_base(1e6)
    else:
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    content = json.loads(TOKENIZER.read_text())
    vocabulary = sorted(content["model"]["vocab"].items(), key=lambda row: row[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([token for token, _ in vocabulary])
    special = {token["content"] for token in content["added_tokens"]}
    writer.add_token_types([3 if token in special else 1 for token, _ in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in content["model"]["merges"]])
    writer.add_eos_token_id(0)
