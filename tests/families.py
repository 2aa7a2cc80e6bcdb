"""Every family of causal language models in transformers: a tiny one of each, measured and held against plain forwards.

`python -m tests.families` writes what becomes of each into docs/models.md; with names of families it prints that.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import metadata
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as NAMES

import measure
from measure.models import structure

DOCUMENT = Path(__file__).parent.parent / "docs" / "models.md"
FAMILIES = sorted(NAMES)
VOCABULARY, DEPTH, WIDTH, HEADS, HEAD = 97, 4, 32, 4, 8
SCALE, STEPS = 0.3, 3
# At these layers and with these reads each is measured.
PLACES = ((1, "logits"), (2, "final_norm"))
BOUND = 1e-4

# Sizes by the names that families give them.
_SIZES: tuple[tuple[Any, str], ...] = (
    (VOCABULARY, "vocab_size num_embeddings"),
    (WIDTH, "hidden_size d_model n_embd dim emb_dim embedding_size attention_hidden_size lru_width lm_head_dim"),
    (WIDTH, "moe_intermediate_size shared_expert_intermediate_size shared_intermediate_size"),
    (WIDTH, "moe_shared_expert_intermediate_size"),
    (
        2 * WIDTH,
        "intermediate_size ffn_dim decoder_ffn_dim n_inner dff dim_ff ffn_hidden_size d_inner feed_forward_size",
    ),
    (DEPTH, "num_hidden_layers n_layer n_layers num_layers decoder_layers num_decoder_layers depth"),
    (HEADS, "num_attention_heads n_head n_heads num_heads decoder_attention_heads num_decoder_attention_heads"),
    (HEADS, "num_experts num_local_experts n_routed_experts moe_num_experts index_n_heads"),
    (2, "num_key_value_heads num_experts_per_tok moe_k top_k_experts"),
    (HEAD, "head_dim kv_channels v_head_dim attention_head_dim qk_nope_head_dim qk_rope_head_dim swa_head_dim d_kv"),
    (
        HEAD,
        "swa_v_head_dim global_head_dim linear_key_head_dim linear_value_head_dim mamba_head_dim d_head index_head_dim",
    ),
    (16, "q_lora_rank kv_lora_rank o_lora_rank state_size mamba_d_state ssm_state_size index_topk"),
    (64, "max_position_embeddings n_positions n_ctx max_seq_len max_sequence_length"),
    (SCALE, "initializer_range init_std"),
    (0, "pad_token_id"),
    (1, "bos_token_id n_group topk_group"),
    (2, "eos_token_id"),
    (True, "is_decoder"),
)
SMALL = {name: size for size, names in _SIZES for name in names.split()}
_AS_MANY = {"num_key_value_heads": HEADS}
_STATES = {"mamba_n_heads": 8, "mamba_d_head": HEAD, "mamba_n_groups": 1, "mamba_chunk_size": 16}
_GEMMA = {"num_kv_shared_layers": 0, "vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": HEAD}
_GEMMA |= {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 4}
_ASSISTANT = {
    **_GEMMA,
    "vocab_size_per_layer_input": 0,
    "hidden_size_per_layer_input": 0,
    "num_kv_shared_layers": DEPTH,
}
_HYBRID = ["linear_attention", "linear_attention", "hybrid", "hybrid"]
_INDEXER = {"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": HEAD, "indexer_budget": 16}
_SLIDING = {"num_attention_heads": HEADS, "num_key_value_heads": HEADS, "q_lora_rank": 16, "kv_lora_rank": 16}
_SLIDING |= {"head_dim": 2 * HEAD, "qk_nope_head_dim": HEAD, "v_head_dim": HEAD}
_DOTS3 = {**_AS_MANY, "head_dim": 2 * HEAD}
_DOTS3 |= {f"swa_{name}": size for name, size in _SLIDING.items()} | {"shared_experts_intermediate_size": WIDTH}
_QWEN4 = {**_INDEXER, "indexer_compress_ratio": 4}
# What a family asks for beside small sizes.
MORE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite"), _AS_MANY),
    **dict.fromkeys(("glm_moe_dsa", "minicpm3", "youtu"), _AS_MANY),
    **{name: {"rotary_dim": 4} for name in ("codegen", "gptj")},
    "bamba": {**_STATES, "attn_layer_indices": [1]},
    "blt": {"encoder_hash_byte_group_vocab": 50},
    "dots1": {"n_shared_experts": 1},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "dbrx": {"attn_config": {"rope_theta": 1e4, "kv_n_heads": 2, "clip_qkv": 8.0}},
    "dots3_note": {"text_config": _DOTS3},
    "dots3_note_text": _DOTS3,
    "falcon_h1": {**_STATES, "mamba_d_ssm": 64},
    "gemma3n_text": {**_GEMMA, "laurel_rank": HEAD, "activation_sparsity_pattern": [0.0] * DEPTH},
    "gemma4": {"text_config": _GEMMA},
    "gemma4_assistant": {"text_config": _ASSISTANT, "backbone_hidden_size": WIDTH, "num_centroids": 8},
    "gemma4_text": _GEMMA,
    "gemma4_unified_assistant": {"text_config": _ASSISTANT, "backbone_hidden_size": WIDTH, "num_centroids": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 4},
    "granitemoehybrid": {**_STATES, "layer_types": ["mamba", "attention"] * 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": {"linear_head_dim": HEAD, "linear_num_heads": HEADS},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2, "num_dense_layers": 1},
    "mamba2": {"num_heads": 8, "head_dim": HEAD, "n_groups": 1, "chunk_size": 16},
    "nemotron_h": {"mamba_num_heads": 8, "n_groups": 1, "chunk_size": 16},
    "qwen4_exp": {"text_config": _QWEN4},
    "qwen4_exp_text": _QWEN4,
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 8], "attn_layers": ["local", "local"] * 2},
    "roc_bert": {
        "shape_vocab_size": 50,
        "shape_embed_dim": HEAD,
        "pronunciation_embed_dim": HEAD,
        "pronunciation_vocab_size": 50,
    },
    "xmod": {"default_language": "en_XX"},
    "zamba": {"layers_block_type": _HYBRID, "attention_hidden_size": 2 * WIDTH, "attention_head_dim": 2 * HEAD},
    "zamba2": {"layers_block_type": _HYBRID, "chunk_size": 16, "attention_hidden_size": 2 * WIDTH},
    "zaya": {"num_experts_per_tok": 1},
}


def config_of(family: str) -> Any:
    """A small configuration of a family: its own, with the sizes that it knows made small."""
    kind, more = CONFIG_MAPPING[family], MORE.get(family, {})
    if family in DRAFTERS:
        # Their own defaults are refused by themselves.
        return kind(**{**more, "text_config": _small(CONFIG_MAPPING[DRAFTERS[family]](), more["text_config"])})
    return kind(**_small(kind(), more))


DRAFTERS = {"gemma4_assistant": "gemma4_text", "gemma4_unified_assistant": "gemma4_unified_text"}


def _small(config: Any, more: dict[str, Any]) -> dict[str, Any]:
    own, aliases = config.to_dict(), getattr(config, "attribute_map", {})
    names = {name: aliases.get(name, name) for name in SMALL}
    sizes = {own_name: SMALL[name] for name, own_name in names.items() if own_name in own}
    parts = {name: part for name, part in vars(config).items() if isinstance(part, PretrainedConfig)}
    inside = {name: {**_small(part, more.get(name, {})), "model_type": part.model_type} for name, part in parts.items()}
    return {**sizes, **inside, **{name: value for name, value in more.items() if name not in parts}}


def network_of(family: str) -> Any:
    """A tiny one, with weights large enough that a wrong prompt, place or read cannot go unseen."""
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(config_of(family), dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * SCALE)
    return network


@dataclass(frozen=True)
class Outcome:
    """What became of a model: `told` is the path it was measured by, or the sentence it was refused with.

    `off`: how far its curves are from plain forwards, relative to the largest output.
    """

    told: str
    off: float = 0.0


def outcome(family: str) -> Outcome:
    """Builds and measures a family. Whatever but a `MeasureError` is raised."""
    try:
        network = network_of(family)
    except Exception as error:
        return Outcome(f"not built: {line(error)}")
    return measured(network, lambda layer, read: plainly(network, layer, read, first=family not in WITHOUT_FIRST))


Expected = Callable[[int, Any], tuple[np.ndarray, float]]


def measured(
    given: Any, expected: Expected, around: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> Outcome:
    """What becomes of a model that is handed over, held against what is `expected` at a layer with a read."""
    paths, off = [], 0.0
    try:
        for layer, read in PLACES:
            with around():
                curves = measure.interpolate(given, A, B, layer=layer, read=read, steps=STEPS)
            paths.append(curves.provenance["path"])
            distance, scale = expected(layer, read)
            # Written so that a NaN counts.
            off = max(off, float(np.nan_to_num(np.abs(curves.distance - distance).max() / scale, nan=np.inf)))
    except measure.MeasureError as error:
        return Outcome(f"refused: {line(error)}")
    return Outcome(" or ".join(sorted(set(paths))), off)


def line(error: Exception) -> str:
    """An error's text in one line, whatever bars it holds."""
    return " ".join(f"{error}".split()).replace("|", "/")


