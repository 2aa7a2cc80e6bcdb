"""How X goes from A to B and what is taken between outputs: what a measurement is asked for beside layer and reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from measure.core import paths
from measure.core.distances import Own, name_of
from measure.core.forward import Tail
from measure.prompts.drawn import Prompt
from measure.spec import Interpolation, Intervention, Toward

# Of pairs that have no path so many are named in an error or a record.
NAMED = 3


@dataclass(frozen=True, eq=False)
class Some:
    """Some pairs whose A prompts are equally long, and their B prompts: their numbers, and how many points each has."""

    a: Sequence[Prompt]
    b: Sequence[Prompt]
    rows: Sequence[int]
    count: int


@runtime_checkable
class Known(Protocol):
    """States of prompts after the patched block."""

    def patched(self, prompts: Sequence[Prompt], tail: Tail) -> Tensor:
        """At the positions that are patched."""
        ...


@dataclass(frozen=True, eq=False)
class Drawn:
    """Points of some pairs, a state for each patched position.

    Of a pair that has no path they are A, and `lacking` says why; of others it is empty.
    """

    points: Float[Tensor, "pairs points *length width"]
    lacking: list[str]


@dataclass(frozen=True, eq=False)
class Course:
    """How points are drawn and outputs compared.

    `points`: somebody's own, (pairs, points, width), in place of a path. `patched`: the position that is patched,
    counted from the end, -1 for the last; or `difference`, every position from the first in which the prompts differ.
    `read_at`: the position that is read, from the end. `toward`: what stands in the place of B; `ends`, these states.
    """

    path: Interpolation = "linear"
    distance: str | Own = "l2"
    points: Float[Tensor, "pairs points width"] | None = None
    patched: int | Literal["difference"] = -1
    read_at: int = -1
    interventions: tuple[Intervention, ...] = ()
    toward: Toward = "b"
    ends: Float[Tensor, "pairs width"] | None = None

    @property
    def null(self) -> Interpolation:
        """The path of the norm-only null between the two final states: of both arcs the one that meets both of them."""
        return "linear" if self.path == "linear" or self.points is not None else "slerp"

    @property
    def provenance(self) -> dict[str, Any]:
        """What of it is not as usual."""
        found: dict[str, Any] = {}
        if self.points is not None:
            found["interpolation"] = "points of one's own"
        elif self.path != "linear":
            found["interpolation"] = self.path
        if self.toward != "b":
            found["toward"] = self.toward
        if self.distance != "l2":
            found["distance"] = name_of(self.distance)
        if self.patched != -1:
            found["patched"] = self.patched
        if self.read_at != -1:
            found["read_at"] = self.read_at
        if self.interventions:
            found["interventions"] = [str(one) for one in self.interventions]
        return found

    def tail(self, a: Prompt, b: Prompt) -> Tail:
        """What of prompt A runs anew for each point."""
        length = len(a) - _first_difference(a, b) if self.patched == "difference" else -self.patched
        return Tail(length, self.patched == "difference", length + self.read_at)

    @property
    def key(self) -> str:
        """What else than layer and read the check of the fast path hangs on; empty as usual."""
        shape = "own" if self.points is not None else "" if self.path == "linear" else self.path
        place = "" if (self.patched, self.read_at) == (-1, -1) else f"{self.patched} read at {self.read_at}"
        changed = ", ".join(map(str, self.interventions))
        return "".join(f" | {part}" for part in (shape, place, changed) if part)

    def drawn(self, known: Known, pairs: Some, tail: Tail, some: Sequence[int] | None = None) -> Drawn:
        """The points of some pairs, or those numbered `some` of them."""
        chosen = list(range(pairs.count) if some is None else some)
        a = known.patched(pairs.a, tail)
        if self.points is not None:
            # Where fewer or more are asked for, as by a check, in turn.
            own = self.points[list(pairs.rows)][:, [number % self.points.shape[1] for number in chosen]]
            return Drawn(own.to(a.device, a.dtype), [""] * len(pairs.a))
        b = known.patched(pairs.b, tail) if self.ends is None else self.ends[list(pairs.rows)].to(a)
        points = paths.between(self.path, a, b, paths.alphas(pairs.count)[chosen])
        points = points.transpose(1, 2) if tail.every else points
        if self.path == "linear":
            return Drawn(points, [""] * len(pairs.a))
        lacking = paths.without_arc(self.path, a, b)
        each = len(lacking) // len(pairs.a)
        told = [next(filter(None, lacking[at : at + each]), "") for at in range(0, len(lacking), each)]
        gone = torch.tensor([bool(why) for why in told], device=a.device)
        stay = a[:, None].expand_as(points)
        return Drawn(torch.where(gone.reshape(-1, *[1] * (points.ndim - 1)), stay, points), told)

    def count(self, steps: int) -> int:
        """How many points a pair has."""
        return steps if self.points is None else self.points.shape[1]


USUAL = Course()


def _first_difference(a: Prompt, b: Prompt) -> int:
    """The first position in which two prompts of one length differ; the last of equal ones."""
    return next((place for place, ids in enumerate(zip(a, b, strict=True)) if ids[0] != ids[1]), len(a) - 1)
