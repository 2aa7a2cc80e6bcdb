"""Numbers that others have published of Pythia, in published.json, and the arithmetic of them. Measures nothing.

Source: github.com/billy000400/marsv, directions 18 and 19 (the table says which file of which commit). One run of one
assay each, not reviewed. Their widths are of curves that pass three checks, written out in `widths`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from jaxtyping import Float

from measure import catalog
from measure.hub import checkpoints as hub
from measure.results import metrics
from measure.spec import ConfigSpec

# By how much a curve may fall, all of it from its highest point before, and still count as rising.
BACKSLIDE = 0.02
LEVELS = (0.1, 0.9)


class Width(msgspec.Struct, frozen=True):
    """A median width of a checkpoint; `low` and `high` are its 95 % interval, where one is told."""

    model: str
    revision: str
    median: float
    low: float | None
    high: float | None
    source: str

    @property
    def name(self) -> str:
        """How the checkpoint is named here."""
        return f"{self.model}@{self.revision}"


class FirstPair(msgspec.Struct, frozen=True):
    """Of the first pair, carrier by carrier: width, and cosine and distance of A and B after the first block."""

    model: str
    revision: str
    widths: tuple[float, ...]
    cosines: tuple[float, ...]
    distances: tuple[float, ...]
    source: str


class Tolerance(msgspec.Struct, frozen=True):
    """By how much numbers of ours may be others: `median` of all pairs, one curve's `width`, states after a block."""

    median: float
    width: float
    cosine: float
    distance: float


class Table(msgspec.Struct, frozen=True):
    """What was published: `carriers`, to which each token of `pairs` is put, and what came out."""

    what: str
    carriers: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    tolerance: Tolerance
    widths: tuple[Width, ...]
    first_pair: tuple[FirstPair, ...]


@cache
def table() -> Table:
    """The published numbers."""
    return msgspec.json.decode(Path(__file__).with_suffix(".json").read_bytes(), type=Table)


# Arithmetic


def widths(
    symmetric: Float[np.ndarray, "curves steps"], alphas: Float[np.ndarray, " steps"]
) -> Float[np.ndarray, " curves"]:
    """t(d = 0.9) - t(d = 0.1) of symmetric distances d / (d + d'), (curves,): 0.8 where d is t.

    NaN for a curve that does not begin at or below 0.1 and end at or above 0.9, that falls by more than 0.02, or that
    passes either level more than once.
    """
    backslide = (np.maximum.accumulate(symmetric, axis=1) - symmetric).max(axis=1)
    valid = (symmetric[:, 0] <= LEVELS[0]) & (symmetric[:, -1] >= LEVELS[1]) & (backslide <= BACKSLIDE)
    for level in LEVELS:
        valid &= _crossings(symmetric, level) == 1
    first, last = (metrics.first_crossing(symmetric, alphas, level) for level in LEVELS)
    return np.where(valid, last - first, np.nan)


def _crossings(curves: Float[np.ndarray, "curves steps"], level: float) -> np.ndarray:
    """How often each curve comes to a level, from below or from above, (curves,)."""
    before, after = curves[:, :-1], curves[:, 1:]
    return (((before < level) & (after >= level)) | ((before > level) & (after <= level))).sum(axis=1)


def median_width(by_carrier: Float[np.ndarray, "pairs carriers"]) -> float:
    """Median over pairs of the median over their carriers, curves without a width left out."""
    kept = by_carrier[np.isfinite(by_carrier).any(axis=1)]
    return float(np.median(np.nanmedian(kept, axis=1))) if len(kept) else float("nan")


# Own numbers beside them


@dataclass(frozen=True, eq=False)
class Measured:
    """What was found on one checkpoint: `widths` (pairs, carriers), and of the first pair what `FirstPair` has."""

    published: Width
    widths: Float[np.ndarray, "pairs carriers"]
    cosines: Float[np.ndarray, " carriers"]
    distances: Float[np.ndarray, " carriers"]

    @property
    def median(self) -> float:
        """Median width over pairs."""
        return median_width(self.widths)

    @property
    def off(self) -> dict[str, float]:
        """By what was compared how far it is from what was published, in units of its tolerance."""
        within, first = table().tolerance, first_pair(self.published)
        found = {"median": abs(self.median - self.published.median) / within.median}
        if first is not None:
            found |= {
                "width": _farthest(self.widths[0], first.widths) / within.width,
                "cosine": _farthest(self.cosines, first.cosines) / within.cosine,
                "distance": _farthest(self.distances, first.distances) / within.distance,
            }
        return found

    @property
    def agrees(self) -> bool:
        """Whether all of it is within its tolerance; what is no number is not."""
        return all(value <= 1 for value in self.off.values())


