"""The paper's figures, and ours beside them, from the records of a run: numbers in, matplotlib figures out.

Each function draws one figure for whatever models the run has, and returns None where the run lacks what it shows.
Nothing is measured here. `FIGURES` has them by name, `save_all` writes them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from measure import records
from measure.figure_parts import (
    BAND,
    BLUE,
    FAMILY_COLOURS,
    GREEN,
    GREY,
    ORANGE,
    STYLE,
    WEIGHTS,
    WIDTH,
    Item,
    about_model,
    add_caption,
    add_letters,
    amount_name,
    by_size,
    caption_text,
    count_name,
    draw_bars,
    draw_curve,
    families_of,
    few,
    first_layer,
    items_of,
    label_outer,
    largest,
    measured_on,
    name_curves,
    name_ends,
    name_in_parts,
    name_lines,
    new_figure,
    numbers,
    over_how_many,
    relative_axes,
    set_titles,
    shades_of,
    shown,
    size_name,
    slice_grid,
    stage_colours,
    stored,
    styled,
    taken_caption,
    trajectories,
    usual,
)
from measure.files import write_atomically
from measure.metrics import TABLE
from measure.records import Run
from measure.rows import CurveRow, Metric, PairRows, Revision, Triple
from measure.slices import SAME_COLOUR
from measure.spec import MeasureError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

# A, B and C where hue alone must not tell them apart: dark, light and middle.
REFERENCE_COLOURS = ("#D55E00", "#F5E663", "#0072B2")
# As many as the paper shows.
TRIPLES = 18
SIZES = "a point for each size, the smallest on the left; the axis counts embeddings too"

Draw = Callable[[Run], "Figure | None"]


# The paper's figures


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


@styled
def fig2(run: Run, every: bool = False) -> Figure | None:
    """Fig. 2: similar pairs, dissimilar pairs, and the logit difference against r on the dissimilar ones.

    The largest model of each family, or `every` one. Bands are the word lists; thin lines the paper's own pairs.
    """
    items = first_layer(stored(items_of(run, "PredictionSpec")))
    by_pairing = {
        pairing: {item.model: item for item in usual(items, pairing=pairing)}
        for pairing in ("similar", "dissimilar", "printed_similar", "printed_dissimilar")
    }
    both = by_pairing["similar"].keys() & by_pairing["dissimilar"].keys()
    models = by_size(run, both) if every else largest(run, both)
    if not models:
        return None
    figure, axes = new_figure(len(models), 3, 0.65 + 1.0 * len(models))
    for line, model in zip(axes, models, strict=True):
        for panel, kind, colour in zip(line, ("similar", "dissimilar"), (ORANGE, BLUE), strict=False):
            draw_curve(panel, by_pairing[kind][model].curve, colour)
            _printed(panel, by_pairing[f"printed_{kind}"].get(model), by_pairing[kind][model].curve)
            relative_axes(panel)
        _logit(line[2], by_pairing["dissimilar"][model])
        relative_axes(line[2])
        name_curves(line[0], [(part, "black") for part in name_in_parts(model)], size=5)
    set_titles(axes, ("similar pairs", "dissimilar pairs", "logit difference"))
    add_letters(axes[0])
    label_outer(axes, "α", "d / d(1)")
    used = [by_pairing[kind][model] for kind in ("similar", "dissimilar") for model in models]
    words = "bands: word pairs, median and quartiles"
    thin = "thin lines: the paper's own pairs that this tokenizer lets differ in one token"
    return add_caption(figure, words, over_how_many(used, "directed pairs"), thin, measured_on(used))


def _printed(axes: Axes, item: Item | None, band: CurveRow) -> None:
    """The paper's own pairs, one line each with its name, in the direction printed, over the word pairs' band."""
    if item is None or item.row.pairs is None:
        return
    alphas = numbers(item.curve.alphas)
    rows = item.row.pairs.relative
    lines = [numbers(row) for row in rows[: max(1, len(rows) // 2)]]
    for line, dashes in zip(lines, itertools.cycle(("-", (0, (5, 1.5)), (0, (1.5, 1.2))))):
        axes.plot(alphas, line, color="0.25", linewidth=0.5, linestyle=dashes)
    named = zip(_printed_names(item.row.pairs), lines, strict=False)
    middle = [numbers(band.median)] if band.alphas == item.curve.alphas else []
    name_lines(axes, alphas, [(name, line) for name, line in named if name and np.isfinite(line).any()], middle)


def _printed_names(pairs: PairRows) -> list[str]:
    """The paper's names of its own pairs, by the words that they end in; "" for a pair that is none of them."""
    from measure.prompts import PRINTED, written_rows

    names = {tuple(row[side].strip() for side in "ab"): row["name"] for row in written_rows(PRINTED)}
    return [names.get(tuple(token.strip(" ▁") for token in tokens), "") for tokens in pairs.last_tokens]


