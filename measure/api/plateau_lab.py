"""Curves that Plateau Lab exported, measured again: `measure compare FILE.jsonl`. Reads its schema 7, writes none.

Source: github.com/billy000400/plateau-lab, docs/METHOD.md and docs/DATA.md at 699ecc7a. With z(t) what is read at t,
`relative_l2_shinkle` is ||z(t) - z(0)|| / (||z(t) - z(0)|| + ||z(t) - z(1)||), `relative_l2_janiak` ||z(t) - z(0)|| /
||z(1) - z(0)||, `relative_l2_projected` (z(t) - z(0)) . (z(1) - z(0)) / ||z(1) - z(0)||^2, and `c` the length of z's
way to t over that of all of it. Its layers are counted from 0: its layer 0 is what stands after our first block.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from jaxtyping import Float

from measure import catalog
from measure.api.one_model import interpolate
from measure.base import files, places
from measure.models.loading import LoadedModel, load
from measure.prompts import tables
from measure.results import Curves
from measure.spec import MeasureError, Precision

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

SCHEMA = 7
ENDINGS = (".jsonl", ".json")
# To so much a curve that was measured elsewhere in float32 is expected to come out again.
EXPECTED = 1e-4
# A file of it holds some kilobytes a record.
_LARGEST = 2**30
_LAYER = re.compile("0|[1-9][0-9]{0,4}")
METRICS = ("relative_l2_shinkle", "relative_l2_janiak", "relative_l2_projected", "c")
# What its menu calls models, and where they are.
_OWNERS = {"gpt2": "openai-community", "pythia": "EleutherAI", "qwen2.5": "Qwen", "qwen3": "Qwen"}
_MODELS = (
    "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "pythia-70m", "pythia-160m", "pythia-410m", "pythia-1b",
    "pythia-1.4b", "pythia-2.8b", "qwen2.5-0.5b", "qwen2.5-1.5b", "qwen2.5-3b", "qwen3-0.6b-base", "qwen3-1.7b-base",
)  # fmt: skip


class _Token(msgspec.Struct):
    id: int
    text: str | None = None


class _Settings(msgspec.Struct):
    patch_layer: int
    steps: int
    interpolation: Literal["slerp", "linear"]
    patch_position: Literal["last_token", "different_suffix"]
    context: Literal["a", "b"] = "a"
    measurement_position: Literal["last_token"] = "last_token"


class _Row(msgspec.Struct):
    key: str
    values: dict[str, list[float] | None]
    endpoint_l2: float | None = None


class _Effect(msgspec.Struct):
    t: list[float]
    rows: list[_Row]


class _Record(msgspec.Struct):
    model: str
    settings: _Settings
    effect: _Effect
    input_tokens: tuple[list[_Token], list[_Token]]
    model_revision: str | None = None
    dtype: str | None = None
    sequence_a: str = ""
    sequence_b: str = ""


@dataclass(frozen=True)
class Exported:
    """One measurement of Plateau Lab, as its file has it; `where` says in which record of which file."""

    where: str
    record: _Record

    @property
    def layer(self) -> int:
        """The block after which its path is patched in, from 1."""
        return self.record.settings.patch_layer + 1

    @property
    def prompts(self) -> list[tuple[int, ...]]:
        """Token ids of A and B."""
        return [tuple(token.id for token in side) for side in self.record.input_tokens]

    @property
    def curves(self) -> dict[str, dict[str, Float[np.ndarray, " steps"]]]:
        """By what is read, `logits` or `block N` (from 1), and by metric the values at every t; only those defined."""
        found = {}
        for row in self.record.effect.rows:
            known = {name: np.array(values) for name in METRICS if (values := row.values.get(name)) is not None}
            found["logits" if row.key == "logits" else f"block {int(row.key) + 1}"] = known
        return found


@dataclass(frozen=True)
class Redone:
    """A measurement of Plateau Lab and the same of ours: by what is read and by metric, values at every t.

    `ours` lacks what has no meaning here, a distance between ends that are equal, say.
    """

    exported: Exported
    model: str
    dtype: str
    ours: Mapping[str, Mapping[str, Float[np.ndarray, " steps"]]]

    @property
    def differences(self) -> dict[tuple[str, str], float]:
        """By what is read and metric, the largest difference; infinite where it has a meaning in one of them alone."""
        found = {}
        for read, theirs in self.exported.curves.items():
            for metric in METRICS:
                there, here = theirs.get(metric), self.ours[read].get(metric)
                if there is not None and here is not None:
                    found[read, metric] = float(np.abs(there - here).max())
                elif there is not None or here is not None:
                    found[read, metric] = float("inf")
        return found

    @property
    def largest(self) -> float:
        """The largest difference of all; NaN where there is nothing to compare."""
        return max(self.differences.values(), default=float("nan"))


# Reading


def is_export(name: str) -> bool:
    """Whether an argument is meant as a file of Plateau Lab and not as a model."""
    place = places.at(name)
    return Path(name).suffix.lower() in ENDINGS and not (place is not None and place.is_dir())


def read(name: str | Path) -> list[Exported]:
    """The measurements in a file that Plateau Lab exported: JSONL, or JSON of one or of a list.

    Raises `MeasureError` for a file that is not there or damaged, of another schema, or of anything else.
    """
    place = places.at(str(name))
    if place is None or not place.is_file():
        raise MeasureError(f"there is no file {str(name)!r}; give one that Plateau Lab exported as JSONL.")
    if place.stat().st_size > _LARGEST:
        raise MeasureError(
            f"{place.name} holds {place.stat().st_size / 1e9:.1f} GB; export fewer measurements at a time."
        )
    found = [_checked(where, value) for where, value in _values(place.name, files.content(place))]
    if not found:
        raise MeasureError(f"{place.name} holds no measurement; export at least one from Plateau Lab as JSONL.")
    return found


def _values(name: str, content: bytes) -> Iterator[tuple[str, Any]]:
    """Every record of a file, and what it is called: one JSON value of one or several, or one a line."""
    text = content.removeprefix(b"\xef\xbb\xbf")
    whole = Path(name).suffix.lower() == ".json"
    lines = [text] if whole else text.splitlines()
    for number, line in enumerate(lines, 1):
        where = name if whole else f"{name}, line {number}"
        if not line.strip():
            continue
        try:
            value = files.parsed(line)
        except MeasureError as error:
            raise MeasureError(f"{where}: no whole JSON ({error}); export it from Plateau Lab again.") from None
        several = value if isinstance(value, list) else [value]
        yield from ((where if len(several) == 1 else f"{where}, record {at}", one) for at, one in enumerate(several, 1))


def _checked(where: str, value: Any) -> Exported:
    if not isinstance(value, dict) or "model" not in value or "settings" not in value:
        raise MeasureError(f"{where}: found {reprlib.repr(value)}; expected a measurement that Plateau Lab exported.")
    if (schema := value.get("schema_version", 1)) != SCHEMA:
        raise MeasureError(
            f"{where}: its schema is {reprlib.repr(schema)}; expected {SCHEMA}, which holds every layer: run it "
            "again in Plateau Lab as it is now, and export that."
        )
    try:
        record = msgspec.convert(value, _Record)
    except msgspec.ValidationError as error:
        raise MeasureError(f"{where}: not as schema {SCHEMA} has it ({error}); export it again.") from None
    if wrong := _wrong(record):
        raise MeasureError(f"{where}: {wrong}; export it again, or measure by measure.interpolate what was meant.")
    return Exported(where, record)


def _wrong(record: _Record) -> str:
    """What in a record contradicts itself, or cannot be measured here; empty for nothing."""
    settings, t = record.settings, record.effect.t
    if settings.patch_layer < 0:
        return f"its patch_layer is {settings.patch_layer}, the embedding; here patches stand after a block"
    if settings.steps < 2 or len(t) != settings.steps or np.abs(np.array(t) - np.linspace(0, 1, len(t))).max() > 1e-6:
        return f"its {len(t)} points are not {settings.steps} evenly from 0 to 1"
    if not all(record.input_tokens):
        return "a sequence of it has no tokens"
    keys = [row.key for row in record.effect.rows]
    if not keys or len(set(keys)) < len(keys):
        return "it holds a curve twice" if keys else "it holds no curve"
    for row in record.effect.rows:
        if row.key != "logits" and not (_LAYER.fullmatch(row.key) and int(row.key) >= settings.patch_layer):
            return f"a curve of it is called {reprlib.repr(row.key)}, neither logits nor a layer from the patch on"
        if any(len(values) != len(t) for values in row.values.values() if values is not None):
            return f"a curve of {row.key} has not a value for each of its {len(t)} points"
    return ""


# Measuring


def redo(
    name: str | Path, model: str | None = None, *, precision: Precision = "float32", allow_pickle: bool = False
) -> list[Redone]:
    """Measure again what a file of Plateau Lab holds, each model loaded once; on `model` in place of the one it names.

    Raises `MeasureError` as `read` does, for a model that is not known or cannot be had, and for tokens that are others
    in the model's tokenizer.
    """
    exported = read(name)
    named = [model or _named(one) for one in exported]
    found: dict[int, Redone] = {}
    for each in dict.fromkeys(named):
        loaded = load(each, precision=precision, allow_pickle=allow_pickle)
        for number, one in enumerate(exported):
            if named[number] == each:
                found[number] = _redone(one, loaded)
        del loaded
    return [found[number] for number in range(len(exported))]


def _named(exported: Exported) -> str:
    """The model that was measured, as it is named here."""
    name, revision = exported.record.model, exported.record.model_revision
    if name in _MODELS:
        owner = next(owner for start, owner in _OWNERS.items() if name.startswith(start))
        name = f"{owner}/{_spelled(name)}"
    elif "/" not in name and name not in catalog.models():
        raise MeasureError(
            f"{exported.where}: its model {name!r} is neither in Plateau Lab's menu nor in the catalog; name one to "
            "measure it on: measure compare FILE MODEL."
        )
    return f"{name}@{revision}" if revision and "/" in name else name


def _spelled(name: str) -> str:
    """A name of the menu as the hub spells it."""
    if not name.startswith("qwen"):
        return name
    return "-".join(part.upper() if part[0].isdigit() else part.capitalize() for part in name.split("-"))


def _redone(exported: Exported, loaded: LoadedModel) -> Redone:
    _check_tokens(exported, loaded)
    settings = exported.record.settings
    a, b = exported.prompts
    # The context is A's here: a path in B's is the one from B to A, gone backwards.
    back = settings.context == "b"
    reads = {read: read.replace(" ", ":") for read in exported.curves}
    whole = settings.patch_position == "different_suffix"
    asked: dict[str, Any] = {
        "layer": exported.layer,
        "read": list(reads.values()),
        "steps": settings.steps,
        "path": settings.interpolation,
        "patched": "difference" if whole else -1,
    }
    found: Any = interpolate(loaded, [b if back else a], [a if back else b], **asked)
    ours = {name: _metrics(found[read], back) for name, read in reads.items()}
    return Redone(exported, loaded.name, str(loaded.dtype).removeprefix("torch."), ours)


def _check_tokens(exported: Exported, loaded: LoadedModel) -> None:
    """Raise `MeasureError` where a token is another one in the model's tokenizer."""
    decode: Any = getattr(loaded.tokenizer, "decode", None)
    told = [token for side in exported.record.input_tokens for token in side if token.text is not None]
    for token in told if decode is not None else []:
        here = decode([token.id]) if 0 <= token.id < loaded.vocabulary else token.text
        if here != token.text:
            raise MeasureError(
                f"{exported.where}: its token {token.id} is {token.text!r}, and {here!r} in {loaded.name}; name the "
                "model that was measured."
            )


