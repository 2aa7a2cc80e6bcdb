"""Which files a model is loaded from, wherever they lie: each is part of it, and what is not one model is told."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import measure
from measure import catalog
from measure.base import checkpoint_files
from measure.hub import checkpoints as hub
from measure.models import files as model_files
from measure.models import loading as models
from measure.spec import MeasureError
from tests.conftest import tiny_network

A, B = [[5, 6, 7, 8]], [[9, 10, 11, 12]]
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def model(folder: Path, *, seed: int = 0, sharded: bool = False) -> Path:
    network = tiny_network("qwen2")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 1 + seed / 8
    network.save_pretrained(folder, max_shard_size="40KB" if sharded else "1GB")
    return folder


def moved(folder: Path, to: str) -> Path:
    """The same model, its weights at `to` and in two files, of which an index tells."""
    weights = load_file(folder / WHOLE)
    (folder / WHOLE).unlink()
    parts = {f"{to}one.safetensors": list(weights)[::2], f"{to}two.safetensors": list(weights)[1::2]}
    for place, names in parts.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        save_file({name: weights[name] for name in names}, folder / place, metadata={"format": "pt"})
    told = {name: place for place, names in parts.items() for name in names}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": told}))
    return folder / f"{to}two.safetensors"


def change(path: Path) -> None:
    """Other weights, of one size, and the time of the file set back."""
    before, weights = path.stat(), load_file(path)
    save_file({name: values * 1.5 for name, values in weights.items()}, path, metadata={"format": "pt"})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("place", ["", "deep/er/", "../beside/"])
def test_what_an_index_tells_of_is_part_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Its identity, and what is kept of its hash from process to process."""
    monkeypatch.setattr(models, "WORTH_KEEPING", 0)
    monkeypatch.setattr(hub, "memory", lambda: tmp_path / "memory")
    folder = model(tmp_path / "model")
    path = moved(folder, place)
    before, curves = models.identity(str(folder)), measure.interpolate(str(folder), A, B, steps=4)
    assert models.identity(str(folder)) == before
    bare = models.identity(str(folder), weights=False)
    change(path)
    assert models.identity(str(folder)) != before
    assert models.identity(str(folder), weights=False) == bare
    after = measure.interpolate(str(folder), A, B, steps=4)
    assert after.provenance["weights_sha256"] != curves.provenance["weights_sha256"]
    assert abs(after.distance - curves.distance).max() > 1e-3


def test_a_file_that_the_config_names_is_part_of_a_model(tmp_path: Path) -> None:
    folder = model(tmp_path)
    (folder / "deep").mkdir()
    shutil.move(folder / WHOLE, folder / "deep" / "own.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": "deep/own.safetensors"}))
    assert checkpoint_files.weights(folder) == ["deep/own.safetensors"]
    before = models.identity(str(folder))
    assert models.load(str(folder)).sha256 == models.weights_hash(tiny_network("qwen2"))
    change(folder / "deep" / "own.safetensors")
    assert models.identity(str(folder)) != before


def test_a_tokenizer_elsewhere_is_part_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, place = model(tmp_path / "model"), tmp_path / "elsewhere"
    place.mkdir()
    (place / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(model_files, "tokenizer_places", lambda _, folder: [folder, place])
    before = models.identity(str(folder))
    (place / "tokenizer.json").write_text("[]")
    assert models.identity(str(folder)) != before


def test_what_is_of_another_model_in_the_same_folder_is_not_part_of_it(tmp_path: Path) -> None:
    folder = model(tmp_path)
    before = models.identity(str(folder))
    model(folder / "checkpoint-5", seed=1)
    assert models.identity(str(folder)) == before
    assert models.identity(f"{folder}@checkpoint-5") != before


@pytest.mark.parametrize(
    "index", ["", "{", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 3, "b": "c"}}', "[" * 9999]
)
def test_an_index_that_cannot_be_read_tells_of_nothing(tmp_path: Path, index: str) -> None:
    folder = model(tmp_path)
    (folder / INDEX).write_text(index)
    assert set(checkpoint_files.read(folder)) == {path.name for path in folder.iterdir()}
    assert models.load(str(folder)).depth == 4


# Adapters

ADAPTER = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "me/base"})


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_alone_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(ADAPTER)
    for text in (str(tmp_path), f"{tmp_path.parent}@{tmp_path.name}"):
        with pytest.raises(
            MeasureError, match=rf"holds an adapter \({name}\).* and no whole model; no adapter is appl"
        ):
            measure.interpolate(text, A, B)
    model(tmp_path)
    (tmp_path / WHOLE).unlink()
    with pytest.raises(MeasureError, match=r"no whole model.*merge it into its model with PEFT \(merge_and_unload"):
        measure.interpolate(str(tmp_path), A, B)


