"""Run with a patch: the fast path, and the plain reference path that checks it. Draws no prompts, derives no metrics.

The patched run keeps p_A's tokens and overwrites only the last position after `layer` blocks. Attention is causal,
so the other positions are the same for every point patched in. The fast path therefore runs a prompt once up to the
patch, appends all points of the pair as further positions (each at the last position's id, each seeing the earlier
positions and itself alone), and runs the remaining blocks once over earlier positions and points together. The blocks
below the patch and the unembedding do not run for the points. The reference path does none of this: one plain forward
for each point, with a hook.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from measure.core import kernels
from measure.core.prefixes import Behind, KeysValues, cache_argument
from measure.models import structure
from measure.models.loading import LoadedModel, as_measured
from measure.spec import MeasureError, Read

# Positions per forward: enough rows to fill the matrix units, few enough that memory stays small.
CHUNK_POSITIONS = 4096


@dataclass(frozen=True)
class Tail:
    """What of a prompt runs anew for each point: its last `length` positions, of which the first is patched.

    `every`: all of them are patched. `read` is the position that is read, counted from the patched one. The others keep
    the states of the prompt's clean run at the patched block, and follow the patch from there on.
    """

    length: int = 1
    every: bool = False
    read: int = 0


LAST = Tail()


def states_of(output: Any) -> Tensor:
    """The hidden states in what a block returned: transformers' blocks return a tensor, some a tuple or a list.

    Raises `MeasureError` for whatever else: of records of several streams none is known to be the residual one.
    """
    found = output[0] if type(output) in (tuple, list) else output
    if not isinstance(found, Tensor):
        raise MeasureError(
            f"a block returns a {type(output).__name__}; expected its states, alone or first in a tuple. Only decoders "
            "with one residual stream can be measured."
        )
    return found


def replaced(output: Any, states: Tensor) -> Any:
    """What a block returned, with other states."""
    return type(output)([states, *output[1:]]) if type(output) in (tuple, list) else states


def turn_of(model: LoadedModel, layer: int) -> int:
    """How many times the module that is block `layer` has run before it runs there: some models share one module."""
    blocks = list(model.block_list)
    return sum(block is blocks[layer - 1] for block in blocks[: layer - 1])


def hook_block(model: LoadedModel, layer: int, hook: Callable[[nn.Module, Any, Any], Any]) -> Any:
    """A hook on block `layer`, for one forward."""
    turns, turn = count(), turn_of(model, layer)
    return model.block_list[layer - 1].register_forward_hook(
        lambda *passed: hook(*passed) if next(turns) == turn else None
    )


class _Tap(nn.Module):
    """Stands for a block, runs it and keeps what it returned."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.output: Any = None

    def forward(self, *arguments: Any, **options: Any) -> Any:
        # The arguments are transformers' own business and differ between families: passed through untouched.
        self.output = self.block(*arguments, **options)
        return self.output


class _Entry(nn.Module):
    """Stands for a block that need not run: whatever comes in, the given states go out."""

    def __init__(self, states: Tensor, *, as_tuple: bool) -> None:
        super().__init__()
        self.states = states
        self.as_tuple = as_tuple

    def forward(self, *_: Any, **__: Any) -> Any:
        return (self.states,) if self.as_tuple else self.states


def _with_blocks(model: LoadedModel, blocks: list[nn.Module]) -> nn.Module:
    """A shallow copy of the base model that runs `blocks` instead of its own; it shares the weights."""

    def replaced(module: nn.Module, path: tuple[str, ...]) -> nn.Module:
        if not path:
            return nn.ModuleList(blocks)
        twin = copy.copy(module)
        child = module.get_submodule(path[0])
        twin._modules = {**module._modules, path[0]: replaced(child, path[1:])}
        return twin

    return replaced(model.base, model.blocks)


@dataclass(frozen=True, eq=False)
class Boundary:
    """Residual states after the patched block, `states` (prompts, tokens, width), and how blocks hand them on.

    `kept` holds keys and values of all blocks, where they could be had.
    """

    states: Float[Tensor, "prompts tokens width"]
    as_tuple: bool
    kept: KeysValues | None = None

    @property
    def last(self) -> Float[Tensor, "prompts width"]:
        return self.states[:, -1]


def run_to_layer(model: LoadedModel, ids: Int[Tensor, "prompts tokens"], layer: int) -> Boundary:
    """Run prompts of one length through the first `layer` blocks and no further."""
    tap = _Tap(model.block_list[layer - 1])
    head = _with_blocks(model, [*model.block_list[: layer - 1], tap])
    with kernels.without_copies(head, model.embedding):
        head(input_ids=ids, use_cache=False)
    return Boundary(states_of(tap.output), isinstance(tap.output, tuple | list))


