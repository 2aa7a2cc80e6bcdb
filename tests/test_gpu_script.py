"""`make gpu` on a processor, with tiny shapes: that every line of it runs, and that it refuses in a sentence."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import pytest
import torch

from benchmarks import gpu


@pytest.fixture(autouse=True)
def processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 2
    said = capsys.readouterr().out
    assert said == (
        "make gpu: torch finds no GPU here; run it on a machine with one (--tiny only tries it on a processor).\n"
    )


def test_a_tiny_one_writes_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A row that asks for 0 % is missed by none; the ladder on the processor is as accepted.
    assert gpu.main(["--tiny", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "a-processor.md").read_text()
    assert text.startswith("# a processor\n")
    assert text.count("| a tiny OLMo | ") == 2
    assert "1 of 1 curves of the ladder are within 0.0001 of their baselines in r." in text
    assert text in capsys.readouterr().out


def test_when_the_time_is_over_it_says_what_is_left_out() -> None:
    assert list(gpu.rates(gpu.cases(tiny=True), "cpu", 0.0)) == [
        "a tiny OLMo, float32: left out, the time was over",
        "a tiny OLMo, bfloat16: left out, the time was over",
    ]
    assert "left out, the time was over" in str(list(gpu.held(gpu.baselines(tiny=True), "cpu", 0.0)))


def test_fewer_pairs_are_taken_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def short(case: gpu.Case, precision: str, device: str, pairs: int) -> gpu.Rate:
        tried.append(pairs)
        raise torch.OutOfMemoryError

    monkeypatch.setattr(gpu, "rate", short)
    found = list(gpu.rates(gpu.cases(tiny=True), "cpu", math.inf))
    assert tried == [4, 1, 4, 1]
    assert found[0] == "a tiny OLMo, float32: left out, it needs more memory than there is"


def test_what_is_missed_and_far_is_told() -> None:
    case = gpu.Case("a shape", lambda: None, 1000, 0.7)
    row = gpu.Rate(case, "float32", 0.002, 3e13, 0.5, 10**9)
    assert row.cells == ("a shape", "float32", "1000", "2 ms", "30 TFLOP/s", "50% (70% asked, MISSED)", "1.00 GB")
    text = gpu.table("A GPU", [row], [gpu.Held("one", 1e-6), gpu.Held("two", 0.1)], 3.0)
    assert "1 of 2 curves of the ladder are within 0.0001" in text
    assert "The farthest is 1.0e-01 away: two." in text


def test_what_is_not_installed_comes_from_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "NEEDED", ("not_there_at_all",))
    monkeypatch.setattr("sys.path", ["/nowhere"])
    assert "not_there_at_all is neither installed nor in" in str(gpu.unpack(tmp_path))
    with zipfile.ZipFile(tmp_path / "some-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("not_there_at_all/__init__.py", "")
    assert gpu.unpack(tmp_path) is None
