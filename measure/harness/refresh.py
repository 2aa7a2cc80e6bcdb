"""Measure baselines anew (`measure refresh`): runs pytest on the suites and tells what moved; compares nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from measure.base.exits import EXIT_CLAIM_FAILED, EXIT_DRIFT, EXIT_NOT_MEASURED
from measure.harness.items import VERDICTS, uses
from measure.harness.snapshot import baseline_file
from measure.harness.stash import RECORDER
from measure.kinds.rows import Ended, Form, State, TestRow
from measure.spec import MeasureError


@dataclass
class _Witness:
    """Keeps what a pytest run recorded and which baselines its collected tests have."""

    rows: list[TestRow] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)
    root: Path = Path()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.root = session.config.rootpath
        for item in session.items:
            if uses(item, "baseline"):
                self.files.add(baseline_file(item))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if RECORDER in session.config.stash:
            self.rows = session.config.stash[RECORDER].rows


def run_pytest(arguments: list[str], witness: object) -> int:
    """pytest within this process, `witness` being a plugin of it; returns its exit status."""
    # That syrupy was imported before pytest, by us, harms nothing.
    quiet = ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    # pytest-benchmark would make a folder; pytest-xdist would collect where no witness is.
    quiet += ["-p", "no:benchmark"] if importlib.util.find_spec("pytest_benchmark") else []
    quiet += ["-n", "0"] if importlib.util.find_spec("xdist") else []
    return pytest.main([*arguments, *quiet], plugins=[witness])


def refresh(
    expression: str,
    *,
    paths: Sequence[str | Path] = ("suites",),
    dry: bool,
    rewrite: bool = False,
    arguments: Iterable[str] = (),
) -> tuple[list[str], int]:
    """Measure the suites chosen by `expression` past the store; returns the table's lines and the exit status.

    Baselines that moved beyond their tolerance or are new are written, unless `dry`; none is deleted. With `rewrite`
    no accepted number is changed: a baseline that lacks a metric is completed, and tolerance and format become those
    of the code. The status is 1 when a measurement failed or a claim's verdict no longer stands.
    """
    witness = _Witness()
    mode = "-".join((["dry"] if dry else []) + (["rewrite"] if rewrite else [])) or "write"
    options = [*map(str, paths), "-k", expression, "--refresh", mode, "--quiet", "--tb=no", "--no-summary"]
    if mode == "write":
        options += ["--snapshot-update"]
    meant = f"the baselines of {expression!r}" if expression else "all baselines"
    print(f"measuring {meant} past the store ...", flush=True)
    with contextlib.redirect_stdout(io.StringIO()):
        ended = run_pytest([*options, *arguments], witness)
    if ended not in (0, EXIT_CLAIM_FAILED, EXIT_DRIFT, EXIT_NOT_MEASURED):
        reason = (
            "no test has such a name" if ended == pytest.ExitCode.NO_TESTS_COLLECTED else f"pytest ended: {ended!r}"
        )
        raise MeasureError(
            f"refresh -k {expression!r}: {reason}. See the names with `pytest {' '.join(map(str, paths))} "
            "--collect-only -q`."
        )
    lines = _rewritten(witness.rows, dry=dry) if rewrite else _written(witness.rows, dry=dry)
    return [*lines[:-1], *_claims(witness.rows), lines[-1]], int(any(map(_failed, witness.rows)))


def _failed(row: TestRow) -> bool:
    """Whether a row is of a failed measurement or a fallen verdict; a curve that moved is neither."""
    return row.outcome == Ended.FAILED and row.baseline is None


def _written(rows: Sequence[TestRow], *, dry: bool) -> list[str]:
    """What became of each baseline; how many are written stands last."""
    lines = ["", "baselines"]
    kept = [row.baseline for row in rows if row.baseline is not None]
    changed = [found for found in kept if found.state is not State.AS_ACCEPTED]
    # In the order in which states are told, the worst news first.
    for found in sorted(changed, key=lambda found: list(State).index(found.state)):
        lines.append(f"  {found.state:<12} {found.file}")
        lines += [f"      {line}" for line in found.why if "--snapshot-update" not in line]
    lines.append(f"  {State.AS_ACCEPTED:<12} {len(kept) - len(changed)}")
    count = f"{len(changed)} baseline{'' if len(changed) == 1 else 's'}"
    return [*lines, f"dry run, nothing written; would write {count}" if dry else f"written: {count}"]


def _rewritten(rows: Sequence[TestRow], *, dry: bool) -> list[str]:
    """What became of the form of each baseline; how many are rewritten stands last."""
    kept = [row.baseline for row in rows if row.baseline is not None]
    told = [(found.rewritten or "", found) for found in kept]
    lines = ["", "baselines", *(f"  {text:<12} {found.file}" for text, found in told if text == Form.REWRITTEN)]
    for text, found in told:
        if text.startswith(Form.LEFT):
            lines += [f"  {'left':<12} {found.file}", f"      {text}"]
    lines.append(f"  {Form.AS_IT_WAS:<12} {sum(text == Form.AS_IT_WAS for text, _ in told)}")
    number = sum(text == Form.REWRITTEN for text, _ in told)
    count = f"{number} baseline{'' if number == 1 else 's'}, no accepted number changed"
    return [*lines, f"dry run, nothing written; would rewrite {count}" if dry else f"rewritten: {count}"]


def _claims(rows: Sequence[TestRow]) -> list[str]:
    """What failed, and how the claims among the chosen tests stand."""
    lines = [f"  {'failed':<12} {row.test}: {_last_line(row.reason)}" for row in rows if _failed(row)]
    judged = [row for row in rows if row.role == "claim"]
    lines.append("claims" if judged else "claims: none among the chosen tests, so no verdict was looked at")
    return [*lines, *(f"  {row.subject:<26} {_standing(row):<42} {row.claim}" for row in judged)]


def _standing(row: TestRow) -> str:
    if row.outcome == Ended.SKIPPED:
        return "not measured"
    if row.verdict is None:
        return "no verdict: the measurement failed"
    stands = "stands" if row.verdict.outcome == row.expected else f"FALLEN, expected {row.expected}"
    return f"{row.verdict.outcome}, {stands}"


def _last_line(reason: str | None) -> str:
    return (reason or "").strip().splitlines()[-1] if reason else ""


def orphans(paths: Sequence[str | Path] = ("suites",)) -> list[Path]:
    """Baseline files that no test has: of the suites in `paths`, and of suites that are no more."""
    witness = _Witness()
    with contextlib.redirect_stdout(io.StringIO()):
        ended = run_pytest([*map(str, paths), "--collect-only", "-qq", "--no-summary"], witness)
    if ended != pytest.ExitCode.OK:
        where = ", ".join(map(str, paths))
        raise MeasureError(f"the suites in {where} could not be collected (pytest: {ended!r}); mend them first.")
    own = {path.parent for path in witness.files}
    modules = set(_modules(witness.root))
    places = {folder.parent for folder in own}
    folders = [folder for place in places for folder in place.iterdir() if folder.is_dir()]
    looked_at = [folder for folder in folders if folder in own or folder.name not in modules]
    # Accepted verdicts lie beside them, a file a suite.
    verdicts = {place / VERDICTS / f"{folder.name}.json" for place in places for folder in own}
    verdicts |= {place / VERDICTS / f"{module}.json" for place in places for module in modules}
    kept = witness.files | verdicts
    return sorted(path for folder in looked_at for path in folder.rglob("*.json") if path not in kept)


def _modules(root: Path) -> Iterator[str]:
    """Names of the Python files below a folder, hidden folders aside: suites not chosen keep their baselines."""
    for _, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(name).stem for name in files if name.endswith(".py"))


def remove_orphans(names: Iterable[str], paths: Sequence[str | Path] = ("suites",)) -> list[Path]:
    """Delete the orphan baselines named, and nothing else. Raises `MeasureError` for a name that is no orphan."""
    found = {path.name: path for path in orphans(paths)}
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
