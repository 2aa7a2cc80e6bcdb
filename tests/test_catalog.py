from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from measure import catalog
from measure.spec import MeasureError
from tests.conftest import tiny_network


def test_shapes_count_the_parameters_of_the_real_models() -> None:
    """Qwen2 totals as published; OLMo totals worked out by hand from the dimensions."""
    counted = {name: model.parameters for name, model in catalog.models().items() if model.source == "hub"}
    assert counted["qwen2-0.5b"] == 494_032_768
    assert counted["qwen2-1.5b"] == 1_543_714_304
    assert counted["qwen2-7b"] == 7_615_616_512
    assert counted["olmo-7b"] == 6_888_095_744
    assert counted["olmo-1b"] == 1_279_787_008


def test_ladder_models_run_from_untrained_to_main() -> None:
    ladder = [model for model in catalog.models().values() if model.source == "ladder"]
    assert {"ladder-olmo-0.2m", "ladder-olmo-1.1m"} <= {model.name for model in ladder}
    for model in ladder:
        assert model.revisions[-1] == "main"
        for revision in model.revisions:
            assert (Path(model.location) / revision / "model.safetensors").is_file()


def test_a_rungs_dimensions_amount_to_the_parameters_that_its_network_had() -> None:
    """The card's count was taken from the network itself."""
    for model in catalog.models().values():
        if model.source == "ladder":
            assert model.parameters == catalog.read_card(Path(model.location))["parameters"]


def test_names_resolve_with_a_revision_or_to_main() -> None:
    assert catalog.resolve("ladder-olmo-0.2m").revision == "main"
    early = catalog.resolve("ladder-olmo-0.2m@step0-tokens0M")
    assert early.location.endswith("ladder-olmo-0.2m/step0-tokens0M")
    hub = catalog.resolve("olmo-1b@step2000-tokens4B")
    assert (hub.location, hub.revision, hub.source) == ("allenai/OLMo-1B-0724-hf", "step2000-tokens4B", "hub")
    assert catalog.resolve("someone/model@abc").source == "hub"


def test_a_folder_resolves(tmp_path: Path) -> None:
    tiny_network("olmo").save_pretrained(tmp_path)
    assert catalog.resolve(str(tmp_path)).source == "folder"
    with pytest.raises(MeasureError, match="step9 has no config.json, so it holds no model"):
        catalog.resolve(f"{tmp_path}@step9")
    rung = catalog.LADDER / "ladder-olmo-0.2m"
    assert catalog.resolve(f"{rung}@step0-tokens0M").location.endswith("step0-tokens0M")
    with pytest.raises(MeasureError, match="models in folders of .*: main, step0-tokens0M"):
        catalog.resolve(str(rung))


NAMES = ["a@b", "run@main", "a,b", "a[1]", "w*d", "q?", "~home", "two words", "end ", "n#1", "p%20", "Größe", "-x"]


@pytest.mark.parametrize("name", NAMES)
def test_what_exists_is_taken_whatever_its_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / name / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (tmp_path / "link").symlink_to(folder)
    for text in (f"{name}/model", f"./{name}/model", f"{folder}", f"{folder}/", "link"):
        found = catalog.resolve(text)
        assert (found.source, found.revision) == ("folder", "main")
        assert Path(found.location).resolve() == folder
    for text in (f"{name}@model", f"{tmp_path / name}@model", f"{name}/@model"):
        found = catalog.resolve(text)
        assert (found.revision, Path(found.location).resolve()) == ("model", folder)
    (tmp_path / f"{name}.gguf").touch()
    assert catalog.resolve(f"{name}.gguf").location == f"{name}.gguf"


def test_the_home_folder_is_opened_where_no_shell_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert catalog.resolve("~/mine").location == str(tmp_path / "mine")


