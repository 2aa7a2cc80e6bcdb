"""Training: seeded, resumable after a kill at any step, nothing half-written; the cards tell the truth."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from measure import catalog
from measure.ladder import card, train
from measure.ladder.recipe import Recipe, rung
from measure.ladder.train import Text
from measure.prompts import load_corpus
from measure.spec import MeasureError

TINY = Recipe(sequence=8, batch=4, steps=6, warmup=2, revisions=(0, 2))
RUNG = rung("ladder-olmo-0.2m")


@pytest.fixture(scope="module")
def text() -> Text:
    ids = np.random.default_rng(0).integers(1, 300, 2000).astype(np.uint16)
    return Text(ids, "random", "hash", 0)


def weights(folder: Path, revision: str = "main") -> dict[str, torch.Tensor]:
    return load_file(folder / revision / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def whole(text: Text, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ladder") / RUNG.name
    train.train(RUNG, TINY, text, folder, progress=False)
    return folder


def test_every_revision_is_written_in_16_bits(whole: Path) -> None:
    assert sorted(path.name for path in whole.iterdir()) == ["main", "state.pt", "step0-tokens0M", "step2-tokens0M"]
    assert {tensor.dtype for tensor in weights(whole).values()} == {torch.float16}
    assert not same(weights(whole), weights(whole, "step0-tokens0M"))


def test_training_lowers_the_loss(text: Text, whole: Path) -> None:
    from transformers import AutoModelForCausalLM

    losses = [
        train.heldout_loss(AutoModelForCausalLM.from_pretrained(whole / revision, dtype=torch.float32), text, 8)["loss"]
        for revision in ("step0-tokens0M", "main")
    ]
    assert losses[0] == pytest.approx(np.log(2048), abs=0.1)
    assert losses[1] < losses[0] - 0.05


def test_the_seed_decides_the_weights(text: Text, whole: Path, tmp_path: Path) -> None:
    train.train(RUNG, TINY, text, tmp_path / "again", progress=False)
    train.train(rung("ladder-olmo-0.2m-seed1"), TINY, text, tmp_path / "other", progress=False)
    assert same(weights(whole), weights(tmp_path / "again"))
    assert not same(weights(whole), weights(tmp_path / "other"))


def test_each_step_is_told_with_its_loss(text: Text, tmp_path: Path) -> None:
    told: list[tuple[int, float]] = []
    train.train(RUNG, TINY, text, tmp_path, progress=False, tell=lambda *step: told.append(step))
    assert [step for step, _ in told] == [1, 2, 3, 4, 5, 6]
    assert told[0][1] == pytest.approx(np.log(2048), abs=0.1)


def test_an_unfinished_run_says_whose_it_is(text: Text, whole: Path, tmp_path: Path) -> None:
    assert train.unfinished(whole) == train.identity(RUNG, TINY, text)
    assert train.unfinished(whole) != train.identity(rung("ladder-olmo-0.2m-seed1"), TINY, text)
    assert train.unfinished(tmp_path) is None


@pytest.mark.parametrize("killed_at", [1, 3, 5])
def test_a_killed_run_goes_on_and_ends_the_same(
    text: Text, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    monkeypatch.setattr(train, "SAVE_EVERY", 2)
    advance = train._Run.advance

    def dies(run: train._Run, ids: torch.Tensor) -> float:
        if run.step == killed_at:
            raise KeyboardInterrupt
        return advance(run, ids)

    with monkeypatch.context() as patch:
        patch.setattr(train._Run, "advance", dies)
        with pytest.raises(KeyboardInterrupt):
            train.train(RUNG, TINY, text, tmp_path, progress=False)
    assert not (tmp_path / "main").exists()
    train.train(RUNG, TINY, text, tmp_path, progress=False)
    assert same(weights(whole), weights(tmp_path))


def test_a_kill_while_saving_leaves_no_revision(text: Text, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            train.train(RUNG, TINY, text, tmp_path, progress=False)
    assert not (tmp_path / "step0-tokens0M").exists()
    train.train(RUNG, TINY, text, tmp_path, progress=False)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]


def test_another_runs_state_is_not_continued(text: Text, tmp_path: Path, whole: Path) -> None:
    tmp_path.joinpath("run").mkdir()
    shutil.copy(whole / "state.pt", tmp_path / "run" / "state.pt")
    with pytest.raises(MeasureError, match="belongs to a run with another rung, recipe or corpus"):
        train.train(rung("ladder-olmo-0.2m-seed2"), TINY, text, tmp_path / "run", progress=False)


def test_a_corpus_too_short_for_one_pass_is_refused(text: Text, tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match="so that no text is seen twice"):
        train.train(RUNG, Recipe(sequence=8, batch=4, steps=600), text, tmp_path, progress=False)


def test_no_window_is_seen_twice(text: Text) -> None:
    order = np.arange(text.windows(8))
    rows = text.batch(order, 8)
    assert rows.shape == (249, 9)
    np.testing.assert_array_equal(rows[:, :8].flatten(), text.ids[: 249 * 8])
    np.testing.assert_array_equal(rows[:-1, 8], rows[1:, 0])


def test_a_card_is_verified_and_a_changed_weight_is_named(text: Text, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / RUNG.name
    shutil.copytree(whole, folder)
    card.write_card(RUNG, TINY, text, text, folder)
    assert card.verify(folder, None) == []
    assert card.verify(folder, text) == []
    written = json.loads((folder / "card.json").read_text())
    assert [entry["tokens"] for entry in written["revisions"]] == [0, 64, 192]
    written["revisions"][1]["heldout"]["loss"] += 0.01
    (folder / "card.json").write_text(json.dumps(written))
    assert re.search(r"step2-tokens0M: held-out loss", card.verify(folder, text)[0])
    path = folder / "main" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert re.match(r"ladder-olmo-0.2m@main: weights \w{12}, card \w{12}", card.verify(folder, None)[0])
    with pytest.raises(MeasureError, match="is not the one of ladder-olmo-0.2m's card"):
        card.verify(folder, Text(text.ids, "other", "other hash", 0))


def test_the_shipped_ladder_is_as_its_cards_say() -> None:
    rungs = [path.parent for path in catalog.LADDER.glob("*/card.json")]
    assert len(rungs) >= 2
    assert [line for folder in rungs for line in card.verify(folder, None)] == []
    page = (catalog.LADDER / "README.md").read_text()
    assert page == card.ladder_page(catalog.LADDER), (
        "make the page again: measure ladder card --out measure/ladder/weights"
    )


def test_the_shipped_ladder_fits_its_bound_and_was_trained() -> None:
    assert sum(path.stat().st_size for path in catalog.LADDER.rglob("*") if path.is_file()) < 48e6
    for folder in (path.parent for path in catalog.LADDER.glob("*/card.json")):
        revisions = catalog.read_card(folder)["revisions"]
        assert revisions[-1]["tokens"] >= 8e6
        losses = [revision["heldout"]["loss"] for revision in revisions]
        assert losses == sorted(losses, reverse=True)


def test_revisions_are_named_as_the_hub_names_olmos() -> None:
    assert list(Recipe().schedule().values()) == [
        "step0-tokens0M",
        "step64-tokens0M",
        "step128-tokens0M",
        "step256-tokens1M",
        "step512-tokens2M",
        "step1024-tokens4M",
        "main",
    ]


def test_the_learning_rate_warms_up_and_comes_down() -> None:
    recipe = Recipe()
    assert recipe.rate(0) == pytest.approx(4e-5)
    assert recipe.rate(99) == pytest.approx(4e-3)
    assert recipe.rate(recipe.steps) == pytest.approx(4e-4)


def test_an_unknown_rung_names_the_known() -> None:
    with pytest.raises(MeasureError, match="'ladder-olmo-9m' is no rung of the ladder; known: ladder-olmo-0.2m"):
        rung("ladder-olmo-9m")
    assert rung("ladder-qwen2-3m-seed2").seed == 2


def test_the_tokenizer_is_shared_byte_level_and_adds_no_bos(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    shipped = AutoTokenizer.from_pretrained(catalog.LADDER / "tokenizer")
    assert 2048 <= len(shipped) <= 4096
    odd = " Caf\u00e9 \u2014 na\u00efve\r\n\ttabs \U0001f600"
    assert shipped.decode(shipped(odd)["input_ids"]) == odd
    assert shipped("a")["input_ids"] == shipped("a", add_special_tokens=False)["input_ids"]
    fresh = train.train_tokenizer(load_corpus("default"), tmp_path)
    assert len(fresh) == 2048
    assert AutoTokenizer.from_pretrained(tmp_path)(" The house")["input_ids"] == fresh(" The house")["input_ids"]
