"""Figures of two-dimensional slices, the paper's Figs. 1 and 5 to 22, from the records of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from measure.kinds.rows import Triple
from measure.report import records
from measure.report.figure_parts import (
    Item,
    about_model,
    amount_name,
    caption_text,
    few,
    first_layer,
    items_of,
    measured_on,
    numbers,
    slice_grid,
    stored,
    styled,
    trajectories,
    usual,
)
from measure.report.records import Run
from measure.results.slices import SAME_COLOUR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

# A, B and C where hue alone must not tell them apart: dark, light and middle.
REFERENCE_COLOURS = ("#D55E00", "#F5E663", "#0072B2")
# As many as the paper shows.
TRIPLES = 18


@styled
def fig1(run: Run, regions: bool = False) -> Figure | None:
    """Fig. 1: one slice along training, in the model with the most parameters; A, B and C marked.

    The slice whose solid share grows by the median: neither the best nor the worst.
    """
    found = trajectories(run, first_layer(stored(usual(items_of(run, "SliceSpec")))))
    if not found:
        return None
    model, rows = max(found.items(), key=lambda pair: about_model(run, pair[0]).parameters)
    first, last = (numbers([t.metrics["solid_share"] for t in rows[place][1].row.triples]) for place in (0, -1))
    order = np.argsort(last - first)
    triple = int(order[len(order) // 2])
    shown = few(rows, 6)
    columns = 3 if len(shown) > 2 else len(shown)
    which = f"slices of {model}, triple {triple + 1} of {rows[0][1].row.n}, the one of median growth in solid colour"
    caption = caption_text(which, measured_on([rows[0][1]]), _key(regions))
    figure, axes = slice_grid(-(-len(shown) // columns), columns, caption, left=0.14)
    for panel, (entry, item) in zip(axes.flat, shown, strict=False):
        _slice(panel, item, triple, regions=regions)
        panel.set_title(amount_name(entry))
    _outer_slices(axes)
    return figure


@styled
def slices_of(run: Run, triple: int, regions: bool = False) -> Figure | None:
    """Figs. 5 to 22: one triple in every model that has training revisions, along training."""
    found = trajectories(run, first_layer(stored(usual(items_of(run, "SliceSpec")))))
    found = {model: rows for model, rows in found.items() if len(rows[0][1].row.triples) > triple}
    if not found:
        return None
    columns = max(len(few(rows)) for rows in found.values())
    some = next(iter(found.values()))[0][1]
    which = f"Slices along training, triple {triple + 1} of {some.row.n}"
    figure, axes = slice_grid(len(found), columns, caption_text(which, measured_on([some]), _key(regions)), left=0.28)
    for line, (model, rows) in zip(axes, found.items(), strict=True):
        for panel, (entry, item) in zip(line, few(rows), strict=False):
            _slice(panel, item, triple, regions=regions, marker=2.5)
            panel.set_title(amount_name(entry), fontsize=5)
        line[0].set_ylabel(model, fontsize=5)
    _outer_slices(axes)
    return figure


def _key(regions: bool) -> str:
    if regions:
        nearest = "colour: the reference whose output is nearest (A orange, B yellow, C blue; one where they are alike)"
        return f"{nearest}, pale between"
    return "red, green, blue: 1\u00a0-\u00a0d\u00a0/\u00a0max\u00a0d from A, B and C"


def _slice(axes: Axes, item: Item, triple: int, *, regions: bool, marker: float = 3.5) -> None:
    """One slice, alpha across and beta up, with A, B and C."""
    entry = item.row.triples[triple]
    colours = records.slice_colours(item.row, triple)
    assert item.row.extent is not None
    low, high = item.row.extent
    half = (high - low) / (2 * (len(colours) - 1))
    edges = (low - half, high + half)
    axes.set(xlim=edges, ylim=edges, aspect="equal")
    # The names of the axes stand between their ends, where there is room.
    axes.set_xticks([0, 0.5, 1], ["0", "α", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "β", "1"])
    if entry.degenerate:
        axes.text(0.5, 0.5, "no plane", fontsize=5, ha="center", va="center")
        return
    nearest, shown = _nearest(colours, entry)
    axes.imshow(shown if regions else colours, origin="lower", extent=(*edges, *edges), interpolation="nearest")
    if regions:
        axes.add_collection(_boundaries(nearest, edges[0], 2 * half))
    for (alpha, beta), name in zip(entry.reference_points, "ABC", strict=True):
        if alpha is not None and beta is not None and edges[0] <= alpha <= edges[1]:
            axes.plot(alpha, beta, "o", markerfacecolor="white", markeredgecolor="black", markersize=marker, mew=0.6)
            axes.annotate(
                name, (alpha, beta), (2.5, 1.5), textcoords="offset points", fontsize=1.8 * marker, weight="bold",
                color="black" if regions else "white",
            )  # fmt: skip


def _nearest(
    colours: np.ndarray, entry: Triple
) -> tuple[Int[np.ndarray, "size size"], Float[np.ndarray, "size size 3"]]:
    """Which reference's own colour each cell is nearest to, and a colour for it: full where it is that one's."""
    from matplotlib.colors import to_rgb

    own = np.array([numbers(colour) for colour in entry.own_colours])
    away = np.abs(colours[None] / 255 - own[:, None, None]).max(axis=-1)
    # References that have one colour are one: between them there is no boundary.
    alike = np.abs(own[:, None] - own[None]).max(axis=-1) <= SAME_COLOUR
    nearest = alike.argmax(axis=0)[away.argmin(axis=0)]
    palette = np.array([to_rgb(colour) for colour in REFERENCE_COLOURS])
    # Solid as in the claim on slices; at half the scale it is nobody's.
    strength = np.clip(1 - (away.min(axis=0) - SAME_COLOUR) / 0.4, 0.15, 1)[..., None]
    return nearest, strength * palette[nearest] + (1 - strength)


def _boundaries(nearest: Int[np.ndarray, "size size"], start: float, side: float) -> LineCollection:
    """Lines between neighbouring cells that are nearest to different references; cells begin at `start`."""
    from matplotlib.collections import LineCollection

    upright = np.argwhere(nearest[:, 1:] != nearest[:, :-1])
    level = np.argwhere(nearest[1:] != nearest[:-1])
    lines = [[(column + 1, row), (column + 1, row + 1)] for row, column in upright]
    lines += [[(column, row + 1), (column + 1, row + 1)] for row, column in level]
    return LineCollection((start + side * np.array(lines).reshape(-1, 2, 2)).tolist(), colors="black", linewidths=0.5)


def _outer_slices(axes: np.ndarray) -> None:
    for (row, column), panel in np.ndenumerate(axes):
        panel.set_visible(panel.has_data())
        lowest = row + 1 == len(axes) or not axes[row + 1, column].has_data()
        panel.tick_params(length=0, labelsize=5, pad=1, labelleft=column == 0, labelbottom=lowest)
        for spine in panel.spines.values():
            spine.set_visible(False)
