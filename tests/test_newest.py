from __future__ import annotations

from pathlib import Path

import pytest

from tests import newest
from tests import written_runs as written

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.test_x" name="test_a"/>
<testcase classname="tests.test_x" name="test_b"><skipped/></testcase>
<testcase classname="tests.test_x" name="test_c"><{}/></testcase>
</testsuite></testsuites>"""


def test_what_is_not_as_pinned_is_told_by_the_name_that_the_index_knows() -> None:
    pins = newest.pinned("Foo_bar==1.0\nruamel.yaml==2.0\ngone==3.0\n")
    assert pins == {"foo-bar": "1.0", "ruamel-yaml": "2.0", "gone": "3.0"}
    assert newest.parted(pins, {"ruamel-yaml": "2.1", "foo-bar": "1.0", "extra": "4.0"}) == {
        "extra": ("-", "4.0"),
        "ruamel-yaml": ("2.0", "2.1"),
    }


@pytest.mark.parametrize("way", ["failure", "error"])
def test_failed_tests_and_moved_baselines_are_named(tmp_path: Path, way: str) -> None:
    (tmp_path / "tests.xml").write_text(JUNIT.format(way))
    moved = written.row("baseline", None, "rung-a", "failed", baseline=written.compared("moved", 6e-4))
    same = written.row("baseline", None, "rung-b", baseline=written.compared("as accepted", 1e-4))
    records = written.write(tmp_path / "suites.jsonl", [written.header(), moved, same])
    text, good = newest.report(tmp_path / "tests.xml", records)
    assert not good
    for line in (
        f"tests: 1 {way}, 1 passed, 1 skipped",
        "  tests.test_x::test_c",
        "suites: 1 failed, 1 passed; 1 of 2 baselines as accepted, the farthest number 3 of its tolerance off",
        "  suites/test_x.py::test_baseline[None-rung-a]: the curve moved: 3 numbers are out of tolerance, the worst is",
    ):
        assert line in text.splitlines()


def test_where_nothing_failed_it_is_good(tmp_path: Path) -> None:
    (tmp_path / "tests.xml").write_text(JUNIT.format("system-out"))
    same = written.row("baseline", None, "rung-b", baseline=written.compared("as accepted"))
    records = written.write(tmp_path / "suites.jsonl", [written.header(), same])
    assert newest.report(tmp_path / "tests.xml", records)[1]
