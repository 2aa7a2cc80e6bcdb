"""A model's configuration: read, and refused where the model cannot be measured. Reads no weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from measure.spec import MeasureError


def read_config(folder: Path, name: str) -> Any:
    """A model's configuration. Raises `MeasureError` for one that cannot be measured, before any weights are read."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # transformers raises many kinds here
        path = folder / "config.json"
        hint = "Restore the folder, or take a transformers that knows this model"
        if path.exists() and b"auto_map" in path.read_bytes():
            hint = "It needs code from its repository, which is never run here"
        what = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise MeasureError(f"the config of {name} could not be read from {folder}: {what} {hint}.") from error
    kinds = getattr(config, "architectures", None) or []
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise MeasureError(f"the config of {name}: architectures is {kinds!r}, expected a list of names; mend it.")
    masked = next((kind for kind in kinds if kind.endswith(("ForMaskedLM", "ForPreTraining"))), None)
    if getattr(config, "is_encoder_decoder", False) or masked:
        what = f"an encoder ({masked})" if masked else f"an encoder-decoder ({config.model_type})"
        raise MeasureError(f"{name} is {what}; only decoders, which read from left to right, can be measured.")
    if getattr(config, "quantization_config", None):
        method = dict(config.quantization_config).get("quant_method", "unknown method")
        raise MeasureError(
            f"the weights of {name} are quantized ({method}), which moves distances visibly; take the checkpoint that "
            "it was made from."
        )
    return config


def count_parameters(config: Any) -> int:
    """Parameters of the model that a configuration describes, tied ones once; takes no memory for them."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config)
    return sum(parameter.numel() for parameter in network.parameters())
