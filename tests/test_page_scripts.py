"""The scripts of both pages: how the report's becomes one, what they compute, by node's own runner, what is linted."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from measure.report import page

ROOT = Path(__file__).parent.parent
WEB = Path(page.__file__).parent / "web"
OLDEST_NODE = 20
NODE = shutil.which("node")
OXLINT = shutil.which("oxlint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def test_the_reports_modules_become_one_script() -> None:
    modules = page.modules()
    assert set(modules) == {file.stem for file in WEB.glob("*.js") if ".min" not in file.name}
    names = list(modules)
    assert names[-1] == "page"
    for name, text in modules.items():
        imported = re.findall(r'from "\./(\w+)\.js"', text)
        assert all(names.index(other) < names.index(name) for other in imported), name
    # Whatever a module says in another form than `_script` knows would end the whole page.
    assert re.search(r"^\s*(import|export)\b", page._script(), re.MULTILINE) is None
    declared = re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", page._script(), re.MULTILINE)
    assert len(declared) == len(set(declared)) > 100


@pytest.fixture(scope="module")
def node() -> str:
    if NODE is None:
        pytest.skip("JavaScript was not checked: needs node, Debian's package nodejs")
    version = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"JavaScript was not checked: needs node {OLDEST_NODE} or newer, and this is {version}")
    return NODE


def test_what_the_scripts_compute(node: str) -> None:
    files = sorted(map(str, (ROOT / "tests" / "web").glob("*.test.js")))
    told = subprocess.run([node, "--test", "--test-reporter=tap", *files], cwd=ROOT, capture_output=True, text=True)
    (passed,) = re.findall(r"^# pass (\d+)$", told.stdout, re.MULTILINE)
    assert told.returncode == 0, told.stdout + told.stderr
    assert int(passed) >= 50


def test_the_one_script_is_read_by_node(node: str, tmp_path: Path) -> None:
    (tmp_path / "page.cjs").write_text(page._script(), encoding="utf-8")
    told = subprocess.run([node, "--check", "page.cjs"], cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


LONG = "\n".join(f"  use({at});" for at in range(38))


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("export const one = 1;\n", None),
        (f"export function whole(use) {{\n{LONG[: LONG.rindex(chr(10))]}\n}}\n", None),
        (f"export function whole(use) {{\n{LONG}\n}}\n", "max-lines-per-function"),
        (f"export const whole = (use) => {{\n{LONG}\n}};\n", "max-lines-per-function"),
        ("// a line\n" * 448 + "export const one = 1;\n", None),
        ("// a line\n" * 449 + "export const one = 1;\n", "max-lines"),
        ("export const one = two;\n", "no-undef"),
        ("const one = 1;\n", "no-unused-vars"),
        ('import { known } from "./other.js";\n', "no-unused-vars"),
        ('import { gone } from "./other.js";\nexport const one = gone;\n', "named"),
        ('import { cycle } from "./other.js";\nexport const one = () => cycle;\n', "no-cycle"),
        ("export const show = (element, text) => { element.innerHTML = text; };\n", "no-restricted-properties"),
        ('export const load = () => fetch("more");\n', "no-restricted-globals"),
    ],
)
@pytest.mark.skipif(OXLINT is None, reason="needs oxlint, which `make setup` installs")
def test_the_linter_finds(tmp_path: Path, code: str, rule: str | None) -> None:
    """What the settings name is found: a misspelt rule or a wrong path in them would find nothing, and say nothing."""
    folder = tmp_path / "measure" / "report" / "web"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / ".oxlintrc.json", tmp_path)
    (folder / "tried.js").write_text(code)
    (folder / "other.js").write_text(
        'import { one } from "./tried.js";\nexport const known = 1;\nexport const cycle = () => one;\n'
        if rule == "no-cycle"
        else "export const known = 1;\n"
    )
    told = subprocess.run([str(OXLINT), "--format", "json"], cwd=tmp_path, capture_output=True, text=True)
    found = {one["code"].split("(")[1].rstrip(")") for one in json.loads(told.stdout)["diagnostics"]}
    assert (found, told.returncode) == ({rule} if rule else set(), int(rule is not None))
