"""Tell: the records of a run -> what its page and its table of claims show, as plain data. Judges nothing."""

from __future__ import annotations

import base64
import itertools
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from measure import records, report
from measure.baselines import TOLERANCE
from measure.records import QUARTILES, Run

Record = dict[str, Any]
# Of r: finer than a pixel, and than the band of any baseline drawn beside it (whose residual is sent whole).
DIGITS = 4
# A curve that two runs have in common moved when a point of its quartiles did, by what baselines accept.
MOVED = TOLERANCE["curve"]
NOT_ACCEPTED = ("moved", "new")
OUTCOMES = ("supported", "contradicted", "inconclusive", "not measured")
OTHER = "Tests that judge no claim"


def view(run: Run, before: Run | None = None) -> Record:
    """What the page shows of a run, and how it differs from the one before."""
    tests = _tests(run)
    results = {name: _result(result) for name, result in run.results.items()}
    claims = _claims(tests, run)
    compared = None if before is None else _compare(run, before, claims, results)
    cases = [case for claim in claims for case in claim["cases"]]
    return {
        "problems": _problems(run, tests),
        "facts": _facts(run, tests),
        "tally": _tally(cases, tests),
        "families": sorted({family for case in cases for family in case["families"]}),
        "claims": claims,
        "results": results,
        "compared": compared,
    }


def claims_table(run: Run, problems: Iterable[str]) -> list[str]:
    """The claims as a run prints them, of each protocol apart."""
    rows = _rows(run)
    lines = list(problems)
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        some = [row for row in rows if row["protocol"] == protocol]
        lines.append(f"claims (protocol {protocol or 'unknown'}; n: independent units)")
        lines += [*report.claim_table(some), *report.reads_table(some), report.baseline_line(some)]
    return lines


def _rows(run: Run) -> list[Record]:
    """The tests' rows with every field that is read here."""
    empty: Record = dict.fromkeys(("kind", "claim", "subject", "outcome", "reason", "baseline", "protocol", "read"))
    return [{**empty, "specs": [], "expected": "supported", **row} for row in run.tests]


def _tests(run: Run) -> list[Record]:
    """The same; where runs of two protocols were merged both are named."""
    rows = _rows(run)
    if len({row["protocol"] for row in rows}) > 1:
        rows = [{**row, "subject": f"{row['subject']} ({row['protocol']})"} for row in rows]
    return rows


def _problems(run: Run, tests: list[Record]) -> list[str]:
    found = list(run.problems)
    if not run.header:  # nothing could be read
        return found
    if not tests:
        found.append("No test had ended when these records were read: there is nothing to show yet.")
    elif all(row["outcome"] == "skipped" for row in tests):
        reasons = list(dict.fromkeys(str(row["reason"]) for row in tests))
        found.append(f"Everything was skipped, nothing was measured. The reasons: {'; '.join(reasons[:3])}")
    if tests and not run.results:
        found.append("These records hold no curves, so none is drawn; the verdicts are whole.")
    return found


def _facts(run: Run, tests: list[Record]) -> list[list[str]]:
    """What was run, where and when, label by text."""
    header = run.header
    said = [[name, _said(header[key])] for name, key in _HEADER if header.get(key)]
    models = sorted({result["spec"]["model"].partition("@")[0] for result in run.results.values()})
    said.insert(0, ["measured", ", ".join(models) or "nothing"])
    provenances = [result.get("provenance") or {} for result in run.results.values()]
    shared = [[name, values.pop()] for name in _ALIKE if len(values := {str(p.get(name)) for p in provenances}) == 1]
    said += [["computed on", ", ".join(f"{name} {value}" for name, value in shared)]] if shared else []
    counts = _counted("negative as accepted" if row["outcome"] == "xfailed" else row["outcome"] for row in tests)
    took = f", in {run.end['seconds']:.0f} s" if run.end else ""
    return [*said, ["tests", f"{counts or 'none'}{took}"]]


_HEADER = (
    ("started", "started"),
    ("protocol", "protocol"),
    ("asked for", "arguments"),
    ("machine", "machine"),
    ("versions", "versions"),
)
_ALIKE = ("device", "dtype", "path")


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(entry)}" for name, entry in value.items() if entry is not None)
    return " ".join(map(_said, value)) if isinstance(value, list | tuple) else str(value)


