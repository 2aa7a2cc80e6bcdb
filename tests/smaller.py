"""`python -m tests.smaller FOLDER`: PNGs of lines in 256 colours, less than half of the bytes, for the samples."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

# Mean change of a channel, of 255, up to which nobody sees it; slices have too many colours.
UNSEEN = 0.5


def make_smaller(path: Path) -> None:
    """Write a PNG anew with a palette where that changes no pixel visibly."""
    whole = Image.open(path).convert("RGB")
    few = whole.quantize(256, dither=Image.Dither.NONE)
    changed = np.abs(np.asarray(whole, dtype=int) - np.asarray(few.convert("RGB"), dtype=int))
    if changed.mean() <= UNSEEN:
        few.save(path, optimize=True)


if __name__ == "__main__":
    for found in Path(sys.argv[1]).glob("*.png"):
        make_smaller(found)