@pytest.mark.parametrize("name", ["~/mind", "./mind", "../mind", "/mind", "runs/mind/", "runs/mine/step1", "runs/mind"])
def test_a_folder_that_is_not_there_is_no_hub_id(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(MeasureError, match=re.escape(f"there is no folder {name!r}")):
        catalog.resolve(name)
    with pytest.raises(MeasureError, match=re.escape(f"there is no folder {'/me@lab/x'!r}")):
        catalog.resolve("/me@lab/x")


def test_a_folder_of_an_owners_name_keeps_nobody_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "allenai" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert catalog.resolve("allenai/OLMo-1B-0724-hf").source == "hub"
    with pytest.raises(MeasureError, match=r"in allenai there are mine\); .* or write hf://allenai/OLMo-9 for"):
        catalog.resolve("allenai/OLMo-9")
    found = catalog.resolve("hf://allenai/OLMo-9@step1")
    assert (found.source, found.location, found.revision) == ("hub", "allenai/OLMo-9", "step1")


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", ""])
def test_what_can_be_no_path_is_an_unknown_model(name: str) -> None:
    with pytest.raises(MeasureError, match="is unknown. Nearest in the catalog"):
        catalog.resolve(name)


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MeasureError, match="config.json is a file, and no model; give the folder"):
        catalog.resolve(str(tmp_path / "config.json"))


def test_sizes_go_up_and_seeds_stay_together() -> None:
    sizes = [model.name for model in catalog.sizes("olmo", "ladder")]
    assert sizes == ["ladder-olmo-0.2m", "ladder-olmo-1.1m", "ladder-olmo-3m"]
    assert [model.name for model in catalog.sizes("qwen2", "hub")] == ["qwen2-0.5b", "qwen2-1.5b", "qwen2-7b"]
    assert {model.seed for model in catalog.seeds(catalog.models()["ladder-olmo-0.2m"])} == {0, 1, 2}


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(
        MeasureError, match=r"model 'ladder-olmo-02m' is unknown. Nearest in the catalog: ladder-olmo-0.2m"
    ):
        catalog.resolve("ladder-olmo-02m")
    with pytest.raises(MeasureError, match=re.escape("has no revision 'step7'; it has step0-tokens0M")):
        catalog.resolve("ladder-olmo-0.2m@step7")


def test_a_damaged_card_is_named(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(MeasureError, match="card.json cannot be read"):
        catalog.read_card(tmp_path)


CHANGES = {
    "no UTF-8": (lambda text: text.replace("olmo", "olm\xe9").encode("latin1"), "it is not in UTF-8"),
    "deep": (lambda text: b"[" * 100_000, "it is nested too deep"),
    "a list": (lambda text: b"[]", "Expected `object`, got `array`"),
    "no rung": (lambda text: text.replace('"rung"', '"rang"').encode(), "missing required field `rung`"),
    "text for a number": (
        lambda text: text.replace('"width": 64', '"width": "64"').encode(),
        "Expected `int`, got `str`",
    ),
    "no width": (lambda text: text.replace('"width": 64', '"width": 0').encode(), "its rung is of no size"),
    "huge": (lambda text: text.replace('"width": 64', f'"width": {"6" * 400}').encode(), "too large a number"),
    "another size": (lambda text: text.replace('"width": 64', '"width": 65').encode(), "parameters, not 331776"),
    "another family": (lambda text: text.replace('"olmo"', '"gpt9"').encode(), "Invalid enum value 'gpt9'"),
    "a key twice": (
        lambda text: text.replace('"width": 64', '"width": 64, "width": 64').encode(),
        "'width' is there twice",
    ),
    "NaN": (lambda text: text.replace('"seed": 0', '"seed": NaN').encode(), "NaN is no JSON number"),
    "other tokens": (lambda text: text.replace('"tokens": 262144', '"tokens": 262145').encode(), "of another step"),
    "other steps": (lambda text: text.replace('"steps": 2048', '"steps": 2049').encode(), "of another step"),
    "no main": (lambda text: text.replace('"main"', '"last"').encode(), "expected several of which main is the last"),
    "one twice": (lambda text: text.replace("step64-tokens0M", "step0-tokens0M").encode(), "its revisions are step0"),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_a_card_that_contradicts_itself_is_one_sentence(tmp_path: Path, change: Any, said: str) -> None:
    text = (catalog.LADDER / "ladder-olmo-0.2m" / "card.json").read_text()
    assert change(text) != text.encode()
    (tmp_path / "card.json").write_bytes(change(text))
    with pytest.raises(MeasureError) as error:
        catalog.read_card(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'card.json'} cannot be read (")
    assert said in str(error.value)
    assert str(error.value).endswith("restore it, or train the rung anew with `measure ladder train`.")
