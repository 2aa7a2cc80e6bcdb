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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypedDict

import msgspec

from measure import kinds
from measure.base import files
from measure.kinds import ACROSS, ENVIRONMENT, PROCESSORS, Kind, kept
from measure.kinds.rows import QUARTILES
from measure.results import RowResult
from measure.shown import Places
from measure.spec import PATHS, MeasureError

FORMAT = 2

Content = dict[str, Any]


def describe(result: RowResult, places: Places | None = None) -> Content:
    """What a baseline keeps of a result; `places` writes the paths in its spec, as they stand without it."""
    kind = kinds.named(result.kind)
    named = dict(result.provenance["spec"])
    if places is not None:
        named |= {name: places.path(named[name]) for name in PATHS if name in named}
    spec, defaults = _parted(kind, named)
    described = kind.described(result) if kind.described is not None else _described(kind, result)
    return {
        "format": FORMAT,
        "kind": kind.held,
        "spec": spec,
        "defaults": defaults,
        "prompts_sha256": result.provenance["prompts_sha256"],
        "pairs": len(result),
        "degenerate": int(result.degenerate.sum()),
        **described,
        "tolerance": {**_tolerances_of(kind, described), "from": kind.tolerance_from},
        "environment": {name: result.provenance[name] for name in ENVIRONMENT},
    }


def _described(kind: Kind, result: RowResult) -> Content:
    """What is kept where a kind says nothing else: quartiles of its metrics."""
    return {"metrics": kept.metrics_of(result, (metric.name for metric in kind.metrics))}


def _tolerances_of(kind: Kind, described: Content) -> dict[str, dict[str, float]]:
    """Of the numbers that are there."""
    held = {"curve", "scale"}.union(*described.values())
    return {of: {name: value for name, value in table.items() if name in held} for of, table in kind.allowed().items()}


def _parted(kind: Kind, spec: Mapping[str, Any]) -> tuple[Content, Content]:
    """A spec's fields that differ from their defaults, and all defaults."""
    fields = [one for one in dataclasses.fields(kind.spec) if one.default is not dataclasses.MISSING]
    # A field that was added later stands in files of specs that set it alone.
    fields = [one for one in fields if not one.metadata.get("added") or spec.get(one.name, one.default) != one.default]
    # As JSON holds them: a tuple is a list.
    defaults = json.loads(json.dumps({one.name: one.default for one in fields}))
    asked = json.loads(json.dumps(spec))
    return {n: value for n, value in asked.items() if n not in defaults or value != defaults[n]}, defaults


def asked(content: Content) -> Content:
    """Every field of the spec that a baseline was made for."""
    specs = [kind.spec for kind in kinds.every() if kind.held == content["kind"]]
    fields = [one for spec in specs for one in dataclasses.fields(spec) if one.metadata.get("added")]
    later = json.loads(json.dumps({one.name: one.default for one in fields}))
    return {**later, **content["defaults"], **content["spec"]}


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
    """Every number of a baseline that is compared, group by group."""
    return [
        *_of_curve(content.get("curve", {})),
        *_of_metrics("metrics", content.get("metrics", {}), ""),
        *_of_metrics("null_metrics", content.get("null_metrics", {}), " of the norm-only null"),
        *_of_scale(content.get("scale", {})),
        *_of_triples(content.get("triples", {})),
    ]


def _of_curve(curve: Content) -> Iterator[Compared]:
    for quartile in QUARTILES if curve else ():
        points = curve[quartile]
        for place, value in enumerate(points):
            what = f"{quartile} curve at alpha = {place / (len(points) - 1):.3f}"
            yield Compared("curve", "curve", "curve", what, value)


def _of_metrics(group: str, metrics: Content, called: str) -> Iterator[Compared]:
    for name, values in metrics.items():
        kind = name + called
        for quartile in QUARTILES:
            yield Compared(group, name, kind, f"{quartile} of {kind}", values[quartile])


def _of_scale(scale: Content) -> Iterator[Compared]:
    for name, called in (("end_distance", "d(1)"), ("reference_norm", "||F(A)||")) if scale else ():
        for quartile in QUARTILES:
            yield Compared("scale", name, called, f"{quartile} of {called}", scale[name][quartile])


def _of_triples(triples: Content) -> Iterator[Compared]:
    for name, rows in triples.items():
        for triple, row in enumerate(rows, 1):
            for cell, value in enumerate(row, 1):
                place = f", cell {cell} of {len(row)}" if len(row) > 1 else ""
                yield Compared("triples", name, name, f"{name} of triple {triple}{place}", value)


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


class _OfMetrics(_Common):
    metrics: dict[str, _Quartiles]


# By the form of a file, what it must hold; of kinds that say nothing else their metrics.
_FORMS: dict[str, type[Any]] = {"curves": _OfCurves, "slices": _OfSlices}


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
    shape = _FORMS.get(kind, _OfMetrics) if isinstance(kind, str) else _OfCurves
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
