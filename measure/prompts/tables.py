"""Results as tables, and written as what the name of a file says: numbers, a table or a figure."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from measure.base.files import write_atomically
from measure.prompts.drawn import independent_units
from measure.results import METRICS, Curves, figures
from measure.results.slices import Slices
from measure.spec import MeasureError
from measure.stats.shared_ends import FEWEST

if TYPE_CHECKING:
    from pandas import DataFrame

NUMBERS = (".npz",)
TABLES = (".csv", ".parquet", ".json")
FIGURES = (".png", ".svg", ".pdf")
# Lines up to this many are told apart; of more a figure shows median and quartiles.
FEW = 12
# So many kinds of labels (D1, D2, S1: two) have medians of their own.
MOST_KINDS = 6

# Curves of the same pairs, by the layer after which the patch stands.
ByLayer = Mapping[int, Curves]


def lines(found: ByLayer, labels: Sequence[str] | None = None, *, drawn: bool = True) -> list[str]:
    """What a terminal shows: of one pair its metrics and the curve, of several a row each and their median.

    Not `drawn`, a curve that is kept elsewhere is left out.
    """
    shown: list[str] = []
    for layer, curves in found.items():
        shown += [f"after block {layer}:"] if len(found) > 1 else []
        shown += _one(curves, drawn) if len(curves) == 1 else _several(curves, labels or _numbers(curves))
    return shown


def _one(curves: Curves, drawn: bool) -> list[str]:
    if curves.degenerate[0]:
        return ["degenerate pair: both prompts give the same output, so there is no relative distance"]
    values = [(name, getattr(curves, name)[0], getattr(curves.null, name)[0]) for name in METRICS]
    told = [f"{name:<17} {value:<8.4f} its norm-only null {null:.4f}" for name, value, null in values]
    along = zip(curves.alphas, curves.relative[0], strict=True) if drawn else ()
    return told + [f"{alpha:.3f} {r:8.4f} {'#' * round(60 * min(max(r, 0.0), 1.0))}" for alpha, r in along]


# Of a pair in a list: the paper's sharpness, and what tells a plateau.
_SHOWN = ("max_slope", "edge_speed", "jump_location")


def _several(curves: Curves, labels: Sequence[str]) -> list[str]:
    width = min(40, max(map(len, [*labels, "median"])))
    head = "  ".join(f"{name.replace('_', ' '):>13} {'(null)':>8}" for name in _SHOWN)
    shown = [f"{'pair':<{width}}  {head}"]
    for row, label in enumerate(labels):
        cells = [f"{getattr(curves, m)[row]:>13.3f} {f'({getattr(curves.null, m)[row]:.3f})':>8}" for m in _SHOWN]
        told = "degenerate: both prompts give the same output" if curves.degenerate[row] else "  ".join(cells)
        shown.append(f"{label[:width]:<{width}}  {told}")
    return shown + [line for kind, rows in kinds(labels).items() for line in _medians(alone(curves, rows), kind)]


def kinds(labels: Sequence[str]) -> dict[str, list[bool]]:
    """Which pairs are of each kind of labels (D1, D2, S1: two); all of one without a name where they have no kinds."""
    named = list(dict.fromkeys(map(figures.kind_of, labels)))
    if not 1 < len(named) <= min(MOST_KINDS, len(labels) - 1):
        return {"": [True] * len(labels)}
    return {kind: [figures.kind_of(label) == kind for label in labels] for kind in named}


def alone(curves: Curves, chosen: Sequence[bool]) -> Curves:
    """Some pairs for themselves: prompts that they share with others are no reason to leave them out."""
    found = curves.take(np.flatnonzero(chosen))
    if found.prompts is None:
        return found
    return replace(found, units=np.array(independent_units(*found.prompts.T.tolist())))


def _medians(curves: Curves, kind: str) -> list[str]:
    shown = []
    for metric in _SHOWN[:2]:
        found, null = curves.interval(metric), curves.null.interval(metric)
        bounds = f"[{found.low:.3f}, {found.high:.3f}]" if np.isfinite(found.low) else _without_bounds(found.n)
        name = f"median {metric.replace('_', ' ')}{f' of {kind}' if kind else ''}"
        shown.append(f"{name} {found.estimate:.3f} {bounds}, n = {found.n} independent; its null {null.estimate:.3f}")
    return shown


def _without_bounds(units: int) -> str:
    """Why a median has no interval: too few units, or too few tokens that they end on."""
    return f"(no interval on fewer than {FEWEST}{' last tokens' if units >= FEWEST else ''})"


def _numbers(curves: Curves) -> list[str]:
    return [str(number) for number in range(1, len(curves) + 1)]


def check_names(names: Sequence[str], *, tables: bool = True, source: str | None = None) -> None:
    """Raise `MeasureError` for a file that could not be written once all is measured: by its ending, or its place.

    Also for `source`, the file that is read.
    """
    endings = (*(TABLES if tables else ()), *NUMBERS, *FIGURES)
    for name in names:
        if not name or Path(name).is_dir():
            what = "a folder" if name else "no name"
            raise MeasureError(f"--save {name!r} is {what}; give the name of a file, such as curve.npz or curve.png.")
        if Path(name).suffix.lower() not in endings:
            raise MeasureError(f"--save {name!r}: its ending says what to write; expected one of {', '.join(endings)}.")
        if not Path(name).parent.is_dir():
            raise MeasureError(f"--save {name!r}: there is no folder {Path(name).parent}; make it, or give another.")
        if source is not None and Path(name).exists() and Path(source).exists() and Path(name).samefile(source):
            raise MeasureError(f"--save {name!r} is the file that is read, {source}; give another name.")


def write_curves(found: ByLayer, name: str, labels: Sequence[str] | None = None) -> list[str]:
    """Write curves of one or several layers as the ending of `name` says; returns what was written.

    A figure of degenerate pairs alone is not. Tables hold the layers one under the other; of numbers (`.npz`) each
    layer has a file of its own.
    """
    ending = Path(name).suffix.lower()
    if ending in TABLES:
        import pandas

        table = pandas.concat([curves.frame(labels) for curves in found.values()], ignore_index=True)
        return [write_table(name, table)]
    if ending in FIGURES:
        nothing = all(curves.degenerate.all() for curves in found.values())
        return [] if nothing else [write_figure(name, lambda: draw(found, labels))]
    several = len(found) > 1
    places = {layer: named(name, f"-layer{layer}") if several else name for layer in found}
    return [str(found[layer].save(place)) for layer, place in places.items()]


def write_slices(found: Slices, name: str) -> list[str]:
    """Write slices as numbers or a figure, by the ending of `name`; returns what was written, nothing if degenerate."""
    if Path(name).suffix.lower() not in FIGURES:
        return [str(found.save(name))]
    return [] if found.degenerate[0] else [write_figure(name, found.plot)]


def write_table(name: str, table: DataFrame) -> str:
    """Write a table as the ending of `name` says; returns what was written."""
    write_atomically(Path(name), _table_bytes(table, Path(name).suffix.lower()))
    return name


def named(name: str, more: str) -> str:
    """The name of a file with something put before its ending."""
    return str(Path(name).with_name(Path(name).stem + more + Path(name).suffix))


def _table_bytes(table: DataFrame, ending: str) -> bytes:
    if ending == ".csv":
        return str(table.to_csv(index=False)).encode()
    if ending == ".json":
        return str(table.to_json(orient="records", indent=1, force_ascii=False)).encode()
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def draw(found: ByLayer, labels: Sequence[str] | None = None) -> None:
    """A panel for each layer on a new figure: a line for each of a few pairs, else median and quartiles."""
    from matplotlib import pyplot

    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    size = (3.6 * columns + (1.2 if labels is not None else 0.6), 3.0 * rows + 0.3)
    figure, axes = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, sharex=True)
    for place, (layer, curves) in enumerate(found.items()):
        ax = axes.flat[place]
        curves.plot(ax, labels=(labels or _numbers(curves)) if len(curves) <= FEW else None)
        ax.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":", zorder=0)
        ax.set_title(f"after block {layer}", fontsize=10)
    for ax in axes.flat[len(found) :]:
        ax.remove()
    model = next(iter(found.values())).provenance.get("model", "")
    figure.suptitle(Path(str(model)).name if len(str(model)) > 40 else str(model), fontsize=11)
    figure.supxlabel("interpolation coefficient alpha", fontsize=9)
    figure.supylabel("relative output distance d / d(1)", fontsize=9)
    handles, names = axes.flat[0].get_legend_handles_labels()
    if len(next(iter(found.values()))) <= FEW and names:
        figure.legend(handles, names, loc="outside right center", fontsize=8, frameon=False)


def write_figure(name: str, drawn: Callable[[], object]) -> str:
    """Write what `drawn` draws on a new figure, as the ending of `name` says; returns what was written."""
    from matplotlib import pyplot

    buffer = io.BytesIO()
    pyplot.switch_backend("Agg")
    drawn()
    pyplot.savefig(buffer, format=Path(name).suffix.lower()[1:], dpi=200)
    pyplot.close()
    write_atomically(Path(name), buffer.getvalue())
    return name
