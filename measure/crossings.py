"""The same as `measure.results.crossings`, kept for suites that name it so."""

from measure.results.crossings import Crossings

__all__ = ["Crossings"]
