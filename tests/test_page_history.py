"""What earlier runs found: read from a file that anybody may have cut or edited, shown beside each claim."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from measure.report import page, page_history
from tests import written_runs as written
from tests.test_page import case

KEY = (written.GROWTH, "rung-a")


def line(day: int = 1, **changed: Any) -> dict[str, Any]:
    return {
        "format": 1, "started": f"2026-11-{day:02d}T02:00:00+00:00", "run": f"r{day}.jsonl", "code": "abc123",
        "claim": KEY[0], "place": "Fig. 4, claim 2)", "subject": KEY[1], "outcome": "supported", "estimate": 0.5,
        "low": 0.4, "high": 0.6, "margin": 0.1, "n": 200, **changed,
    }  # fmt: skip


def written_to(path: Path, *lines: Any) -> Path:
    path.write_bytes(b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines))
    return path


def view_of(tmp_path: Path, history: Path) -> tuple[dict[str, Any], str]:
    run = written.write(tmp_path / "run.jsonl", written.whole_run())
    target, said = page.write([run], tmp_path / "out", earlier=history)
    view: dict[str, Any] = page.unpacked(target.read_text(encoding="utf-8"))
    return view, said


def test_each_claim_has_the_last_runs_of_its_subject(tmp_path: Path) -> None:
    path = written_to(
        tmp_path / "history.jsonl",
        *(
            line(
                1,
                started=f"2026-{9 + place // 28:02d}-{1 + place % 28:02d}T02:00:00+00:00",
                run=f"r{place}.jsonl",
                estimate=place / 100,
            )
            for place in range(page_history.LAST + 3)
        ),
        line(subject="somebody else"),
    )
    view, said = view_of(tmp_path, path)
    found = case(view, "rung-a")["history"]
    assert len(found) == page_history.LAST
    assert [entry[2] for entry in found[:2]] == [0.03, 0.04]
    assert view["runs"][found[0][0]] == ["4 September 2026, 02:00 UTC", "abc123", "r3.jsonl"]
    assert "history" not in case(view, "rung-b")
    assert "history.jsonl" not in said


def test_without_a_file_nothing_is_said(tmp_path: Path) -> None:
    view, said = view_of(tmp_path, tmp_path / "history.jsonl")
    assert view["problems"] == []
    assert view["runs"] == []
    assert "history" not in case(view, "rung-a")
    assert "history" not in said


BAD = [
    b'{"format": 1, "claim": ',
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b"[" * 100_000,
    line(outcome="splendid"),
    line(estimate="0.5"),
    line(estimate=True),
    line(n=-1),
    line(n=2**70),
    line(started="yesterday"),
    line(subject=None),
    json.dumps(line()).encode().replace(b"0.5", b"NaN"),
    json.dumps(line()).encode().replace(b"0.5", b"1e999"),
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_a_damaged_line_costs_that_line_alone_and_is_told(tmp_path: Path, bad: Any) -> None:
    path = written_to(tmp_path / "history.jsonl", line(1), bad, b"", line(2))
    view, said = view_of(tmp_path, path)
    assert [entry[1] for entry in case(view, "rung-a")["history"]] == ["supported", "supported"]
    (problem,) = view["problems"]
    assert problem.startswith("history.jsonl: 1 line is ")
    assert problem in said


def test_lines_of_another_format_are_told_as_that(tmp_path: Path) -> None:
    path = written_to(tmp_path / "history.jsonl", line(format=2), line(format=7), line())
    view, _ = view_of(tmp_path, path)
    assert view["problems"] == [
        "history.jsonl: 2 lines, each of which was written by another version, passed over (line 1: format 2, this one "
        "reads 1)"
    ]
    assert len(case(view, "rung-a")["history"]) == 1


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "history.jsonl"
    folder.mkdir()
    view, _ = view_of(tmp_path, folder)
    assert view["problems"] == ["the history history.jsonl cannot be read (Is a directory). No earlier runs are shown."]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    view, _ = view_of(tmp_path, pipe)
    assert view["problems"] == ["the history pipe cannot be read (no ordinary file). No earlier runs are shown."]


def test_numbers_that_were_not_found_are_none(tmp_path: Path) -> None:
    nothing = line(outcome="not measured", estimate=None, low=None, high=None, margin=None, n=0)
    view, _ = view_of(tmp_path, written_to(tmp_path / "h.jsonl", nothing))
    assert case(view, "rung-a")["history"] == [[0, "not measured", None, None, None, None, 0, False]]
    assert view["problems"] == []


def test_names_of_runs_stay_short_text(tmp_path: Path) -> None:
    path = written_to(tmp_path / "h.jsonl", line(code="\x1b[2J" + "x" * 9999, run="‮</script>"))
    view, _ = view_of(tmp_path, path)
    _, code, records = view["runs"][0]
    assert code.startswith("\\x1b[2J")
    assert len(code) < 200
    assert records == "\\u202e</script>"


def test_what_changed_is_what_the_history_says_changed(tmp_path: Path) -> None:
    """A number that creeps leaves the interval of the run that changed last, and never that of the run before."""
    runs = [line(day, estimate=0.5 + day / 20, low=0.4 + day / 20, high=0.6 + day / 20) for day in range(1, 7)]
    view, _ = view_of(tmp_path, written_to(tmp_path / "h.jsonl", *runs))
    assert [entry[7] for entry in case(view, "rung-a")["history"]] == [False, False, False, True, False, False]
