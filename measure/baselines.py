"""What a baseline file holds: the numbers accepted of a result, what they were measured on, and how far they may move.

One JSON file a test. `spec` holds the fields that differ from their defaults, `defaults` the defaults that it was made
with; `tolerance` is given for numbers made and measured on processors, and across devices; `environment` (versions,
device, hash of the weights) is named when a number moved, never compared. Compares nothing: `regression` does.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypedDict

import msgspec
import numpy as np

from measure import files, metrics
from measure.results import Curves
from measure.rows import QUARTILES
from measure.shown import Places
from measure.slices import SLICE_METRICS, Slices
from measure.spec import KINDS, CurveSpec, MeasureError

FORMAT = 2
DIGITS = 6
PROCESSORS = "on processors"
ACROSS = "across devices"
# Largest accepted change of a point of the quartile curves, and of a quartile of each metric (`metrics.TABLE`).
# `scale`: of d(1) and ||F(A)||, which r hides, relative to the number itself.
_CURVES = (*metrics.CURVES, *metrics.PREDICTIONS, *metrics.CROSSINGS)
_ACROSS = {"curve": 2e-4, "scale": 2e-4} | {one.name: one.devices for one in _CURVES}
# The same where both were measured on a processor: threads, instruction sets and libraries move a number by rounding.
_PROCESSORS = {"curve": 1e-5, "scale": 1e-5} | {one.name: one.processors for one in _CURVES}
TOLERANCE = {PROCESSORS: _PROCESSORS, ACROSS: _ACROSS}
TOLERANCE_FROM = (
    "ten times what threads, instruction sets and libraries of processors moved them by, counts aside; across devices "
    "twice the 1e-4 allowed between processor and accelerator (tests/test_baselines.py)"
)
# Of each triple: a cell whose colour is within rounding of the bound may fall on either side of it.
_SLICES_ACROSS = {one.name: one.devices for one in metrics.SLICES} | {
    "foot": 1e-3,
    "red": 2e-4,
    "green": 2e-4,
    "blue": 2e-4,
    "scale": 2e-4,
}
_COLOURS = {"red": 1e-5, "green": 1e-5, "blue": 1e-5, "scale": 1e-5, "foot": 1e-5}
SLICE_TOLERANCE = {PROCESSORS: _SLICES_ACROSS | _COLOURS, ACROSS: _SLICES_ACROSS}
SLICE_TOLERANCE_FROM = "five cells of 1,024 for what is counted; for colours what curves are allowed"
COARSE = 4
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

# Of a spec what may be a path.
PATHS = ("model", "corpus")

Content = dict[str, Any]


def describe(result: Curves | Slices, places: Places | None = None) -> Content:
    """What a baseline keeps of a result; `places` writes the paths in its spec, as they stand without it."""
    slices = isinstance(result, Slices)
    named = dict(result.provenance["spec"])
    if places is not None:
        named |= {name: places.path(named[name]) for name in PATHS if name in named}
    spec, defaults = _parted(result.kind, named)
    described = _describe_slices(result) if isinstance(result, Slices) else _describe_curves(result)
    return {
        "format": FORMAT,
        "kind": "slices" if slices else "curves",
        "spec": spec,
        "defaults": defaults,
        "prompts_sha256": result.provenance["prompts_sha256"],
        "pairs": len(result),
        "degenerate": int(result.degenerate.sum()),
        **described,
        "tolerance": {
            **(SLICE_TOLERANCE if slices else _tolerances_of(described)),
            "from": SLICE_TOLERANCE_FROM if slices else TOLERANCE_FROM,
        },
        "environment": {name: result.provenance[name] for name in ENVIRONMENT},
    }


def _tolerances_of(described: Content) -> dict[str, dict[str, float]]:
    """Of the numbers that are there; a metric of another kind of measurement has no place in the file."""
    held = {"curve", "scale", *described["metrics"], *described["null_metrics"]}
    return {of: {name: value for name, value in table.items() if name in held} for of, table in TOLERANCE.items()}


def _parted(kind: str, spec: Mapping[str, Any]) -> tuple[Content, Content]:
    """A spec's fields that differ from their defaults, and all defaults."""
    fields = [one for one in dataclasses.fields(KINDS[kind]) if one.default is not dataclasses.MISSING]
    # A field that was added later stands in files of specs that set it alone.
    fields = [one for one in fields if not one.metadata.get("added") or spec.get(one.name, one.default) != one.default]
    # As JSON holds them: a tuple is a list.
    defaults = json.loads(json.dumps({one.name: one.default for one in fields}))
    asked = json.loads(json.dumps(spec))
    return {n: value for n, value in asked.items() if n not in defaults or value != defaults[n]}, defaults


