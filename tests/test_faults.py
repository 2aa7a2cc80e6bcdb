"""The list of faults is whole: each line to break is there once, and what should notice is there too."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

import pytest

from tests import faults
from tests.fault_list import FAULTS, Fault

ROOT = Path(__file__).parent.parent


def test_there_are_enough_and_each_has_a_number_of_its_own() -> None:
    numbers = [fault.number for fault in FAULTS]
    assert len(numbers) >= 120
    assert len(set(numbers)) == len(numbers)
    assert len({(fault.file, fault.old, fault.new) for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.number))
def test_the_line_is_there_once_and_becomes_another_that_is_python(fault: Fault) -> None:
    whole = (ROOT / fault.file).read_text()
    assert whole.count(fault.old) == 1
    assert "\n" not in fault.old + fault.new
    assert ast.dump(ast.parse(faults.broken(fault, ROOT))) != ast.dump(ast.parse(whole))
    assert 3 <= len(fault.what.split()) <= 8


def test_each_has_an_area_in_the_table() -> None:
    assert {faults.area(fault) for fault in FAULTS} == set(faults.AREAS)


def test_what_should_notice_is_there() -> None:
    for fault in FAULTS:
        assert fault.commands, fault.number
        assert all((ROOT / name).is_file() for name in faults.files_of(fault)), fault.number


def test_a_line_that_is_gone_is_told(tmp_path: Path) -> None:
    fault = FAULTS[0]
    (tmp_path / fault.file).parent.mkdir(parents=True)
    (tmp_path / fault.file).write_text("nothing")
    with pytest.raises(faults.StaleError, match=rf"fault {fault.number} is stale: .* stands 0 times"):
        faults.broken(fault, tmp_path)


def test_results_are_read_although_a_kill_left_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    faults.keep(path, {"fault": 1})
    path.write_bytes(path.read_bytes() + b'{"fault": 2, "ver')
    faults.keep(path, {"fault": 3})
    assert [row["fault"] for row in faults.read(path)] == [1, 3]


def test_a_result_holds_as_long_as_its_line_and_its_tests_are_the_same(tmp_path: Path) -> None:
    fault = FAULTS[0]
    for name in faults.files_of(fault):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    row = {"fault": fault.number, **faults.key_of(fault, tmp_path), "verdict": "caught"}
    assert faults.known([fault], tmp_path, [row]) == {fault.number: row}
    test = tmp_path / faults.files_of(fault)[1]
    test.write_text(test.read_text() + "\n")
    assert faults.known([fault], tmp_path, [row]) == {}


def test_the_table_tells_survivors() -> None:
    one, other = FAULTS[:2]
    rows = {one.number: {"verdict": "caught"}, other.number: {"verdict": "survived"}}
    told = faults.table([one, other], rows)
    assert "| all | 2 | 1 (50%) | 1 | 0 |" in told
    assert f"- {other.number}, `{other.file}`, {other.what}" in told
    assert told.endswith("trivial: none")


def test_hundreds_and_single_faults_are_chosen() -> None:
    assert {fault.number // 100 for fault in faults.chosen("3xx")} == {3}
    assert [fault.number for fault in faults.chosen(str(FAULTS[5].number))] == [FAULTS[5].number]
    assert faults.chosen(None) == list(FAULTS)


def test_ast_and_shell_words_are_what_the_commands_are_made_of() -> None:
    for fault in FAULTS:
        for command in fault.commands:
            first, *rest = shlex.split(command)
            assert first.startswith(("tests/test_", "suites/test_"))
            assert rest[:1] in ([], ["-k"])
            assert len(rest) in (0, 2)