def run_to_layers(
    model: LoadedModel, ids: Int[Tensor, "prompts tokens"], layers: Sequence[int], *, keep: bool = False
) -> dict[int, Boundary]:
    """`run_to_layer` for several layers, the prompts run once; to `keep` keys and values, through all blocks."""
    kept = KeysValues() if keep else None
    blocks = model.block_list if keep else model.block_list[: max(layers)]
    taps = {layer: _Tap(model.block_list[layer - 1]) for layer in layers}
    head = _with_blocks(model, [taps.get(n, block) for n, block in enumerate(blocks, 1)])
    with kernels.without_copies(head, model.embedding):
        head(input_ids=ids, use_cache=False, **({cache_argument(head): kept} if keep else {}))
    if kept is not None and not kept.is_whole(ids, model.depth):
        kept = None
    return {n: Boundary(states_of(tap.output), isinstance(tap.output, tuple | list), kept) for n, tap in taps.items()}


def _points_mask(earlier: int, points: int, like: Tensor, window: int | None = None) -> Float[Tensor, "1 1 all all"]:
    """Additive attention mask: earlier positions causal; each point sees the earlier positions and itself alone.

    With `window` a position sees that many positions, itself among them, and none before.
    """
    size = earlier + points
    places = torch.arange(size, device=like.device).clamp(max=earlier)
    visible = torch.eye(size, dtype=torch.bool, device=like.device)
    visible[:, :earlier] |= torch.ones(size, earlier, dtype=torch.bool, device=like.device).tril()
    if window is not None:
        visible &= places[:, None] - places < window
    mask = torch.zeros(size, size, dtype=like.dtype, device=like.device)
    return mask.masked_fill(~visible, torch.finfo(like.dtype).min)[None, None]


