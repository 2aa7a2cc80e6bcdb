"""The kind `slices`: what a baseline and a record keep of two-dimensional slices."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np

from measure.kinds import ACROSS, PROCESSORS, Kind, Texts, kept, register, tolerances
from measure.kinds.rows import ResultRow, Triple, place_type
from measure.results import metrics
from measure.results.slices import SLICE_METRICS, Slices
from measure.spec import SliceSpec

# A baseline keeps means over so many bands of alpha, and of beta.
COARSE = 4
# Of each triple: a cell whose colour is within rounding of the bound may fall on either side of it.
_COLOURS = ("red", "green", "blue", "scale")
_OWN = {
    PROCESSORS: {"foot": 1e-5, **dict.fromkeys(_COLOURS, 1e-5)},
    ACROSS: {"foot": 1e-3, **dict.fromkeys(_COLOURS, 2e-4)},
}
_TOLERANCE = {devices: {**moves, **_OWN[devices]} for devices, moves in tolerances(metrics.SLICES).items()}


def _described(slices: Slices) -> dict[str, Any]:
    """Every triple's metrics, its colours on a coarse grid, where C stands, and the scale that colours hide."""
    columns: dict[str, np.ndarray] = {metric: getattr(slices, metric)[:, None] for metric in SLICE_METRICS}
    columns["foot"] = slices.reference_points[:, 2, :1]
    for place, (channel, reference) in enumerate(zip(("red", "green", "blue"), "ABC", strict=True)):
        columns[channel] = _coarse(slices.rgb[..., place])
        columns[f"largest d of {reference}"] = slices.distance[:, place].max(axis=(1, 2))[:, None]
        columns[f"||F({reference})||"] = slices.reference_norm[:, place, None]
    return {"triples": {name: [[kept.place(value) for value in row] for row in rows] for name, rows in columns.items()}}


def _coarse(field: np.ndarray) -> np.ndarray:
    """(triples, 16): means over four bands of beta by four of alpha, so that no two places are confused."""
    bands = [np.array_split(rows, COARSE, axis=2) for rows in np.array_split(field, COARSE, axis=1)]
    return np.stack([cell.mean(axis=(1, 2)) for row in bands for cell in row], axis=1)


def _recorded(row: ResultRow, slices: Slices, texts: Texts) -> ResultRow:
    return replace(
        row,
        n=len(slices),
        degenerate=int(slices.degenerate.sum()),
        size=len(slices.alphas),
        extent=kept.rounded(slices.alphas[[0, -1]]),
        metrics={name: kept.metric(slices, name) for name in SLICE_METRICS},
        triples=tuple(_triple(slices, number, texts) for number in range(len(slices))),
    )


def _triple(slices: Slices, number: int, texts: Texts) -> Triple:
    colours = np.nan_to_num(np.clip(slices.rgb[number], 0, 1))
    tokens, places = np.unique(slices.top_tokens[number], return_inverse=True)
    return Triple(
        rgb=_base64(np.round(255 * colours).astype(np.uint8)),
        largest=kept.rounded(slices.distance[number].max(axis=(1, 2))),
        degenerate=bool(slices.degenerate[number]),
        reference_points=kept.rounded(slices.reference_points[number]),
        own_colours=kept.rounded(slices.own_colours[number]),
        tokens=tuple(texts(tokens.tolist())),
        top=_base64(places.reshape(-1).astype(place_type(len(tokens)))),
        metrics={name: kept.rounded(getattr(slices, name)[number]) for name in SLICE_METRICS},
    )


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _cells(spec: SliceSpec) -> int:
    """Points of a plane, and the three references."""
    return spec.size**2 + 3


KIND = register(
    Kind(
        name="slices",
        spec=SliceSpec,
        result=Slices,
        measure="measure.core.measurements:of_slices",
        metrics=metrics.SLICES,
        takes="triples",
        points=_cells,
        # The most probable token of every cell, in A's context.
        logits=3,
        tokens=True,
        described=_described,
        tolerance=_TOLERANCE,
        tolerance_from="five cells of 1,024 for what is counted; for colours what curves are allowed",
        recorded=_recorded,
    )
)
