"""Spec in, result out: one function per kind. Decides what is run, not how (`runs`, `forward`) or when (`engine`)."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from measure import forward, paths, prompts, runs
from measure.crossings import Crossings
from measure.forward import Outputs
from measure.inputs import PromptsInput, token_ids
from measure.models import LoadedModel, adopt, as_measured, load
from measure.predictions import Predictions
from measure.prompts import Pairs, Prompt, Triples
from measure.results import DEGENERATE, Curves, Result
from measure.runs import Choice, Contexts
from measure.slices import Slices
from measure.spec import (
    PRECISIONS,
    READS,
    CrossingSpec,
    CurveSpec,
    MeasureError,
    Precision,
    PredictionSpec,
    Read,
    SliceSpec,
    Spec,
    check_choice,
    check_integer,
    check_plane,
    check_steps,
)

# Points of a slice that follow their context in one row of a batch: each row's attention grows with their square.
SLICE_ROW = 128


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
    layer, steps = _checked(layer, read, precision), check_integer("steps", steps)
    check_steps(steps)
    loaded, (a, b) = _given(model, {"prompts_a": prompts_a, "prompts_b": prompts_b}, bool(bos), tokenizer, precision)
    pairs = Pairs(a, b, prompts.independent_units(a, b))
    return curves(loaded, pairs, layer=layer, read=read, steps=steps, origin={"bos": bool(bos)})


def slice2d(
    model: Any,
    prompts_a: PromptsInput,
    prompts_b: PromptsInput,
    prompts_c: PromptsInput,
    *,
    layer: int = 1,
    read: Read = "final_norm",
    size: int = 32,
    extent: tuple[float, float] = (-0.25, 1.25),
    bos: bool = False,
    tokenizer: Any = None,
    precision: Precision = "float32",
) -> Slices:
    """Distance of the output from three reference runs over the plane through A, B and C (paper, Appendix C, Fig. 1).

    X = A + alpha (B - A) + beta (C - P), P the foot of C on the line AB; alpha and beta run over `extent` in `size`
    steps. X is patched in after `layer` blocks at the last position, in p_A's, p_B's and p_C's context in turn, and
    d_A(X) = ||F_A(A) - F_A(X)||, d_B and d_C likewise. Everything else is as in `interpolate`.

    Returns `Slices` with `.distance` of shape (triples, 3, size, size), axes (triple, reference, beta, alpha). A triple
    whose C lies on the line AB spans no plane: it is `.degenerate`, and its colours and metrics are NaN.
    Raises `MeasureError` (a ValueError) for input that cannot be measured; the message says what to change.
    """
    layer, size = _checked(layer, read, precision), check_integer("size", size)
    low, high = (float(end) for end in extent)
    check_plane(size, (low, high))
    given = {"prompts_a": prompts_a, "prompts_b": prompts_b, "prompts_c": prompts_c}
    loaded, (a, b, c) = _given(model, given, bool(bos), tokenizer, precision)
    at = np.linspace(low, high, size)
    return slices(loaded, Triples(a, b, c), layer=layer, read=read, at=at, origin={"bos": bool(bos)})


def _checked(layer: int, read: Read, precision: Precision) -> int:
    check_choice("read", read, READS)
    check_choice("precision", precision, PRECISIONS)
    return check_integer("layer", layer)


def _given(
    model: Any, given: Mapping[str, PromptsInput], bos: bool, tokenizer: Any, precision: Precision
) -> tuple[LoadedModel, list[tuple[Prompt, ...]]]:
    """The model, loaded or adopted, and as many checked prompts in each list."""
    if isinstance(model, str | os.PathLike):
        loaded = load(os.fspath(model), precision=precision)
    else:
        loaded = adopt(model, tokenizer, precision)
    ids = {name: token_ids(name, rows, tokenizer or loaded.tokenizer, bos, loaded) for name, rows in given.items()}
    first, *others = ids
    for other in others:
        if len(ids[other]) != len(ids[first]):
            raise MeasureError(
                f"{len(ids[first])} prompts in {first} against {len(ids[other])} in {other}; a "
                f"{'pair' if len(ids) == 2 else 'triple'} takes one of each, so give as many."
            )
    return loaded, list(ids.values())


def measure_spec(spec: Spec, model: LoadedModel, drawn: Pairs | Triples, *, origin: dict[str, Any]) -> Result:
    """The result that `spec` describes, on a model already loaded for it and prompts already drawn for it."""
    details = {"spec": dataclasses.asdict(spec), **origin}
    if isinstance(spec, SliceSpec):
        assert isinstance(drawn, Triples)
        at = np.linspace(*spec.extent, spec.size)
        return slices(model, drawn, layer=spec.layer, read=spec.read, at=at, origin=details)
    assert isinstance(drawn, Pairs)
    assert isinstance(spec, CurveSpec)
    if isinstance(spec, PredictionSpec):
        return predictions(
            model, drawn, layer=spec.layer, read=spec.read, steps=spec.steps, span=spec.span, origin=details
        )
    if isinstance(spec, CrossingSpec):
        return crossings(model, drawn, layer=spec.layer, read=spec.read, steps=spec.steps, origin=details)
    return curves(model, drawn, layer=spec.layer, read=spec.read, steps=spec.steps, origin=details)


# What is kept of each pair: named arrays whose first axis is the pairs'.
_Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class _Segments:
    """What came out along the segments of some pairs, their A prompts equally long and their B prompts.

    `signs` holds what `forward.gate_signs` collected, forward by forward.
    """

    model: LoadedModel
    layer: int
    a: list[Prompt]
    b: list[Prompt]
    known: Contexts
    outputs: Outputs
    path: runs.Path
    signs: list[Tensor]


_Keep = Callable[[_Segments], _Arrays]


def curves(model: LoadedModel, pairs: Pairs, *, layer: int, read: Read, steps: int, origin: dict[str, Any]) -> Curves:
    """Curves of every pair, by the fast path where it gives what the reference path gives, else by the reference path.

    `origin` is added to the provenance, which says which path it was, and why if it was the slow one.
    Raises `MeasureError` as `runs.choose_path` does.
    """
    choice = runs.choose_path(model, pairs.a, pairs.b, layer, read, steps)
    found = _along_segments(model, pairs, steps, layer, read, choice)
    return Curves(**found, provenance=_provenance(model, pairs, layer, read, choice, origin))


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
    choice = Choice("fast")
    found = _along_segments(model, pairs, steps, layer, read, choice, chunk=chunk)
    return Curves(**found, provenance=_provenance(model, pairs, layer, read, choice, origin))


def reference_curves(
    model: LoadedModel, pairs: Pairs, *, layer: int, read: Read, steps: int, origin: dict[str, Any]
) -> Curves:
    """The same curves by the reference path: one plain full forward for every alpha of every pair."""
    runs.check_layer(model, layer)
    choice = Choice("reference")
    found = _along_segments(model, pairs, steps, layer, read, choice)
    return Curves(**found, provenance=_provenance(model, pairs, layer, read, choice, origin))


def predictions(
    model: LoadedModel, pairs: Pairs, *, layer: int, read: Read, steps: int, span: int, origin: dict[str, Any]
) -> Predictions:
    """Curves of the independent pairs with the next-token distributions along them; see `Predictions`."""
    pairs = pairs.independent()
    choice = runs.choose_path(model, pairs.a, pairs.b, layer, read, steps)
    found = _along_segments(model, pairs, steps, layer, read, choice, lambda part: _predicted(part, span), logits=True)
    found["end_tokens"] = _texts(model, found["end_tokens"])
    return Predictions(**found, provenance=_provenance(model, pairs, layer, read, choice, origin))


def crossings(
    model: LoadedModel, pairs: Pairs, *, layer: int, read: Read, steps: int, origin: dict[str, Any]
) -> Crossings:
    """Curves of the independent pairs with the gates that change sign along them; see `Crossings`."""
    pairs = pairs.independent()
    choice = runs.choose_path(model, pairs.a, pairs.b, layer, read, steps)
    found = _along_segments(model, pairs, steps, layer, read, choice, _crossed, gates=True)
    gates = found.pop("gates")[0]
    return Crossings(**found, gates=gates, provenance=_provenance(model, pairs, layer, read, choice, origin))


def _along_segments(
    model: LoadedModel,
    pairs: Pairs,
    steps: int,
    layer: int,
    read: Read,
    choice: Choice,
    keep: _Keep | None = None,
    *,
    logits: bool = False,
    gates: bool = False,
    chunk: int = forward.CHUNK_POSITIONS,
) -> _Arrays:
    """The fields of `Curves` for every pair, and what `keep` makes of each part; memory does not grow with outputs."""
    alphas = paths.alphas(steps)
    found: _Arrays = {}
    with as_measured(model.network):
        for rows in runs.chunks(model, pairs.a, pairs.b, steps, chunk, logits=logits or read == "logits"):
            a, b = [pairs.a[i] for i in rows], [pairs.b[i] for i in rows]
            known = runs.contexts(model, (*a, *b), layer, choice.path)
            points = paths.segment(known.last(a), known.last(b), alphas)
            watch: AbstractContextManager[list[Tensor]] = forward.gate_signs(model, layer) if gates else nullcontext([])
            with watch as signs:
                out = runs.outputs(model, known, a, points, layer, read, choice.path)
            part = _Segments(model, layer, a, b, known, out, choice.path, signs)
            kept = {**_distances(part, alphas, read), **(keep(part) if keep else {})}
            for name, values in kept.items():
                whole = found.setdefault(name, np.empty((len(pairs), *values.shape[1:]), values.dtype))
                whole[rows] = values
    return {"alphas": alphas, **found, "units": np.array(pairs.units)}


def _distances(part: _Segments, alphas: np.ndarray, read: Read) -> _Arrays:
    out = part.outputs
    line = paths.segment(out.residual[:, 0], out.residual[:, -1], alphas)
    null = runs.norm_only(part.model, line, read, part.known, part.path)
    return {
        "distance": runs.from_start(out.read),
        "null_distance": runs.from_start(null),
        "reference_norm": runs.norms(out.read[:, 0]),
    }


def _predicted(part: _Segments, span: int) -> _Arrays:
    """The arrays of `Predictions`; `end_tokens` as ids."""
    model, known, path = part.model, part.known, part.path
    states_a, states_b = known.last(part.a), known.last(part.b)
    logits = runs.norm_only(model, part.outputs.residual, "logits", known, path)
    # A's clean run is the alpha = 0 point; B's is B in its own context.
    clean = runs.outputs(model, known, part.b, states_b[:, None], part.layer, "residual", path)
    first, second = (
        logits[:, 0].argmax(-1),
        runs.norm_only(model, clean.residual, "logits", known, path)[:, 0].argmax(-1),
    )
    rows = torch.arange(len(part.a), device=logits.device)
    difference = logits[rows, :, first] - logits[rows, :, second]
    distribution = logits.float().softmax(-1)
    return {
        "separation": runs.norms(states_b - states_a),
        "same_last_token": np.array([a[-1] == b[-1] for a, b in zip(part.a, part.b, strict=True)]),
        "end_tokens": torch.stack([first, second], dim=1).cpu().numpy(),
        "top_tokens": logits.argmax(-1).cpu().numpy(),
        "logit_difference": torch.where((first == second)[:, None], torch.nan, difference).double().cpu().numpy(),
        "end_divergence": divergence(distribution[:, 0], distribution[:, -1]),
        "span_divergence": divergence(distribution[:, :-span], distribution[:, span:]),
    }


def divergence(p: Float[Tensor, "*rows tokens"], q: Float[Tensor, "*rows tokens"]) -> Float[np.ndarray, "*rows"]:
    """Jensen-Shannon divergence of two distributions, in bits: 0 where equal, 1 where disjoint."""

    def entropy(of: Tensor) -> Tensor:
        return torch.special.entr(of).sum(-1, dtype=torch.float64)

    nats = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    return (nats / np.log(2)).clamp(0, 1).cpu().numpy()


def _texts(model: LoadedModel, ids: Int[np.ndarray, "pairs two"]) -> np.ndarray:
    """Token ids as text where the model has a tokenizer that decodes, else as numbers."""
    decode = getattr(model.tokenizer, "decode", str)
    return np.array([[decode(int(token)) for token in row] for row in ids])


def _crossed(part: _Segments) -> _Arrays:
    """The arrays of `Crossings`; `gates` the same for every pair."""
    blocks = _signs_by_block(part)
    found: dict[str, list[np.ndarray]] = {"crossings": [], "coarse": [], "end_crossings": []}
    for signs in blocks:
        found["crossings"].append(_changes(signs))
        found["coarse"].append(_changes(signs[:, ::2]).sum(axis=1))
        found["end_crossings"].append(_changes(signs[:, [0, -1]])[:, 0])
    read = part.outputs.read
    return {
        **{name: np.stack(columns, axis=1) for name, columns in found.items()},
        "gates": np.tile([signs.shape[-1] for signs in blocks], (len(part.a), 1)),
        "step_distance": runs.distances(read[:, 1:], read[:, :-1]),
    }


def _changes(signs: Bool[Tensor, "pairs points gates"]) -> Int[np.ndarray, "pairs spans"]:
    """Gates whose sign differs between each point and the next."""
    return (signs[:, 1:] != signs[:, :-1]).sum(-1).cpu().numpy()


def _signs_by_block(part: _Segments) -> list[Bool[Tensor, "pairs points gates"]]:
    """Where gates are positive at the points, one tensor for each block after the patch."""
    count, points = len(part.a), part.outputs.read.shape[1]
    blocks = part.model.depth - part.layer
    if part.path == "fast":
        return [signs[:, -points:] for signs in part.signs]
    # One plain forward for each point of each pair, all blocks in turn.
    last = [signs[0, -1] for signs in part.signs[: count * points * blocks]]
    return [torch.stack(last[block::blocks]).view(count, points, -1) for block in range(blocks)]


def slices(
    model: LoadedModel,
    triples: Triples,
    *,
    layer: int,
    read: Read,
    at: Float[np.ndarray, " size"],
    origin: dict[str, Any],
) -> Slices:
    """Slices of every triple, alpha and beta at the values `at`; see `slice2d`."""
    references = triples.a + triples.b + triples.c
    # The check draws its points on segments between references.
    choice = runs.choose_path(model, references, references[::-1], layer, read, SLICE_ROW)
    with as_measured(model.network):
        rows = [_slice(model, triple, layer, read, at, choice.path) for triple in zip(*_sides(triples), strict=True)]
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return Slices(at, at, **arrays, provenance=_provenance(model, triples, layer, read, choice, origin))


def _sides(triples: Triples) -> tuple[tuple[Prompt, ...], ...]:
    return triples.a, triples.b, triples.c


def _slice(
    model: LoadedModel, triple: tuple[Prompt, ...], layer: int, read: Read, at: np.ndarray, path: runs.Path
) -> _Arrays:
    """One triple's fields of `Slices`."""
    known = runs.contexts(model, triple, layer, path)
    corners = known.last(triple)
    a, b, c = corners[:1], corners[1:2], corners[2:]
    foot = float(paths.foot(a, b, c))
    beside = float(torch.linalg.vector_norm(c - paths.segment(a, b, np.array([foot]))[0]))
    # Also where A and B are one point and there is no line; written so that a NaN counts.
    on_line = not beside > DEGENERATE * float(torch.linalg.vector_norm(c - a))
    foot = 0.0 if on_line else foot
    grid = a[:, None].expand(len(at), len(at), -1) if on_line else paths.plane(a, b, c, at)[0]
    # The references themselves follow the grid.
    points = torch.cat([grid.reshape(len(at) ** 2, -1), corners])
    fields, at_references, reference_norms, top = [], [], [], np.empty(0, int)
    for place, prompt in enumerate(triple):
        found = _in_rows(model, known, prompt, points, layer, read, path)
        distance = runs.distances(found.read, found.read[:, len(at) ** 2 + place][:, None])[0]
        fields.append(distance[: len(at) ** 2].reshape(len(at), len(at)))
        at_references.append(distance[len(at) ** 2 :])
        reference_norms.append(runs.norms(found.read[:, len(at) ** 2 + place])[0])
        if place == 0:
            top = runs.top_tokens(model, found.residual[0, : len(at) ** 2], known, path)
    return {
        "distance": np.stack(fields),
        "reference_distance": np.stack(at_references),
        "reference_norm": np.array(reference_norms),
        "reference_points": np.array([[0.0, 0.0], [1.0, 0.0], [foot, 1.0]]),
        "top_tokens": top.reshape(len(at), len(at)),
        "on_line": np.array(on_line),
    }


