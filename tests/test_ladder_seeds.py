"""Seeds of the ladder: trained and measured by one command that goes on after a kill; the files kept are whole."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from measure import catalog, cli
from measure.commands import ladder_seeds
from measure.hub.known import hash_file
from measure.ladder import seed_training, seeds, train
from measure.ladder.recipe import Recipe, rung
from measure.ladder.seed_training import Pace, Trained
from measure.ladder.seeds import SeedRun
from measure.results import METRICS, Curves
from measure.spec import MeasureError
from measure.stats import Interval

Command = Callable[..., int]
STEPS = 4


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("corpus") / "corpus.parquet"
    # Long enough for a few steps: each takes 4,096 tokens.
    texts = [" ".join(f"word{i * j % 97}" for i in range(6000)) for j in (1, 2)]
    Dataset.from_dict({"TEXT": texts}).to_parquet(str(path))
    return str(path)


def seeds_command(corpus: str, out: Path, *more: str, steps: int = STEPS) -> int:
    command = ["ladder", "seeds", "--corpus", corpus, "--heldout", corpus, "--out", str(out), "--steps", str(steps)]
    return cli.main([*command, *more])


@pytest.fixture(scope="module")
def made(corpus: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of a rung, by the command; no other test writes here."""
    out = tmp_path_factory.mktemp("seeds")
    assert seeds_command(corpus, out, "--rungs", "olmo-0.2m", "--seeds", "2") == 0
    return out


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A copy of `made` to change."""
    shutil.copytree(made, tmp_path / "own")
    return tmp_path / "own"


def weights_hash(out: Path, name: str) -> str:
    return hash_file(out / "weights" / name / "main" / "model.safetensors")


def test_the_command_trains_measures_and_keeps(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == [
        "olmo-0.2m-seed0.json",
        "olmo-0.2m-seed1.json",
        "weights",
    ]
    first, second = seeds.load("olmo", "0.2m", made)
    assert (first.seed, second.seed) == (0, 1)
    assert first.recipe_sha256 == second.recipe_sha256
    assert first.recipe["steps"] == STEPS
    assert first.trained.weights_sha256 == weights_hash(made, "ladder-olmo-0.2m")
    assert second.trained.weights_sha256 == weights_hash(made, "ladder-olmo-0.2m-seed1")
    assert len({state.weights_sha256 for run in (first, second) for state in (run.untrained, run.trained)}) == 4
    assert first.prompts_sha256 == second.prompts_sha256
    assert first.spec["pairs"] == 800
    assert math.log(2048) - 3 < first.heldout_loss < math.log(2048)
    assert all(path.stat().st_size < 60_000 for path in made.glob("*.json"))
    # Weights are kept before and after training, and nothing of the optimizer.
    kept = made / "weights" / "ladder-olmo-0.2m-seed1"
    assert sorted(path.name for path in kept.iterdir()) == ["card.json", "main", "step0-tokens0M"]


def test_what_is_kept_is_what_the_curves_say(made: Path) -> None:
    run = seeds.load("olmo", "0.2m", made)[1]
    curves = ladder_seeds.default_curves(str(made / "weights" / "ladder-olmo-0.2m-seed1" / "main"))
    assert run.metrics == METRICS
    assert run.prompts_sha256 == curves.provenance["prompts_sha256"]
    np.testing.assert_allclose(run.trained.quartiles, curves.quartiles(), atol=1e-6)
    for name in METRICS:
        own, null = curves.by_unit(name), curves.null.by_unit(name)
        assert run.trained.curve[name].estimate == pytest.approx(np.nanmedian(own), nan_ok=True)
        assert run.trained.null[name].estimate == pytest.approx(np.nanmedian(null), nan_ok=True)
        assert run.trained.beyond_null[name].estimate == pytest.approx(np.nanmedian(own - null), nan_ok=True)
        assert run.trained.curve[name].n == np.isfinite(own).sum()


def test_what_is_kept_already_is_not_trained_again(
    corpus: str, own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train._Run, "advance", _never)
    monkeypatch.setattr(ladder_seeds, "default_curves", _never)
    before = {path.name: path.read_bytes() for path in own.glob("*.json")}
    assert seeds_command(corpus, own, "--rungs", "olmo-0.2m", "--seed", "1", "0") == 0
    assert capsys.readouterr().out.splitlines() == [
        "ladder-olmo-0.2m-seed1: kept already",
        "ladder-olmo-0.2m: kept already",
    ]
    assert {path.name: path.read_bytes() for path in own.glob("*.json")} == before


def _never(*_: object, **__: object) -> float:
    raise AssertionError("was not to be called")


def test_weights_at_hand_are_measured_and_not_trained_again(
    corpus: str, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train._Run, "advance", _never)
    path = own / "olmo-0.2m-seed1.json"
    before = path.read_bytes()
    path.unlink()
    assert seeds_command(corpus, own, "--rungs", "olmo-0.2m", "--seed", "1") == 0
    assert path.read_bytes() == before


def test_measuring_is_a_step_of_its_own(corpus: str, made: Path, tmp_path: Path) -> None:
    """Trained alone, then measured without a corpus: the same files."""
    weights = ["--weights", str(tmp_path / "kept")]
    seed = ["--rungs", "olmo-0.2m", "--seed", "1"]
    assert seeds_command(corpus, tmp_path / "none", *seed, *weights, "--train-only") == 0
    assert not (tmp_path / "none").exists()
    assert cli.main(["ladder", "seeds", *weights, *seed, "--out", str(tmp_path / "out")]) == 0
    name = "olmo-0.2m-seed1.json"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert (tmp_path / "out" / name).read_bytes() == (made / name).read_bytes()


def test_a_killed_command_goes_on_where_it_was(
    corpus: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of its second seed: the first is kept, and the second not begun anew."""
    monkeypatch.setattr(train, "SAVE_EVERY", 1)
    advance, took = train._Run.advance, []

    def dies(run: train._Run, ids: object) -> float:
        if len(took) == STEPS + 2:
            raise KeyboardInterrupt
        took.append(run.step)
        return advance(run, ids)  # type: ignore[arg-type]

    out = tmp_path / "killed"
    monkeypatch.setattr(train._Run, "advance", dies)
    with pytest.raises(KeyboardInterrupt):
        seeds_command(corpus, out, "--rungs", "olmo-0.2m", "--seeds", "2")
    assert [path.name for path in out.glob("*.json")] == ["olmo-0.2m-seed0.json"]
    took.clear()
    assert seeds_command(corpus, out, "--rungs", "olmo-0.2m", "--seeds", "2") == 0
    assert took == [2, 3]
    for path in made.glob("*.json"):
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_a_file_of_another_recipe_is_made_again_and_its_weights_are_moved_aside(
    corpus: str, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = weights_hash(own, "ladder-olmo-0.2m")
    assert seeds_command(corpus, own, "--rungs", "olmo-0.2m", "--seeds", "1", steps=2) == 0
    said = capsys.readouterr().out
    assert "ladder-olmo-0.2m: made again: kept of recipe" in said
    assert "weights of another recipe or corpus, now in" in said
    assert [run.recipe["steps"] for run in seeds.load("olmo", "0.2m", own)] == [2, STEPS]
    assert weights_hash(own, "ladder-olmo-0.2m") != before == weights_hash(own, "ladder-olmo-0.2m.other1")
    # What lies aside is not measured as if it were the rung.
    assert [run.folder.name for run in seed_training.in_folder(own / "weights")] == [
        "ladder-olmo-0.2m",
        "ladder-olmo-0.2m-seed1",
    ]


def test_a_run_half_trained_by_another_recipe_is_moved_aside(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train._Run, "advance", killed)
        with pytest.raises(KeyboardInterrupt):
            seeds_command(corpus, tmp_path, "--rungs", "olmo-0.2m", "--seeds", "1", "--train-only")
    assert seeds_command(corpus, tmp_path, "--rungs", "olmo-0.2m", "--seeds", "1", "--train-only", steps=1) == 0
    assert (tmp_path / "weights" / "ladder-olmo-0.2m.other1" / "state.pt").exists()
    assert Trained(tmp_path / "weights" / "ladder-olmo-0.2m").card["recipe"]["steps"] == 1


@pytest.mark.parametrize("damage", ["cut", "no metric"])
def test_a_damaged_or_older_file_is_made_again(
    corpus: str, own: Path, damage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train._Run, "advance", _never)
    path = own / "olmo-0.2m-seed0.json"
    before = path.read_bytes()
    if damage == "cut":
        path.write_bytes(before[:500])
        expected = "made again: "
    else:
        _change(path, lambda run: [part.pop("max_slope") for state in _states(run) for part in _parts(state)])
        expected = "made again: metrics have been added since"
    assert seeds_command(corpus, own, "--rungs", "olmo-0.2m", "--seeds", "1") == 0
    assert f"ladder-olmo-0.2m: {expected}" in capsys.readouterr().out
    assert path.read_bytes() == before


def _change(path: Path, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _states(run: dict) -> list[dict]:  # type: ignore[type-arg]
    return [run["untrained"], run["trained"]]


def _parts(state: dict) -> list[dict]:  # type: ignore[type-arg]
    return [state["curve"], state["null"], state["beyond_null"]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda run: run.pop("seed"), "missing required field `seed`"),
        (lambda run: run.update(seed="0"), "Expected `int`, got `str`"),
        (lambda run: run.update(format=0), "format 0, this version reads format 1"),
        (lambda run: run.update(seed=7), "it holds olmo-0.2m-seed7.json"),
        (lambda run: run["rung"].pop("size"), "without size"),
        (lambda run: run["recipe"].update(steps=5), "its recipe is not the one that its recipe_sha256 was made of"),
        (lambda run: run["corpus"].pop("tokens"), "its recipe is not the one that its recipe_sha256 was made of"),
        (lambda run: run["trained"]["quartiles"].pop(), "its quartiles are not 3 x 50 numbers"),
        (lambda run: run["spec"].update(steps=[50]), "its quartiles are not 3 x [50] numbers"),
        (lambda run: run["heldout"].update(loss="low"), "its held-out loss is 'low'"),
        (lambda run: run["heldout"].update(loss=-1), "its held-out loss is -1"),
        (
            lambda run: run["trained"]["curve"]["max_slope"].update(low=99.0),
            "its max_slope is outside of its own interval",
        ),
        (lambda run: run["trained"]["quartiles"][1].pop(), "its quartiles are not 3 x 50 numbers"),
        (lambda run: run["untrained"]["quartiles"][1].__setitem__(3, None), "its quartiles are not all numbers"),
        (lambda run: run["untrained"]["null"].pop("max_slope"), "its parts have not the same metrics"),
        (lambda run: run["trained"]["curve"]["max_slope"].pop("low"), "missing required field `low`"),
    ],
)
def test_a_damaged_file_is_refused(made: Path, tmp_path: Path, change: Callable[[dict], object], says: str) -> None:  # type: ignore[type-arg]
    shutil.copy(made / "olmo-0.2m-seed0.json", tmp_path)
    _change(tmp_path / "olmo-0.2m-seed0.json", change)
    with pytest.raises(MeasureError) as raised:
        seeds.load("olmo", "0.2m", tmp_path)
    assert "olmo-0.2m-seed0.json is no whole file of a training seed (" in str(raised.value)
    assert says in str(raised.value)
    assert "make it again with `measure ladder seeds`" in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "olmo-0.2m-seed0.json").write_bytes(content)
    with pytest.raises(MeasureError, match="is no whole file of a training seed"):
        seeds.load("olmo", "0.2m", tmp_path)


