"""The package in somebody else's repository: the wheel in an environment of its own, and the suite of the docs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import whole_table
from tests.pages import ROOT, blocks

LADDER = ROOT / "measure" / "ladder" / "weights"
CONFTEST, SUITE = blocks("docs/own-suite.md", "python")


@dataclass(frozen=True)
class Environment:
    """An environment that holds the built wheel, and sees this one's dependencies, but not this checkout."""

    folder: Path
    wheel: Path

    def run(self, repository: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        program = str(self.folder / "bin" / command[0])
        if command[0] == "pytest":
            return self.pytest(repository, *command[1:], **variables)
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHONPATH", "GITHUB"))
        }
        return subprocess.run(
            [program, *command[1:]],
            cwd=repository,
            env={**kept, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def pytest(self, repository: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run(repository, "python", "-m", "pytest", *options, **variables)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(built, check=True, capture_output=True)
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = str(environment / "bin" / "python")
    wheel = next(folder.glob("*.whl"))
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    # As a path, so that what installs this checkout there is not followed.
    packages = next(environment.glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return Environment(environment, wheel)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the suite of the docs, two folders deep, and a test that has nothing to do with it."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\nfilterwarnings = error\n")
    (tmp_path / "tests" / "regions").mkdir(parents=True)
    (tmp_path / "tests" / "regions" / "test_mine.py").write_text(SUITE)
    (tmp_path / "tests" / "test_other.py").write_text("def test_other():\n    pass\n")
    return tmp_path


def test_the_suite_of_the_docs_does_all_that_they_say(installed: Environment, repository: Path) -> None:
    assert len(SUITE.splitlines()) <= 35
    imported = installed.run(repository, "python", "-c", "import measure; print(measure.__file__)").stdout
    assert imported.startswith(str(installed.folder))

    first = installed.pytest(repository)
    assert first.returncode == 10, first.stdout + first.stderr
    assert "1 were never accepted" in first.stdout
    assert installed.pytest(repository, "--snapshot-update").returncode == 0
    kept = [path.relative_to(repository) for path in repository.rglob("*.json") if ".store" not in path.parts]
    assert sorted(map(str, kept)) == [
        "tests/regions/baselines/test_mine/test_baseline[mine].json",
        "tests/regions/baselines/verdicts/test_mine.json",
    ]

    second = installed.pytest(repository)
    assert second.returncode == 0, second.stdout + second.stderr
    assert re.search(
        r"Training sharpens my model's regions\n  mine +supported +n = 400 +control: held against 1",
        whole_table(repository),
    )
    assert re.search(r"\nTraining sharpens my model's regions +supported on mine\n", second.stdout)
    assert "baselines: 1 as accepted, 0 moved or missing, 0 not measured" in second.stdout
    assert "4 passed" in second.stdout
    assert len(list((repository / "reports" / "runs").glob("*.jsonl"))) == 3
    for line in "".join(blocks("docs/ci.md", "")).splitlines():
        done = installed.run(repository, *shlex.split(line.removeprefix("HF_HUB_OFFLINE=1 ")), HF_HUB_OFFLINE="1")
        assert done.returncode == 0, line + done.stdout + done.stderr
    assert (repository / "reports" / "junit.xml").is_file()

    report = installed.run(repository, "measure", "report", "--previous")
    assert "1 case of 1 claim" in report.stdout
    assert "0 verdicts or controls changed, 0 of 2 results moved" in report.stdout
    assert (repository / "reports" / "index.html").stat().st_size > 50_000
    assert re.search(r"ladder-olmo-0.2m +1 +2 +2 ", installed.run(repository, "measure", "plan", ".").stdout)
    refreshed = installed.run(repository, "measure", "refresh", ".", "-k", "mine", "--dry-run")
    assert "would write 0 baselines" in refreshed.stdout, refreshed.stderr
    assert "mine                       supported, stands" in refreshed.stdout
    orphan = repository / "tests" / "regions" / "baselines" / "test_mine" / "test_baseline[gone].json"
    orphan.write_text("{}")
    assert installed.run(repository, "measure", "refresh", ".", "--orphans").stdout.split() == [str(orphan)]


def test_its_suite_is_typed_as_strictly_as_can_be(installed: Environment, repository: Path) -> None:
    folder = repository / "tests" / "regions"
    (folder / "test_wrong.py").write_text(SUITE.replace('after.by_unit("max_slope")', "after.by_unit(7)"))
    typed = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed.folder / "bin" / "python")]
    done = subprocess.run([*typed, str(folder)], cwd=repository, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    # What the package returns is known, so that the wrong one is seen.
    assert len(errors) == 1, done.stdout
    assert "test_wrong.py" in errors[0]
    assert 'expected "str"' in errors[0]


def test_what_does_not_opt_in_is_left_alone(installed: Environment, repository: Path) -> None:
    (repository / "conftest.py").unlink()
    options = installed.pytest(repository, "--help").stdout
    for name in ("--models", "--pairs", "--store", "--keep", "--corpus", "--precision", "--protocol", "--records"):
        assert not re.search(rf"^ +{name}[ =]", options, re.MULTILINE)
    assert installed.pytest(repository, "tests/test_other.py").returncode == 0
    assert not (repository / "reports").exists()


def test_opting_in_costs_no_torch_and_leaves_nothing_where_no_spec_is_collected(
    installed: Environment, repository: Path
) -> None:
    (repository / "tests" / "test_other.py").write_text(
        "import sys\n\ndef test_other():\n    assert 'measure.plugin' in sys.modules\n"
        "    assert not {'torch', 'transformers', 'scipy'} & set(sys.modules)\n"
    )
    done = installed.pytest(repository, "tests/test_other.py")
    assert done.returncode == 0, done.stdout
    assert "claims" not in done.stdout
    assert not (repository / "reports").exists()
    assert not (repository / ".store").exists()


def test_an_ini_setting_moves_baselines_and_not_out_of_the_root_folder(
    installed: Environment, repository: Path
) -> None:
    settings = repository / "pytest.ini"
    whole = settings.read_text()
    settings.write_text(f"{whole}measure_baselines = accepted/curves\n")
    assert installed.pytest(repository, "--snapshot-update").returncode == 0
    assert (repository / "accepted" / "curves" / "test_mine" / "test_baseline[mine].json").is_file()
    settings.write_text(f"{whole}measure_baselines = ../elsewhere\n")
    done = installed.pytest(repository, "--snapshot-update")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "outside the root folder" in done.stderr
    assert "set measure_baselines" in done.stderr
    assert not (repository.parent / "elsewhere").exists()


def test_a_model_of_ones_own_is_in_the_catalog_before_suites_are_collected(
    installed: Environment, repository: Path
) -> None:
    (repository / "conftest.py").write_text(f"{CONFTEST}\n\ndef pytest_measure_models(config):\n    return ['mine']\n")
    rung = repository / "mine"
    rung.mkdir()
    (rung / "config.json").write_text(
        json.dumps(
            {
                "model_type": "llama",
                "hidden_size": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "intermediate_size": 32,
                "vocab_size": 50,
                "architectures": ["LlamaForCausalLM"],
            }
        )
    )
    (repository / "tests" / "test_other.py").write_text(
        "from measure import catalog\n\nLAYERS = catalog.models()['mine'].layers\n\n"
        "def test_it():\n    assert LAYERS == 2\n"
    )
    done = installed.pytest(repository, "tests/test_other.py")
    assert done.returncode == 0, done.stdout + done.stderr


RUNGS = "ladder-olmo-0.2m, ladder-olmo-1.1m@main, ladder-qwen2-0.2m"


def test_the_wheel_is_small_and_holds_what_is_measured_out_of_the_box(installed: Environment) -> None:
    assert installed.wheel.stat().st_size <= 10e6
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = wheel.namelist()
    assert {name.split("/")[0] for name in names} == {"measure", "stable_regions-0.1.0.dist-info"}
    weights = [Path(name).parent for name in names if name.endswith(".safetensors")]
    held = {folder.parent.name: {f.name for f in weights if f.parent == folder.parent} for folder in weights}
    whole = {rung: {path.parent.name for path in LADDER.glob(f"{rung}/*/config.json")} for rung in held}
    assert held == {**whole, "ladder-olmo-1.1m": {"main"}}
    assert sorted(held) == ["ladder-olmo-0.2m", "ladder-olmo-1.1m", "ladder-qwen2-0.2m"]
    # Of everything else that lies in the package nothing is left out: corpora, seeds, the page, cards, the tokenizer.
    kept = {path for path in tracked("measure") if not re.search(r"weights/ladder[^/]*/[^/]+/", path)}
    assert kept <= set(names)


def tracked(folder: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", folder], cwd=ROOT, check=True, capture_output=True, text=True)
    return listed.stdout.splitlines()


@pytest.mark.parametrize("name", ["ladder-olmo-3m", "ladder-olmo-1.1m@step0-tokens0M", "ladder-qwen2-0.2m-seed1"])
def test_a_rung_that_is_not_in_the_wheel_is_told_where_it_is(installed: Environment, tmp_path: Path, name: str) -> None:
    done = installed.run(tmp_path, "measure", "curve", name, " The house was very", " The house was in")
    assert done.returncode == 2
    [said] = done.stderr.splitlines()
    assert f"{name}{'' if '@' in name else '@main'} does not come with the installed package" in said
    assert f"which holds {RUNGS}; measure one of these, or install the package from a clone" in said


def test_what_the_wheel_leaves_out_is_listed_as_such(installed: Environment, tmp_path: Path) -> None:
    listed = installed.run(tmp_path, "measure", "models").stdout
    for name, where in {"0.2m": "shipped", "1.1m": "1 shipped", "3m": "in a clone", "0.2m-seed1": "in a clone"}.items():
        assert re.search(rf"ladder-olmo-{name} .*B  {where} ", listed), name
    checked = installed.run(tmp_path, "measure", "ladder", "verify")
    assert checked.returncode == 0
    assert re.search(r"ladder-olmo-3m +in a clone alone: main$", checked.stdout, re.MULTILINE)
    assert re.search(r"ladder-olmo-1.1m +as its card says; in a clone alone: step0-tokens0M, ", checked.stdout)
    assert re.search(r"ladder-olmo-0.2m +as its card says$", checked.stdout, re.MULTILINE)


def test_a_suite_on_a_rung_that_is_not_there_says_so_in_a_sentence(installed: Environment, repository: Path) -> None:
    suite = repository / "tests" / "regions" / "test_mine.py"
    suite.write_text(SUITE.replace("ladder-olmo-0.2m", "ladder-qwen2-3m"))
    done = installed.pytest(repository)
    assert done.returncode == 11
    told = " ".join(done.stdout.split())
    assert f"ladder-qwen2-3m@main does not come with the installed package, which holds {RUNGS};" in told
    assert "Traceback" not in done.stdout + done.stderr


def test_the_readmes_commands_run_from_the_wheel_in_an_empty_folder(installed: Environment, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("a,b,label\n the house was, the horse was,one\n he said, she said,two\n")
    lines = [
        line for block in blocks("README.md", "") for line in block.splitlines() if line.startswith("measure curve")
    ]
    assert len(lines) == 2
    for line in lines:
        # In place of what is fetched, and of the reader's own.
        line = line.replace("smollm2-135m-instruct", "ladder-olmo-0.2m").replace("./my-model", "ladder-qwen2-0.2m")
        done = installed.run(tmp_path, *shlex.split(line.replace("--layer 1 7", "--layer 1 2")))
        assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"mine.csv", "pairs.csv", "pairs.pdf", "mine.parquet"}
