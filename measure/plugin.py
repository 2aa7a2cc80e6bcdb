"""The pytest face: options, hooks, fixtures. A repository opts in by one line, `pytest_plugins = ["measure.plugin"]`.

Tests name specs in their parameters. Once pytest has chosen the tests, their specs are gathered and ordered by
model; the first test of a model has all its specs measured in one loading. What needs torch is imported when a spec
has been collected, and not before.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from measure import kinds
from measure.exits import EXIT_CLAIM_FAILED, EXIT_NOT_MEASURED
from measure.items import (
    ORDER,
    READ,
    baseline_folder,
    check_kinds,
    check_marker,
    check_told_apart,
    is_of_a_suite,
    models_of,
    named_of,
    not_for,
    specs_of,
    strict_read_of,
    subject_of,
    unasked,
    unwanted_draws,
    uses,
)
from measure.options import OWN_PAIRS, add_options, check_sample, check_spreading, is_default_sample, is_usual_sample
from measure.progress import Pace
from measure.spec import READS, UNSAFE_IN_FILE_NAMES, AnySpec, MeasureError, NotMeasuredError

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from measure.claims import Claim
    from measure.records import Recorder
    from measure.rows import Row
    from measure.session import Harness

# Where a process measures, and where the run's records are; see `measure.session`.
HARNESS = pytest.StashKey["Harness"]()
RECORDER = pytest.StashKey["Recorder"]()
# The models that --models names; None where it names none.
_NAMED = pytest.StashKey[set[str] | None]()
# Revisions of a sweep that were left out, a sentence each.
_SWEPT = pytest.StashKey[list[str]]()
# Claims that are not asked of them, each with what its suite takes.
_UNASKED = pytest.StashKey[list[str]]()
# Models that no test measures, with the seconds that they would take here.
_LEFT_OUT = pytest.StashKey[dict[str, float]]()
# What is told of the pairs of --pairs-from, a sentence each.
_OTHER_PAIRS = pytest.StashKey[list[str]]()
# Rows of a worker's records that wait for the next report to travel on.
_OUTBOX = pytest.StashKey[list["Row"]]()
_REPORTS = pytest.StashKey["_Reports"]()
# Why this process, one of several shards, judges nothing.
_NOT_JUDGED = pytest.StashKey[str]()


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """The hooks that a repository may write; see `measure.hookspec`."""
    from measure import hookspec

    pluginmanager.add_hookspecs(hookspec)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, and the ini setting that moves baselines."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Check what was asked, and make ready to record."""
    config.addinivalue_line(
        "markers", "claim(text, place=''): the claim that a test judges or controls, and its place in the paper"
    )
    config.addinivalue_line("markers", "draw(number): which draw of its counterfeits a control takes, see --draws")
    check_sample(config)
    _check_disk(config)
    check_spreading(config)
    if config.getoption("--pairs-from") is not None:
        _hold_pairs(config)
    _unwritten().clear()
    if _is_worker(config):
        config.stash[_OUTBOX] = []
    else:
        config.stash[_REPORTS] = _Reports(config)
        config.pluginmanager.register(config.stash[_REPORTS], "stable regions: reports")


def _check_disk(config: pytest.Config) -> None:
    """Raise `UsageError` for a --disk that is no size."""
    if config.getoption("--disk") is not None:
        from measure.spread import disk_budget

        try:
            disk_budget(config)
        except MeasureError as error:
            raise pytest.UsageError(str(error)) from None


def _hold_pairs(config: pytest.Config) -> None:
    from measure import own_pairs

    try:
        config.stash[OWN_PAIRS] = own_pairs.hold(config.getoption("--pairs-from"))
    except MeasureError as error:
        raise pytest.UsageError(f"--pairs-from: {error}") from None


def pytest_sessionstart(session: pytest.Session) -> None:
    """Fill the catalog, before suites are collected, which ask it what there is."""
    from measure import catalog

    config = session.config
    catalog.forget_added()
    config.stash[_SWEPT] = []
    by = "--revision-pattern"
    try:
        _use_own_pattern(config)
        by = "pytest_measure_models"
        for given in config.hook.pytest_measure_models(config=config):
            for model in given:
                _add(model, config.stash[_SWEPT].append)
        by = "--models"
        config.stash[_NAMED] = _named(config.getoption("--models"), config.stash[_SWEPT].append)
    except MeasureError as error:
        raise pytest.UsageError(f"{by}: {error}") from None


