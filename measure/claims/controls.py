"""Data on which a claim is tested: counterfeits of a model, exchanged curves, and plateaus planted on its pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from jaxtyping import Float

from measure.kinds import of as kind_of
from measure.results import Curves
from measure.spec import MOST_DRAWS, Spec

S = TypeVar("S", bound=Spec)
C = TypeVar("C", bound=Curves)
# What is left of the trained model's A and B and of the blocks after the patch, by what the kind is called.
LATER = {
    "later blocks shuffled": "shuffled",
    "later rows shuffled": "rows",
    "later spectrum kept": "spectrum",
    "later blocks Gaussian": "gaussian",
    "later neurons permuted": "neurons",
}
KINDS = (*LATER, "all weights shuffled")
# For measurements that take long: of those that keep A and B what keeps most, and what keeps least.
FEWER_KINDS = (
    "later blocks shuffled",
    "later spectrum kept",
    "later neurons permuted",
    "all weights shuffled",
)


def counterfeits(spec: S, draw: int = 0, kinds: Sequence[str] = KINDS) -> dict[str, S]:
    """Counterfeits of a trained model by name, on the pairs of `spec` that inference uses.

    The later blocks are those after `spec.layer`, so that A and B stay as they were.
    """
    # Other measurements take the independent pairs alone as they are.
    alone: dict[str, Any] = {"rows": "independent"} if kind_of(spec).chooses_rows else {}
    found: dict[str, S] = {}
    for kind in kinds:
        weights = f"{LATER[kind]}_after_{spec.layer}:{draw}" if kind in LATER else f"scrambled:{draw}"
        found[kind] = replace(spec, weights=weights, **alone)
    return found


def controls(
    cases: Sequence[ParameterSet], of: Callable[..., Mapping[str, object]], draws: int = MOST_DRAWS
) -> list[ParameterSet]:
    """Each case with its counterfeits, `of(case, draw)`, once for every draw. `--draws` sets how many are run."""
    return [_control(case, of(*case.values, draw), draw) for draw in range(draws) for case in cases]


def _control(case: ParameterSet, counterfeits: Mapping[str, object], draw: int) -> ParameterSet:
    # The mark tells a test's claim which counterfeits it is to refute.
    mark = pytest.mark.draw(draw, named=tuple(counterfeits))
    case_id = f"{case.id}-draw{draw}" if draw else case.id
    return pytest.param(*case.values, counterfeits, id=case_id, marks=[*case.marks, mark])


_EXCHANGED = ("distance", "step_distance", "end_side_distance")


def mixed(first: C, second: C) -> tuple[C, C]:
    """Two results on the same number of units, with the curves of each unit exchanged or not by a fair coin.

    The coin has a fixed seed. Nulls are exchanged too. Distances are in units of each curve's own d(1).
    """
    heads = np.random.default_rng(0).integers(0, 2, first.units.max() + 1).astype(bool)
    swap = np.where(first.units >= 0, heads[first.units], False)[:, None]
    names = [*_EXCHANGED, *(f"null_{name}" for name in _EXCHANGED)]
    scaled = [{name: _over_end(result, getattr(result, name)) for name in names} for result in (first, second)]
    one: dict[str, Any] = {name: np.where(swap, scaled[1][name], scaled[0][name]) for name in names}
    other: dict[str, Any] = {name: np.where(swap, scaled[0][name], scaled[1][name]) for name in names}
    ones = np.ones(len(first))
    return replace(first, **one, reference_norm=ones), replace(second, **other, reference_norm=ones)


def _over_end(result: Curves, values: Float[np.ndarray, "pairs some"] | None) -> Float[np.ndarray, "pairs some"]:
    known = np.full((len(result), 1), np.nan) if values is None else values
    return known / result.end_distance[:, None]


def planted(curves: C, slope: float = 6.0, places: tuple[float, float] = (0.4, 0.6)) -> C:
    """The same pairs with planted plateaus: the output runs straight from F(A) to F(B), and r is a sigmoid of `slope`.

    The jump lies at another alpha in each row, evenly spread between the two `places`.
    """
    place = np.linspace(*places, len(curves))[:, None]
    rows = 1 / (1 + np.exp(-4 * slope * (curves.alphas - place)))
    rows = (rows - rows[:, :1]) / (rows[:, -1:] - rows[:, :1])
    distance = rows * curves.distance[:, -1:]
    return straight(curves, distance)


def planted_growth(ordered: Sequence[C]) -> list[C]:
    """As many results with planted growth: the first is its norm-only null, the last has plateaus."""
    last = len(ordered) - 1
    steps = [planted(result, max(1.5, 6.0 * place / last)) for place, result in enumerate(ordered) if place]
    return [replace_by_null(ordered[0]), *steps]


def replace_by_null(curves: C) -> C:
    """The same result with its norm-only null in place of its curves."""
    null = curves.null
    return replace(curves, **{name: getattr(null, name) for name in _EXCHANGED})


def straight(curves: C, distance: Float[np.ndarray, "pairs steps"]) -> C:
    """The same pairs with an output that moves straight from F(A) to F(B), at `distance` from F(A)."""
    return replace(
        curves,
        distance=distance,
        step_distance=np.abs(np.diff(distance, axis=1)),
        end_side_distance=np.abs(distance[:, -1:] - distance),
    )
