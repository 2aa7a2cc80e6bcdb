"""Five ways to measure the same curves, from the authors' to ours. Each returns r, (pairs, steps), read after the norm.

`network` is a transformers causal language model whose blocks are in `network.model.layers`; the patch is after the
first block. The first four use transformers as its users do: nothing of this project's core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from measure.core import measurements, paths
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Pairs

Scheme = Callable[[LoadedModel, Pairs, int], np.ndarray]


@contextmanager
def patched(network: Any, states: Tensor) -> Iterator[None]:
    """The last position after the first block is `states`, one row for each row of the batch."""

    def patch(_: object, __: object, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        hidden[:, -1] = states
        return output

    hook = network.model.layers[0].register_forward_hook(patch)
    try:
        yield
    finally:
        hook.remove()


def relative(distances: Tensor) -> np.ndarray:
    d = distances.double().numpy()
    return d / d[:, -1:]


def _alphas(steps: int) -> Tensor:
    return torch.tensor(paths.alphas(steps), dtype=torch.float32)


def _distance(read: Tensor, clean: Tensor) -> Tensor:
    return torch.linalg.vector_norm(read - clean, dim=-1)


@torch.no_grad()
def authors(model: LoadedModel, pairs: Pairs, steps: int) -> np.ndarray:
    """(a) An alpha at a time, pairs batched: every hidden state kept, logits at every position."""
    network = model.network
    ids_a, ids_b = torch.tensor(pairs.a), torch.tensor(pairs.b)

    def states(ids: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = network(ids, output_hidden_states=True, use_cache=False).hidden_states
        return found

    states_a = states(ids_a)
    a, clean = states_a[1][:, -1].clone(), states_a[-1][:, -1].clone()
    del states_a
    b = states(ids_b)[1][:, -1].clone()
    distances = []
    for alpha in _alphas(steps):
        with patched(network, a + alpha * (b - a)):
            distances.append(_distance(states(ids_a)[-1][:, -1], clean))
    return relative(torch.stack(distances, dim=1))


def _after_first(network: Any, ids: Tensor) -> Tensor:
    """State of the last position after the first block, as a hook gives it; the whole model runs."""
    kept: list[Tensor] = []

    def keep(_: object, __: object, output: Any) -> None:
        kept.append((output[0] if isinstance(output, tuple) else output)[:, -1].clone())

    hook = network.model.layers[0].register_forward_hook(keep)
    try:
        network.model(ids, use_cache=False)
    finally:
        hook.remove()
    return kept[0]


@torch.no_grad()
def competent(model: LoadedModel, pairs: Pairs, steps: int) -> np.ndarray:
    """(b) A pair at a time, all alphas in the batch: every position run, no unembedding."""
    network, rows = model.network, []
    for prompt_a, prompt_b in zip(pairs.a, pairs.b, strict=True):
        ids = torch.tensor([prompt_a])
        a, b = _after_first(network, ids), _after_first(network, torch.tensor([prompt_b]))
        with patched(network, a + _alphas(steps)[:, None] * (b - a)):
            read = network.model(ids.expand(steps, -1), use_cache=False).last_hidden_state[:, -1]
        rows.append(_distance(read, read[:1]))
    return relative(torch.stack(rows))


class _EnoughError(Exception):
    """Ends a forward after the block that was wanted."""


def _first_block_alone(network: Any, ids: Tensor) -> Tensor:
    """State of the last position after the first block; no other block runs."""
    kept: list[Tensor] = []

    def keep(_: object, __: object, output: Any) -> None:
        kept.append((output[0] if isinstance(output, tuple) else output)[:, -1])
        raise _EnoughError

    hook = network.model.layers[0].register_forward_hook(keep)
    try:
        network.model(ids, use_cache=False)
    except _EnoughError:
        pass
    finally:
        hook.remove()
    return kept[0]


def _with_cache(network: Any, ids_a: Tensor, ids_b: Tensor, steps: int) -> Tensor:
    """Distances of pairs of one length: A once, for its state and its prefix's keys and values; B up to the patch; then
    the last token for every alpha.
    """
    pairs = len(ids_a)
    kept: list[Tensor] = []
    hook = network.model.layers[0].register_forward_hook(
        lambda _, __, output: kept.append((output[0] if isinstance(output, tuple) else output)[:, -1].clone())
    )
    try:
        cache = network.model(ids_a, use_cache=True).past_key_values
    finally:
        hook.remove()
    a, b = kept[0], _first_block_alone(network, ids_b)
    cache.crop(-1)
    cache.batch_repeat_interleave(steps)
    points = a[:, None] + _alphas(steps)[None, :, None] * (b - a)[:, None]
    with patched(network, points.flatten(0, 1)):
        last = ids_a[:, -1:].repeat_interleave(steps, dim=0)
        read = network.model(last, past_key_values=cache, use_cache=True).last_hidden_state[:, -1]
    read = read.view(pairs, steps, -1)
    return _distance(read, read[:, :1])


@torch.no_grad()
def expert(model: LoadedModel, pairs: Pairs, steps: int) -> np.ndarray:
    """(c) The prefix cached and repeated over the alphas, the last token alone, no unembedding; a pair a forward."""
    ids = zip(torch.split(torch.tensor(pairs.a), 1), torch.split(torch.tensor(pairs.b), 1), strict=True)
    return relative(torch.cat([_with_cache(model.network, a, b, steps) for a, b in ids]))


@torch.no_grad()
def batched_expert(model: LoadedModel, pairs: Pairs, steps: int) -> np.ndarray:
    """(d) The same with all pairs in one forward: the best that can be written by hand in plain transformers."""
    return relative(_with_cache(model.network, torch.tensor(pairs.a), torch.tensor(pairs.b), steps))


def ours(model: LoadedModel, pairs: Pairs, steps: int) -> np.ndarray:
    """(e) `measure`."""
    return measurements.curves(model, pairs, layer=1, read="final_norm", steps=steps, origin={}).relative


SCHEMES: dict[str, Scheme] = {
    "a authors": authors,
    "b competent": competent,
    "c expert": expert,
    "d batched expert": batched_expert,
    "e ours": ours,
}
