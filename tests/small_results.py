"""Results that no model gave, small and of known shape, and the run that they would leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from measure import catalog
from measure.harness import recording
from measure.kinds.rows import Header, Row
from measure.report import records
from measure.report.records import Run
from measure.results import Curves, Result
from measure.results.crossings import Crossings
from measure.results.predictions import Predictions
from measure.results.slices import Slices
from measure.spec import AnySpec, CrossingSpec, CurveSpec, PredictionSpec, SliceSpec

PAIRS, STEPS, SIZE, TRIPLES = 14, 21, 8, 3
TRAINED = ("step0-tokens0M", "step256-tokens1M", "main")


def provenance(spec: AnySpec) -> dict[str, Any]:
    return {"model": spec.model, "weights_sha256": "ab" * 32, "spec": {}, "device": "cpu"}


def distances(sharpness: float, rows: int = PAIRS, steps: int = STEPS) -> np.ndarray:
    """Sigmoids from 0, the steeper the larger `sharpness`, each row a little steeper than the one before."""
    alphas = np.linspace(0, 1, steps)
    steep = sharpness * np.linspace(0.8, 1.2, rows)[:, None]
    return np.tanh(steep * (alphas - 0.5)) - np.tanh(-steep / 2)


def fields(sharpness: float, rows: int = PAIRS, steps: int = STEPS) -> dict[str, Any]:
    line = np.repeat(np.linspace(0, 1, steps)[None], rows, axis=0)
    return {
        "alphas": np.linspace(0, 1, steps),
        "distance": distances(sharpness, rows, steps),
        "null_distance": line,
        "reference_norm": np.ones(rows),
        "units": np.arange(rows) // 2,
        **seen_from_both_ends(distances(sharpness, rows, steps), ""),
        **seen_from_both_ends(line, "null_"),
    }


def seen_from_both_ends(distance: np.ndarray, prefix: str) -> dict[str, np.ndarray]:
    """What an output that runs straight adds to its distance from A."""
    return {
        f"{prefix}step_distance": np.abs(np.diff(distance, axis=1)),
        f"{prefix}end_side_distance": np.abs(distance[:, -1:] - distance),
    }


def curves(spec: CurveSpec, sharpness: float = 4.0, **changed: Any) -> Curves:
    return Curves(**{**fields(sharpness), **changed}, provenance=provenance(spec))


def predictions(spec: PredictionSpec, sharpness: float = 4.0, rows: int = PAIRS) -> Predictions:
    kept = fields(sharpness, rows)
    return Predictions(
        **kept,
        provenance=provenance(spec),
        separation=np.ones(rows),
        last_tokens=np.arange(2 * rows).reshape(rows, 2),
        end_tokens=np.array([[" the", " a"]] * rows),
        top_tokens=np.zeros((rows, STEPS), dtype=int),
        logit_difference=1 - 2 * kept["distance"],
        end_divergence=np.full(rows, 0.4),
        span_divergence=np.full((rows, STEPS - 4), 0.1),
        null_top_tokens=np.zeros((rows, STEPS), dtype=int),
        null_logit_difference=1 - 2 * kept["null_distance"],
        null_span_divergence=np.full((rows, STEPS - 4), 0.1),
    )


def crossings(spec: CrossingSpec, sharpness: float = 4.0) -> Crossings:
    kept = fields(sharpness)
    counts = np.arange(PAIRS * 2 * (STEPS - 1)).reshape(PAIRS, 2, STEPS - 1) % 5
    return Crossings(
        **kept,
        provenance=provenance(spec),
        gates=np.array([40, 40]),
        crossings=counts,
        coarse=counts.sum(axis=2),
        end_crossings=counts.sum(axis=2) // 2,
    )


def slices(spec: SliceSpec, sharpness: float = 4.0) -> Slices:
    at = np.linspace(-0.25, 1.25, SIZE)
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.4, 1.0]])
    beta, alpha = np.meshgrid(at, at, indexing="ij")
    away = np.stack([np.tanh(sharpness * np.hypot(alpha - x, beta - y)) for x, y in points])
    own = np.tanh(sharpness * np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)))
    each = np.ones((TRIPLES, 1, 1, 1))
    return Slices(
        alphas=at,
        betas=at,
        distance=each * away,
        reference_distance=each[..., 0] * own,
        reference_norm=np.ones((TRIPLES, 3)),
        reference_points=each[..., 0] * points,
        top_tokens=np.repeat(away.argmin(axis=0)[None], TRIPLES, axis=0),
        on_line=np.zeros(TRIPLES, dtype=bool),
        provenance=provenance(spec),
    )


def result(spec: AnySpec, sharpness: float = 4.0) -> Result:
    rows = 4 if isinstance(spec, CurveSpec) and spec.pairing.startswith("printed") else PAIRS
    match spec:
        case PredictionSpec():
            return predictions(spec, sharpness, rows)
        case CrossingSpec():
            return crossings(spec, sharpness)
        case CurveSpec():
            return curves(spec, sharpness)
        case _:
            assert isinstance(spec, SliceSpec)
            return slices(spec, sharpness)


def specs() -> list[tuple[AnySpec, float]]:
    """As much of a ladder run as has something for every figure, with the sharpness of each curve."""
    found: list[tuple[AnySpec, float]] = []
    for model, sharp in (("ladder-olmo-0.2m", 4.0), ("ladder-olmo-1.1m", 6.0), ("ladder-qwen2-0.2m", 3.5)):
        for weights, factor in (("stored", 1.0), ("scrambled:0", 1.1), ("untrained:0", 0.1)):
            found += [(CurveSpec(f"{model}@main", weights=weights, layer=n), factor * sharp) for n in (1, 2, 3)]
            found.append((CrossingSpec(f"{model}@main", weights=weights), factor * sharp))
        found += [(CurveSpec(f"{model}@main", read=read), sharp / 2) for read in ("residual", "logits")]
        found.append((CurveSpec(f"{model}@main", protocol="strict"), 1.1 * sharp))
        for place, revision in enumerate(TRAINED):
            found.append((SliceSpec(f"{model}@{revision}"), 1 + place))
            found += [(CurveSpec(f"{model}@{revision}"), sharp * (place + 0.1) / 2)] if revision != "main" else []
        for pairing, factor in (("similar", 0.1), ("dissimilar", 1.0)):
            for name in (pairing, f"printed_{pairing}"):
                found.append((PredictionSpec(f"{model}@main", pairing=name), factor * sharp))  # type: ignore[arg-type]
    return found


def header(*models: str, **changed: Any) -> Header:
    known = {name: recording.of_model(catalog.models()[name]) for name in models}
    return Header(records.FORMAT, catalog=known, **changed)


def lines() -> list[Row]:
    found = [recording.of_result(spec, "measured", result(spec, sharpness)) for spec, sharpness in specs()]
    return [header("ladder-olmo-0.2m", "ladder-olmo-1.1m", "ladder-qwen2-0.2m"), *found]


def write(path: Path, *content: Row, tail: str = "") -> Path:
    path.write_bytes(b"".join(map(records.to_json, content)) + tail.encode())
    return path


def run(path: Path, *content: Row) -> Run:
    """What `content` is read back as, from a file at `path`."""
    return records.read([write(path, *content)])
