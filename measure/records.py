"""What a run leaves behind: one JSON line for each thing, written as it happens, and read back. Measures nothing.

`reports/records.jsonl` holds, in the order in which they came about, objects of these kinds:

`run` (first): `format`, `started`, `arguments`, `tests` (how many were chosen), `models` and the other options,
`catalog` (of each model chosen its family, source, parameters, layers, seed, and revisions with their steps and
tokens), `versions`, `machine`.

`result`, one for each spec whose outcome is known: `id`, `type`, `spec`, `how` (stored, measured or failed),
`provenance`, and
- of curves `n` (rows), `degenerate`, `curve` (alphas and quartiles of r), `null` and `null_metrics` (the norm-only
  null), `metrics` (quartiles over rows; `estimate`, `low`, `high`, `n`: the median over independent units with its
  95 % interval), `pairs` (each row's own curves, where there are 12 rows or fewer);
- of predictions also `logit` (quartiles of the scaled logit difference) and `equal_tops`;
- of crossings also `gates` and `ends` (by block), `crossings` (quartiles over rows of the sign changes per step, all
  blocks), `flat` (share of rows that stand still in each step);
- of slices `n`, `degenerate`, `size`, `extent`, `metrics`, `triples`: of each `rgb` (base64 of bytes: beta rows from
  the lowest, alpha columns, channels), `largest` (the largest distance of each field: d = largest (1 - rgb / 255), to
  half a 255th), `reference_points`, `own_colours`, `tokens` and `top` (base64 of places in `tokens`, one byte a cell,
  two little-endian ones where there are more than 256), and the slice's own metrics;
- of a config `shape`; of a failure `error`.

`claim`, `control`, `baseline`, ... one for each test as it ends: `test`, `claim`, `subject`, `outcome`, `reason`, the
verdicts, `protocol`, `specs` (ids of the results that it used), and `baseline` (`state`, `why`, `accepted` and
`measured` quartiles, `tolerance`, of each kind of number the one `farthest` off, what else `changed`).

`end` (last, absent where a run was killed): `exitstatus`, `seconds`.

Numbers have 5 significant digits; null stands for what is no number.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from measure import catalog, stats
from measure.crossings import Crossings
from measure.predictions import Predictions
from measure.results import METRICS, Curves, Result
from measure.slices import SLICE_METRICS, Slices
from measure.spec import AnySpec, MeasureError

FORMAT = 2
DIGITS = 5
# Rows of a result up to which each one's own curve is kept: the paper's S1 to S3 and D1 to D3, both ways.
FEW = 12
# pytest's exit statuses of a run that was interrupted, or that broke itself.
_BROKEN_OFF = (2, 3)
QUARTILES = ("q25", "median", "q75")
# What claims rest on, beside the metrics of every curve.
_PREDICTION_METRICS = (
    "end_divergence",
    "flat_divergence",
    "straddling_divergence",
    "logit_deviation",
    "logit_correlation",
    "separation",
)
_CROSSING_METRICS = (
    "total",
    "flat_share",
    "flat_crossings",
    "flat_crossing_share",
    "crossing_rate_ratio",
    "region_boundaries",
    "missed_by_half",
)

# Tokens that these saw in all (paper, Fig. 4); on the hub `main` does not tell.
_WHOLE_TRAINING = {"olmo-1b": 3050 * 10**9, "olmo-7b": 2750 * 10**9}

Line = dict[str, Any]
# Ids of tokens to their texts.
Texts = Callable[[Sequence[int]], list[str]]


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add one line to a file of records, in one write, so that a kill leaves whole lines and at most one half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(line, separators=(",", ":"), allow_nan=False, default=_plain) + "\n"
    with path.open("ab", buffering=0) as file:
        file.write(text.encode())


def _plain(value: object) -> object:
    """What JSON has no word for, as what it has one for."""
    if isinstance(value, np.generic):
        return value.item()
    return str(value)


def finite(value: Any) -> Any:
    """`value` with each float that is no number replaced by None, in whatever it lies; JSON knows no NaN."""
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rounded(values: Any) -> Any:
    """Numbers, in an array of any shape or alone, with 5 significant digits; None for what is no number."""
    if isinstance(values, np.ndarray) and values.ndim:
        return [rounded(value) for value in values.tolist()] if values.ndim == 1 else [rounded(row) for row in values]
    value = float(values)
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def of_model(model: catalog.Model) -> Line:
    """What a header says of one model."""
    return {
        "family": model.family,
        "source": model.source,
        "parameters": model.parameters,
        "layers": model.layers,
        "seed": model.seed,
        "revisions": [_of_revision(model, name) for name in model.revisions],
    }


def _of_revision(model: catalog.Model, name: str) -> Line:
    """A revision with its training steps and tokens, None where neither a card nor its name tells."""
    if model.source == "ladder":
        card = catalog.read_card(Path(model.location))
        entry = next(revision for revision in card["revisions"] if revision["revision"] == name)
        return {"name": name, "step": entry["step"], "tokens": entry["tokens"]}
    step, tokens = re.search(r"step(\d+)", name), re.search(r"tokens(\d+)([KMBT])", name)
    whole = _WHOLE_TRAINING.get(model.name) if name == "main" else None
    return {
        "name": name,
        "step": int(step[1]) if step else None,
        "tokens": int(tokens[1]) * 10 ** (3 + 3 * "KMBT".index(tokens[2])) if tokens else whole,
    }


def of_result(spec: AnySpec, how: str, outcome: object, texts: Texts | None = None) -> Line:
    """The line of one spec's outcome: a result, a shape or an error. `texts` tells tokens by their ids."""
    # What is no number is written as null, and must not end a run in which warnings are errors.
    with np.errstate(divide="ignore", invalid="ignore"):
        return _of_outcome(spec, how, outcome, texts or _numbers)


