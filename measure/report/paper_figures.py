"""The paper's figures of curves, and all figures by name: a run's records in, matplotlib figures out.

Each function draws one figure for whatever models the run has, and returns None where the run lacks what it shows.
Nothing is measured here. `FIGURES` has every figure by name, those of `slice_figures` and `own_figures` too; `save_all`
writes them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from measure.base.files import write_atomically
from measure.kinds.rows import CurveRow, PairRows, Revision
from measure.report.figure_parts import (
    BAND,
    BLUE,
    FAMILY_COLOURS,
    GREEN,
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
    size_name,
    stage_colours,
    stored,
    styled,
    taken_caption,
    trajectories,
    usual,
)
from measure.report.own_figures import edge_drift, edge_speed, gates, layer_sweep, protocols, reads
from measure.report.records import Run
from measure.report.slice_figures import TRIPLES, fig1, slices_of
from measure.results.metrics import TABLE
from measure.spec import MeasureError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZES = "a point for each size, the smallest on the left; the axis counts embeddings too"

Draw = Callable[[Run], "Figure | None"]


# The paper's figures


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
    from measure.prompts.drawn import PRINTED, written_rows

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
