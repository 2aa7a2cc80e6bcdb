"""Pairs that leave the page and come into it: tables, Plateau Lab's records, a suite of them, the same as Python."""

from __future__ import annotations

import csv
import io
import json
import reprlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

import measure
from measure.api import plateau_lab as rival
from measure.explore import asked
from measure.explore.asked import Listed, Read, Row
from measure.explore.computing import plain
from measure.explore.served import Served
from measure.explore.turns import Event
from measure.results import Curves
from measure.spec import MeasureError

_CELL = 2**20


# Reading


def read(given: Read) -> dict[str, Any]:
    """The pairs in a text that somebody chose: CSV with columns a, b (and label), JSONL or JSON of the same, or records
    of Plateau Lab, whose layer and path come along.

    Raises `MeasureError` for anything else, which says in which line and what was expected.
    """
    text = given.text.removeprefix("\ufeff")
    name = reprlib.repr(given.name[:80] or "the file")
    if not text.strip():
        raise MeasureError(f"{name} is empty; give CSV with columns a, b and label, or JSONL.")
    found = _of_json(name, text) if text.lstrip()[:1] in "[{" else _of_csv(name, text)
    if len(found) > asked.MOST_PAIRS:
        raise MeasureError(
            f"{name} holds {len(found)} pairs; the page takes {asked.MOST_PAIRS}: measure curve takes more."
        )
    return {"rows": found}


def _of_csv(name: str, text: str) -> list[dict[str, Any]]:
    before = csv.field_size_limit(_CELL)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise MeasureError(f"{name} is no whole CSV ({error}); write it with columns a, b and label.") from None
    finally:
        csv.field_size_limit(before)
    columns = list(rows[0]) if rows else []
    if not {"a", "b"} <= set(columns):
        found = f"columns {reprlib.repr(columns)}" if columns else "no rows"
        raise MeasureError(f"{name} has {found}; expected columns a, b and, if wanted, label.")
    return [_row(f"{name}, row {number}", row) for number, row in enumerate(rows, 1)]


def _of_json(name: str, text: str) -> list[dict[str, Any]]:
    try:
        whole = json.loads(text)
        values = [(name if one is whole else f"{name}, record {at}", one) for at, one in
                  enumerate(whole if isinstance(whole, list) else [whole], 1)]  # fmt: skip
    except (ValueError, RecursionError):
        values = [
            (f"{name}, line {number}", _parsed(f"{name}, line {number}", line))
            for number, line in enumerate(text.split("\n"), 1)
            if line.strip()
        ]
    return [_row(where, value) for where, value in values]