def test_a_rung_without_files_has_no_runs(tmp_path: Path) -> None:
    assert seeds.load("olmo", "0.2m", tmp_path) == ()


def test_a_number_that_is_not_there_is_kept_as_such(made: Path, tmp_path: Path) -> None:
    run = seeds.load("olmo", "0.2m", made)[0]
    nothing = Interval(math.nan, math.nan, math.nan, 0)
    parts = {part: {"max_slope": nothing} for part in ("curve", "null", "beyond_null")}
    lacking = dataclasses.replace(run.trained, **parts)
    path = tmp_path / run.filename
    path.write_bytes(seeds.content(dataclasses.replace(run, untrained=lacking, trained=lacking)))
    assert "NaN" not in path.read_text()
    found = seeds.read(path).trained.curve["max_slope"]
    assert math.isnan(found.estimate)
    assert found.n == 0


def test_written_and_read_is_the_same(made: Path, tmp_path: Path) -> None:
    run = seeds.load("olmo", "0.2m", made)[0]
    (tmp_path / run.filename).write_bytes(seeds.content(run))
    assert repr(seeds.read(tmp_path / run.filename)) == repr(run)


def parts_of_a_card() -> dict[str, dict]:  # type: ignore[type-arg]
    told = catalog.read_card(catalog.LADDER / "ladder-olmo-0.2m")
    return {name: dict(told[name]) for name in ("rung", "recipe", "corpus")}


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("rung", "width", 65),
        ("rung", "family", "qwen2"),
        ("recipe", "steps", 2047),
        ("recipe", "learning_rate", 0.005),
        ("recipe", "betas", [0.9, 0.99]),
        ("corpus", "sha256", "another"),
        ("corpus", "tokens", 1),
    ],
)
def test_the_recipe_hash_covers_what_decides_the_weights(part: str, name: str, value: object) -> None:
    before = seeds.recipe_hash(**parts_of_a_card())
    changed = parts_of_a_card()
    assert name in changed[part]
    changed[part][name] = value
    assert seeds.recipe_hash(**changed) != before


