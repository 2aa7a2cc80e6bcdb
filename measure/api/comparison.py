"""Two models on the same pairs: how far their curves differ, pair by pair, and how sure that is. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from measure import stats
from measure.prompts import tables
from measure.results import METRICS, Curves, metrics
from measure.spec import MeasureError
from measure.stats import Interval
from measure.stats.shared_ends import FEWEST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from pandas import DataFrame

# Lines of what differs that a terminal shows; `Comparison.differences` holds all.
MOST_LINES = 20
# Whose paired differences a figure shows.
DRAWN = ("max_slope", "edge_speed", "jump_location", "two_sided_drift")
# Okabe and Ito's.
_COLOURS = ("#0072B2", "#D55E00")
# What two results must share to be compared pair by pair.
_SHARED = {
    "prompts_sha256": "prompts",
    "layer": "layer",
    "read": "read",
    "interpolation": "path",
    "distance": "distance",
    "patched": "patched position",
    "read_at": "position that is read",
    "interventions": "interventions",
}
_NO_VERDICT = (
    "no verdict: each interval holds at 95 % for itself and is held against no margin; one that leaves out 0 says that "
    "there is a difference, and not that it is large; b - a is the median of the pairs' own differences, and not the "
    "difference of the two medians."
)


@dataclass(frozen=True)
class Difference:
    """One thing in which two models are not the same, and what it is in each."""

    what: str
    a: str
    b: str

    def __str__(self) -> str:
        return f"{self.what}: {self.a} against {self.b}"


@dataclass(frozen=True)
class PairedEffect:
    """One metric of two models on the same pairs, over the units that have it in both.

    `a`, `b`: its median over units in each model, `null_a`, `null_b` the same of each one's norm-only null.
    `difference`: median over units of b minus a, pair by pair; `beyond_null`: of what b has beyond its own null minus
    what a has beyond its own. Each with its 95 % interval, which is NaN below 6 independent units, or last tokens.
    """

    metric: str
    a: Interval
    b: Interval
    null_a: Interval
    null_b: Interval
    difference: Interval
    beyond_null: Interval

    @property
    def n(self) -> int:
        """Independent units that have the metric in both models."""
        return self.difference.n

    @property
    def measured(self) -> bool:
        """Whether there is an interval."""
        return bool(np.isfinite([self.difference.low, self.difference.high]).all())


@dataclass(frozen=True, eq=False)
class Comparison:
    """Curves of two models, `a` and `b`, on the same pairs, after the same block, read alike; see `measure.compare`.

    `differences`: what else the models differ in. `labels`: names of the pairs, None if they have none. `same`: a
    sentence if the weights are equal.
    Raises `MeasureError` if the two differ in pairs, layer, points, read, path, distance, positions or interventions.
    """

    a: Curves
    b: Curves
    differences: tuple[Difference, ...] = ()
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, what in _SHARED.items():
            found = [side.provenance.get(name) for side in (self.a, self.b)]
            if found[0] != found[1]:
                shown = f": {found[0]!r} against {found[1]!r}" if name != "prompts_sha256" else ""
                raise MeasureError(f"the two results differ in their {what}{shown}; measure both alike.")
        if not np.array_equal(self.a.alphas, self.b.alphas) or not np.array_equal(self.a.units, self.b.units):
            raise MeasureError("the two results differ in their points or units; measure both with the same steps.")
        if self.labels is not None and len(self.labels) != len(self.a):
            raise MeasureError(f"{len(self.labels)} labels for {len(self.a)} pairs; give one each, or none.")

    def __len__(self) -> int:
        return len(self.a)

    @property
    def same(self) -> str:
        """That the weights are equal, where they are, and whether the configurations are too; else empty."""
        held = [[side.provenance.get(name) for side in (self.a, self.b)] for name in _HASHES]
        (first, second), (config_a, config_b) = held
        if first is None or first != second:
            return ""
        return f"the weights are equal, and the configurations {'too' if config_a == config_b else 'are not'}"

    @property
    def effects(self) -> dict[str, PairedEffect]:
        """Every metric's effect, by its name."""
        return {metric: self.effect(metric) for metric in METRICS}

    def effect(self, metric: str) -> PairedEffect:
        """The paired difference of one metric. Raises `MeasureError` for a name that is none."""
        if metric not in METRICS:
            raise MeasureError(f"metric {metric!r} is not known; choose one of {', '.join(METRICS)}.")
        sides = self.a, self.b
        own, null = [side.by_unit(metric) for side in sides], [side.null.by_unit(metric) for side in sides]
        both = np.isfinite(own).all(axis=0)
        a, b, null_a, null_b = (self._median(np.where(both, values, np.nan)) for values in (*own, *null))
        beyond = (own[1] - null[1]) - (own[0] - null[0])
        return PairedEffect(metric, a, b, null_a, null_b, self._median(own[1] - own[0]), self._median(beyond))

    def _median(self, values: Float[np.ndarray, " units"]) -> Interval:
        return stats.median_interval(values, ends=self.a.unit_ends)

    def kinds(self) -> dict[str, Comparison]:
        """The pairs of each kind of labels (D1, D2: D) for themselves; all under no name where they have no kinds.

        Prompts that pairs of one kind share with those of another are then no reason to leave them out.
        """
        if self.labels is None:
            return {"": self}
        return {kind: self._of(rows) for kind, rows in tables.kinds(self.labels).items()}

    def _of(self, rows: Sequence[bool]) -> Comparison:
        assert self.labels is not None
        kept = tuple(label for label, chosen in zip(self.labels, rows, strict=True) if chosen)
        return replace(self, a=tables.alone(self.a, rows), b=tables.alone(self.b, rows), labels=kept)

    def frame(self) -> DataFrame:
        """One row a metric: its medians, nulls, paired difference and interval; of labelled kinds of pairs a row each.

        `kind` is empty where all pairs are meant. Where there is no interval, its ends are missing.
        """
        import pandas

        rows = [self._row(kind, part.effect(name)) for kind, part in self.kinds().items() for name in METRICS]
        return pandas.DataFrame(rows)

    def _row(self, kind: str, effect: PairedEffect) -> dict[str, Any]:
        told = {name: self.a.provenance.get(name) for name in ("layer", "read")}
        row: dict[str, Any] = {**told, "kind": kind, "metric": effect.metric, "n": effect.n}
        for name in ("difference", "beyond_null", "a", "b", "null_a", "null_b"):
            interval: Interval = getattr(effect, name)
            row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
        for side in ("a", "b"):
            held: Curves = getattr(self, side)
            row |= {f"model_{side}": name_of(held), f"weights_sha256_{side}": held.provenance.get("weights_sha256")}
        return row

    def pair_frame(self) -> DataFrame:
        """One row a pair: label, prompts where they are known, unit, and every metric of either model, `_a` and `_b`.

        Also `null_..._a` and `null_..._b`. A pair without movement in a model is `degenerate_a` or `degenerate_b`.
        """
        frames = [side.frame(self.labels) for side in (self.a, self.b)]
        shared = [
            name for name in frames[0] if name in ("pair", "label", "prompt_a", "prompt_b", "layer", "read", "unit")
        ]
        own = [frame.drop(columns=shared).add_suffix(end) for frame, end in zip(frames, ("_a", "_b"), strict=True)]
        return frames[0][shared].join(own)

    def lines(self) -> list[str]:
        """What a terminal shows of one layer: every metric's medians, nulls and paired difference."""
        return [line for kind, part in self.kinds().items() for line in part._table(kind)]

    def _table(self, kind: str) -> list[str]:
        used, effects = int((self.a.units >= 0).sum()), self.effects
        head = f"{kind + ': ' if kind else ''}{len(self)} pair{'' if len(self) == 1 else 's'}"
        if used < len(self):
            head += f", {len(self) - used} of which share a prompt with an earlier one and are left out"
        columns = (
            f"{'a':>8} {'(null)':>9} {'b':>8} {'(null)':>9}  {'b - a, pair by pair':<26} {'beyond the nulls':<26}  n"
        )
        rows = [f"{_label(name):<16} {_cells(effect)}" for name, effect in effects.items()]
        return [head, f"{'median of':<16} {columns}", *rows, *_unmeasured(effects.values())]

    def plot(self) -> Figure:
        """Draw both models' median curves with quartile bands, and the paired differences of four metrics."""
        return draw({int(self.a.provenance.get("layer", 0)): self})

    def __repr__(self) -> str:
        effect = self.effect("edge_speed")
        return (
            f"Comparison({name_of(self.a)} against {name_of(self.b)}: {len(self)} pair{'' if len(self) == 1 else 's'}, "
            f"edge speed b - a {effect.difference} (n = {effect.n}))"
        )