def _counted(words: Iterable[str]) -> str:
    """`3 passed, 1 failed`, in order of appearance."""
    listed = list(words)
    return ", ".join(f"{listed.count(word)} {word}" for word in dict.fromkeys(listed))


def _tally(cases: list[Record], tests: list[Record]) -> list[Record]:
    """The numbers that stand on top of the page."""
    states = [case["state"] for case in cases if case["judged"]]
    drift = [line["state"] for case in cases for line in case["baselines"]]
    failed = sum(row["outcome"] == "failed" for row in tests)
    return [
        *({"word": word, "count": states.count(word)} for word in OUTCOMES),
        {"word": "tests failed", "count": failed},
        {"word": "baselines as accepted", "count": drift.count("as accepted")},
        {"word": "baselines moved", "count": drift.count("moved")},
    ]


def _claims(tests: list[Record], run: Run) -> list[Record]:
    """Every claim in the order of the paper, with its cases; what belongs to none comes last."""
    titles = sorted({row["claim"] for row in tests if row["claim"]}, key=report.place)
    found = []
    for place, title in enumerate([*titles, None]):
        rows = [row for row in tests if row["claim"] == title]
        if rows:
            cases = _cases(rows, run, f"claim-{place}")
            found.append({"title": title or OTHER, "anchor": f"claim-{place}", "cases": cases, **_answer(cases)})
    return found


def _lead(effects: list[Record]) -> Record | None:
    """The effect that decides a verdict: the first that is not supported, else the first."""
    return next((effect for effect in effects if effect["outcome"] != "supported"), effects[0] if effects else None)


_JUDGED = ("claim", "control")


def _cases(rows: list[Record], run: Run, anchor: str) -> list[Record]:
    judged = [row for row in rows if row["kind"] in _JUDGED]
    subjects = dict.fromkeys(row["subject"] for row in judged)
    cases = []
    for place, subject in enumerate(subjects):
        kinds = {row["kind"]: row for row in judged if row["subject"] == subject}
        cases.append(_case(kinds.get("claim"), kinds.get("control"), run, f"{anchor}-{place}"))
    rest: list[Record] = []
    for row in rows:
        if row["kind"] == "baseline":
            case = next((case for case in cases if set(row["specs"]) & {name for name, *_ in case["specs"]}), None)
            (case["baselines"] if case else rest).append(_baseline(row))
        elif row["kind"] not in _JUDGED:
            rest.append(_baseline(row))
    if rest:
        cases.append(_loose(rest, f"{anchor}-rest"))
    for case in cases:
        case["failed"] |= any(line["outcome"] == "failed" for line in case["baselines"])
        case["moved"] = any(line["state"] in NOT_ACCEPTED for line in case["baselines"])
    return cases


def _case(claim: Record | None, control: Record | None, run: Run, anchor: str) -> Record:
    """One subject of a claim: its verdict, its control, and the curves that both rest on."""
    row = claim or control
    assert row is not None
    verdict = (claim or {}).get("verdict") or {}
    used = [name for name in row["specs"] if name in run.results]
    beside = [name for name in (control or {}).get("specs", []) if name in run.results and name not in used]
    labels = _labels({name: run.results[name] for name in (*used, *beside)})
    skipped = row["outcome"] == "skipped"
    return {
        "subject": row["subject"],
        "anchor": anchor,
        "judged": True,
        "state": verdict.get("outcome") or ("not measured" if skipped else "no verdict"),
        "expected": row["expected"],
        "outcome": (claim or {}).get("outcome", "not run"),
        "reason": row["reason"],
        "n": verdict.get("n"),
        "effects": verdict.get("effects", []),
        "lead": _lead(verdict.get("effects", [])),
        "trends": verdict.get("trends", []),
        "facts": verdict.get("facts", []),
        "notes": verdict.get("notes", []),
        "control": _control(control),
        "specs": [[name, labels[name], "claim" if name in used else "control"] for name in (*used, *beside)],
        "baselines": [],
        "failed": "failed" in ((claim or {}).get("outcome"), (control or {}).get("outcome")),
        "measured": not skipped,
        "families": _families(row, (*used, *beside), run),
    }


def _control(row: Record | None) -> Record:
    """What became of a case's counterfeits."""
    if row is None:
        return {"state": "not run", "counterfeits": [], "reason": None}
    counterfeits = [
        {"name": name, "outcome": verdict["outcome"], "n": verdict["n"], "effects": verdict["effects"]}
        for name, verdict in row.get("controls", {}).items()
    ]
    broken = any(entry["outcome"] == "supported" for entry in counterfeits)
    state = "broken" if broken else "held" if counterfeits else row["outcome"]
    return {"state": state, "counterfeits": counterfeits, "reason": row["reason"]}


