"""What the paper's figures are made of: style, the choice of results from a run, words, and pieces of axes.

One style for all: as wide as a column (3.3 inches), colours that do not rely on red against green (Okabe and Ito's),
names at or in the colour of the curves instead of legends, and small print beneath that says what bands are and over
how many pairs.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Float

from measure.kinds.rows import CurveRow, Field, ModelRow, Number, ResultRow, Revision
from measure.report.records import Run
from measure.results import metrics
from measure.spec import CurveSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

T = TypeVar("T")

WIDTH = 3.3
# Okabe and Ito's colours.
BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#767676",
)  # fmt: skip
FAMILY_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
WEIGHTS = {
    "stored": ("trained", BLUE, "o"),
    "scrambled": ("shuffled", VERMILION, "s"),
    "untrained": ("untrained", GREY, "D"),
}
# Of matplotlib's own type, a literal of each setting's name, it would be unreadable.
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlepad": 3,
    "axes.labelpad": 2,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "errorbar.capsize": 1.5,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    # A dollar in a model's name is no formula.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "stable regions",
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
}
# Revisions in a row of slices, and in a panel of curves.
FEW = 5
CAPTION = "caption"
BAND = "lines: medians; bands and bars: quartiles"


@dataclass(frozen=True)
class Item:
    """A result of the run and what it was measured on; `weights` without their seed."""

    model: str
    revision: str
    weights: str
    layer: int
    read: str
    protocol: str
    pairing: str
    row: ResultRow

    @property
    def curve(self) -> CurveRow:
        """Quartiles of r, which all results but slices have."""
        assert self.row.curve is not None, "slices have no curve"
        return self.row.curve


def shown(items: Iterable[Item]) -> tuple[metrics.Definition, metrics.Definition]:
    """The two metrics that figures set side by side: max slope, and edge speed where every result has it."""
    known = all("edge_speed" in item.row.metrics for item in items)
    return metrics.TABLE["max_slope"], metrics.TABLE["edge_speed" if known else "edge_drift"]


def styled(draw: Callable[..., Figure | None]) -> Callable[..., Figure | None]:
    """Draw under this module's style, and leave the caller's as it was."""

    @wraps(draw)
    def styled(run: Run, *rest: Any) -> Figure | None:
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return draw(run, *rest)

    return styled


# What is in a run

# Fields that stand in a record only where they are not as in the paper.
_ADDED = frozenset(field.name for field in fields(CurveSpec) if field.metadata.get("added"))


def items_of(run: Run, kind: str = "CurveSpec") -> list[Item]:
    """Results of one type of spec that have something to draw, counterfeits of the first seed alone.

    Those in float32, where the run has any; none on another path, of another distance or of a model that was changed.
    """
    drawn = [row for row in run.results.values() if row.curve is not None or row.triples]
    found = [row for row in drawn if row.type == kind and not _ADDED & row.spec.keys()]
    rows = [row for row in found if row.weights.kind in WEIGHTS]
    precisions = [_precision(row) for row in rows]
    precision = "float32" if not precisions or "float32" in precisions else precisions[-1]
    return [_item(row) for row in rows if row.weights.digits in ("", "0") and _precision(row) == precision]


def _precision(row: ResultRow) -> Field:
    return row.spec.get("precision", "float32")


def _item(row: ResultRow) -> Item:
    layer = row.spec["layer"]
    assert isinstance(layer, int)
    read, protocol, pairing = map(str, (row.spec["read"], row.spec["protocol"], row.spec.get("pairing", "random")))
    return Item(row.model, row.revision, row.weights.kind, layer, read, protocol, pairing, row)


def usual(items: Iterable[Item], *, read: str | None = "final_norm", pairing: str = "random") -> list[Item]:
    """Those with the paper's read on random pairs, under protocol `paper` where the run has it; each one once."""
    chosen = [item for item in items if read in (None, item.read) and item.pairing == pairing]
    protocol = "paper" if any(item.protocol == "paper" for item in chosen) else "strict"
    return [item for item in chosen if item.protocol == protocol]


