"""Numbers that others have published of Pythia, in published.json, and the same measured here.

Source: github.com/billy000400/marsv, directions 18 and 19 (the table says which file of which commit). One run of one
assay each, not reviewed. Their widths are of curves that pass three checks, written out in `widths`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from jaxtyping import Float

from measure import catalog, hub, metrics, prompts, runs
from measure.measurements import interpolate
from measure.models import LoadedModel, as_measured, load
from measure.spec import MeasureError, NotMeasuredError

STEPS = 50
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


# Measuring


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
        within, first = table().tolerance, _first_pair(self.published)
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


def _first_pair(of: Width) -> FirstPair | None:
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


def measured(published: Width, model: Any = None) -> Measured:
    """The widths of a checkpoint, or of `model` in its place, on the published pairs by their exact token ids.

    Raises `MeasureError` for a model that cannot be had or has no tokenizer or too few tokens.
    """
    loaded = model if isinstance(model, LoadedModel) else load(model or published.name)
    a, b = _prompts(loaded)
    asked: dict[str, Any] = {"path": "slerp", "distance": "symmetric"}
    found = interpolate(loaded, a, b, layer=1, read="logits", steps=STEPS, **asked)
    carriers = len(table().carriers)
    return Measured(
        published, widths(found.distance, found.alphas).reshape(-1, carriers), *_first_states(loaded, a, b, carriers)
    )


def _prompts(loaded: LoadedModel) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """A and B of every pair, its carriers one after the other."""
    if loaded.tokenizer is None:
        raise MeasureError(
            f"{loaded.name} has no tokenizer to read the carriers with; put its tokenizer.json beside it."
        )
    carriers = prompts.tokenize(loaded.tokenizer, table().carriers)
    rows = [(carrier, pair) for pair in table().pairs for carrier in carriers]
    return [(*carrier, a) for carrier, (a, _) in rows], [(*carrier, b) for carrier, (_, b) in rows]


def _first_states(
    loaded: LoadedModel, a: Sequence[prompts.Prompt], b: Sequence[prompts.Prompt], carriers: int
) -> tuple[Float[np.ndarray, " carriers"], Float[np.ndarray, " carriers"]]:
    """Cosine and distance of the first pair's states after the first block, carrier by carrier."""
    sides = a[:carriers], b[:carriers]
    with as_measured(loaded.network):
        known = runs.contexts(loaded, (*sides[0], *sides[1]), 1, "reference")
        first, second = (known.last(side).double() for side in sides)
    cosines = torch.nn.functional.cosine_similarity(first, second)
    return cosines.cpu().numpy(), torch.linalg.vector_norm(first - second, dim=-1).cpu().numpy()


def named(name: str) -> list[Width]:
    """The published checkpoints that a model is, by a catalog name or hub id, with a revision or all of them."""
    model, revision = catalog.split(name)
    entry = catalog.models().get(model)
    model = entry.location if entry is not None else model.removeprefix("hf://")
    return [one for one in table().widths if one.model == model and revision in ("", one.revision)]


def lines_of(told: Sequence[Width]) -> list[str]:
    """`lines` of the checkpoints that are on this machine, and how to get the others.

    Raises `NotMeasuredError` where none is.
    """
    missing = [why for one in told if (why := lacking(one))]
    if len(missing) == len(told):
        raise NotMeasuredError(
            "; ".join(missing[:1]) + (f" (and {len(missing) - 1} more)" if missing[1:] else "") + "."
        )
    return [*lines([measured(one) for one in told if not lacking(one)]), *missing]


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