def _logit(axes: Axes, item: Item) -> None:
    """The scaled logit difference with its band, over the median of r."""
    assert item.row.logit is not None
    alphas = numbers(item.curve.alphas)
    low, middle, high = map(numbers, item.row.logit.rows())
    axes.fill_between(alphas, low, high, color=GREEN, alpha=0.15, linewidth=0)
    axes.plot(alphas, middle, color=GREEN)
    draw_curve(axes, item.curve, BLUE, dashed=True, band=False)
    name_curves(axes, [("logits", GREEN), ("d / d(1)", BLUE)])


@styled
def fig3(run: Run) -> Figure | None:
    """Fig. 3: curves by model size, family by family; max slope against the number of parameters."""
    items = {item.model: item for item in first_layer(stored(usual(items_of(run)))) if item.revision == "main"}
    families = families_of(run, items)
    curved = {name: models for name, models in families.items() if len(models) > 1}
    if not curved:
        return None
    columns = min(2, len(curved))
    rows = -(-len(curved) // columns)
    figure, panels, below = _above_one(rows, columns, 2.3 + (3.1 / columns - 0.2) * rows)
    colours = dict(zip(families, np.resize(FAMILY_COLOURS, len(families)), strict=True))
    for panel, (name, models) in zip(panels.flat, curved.items(), strict=False):
        shades = shades_of(str(colours[name]), len(models))
        for model, shade in zip(models, shades, strict=True):
            draw_curve(panel, items[model].curve, shade)
        name_curves(panel, [(size_name(model, name), shade) for model, shade in zip(models, shades, strict=True)])
        relative_axes(panel, name)
    add_letters([*panels.flat[: len(curved)], below])
    label_outer(panels, "α", "d / d(1)")
    labels = []
    for place, (name, models) in enumerate(families.items()):
        sizes = [about_model(run, model).parameters * (1 + 0.03 * place) for model in models]
        if all(sizes):
            medians = draw_bars(below, sizes, [items[model] for model in models], "max_slope", colours[name])
            labels.append((sizes[-1], float(medians[-1]), name, colours[name]))
    below.set(xscale="log", xlabel="parameters", ylabel="max slope")
    counts = {about_model(run, model).parameters for group in families.values() for model in group} - {0}
    if counts:
        _plain_ticks(below, _round(min(counts), max(counts)))
    name_ends(below, labels)
    used = [items[model] for models in families.values() for model in models]
    return add_caption(figure, BAND, SIZES, over_how_many(used), measured_on(used))


def _above_one(rows: int, columns: int, height: float) -> tuple[Figure, np.ndarray, Axes]:
    """Rows of panels, and one wide panel beneath them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[3.1 / columns] * rows + [1.7])
    panels = np.empty((rows, columns), dtype=object)
    for row, column in np.ndindex(rows, columns):
        first = panels[0, 0]
        panel = figure.add_subplot(grid[row, column], sharex=first, sharey=first)
        panel.tick_params(labelleft=column == 0)
        panels[row, column] = panel
    return figure, panels, figure.add_subplot(grid[rows, :])


def _spaced(values: Sequence[float], ratio: float = 1.6) -> list[float]:
    """Of rising values those that are apart enough for tick labels on a log axis."""
    kept: list[float] = []
    for value in values:
        if not kept or value > ratio * kept[-1]:
            kept.append(value)
    return kept


def _round(low: float, high: float) -> list[float]:
    """Round numbers for a log axis from `low` to `high`; over many decades fewer of each."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for firsts in ((1, 2, 5), (1, 3), (1,)):
        found = [first * 10.0**decade for decade in decades for first in firsts]
        inside = [value for value in found if 0.75 * low <= value <= 1.3 * high]
        if len(inside) <= 6:
            break
    return inside or [low]


def _plain_ticks(axes: Axes, values: Sequence[float]) -> None:
    from matplotlib.ticker import NullLocator

    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(values, [count_name(value) for value in values])


@styled
def fig4(run: Run) -> Figure | None:
    """Fig. 4: curves along training, model by model; max slope against training tokens, zero beside the log axis."""
    found = trajectories(run, first_layer(stored(usual(items_of(run)))))
    if not found:
        return None
    columns = 3 if len(found) % 3 == 0 else min(2, len(found))
    rows = -(-len(found) // columns)
    figure, panels, below = _above_one(rows, columns, 2.3 + (3.1 / columns - 0.2) * rows)
    for panel, (model, steps) in zip(panels.flat, found.items(), strict=False):
        shown = few(steps)
        stages = stage_colours(len(shown))
        for (_, item), stage in zip(shown, stages, strict=True):
            draw_curve(panel, item.curve, stage, band=item is shown[0][1] or item is shown[-1][1])
        names = [amount_name(entry).removesuffix(" tokens") for entry, _ in shown]
        name_curves(panel, list(zip(names, stages, strict=True)), size=5)
        relative_axes(panel)
        panel.set_title(model, fontsize=6)
    add_letters([*panels.flat[: len(found)], below])
    label_outer(panels, "α", "d / d(1)")
    _along_training(below, found, "max_slope")
    used = [item for steps in found.values() for _, item in steps]
    bands = "bars, and bands of the first and the last revision shown: quartiles"
    return add_caption(figure, "Medians after so many training tokens", bands, over_how_many(used), measured_on(used))


def _along_training(axes: Axes, found: Mapping[str, list[tuple[Revision, Item]]], metric: str) -> None:
    """A metric against training on a log axis; the untrained model stands left of the axis' break, at 0."""
    unit, amounts = _amounts({model: [entry for entry, _ in rows] for model, rows in found.items()})
    positive = [amount for row in amounts.values() for amount in row if amount > 0]
    zero = min(positive) / 3
    labels = []
    for place, (model, places) in enumerate(amounts.items()):
        colour = FAMILY_COLOURS[place % len(FAMILY_COLOURS)]
        # Beside each other where models share their revisions.
        places = [max(amount, zero) * (1 + 0.05 * place) for amount in places]
        items = [item for _, item in found[model]]
        medians = draw_bars(axes, places, items, metric, colour)
        labels.append((places[-1], float(medians[-1]), model, colour))
    axes.set(xscale="log", ylabel=TABLE[metric].label, xlabel=unit)
    ticks = _spaced(sorted(set(positive)), 3.5 if max(positive) / zero < 1e4 else 9)
    _plain_ticks(axes, ticks)
    if any(0 in row for row in amounts.values()):
        axes.set_xlim(zero / 1.6, None)
        axes.set_xticks([zero, *ticks], ["0", *(count_name(tick) for tick in ticks)])
        _axis_break(axes, zero * 1.75)
    name_ends(axes, labels)


def _axis_break(axes: Axes, place: float) -> None:
    """Where the axis is broken between 0 and what a log axis can show."""
    axes.plot([place], [0], marker=[(-0.6, -1), (0.6, 1)], color="black", markersize=5, clip_on=False,
              transform=axes.get_xaxis_transform(), linestyle="none", mew=0.6)  # fmt: skip


def _amounts(revisions: Mapping[str, list[Revision]]) -> tuple[str, dict[str, list[float]]]:
    """What training is counted in, and by model the amount of each revision.

    In tokens, else in steps, of the models of which they are known; where they are of none, in mere order.
    """
    tokens = {model: [entry.tokens for entry in entries] for model, entries in revisions.items()}
    steps = {model: [entry.step for entry in entries] for model, entries in revisions.items()}
    for unit, counts in (("training tokens", tokens), ("training steps", steps)):
        known = {model: [float(c) for c in row if c is not None] for model, row in counts.items() if None not in row}
        if known:
            return unit, known
    return "revision, in order", {model: [*map(float, range(1, len(row) + 1))] for model, row in revisions.items()}


@styled
def fig23(run: Run) -> Figure | None:
    """Figs. 23 and 24: curves after the first layer and after a later one, beside the counterfeits'."""
    items = [item for item in usual(items_of(run)) if item.revision == "main"]
    by_place = {(item.model, item.layer, item.weights): item for item in items}
    pairs = {model: _later_layer(by_place, model) for model in by_size(run, {item.model for item in items})}
    models = [model for model, later in pairs.items() if later]
    if not models:
        return None
    figure, axes = new_figure(len(models), 2, 0.65 + 1.05 * len(models))
    used = []
    for line, model in zip(axes, models, strict=True):
        for panel, layer in zip(line, (1, pairs[model]), strict=True):
            names = []
            for weights, (called, colour, _) in WEIGHTS.items():
                item = by_place.get((model, layer, weights))
                if item is not None:
                    used.append(item)
                    draw_curve(panel, item.curve, colour, dashed=weights != "stored", band=weights == "stored")
                    names.append((called, colour))
            name_curves(panel, names)
            relative_axes(panel)
            panel.set_title("".join((model, "\n" if len(model) > 17 else ", ", f"after layer {layer}")), fontsize=6)
    add_letters(axes.flat)
    label_outer(axes, "α", "d / d(1)")
    return add_caption(figure, "Medians; bands: quartiles of the trained model", over_how_many(used), measured_on(used))


def _later_layer(by_place: Mapping[tuple[str, int, str], Item], model: str) -> int:
    """The later layer that the counterfeits were measured after too, else a quarter of the way; 0 for none."""
    layers = sorted(layer for name, layer, weights in by_place if name == model and weights == "stored" and layer > 1)
    beside = [layer for layer in layers if (model, layer, "untrained") in by_place]
    return (beside or layers or [0])[0] if (model, 1, "stored") in by_place else 0


# Figures of ours


@styled
def edge_drift(run: Run) -> Figure | None:
    """Max slope beside the one-sided edge drift, trained, shuffled and untrained."""
    return _told_apart(run, ("max_slope", "edge_drift"))


@styled
def edge_speed(run: Run) -> Figure | None:
    """Max slope beside edge speed and two-sided drift, each with its norm-only null: the slope tells least."""
    return _told_apart(run, ("max_slope", "edge_speed", "two_sided_drift"))


def _told_apart(run: Run, names: tuple[str, ...]) -> Figure | None:
    """Metrics of trained, shuffled and untrained models, panel by panel, with the null of the trained."""
    items = [item for item in first_layer(usual(items_of(run))) if item.revision == "main"]
    by_place = {(item.model, item.weights): item for item in items if set(names) <= item.row.metrics.keys()}
    models = [m for m in by_size(run, {model for model, _ in by_place}) if (m, "scrambled") in by_place]
    if not models:
        return None
    figure, axes = new_figure(1, len(names), 1.0 + 0.28 * len(models), share=False)
    for panel, metric in zip(axes[0], (TABLE[name] for name in names), strict=True):
        panel.axvline(metric.straight, color="0.6", linestyle=":", linewidth=0.7)
        for (model, weights), item in by_place.items():
            if model in models:
                # A little apart, so that none hides another.
                height = len(models) - models.index(model) + {"stored": 0.16, "scrambled": 0.0}.get(weights, -0.16)
                _dot(panel, item.row.metrics[metric.name], height, weights)
                if weights == "stored" and metric.name in item.row.null_metrics:
                    null = item.row.null_metrics[metric.name].median
                    panel.plot(numbers((null,)), [height], "|", color="0.3", markersize=7)
        panel.set(xlabel=metric.label, ylim=(0.4, len(models) + 0.6), yticks=range(1, len(models) + 1))
        panel.set_yticklabels(models[::-1] if metric.name == names[0] else [])
        panel.tick_params(axis="y", length=0)
        panel.locator_params(axis="x", nbins=3)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.spines["left"].set_visible(False)
    add_letters(axes[0])
    _named_marks(figure)
    used = [item for (model, _), item in by_place.items() if model in models]
    bars = "medians over independent units with 95 % intervals"
    lines = "dotted: a straight line; upright: the trained model's norm-only null"
    return add_caption(figure, bars, _units(used, "max_slope"), lines, measured_on(used))


def _units(items: Iterable[Item], metric: str) -> str:
    counts = sorted({item.row.metrics[metric].n for item in items})
    return f"n = {counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''}"


def _dot(axes: Axes, metric: Metric, height: float, weights: str) -> None:
    """An estimate with its interval."""
    _, colour, marker = WEIGHTS[weights]
    estimate, low, high = _interval(metric)
    face = colour if weights == "stored" else "white"
    axes.errorbar(
        [estimate], [height], xerr=[[estimate - low], [high - estimate]], fmt=marker, color=colour,
        markerfacecolor=face, elinewidth=0.8,
    )  # fmt: skip


def _interval(metric: Metric) -> Float[np.ndarray, " 3"]:
    return numbers((metric.estimate, metric.low, metric.high))


def _named_marks(figure: Figure) -> None:
    """A line above the panels that names the marks of trained, shuffled and untrained models."""
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], marker=marker, color=colour, linestyle="none", markerfacecolor=colour if first else "white")
        for first, (_, colour, marker) in zip((True, False, False), WEIGHTS.values(), strict=True)
    ]
    names = [called for called, *_ in WEIGHTS.values()]
    figure.legend(marks, names, loc="outside upper center", ncols=3, frameon=False, fontsize=6, handletextpad=0.1)


