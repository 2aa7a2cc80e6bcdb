"""`interpolate` as users call it: its input, its errors, and numbers that do not depend on how they were batched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

import measure
from measure import measurements
from measure.models import LoadedModel
from measure.prompts import Pairs
from measure.spec import MeasureError
from tests.conftest import DEPTH, VOCABULARY, WordTokenizer, tiny_network

RUNG = "ladder-olmo-0.2m"
A, B = [[5, 6, 7, 8]], [[9, 10, 11, 12]]


@pytest.mark.parametrize("read", ["final_norm", "residual", "logits"])
@pytest.mark.parametrize("chunk", [1, 64, 100_000])
def test_chunks_do_not_change_a_number(model: LoadedModel, pairs: Pairs, read: Any, chunk: int) -> None:
    whole = measurements.curves(model, pairs, layer=1, read=read, steps=9, origin={})
    parts = measurements.curves(model, pairs, layer=1, read=read, steps=9, origin={}, chunk=chunk)
    change = np.abs(parts.distance - whole.distance).max(axis=1)
    assert (change <= 1e-5 * whole.reference_norm).all()


def test_threads_do_not_change_a_number(model: LoadedModel, pairs: Pairs) -> None:
    found = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(measurements.curves(model, pairs, layer=1, read="final_norm", steps=9, origin={}))
    finally:
        torch.set_num_threads(threads)
    assert (np.abs(found[0].distance - found[1].distance).max(axis=1) <= 1e-5 * found[0].reference_norm).all()


def test_each_pair_is_measured_in_its_own_context(model: LoadedModel, pairs: Pairs) -> None:
    together = measurements.curves(model, pairs, layer=2, read="final_norm", steps=5, origin={})
    for row in range(len(pairs)):
        alone = measurements.curves(
            model,
            Pairs(pairs.a[row : row + 1], pairs.b[row : row + 1], (0,)),
            layer=2,
            read="final_norm",
            steps=5,
            origin={},
        )
        np.testing.assert_allclose(alone.relative[0], together.relative[row], atol=1e-5)


def test_a_rung_by_name_with_strings() -> None:
    curves = measure.interpolate(
        RUNG, [" He opened the old door", " She"], [" The house was very", " It rained"], steps=5
    )
    assert curves.distance.shape == curves.relative.shape == (2, 5)
    assert (curves.distance[:, 0] == 0).all()
    np.testing.assert_allclose(curves.relative[:, -1], 1)
    provenance = curves.provenance
    assert (provenance["model"], provenance["revision"]) == (RUNG, "main")
    assert (provenance["dtype"], provenance["path"], provenance["layer"]) == ("float32", "fast", 1)
    assert len(provenance["weights_sha256"]) == len(provenance["prompts_sha256"]) == 64
    assert provenance["torch"] == torch.__version__


def test_a_bare_string_is_one_pair() -> None:
    assert len(measure.interpolate(RUNG, " He said", " She said", steps=3)) == 1


def test_revisions_differ() -> None:
    curves = [measure.interpolate(name, " He said", " the house", steps=9) for name in (RUNG, f"{RUNG}@step0-tokens0M")]
    assert curves[0].provenance["weights_sha256"] != curves[1].provenance["weights_sha256"]
    assert np.abs(curves[0].relative - curves[1].relative).max() > 0.01


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_token_ids_of_a_loaded_model(kind: Any) -> None:
    curves = measure.interpolate(tiny_network("gpt2"), kind(A), kind(B), steps=3)
    assert curves.provenance["prompts_sha256"] == Pairs(((5, 6, 7, 8),), ((9, 10, 11, 12),), (0,)).sha256


def test_a_loaded_model_with_its_tokenizer_and_bos() -> None:
    network = tiny_network("llama")
    with_bos = measure.interpolate(network, "a b", "c d", bos=True, tokenizer=WordTokenizer(bos=1), steps=5)
    without = measure.interpolate(network, "a b", "c d", tokenizer=WordTokenizer(bos=1), steps=5)
    assert np.abs(with_bos.relative - without.relative).max() > 1e-3


def test_a_folder(tmp_path: Path) -> None:
    network = tiny_network("olmo")
    network.save_pretrained(tmp_path)
    by_folder, loaded = measure.interpolate(str(tmp_path), A, B), measure.interpolate(network, A, B)
    np.testing.assert_array_equal(by_folder.distance, loaded.distance)


def test_identical_prompts_are_degenerate() -> None:
    curves = measure.interpolate(tiny_network("olmo"), A, A)
    assert curves.degenerate.all()
    assert np.isnan(curves.max_slope).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_must_be_said_aloud(dtype: torch.dtype) -> None:
    network = tiny_network("olmo").to(dtype)
    name: Any = str(dtype).removeprefix("torch.")
    with pytest.raises(MeasureError, match=f"the model is in {name}.*pass precision='{name}'"):
        measure.interpolate(network, A, B)
    assert measure.interpolate(network, A, B, precision=name).provenance["dtype"] == name


def test_a_prompt_longer_than_the_attention_window_takes_the_reference_path() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    network = MistralForCausalLM(
        MistralConfig(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=DEPTH, num_attention_heads=4,
            num_key_value_heads=4, sliding_window=3, initializer_range=0.3,
        )
    )  # fmt: skip
    assert measure.interpolate(network, A, B, steps=3).provenance["path"] == "reference"
    assert measure.interpolate(network, [[5, 6, 7]], B, steps=3).provenance["path"] == "fast"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": 0}, "layer=0: OlmoForCausalLM has 4 blocks; layers are counted from 1"),
        ({"layer": DEPTH + 1}, "choose 1 to 4"),
        ({"steps": 1}, "steps=1: a curve needs at least 2 points"),
        ({"read": "hidden"}, "read='hidden' is not known; choose one of final_norm, residual, logits"),
        ({"precision": "half"}, "precision='half' is not known"),
        ({"prompts_a": []}, "prompts_a is empty"),
        ({"prompts_a": [[]]}, "prompts_a[0] is [], which has no tokens"),
        ({"prompts_a": A * 2}, "2 prompts in prompts_a against 1 in prompts_b"),
        ({"prompts_b": [[5, VOCABULARY]]}, "prompts_b[0] has token id 97; OlmoForCausalLM knows ids 0 to 96"),
        ({"prompts_b": [[5, -1]]}, "has token id -1"),
        ({"prompts_b": [5, 6]}, "token ids of shape (pairs, tokens)"),
        ({"prompts_b": [[0.5, 1.0]]}, "one list of integers a prompt"),
        ({"prompts_b": [[5] * 65]}, "has 65 tokens; the context of OlmoForCausalLM is 64"),
        ({"prompts_a": "a word"}, "the model came without a tokenizer; pass tokenizer= or token ids"),
        ({"bos": True}, "bos=True is for strings"),
    ],
)
def test_bad_input_is_one_clear_error(arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Users run without the type checks of these tests: the door itself must refuse.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    call: dict[str, Any] = {"prompts_a": A, "prompts_b": B, **arguments}
    with pytest.raises(MeasureError, match=re.escape(message)):
        measure.interpolate(tiny_network("olmo"), **call)


def test_an_empty_string_has_no_tokens() -> None:
    with pytest.raises(MeasureError, match=re.escape("prompts_a[0] is '', which has no tokens")):
        measure.interpolate(RUNG, "", " He said")


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(MeasureError, match="model is a dict; expected a catalog name"):
        measure.interpolate({}, A, B)
    with pytest.raises(MeasureError, match="Nearest in the catalog"):
        measure.interpolate("ladder-olmo", A, B)


def test_public_names() -> None:
    assert all(hasattr(measure, name) for name in measure.__all__)
    with pytest.raises(AttributeError, match="public names: CurveSpec, Curves"):
        _ = measure.nothing
