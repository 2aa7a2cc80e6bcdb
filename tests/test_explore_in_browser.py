"""The explorer in a real browser, headless Chromium by Playwright, from typing to export; skipped without one."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import measure
from measure.explore import addresses
from measure.explore.served import Served, served
from tests.chromium import AXE, DESK, NEEDED, PHONE, launched
from tests.explorers import Running, Started

pytestmark = NEEDED
MODELS = "ladder-olmo-0.2m", "ladder-qwen2-0.2m"
HOSTILE = ' <img src=x onerror="window.broken = 1"><script>window.broken = 1</script>'


@pytest.fixture(scope="module")
def models() -> list[Served]:
    return [served(name, precision="float32", allow_pickle=False) for name in MODELS]


@pytest.fixture(scope="module")
def running(models: list[Served]) -> Iterator[Running]:
    found = Running(models, "first")
    yield found
    found.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as started:
        yield started


class Opened:
    """A page that is open, and what it said and asked for meanwhile."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": DESK, **options})
        self.context.set_default_timeout(120_000)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.url = url
        self.page = self.tab(url)

    def tab(self, url: str) -> Any:
        page = self.context.new_page()
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(url)
        page.wait_for_selector("html[data-ready]")
        return page

    def measured(self, said: str = "After block") -> None:
        # Nothing that the page would have to evaluate: its policy forbids that.
        self.page.locator("#said:not(.old)").filter(has_text=said).wait_for()

    def write(self, a: str, b: str) -> None:
        for name, text in (("A", a), ("B", b)):
            self.page.get_by_role("textbox", name=name, exact=True).fill(text)

    def saved(self, name: str) -> str:
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name=name, exact=True).click()
        return Path(download.value.path()).read_text()


@pytest.fixture
def open_page(browser: Any, running: Running) -> Iterator[Any]:
    """Opens the page; once the test is over nothing may have been complained of, nor asked of anybody else."""
    opened: list[Opened] = []

    def opener(rest: str = "", **options: Any) -> Opened:
        opened.append(Opened(browser, running.url + rest, **options))
        return opened[-1]

    yield opener
    for one in opened:
        assert one.complaints == []
        assert [url for url in one.requests if not url.startswith((running.url, "data:", "blob:"))] == []
        one.context.close()


def test_from_typing_to_export(open_page: Any, tmp_path: Path) -> None:
    opened = open_page()
    page = opened.page
    opened.write(" The house was very", " The house was in")
    opened.measured()
    chips = page.get_by_role("list", name="Tokens of A").get_by_role("listitem").all_inner_texts()
    assert chips[0].startswith("␣")
    assert chips[-1].endswith(", patched")
    # The numbers of the file are those of Python, to the last digit.
    table = opened.saved("Save Relative distance as CSV").splitlines()
    expected: Any = measure.interpolate(MODELS[0], " The house was very", " The house was in")
    assert [float(row.split(",")[1]) for row in table[1:]] == expected.relative[0].tolist()
    assert "<path" in opened.saved("Save Relative distance as SVG")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save Relative distance as PNG").click()
    assert Path(download.value.path()).read_bytes()[:4] == b"\x89PNG"
    page.get_by_role("list", name="Most probable next token").wait_for()
    page.get_by_role("button", name="Add this pair").click()
    page.get_by_role("textbox", name="Label of pair 1").fill("mine")
    page.get_by_role("checkbox", name="Draw mine over the curve").check()
    opened.write(" He took the", " She went to")
    page.keyboard.press("Control+Enter")
    page.locator(".legend").first.get_by_text("mine").wait_for()
    assert opened.saved("Export pairs as CSV").splitlines()[1] == 'mine," The house was very"," The house was in"'
    assert json.loads(opened.saved("Export pairs as JSONL").splitlines()[1])["b"] == " She went to"
    suite = opened.saved("Make a suite of these pairs")
    assert "(' The house was very', ' The house was in', 'mine')," in suite
    compile(suite, "suite", "exec")
    records = opened.saved("Plateau Lab JSONL: measure every block of each pair, export records")
    record = json.loads(records.splitlines()[0])
    assert record["schema_version"] == 7
    file = tmp_path / "more.csv"
    file.write_text("a,b,label\n one, two,third\n one, one\n")
    page.locator("input[type=file]").set_input_files(file)
    page.locator("#pairs").get_by_text("row 2: b is").or_(
        page.locator("#pairs").get_by_text("2 pairs brought in")
    ).wait_for()


