"""The page in a real browser, headless Chromium by Playwright; skipped, with the reason, where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from measure.report import page, records
from measure.spec import MeasureError
from tests import written_runs as written
from tests.chromium import AXE, DESK, NEEDED, PHONE, launched
from tests.test_page import hostile_run

pytestmark = NEEDED


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as started:
        yield started


class Watched:
    """A page that is open, and what it said and asked for meanwhile."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": DESK, **options})
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]")
        self.own = file.as_uri()

    def open_all(self) -> None:
        self.page.get_by_role("button", name="Open those shown").click()
        # The second lot opens what the first brought.
        for _ in range(2):
            self.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            self.page.wait_for_timeout(100)
            self.page.wait_for_selector("html:not([data-busy])")

    def case(self, subject: str) -> Any:
        return self.page.locator("details.case").filter(has=self.page.locator("summary .name", has_text=subject))


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Opens the page of some runs; once the test is over nothing may have been said or asked for."""
    opened: list[Watched] = []

    def opener(*runs: list[written.Line], **options: Any) -> Watched:
        paths = [written.write(tmp_path / f"run{place}.jsonl", lines) for place, lines in enumerate(runs)]
        target, _ = page.write(paths, tmp_path)
        opened.append(Watched(browser, target, **options))
        return opened[-1]

    yield opener
    for watched in opened:
        watched.page.wait_for_timeout(50)
        assert watched.complaints == []
        # What is saved is made in the page, and asked of nobody.
        assert {url for url in watched.requests if not url.startswith(("data:", "blob:"))} == {watched.own}
        watched.context.close()


def test_the_answers_stand_on_top(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    line = watched.page.locator("#answers tbody tr").first.inner_text()
    for said in (
        "Sharpness grows with training",
        "supported on 1",
        "+0.800 [+0.700, +0.900]",
        "held on 1 of 1",
        "1 moved",
    ):
        assert said in line
    assert "shuffled weights for the trained" in line
    assert "median curve at alpha = 0.500" in watched.page.locator("#drift").inner_text()


def test_a_case_that_failed_is_open_and_its_curves_are_drawn(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    case = watched.case("rung-a")
    assert case.evaluate("(one) => one.open")
    assert case.locator(".uplot canvas").count() >= 3
    drawn = case.locator(".uplot canvas").first.evaluate(
        "(one) => new Set(one.getContext('2d').getImageData(0, 0, one.width, one.height).data).size"
    )
    assert drawn > 20


def test_of_a_kind_without_a_drawing_the_metrics_are_shown(open_page: Any) -> None:
    lines = written.whole_run()
    for line in lines:
        if line["kind"] == "result" and "curve" in line:
            del line["curve"], line["null"]
            line["type"] = "OwnSpec"
            line["metrics"] = {"own_number": line["metrics"]["max_slope"]}
    watched = open_page(lines)
    card = watched.page.locator("figure.card").first
    card.scroll_into_view_if_needed()
    table = card.get_by_role("table").first
    table.wait_for()
    assert "own number: median" in table.inner_text()
    assert "1.900 [1.850, 1.950]" in table.inner_text()
    case = watched.case("rung-a")
    case.evaluate("(one) => { one.open = true; }")
    case.get_by_text("own number: median").wait_for()
    assert case.locator("details.more", has_text="own number").count() == 0


def test_hovering_reads_the_curves(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    plot = watched.case("rung-a").locator(".plot").first
    chart = watched.case("rung-a").locator(".chart").first
    plot.scroll_into_view_if_needed()
    box = plot.locator(".u-over").bounding_box()
    watched.page.mouse.move(box["x"] + 0.51 * box["width"], box["y"] + 0.5 * box["height"])
    chart.get_by_text("alpha = 0.500").wait_for()
    values = chart.locator("output").all_inner_texts()
    assert values[0] == "0.250 [0.200, 0.300]"


def test_the_keyboard_reads_the_curves(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    plot = watched.case("rung-a").get_by_role("slider").first
    plot.focus()
    for _ in range(2):
        plot.press("ArrowRight")
    assert plot.get_attribute("aria-valuenow") == "0.200"
    assert "step0 0.040, main 0.040" in plot.get_attribute("aria-valuetext")
    plot.press("End")
    assert plot.get_attribute("aria-valuenow") == "1.000"


def test_curves_and_groups_are_toggled(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    case = watched.case("rung-a")
    legend = case.locator(".chart").first
    shuffled = legend.get_by_role("button", name="main, all weights shuffled", exact=True)
    assert shuffled.get_attribute("aria-pressed") == "false"
    case.get_by_label("all weights shuffled", exact=True).check()
    assert shuffled.get_attribute("aria-pressed") == "true"
    null = legend.get_by_role("button", name="main: norm-only null", exact=True)
    assert null.is_hidden()
    case.get_by_label("norm-only null", exact=True).check()
    assert null.is_visible()
    legend.get_by_role("button", name="step0", exact=True).press("Enter")
    assert legend.get_by_role("button", name="step0", exact=True).get_attribute("aria-pressed") == "false"


def test_cases_are_filtered(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    status = watched.page.locator("#shown")
    # What was measured is what there is to see.
    assert status.inner_text() == "3 of 4 cases shown"
    assert watched.case("rung-c").is_hidden()
    watched.page.get_by_label("moved (2)").check()
    assert status.inner_text() == "2 of 4 cases shown"
    assert watched.case("rung-b").is_hidden()
    assert watched.case("rung-a").is_visible()
    watched.page.get_by_label("failed (2)").check()
    assert status.inner_text() == "2 of 4 cases shown"
    watched.page.get_by_label("measured (3)").check()
    assert watched.case("rung-c").is_hidden()
    watched.page.get_by_label("all (4)").check()
    watched.page.get_by_label("olmo").uncheck()
    assert watched.case("rung-a").is_hidden()
    assert watched.case("rung-b").is_visible()
    watched.page.get_by_role("searchbox").fill("rung-c")
    assert status.inner_text() == "1 of 4 cases shown"


def test_cases_are_found_by_verdict_and_by_several_words(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    watched.page.get_by_label("all (4)").check()
    for words, found in (("inconclusive", "1"), ("rung-a training", "1"), ("rung-a slices", "0")):
        watched.page.get_by_role("searchbox").fill(words)
        assert watched.page.locator("#shown").inner_text() == f"{found} of 4 cases shown"


def test_a_link_to_a_case_that_is_filtered_out_shows_it(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    watched.page.get_by_role("searchbox").fill("rung-c")
    watched.page.locator("#answers").get_by_role("link", name="rung-b").click()
    assert watched.case("rung-b").is_visible()
    assert watched.case("rung-b").evaluate("(one) => one.open")


def test_a_slice_tells_its_cells(open_page: Any) -> None:
    lines = written.whole_run()
    watched = open_page(lines)
    case = watched.case("rung-b")
    case.locator("summary").first.click()
    plane = case.get_by_role("application")
    plane.focus()
    case.get_by_text('" the"').wait_for()
    plane.press("ArrowRight")
    plane.press("ArrowUp")
    readout = case.locator("dl.readout").inner_text().split("\n")
    said = dict(zip(readout[::2], readout[1::2], strict=True))
    assert (said["alpha"], said["beta"]) == ("0.250", "0.250")
    assert said["top token"] == '" a"'
    plane_line = next(line for line in lines if line.get("id") == "plane")
    red = int(records.slice_colours(written.typed(plane_line), 0)[1, 1, 0])
    assert said["distance from A"].endswith(f"({1 - red / 255:.2f} of the largest)")
    box = plane.locator("canvas").bounding_box()
    watched.page.mouse.move(box["x"] + 1, box["y"] + 1)
    case.get_by_text("1.250", exact=True).wait_for()
    assert case.locator("dl.readout dd").nth(0).inner_text() == "−0.250"


def test_gates_are_drawn_and_read(open_page: Any) -> None:
    lines = written.whole_run()
    lines.insert(1, written.gates("gates", "rung-a@main"))
    next(line for line in lines if line.get("role") == "claim")["specs"].append("gates")
    watched = open_page(lines)
    plot = watched.case("rung-a").get_by_role("slider", name="Gates that change sign, rung-a")
    plot.focus()
    plot.press("End")
    assert plot.get_attribute("aria-valuenow") == "0.950"
    assert plot.get_attribute("aria-valuetext").endswith("8.400")
    still = watched.case("rung-a").get_by_role("slider", name="Share of pairs below half their mean speed")
    assert still.locator("canvas").count() == 1


def test_a_baseline_tells_of_each_kind_of_number_the_farthest_off(open_page: Any) -> None:
    watched = open_page(written.whole_run())
    table = watched.case("rung-a").get_by_role("table", name="Of each kind of number")
    assert table.count() == 1
    cells = table.locator("tbody tr").first.locator("th, td").all_inner_texts()
    assert cells[:6] == ["median curve at alpha = 0.500", "0.25", "0.26", "+1.0e−2", "2.0e−4", "50"]


def test_baselines_that_are_not_as_accepted_are_shown_as_moved_ones_are(open_page: Any) -> None:
    lines = written.whole_run()
    for state in ("incomplete", "refused"):
        said = written.compared(state, why=[f"it is {state}"])
        lines.insert(-1, written.row("baseline", written.REGIONS, state, "failed", specs=["plane"], baseline=said))
    next(line for line in lines if line.get("role") == "baseline")["baseline"]["notes"] = ["it has fewer digits"]
    watched = open_page(lines)
    assert "baselines incomplete" in watched.page.locator(".tally").inner_text()
    drift = watched.page.locator("#drift").inner_text()
    part = watched.case("rung-b").locator("section", has_text="Against the accepted curves")
    for state in ("incomplete", "refused"):
        assert f"✗ {state}" in drift
        assert f"it is {state}" in drift
        part.locator("pre", has_text=f"it is {state}").wait_for()
    accepted = watched.case("rung-a").locator(
        "details.more", has=watched.page.locator("summary", has_text="as accepted")
    )
    accepted.locator("summary").click()
    accepted.get_by_role("listitem").filter(has_text="it has fewer digits").wait_for()


def test_a_control_that_lacked_data_says_so_and_refutes_nothing(open_page: Any) -> None:
    lines = written.whole_run()
    control = next(line for line in lines if line.get("role") == "control")
    nothing = written.verdict("not measured", written.effect("max slope rises", 0.0, "not measured"))
    control["controls"] = {"nobody": nothing}
    control |= {"outcome": "failed", "reason": "not measured: nobody has no interval"}
    watched = open_page(lines)
    part = watched.case("rung-a").locator("section", has_text="Control")
    assert "– not measured" in part.locator("h3").inner_text()
    assert "nobody has no interval" in part.inner_text()
    assert "refuted (" not in part.inner_text()
    answer = watched.page.locator("#answers tbody tr").first
    assert answer.get_by_text("held on 0 of 1").inner_text().startswith("–")


def test_what_is_no_number_is_none_and_draws_nothing(open_page: Any) -> None:
    lines = written.whole_run()
    lines.insert(1, written.gates("gates", "rung-a@main") | {"flat": None})
    claim = next(line for line in lines if line.get("role") == "claim")
    claim["specs"].append("gates")
    claim["verdict"]["trends"][0]["p"] = None
    watched = open_page(lines)
    case = watched.case("rung-a")
    assert case.get_by_role("slider", name="Share of pairs").count() == 0
    assert case.get_by_role("table", name="Trends").locator("tbody tr").first.inner_text().split("\t")[1] == "none"


def test_hostile_names_stay_text(open_page: Any) -> None:
    watched = open_page(hostile_run())
    watched.open_all()
    watched.page.wait_for_timeout(300)
    assert watched.page.evaluate("window.broken") is None
    assert watched.page.locator("main img, main script, main a[href^=http]").count() == 0
    assert written.HOSTILE in watched.page.locator("#answers").inner_text()
    assert watched.page.locator("dl.readout").last.inner_text().count("onerror") == 1


def test_injected_markup_would_not_run_either(browser: Any, tmp_path: Path) -> None:
    """The policy is a second lock: were markup to slip in, it could neither run nor fetch."""
    path = written.write(tmp_path / "run.jsonl", written.whole_run())
    watched = Watched(browser, page.write([path], tmp_path)[0])
    watched.page.evaluate("(text) => { document.body.insertAdjacentHTML('beforeend', text); }", written.HOSTILE)
    watched.page.evaluate("() => fetch('http://bad.test/').catch(() => null)")
    watched.page.wait_for_timeout(200)
    assert watched.page.evaluate("window.broken") is None
    assert any("Content Security Policy" in said for said in watched.complaints)
    watched.context.close()


def test_two_runs_side_by_side(open_page: Any) -> None:
    watched = open_page(written.whole_run(), written.whole_run(lift=0.02, outcome="inconclusive"))
    section = watched.page.locator("#compared").inner_text()
    for said in ("inconclusive", "Results that moved, 2 of 4", "0.020"):
        assert said in section
    assert (
        watched.case("rung-a").get_by_role("button", name="step0: run before").get_attribute("aria-pressed") == "true"
    )


def test_of_many_layers_a_figures_key_tells_ranges(browser: Any, tmp_path: Path) -> None:
    sample = Path(__file__).parent.parent / "reports" / "pretrained" / "index.html"
    view = page.unpacked(sample.read_text(encoding="utf-8"))
    (claim,) = (claim for claim in view["claims"] if claim["short"] == "layers")
    # As a page made by now has them: in the layers' order.
    claim["cases"][0]["specs"].sort(key=lambda one: int(one[1].removeprefix("layer ")) if one[2] == "claim" else 99)
    (tmp_path / "page.html").write_text(page.html(view, page.Source("x")), encoding="utf-8")
    watched = Watched(browser, tmp_path / "page.html")
    card = watched.page.locator("#figures .keys", has_text="layers 1 to")
    told = card.first.locator("li").all_inner_texts()
    assert told[0].startswith("layers 1 to ")
    assert told[-2].endswith(" to 30")
    assert told[-1] == "median and quartiles"
    assert len(told) == 7 + 1
    watched.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing(open_page: Any, scheme: str, viewport: dict[str, int]) -> None:
    watched = open_page(written.whole_run(), written.whole_run(lift=0.02), color_scheme=scheme, viewport=viewport)
    watched.open_all()
    # Over the protocol, which the page's policy does not hold for.
    watched.page.evaluate(AXE.read_text(encoding="utf-8"))
    found = watched.page.evaluate("() => axe.run({ resultTypes: ['violations'] })")
    said = [
        f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes']][:3]}"
        for one in found["violations"]
    ]
    assert said == []
    assert len(found["passes"]) > 20


def test_nothing_is_wider_than_a_phone(open_page: Any) -> None:
    watched = open_page(written.whole_run(), viewport=PHONE)
    watched.open_all()
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_print_is_dark_on_white(open_page: Any, tmp_path: Path) -> None:
    watched = open_page(written.whole_run(), color_scheme="dark")
    watched.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert watched.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    watched.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert watched.page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert watched.page.pdf()[:4] == b"%PDF"


def test_the_page_of_records_that_cannot_be_read_opens(browser: Any, tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match="cannot be read"):
        page.write([tmp_path / "none.jsonl"], tmp_path)
    watched = Watched(browser, tmp_path / "index.html")
    assert "none.jsonl cannot be read" in watched.page.locator("header").inner_text()
    assert watched.complaints == []
    watched.context.close()


def instead(browser: Any, file: Path, before: str = "") -> str:
    """What a page says that cannot unpack its report, and that it says it to a reader of screens too."""
    opened = browser.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.add_init_script(before)
    opened.goto(file.as_uri())
    said = opened.get_by_role("alert")
    said.wait_for()
    assert complaints == []
    assert opened.locator("main").inner_text() == ""
    text = str(said.inner_text())
    opened.close()
    return text


def test_a_browser_that_cannot_unpack_the_report_says_which_can(browser: Any, tmp_path: Path) -> None:
    target, _ = page.write([written.write(tmp_path / "run.jsonl", written.whole_run())], tmp_path)
    said = instead(browser, target, "delete window.DecompressionStream;")
    assert said.startswith("This browser cannot unpack the report (it has no DecompressionStream); open this page in")
    assert "Chrome or Edge 80, Firefox 113, Safari 16.4, or anything newer" in said


@pytest.mark.parametrize("damage", ["cut", "no base64", "gone"])
def test_a_damaged_report_is_told(browser: Any, tmp_path: Path, damage: str) -> None:
    target, _ = page.write([written.write(tmp_path / "run.jsonl", written.whole_run())], tmp_path)
    text = target.read_text(encoding="utf-8")
    (packed,) = re.findall(r'id="report">([^<]*)<', text)
    damaged = {"cut": packed[:-400], "no base64": f"!{packed}", "gone": ""}[damage]
    target.write_text(text.replace(packed, damaged), encoding="utf-8")
    assert instead(browser, target).endswith("damaged and cannot be unpacked; measure report makes the page again.")


def test_the_page_stays_plain_without_scripts(browser: Any, tmp_path: Path) -> None:
    target, _ = page.write([written.write(tmp_path / "run.jsonl", written.whole_run())], tmp_path)
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(target.as_uri())
    assert "This page draws itself by script; here scripts are switched off." in opened.locator("header").inner_text()
    context.close()


def test_a_run_without_tests_and_one_all_skipped_open(open_page: Any) -> None:
    watched = open_page([written.header()])
    assert "nothing to show yet" in watched.page.locator("header").inner_text()
    skipped = written.row("claim", written.GROWTH, "olmo-1b", "skipped", reason="not measured: needs an accelerator")
    watched = open_page([written.header(), skipped])
    assert "Everything was skipped" in watched.page.locator("header").inner_text()
    assert "not measured" in watched.case("olmo-1b").inner_text()
