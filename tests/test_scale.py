"""The commands of docs/scale.md, run as they stand where this machine is enough: records are those of one process."""

from __future__ import annotations

import importlib.util
import os
import shlex
from collections import Counter
from pathlib import Path

import pytest

from measure.base.exits import EXIT_NOT_MEASURED
from measure.prompts import drawn as prompts
from tests import hub
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


def asked_by(tmp_path: Path, *given: str) -> tuple[list[str], object]:
    """What a run asks of a hub with four checkpoints, one of them gated, and what it finds."""
    loads = [(f"tiny/n{number}", weights) for number in range(4) for weights in ("stored", "scrambled:0")]
    folder = spread.project(tmp_path, loads)
    with hub.LocalHub(latency=0.05) as served:
        for number in range(4):
            served.add(f"tiny/n{number}", hub.tiny_checkpoint(number), gated=number == 3)
        options = ("--corpus", str(prompts.DEFAULT_CORPUS), *given)
        process = spread.start(folder, "run", *options, **served.environment(folder / "cache"))
        assert process.wait(timeout=1200) == EXIT_NOT_MEASURED, (folder / "run.txt").read_text()
        return list(served.requests), spread.found(folder, ["run"])


def test_eight_workers_ask_the_hub_no_more_than_one_process(tmp_path: Path) -> None:
    if "EVERY_ENGINE" not in os.environ:
        pytest.skip("its processes take a minute: run by make torture, or with EVERY_ENGINE=1")
    by_one, alone = asked_by(tmp_path / "one", "--engine", "in-process")
    by_eight, found = asked_by(tmp_path / "eight", "--engine", "processes", "--workers", "8")
    assert found == alone
    # How many files of a gated repository are asked for before the first refusal is heard is chance.
    one, eight = (Counter(line for line in lines if "n3/resolve" not in line) for lines in (by_one, by_eight))
    assert eight <= one


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
