"""The house: imports between wings point one way, without circles; suites import no engine; importing does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import measure

ROOT = Path(__file__).parent.parent
# Files and folders of `measure`, lowest first: each imports from those before it, and from itself.
ORDER = (
    "shown",
    "names",
    "distances",
    "spec",
    "stats",
    "base",
    "catalog",
    "results",
    "kinds",
    "hub",
    "prompts",
    "models",
    "core",
    "report",
    "ladder",
    "claims",
    "harness",
    "api",
    "explore",
    "commands",
    "plugin",
    "cli",
)
# What stands on top of the wings: the public words, and the two faces for pytest and the shell.
ON_TOP = {"shown", "names", "distances", "spec", "stats", "catalog", "claims", "plugin", "cli"}
# The same under the names that suites may have from before there were wings.
KEPT_NAMES = {"crossings", "metrics", "predictions", "slices"}
FLOORS = 7
LINES = 450


@cache
def files() -> dict[str, Path]:
    """Every module of `measure` by its name without the package's."""
    found = {}
    for path in (ROOT / "measure").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT / "measure").with_suffix("").parts).removesuffix(".__init__")
        found[name] = path
    del found["__init__"]
    return found


@cache
def imported(name: str) -> frozenset[str]:
    """Modules of `measure` that module `name` imports, anywhere in its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(files()[name].read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    inside = {entry.removeprefix("measure.") for entry in found if entry.startswith("measure.")}
    return frozenset(inside & set(files()))


def wing(name: str) -> str:
    """The folder, or the file on top, that a module is in."""
    return name.partition(".")[0]


def test_every_module_has_its_wing() -> None:
    assert {wing(name) for name in files()} - KEPT_NAMES == set(ORDER)


@pytest.mark.parametrize("name", sorted(files()))
def test_imports_go_down(name: str) -> None:
    own = wing(name)
    if own in KEPT_NAMES:
        assert imported(name) == {f"results.{name}"}
        return
    for other in {wing(other) for other in imported(name)} - {own}:
        assert ORDER.index(other) < ORDER.index(own), f"{name} imports {other}"


@pytest.mark.parametrize("own", sorted(set(ORDER) - {"cli", "plugin"}))
def test_no_circle_inside_a_wing(own: str) -> None:
    """Its own `__init__`, which its modules stand behind, aside."""
    inside = {name: {one for one in imported(name) if wing(one) == own} - {own, name} for name in files()}
    TopologicalSorter({name: others for name, others in inside.items() if wing(name) == own}).prepare()


def test_the_house_is_not_too_high() -> None:
    @cache
    def floor(own: str) -> int:
        below = {wing(other) for name in files() if wing(name) == own for other in imported(name)} - {own} - ON_TOP
        return 1 + max(map(floor, below), default=0)

    highest = max(set(ORDER) - ON_TOP, key=floor)
    assert floor(highest) <= FLOORS, highest


@pytest.mark.parametrize("name", sorted(files()))
def test_files_and_functions_stay_short(name: str) -> None:
    text = files()[name].read_text()
    assert text.count("\n") <= LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= 40, f"{node.name} of {name}"


def test_suites_never_import_torch_core_or_engines() -> None:
    for path in (ROOT / "suites").glob("*.py"):
        text = path.read_text()
        for word in ("torch", "measure.core", "measure.harness", "measure.models", "transformers"):
            assert f"import {word}" not in text, f"{path.name} imports {word}"
            assert f"from {word}" not in text, f"{path.name} imports {word}"


@pytest.mark.parametrize("code", ["import measure", "import measure.cli", "import measure.catalog, measure.results"])
def test_importing_takes_no_torch(code: str) -> None:
    heavy = "torch", "transformers", "datasets", "matplotlib", "scipy"
    check = f"{code}; import sys; sys.exit(', '.join(n for n in {heavy!r} if n in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_type_checkers_see_the_public_names_and_no_others() -> None:
    """Each as `X as X`, from the module that it is fetched from when first used."""
    tree = ast.parse((ROOT / "measure" / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: alias.name if node.module == "measure" else str(node.module).removeprefix("measure.")
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert seen == measure._HOMES
    assert measure.__all__ == dir(measure) == sorted(seen)


def test_the_map_shows_every_file_with_its_first_line() -> None:
    from tests import house

    written = house.DOCUMENT.read_text()
    assert written == written.partition(house.BEGIN)[0] + house.text(), "run python -m tests.house"
    assert all(house.first_line(path) for name, path in files().items() if name not in KEPT_NAMES)