def stored(items: Iterable[Item]) -> list[Item]:
    return [item for item in items if item.weights == "stored"]


def first_layer(items: Iterable[Item]) -> list[Item]:
    return [item for item in items if item.layer == 1]


def about_model(run: Run, model: str) -> ModelRow:
    """What the header tells of a model; little where it does not."""
    known = run.header.catalog.get(model) if run.header else None
    return known or ModelRow(family=model)


def by_size(run: Run, models: Iterable[str]) -> list[str]:
    """Models without other training seeds, from the smallest to the largest, family by family."""
    known = {model: about_model(run, model) for model in models}
    chosen = [model for model, about in known.items() if not about.seed]
    return sorted(chosen, key=lambda model: (known[model].source, known[model].family, known[model].parameters))


def families_of(run: Run, models: Iterable[str]) -> dict[str, list[str]]:
    """Models by what their names share: the ladder's families apart from those of the hub."""
    found: dict[str, list[str]] = {}
    for model in by_size(run, models):
        about = about_model(run, model)
        prefix = "ladder-" if about.source == "ladder" else ""
        found.setdefault(prefix + about.family, []).append(model)
    return found


def largest(run: Run, models: Iterable[str]) -> list[str]:
    """The largest model of each family."""
    return [group[-1] for group in families_of(run, models).values()]


def trajectories(run: Run, items: Iterable[Item]) -> dict[str, list[tuple[Revision, Item]]]:
    """By model, its revisions in order of training with their results; models with two or more."""
    by_place = {(item.model, item.revision): item for item in items}
    found = {}
    for model in by_size(run, {item.model for item in items}):
        known = about_model(run, model).revisions
        rows = [(entry, by_place[model, entry.name]) for entry in known if (model, entry.name) in by_place]
        if len(rows) > 1:
            found[model] = rows
    return found


def few(rows: Sequence[T], count: int = FEW) -> list[T]:
    """At most `count` of `rows`, evenly spread, the first and the last among them."""
    places = np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))
    return [rows[place] for place in places]


# Words


def size_name(name: str, group: str) -> str:
    """A model's name without what its family's panel already says."""
    return name.removeprefix(f"{group}-")


def name_in_parts(model: str) -> list[str]:
    """A model's name in lines that a panel of three is wide enough for."""
    return textwrap.wrap(model, 18)


def count_name(number: float) -> str:
    """3200000 as 3.2M."""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}" if number < 100 * unit else f"{number / unit:.0f}{name}"
    return f"{number:.0f}"


def amount_name(entry: Revision) -> str:
    """How far a revision is trained."""
    if entry.tokens is not None:
        return f"{count_name(entry.tokens)} tokens"
    return f"step {count_name(entry.step)}" if entry.step is not None else entry.name


def over_how_many(items: Iterable[Item], of: str = "pairs") -> str:
    """Over how many rows: one number, or the least and the most."""
    counts = sorted({_kept(item.row) for item in items})
    return f"n = {counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''} {of}"


def _kept(row: ResultRow) -> int:
    assert row.n is not None
    assert row.degenerate is not None
    return row.n - row.degenerate


def measured_on(items: Iterable[Item]) -> str:
    """Protocol, where patched and what is read, as far as all have it in common."""
    items = list(items)
    layers, reads = {item.layer for item in items}, {item.read for item in items}
    said = [f"protocol {items[0].protocol}"]
    said += [f"patched after layer {layers.pop()}"] if len(layers) == 1 else []
    said += [f"read {reads.pop().replace('_', ' ')}"] if len(reads) == 1 else []
    precision = _precision(items[0].row)
    said += [f"computed in {precision}"] if precision != "float32" else []
    return ", ".join(said)


# Pieces of figures


