"""What became of a test of a suite: its row in the records, the exit status that its failure gives the run."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from measure.base.exits import EXIT_CLAIM_FAILED, EXIT_DRIFT, EXIT_NOT_MEASURED
from measure.base.files import write_atomically
from measure.claims import Claim, accepted
from measure.harness import recording, regression
from measure.harness.items import (
    ORDER,
    accepted_file,
    baseline_folder,
    draw_of,
    strict_read_of,
    subject_of,
    title_of,
    uses,
)
from measure.harness.options import is_default_sample
from measure.kinds.rows import BaselineRow, Ended, Form, Role, State, TestRow, VerdictRow
from measure.spec import MeasureError, NotMeasuredError
from measure.stats import Verdict

# What the fixtures of a test leave behind: its comparison, its claim, the ids of the results that it used.
BASELINE = pytest.StashKey[SnapshotAssertion]()
CLAIM = pytest.StashKey[Claim]()
USED = pytest.StashKey[list[str]]()
# What kept a result of its from being measured.
CAUSE = pytest.StashKey[MeasureError]()

# What `measure refresh --rewrite` made of a baseline.
_REWRITTEN = pytest.StashKey[str | None]()


def exit_status(item: pytest.Item, call: pytest.CallInfo[None]) -> int:
    """What a failed test makes of the run."""
    if is_denied(call):
        return EXIT_NOT_MEASURED
    compared, claim = _baseline_row(item), item.stash.get(CLAIM, None)
    if claim is not None and claim.drift:
        return EXIT_DRIFT
    return EXIT_DRIFT if compared is not None and compared.state is not State.AS_ACCEPTED else EXIT_CLAIM_FAILED


def is_denied(call: pytest.CallInfo[None]) -> bool:
    """Whether a test ended because the world denied it something, or a verdict had no interval."""
    return call.excinfo is not None and call.excinfo.errisinstance(NotMeasuredError)


def cause_of(item: pytest.Item, call: pytest.CallInfo[None]) -> str | None:
    """What kept a failed test from measuring, whole; None where it failed by what it found, or by its own code."""
    if call.excinfo is None:
        return None
    if is_denied(call) or call.excinfo.value is item.stash.get(CAUSE, None):
        return str(call.excinfo.value)
    return None


def check_updatable(items: Sequence[pytest.Item]) -> None:
    """Raise `MeasureError` where --snapshot-update is asked for and what it updates cannot be written."""
    config = items[0].config
    if not config.option.update_snapshots or (config.getoption("--refresh") or "").startswith("dry"):
        return
    folders = {baseline_folder(item) for item in items if uses(item, "baseline")}
    folders |= {accepted_file(item).parent for item in items if uses(item, "claim")}
    for folder in sorted(folders):
        place = next(parent for parent in (folder, *folder.parents) if os.path.lexists(parent))
        try:
            with tempfile.TemporaryFile(dir=place) as file:
                file.write(b"room")
        except OSError as error:
            raise MeasureError(
                f"--snapshot-update: {place} cannot be written ({error.strerror}), so nothing could be accepted; make "
                "room in it, or leave the option out."
            ) from None


def verdicts_of(item: pytest.Item) -> tuple[accepted.Accepted | None, Callable[[Verdict], None] | None]:
    """What was accepted of a claim's case, and under --snapshot-update what keeps its verdict.

    Effects are accepted under protocol paper, and nothing is held to them under strict.
    """
    config = item.config
    if config.getoption("--protocol") == "strict":
        return None, None
    path, subject = accepted_file(item), subject_of(item)
    if not (config.option.update_snapshots and is_default_sample(config, any_seed=True)):
        return accepted.read(path).get(subject), None
    return None, partial(accepted.keep, path, subject, seed=config.getoption("--seed") or 0)


def row_of(item: pytest.Item, report: pytest.TestReport, status: int = 0) -> TestRow:
    """The row of a test that has ended; under `measure refresh --rewrite` its baseline is rewritten first.

    `status`: what its failure makes of the run, 0 where it did not fail.
    """
    item.stash[_REWRITTEN] = _rewrite(item)
    title, place = title_of(item)
    claim = item.stash.get(CLAIM, None)
    verdict = claim.verdict if claim is not None else None
    used: list[str] = item.stash.get(USED, [])
    return TestRow(
        test=item.nodeid,
        order=item.stash[ORDER],
        role=_role(item),
        claim=title,
        place=place,
        subject=subject_of(item),
        outcome=Ended.XFAILED if hasattr(report, "wasxfail") else report.outcome,
        reason=_reason(report),
        read=strict_read_of(item),
        protocol=item.config.getoption("--protocol") or "paper",
        specs=tuple(dict.fromkeys(used)),
        seconds=round(report.duration, 3),
        expected=claim.expected if claim is not None else "supported",
        verdict=recording.of_verdict(verdict) if verdict is not None else None,
        controls=_verdict_rows(item, claim.controls if claim is not None else {}),
        planted=_verdict_rows(item, claim.planted if claim is not None else {}),
        baseline=_baseline_row(item),
        status=status,
    )


def _verdict_rows(item: pytest.Item, verdicts: Mapping[str, Verdict]) -> dict[str, VerdictRow]:
    """Verdicts by name, those of a later draw of counterfeits told apart from the first's."""
    draw = draw_of(item)
    return {f"{n}, draw {draw + 1}" if draw else n: recording.of_verdict(v) for n, v in verdicts.items()}


