"""Measure stable regions in the residual stream of language models.

Importing this package does nothing and takes no torch: the public names are fetched when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# For type checkers, which take `X as X` for public; the same names as below (tests/test_architecture.py).
if TYPE_CHECKING:
    from measure import catalog as catalog
    from measure import claims as claims
    from measure import kinds as kinds
    from measure import stats as stats
    from measure.api.comparison import Comparison as Comparison
    from measure.api.one_model import interpolate as interpolate
    from measure.api.one_model import slice2d as slice2d
    from measure.api.sweeps import Sweep as Sweep
    from measure.api.sweeps import sweep as sweep
    from measure.api.two_models import compare as compare
    from measure.claims.claim import Claim as Claim
    from measure.prompts.own_pairs import pairs as pairs
    from measure.results import Curves as Curves
    from measure.results.crossings import Crossings as Crossings
    from measure.results.predictions import Predictions as Predictions
    from measure.results.slices import Slices as Slices
    from measure.spec import ConfigSpec as ConfigSpec
    from measure.spec import CrossingSpec as CrossingSpec
    from measure.spec import CurveSpec as CurveSpec
    from measure.spec import Frozen as Frozen
    from measure.spec import MeasureError as MeasureError
    from measure.spec import NotMeasuredError as NotMeasuredError
    from measure.spec import PredictionSpec as PredictionSpec
    from measure.spec import Scaled as Scaled
    from measure.spec import SliceSpec as SliceSpec
    from measure.stats import Effect as Effect
    from measure.stats import Fact as Fact
    from measure.stats import Interval as Interval
    from measure.stats import Trend as Trend
    from measure.stats import Verdict as Verdict


# Where each public name lives; a name that is its own home is a module.
_HOMES = {
    "Claim": "claims.claim",
    "Comparison": "api.comparison",
    "ConfigSpec": "spec",
    "CrossingSpec": "spec",
    "Crossings": "results.crossings",
    "CurveSpec": "spec",
    "Curves": "results",
    "Effect": "stats",
    "Fact": "stats",
    "Frozen": "spec",
    "Interval": "stats",
    "MeasureError": "spec",
    "NotMeasuredError": "spec",
    "PredictionSpec": "spec",
    "Predictions": "results.predictions",
    "Scaled": "spec",
    "SliceSpec": "spec",
    "Slices": "results.slices",
    "Sweep": "api.sweeps",
    "Trend": "stats",
    "Verdict": "stats",
    "catalog": "catalog",
    "claims": "claims",
    "compare": "api.two_models",
    "interpolate": "api.one_model",
    "kinds": "kinds",
    "pairs": "prompts.own_pairs",
    "slice2d": "api.one_model",
    "stats": "stats",
    "sweep": "api.sweeps",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'measure' has no attribute {name!r}; public names: {', '.join(__all__)}")
    home = importlib.import_module(f"measure.{_HOMES[name]}")
    return home if name == _HOMES[name] else getattr(home, name)


def __dir__() -> list[str]:
    return __all__