def _parsed(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MeasureError(f"{where}: no whole JSON ({str(error)[:100]}); write one record a line.") from None


def _row(where: str, value: Any) -> dict[str, Any]:
    """One pair. Raises `MeasureError` for what is none."""
    if not isinstance(value, dict):
        raise MeasureError(f"{where}: found {reprlib.repr(value)}; expected a record with a and b.")
    if "sequence_a" in value:
        return _of_rival(where, value)
    if not {"a", "b"} <= set(value):
        raise MeasureError(
            f"{where}: it has {reprlib.repr(list(value))}; expected a and b, or a record of Plateau Lab with "
            "sequence_a and sequence_b."
        )
    label = value.get("label")
    return _checked(where, {"a": value["a"], "b": value["b"], "label": "" if label is None else str(label)})


def _of_rival(where: str, value: dict[str, Any]) -> dict[str, Any]:
    if (schema := value.get("schema_version", 1)) != rival.SCHEMA:
        raise MeasureError(
            f"{where}: its schema is {reprlib.repr(schema)}; expected {rival.SCHEMA}: export it from Plateau Lab again."
        )
    settings = value.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    label = value.get("label") or value.get("category") or value.get("id") or ""
    row = _checked(where, {"a": value["sequence_a"], "b": value.get("sequence_b"), "label": str(label)})
    if isinstance(layer := settings.get("patch_layer"), int) and layer >= 0:
        # Its layers are counted from 0.
        row["layer"] = layer + 1
    if settings.get("interpolation") in ("linear", "slerp"):
        row["path"] = settings["interpolation"]
    return row


def _checked(where: str, row: dict[str, Any]) -> dict[str, Any]:
    for name in ("a", "b"):
        if not isinstance(row[name], str):
            raise MeasureError(f"{where}: {name} is {reprlib.repr(row[name])}, no text; write a prompt there.")
        asked.check_prompt(f"{where}: {name}", row[name])
        if len(row[name]) > asked.MOST_LETTERS:
            raise MeasureError(
                f"{where}: {name} has {len(row[name]):,} characters; the page takes {asked.MOST_LETTERS:,}."
            )
    return {**row, "label": row["label"][: asked.MOST_LABEL]}


# A suite, and the same as Python

_SUITE = '''"""Claim: between the prompts of my pairs the output stays near its ends and jumps.

Collected in the explorer. Run it: pytest -p measure.plugin {file}
The first run measures and has no accepted curves yet: look at them, then add --snapshot-update. A verdict stands on 6
pairs at least, of which no two share a prompt, with 6 different last tokens; with fewer it is told as not measured.
"""

import json
import tempfile
from pathlib import Path

import pytest

from measure import CurveSpec, Verdict, claims
from measure.prompts import own_pairs

PAIRS = [
{rows}
]


def corpus() -> str:
    """The pairs above as what a spec's prompts come from, under a name that tells what they hold."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "explored.json"
        file.write_text(json.dumps([dict(zip(("a", "b", "label"), pair)) for pair in PAIRS]))
        return own_pairs.hold(str(file))


SPEC = CurveSpec({model}, corpus=corpus(){more})
CASES = [pytest.param(SPEC, id={name})]
COUNTERFEITS = claims.controls(CASES, lambda spec, draw: claims.counterfeits(spec, draw, {kinds}))
pytestmark = pytest.mark.claim("My pairs have plateaus")


@pytest.mark.parametrize("spec", CASES)
def test_claim(spec, measured, claim):
    claim.check(Verdict(claims.plateau(measured(spec))))


@pytest.mark.parametrize(("spec", "counterfeits"), COUNTERFEITS)
def test_control(spec, counterfeits, measured, claim):
    claim.refute({{name: Verdict(claims.plateau(measured(one))) for name, one in counterfeits.items()}})


@pytest.mark.parametrize("spec", CASES)
def test_baseline(spec, measured, baseline):
    assert baseline == measured(spec)
'''
FILE = "test_explored.py"


def suite(listed: Listed, model: str) -> dict[str, str]:
    """The list as a suite, as a few lines of Python, and as a line of the shell."""
    return {
        "file": FILE,
        "suite": _suite(listed, model),
        "python": _python(listed, model),
        "shell": _shell(listed, model),
    }


def _suite(listed: Listed, model: str) -> str:
    fields: dict[str, tuple[Any, Any]] = {
        "layer": (listed.layer, 1),
        "read": (listed.read, "final_norm"),
        "steps": (listed.steps, 50),
    }
    fields |= {"path": (listed.path, "linear"), "distance": (listed.distance, "l2")}
    more = "".join(f", {name}={value!r}" for name, (value, usual) in fields.items() if value != usual)
    more += ', pairing="random_with_bos"' if listed.bos else ""
    rows = "\n".join(
        f"    ({row.a!r}, {row.b!r}, {row.label or str(number)!r})," for number, row in enumerate(listed.rows, 1)
    )
    # What stands in the name of a baseline's file.
    name = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in model.rpartition("/")[2])
    kinds = ("later blocks shuffled", "all weights shuffled")
    return _SUITE.format(file=FILE, rows=rows, model=repr(model), more=more, name=repr(name or "model"), kinds=kinds)


def _asked(listed: Listed) -> list[str]:
    given = [f"layer={listed.layer}", f"read={listed.read!r}", f"steps={listed.steps}"]
    given += [f"path={listed.path!r}"] if listed.path != "linear" else []
    given += [f"distance={listed.distance!r}"] if listed.distance != "l2" else []
    return given + (["bos=True"] if listed.bos else [])


