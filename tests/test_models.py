from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from measure import catalog
from measure.api import one_model as api
from measure.models import loading as models
from measure.models import structure, torch_settings
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


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


UNMEASURABLE = {
    "encoder": ({"architectures": ["BertForMaskedLM"]}, r"is an encoder \(BertForMaskedLM\); only decoders"),
    "encoder-decoder": ({"is_encoder_decoder": True}, r"is an encoder-decoder \(olmo\); only decoders"),
    "quantized": (
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        r"the weights of .* are quantized \(gptq\).*take the checkpoint that it was made from",
    ),
    "own code": (
        {"model_type": "own", "auto_map": {"AutoConfig": "modeling_own.OwnConfig"}},
        r"the config of .* could not be read .* code from its repository, which is never run here",
    ),
    "unknown": ({"model_type": "own"}, r"the config of .* could not be read .* take a transformers that knows this"),
}


@pytest.mark.parametrize(("change", "said"), UNMEASURABLE.values(), ids=UNMEASURABLE)
def test_what_is_no_decoder_or_needs_code_is_refused_before_its_weights(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    tiny_network("olmo").save_pretrained(tmp_path)
    # Were it ever run, it would be seen.
    (tmp_path / "modeling_own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "model.safetensors").write_bytes(b"never looked at")
    change_config(tmp_path, **change)
    with pytest.raises(MeasureError, match=said):
        models.load(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_an_encoder_that_passes_for_a_decoder_is_refused_when_it_is_measured() -> None:
    config = transformers.BertConfig(
        vocab_size=97, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4
    )
    config.is_decoder = False
    network = transformers.BertLMHeadModel(config).eval()
    with pytest.raises(MeasureError, match="does not read from left to right"):
        api.interpolate(network, [[5, 6, 7]], [[8, 9, 3]], steps=3)


def test_a_checkpoint_in_16_bits_is_measured_in_float32(tmp_path: Path) -> None:
    tiny_network("qwen2").to(torch.bfloat16).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    for weights in ("stored", "scrambled:0", "untrained:0"):
        network = models.load(str(tmp_path), weights=weights).network
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    network.lm_head.to(torch.bfloat16)
    with pytest.raises(MeasureError, match=r"loaded with weights in torch.bfloat16, float32 was asked for"):
        models._check_dtype("mine", network, "float32")


def test_a_folder_without_a_tokenizer_takes_token_ids(tmp_path: Path) -> None:
    tiny_network("olmo").save_pretrained(tmp_path)
    assert len(api.interpolate(str(tmp_path), [[5, 6, 7]], [[8, 9, 3]], steps=3)) == 1
    with pytest.raises(MeasureError, match="came without a tokenizer; pass tokenizer= or token ids"):
        api.interpolate(str(tmp_path), "a", "b", steps=3)


def test_a_model_loaded_once_is_measured_as_it_is() -> None:
    model = models.load(RUNG)
    curves = api.interpolate(model, " He said", " the house", steps=5)
    assert curves.provenance["model"] == RUNG


def test_parameters_are_counted_from_a_config_without_memory_for_them() -> None:
    config = transformers.GPT2Config()
    assert models.count_parameters(config) == catalog.models()["gpt2"].parameters
    assert structure.shape_of(config) == catalog.models()["gpt2"].shape


def test_a_models_identity_is_that_of_its_files(tmp_path: Path) -> None:
    tiny_network("olmo").save_pretrained(tmp_path)
    before = models.identity(str(tmp_path))
    assert models.identity(str(tmp_path)) == before
    change_config(tmp_path, rope_theta=5.0)
    changed = models.identity(str(tmp_path))
    assert changed != before
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert models.identity(str(tmp_path)) != changed
    assert models.identity(f"{RUNG}@main") != models.identity(f"{RUNG}@step0-tokens0M")
    bare = models.identity(str(tmp_path), weights=False)
    (tmp_path / "merges.txt").write_text("a b")
    assert models.identity(str(tmp_path), weights=False) != bare


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how glibc keeps freed memory")
def test_freed_memory_is_kept_for_the_next_tensor() -> None:
    """In a process of its own: what a C library keeps depends on all that it saw before."""
    program = """
import resource, torch
from measure.models.torch_settings import keep_freed_memory

def pages():
    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        some = [torch.ones(2**22) for _ in range(3)]
        del some
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(pages())
keep_freed_memory()
print(pages(), pages())
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=clean)
    without, _, kept = map(int, done.stdout.split())
    # Blocks of 16 MB make glibc keep 32 MB by itself, and the three are 48: 16 MB come anew in each of 20 rounds, in
    # pages of 4 kB or whatever the kernel takes, 2 MB at the most.
    assert without >= 20 * 8, "pages were fetched anew each time"
    assert kept < without / 20


def test_measuring_keeps_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(torch_settings, "keep_freed_memory", lambda: calls.append(1))
    with models.as_measured(tiny_network("olmo")):
        assert calls == [1]


def changed(name: str, **values: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "config.json").write_bytes(b'{"caf\xe9": 1}'), "the config of"),
        (lambda folder: (folder / "config.json").write_bytes("{}".encode("utf-16")), "the config of"),
        (lambda folder: (folder / "config.json").write_bytes(b"[" * 100_000), "the config of"),
        (changed("config.json", architectures=[["x"]]), "architectures is [['x']], expected a list of names"),
        (changed("config.json", architectures=7), "architectures is 7, expected a list of names"),
        (changed("tokenizer_config.json", model_max_length="many"), "model_max_length is 'many', expected a number"),
        (lambda folder: (folder / "tokenizer_config.json").write_bytes(b"\xff"), "the tokenizer in"),
        (lambda folder: (folder / "tokenizer.json").write_bytes(b"[" * 100_000), "the tokenizer in"),
    ],
)
def test_damaged_files_of_a_model_are_one_sentence(tmp_path: Path, change: Callable[[Path], object], said: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(catalog.LADDER / RUNG / "main", folder)
    shutil.copytree(catalog.LADDER / "tokenizer", folder, dirs_exist_ok=True)
    change(folder)
    with pytest.raises(MeasureError) as error:
        models.load(str(folder))
    assert said in str(error.value)
    assert str(error.value).count("\n") == 0


def test_one_name_for_a_list_of_architectures_will_do(tmp_path: Path) -> None:
    shutil.copytree(catalog.LADDER / RUNG / "main", tmp_path / "model")
    changed("config.json", architectures="OlmoForCausalLM")(tmp_path / "model")
    assert models.load(str(tmp_path / "model")).depth == 4
