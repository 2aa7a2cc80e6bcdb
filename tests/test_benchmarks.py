from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import compare, profile_suites


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


def test_what_does_not_tell_its_class_is_compared_with_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text, said in (('{"machine_info": {}}', "does not tell its class"), ("[]", "is no result of `make bench`")):
        (tmp_path / "a").write_text(text)
        assert compare.main([str(tmp_path / "a"), str(tmp_path / "a")]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stack", "group"),
    [
        ([("pytest.py", "main"), ("measure/core/runs.py", "outputs"), ("torch/nn.py", "forward")], "forward passes"),
        (
            [("pytest.py", "main"), ("measure/core/runs.py", "norms"), ("torch/f.py", "norm")],
            "distances and predictions",
        ),
        (
            [("pytest.py", "main"), ("suites/test_x.py", "judge"), ("measure/stats/intervals.py", "negated")],
            "statistics",
        ),
        ([("profile_suites.py", "<module>"), ("pytest.py", "main")], "pytest's own work"),
        ([("pytest.py", "main"), ("<frozen importlib._bootstrap>", "load"), ("measure/x.py", "<module>")], "imports"),
        ([("pytest.py", "main"), ("measure/models/loading.py", "load")], "measure/models/loading.py"),
    ],
)
def test_the_profile_tells_what_a_stack_is_at_work_on(stack: list[tuple[str, str]], group: str) -> None:
    frame = None
    for file, name in stack:
        path = file if file.startswith("<") else str(profile_suites.ROOT / file)
        frame = SimpleNamespace(f_code=SimpleNamespace(co_filename=path, co_name=name), f_back=frame)
    assert profile_suites.place(frame) == group  # type: ignore[arg-type]


def test_what_is_no_result_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_text("{")
    assert compare.main([str(tmp_path / "a"), str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
