"""What a result tells of how it came about: model, weights, prompts, path, versions, device."""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib import metadata
from typing import Any

import numpy as np
import torch

from measure.core.agreement import Choice
from measure.core.course import USUAL, Course
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Pairs, Triples
from measure.spec import Read


@lru_cache
def _version(package: str) -> str:
    # Kept, since it is read from a file: a hundredth of the time of one pair on a model of half a billion parameters.
    return metadata.version(package)


def environment(model: LoadedModel) -> dict[str, str]:
    """What the numbers were computed with: versions, device, dtype."""
    device = model.device
    return {
        "measure": _version("stable-regions"),
        "torch": torch.__version__,
        "transformers": _version("transformers"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type} {platform.machine()}",
        "dtype": str(model.dtype).removeprefix("torch."),
    }


def of(
    model: LoadedModel,
    drawn: Pairs | Triples,
    layer: int,
    read: Read,
    choice: Choice,
    origin: dict[str, Any],
    course: Course = USUAL,
) -> dict[str, Any]:
    return {
        "model": model.name,
        "revision": model.revision,
        **({"commit": model.commit} if model.commit else {}),
        **model.packed,
        **({"adapters": model.adapters} if model.adapters else {}),
        "weights": model.weights,
        "weights_sha256": model.sha256,
        "config_sha256": model.config_sha256,
        "card": model.card,
        **({"tokenizer": model.tokenizer_place} if model.tokenizer_place else {}),
        "prompts_sha256": drawn.sha256,
        **({"independent_sha256": drawn.independent().sha256} if isinstance(drawn, Pairs) else {}),
        "layer": layer,
        "read": read,
        **course.provenance,
        **choice.provenance,
        **origin,
        **environment(model),
    }
