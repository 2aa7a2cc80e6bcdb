"""A model that is loaded: its network, tokenizer and hashes, ready to be measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from measure import catalog
from measure.hub.known import Facts
from measure.models import sound, structure
from measure.models.structure import network_blocks, shape_of


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A causal language model ready to be measured. `blocks` is the path from its base model to the list of blocks."""

    network: Any
    tokenizer: Any
    blocks: tuple[str, ...]
    name: str
    revision: str
    weights: str
    source: str
    sha256: str
    config_sha256: str
    card: str = "no card"
    # The hub's commit; empty for what did not come from there.
    commit: str = ""
    # What the file was that the weights were unpacked from, by its form; empty for weights that were no such file.
    packed: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    # Whether float32 products are rounded; see `as_measured`.
    tf32: bool = False
    # Where the tokenizer lies, if not with the model; or why there is none though something of it is there.
    tokenizer_place: str = ""
    no_tokenizer: str = ""
    # The names of the adapters that are layers of the model; see `structure.adapters`.
    adapters: str = ""
    # Where the fast path was seen to be the reference.
    facts: Facts = field(default_factory=lambda: Facts(""))

    @property
    def base(self) -> nn.Module:
        """The model without its unembedding."""
        return structure.base_of(self.network)

    @property
    def block_list(self) -> nn.ModuleList:
        return network_blocks(self.network, self.blocks)

    @property
    def depth(self) -> int:
        return len(self.block_list)

    @property
    def embedding(self) -> Tensor:
        """A row for each token, as wide as the residual stream."""
        weight: Tensor = self.network.get_input_embeddings().weight
        return weight

    @property
    def vocabulary(self) -> int:
        return len(self.embedding)

    @property
    def shape(self) -> catalog.Shape:
        """The dimensions in its configuration."""
        return shape_of(self.network.config)

    @property
    def context(self) -> int | None:
        """The most tokens a prompt may have, where the configuration tells."""
        return structure.context_of(self.network.config)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.network.parameters()).dtype


def weights_hash(network: nn.Module) -> str:
    """sha256 over every parameter and buffer that is saved: names, dtypes, shapes and bytes.

    Raises `sound.NotFiniteError` where a parameter holds what is no number.
    """
    digest = hashlib.sha256()
    # A layer may keep a state of its own, which is nothing here: see `sound.check`.
    state = {name: tensor for name, tensor in sorted(network.state_dict().items()) if isinstance(tensor, Tensor)}
    with sound.looked_at(dict(network.named_parameters())):
        for name, tensor in state.items():
            digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def config_hash(network: Any) -> str:
    """sha256 over what the configuration says of the computation: same weights, other activation, other hash."""
    known = {k: v for k, v in network.config.to_dict().items() if k not in ("_name_or_path", "transformers_version")}
    known["attention"] = getattr(network.config, "_attn_implementation", None)
    if states := structure.adapter_states(network):
        known["adapters"] = states
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()