A = tuple(tuple(row) for row in np.random.default_rng(0).integers(3, VOCABULARY, (2, 10)).tolist())
B = tuple(tuple(row) for row in np.random.default_rng(1).integers(3, VOCABULARY, (2, 10)).tolist())
# These tell no state before their first block.
WITHOUT_FIRST = {"mamba", "mamba2", "falcon_mamba", "rwkv"}


@torch.no_grad()
def plainly(network: Any, layer: int, read: str, *, first: bool = True) -> tuple[np.ndarray, float]:
    """Distances by one plain forward for each point, and the largest norm of an output.

    Patched is the module that returns the state the model tells of, found by its value alone.
    """
    found, norms = [], []
    base = structure.base_of(network)
    for a, b in zip(A, B, strict=True):
        (module, start), (_, end) = (_state(network, ids, layer - (not first)) for ids in (a, b))
        ends = []
        for alpha in np.linspace(0, 1, STEPS):
            hook = module.register_forward_hook(_patch(start + float(alpha) * (end - start)))
            out = (network if read == "logits" else base)(input_ids=torch.tensor([a]), use_cache=False)
            hook.remove()
            ends.append((out.logits if read == "logits" else out.last_hidden_state)[0, -1].double().numpy())
        found.append([np.linalg.norm(end - ends[0]) for end in ends])
        norms.append(np.linalg.norm(ends[0]))
    return np.array(found), max(norms)


