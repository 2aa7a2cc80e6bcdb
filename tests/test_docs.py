"""README and docs: links lead somewhere, examples run, commands are ones that there are."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import pytest

import measure
from measure import cli
from measure.harness import options
from measure.hub import shelf
from tests import record_format, small_results, written_runs
from tests.pages import NAMES, PAGES, ROOT, blocks, without_blocks


def anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", without_blocks(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(page.read_text())):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            broken.append(target)
    assert broken == []


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") <= 120
    pages = {path.name for kind in ("md", "ipynb") for path in (ROOT / "docs").glob(f"*.{kind}")} - {"index.md"}
    assert [name for name in sorted(pages) if f"(docs/{name})" not in text] == []


def test_every_page_has_its_place_in_the_site() -> None:
    text = (ROOT / "docs" / "index.md").read_text()
    listed = re.findall(r"^[^<\n]*<([^>]+)>$", text, re.MULTILINE)
    found = {(ROOT / "docs" / f"{name}").resolve().relative_to(ROOT) for name in listed}
    pages = {path.relative_to(ROOT).with_suffix("") for path in (*PAGES, ROOT / "docs" / "tutorial.ipynb")}
    assert found == (pages | {Path("measure/ladder/weights/README")}) - {Path("docs/index")}


def test_every_word_is_explained_once() -> None:
    heads = [word for head in anchors(ROOT / "docs" / "glossary.md") for word in head.split("-")]
    words = ("claim", "suite", "case", "rung", "baseline", "control", "counterfeit", "null", "verdict")
    assert {word: heads.count(word) for word in words} == dict.fromkeys(words, 1)


def test_the_api_page_has_every_public_name() -> None:
    told = " ".join(blocks("docs/api.md", "{eval-rst}"))
    assert [name for name in measure.__all__ if not re.search(rf":: measure\.{name}$", told, re.MULTILINE)] == []


def test_the_record_format_is_that_of_the_source() -> None:
    """Else: `python -m tests.record_format`."""
    written = record_format.DOCUMENT.read_text()
    assert record_format.BEGIN + written.partition(record_format.BEGIN)[2] == record_format.text()


def test_what_the_wheel_holds_is_told_as_it_is() -> None:
    left_out = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert left_out["wheel"]["exclude"] == left_out["sdist"]["exclude"]
    for page in ("CHANGELOG.md", "docs/loading.md"):
        text = (ROOT / page).read_text()
        assert all(f"`{name}`" in text for name in ("ladder-olmo-0.2m", "ladder-qwen2-0.2m", "ladder-olmo-1.1m@main"))


def run(code: str) -> dict[str, Any]:
    matplotlib.use("Agg")
    held: dict[str, Any] = {}
    exec(compile(code, "example", "exec"), held)
    matplotlib.pyplot.close("all")
    return held


def test_the_readmes_example_runs() -> None:
    [code] = blocks("README.md", "python")
    if not shelf.is_cached("smollm2-135m-instruct"):
        code = code.replace("smollm2-135m-instruct", "ladder-olmo-0.2m")
    assert len(run(code)["curves"]) == 6


def test_the_example_of_use_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, *others = blocks("docs/usage.md", "python")
    for other in others:
        run(other)
    curves = run(code)["curves"]
    for given in (curves, curves.null):
        for metric in ("max_slope", "edge_speed"):
            told = re.search(rf"curves{'' if given is curves else '.null'}\.{metric}[^\n]*?array\(\[([^]]*)\]", code)
            if told is not None:
                assert [f"{value:.{3 if metric == 'edge_speed' else 2}f}" for value in getattr(given, metric)] == (
                    told.group(1).split(", ")
                )


def test_the_examples_of_records_run_on_what_a_run_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = blocks("docs/records.md", "python")
    # Before anything was run there is nothing to tell, and that is no error.
    run(first)
    run(second)
    assert capsys.readouterr().out == ""
    folder = Path("reports", "runs")
    folder.mkdir(parents=True)
    written_runs.write(folder / "1.jsonl", written_runs.whole_run())
    run(first)
    assert "supported" in capsys.readouterr().out
    small_results.write(folder / "2.jsonl", *small_results.lines())
    run(second)
    assert list(Path("figures").glob("fig*.pdf"))


# Where each page's examples of Python are run.
RUN = {
    "README.md": "tests/test_docs.py",
    "docs/usage.md": "tests/test_docs.py",
    "docs/records.md": "tests/test_docs.py",
    "docs/own-suite.md": "tests/test_foreign.py",
    "docs/own-kind.md": "tests/test_new_kind.py",
}


def test_every_page_with_python_has_a_test_that_runs_it() -> None:
    assert {name for name in NAMES if blocks(name, "python")} == set(RUN)
    for page, test in RUN.items():
        assert f'blocks("{page}", "python")' in (ROOT / test).read_text()


GIT = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
       "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}  # fmt: skip


@pytest.mark.parametrize("statuses", [(0, 11, 0, 0, 10, 10), (0, 0, 4, 0, 1, 10, 11), (0, 5, 0, 10, 130)])
def test_the_script_for_git_bisect_finds_the_first_bad_commit(statuses: tuple[int, ...], tmp_path: Path) -> None:
    [script] = blocks("docs/baselines.md", "sh")
    (tmp_path / "skip.sh").write_text(script)
    place = tmp_path / "project"
    place.mkdir()

    def git(*given: str) -> str:
        done = subprocess.run(
            ["git", *given], cwd=place, env=os.environ | GIT, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q")
    commits = []
    for number, status in enumerate(statuses):
        # Stands for pytest: ends as a run of the suites of this commit would.
        (place / "pytest").write_text(f"#!/bin/sh\n# {number}\ntest \"$2\" = 'one and two' && exit {status}\n")
        (place / "pytest").chmod(0o755)
        git("add", ".")
        git("commit", "-q", "-m", str(number))
        commits.append(git("rev-parse", "HEAD"))
    bad = next(number for number, status in enumerate(statuses) if status in (1, 10))
    git("bisect", "start", commits[max(n for n, status in enumerate(statuses) if status in (1, 10))], commits[0])
    said = git("bisect", "run", "sh", str(tmp_path / "skip.sh"), "./pytest", "-k", "one and two")
    assert f"{commits[bad]} is the first bad commit" in said


def commands() -> set[str]:
    """Every command that stands in a block of its own."""
    lines = [line for name in NAMES for block in blocks(name, "") for line in block.replace("\\\n", " ").splitlines()]
    return commands_among(line.partition("#")[0].partition("&&")[0].strip() for line in lines)


def mentioned() -> set[str]:
    """Every command that a sentence names, maybe without what it takes."""
    return commands_among(
        code for name in NAMES for code in re.findall(r"`([^`\n]+ [^`\n]+)`", without_blocks((ROOT / name).read_text()))
    )


def commands_among(lines: Iterable[str]) -> set[str]:
    found = {line.removeprefix(".venv/bin/").removeprefix("HF_HUB_OFFLINE=1 ") for line in lines}
    return {line for line in found if line.startswith(("measure ", "pytest ", "make "))}


def check_command(program: str, given: list[str]) -> None:
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(given) <= set(targets)
    elif program == "measure":
        cli.parse(given)
    else:
        known = inspect.getsource(options)
        pytests = ("--snapshot-update", "--junitxml", "--help")
        ours = [name for one in given if (name := one.partition("=")[0]).startswith("--") and name not in pytests]
        assert [name for name in ours if f'"{name}"' not in known] == []


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_is_one(command: str) -> None:
    program, *given = shlex.split(command)
    check_command(program, given)


@pytest.mark.parametrize("command", sorted(mentioned() - commands()))
def test_every_command_that_a_sentence_names_is_one(command: str) -> None:
    program, *given = shlex.split(command)
    if program != "measure" or (any(one.startswith("-") for one in given) and "--help" not in given):
        check_command(program, given)
        return
    with pytest.raises(SystemExit) as left:
        cli.parse([*given, "--help"])
    assert left.value.code == 0
