"""States that are no numbers: finds the tensor of the weights, or the block, in which NaN or infinity first stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from measure.core import forward, reference
from measure.models import sound
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Prompt
from measure.spec import MeasureError, Read


def check(
    model: LoadedModel,
    distances: Float[np.ndarray, "prompts points"],
    a: list[Prompt],
    b: list[Prompt],
    points: Float[Tensor, "prompts points *length width"],
    layer: int,
    read: Read,
) -> None:
    """Raise `MeasureError` where a distance is no number.

    `points` are those patched in after `layer` in the contexts of the prompts `a`, `b` their partners.
    """
    wrong = np.argwhere(~np.isfinite(distances))
    if len(wrong):
        row, column = wrong[0]
        raise MeasureError(_told(model, (a[row], b[row]), points[row, column], layer, read))


def _told(model: LoadedModel, prompts: tuple[Prompt, Prompt], point: Tensor, layer: int, read: Read) -> str:
    # Refused when the model came (`sound`), unless they have changed since.
    parameters, buffers = model.network.named_parameters(), model.network.named_buffers()
    found = [(place, values.dtype) for place, values in parameters if not torch.isfinite(values).all()]
    found += [(place, values.dtype) for place, values in buffers if torch.isnan(values).any()]
    if found:
        return f"{model.name}: {sound.not_finite(*found[0])}"
    # Of a point of several positions the first.
    point = point.reshape(-1, point.shape[-1])[0]
    place = _first_block(model, _forwards(model, prompts, point, layer, read)) or f"the {_AFTER.get(read, 'patch')}"
    dtype = str(model.dtype).removeprefix("torch.")
    narrow = model.dtype.itemsize < 4
    mend = "take a wider precision, such as 'float32'" if narrow else "the checkpoint is broken, restore it"
    return f"{model.name}: states in {dtype} are NaN or infinity from {place} on: {mend}."


_AFTER = {"final_norm": "final norm", "residual": "last block", "logits": "unembedding"}


def _forwards(
    model: LoadedModel, prompts: tuple[Prompt, Prompt], point: Tensor, layer: int, read: Read
) -> Iterable[Callable[[], Any]]:
    """The plain forwards that led to the number: each prompt's own, and the one with the point patched in."""
    a, b = (torch.tensor(prompt, device=model.device) for prompt in prompts)
    yield lambda: reference.reference_states(model, a, layer)
    yield lambda: reference.reference_states(model, b, layer)
    yield lambda: reference.reference_read(model, a, point, layer, read)


def _first_block(model: LoadedModel, forwards: Iterable[Callable[[], Any]]) -> str | None:
    """The first block whose output holds what is no number; None where no block's does."""
    found: list[int] = []

    def look(number: int) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            states = forward.states_of(output)
            if not torch.isfinite(states).all():
                found.append(number)

        return hook

    hooks = [block.register_forward_hook(look(number)) for number, block in enumerate(model.block_list, 1)]
    try:
        with torch.no_grad():
            for run in forwards:
                run()
                if found:
                    return f"block {found[0]} of {model.depth}"
    finally:
        for hook in hooks:
            hook.remove()
    return None
