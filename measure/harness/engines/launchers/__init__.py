"""Who starts the workers of a run: a file each, after which `--engine` calls it; none is imported unless asked for.

A new one is a file here, with a function `launcher(config)`: pytest's options to a `pool.Launcher`.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from measure.harness.engines.pool import Launcher


def names() -> list[str]:
    """What `--engine` takes beside `in-process`."""
    return sorted(one.name.replace("_", "-") for one in pkgutil.iter_modules(__path__))


def launcher(name: str, config: pytest.Config) -> Launcher:
    """The launcher of that name. Raises `MeasureError` where options are wrong, or a package it needs is missing."""
    found: Launcher = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").launcher(config)
    return found
