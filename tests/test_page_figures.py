"""What the page opens on, what can be saved from it, how it is printed, and how it is linked to; in a browser."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from measure.claims import KINDS
from measure.report import page
from tests import written_runs as written
from tests.test_page_history import line, written_to
from tests.test_page_in_browser import AXE, PHONE, Watched, browser, open_page, pytestmark
from tests.test_page_names import trained_run
from tests.test_page_paper import single_pairs

__all__ = ["browser", "open_page", "pytestmark"]
LAPTOP = {"width": 1280, "height": 800}
# What is left of a sheet within Chrome's own margins, in its pixels.
SHEETS = {"Letter": {"width": 739, "height": 979}, "A4": {"width": 717, "height": 1046}}
SHARP = "sharpness-grows-with-training"
NAMES = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_first_figure_is_seen_without_scrolling(open_page: Any, viewport: dict[str, int]) -> None:
    watched = open_page(trained_run(), viewport=viewport)
    watched.page.wait_for_selector("html:not([data-busy])")
    panel = watched.page.locator(".card .panels svg").first.bounding_box()
    assert panel["y"] + panel["height"] <= viewport["height"]
    order = watched.page.evaluate("[...document.querySelectorAll('main > section')].map((one) => one.id)")
    assert order.index("figures") < order.index("answers")


def titles(card: Any) -> list[str]:
    found: list[str] = card.locator(".panels > div").evaluate_all(
        "(all) => all.map((one) => one.querySelector('text').textContent)"
    )
    return found


def test_a_claims_figure_has_the_trained_model_its_null_and_the_counterfeits(open_page: Any) -> None:
    watched = open_page(trained_run())
    card = watched.page.locator(".card").first
    watched.page.wait_for_selector("html:not([data-busy])")
    assert titles(card) == [
        "trained",
        "norm-only null",
        "later blocks shuffled",
        "all weights shuffled",
        "patched after the last block",
    ]
    panels = card.locator(".panels > div")
    # Of three checkpoints three medians, beside the dotted straight line.
    assert panels.nth(0).locator("path[fill=none]").count() == 4
    assert panels.nth(2).locator("path[fill=none]").count() == 2
    assert card.locator(".keys").inner_text().split() == ["0", "tokens", "262k", "tokens", "4.19M", "tokens"]
    said = card.inner_text()
    for words in ("✓ supported", "+0.800 [+0.700, +0.900]", "margin 0.1, n = 4", "1 of 1 counterfeit refuted"):
        assert words in said


def test_slices_are_the_figure_of_a_claim_on_slices(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    card = watched.page.locator(".card").nth(1)
    card.locator("canvas").first.wait_for()
    watched.page.wait_for_timeout(200)
    colours = card.locator("canvas").first.evaluate(
        "(one) => new Set(one.getContext('2d').getImageData(0, 0, one.width, one.height).data).size"
    )
    assert colours > 5


def test_another_case_is_drawn_where_it_is_chosen(open_page: Any) -> None:
    lines = written.whole_run()
    weak = written.verdict("inconclusive", written.effect("max slope rises", 0.05, "inconclusive"))
    other = written.row("claim", written.GROWTH, "rung-b", "xfailed", verdict=weak, expected="inconclusive")
    lines.insert(-1, other | {"specs": ["first"]})
    watched = open_page(lines)
    card = watched.page.locator(".card").first
    card.get_by_text("+0.800 [+0.700, +0.900]").wait_for()
    card.get_by_role("combobox").select_option("rung-b: inconclusive")
    assert "+0.050 [−0.050, +0.150]" in card.inner_text()
    assert "+0.800" not in card.inner_text()


def test_what_was_not_measured_has_no_figure(open_page: Any) -> None:
    skipped = written.row("claim", written.GROWTH, "olmo-1b", "skipped", reason="not measured: no GPU")
    watched = open_page([written.header(), skipped])
    assert watched.page.locator(".card").count() == 0
    assert watched.page.locator("#show-all").is_checked()
    assert watched.case("olmo-1b").is_visible()


def test_kinds_of_pairs_have_colours_of_their_own_and_the_papers_are_thin(open_page: Any) -> None:
    lines = written.whole_run()
    kinds = ["similar", "dissimilar", "printed_similar", "printed_dissimilar"]
    lines[1:1] = [written.curve(kind, "rung-a@main", pairing=kind) for kind in kinds]
    for one in lines:
        if one.get("role") in ("claim", "control"):
            one["specs"] = kinds
    watched = open_page(lines)
    card = watched.page.locator(".card").first
    watched.page.wait_for_selector("html:not([data-busy])")
    drawn = (
        card.locator(".panels > div")
        .first.locator("path[fill=none]")
        .evaluate_all(
            "(all) => all.slice(1).map((one) => [one.getAttribute('stroke'), one.getAttribute('stroke-width')])"
        )
    )
    assert [width for _, width in drawn] == ["1.8", "1.8", "0.9", "0.9"]
    similar, dissimilar, printed, other = (colour for colour, _ in drawn)
    assert (printed, other) == (similar, dissimilar)
    assert similar != dissimilar


# ---- what can be saved


def saved(watched: Watched, button: Any) -> tuple[str, str]:
    with watched.page.expect_download() as told:
        button.click()
    return told.value.suggested_filename, Path(told.value.path()).read_text(encoding="utf-8")


def test_a_chart_is_saved_as_csv_and_svg(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    case = watched.case("rung-a")
    name, text = saved(watched, case.get_by_role("button", name="Save Curves of rung-a as CSV"))
    assert name == "curves-of-rung-a.csv"
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["curve", "alpha", "q25 of r = d / d(1)", "median of r = d / d(1)", "q75 of r = d / d(1)"]
    assert {row["curve"] for row in rows} >= {"step0", "main", "main, all weights shuffled", "step0: norm-only null"}
    middle = next(row for row in rows if row["curve"] == "step0" and row["alpha"] == "0.5")
    assert middle["median of r = d / d(1)"] == "0.25"
    name, text = saved(watched, case.get_by_role("button", name="Save Curves of rung-a as SVG"))
    root = ElementTree.fromstring(text)
    assert name == "curves-of-rung-a.svg"
    # Two curves are shown, with their bands, beside the straight line.
    assert len(root.findall(f".//{NAMES}path")) == 5


def test_a_figure_and_a_slice_are_saved(open_page: Any) -> None:
    watched = open_page(written.whole_run(), color_scheme="dark")
    curves, slices = watched.page.locator(".card").nth(0), watched.page.locator(".card").nth(1)
    _, text = saved(watched, curves.get_by_role("button", name="as CSV"))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["panel"] for row in rows} == {"trained", "norm-only null", "all weights shuffled"}
    _, text = saved(watched, curves.get_by_role("button", name="as SVG"))
    # On white, whatever the page is shown in.
    assert ElementTree.fromstring(text).find(f"{NAMES}rect").attrib["fill"] == "#ffffff"
    _, text = saved(watched, slices.get_by_role("button", name="as CSV"))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == written.SIZE**2
    assert (rows[0]["alpha"], rows[-1]["beta"], rows[0]["top token"]) == ("-0.25", "1.25", " the")
    _, text = saved(watched, slices.get_by_role("button", name="as SVG"))
    assert ElementTree.fromstring(text).find(f".//{NAMES}image").attrib["href"].startswith("data:image/png")
    watched.case("rung-b").locator("summary").first.click()
    watched.case("rung-b").get_by_role("application").focus()
    _, text = saved(watched, watched.case("rung-b").get_by_role("button", name="Save Slice of rung-b as SVG"))
    assert [one.text for one in ElementTree.fromstring(text).findall(f"{NAMES}text")][-3:] == ["A", "B", "C"]


def test_hostile_names_are_text_in_what_is_saved(open_page: Any) -> None:
    name = '=HYPERLINK("http://bad.test")\x00,\x1b[2J\nnext'
    lines = written.whole_run()
    lines[1] = written.curve("first", f"{name}@main")
    watched = open_page(lines)
    card = watched.page.locator(".card").first
    _, text = saved(watched, card.get_by_role("button", name="as CSV"))
    found = {row["curve"] for row in csv.DictReader(io.StringIO(text, newline=""))}
    assert f"'{name}" in found
    _, text = saved(watched, card.get_by_role("button", name="as SVG"))
    assert ElementTree.fromstring(text).find(f".//{NAMES}script") is None


# ---- prompts


HOSTILE = "‮ <img src=x onerror='window.broken = 1'>\x07\n\ud800 \u200b\"quoted\""


def test_prompts_stand_beside_curves_as_text(open_page: Any) -> None:
    prompts = [[" A cloud of mist", HOSTILE], ["x" * 5000, " b"]]
    watched = open_page(single_pairs(prompts=prompts))
    case = watched.case("rung-a")
    case.get_by_text("Prompts of the 2 single pairs").click()
    cells = case.get_by_role("table", name="Prompts as they were handed").locator("td")
    assert cells.nth(0).inner_text() == '" A cloud of mist"'
    assert cells.nth(1).inner_text() == (
        '"\\u202e <img src=x onerror=\'window.broken = 1\'>\\u0007\\n\\ud800 \\u200b\\"quoted\\""'
    )
    long = cells.nth(2)
    assert len(long.locator("summary").inner_text()) < 310
    assert long.locator("details").evaluate("(one) => one.open") is False
    long.locator("summary").click()
    assert "5000 characters" in long.inner_text()
    assert "x" * 5000 in long.inner_text()
    assert watched.page.evaluate("window.broken") is None
    assert watched.page.locator("main img").count() == 0


def test_where_there_are_single_pairs_alone_they_are_drawn(open_page: Any) -> None:
    lines = single_pairs()
    for one in lines:
        if one.get("role") in ("claim", "control"):
            one["specs"] = ["first"]
    watched = open_page(lines)
    case = watched.case("rung-a")
    case.locator("summary").first.click()
    legend = case.locator(".chart").first
    single = legend.get_by_role("button", name="rung-a: S1: ' mist' to ' dust'", exact=True)
    assert single.get_attribute("aria-pressed") == "true"
    assert legend.get_by_role("button", name="rung-a", exact=True).get_attribute("aria-pressed") == "false"


def test_a_slice_tells_the_prompts_of_its_triple(open_page: Any) -> None:
    lines = written.whole_run()
    plane = next(one for one in lines if one.get("id") == "plane")
    plane["prompts"] = [[" one", " two", " three"], [" four", " five", " six"]]
    watched = open_page(lines)
    case = watched.case("rung-b")
    case.locator("summary").first.click()
    case.get_by_text('" three"').wait_for()
    assert case.get_by_text("Prompts of the").count() == 0
    case.get_by_label("Triple").select_option("2")
    case.get_by_text('" six"').wait_for()
    assert case.get_by_text('" three"').count() == 0


def test_records_without_prompts_show_none(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    watched.open_all()
    assert watched.page.get_by_text("Prompts of the").count() == 0
    assert watched.page.get_by_role("heading", name="Prompts").count() == 0


def test_the_papers_numbers_stand_in_the_figure(open_page: Any) -> None:
    watched = open_page(trained_run())
    watched.page.wait_for_selector("html:not([data-busy])")
    said = watched.page.locator(".card .paper").first.inner_text()
    assert said.startswith("Beside the paper: pairs of prompts 8 (paper: 1,000); values of alpha 11 (paper: 50); ")


# ---- links


def test_a_case_is_linked_to_by_its_name(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    watched.page.goto(f"{watched.own}#solid-regions-emerge-in-slices/rung-b")
    case = watched.case("rung-b")
    case.locator(".uplot, canvas").first.wait_for()
    assert case.evaluate("(one) => one.open")
    link = watched.page.get_by_role("link", name="Link to rung-b")
    assert link.get_attribute("href") == "#solid-regions-emerge-in-slices/rung-b"
    assert link.is_visible()
    link = watched.page.locator("h2").get_by_role("link", name="Link to Sharpness grows with training")
    assert link.get_attribute("href") == f"#{SHARP}"


@pytest.mark.parametrize("place", ["%E0%A4%A", "claim-3-1", "%00", "<img>", "x" * 9999])
def test_a_link_to_what_is_not_here_says_so(open_page: Any, place: str) -> None:
    watched = open_page(written.whole_run())
    watched.page.goto(f"{watched.own}#{place}")
    said = watched.page.locator("#missing")
    said.wait_for()
    assert "This page has nothing that is called" in said.inner_text()
    assert len(said.inner_text()) < 300
    watched.page.goto(f"{watched.own}#{SHARP}")
    assert said.is_hidden()
    watched.requests = [watched.own]


def test_every_claim_has_a_chip_that_leads_to_its_figure(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    chips = watched.page.get_by_role("navigation", name="Claims").get_by_role("link")
    assert [one.split() for one in chips.all_inner_texts()] == [["x", "✓1"], ["x", "≈1"]]
    chips.first.click()
    assert watched.page.url.endswith(f"#{SHARP}~figure")


# ---- what drifted, what earlier runs found


def test_what_drifted_stands_with_the_command_that_accepts_it(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    assert "2 curves drifted or never accepted, 1 as accepted." in watched.page.locator("header").inner_text()
    rows = watched.page.locator("#drift tbody tr").all_inner_texts()
    assert "measure refresh -k 'test_x.py and test_baseline[Sharpness and grows" in rows[0]
    assert "measure review" in watched.page.locator("#drift").inner_text()
    same = [one for one in written.whole_run() if (one.get("baseline") or {}).get("state") not in ("moved", "new")]
    watched = open_page(same)
    assert "Nothing drifted: the one curve compared is as accepted." in watched.page.locator("header").inner_text()
    assert watched.page.locator("#drift").count() == 0


@pytest.fixture
def with_history(browser: Any, tmp_path: Path) -> Iterator[Watched]:
    moved = {"estimate": 0.9, "low": 0.8, "high": 1.0, "code": "def456"}
    lines = [line(1, outcome="inconclusive"), line(2), line(3), line(4, **moved), line(5, **moved)]
    history = written_to(tmp_path / "history.jsonl", *lines, b"{broken")
    run = written.write(tmp_path / "run.jsonl", written.whole_run())
    watched = Watched(browser, page.write([run], tmp_path, earlier=history)[0])
    watched.page.wait_for_selector("html:not([data-busy])")
    yield watched
    assert watched.complaints == []
    watched.context.close()


def test_earlier_runs_stand_in_a_strip_beside_the_claim(with_history: Watched) -> None:
    card = with_history.page.locator(".card").first
    said = card.locator(".history").get_attribute("aria-label")
    assert said == (
        "5 runs since 1 November 2026, 02:00 UTC: inconclusive in 1, supported in 4; last changed on 4 November 2026, "
        "02:00 UTC, from +0.500 supported by code abc123 to +0.900 supported by code def456."
    )
    assert card.locator(".history rect").count() == 5
    assert with_history.page.locator(".card").nth(1).locator(".history").count() == 0
    assert "1 line is no whole line of a history" in with_history.page.locator("header").inner_text()
    _, text = saved(with_history, card.get_by_role("button", name="Save Earlier runs of rung-a as CSV"))
    assert [row["estimate"] for row in csv.DictReader(io.StringIO(text))] == ["0.5", "0.5", "0.5", "0.9", "0.9"]


# ---- paper, phones, everybody


def wordy_run() -> list[written.Line]:
    """A run of long names, as the suites have them."""
    name = "smollm2-135m-instruct-different-last-token"
    lines = written.whole_run(name)
    refuted = {kind: written.verdict("inconclusive", written.effect("x", 0.0)) for kind in KINDS}
    next(one for one in lines if one.get("role") == "control")["controls"] = refuted
    return lines


@pytest.mark.parametrize("sheet", SHEETS)
def test_nothing_is_cut_off_on_paper(open_page: Any, sheet: str) -> None:
    watched = open_page(wordy_run(), wordy_run(), viewport=SHEETS[sheet])
    watched.open_all()
    watched.page.emulate_media(media="print")
    watched.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    wide = watched.page.evaluate(
        "[...document.querySelectorAll('table, figure, svg, canvas, pre')].filter((one) => one.getClientRects().length"
        " && one.getBoundingClientRect().right > window.innerWidth + 1).map((one) => one.outerHTML.slice(0, 200))"
    )
    assert wide == []
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= SHEETS[sheet]["width"]
    # Six columns side by side, no word of theirs broken within.
    row = watched.page.locator("#answers tbody tr").first
    tops = row.locator("th, td").evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().top)")
    assert len(set(tops)) == 1
    assert watched.page.locator("#answers thead").bounding_box()["x"] >= 0
    heights = row.locator(".badge").evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().height)")
    assert max(heights) < 40
    assert watched.page.locator(".card .panels svg").first.is_visible()
    assert watched.page.locator("button.save").first.is_hidden()
    assert watched.page.pdf(format=sheet)[:4] == b"%PDF"


def test_the_verdict_stays_in_sight_on_a_phone(open_page: Any) -> None:
    watched = open_page(written.whole_run(), viewport=PHONE)
    case = watched.case("rung-a")
    case.scroll_into_view_if_needed()
    case.get_by_text("Metrics").first.evaluate("(one) => one.scrollIntoView()")
    badge = case.locator("summary").first.locator(".badge").first
    box = badge.bounding_box()
    assert 0 <= box["y"] < PHONE["height"] / 2
    # No table has to be scrolled sideways to its verdict.
    watched.open_all()
    wide = watched.page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth + 1).length"
    )
    assert wide == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_paper_either(open_page: Any, scheme: str) -> None:
    watched = open_page(trained_run(), color_scheme=scheme)
    watched.open_all()
    watched.page.emulate_media(media="print")
    # By the style sheet alone, before any script hears of it.
    assert watched.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    watched.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    watched.page.evaluate(AXE.read_text(encoding="utf-8"))
    found = watched.page.evaluate("() => axe.run({ resultTypes: ['violations'] })")
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found["violations"]] == []