@styled
def layer_sweep(run: Run) -> Figure | None:
    """Max slope and edge drift against the layer patched after."""
    items = [item for item in stored(usual(items_of(run))) if item.revision == "main"]
    sweeps = {model: sorted((i for i in items if i.model == model), key=lambda i: i.layer) for model in
              by_size(run, {item.model for item in items})}  # fmt: skip
    sweeps = {model: sweep for model, sweep in sweeps.items() if len(sweep) > 2}
    if not sweeps:
        return None
    figure, axes = new_figure(2, 1, 3.4, share=False)
    both = shown(item for sweep in sweeps.values() for item in sweep)
    for panel, metric in zip(axes[:, 0], both, strict=True):
        panel.axhline(metric.straight, color="0.6", linestyle=":", linewidth=0.7)
        for place, (model, sweep) in enumerate(sweeps.items()):
            colour = FAMILY_COLOURS[place % len(FAMILY_COLOURS)]
            shift = 0.08 * (place - (len(sweeps) - 1) / 2)
            draw_bars(panel, [item.layer + shift for item in sweep], sweep, metric.name, colour)
            # Where slopes that fall with depth leave room.
            if metric is both[0]:
                panel.annotate(model, (1, 1), (-2, -2 - 7.5 * place), xycoords="axes fraction", ha="right", va="top",
                               textcoords="offset points", color=colour, fontsize=6)  # fmt: skip
        deepest = max(s[-1].layer for s in sweeps.values())
        # Of many layers every third is named, the first among them.
        panel.set(ylabel=metric.label, xticks=range(1, 1 + deepest, 1 if deepest <= 12 else 3))
    axes[1, 0].set_xlabel("layer patched after")
    add_letters(axes[:, 0])
    used = [item for sweep in sweeps.values() for item in sweep]
    return add_caption(
        figure, "Medians; bars: quartiles", over_how_many(used), "dotted: a straight line", measured_on(used)
    )


