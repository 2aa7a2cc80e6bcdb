"""How a measurement of one's own is to go, as users write it: reads, path, points, distance, positions, all checked."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from measure.core.course import USUAL, Course
from measure.distances import DISTANCES, OF_DISTRIBUTIONS
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Pairs
from measure.spec import (
    INTERPOLATIONS,
    CurveSpec,
    MeasureError,
    Read,
    block_of,
    check_choice,
    check_distance,
    check_integer,
    check_interventions,
    check_read,
)

_STEPS = 50


def reads_of(given: Any, distance: Any) -> list[Read]:
    """The reads that are asked for; without one the final norm, of distances between distributions the logits."""
    if given is None:
        given = "logits" if isinstance(distance, str) and distance in OF_DISTRIBUTIONS else "final_norm"
    asked = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if not asked:
        raise MeasureError("read is empty; expected a read, or several.")
    if isinstance(distance, str):
        check_choice("distance", distance, DISTANCES)
        for one in asked:
            check_distance(distance, check_read(one))
    elif not callable(distance) or isinstance(distance, type):
        raise MeasureError(
            f"distance={reprlib.repr(distance)} is a {type(distance).__name__}; expected one of "
            f"{', '.join(DISTANCES)}, or a function of outputs (pairs, points, units) and their ends (pairs, 2, units)."
        )
    return list(dict.fromkeys(check_read(one) for one in asked))


def positions_of(given: Any) -> list[int]:
    """The positions that are read, from the end."""
    asked = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if not asked:
        raise MeasureError("read_at is empty; expected a position from the end, such as -1, or several.")
    return list(dict.fromkeys(_from_end("read_at", one) for one in asked))


def _from_end(name: str, given: Any) -> int:
    if isinstance(given, bool):
        raise MeasureError(f"{name}={given!r} is a bool; expected a position counted from the end, -1 for the last.")
    found = check_integer(name, given)
    if found >= 0:
        raise MeasureError(
            f"{name}={found}: positions are counted from the end, since prompts may differ in length; -1 is the last."
        )
    return found


def course_of(path: Any, points: Any, distance: Any, patched: Any, steps: int, interventions: Any = ()) -> Course:
    """What is asked for, as far as it can be told without the model."""
    if not isinstance(path, str):
        raise MeasureError(f"path={path!r} is a {type(path).__name__}; choose one of {', '.join(INTERPOLATIONS)}.")
    check_choice("path", path, INTERPOLATIONS)
    where = _patched(patched)
    own = None if points is None else _points(points)
    if own is not None:
        _check_alone(path, where, own.shape[1], steps)
    changed = check_interventions(interventions)
    if (path, own, distance, where, changed) == ("linear", None, "l2", -1, ()):
        return USUAL
    kind: Any = path
    return Course(kind, distance, own, where, interventions=changed)


def _patched(given: Any) -> Any:
    if isinstance(given, str) and given != "difference":
        raise MeasureError(
            f"patched={given!r} is not known; expected a position counted from the end, -1 for the last, or "
            "'difference' for all from the first in which the prompts of a pair differ."
        )
    return given if isinstance(given, str) else _from_end("patched", given)


def _check_alone(path: str, patched: Any, points: int, steps: int) -> None:
    """Raise `MeasureError` for what points of one's own take the place of."""
    if path != "linear":
        raise MeasureError(
            f"path={path!r} and points=: points of one's own take the place of a path; give one of them."
        )
    if patched == "difference":
        raise MeasureError("patched='difference' and points=: points of one's own go into one position; name it.")
    if steps not in (_STEPS, points):
        raise MeasureError(f"steps={steps} and {points} points a pair; leave out steps, or make them equal.")


