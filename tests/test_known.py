"""What is known of a model is believed as long as the model is what it was, and not a call longer."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import measure
from measure.core import agreement, forward
from measure.hub import known
from measure.models import loading as models
from tests.conftest import tiny_network

A, B = [[5, 6, 7, 8]], [[9, 10, 11, 12]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was found out anew, in turn."""
    kept: list[str] = []
    hashed, checked = models.weights_hash, agreement._plainly
    monkeypatch.setattr(models, "weights_hash", lambda network: [kept.append("hash"), hashed(network)][1])
    monkeypatch.setattr(agreement, "_plainly", lambda *given: [kept.append("check"), checked(*given)][1])
    return kept


def weight(network: Any) -> nn.Parameter:
    found: nn.Parameter = network.model.layers[1].mlp.down_proj.weight
    return found


def test_a_model_as_it_was_is_not_looked_at_again(asked: list[str]) -> None:
    network = tiny_network("qwen2")
    first = measure.interpolate(network, A, B, steps=5)
    assert asked == ["hash", "check"]
    second = measure.interpolate(network, A, B, steps=5)
    assert asked == ["hash", "check"]
    np.testing.assert_array_equal(second.distance, first.distance)
    assert second.provenance["weights_sha256"] == first.provenance["weights_sha256"]
    measure.interpolate(network, A, B, steps=5, layer=2)
    assert asked == ["hash", "check", "check"]


def in_place(network: Any) -> None:
    with torch.no_grad():
        weight(network)[3, 5] += 1.0


def behind_its_back(network: Any) -> None:
    weight(network).data *= 1.5


def one_row(network: Any) -> None:
    weight(network).data[3] = 0.0


def one_column(network: Any) -> None:
    weight(network).data[:, 17] = 0.0


def by_numpy(network: Any) -> None:
    weight(network).detach().numpy()[-1] = 0.0


def replaced(network: Any) -> None:
    network.model.layers[1].mlp.down_proj.weight = nn.Parameter(weight(network).detach() * 2)


def state_dict(network: Any) -> None:
    network.load_state_dict({name: values * 2 for name, values in network.state_dict().items()})


def other_module(network: Any) -> None:
    network.model.layers[1].mlp.down_proj = nn.Linear(64, 32, bias=False)


def cast(network: Any) -> None:
    network.double()


def training_step(network: Any) -> None:
    network(input_ids=torch.tensor(A), labels=torch.tensor(A)).loss.backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()


@pytest.mark.parametrize(
    "change",
    [
        in_place,
        behind_its_back,
        one_row,
        one_column,
        by_numpy,
        replaced,
        state_dict,
        other_module,
        cast,
        training_step,
    ],
)
def test_changed_weights_are_hashed_and_checked_again(asked: list[str], change: Callable[[Any], None]) -> None:
    network = tiny_network("qwen2")
    first = measure.interpolate(network, A, B, steps=5)
    change(network)
    second = measure.interpolate(network, A, B, steps=5)
    assert asked == ["hash", "check"] * 2
    assert second.provenance["weights_sha256"] != first.provenance["weights_sha256"]


def hook(network: Any) -> None:
    network.model.layers[1].register_forward_hook(lambda _module, _inputs, output: output)


def own_forward(network: Any) -> None:
    block = network.model.layers[1]
    block.forward = block.forward


def other_activation(network: Any) -> None:
    network.model.layers[2].mlp.act_fn = nn.ReLU()


def other_config(network: Any) -> None:
    network.config._attn_implementation = "eager"


@pytest.mark.parametrize("change", [hook, own_forward, other_activation, other_config])
def test_what_runs_otherwise_is_checked_again(asked: list[str], change: Callable[[Any], None]) -> None:
    network = tiny_network("qwen2")
    measure.interpolate(network, A, B, steps=5)
    change(network)
    measure.interpolate(network, A, B, steps=5)
    assert asked == ["hash", "check"] * 2


def test_a_check_that_failed_is_made_again(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network("qwen2")
    with monkeypatch.context() as broken:
        broken.setattr(forward, "run_from_layer", lambda *_, **__: 1 / 0)
        assert measure.interpolate(network, A, B, steps=5).provenance["path"] == "reference"
    assert measure.interpolate(network, A, B, steps=5).provenance["path"] == "fast"
    assert asked == ["hash", "check", "check"]


def test_nothing_keeps_a_model_alive() -> None:
    network = tiny_network("qwen2")
    measure.interpolate(network, A, B, steps=5)
    seen = weakref.ref(network)
    del network
    gc.collect()
    assert seen() is None


def test_tensors_without_versions_are_looked_at_each_time(asked: list[str]) -> None:
    with torch.inference_mode():
        network = tiny_network("qwen2")
    measure.interpolate(network, A, B, steps=5)
    measure.interpolate(network, A, B, steps=5)
    assert asked == ["hash", "check"] * 2


@pytest.mark.parametrize(("rows", "columns"), [(5, 7), (7, 5), (64, 64), (1, 9), (9, 1), (2, 2), (896, 4864)])
def test_a_sample_takes_in_every_row_and_column(rows: int, columns: int) -> None:
    places = known._diagonal(torch.arange(rows * columns).view(rows, columns)).numpy()
    assert {*(places // columns).tolist()} == set(range(rows))
    assert {*(places % columns).tolist()} == set(range(columns))


# Across processes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(models, "WORTH_KEEPING", 0)
    monkeypatch.setattr(models.hub, "memory", lambda: tmp_path / "memory")
    tiny_network("qwen2").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_files_as_they_were_are_not_looked_at_again(asked: list[str], folder: Path) -> None:
    first = measure.interpolate(folder, A, B, steps=5)
    second = measure.interpolate(folder, A, B, steps=5)
    assert asked == ["hash", "check"]
    assert second.provenance["weights_sha256"] == first.provenance["weights_sha256"]
    np.testing.assert_array_equal(second.distance, first.distance)


def test_a_file_written_anew_is_looked_at_again_though_it_says_nothing_of_it(asked: list[str], folder: Path) -> None:
    first = measure.interpolate(folder, A, B, steps=5)
    path = folder / "model.safetensors"
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-8:] = np.float32([0.5, 0.5]).tobytes()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = measure.interpolate(folder, A, B, steps=5)
    assert asked[:3] == ["hash", "check", "hash"]
    assert second.provenance["weights_sha256"] != first.provenance["weights_sha256"]


@pytest.mark.parametrize("damage", [b"", b"{", b'"x"', b"7", b"[1]", b'{"a": 1}', b"[[1, 2, 3]]"])
def test_what_was_kept_and_is_damaged_is_found_out_again(asked: list[str], folder: Path, damage: bytes) -> None:
    first = measure.interpolate(folder, A, B, steps=5)
    for path in (folder.parent / "memory").rglob("*.json"):
        path.write_bytes(damage)
    second = measure.interpolate(folder, A, B, steps=5)
    assert asked == ["hash", "check"] * 2
    assert second.provenance["weights_sha256"] == first.provenance["weights_sha256"]


def test_a_folder_that_cannot_be_written_costs_only_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(known, "write_atomically", full)
    assert len(measure.interpolate(folder, A, B, steps=5)) == 1
