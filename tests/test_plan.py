"""What a run would take, told without fetching or measuring; and fetching for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from measure import catalog, cli
from measure.harness import selection
from measure.harness.engines import estimates
from measure.harness.engines import protocol as engines
from measure.hub import checkpoints as hub
from measure.spec import CrossingSpec, CurveSpec, PredictionSpec, SliceSpec
from tests.hub import TOKENIZER, LocalHub

RUNG = catalog.LADDER / "ladder-olmo-0.2m"
REPO = "someone/olmo-small"
SUITE = f"""
import pytest
from measure.spec import CurveSpec, ConfigSpec

NAMES = ["ladder-olmo-0.2m", "someone--olmo-small"]
CORPUS = {str(catalog.LADDER.parent.parent / "corpus" / "prose.jsonl")!r}
SPECS = [CurveSpec(n, pairs=20, steps=5, corpus=CORPUS, weights=w) for n in NAMES for w in ("stored", "scrambled:0")]

@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_it(spec, measured):
    assert len(measured(spec)) == 20
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "test_planned.py").write_text(SUITE)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["measure.plugin"]\n')
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--import-mode=importlib'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with LocalHub() as served:
        served.add(REPO, {path.name: path for folder in (RUNG / "main", TOKENIZER) for path in folder.iterdir()})
        served.use(monkeypatch, tmp_path / "cache")
        hub.forget()
        yield served
    catalog._ADDED.clear()
    catalog.models.cache_clear()
    selection._at_hand.cache_clear()


def table(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, list[str]]:
    capsys.readouterr()
    assert cli.main(["plan", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 for line in lines)
    return {line.split()[0]: line.split() for line in lines}


def test_a_plan_tells_what_is_to_be_fetched_and_what_is_stored(
    project: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ("--models", f"{REPO},ladder-olmo-0.2m")
    planned = table(capsys, *named)
    assert planned["ladder-olmo-0.2m"][1:5] == ["1", "2", "0", "-"]
    size = sum((RUNG / "main" / name).stat().st_size for name in ("model.safetensors", "config.json"))
    assert planned["someone--olmo-small"][1:6] == ["1", "2", "0", f"{(size + tokenizer_bytes()) / 1e9:.2f}", "GB"]
    assert not [line for line in project.requests if "resolve" in line and not line.endswith("/config.json")]
    assert cli.main(["fetch", *named]) == 0
    assert f"main at {hub.commit_of(REPO, 'main')[:12]}, fetched" in capsys.readouterr().out
    assert table(capsys, *named)["someone--olmo-small"][4] == "-"
    assert pytest.main(["suites", "-q", *named, "-p", "no:benchmark"]) == 0
    planned = table(capsys, *named)
    assert [planned[name][3] for name in ("ladder-olmo-0.2m", "someone--olmo-small")] == ["2", "2"]
    assert planned["in"][2:4] == ["0.00", "GB"]


def tokenizer_bytes() -> int:
    return sum(path.stat().st_size for path in TOKENIZER.iterdir() if path.name in hub.SMALL_FILES)


def test_without_a_hub_bytes_are_estimated_and_said_to_be(
    project: LocalHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fetch(REPO, weights=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    planned = table(capsys, "--models", REPO)
    assert planned["someone--olmo-small"][4].startswith("~")
    assert "~:" in planned


def test_a_choice_of_nothing_says_so(project: LocalHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "-k", "nothing", "--models", REPO]) == 2
    assert "-k 'nothing': no test has such a name" in capsys.readouterr().err
    assert cli.main(["plan", "--models", "nobody"]) == 2
    assert "model 'nobody' is unknown" in capsys.readouterr().err
    shutil.rmtree("suites")
    assert cli.main(["plan"]) == 2
    assert capsys.readouterr().err == (
        "measure: there is no suites here; run `measure plan` in the root of the project, or name the tests: "
        "measure plan PATH.\n"
    )
    assert cli.main(["plan", "elsewhere/test_planned.py::test_it"]) == 2
    assert "there is no elsewhere/test_planned.py::test_it here" in capsys.readouterr().err


def test_tests_that_lie_elsewhere_are_planned_where_they_are_named(
    project: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("suites").rename("elsewhere")
    planned = table(capsys, "elsewhere/test_planned.py::test_it", "--models", "ladder-olmo-0.2m")
    assert planned["ladder-olmo-0.2m"][1:5] == ["1", "2", "0", "-"]
    assert cli.main(["plan", "elsewhere", "-k", "nothing"]) == 2
    assert "-k 'nothing': no test has such a name; see `pytest elsewhere --collect-only -q`." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spec", "contexts", "points"),
    [
        (CurveSpec("m", pairs=20, steps=5), 20, 5),
        (PredictionSpec("m", pairs=20, steps=51), 10, 51),
        (CrossingSpec("m", pairs=20, steps=9), 10, 9),
        (SliceSpec("m", size=4, triples=2), 6, 19),
        (CurveSpec("m", pairing="printed_similar"), 6, 50),
        (CurveSpec("m", pairing="dissimilar"), 188, 50),
    ],
)
def test_points_are_counted_as_they_are_run(spec: CurveSpec | SliceSpec, contexts: int, points: int) -> None:
    assert estimates.run_points(spec) == (contexts, points)


def test_operations_are_those_of_a_forward_counted_by_torch() -> None:
    """Against torch's own counter, which leaves out what is no matrix product."""
    from torch.utils.flop_counter import FlopCounterMode

    from measure.core import measurements
    from measure.models import loading as models
    from measure.prompts import drawn as prompts

    name = "ladder-olmo-1.1m"
    spec = CurveSpec(name, pairs=20)
    model = models.load(name)
    pairs = prompts.draw(prompts.load_corpus("default"), model.tokenizer, "paper", spec.pairs, 0)
    with FlopCounterMode(display=False) as counter:
        measurements.fast_curves(model, pairs, layer=1, read="final_norm", steps=spec.steps, origin={})
    counted = counter.get_total_flops()
    assert estimates.work(catalog.models()[name], [spec]).operations == pytest.approx(counted, rel=0.1)


def test_specs_of_one_model_are_grouped_whether_or_not_they_say_main() -> None:
    assert engines.load_of(CurveSpec("m")) == engines.load_of(CurveSpec("m@main"))
