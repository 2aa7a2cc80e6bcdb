"""Figures beside the paper's, from the records of a run: metrics told apart, layers, gates, protocols, reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from measure.kinds.rows import Metric
from measure.report import records
from measure.report.figure_parts import (
    BLUE,
    FAMILY_COLOURS,
    GREY,
    WEIGHTS,
    Item,
    add_caption,
    add_letters,
    amount_name,
    by_size,
    draw_bars,
    draw_curve,
    first_layer,
    items_of,
    label_outer,
    largest,
    measured_on,
    name_curves,
    name_in_parts,
    new_figure,
    numbers,
    over_how_many,
    relative_axes,
    set_titles,
    shown,
    stored,
    styled,
    trajectories,
    usual,
)
from measure.report.records import Run
from measure.results.metrics import TABLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
