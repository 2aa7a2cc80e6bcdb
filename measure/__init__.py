"""Measure stable regions in the residual stream of language models.

Importing this package does nothing and takes no torch: the public names are fetched when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from measure import catalog, claims, kinds, stats
    from measure.api import interpolate, slice2d
    from measure.claim import Claim
    from measure.comparison import Comparison
    from measure.crossings import Crossings
    from measure.own_pairs import pairs
    from measure.predictions import Predictions
    from measure.results import Curves
    from measure.slices import Slices
    from measure.spec import (
        ConfigSpec,
        CrossingSpec,
        CurveSpec,
        Frozen,
        MeasureError,
        NotMeasuredError,
        PredictionSpec,
        Scaled,
        SliceSpec,
    )
    from measure.stats import Effect, Fact, Interval, Trend, Verdict
    from measure.sweeps import Sweep, sweep
    from measure.two_models import compare

# Where each public name lives; a name that is its own home is a module.
_HOMES = {
    "Claim": "claim",
    "Comparison": "comparison",
    "ConfigSpec": "spec",
    "CrossingSpec": "spec",
    "Crossings": "crossings",
    "CurveSpec": "spec",
    "Curves": "results",
    "Effect": "stats",
    "Fact": "stats",
    "Frozen": "spec",
    "Interval": "stats",
    "MeasureError": "spec",
    "NotMeasuredError": "spec",
    "PredictionSpec": "spec",
    "Predictions": "predictions",
    "Scaled": "spec",
    "SliceSpec": "spec",
    "Slices": "slices",
    "Sweep": "sweeps",
    "Trend": "stats",
    "Verdict": "stats",
    "catalog": "catalog",
    "claims": "claims",
    "compare": "two_models",
    "interpolate": "api",
    "kinds": "kinds",
    "pairs": "own_pairs",
    "slice2d": "api",
    "stats": "stats",
    "sweep": "sweeps",
}

__all__ = [
    "Claim",
    "Comparison",
    "ConfigSpec",
    "CrossingSpec",
    "Crossings",
    "CurveSpec",
    "Curves",
    "Effect",
    "Fact",
    "Frozen",
    "Interval",
    "MeasureError",
    "NotMeasuredError",
    "PredictionSpec",
    "Predictions",
    "Scaled",
    "SliceSpec",
    "Slices",
    "Sweep",
    "Trend",
    "Verdict",
    "catalog",
    "claims",
    "compare",
    "interpolate",
    "kinds",
    "pairs",
    "slice2d",
    "stats",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'measure' has no attribute {name!r}; public names: {', '.join(__all__)}")
    home = importlib.import_module(f"measure.{_HOMES[name]}")
    return home if name == _HOMES[name] else getattr(home, name)


def __dir__() -> list[str]:
    return __all__
