"""Models in GGUF files: the numbers of safetensors, and a sentence for each file that is not what it should be."""

from __future__ import annotations

import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from transformers import AutoTokenizer

import measure
from measure import catalog
from measure.hub import checkpoints as hub
from measure.hub import gguf_files
from measure.hub.packed import file_hash
from measure.models import loading as models
from measure.spec import MeasureError, NotMeasuredError
from tests import gguf_writing
from tests.conftest import whole_table
from tests.gguf_writing import Q4_0, Q8_0, network, write
from tests.hub import LocalHub

A, B = " The house was very", " He said that the"
TOKENIZER = catalog.LADDER / "tokenizer"


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unpacked files of these tests lie apart."""
    monkeypatch.setattr(gguf_files.hub, "memory", lambda: tmp_path / "memory")
    return tmp_path / "memory"


@pytest.mark.parametrize("family", gguf_files.FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_a_file_gives_the_numbers_of_the_model_it_was_made_of(tmp_path: Path, family: str, tied: bool) -> None:
    if family in ("gemma2", "gemma3", "gpt2") and not tied:
        pytest.skip("always tied")
    made = network(family, tied=tied)
    found = measure.interpolate(str(write(tmp_path / "tiny.gguf", made)), A, B, steps=9)
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    expected = measure.interpolate(made, A, B, steps=9, tokenizer=tokenizer)
    scale = expected.reference_norm.max()
    np.testing.assert_allclose(found.distance / scale, expected.distance / scale, atol=1e-6)
    assert found.provenance["path"] == "fast"
    assert found.provenance["prompts_sha256"] == expected.provenance["prompts_sha256"]


def test_the_tokenizer_is_read_without_python_and_is_that_which_transformers_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = gguf_files.unpacked(write(tmp_path / "tiny.gguf", network("llama")))
    expected = AutoTokenizer.from_pretrained(folder)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: pytest.fail("read as JSON"))
    found = models.named_tokenizer(str(folder / "tokenizer.json"))
    assert type(found) is type(expected)
    assert found.special_tokens_map == expected.special_tokens_map
    for text in (" The house was big", "<s> 12 \n\n", "caf\u00e9"):
        assert found(text)["input_ids"] == expected(text)["input_ids"]


@pytest.mark.parametrize(("kind", "name"), [(Q8_0, "Q8_0"), (Q4_0, "Q4_0")])
def test_dequantized_weights_in_both_forms_give_the_same_numbers(tmp_path: Path, kind: Any, name: str) -> None:
    path = write(tmp_path / "tiny.gguf", network("llama"), kind)
    packed = measure.interpolate(str(path), A, B, steps=9)
    shutil.copytree(gguf_files.unpacked(path), tmp_path / "plain", ignore=shutil.ignore_patterns("gguf.json"))
    plain = measure.interpolate(tmp_path / "plain", A, B, steps=9)
    np.testing.assert_array_equal(packed.distance, plain.distance)
    assert packed.provenance["weights_sha256"] == plain.provenance["weights_sha256"]
    said = packed.provenance["gguf"]
    assert said["types"] == {"F32": 7, name: 22}
    assert said["dequantized"] == "float32"
    assert said["sha256"] == file_hash(path)
    assert "gguf" not in plain.provenance


def test_numbers_are_those_that_the_format_stands_for(tmp_path: Path) -> None:
    """By the package's own arithmetic on a matrix whose rows lie as in the model."""
    made = network("qwen2")
    folder = gguf_files.unpacked(write(tmp_path / "tiny.gguf", made, Q8_0))
    loaded = models.load(str(folder))
    values = made.state_dict()["model.layers.1.mlp.down_proj.weight"].numpy()
    expected = gguf.dequantize(gguf.quantize(values, Q8_0), Q8_0)
    found = loaded.network.state_dict()["model.layers.1.mlp.down_proj.weight"].numpy()
    np.testing.assert_array_equal(found, expected.reshape(found.shape))
    assert np.abs(found - values).max() > 0


def test_a_large_embedding_is_unpacked_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "tiny.gguf", network("llama"), Q8_0)
    whole = (gguf_files.unpacked(path) / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "memory")
    monkeypatch.setattr(gguf_files, "_AT_ONCE", 64 * 7)
    assert (gguf_files.unpacked(path) / "model.safetensors").read_bytes() == whole


def test_a_file_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "tiny.gguf", network("llama"))
    folder = gguf_files.unpacked(path)
    monkeypatch.setattr(gguf_files, "_write_all", lambda *_: pytest.fail("unpacked again"))
    assert gguf_files.unpacked(path) == folder
    # One of an older form, or cut short by a kill, is not taken.
    (folder / "gguf.json").write_text('{"format": 0}')
    with pytest.raises(pytest.fail.Exception, match="unpacked again"):
        gguf_files.unpacked(path)


