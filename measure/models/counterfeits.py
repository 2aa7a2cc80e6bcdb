"""Models that look like the trained one and have nothing of what it learnt: what claims on trained weights refute.

A kind that ends in `_after_LAYER` changes the blocks after that layer alone, so that A and B stay what they were. Each
takes a seed and draws with a generator of its own; one seed always makes the same model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from measure.spec import AFTER, MeasureError

_Change = Callable[[Tensor, torch.Generator], Tensor]
# What the matrix that leads out of a block's MLP is called: Llama and its like, GPT-2, Phi and OPT, GPT-NeoX, GPT-J.
_MLP_OUT = ("down_proj", "c_proj", "fc2", "dense_4h_to_h", "fc_out")


@torch.no_grad()
def scramble(network: nn.Module, seed: int) -> None:
    """Shuffle the entries of each weight matrix, the embedding's too: same values, same scales, other A and B."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.copy_(_entries(parameter, generator))


@torch.no_grad()
def change_later(blocks: nn.ModuleList, weights: str) -> None:
    """Make of the blocks after a layer what `weights` names, `KIND_after_LAYER:SEED`.

    Raises `MeasureError` where no block is left to change, blocks share matrices, or they have none of the kind.
    """
    match = AFTER.fullmatch(weights)
    assert match is not None, "the spec has checked it"
    kind, layer, seed = match[1], int(match[2]), int(match[3])
    if not layer < len(blocks):
        raise MeasureError(
            f"weights={weights!r}: this model has {len(blocks)} blocks, so none follows layer {layer}, and there is "
            "nothing to change; patch after an earlier layer."
        )
    _check_not_shared(blocks, layer, weights)
    generator = torch.Generator().manual_seed(seed)
    if kind == "reordered":
        _reorder(blocks, layer, weights, generator)
    elif kind == "neurons":
        _permute_neurons(blocks, layer, weights, generator)
    else:
        of_attention = kind == "attention"
        for name, parameter in _matrices(blocks, layer):
            if not of_attention or "attn" in name or "attention" in name:
                parameter.copy_(_CHANGES[kind](parameter, generator))


def _matrices(blocks: nn.ModuleList, layer: int) -> Iterator[tuple[str, Tensor]]:
    for block in list(blocks)[layer:]:
        yield from ((name, parameter) for name, parameter in block.named_parameters() if parameter.ndim > 1)


def _check_not_shared(blocks: nn.ModuleList, layer: int, weights: str) -> None:
    before = {id(parameter) for block in list(blocks)[:layer] for parameter in block.parameters()}
    for name, parameter in _matrices(blocks, layer):
        if id(parameter) in before:
            raise MeasureError(
                f"weights={weights!r}: {name} is one matrix for blocks before and after layer {layer}; changed after "
                "the patch it would change A and B too. This counterfeit cannot be made of this model."
            )


def _entries(matrix: Tensor, generator: torch.Generator) -> Tensor:
    return matrix.flatten()[torch.randperm(matrix.numel(), generator=generator)].view_as(matrix)


def _within_rows(matrix: Tensor, generator: torch.Generator) -> Tensor:
    return torch.gather(matrix, -1, torch.rand(matrix.shape, generator=generator).argsort(-1))


def _gaussian(matrix: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(matrix.shape, generator=generator)
    return noise * (matrix.float().norm() / noise.norm())


def _same_spectrum(matrix: Tensor, generator: torch.Generator) -> Tensor:
    """Random orthonormal U and V with the matrix's own singular values.

    In float64, so that what threads and libraries do differently is all but gone when the entries are rounded.
    """
    values = torch.linalg.svdvals(matrix.double())
    shape, rank = matrix.shape[:-2], values.shape[-1]
    rows, columns = (
        torch.linalg.qr(torch.randn(*shape, size, rank, generator=generator).double())[0] for size in matrix.shape[-2:]
    )
    return rows * values[..., None, :] @ columns.mT


_CHANGES: dict[str, _Change] = {
    "shuffled": _entries,
    "attention": _entries,
    "rows": _within_rows,
    "gaussian": _gaussian,
    "spectrum": _same_spectrum,
}


def _reorder(blocks: nn.ModuleList, layer: int, weights: str, generator: torch.Generator) -> None:
    """The blocks after `layer` in another order; what a block keeps for its place in the cache goes with the place."""
    later = list(blocks)[layer:]
    if len(later) == 1:
        raise MeasureError(f"weights={weights!r}: one block follows layer {layer}, and one block has no other order.")
    order = own = list(range(len(later)))
    while order == own:
        order = torch.randperm(len(later), generator=generator).tolist()
    for place, chosen in enumerate(order, layer):
        blocks[place] = later[chosen]
        for module in later[chosen].modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = place  # type: ignore[assignment]


def _permute_neurons(blocks: nn.ModuleList, layer: int, weights: str, generator: torch.Generator) -> None:
    """Hand the output of each MLP neuron to another one's outgoing weights."""
    found = [one for block in list(blocks)[layer:] for one in _outgoing(block)]
    if len(found) != len(blocks) - layer:
        raise MeasureError(
            f"weights={weights!r}: looked for one matrix out of each block's MLP, called {', '.join(_MLP_OUT)}, and "
            f"found {len(found)} in {len(blocks) - layer} blocks. This counterfeit cannot be made of this model."
        )
    for matrix, axis in found:
        order = torch.randperm(matrix.shape[axis], generator=generator).to(matrix.device)
        matrix.copy_(matrix.index_select(axis, order))


def _outgoing(block: nn.Module) -> Iterator[tuple[Tensor, int]]:
    """Matrices out of a block's MLP, each with the axis of its neurons."""
    for name, module in block.named_modules():
        *path, last = name.split(".")
        weight: Any = getattr(module, "weight", None)
        if last in _MLP_OUT and weight is not None and weight.ndim == 2 and not any("att" in part for part in path):
            # GPT-2's Conv1D holds its matrix the other way round.
            yield weight, 1 if isinstance(module, nn.Linear) else 0
