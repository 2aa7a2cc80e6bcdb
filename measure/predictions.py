"""The same as `measure.results.predictions`, kept for suites that name it so."""

from measure.results.predictions import Predictions

__all__ = ["Predictions"]