def _of_outcome(spec: AnySpec, how: str, outcome: object, texts: Texts) -> Line:
    line: Line = {
        "kind": "result",
        "id": spec.id,
        "type": type(spec).__name__,
        "spec": dataclasses.asdict(spec),
        "how": how,
    }
    if isinstance(outcome, Result):
        line["provenance"] = {name: value for name, value in outcome.provenance.items() if name != "spec"}
    if isinstance(outcome, Curves):
        return {**line, **_of_curves(outcome, texts)}
    if isinstance(outcome, Slices):
        return {**line, **_of_slices(outcome, texts)}
    if isinstance(outcome, Exception):
        return {**line, "error": str(outcome)}
    assert dataclasses.is_dataclass(outcome)
    assert not isinstance(outcome, type)
    return {**line, "shape": dataclasses.asdict(outcome)}


def _numbers(ids: Sequence[int]) -> list[str]:
    """Tokens whose texts are not known."""
    return [f"token {number}" for number in ids]


def _of_curves(curves: Curves, texts: Texts) -> Line:
    names: tuple[str, ...] = ()
    if isinstance(curves, Predictions | Crossings):
        names = _PREDICTION_METRICS if isinstance(curves, Predictions) else _CROSSING_METRICS
    line = {
        "n": len(curves),
        "degenerate": int(curves.degenerate.sum()),
        "curve": {"alphas": rounded(curves.alphas), **_by_quartile(curves.quartiles())},
        "null": _by_quartile(curves.null.quartiles()),
        "metrics": {name: _metric(curves, name) for name in (*METRICS, *names)},
        "null_metrics": {name: _by_quartile(curves.null.metric_quartiles(name)) for name in METRICS},
    }
    if isinstance(curves, Predictions):
        line |= _of_predictions(curves)
    if isinstance(curves, Crossings):
        line |= _of_crossings(curves)
    if len(curves) <= FEW:
        line["pairs"] = _each_pair(curves, texts)
    return line


def _by_quartile(rows: Iterable[Any]) -> Line:
    return {quartile: rounded(row) for quartile, row in zip(QUARTILES, rows, strict=True)}


def _metric(curves: Curves, name: str) -> Line:
    interval = stats.median_interval(curves.by_unit(name))
    return _by_quartile(curves.metric_quartiles(name)) | _interval(interval)


