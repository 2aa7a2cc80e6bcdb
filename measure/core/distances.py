"""Distances along outputs, in float64, some points at a time: those of `measure.distances`, or somebody's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from measure.distances import TABLE, apart
from measure.spec import MeasureError

# Numbers of a read held in float64 at a time: 16 MB, whatever the vocabulary.
CHUNK = 2**21

# Somebody's own: outputs (pairs, points, units) and their first and last (pairs, 2, units), to (pairs, points).
Own = Callable[[np.ndarray, np.ndarray], Any]
_Arrays = dict[str, np.ndarray]


def name_of(distance: str | Own) -> str:
    """What a distance is called in files: somebody's own by its name in the code."""
    if isinstance(distance, str):
        return distance
    return f"own:{getattr(distance, '__qualname__', type(distance).__name__)}"


def along(found: Float[Tensor, "pairs points units"], distance: str | Own) -> _Arrays:
    """Of every pair what `Curves` keeps of its outputs, in float64.

    `distance` and `end_side_distance` (pairs, points), from the first output and from the last; `step_distance` (pairs,
    points - 1) and `end_length` (pairs,), Euclidean whatever the distance. NaN where a distance has no meaning: the
    symmetric one of equal ends, the cosine of an output that is 0.
    """
    if not isinstance(distance, str):
        return _steps(found) | _by_hand(found, distance)
    taken = TABLE[distance].of
    sides: list[list[Tensor]] = []
    for some, parts in _parts(found):
        first, last = some[:, :1].double(), some[:, -1:].double()
        both = [taken(part.double(), first, last) for part in parts]
        sides.append([torch.cat(side, dim=1) for side in zip(*both, strict=True)])
    names = ("distance", "end_side_distance")
    return _steps(found) | {
        name: torch.cat(side).cpu().numpy() for name, side in zip(names, zip(*sides, strict=True), strict=True)
    }


def _parts(found: Tensor) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
    """Some pairs, and their points in parts: as many as can be held at a time."""
    points = max(1, CHUNK // found.shape[2])
    for some in torch.split(found, max(1, points // found.shape[1])):
        yield some, torch.split(some, points, dim=1)


def _steps(found: Float[Tensor, "pairs points units"]) -> _Arrays:
    """How far the output moves in each step, and how far apart its ends are."""
    lengths = []
    for some, _ in _parts(found):
        # Parts that share the point between them.
        points = max(2, CHUNK // found.shape[2])
        starts = range(0, found.shape[1] - 1, points - 1)
        gaps = [apart(some[:, at + 1 : at + points], some[:, at : at + points - 1][:, : found.shape[1] - 1 - at])
                for at in starts]  # fmt: skip
        lengths.append((torch.cat(gaps, dim=1), apart(some[:, -1], some[:, 0])))
    steps, ends = (torch.cat(side).cpu().numpy() for side in zip(*lengths, strict=True))
    return {"step_distance": steps, "end_length": ends}


def _by_hand(found: Float[Tensor, "pairs points units"], own: Own) -> _Arrays:
    """Somebody's own distance from both ends, asked some pairs at a time, each with all its points."""
    kept: list[list[np.ndarray]] = []
    for some in torch.split(found, max(1, CHUNK // (found.shape[1] * found.shape[2]))):
        outputs = some.double().cpu().numpy()
        ends = outputs[:, [0, -1]]
        kept.append([_asked(own, outputs, side) for side in (ends, ends[:, ::-1].copy())])
    sides = [np.concatenate(side) for side in zip(*kept, strict=True)]
    return dict(zip(("distance", "end_side_distance"), sides, strict=True))


def _asked(own: Own, outputs: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """What somebody's own distance says. Raises `MeasureError` unless it is a number for each point."""
    name, shape = name_of(own).removeprefix("own:"), outputs.shape[:2]
    what = f"(pairs, points, units) = {outputs.shape} and (pairs, 2, units)"
    try:
        found = own(outputs.copy(), ends.copy())
        given = np.asarray(found.detach().cpu() if isinstance(found, Tensor) else found)
        if np.iscomplexobj(given):
            raise TypeError("complex numbers")
        values = np.asarray(given, dtype=np.float64)
    except Exception as error:  # whatever somebody's own code may raise
        raise MeasureError(
            f"distance={name}: called with arrays of shape {what} it failed ({type(error).__name__}: {error}); "
            f"expected numbers of shape (pairs, points) = {shape}."
        ) from error
    if values.shape != shape or not np.isfinite(values).all():
        told = f"numbers of shape {values.shape}" if values.shape != shape else "what is no finite number"
        raise MeasureError(
            f"distance={name}: called with arrays of shape {what} it gave {told}; expected a finite number for each "
            f"point, of shape (pairs, points) = {shape}."
        )
    return values