def asked(content: Content) -> Content:
    """Every field of the spec that a baseline was made for."""
    later = {one.name: one.default for one in dataclasses.fields(CurveSpec) if one.metadata.get("added")}
    later = json.loads(json.dumps(later)) if content["kind"] == "curves" else {}
    return {**later, **content["defaults"], **content["spec"]}


def _describe_slices(slices: Slices) -> Content:
    """Every triple's metrics, its colours on a coarse grid, where C stands, and the scale that colours hide."""
    columns: dict[str, np.ndarray] = {metric: getattr(slices, metric)[:, None] for metric in SLICE_METRICS}
    columns["foot"] = slices.reference_points[:, 2, :1]
    for place, (channel, reference) in enumerate(zip(("red", "green", "blue"), "ABC", strict=True)):
        columns[channel] = _coarse(slices.rgb[..., place])
        columns[f"largest d of {reference}"] = slices.distance[:, place].max(axis=(1, 2))[:, None]
        columns[f"||F({reference})||"] = slices.reference_norm[:, place, None]
    return {"triples": {name: [[_number(value) for value in row] for row in rows] for name, rows in columns.items()}}


def _coarse(field: np.ndarray) -> np.ndarray:
    """(triples, 16): means over four bands of beta by four of alpha, so that no two places are confused."""
    bands = [np.array_split(rows, COARSE, axis=2) for rows in np.array_split(field, COARSE, axis=1)]
    return np.stack([cell.mean(axis=(1, 2)) for row in bands for cell in row], axis=1)