def _role(item: pytest.Item) -> Role:
    """What a test is to its claim: by what it did, or by its name where it did not come to it."""
    claim = item.stash.get(CLAIM, None)
    if claim is not None and claim.verdict is not None:
        return "claim"
    if claim is not None and claim.controls:
        return "control"
    if uses(item, "baseline"):
        return "baseline"
    if uses(item, "claim"):
        return "control" if "control" in getattr(item, "originalname", item.name) else "claim"
    return "other"


def _reason(report: pytest.TestReport) -> str | None:
    if report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return text.removeprefix("Skipped: ")
    return report.longreprtext or None if report.failed else None


def properties_of(item: pytest.Item) -> list[tuple[str, object]]:
    """A claim's verdict for JUnit's report: outcome, n, and each effect with its interval and margin."""
    claim = item.stash.get(CLAIM, None)
    if claim is None or claim.verdict is None:
        return []
    effects = [
        (
            f"effect: {effect.name}",
            f"{effect.interval.estimate:+.4g} [{effect.interval.low:+.4g}, {effect.interval.high:+.4g}] margin "
            f"{effect.margin:g} n {effect.interval.n} {claim.verdict.outcome_of(effect)}",
        )
        for effect in claim.verdict.effects
    ]
    return [("verdict", claim.verdict.outcome), ("expected", claim.expected), ("n", claim.verdict.n), *effects]


def _baseline_row(item: pytest.Item) -> BaselineRow | None:
    """What became of a test's baseline."""
    last = _last_execution(item)
    if last is None:
        return None
    file = Path(last.snapshot_location).name
    texts = str(last.asserted_data), str(last.recalled_data or "")
    row = regression.row(file, *texts)
    place = os.path.relpath(last.snapshot_location, item.config.rootpath.resolve())
    offer = None if row.state is State.AS_ACCEPTED else regression.offer(place, *texts)
    return dataclasses.replace(row, rewritten=item.stash.get(_REWRITTEN, None), offer=offer)


def _last_execution(item: pytest.Item) -> Any:
    """What syrupy kept of a test's comparison; of several, the first that failed, else the last."""
    assertion = item.stash.get(BASELINE, None)
    done = list(assertion.executions.values()) if assertion is not None else []
    return next((one for one in done if not one.success), done[-1] if done else None)


def _rewrite(item: pytest.Item) -> str | None:
    """Under `measure refresh --rewrite`: write a baseline in this version's form, and say what became of that."""
    asked = item.config.getoption("--refresh") or ""
    execution = _last_execution(item)
    if not asked.endswith("rewrite") or execution is None:
        return None
    try:
        text = regression.rewritten(str(execution.asserted_data), str(execution.recalled_data or ""))
    except MeasureError as error:
        return f"{Form.LEFT}: {error}"
    if text is None:
        return Form.AS_IT_WAS
    if asked == "rewrite":
        try:
            write_atomically(Path(execution.snapshot_location), text.encode())
        except OSError as error:
            return f"{Form.LEFT}: it cannot be written ({error.strerror})"
    return Form.REWRITTEN
