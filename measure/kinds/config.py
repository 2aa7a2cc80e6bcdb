"""The kind `config`: the dimensions in a model's own config; runs no model, and has no baseline."""

from __future__ import annotations

from dataclasses import asdict, replace

from measure.catalog import Shape
from measure.kinds import Kind, Texts, register
from measure.kinds.rows import ResultRow
from measure.spec import ConfigSpec


def _recorded(row: ResultRow, shape: Shape, _: Texts) -> ResultRow:
    return replace(row, shape=asdict(shape))


KIND = register(
    Kind(
        name="config",
        spec=ConfigSpec,
        result=Shape,
        measure="measure.core.measurements:of_config",
        takes=None,
        recorded=_recorded,
    )
)
