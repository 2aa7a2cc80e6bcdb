"""Where a checkpoint's tokenizer lies: with it, or where a trainer left it; what lacks is said and not made up."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import measure
from measure import catalog
from measure.harness.engines.one_load import measure_alike
from measure.models import loading as models
from measure.spec import CurveSpec, MeasureError
from tests.conftest import tiny_network
from tests.test_inputs import words

PLACE = "in the folder above the checkpoint's"


def trained(root: Path) -> Path:
    """A training run: checkpoints of weights alone, the tokenizer once in the run's folder."""
    for step in ("checkpoint-3", "checkpoint-9", "step9"):
        tiny_network("olmo").save_pretrained(root / step)
    words().save_pretrained(root)
    return root


def test_the_tokenizer_of_a_run_serves_its_checkpoints(tmp_path: Path) -> None:
    root = trained(tmp_path / "run")
    (tmp_path / "tuned").symlink_to(root / "checkpoint-9")
    expected = measure.interpolate(tiny_network("olmo"), [[6, 7]], [[6, 4]], steps=3).distance
    for name in (f"{root}@checkpoint-9", f"{root}/@step9", str(root / "checkpoint-9"), str(tmp_path / "tuned")):
        found = measure.interpolate(name, "the old", "the gate", steps=3)
        assert (found.distance == expected).all()
        assert found.provenance["tokenizer"] == PLACE
        reference = catalog.resolve(name)
        assert models.tokenizer_file(reference, Path(reference.location)) == root / "tokenizer.json"


def test_a_checkpoints_own_tokenizer_comes_first(tmp_path: Path) -> None:
    root = trained(tmp_path)
    shutil.copytree(catalog.LADDER / "tokenizer", root / "checkpoint-9", dirs_exist_ok=True)
    model = models.load(f"{root}@checkpoint-9")
    assert len(model.tokenizer) > 100
    assert "tokenizer" not in measure.interpolate(model, [[6, 7]], [[6, 4]], steps=3).provenance


def test_a_folder_beside_the_model_is_no_run(tmp_path: Path) -> None:
    trained(tmp_path)
    assert models.load(str(tmp_path / "step9")).tokenizer is None


def test_another_tokenizer_in_the_run_is_another_model(tmp_path: Path) -> None:
    root = trained(tmp_path)
    before = models.identity(f"{root}@checkpoint-9")
    state = json.loads((root / "tokenizer.json").read_text())
    state["model"]["vocab"]["gate"], state["model"]["vocab"]["house"] = 5, 4
    (root / "tokenizer.json").write_text(json.dumps(state))
    assert models.identity(f"{root}@checkpoint-9") != before


@pytest.mark.skipif(importlib.util.find_spec("sentencepiece") is not None, reason="sentencepiece is installed")
@pytest.mark.parametrize("beside", [{}, {"tokenizer_config.json": '{"tokenizer_class": "LlamaTokenizer"}'}])
def test_a_file_that_takes_sentencepiece_is_named(tmp_path: Path, beside: dict[str, str]) -> None:
    tiny_network("llama").save_pretrained(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a\x00")
    for name, text in beside.items():
        (tmp_path / name).write_text(text)
    said = (
        r"holds its tokenizer as tokenizer.model, which takes the package sentencepiece .*\(`pip install sentencepiece`"
    )
    with pytest.raises(MeasureError, match=f"prompts_a holds strings and .*{said}.*; pass tokenizer= or token ids"):
        measure.interpolate(str(tmp_path), "a", "b", steps=3)
    with pytest.raises(MeasureError, match=f"no tokenizer to draw prompts with; .*{said}"):
        measure_alike([CurveSpec(str(tmp_path))], models.load(str(tmp_path)), None, {})
    assert len(measure.interpolate(str(tmp_path), [[5, 6]], [[5, 7]], steps=3)) == 1


@pytest.mark.parametrize("named", ["LlamaTokenizer", "GPT2Tokenizer", "GemmaTokenizer", "PreTrainedTokenizerFast"])
def test_a_tokenizer_without_a_vocabulary_is_none(tmp_path: Path, named: str) -> None:
    """transformers makes one that knows nothing."""
    tiny_network("llama").save_pretrained(tmp_path / "checkpoint-1")
    config: dict[str, Any] = {"tokenizer_class": named}
    (tmp_path / "checkpoint-1" / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(MeasureError, match=r"holds a tokenizer_config.json and no vocabulary beside it"):
        measure.interpolate(str(tmp_path / "checkpoint-1"), "a", "b", steps=3)
    words().save_pretrained(tmp_path)
    assert measure.interpolate(str(tmp_path / "checkpoint-1"), "the", "old", steps=3).provenance["tokenizer"] == PLACE