_HASHES = ("weights_sha256", "config_sha256")
# Comparisons of the same two models on the same pairs, by the layer after which the patch stands.
ByLayer = Mapping[int, Comparison]


def name_of(curves: Curves) -> str:
    """What a model is called in print: of a folder its last part, and its revision."""
    model, revision = (str(curves.provenance.get(name, "")) for name in ("model", "revision"))
    model = Path(model).name if Path(model).is_absolute() else model
    return f"{model}@{revision}" if revision not in ("", "main", "unknown") else model


def lines(found: ByLayer) -> list[str]:
    """What a terminal shows: the two models, what they differ in, and a table a layer."""
    first = next(iter(found.values()))
    shown = [f"{side}: {_told(curves)}" for side, curves in (("a", first.a), ("b", first.b))]
    shown += [f"{first.same}."] if first.same else []
    told = [f"  {one}" for one in first.differences[:MOST_LINES]]
    if more := len(first.differences) - len(told):
        told.append(f"  and {more} more, which Comparison.differences of measure.compare holds")
    shown += ["what differs:", *told] if told else ["nothing else was found to differ."]
    for layer, comparison in found.items():
        shown += [f"after block {layer}, read {comparison.a.provenance.get('read')}:", *comparison.lines()]
    return [*shown, _NO_VERDICT]


