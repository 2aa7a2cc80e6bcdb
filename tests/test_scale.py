"""The commands of docs/scale.md, run as they stand where this machine is enough: records are those of one process."""

from __future__ import annotations

import importlib.util
import os
import shlex
from pathlib import Path

import pytest

from tests import spread_project as spread
from tests.pages import blocks

LOADS = [("ladder-olmo-0.2m", "stored"), ("ladder-qwen2-0.2m", "stored"), ("ladder-olmo-0.2m", "scrambled:0")]


def commands(word: str) -> list[list[str]]:
    """What `pytest suites/` is given in the lines of the page that hold a word, those for a cluster aside."""
    lines = [line.partition("#")[0] for block in blocks("docs/scale.md", "") for line in block.splitlines()]
    given = [shlex.split(line) for line in lines if word in line and "--models all" not in line]
    assert all(one[:2] == ["pytest", "suites/"] for one in given)
    return [one[2:] for one in given]


def ended(folder: Path, several: list[list[str]]) -> list[str]:
    """Run processes at once; the names of their records."""
    names = [f"run-{number}" for number in range(len(several))]
    started = [spread.start(folder, name, *given) for name, given in zip(names, several, strict=True)]
    for name, process in zip(names, started, strict=True):
        assert process.wait(timeout=1200) == 0, (folder / f"{name}.txt").read_text()
    return names


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = spread.project(tmp_path_factory.mktemp("alone"), LOADS)
    return spread.found(folder, ended(folder, [["--engine", "in-process"]]))


@pytest.mark.parametrize(
    ("word", "needs"),
    [("--shard", None), ("--engine processes", None), ("--engine ray", "ray"), ("submitit-local", "submitit")],
)
def test_a_command_gives_what_one_process_gives(
    word: str, needs: str | None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if word != "--shard" and "EVERY_ENGINE" not in os.environ:
        pytest.skip("its processes take a minute: run by make torture, or with EVERY_ENGINE=1")
    if needs is not None and importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed: pip install -c constraints.txt {needs}")
    alone = request.getfixturevalue("alone")
    folder = spread.project(tmp_path / "project", LOADS)
    several = commands(word)
    assert len(several) == (2 if word == "--shard" else 1)
    names = ended(folder, several)
    assert spread.found(folder, names) == alone
    judged = [name for name in names if "supported" in (folder / f"{name}.txt").read_text()]
    assert len(judged) == 1
    if word == "--shard":
        (other,) = set(names) - set(judged)
        said = (folder / f"{other}.txt").read_text()
        assert "another judges" in said or "everything was measured and judged by shard" in said
