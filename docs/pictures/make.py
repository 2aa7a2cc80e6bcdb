"""Draws the README's pictures, of a model that `measure fetch smollm2-135m-instruct` brings."""

from pathlib import Path

import matplotlib
import numpy as np

import measure

matplotlib.use("Agg")
from matplotlib import pyplot

HERE = Path(__file__).parent
MODEL = "smollm2-135m-instruct"


def one_curve(curves: measure.Curves) -> None:
    """What is measured, on the paper's pair D1."""
    alphas, relative = curves.alphas, curves.relative[0]
    figure, axes = pyplot.subplots(figsize=(5.6, 3.1), layout="constrained")
    axes.plot(alphas, curves.null.relative[0], color="0.55", linewidth=1, linestyle="--")
    axes.plot(alphas, relative, color="#0072B2", linewidth=1.8)
    axes.set(xlim=(-0.06, 1.06), ylim=(-0.08, 1.16), xlabel="alpha: X = A + alpha (B - A) is patched in")
    axes.set_ylabel("d(alpha) / d(1): how far\nthe output is from A's own")
    for x, y, name, place in ((0, 0, "A", (-2, 8)), (1, 1, "B", (-3, 8))):
        axes.plot(x, y, "o", color="black", markersize=4)
        axes.annotate(name, (x, y), xytext=place, textcoords="offset points", weight="bold")
    jump = curves.jump_location[0]
    axes.annotate(
        "the boundary", (jump, 0.5), xytext=(jump + 0.09, 0.36), arrowprops={"arrowstyle": "-", "linewidth": 0.6}
    )
    axes.text(0.13, -0.05, "A's stable region: the output moves little", fontsize=8.5)
    axes.text(0.64, 1.07, "B's stable region", fontsize=8.5)
    at = int(np.searchsorted(alphas, 0.28))
    axes.annotate(
        "what the final norm alone\nmakes of a straight line",
        (alphas[at], curves.null.relative[0][at]),
        xytext=(0.0, 0.66),
        color="0.4",
        fontsize=8.5,
        arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": "0.5"},
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "one-curve.png", dpi=140)


def six_pairs(curves: measure.Curves, labels: tuple[str, ...]) -> None:
    """What the README's example draws."""
    curves.plot(labels=labels).figure.savefig(HERE / "six-pairs.png", dpi=140)


if __name__ == "__main__":
    printed = measure.pairs("printed")
    found = measure.interpolate(MODEL, printed.a, printed.b)
    one_curve(found)
    six_pairs(found, printed.labels)