@styled
def gates(run: Run) -> Figure | None:
    """Gate crossings over r: r, the share of pairs whose output stands still, and the sign changes of gates."""
    items = first_layer(usual(items_of(run, "CrossingSpec")))
    by_place = {(item.model, item.weights): item for item in items}
    models = largest(run, {item.model for item in items if item.weights == "stored"})
    if not models:
        return None
    figure, axes = new_figure(3, len(models), 3.5, share=False)
    used = []
    for column, model in enumerate(models):
        names = []
        for weights, (called, colour, _) in WEIGHTS.items():
            item = by_place.get((model, weights))
            if item is not None:
                used.append(item)
                names.append((called, colour))
                _gate_rows(axes[:, column], item, colour, trained=weights == "stored")
        relative_axes(axes[0, column], model)
        name_curves(axes[0, column], names)
        axes[2, column].set(xlabel="α")
        for panel in axes[:, column]:
            panel.set_xlim(0, 1)
            panel.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    for row, called in enumerate(("d / d(1)", "share of pairs\nstanding still", "sign changes\nper gate and α")):
        axes[row, 0].set_ylabel(called)
        top = max(panel.get_ylim()[1] for panel in axes[row])
        for panel in axes[row][row == 0 :] if row else []:
            panel.set_ylim(0, top)
    figure.align_ylabels(axes[:, 0])
    add_letters(axes[:, 0])
    still = "standing still: the output moves at less than half its mean speed"
    return add_caption(
        figure, "Medians; bands: quartiles of the trained model", over_how_many(used), still, measured_on(used)
    )