def _use_own_pattern(config: pytest.Config) -> None:
    """How training checkpoints are named, where the user tells it."""
    from measure import revisions

    pattern, size = config.getoption("--revision-pattern"), config.getoption("--tokens-a-step")
    revisions.forget_own()
    if pattern is not None:
        revisions.use_own(pattern, size)
    elif size is not None:
        raise MeasureError(f"--tokens-a-step {size} belongs to a --revision-pattern; give one.")


def _named(choice: str, tell: Callable[[str], object] = lambda _: None) -> set[str] | None:
    if choice in ("auto", "ladder", "all"):
        return None
    from measure import selection

    return selection.named(choice, tell)


def _add(model: object, tell: Callable[[str], object]) -> None:
    """Put what a repository's hook names beside the catalogued models."""
    from measure import catalog

    if isinstance(model, catalog.Model):
        catalog.add(model)
    elif isinstance(model, str):
        _named(model, tell)
    else:
        raise MeasureError(f"the hook gave {model!r}; expected names, or objects of measure.catalog.Model.")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse what cannot be told apart, apply --models, and bring the tests of a model together."""
    from measure import catalog

    check_kinds(items)
    for item in items:
        # Elsewhere a marker of this name is somebody else's.
        if is_of_a_suite(item):
            check_marker(item)
        callspec = getattr(item, "callspec", None)
        unsafe = UNSAFE_IN_FILE_NAMES.search(callspec.id) if callspec else None
        if unsafe and uses(item, "baseline"):
            raise pytest.UsageError(
                f"the id of {item.nodeid} names its baseline file, and {unsafe[0]!r} cannot stand in a file name: two "
                "such ids could share one file. Give the parameter another id."
            )
    check_told_apart(items)
    _drop(config, items, unwanted_draws(items, config.getoption("--draws")))
    _select_models(config, items)
    if OWN_PAIRS in config.stash:
        _select_pairs(config, items)
    order = {name: place for place, name in enumerate(catalog.models())}

    def place(item: pytest.Item) -> int:
        specs = specs_of(item)
        return order.get(specs[0].model.partition("@")[0], len(order)) if specs else -1

    if any(map(is_of_a_suite, items)):
        items.sort(key=place)


def _select_models(config: pytest.Config, items: list[pytest.Item]) -> None:
    names = config.stash[_NAMED]
    if names is None and not any(map(specs_of, items)):
        return
    from measure import selection

    choice: str = config.getoption("--models")
    if names is not None:
        try:
            selection.check_present(names, set().union(*map(models_of, items)))
        except MeasureError as error:
            raise pytest.UsageError(f"--models: {error}") from None
    dropped: list[pytest.Item] = []
    seconds = _left_out(config, items, choice) if names is None and choice != "all" else {}
    config.stash[_LEFT_OUT] = seconds
    for item in items:
        chosen = models_of(item)
        weights = any(map(kinds.is_run, specs_of(item)))
        if not (names is None or chosen <= names):
            dropped.append(item)
        # A suite that looks by itself what is at hand says so.
        if names is not None or getattr(getattr(item, "module", None), "BY_ITSELF", False):
            continue
        if reason := selection.not_measured(chosen, choice, weights=weights, seconds=seconds):
            item.add_marker(pytest.mark.skip(reason=reason))
    _drop(config, items, dropped)
    if names is not None:
        config.stash[_UNASKED] = unasked(dropped, items)


def _left_out(config: pytest.Config, items: list[pytest.Item], choice: str) -> dict[str, float]:
    """Models that none of these tests measures, with the seconds that all of their specs would take here."""
    from measure import selection
    from measure.session import effective

    found: dict[str, dict[AnySpec, None]] = {}
    for item in items:
        for spec in specs_of(item):
            if kinds.is_run(spec):
                asked = effective(config, spec, strict_read_of(item))
                found.setdefault(spec.model.partition("@")[0], {})[asked] = None
    return selection.left_out({name: tuple(specs) for name, specs in found.items()}, choice)


def _select_pairs(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of pairs drawn at random, which take those of --pairs-from instead."""
    from measure import own_pairs

    compared = {item for item in items if uses(item, "baseline")}
    lacks = {item: what for item in items if item not in compared and (what := own_pairs.all_lack(specs_of(item)))}
    dropped = [item for item in items if item in compared or item in lacks]
    _drop(config, items, dropped)
    told = [f"not asked of these pairs: {line}" for line in not_for(lacks, items)]
    if compared:
        told.append("baselines are not compared: they are of other pairs")
    config.stash[_OTHER_PAIRS] = [*own_pairs.described(config.stash[OWN_PAIRS], config.getoption("--seed") or 0), *told]


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Say which claims are not asked of the models named, or of pairs of one's own, and what these lack."""
    names = ", ".join(sorted(config.stash.get(_NAMED, None) or ()))
    of_models = [f"not asked of {names}: {line}" for line in config.stash.get(_UNASKED, [])]
    return [*config.stash.get(_SWEPT, []), *config.stash.get(_OTHER_PAIRS, []), *of_models]


