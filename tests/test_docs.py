"""README and docs: links lead somewhere, examples run, commands are ones that there are."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from measure import cli, options, shelf

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


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
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f"docs/{path.name}" not in text] == []


def blocks(name: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)


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
    [code] = blocks("docs/usage.md", "python")
    curves = run(code)["curves"]
    for given in (curves, curves.null):
        for metric in ("max_slope", "edge_speed"):
            told = re.search(rf"curves{'' if given is curves else '.null'}\.{metric}[^\n]*?array\(\[([^]]*)\]", code)
            if told is not None:
                assert [f"{value:.{3 if metric == 'edge_speed' else 2}f}" for value in getattr(given, metric)] == (
                    told.group(1).split(", ")
                )


def commands() -> list[str]:
    lines = [line for name in NAMES for block in blocks(name, "") for line in block.replace("\\\n", " ").splitlines()]
    found = [line.partition("#")[0].strip().removeprefix(".venv/bin/") for line in lines]
    return [line for line in found if line.startswith(("measure ", "pytest ", "make "))]


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_every_command_is_one(command: str) -> None:
    program, *given = shlex.split(command.partition("&&")[0])
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(given) <= set(targets)
    elif program == "measure":
        cli.parse(given)
    else:
        known = inspect.getsource(options)
        ours = [one.partition("=")[0] for one in given if one.startswith("--") and one != "--snapshot-update"]
        assert [one for one in ours if f'"{one}"' not in known] == []
