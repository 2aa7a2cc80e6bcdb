"""Tell: a result of a run -> what the page draws of it, and what a case calls it."""

from __future__ import annotations

import base64
import itertools
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
from msgspec import UNSET, UnsetType

from measure import records
from measure.rows import CurveRow, Metric, Number, Numbers, Quartiles, ResultRow
from measure.view_rows import GatesView, Pair, PairsView, ResultView, SlicesView

# Of r: finer than a pixel, and than the band of any baseline drawn beside it (whose residual is sent whole).
DIGITS = 4
_T = TypeVar("_T")
# Slices that are drawn of a counterfeit: as many as tell what it looks like.
OF_COUNTERFEITS = 6
_REFUTING = ("max_slope", "edge_speed", "two_sided_drift", "detour")


def result(row: ResultRow) -> ResultView:
    """What is drawn of a result: its curve or its slices, its metrics, and what it was measured on."""
    # Of counterfeits that keep A and B the curves are drawn, and what refutes them: all they have were half the page.
    whole = "_after_" not in row.weights[0]
    drawn = whole or row.type == "CurveSpec"
    return ResultView(
        id=row.id,
        weights=row.weights[0],
        n=row.n,
        degenerate=row.degenerate,
        metrics={name: _metric(metric) for name, metric in row.metrics.items() if whole or name in _REFUTING},
        provenance=_provenance(row),
        curve=_or_unset(curve(row) if drawn else None),
        null=UNSET if row.null is None or not whole else quartiles(row.null),
        logit=UNSET if row.logit is None or not whole else quartiles(row.logit),
        gates=UNSET if row.crossings is None or not whole else _gates(row, row.crossings),
        slices=_slices(row) if row.triples and whole and row.spec["layer"] == 1 else UNSET,
        pairs=_or_unset(_pairs(row)),
    )


def _or_unset(value: _T | None) -> _T | UnsetType:
    return UNSET if value is None else value


def curve(row: ResultRow) -> CurveRow | None:
    """A result's curve as it is drawn."""
    drawn = row.curve
    return None if drawn is None else CurveRow(*map(rounded, drawn.rows()), alphas=rounded(drawn.alphas))


def quartiles(rows: Quartiles) -> Quartiles:
    """Quartiles as they are drawn."""
    return Quartiles(*map(rounded, rows.rows()))


def rounded(values: Iterable[Number]) -> Numbers:
    """Numbers as they are drawn."""
    return tuple(None if value is None else round(value, DIGITS) for value in values)


def _pairs(row: ResultRow) -> PairsView | None:
    if row.pairs is None:
        return None
    names = tuple(" to ".join(map(repr, tokens)) for tokens in row.pairs.last_tokens)
    return PairsView(tuple(map(rounded, row.pairs.relative)), names)


def _gates(row: ResultRow, crossings: Quartiles) -> GatesView:
    """Between the points of a segment: sign changes a gate and unit of alpha, smoothed; the share of slow pairs."""
    assert row.curve is not None, "crossings without a curve"
    assert row.gates is not None, "crossings without gates"
    alphas = row.curve.alphas
    scale = (len(alphas) - 1) / sum(row.gates)
    return GatesView(
        alphas=rounded(_between(alphas)),
        crossings=Quartiles(*(rounded(_scaled(records.running_mean(line), scale)) for line in crossings.rows())),
        flat=None if row.flat is None else rounded(row.flat),
    )


def _between(alphas: Numbers) -> Iterable[Number]:
    """The middles between neighbours."""
    return (None if a is None or b is None else (a + b) / 2 for a, b in itertools.pairwise(alphas))


def _scaled(values: Iterable[Number], scale: float) -> Iterable[Number]:
    return (None if value is None else value * scale for value in values)


def _metric(metric: Metric) -> Metric:
    q25, median, q75, estimate, low, high = (
        None if value is None else round(value, 5)
        for value in (metric.q25, metric.median, metric.q75, metric.estimate, metric.low, metric.high)
    )
    return Metric(q25, median, q75, estimate, low, high, metric.n)


_SHOWN = ("weights_sha256", "prompts_sha256", "device", "dtype", "path", "path_reason", "torch", "transformers")


def _provenance(row: ResultRow) -> tuple[Pair, ...]:
    """What a result was measured on and how, hashes cut short."""
    known = {"how": row.how, **row.provenance}
    found = [(name, known.get(name)) for name in ("how", "revision", "commit", *_SHOWN)]
    return tuple((name, str(value)[:12] if "sha256" in name else str(value)) for name, value in found if value)


def _slices(row: ResultRow) -> SlicesView:
    """Slices of a result, packed: the colour of every cell and its place in `tokens`, deflated.

    A cell's colour holds its three distances, to half a 255th of the largest of each field.
    """
    row = replace(row, triples=row.triples[: None if row.weights[0] == "stored" else OF_COUNTERFEITS])
    assert row.size is not None, "slices without a size"
    assert row.extent is not None, "slices without an extent"
    tokens, tops = _tokens(row)
    rgb = [records.slice_colours(row, place) for place in range(len(row.triples))]
    packed = np.stack(rgb).tobytes() + np.stack(tops).astype("<u2").tobytes()
    return SlicesView(
        size=row.size,
        extent=row.extent,
        largest=tuple(triple.largest for triple in row.triples),
        points=tuple(tuple(map(rounded, triple.reference_points)) for triple in row.triples),
        degenerate=tuple(triple.degenerate for triple in row.triples),
        tokens=tokens,
        packed=base64.b64encode(zlib.compress(packed, 9)).decode(),
    )


def _tokens(row: ResultRow) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """The tokens of all slices, each once, and of each slice every cell's place in them."""
    tokens = tuple(dict.fromkeys(token for triple in row.triples for token in triple.tokens))
    places = {token: place for place, token in enumerate(tokens)}
    tops = []
    for number, triple in enumerate(row.triples):
        own = np.array([places[token] for token in triple.tokens])
        tops.append(own[records.slice_tokens(row, number)])
    return tokens, tops


def labels(results: Mapping[str, ResultRow]) -> dict[str, str]:
    """A short name for each result of a case: what tells it from the others."""
    parts = {name: _parts(row) for name, row in results.items()}
    shown: dict[str, tuple[str, ...]] = dict.fromkeys(parts, ())
    for field in dict.fromkeys(field for part in parts.values() for field in part):
        differs = len({part.get(field, "") for part in parts.values()}) > 1
        # Details that tell nothing more apart are left out.
        if differs and (field in _ALWAYS or len(set(shown.values())) < len(shown)):
            shown = {name: (*label, parts[name].get(field, "")) for name, label in shown.items()}
    return {name: " ".join(filter(None, label)) or parts[name]["model"] for name, label in shown.items()}


_ALWAYS = ("model", "revision", "weights", "pairing", "layer", "read")
_WEIGHTS = {"stored": "", "scrambled": "shuffled", "untrained": "untrained"}


def _parts(row: ResultRow) -> dict[str, str]:
    """Field by field, what a label can say of a result."""
    spec = row.spec
    weights, seed = row.weights
    said = {
        "model": row.model,
        "revision": str(spec["model"]).partition("@")[2],
        "weights": f"{_WEIGHTS.get(weights, weights)} {seed}".strip(),
        "pairing": str(spec.get("pairing", "")),
        "layer": f"layer {spec.get('layer')}",
        "read": str(spec.get("read")),
    }
    rest = {name: f"{name} {value}" for name, value in spec.items() if name not in said}
    return said | {"type": row.type.removesuffix("Spec").lower()} | rest