def _interval(interval: stats.Interval) -> Line:
    numbers = {name: rounded(getattr(interval, name)) for name in ("estimate", "low", "high")}
    return {**numbers, "n": interval.n}


def _quantiles(rows: Float[np.ndarray, "pairs steps"]) -> Line:
    """Quartiles over the rows that have every value."""
    kept = rows[np.isfinite(rows).all(axis=1)]
    nothing = np.full((3, rows.shape[1]), np.nan)
    return _by_quartile(np.quantile(kept, [0.25, 0.5, 0.75], axis=0) if len(kept) else nothing)


def _of_predictions(result: Predictions) -> Line:
    return {"logit": _quantiles(result.scaled_logit_difference), "equal_tops": int(result.equal_tops.sum())}


def _of_crossings(result: Crossings) -> Line:
    kept = result.flat[~result.degenerate]
    return {
        "gates": result.gates.tolist(),
        "ends": rounded(np.median(result.end_crossings, axis=0)),
        "crossings": _quantiles(result.crossings.sum(axis=1).astype(float)),
        "flat": rounded(kept.mean(axis=0)) if len(kept) else None,
    }


def _each_pair(curves: Curves, texts: Texts) -> Line:
    found: Line = {"relative": rounded(curves.relative), "max_slope": rounded(curves.max_slope)}
    if isinstance(curves, Predictions):
        found["logit"] = rounded(curves.scaled_logit_difference)
        found["last_tokens"] = [texts(row) for row in curves.last_tokens.tolist()]
        found["end_tokens"] = curves.end_tokens.tolist()
    return found


def _of_slices(slices: Slices, texts: Texts) -> Line:
    metrics = {}
    for name in SLICE_METRICS:
        values = getattr(slices, name)
        known = values[np.isfinite(values)]
        quartiles = np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else np.full(3, np.nan)
        metrics[name] = _by_quartile(quartiles) | _interval(stats.median_interval(values))
    return {
        "n": len(slices),
        "degenerate": int(slices.degenerate.sum()),
        "size": len(slices.alphas),
        "extent": rounded(slices.alphas[[0, -1]]),
        "metrics": metrics,
        "triples": [_triple(slices, number, texts) for number in range(len(slices))],
    }


def _triple(slices: Slices, number: int, texts: Texts) -> Line:
    colours = np.nan_to_num(np.clip(slices.rgb[number], 0, 1))
    tokens, places = np.unique(slices.top_tokens[number], return_inverse=True)
    return {
        "rgb": _base64(np.round(255 * colours).astype(np.uint8)),
        "largest": rounded(slices.distance[number].max(axis=(1, 2))),
        "degenerate": bool(slices.degenerate[number]),
        "reference_points": rounded(slices.reference_points[number]),
        "own_colours": rounded(slices.own_colours[number]),
        "tokens": texts(tokens.tolist()),
        "top": _base64(places.reshape(-1).astype(_place_type(len(tokens)))),
        **{name: rounded(getattr(slices, name)[number]) for name in SLICE_METRICS},
    }


def _place_type(tokens: int) -> str:
    return "<u1" if tokens <= 256 else "<u2"


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()


def slice_colours(result: Mapping[str, Any], triple: int) -> UInt8[np.ndarray, "size size 3"]:
    """Colours of one slice of a `result` line, (beta, alpha, channel)."""
    size = result["size"]
    return np.frombuffer(base64.b64decode(result["triples"][triple]["rgb"]), np.uint8).reshape(size, size, 3)


def slice_distances(result: Mapping[str, Any], triple: int) -> Float[np.ndarray, "3 size size"]:
    """Distances from A, B and C over one slice of a `result` line, to half a 255th of the largest."""
    colours = slice_colours(result, triple).astype(float)
    largest = np.array([np.nan if d is None else d for d in result["triples"][triple]["largest"]])
    return np.moveaxis((1 - colours / 255) * largest, -1, 0)


