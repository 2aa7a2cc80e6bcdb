"""The same as `measure.results.metrics`, kept for suites that name it so."""

from measure.results.metrics import CURVES, NAMES, PREDICTIONS, TABLE, Definition

__all__ = ["CURVES", "NAMES", "PREDICTIONS", "TABLE", "Definition"]
