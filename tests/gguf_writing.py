"""Writes GGUF files of tiny models, as llama.cpp's converter does, for the tests of what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
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


def network(family: str, *, tied: bool = True) -> Any:
    """A tiny model with random weights, its norms' scales not left at one."""
    torch.manual_seed(0)
    more = {"tie_word_embeddings": tied}
    made: Any
    if family == "llama":
        made = LlamaForCausalLM(LlamaConfig(**_SHAPE, **more))
    elif family == "qwen2":
        made = Qwen2ForCausalLM(Qwen2Config(**_SHAPE, **more))
    else:
        made = Gemma3ForCausalLM(Gemma3TextConfig(**_SHAPE, **more, head_dim=16, sliding_window=8))
    with torch.no_grad():
        for name, values in made.named_parameters():
            if "norm" in name or name.endswith(".bias"):
                values += 0.3 * torch.randn_like(values)
    return made.eval()


def _as_llama_cpp(family: str, name: str, values: np.ndarray, config: Any) -> np.ndarray:
    """What llama.cpp's converter does to a tensor: rotary halves interleaved, and Gemma's norms plus one."""
    heads = {"q_proj.weight": config.num_attention_heads, "k_proj.weight": config.num_key_value_heads}
    count = next((heads[end] for end in heads if name.endswith(end)), None)
    if family == "llama" and count:
        return values.reshape(count, 2, len(values) // count // 2, -1).swapaxes(1, 2).reshape(values.shape)
    return values + 1 if family == "gemma3" and "norm" in name else values


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
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if family == "gemma3":
        writer.add_key_length(config.head_dim)
        writer.add_sliding_window(config.sliding_window)
        writer.add_rope_freq_base(1e6)
    else:
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
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