@pytest.mark.parametrize(
    ("part", "name", "value"), [("rung", "seed", 7), ("recipe", "revisions", [0]), ("corpus", "name", "other*")]
)
def test_the_recipe_hash_leaves_out_the_seed_and_what_changes_no_weight(part: str, name: str, value: object) -> None:
    changed = parts_of_a_card()
    assert name in changed[part]
    changed[part][name] = value
    assert seeds.recipe_hash(**changed) == seeds.recipe_hash(**parts_of_a_card())


def test_of_a_recipe_in_python_and_on_a_card_the_hash_is_the_same() -> None:
    parts = parts_of_a_card()
    rung_here, recipe = dataclasses.asdict(rung("ladder-olmo-0.2m-seed3")), Recipe(revisions=(0,)).as_dict()
    assert seeds.recipe_hash(rung_here, recipe, parts["corpus"]) == seeds.recipe_hash(**parts)


def shipped_training(tmp_path: Path, **changes: int) -> seed_training.Training:
    """The command's training as if on the ladder's own corpus, which no test needs to have."""
    told = catalog.read_card(catalog.LADDER / "ladder-olmo-0.2m")["corpus"]
    text = train.Text(np.zeros(told["tokens"], np.uint16), told["name"], told["sha256"], 0)
    return seed_training.Training(Recipe(revisions=(0,), **changes), text, text, tmp_path, lambda _: None)