def _loose(lines: list[Record], anchor: str) -> Record:
    """The tests of a claim that belong to none of its cases, as a case that has no verdict."""
    empty: Record = {name: [] for name in ("effects", "trends", "facts", "notes", "specs", "families")}
    return empty | {
        "subject": "baselines and tests of their own",
        "anchor": anchor,
        "judged": False,
        "lead": None,
        "state": "no verdict",
        "expected": "supported",
        "outcome": "passed",
        "reason": None,
        "n": None,
        "control": _control(None),
        "baselines": lines,
        "failed": False,
        "measured": any(line["outcome"] != "skipped" for line in lines),
    }


def _families(row: Record, names: Iterable[str], run: Run) -> list[str]:
    known = run.header.get("catalog") or {}
    models = {run.results[name]["spec"]["model"].partition("@")[0] for name in names}
    # Where nothing was measured the subject's own name has to do.
    models |= {name for name in known if str(row["subject"]).startswith(name)} if not models else set()
    return sorted({known[model]["family"] if model in known else "other" for model in models})


def _labels(results: Mapping[str, Record]) -> dict[str, str]:
    """A short name for each result of a case: what tells it from the others."""
    parts = {name: _parts(result) for name, result in results.items()}
    fields = list(dict.fromkeys(field for part in parts.values() for field in part))
    differ = [field for field in fields if len({part.get(field, "") for part in parts.values()}) > 1]
    shown: dict[str, list[str]] = {name: [] for name in parts}
    for field in differ:
        # Details that tell nothing more apart are left out.
        if field in _ALWAYS or len(set(map(tuple, shown.values()))) < len(shown):
            for name, part in parts.items():
                shown[name].append(part.get(field, ""))
    return {name: " ".join(filter(None, label)) or parts[name]["model"] for name, label in shown.items()}


_ALWAYS = ("model", "revision", "weights", "pairing", "layer", "read")
_WEIGHTS = {"stored": "", "scrambled": "shuffled", "untrained": "untrained"}


def _parts(result: Record) -> dict[str, str]:
    """Field by field, what a label can say of a result."""
    spec = result["spec"]
    model, _, revision = spec["model"].partition("@")
    weights, _, seed = spec.get("weights", "stored").partition(":")
    said = {
        "model": model,
        "revision": revision,
        "weights": f"{_WEIGHTS.get(weights, weights)} {seed}".strip(),
        "pairing": str(spec.get("pairing", "")),
        "layer": f"layer {spec.get('layer')}",
        "read": str(spec.get("read")),
    }
    rest = {name: f"{name} {value}" for name, value in spec.items() if name not in said}
    return said | {"type": result.get("type", "").removesuffix("Spec").lower()} | rest


def _baseline(row: Record) -> Record:
    """One baseline test: what became of it, and the curve beside the accepted one."""
    note = row["baseline"] or {}
    accepted, measured = note.get("accepted") or {}, note.get("measured") or {}
    whole = all(accepted.get(q) and len(accepted[q]) == len(measured.get(q) or ()) for q in QUARTILES)
    failed = {"skipped": "not measured", "failed": "failed"}.get(row["outcome"], row["outcome"])
    return {
        "subject": row["subject"] if row["kind"] == "baseline" else f"{row['kind']}: {row['subject']}",
        "outcome": row["outcome"],
        "state": note.get("state") or failed,
        "why": note.get("why") or [],
        "reason": row["reason"],
        "file": note.get("file"),
        "farthest": note.get("farthest") or [],
        "changed": [[name, *map(_cut, sides)] for name, sides in (note.get("changed") or {}).items()],
        "curve": _against(accepted, measured, note.get("tolerance")) if whole else None,
    }


def _cut(value: Any) -> str:
    """Of a hash the first characters tell which it is."""
    text = str(value)
    return text[:12] if len(text) == 64 else text


def _against(accepted: Record, measured: Record, tolerance: Any) -> Record:
    """The accepted curve, and the residual in millionths: numbers of few digits, most of them 0."""
    return {
        "accepted": {q: _rounded(accepted[q]) for q in QUARTILES},
        "residual": {q: _millionths(accepted[q], measured[q]) for q in QUARTILES},
        "tolerance": tolerance.get("curve", 0.0) if isinstance(tolerance, Mapping) else tolerance or 0.0,
    }