@pytest.mark.parametrize("sharded", [False, True])
def test_an_adapter_beside_a_whole_model_is_refused(tmp_path: Path, sharded: bool) -> None:
    folder = model(tmp_path, sharded=sharded)
    models.load(str(folder))
    (folder / "adapter_config.json").write_text(ADAPTER)
    said = r"holds an adapter \(adapter_config.json\), made for me/base, beside a whole model, and what is installed"
    with pytest.raises(MeasureError, match=said):
        models.load(str(folder))
    (folder / "adapter_config.json").unlink()
    (folder / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(MeasureError, match=r"holds an adapter \(adapter_model.safetensors\) beside a whole model"):
        models.load(str(folder))
    # Of another folder below it nothing is read.
    (folder / "tuned").mkdir()
    shutil.move(folder / "adapter_model.safetensors", folder / "tuned")
    models.load(str(folder))


# Whole and in parts


def both(folder: Path, *, seed: int) -> Path:
    """A whole file, and beside it the parts of a model of another seed."""
    model(folder, seed=seed, sharded=True)
    parts = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    model(folder)
    for name, content in parts.items():
        (folder / name).write_bytes(content)
    return folder


def test_a_whole_file_beside_parts_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = both(tmp_path / "one", seed=1)
    said = "holds a whole model.safetensors and the parts of .*index.json, which differ, first in lm_head.weight"
    for _ in range(2):
        with pytest.raises(MeasureError, match=said):
            models.load(str(folder))
    # What is left of a saving before, without its parts, tells of no other model.
    next(folder.glob("model-0*")).unlink()
    assert models.load(str(folder)).sha256 == models.weights_hash(tiny_network("qwen2"))


def test_a_whole_file_beside_its_own_parts_is_that_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "memory", lambda: tmp_path / "memory")
    folder = both(tmp_path / "one", seed=0)
    compared: list[Path] = []
    check = checkpoint_files.check_same
    monkeypatch.setattr(checkpoint_files, "check_same", lambda paths: [compared.extend(paths), check(paths)][1])
    assert models.load(str(folder)).sha256 == models.weights_hash(tiny_network("qwen2"))
    models.load(str(folder))
    assert len(compared) == len(list(folder.glob("model*.safetensors"))), "read once"
    change(next(folder.glob("model-0*")))
    with pytest.raises(MeasureError, match="which differ, first in"):
        models.load(str(folder))


def test_parts_that_cannot_be_read_beside_a_whole_file_are_refused(tmp_path: Path) -> None:
    folder = both(tmp_path / "one", seed=0)
    next(folder.glob("model-0*")).write_bytes(b"\xff" * 100)
    with pytest.raises(MeasureError, match="since one cannot be read"):
        models.load(str(folder))


# A training checkpoint that holds what is main's


@pytest.fixture
def training(tmp_path: Path) -> Path:
    for seed, step in enumerate(("step0", "step512", "step1000", "main")):
        model(tmp_path / "mine" / step, seed=seed, sharded=True)
    return tmp_path / "mine"


def test_a_part_that_is_mains_is_refused(training: Path, caplog: pytest.LogCaptureFixture) -> None:
    models.load(f"{training}@step512")
    part = min((training / "main").glob("model-0*"))
    shutil.copy(part, training / "step512")
    with pytest.raises(
        MeasureError, match=rf"mine@step512: of its \d+ files of weights {part.name} is main's, byte by"
    ):
        models.load(f"{training}@step512")
    assert models.load(f"{training}@step1000").depth == 4
    assert models.load(str(training / "step512")).depth == 4, "named alone it is a model like any other"
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    (training / "step512").rename(training / "fixed")
    models.load(f"{training}@fixed")
    assert "mine@fixed: of its" in caplog.text


def test_a_step_that_is_main_is_refused_unless_it_is_the_last(tmp_path: Path) -> None:
    for seed, step in enumerate(("step512", "step1000", "main")):
        model(tmp_path / step, seed=seed)
    for step in ("step512", "step1000"):
        shutil.copy(tmp_path / "main" / WHOLE, tmp_path / step)
    with pytest.raises(
        MeasureError, match=r"@step512 and main hold the same weights \(sha256 \w{12}\), so one of them"
    ):
        models.load(f"{tmp_path}@step512")
    models.load(f"{tmp_path}@step1000")
    models.load(f"{tmp_path}@main")


def test_pickled_steps_are_looked_at_too(tmp_path: Path) -> None:
    for seed, step in enumerate(("step512", "step1000", "main")):
        folder = model(tmp_path / step, seed=seed)
        torch.save(load_file(folder / WHOLE), folder / "pytorch_model.bin")
        (folder / WHOLE).unlink()
    models.load(f"{tmp_path}@step512", allow_pickle=True)
    shutil.copy(tmp_path / "main" / "pytorch_model.bin", tmp_path / "step512")
    with pytest.raises(MeasureError, match=r"@step512 and main hold the same weights"):
        models.load(f"{tmp_path}@step512", allow_pickle=True)


def test_the_ladder_is_apart_from_main() -> None:
    name = "ladder-olmo-0.2m"
    first = Path(catalog.resolve(f"{name}@step0-tokens0M").location)
    assert checkpoint_files.shared(first, Path(catalog.resolve(name).location)) == []
    assert checkpoint_files.shared(first, first) == [WHOLE]
    assert re.fullmatch(r"\w{64}", models.identity(name))


@pytest.mark.parametrize("form", checkpoint_files.FORMS)
def test_a_form_of_weights_is_told_by_names(form: checkpoint_files.Form) -> None:
    stem, ending = form.whole.rsplit(".", 1)
    assert f".{ending}" == form.ending
    assert form.ending in checkpoint_files.ENDINGS
    for name in (form.whole, form.index, f"{stem}-00001-of-00002.{ending}", f"{stem}-1-of-2.{ending}.index.json"):
        assert [other for other in checkpoint_files.FORMS if other.has(name)] == [form]
    for name in (
        f"a{form.whole}",
        f"{form.whole}x",
        f"{stem}x{ending}",
        f"{stem}-00001.{ending}",
        f"adapter_{form.whole}",
    ):
        assert not form.has(name)