def _points(given: Any) -> Tensor:
    """Points of one's own, (pairs, points, width), on the processor."""
    what = "points"
    try:
        if not isinstance(given, Tensor) and np.iscomplexobj(given):
            raise TypeError("complex numbers")
        found = (
            given.detach().cpu() if isinstance(given, Tensor) else torch.from_numpy(np.array(given, dtype=np.float64))
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise MeasureError(
            f"{what} is no array of numbers ({str(error).splitlines()[0]}); expected shape (pairs, points, width)."
        ) from None
    if found.ndim != 3 or not found.is_floating_point() or found.shape[1] < 2:
        raise MeasureError(
            f"{what} has shape {tuple(found.shape)} and type {str(found.dtype).removeprefix('torch.')}; expected real "
            "numbers of shape (pairs, points, width), at least 2 points a pair."
        )
    if not torch.isfinite(found).all():
        pair, point, _ = torch.nonzero(~torch.isfinite(found))[0].tolist()
        raise MeasureError(f"{what}[{pair}, {point}] holds NaN or infinity; give finite numbers.")
    return found


def for_pairs(course: Course, model: LoadedModel, pairs: Pairs, read_at: int) -> Course:
    """The course for these pairs, read at a position. Raises `MeasureError` where they do not go together."""
    if course.points is not None:
        expected = (len(pairs), course.points.shape[1], model.shape.hidden)
        if tuple(course.points.shape) != expected:
            raise MeasureError(
                f"points has shape {tuple(course.points.shape)}; expected (pairs, points, width) = {expected}, width "
                f"that of the residual stream of {model.name}."
            )
        _check_range(course.points, model)
    for number, (a, b) in enumerate(zip(pairs.a, pairs.b, strict=True)):
        _check_place(course.patched, read_at, number, len(a), len(b))
        if read_at != -1 or course.patched != -1:
            _check_read_at(course, read_at, number, course.tail(a, b).length)
    return course if read_at == course.read_at else replace(course, read_at=read_at)


def _check_range(points: Tensor, model: LoadedModel) -> None:
    """Raise `MeasureError` where a point is finite, and no longer so in the precision that is measured in."""
    beyond = torch.nonzero(~torch.isfinite(points.to(model.dtype)))
    if len(beyond):
        pair, point, _ = beyond[0].tolist()
        dtype = str(model.dtype).removeprefix("torch.")
        raise MeasureError(
            f"points[{pair}, {point}] holds a number beyond what {dtype} can hold; give smaller ones, or take "
            "precision='float64'."
        )


def _check_place(patched: Any, read_at: int, number: int, a: int, b: int) -> None:
    if patched == "difference":
        if a != b:
            raise MeasureError(
                f"pair {number + 1} has prompts of {a} and {b} tokens; patched='difference' takes each position of B "
                "for the same one of A, so give prompts of one length, or patch one position."
            )
    elif min(a, b) < -patched:
        raise MeasureError(
            f"patched={patched}: pair {number + 1} has a prompt of {min(a, b)} tokens; give longer ones, or a later "
            "position."
        )


def _check_read_at(course: Course, read_at: int, number: int, length: int) -> None:
    if -read_at > length:
        what = f"patched={course.patched!r}"
        raise MeasureError(
            f"read_at={read_at} stands before the patched position of pair {number + 1} ({what}, {length} from the "
            "end), where nothing changes; read there or later."
        )


def check_reads(model: LoadedModel, layers: Sequence[int], reads: Sequence[Read]) -> None:
    """Raise `MeasureError` for a block that is not there, or runs before the patch."""
    for read in reads:
        place = block_of(read)
        if place is None:
            continue
        if place > model.depth:
            raise MeasureError(
                f"read={read!r}: {model.name} has {model.depth} blocks, counted from 1; choose block:{min(layers)} to "
                f"block:{model.depth}."
            )
        late = [layer for layer in layers if layer > place]
        if late:
            raise MeasureError(
                f"read={read!r}: block {place} runs before the patch after block {late[0]}, which changes nothing of "
                f"it; choose block:{late[0]} or later."
            )


def of_spec(spec: CurveSpec, model: LoadedModel) -> Course:
    """The course of a spec."""
    block = block_of(spec.read)
    if block is not None:
        check_reads(model, [spec.layer], [spec.read])
    if (spec.path, spec.distance, spec.interventions) == ("linear", "l2", ()):
        return USUAL
    return Course(spec.path, spec.distance, interventions=spec.interventions)
