"""Spec in, result out: one function per kind. Decides what is run, not how (`forward`) or when (`engine`)."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from measure import catalog, forward, paths, prompts
from measure.models import LoadedModel, adopt, as_measured, load
from measure.prompts import Pairs, Prompt
from measure.results import Curves
from measure.spec import (
    PRECISIONS,
    READS,
    CurveSpec,
    MeasureError,
    Precision,
    Read,
    check_choice,
    check_integer,
    check_steps,
)

# Logits of one forward held at a time, in numbers: 256 MB in float32.
LOGIT_VALUES = 2**26

# How far d may differ between the two paths, relative to ||F(A)||: rounding, no more.
AGREEMENT = {torch.float64: 1e-5, torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 5e-3}

PromptsInput = str | Sequence[str] | Sequence[Sequence[int]] | np.ndarray | Tensor


def interpolate(
    model: Any,
    prompts_a: PromptsInput,
    prompts_b: PromptsInput,
    *,
    layer: int = 1,
    read: Read = "final_norm",
    steps: int = 50,
    bos: bool = False,
    tokenizer: Any = None,
    precision: Precision = "float32",
) -> Curves:
    """Distance of the output from p_A's clean run while the residual stream goes from A to B (paper, section 3).

    A and B are the residual-stream states after `layer` blocks (counted from 1) at the last position of prompts A
    and B; in p_A's context the state X(alpha) = A + alpha (B - A) is patched in at the last position, and
    d(alpha) = ||F(A) - F(X(alpha))|| is taken on what `read` names, there: `final_norm` (after the final norm, what
    the authors' code reads), `residual` (before it) or `logits`. Distances are in the units of the read.

    `model`: a catalog name, a Hugging Face folder or a hub id, each with an optional `@revision`, or a loaded
    Hugging Face causal language model, which is measured on its own device and in its own dtype and left as found.
    `prompts_a`, `prompts_b`: strings, or token ids of shape (pairs, tokens); one bare string is one pair. Lengths
    may differ, also within a pair. Strings get no special tokens unless `bos`, which puts the BOS in front.
    `layer` equal to the number of blocks is allowed: with `read="residual"` r is then exactly alpha.

    Returns `Curves` with `.distance` and `.relative` of shape (pairs, steps).
    Raises `MeasureError` (a ValueError) for input that cannot be measured; the message says what to change.
    """
    check_choice("read", read, READS)
    check_choice("precision", precision, PRECISIONS)
    layer, steps, bos = check_integer("layer", layer), check_integer("steps", steps), bool(bos)
    check_steps(steps)
    if isinstance(model, str | os.PathLike):
        loaded = load(os.fspath(model), precision=precision)
    else:
        loaded = adopt(model, tokenizer, precision)
    text = tokenizer or loaded.tokenizer
    a = _token_ids("prompts_a", prompts_a, text, bos, loaded)
    b = _token_ids("prompts_b", prompts_b, text, bos, loaded)
    if len(a) != len(b):
        raise MeasureError(
            f"{len(a)} prompts in prompts_a against {len(b)} in prompts_b; a pair takes one of each, so give as many."
        )
    pairs = Pairs(a, b, prompts.independent_units(a, b))
    return curves(loaded, pairs, layer=layer, read=read, steps=steps, origin={"bos": bos})


def measure_spec(spec: CurveSpec, model: LoadedModel, pairs: Pairs, *, origin: dict[str, Any]) -> Curves:
    """The curves that `spec` describes, on a model already loaded for it and pairs already drawn for it."""
    details = {"spec": dataclasses.asdict(spec), **origin}
    return curves(model, pairs, layer=spec.layer, read=spec.read, steps=spec.steps, origin=details)


def curves(model: LoadedModel, pairs: Pairs, *, layer: int, read: Read, steps: int, origin: dict[str, Any]) -> Curves:
    """Curves of every pair, by the fast path where it gives what the reference path gives, else by the reference path.

    `origin` is added to the provenance, which says which path it was, and why if it was the slow one.
    Raises `MeasureError` when the model has no such layer, does not read from left to right, or is a catalogued one
    on which the two paths ought to agree and do not.
    """
    _check_layer(model, layer)
    if (doubt := _doubt(model, pairs, layer, read, steps)) is None:
        return fast_curves(model, pairs, layer=layer, read=read, steps=steps, origin=origin)
    if model.source in ("ladder", "hub") and model.name in catalog.models():
        raise MeasureError(
            f"{doubt}, and {model.name} is of a family that the fast path is known to fit: the measuring code, torch "
            "or transformers is broken here. Run the tests of measure/forward.py."
        )
    return reference_curves(model, pairs, layer=layer, read=read, steps=steps, origin={**origin, "path_reason": doubt})


def fast_curves(
    model: LoadedModel,
    pairs: Pairs,
    *,
    layer: int,
    read: Read,
    steps: int,
    origin: dict[str, Any],
    chunk: int = forward.CHUNK_POSITIONS,
) -> Curves:
    """The curves by the fast path, `chunk` positions to a forward; the result does not depend on `chunk`."""
    alphas = paths.alphas(steps)
    found = _Distances.empty(len(pairs), steps)
    with as_measured(model.network):
        for rows in _chunks(model, pairs, steps, read, chunk):
            part = [pairs.a[i] for i in rows], [pairs.b[i] for i in rows]
            found.fill(rows, _fast_distances(model, *part, alphas, layer, read))
    return _curves(model, pairs, alphas, found, {"layer": layer, "read": read, "path": "fast", **origin})


def _doubt(model: LoadedModel, pairs: Pairs, layer: int, read: Read, steps: int) -> str | None:
    """Why the fast path is not to be trusted with this model and prompts; None when it agrees with the reference.

    Compared on a pair with the longest context, and one as long beside it, at the first, middle and last alpha; a
    model that passed is not asked again for prompts as long or shorter.
    """
    tokens = max(map(len, pairs.a))
    if model.verified.get((layer, read), 0) >= tokens + steps:
        return None
    rows = [row for row in range(len(pairs)) if len(pairs.a[row]) == tokens][:2]
    alphas = paths.alphas(steps)
    some = [0, steps // 2, steps - 1]
    with as_measured(model.network):
        _check_causal(model, pairs.a[rows[0]], layer)
        expected = [_reference_distances(model, pairs.a[r], pairs.b[r], alphas[some], layer, read) for r in rows]
        try:
            found = _fast_distances(model, [pairs.a[r] for r in rows], [pairs.b[r] for r in rows], alphas, layer, read)
        except Exception as error:  # whatever a model unlike those we know may raise
            return f"the fast path failed: {error!r}"
    for place, reference in enumerate(expected):
        difference = float(np.abs(found.curve[place, some] - reference.curve[0]).max()) / float(reference.norm[0])
        if not difference <= AGREEMENT[model.dtype]:
            return f"the fast path differs from the reference by {difference:.2g} of ||F(A)||"
    model.verified[layer, read] = tokens + steps
    return None


def _check_causal(model: LoadedModel, prompt: Prompt, layer: int) -> None:
    """Raise `MeasureError` when changing the last token changes what stands before it."""
    if len(prompt) < 2:
        return
    other = (*prompt[:-1], (prompt[-1] + 1) % model.vocabulary)
    states = [forward.reference_states(model, torch.tensor(ids, device=model.device), layer) for ids in (prompt, other)]
    moved = float((states[0][:-1] - states[1][:-1]).abs().max())
    if moved > AGREEMENT[model.dtype] * float(states[0].abs().max()):
        raise MeasureError(
            f"{model.name} does not read from left to right: its last token changes the states before it, so that "
            "patching the last position alone has no meaning. Only causal language models can be measured."
        )


def reference_curves(
    model: LoadedModel, pairs: Pairs, *, layer: int, read: Read, steps: int, origin: dict[str, Any]
) -> Curves:
    """The same curves by the reference path: one plain full forward for every alpha of every pair."""
    _check_layer(model, layer)
    alphas = paths.alphas(steps)
    found = _Distances.empty(len(pairs), steps)
    with as_measured(model.network):
        for row, (prompt_a, prompt_b) in enumerate(zip(pairs.a, pairs.b, strict=True)):
            found.fill([row], _reference_distances(model, prompt_a, prompt_b, alphas, layer, read))
    return _curves(model, pairs, alphas, found, {"layer": layer, "read": read, "path": "reference", **origin})


def _reference_distances(
    model: LoadedModel, prompt_a: Prompt, prompt_b: Prompt, alphas: np.ndarray, layer: int, read: Read
) -> _Distances:
    ids_a, ids_b = (torch.tensor(prompt, device=model.device) for prompt in (prompt_a, prompt_b))
    a, b = (forward.reference_states(model, ids, layer)[-1:] for ids in (ids_a, ids_b))
    points = paths.segment(a, b, alphas)[0]
    outputs = [forward.reference_read(model, ids_a, x, layer, read) for x in points]
    ends = [forward.reference_read(model, ids_a, x, layer, "residual")[None] for x in (points[0], points[-1])]
    line = paths.segment(ends[0], ends[1], alphas)[0]
    null = [forward.reference_read(model, ids_a, x, model.depth, read) for x in line]
    return _Distances.of(torch.stack(outputs)[None], torch.stack(null)[None])


@dataclass(frozen=True, eq=False)
class _Distances:
    """Distances reduced from outputs: `curve` and `null` (pairs, steps), and ||F(A)||, `norm` (pairs,)."""

    curve: np.ndarray
    null: np.ndarray
    norm: np.ndarray

    @classmethod
    def empty(cls, pairs: int, steps: int) -> _Distances:
        return cls(np.empty((pairs, steps)), np.empty((pairs, steps)), np.empty(pairs))

    @classmethod
    def of(cls, outputs: Float[Tensor, "pairs steps units"], null: Float[Tensor, "pairs steps units"]) -> _Distances:
        norm = torch.linalg.vector_norm(outputs[:, 0], dim=-1, dtype=torch.float64).cpu().numpy()
        return cls(_from_start(outputs), _from_start(null), norm)

    def fill(self, rows: list[int], part: _Distances) -> None:
        self.curve[rows], self.null[rows], self.norm[rows] = part.curve, part.null, part.norm


def _from_start(outputs: Float[Tensor, "pairs steps units"]) -> Float[np.ndarray, "pairs steps"]:
    """d(alpha) from the alpha = 0 point itself, so that d(0) is exactly 0; the norm is summed in float64."""
    return torch.linalg.vector_norm(outputs - outputs[:, :1], dim=-1, dtype=torch.float64).cpu().numpy()


def _fast_distances(
    model: LoadedModel, a: Sequence[Prompt], b: Sequence[Prompt], alphas: np.ndarray, layer: int, read: Read
) -> _Distances:
    """Distances at every alpha of pairs whose A prompts are equally long."""
    boundaries = _boundaries(model, dict.fromkeys((*a, *b)), layer)
    states = {prompt: state for prompt, (state, _) in boundaries.items()}
    as_tuple = boundaries[a[0]][1]
    points = paths.segment(
        torch.stack([states[prompt][-1] for prompt in a]), torch.stack([states[prompt][-1] for prompt in b]), alphas
    )
    earlier = torch.stack([states[prompt][:-1] for prompt in a])
    outputs = forward.run_from_layer(model, earlier, points, layer, read, as_tuple=as_tuple)
    line = paths.segment(outputs.residual[:, 0], outputs.residual[:, -1], alphas)
    return _Distances.of(outputs.read, forward.run_norm_only(model, line, read, as_tuple=as_tuple))


def _boundaries(
    model: LoadedModel, distinct: Iterable[Prompt], layer: int
) -> dict[Prompt, tuple[Float[Tensor, "tokens width"], bool]]:
    """States after `layer` blocks of every distinct prompt, each run once, prompts of one length together."""
    by_length: dict[int, list[Prompt]] = defaultdict(list)
    for prompt in distinct:
        by_length[len(prompt)].append(prompt)
    found: dict[Prompt, tuple[Tensor, bool]] = {}
    for group in by_length.values():
        boundary = forward.run_to_layer(model, torch.tensor(group, device=model.device), layer)
        found.update((prompt, (state, boundary.as_tuple)) for prompt, state in zip(group, boundary.states, strict=True))
    return found


def _chunks(model: LoadedModel, pairs: Pairs, steps: int, read: Read, chunk: int) -> Iterator[list[int]]:
    """Rows to run together: A prompts of one length, at most `chunk` positions to a forward (one pair at least)."""
    positions = min(chunk, LOGIT_VALUES // model.vocabulary) if read == "logits" else chunk
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, (a, b) in enumerate(zip(pairs.a, pairs.b, strict=True)):
        groups[len(a), len(b)].append(row)
    for (a_tokens, b_tokens), rows in groups.items():
        size = max(1, positions // max(a_tokens - 1 + steps, a_tokens + b_tokens))
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


def _curves(
    model: LoadedModel,
    pairs: Pairs,
    alphas: np.ndarray,
    found: _Distances,
    details: dict[str, Any],
) -> Curves:
    provenance = {
        "model": model.name,
        "revision": model.revision,
        "weights": model.weights,
        "weights_sha256": model.sha256,
        "config_sha256": model.config_sha256,
        "card": model.card,
        "prompts_sha256": pairs.sha256,
        **details,
        **environment(model),
    }
    return Curves(alphas, found.curve, found.null, found.norm, np.array(pairs.units), provenance)


def environment(model: LoadedModel) -> dict[str, str]:
    """What the numbers were computed with: versions, device, dtype."""
    device = model.device
    return {
        "measure": metadata.version("stable-regions"),
        "torch": torch.__version__,
        "transformers": metadata.version("transformers"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type} {platform.machine()}",
        "dtype": str(model.dtype).removeprefix("torch."),
    }


def _check_layer(model: LoadedModel, layer: int) -> None:
    if not 1 <= layer <= model.depth:
        raise MeasureError(
            f"layer={layer}: {model.name} has {model.depth} blocks; layers are counted from 1 "
            f"('after the first layer' is layer=1), so choose 1 to {model.depth}."
        )


def _token_ids(name: str, given: PromptsInput, tokenizer: Any, bos: bool, model: LoadedModel) -> tuple[Prompt, ...]:
    """Strings or token ids as checked token ids."""
    if isinstance(given, str):
        given = [given]
    if isinstance(given, Mapping) or not isinstance(given, Iterable) or getattr(given, "ndim", 1) == 0:
        raise MeasureError(
            f"{name} is a {type(given).__name__}; expected a string, a list of strings, or token ids of shape "
            "(pairs, tokens), such as the input_ids of a tokenizer's output."
        )
    rows = list(given)
    if not rows:
        raise MeasureError(f"{name} is empty; give at least one prompt.")
    if all(isinstance(row, str) for row in rows):
        if tokenizer is None:
            raise MeasureError(
                f"{name} holds strings and the model came without a tokenizer; pass tokenizer= or token ids."
            )
        ids = prompts.tokenize(tokenizer, rows, bos=bos)
    elif bos:
        raise MeasureError(f"bos=True is for strings; {name} holds token ids: put the BOS id into them.")
    else:
        ids = tuple(_as_prompt(name, row) for row in rows)
    for position, prompt in enumerate(ids):
        _check_prompt(f"{name}[{position}]", prompt, rows[position], model)
    return ids


def _as_prompt(name: str, row: Any) -> Prompt:
    try:
        values = np.asarray(row)
    except ValueError:  # nested lists of unequal lengths
        values = np.empty((0, 0))
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
        raise MeasureError(
            f"{name} holds {row!r}; expected strings, or token ids of shape (pairs, tokens): "
            "one list of integers a prompt."
        )
    return tuple(values.tolist())


def _check_prompt(name: str, prompt: Prompt, given: Any, model: LoadedModel) -> None:
    if not prompt:
        raise MeasureError(f"{name} is {given!r}, which has no tokens; a prompt needs at least one.")
    wrong = [token for token in prompt if not 0 <= token < model.vocabulary]
    if wrong:
        raise MeasureError(
            f"{name} has token id {wrong[0]}; {model.name} knows ids 0 to {model.vocabulary - 1}. "
            "Was it tokenized for another model?"
        )
    if model.context is not None and len(prompt) > model.context:
        raise MeasureError(
            f"{name} has {len(prompt)} tokens; the context of {model.name} is {model.context}. Shorten it."
        )
