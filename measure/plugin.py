"""The pytest face: options, hooks, fixtures. A repository opts in by one line, `pytest_plugins = ["measure.plugin"]`.

Tests name specs in their parameters. Once pytest has chosen the tests, their specs are gathered and ordered by
model; the first test of a model has all its specs measured in one loading. What needs torch is imported when a spec
has been collected, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

from measure.base.exits import EXIT_CLAIM_FAILED, EXIT_NOT_MEASURED
from measure.harness.carried import carry, listen, unwritten
from measure.harness.collected import drop, fill_catalog, hold_pairs, select, told
from measure.harness.ending import finish, summarize
from measure.harness.items import ORDER, READ, is_of_a_suite, models_of, specs_of, strict_read_of, uses
from measure.harness.options import add_options, check_sample, check_spreading
from measure.harness.stash import NOT_JUDGED, emit, harness_of, is_worker, recorder_of
from measure.spec import READS, AnySpec, MeasureError, NotMeasuredError

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from measure.claims import Claim


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """The hooks that a repository may write; see `measure.harness.hookspec`."""
    from measure.harness import hookspec

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
        hold_pairs(config)
    unwritten().clear()
    listen(config)


def _check_disk(config: pytest.Config) -> None:
    """Raise `UsageError` for a --disk that is no size."""
    if config.getoption("--disk") is not None:
        from measure.harness.spread import disk_budget

        try:
            disk_budget(config)
        except MeasureError as error:
            raise pytest.UsageError(str(error)) from None


def pytest_sessionstart(session: pytest.Session) -> None:
    """Fill the catalog, before suites are collected, which ask it what there is."""
    fill_catalog(session.config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse what cannot be told apart, apply --models, and bring the tests of a model together."""
    select(config, items)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Say which claims are not asked of the models named, or of pairs of one's own, and what these lack."""
    return told(config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Gather the specs of the tests that were chosen."""
    for place, item in enumerate(session.items):
        item.stash[ORDER] = place
        specs = specs_of(item)
        if specs and not item.get_closest_marker("skip"):
            harness_of(session.config).gather(specs, strict_read_of(item))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Begin the records, once tests of suites are really about to run."""
    config = session.config
    if config.option.collectonly or session.testsfailed:
        return
    # The controller of pytest-xdist has no tests of its own; it begins when a worker's report brings a header.
    if any(map(is_of_a_suite, session.items)):
        from measure.harness.outcomes import check_updatable
        from measure.harness.session import header

        try:
            if not is_worker(config):
                check_updatable(session.items)
                recorder_of(config)
            emit(config, header(config, len(session.items), set().union(*map(models_of, session.items))))
            _share(session)
        except MeasureError as error:
            raise pytest.UsageError(str(error)) from None


def _share(session: pytest.Session) -> None:
    """Under --shard, measure what falls to this process; where another one judges, leave the suites' tests to it."""
    config = session.config
    if config.getoption("--shard") is None:
        return
    try:
        why_not = harness_of(config).share()
    except NotMeasuredError as error:
        pytest.exit(str(error), returncode=EXIT_NOT_MEASURED)
    if why_not is not None:
        config.stash[NOT_JUDGED] = why_not
        drop(config, session.items, [item for item in session.items if is_of_a_suite(item)])


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
    from measure.harness.given import results

    return results(request, strict_read)


@pytest.fixture
def claim(request: pytest.FixtureRequest) -> Claim:
    """The claim that this test is about; see `Claim.check` and `Claim.refute`."""
    from measure.harness.given import claim_of

    return claim_of(request)


@pytest.fixture
def baseline(request: pytest.FixtureRequest, snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """The accepted curve of this test: `assert baseline == measured(spec)`."""
    from measure.harness.given import baseline_of

    return baseline_of(request, snapshot)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outermost: sees the outcome after xfail and skip were applied
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """One row of the records for each test of a suite, as it ends; what a failure makes of the run."""
    if not is_of_a_suite(item):
        report = yield
        what: dict[str, object] = {"measure_status": EXIT_CLAIM_FAILED} if report.failed else {}
    else:
        from measure.harness import outcomes

        if call.when == "call":
            item.user_properties += outcomes.properties_of(item)
        report = yield
        status = outcomes.exit_status(item, call) if report.failed else 0
        what = {"measure_status": status} if report.failed else {}
        if report.failed and (cause := outcomes.cause_of(item, call)):
            # Nothing is wrong with the code, so that its trace would tell nothing more.
            report.longrepr = what["measure_cause"] = cause
        if report.when == "call" or (report.when == "setup" and not report.passed):
            emit(item.config, outcomes.row_of(item, report, status))
    carry(item, report, what)
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Tell by the exit status what failed. A refresh that came to its end is over; an interrupted one goes on."""
    finish(session, exitstatus)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outermost: what it writes at its end stands below pytest's own summary
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Generator[None]:
    """The verdicts, a line a claim, where the whole table is, and each cause that kept a thing from being measured."""
    yield from summarize(terminalreporter, config)


def __getattr__(name: str) -> Any:
    # Where suites written for an earlier version look for it.
    if name == "Claim":
        from measure.claims import Claim

        return Claim
    raise AttributeError(f"module 'measure.plugin' has no attribute {name!r}")
