"""Holds what a block returns against the hidden states that the model itself tells of, in a forward made anyway."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from measure.core import forward
from measure.models.loading import LoadedModel
from measure.spec import MeasureError

# Hidden states that a forward may keep for this, in bytes.
MOST_BYTES = 2**28
# Tokens of a prompt whose states would be more.
FEW_TOKENS = 10


@dataclass(eq=False)
class _Seen:
    """What passed in a forward: which blocks, what one returned before and after hooks on it, and what tells of it."""

    ran: list[nn.Module] = field(default_factory=list)
    returned: list[Tensor] = field(default_factory=list)
    hooked: list[Tensor] = field(default_factory=list)
    # What the first block and the next one were given.
    first: list[Any] = field(default_factory=list)
    following: list[Any] = field(default_factory=list)
    told: Sequence[Tensor] | None = None


def fits(model: LoadedModel, rows: Tensor) -> bool:
    """Whether the hidden states of a forward of so many tokens can be kept."""
    return rows.numel() * (model.depth + 1) * model.embedding.shape[-1] * model.dtype.itemsize <= MOST_BYTES


@contextmanager
def held(model: LoadedModel, layer: int) -> Iterator[None]:
    """One plain forward inside, which may be patched at its last position after `layer` blocks.

    Raises `MeasureError` at its end where what block `layer` returns is not the hidden state after `layer` blocks.
    What the last block returns is told after the final norm: there the block before it is looked at.
    """
    place = min(layer, model.depth - 1)
    if place == 0:
        yield
        return
    seen = _Seen()
    with _hooks_as_found(model.network):
        _watch(model, place, seen)
        yield
    _check(model, place, seen)


def _watch(model: LoadedModel, place: int, seen: _Seen) -> None:
    blocks = model.block_list

    def ask(_module: nn.Module, inputs: Any, options: dict[str, Any]) -> Any:
        return inputs, {**options, "output_hidden_states": True}

    def tell(_module: nn.Module, _inputs: Any, output: Any) -> None:
        seen.told = getattr(output, "hidden_states", None) or seen.told

    def given(kept: list[Any]) -> Any:
        def hook(_module: nn.Module, inputs: Any, options: dict[str, Any]) -> None:
            kept.append(inputs[0] if inputs else options.get("hidden_states"))

        return hook

    def returned(kept: list[Tensor]) -> Any:
        return lambda _module, _inputs, output: kept.append(forward.states_of(output))

    # For logits the one is called, for other reads the other.
    for module in (model.base, model.network):
        if _takes_hidden_states(module):
            module.register_forward_pre_hook(ask, with_kwargs=True)
            module.register_forward_hook(tell)
    for block in dict.fromkeys(blocks):
        block.register_forward_pre_hook(lambda module, _: seen.ran.append(module))
    blocks[0].register_forward_pre_hook(given(seen.first), with_kwargs=True)
    blocks[place].register_forward_pre_hook(given(seen.following), with_kwargs=True)
    blocks[place - 1].register_forward_hook(returned(seen.returned), prepend=True)
    blocks[place - 1].register_forward_hook(returned(seen.hooked))


def _takes_hidden_states(module: nn.Module) -> bool:
    options = inspect.signature(module.forward).parameters.values()
    return any(option.name == "output_hidden_states" or option.kind is option.VAR_KEYWORD for option in options)


@contextmanager
def _hooks_as_found(network: nn.Module) -> Iterator[None]:
    """Takes away every hook that is put on inside: ours, and those that transformers hangs on a model it asks."""
    kinds = ("_forward_hooks", "_forward_pre_hooks")
    found = {module: [set(getattr(module, kind)) for kind in kinds] for module in network.modules()}
    marked = {module for module in found if _MARK in vars(module)}
    try:
        yield
    finally:
        for module, before in found.items():
            for kind, numbers in zip(kinds, before, strict=True):
                for number in set(getattr(module, kind)) - numbers:
                    for name in (kind, f"{kind}_with_kwargs", f"{kind}_always_called"):
                        getattr(module, name, {}).pop(number, None)
            if module not in marked:
                vars(module).pop(_MARK, None)


# Where transformers notes that its hooks are on.
_MARK = "_output_capturing_hooks_installed"


def _check(model: LoadedModel, place: int, seen: _Seen) -> None:
    ran = _places(model, seen.ran)
    for number in (place, model.depth):
        if number not in ran:
            raise MeasureError(
                f"{model.name}: block {number} of {model.depth} does not run in a plain forward of token ids, so that "
                "there is no state after it. Patch another block, of a model that runs its last."
            )
    turn = forward.turn_of(model, place)
    states = [seen.returned[turn], seen.hooked[turn]]
    after = next(iter(seen.following[forward.turn_of(model, place + 1) :]), None)
    if not any(_alike(state, other, after) for state in states for other in _told(seen, ran.index(place) + 1, after)):
        raise MeasureError(
            f"{model.name}: what block {place} returns is not the hidden state that the model tells after {place} "
            "blocks, so that the place to patch is not known. Only decoders whose blocks return the residual stream "
            "can be measured."
        )


def _places(model: LoadedModel, ran: Sequence[nn.Module]) -> list[int]:
    """Which blocks ran, counted from 1. Raises `MeasureError` where they did not in turn, each once at most."""
    blocks, found = list(model.block_list), [0]
    for module in ran:
        place = next((place for place in range(found[-1], len(blocks)) if blocks[place] is module), None)
        if place is None:
            raise MeasureError(
                f"{model.name}: its {len(blocks)} blocks run {len(ran)} times in a forward, and not in turn; expected "
                "each to run once, so that there is one state after it. Only such decoders can be measured."
            )
        found.append(place + 1)
    return found[1:]


def _told(seen: _Seen, place: int, after: Any) -> list[Any]:
    """The state after `place` blocks, by the model itself; by what its next block is given where it tells nothing."""
    if not seen.told:
        return [after]
    # Some leave out the state before the first block.
    begins = any(_equal(seen.told[0], state) for state in seen.first[:1])
    places = [place] if begins else [place, place - 1]
    return [seen.told[number] for number in places if number < len(seen.told)]


def _alike(state: Tensor, told: Any, after: Any) -> bool:
    """Whether two states are one, whatever was patched in at the last position."""
    if not isinstance(told, Tensor) or told.shape != state.shape:
        return False
    if state.shape[1] > 1:
        return torch.equal(state[:, :-1], told[:, :-1])
    return torch.equal(state, told) or _equal(told, after)


def _equal(state: Tensor, other: Any) -> bool:
    return isinstance(other, Tensor) and state.shape == other.shape and torch.equal(state, other)
