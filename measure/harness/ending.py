"""The end of a run: its exit status, its lines in the history, and what stands below pytest's own summary."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from measure.base.exits import EXIT_CLAIM_FAILED
from measure.harness.carried import REPORTS, problems_of, unwritten
from measure.harness.stash import HARNESS, NOT_JUDGED, RECORDER, is_worker


def finish(session: pytest.Session, exitstatus: int) -> None:
    """Tell by the exit status what failed. A refresh that came to its end is over; an interrupted one goes on."""
    config = session.config
    harness = config.stash.get(HARNESS, None)
    if is_worker(config):
        if harness is not None:
            harness.close()
        return
    failures = config.stash[REPORTS].failures
    ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if exitstatus == pytest.ExitCode.TESTS_FAILED and failures:
        session.exitstatus = min(failures)
    # syrupy, which asks to be first, has written by now.
    elif exitstatus == pytest.ExitCode.OK and unwritten():
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
    from measure.report import history

    rows = sorted(recorder.rows, key=lambda row: row.order)
    problem = history.keep(recorder.written, recorder.header, rows)
    if problem is not None:
        config.stash[REPORTS].problems[problem] = None


def summarize(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Generator[None]:
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
    if NOT_JUDGED in config.stash:
        terminalreporter.write_line(_not_judged(config))
    if denied or (recorder is not None and recorder.rows):
        _tell(terminalreporter, config, [(report.nodeid, report.measure_cause) for report in denied])


def _not_judged(config: pytest.Config) -> str:
    from measure.report import terminal

    recorder = config.stash.get(RECORDER, None)
    written = recorder.written if recorder is not None else None
    where = f" Records: {terminal.seen_from(config.invocation_params.dir, written)}" if written else ""
    return config.stash[NOT_JUDGED] + where


def _tell(reporter: pytest.TerminalReporter, config: pytest.Config, denied: list[tuple[str, str]]) -> None:
    from measure.report import terminal

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
    told, problems = config.stash[REPORTS], problems_of(config, recorder)
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