def _drop(config: pytest.Config, items: list[pytest.Item], dropped: list[pytest.Item]) -> None:
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        gone = set(map(id, dropped))
        items[:] = [item for item in items if id(item) not in gone]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Gather the specs of the tests that were chosen."""
    for place, item in enumerate(session.items):
        item.stash[ORDER] = place
        specs = specs_of(item)
        if specs and not item.get_closest_marker("skip"):
            _harness(session.config).gather(specs, strict_read_of(item))


def _harness(config: pytest.Config) -> Harness:
    """What measures in this process, made when the first spec is known."""
    if HARNESS not in config.stash:
        from measure.session import Harness

        try:
            config.stash[HARNESS] = Harness(config, lambda row: _emit(config, row))
        except MeasureError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[HARNESS]


def _emit(config: pytest.Config, row: Row) -> None:
    """A row goes into the records, without this machine's folders, from a worker of pytest-xdist by the next report."""
    from measure import recording
    from measure.session import places

    row = recording.outward(row, places(config))
    if _is_worker(config):
        config.stash[_OUTBOX].append(row)
    elif RECORDER in config.stash:
        config.stash[RECORDER].take(row)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Begin the records, once tests of suites are really about to run."""
    config = session.config
    if config.option.collectonly or session.testsfailed:
        return
    # The controller of pytest-xdist has no tests of its own; it begins when a worker's report brings a header.
    if any(map(is_of_a_suite, session.items)):
        from measure.outcomes import check_updatable
        from measure.session import header

        try:
            if not _is_worker(config):
                check_updatable(session.items)
                _recorder(config)
            _emit(config, header(config, len(session.items), set().union(*map(models_of, session.items))))
            _share(session)
        except MeasureError as error:
            raise pytest.UsageError(str(error)) from None


def _share(session: pytest.Session) -> None:
    """Under --shard, measure what falls to this process; where another one judges, leave the suites' tests to it."""
    config = session.config
    if config.getoption("--shard") is None:
        return
    try:
        why_not = _harness(config).share()
    except NotMeasuredError as error:
        pytest.exit(str(error), returncode=EXIT_NOT_MEASURED)
    if why_not is not None:
        config.stash[_NOT_JUDGED] = why_not
        _drop(config, session.items, [item for item in session.items if is_of_a_suite(item)])


def _recorder(config: pytest.Config) -> Recorder:
    if RECORDER not in config.stash:
        from measure import records

        given = config.getoption("--records")
        path = Path(given) if given else records.new_path(config.rootpath / records.FOLDER)
        dry = (config.getoption("--refresh") or "").startswith("dry")
        config.stash[RECORDER] = records.Recorder(None if dry else path, asked=bool(given))
    return config.stash[RECORDER]


