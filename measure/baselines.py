"""Same as before?: curves against the accepted ones, through a syrupy extension; the text of a failure.

A baseline is one JSON file a test. The curve and its metrics are compared within the tolerance that stands in the file;
the environment (versions, device, hash of the weights) is recorded and named when the curve moved, never compared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from syrupy.data import SnapshotCollection
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from syrupy.location import PyTestLocation
from syrupy.types import SerializableData, SerializedData

from measure.results import METRICS, Curves, write_atomically
from measure.slices import SLICE_METRICS, Slices

FORMAT = 1
DIGITS = 6
HASH = 12
QUARTILES = ("q25", "median", "q75")
# Accepted change of d(1) and ||F(A)||, which r hides, relative to the number itself.
SCALE_TOLERANCE = 2e-4
# Largest accepted change of a point of the quartile curves, and of a quartile of each metric.
TOLERANCE = {
    "curve": 2e-4,
    "max_slope": 1e-2,
    "transition_width": 1e-3,
    "edge_drift": 2e-4,
    "jump_location": 1e-3,
    "end_divergence": 1e-3,
    "flat_divergence": 1e-3,
    "straddling_divergence": 1e-3,
    "logit_deviation": 1e-3,
    "logit_correlation": 5e-3,
    "total": 2.0,
    "flat_share": 0.01,
    "flat_crossings": 2.0,
    "region_boundaries": 0.5,
}
TOLERANCE_FROM = (
    "twice the 1e-4 allowed between processor and accelerator; float32 against float64, 1 or 2 threads and any chunk "
    "size move these curves by less than a tenth of that (tests/test_baselines.py)"
)
# Of each triple: a cell whose colour is within rounding of the bound may fall on either side of it.
SLICE_TOLERANCE = {
    "solid_share": 5e-3,
    "steep_share": 1e-3,
    "boundary_width": 5e-3,
    "foot": 1e-3,
    "red": 2e-4,
    "green": 2e-4,
    "blue": 2e-4,
    "scale": SCALE_TOLERANCE,
}
COARSE = 4
SLICE_TOLERANCE_FROM = "five cells of 1,024 for what is counted; for colours what curves are allowed"
ENVIRONMENT = (
    "measure",
    "torch",
    "transformers",
    "numpy",
    "python",
    "device",
    "dtype",
    "weights_sha256",
    "config_sha256",
    "card",
    "path",
)


def describe(result: Curves | Slices) -> dict[str, Any]:
    """What a baseline keeps of a result."""
    return {
        "format": FORMAT,
        "kind": "slices" if isinstance(result, Slices) else "curves",
        "spec": result.provenance["spec"],
        "prompts_sha256": result.provenance["prompts_sha256"],
        "pairs": len(result),
        "degenerate": int(result.degenerate.sum()),
        **(_describe_slices(result) if isinstance(result, Slices) else _describe_curves(result)),
        "environment": {name: result.provenance[name] for name in ENVIRONMENT},
    }


def _describe_slices(slices: Slices) -> dict[str, Any]:
    """Every triple's metrics, its colours on a coarse grid, where C stands, and the scale that colours hide."""
    columns: dict[str, np.ndarray] = {metric: getattr(slices, metric)[:, None] for metric in SLICE_METRICS}
    columns["foot"] = slices.reference_points[:, 2, :1]
    for place, (channel, reference) in enumerate(zip(("red", "green", "blue"), "ABC", strict=True)):
        columns[channel] = _coarse(slices.rgb[..., place])
        columns[f"largest d of {reference}"] = slices.distance[:, place].max(axis=(1, 2))[:, None]
        columns[f"||F({reference})||"] = slices.reference_norm[:, place, None]
    return {
        "triples": {name: [[_number(value) for value in row] for row in rows] for name, rows in columns.items()},
        "tolerance": {**SLICE_TOLERANCE, "from": SLICE_TOLERANCE_FROM},
    }


def _coarse(field: np.ndarray) -> np.ndarray:
    """(triples, 16): means over four bands of beta by four of alpha, so that no two places are confused."""
    bands = [np.array_split(rows, COARSE, axis=2) for rows in np.array_split(field, COARSE, axis=1)]
    return np.stack([cell.mean(axis=(1, 2)) for row in bands for cell in row], axis=1)