def _state(network: Any, ids: Any, number: int) -> tuple[nn.Module, Tensor]:
    """The outermost module that returns a hidden state, and that state at the last position."""
    returned: list[tuple[nn.Module, Any]] = []
    keep = lambda module, _, output: returned.append((module, _first(output)))  # noqa: E731
    hooks = [module.register_forward_hook(keep) for module in network.modules()]
    told = network(input_ids=torch.tensor([ids]), use_cache=False, output_hidden_states=True).hidden_states[number]
    for hook in hooks:
        hook.remove()
    same = (
        module
        for module, out in reversed(returned)
        if isinstance(out, Tensor) and out.shape == told.shape and out.equal(told)
    )
    return next(same), told[0, -1]


def _patch(point: Tensor) -> Any:
    def patch(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        state = _first(output).clone()
        state[:, -1] = point
        return type(output)([state, *output[1:]]) if isinstance(output, tuple | list) else state

    return patch


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple | list) else output


def rows() -> dict[str, str]:
    """The table of families in the document: what is told of each."""
    return {name: told for name, _, told in _written("| family |")}


def states_told() -> dict[str, str]:
    """The table of states in the document."""
    return dict(_written("| handed over |"))


def _written(head: str) -> list[list[str]]:
    lines = iter(DOCUMENT.read_text().splitlines())
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in takewhile(
            lambda line: line.startswith("|"), dropwhile(lambda line: not line.startswith(head), lines)
        )
    ][2:]


def main(names: Sequence[str]) -> None:
    """Print what becomes of some families, or write down what becomes of all."""
    if names:
        print(*(f"{name}: {outcome(name)}" for name in names), sep="\n")
        return
    told = {name: outcome(name) for name in FAMILIES}
    wrong = [name for name, found in told.items() if not found.off <= BOUND]
    if wrong:
        raise SystemExit(f"measured and wrong, nothing written: {', '.join(wrong)}")
    families = [f"| {name} | {NAMES[name]} | {found.told} |" for name, found in told.items()]
    counts = Counter(found.told.split(":")[0] for found in told.values())
    from tests import states

    DOCUMENT.write_text(
        TEXT.format(
            torch=metadata.version("torch").partition("+")[0],
            transformers=metadata.version("transformers"),
            count=len(told),
            counts=", ".join(f"{count} {how}" for how, count in counts.most_common()),
            families="\n".join(families),
            states="\n".join(f"| {name} | {states.outcome(name).told} |" for name in states.STATES),
        )
    )


TEXT = """# Models: what is measured, and what is refused

Any decoder of transformers that returns one residual stream from the blocks of one list can be measured. Where its list
of blocks is, and that what a block returns is the hidden state that the model itself tells, is found out and checked by
running it. `fast`: the points of a pair run together after the patched block, which is held against the reference on
every model. `reference`: one plain forward for each point, with a hook; slower, and right wherever there is a state to
patch, in recurrent models and hybrids too. `fast or reference`: by what blocks follow the patched one. What cannot be
measured is refused in a sentence.

Both tables are measured: torch {torch}, transformers {transformers}, `python -m tests.families`; `make test` holds them
against what happens.

## Families

A tiny model of each of the {count} families that `AutoModelForCausalLM` knows, weights of scale 0.3, two pairs of
prompts, at two layers with two reads, held against plain forwards with a hook on whatever module returns the hidden
state that the model tells. `not built` is what transformers says to a small configuration of the family.
Together: {counts}.

| family | class | what happens |
|---|---|---|
{families}

## States of a loaded model

A loaded model is measured as it stands: its device, dtype, hooks and adapters are used, and it is left as found.
Dropout, autocast, gradients and compilation are off while it is measured.

| handed over | what happens |
|---|---|
{states}
"""

if __name__ == "__main__":
    main(sys.argv[1:])