def _gate_rows(axes: np.ndarray, item: Item, colour: str, *, trained: bool) -> None:
    row = item.row
    assert row.gates is not None
    assert row.crossings is not None
    draw_curve(axes[0], item.curve, colour, dashed=not trained, band=trained)
    alphas = numbers(item.curve.alphas)
    middle = (alphas[1:] + alphas[:-1]) / 2
    style = "-" if trained else "--"
    if row.flat is not None:
        axes[1].plot(middle, numbers(row.flat), style, color=colour, linewidth=1)
    scale = len(middle) / sum(row.gates)
    low, median, high = (scale * numbers(records.running_mean(counts)) for counts in row.crossings.rows())
    axes[2].plot(middle, median, style, color=colour, linewidth=1)
    if trained:
        axes[2].fill_between(middle, low, high, color=colour, alpha=0.15, linewidth=0)


@styled
def protocols(run: Run) -> Figure | None:
    """Strict against paper: the same models, weights and revisions under both, where a run has both."""
    items = [item for item in first_layer(items_of(run)) if item.read == "final_norm" and item.pairing == "random"]
    by_place = {(item.model, item.revision, item.weights, item.protocol): item for item in items}
    places = [key[:3] for key in by_place if key[3] == "paper" and (*key[:3], "strict") in by_place]
    if not places:
        return None
    figure, axes = new_figure(1, 2, 2.1, share=False)
    for panel, metric in zip(axes[0], shown(by_place.values()), strict=True):
        both = [[by_place[*place, name].row.metrics[metric.name] for name in ("paper", "strict")] for place in places]
        for place, (paper, strict) in zip(places, both, strict=True):
            _cross(panel, paper, strict, place[2])
        values = numbers([side.estimate for pair in both for side in pair])
        ends = [np.nanmin(values), np.nanmax(values)]
        panel.plot(ends, ends, ":", color="0.6", linewidth=0.7, zorder=0)
        panel.set(xlabel=f"{metric.label}, paper", ylabel=f"{metric.label}, strict", box_aspect=1)
    add_letters(axes[0])
    _named_marks(figure)
    used = [by_place[*place, name] for place in places for name in ("paper", "strict")]
    bars = "medians over independent units with 95 % intervals"
    return add_caption(figure, f"{len(places)} models and copies", bars, _units(used, "max_slope"), "read final norm")


