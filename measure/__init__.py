"""Measure stable regions in the residual stream of language models.

Importing this package does nothing and takes no torch: the public names are fetched when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from measure.measurements import interpolate
    from measure.results import Curves
    from measure.spec import CurveSpec, MeasureError

__all__ = ["CurveSpec", "Curves", "MeasureError", "interpolate"]

_HOMES = {
    "interpolate": "measure.measurements",
    "Curves": "measure.results",
    "CurveSpec": "measure.spec",
    "MeasureError": "measure.spec",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'measure' has no attribute {name!r}; public names: {', '.join(__all__)}")
