"""How long the explorer takes, over real connections: `python -m benchmarks.explorer smollm2-135m-instruct`.

From a key to the chart (median of 50, in a headless Chromium where there is one), a slice, all layers, twenty pages at
once and how evenly they are served, and how much memory 2,000 requests leave behind.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

import measure
from measure.explore import command, computing, server
from measure.explore.served import served
from measure.explore.turns import Turns

# Types a letter into prompt A and resolves, in milliseconds, once the new curve is drawn.
_KEY = """(letter) => new Promise((done) => {
  const area = document.querySelector("textarea"), began = performance.now();
  const drawn = () => { seen.disconnect(); requestAnimationFrame(() => done(performance.now() - began)); };
  const seen = new MutationObserver(drawn);
  seen.observe(document.documentElement, { attributeFilter: ["data-curve"] });
  area.value += letter;
  area.dispatchEvent(new Event("input"));
})"""


def events(port: int, path: str, asked: dict[str, Any]) -> Iterator[tuple[float, dict[str, Any]]]:
    """What comes back, and after how many seconds each."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("POST", f"/bench/{path}", json.dumps({"client": "bench", **asked}))
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    for line in answer:
        event = json.loads(line)
        assert event["type"] != "problem", event
        yield time.perf_counter() - began, event
    connection.close()


def seconds(port: int, path: str, kind: str, asked: dict[str, Any]) -> list[float]:
    """After how many seconds each event of a kind came."""
    return [when for when, event in events(port, path, asked) if event["type"] == kind]


def curve(port: int, a: str, b: str, **more: Any) -> list[float]:
    return seconds(port, "curves", "curve", {"pairs": [[a, b]], "layers": [1], **more})


def resident() -> float:
    """Megabytes that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def keys(url: str) -> list[float]:
    """Seconds from each of fifty keys to the chart; none without a browser."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        return []
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        page = started.chromium.launch(executable_path=chromium).new_page()
        page.goto(url)
        page.locator("html[data-curve]").wait_for(timeout=120_000)
        found = []
        for number in range(50):
            # As somebody types: what comes after the curve has begun by then.
            page.wait_for_timeout(150)
            found.append(page.evaluate(_KEY, " abcdefghi"[number % 10]) / 1000)
    return found


def crowd(port: int, pages: int, each: int) -> tuple[list[float], int]:
    """When each of some pages that ask at once has all its curves, and how many curves one ever was before another."""
    ended: list[float] = []
    done: list[int] = []

    def one(page: int) -> None:
        began = time.perf_counter()
        for number in range(each):
            curve(port, f" Page {page} asked {number} and was", " The house was in", client=f"page{page}")
            done.append(page)
        ended.append(time.perf_counter() - began)

    threads = [threading.Thread(target=one, args=(page,)) for page in range(pages)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == pages, "a page had an error"
    counts, apart = [0] * pages, 0
    for page in done:
        counts[page] += 1
        apart = max(apart, max(counts) - min(counts))
    return ended, apart


class Told:
    """Prints what was found since the last line, with the processor time that it took: that of the clients included."""

    def __init__(self) -> None:
        self.before = time.process_time()

    def __call__(self, text: str, per: int = 1) -> None:
        spent = (time.process_time() - self.before) / per
        print(f"{text}; processor time {spent:.2f} s{' each' if per > 1 else ''}", flush=True)
        self.before = time.process_time()


def begun(model: Any, turns: Turns) -> int:
    """The port of a server of one model."""
    turns.start()
    bound = command.opened(0)
    config = uvicorn.Config(server.application([model], "bench", turns), log_level="error", lifespan="off", ws="none")
    threading.Thread(target=uvicorn.Server(config).run, kwargs={"sockets": [bound]}, daemon=True).start()
    return int(bound.getsockname()[1])


def singles(model: Any, port: int, tell: Told) -> None:
    """One curve at a time, and a slice."""
    pairs = measure.pairs("printed")
    (first,) = curve(port, pairs.a[0], pairs.b[0])
    tell(f"the first curve, its layer checked: {first:.2f} s")
    ones = [curve(port, f" The {number} houses were", " The house was in")[0] for number in range(50)]
    tell(f"a curve: median {statistics.median(ones):.3f} s, at most {max(ones):.3f} s", 50)
    # After a page has been open for a while its layer is checked for slices too.
    next(iter(computing.warmed(model)))
    tell("layer 1 checked as in the background")
    rows = seconds(port, "plane", "rows", {"a": pairs.a[2], "b": pairs.b[2], "c": pairs.a[3], "size": 32})
    tell(f"slice of 32 x 32: first rows {rows[0]:.2f} s, all {rows[-1]:.1f} s")


def many(port: int, tell: Told) -> None:
    """Twenty pages at once, and what 2,000 requests leave behind."""
    ended, apart = crowd(port, 20, 5)
    told = f"first done {min(ended):.1f} s, last {max(ended):.1f} s, never more than {apart} curves apart"
    tell(f"20 pages, 5 curves each: no error, {told}", 100)
    for number in range(700):
        curve(port, f" Number {number} was", " The house was in", steps=5)
    before = resident()
    for number in range(2000):
        curve(port, f" Now number {number} was", " The house was in", steps=5)
    tell(f"2,000 requests more: {before:.0f} MB before, {resident():.0f} MB after", 2700)


def main(name: str) -> None:
    """Print a line for each number."""
    model, turns = served(name, precision="float32", allow_pickle=False), Turns()
    print(f"{name}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    port, tell, pairs = begun(model, turns), Told(), measure.pairs("printed")
    singles(model, port, tell)
    began = time.perf_counter()
    for _ in computing.warmed(model):
        pass
    tell(f"every layer checked in {time.perf_counter() - began:.1f} s")
    every = curve(port, pairs.a[1], pairs.b[1], layers=list(range(1, model.loaded.depth + 1)))
    tell(f"all {len(every)} layers: first {every[0]:.2f} s, all {every[-1]:.1f} s")
    # After what this thread measures itself: the browser may leave a question behind, and a model runs one at a time.
    if drawn := keys(f"http://127.0.0.1:{port}/bench/"):
        tell(f"from key to chart: median {statistics.median(drawn):.3f} s, at most {max(drawn):.3f} s", len(drawn))
    many(port, tell)
    turns.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "smollm2-135m-instruct")