def new_figure(rows: int, columns: int, height: float, *, share: bool = True) -> tuple[Figure, np.ndarray]:
    """A figure as wide as a column and its axes, (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share)
    return figure, axes


def caption_text(*parts: str) -> str:
    # No line ends inside "n = 400".
    text = "; ".join(parts).replace(" = ", "\u00a0=\u00a0") + "."
    return "\n".join(textwrap.wrap(text[0].upper() + text[1:], 78))


def add_caption(figure: Figure, *parts: str) -> Figure:
    """What the figure shows and over how many, in small print beneath it."""
    figure.supxlabel(caption_text(*parts), fontsize=5.5, color="0.35", ha="left", x=0.02, gid=CAPTION)
    return figure


def taken_caption(figure: Figure) -> tuple[str, Bbox]:
    """Take the caption out of a figure that is laid out: its text in one line, and what is left of the page, in inches.

    The panels stay as large as they are with it.
    """
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    # As it will be drawn, and cut at whole pixels, so that what is left looks as it did.
    figure.set_dpi(STYLE["savefig.dpi"])
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    (caption,) = figure.findobj(lambda part: part.get_gid() == CAPTION)
    assert isinstance(caption, Text)
    above = np.floor(caption.get_window_extent().y1) / figure.dpi
    caption.set_visible(False)
    return " ".join(caption.get_text().replace("\u00a0", " ").split()), Bbox([[0, above], [*figure.get_size_inches()]])


def slice_grid(rows: int, columns: int, caption: str, *, left: float) -> tuple[Figure, np.ndarray]:
    """Square panels in a grid, `left` inches from the edge, over a caption; laid out by hand, which is faster."""
    from matplotlib.figure import Figure

    between, title = 0.05, 0.17
    side = (WIDTH - left - 0.03 - between * (columns - 1)) / columns
    below = 0.2 + 0.095 * (1 + caption.count("\n"))
    height = below + rows * (side + title)
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for (row, column), panel in np.ndenumerate(axes):
        corner = left + column * (side + between), below + (rows - 1 - row) * (side + title)
        panel.set_position((corner[0] / WIDTH, corner[1] / height, side / WIDTH, side / height))
    figure.text(0.02, 0.03 / height, caption, fontsize=5.5, color="0.35", va="bottom", gid=CAPTION)
    return figure, axes


def numbers(values: Sequence[Number]) -> Float[np.ndarray, " values"]:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def draw_curve(axes: Axes, curve: CurveRow, colour: Any, *, dashed: bool = False, band: bool = True) -> None:
    """Median r over alpha, with its quartile band."""
    alphas = numbers(curve.alphas)
    low, middle, high = map(numbers, curve.rows())
    axes.plot(alphas, middle, "--" if dashed else "-", color=colour, linewidth=1 if dashed else 1.2)
    if band:
        axes.fill_between(alphas, low, high, color=colour, alpha=0.13, linewidth=0, zorder=1)


def relative_axes(axes: Axes, title: str = "") -> None:
    """Axes for r over alpha, with the straight line."""
    axes.plot([0, 1], [0, 1], ":", color="0.6", linewidth=0.7, zorder=0)
    axes.set(xlim=(0, 1), ylim=(-0.03, 1.08), title=title)
    ends = [0, 0.5, 1], ["0", "0.5", "1"]
    axes.set_xticks(*ends)
    axes.set_yticks(*ends)


def set_titles(axes: np.ndarray, titles: Sequence[str]) -> None:
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title)


def label_outer(axes: np.ndarray, across: str, up: str) -> None:
    """Name the axes at the figure's left and lower edge alone; take away panels that are empty."""
    for (row, column), panel in np.ndenumerate(axes):
        empty = not panel.has_data()
        panel.set_visible(not empty)
        below = row + 1 == axes.shape[0] or not axes[row + 1, column].has_data()
        if below:
            panel.set_xlabel(across)
            panel.tick_params(labelbottom=True)
        if column == 0:
            panel.set_ylabel(up)


def add_letters(panels: Iterable[Axes]) -> None:
    """Letters a, b, c at the upper left of panels, by which a text names them."""
    for letter, panel in zip("abcdefghijklmnopqrstuvwxyz", panels, strict=False):
        panel.annotate(
            letter, (0, 1), (-8, 2.5), xycoords="axes fraction", textcoords="offset points", weight="bold",
            fontsize=7, ha="right", va="bottom", annotation_clip=False,
        )  # fmt: skip