@pytest.hookimpl(trylast=True)  # the read then stands at the end of a test's id
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Under --protocol strict every claim and control is asked with each of the reads.

    A suite that compares reads, or reads nothing, says so by `READS`.
    """
    strict = metafunc.config.getoption("--protocol") == "strict"
    if strict and uses(metafunc.definition, "claim") and not hasattr(metafunc.module, "READS"):
        metafunc.parametrize(READ, READS)


@pytest.fixture
def strict_read() -> str | None:
    """What is read, where --protocol strict asks for it; None leaves it to the spec."""
    return None


@pytest.fixture
def measured(request: pytest.FixtureRequest, strict_read: str | None) -> Callable[[AnySpec], Any]:
    """Spec in, result out: `measured(spec)` returns the result of a spec.

    Those that stand in the test's parameters are measured with all others of their model.
    """
    from measure.outcomes import CAUSE, USED

    used = request.node.stash.setdefault(USED, [])

    def result(asked: AnySpec) -> Any:
        harness = _harness(request.config)
        spec = harness.effective(asked, strict_read)
        if asked not in specs_of(request.node):
            _skip_where_it_cannot_be(asked, request.config)
        used.append(harness.told(spec).id)
        try:
            return harness.measured(asked, strict_read)
        except MeasureError as error:
            request.node.stash[CAUSE] = error
            raise

    return result


def _skip_where_it_cannot_be(asked: AnySpec, config: pytest.Config) -> None:
    """What an option keeps from being measured here; a spec in a test's parameters was asked at collection."""
    from measure import own_pairs, selection

    if OWN_PAIRS in config.stash and (lacks := own_pairs.lacking(asked)):
        pytest.skip(f"not asked of the pairs of --pairs-from: takes {lacks}")

    choice, named = config.getoption("--models"), config.stash[_NAMED]
    model = asked.model.partition("@")[0]
    weights = kinds.is_run(asked)
    reason = selection.not_measured([model], choice, weights=weights) if named is None else None
    if reason:
        pytest.skip(reason)


@pytest.fixture
def claim(request: pytest.FixtureRequest) -> Claim:
    """The claim that this test is about; see `Claim.check` and `Claim.refute`."""
    from measure import catalog
    from measure.claims import Claim
    from measure.outcomes import CLAIM, verdicts_of

    names = [catalog.models().get(name) for name in models_of(request.node)]
    ladder = bool(names) and all(model is not None and model.source == "ladder" for model in names)
    must = ladder and is_default_sample(request.config)
    held = is_usual_sample(request.config)
    drawn = OWN_PAIRS not in request.config.stash
    known, keep = verdicts_of(request.node)
    request.node.stash[CLAIM] = Claim(
        subject_of(request.node),
        must_be_measured=must,
        known=known,
        held=held,
        keep=keep,
        named=named_of(request.node),
        drawn=drawn,
    )
    return request.node.stash[CLAIM]