def _cross(axes: Axes, across: Metric, up: Metric, weights: str) -> None:
    """One estimate against another, each with its interval."""
    _, colour, marker = WEIGHTS[weights]
    x, y = _interval(across), _interval(up)
    face = colour if weights == "stored" else "white"
    axes.errorbar(
        [x[0]], [y[0]], xerr=[[x[0] - x[1]], [x[2] - x[0]]], yerr=[[y[0] - y[1]], [y[2] - y[0]]], fmt=marker,
        color=colour, markerfacecolor=face, markersize=2.5, elinewidth=0.5, capsize=0,
    )  # fmt: skip


@styled
def reads(run: Run) -> Figure | None:
    """The three reads side by side: the first and the last revision of each model, read after and before the norm."""
    items = first_layer(stored(usual(items_of(run), read=None)))
    by_place = {(item.model, item.revision, item.read): item for item in items}
    called = {"final_norm": "after final norm", "residual": "before it", "logits": "logits"}
    found = {
        model: rows
        for model, rows in trajectories(run, [item for item in items if item.read == "final_norm"]).items()
        if sum((model, rows[-1][0].name, read) in by_place for read in called) > 1
    }
    if not found:
        return None
    figure, axes = new_figure(len(found), len(called), 0.65 + 1.0 * len(found))
    used = []
    for line, (model, rows) in zip(axes, found.items(), strict=True):
        ends = (rows[0][0], rows[-1][0])
        for panel, read in zip(line, called, strict=True):
            for entry, colour in zip(ends, (GREY, BLUE), strict=True):
                item = by_place.get((model, entry.name, read))
                if item is not None:
                    used.append(item)
                    draw_curve(panel, item.curve, colour, dashed=entry is ends[0])
            relative_axes(panel)
        name_curves(
            line[-1], [(amount_name(entry), colour) for entry, colour in zip(ends, (GREY, BLUE), strict=True)], size=5
        )
        name_curves(line[0], [(part, "black") for part in name_in_parts(model)], size=5)
    set_titles(axes, tuple(called.values()))
    add_letters(axes[0])
    label_outer(axes, "α", "d / d(1)")
    return add_caption(figure, "Lines: medians; bands: quartiles", over_how_many(used), measured_on(used))


