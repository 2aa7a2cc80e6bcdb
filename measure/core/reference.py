"""The reference path: plain forwards of the whole model, one point each, that the fast path is checked against."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from measure.core import forward
from measure.models.loading import LoadedModel
from measure.spec import MeasureError, Read, block_of


class _Reached(Exception):  # noqa: N818 no error: it ends a forward whose later blocks nobody asked for
    """The block was reached whose states were asked for."""


def reference_states(
    model: LoadedModel, ids: Int[Tensor, " tokens"] | Int[Tensor, "prompts tokens"], layer: int
) -> Float[Tensor, "*prompts tokens width"]:
    """Residual states of a prompt, or of some of one length, after `layer` blocks, from a plain forward up to there."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        kept.append(forward.states_of(output))
        raise _Reached

    rows = ids.reshape(-1, ids.shape[-1])
    hook = forward.hook_block(model, layer, keep)
    try:
        with suppress(_Reached):
            model.base(input_ids=rows, use_cache=False)
    finally:
        hook.remove()
    if not kept:
        raise MeasureError(
            f"{model.name}: block {layer} of {model.depth} does not run in a plain forward of token ids, so that there "
            "is no state after it; patch another block."
        )
    if kept[0].shape[:-1] != rows.shape:
        raise MeasureError(
            f"{model.name}: block {layer} returns states of shape {tuple(kept[0].shape)} for {tuple(rows.shape)} "
            "tokens (prompts, tokens); expected one state for each token. Only decoders with one residual stream can "
            "be measured."
        )
    return kept[0].reshape(*ids.shape, -1)


def reference_read(
    model: LoadedModel,
    ids: Int[Tensor, " tokens"] | Int[Tensor, "points tokens"],
    point: Float[Tensor, " width"] | Float[Tensor, "points width"],
    layer: int,
    read: Read,
) -> Float[Tensor, "*points units"]:
    """The read of a plain forward of prompt `ids`, its last position overwritten by `point` after block `layer`.

    Also of some prompts of one length at once, each with a point of its own.
    The oracle for the fast path: no shared prefix, no mask of ours, no copies.
    """
    return reference_reads(model, ids, point, layer, [read])[read]


def reference_reads(
    model: LoadedModel,
    ids: Int[Tensor, "*points tokens"],
    point: Tensor,
    layer: int,
    reads: Sequence[Read],
    tail: forward.Tail = forward.LAST,
) -> dict[Read, Float[Tensor, "*points units"]]:
    """`reference_read` for several reads, by one plain forward; and where the patched position is not the last.

    `point` is a state for each of `ids`, (*points, width); with `tail.every` one for each patched position, (*points,
    length, width).
    """
    if "logits" in reads and len(set(reads)) > 1:
        others = [read for read in reads if read != "logits"]
        apart = [reference_reads(model, ids, point, layer, some, tail) for some in (["logits"], others)]
        return apart[0] | apart[1]
    kept: dict[int, Tensor] = {}

    def patch(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        states = forward.states_of(output).clone()
        if tail.every:
            states[:, -tail.length :] = point
        else:
            states[:, -tail.length] = point
        return forward.replaced(output, states)

    def keep(place: int) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _module, _inputs, output: kept.update({place: forward.states_of(output)})

    at, rows = tail.read - tail.length, ids.reshape(-1, ids.shape[-1])
    blocks = {read: model.depth if read == "residual" else block_of(read) for read in reads}
    # In this order: where the patched block is the last one, the read must see the patch.
    hooks = [forward.hook_block(model, layer, patch)]
    hooks += [
        forward.hook_block(model, place, keep(place)) for place in dict.fromkeys(blocks.values()) if place is not None
    ]
    try:
        if "logits" in reads:
            alone = last_alone(model.network) if at == -1 else {}
            found = {"logits": model.network(input_ids=rows, use_cache=False, **alone).logits[:, at]}
        else:
            found = {"final_norm": model.base(input_ids=rows, use_cache=False).last_hidden_state[:, at]}
    finally:
        for hook in hooks:
            hook.remove()
    found |= {read: kept[place][:, at] for read, place in blocks.items() if place is not None}
    return {read: found[read].reshape(*ids.shape[:-1], -1) for read in reads}


def last_alone(network: nn.Module) -> dict[str, int]:
    """What tells a model that only the last position's logits are asked for, where it can be told."""
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(network.forward).parameters else {}