@pytest.fixture
def baseline(request: pytest.FixtureRequest, snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """The accepted curve of this test: `assert baseline == measured(spec)`."""
    from measure.outcomes import BASELINE
    from measure.snapshot import baseline_in

    if not is_default_sample(request.config):
        pytest.skip("baselines belong to protocol paper with the default pairs; the claim is tested all the same")
    made = request.config.option.update_snapshots or request.config.getoption("--refresh")
    if not made and not _has_baseline(request):
        models = request.config.getoption("--models")
        named = "" if models in ("auto", "ladder", "all") else f" --models {shlex.quote(models)}"
        pytest.skip(
            "not measured: no curve was accepted for this model yet; look at it, then accept it with "
            f"`measure refresh -k {subject_of(request.node)}{named}`"
        )
    assertion = snapshot.use_extension(baseline_in(baseline_folder(request.node), request.config.rootpath))
    request.node.stash[BASELINE] = assertion
    return assertion


def _has_baseline(request: pytest.FixtureRequest) -> bool:
    """Whether there is a baseline to compare with; one of the ladder's that is missing is an error, and said later."""
    from measure import catalog
    from measure.snapshot import baseline_file

    known = (catalog.models().get(name) for name in models_of(request.node))
    others = [model for model in known if model is not None and model.source != "ladder"]
    return not others or baseline_file(request.node).exists()


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outermost: sees the outcome after xfail and skip were applied
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """One row of the records for each test of a suite, as it ends; what a failure makes of the run."""
    if not is_of_a_suite(item):
        report = yield
        told: dict[str, object] = {"measure_status": EXIT_CLAIM_FAILED} if report.failed else {}
    else:
        from measure import outcomes

        if call.when == "call":
            item.user_properties += outcomes.properties_of(item)
        report = yield
        status = outcomes.exit_status(item, call) if report.failed else 0
        told = {"measure_status": status} if report.failed else {}
        if report.failed and (cause := outcomes.cause_of(item, call)):
            # Nothing is wrong with the code, so that its trace would tell nothing more.
            report.longrepr = told["measure_cause"] = cause
        if report.when == "call" or (report.when == "setup" and not report.passed):
            _emit(item.config, outcomes.row_of(item, report, status))
    if HARNESS in item.config.stash and (problem := item.config.stash[HARNESS].store.problem):
        told["measure_problem"] = problem
    if _LEFT_OUT in item.config.stash:
        told["measure_left_out"] = item.config.stash[_LEFT_OUT]
    if OWN_PAIRS in item.config.stash:
        told["measure_pairs"] = item.config.stash.get(_OTHER_PAIRS, [])
    if _is_worker(item.config):
        told["measure_rows"] = _posted(item.config.stash[_OUTBOX])
    # pytest-xdist carries what a report has to the controller.
    vars(report).update(told)
    return report


def _posted(waiting: list[Row]) -> list[str]:
    """The rows that waited, as they travel."""
    from measure import records

    lines = [records.to_json(row).decode() for row in waiting] if waiting else []
    waiting.clear()
    return lines


class _Reports:
    """Hears the reports in the process that records, which with pytest-xdist is not the one that ran the tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.failures: set[int] = set()
        # What could not be kept, a sentence each; as a mapping, to hold their order.
        self.problems: dict[str, None] = {}
        # Seconds that models would take which the run left out; what was told of pairs of one's own.
        self.left_out: dict[str, float] = {}
        self.pairs: list[str] = []
        self._pace, self._results = Pace(), 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of what failed, and of the rows that came with a worker's report."""
        if status := getattr(report, "measure_status", None):
            self.failures.add(status)
        if problem := getattr(report, "measure_problem", None):
            self.problems[problem] = None
        self.left_out |= getattr(report, "measure_left_out", {})
        self.pairs = getattr(report, "measure_pairs", None) or self.pairs
        lines = getattr(report, "measure_rows", ())
        if lines:
            from measure import records

            for line in lines:
                self._take(records.from_json(line.encode()))

    def _take(self, row: Row | None) -> None:
        try:
            if row is not None:
                _recorder(self._config).take(row)
                self._show(row)
        except MeasureError as error:
            raise pytest.UsageError(str(error)) from None

    def _show(self, row: Row) -> None:
        """A line now and then on what a worker of pytest-xdist has measured."""
        from measure.rows import ResultRow

        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        self._results += isinstance(row, ResultRow)
        if isinstance(row, ResultRow) and reporter is not None and self._pace.is_due():
            reporter.ensure_newline()
            reporter.write_line(f"[{self._results} so far] {row.how} {row.id}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A suite that cannot be read is neither drift nor a model that is missing."""
        if report.failed:
            self.failures.add(EXIT_CLAIM_FAILED)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Tell by the exit status what failed. A refresh that came to its end is over; an interrupted one goes on."""
    config = session.config
    harness = config.stash.get(HARNESS, None)
    if _is_worker(config):
        if harness is not None:
            harness.close()
        return
    failures = config.stash[_REPORTS].failures
    ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if exitstatus == pytest.ExitCode.TESTS_FAILED and failures:
        session.exitstatus = min(failures)
    # syrupy, which asks to be first, has written by now.
    elif exitstatus == pytest.ExitCode.OK and _unwritten():
        session.exitstatus = EXIT_CLAIM_FAILED
    if RECORDER in config.stash:
        config.stash[RECORDER].end(int(session.exitstatus))
        _keep_history(config)
        if harness is not None and ended:
            harness.judged(config.stash[RECORDER].written)
    if harness is not None:
        harness.close()
    if harness is not None and harness.store.refreshing and not harness.store.dry and ended:
        harness.store.end_refresh()


def _keep_history(config: pytest.Config) -> None:
    """A line for each case that was judged, beside the folder of the records; none where these went elsewhere."""
    recorder = config.stash[RECORDER]
    if recorder.written is None or recorder.header is None or config.getoption("--records"):
        return
    from measure import history

    rows = sorted(recorder.rows, key=lambda row: row.order)
    problem = history.keep(recorder.written, recorder.header, rows)
    if problem is not None:
        config.stash[_REPORTS].problems[problem] = None


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outermost: what it writes at its end stands below pytest's own summary
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Generator[None]:
    """The verdicts, a line a claim, where the whole table is, and each cause that kept something from being measured.

    pytest would tell a cause once a test, and cut it: those tests it counts, and we tell.
    """
    kept = {kind: terminalreporter.stats.get(kind, []) for kind in ("failed", "error")}
    denied = [report for reports in kept.values() for report in reports if hasattr(report, "measure_cause")]
    for kind, reports in kept.items():
        terminalreporter.stats[kind] = [report for report in reports if report not in denied]
    yield
    terminalreporter.stats.update({kind: reports for kind, reports in kept.items() if reports})
    recorder = config.stash.get(RECORDER, None)
    if _NOT_JUDGED in config.stash:
        terminalreporter.write_line(_not_judged(config))
    if denied or (recorder is not None and recorder.rows):
        _tell(terminalreporter, config, [(report.nodeid, report.measure_cause) for report in denied])


def _not_judged(config: pytest.Config) -> str:
    from measure import terminal

    recorder = config.stash.get(RECORDER, None)
    written = recorder.written if recorder is not None else None
    where = f" Records: {terminal.seen_from(config.invocation_params.dir, written)}" if written else ""
    return config.stash[_NOT_JUDGED] + where


def _tell(reporter: pytest.TerminalReporter, config: pytest.Config, denied: list[tuple[str, str]]) -> None:
    from measure import terminal

    width = reporter._tw.fullwidth

    def write(*texts: str) -> None:
        for text in texts:
            for line in terminal.wrapped(text, width):
                reporter.write_line(line)

    reporter.ensure_newline()
    if denied:
        reporter.section("short test summary info: could not be measured")
        write(*terminal.causes(denied))
    recorder = config.stash.get(RECORDER, None)
    if recorder is None or not recorder.rows:
        return
    # As without pytest-xdist, whose workers' rows come as they end.
    rows = sorted(recorder.rows, key=lambda row: row.order)
    protocol = config.getoption("--protocol") or "paper"
    told, problems = config.stash[_REPORTS], _problems(config, recorder)
    table, problem = terminal.write_table(rows, protocol, recorder.written) if recorder.written else (None, "")
    head, *whole = terminal.lines_of(rows, protocol)
    reporter.section(head)
    for line in terminal.verdicts(rows, width, dict(denied)) if table else whole:
        reporter.write_line(line)
    if table:
        write(*terminal.baselines(rows))
    if told.left_out:
        write(terminal.left_out(told.left_out, config.getoption("--models")))
    write(*told.pairs)
    for line in (*problems, *([problem] if problem else []), *terminal.summarized(rows)):
        reporter.write_line(line)
    if told.failures:
        reporter.write_line(terminal.ending(min(told.failures), rows))
    for called, path in (("records", recorder.written), ("the whole table", table)):
        if path is not None:
            reporter.write_line(f"{called}: {terminal.seen_from(config.invocation_params.dir, path)}")


def _problems(config: pytest.Config, recorder: Recorder) -> list[str]:
    """What of a run could not be kept, a sentence each."""
    told = config.stash[_REPORTS]
    store = config.stash[HARNESS].store.problems[:1] if HARNESS in config.stash else []
    kept = [*told.problems, *store, *([recorder.problem] if recorder.problem else []), *_unwritten()]
    return list(dict.fromkeys(kept))


def _unwritten() -> list[str]:
    """Baselines that could not be written, a sentence each."""
    snapshot = sys.modules.get("measure.snapshot")
    return snapshot.UNWRITTEN if snapshot is not None else []


def __getattr__(name: str) -> Any:
    # Where suites written for an earlier version look for it.
    if name == "Claim":
        from measure.claims import Claim

        return Claim
    raise AttributeError(f"module 'measure.plugin' has no attribute {name!r}")
