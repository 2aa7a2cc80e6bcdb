from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from measure import catalog, models
from measure.spec import MeasureError
from tests.conftest import DEPTH, tiny_network

RUNG = "ladder-olmo-0.2m"


def test_blocks_are_found_by_structure(family: str) -> None:
    model = models.adopt(tiny_network(family), None, "float32")
    assert model.depth == DEPTH
    assert model.vocabulary == 97


def test_a_model_without_one_list_of_blocks_says_what_was_found() -> None:
    network = tiny_network("olmo")
    network.model.layers = network.model.layers[:2]
    with pytest.raises(MeasureError, match=r"looked for one list of 4 blocks .* found these lists: layers \(2\)"):
        models.find_blocks(network)


def test_ladder_weights_are_stored_in_16_bits_and_loaded_in_32() -> None:
    model = models.load(RUNG)
    assert {parameter.dtype for parameter in model.network.parameters()} == {torch.float32}
    assert model.tokenizer is not None
    assert models.load(RUNG, precision="float64").dtype == torch.float64


def test_a_rung_that_is_not_the_one_of_its_card_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models.load(RUNG).card == "weights as the card says"
    shutil.copytree(catalog.LADDER / RUNG, tmp_path / RUNG)
    path = tmp_path / RUNG / "main" / "model.safetensors"
    weights = load_file(path)
    weights["model.layers.2.mlp.down_proj.weight"] *= 1.1
    save_file(weights, path, metadata={"format": "pt"})
    monkeypatch.setattr(catalog, "LADDER", tmp_path)
    catalog.models.cache_clear()
    try:
        assert models.load(RUNG).card.startswith("weights NOT as card.json says (")
    finally:
        catalog.models.cache_clear()


def test_the_hash_is_of_the_weights() -> None:
    first, again = models.load(RUNG), models.load(RUNG)
    assert first.sha256 == again.sha256
    with torch.no_grad():
        next(again.network.parameters())[0, 0] += 1
    assert models.weights_hash(again.network) != first.sha256


def test_scrambled_weights_keep_every_value_and_nothing_else() -> None:
    stored, scrambled = models.load(RUNG), models.load(RUNG, weights="scrambled:0")
    other = models.load(RUNG, weights="scrambled:1")
    assert len({stored.sha256, scrambled.sha256, other.sha256}) == 3
    for before, after in zip(stored.network.parameters(), scrambled.network.parameters(), strict=True):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
        assert not torch.equal(before, after)
    assert models.load(RUNG, weights="scrambled:0").sha256 == scrambled.sha256


def test_untrained_weights_are_seeded_and_of_the_initial_scale() -> None:
    state = torch.get_rng_state()
    fresh, again = models.load(RUNG, weights="untrained:1"), models.load(RUNG, weights="untrained:1")
    assert torch.equal(torch.get_rng_state(), state)
    step0 = models.load(f"{RUNG}@step0-tokens0M")
    assert fresh.sha256 == again.sha256 != step0.sha256
    for new, old in zip(fresh.network.parameters(), step0.network.parameters(), strict=True):
        assert float(new.detach().std()) == pytest.approx(float(old.detach().std()), rel=0.1)


def test_weights_that_do_not_fit_their_config_are_refused(tmp_path: Path) -> None:
    tiny_network("olmo").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    whole = dict(weights)
    del weights["model.layers.2.mlp.down_proj.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(MeasureError, match=r"missing keys: model.layers.2.mlp.down_proj.weight"):
        models.load(str(tmp_path))
    save_file({**whole, "model.layers.0.extra": torch.ones(2)}, path, metadata={"format": "pt"})
    with pytest.raises(MeasureError, match=r"unexpected keys: model.layers.0.extra"):
        models.load(str(tmp_path))


def test_the_same_weights_under_another_configuration_have_another_hash(tmp_path: Path) -> None:
    tiny_network("olmo").save_pretrained(tmp_path)
    first = models.load(str(tmp_path))
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"silu"', '"relu"'))
    second = models.load(str(tmp_path))
    assert first.sha256 == second.sha256
    assert first.config_sha256 != second.config_sha256


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_missing_or_truncated_weights_are_one_clear_error(tmp_path: Path, damage: str) -> None:
    tiny_network("olmo").save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    if damage == "missing":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(MeasureError, match=r"the weights of .* could not be loaded .* Expected a config.json"):
        models.load(str(tmp_path))


def test_modes_and_settings_come_back_after_an_error() -> None:
    network = tiny_network("gpt2").train()
    network.transformer.h[0].eval()
    modes = [module.training for module in network.modules()]
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with pytest.raises(RuntimeError, match="inside"), torch.autocast("cpu"), models.as_measured(network):
            assert not any(module.training for module in network.modules())
            assert not torch.is_grad_enabled()
            assert not torch.is_autocast_enabled("cpu")
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
            raise RuntimeError("inside")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert modes == [module.training for module in network.modules()]
    assert torch.is_grad_enabled()