def _python(listed: Listed, model: str) -> str:
    sides = [[repr(getattr(row, side)) for row in listed.rows] for side in "ab"]
    lines = ["import measure", ""]
    lines += [f"{side} = [{', '.join(texts)}]" for side, texts in zip("ab", sides, strict=True)]
    lines += [f"labels = {[row.label or str(number) for number, row in enumerate(listed.rows, 1)]!r}"]
    lines += [f"curves = measure.interpolate({model!r}, a, b, {', '.join(_asked(listed))})"]
    return "\n".join([*lines, "print(curves.frame(labels))", "curves.plot(labels=labels)", ""])


def _shell(listed: Listed, model: str) -> str:
    import shlex

    row = listed.rows[0]
    words = ["measure", "curve", model, row.a, row.b, "--layer", str(listed.layer), "--read", listed.read]
    words += ["--steps", str(listed.steps), "--path", listed.path, "--distance", listed.distance]
    return shlex.join([*words, "--bos"] if listed.bos else words)


# Plateau Lab's records


def plateau_lab(model: Served, listed: Listed) -> Iterator[Event]:
    """A record of Plateau Lab's schema for each pair, measured at every block from the patch on and at the logits."""
    model.check_layer(listed.layer)
    if listed.path == "arc":
        raise MeasureError("Plateau Lab knows the paths linear and slerp; choose one of them before this export.")
    for number, row in enumerate(listed.rows, 1):
        ids = model.checked([row.a, row.b], [f"prompt A of pair {number}", f"prompt B of pair {number}"], listed.bos)
        reads = [*(f"block:{block}" for block in range(listed.layer, model.loaded.depth + 1)), "logits"]
        found: Any = measure.interpolate(
            model.loaded, [ids[0]], [ids[1]], layer=listed.layer, read=reads, steps=listed.steps, path=listed.path
        )
        tokens = [
            [{"id": one, "text": text} for one, text in zip(side, model.spelled(side), strict=True)] for side in ids
        ]
        yield {"type": "record", "record": _record(model, listed, row, tokens, found)}


def _record(model: Served, listed: Listed, row: Row, tokens: Any, found: dict[str, Curves]) -> dict[str, Any]:
    settings: dict[str, Any] = {"patch_layer": listed.layer - 1, "steps": listed.steps, "interpolation": listed.path}
    settings |= {"patch_position": "last_token", "context": "a", "measurement_position": "last_token"}
    rows = [
        {"key": _key(read), "values": _values(curves), "endpoint_l2": plain(curves.distance[0, -1])}
        for read, curves in found.items()
    ]
    alphas = next(iter(found.values())).alphas
    return {
        "schema_version": rival.SCHEMA,
        "model": model.loaded.name,
        "model_revision": model.loaded.revision,
        "dtype": str(model.loaded.dtype).removeprefix("torch."),
        "label": row.label,
        "sequence_a": row.a,
        "sequence_b": row.b,
        "input_tokens": tokens,
        "settings": settings,
        "effect": {"t": plain(alphas), "rows": rows},
    }


def _key(read: str) -> str:
    return read if read == "logits" else str(int(read.removeprefix("block:")) - 1)


def _values(curves: Curves) -> dict[str, list[float] | None]:
    """Its metrics of one curve: see `measure.api.plateau_lab`; none where the ends are equal."""
    assert curves.end_side_distance is not None, "measured here"
    assert curves.step_distance is not None, "measured here"
    near, far, lengths = curves.distance[0], curves.end_side_distance[0], curves.step_distance[0]
    whole = float(far[0])
    values: Sequence[Float[np.ndarray, " steps"] | None] = [None] * len(rival.METRICS)
    if whole >= 1e-8 and lengths.sum() > 0:
        projected = (near**2 + whole**2 - far**2) / (2 * whole**2)
        values = [
            near / (near + far),
            near / whole,
            projected,
            np.concatenate([[0.0], np.cumsum(lengths)]) / lengths.sum(),
        ]
    return {name: None if one is None else plain(one) for name, one in zip(rival.METRICS, values, strict=True)}