def slice_tokens(result: Mapping[str, Any], triple: int) -> Int[np.ndarray, "size size"]:
    """Most probable next token at each cell of one slice of a `result` line, as a place in the triple's `tokens`."""
    entry = result["triples"][triple]
    places = np.frombuffer(base64.b64decode(entry["top"]), _place_type(len(entry["tokens"])))
    return places.reshape(result["size"], result["size"]).astype(int)


def running_mean(values: Sequence[float | None]) -> list[float | None]:
    """Means over five neighbours, the ends repeated: counts of single steps are small whole numbers.

    None where one of the five is None.
    """
    known = np.array([np.nan if value is None else value for value in values])
    return rounded(np.convolve(np.pad(known, 2, mode="edge"), np.full(5, 0.2), mode="valid")) if len(known) else []


@dataclass(frozen=True)
class Run:
    """What a run left behind, or several merged: its header, its results by id, its tests, and how it ended.

    `end` is None where a run was killed, or goes on. `problems` are sentences on what could not be read.
    """

    header: Line
    results: Mapping[str, Line]
    tests: tuple[Line, ...]
    end: Line | None = None
    problems: tuple[str, ...] = ()
    headers: tuple[Line, ...] = ()


def read(paths: Iterable[str | Path]) -> Run:
    """Read files of records as one run: of a result or a test that is in several, the later one stands.

    A last line that is only half written is passed over, and so are kinds that this version does not know. Raises
    `MeasureError` where there is no file, no record, or another format.
    """
    headers: list[Line] = []
    results: dict[str, Line] = {}
    tests: dict[tuple[str, str], Line] = {}
    problems: list[str] = []
    end = None
    for path in map(Path, paths):
        lines = list(_lines(path))
        headers.append(_header(path, lines))
        whole = [line for line in lines if line is not None]
        results |= {line["id"]: line for line in whole if line.get("kind") == "result" and "id" in line}
        for line in whole:
            if "test" in line:
                line.setdefault("protocol", headers[-1].get("protocol"))
                tests[line["test"], line["protocol"]] = line
        end = next((line for line in reversed(whole) if line.get("kind") == "end"), None)
        ended = end is not None and end.get("exitstatus") not in _BROKEN_OFF
        problems += _problems(path, len(lines) - len(whole), ended=ended)
    if not headers:
        raise MeasureError("no records were named; give the file that a run writes, reports/records.jsonl.")
    return Run(_merged(headers), results, tuple(tests.values()), end, tuple(problems), tuple(headers))


def _problems(path: Path, damaged: int, *, ended: bool) -> list[str]:
    found = []
    if damaged:
        found.append(f"{path.name}: {damaged} line{' is' if damaged == 1 else 's are'} no whole record, passed over")
    if not ended:
        found.append(f"{path.name}: the run was stopped, or has not ended yet; what it had finished is here")
    return found


def _no_number(name: str) -> None:
    """NaN and infinities, which no JSON has, are what null stands for here."""


def _lines(path: Path) -> Iterator[Line | None]:
    """The objects in a file; None for each line that holds none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MeasureError(
            f"{path} cannot be read ({error.strerror}); a run of the suites writes reports/records.jsonl."
        ) from None
    for text in content.splitlines():
        if text.strip():
            try:
                line = json.loads(text, parse_constant=_no_number)
            except ValueError:
                line = None
            yield line if isinstance(line, dict) else None


def _header(path: Path, lines: Sequence[Line | None]) -> Line:
    """The first line, when it is the header of this format."""
    known = [line for line in lines if line is not None]
    if not known:
        raise MeasureError(f"{path} holds no records; run the suites first (`make suites`).")
    header = known[0]
    found = header.get("format") if header.get("kind") == "run" else None
    if found != FORMAT:
        what = "another format, from before records had a header" if found is None else f"format {found!r}"
        raise MeasureError(
            f"{path} holds records of {what}; this version reads format {FORMAT}. Run the suites again, or use the "
            "version that wrote them."
        )
    return header


def _merged(headers: Sequence[Line]) -> Line:
    """The last header, with the models of all."""
    models = {name: model for header in headers for name, model in header.get("catalog", {}).items()}
    return {**headers[-1], "catalog": models}
