"""The page and the figures: how long they take to make, how large the page is, how soon a browser can use it.

Run by `make bench`, on the records of the last run of the suites where there are any, and on 2,000 records written for
the purpose. The browser is Chromium, headless.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from measure.report import page, paper_figures, records
from tests import written_runs as written

RECORDS = records.runs(Path(__file__).parent.parent / records.FOLDER)


def ready(file: Path) -> float:
    """Seconds until the page says that it can be used; none where there is no browser."""
    from tests import chromium

    if chromium.CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    with chromium.launched() as browser:
        tab = browser.new_page()
        begun = time.perf_counter()
        tab.goto(file.as_uri())
        tab.wait_for_selector("html[data-ready]")
        return time.perf_counter() - begun


@pytest.mark.parametrize(("name", "megabytes", "seconds"), [("of the last run", 5, 2), ("of 2,000 records", 15, 4)])
def test_page(name: str, megabytes: float, seconds: float, benchmark: Any, tmp_path: Path) -> None:
    if name == "of the last run" and not RECORDS:
        pytest.skip("no run has left records: make suites")
    source = RECORDS[-1] if name == "of the last run" else written.write(tmp_path / "x.jsonl", written.many())
    begun = time.perf_counter()
    target, _ = page.write([source], tmp_path)
    made = time.perf_counter() - begun
    size, usable = target.stat().st_size / 1e6, ready(target)
    print(f"\npage {name}: made in {made:.1f} s, {size:.1f} MB, usable in {usable:.2f} s")
    benchmark.extra_info.update(made=made, megabytes=size, usable=usable)
    benchmark.pedantic(lambda: None, rounds=1)
    assert (made <= 20, size <= megabytes, usable <= seconds) == (True, True, True)


def test_figures(benchmark: Any, tmp_path: Path) -> None:
    if not RECORDS:
        pytest.skip("no run has left records: make suites")
    run, times = records.read(RECORDS[-1:]), {}
    for name in paper_figures.FIGURES:
        begun = time.perf_counter()
        if paper_figures.save_all(run, tmp_path, ["png"], [name]):
            times[name] = time.perf_counter() - begun
    slowest = max(times, key=lambda name: times[name])
    print(f"\n{len(times)} figures in {sum(times.values()):.1f} s, the slowest {slowest} in {times[slowest]:.2f} s")
    benchmark.extra_info.update(figures=len(times), slowest=times[slowest])
    benchmark.pedantic(lambda: None, rounds=1)
    assert times[slowest] <= 2
