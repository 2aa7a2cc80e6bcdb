"""Tell: a result of a run -> what the page draws of it."""

from __future__ import annotations

import base64
import itertools
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
from msgspec import UNSET, UnsetType

from measure.kinds.rows import Field, Metric, Number, Numbers, Quartiles, ResultRow
from measure.prompts import drawn as prompts
from measure.report import records
from measure.report.view_rows import CurveView, GatesView, Pair, PairsView, ResultView, SlicesView, Texts

# Of r: finer than a pixel, and than the band of any baseline drawn beside it (whose residual is sent whole).
DIGITS = 4
# Alphas that are so near to evenly spread ones are drawn as these.
_EVEN = 2e-4
_T = TypeVar("_T")
# Of each pair or triple its two or three.
Prompts = tuple[Texts, ...]
# Slices that are drawn of a counterfeit: as many as tell what it looks like.
OF_COUNTERFEITS = 6
_REFUTING = ("max_slope", "edge_speed", "two_sided_drift", "detour")


# The paper has so many pairs of each kind.
_PRINTED = 3


def result(row: ResultRow, sets: Mapping[Prompts, int] | None = None) -> ResultView:
    """What is drawn of a result: its curve or its slices, its metrics, and what it was measured on.

    `sets`: at which place on the page sets of prompts stand.
    """
    # Of counterfeits that keep A and B the curves are drawn, and what refutes them: all they have were half the page.
    whole = not row.weights.change
    drawn = whole or (row.logit is None and row.crossings is None)
    spec = row.spec
    return ResultView(
        id=row.id,
        weights=row.weights.kind,
        n=row.n,
        degenerate=row.degenerate,
        metrics={name: _metric(metric) for name, metric in row.metrics.items() if whole or name in _REFUTING},
        provenance=_provenance(row),
        curve=_or_unset(curve(row) if drawn else None),
        sketch=UNSET if drawn or row.curve is None else sketched(row.curve.median),
        null=UNSET if row.null is None or not whole else quartiles(row.null),
        logit=UNSET if row.logit is None or not whole else quartiles(row.logit),
        gates=UNSET if row.crossings is None or not whole else _gates(row, row.crossings),
        slices=_slices(row) if row.triples and whole and row.spec["layer"] == 1 else UNSET,
        pairs=_or_unset(_pairs(row)),
        prompts=_or_unset((sets or {}).get(row.prompts)),
        pairing=_unusual(spec.get("pairing"), "random"),
        read=_unusual(spec.get("read"), "final_norm"),
        note=_or_unset(_note(row)),
    )


def _unusual(value: Field, usual: str) -> str | UnsetType:
    return UNSET if value is None or value == usual else str(value)


def _or_unset(value: _T | None) -> _T | UnsetType:
    return UNSET if value is None else value


def curve(row: ResultRow) -> CurveView | None:
    """A result's curve as it is drawn."""
    drawn = row.curve
    if drawn is None:
        return None
    alphas, last = rounded(drawn.alphas), max(1, len(drawn.alphas) - 1)
    even = all(alpha is not None and abs(alpha - place / last) < _EVEN for place, alpha in enumerate(alphas))
    low, middle, high = map(rounded, drawn.rows())
    return CurveView(low, middle, high, alphas=UNSET if even else alphas)


def sketched(values: Iterable[Number]) -> Numbers:
    """Numbers of a curve that is drawn small."""
    return tuple(None if value is None else round(value, 3) for value in values)


def quartiles(rows: Quartiles) -> Quartiles:
    """Quartiles as they are drawn."""
    return Quartiles(*map(rounded, rows.rows()))


def rounded(values: Iterable[Number]) -> Numbers:
    """Numbers as they are drawn."""
    return tuple(None if value is None else round(value, DIGITS) for value in values)


def _pairs(row: ResultRow) -> PairsView | None:
    if row.pairs is None:
        return None
    ends = [" to ".join(map(repr, tokens)) for tokens in row.pairs.last_tokens]
    count = len(row.pairs.relative)
    called = printed_names(row)
    told = [": ".join(filter(None, both)) for both in itertools.zip_longest(called, ends[:count], fillvalue="")]
    return PairsView(tuple(map(rounded, row.pairs.relative)), tuple(told))


def printed_names(row: ResultRow) -> list[str]:
    """Of the paper's own pairs each one's name, D1; nothing where prompts are not known, or are others."""
    known: dict[Texts, str] = {}
    for pair in prompts.written_rows(prompts.PRINTED):
        one, other = (pair["prefix"] + pair[side] for side in ("a", "b"))
        known |= {(one, other): pair["name"], (other, one): f"{pair['name']} from B to A"}
    found = [known.get(both, "") for both in row.prompts]
    return found if row.spec.get("pairing") in ("printed_similar", "printed_dissimilar") and all(found) else []


def _note(row: ResultRow) -> str | None:
    """Of the paper's own pairs how many there are, where a tokenizer leaves some out."""
    pairing = str(row.spec.get("pairing"))
    pairs = (row.n or 0) // 2
    if not pairing.startswith("printed_") or not 0 < pairs < _PRINTED:
        return None
    names = [name for name in printed_names(row) if len(name) == 2]
    which = f" ({', '.join(names)})" if names else ""
    return (
        f"The paper's {pairing.removeprefix('printed_')} pairs: n = {pairs} of its {_PRINTED}{which}. A pair is kept "
        "where its prompts differ in one token, the last; of the others this model's tokenizer splits a last word."
    )


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
    row = replace(row, triples=row.triples[: None if row.weights.is_stored else OF_COUNTERFEITS])
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