def _of_triples() -> dict[str, Draw]:
    """Figs. 5 to 22: the paper shows 18 triples."""
    plain: dict[str, Draw] = {f"fig{5 + triple}": partial(_triple_figure, triple, False) for triple in range(TRIPLES)}
    return plain | {f"fig{5 + triple}-regions": partial(_triple_figure, triple, True) for triple in range(TRIPLES)}


def _triple_figure(triple: int, regions: bool, run: Run) -> Figure | None:
    return slices_of(run, triple, regions)


FIGURES: dict[str, Draw] = {
    "fig1": fig1,
    "fig1-regions": lambda run: fig1(run, True),
    "fig2": fig2,
    "fig2-every-model": lambda run: fig2(run, True),
    "fig3": fig3,
    "fig4": fig4,
    "fig23-24": fig23,
    "edge-drift": edge_drift,
    "edge-speed": edge_speed,
    "layer-sweep": layer_sweep,
    "gates": gates,
    "protocols": protocols,
    "reads": reads,
    **_of_triples(),
}
# Without what changes from one moment to the next, so that the same run gives the same files.
_UNDATED: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}


def save_all(
    run: Run,
    folder: str | Path,
    endings: Sequence[str] = ("png",),
    names: Iterable[str] = tuple(FIGURES),
    *,
    captions: bool = True,
) -> list[Path]:
    """Draw every figure of `names` that the run has something for into `folder`, once for each ending (png, svg, pdf).

    Without `captions` these stand beside the pictures, as text in NAME.txt, and not in them. Returns the files written.
    Raises `MeasureError` for a name that is no figure's and a folder that cannot be written.
    """
    names = checked(names)
    target = Path(folder)
    written = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            figure = FIGURES[name](run)
            if figure is None:
                continue
            written += _saved(figure, target / name, endings, captions=captions)
    except OSError as error:
        raise MeasureError(f"{target} cannot be written ({error}); give another folder.") from error
    return written


def _saved(figure: Figure, place: Path, endings: Sequence[str], *, captions: bool) -> list[Path]:
    """Write one figure, `place` being its files' path without an ending."""
    import matplotlib

    page: dict[str, Any] = {}
    written = [Path(f"{place}.{ending}") for ending in endings]
    with matplotlib.rc_context(STYLE):
        if not captions:
            text, left = taken_caption(figure)
            page, beside = {"bbox_inches": left}, Path(f"{place}.txt")
            write_atomically(beside, f"{text}\n".encode())
        for path, ending in zip(written, endings, strict=True):
            figure.savefig(path, metadata=_UNDATED.get(ending), **page)
    return written if captions else [*written, beside]


def checked(names: Iterable[str]) -> list[str]:
    """The names, each a figure's; `MeasureError` tells of one that is not."""
    wanted = list(names)
    unknown = [name for name in wanted if name not in FIGURES]
    if unknown:
        raise MeasureError(f"no figure is called {', '.join(unknown)}; there are {', '.join(FIGURES)}.")
    return wanted
