"""Records of runs that never ran, for tests of what is made of them: small, whole, of every kind."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from measure.kinds.rows import ResultRow, TestRow
from measure.report import records

Line = dict[str, Any]
STEPS = 11
SIZE = 4
QUARTILES = ("q25", "median", "q75")
HOSTILE = '</script><script>window.broken = 1</script><img src="http://bad.test/x" onerror="window.broken = 1">'


def header(**changed: Any) -> Line:
    catalog = {"rung-a": {"family": "olmo"}, "rung-b": {"family": "qwen2"}}
    return {
        "kind": "run",
        "format": 3,
        "started": "2026-01-02T03:04:05+00:00",
        "arguments": ["suites/", "-k", "rung"],
        "tests": 6,
        "protocol": "paper",
        "models": "auto",
        "catalog": catalog,
        "versions": {"torch": "2.9.0", "python": "3.11.7"},
        "machine": {"system": "Linux", "cores": 2, "accelerator": None},
        **changed,
    }


def quartiles(middle: np.ndarray, by: float = 0.05) -> Line:
    return {
        name: [round(value, 5) for value in (middle + shift).tolist()]
        for name, shift in zip(QUARTILES, (-by, 0.0, by), strict=True)
    }


def spec(model: str, **changed: Any) -> Line:
    return {"model": model, "weights": "stored", "layer": 1, "read": "final_norm", "protocol": "paper", **changed}


def result(name: str, kind: str, asked: Line, **rest: Any) -> Line:
    provenance = {"weights_sha256": "ab" * 32, "device": "cpu", "dtype": "float32", "path": "fast"}
    line = {"kind": "result", "id": name, "type": kind, "spec": asked, "how": "measured", "provenance": provenance}
    return {**line, "n": 8, "degenerate": 0, **rest}


def curve(name: str, model: str, *, lift: float = 0.0, **changed: Any) -> Line:
    alphas = np.linspace(0, 1, STEPS)
    middle = alphas**2 + lift
    metrics = {
        metric: {
            "q25": value - 0.1,
            "median": value,
            "q75": value + 0.1,
            "low": value - 0.05,
            "high": value + 0.05,
            "n": 4,
        }
        for metric, value in (("max_slope", 1.9 + lift), ("edge_drift", 0.1 + lift))
    }
    drawn = {"alphas": [round(value, 4) for value in alphas.tolist()], **quartiles(middle)}
    return result(name, "CurveSpec", spec(model, **changed), curve=drawn, null=quartiles(alphas, 0.0), metrics=metrics)


def gates(name: str, model: str) -> Line:
    """A curve with the crossings of its gates: as many in each step as the step's number."""
    line = curve(name, model)
    counts = np.arange(STEPS - 1, dtype=float)
    found = {"gates": [5, 5], "crossings": quartiles(counts, 1.0), "flat": [0.5] * (STEPS - 1)}
    return {**line, "type": "CrossingSpec", **found}


def slices(name: str, model: str, tokens: tuple[str, ...] = (" the", " a")) -> Line:
    rng = np.random.default_rng(0)
    triple = {
        "rgb": _base64(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)),
        "largest": [1.0, 2.0, 4.0],
        "degenerate": False,
        "reference_points": [[0.0, 0.0], [1.0, 0.0], [0.4, 1.0]],
        "tokens": list(tokens),
        "top": _base64((np.arange(SIZE * SIZE) % len(tokens)).astype(np.uint8)),
    }
    metric = {"q25": 0.1, "median": 0.2, "q75": 0.3, "low": 0.15, "high": 0.25, "n": 2}
    asked = spec(model, size=SIZE, extent=[-0.25, 1.25], triples=2)
    shown = {"size": SIZE, "extent": [-0.25, 1.25], "metrics": {"solid_share": metric}, "triples": [triple, triple]}
    return result(name, "SliceSpec", asked, **shown)


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()


def effect(name: str, estimate: float, outcome: str = "supported") -> Line:
    interval = {"estimate": estimate, "low": estimate - 0.1, "high": estimate + 0.1, "n": 4}
    return {**interval, "name": name, "margin": 0.1, "outcome": outcome}


def verdict(outcome: str, *effects: Line, notes: tuple[str, ...] = ()) -> Line:
    trend = {"name": "trend: max slope rises", "p": 1e-20, "treatments": 3, "outcome": outcome}
    return {
        "outcome": outcome, "n": 4, "effects": list(effects), "trends": [trend], "facts": [], "notes": list(notes)
    }  # fmt: skip