def test_nothing_is_left_of_an_unpacking_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "tiny.gguf", network("llama"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(gguf_files, "_write_tokenizer", full)
        with pytest.raises(OSError, match="No space left"):
            gguf_files.unpacked(path)
    assert not list((tmp_path / "memory" / "gguf").iterdir())
    assert len(measure.interpolate(str(path), A, B, steps=3)) == 1


def test_a_folder_with_one_file_is_that_model(tmp_path: Path) -> None:
    (tmp_path / "only").mkdir()
    path = write(tmp_path / "only" / "tiny.gguf", network("llama"))
    by_folder = measure.interpolate(tmp_path / "only", A, B, steps=3)
    np.testing.assert_array_equal(by_folder.distance, measure.interpolate(str(path), A, B, steps=3).distance)
    shutil.copy(path, tmp_path / "only" / "other.gguf")
    with pytest.raises(MeasureError, match=r"holds 2 GGUF files \(other.gguf, tiny.gguf\); name one: .*other.gguf"):
        measure.interpolate(tmp_path / "only", A, B)


def test_digits_are_cut_one_by_one_where_the_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "tiny.gguf", network("llama"))
    usual = AutoTokenizer.from_pretrained(gguf_files.unpacked(path))
    assert usual(" in 1849")["input_ids"] == AutoTokenizer.from_pretrained(TOKENIZER)(" in 1849")["input_ids"]
    monkeypatch.setattr(
        gguf_writing.gguf.GGUFWriter,
        "add_tokenizer_pre",
        lambda self, _: self.add_string("tokenizer.ggml.pre", "smollm"),
    )
    cut = AutoTokenizer.from_pretrained(gguf_files.unpacked(write(tmp_path / "digits.gguf", network("llama"))))
    assert [cut.decode([number]) for number in cut(" in 1849")["input_ids"]][-4:] == ["1", "8", "4", "9"]


def test_an_unknown_way_to_cut_text_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        gguf_writing.gguf.GGUFWriter, "add_tokenizer_pre", lambda self, _: self.add_string("tokenizer.ggml.pre", "mine")
    )
    found = measure.interpolate(str(write(tmp_path / "tiny.gguf", network("llama"))), A, B, steps=3)
    assert found.provenance["gguf"]["tokenizer"] == "cuts text as 'mine', which is not known and was taken for GPT-2's"


def test_a_file_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repository").mkdir()
    path = write(tmp_path / "repository" / "tiny.gguf", network("llama"))
    with LocalHub() as served:
        served.add("owner/tiny", tmp_path / "repository")
        served.use(monkeypatch, tmp_path / "cache")
        hub.forget()
        found = measure.interpolate("hf://owner/tiny/tiny.gguf", A, B, steps=3)
    np.testing.assert_array_equal(found.distance, measure.interpolate(str(path), A, B, steps=3).distance)


def test_a_file_has_no_revisions(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.gguf", network("llama"))
    assert len(measure.interpolate(f"{path}@main", A, B, steps=3)) == 1
    with pytest.raises(NotMeasuredError, match="has no revision 'step1': one file holds one set of weights"):
        measure.interpolate(f"{path}@step1", A, B)


# What is not what it should be


def text(path: Path) -> None:
    path.write_text("A text, and no model at all.")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def big_endian(path: Path) -> None:
    path.write_bytes(b"GGUF" + struct.pack(">I", 3) + bytes(64))


def hostile_count(path: Path) -> None:
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60) + bytes(64))


def hostile_length(path: Path) -> None:
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 2**62) + bytes(64))


def hostile_array(path: Path) -> None:
    key = b"general.architecture"
    array = struct.pack("<Q", len(key)) + key + struct.pack("<IIQ", 9, 8, 2**61)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + array + bytes(64))


def cut_in_the_head(path: Path) -> None:
    write(path, network("llama"))
    path.write_bytes(path.read_bytes()[:3000])


def cut_in_the_weights(path: Path) -> None:
    write(path, network("llama"))
    path.write_bytes(path.read_bytes()[:-5000])


def missing(path: Path) -> None:
    write(path, network("llama"), leave_out="model.layers.1.mlp.up_proj.weight")


def unknown_tensor(path: Path) -> None:
    write(path, network("llama"), extra={"rope_freqs.weight": np.ones(8, np.float32)})


def unknown_setting(path: Path) -> None:
    write(path, network("llama"), said={"rope.scaling.factor": 8.0})


def not_a_number(path: Path) -> None:
    made = network("llama")
    made.model.layers[1].mlp.up_proj.weight.data[3, 4] = float("nan")
    write(path, made)


def an_encoder(path: Path) -> None:
    renamed(path, "nomic-bert")


def another_family(path: Path) -> None:
    renamed(path, "minicpm")


