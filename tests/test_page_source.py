"""The records that a page says it shows, and what is said when it takes the place of another's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from measure.report import page
from measure.spec import MeasureError
from tests import written_runs as written
from tests.test_page import Elements, shown


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are written from where the command is called."""
    monkeypatch.chdir(tmp_path)


def source(text: str) -> tuple[str | None, str | None]:
    """The records that a page says it shows, and how many tests it says are in them."""
    (meta,) = [a for tag, a in Elements(text).tags if tag == "meta" and a.get("name") == "records"]
    return meta["content"], meta["data-tests"]


def test_a_page_says_which_records_it_shows(tmp_path: Path) -> None:
    first, last = "run0.jsonl", "run1.jsonl"
    text, _ = shown(tmp_path, written.whole_run())
    assert source(text) == (first, "7")
    text, _ = shown(tmp_path, written.whole_run(), written.whole_run()[:-3])
    assert source(text) == (last, "5")
    text, _ = shown(tmp_path, written.whole_run(), written.whole_run(), merge=True)
    assert source(text) == (f"{first}, {last}", "7")


@pytest.mark.parametrize(
    "name",
    [
        '"><img src=x onerror="window.broken = 1">',
        "'><script>window.broken = 1",
        "@script@ @report@",
        "&quot;>&lt;",
        "\udcff",
    ],
)
def test_the_name_of_records_never_becomes_markup(tmp_path: Path, name: str) -> None:
    plain, _ = shown(tmp_path, written.whole_run())
    path = written.write(tmp_path / f"{name}.jsonl", written.whole_run())
    target, _ = page.write([path], tmp_path / "out")
    text = target.read_text(encoding="utf-8")
    assert source(text) == (path.name.encode("utf-8", "backslashreplace").decode(), "7")
    assert [tag for tag, _ in Elements(text).tags] == [tag for tag, _ in Elements(plain).tags]
    assert page.unpacked(text) == page.unpacked(plain)


def test_a_narrow_run_that_replaces_the_page_of_a_whole_one_says_so(tmp_path: Path) -> None:
    whole, other = (written.write(tmp_path / f"{name}.jsonl", written.whole_run()) for name in ("a whole", "other"))
    narrow = written.write(tmp_path / "narrow.jsonl", written.whole_run()[:6])
    line = "this page replaces one of 7 tests (a whole.jsonl), which `measure report 'a whole.jsonl'` brings back"
    said = [page.write([path], tmp_path)[1].splitlines()[-1] for path in (whole, narrow, narrow, other, whole, narrow)]
    assert [text == line for text in said] == [False, True, False, False, False, True]
    # The same records, which a run that goes on makes more of, are the same by any path.
    page.write([whole], tmp_path)
    written.write(whole, written.whole_run()[:6])
    (tmp_path / "x").mkdir()
    assert "replaces" not in page.write([tmp_path / "x" / ".." / whole.name], tmp_path)[1]
    page.write([other, narrow], tmp_path, merge=True)
    assert page.write([narrow], tmp_path)[1].endswith(
        "tests (other.jsonl, narrow.jsonl), which `measure report --merge other.jsonl narrow.jsonl` brings back"
    )


def test_of_records_elsewhere_a_page_holds_no_folder(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    path = written.write(tmp_path / "run.jsonl", written.whole_run())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path / "project")
        target, _ = page.write([path], tmp_path / "project")
        named, _ = source(target.read_text(encoding="utf-8"))
        assert re.fullmatch(r"run\.jsonl#[0-9a-f]{8}", named or "")
        narrow = written.write(tmp_path / "project" / "narrow.jsonl", written.whole_run()[:6])
        assert page.write([narrow], tmp_path / "project")[1].endswith(f"replaces one of 7 tests ({named})")
        with pytest.raises(MeasureError):
            page.write([tmp_path / "none.jsonl"], tmp_path / "project")
        for name in ("index.html", "claims.txt"):
            assert str(tmp_path) not in (tmp_path / "project" / name).read_text(encoding="utf-8")
        assert str(tmp_path) not in str(
            page.unpacked((tmp_path / "project" / "index.html").read_text(encoding="utf-8"))
        )


def test_a_page_of_records_that_cannot_be_read_says_what_it_replaces(tmp_path: Path) -> None:
    whole = written.write(tmp_path / "whole.jsonl", written.whole_run())
    page.write([whole], tmp_path)
    with pytest.raises(MeasureError, match=r"says so too\.\nthis page replaces one of 7 tests"):
        page.write([tmp_path / "none.jsonl"], tmp_path)
    assert source((tmp_path / "index.html").read_text(encoding="utf-8")) == ("none.jsonl", "0")


@pytest.mark.parametrize(
    "there",
    [
        b"",
        b"\xff\xfe no page",
        b'<meta name="records" content="x">',
        b'<meta name="records" content="x" data-tests="99999999999999999999">',
        b'<meta name="records" content="x\x1b[2J" data-tests="99">',
        b"<html><!--" + b"x" * 200_000 + b'--><meta name="records" content="x" data-tests="99">',
    ],
)
def test_a_page_that_says_nothing_of_its_records_is_replaced(tmp_path: Path, there: bytes) -> None:
    path = written.write(tmp_path / "run.jsonl", written.whole_run())
    (tmp_path / "index.html").write_bytes(there)
    assert page.write([path], tmp_path)[1] == page.write([path], tmp_path / "new")[1]
    assert source((tmp_path / "index.html").read_text(encoding="utf-8")) == (path.name, "7")
