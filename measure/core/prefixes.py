"""Keys and values of positions that ran before, for forwards of the positions behind them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(eq=False)
class KeysValues:
    """Keys and values of prompts of one length, by block as transformers numbers them: (prompts, heads, tokens, size).

    Stands where transformers expects a cache, in a forward that fills it; each block is to come once.
    """

    of: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    twice: bool = False
    last: tuple[Any, KeysValues] | None = None

    def update(self, keys: Tensor, values: Tensor, number: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keep what a block has."""
        self.twice |= number in self.of
        self.of[number] = keys, values
        return keys, values

    def get_seq_length(self, *_: Any) -> int:
        """How many positions stand before those that run."""
        return 0

    def get_query_offset(self, *_: Any) -> int:
        """Where the first position stands that runs."""
        return 0

    def get_mask_sizes(self, length: Any, *_: Any) -> tuple[int, int]:
        """How many positions are seen, and from which on."""
        return int(length), 0

    def is_whole(self, ids: Tensor, depth: int) -> bool:
        """Whether each of `depth` blocks, once, has given keys and values of all positions of (prompts, tokens)."""
        sides = [side for both in self.of.values() for side in both]
        shapes = {(side.ndim, side.shape[0], side.shape[2]) for side in sides if side.ndim == 4}
        return not self.twice and len(self.of) == depth and len(sides) == 2 * depth and shapes == {(4, *ids.shape)}


class Behind:
    """Stands where transformers expects a cache: positions that ran before, seen by those that run and not kept."""

    def __init__(self, kept: KeysValues) -> None:
        self.kept = kept
        self.length = next(iter(kept.of.values()))[0].shape[2]

    def update(self, keys: Tensor, values: Tensor, number: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        k, v = self.kept.of[number]
        return torch.cat([k, keys], dim=2), torch.cat([v, values], dim=2)

    def get_seq_length(self, *_: Any) -> int:
        return self.length


def cache_argument(module: nn.Module) -> str:
    """As what a model's forward takes such keys and values: transformers has called it `cache` since 5.24."""
    return "cache" if "cache" in inspect.signature(module.forward).parameters else "past_key_values"


def gathered(places: Sequence[tuple[KeysValues, int]], tokens: int) -> KeysValues:
    """The first `tokens` positions of some prompts, each named by what holds it and its row there.

    The last answer is kept with what holds them: layer after layer asks for the same.
    """
    first = places[0][0]
    asked = tokens, tuple((id(kept), row) for kept, row in places)
    if first.last is None or first.last[0] != asked:
        first.last = asked, _gathered(places, tokens)
    return first.last[1]


def _gathered(places: Sequence[tuple[KeysValues, int]], tokens: int) -> KeysValues:
    first, rows = places[0][0], [row for _, row in places]
    if all(kept is first for kept, _ in places):
        every = rows == list(range(len(next(iter(first.of.values()))[0])))
        chosen = slice(None) if every else rows
        return KeysValues({n: (k[chosen, :, :tokens], v[chosen, :, :tokens]) for n, (k, v) in first.of.items()})
    found = {}
    for number in first.of:
        keys, values = ([kept.of[number][side][row, :, :tokens] for kept, row in places] for side in (0, 1))
        found[number] = torch.stack(keys), torch.stack(values)
    return KeysValues(found)