def _describe_curves(curves: Curves) -> dict[str, Any]:
    return {
        "curve": {q: [_number(value) for value in row] for q, row in zip(QUARTILES, curves.quartiles(), strict=True)},
        "metrics": _metrics(curves, curves.kept_metrics),
        "null_metrics": _metrics(curves.null, METRICS),
        "scale": {
            "end_distance": _by_quartile(_quartiles(curves.distance[:, -1])),
            "reference_norm": _by_quartile(_quartiles(curves.reference_norm)),
        },
        "tolerance": {**TOLERANCE, "scale": SCALE_TOLERANCE, "from": TOLERANCE_FROM},
    }


def _quartiles(values: np.ndarray) -> np.ndarray:
    return np.quantile(values, [0.25, 0.5, 0.75])


def _metrics(curves: Curves, names: Iterable[str]) -> dict[str, dict[str, float | None]]:
    return {metric: _by_quartile(curves.metric_quartiles(metric)) for metric in names}


def _by_quartile(values: Iterable[float]) -> dict[str, float | None]:
    return {quartile: _number(value) for quartile, value in zip(QUARTILES, values, strict=True)}


def _number(value: float) -> float | None:
    """Rounded, for JSON, which knows no NaN."""
    return round(float(value), DIGITS) if math.isfinite(value) else None


@dataclass(frozen=True)
class Deviation:
    """How far one compared number is from the baseline's; `kind` is the number's without its place."""

    kind: str
    what: str
    measured: float | None
    accepted: float | None
    tolerance: float

    @property
    def excess(self) -> float:
        """The deviation over its tolerance; infinite where only one of the two is a number."""
        if self.measured is None or self.accepted is None:
            return 0.0 if self.measured is self.accepted else math.inf
        return abs(self.measured - self.accepted) / self.tolerance

    def __str__(self) -> str:
        if self.measured is None or self.accepted is None:
            return f"{self.what}: measured {self.measured}, baseline {self.accepted} (None: no number)"
        return (
            f"{self.what}: measured {self.measured:.6f}, baseline {self.accepted:.6f}, "
            f"off by {self.measured - self.accepted:+.2g} where {self.tolerance:.2g} is accepted"
        )


def deviations(measured: dict[str, Any], accepted: dict[str, Any]) -> list[Deviation]:
    """Every compared number of two baselines of one spec, the worst first."""
    tolerance = accepted["tolerance"]
    found = []
    for name, rows in measured.get("triples", {}).items():
        for triple, (new_row, old_row) in enumerate(zip(rows, accepted["triples"][name], strict=True), 1):
            for cell, (new, old) in enumerate(zip(new_row, old_row, strict=True), 1):
                place = f", cell {cell} of {len(new_row)}" if len(new_row) > 1 else ""
                allowed = tolerance.get(name) or tolerance["scale"] * max(abs(old or 0.0), 1e-12)
                found.append(Deviation(name, f"{name} of triple {triple}{place}", new, old, allowed))
    if found:
        return sorted(found, key=lambda deviation: -deviation.excess)
    for quartile in QUARTILES:
        points = zip(measured["curve"][quartile], accepted["curve"][quartile], strict=True)
        last = len(measured["curve"][quartile]) - 1
        found += [
            Deviation("curve", f"{quartile} curve at alpha = {i / last:.3f}", new, old, tolerance["curve"])
            for i, (new, old) in enumerate(points)
        ]
        for kind, called in (("metrics", ""), ("null_metrics", " of the norm-only null")):
            new, old = measured[kind], accepted[kind]
            found += [
                Deviation(m + called, f"{quartile} of {m}{called}", new[m][quartile], old[m][quartile], tolerance[m])
                for m in old
            ]
    for name, called in (("end_distance", "d(1)"), ("reference_norm", "||F(A)||")):
        new, old = measured["scale"][name], accepted["scale"][name]
        found += [
            Deviation(called, f"{q} of {called}", new[q], old[q], tolerance["scale"] * max(abs(old[q] or 0.0), 1e-12))
            for q in QUARTILES
        ]
    return sorted(found, key=lambda deviation: -deviation.excess)