def test_shipped_weights_of_the_same_recipe_are_taken(tmp_path: Path) -> None:
    training = shipped_training(tmp_path)
    for name in ("ladder-olmo-0.2m", "ladder-qwen2-0.2m-seed2", "ladder-olmo-1.1m"):
        found = training.finished(rung(name))
        assert found is not None
        assert found.folder == catalog.LADDER / name
    assert training.finished(rung("ladder-olmo-0.2m-seed3")) is None
    assert shipped_training(tmp_path, steps=2000).finished(rung("ladder-olmo-0.2m")) is None


def test_a_card_alone_as_a_wheel_has_of_some_rungs_is_no_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, shipped = shipped_training(tmp_path), tmp_path / "installed"
    for name, kept in {"ladder-olmo-0.2m": ("main", seed_training.START), "ladder-olmo-1.1m": ("main",)}.items():
        (shipped / name).mkdir(parents=True)
        shutil.copy(catalog.LADDER / name / "card.json", shipped / name)
        for revision in kept:
            (shipped / name / revision).mkdir()
    monkeypatch.setattr(catalog, "LADDER", shipped)
    assert [run.folder.name for run in seed_training.in_folder(shipped)] == ["ladder-olmo-0.2m"]
    assert training.finished(rung("ladder-olmo-0.2m")) is not None
    assert training.finished(rung("ladder-olmo-1.1m")) is None
    with pytest.raises(MeasureError, match="^no weights of ladder-olmo-1.1m come with the package or are in"):
        seed_training.at_hand(tmp_path / "own", ["olmo-1.1m"], [0])


def test_a_start_made_again_from_its_seed_is_the_one_that_was_trained(made: Path) -> None:
    """Of shipped seeds the start is not kept: it is built again, and must be the same to the last bit."""
    run = Trained(made / "weights" / "ladder-olmo-0.2m-seed1")
    kept = run.folder / seed_training.START / "model.safetensors"
    told = run.card
    told["revisions"] = told["revisions"][1:]
    bare = _WithCard(run.folder, told)
    with seed_training._start_of(bare) as start:
        assert start != kept.parent
        assert hash_file(start / "model.safetensors") == hash_file(kept)
        assert (start / "tokenizer.json").exists()


