"""Training: seeded, resumable after a kill at any step, nothing half-written; the cards tell the truth."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from measure import catalog
from measure.ladder import card, train
from measure.ladder.recipe import Recipe, rung
from measure.ladder.train import Text
from measure.prompts.drawn import load_corpus
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


def finished(whole: Path, text: Text, folder: Path) -> Path:
    """A run that came to its end, with its card."""
    shutil.copytree(whole, folder / RUNG.name)
    card.write_card(RUNG, TINY, text, text, folder / RUNG.name)
    train.forget_state(folder / RUNG.name)
    return folder / RUNG.name


def other_text(text: Text) -> Text:
    return Text(text.ids[::-1].copy(), "another", "another hash", 0)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"text": other_text}, "holds a finished run of another corpus, as its card.json says"),
        ({"recipe": dataclasses.replace(TINY, steps=2, revisions=(0,))}, "a finished run of another steps"),
        ({"recipe": dataclasses.replace(TINY, learning_rate=1e-3)}, "a finished run of another learning_rate"),
        ({"rung": rung("ladder-olmo-0.2m-seed1")}, "a finished run of another rung"),
        ({"rung": rung("ladder-qwen2-0.2m"), "text": other_text}, "a finished run of another rung, corpus"),
    ],
)
def test_a_finished_folder_of_another_run_is_refused(
    text: Text, whole: Path, tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    folder = finished(whole, text, tmp_path)
    before = (folder / "card.json").read_bytes()
    given = asked["text"](text) if "text" in asked else text
    with pytest.raises(MeasureError, match=said) as error:
        train.train(asked.get("rung", RUNG), asked.get("recipe", TINY), given, folder, progress=False)
    assert "give another --out" in str(error.value)
    assert (folder / "card.json").read_bytes() == before
    assert same(weights(folder), weights(whole))


def test_a_finished_folder_of_the_same_run_is_left_as_it_is(text: Text, whole: Path, tmp_path: Path) -> None:
    folder = finished(whole, text, tmp_path)
    train.train(RUNG, TINY, text, folder, progress=False)
    # Which checkpoints are kept makes no other run.
    train.train(RUNG, dataclasses.replace(TINY, revisions=(0,)), text, folder, progress=False)
    assert same(weights(folder), weights(whole))


def test_no_card_is_written_for_weights_that_are_not_its_own(text: Text, whole: Path, tmp_path: Path) -> None:
    folder = finished(whole, text, tmp_path)
    shutil.copy(folder / "step0-tokens0M" / "model.safetensors", folder / "main" / "model.safetensors")
    with pytest.raises(MeasureError, match=r"main/model.safetensors: the weights are not those that card.json"):
        train.train(RUNG, TINY, text, folder, progress=False)


def test_weights_of_an_unknown_run_are_not_trained_on(text: Text, whole: Path, tmp_path: Path) -> None:
    folder = finished(whole, text, tmp_path)
    (folder / "card.json").unlink()
    with pytest.raises(MeasureError, match="holds weights, and neither card.json nor state.pt beside it tells whose"):
        train.train(RUNG, TINY, text, folder, progress=False)


def test_all_revisions_of_another_run_that_was_killed_are_refused(text: Text, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / RUNG.name)
    with pytest.raises(MeasureError, match="belongs to a run with another rung, recipe or corpus"):
        train.train(RUNG, TINY, other_text(text), tmp_path / RUNG.name, progress=False)


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "text", "folder", "pickle", "step"])
def test_a_damaged_state_is_one_sentence(text: Text, whole: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / RUNG.name
    folder.mkdir()
    path, content = folder / "state.pt", bytearray((whole / "state.pt").read_bytes())
    content[len(content) // 2] ^= 1
    state = train._read_state(whole / "state.pt")
    damages = {
        "empty": b"",
        "cut": (whole / "state.pt").read_bytes()[:5000],
        "bit": bytes(content),
        "text": b"no state",
        "pickle": train._state_bytes({**state, "model": {}}),
        "step": train._state_bytes({**state, "step": 10**9}),
    }
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes(damages[damage])
    with pytest.raises(MeasureError, match=r"state.pt is damaged \(.*delete it, and the training begins anew"):
        train.train(RUNG, TINY, text, folder, progress=False)


def test_a_state_of_an_earlier_version_is_continued(text: Text, whole: Path, tmp_path: Path) -> None:
    """Which had no checksum."""
    folder = tmp_path / RUNG.name
    folder.mkdir()
    state = train._read_state(whole / "state.pt")
    torch.save(state, folder / "state.pt")
    assert train.unfinished(folder) == train.identity(RUNG, TINY, text)


def test_a_disk_that_fills_up_is_one_sentence_and_training_goes_on(
    text: Text, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    folder = tmp_path / RUNG.name
    for name in ("write_atomically", "save_revision"):
        with monkeypatch.context() as patch:
            patch.setattr(train, name, full)
            with pytest.raises(MeasureError, match=r"cannot be written \(No space left on device\)"):
                train.train(RUNG, TINY, text, folder, progress=False)
    train.train(RUNG, TINY, text, folder, progress=False)
    assert same(weights(folder), weights(whole))


@pytest.mark.parametrize("tokens", [1, 9, 16])
def test_a_held_out_text_too_short_for_a_loss_is_refused(text: Text, whole: Path, tmp_path: Path, tokens: int) -> None:
    short = Text(text.ids[:tokens], "short", "hash", 0)
    with pytest.raises(MeasureError, match=rf"'short' holds {tokens} tokens; .* two windows of 8, 17 tokens"):
        card.write_card(RUNG, TINY, text, short, whole)
    train.check_heldout(Text(text.ids[:17], "enough", "hash", 0), 8)


def test_the_page_tells_the_corpora_and_recipes_of_its_cards(text: Text, whole: Path, tmp_path: Path) -> None:
    folder = finished(whole, text, tmp_path)
    page = card.ladder_page(tmp_path)
    assert "- Corpus: random, 2,000 tokens (sha256 hash); held out: random, 2,000 tokens (sha256 hash)." in page
    assert "English" not in page.replace("no usable English", "")
    assert "trained on the same corpus" not in page
    other = tmp_path / "ladder-olmo-0.2m-seed1"
    shutil.copytree(folder, other)
    told = json.loads((other / "card.json").read_text())
    told["rung"]["seed"], told["corpus"]["name"], told["recipe"]["learning_rate"] = 1, "poems\x1b[2J", 0.5
    (other / "card.json").write_text(json.dumps(told))
    page = card.ladder_page(tmp_path)
    assert "- Corpus of ladder-olmo-0.2m: random" in page
    assert "- Corpus of ladder-olmo-0.2m-seed1: poems\\x1b[2J" in page
    assert page.count("- Recipe of ") == 2
    assert "learning rate 0.5" in page
