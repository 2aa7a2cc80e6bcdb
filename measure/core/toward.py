"""Where X goes in place of B: as far from A, in directions of other pairs, or of none. Runs clean prompts alone.

`difference`: B of another pair minus A of a third. `isotropic`: standard normal. `covariance`: sum_i g_i (x_i - m),
with x_i the clean states of all prompts that are measured, m their mean and g_i standard normal: its covariance is
theirs, up to a factor, and lengths are taken off. What is drawn for a pair hangs on its own prompts and the seed alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from measure.core import agreement, asked, forward, parts, paths, runs
from measure.core.course import Course
from measure.models.loading import LoadedModel, as_measured
from measure.prompts.drawn import Pairs, Prompt
from measure.spec import CurveSpec, Interpolation, MeasureError, Toward

_Rows = Float[np.ndarray, "pairs width"]


def of_spec(spec: CurveSpec, model: LoadedModel, pairs: Pairs) -> Course:
    """The course of a spec for the pairs that are measured.

    Raises `MeasureError` where there are too few other pairs to make a direction of.
    """
    course = asked.of_spec(spec, model)
    if spec.toward == "b":
        return course
    every = tuple(dict.fromkeys((*pairs.a, *pairs.b)))
    parts.check(model, course.interventions, spec.layer)
    with parts.intervened(model, course.interventions):
        choice = agreement.choose_path(model, pairs.a, pairs.b, spec.layer, [spec.read], spec.steps, None, course)
        with as_measured(model.network, tf32=model.tf32):
            states = _last_states(model, every, spec.layer, choice.path)
    clean = dict(zip(every, states.double().cpu().numpy(), strict=True))
    ends = torch.from_numpy(ends_of(spec.toward, spec.path, pairs, clean, spec.seed))
    return replace(course, toward=spec.toward, ends=ends.to(states))


def _last_states(
    model: LoadedModel, prompts: Sequence[Prompt], layer: int, path: runs.Path
) -> Float[Tensor, "prompts width"]:
    """Clean states at the last positions, of some prompts at a time."""
    size = max(1, forward.CHUNK_POSITIONS // max(map(len, prompts)))
    some = [prompts[start : start + size] for start in range(0, len(prompts), size)]
    return torch.cat([runs.contexts(model, part, layer, path).last(part) for part in some])


def ends_of(
    toward: Toward, path: Interpolation, pairs: Pairs, clean: dict[Prompt, Float[np.ndarray, " width"]], seed: int
) -> _Rows:
    """What stands in the place of each pair's B, float64.

    On a straight line A + ||B - A|| u, with u the unit direction. On an arc it is at the angle between A and B from A,
    on the side of u, with the norm of B. Where A and B are one, or have no arc, it is B.
    """
    a, b = (np.stack([clean[prompt] for prompt in side]) for side in (pairs.a, pairs.b))
    u = _over_norm(_directions(toward, pairs, clean, seed))
    if path == "linear":
        return a + np.linalg.norm(b - a, axis=1, keepdims=True) * u
    first = _over_norm(a)
    angle = paths.angles(torch.from_numpy(a), torch.from_numpy(b)).numpy()[:, None]
    across = _over_norm(u - (u * first).sum(axis=1, keepdims=True) * first)
    found = np.linalg.norm(b, axis=1, keepdims=True) * (np.cos(angle) * first + np.sin(angle) * across)
    # Written so that an angle that is no number has none.
    return np.where(angle < np.pi - paths.OPPOSITE, found, b)


def _over_norm(rows: _Rows) -> _Rows:
    """Unit directions; 0 stays 0."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1.0)


def _directions(toward: Toward, pairs: Pairs, clean: dict[Prompt, Float[np.ndarray, " width"]], seed: int) -> _Rows:
    """A direction for each pair, of any length."""
    drawn = [_generator(toward, a, b, seed) for a, b in zip(pairs.a, pairs.b, strict=True)]
    if toward == "difference":
        others = [_others(pairs, row, generator) for row, generator in enumerate(drawn)]
        return np.stack([clean[pairs.b[to]] - clean[pairs.a[start]] for start, to in others])
    if toward == "isotropic":
        width = len(clean[pairs.a[0]])
        return np.stack([generator.standard_normal(width) for generator in drawn])
    states = np.stack(list(clean.values()))
    shares = np.stack([generator.standard_normal(len(states)) for generator in drawn])
    return shares @ (states - states.mean(axis=0))


def _generator(toward: Toward, a: Prompt, b: Prompt, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(repr((toward, seed, a, b)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _others(pairs: Pairs, row: int, generator: np.random.Generator) -> tuple[int, int]:
    """Two pairs by lot that share no prompt with this one, nor with each other: A is taken of one, B of the other."""
    seen = {pairs.a[row], pairs.b[row]}
    found: list[int] = []
    for other in generator.permutation(len(pairs)):
        if seen.isdisjoint((pairs.a[other], pairs.b[other])):
            seen |= {pairs.a[other], pairs.b[other]}
            found.append(int(other))
        if len(found) == 2:
            return found[0], found[1]
    raise MeasureError(
        f"toward='difference': a direction is made of two other pairs that share no prompt, and beside pair {row + 1} "
        f"of {len(pairs)} found {len(found)}; give more pairs, or take 'isotropic'."
    )