def test_layers_slice_and_random_pairs(open_page: Any) -> None:
    opened = open_page()
    page = opened.page
    opened.measured()
    page.get_by_role("button", name="Measure all layers").click()
    page.locator("#layers").get_by_text("4 layers in").wait_for()
    heat = page.get_by_role("application", name="All layers")
    heat.focus()
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        heat.press(key)
    opened.measured("After block 3")
    page.get_by_role("combobox", name="Cells").select_option("16")
    page.get_by_role("button", name="Measure the slice").click()
    page.locator("#slice").get_by_text("16 × 16 cells in").wait_for()
    plane = page.get_by_role("application", name="Slice")
    plane.focus()
    plane.press("ArrowRight")
    assert page.locator("#slice dd").first.inner_text() == "−0.150"
    page.get_by_role("button", name="Measure 200 random pairs").click()
    page.locator("#standing").get_by_text("random pairs have less").wait_for()
    page.locator("#curve").get_by_role("columnheader", name="rank").wait_for()


def test_the_keyboard_reads_the_curve(open_page: Any) -> None:
    opened = open_page()
    opened.measured()
    chart = opened.page.get_by_role("slider", name="Relative distance: alpha")
    chart.focus()
    chart.press("End")
    assert chart.get_attribute("aria-valuetext").startswith("alpha 1.000: A to B 1.000")
    chart.press("ArrowLeft")
    assert chart.get_attribute("aria-valuetext").startswith("alpha 0.980")
    layer = opened.page.get_by_role("slider", name="Patched after")
    layer.focus()
    layer.press("ArrowRight")
    opened.measured("After block 2")


def test_another_model_is_a_tab_away(open_page: Any) -> None:
    opened = open_page()
    opened.measured()
    opened.page.get_by_role("tab", name=MODELS[0]).focus()
    opened.page.keyboard.press("ArrowRight")
    assert opened.page.get_by_role("tab", name=MODELS[1]).get_attribute("aria-selected") == "true"
    opened.page.locator("#facts").get_by_text("3 blocks").or_(
        opened.page.locator("#facts").get_by_text("blocks")
    ).wait_for()


def test_hostile_prompts_and_links_stay_text(open_page: Any) -> None:
    opened = open_page()
    page = opened.page
    opened.write(HOSTILE, " it")
    opened.measured()
    page.get_by_role("button", name="Add this pair").click()
    page.wait_for_timeout(300)
    assert page.evaluate("window.broken") is None
    assert page.locator("main img, main script").count() == 0
    assert "onerror" in page.locator("#pairs tbody").inner_text()


def test_what_has_no_curve_is_told(open_page: Any) -> None:
    opened = open_page()
    for a, b, said in (
        ("", " it", "Prompt A is empty: write at least one token."),
        (" it", " it", "A and B are one prompt: nothing moves between them, so there is no curve."),
        (" it", " the" * 600, "prompt B has 600 tokens; the page takes 512."),
    ):
        opened.write(a, b)
        opened.measured(said)


def test_a_link_that_cannot_be_read_is_told(open_page: Any, running: Running) -> None:
    opened = open_page()
    for rest in ("#1.AAAA", "#9.abc", "#%00", "#1.{}"):
        opened.page.goto("about:blank")
        opened.page.goto(running.url + rest)
        opened.page.wait_for_selector("html[data-ready]")
        assert "The link holds nothing that can be read" in opened.page.get_by_role("alert").inner_text()
    opened.measured()


def test_a_link_of_another_model_is_told_and_shown(open_page: Any, models: list[Served], browser: Any) -> None:
    other = Running([models[1]], "other")
    try:
        opened = open_page("#9.x")
        page = opened.page
        opened.write(" This was", " This is")
        page.wait_for_timeout(500)
        fragment = page.evaluate("location.hash")
        there = Opened(browser, other.url + fragment)
        assert f"The link is of {MODELS[0]}, which is not open here" in there.page.get_by_role("alert").inner_text()
        assert there.page.get_by_role("textbox", name="A", exact=True).input_value() == " This was"
        there.context.close()
    finally:
        other.end()


