"""The hooks by which a repository tells the plugin what is its own. Write them into its root `conftest.py`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from measure.catalog import Model


@pytest.hookspec
def pytest_measure_models(config: pytest.Config) -> Iterable[str | Model]:
    """Models to put beside the catalogued ones, before suites are collected.

    Each a `measure.catalog.Model`, or a text as `--models` takes it: a folder or a hub id, with an optional
    `@revision`. Suites then find them with `measure.catalog.models()`.
    """
    return ()
