"""Run points in the contexts of their prompts, by the fast path or by the reference path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from measure.core import batches, forward, kernels, parts, prefixes, reference
from measure.core.forward import LAST, Tail
from measure.core.prefixes import KeysValues
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Prompt
from measure.spec import MeasureError, Read, block_of

Path = Literal["fast", "reference"]

# What came out at points, by read: (prompts, points, units).
Found = dict[Read, Float[Tensor, "prompts points units"]]


@dataclass(frozen=True, eq=False)
class Contexts:
    """States after the patched block of some prompts, (tokens, width) each, and how the model's blocks hand them on.

    `kept` holds keys and values of all blocks, where several layers share them: for each prompt, in which row of what.
    """

    states: dict[Prompt, Float[Tensor, "tokens width"]]
    as_tuple: bool
    kept: Mapping[Prompt, tuple[KeysValues, int]] = field(default_factory=dict)

    def last(self, prompts: Sequence[Prompt]) -> Float[Tensor, "prompts width"]:
        """States at the last position of each prompt."""
        return torch.stack([self.states[prompt][-1] for prompt in prompts])

    def earlier(self, prompts: Sequence[Prompt], tail: Tail = LAST) -> Float[Tensor, "prompts earlier width"]:
        """States at the positions before the patched one, of prompts of one length."""
        return torch.stack([self.states[prompt][: -tail.length] for prompt in prompts])

    def kept_before(self, prompts: Sequence[Prompt], tokens: int) -> KeysValues | None:
        """Keys and values at the first `tokens` positions of each prompt; None unless they are kept of all."""
        if not tokens or any(prompt not in self.kept for prompt in prompts):
            return None
        return prefixes.gathered([self.kept[prompt] for prompt in prompts], tokens)

    def patched(self, prompts: Sequence[Prompt], tail: Tail) -> Float[Tensor, "prompts *length width"]:
        """States at the patched position of each prompt; with `tail.every` at all of them, (prompts, length, width)."""
        return torch.stack(
            [
                self.states[prompt][-tail.length :] if tail.every else self.states[prompt][-tail.length]
                for prompt in prompts
            ]
        )


def contexts(
    model: LoadedModel, prompts: Iterable[Prompt], layer: int, path: Path, before: Contexts | None = None
) -> Contexts:
    """States after `layer` blocks of every distinct prompt, each run once; the fast path runs a length together.

    Those that `before` holds are taken from there: chained pairs share a prompt with the pairs before them.
    """
    wanted = dict.fromkeys(prompts)
    held = before.states if before is not None else {}
    found: dict[Prompt, Tensor] = {prompt: held[prompt] for prompt in wanted if prompt in held}
    distinct = [prompt for prompt in wanted if prompt not in found]
    if path == "reference":
        for prompt in distinct:
            found[prompt] = reference.reference_states(model, torch.tensor(prompt, device=model.device), layer)
        return Contexts(found, as_tuple=False)
    by_length: dict[int, list[Prompt]] = defaultdict(list)
    for prompt in distinct:
        by_length[len(prompt)].append(prompt)
    as_tuple = before is not None and before.as_tuple
    for group in by_length.values():
        boundary = forward.run_to_layer(model, torch.tensor(group, device=model.device), layer)
        found.update(zip(group, boundary.states, strict=True))
        as_tuple = boundary.as_tuple
    return Contexts(found, as_tuple)


def several_contexts(
    model: LoadedModel,
    prompts: Iterable[Prompt],
    layers: Sequence[int],
    path: Path,
    before: Mapping[int, Contexts],
    *,
    keep: Collection[Prompt] = (),
) -> dict[int, Contexts]:
    """`contexts` after each of some layers; the fast path runs each prompt once for all of them.

    To `keep` their keys and values some run through all blocks, where that can be done.
    """
    wanted = list(dict.fromkeys(prompts))
    if path == "reference":
        return {layer: contexts(model, wanted, layer, path, before.get(layer)) for layer in layers}
    held = {layer: before[layer].states if layer in before else {} for layer in layers}
    states = {layer: {prompt: held[layer][prompt] for prompt in wanted if prompt in held[layer]} for layer in layers}
    was = before[layers[0]].kept if layers[0] in before else {}
    kept = {prompt: was[prompt] for prompt in wanted if prompt in was}
    by_length: dict[tuple[int, bool], list[Prompt]] = defaultdict(list)
    for prompt in wanted:
        if prompt not in states[layers[0]] or (prompt in keep and prompt not in kept):
            by_length[len(prompt), prompt in keep].append(prompt)
    as_tuple = {layer: layer in before and before[layer].as_tuple for layer in layers}
    for (_, all_blocks), group in by_length.items():
        ids = torch.tensor(group, device=model.device)
        for layer, boundary in forward.run_to_layers(model, ids, layers, keep=all_blocks).items():
            states[layer].update(zip(group, boundary.states, strict=True))
            as_tuple[layer] = boundary.as_tuple
            if boundary.kept is not None:
                kept |= {prompt: (boundary.kept, row) for row, prompt in enumerate(group)}
    return {layer: Contexts(states[layer], as_tuple[layer], kept) for layer in layers}


def outputs(
    model: LoadedModel,
    known: Contexts,
    prompts: Sequence[Prompt],
    points: Float[Tensor, "prompts points *length width"],
    layer: int,
    reads: Sequence[Read],
    path: Path,
    tail: Tail = LAST,
) -> Found:
    """What comes out when each prompt's last position is overwritten by each of its points after `layer` blocks.

    One tensor (prompts, points, units) for each of `reads`, and the residual state in any case. The fast path takes
    prompts of one length and runs its blocks once for all reads. `tail` tells of another position, or several: then a
    point is a state for each of those that are patched.
    """
    if path == "fast":
        blocks = {read: place for read in reads if (place := block_of(read)) is not None}
        others = [read for read in reads if read not in blocks]
        direct = others[0] if len(others) == 1 else "residual"
        earlier = known.earlier(prompts, tail)
        run = _in_tail(known, prompts, points, tail)
        rows = min(points.shape[1], batches.rows_of(run.shape[1], earlier.shape[1], run.shape[2]))
        alone = len(prompts) * rows * tail.length == 1
        more = kernels.padding(earlier.shape[1] + points.shape[1], points) if alone else 0
        cut = batches.in_rows(run.reshape(len(run), -1, tail.length * run.shape[2]), rows, more)
        kept = known.kept_before([prompt for prompt in prompts for _ in range(rows)], earlier.shape[1])
        with parts.frozen([prompt for prompt in prompts for _ in range(rows)], tail.length, cut.shape[1]):
            out = forward.run_from_layer(
                model,
                earlier.repeat_interleave(rows, 0),
                cut.reshape(len(cut), -1, run.shape[2]),
                layer,
                direct,
                as_tuple=known.as_tuple,
                blocks=tuple(blocks.values()),
                tail=tail,
                **({} if kept is None else {"kept": kept}),
            )
        residual = batches.together(out.residual, *points.shape[:2])
        found: Found = {"residual": residual, direct: batches.together(out.read, *points.shape[:2])}
        found |= {read: batches.together(out.blocks[place], *points.shape[:2]) for read, place in blocks.items()}
        return found | {read: norm_only(model, residual, read, known, path) for read in reads if read not in found}
    wanted: list[Read] = list(dict.fromkeys((*reads, "residual")))
    rows_found = [
        _reference_row(model, prompt, row, layer, wanted, tail) for prompt, row in zip(prompts, points, strict=True)
    ]
    return {read: torch.stack([row[read] for row in rows_found]) for read in wanted}


def _in_tail(
    known: Contexts, prompts: Sequence[Prompt], points: Float[Tensor, "prompts points *length width"], tail: Tail
) -> Float[Tensor, "prompts positions width"]:
    """Every position that runs for each point: those patched, and those behind them as A's clean run has them."""
    if tail.length == 1 or tail.every:
        return points.reshape(len(points), -1, points.shape[-1])
    later = torch.stack([known.states[prompt][1 - tail.length :] for prompt in prompts])
    behind = later[:, None].expand(-1, points.shape[1], -1, -1)
    return torch.cat([points[:, :, None], behind], dim=2).flatten(1, 2)


