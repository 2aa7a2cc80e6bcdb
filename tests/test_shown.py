"""What leaves the machine: control characters are shown, paths are written without its folders."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from measure.shown import Places, one_line, shown
from measure.spec import MeasureError

ROOT = Path("/home/me/project")


def short(path: str) -> str:
    return f"{Path(path).name}#{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def test_control_characters_are_spelled_out() -> None:
    hostile = "a\x1b[2J\x1b]0;x\x07\r\x00\x7f\x9b31m\u202eb\u2028c\ud800"
    told = shown(hostile)
    assert told == "a\\x1b[2J\\x1b]0;x\\x07\\x0d\\x00\\x7f\\x9b31m\\u202eb\\u2028c\\ud800"
    assert shown(told) == told
    told.encode()
    assert shown("é → 漢字 \U0001f600\n\tb") == "é → 漢字 \U0001f600\n\tb"
    assert one_line("a\n\tb") == "a\\n\\tb"
    assert str(MeasureError("no \x1b[31mmodel\x1b[0m")) == "no \\x1b[31mmodel\\x1b[0m"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/home/me/project/suites/test_x.py::test_y[a/b]", "suites/test_x.py::test_y[a/b]"),
        ("/home/me/project", "."),
        ("/home/me/project/../y.jsonl", short("/home/me/y.jsonl")),
        ("/home/me/projects/y.jsonl", short("/home/me/projects/y.jsonl")),
        ("/home/me/runs/a b", short("/home/me/runs/a b")),
        ("/home/me/runs/x@step3", f"{short('/home/me/runs/x')}@step3"),
        ("/usr/lib/python3.11/json/decoder.py", "python3.11/json/decoder.py"),
        ("/home/me/.venv/lib/python3.11/site-packages/torch/x.py", "site-packages/torch/x.py"),
        ("runs/x", "runs/x"),
        ("owner/name@main", "owner/name@main"),
        ("hf://o/n/x.jsonl", "hf://o/n/x.jsonl"),
        ("default", "default"),
    ],
)
def test_a_path_is_written_from_the_project_or_as_its_last_part(path: str, told: str) -> None:
    assert Places(ROOT).path(path) == told


def test_two_of_one_name_stay_two() -> None:
    places = Places(ROOT)
    assert places.path("/data/a/corpus.jsonl") != places.path("/data/b/corpus.jsonl")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/me/project/measure/x.py:7: in f", "measure/x.py:7: in f"),
        ("the file /data/a b/c.jsonl. Mend it", f"the file {short('/data/a b/c.jsonl')}. Mend it"),
        ("in '/mnt/my disk/y/z' (None)", f"in '{short('/mnt/my disk/y/z')}' (None)"),
        ("see /mnt/d/e/f.py, line 3", f"see {short('/mnt/d/e/f.py')}, line 3"),
        ("file:///mnt/d/e", short("/mnt/d/e")),
        ("https://huggingface.co/o/n and/or hf://o/n/f", "https://huggingface.co/o/n and/or hf://o/n/f"),
        ("mean / largest, a/b/c", "mean / largest, a/b/c"),
    ],
)
def test_paths_in_a_text(text: str, told: str) -> None:
    assert Places(ROOT, ("/data/a b/c.jsonl",)).text(text) == told


def test_a_path_from_where_one_stands_tells_no_folders_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    up = "../" * len(tmp_path.parts[1:])
    assert Places(tmp_path).text(f"{up}home/me/lib/x.py:7: Error") == f"{short('/home/me/lib/x.py')}:7: Error"


def test_arguments_are_paths_in_every_form() -> None:
    places = Places(ROOT)
    x, y = short("/data/x"), short("/data/y")
    assert places.argument("--models=/data/x,/data/y@main,ladder") == f"--models={x},{y}@main,ladder"
    assert places.argument("/data/x,/data/y") == f"{x},{y}"
    assert places.argument("/home/me/project/suites") == "suites"
    assert places.argument("a and not b") == "a and not b"


def test_whatever_lies_in_a_value() -> None:
    value = {"a": ["/data/x/y", {"b": ("/home/me/project/z", 3)}], "c": None}
    assert Places(ROOT).every(value) == {"a": [short("/data/x/y"), {"b": ["z", 3]}], "c": None}
