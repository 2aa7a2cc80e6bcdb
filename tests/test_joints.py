"""What a new metric, distance or engine takes: one file, changed or added in a copy of the instrument."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import measure

HOUSE = Path(measure.__file__).parent
# The command, run from a copy.
CURVE = ("-c", "import sys; from measure.cli import main; sys.exit(main(sys.argv[1:]))", "curve")
PROMPTS = ("The house stood on the hill.", "She was not sure of it.")


def copy_of(tmp_path: Path, file: str, *changes: tuple[str, str]) -> Path:
    """The instrument beside itself with one file changed, or added: only what is above that file is copied."""
    target = tmp_path / "copy" / "measure"
    path = Path(file)
    for folder in (Path(), *reversed(path.parents[:-1])):
        (target / folder).mkdir(parents=True)
        for child in (HOUSE / folder).iterdir():
            if child.name not in (path.relative_to(folder).parts[0], "__pycache__"):
                (target / folder / child.name).symlink_to(child)
    if (HOUSE / file).is_file():
        shutil.copy(HOUSE / file, target / file)
    text = (target / file).read_text() if (target / file).is_file() else ""
    for old, new in changes:
        assert text.count(old) == 1 or not old, old
        text = text.replace(old, new) if old else text + new
    (target / file).write_text(text)
    return target.parent


def run(house: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(house), "PYTHONDONTWRITEBYTECODE": "1"}
    found = subprocess.run(
        [sys.executable, *command], env=environment, cwd=house, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def test_a_new_metric_is_its_row(tmp_path: Path) -> None:
    row = (
        '    Definition("last_step", "last step", "s[-1] / d(1)", 0.02, 5e-4, 1e-2,\n'
        "               of=lambda curves: curves.steps[:, -1] / curves.end_distance),\n"
    )
    last = '    Definition(\n        "fall", "fall"'
    house = copy_of(tmp_path, "results/metrics.py", (last, row + last))
    assert "\nlast_step " in run(house, *CURVE, "ladder-olmo-0.2m", *PROMPTS)


def test_a_new_distance_is_its_function_and_its_row(tmp_path: Path) -> None:
    house = copy_of(
        tmp_path,
        "distances.py",
        ('Literal["l2"', 'Literal["largest", "l2"'),
        (
            'TABLE: dict[str, Definition] = {\n',
            'TABLE: dict[str, Definition] = {\n    "largest": Definition(\n        lambda x, first, last: '
            "((x - first).abs().amax(-1), (x - last).abs().amax(-1)), even=True\n    ),\n",
        ),
    )  # fmt: skip
    given = (*CURVE, "ladder-olmo-0.2m", *PROMPTS, "--distance")
    largest, usual = run(house, *given, "largest"), run(house, *given, "l2")
    assert largest.splitlines()[0].startswith("max_slope")
    assert largest != usual


def test_a_new_engine_is_its_file(tmp_path: Path) -> None:
    code = (
        '"""One process at a time."""\n\n'
        "from measure.harness.engines.launchers.processes import Processes\n\n\n"
        "class Single(Processes):\n"
        "    def workers(self):\n"
        "        return 1\n\n\n"
        "def launcher(config):\n"
        "    return Single()\n"
    )
    house = copy_of(tmp_path, "harness/engines/launchers/single.py", ("", code))
    (tmp_path / "copy" / "conftest.py").write_text('pytest_plugins = ["measure.plugin"]\n')
    (tmp_path / "copy" / "test_one.py").write_text(
        "import pytest\n"
        "from measure.spec import CurveSpec\n\n\n"
        "@pytest.mark.parametrize('spec', [CurveSpec('ladder-olmo-0.2m', layer=2, pairs=40)], ids=str)\n"
        "def test_one(spec, measured):\n"
        "    assert len(measured(spec)) == 40\n"
    )
    said = run(house, "-m", "pytest", "test_one.py", "--engine", "single", "-p", "no:cacheprovider")
    assert "1 passed" in said


def test_a_new_form_of_weights_is_its_row_and_its_module(tmp_path: Path) -> None:
    """A model in a zip, whose folder is in it as it is."""
    row = 'PACKED_FORMS = (PackedForm("zip", ".zip", "forms"), '
    house = copy_of(tmp_path, "base/packed_forms.py", ("PACKED_FORMS = (", row))
    (house / "forms.py").write_text(
        "import json, zipfile\n"
        "from pathlib import Path\n\n"
        'CARD = "zip.json"\n\n\n'
        "def identity(sha256):\n"
        '    return f"zip {sha256}"\n\n\n'
        "def card(folder):\n"
        "    return json.loads((folder / CARD).read_bytes())\n\n\n"
        "def unpacked(path):\n"
        '    folder = Path(f"{path}.unpacked")\n'
        "    zipfile.ZipFile(path).extractall(folder)\n"
        '    (folder / CARD).write_text(json.dumps({"file": path.name}))\n'
        "    return folder\n"
    )
    shutil.make_archive(str(tmp_path / "model"), "zip", HOUSE / "ladder/weights/ladder-olmo-0.2m/main")
    code = "import measure, sys; print(measure.interpolate(sys.argv[1], [[1, 2, 3]], [[4, 5, 6]]).provenance['zip'])"
    assert run(house, "-c", code, str(tmp_path / "model.zip")) == "{'file': 'model.zip'}\n"