_PARTS = {
    "curves": {"spec", "prompts_sha256", "curve", "metrics", "null_metrics", "scale", "tolerance", "environment"},
    "slices": {"spec", "prompts_sha256", "triples", "tolerance", "environment"},
}


def _no_constant(name: str) -> float:
    # A NaN would match anything.
    raise ValueError(f"{name} is no JSON number")


def _parse(text: str) -> dict[str, Any] | str:
    """A baseline, or what is wrong with its text."""
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        return f"the baseline file is not whole JSON ({error})"
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return f"the baseline file is not of format {FORMAT}"
    missing = _PARTS.get(content.get("kind", "curves"), _PARTS["curves"]) - content.keys()
    return f"the baseline file lacks {', '.join(sorted(missing))}" if missing else content


def explain(measured_text: str, accepted_text: str) -> list[str]:
    """Why a measured curve is not its baseline, line by line; empty when it is."""
    if not accepted_text:
        return ["no baseline yet for this test: look at the curve, then accept it with --snapshot-update"]
    measured, accepted = _parse(measured_text), _parse(accepted_text)
    assert isinstance(measured, dict), measured
    if isinstance(accepted, str):
        return [f"{accepted}: restore it (git checkout), or measure it anew with --snapshot-update"]
    asked = _changes(measured["spec"], accepted["spec"])
    if asked:
        return [
            "the baseline was made for another spec:",
            *asked,
            "if this spec is meant, accept its curve with --snapshot-update",
        ]
    try:
        reasons = _counts(measured, accepted)
        off = [] if reasons else [found for found in deviations(measured, accepted) if not found.excess <= 1]
        source, metrics = accepted["tolerance"]["from"], _metric_line(measured, accepted)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        return [f"the baseline file is not as this version writes it ({error!r}): restore it (git checkout)"]
    if not reasons:
        if not off:
            return []
        reasons = [f"the curve moved: {len(off)} numbers are out of tolerance, the worst is", f"  {off[0]}"]
        curve = next((deviation for deviation in off if "curve" in deviation.what and deviation is not off[0]), None)
        reasons += [f"  {curve}"] if curve else []
    else_changed = _changes(measured["environment"], accepted["environment"])
    return [
        *reasons,
        f"tolerance: {source}",
        metrics,
        "what else differs from when the baseline was accepted:" if else_changed else
        "nothing else differs (same weights, versions, device): the measuring code changed the number",
        *else_changed,
        *_advice(measured["environment"]),
    ]  # fmt: skip


def compared(measured_text: str, accepted_text: str) -> dict[str, Any]:
    """What a measured and an accepted baseline are drawn from, for the record.

    Both sides' quartile curves and metrics (of slices, each triple's numbers), the `tolerance`, in `farthest` of each
    kind of number the one most off its tolerance, the worst first, and in `changed` what else differs: [accepted,
    measured]. `accepted` is None where there is none to read.
    """
    measured, accepted = _parse(measured_text), _parse(accepted_text)
    sides = {name: _drawn(side) for name, side in (("measured", measured), ("accepted", accepted))}
    if not isinstance(measured, dict) or not isinstance(accepted, dict):
        return {**sides, "tolerance": None, "farthest": [], "changed": {}}
    old, new = accepted["environment"], measured["environment"]
    changed = {
        name: [old.get(name), new.get(name)] for name in old.keys() | new.keys() if old.get(name) != new.get(name)
    }
    return {**sides, "tolerance": accepted["tolerance"], "farthest": _farthest(measured, accepted), "changed": changed}


def _drawn(side: dict[str, Any] | str) -> dict[str, Any] | None:
    if isinstance(side, str):
        return None
    return {**side.get("curve", {}), **{name: side[name] for name in ("metrics", "triples") if name in side}}