def _millionths(accepted: list[Any], measured: list[Any]) -> list[int | None]:
    pairs = zip(accepted, measured, strict=True)
    return [None if old is None or new is None else round(1e6 * (new - old)) for old, new in pairs]


def _rounded(values: Iterable[Any], digits: int = DIGITS) -> list[float | None]:
    return [None if value is None else round(value, digits) for value in values]


def _answer(cases: list[Record]) -> Record:
    """A claim's one line: verdicts counted, the least of its effects, n, its controls, what its curves did."""
    judged = [case for case in cases if case["judged"]]
    leads = [(case["lead"], case) for case in judged if case["lead"]]
    by_strength = sorted(leads, key=lambda pair: (pair[1]["state"] == "supported", _beyond(pair[0])))
    least, where = by_strength[0] if by_strength else (None, None)
    sizes = [case["n"] for case in judged if case["n"] is not None]
    controls = [case["control"] for case in judged if case["control"]["counterfeits"]]
    lines = [line for case in cases for line in case["baselines"]]
    states = {word: [case for case in judged if case["state"] == word] for word in (*OUTCOMES, "no verdict")}
    return {
        "verdicts": [
            {"word": word, "count": len(found), "unexpected": sum(case["outcome"] == "failed" for case in found)}
            for word, found in states.items()
            if found
        ],
        "least": None if where is None else {"effect": least, "subject": where["subject"], "anchor": where["anchor"]},
        "n": [min(sizes), max(sizes)] if sizes else None,
        "counterfeits": list(dict.fromkeys(entry["name"] for control in controls for entry in control["counterfeits"])),
        "held": sum(control["state"] == "held" for control in controls),
        "broken": [case["subject"] for case in judged if case["control"]["state"] == "broken"],
        "controls": len(controls),
        "drift": _drift(lines),
    }


def _beyond(effect: Record) -> float:
    """How far an effect's interval lies beyond its margin; the least first."""
    low = effect["low"]
    return float("-inf") if low is None else float(low - effect["margin"])


def _drift(lines: list[Record]) -> list[list[Any]]:
    words = [line["state"] for line in lines]
    return [[word, words.count(word)] for word in dict.fromkeys(words)]


def _result(result: Record) -> Record:
    """What is drawn of a result: its curve or its slices, its metrics, and what it was measured on."""
    spec = result["spec"]
    shown: Record = {
        "id": result["id"],
        "weights": spec.get("weights", "stored").partition(":")[0],
        "n": result.get("n"),
        "degenerate": result.get("degenerate"),
        "metrics": {name: _metric(metric) for name, metric in (result.get("metrics") or {}).items()},
        "provenance": _provenance(result),
    }
    for kind in ("curve", "null", "logit"):
        if result.get(kind):
            shown[kind] = {name: _rounded(values) for name, values in result[kind].items()}
    if result.get("crossings"):
        shown["gates"] = _gates(result)
    if result.get("triples"):
        shown["slices"] = _slices(result)
    if result.get("pairs"):
        shown["pairs"] = {
            "relative": [_rounded(row) for row in result["pairs"]["relative"]],
            "names": [" to ".join(map(repr, tokens)) for tokens in result["pairs"].get("last_tokens", [])],
        }
    return shown


def _gates(result: Record) -> Record:
    """Between the points of a segment: sign changes a gate and unit of alpha, smoothed; the share of slow pairs."""
    alphas = result["curve"]["alphas"]
    scale = (len(alphas) - 1) / sum(result["gates"])
    smooth = {q: records.running_mean(values) for q, values in result["crossings"].items()}
    return {
        "alphas": _rounded((a + b) / 2 for a, b in itertools.pairwise(alphas)),
        "crossings": {q: _rounded(None if v is None else v * scale for v in row) for q, row in smooth.items()},
        "flat": None if result.get("flat") is None else _rounded(result["flat"]),
    }


def _metric(metric: Record) -> Record:
    return {name: value if value is None else round(value, 5) for name, value in metric.items()}


_SHOWN = ("weights_sha256", "prompts_sha256", "device", "dtype", "path", "path_reason", "torch", "transformers")