def _told(curves: Curves) -> str:
    held = curves.provenance
    return f"{name_of(curves)}, weights {str(held.get('weights_sha256', 'not known'))[:12]}, in {held.get('dtype')}"


def _label(metric: str) -> str:
    return metrics.TABLE[metric].label


def _cells(effect: PairedEffect) -> str:
    sides = [f"{_number(one.estimate):>8} {f'({_number(null.estimate)})':>9}" for one, null in
             ((effect.a, effect.null_a), (effect.b, effect.null_b))]  # fmt: skip
    return f"{' '.join(sides)}  {_span(effect.difference):<26} {_span(effect.beyond_null):<26}  {effect.n}"


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "none"


def _span(interval: Interval) -> str:
    if not np.isfinite(interval.estimate):
        return "none"
    if not np.isfinite([interval.low, interval.high]).all():
        return f"{interval.estimate:+.3f} [not measured]"
    return str(interval)


def _unmeasured(effects: Iterable[PairedEffect]) -> list[str]:
    """Why there is no value or no interval, where there is none of some metric."""
    lacking = [effect for effect in effects if not effect.measured]
    none = [_label(effect.metric) for effect in lacking if effect.n == 0]
    few = [effect.n for effect in lacking if 0 < effect.n < FEWEST]
    told = []
    if none:
        told.append(f"none: no pair has {', '.join(none)} in both models, for want of points or of movement.")
    if few:
        told.append(f"[not measured]: an interval takes {FEWEST} independent pairs, found {min(few)}.")
    if len(lacking) > len(none) + len(few):
        told.append(f"[not measured]: the independent pairs end on fewer than {FEWEST} different tokens.")
    return told