def _reference_row(
    model: LoadedModel,
    prompt: Prompt,
    points: Float[Tensor, "points *length width"],
    layer: int,
    reads: Sequence[Read],
    tail: Tail = LAST,
) -> dict[Read, Float[Tensor, "points units"]]:
    ids = torch.tensor(prompt, device=model.device)
    with parts.frozen([prompt]):
        found = [reference.reference_reads(model, ids, point, layer, reads, tail) for point in points]
    return {read: torch.stack([one[read] for one in found]) for read in reads}


def norm_only(
    model: LoadedModel, residual: Float[Tensor, "prompts points width"], read: Read, known: Contexts, path: Path
) -> Float[Tensor, "prompts points units"]:
    """The read of residual states that stand where the last block's output stands: no block runs."""
    if path == "fast":
        # Each point as a prompt of its own: in one prompt they would stand under a mask of the square of their number.
        alone = residual.flatten(0, 1)[:, None]
        return forward.run_norm_only(model, alone, read, as_tuple=known.as_tuple).view(*residual.shape[:2], -1)
    prompt = next(iter(known.states))
    return torch.stack([_reference_row(model, prompt, row, model.depth, [read])[read] for row in residual])


def top_tokens(
    model: LoadedModel, residual: Float[Tensor, "points width"], known: Contexts, path: Path
) -> Int[np.ndarray, " points"]:
    """The most probable next token at each final residual state; logits of a part of the points at a time."""
    size = max(1, batches.LOGIT_VALUES // model.vocabulary)
    parts = [norm_only(model, part[None], "logits", known, path)[0].max(-1) for part in torch.split(residual, size)]
    if not all(torch.isfinite(part.values).all() for part in parts):
        raise MeasureError(
            f"{model.name}: logits are NaN or infinity, so that no token is the most probable; take a wider precision, "
            "such as 'float32', or restore the checkpoint."
        )
    return torch.cat([part.indices for part in parts]).cpu().numpy()


def from_start(read: Float[Tensor, "prompts points units"]) -> Float[np.ndarray, "prompts points"]:
    """Distance of every point's read from the first point's own, so that d(0) is exactly 0."""
    return distances(read, read[:, :1])


def distances(
    read: Float[Tensor, "prompts points units"], reference: Float[Tensor, "prompts others units"]
) -> Float[np.ndarray, "prompts points"]:
    """Euclidean distance between reads, float64."""
    return norms(read - reference)


def norms(read: Float[Tensor, "*points units"]) -> Float[np.ndarray, "*points"]:
    """Euclidean norm of reads, float64.

    Summed in float32, or in float64 if that is what the read is in: over 2,048 units that is 2e-7 off at worst, and six
    times as fast as a sum in float64.
    """
    exact = torch.float64 if read.dtype == torch.float64 else torch.float32
    return torch.linalg.vector_norm(read, dim=-1, dtype=exact).double().cpu().numpy()