def _metrics(curves: Curves, back: bool) -> dict[str, Float[np.ndarray, " steps"]]:
    """Plateau Lab's metrics of one pair, from distances from both ends and the lengths of steps."""
    assert curves.end_side_distance is not None, "measured here"
    assert curves.step_distance is not None, "measured here"
    near, far, lengths = curves.distance[0], curves.end_side_distance[0], curves.step_distance[0]
    if back:
        near, far, lengths = far[::-1], near[::-1], lengths[::-1]
    found, whole = {}, float(far[0])
    if whole >= 1e-8:
        # By the law of cosines.
        projected = (near**2 + whole**2 - far**2) / (2 * whole**2)
        found = dict(zip(METRICS, (near / (near + far), near / whole, projected), strict=False))
    if lengths.sum() > 0:
        found["c"] = np.concatenate([[0.0], np.cumsum(lengths)]) / lengths.sum()
    return found


# Telling


def lines(found: Sequence[Redone]) -> list[str]:
    """What a terminal shows: of each measurement the largest difference of every curve, and of all of them."""
    shown = []
    for one in found:
        record = one.exported.record
        settings = record.settings
        shown.append(
            f"{one.exported.where}: {record.model} on {one.model}, after block {one.exported.layer}, "
            f"{settings.interpolation}, {settings.steps} points, context {settings.context.upper()}"
        )
        there = (record.dtype or one.dtype).removeprefix("torch.")
        shown += [f"  measured there in {there}, here in {one.dtype}"] if there != one.dtype else []
        shown += [f"  {read:<9} {metric:<22} {_told(value)}" for (read, metric), value in one.differences.items()]
    largest = max((one.largest for one in found if one.largest == one.largest), default=float("nan"))
    if largest != largest:
        return [*shown, "nothing to compare: no curve has a meaning there, and none here"]
    within = "within" if largest <= EXPECTED else "beyond"
    return [*shown, f"largest difference {_told(largest)}, {within} the {EXPECTED:g} that float32 leaves"]


