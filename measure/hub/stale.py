"""Revisions that are not what their names say: weights, or a part of them, that are another's. Reads nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from measure.catalog import revisions
from measure.spec import MeasureError


def order(name: str, place: str = "") -> tuple[int, int] | None:
    """Stage and step of a training checkpoint of `place`, by its name; None for a name that tells no step."""
    found = revisions.parse(name, place)
    return found.order if found else None


def may_be_equal(first: str, second: str, names: Iterable[str], place: str = "") -> bool:
    """Whether two revisions of one training, in `place`, may hold the same weights.

    `main` and the last of `names`, the revisions there are; any, where these tell no step. Steps 0 and 1: the first
    update of a warm-up that begins at a rate of 0 changes nothing, as in every Pythia model.
    """
    orders = [order(first, place), order(second, place)]
    if "main" in (first, second):
        known = {found for name in names if (found := order(name, place))}
        return not known or max(known) in orders
    stages, steps = {found[0] for found in orders if found}, [found[1] for found in orders if found]
    return len(stages) == 1 and sorted(steps) == [0, 1]


def equal(what: str, sha256: str, where: str) -> MeasureError:
    """`what` names two revisions that hold the same weights; `where` they lie."""
    return MeasureError(
        f"{what} hold the same weights (sha256 {sha256[:12]}), so one of them is not what its name says: a stale "
        f"checkpoint {where}. Leave one out. Only main and the last training step may be equal, and steps 0 and 1."
    )


def shared(name: str, parts: Collection[str], of: int) -> MeasureError:
    """A training checkpoint, `name`, some of whose `of` files are main's while others differ."""
    held = ", ".join(sorted(parts)[:3]) + (f" and {len(parts) - 3} more" if len(parts) > 3 else "")
    return MeasureError(
        f"{name}: of its {of} files of weights {held} {'is' if len(parts) == 1 else 'are'} main's, byte by byte, and "
        "the others are not: a stale checkpoint, part of one step and part of another. Take another step; if these "
        "weights were frozen in training, copy the files to a folder of their own and name that."
    )