def row(role: str, claim: str | None, subject: str, outcome: str = "passed", **rest: Any) -> Line:
    """A test's line; of another role than the three that are known it is the test's name."""
    known = role if role in ("claim", "control", "baseline") else "other"
    line = {"kind": "test", "role": known, "test": f"suites/test_x.py::test_{role}[{claim}-{subject}]", "claim": claim}
    line |= {"place": (claim or "").rpartition("(")[2], "subject": subject, "outcome": outcome, "reason": None}
    return line | {"read": None, "protocol": "paper", "seconds": 0.1, "baseline": None, "specs": [], **rest}


def compared(state: str, moved_by: float = 0.0, **rest: Any) -> Line:
    """What a baseline test's record says of the two curves."""
    middle = np.linspace(0, 1, STEPS) ** 2
    why = ["the curve moved: 3 numbers are out of tolerance, the worst is", "  median curve at alpha = 0.500"]
    sides = {name: {"curve": quartiles(middle + by)} for name, by in (("accepted", 0.0), ("measured", moved_by))}
    worst = {"kind": "curve", "what": "median curve at alpha = 0.500", "measured": 0.25 + moved_by, "accepted": 0.25}
    worst |= {"tolerance": 2e-4, "excess": abs(moved_by) / 2e-4}
    said = {"why": why if state == "moved" else [], "farthest": [worst], "changed": {}}
    return {"state": state, "file": "x.json", **said, **sides, "tolerance": {"curve": 2e-4}, **rest}


GROWTH = "Sharpness grows with training (Fig. 4, claim 2)"
REGIONS = "Solid regions emerge in slices (Figs. 1, 5-22)"


def whole_run(
    model: str = "rung-a", *, lift: float = 0.0, outcome: str = "supported", token: str = " the"
) -> list[Line]:
    """Two claims on two models: curves with a control and three baselines, of which one moved; slices; a skip."""
    curves = [
        curve("first", f"{model}@step0", lift=lift),
        curve("last", f"{model}@main", lift=lift / 2),
        curve("shuffled", f"{model}@main", weights="scrambled:0"),
    ]
    rises = effect("max slope rises, first to last", 0.8 + lift, outcome)
    refuted = {
        "shuffled weights for the trained": verdict("inconclusive", effect("max slope rises", 0.0, "inconclusive"))
    }
    moved = compared("moved", 0.01, changed={"torch": ["2.8.0", "2.9.0"]})
    return [
        header(),
        *curves,
        slices("plane", "rung-b@main", (token, " a")),
        row("claim", GROWTH, model, verdict=verdict(outcome, rises, notes=("a note",)), expected="supported",
            specs=["first", "last"], outcome="passed" if outcome == "supported" else "failed"),
        row("control", GROWTH, model, controls=refuted, specs=["first", "last", "shuffled"]),
        row("baseline", GROWTH, "first", specs=["first"], baseline=compared("as accepted")),
        row("baseline", GROWTH, "last", "failed", specs=["last"], baseline=moved, reason="not as accepted"),
        row("baseline", GROWTH, "gone", "failed", specs=["nothing"], baseline={"state": "new", "file": "y", "why": []}),
        row("claim", REGIONS, "rung-b", "xfailed", expected="inconclusive", specs=["plane"],
            verdict=verdict("inconclusive", effect("solid share rises", 0.05, "inconclusive"))),
        row("claim", REGIONS, "rung-c", "skipped", reason="not measured: no accelerator here"),
        {"kind": "end", "exitstatus": 1, "seconds": 12.5},
    ]  # fmt: skip


def many(cases: int = 500) -> list[Line]:
    """Four records for each of so many cases of 20 claims."""
    lines = [header()]
    for number in range(cases):
        ids = [f"first{number}", f"last{number}"]
        lines += [curve(name, f"rung-{number}@{name}", lift=number / 1e6) for name in ids]
        rises = verdict("supported", effect("max slope rises", 0.5))
        claim = f"Claim {number % 20} (Fig. 1)"
        lines.append(row("claim", claim, str(number), verdict=rises, expected="supported", specs=ids))
        lines.append(row("baseline", claim, f"b{number}", specs=ids[:1], baseline=compared("as accepted")))
    return lines


def typed(line: Line) -> Any:
    """A line as it is read back."""
    return records.from_json(json.dumps(line).encode())


def typed_run(lines: list[Line]) -> records.Run:
    """Lines as a run that was read."""
    rows = [typed(line) for line in lines]
    results = {row.id: row for row in rows if isinstance(row, ResultRow)}
    tests = tuple(row for row in rows if isinstance(row, TestRow))
    return records.Run(rows[0], results, tests)


def write(path: Path, lines: list[Line], tail: str = "") -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    return path