class _WithCard(Trained):
    """A run whose card says something else."""

    def __init__(self, folder: Path, told: dict[str, object]) -> None:
        super().__init__(folder)
        self.__dict__["told"] = told

    @property
    def card(self) -> dict[str, object]:
        return self.__dict__["told"]


def test_weights_that_are_not_the_cards_are_not_measured(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own / "weights" / "ladder-olmo-0.2m" / "main" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    again = ["ladder", "seeds", "--weights", str(own / "weights"), "--out", str(own)]
    assert cli.main([*again, "--rungs", "olmo-0.2m", "--seeds", "1"]) == 2
    assert "the weights are not those that card.json was written for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rungs", "olmo-9m"], "'ladder-olmo-9m' is no rung of the ladder; known: ladder-olmo-0.2m"),
        (["--rungs", "olmo-0.2m,"], "'ladder-' is no rung of the ladder"),
        (["--rungs", "olmo-0.2m-seed3"], "ladder-olmo-0.2m-seed3: seeds are whole numbers from 0, given with --seeds"),
        (["--seeds", "0"], "--seeds 0: give a positive number."),
        (["--seeds", "-2"], "--seeds -2: give a positive number."),
        (["--seed", "1", "-1"], "seed -1: seeds are whole numbers from 0"),
        (["--steps", "0"], "--steps 0: give a positive number."),
        (["--corpus", "nowhere/*.parquet", "--heldout", "x"], "found no parquet, JSON or CSV file there"),
        (["--corpus", "x"], "training takes both --corpus, to train on, and --heldout"),
        (["--heldout", "x"], "training takes both --corpus, to train on, and --heldout"),
        ([], "no corpus to train on: give --corpus and --heldout; or, to measure again what was trained, --weights"),
        (["--weights", "w", "--train-only"], "no corpus to train on"),
        (["--weights", "w", "--rungs", "olmo-0.2m", "--seed", "9"], "no weights of ladder-olmo-0.2m-seed9 come with"),
        (["--weights", "w", "--seed", "9"], "no weights of these rungs and seeds come with the package or are in w"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["ladder", "seeds", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("measure: ")
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("option", ["--out", "--weights"])
def test_a_folder_that_cannot_be_written_is_one_sentence(
    option: str, corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    where = {"--out": tmp_path / "out", "--weights": tmp_path / "weights", option: tmp_path / "file" / "inside"}
    assert seeds_command(corpus, where["--out"], "--weights", str(where["--weights"])) == 2
    assert f"measure: {option} {where[option]}: Not a directory; give a folder that can be written." in (
        capsys.readouterr().err
    )


def test_a_corpus_too_short_is_told_before_anything_is_trained(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert seeds_command(corpus, tmp_path, steps=2048) == 2
    assert "so that no text is seen twice" in capsys.readouterr().err
    assert list((tmp_path / "weights").glob("ladder-*")) == []


def test_another_tokenizer_is_refused(corpus: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own / "weights" / "tokenizer" / "tokenizer.json"
    path.write_text(path.read_text() + " ")
    assert seeds_command(corpus, own) == 2
    assert "is not the ladder's tokenizer; give another folder with --weights" in capsys.readouterr().err


def test_seeds_come_in_turn_so_that_every_rung_has_its_first_before_any_has_its_second() -> None:
    names = [each.name for each in seed_training.chosen(["olmo-0.2m", "ladder-qwen2-0.2m"], [3, 4, 3])]
    assert names == [f"ladder-{family}-0.2m-seed{seed}" for seed in (3, 4) for family in ("olmo", "qwen2")]


def test_progress_is_a_line_now_and_then_with_what_is_left() -> None:
    rungs = [rung("ladder-olmo-0.2m-seed3"), rung("ladder-olmo-0.2m-seed4")]
    now, said = 0.0, []
    pace = Pace.over(rungs, 100, said.append)
    pace.clock = lambda: now
    for each in rungs:
        tell = pace.watch(each)
        for step in range(1, 101):
            now += 0.5
            tell(step, 4.0)
    assert len(said) == 8
    assert said[0] == (
        "ladder-olmo-0.2m-seed3: step 30 of 100, loss 4.000, 2.0 steps/s; about 35 s left of it, 85 s of all"
    )
    assert said[-1].endswith("step 100 of 100, loss 4.000, 2.0 steps/s; about 0 s left of it, 0 s of all")


def test_what_is_left_counts_larger_rungs_as_longer() -> None:
    now, said = 0.0, []
    pace = Pace.over([rung("ladder-olmo-0.2m"), rung("ladder-olmo-1.1m")], 1, said.append)
    pace.clock = lambda: now
    tell = pace.watch(rung("ladder-olmo-0.2m"))
    now = 10.0
    tell(1, 4.0)
    sizes = [catalog.models()[f"ladder-olmo-{size}"].parameters for size in ("0.2m", "1.1m")]
    assert said[0].endswith(f"about 0 s left of it, {10 * sizes[1] / sizes[0]:.0f} s of all")


@pytest.mark.parametrize(("seconds", "said"), [(4.4, "4 s"), (600, "10 min"), (9000, "2.5 h")])
def test_a_duration_is_said_briefly(seconds: float, said: str) -> None:
    assert seed_training.spoken(seconds) == said


def test_the_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["ladder", "seeds", "--help"])
    assert "example: measure ladder seeds" in capsys.readouterr().out


def test_reading_takes_no_torch() -> None:
    check = "import sys, measure.ladder.seeds as s; s.load('olmo', '0.2m'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


SHIPPED = sorted(seeds.FOLDER.glob("*.json"))


def test_every_shipped_rung_has_its_file_and_all_fit_their_bound() -> None:
    names = {path.name for path in SHIPPED}
    assert {
        seeds.filename(r.rung.family, r.rung.size, r.rung.seed) for r in seed_training.in_folder(catalog.LADDER)
    } <= (names)
    sizes = [path.stat().st_size for path in SHIPPED]
    assert max(sizes) < 60_000
    assert sum(sizes) < 1_000_000


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_file_is_whole_and_of_the_ladders_recipe(path: Path) -> None:
    run = seeds.read(path)
    name = f"ladder-{run.family}-{run.size}"
    assert run.recipe_sha256 == Trained(catalog.LADDER / name).recipe_sha256
    assert set(run.metrics) == set(METRICS), "measure them again: `measure ladder seeds --weights DIR`"
    assert run.prompts_sha256 == seeds.read(SHIPPED[0]).prompts_sha256
    assert run.heldout["sha256"] == Trained(catalog.LADDER / name).card["heldout"]["sha256"]
    for state in (run.untrained, run.trained):
        assert {part["max_slope"].n for part in (state.curve, state.null, state.beyond_null)} == {400}
    assert run.heldout_loss < 4.2


@pytest.mark.parametrize("run", seed_training.in_folder(catalog.LADDER), ids=lambda run: run.folder.name)
def test_a_shipped_file_is_of_the_shipped_weights(run: Trained) -> None:
    kept = next(k for k in seeds.load(run.rung.family, run.rung.size) if k.seed == run.rung.seed)
    assert kept.trained.weights_sha256 == run.revision("main")["sha256"]  # type: ignore[index]
    start = run.revision(seed_training.START)
    assert start is None or kept.untrained.weights_sha256 == start["sha256"]
    assert kept.heldout_loss == run.revision("main")["heldout"]["loss"]  # type: ignore[index]


@pytest.mark.parametrize("family", ["olmo", "qwen2"])
def test_what_is_kept_of_shipped_seed_0_is_what_its_weights_give(family: str) -> None:
    kept: SeedRun = seeds.load(family, "0.2m")[0]
    curves: Curves = ladder_seeds.default_curves(f"ladder-{family}-0.2m@main")
    assert kept.seed == 0
    assert kept.prompts_sha256 == curves.provenance["prompts_sha256"]
    np.testing.assert_allclose(kept.trained.quartiles, curves.quartiles(), atol=1e-4)
    for name in kept.metrics:
        found = curves.interval(name)
        # A twentieth of its interval: on another machine the last bits differ.
        near = max(1e-4, 0.05 * (found.high - found.low))
        assert kept.trained.curve[name].estimate == pytest.approx(found.estimate, abs=near)
        assert kept.trained.curve[name].n == found.n
