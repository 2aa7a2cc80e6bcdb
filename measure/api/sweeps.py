"""Layers against reads: where along the blocks the output's movement becomes what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from measure.api.one_model import as_text, checked_layers, given_pairs, watched
from measure.core.asked import check_reads, course_of, for_pairs, positions_of, reads_of
from measure.core.distances import Own
from measure.core.inputs import PromptsInput
from measure.core.measurements import layers_curves
from measure.distances import OF_DISTRIBUTIONS
from measure.prompts import tables
from measure.results import Curves, metrics
from measure.spec import (
    Interpolation,
    Intervention,
    MeasureError,
    Precision,
    Read,
    block_of,
    check_choice,
    check_integer,
    check_steps,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

# From the lowest value to the highest.
SHADES = " .:-=+*#%@"


@dataclass(frozen=True, eq=False)
class Sweep:
    """Curves of the same pairs, by patched layer and by read.

    `curves`: by (layer, read). Blocks up to the patched one are not read, and have no entry.
    """

    curves: dict[tuple[int, Read], Curves]

    @property
    def layers(self) -> list[int]:
        return list(dict.fromkeys(layer for layer, _ in self.curves))

    @property
    def reads(self) -> list[Read]:
        """From the first block to the last, then what follows the blocks."""
        found = dict.fromkeys(read for _, read in self.curves)
        return sorted(found, key=lambda read: block_of(read) or 10**6)

    def matrix(self, metric: str = "edge_speed") -> Float[np.ndarray, "layers reads"]:
        """Median of a metric over independent pairs, (layers, reads). NaN where nothing is read, or no pair has it."""
        check_choice("metric", metric, metrics.NAMES)
        found = np.full((len(self.layers), len(self.reads)), np.nan)
        for (layer, read), curves in self.curves.items():
            values = curves.by_unit(metric)
            values = values[np.isfinite(values)]
            if len(values):
                found[self.layers.index(layer), self.reads.index(read)] = np.median(values)
        return found

    def frame(self, labels: Sequence[str] | None = None) -> DataFrame:
        """One row for each pair, layer and read, as `Curves.frame`; with `labels`, one a pair, those beside it."""
        import pandas

        return pandas.concat([curves.frame(labels) for curves in self.curves.values()], ignore_index=True)

    def plot(self, metric: str = "edge_speed", ax: Axes | None = None) -> Axes:
        """Draw the matrix, layers downwards and reads to the right; returns the axes."""
        from matplotlib import pyplot

        values = self.matrix(metric)
        size = (2.6 + 0.2 * len(self.reads), 1.6 + 0.2 * len(self.layers))
        axes = pyplot.figure(figsize=size, layout="constrained").gca() if ax is None else ax
        picture = axes.imshow(values, aspect="auto", cmap="viridis", interpolation="nearest")
        axes.set(xlabel="read after block", ylabel="patched after block", title=self._name)
        axes.set_xticks(range(len(self.reads)), [_short(read) for read in self.reads], fontsize=7, rotation=90)
        axes.set_yticks(range(len(self.layers)), [str(layer) for layer in self.layers], fontsize=7)
        axes.figure.colorbar(picture, ax=axes, label=f"median {metric.replace('_', ' ')}")
        return axes

    @property
    def _name(self) -> str:
        model = str(next(iter(self.curves.values())).provenance.get("model", ""))
        return Path(model).name if len(model) > 40 else model

    def lines(self, metric: str = "edge_speed") -> list[str]:
        """The matrix as a terminal shows it: a shade a cell, and what the shades mean."""
        values = self.matrix(metric)
        known = values[np.isfinite(values)]
        if not len(known):
            return [f"no pair has a {metric.replace('_', ' ')}: both prompts of each give the same output"]
        low, high = float(known.min()), float(known.max())
        units = next(iter(self.curves.values())).units
        count, left_out = int((units >= 0).sum()), int((units < 0).sum())
        head = f"median {metric.replace('_', ' ')} of {count} pair{'' if count == 1 else 's'}"
        if left_out:
            head += f" ({left_out} more share a prompt with an earlier one and are left out)"
        heads = [_short(read) for read in self.reads]
        shown = [f"{head}; patched after block (down), read after block (right)"]
        width = max(2, *map(len, heads))
        shown += ["patch  " + " ".join(f"{name:>{width}}" for name in heads)]
        for layer, row in zip(self.layers, values, strict=True):
            cells = [
                _shade(value, low, high) * width if np.isfinite(value) else " " * (width - 1) + "." for value in row
            ]
            last = next((f"{value:.3f}" for value in row[::-1] if np.isfinite(value)), "")
            shown.append(f"{layer:>5}  {' '.join(cells)}  {last}")
        scale = " ".join(f"{2 * shade}" for shade in SHADES[1:])
        return [*shown, f"{low:.3f} {scale} {high:.3f}; at the right the value in the last column"]


def _shade(value: float, low: float, high: float) -> str:
    share = (value - low) / (high - low) if high > low else 1.0
    return SHADES[1 + round(share * (len(SHADES) - 2))]


def _short(read: Read) -> str:
    return {"final_norm": "norm", "residual": "end", "logits": "logits"}.get(read, read.removeprefix("block:"))


def sweep(
    model: Any,
    prompts_a: PromptsInput,
    prompts_b: PromptsInput,
    *,
    layer: int | Sequence[int] | Literal["all"] = "all",
    read: Read | Sequence[Read] | Literal["all"] = "all",
    steps: int = 50,
    path: Interpolation = "linear",
    distance: str | Own = "l2",
    patched: int | Literal["difference"] = -1,
    read_at: int = -1,
    interventions: Sequence[Intervention] = (),
    bos: bool = False,
    tokenizer: Any = None,
    precision: Precision = "float32",
) -> Sweep:
    """Curves of several layers with several reads. Everything else is as in `interpolate`.

    `read="all"`: every block after the patched one, and `final_norm`. With `kl` or `js`: the logits. Layers share the
    clean runs; the reads of a layer share its run.
    Returns a `Sweep`.
    Raises `MeasureError` (a ValueError) for input that cannot be measured. The message says what to change.
    """
    steps = check_integer("steps", steps)
    check_steps(steps)
    every = isinstance(read, str) and read == "all"
    # What is read of every block may be anything; what is taken between outputs is checked as with one read.
    reads = reads_of("logits" if every else read, distance)
    course = course_of(path, None, distance, patched, steps, interventions)
    [position] = positions_of(check_integer("read_at", read_at))
    given = {"prompts_a": prompts_a, "prompts_b": prompts_b}
    loaded, pairs = given_pairs(model, given, bos, tokenizer, precision)
    layers = checked_layers(loaded, layer)
    if every:
        blocks = [f"block:{number}" for number in range(min(layers) + 1, loaded.depth + 1)]
        reads = ["logits"] if distance in OF_DISTRIBUTIONS else [*blocks, "final_norm"]
    check_reads(loaded, [1], reads)
    by_layer = {one: [read for read in reads if (block_of(read) or loaded.depth) >= one] for one in layers}
    by_layer = {
        one: [read for read in found if not (every and block_of(read) == one)] for one, found in by_layer.items()
    }
    empty = [one for one, found in by_layer.items() if not found]
    if empty:
        raise MeasureError(f"layer={empty[0]}: every read asked for stands before it; read a later block, or all.")
    course, texts, origin = for_pairs(course, loaded, pairs, position), as_text(given.values()), {"bos": bool(bos)}
    with watched(pairs, layers):
        found = layers_curves(
            loaded, pairs, layers=layers, reads=by_layer, steps=steps, origin=origin, course=course, texts=texts
        )
    return Sweep({(one, read): curves for one, by_read in found.items() for read, curves in by_read.items()})


def write(found: Sweep, name: str, metric: str, labels: Sequence[str] | None = None) -> list[str]:
    """Write a sweep as the ending of `name` says, a table or a figure; returns what was written."""
    if Path(name).suffix.lower() in tables.TABLES:
        return [tables.write_table(name, found.frame(labels))]
    if not np.isfinite(found.matrix(metric)).any():
        return []
    return [tables.write_figure(name, lambda: found.plot(metric))]
