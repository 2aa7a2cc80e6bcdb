"""Which models a run measures, and why not the others."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from measure import catalog
from measure.harness import selection
from measure.harness.engines import estimates
from measure.harness.engines import protocol as engines
from measure.hub import checkpoints as hub
from measure.spec import CurveSpec, MeasureError
from tests.conftest import tiny_network
from tests.hub import LocalHub, tiny_checkpoint


@pytest.fixture(autouse=True)
def clean_catalog() -> Iterator[None]:
    selection._at_hand.cache_clear()
    yield
    selection._at_hand.cache_clear()
    catalog._ADDED.clear()
    catalog.models.cache_clear()


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "is_reachable", lambda _: True)


@pytest.mark.usefixtures("reachable")
def test_configs_need_no_accelerator_but_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = selection.not_measured(["olmo-7b"], "auto", weights=False)
    assert reason == "not measured: the config is on the model hub; force it with --models olmo-7b"
    monkeypatch.setattr(estimates, "accelerator_bytes", lambda: 1)
    assert selection.not_measured(["olmo-7b"], "auto", weights=False) is None


@pytest.mark.usefixtures("reachable")
def test_the_reason_for_leaving_models_out(monkeypatch: pytest.MonkeyPatch) -> None:
    both = ["olmo-7b", "olmo-1b"]
    assert selection.not_measured(["ladder-olmo-0.2m"], "auto") is None
    monkeypatch.setattr(estimates, "memory_here", lambda: 16 * 10**9)
    assert selection.not_measured(both, "auto") == (
        "not measured: 27.6 GB of float32 weights need 30 GB of memory, and this machine has 16; on a larger one "
        "force it with --models olmo-1b,olmo-7b"
    )
    assert "leaves hub models out" in (selection.not_measured(both, "ladder") or "")
    assert selection.not_measured(both, "all") is None
    monkeypatch.setattr(estimates, "accelerator_bytes", lambda: 20 * 10**9)
    assert selection.not_measured(["olmo-1b"], "auto") is None
    assert selection.not_measured(both, "auto") == (
        "not measured: 27.6 GB of float32 weights need an accelerator that holds them, and the one here has 20 GB; "
        "force it with --models olmo-1b,olmo-7b"
    )


@pytest.mark.usefixtures("reachable")
def test_what_any_machine_holds_is_told_with_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "accelerator_bytes", lambda: 0)
    monkeypatch.setattr(estimates, "memory_here", lambda: 64 * 10**9)
    assert selection.not_measured(["gpt2"], "auto", seconds={"gpt2": 1500.0}) == (
        "not measured: without an accelerator it would take about 25 min here (0.5 GB of float32 weights); "
        "force it with --models gpt2"
    )
    assert "would take its time here" in (selection.not_measured(["gpt2"], "auto") or "")
    both = {"gpt2": 5000.0, "olmo-1b": 7000.0}
    assert "about 3 h here" in (selection.not_measured(["gpt2", "olmo-1b"], "auto", seconds=both) or "")


def test_models_left_out_are_told_with_the_work_of_all_their_specs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "accelerator_bytes", lambda: 0)
    monkeypatch.setattr(estimates, "rate", lambda *_, **__: 1e11)
    one, two = CurveSpec("gpt2"), CurveSpec("gpt2", layer=2)
    alone = selection.left_out({"gpt2": [one], "ladder-olmo-0.2m": [CurveSpec("ladder-olmo-0.2m")]}, "auto")
    assert alone == {"gpt2": estimates.seconds_of("gpt2", [one], 1e11)}
    assert selection.left_out({"gpt2": [one, two]}, "ladder")["gpt2"] > 1.8 * alone["gpt2"]
    assert selection.left_out({"gpt2": [one]}, "all") == {}


def test_without_a_hub_an_accelerator_alone_measures_no_hub_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "accelerator_bytes", lambda: 200 * 10**9)
    monkeypatch.setattr(hub, "is_reachable", lambda _: False)
    assert selection.not_measured(["olmo-1b"], "auto") == (
        "not measured: allenai/OLMo-1B-0724-hf is neither in the cache nor can the hub be reached; fetch it first "
        "(`measure fetch --models olmo-1b`), or force it with --models olmo-1b"
    )
    monkeypatch.setattr(hub, "is_cached", lambda _: True)
    selection._at_hand.cache_clear()
    assert selection.not_measured(["olmo-1b"], "auto") is None


def test_shipped_models_go_by_name_or_hub_id() -> None:
    assert selection.named("auto") is None
    assert selection.named("olmo-1b, ladder-olmo-0.2m") == {"olmo-1b", "ladder-olmo-0.2m"}
    assert selection.named("Qwen/Qwen2-0.5B@main") == {"qwen2-0.5b"}
    with pytest.raises(
        MeasureError, match=r"OLMo-1B-0724-hf@step9: the suites measure olmo-1b at the catalog's revisions"
    ):
        selection.named("allenai/OLMo-1B-0724-hf@step9")


def test_a_folder_joins_the_catalog_with_its_dimensions(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    tiny_network("gpt2").save_pretrained(folder)
    assert selection.named(f"{folder}/") == {"mine"}
    shutil.copytree(folder, tmp_path / "my: model")
    assert selection.named(str(tmp_path / "my: model")) == {"my-model"}
    model = catalog.models()["mine"]
    assert (model.origin, model.revisions, model.layers) == ("added", ("main",), 4)
    assert model.parameters == sum(p.numel() for p in tiny_network("gpt2").parameters())
    assert catalog.resolve("mine").location == str(folder)
    assert model in catalog.studied()


def saved(folder: Path) -> Path:
    tiny_network("olmo").save_pretrained(folder)
    return folder


def test_a_comma_in_a_path_that_exists_parts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("lr=1e-4,wd=0.1", "me@lab/run/a,b", "me@lab/run/c@2", " lead", "plain"):
        saved(tmp_path / name)
    assert selection.named(f"{tmp_path}/lr=1e-4,wd=0.1") == {"lr-1e-4-wd-0.1"}
    assert selection.named("olmo-1b,lr=1e-4,wd=0.1, plain , lead") == {"olmo-1b", "lr-1e-4-wd-0.1", "plain", "-lead"}
    assert selection.named("me@lab/run@c@2,me@lab/run@a,b") == {"run"}
    assert catalog.models()["run"].revisions == ("c@2", "a,b")
    assert catalog.resolve("run@c@2").location == str(tmp_path / "me@lab" / "run" / "c@2")


def test_folders_of_one_name_are_told_apart_whatever_their_order(tmp_path: Path) -> None:
    first, second = (saved(tmp_path / "runs" / run / "checkpoint-9") for run in ("a", "b"))
    both = {"a-checkpoint-9": str(first), "b-checkpoint-9": str(second)}
    for choice in (f"{first},{second}", f"{second}/,{first}"):
        catalog.forget_added()
        assert selection.named(choice) == set(both)
        assert {name: catalog.models()[name].location for name in both} == both
    catalog.forget_added()
    assert [selection.named(str(path)) for path in (first, second, first)] == [
        {"checkpoint-9"},
        {"b-checkpoint-9"},
        {"checkpoint-9"},
    ]


def test_a_link_goes_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for run, name in (("a", "base"), ("b", "tuned")):
        (tmp_path / name).symlink_to(saved(tmp_path / run / "checkpoint-9"))
    assert selection.named(f"{tmp_path}/base,{tmp_path}/tuned") == {"base", "tuned"}
    monkeypatch.chdir(tmp_path)
    assert selection.named("base,./base") == {"base"}
    assert catalog.models()["base"].location == str(tmp_path / "base")


def test_a_folder_called_main_is_loaded_as_itself(tmp_path: Path) -> None:
    (tmp_path / "run@main").mkdir()
    assert engines.load_of(CurveSpec(f"{tmp_path}/run@main"))[0] == f"{tmp_path}/run@main"
    assert engines.load_of(CurveSpec("ladder-olmo-0.2m@main"))[0] == "ladder-olmo-0.2m"
    assert engines.load_of(CurveSpec("owner/name@v1"))[0] == "owner/name@v1"


def test_names_that_are_one_without_their_signs_are_told_apart(tmp_path: Path) -> None:
    choice = ",".join(str(saved(tmp_path / name)) for name in ("a b", "a:b"))
    names = selection.named(choice) or set()
    assert len(names) == 2
    assert all(re.fullmatch("a-b-[0-9a-f]{6}", name) for name in names)


def test_revisions_are_taken_in_the_order_given_main_last(tmp_path: Path) -> None:
    for revision in ("early", "late", "main"):
        tiny_network("olmo").save_pretrained(tmp_path / "run" / revision)
    run = tmp_path / "run"
    assert selection.named(f"{run}@main,{run}@early,{run}@late") == {"run"}
    assert catalog.models()["run"].revisions == ("early", "late", "main")
    assert catalog.resolve("run@late").location == str(run / "late")
    assert catalog.resolve("run").location == str(run / "main")


def test_a_hub_model_joins_by_its_config_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalHub() as served:
        served.add("tiny/olmo", tiny_checkpoint(0))
        served.use(monkeypatch, tmp_path)
        hub.forget()
        assert selection.named("tiny/olmo") == {"tiny--olmo"}
        assert not list(tmp_path.rglob("*.safetensors"))
        assert catalog.resolve("tiny--olmo").location == "tiny/olmo"


def test_a_name_that_is_taken_and_one_that_is_no_model_are_refused(tmp_path: Path) -> None:
    tiny_network("olmo").save_pretrained(tmp_path / "olmo-1b")
    with pytest.raises(MeasureError, match=r"would be called olmo-1b, and the catalog's olmo-1b is allenai/.*rename"):
        selection.named(str(tmp_path / "olmo-1b"))
    with pytest.raises(MeasureError, match="model 'nobody' is unknown"):
        selection.named("nobody")
    with pytest.raises(MeasureError, match="no chosen test measures olmo-7b; they measure olmo-1b"):
        selection.check_present({"olmo-7b"}, {"olmo-1b"})
