"""The pytest face: options, fixtures, the one gathering of specs, records and the table of claims.

Tests name specs in their parameters. Once pytest has chosen the tests, their specs are gathered and ordered by
model; the first test of a model has all its specs measured in one loading.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import shlex
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from measure import catalog, models, records, report, selection
from measure.baselines import CurveBaseline, compared, explain
from measure.engine import Engine
from measure.fetching import KEEP
from measure.results import Result
from measure.spec import (
    DEFAULT_PAIRS,
    PRECISIONS,
    PROTOCOLS,
    READS,
    UNSAFE_IN_FILE_NAMES,
    AnySpec,
    ConfigSpec,
    MeasureError,
    PredictionSpec,
    SliceSpec,
    Spec,
)
from measure.stats import FEWEST, Verdict
from measure.store import Store

Note = dict[str, Any]
KEY = pytest.StashKey["Harness"]()
_BASELINE = pytest.StashKey[SnapshotAssertion]()
# The parameter that --protocol strict gives every claim: what is read.
_READ = "strict_read"
_CLAIM = pytest.StashKey[Note]()
# The ids of the results that a test used.
_USED = pytest.StashKey[list[str]]()
# The models that --models names; None where it names none.
_NAMED = pytest.StashKey[set[str] | None]()

# Exit statuses of a run in which something failed, the gravest first; pytest has 0 to 5 for itself.
EXIT_CLAIM_FAILED = 1
EXIT_DRIFT = 10
EXIT_NOT_MEASURED = 11
_MEANING = {
    EXIT_CLAIM_FAILED: "a claim, a control or another test failed",
    EXIT_DRIFT: "no claim failed, but curves are not their baselines",
    EXIT_NOT_MEASURED: "no claim failed and no curve moved, but something could not be measured",
}


def specs_in(value: object) -> Iterator[AnySpec]:
    """Every spec inside a test's parameter: itself, or in a sequence, a mapping or a dataclass of them."""
    if isinstance(value, Spec | ConfigSpec):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from specs_in(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from specs_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from specs_in(getattr(value, field.name))


def _item_specs(item: pytest.Item) -> list[AnySpec]:
    callspec = getattr(item, "callspec", None)
    return list(specs_in(callspec.params)) if callspec is not None else []


def _strict_read(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(_READ) if callspec is not None else None


def _measures(item: pytest.Item) -> bool:
    """Whether a test is one of a suite: it asks for the results of specs."""
    return "measured" in getattr(item, "fixturenames", ()) and bool(_item_specs(item))


@cache
def _token_texts(model: str) -> records.Texts | None:
    """The texts of a model's tokens by their ids; None where it has no fast tokenizer at hand."""
    from tokenizers import Tokenizer

    reference = catalog.resolve(model)
    hub = reference.source == "hub"
    folder = models.fetch(reference, weights=False).folder if hub else Path(reference.location)
    found = [place / "tokenizer.json" for place in models.tokenizer_places(reference, folder)]
    path = next((path for path in found if path.is_file()), None)
    if path is None:
        return None
    tokenizer = Tokenizer.from_file(str(path))
    return lambda ids: [tokenizer.decode([number], skip_special_tokens=False) for number in ids]


class NotMeasuredError(MeasureError):
    """What a test asked for could not be measured; nothing is said of the claim."""


class Harness:
    """What one pytest session measures, and what came of it."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        refresh = config.getoption("--refresh")
        folder = Path(config.getoption("--store") or config.rootpath / ".store")
        self.store = Store(folder, refreshing=refresh is not None, dry=refresh == "dry")
        self.records = config.rootpath / "reports" / "records.jsonl"
        self.rows: list[dict[str, Any]] = []
        self.engine = Engine(
            self.store,
            self._progress,
            keep=config.getoption("--keep"),
            allow_pickle=config.getoption("--allow-pickle"),
        )
        self.failures: set[int] = set()
        # Set once tests of the suites are really about to run.
        self.recording = False
        self._started = time.monotonic()
        self._done = 0

    @property
    def default_sample(self) -> bool:
        """Whether pairs, protocol and corpus are those that the baselines were made with."""
        own = [self.config.getoption(f"--{name}") for name in ("pairs", "corpus", "precision")]
        return own == [None] * 3 and self.config.getoption("--protocol") in (None, "paper")

    def effective(self, spec: AnySpec, read: str | None = None) -> AnySpec:
        """`spec` under this session's --pairs and --protocol, and the read that --protocol strict asks for."""
        given = {name: self.config.getoption(f"--{name}") for name in ("pairs", "protocol", "corpus", "precision")} | {
            "read": read
        }
        fields = {field.name for field in dataclasses.fields(spec)}
        return dataclasses.replace(
            spec, **{n: value for n, value in given.items() if value is not None and n in fields}
        )

    def gather(self, items: list[pytest.Item]) -> None:
        """Take note of every spec that the chosen tests will ask for."""
        for item in items:
            if not item.get_closest_marker("skip"):
                read = _strict_read(item)
                self.engine.gather(self.effective(asked, read) for asked in _item_specs(item))

    def measured(self, asked: AnySpec, read: str | None = None) -> Result | catalog.Shape:
        """The result of a spec; the first one asked of a model measures all that were gathered for it."""
        outcome = self.engine.outcome(self.effective(asked, read))
        self._show("")
        if isinstance(outcome, Exception):
            raise NotMeasuredError(str(outcome))
        return outcome

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A suite that cannot be read is neither drift nor a model that is missing."""
        if report.failed:
            self.failures.add(EXIT_CLAIM_FAILED)

    def _progress(self, spec: AnySpec, how: str) -> None:
        self._done += 1
        if self.recording:
            # Known by now: an engine reports a spec once it has its outcome.
            self._write(records.of_result(spec, how, self.engine.outcome(spec), self._texts(spec)))
        self._show(f"[{self._done} of at most {sum(map(len, self.engine.gathered.values()))}] {how} {spec.id}")

    def _show(self, line: str) -> None:
        """Write over the terminal's present line, around pytest's capture; nothing where there is no terminal."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        if reporter is not None and capture is not None and reporter.isatty:
            with capture.global_and_fixture_disabled():
                reporter.rewrite(line, erase=True)
                reporter.rewrite("")

    def _texts(self, spec: AnySpec) -> records.Texts | None:
        try:
            return _token_texts(spec.model) if isinstance(spec, SliceSpec | PredictionSpec) else None
        # A record without the texts of tokens is better than no record.
        except (MeasureError, OSError):
            return None

    def start(self, items: Sequence[pytest.Item]) -> None:
        """Begin the file of records anew: the ones of the run before make room."""
        self.recording = not self.store.dry
        if self.recording:
            self.records.unlink(missing_ok=True)
            self._write(_header(self.config, items))

    def record(self, row: dict[str, Any]) -> None:
        """Keep one test's record in memory and, at once, on disk."""
        self.rows.append(row)
        self._write(row)

    def end(self, exitstatus: int) -> None:
        """Say in the records that the run came to its end."""
        seconds = round(time.monotonic() - self._started, 1)
        self._write({"kind": "end", "exitstatus": exitstatus, "seconds": seconds})
        self.recording = False

    def _write(self, line: Mapping[str, Any]) -> None:
        if self.recording:
            records.append(self.records, records.finite(line))


def _header(config: pytest.Config, items: Sequence[pytest.Item]) -> dict[str, Any]:
    """What was asked, of which models, with what."""
    import torch

    names = set().union(*map(_models_of, items))
    versions = {"measure": "stable-regions", **{name: name for name in ("torch", "transformers", "numpy")}}
    return {
        "kind": "run",
        "format": records.FORMAT,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "arguments": list(config.invocation_params.args),
        "tests": len(items),
        "protocol": config.getoption("--protocol") or "paper",
        **{name: config.getoption(f"--{name}") for name in ("models", "pairs", "corpus", "precision")},
        "catalog": {name: records.of_model(model) for name, model in catalog.models().items() if name in names},
        "versions": {name: metadata.version(package) for name, package in versions.items()}
        | {"python": platform.python_version()},
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        },
    }


_NOTHING: Mapping[str, str] = {}


class Claim:
    """Holds a verdict against what the repository expects of it, and notes it for the record."""

    def __init__(self, note: dict[str, Any], subject: str) -> None:
        self._note = note
        self._subject = subject

    def check(self, verdict: Verdict, accepted: Mapping[str, str] = _NOTHING) -> None:
        """Pass when the measured verdict is the expected one; an accepted negative is shown as an expected failure.

        `accepted` names the verdicts that are not `supported`, by the id of the test; under --protocol strict an id
        ends with the read.
        """
        expected = accepted.get(self._subject, "supported")
        self._note["verdict"] = _verdict_record(verdict)
        self._note["expected"] = expected
        _skip_unmeasured({"the claim": verdict})
        if verdict.outcome != expected:
            pytest.fail(f"expected the claim to be {expected}, measured: {verdict}", pytrace=False)
        if expected != "supported":
            pytest.xfail(f"accepted as {verdict}")

    def refute(self, counterfeits: Mapping[str, Verdict]) -> None:
        """Pass when the claim is supported by none of the counterfeits: each is data on which it must not hold."""
        self._note["controls"] = {name: _verdict_record(verdict) for name, verdict in counterfeits.items()}
        believed = {name: verdict for name, verdict in counterfeits.items() if verdict.outcome == "supported"}
        if believed:
            lines = "\n".join(f"  {name}: {verdict}" for name, verdict in believed.items())
            pytest.fail(f"the claim is supported by data on which it must not hold:\n{lines}", pytrace=False)
        _skip_unmeasured(counterfeits)


def _skip_unmeasured(verdicts: Mapping[str, Verdict]) -> None:
    for name, verdict in verdicts.items():
        if verdict.outcome == "not measured":
            why = "measure more pairs, see --pairs" if verdict.n else "every pair is degenerate or left out"
            pytest.skip(f"not measured: {name} has no interval (n = {verdict.n}); {why}")


def _verdict_record(verdict: Verdict) -> dict[str, Any]:
    return {
        "outcome": verdict.outcome,
        "n": verdict.n,
        "effects": [
            {**dataclasses.asdict(e.interval), "name": e.name, "margin": e.margin, "outcome": e.outcome}
            for e in verdict.effects
        ],
        "trends": [{**dataclasses.asdict(trend), "outcome": trend.outcome} for trend in verdict.trends],
        "facts": [{**dataclasses.asdict(fact), "outcome": fact.outcome} for fact in verdict.facts],
        "notes": list(verdict.notes),
    }


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("stable regions")
    group.addoption(
        "--models",
        default="auto",
        metavar="auto|ladder|all|NAME,...",
        help="models to measure: auto (default) is the ladder, and hub models where an accelerator can hold them; "
        "a name may be a hub id or a folder, also NAME@REVISION,NAME to compare revisions",
    )
    group.addoption("--pairs", type=int, default=None, help=f"pairs of prompts (default {DEFAULT_PAIRS})")
    group.addoption("--protocol", choices=PROTOCOLS, default=None, help="how pairs are drawn (default paper)")
    group.addoption(
        "--corpus",
        default=None,
        metavar="FILE",
        help="draw prompts from this text, or take them from this file of token ids; a path or hf://OWNER/NAME/FILE",
    )
    group.addoption(
        "--precision",
        choices=PRECISIONS,
        default=None,
        help="what is computed in (default float32); baselines and the paper's numbers belong to float32",
    )
    group.addoption(
        "--keep", choices=KEEP, default="all", help="which checkpoints fetched by this run stay in the cache after use"
    )
    group.addoption("--allow-pickle", action="store_true", help="load pickled weights where there are no safetensors")
    group.addoption("--refresh", choices=("write", "dry"), default=None, help=argparse.SUPPRESS)
    group.addoption("--store", metavar="DIR", default=None, help="folder of measured results (default .store)")


def pytest_configure(config: pytest.Config) -> None:
    pairs = config.getoption("--pairs")
    if pairs is not None and pairs < 2 * FEWEST:
        raise pytest.UsageError(
            f"--pairs {pairs}: half of them are independent, and no interval stands on fewer than {FEWEST}; "
            f"give {2 * FEWEST} or more."
        )
    try:
        # Before the suites are imported, which ask the catalog what there is.
        config.stash[_NAMED] = selection.named(config.getoption("--models"))
    except MeasureError as error:
        raise pytest.UsageError(f"--models: {error}") from None
    config.stash[KEY] = Harness(config)
    config.pluginmanager.register(config.stash[KEY], "stable regions")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse ids that cannot name a file, apply --models, and bring the tests of a model together."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        unsafe = UNSAFE_IN_FILE_NAMES.search(callspec.id) if callspec else None
        if unsafe and "baseline" in getattr(item, "fixturenames", ()):
            raise pytest.UsageError(
                f"the id of {item.nodeid} names its baseline file, and {unsafe[0]!r} cannot stand in a file name: two "
                "such ids could share one file. Give the parameter another id."
            )
    _select_models(config, items)
    order = {name: place for place, name in enumerate(catalog.models())}

    def place(item: pytest.Item) -> int:
        specs = _item_specs(item)
        return order.get(specs[0].model.partition("@")[0], len(order)) if specs else -1

    items.sort(key=place)


def _select_models(config: pytest.Config, items: list[pytest.Item]) -> None:
    choice: str = config.getoption("--models")
    names = config.stash[_NAMED]
    if names is not None:
        try:
            selection.check_present(names, set().union(*map(_models_of, items)))
        except MeasureError as error:
            raise pytest.UsageError(f"--models: {error}") from None
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        chosen = _models_of(item)
        weights = not all(isinstance(spec, ConfigSpec) for spec in _item_specs(item))
        (kept if names is None or chosen <= names else dropped).append(item)
        if names is None and (reason := selection.not_measured(chosen, choice, weights=weights)):
            item.add_marker(pytest.mark.skip(reason=reason))
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def _models_of(item: pytest.Item) -> set[str]:
    return {selection.without_revision(spec.model) for spec in _item_specs(item)}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Gather the specs of the tests that were chosen."""
    harness = session.config.stash[KEY]
    harness.gather(session.items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """The records of the run before make room, once tests are really about to run."""
    harness = session.config.stash[KEY]
    if any(map(_measures, session.items)) and not session.config.option.collectonly and not session.testsfailed:
        harness.start(session.items)


@pytest.hookimpl(trylast=True)  # the read then stands at the end of a test's id
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Under --protocol strict every claim and control is asked with each of the reads.

    A suite that compares reads, or reads nothing, says so by `READS`.
    """
    strict = metafunc.config.getoption("--protocol") == "strict"
    if strict and "claim" in metafunc.fixturenames and not hasattr(metafunc.module, "READS"):
        metafunc.parametrize(_READ, READS)


@pytest.fixture
def strict_read() -> str | None:
    """What is read, where --protocol strict asks for it; None leaves it to the spec."""
    return None


@pytest.fixture
def measured(request: pytest.FixtureRequest, strict_read: str | None) -> Callable[[AnySpec], Any]:
    """Spec in, result out: `measured(spec)` returns the result of a spec that stands in the test's parameters."""
    harness = request.config.stash[KEY]
    used = request.node.stash.setdefault(_USED, [])

    def result(asked: AnySpec) -> Any:
        used.append(harness.effective(asked, strict_read).id)
        return harness.measured(asked, strict_read)

    return result


@pytest.fixture
def claim(request: pytest.FixtureRequest) -> Claim:
    """The claim that this test is about; see `Claim.check` and `Claim.refute`."""
    return Claim(request.node.stash.setdefault(_CLAIM, {}), request.node.callspec.id)


@pytest.fixture
def baseline(request: pytest.FixtureRequest, snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """The accepted curve of this test: `assert baseline == measured(spec)`."""
    if not request.config.stash[KEY].default_sample:
        pytest.skip("baselines belong to protocol paper with the default pairs; the claim is tested all the same")
    made = request.config.option.update_snapshots or request.config.getoption("--refresh")
    if not made and not _has_baseline(request):
        models = request.config.getoption("--models")
        named = "" if models in selection.CHOICES else f" --models {shlex.quote(models)}"
        pytest.skip(
            "not measured: no curve was accepted for this model yet; look at it, then accept it with "
            f"`measure refresh -k {request.node.callspec.id}{named}`"
        )
    assertion = snapshot.use_extension(CurveBaseline)
    request.node.stash[_BASELINE] = assertion
    return assertion


def _has_baseline(request: pytest.FixtureRequest) -> bool:
    """Whether there is a baseline to compare with; one of the ladder's that is missing is an error, and said later."""
    known = (catalog.models().get(name) for name in _models_of(request.node))
    others = [model for model in known if model is not None and model.source != "ladder"]
    return not others or baseline_file(request.node).exists()


def baseline_file(item: pytest.Item) -> Path:
    """Where the baseline of a test stands."""
    return item.path.parent.parent / "baselines" / item.path.stem / f"{item.name}.json"


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outermost: sees the outcome after xfail and skip were applied
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write one record per suite test, as it ends."""
    if call.when == "call":
        item.user_properties += _properties(item)
    outcome = yield
    ends = outcome.when == "call" or (outcome.when == "setup" and not outcome.passed)
    harness = item.config.stash[KEY]
    if ends and _measures(item):
        harness.record(_record(item, outcome))
    if outcome.failed:
        harness.failures.add(_exit_status(item, call))
    return outcome


def _exit_status(item: pytest.Item, call: pytest.CallInfo[None]) -> int:
    """What a failed test makes of the run."""
    if call.excinfo is not None and call.excinfo.errisinstance(NotMeasuredError):
        return EXIT_NOT_MEASURED
    compared = _baseline_record(item)
    return EXIT_DRIFT if compared is not None and compared["state"] != "as accepted" else EXIT_CLAIM_FAILED


def _record(item: pytest.Item, report: pytest.TestReport) -> dict[str, Any]:
    module = getattr(item, "module", None)
    outcome = "xfailed" if hasattr(report, "wasxfail") else report.outcome
    reason = None
    if outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    elif outcome == "failed":
        reason = report.longreprtext
    note: Note = item.stash.get(_CLAIM, {})
    used: list[str] = item.stash.get(_USED, [])
    return {
        "test": item.nodeid,
        "kind": getattr(item, "originalname", item.name).removeprefix("test_"),
        "claim": getattr(module, "CLAIM", None),
        "subject": item.callspec.id,  # type: ignore[attr-defined]
        "outcome": outcome,
        "reason": reason.removeprefix("Skipped: ") if reason else None,
        "read": _strict_read(item),
        "protocol": item.config.getoption("--protocol") or "paper",
        "specs": list(dict.fromkeys(used)),
        "seconds": round(report.duration, 3),
        "baseline": _baseline_record(item),
        **note,
    }


def _properties(item: pytest.Item) -> list[tuple[str, object]]:
    """A claim's verdict for JUnit's report: outcome, n, and each effect with its interval and margin."""
    note: Note = item.stash.get(_CLAIM, {})
    verdict = note.get("verdict")
    if verdict is None:
        return []
    effects = [
        (
            f"effect: {effect['name']}",
            f"{effect['estimate']:+.4g} [{effect['low']:+.4g}, {effect['high']:+.4g}] margin {effect['margin']:g} "
            f"n {effect['n']} {effect['outcome']}",
        )
        for effect in verdict["effects"]
    ]
    return [("verdict", verdict["outcome"]), ("expected", note["expected"]), ("n", verdict["n"]), *effects]


def _baseline_record(item: pytest.Item) -> dict[str, Any] | None:
    """What became of a test's baseline: new, moved or as accepted, its file, and what was said of it."""
    assertion = item.stash.get(_BASELINE, None)
    if assertion is None or not assertion.executions:
        return None
    last = assertion.executions[max(assertion.executions)]
    measured, accepted = str(last.asserted_data), str(last.recalled_data or "")
    reasons = explain(measured, accepted)
    state = "as accepted" if not reasons else "moved" if accepted else "new"
    return {
        "state": state,
        "file": Path(last.snapshot_location).name,
        "why": reasons if accepted else [],
        **compared(measured, accepted),
    }


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Tell by the exit status what failed. A refresh that came to its end is over; an interrupted one goes on."""
    harness = session.config.stash[KEY]
    harness.engine.close()
    if exitstatus == pytest.ExitCode.TESTS_FAILED and harness.failures:
        session.exitstatus = min(harness.failures)
    harness.end(int(session.exitstatus))
    if (
        harness.store.refreshing
        and not harness.store.dry
        and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    ):
        harness.store.end_refresh()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table of claims: verdict, effects with intervals, n and control of each, or why it was not measured."""
    rows = config.stash[KEY].rows
    if not rows:
        return
    terminalreporter.ensure_newline()
    terminalreporter.section(f"claims (protocol {config.getoption('--protocol') or 'paper'}; n: independent units)")
    for line in (*report.claim_table(rows), *report.reads_table(rows)):
        terminalreporter.write_line(line)
    terminalreporter.write_line(report.baseline_line(rows))
    if failures := config.stash[KEY].failures:
        status = min(failures)
        terminalreporter.write_line(f"exit status {status}: {_MEANING[status]}")
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a") as file:
            file.write(report.step_summary(rows))