def _provenance(result: Record) -> list[list[str]]:
    """What a result was measured on and how, hashes cut short."""
    known = {"how": result.get("how"), **(result.get("provenance") or {})}
    found = [(name, known.get(name)) for name in ("how", "revision", "commit", *_SHOWN)]
    return [[name, str(value)[:12] if "sha256" in name else str(value)] for name, value in found if value]


def _slices(result: Record) -> Record:
    """Slices of a result, packed: the colour of every cell and its place in `tokens`, deflated.

    A cell's colour holds its three distances, to half a 255th of the largest of each field.
    """
    triples = result["triples"]
    rgb = [records.slice_colours(result, place) for place in range(len(triples))]
    names: dict[str, int] = {}
    tops = []
    for place, triple in enumerate(triples):
        places = np.array([names.setdefault(token, len(names)) for token in triple["tokens"]])
        tops.append(places[records.slice_tokens(result, place)])
    packed = np.stack(rgb).tobytes() + np.stack(tops).astype("<u2").tobytes()
    return {
        "size": result["size"],
        "extent": result["extent"],
        "largest": [triple["largest"] for triple in triples],
        "points": [[_rounded(point) for point in triple["reference_points"]] for triple in triples],
        "degenerate": [triple["degenerate"] for triple in triples],
        "tokens": list(names),
        "packed": base64.b64encode(zlib.compress(packed, 9)).decode(),
    }


def _compare(run: Run, before: Run, claims: list[Record], results: dict[str, Record]) -> Record:
    """What differs between two runs; marks the cases that moved, and puts the earlier curves beside those that did."""
    curves = []
    for name in [name for name in run.results if name in before.results]:
        change = _change(run.results[name], before.results[name])
        if change > MOVED:
            curves.append([name, round(change, 6)])
            old = before.results[name].get("curve")
            results[name]["before"] = {q: _rounded(values) for q, values in old.items()} if old else None
    moved = {name for name, _ in curves}
    old_cases = {
        (claim["title"], case["subject"]): case for claim in _claims(_tests(before), before) for case in claim["cases"]
    }
    verdicts = []
    for claim in claims:
        for case in claim["cases"]:
            old = old_cases.pop((claim["title"], case["subject"]), None)
            case["before"] = {"state": old["state"] if old else "not in it", "effects": old["effects"] if old else []}
            # What neither run measured is no change.
            changed = (
                case["state"] != "not measured"
                if old is None
                else case["state"] != old["state"] or case["control"]["state"] != old["control"]["state"]
            )
            case["moved"] |= changed or any(name in moved for name, *_ in case["specs"])
            if changed:
                verdicts.append(
                    [claim["title"], case["subject"], case["anchor"], case["before"]["state"], case["state"]]
                )
    return {
        "facts": _changed_facts(run, before),
        "verdicts": verdicts,
        "gone": [f"{subject}: {title}" for title, subject in old_cases],
        "curves": sorted(curves, key=lambda pair: -pair[1]),
        "common": len([name for name in run.results if name in before.results]),
    }


def _change(new: Record, old: Record) -> float:
    """The largest change of a point of the quartile curves; of slices, of the median of a metric."""
    pairs: list[tuple[Any, Any]] = []
    if new.get("curve") and old.get("curve"):
        for quartile in QUARTILES:
            a, b = new["curve"][quartile], old["curve"][quartile]
            pairs += zip(a, b, strict=True) if len(a) == len(b) else [(None, 0.0)]
    else:
        metrics = old.get("metrics") or {}
        pairs = [
            (m["median"], metrics[name]["median"]) for name, m in (new.get("metrics") or {}).items() if name in metrics
        ]
    changes = [abs(a - b) if a is not None and b is not None else 0.0 if a is b else float("inf") for a, b in pairs]
    return min(max(changes, default=0.0), 1e9)


def _changed_facts(run: Run, before: Run) -> list[list[str]]:
    """What was different about the two runs, label, before and after; when they started always."""
    new, old = (_flat(one.header) for one in (run, before))
    names = dict.fromkeys([*new, *old])
    return [[name, old.get(name, "-"), new.get(name, "-")] for name in names if new.get(name) != old.get(name)]


def _flat(header: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in header.items():
        if isinstance(value, Mapping):
            found |= {f"{name}: {key}": _said(entry) for key, entry in value.items()}
        elif name not in ("kind", "format"):
            found[name] = _said(value)
    return found
