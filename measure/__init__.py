"""Measure stable regions in the residual stream of language models.

Importing this package does nothing and takes no torch: the public names are fetched when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from measure.crossings import Crossings
    from measure.measurements import interpolate, slice2d
    from measure.predictions import Predictions
    from measure.results import Curves
    from measure.slices import Slices
    from measure.spec import ConfigSpec, CrossingSpec, CurveSpec, MeasureError, PredictionSpec, SliceSpec

__all__ = [
    "ConfigSpec",
    "CrossingSpec",
    "Crossings",
    "CurveSpec",
    "Curves",
    "MeasureError",
    "PredictionSpec",
    "Predictions",
    "SliceSpec",
    "Slices",
    "interpolate",
    "slice2d",
]

_HOMES = {
    "interpolate": "measure.measurements",
    "slice2d": "measure.measurements",
    "Curves": "measure.results",
    "Crossings": "measure.crossings",
    "Predictions": "measure.predictions",
    "Slices": "measure.slices",
    "ConfigSpec": "measure.spec",
    "CrossingSpec": "measure.spec",
    "CurveSpec": "measure.spec",
    "MeasureError": "measure.spec",
    "PredictionSpec": "measure.spec",
    "SliceSpec": "measure.spec",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'measure' has no attribute {name!r}; public names: {', '.join(__all__)}")