def renamed(path: Path, family: str) -> None:
    writer = gguf.GGUFWriter(path, family)
    writer.add_tensor("token_embd.weight", np.ones((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (text, "is no GGUF file, whatever its name: it begins with b'A te', not b'GGUF'"),
        (empty, "is no GGUF file, whatever its name: it begins with b''"),
        (big_endian, "is written for machines of the other byte order"),
        (hostile_count, "is damaged or cut short ("),
        (hostile_length, "is damaged or cut short ("),
        (hostile_array, "is damaged or cut short ("),
        (cut_in_the_head, "is damaged or cut short ("),
        (cut_in_the_weights, "is damaged or cut short ("),
        (missing, "lacks tensors of its model: model.layers.1.mlp.up_proj.weight; fetch it again"),
        (unknown_tensor, "holds tensors that transformers has no place for: rope_freqs.weight; without them"),
        (unknown_setting, "says llama.rope.scaling.factor = 8.0, which transformers does not take over from GGUF"),
        (not_a_number, "tensor model.layers.1.mlp.up_proj.weight holds NaN or infinity"),
        (an_encoder, "is an encoder (nomic-bert); only decoders, which read from left to right, can be measured"),
        (another_family, "is of family 'minicpm', which is not read from GGUF; these are: llama, qwen2, qwen3"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_one_sentence(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "tiny.gguf"
    make(path)
    with pytest.raises(MeasureError, match=re.escape(said)) as error:
        measure.interpolate(str(path), A, B)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotMeasuredError, match=r"absent.gguf is not there; give the path of a GGUF file"):
        measure.interpolate(str(tmp_path / "absent.gguf"), A, B)
    with pytest.raises(MeasureError, match="a GGUF file on the hub is named hf://OWNER/NAME/FILE.gguf"):
        measure.interpolate("hf://owner/file.gguf", A, B)


@pytest.mark.parametrize("what", ["memory", "free disk"])
def test_what_this_machine_cannot_hold_is_said_before_anything_is_unpacked(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "tiny.gguf", network("llama"))
    if what == "memory":
        monkeypatch.setattr(gguf_files, "machine_bytes", lambda: 2**20)
    else:
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(gguf_files.shutil, "disk_usage", lambda _: usage._replace(free=2**20))
    with pytest.raises(
        NotMeasuredError, match=f"in float32 its weights take 0.0 GB, and this machine has 0.0 GB of {what}"
    ):
        measure.interpolate(str(path), A, B)
    assert not (tmp_path / "memory" / "gguf").exists()


def test_without_the_package_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "tiny.gguf", network("llama"))

    def absent(_: Path) -> None:
        raise ImportError("No module named 'gguf'")

    monkeypatch.setattr(gguf_files, "_reader", absent)
    with pytest.raises(NotMeasuredError, match=re.escape("pip install 'stable-regions[gguf]'")):
        measure.interpolate(str(path), A, B)


def test_two_files_of_one_tokenizer_are_two_sizes(pytester: pytest.Pytester, memory: Path) -> None:
    """The ladder's rungs as GGUF are asked whether sharpness grows with size."""
    root = Path(__file__).parent.parent
    for size in ("0.2m", "1.1m"):
        loaded = models.load(f"ladder-qwen2-{size}")
        write(pytester.path / f"qwen2-{size}.gguf", loaded.network)
    shutil.copy(root / "suites" / "test_size.py", pytester.path)
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    names = ",".join(str(pytester.path / f"qwen2-{size}.gguf") for size in ("0.2m", "1.1m"))
    pytester.runpytest("--models", names, "--pairs", "40", "-k", "test_claim", "-p", "no:cacheprovider")
    assert re.search(
        r"qwen2-\w{6}.*n = 20.*\n(?:.*\n)*.*steeper over null, smallest to largest", whole_table(pytester.path)
    )
    records = json.loads(next((pytester.path / "reports" / "runs").glob("*.jsonl")).read_text().splitlines()[0])
    assert sorted(records["catalog"]) == ["qwen2-0.2m.gguf", "qwen2-1.1m.gguf"]


@pytest.mark.parametrize("damage", ["weights", "config", "card", "list", "deep"])
def test_an_unpacked_folder_that_is_not_as_it_was_is_unpacked_anew(tmp_path: Path, damage: str) -> None:
    path = write(tmp_path / "tiny.gguf", network("llama"))
    folder = gguf_files.unpacked(path)
    whole = {one.name: one.read_bytes() for one in folder.iterdir()}
    names = {"weights": "model.safetensors", "config": "config.json"}
    target = folder / names.get(damage, "gguf.json")
    content = bytearray(target.read_bytes())
    content[-100] ^= 1
    target.write_bytes({"list": b"[]", "deep": b"[" * 100_000}.get(damage, bytes(content)))
    assert gguf_files.card(folder) is None
    assert gguf_files.unpacked(path) == folder
    assert (folder / "model.safetensors").read_bytes() == whole["model.safetensors"]
    assert gguf_files.card(folder) is not None
