"""Measure baselines anew (`measure refresh`): runs pytest on the suites and tells what moved; compares nothing."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from measure.plugin import EXIT_CLAIM_FAILED, EXIT_DRIFT, EXIT_NOT_MEASURED, KEY, baseline_file
from measure.spec import MeasureError

Record = dict[str, Any]


@dataclass
class _Witness:
    """Keeps what a pytest run recorded and which baselines its collected tests have."""

    rows: list[Record] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            if "baseline" in getattr(item, "fixturenames", ()):
                self.files.add(baseline_file(item))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.rows = session.config.stash[KEY].rows


def run_pytest(arguments: list[str], witness: object) -> int:
    """pytest within this process, `witness` being a plugin of it; returns its exit status."""
    # pytest-benchmark would make a folder; and that syrupy was imported before pytest, by us, harms nothing.
    quiet = ["-p", "no:benchmark", "-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    return pytest.main([*arguments, *quiet], plugins=[witness])


def refresh(expression: str, *, dry: bool, arguments: Iterable[str] = ()) -> tuple[list[str], int]:
    """Measure the suites chosen by `expression` past the store; returns the table's lines and the exit status.

    Baselines that moved beyond their tolerance or are new are written, unless `dry`; none is deleted. The status is 1
    when a measurement failed or a claim's verdict no longer stands.
    """
    witness = _Witness()
    options = ["suites", "-k", expression, "--refresh", "dry" if dry else "write", "--quiet", "--tb=no", "--no-summary"]
    if not dry:
        options += ["--snapshot-update"]
    print(f"measuring the baselines of {expression!r} past the store ...", flush=True)
    with contextlib.redirect_stdout(io.StringIO()):
        ended = run_pytest([*options, *arguments], witness)
    if ended not in (0, EXIT_CLAIM_FAILED, EXIT_DRIFT, EXIT_NOT_MEASURED):
        reason = (
            "no test has such a name" if ended == pytest.ExitCode.NO_TESTS_COLLECTED else f"pytest ended: {ended!r}"
        )
        raise MeasureError(
            f"refresh -k {expression!r}: {reason}. See the names with `pytest suites/ --collect-only -q`."
        )
    return _table(witness.rows, dry=dry), int(any(map(_failed, witness.rows)))


def _failed(row: Record) -> bool:
    """Whether a record is of a failed measurement or a fallen verdict; a curve that moved is neither."""
    return row["outcome"] == "failed" and row["baseline"] is None


def _table(rows: list[Record], *, dry: bool) -> list[str]:
    lines = ["", "baselines"]
    kept = [row for row in rows if row["baseline"] is not None]
    for state in ("moved", "new"):
        for row in (row for row in kept if row["baseline"]["state"] == state):
            lines.append(f"  {state:<12} {row['baseline']['file']}")
            lines += [f"      {line}" for line in row["baseline"]["why"] if "--snapshot-update" not in line]
    lines.append(f"  {'as accepted':<12} {sum(row['baseline']['state'] == 'as accepted' for row in kept)}")
    lines += [f"  {'failed':<12} {row['test']}: {_last_line(row['reason'])}" for row in rows if _failed(row)]
    judged = [row for row in rows if row["kind"] == "claim"]
    lines.append("claims" if judged else "claims: none among the chosen tests, so no verdict was looked at")
    lines += [f"  {row['subject']:<26} {_standing(row):<42} {row['claim']}" for row in judged]
    changed = sum(row["baseline"]["state"] != "as accepted" for row in kept)
    count = f"{changed} baseline{'' if changed == 1 else 's'}"
    lines.append(f"dry run, nothing written; would write {count}" if dry else f"written: {count}")
    return lines


def _standing(row: Record) -> str:
    if row["outcome"] == "skipped":
        return "not measured"
    verdict = row.get("verdict")
    if verdict is None:
        return "no verdict: the measurement failed"
    stands = "stands" if verdict["outcome"] == row["expected"] else f"FALLEN, expected {row['expected']}"
    return f"{verdict['outcome']}, {stands}"


def _last_line(reason: str | None) -> str:
    return (reason or "").strip().splitlines()[-1] if reason else ""


def orphans(folder: Path = Path("suites")) -> list[Path]:
    """Baseline files that no test of the suites has, as paths from here."""
    witness = _Witness()
    with contextlib.redirect_stdout(io.StringIO()):
        ended = run_pytest([str(folder), "--collect-only", "-qq", "--no-summary"], witness)
    if ended != pytest.ExitCode.OK:
        raise MeasureError(f"the suites in {folder} could not be collected (pytest: {ended!r}); mend them first.")
    stored = (folder.resolve().parent / "baselines").rglob("*.json")
    return sorted(path for path in stored if path not in witness.files)


def remove_orphans(names: Iterable[str]) -> list[Path]:
    """Delete the orphan baselines named, and nothing else. Raises `MeasureError` for a name that is no orphan."""
    found = {path.name: path for path in orphans()}
    unknown = [name for name in names if Path(name).name not in found]
    if unknown:
        raise MeasureError(
            f"{unknown[0]!r} is no orphan baseline, so it stays; orphans: {', '.join(found) or 'none'}. "
            "A baseline that a test has is changed by `measure refresh`, never removed."
        )
    chosen = [found[Path(name).name] for name in names]
    for path in chosen:
        path.unlink()
    return chosen