def name_lines(
    axes: Axes,
    x: Float[np.ndarray, " steps"],
    rows: Sequence[tuple[str, Float[np.ndarray, " steps"]]],
    beside: Sequence[Float[np.ndarray, " steps"]] = (),
) -> None:
    """Names on lines, each where its own is farthest from the others, from those `beside` and from other names."""
    from matplotlib.patheffects import withStroke

    taken: list[tuple[float, float]] = []
    inner = np.flatnonzero((x > 0.1) & (x < 0.9))
    for place, (name, line) in enumerate(rows):
        others = [*beside, *(other for number, (_, other) in enumerate(rows) if number != place)]
        room = np.min([np.abs(line - other)[inner] for other in others] or [line[inner] * 0], axis=0)
        for across, up in taken:
            # A name is about so wide and high, in units of the axes.
            room = np.minimum(room, np.hypot((x[inner] - across) / 0.15, (line[inner] - up) / 0.1) - 1)
        best = inner[int(np.argmax(np.where(np.isfinite(room), room, -np.inf)))]
        taken.append((float(x[best]), float(line[best])))
        axes.annotate(
            name, taken[-1], ha="center", va="center", fontsize=4.5, color="0.15",
            path_effects=[withStroke(linewidth=1.2, foreground="white")],
        )  # fmt: skip


def name_curves(axes: Axes, rows: Sequence[tuple[str, Any]], *, size: float = 5.5) -> None:
    """Names of curves in the curves' own colours, in the corner that rising curves leave free."""
    for place, (text, colour) in enumerate(reversed(rows)):
        axes.annotate(
            text, (1, 0), (-1, 2 + 1.15 * size * place), xycoords="axes fraction", textcoords="offset points",
            color=colour, ha="right", va="bottom", fontsize=size,
        )  # fmt: skip


def shades_of(colour: str, count: int) -> list[Any]:
    """`count` colours from light to `colour`, and beyond to dark: the larger, the darker."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    base = np.array(to_rgb(colour))
    ramp = LinearSegmentedColormap.from_list("ramp", [base + 0.4 * (1 - base), base, 0.45 * base])
    return [base] if count == 1 else [ramp(share) for share in np.linspace(0, 1, count)]


def stage_colours(count: int) -> list[Any]:
    """`count` colours along training, dark to light, without the yellow that paper swallows."""
    from matplotlib import colormaps

    return [colormaps["viridis"](share) for share in np.linspace(0, 0.78, count)]


def draw_bars(
    axes: Axes, places: Sequence[float], items: Sequence[Item], metric: str, colour: Any, marker: str = "o"
) -> Float[np.ndarray, " items"]:
    """Medians of a metric with bars between quartiles, joined by a line; returns the medians."""
    found = [item.row.metrics[metric] for item in items]
    low, high = numbers([one.q25 for one in found]), numbers([one.q75 for one in found])
    middle = numbers([one.median for one in found])
    axes.errorbar(places, middle, [middle - low, high - middle], fmt=f"-{marker}", color=colour, elinewidth=0.7)
    return middle


def name_ends(axes: Axes, rows: Sequence[tuple[float, float, str, Any]]) -> None:
    """Names at the right ends of lines (x, y, text, colour), pushed apart where they would overlap.

    The axis is drawn out to make room for them.
    """
    low, high = axes.get_ylim()
    gap, last = 0.085 * (high - low), -np.inf
    start, end = axes.get_xlim()
    room = 0.019 * max(len(text) for *_, text, _ in rows)
    wide = np.exp(np.log(start) + np.log(end / start) / (1 - room)) if axes.get_xscale() == "log" else None
    axes.set_xlim(start, wide or start + (end - start) / (1 - room))
    right = max(x for x, *_ in rows)
    for _, y, text, colour in sorted(rows, key=lambda row: row[1]):
        last = max(y, last + gap)
        axes.annotate(text, (right, last), (6, 0), textcoords="offset points", color=colour, va="center", fontsize=6)
