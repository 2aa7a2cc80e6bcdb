"""A project whose run is spread: many loads of small models, started by each engine, its results read back."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from measure.kinds.rows import ResultRow, TestRow
from measure.report import records

ROOT = Path(__file__).parent.parent
SUITE = """
import pytest
from measure import CurveSpec, Effect, Interval, Verdict

CLAIM = "Curves exist (Fig. 0)"
LOADS = {loads!r}
SPECS = [CurveSpec(name, weights=weights, pairs={pairs}, steps={steps}, layer=layer)
         for name, weights in LOADS for layer in (1, 2)]

@pytest.mark.parametrize("specs", [pytest.param(SPECS[n:n + 4], id=f"case{{n}}") for n in range(0, len(SPECS), 2)])
def test_claim(specs, measured, claim):
    # Each case takes two loads, which may be of two shards.
    slopes = [measured(spec).by_unit("max_slope").mean() for spec in specs]
    claim.check(Verdict((Effect("steeper than a line", Interval(min(slopes), min(slopes), max(slopes), 12), 0.1),)))
"""
ENGINES: Mapping[str, Sequence[Sequence[str]]] = {
    "shard": [["--shard", "1/2"], ["--shard", "2/2"]],
    "processes": [["--engine", "processes", "--workers", "2"]],
    "ray": [["--engine", "ray", "--workers", "2"]],
    "submitit": [["--engine", "submitit-local", "--workers", "2"]],
}


def project(folder: Path, loads: Sequence[tuple[str, str]], *, pairs: int = 12, steps: int = 5) -> Path:
    """A folder in which `pytest suites` measures these loads, each at two layers."""
    (folder / "suites").mkdir(parents=True)
    (folder / "conftest.py").write_text('pytest_plugins = ["measure.plugin"]\n')
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider --snapshot-no-cleanup\n")
    (folder / "suites" / "test_it.py").write_text(SUITE.format(loads=list(loads), pairs=pairs, steps=steps))
    return folder


def start(folder: Path, name: str, *options: str, **environment: str) -> subprocess.Popen[bytes]:
    """One process of pytest, which writes its records to NAME.jsonl and what it says to NAME.txt."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest", "suites", "--records", f"{name}.jsonl", *options]
    with (folder / f"{name}.txt").open("wb") as said:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **environment},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def found(folder: Path, names: Sequence[str]) -> tuple[dict[str, ResultRow], list[TestRow]]:
    """Every result and every test of the records of these processes, merged; tests without how long they took."""
    run = records.read([folder / f"{name}.jsonl" for name in names])
    # What a worker had stored before it died is `stored` to the one that took its load over.
    results = {one: dataclasses.replace(row, how="") for one, row in run.results.items()}
    tests = [dataclasses.replace(row, seconds=0.0) for row in run.tests]
    return results, sorted(tests, key=lambda row: row.test)
