"""The same as `measure.results.slices`, kept for suites that name it so."""

from measure.results.slices import Slices, splits

__all__ = ["Slices", "splits"]