def _describe_curves(curves: Curves) -> Content:
    return {
        "curve": {q: [_number(value) for value in row] for q, row in zip(QUARTILES, curves.quartiles(), strict=True)},
        "metrics": _metrics(curves, curves.kept_metrics),
        "null_metrics": _metrics(curves.null, curves.null_metrics),
        "scale": {
            "end_distance": _by_quartile(_quartiles(curves.distance[:, -1])),
            "reference_norm": _by_quartile(_quartiles(curves.reference_norm)),
        },
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
class Compared:
    """One number of a baseline: its `kind` is the number's without its place, `what` tells the place too.

    `group`, `name`: where it stands in the file; a number of the same name in the same group is never held apart.
    """

    group: str
    name: str
    kind: str
    what: str
    value: float | None


def numbers(content: Content) -> list[Compared]:
    """Every number of a baseline that is compared."""
    if content["kind"] == "slices":
        return _numbers_of_slices(content)
    found = []
    for quartile in QUARTILES:
        points = content["curve"][quartile]
        found += [
            Compared("curve", "curve", "curve", f"{quartile} curve at alpha = {i / (len(points) - 1):.3f}", value)
            for i, value in enumerate(points)
        ]
    for group, called in (("metrics", ""), ("null_metrics", " of the norm-only null")):
        for name, values in content[group].items():
            kind = name + called
            found += [Compared(group, name, kind, f"{quartile} of {kind}", values[quartile]) for quartile in QUARTILES]
    for name, called in (("end_distance", "d(1)"), ("reference_norm", "||F(A)||")):
        values = content["scale"][name]
        found += [Compared("scale", name, called, f"{q} of {called}", values[q]) for q in QUARTILES]
    return found


def _numbers_of_slices(content: Content) -> list[Compared]:
    found = []
    for name, rows in content["triples"].items():
        for triple, row in enumerate(rows, 1):
            for cell, value in enumerate(row, 1):
                place = f", cell {cell} of {len(row)}" if len(row) > 1 else ""
                found.append(Compared("triples", name, name, f"{name} of triple {triple}{place}", value))
    return found


_Numbers = list[float | None]


class _Quartiles(TypedDict):
    q25: float | None
    median: float | None
    q75: float | None


class _Curve(TypedDict):
    q25: _Numbers
    median: _Numbers
    q75: _Numbers


class _Scale(TypedDict):
    end_distance: _Quartiles
    reference_norm: _Quartiles


class _Common(TypedDict):
    spec: dict[str, Any]
    prompts_sha256: str
    pairs: int
    degenerate: int
    tolerance: dict[str, Any]
    environment: dict[str, str | int | float | bool | None]


class _OfCurves(_Common):
    curve: _Curve
    metrics: dict[str, _Quartiles]
    null_metrics: dict[str, _Quartiles]
    scale: _Scale


class _OfSlices(_Common):
    triples: dict[str, list[_Numbers]]


# Each text is asked for several times in a row; nobody changes what is read.
@lru_cache(maxsize=4)
def parse(text: str) -> Content:
    """A baseline from its text. Raises `MeasureError` that says what is wrong with it."""
    try:
        content = files.parsed(text)
    except MeasureError as error:
        raise MeasureError(f"the baseline file is not whole JSON ({error})") from None
    found = content.get("format") if isinstance(content, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise MeasureError(
            f"the baseline file is of format {found}, which a newer version of this package wrote; this one reads "
            f"formats 1 and {FORMAT}"
        )
    if found not in (1, FORMAT):
        raise MeasureError(f"the baseline file is not of format {FORMAT}")
    kind = content.setdefault("kind", "curves")
    shape: Any = _OfSlices if kind == "slices" else _OfCurves
    missing = shape.__required_keys__ - content.keys()
    if missing:
        raise MeasureError(f"the baseline file lacks {', '.join(sorted(missing))}")
    try:
        msgspec.convert(content, shape)
        whole = _as_format_2(content) if found == 1 else content
        msgspec.convert(whole["defaults"], dict[str, Any])
    except (ValueError, KeyError, AttributeError) as error:
        raise MeasureError(f"the baseline file is not as this version writes it ({error})") from None
    _check_tolerances(whole)
    return whole


def _check_tolerances(content: Content) -> None:
    """Raise `MeasureError` unless what may move, by how much, is a number above 0 for both classes of devices."""
    for devices in (PROCESSORS, ACROSS):
        for name, allowed in content["tolerance"][devices].items():
            if isinstance(allowed, bool) or not isinstance(allowed, int | float) or not 0 < allowed < math.inf:
                raise MeasureError(f"the baseline's tolerance of {name} is {allowed!r}, expected a number above 0")


def _as_format_2(content: Content) -> Content:
    """A file of format 1: it named every field of its spec, and had one tolerance for all devices."""
    tolerance = {name: value for name, value in content["tolerance"].items() if name != "from"}
    both = {PROCESSORS: tolerance, ACROSS: tolerance, "from": content["tolerance"].get("from")}
    return {**content, "defaults": {}, "tolerance": both}


def device_class(*contents: Content) -> str:
    """Which tolerances hold between baselines: those of processors where all were measured on one."""
    on_processors = all(str(content["environment"].get("device")).startswith("cpu") for content in contents)
    return PROCESSORS if on_processors else ACROSS


# A list of numbers, one to a line, as `json` writes it.
_NUMBER = r"(?:-?[\d.]+(?:[eE][-+]?\d+)?|null)"
_NUMBERS = re.compile(rf"\[\s+({_NUMBER}(?:,\s+{_NUMBER})*)\s+\]")


def to_text(content: Content) -> str:
    """The text of a baseline file, a list of numbers in one line."""
    return _NUMBERS.sub(_in_one_line, json.dumps(content, indent=1)) + "\n"


def _in_one_line(found: re.Match[str]) -> str:
    return f"[{' '.join(found[1].split())}]"
