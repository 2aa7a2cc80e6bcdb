"""Draw: arrays in, matplotlib axes out. Knows nothing of models or files; imports matplotlib when it draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

NULL = "norm-only null"

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes


def curve_band(
    alphas: Float[np.ndarray, " steps"],
    quartiles: Float[np.ndarray, "3 steps"],
    *,
    null: Float[np.ndarray, " steps"] | None = None,
    label: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Median relative distance over alpha with the band between its quartiles, on `ax` or a new figure.

    `null` is the median of the norm-only null, drawn thin in the same colour.
    """
    from matplotlib import pyplot

    axes = pyplot.figure(figsize=(4.2, 3.2), layout="constrained").gca() if ax is None else ax
    (line,) = axes.plot(alphas, quartiles[1], label=label)
    axes.fill_between(alphas, quartiles[0], quartiles[2], color=line.get_color(), alpha=0.2, linewidth=0)
    if null is not None:
        named = f"{label}, {NULL}" if label else NULL
        axes.plot(alphas, null, color=line.get_color(), linewidth=0.8, linestyle="--", label=named)
    if ax is None:
        axes.legend(fontsize=8, frameon=False)
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":", zorder=0)
        axes.set(xlabel="interpolation coefficient alpha", ylabel="relative output distance d / d(1)", title=label)
    return axes


def curve_lines(
    alphas: Float[np.ndarray, " steps"],
    relative: Float[np.ndarray, "pairs steps"],
    labels: Sequence[str],
    *,
    null: Float[np.ndarray, "pairs steps"] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Relative distance over alpha, a labelled line for each pair, on `ax` or a new figure with a legend.

    `null` are the pairs' norm-only nulls, drawn thin in their colours.
    """
    from matplotlib import pyplot

    axes = pyplot.figure(figsize=(4.8, 3.2), layout="constrained").gca() if ax is None else ax
    for line, label, style in zip(relative, labels, _styles(labels), strict=True):
        axes.plot(alphas, line, label=label, **style)
    for row, (line, style) in enumerate(zip(() if null is None else null, _styles(labels), strict=False)):
        named = "_" if row else f"{NULL} (thin)"
        axes.plot(alphas, line, label=named, color=style["color"], linewidth=0.6, alpha=0.6)
    if ax is None:
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":", zorder=0)
        axes.set(xlabel="interpolation coefficient alpha", ylabel="relative output distance d / d(1)", title=title)
        axes.legend(fontsize=8, frameon=False)
    return axes


def kind_of(label: str) -> str:
    """What labels that are numbered through share: `D` of D1, `similar` of `similar 3`."""
    return label.rstrip("0123456789").rstrip()


def _styles(labels: Sequence[str]) -> list[dict[str, Any]]:
    """A colour for each kind of labels, and within it lines that differ; without kinds a colour for each label."""
    kinds = [kind_of(label) for label in labels]
    distinct = list(dict.fromkeys(kinds))
    if not 1 < len(distinct) < len(labels) or "" in distinct:
        return [{"color": f"C{number}"} for number in range(len(labels))]
    dashes = ["-", "--", ":", "-."]
    return [
        {"color": f"C{distinct.index(kind)}", "linestyle": dashes[kinds[:row].count(kind) % len(dashes)]}
        for row, kind in enumerate(kinds)
    ]


def colour_slice(
    rgb: Float[np.ndarray, "size size 3"],
    extent: tuple[float, float, float, float],
    references: Float[np.ndarray, "3 2"],
    *,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Colours over alpha (across) and beta (up), A, B and C marked if inside, on `ax` or a new figure.

    `extent`: lowest and highest alpha, lowest and highest beta. Cells are centred on their grid points.
    """
    from matplotlib import pyplot

    axes = pyplot.figure(figsize=(3.6, 3.6), layout="constrained").gca() if ax is None else ax
    half_a, half_b = ((extent[i + 1] - extent[i]) / (2 * (rgb.shape[i // 2] - 1)) for i in (0, 2))
    edges = (extent[0] - half_a, extent[1] + half_a, extent[2] - half_b, extent[3] + half_b)
    axes.imshow(np.clip(rgb, 0, 1), origin="lower", extent=edges, aspect="equal", interpolation="nearest")
    for (alpha, beta), name in zip(references, "ABC", strict=True):
        # C may stand outside: its place along AB is where it falls.
        if edges[0] <= alpha <= edges[1]:
            axes.plot(alpha, beta, "o", markerfacecolor="white", markeredgecolor="black", markersize=5)
            axes.annotate(
                name, (alpha, beta), xytext=(5, 4), textcoords="offset points", color="white", weight="bold", fontsize=9
            )
    axes.set(xlabel="alpha", ylabel="beta", title=title, xlim=edges[:2], ylim=edges[2:])
    return axes