def test_at_another_address_nothing_is_lost(browser: Any, models: list[Served]) -> None:
    first = Running(models, "first")
    opened = Opened(browser, first.url)
    opened.write(" The dog was", " The dog is")
    opened.measured()
    opened.page.get_by_role("button", name="Add this pair").click()
    opened.page.get_by_role("textbox", name="Label of pair 1").fill("kept")
    opened.page.wait_for_timeout(500)
    first.end()
    opened.write(" The dog was", " The dog has")
    opened.measured("The server does not answer. What this page holds is kept")
    second = Running(models, "second", first.port)
    try:
        opened.page.get_by_role("textbox", name="B", exact=True).fill(" The dog had")
        opened.measured("Open the one that `measure explore` printed")
        again = opened.tab(second.url)
        assert again.get_by_role("textbox", name="B", exact=True).input_value() == " The dog had"
        assert again.get_by_role("textbox", name="Label of pair 1").input_value() == "kept"
    finally:
        second.end()
        opened.context.close()


def test_a_page_goes_on_after_its_server_was_killed_and_started_again(
    browser: Any, models: list[Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    killed = Started(tmp_path, MODELS[0], "--port", str(port := _free()))
    opened = Opened(browser, killed.url)
    again: list[Running] = []
    try:
        opened.page.get_by_role("button", name="Add this pair").click()
        opened.page.get_by_role("button", name="Measure all layers").click()
        opened.page.locator("#layers").get_by_text("4 layers in").wait_for()
        killed.kill()
        opened.write(" The dog was", " The dog has")
        opened.measured("The server does not answer. What this page holds is kept: start measure explore again")
        again.append(Running([models[0]], addresses.token(port), port))
        # Nobody has touched the page since.
        opened.measured("After block 1")
        assert again[0].url == killed.url
        chips = opened.page.get_by_role("list", name="Tokens of A").get_by_role("listitem")
        assert chips.first.inner_text().startswith("␣The")
        assert opened.page.get_by_role("textbox", name="Label of pair 1").is_visible()
        again[0].end()
        # With other models numbers would mean others: the page is loaded again, and says so.
        again.append(Running([models[1]], addresses.token(port), port))
        opened.page.get_by_role("textbox", name="B", exact=True).fill(" The dog had")
        opened.page.get_by_role("alert").get_by_text(f"The link is of {MODELS[0]}, which is not open here").wait_for()
        assert opened.page.get_by_role("textbox", name="B", exact=True).input_value() == " The dog had"
        assert opened.page.get_by_role("textbox", name="Label of pair 1").is_visible()
        opened.measured("After block 1")
    finally:
        killed.kill()
        for one in again:
            one.end()
        opened.context.close()


def _free() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.parametrize(("scheme", "viewport"), [("light", DESK), ("dark", PHONE)], ids=["light desk", "dark phone"])
def test_axe_finds_nothing(open_page: Any, scheme: str, viewport: dict[str, int]) -> None:
    opened = open_page(color_scheme=scheme, viewport=viewport)
    page = opened.page
    opened.measured()
    page.get_by_role("button", name="Add this pair").click()
    page.get_by_role("button", name="Measure all layers").click()
    page.get_by_role("combobox", name="Cells").select_option("16")
    page.get_by_role("button", name="Measure the slice").click()
    page.get_by_role("button", name="Measure 200 random pairs").click()
    page.locator("#layers").get_by_text("4 layers in").wait_for()
    page.locator("#slice").get_by_text("16 × 16 cells in").wait_for()
    page.locator("#standing").get_by_text("random pairs have less").wait_for()
    # Over the protocol, which the page's policy does not hold for.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run({ resultTypes: ['violations'] })")
    said = [
        f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes']][:3]}"
        for one in found["violations"]
    ]
    assert said == []
    assert len(found["passes"]) > 20
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