def _in_rows(
    model: LoadedModel,
    known: Contexts,
    prompt: Prompt,
    points: Float[Tensor, "points width"],
    layer: int,
    read: Read,
    path: runs.Path,
) -> Outputs:
    """`runs.outputs` of many points in one context, cut into rows of a batch; (1, points, ...)."""
    count = len(points)
    rows = -(-count // SLICE_ROW)
    size = -(-count // rows)
    padded = torch.cat([points, points[-1:].expand(rows * size - count, -1)]).view(rows, size, -1)
    step = max(1, forward.CHUNK_POSITIONS // (len(prompt) + size))
    if read == "logits":
        step = max(1, min(step, runs.LOGIT_VALUES // (size * model.vocabulary)))
    parts = [runs.outputs(model, known, [prompt] * len(p), p, layer, read, path) for p in torch.split(padded, step)]
    reads, residuals = (
        torch.cat([getattr(part, name) for part in parts]).flatten(0, 1)[None, :count] for name in ("read", "residual")
    )
    return Outputs(reads, residuals)


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


def _provenance(
    model: LoadedModel, drawn: Pairs | Triples, layer: int, read: Read, choice: Choice, origin: dict[str, Any]
) -> dict[str, Any]:
    return {
        "model": model.name,
        "revision": model.revision,
        "weights": model.weights,
        "weights_sha256": model.sha256,
        "config_sha256": model.config_sha256,
        "card": model.card,
        "prompts_sha256": drawn.sha256,
        "layer": layer,
        "read": read,
        **choice.provenance,
        **origin,
        **environment(model),
    }