def first_pair(of: Width) -> FirstPair | None:
    return next((one for one in table().first_pair if (one.model, one.revision) == (of.model, of.revision)), None)


def _farthest(found: Float[np.ndarray, " carriers"], told: Sequence[float]) -> float:
    return float(np.abs(found - np.array(told)).max())


def lacking(published: Width) -> str:
    """Why a checkpoint cannot be measured on this machine now, and what to do; empty where it can."""
    if hub.is_cached(published.model, published.revision):
        return ""
    return (
        f"{published.name} is not in the hub's cache; fetch it: hf download {published.model} --revision "
        f"{published.revision}"
    )


def lacking_all(those: Sequence[Width]) -> str:
    """`lacking` of the first of some checkpoints, and how many more there are."""
    first, *more = [why for one in those if (why := lacking(one))] or [""]
    return f"{first} (and {len(more)} more)" if more else first


def named(name: str) -> list[Width]:
    """The published checkpoints that a model is, by a catalog name or hub id, with a revision or all of them."""
    model, revision = catalog.split(name)
    entry = catalog.find(model)
    model = entry.location if entry is not None else model.removeprefix("hf://")
    return [one for one in table().widths if one.model == model and revision in ("", one.revision)]


def lines(found: Sequence[Measured]) -> list[str]:
    """What a terminal shows: published and own numbers, checkpoint by checkpoint."""
    shown = [f"{'checkpoint':<44} {'published':>9} {'95 % interval':>17} {'here':>8} {'off':>8}  curves"]
    for one in found:
        told = one.published
        interval = "" if told.low is None or told.high is None else f"[{told.low:.4f}, {told.high:.4f}]"
        counted = f"{int(np.isfinite(one.widths).sum())} of {one.widths.size}"
        shown.append(
            f"{told.name:<44} {told.median:>9.4f} {interval:>17} {one.median:>8.4f} {one.median - told.median:>+8.4f}  "
            f"{counted}{'' if one.agrees else '  beyond tolerance: ' + _beyond(one)}"
        )
    within = table().tolerance
    return [*shown, f"tolerance: {within.median:g} of the median, {within.width:g} of the first pair's single widths."]


def _beyond(one: Measured) -> str:
    return ", ".join(f"{name} by {value:.3g} times its own" for name, value in one.off.items() if not value <= 1)


# Cases of the suite


@dataclass(frozen=True)
class Case:
    """The published checkpoints of one model; `asked` are those to be measured where the model is named.

    `spec` is what --models chooses it by.
    """

    spec: ConfigSpec
    widths: tuple[Width, ...]
    asked: tuple[Width, ...] = ()

    @property
    def id(self) -> str:
        """Its name in ids of tests."""
        return self.spec.model.rpartition("/")[2]

    def at_hand(self, *, named: bool) -> list[Width]:
        """The checkpoints to be measured: those in the hub's cache, and where the model was `named` those asked for."""
        return [one for one in self.widths if (named and one in self.asked) or not lacking(one)]

    def not_at_hand(self, *, named: bool) -> str:
        """Why the others are not measured, and how to get them; empty where all are."""
        chosen = self.at_hand(named=named)
        missing = lacking_all([one for one in self.widths if one not in chosen])
        return f"not measured: {missing}" if missing else ""


def cases() -> list[Case]:
    """A case for each model with published widths, under its catalog name where it has one.

    Of a model that was named with revisions, these alone; `main` is the last that was published.
    """
    found = []
    for model in dict.fromkeys(one.model for one in table().widths):
        told = tuple(one for one in table().widths if one.model == model)
        entry = next((entry for entry in catalog.models().values() if entry.location == model), None)
        if entry is None:
            found.append(Case(ConfigSpec(model), told))
            continue
        named = {told[-1].revision if revision == "main" else revision for revision in entry.revisions}
        asked = tuple(one for one in told if one.revision in named)
        found.append(Case(ConfigSpec(entry.name), told if entry.revisions == ("main",) else asked, asked))
    return found
