from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare


def result(path: Path, seconds: float, **machine: Any) -> str:
    found = {"class": {"processor": "x", "cores": 2, "gpu": [], **machine}}
    bench = {"name": "test_pairs", "extra_info": {"100": {"seconds": seconds, "bytes": 0}}}
    path.write_text(json.dumps({"machine_info": found, "benchmarks": [bench]}))
    return str(path)


def test_results_of_one_class_of_machine_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([result(tmp_path / "a", 2.0), result(tmp_path / "b", 3.0)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == ["| test_pairs | 100: seconds | 2 | 3 | 1.50 |", "| test_pairs | 100: bytes | 0 | 0 | – |"]


def test_results_of_two_classes_are_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([result(tmp_path / "a", 2.0), result(tmp_path / "b", 3.0, cores=4)]) == 2
    assert "two classes of machine" in capsys.readouterr().err


def test_what_is_no_result_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_text("{")
    assert compare.main([str(tmp_path / "a"), str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