def _told(value: float) -> str:
    return "defined in one of the two alone" if value == float("inf") else f"{value:.2g}"


def frame(found: Sequence[Redone]) -> DataFrame:
    """One row a point of a curve: its value there and here."""
    import pandas

    rows = []
    for number, one in enumerate(found, 1):
        for read, metric in one.differences:
            theirs, ours = (side[read].get(metric) for side in (one.exported.curves, one.ours))
            for place, t in enumerate(one.exported.record.effect.t):
                values = {"theirs": theirs, "ours": ours}
                told = {name: np.nan if side is None else side[place] for name, side in values.items()}
                rows.append({"record": number, "read": read, "metric": metric, "t": t, **told})
    table = pandas.DataFrame(rows, columns=["record", "read", "metric", "t", "theirs", "ours"])
    return table.assign(difference=table["ours"] - table["theirs"])


def write(found: Sequence[Redone], name: str) -> list[str]:
    """Write a table, a row a point, or a figure, as the ending of `name` says; returns what was written."""
    if Path(name).suffix.lower() in tables.TABLES:
        return [tables.write_table(name, frame(found))]
    return [tables.write_figure(name, lambda: draw(found))]


def check_names(names: Sequence[str], source: str) -> None:
    """Raise `MeasureError` for a file that could not be written."""
    tables.check_names(names, source=source)
    for name in names:
        if Path(name).suffix.lower() in tables.NUMBERS:
            raise MeasureError(
                f"--save {name!r}: what was redone is kept as a table (.csv, .parquet, .json) or a figure."
            )


def draw(found: Sequence[Redone]) -> None:
    """A panel for each measurement: Plateau Lab's symmetric distance as a line, ours as dots on it."""
    from matplotlib import pyplot

    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(3.8 * columns, 3.0 * rows), layout="constrained", squeeze=False
    )
    for ax, one in zip(axes.flat, found, strict=False):
        _draw_one(ax, one)
    for ax in axes.flat[len(found) :]:
        ax.remove()
    figure.supxlabel("t", fontsize=9)
    figure.supylabel("symmetric distance d / (d + d')", fontsize=9)


def _draw_one(ax: Axes, one: Redone) -> None:
    t, metric = one.exported.record.effect.t, METRICS[0]
    for number, (read, theirs) in enumerate(one.exported.curves.items()):
        colour = f"C{number % 10}"
        if metric in theirs:
            ax.plot(t, theirs[metric], color=colour, linewidth=1, label=read if number < 6 else None)
        if metric in one.ours[read]:
            ax.plot(t, one.ours[read][metric], ".", color=colour, markersize=3)
    ax.set_title(f"{one.exported.record.model}, largest difference {_told(one.largest)}", fontsize=8)
    ax.legend(fontsize=6, frameon=False)
    ax.tick_params(labelsize=7)
