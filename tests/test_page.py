from __future__ import annotations

import base64
import hashlib
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from measure import cli
from measure.report import page, records
from measure.report import table as report
from measure.spec import MeasureError
from tests import small_results as small
from tests import written_runs as written


def shown(tmp_path: Path, *runs: list[written.Line], merge: bool = False, tail: str = "") -> tuple[str, dict[str, Any]]:
    """The page of these runs, as text and as the view that it holds."""
    paths = [written.write(tmp_path / f"run{place}.jsonl", lines, tail) for place, lines in enumerate(runs)]
    target, _ = page.write(paths, tmp_path / "out", merge=merge)
    text = target.read_text(encoding="utf-8")
    return text, page.unpacked(text)


class Elements(HTMLParser):
    """What a browser would make of a page: its elements, its scripts, and what they fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.open: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag in self.inside:
            self.open = tag
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = None

    def handle_data(self, data: str) -> None:
        if self.open:
            self.inside[self.open][-1] += data


def case(view: dict[str, Any], subject: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for claim in view["claims"] for c in claim["cases"] if c["subject"] == subject)
    return found


def test_the_top_says_what_was_run_and_what_came_out(tmp_path: Path) -> None:
    _, view = shown(tmp_path, written.whole_run())
    facts = dict(view["facts"])
    assert facts["measured"] == "rung-a, rung-b"
    assert facts["started"] == "2 January 2026, 03:04 UTC"
    assert facts["asked for"] == "suites/ -k rung"
    assert facts["versions"] == "torch 2.9.0, python 3.11.7"
    assert facts["machine"] == "system Linux, cores 2"
    assert facts["computed on"] == "device cpu, dtype float32, path fast"
    assert facts["tests"] == "3 passed, 2 failed, 1 negative as accepted, 1 skipped, in 12 s"
    tally = {entry["word"]: entry["count"] for entry in view["tally"]}
    assert tally == {
        "supported": 1, "contradicted": 0, "inconclusive": 1, "not measured": 1, "tests failed": 2,
        "baselines as accepted": 1, "baselines moved": 1,
    }  # fmt: skip
    assert view["problems"] == []


def test_a_claim_is_answered_in_one_line(tmp_path: Path) -> None:
    _, view = shown(tmp_path, written.whole_run())
    growth = view["claims"][0]
    assert growth["title"] == written.GROWTH
    assert growth["verdicts"] == [{"word": "supported", "count": 1, "unexpected": 0}]
    assert growth["least"]["effect"]["estimate"] == 0.8
    assert growth["n"] == [4, 4]
    assert (growth["held"], growth["controls"], growth["broken"]) == (1, 1, [])
    assert growth["counterfeits"] == ["shuffled weights for the trained"]
    assert growth["drift"] == [["as accepted", 1], ["moved", 1], ["new", 1]]


def test_the_least_effect_is_the_one_nearest_its_margin(tmp_path: Path) -> None:
    lines = written.whole_run()
    weak = written.verdict("supported", written.effect("max slope rises, first to last", 0.3))
    lines.insert(-1, written.row("claim", written.GROWTH, "rung-b", verdict=weak, expected="supported"))
    _, view = shown(tmp_path, lines)
    assert view["claims"][0]["least"]["subject"] == "rung-b"


def test_a_control_that_a_counterfeit_passes_is_broken(tmp_path: Path) -> None:
    lines = written.whole_run()
    control = next(line for line in lines if line.get("role") == "control")
    control["controls"]["planted"] = written.verdict("supported", written.effect("max slope rises", 0.9))
    _, view = shown(tmp_path, lines)
    assert view["claims"][0]["broken"] == ["rung-a"]
    assert case(view, "rung-a")["control"]["state"] == "broken"


def test_a_case_has_its_curves_named_by_what_differs(tmp_path: Path) -> None:
    _, view = shown(tmp_path, written.whole_run())
    found = case(view, "rung-a")
    assert found["specs"] == [
        ["first", "step0", "claim", "trained", "step0", "step0"],
        ["last", "main", "claim", "trained", "main", "main"],
        ["shuffled", "main, all weights shuffled", "control", "all weights shuffled", "main", "main"],
    ]
    assert found["families"] == ["olmo"]
    assert view["results"]["last"]["curve"]["median"][5] == 0.25


def test_baselines_stand_with_the_case_that_uses_their_curve(tmp_path: Path) -> None:
    _, view = shown(tmp_path, written.whole_run())
    first, last = case(view, "rung-a")["baselines"]
    assert first["curve"]["residual"]["median"] == [0] * written.STEPS
    assert last["curve"]["residual"]["median"] == [10000] * written.STEPS
    assert last["curve"]["tolerance"] == 2e-4
    assert last["changed"] == [["torch", "2.8.0", "2.9.0"]]
    assert case(view, "rung-a")["moved"]
    assert case(view, "rung-a")["failed"]
    loose = case(view, "baselines and tests of their own")
    assert [line["state"] for line in loose["baselines"]] == ["new"]
    assert not case(view, "rung-b")["moved"]


def test_slices_are_packed_without_loss(tmp_path: Path) -> None:
    lines = written.whole_run()
    _, view = shown(tmp_path, lines)
    packed = view["results"]["plane"]["slices"]
    content = zlib.decompress(base64.b64decode(packed["packed"]))
    cells = 2 * written.SIZE**2
    rgb = np.frombuffer(content[: 3 * cells], np.uint8).reshape(2, written.SIZE, written.SIZE, 3)
    plane = next(line for line in lines if line.get("id") == "plane")
    assert (rgb[1] == records.slice_colours(written.typed(plane), 1)).all()
    places = np.frombuffer(content[3 * cells :], "<u2")
    assert [packed["tokens"][place] for place in places[:3]] == [" the", " a", " the"]


def hostile_run() -> list[written.Line]:
    """A run in which everything that comes from outside is markup."""
    lines = written.whole_run(written.HOSTILE, token=written.HOSTILE)
    lines[0]["arguments"] = ["--models", written.HOSTILE]
    for line in lines:
        if line.get("role") == "claim":
            line["reason"] = f"{written.HOSTILE} <!-- <script>"
            line.get("verdict", {}).setdefault("notes", []).append(f"{written.HOSTILE} \u2028 \ud800")
    lines.insert(-1, written.row("claim", f"{written.HOSTILE} (Fig. 0)", written.HOSTILE))
    return lines


def test_what_comes_from_outside_never_becomes_markup(tmp_path: Path) -> None:
    plain, _ = shown(tmp_path, written.whole_run())
    text, view = shown(tmp_path, hostile_run())
    assert case(view, written.HOSTILE)["subject"] == written.HOSTILE
    assert written.HOSTILE in view["results"]["plane"]["slices"]["tokens"]
    assert [tag for tag, _ in Elements(text).tags] == [tag for tag, _ in Elements(plain).tags]
    assert re.fullmatch(r"[A-Za-z0-9+/]+=*", Elements(text).inside["script"][0])


def test_a_template_mark_in_a_name_is_not_filled_in(tmp_path: Path) -> None:
    _, view = shown(tmp_path, written.whole_run("@script@"))
    assert case(view, "@script@")["subject"] == "@script@"


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    text, _ = shown(tmp_path, hostile_run())
    elements = Elements(text)
    for tag, attributes in elements.tags:
        for name in ("src", "srcset", "data", "action", "poster", "ping"):
            assert name not in attributes, f"<{tag} {name}>"
        assert attributes.get("href", "#").startswith(("#", "data:,"))
        assert not [name for name in attributes if name.startswith("on")]
    for style in elements.inside["style"]:
        assert "@import" not in style
        assert not re.search(r"url\(", style)
    for call in ("fetch(", "XMLHttpRequest", "WebSocket", "importScripts", "sendBeacon", "eval(", "innerHTML"):
        assert call not in elements.inside["script"][2]


def test_the_policy_allows_the_page_its_own_script_and_style_alone(tmp_path: Path) -> None:
    text, _ = shown(tmp_path, written.whole_run())
    elements = Elements(text)
    policy = next(
        a["content"] for tag, a in elements.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    for part in (*elements.inside["script"][1:], *elements.inside["style"]):
        assert base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() in policy


def test_the_drawing_library_comes_with_its_licence(tmp_path: Path) -> None:
    text, _ = shown(tmp_path, written.whole_run())
    assert "The MIT License (MIT)" in text
    assert "Leon Sorokin" in text


def test_two_runs_are_compared(tmp_path: Path) -> None:
    before = written.whole_run()
    after = written.whole_run(lift=0.02, outcome="inconclusive")
    after[0] = written.header(versions={"torch": "2.10.0", "python": "3.11.7"})
    _, view = shown(tmp_path, before, after)
    found = view["compared"]
    assert found["facts"] == [["versions: torch", "2.9.0", "2.10.0"]]
    assert found["curves"] == [["first", 0.02], ["last", 0.01]]
    assert found["common"] == 4
    assert [line[1:2] + line[3:] for line in found["verdicts"]] == [["rung-a", "supported", "inconclusive"]]
    assert case(view, "rung-a")["before"]["effects"][0]["estimate"] == 0.8
    assert view["results"]["first"]["before"]["median"][5] == 0.25
    assert "before" not in view["results"]["shuffled"]


def test_a_run_compared_with_itself_has_not_moved(tmp_path: Path) -> None:
    _, view = shown(tmp_path, written.whole_run(), written.whole_run())
    assert view["compared"] == {"facts": [], "verdicts": [], "gone": [], "curves": [], "common": 4}
    assert not case(view, "rung-b")["moved"]


def test_cases_that_a_run_no_longer_has_are_named(tmp_path: Path) -> None:
    before = written.whole_run()
    after = [line for line in before if line.get("claim") != written.REGIONS]
    _, view = shown(tmp_path, before, after)
    assert view["compared"]["gone"] == [f"rung-b: {written.REGIONS}", f"rung-c: {written.REGIONS}"]


def test_runs_are_merged_where_that_is_asked(tmp_path: Path) -> None:
    other = [written.header(), written.curve("other", "rung-b@main"), {"kind": "end", "exitstatus": 0, "seconds": 1.0}]
    _, view = shown(tmp_path, written.whole_run(), other, merge=True)
    assert {"first", "other"} <= view["results"].keys()
    assert view["compared"] is None


def test_of_two_protocols_merged_each_has_its_table(tmp_path: Path) -> None:
    strict = [line | {"protocol": "strict"} for line in written.whole_run(outcome="inconclusive")]
    for line in strict:
        if line.get("claim") == written.GROWTH:
            line |= {"subject": "rung-a-residual", "read": "residual"}
    shown(tmp_path, written.whole_run(), strict, merge=True)
    table = (tmp_path / "out" / "claims.txt").read_text()
    paper, strict_table = table.split("claims (protocol strict")
    assert "by what is read" not in paper
    assert re.search(r"^  rung-a +inconclusive$", strict_table, re.MULTILINE)


def test_of_two_protocols_merged_neither_hides_the_other(tmp_path: Path) -> None:
    strict = [line | {"protocol": "strict"} for line in written.whole_run(outcome="inconclusive")]
    _, view = shown(tmp_path, written.whole_run(), strict, merge=True)
    assert case(view, "rung-a (paper)")["state"] == "supported"
    assert case(view, "rung-a (strict)")["state"] == "inconclusive"


def test_more_than_two_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match="3 runs given.*--merge"):
        page.write([tmp_path / "a", tmp_path / "b", tmp_path / "c"], tmp_path)


def test_a_half_written_last_line_costs_that_line_alone(tmp_path: Path) -> None:
    lines = written.whole_run()[:-1]
    _, view = shown(tmp_path, lines, tail='{"kind":"claim","tes')
    assert len(view["problems"]) == 2
    assert "no whole record" in view["problems"][0]
    assert "stopped" in view["problems"][1]
    assert case(view, "rung-a")["state"] == "supported"


def test_a_run_in_which_everything_was_skipped_says_why(tmp_path: Path) -> None:
    skipped = [
        written.row("claim", written.GROWTH, name, "skipped", reason="not measured: needs an accelerator")
        for name in ("olmo-1b", "olmo-7b")
    ]
    _, view = shown(tmp_path, [written.header(), *skipped, {"kind": "end", "exitstatus": 0, "seconds": 0.1}])
    assert "Everything was skipped" in view["problems"][0]
    assert "needs an accelerator" in view["problems"][0]
    assert dict(view["facts"])["measured"] == "nothing"
    assert case(view, "olmo-7b")["state"] == "not measured"


def test_a_run_of_which_nothing_has_ended_yet_says_so(tmp_path: Path) -> None:
    _, view = shown(tmp_path, [written.header()])
    assert any("No test had ended" in problem for problem in view["problems"])
    assert view["claims"] == []


def test_a_baseline_without_its_accepted_curve_is_shown_without(tmp_path: Path) -> None:
    lines = written.whole_run()
    note = next(line["baseline"] for line in lines if line.get("baseline", {}) and line["baseline"]["state"] == "moved")
    note["accepted"] = None
    _, view = shown(tmp_path, lines)
    assert case(view, "rung-a")["baselines"][1]["curve"] is None


def test_curves_of_degenerate_pairs_have_no_points(tmp_path: Path) -> None:
    lines = written.whole_run()
    for quartile in written.QUARTILES:
        lines[1]["curve"][quartile] = [None] * written.STEPS
    lines[1]["metrics"]["max_slope"] = {**dict.fromkeys(("q25", "median", "q75", "low", "high")), "n": 0}
    _, view = shown(tmp_path, lines, written.whole_run())
    assert view["compared"]["curves"][0][0] == "first"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no records"),
        ('{"test": "x", "kind": "claim", "outcome": "passed"}\n', "format"),
        ('{"kind": "run", "format": 1}\n', "format 1"),
        ('{"kind": "run", "format": 2}\n', "format 2"),
        (
            '{"kind": "run", "format": 3}\n{"kind": "result", "id": "x", "type": "X", "spec": {}, "how": "stored"}\n',
            "not as this version writes them",
        ),
    ],
)
def test_records_that_cannot_be_shown_are_one_message_and_a_page_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(content)
    assert cli.main(["report", str(path), "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert str(path) in error
    assert "index.html says so too" in error
    view = page.unpacked((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert said in view["problems"][0]
    assert view["claims"] == []
    assert said in (tmp_path / "claims.txt").read_text()


def test_an_earlier_run_that_cannot_be_read_costs_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written.write(tmp_path / "records.jsonl", written.whole_run())
    command = ["report", str(path), "--out", str(tmp_path)]
    assert cli.main(command) == 0
    before = (tmp_path / "index.html").read_bytes()
    assert cli.main(["report", str(tmp_path / "none"), *command[1:]]) == 2
    assert "none cannot be read" in capsys.readouterr().err
    assert (tmp_path / "index.html").read_bytes() == before
    assert cli.main(["report", str(tmp_path / "none"), "--out", str(path)]) == 2
    error = capsys.readouterr().err
    assert "none cannot be read" in error
    assert "cannot be written" in error


def test_the_command_tells_what_the_page_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = written.write(tmp_path / "cut.jsonl", written.whole_run()[:-1], '{"kind":"cl')
    whole = written.write(tmp_path / "whole.jsonl", written.whole_run(lift=0.02))
    assert cli.main(["report", str(whole), str(cut), "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "cut.jsonl: 1 line is no whole record" in out
    assert "0 verdicts or controls changed, 2 of 4 results moved" in out
    assert "1 line is no whole record" in (tmp_path / "claims.txt").read_text()


def test_what_no_run_measured_is_no_change(tmp_path: Path) -> None:
    before = [line for line in written.whole_run() if line.get("subject") != "rung-c"]
    _, view = shown(tmp_path, before, written.whole_run())
    assert view["compared"]["verdicts"] == []


def test_constants_that_are_no_json_are_no_numbers(tmp_path: Path) -> None:
    lines = written.whole_run()
    lines[1]["metrics"]["max_slope"]["median"] = float("nan")
    _, view = shown(tmp_path, lines)
    assert view["results"]["first"]["metrics"]["max_slope"]["median"] is None


def test_the_effect_that_decides_stands_with_the_verdict(tmp_path: Path) -> None:
    lines = written.whole_run()
    effects = [written.effect("large", 0.9), written.effect("small", 0.05, "inconclusive")]
    verdict = written.verdict("inconclusive", *effects)
    lines.insert(
        -1, written.row("claim", written.GROWTH, "rung-b", "xfailed", verdict=verdict, expected="inconclusive")
    )
    _, view = shown(tmp_path, lines)
    assert case(view, "rung-b")["lead"]["name"] == "small"
    assert (view["claims"][0]["least"]["subject"], view["claims"][0]["least"]["effect"]["name"]) == ("rung-b", "small")


def test_no_records_are_one_message_and_a_page_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(tmp_path / "none.jsonl"), "--out", str(tmp_path)]) == 2
    assert "none.jsonl cannot be read" in capsys.readouterr().err
    (said,) = page.unpacked((tmp_path / "index.html").read_text(encoding="utf-8"))["problems"]
    assert "none.jsonl cannot be read" in said


def test_the_table_of_claims_stands_beside_the_page_as_the_run_printed_it(tmp_path: Path) -> None:
    lines = written.whole_run()
    shown(tmp_path, lines)
    table = (tmp_path / "out" / "claims.txt").read_text().splitlines()
    rows = [written.typed(line) for line in lines if "test" in line]
    assert table == ["claims (protocol paper; n: independent units)", *report.claim_table(rows), table[-1]]
    assert table[-1] == "baselines: 1 as accepted, 2 moved or missing, 0 not measured"
    assert any("+0.800 [+0.700, +0.900] margin 0.1" in line for line in table)


def test_a_long_subject_stands_on_a_line_of_its_own(tmp_path: Path) -> None:
    name = "/models/" + "x" * 60
    lines = written.whole_run()
    verdict = written.verdict("supported", written.effect("max slope rises", 0.8))
    lines[-1:-1] = [
        written.row("claim", written.GROWTH, name, verdict=verdict, expected="supported", read="final_norm"),
        written.row("claim", written.GROWTH, 2 * name, "skipped", reason="not measured: no such folder"),
    ]
    shown(tmp_path, lines)
    table = (tmp_path / "out" / "claims.txt").read_text().splitlines()
    assert max(map(len, table)) <= 100
    assert table[table.index(f"  {name}") + 1].split()[:4] == ["supported", "n", "=", "4"]
    assert any(line.startswith("  /models/x") and "…" in line and line.endswith("xxx") for line in table)


def test_an_effect_on_no_data_has_no_numbers_in_the_table(tmp_path: Path) -> None:
    lines = written.whole_run()
    claim = next(line for line in lines if line.get("role") == "claim")
    nothing = {"estimate": None, "low": None, "high": None, "outcome": "not measured"}
    claim["verdict"]["effects"][0] |= nothing
    claim["verdict"]["trends"][0]["p"] = None
    shown(tmp_path, lines)
    table = (tmp_path / "out" / "claims.txt").read_text()
    assert "none [none, none] margin 0.1 not measured" in table
    assert "p none, 3 conditions" in table


def test_crossings_of_gates_stand_between_the_points_of_the_segment(tmp_path: Path) -> None:
    lines = written.whole_run()
    lines.insert(1, written.gates("gates", "rung-a@main"))
    _, view = shown(tmp_path, lines)
    drawn = view["results"]["gates"]["gates"]
    assert drawn["alphas"][:2] == [0.05, 0.15]
    assert len(drawn["alphas"]) == len(drawn["flat"]) == len(drawn["crossings"]["median"]) == written.STEPS - 1
    # Means of five neighbours, the ends repeated.
    assert drawn["crossings"]["median"][:4] == [0.6, 1.2, 2.0, 3.0]
    assert view["results"]["first"].get("gates") is None


def test_figures_are_drawn_where_they_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "records.jsonl"
    small.run(path, *small.lines())
    command = ["report", str(path), "--out", str(tmp_path)]
    assert cli.main([*command, "--figures", "png", "svg", "--only", "fig4", "edge-drift"]) == 0
    assert "4 files, 2 figures" in capsys.readouterr().out
    names = {file.name for file in (tmp_path / "figures").iterdir()}
    assert names == {"fig4.png", "fig4.svg", "edge-drift.png", "edge-drift.svg"}
    assert cli.main([*command, "--figures", "png", "--only", "fig99"]) == 2
    assert "no figure is called fig99; there are fig1, " in capsys.readouterr().err
    other = ["report", str(written.write(tmp_path / "other.jsonl", written.whole_run())), "--out", str(tmp_path)]
    assert cli.main([*other, "--figures", "png", "--only", "protocols"]) == 0
    assert "nothing to show in protocols" in capsys.readouterr().out
    (tmp_path / "figures" / "fig3.png").mkdir()
    assert cli.main([*command, "--figures", "png", "--only", "fig3"]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert cli.main([*command, "--only", "fig4"]) == 2
    assert "say with --figures png" in capsys.readouterr().err


def test_the_command_takes_a_folder_and_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written.write(tmp_path / "records.jsonl", written.whole_run())
    assert cli.main(["report", str(tmp_path), "--out", str(tmp_path / "new" / "folder")]) == 0
    out = capsys.readouterr().out
    assert str(tmp_path / "new" / "folder" / "index.html") in out
    assert "2 claims" in out


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written.write(tmp_path / "records.jsonl", written.whole_run())
    assert cli.main(["report", str(path), "--out", str(path)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_page_of_2000_records_is_small(tmp_path: Path) -> None:
    lines = written.many()
    assert len(lines) > 2000
    text, view = shown(tmp_path, lines)
    assert len(text) < 15e6
    assert sum(len(claim["cases"]) for claim in view["claims"]) == 500


def test_the_report_is_packed_without_loss_and_always_alike(tmp_path: Path) -> None:
    text, view = shown(tmp_path, hostile_run())
    again, _ = shown(tmp_path, hostile_run())
    assert text == again
    content = {"a": [1, 2.5, None, "é\u2028 </script> &"], "b": "\ud800"}
    packed = f'<script type="application/zlib" id="report">{page.packed(content)}</script>'
    assert page.unpacked(packed) == content
    (holder,) = [attributes for tag, attributes in Elements(text).tags if attributes.get("id") == "report"]
    assert holder["type"] == "application/zlib"
    assert len(page.packed(view)) < 0.6 * len(str(view))


def test_a_page_that_holds_no_report_or_a_damaged_one_is_told() -> None:
    with pytest.raises(
        MeasureError, match=r"^this page holds no report as this version packs it; `measure report` makes"
    ):
        page.unpacked('<script type="application/json" id="report">{}</script>')
    for cut in ("eJyr", "=", "é"):
        with pytest.raises(
            MeasureError, match=r"^the report in this page is damaged \(.*\); `measure report` makes it"
        ):
            page.unpacked(f'<script type="application/zlib" id="report">{cut}</script>')