def _farthest(measured: dict[str, Any], accepted: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        found = deviations(measured, accepted)
        # Worst first: of each kind the first stays.
        worst = {deviation.kind: deviation for deviation in reversed(found)}.values()
        return [{**asdict(one), "excess": one.excess} for one in sorted(worst, key=lambda one: -one.excess)]
    # Of another spec, or not as this version writes it: `explain` says so.
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        return []


def _metric_line(measured: dict[str, Any], accepted: dict[str, Any]) -> str:
    """How far the medians of the two metrics that claims rest on went."""
    if "triples" in measured:
        old, new = ([row[0] for row in content["triples"]["solid_share"]] for content in (accepted, measured))
        return f"solid share of cells by triple: {old} -> {new}"
    medians = [
        f"median {metric} {accepted['metrics'][metric]['median']} -> {measured['metrics'][metric]['median']}"
        for metric in ("max_slope", "edge_drift")
    ]
    return ", ".join(medians)


def _advice(environment: dict[str, Any]) -> list[str]:
    if "NOT" in str(environment.get("card")):
        return [
            "the rung's weights file was changed after its card was written: see `measure ladder verify`, and "
            "restore it (git checkout -- measure/ladder/weights) unless it was meant"
        ]
    return ["if the new curve is right, accept it with --snapshot-update in a commit that says why"]


def _counts(measured: dict[str, Any], accepted: dict[str, Any]) -> list[str]:
    lines = []
    if measured["environment"]["path"] != accepted["environment"]["path"]:
        lines.append(
            f"measured on the {measured['environment']['path']} path, the baseline on the "
            f"{accepted['environment']['path']} path: the two no longer agree on this model"
        )
    if measured.get("kind") != accepted.get("kind", "curves"):
        return [*lines, f"measured {measured.get('kind')}, the baseline holds {accepted.get('kind', 'curves')}"]
    if measured["kind"] == "slices":
        lengths = [[len(content["triples"]["solid_share"])] * 2 for content in (measured, accepted)]
    else:
        lengths = [sorted(len(content["curve"][q]) for q in QUARTILES) for content in (measured, accepted)]
    if lengths[0] != lengths[1]:
        lines.append(f"curves of {lengths[0][0]} points, in the baseline of {' and '.join(map(str, lengths[1]))}")
    if measured["prompts_sha256"] != accepted["prompts_sha256"]:
        lines.append("the prompts are not those of the baseline (corpus, tokenizer or sampling changed)")
    for name in ("pairs", "degenerate"):
        if measured[name] != accepted[name]:
            lines.append(f"{name}: measured {measured[name]}, baseline {accepted[name]}")
    return lines


def _changes(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    names = sorted(new.keys() | old.keys())
    shown = {name: (str(old.get(name)), str(new.get(name))) for name in names if old.get(name) != new.get(name)}
    # Of a hash the first characters tell which it is.
    return [
        f"  {name}: {a[:HASH] if 'sha256' in name else a} -> {b[:HASH] if 'sha256' in name else b}"
        for name, (a, b) in shown.items()
    ]


class CurveBaseline(SingleFileSnapshotExtension):
    """syrupy's roles for curves: one JSON file a test in `baselines/<suite>/`, compared within its tolerance."""

    _write_mode = WriteMode.TEXT
    file_extension = "json"

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        """`baselines/<suite>` beside the folder of the suites."""
        return str(Path(test_location.filepath).parent.parent / "baselines" / test_location.basename)

    def serialize(self, data: SerializableData, **_: Any) -> SerializedData:
        """The text of a baseline for measured `Curves`."""
        return json.dumps(describe(data), indent=1) + "\n"

    def matches(self, *, serialized_data: SerializableData, snapshot_data: SerializableData) -> bool:
        """Whether the measured curve is the accepted one, within the tolerance written in the baseline."""
        return not explain(str(serialized_data), str(snapshot_data))

    def diff_lines(self, serialized_data: SerializedData, snapshot_data: SerializedData) -> Iterator[str]:
        """What a failed baseline test prints."""
        yield from explain(str(serialized_data), str(snapshot_data or ""))

    @classmethod
    def write_snapshot_collection(
        cls, *, snapshot_collection: SnapshotCollection, name_order: dict[str, int] | None = None
    ) -> None:
        """Write one baseline under a temporary name and then rename it, so that a kill never leaves half a file."""
        snapshot = next(iter(snapshot_collection))
        write_atomically(Path(snapshot_collection.location), str(snapshot.data).encode())