def _tails_mask(
    earlier: int, points: int, tail: int, like: Tensor, window: int | None = None
) -> Float[Tensor, "1 1 all all"]:
    """`_points_mask` where each point is some positions in a row, which see those of their own point before them."""
    size = earlier + points * tail
    number = torch.arange(size, device=like.device) - earlier
    places = torch.where(number < 0, number, number % tail) + earlier
    of = torch.where(number < 0, -1, number // tail)
    visible = ((of[:, None] == of) | (of < 0)) & (places <= places[:, None])
    if window is not None:
        visible &= places > places[:, None] - window
    mask = torch.zeros(size, size, dtype=like.dtype, device=like.device)
    return mask.masked_fill(~visible, torch.finfo(like.dtype).min)[None, None]


def _attention_mask(
    model: LoadedModel, earlier: int, points: int, like: Tensor, tail: int = 1
) -> Tensor | dict[str, Tensor]:
    """The mask as the model takes it: one, or one for each kind of layer where it mixes full and windowed attention."""
    config = structure.text_config(model.network.config)
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    kinds = set(getattr(config, "layer_types", None) or ())
    if tail > 1:
        full, windowed = (_tails_mask(earlier, points, tail, like, bound) for bound in (None, window))
        masks = {"full_attention": full, "sliding_attention": windowed}
        return _of_kinds(masks, kinds) if kinds else windowed
    if not kinds:
        return _points_mask(earlier, points, like, window)
    masks = {
        "full_attention": _points_mask(earlier, points, like),
        "sliding_attention": _points_mask(earlier, points, like, window),
    }
    return _of_kinds(masks, kinds)


def _of_kinds(masks: dict[str, Tensor], kinds: set[str]) -> Tensor | dict[str, Tensor]:
    return masks if len(kinds & masks.keys()) > 1 else masks.get(kinds.pop(), masks["full_attention"])


def _of_points(mask: Tensor | dict[str, Tensor], before: int) -> Tensor | dict[str, Tensor]:
    """What of a mask is the points', who see the positions before them too."""
    if isinstance(mask, dict):
        return {kind: one[:, :, before:] for kind, one in mask.items()}
    return mask[:, :, before:]


@dataclass(frozen=True, eq=False)
class Outputs:
    """What came out at every point: the read, and the residual state before the final norm, whatever was read.

    `blocks` holds the residual states after those blocks that were asked for.
    """

    read: Float[Tensor, "prompts points units"]
    residual: Float[Tensor, "prompts points width"]
    blocks: dict[int, Float[Tensor, "prompts points width"]] = field(default_factory=dict)


def run_from_layer(
    model: LoadedModel,
    earlier: Float[Tensor, "prompts earlier width"],
    points: Float[Tensor, "prompts points width"],
    layer: int,
    read: Read,
    *,
    as_tuple: bool,
    blocks: Sequence[int] = (),
    tail: Tail = LAST,
    kept: KeysValues | None = None,
) -> Outputs:
    """Run every point through the blocks after `layer` in its prompt's context, all in one forward.

    `earlier` holds the states of the prompt's positions before the patched one, after `layer` blocks. With a `tail` of
    several positions each point is that many in a row, (prompts, points * length, width); one of them is read.
    `blocks`: after which the states are wanted too, `layer` or later. With the keys and values of these positions,
    `kept`, they need not run again.
    """
    before, count = earlier.shape[1], points.shape[1]
    # What of the positions before the points runs with them.
    behind = before if kept is None else 0
    states = torch.cat([earlier, points], dim=1) if kept is None else points
    entry = _Entry(states, as_tuple=as_tuple)
    every: list[nn.Module] = [*[entry] * layer, *model.block_list[layer:]]
    taps = {place: _Tap(every[place - 1]) for place in dict.fromkeys((*blocks, model.depth))}
    inner = _with_blocks(model, [taps.get(place, block) for place, block in enumerate(every, 1)])
    positions = torch.arange(before + count, device=states.device).clamp(max=before)[None]
    if tail.length > 1:
        positions[:, before:] += torch.arange(count, device=states.device) % tail.length
    mask = _attention_mask(model, before, count // tail.length, states, tail.length)
    inputs = {
        "inputs_embeds": states,
        "attention_mask": mask if kept is None else _of_points(mask, before),
        "position_ids": positions if kept is None else positions[:, before:],
        "use_cache": False,
        **({} if kept is None else {cache_argument(model.network if read == "logits" else inner): Behind(kept)}),
    }
    if read == "logits":
        twin = copy.copy(model.network)
        twin._modules = {**model.network._modules, structure.base_name(model.network): inner}
        with kernels.few_positions(twin, states) as entry.states:
            found = twin(**inputs, logits_to_keep=count).logits
    else:
        with kernels.few_positions(inner, states) as entry.states:
            found = inner(**inputs).last_hidden_state[:, behind:]
    after = {place: _read_of(states_of(tap.output)[:, behind:], tail) for place, tap in taps.items()}
    residual, found = after[model.depth], _read_of(found, tail)
    return Outputs(residual if read == "residual" else found, residual, {place: after[place] for place in blocks})


def _read_of(found: Float[Tensor, "prompts positions units"], tail: Tail) -> Float[Tensor, "prompts points units"]:
    """Of every point the position that is read."""
    return found[:, tail.read :: tail.length]


def run_norm_only(
    model: LoadedModel, points: Float[Tensor, "prompts points width"], read: Read, *, as_tuple: bool
) -> Float[Tensor, "prompts points units"]:
    """The read of points that stand where the last block's output stands: what comes after the blocks, and no block."""
    return run_from_layer(model, points[:, :0], points, model.depth, read, as_tuple=as_tuple).read


_ACTIVATIONS = ("torch.nn.modules.activation", "transformers.activations")


def activation_functions(model: LoadedModel, layer: int) -> list[nn.Module]:
    """The activation function of every block after `layer`, found by structure; its input is the gates' pre-activation.

    It is `gate_proj`'s output in gated blocks (Llama and its kin), and the pre-activation itself in plain ones
    (GPT-2, GPT-NeoX). Raises `MeasureError` for a block that has none, or several.
    """
    if layer == model.depth:
        raise MeasureError(f"layer={layer}: {model.name} has no block after its last, so no gates; patch earlier.")
    found = []
    for number, block in enumerate(model.block_list[layer:], layer + 1):
        inside = [module for module in block.modules() if type(module).__module__ in _ACTIVATIONS]
        if len(inside) != 1:
            names = ", ".join(type(module).__name__ for module in inside) or "none"
            raise MeasureError(
                f"{model.name}: looked for one activation function in block {number}, whose input is the gates' "
                f"pre-activation, found {names}. Gate crossings can be counted in blocks with exactly one."
            )
        if inside[0] in found:
            raise MeasureError(
                f"{model.name}: block {number} has its activation function from a block before it, and gates of the "
                "two cannot be told apart. Gate crossings can be counted in blocks with one of their own."
            )
        found.append(inside[0])
    return found


def gate_counts(model: LoadedModel, layer: int) -> list[int]:
    """Gates of every block after `layer`, from one forward of two tokens.

    Raises as `activation_functions` does, and where one is not run once at every position.
    """
    with gate_signs(model, layer) as kept, as_measured(model.network, tf32=model.tf32):
        model.network(input_ids=torch.zeros(1, 2, dtype=torch.long, device=model.device), use_cache=False)
    shapes = [tuple(signs.shape) for signs in kept]
    if len(shapes) != model.depth - layer or any(len(shape) != 3 or shape[:2] != (1, 2) for shape in shapes):
        raise MeasureError(
            f"{model.name}: looked for the gates' pre-activations of each position, once in each of "
            f"{model.depth - layer} blocks; the activation functions were given {len(shapes)} tensors for 2 positions, "
            f"of shapes {', '.join(map(str, dict.fromkeys(shapes))) or 'none'}. Gate crossings can be counted in "
            "blocks with one plain MLP."
        )
    return [shape[-1] for shape in shapes]


@contextmanager
def gate_signs(model: LoadedModel, layer: int) -> Iterator[list[Tensor]]:
    """Collects, block after block, where gates' pre-activations are positive: bool, (prompts, positions, gates)."""
    kept: list[Tensor] = []
    functions = activation_functions(model, layer)
    hooks = [function.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0] > 0)) for function in functions]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()