def frame(found: ByLayer) -> DataFrame:
    """`Comparison.frame` of all layers, one under the other."""
    import pandas

    return pandas.concat([comparison.frame() for comparison in found.values()], ignore_index=True)


def write(found: ByLayer, name: str) -> list[str]:
    """Write comparisons as the ending of `name` says; returns what was written.

    A table has a row a metric and layer. A figure of degenerate pairs alone is not written. Of numbers (`.npz`) each
    model's curves have a file of their own, `NAME-a.npz` and `NAME-b.npz`, and so has each of several layers.
    """
    ending = Path(name).suffix.lower()
    if ending in tables.TABLES:
        return [tables.write_table(name, frame(found))]
    if ending in tables.FIGURES:
        nothing = all(side.degenerate.all() for one in found.values() for side in (one.a, one.b))
        return [] if nothing else [tables.write_figure(name, lambda: draw(found))]
    written = []
    for layer, comparison in found.items():
        for side, curves in (("a", comparison.a), ("b", comparison.b)):
            more = f"-layer{layer}-{side}" if len(found) > 1 else f"-{side}"
            written.append(str(curves.save(tables.named(name, more))))
    return written


def draw(found: ByLayer) -> Figure:
    """A row for each layer on a new figure: both models' curves, and paired differences of four metrics."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(9.0, 2.9 * len(found) + 0.4), layout="constrained")
    parts = figure.subfigures(len(found), 1, squeeze=False)[:, 0]
    for part, (layer, comparison) in zip(parts, found.items(), strict=True):
        _draw_row(part, layer, comparison)
    first = next(iter(found.values()))
    figure.suptitle(
        "    ".join(f"{side}: {_short(name_of(held))}" for side, held in (("a", first.a), ("b", first.b))), fontsize=10
    )
    return figure


def _short(name: str, most: int = 50) -> str:
    """A name that fits above a figure: of a long one its end, which tells revisions apart."""
    return name if len(name) <= most else f"...{name[3 - most :]}"


def _draw_row(part: SubFigure, layer: int, comparison: Comparison) -> None:
    axes = part.subplots(1, 1 + len(DRAWN), width_ratios=[2.6] + [1.0] * len(DRAWN))
    curves: Axes = axes[0]
    for name, side, colour in zip("ab", (comparison.a, comparison.b), _COLOURS, strict=True):
        low, middle, high = side.quartiles()
        curves.plot(side.alphas, middle, color=colour, label=name)
        curves.fill_between(side.alphas, low, high, color=colour, alpha=0.2, linewidth=0)
    curves.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    curves.legend(fontsize=8, frameon=False)
    curves.set_title(f"after block {layer}: medians and quartiles", fontsize=8)
    curves.set_xlabel("interpolation coefficient alpha", fontsize=8)
    curves.set_ylabel("relative output distance d / d(1)", fontsize=8)
    for ax, metric in zip(axes[1:], DRAWN, strict=True):
        _draw_differences(ax, comparison, metric)
    for ax in axes:
        ax.tick_params(labelsize=7)


def _draw_differences(ax: Axes, comparison: Comparison, metric: str) -> None:
    """Every unit's b minus a, side by side at random, and their median with its interval."""
    values = comparison.b.by_unit(metric) - comparison.a.by_unit(metric)
    values = values[np.isfinite(values)]
    beside = np.random.default_rng(0).uniform(-0.3, 0.3, len(values))
    ax.plot(beside, values, "o", color="0.6", markersize=2, zorder=1)
    ax.axhline(0, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    effect = comparison.effect(metric)
    found, told = effect.difference, f"n = {effect.n}"
    if len(values):
        ax.plot([0], [found.estimate], "s", color="black", markersize=4, zorder=3)
    if effect.measured:
        ax.plot([0, 0], [found.low, found.high], color="black", linewidth=1.5, zorder=2)
    else:
        told += ", no interval"
    ax.set_title(f"{_label(metric)}\nb - a, {told}", fontsize=7)
    ax.set_xlim(-0.6, 0.6)
    ax.set_xticks([])
