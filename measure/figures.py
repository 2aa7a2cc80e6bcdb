"""Draw: arrays in, matplotlib axes out. Knows nothing of models or files; imports matplotlib when it draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def curve_band(
    alphas: Float[np.ndarray, " steps"],
    quartiles: Float[np.ndarray, "3 steps"],
    *,
    label: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Median relative distance over alpha with the band between its quartiles, on `ax` or a new figure."""
    from matplotlib import pyplot

    axes = pyplot.figure(figsize=(4.2, 3.2), layout="constrained").gca() if ax is None else ax
    (line,) = axes.plot(alphas, quartiles[1], label=label)
    axes.fill_between(alphas, quartiles[0], quartiles[2], color=line.get_color(), alpha=0.2, linewidth=0)
    if ax is None:
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":", zorder=0)
        axes.set(xlabel="interpolation coefficient alpha", ylabel="relative output distance d / d(1)", title=label)
    return axes
