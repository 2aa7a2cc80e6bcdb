"""The suites themselves on models that come from a hub, which fails in every way it can."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from measure import catalog
from measure.base.exits import EXIT_NOT_MEASURED
from measure.harness import selection
from measure.hub import checkpoints as hub
from measure.kinds.rows import TestRow
from measure.ladder.recipe import Rung
from measure.ladder.train import build
from measure.models.loading import no_progress_bars
from measure.prompts import drawn as prompts
from measure.report import records
from tests.hub import TOKENIZER, Failure, LocalHub

ROOT = Path(__file__).parent.parent
RUNG = catalog.LADDER / "ladder-olmo-0.2m"
REPO = "someone/olmo-small"
STEPS = ("step0-tokens0M", "step512-tokens2M")
MODELS = ",".join([*(f"{REPO}@{step}" for step in STEPS), REPO])


@pytest.fixture
def local(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A rung of the ladder, served as a hub would; the suites beside it."""
    shutil.copytree(ROOT / "suites", pytester.path / "suites", ignore=shutil.ignore_patterns("__pycache__"))
    # Else the folders among the options would move the root of the run.
    pytester.makeini("[pytest]")
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    monkeypatch.setattr("time.sleep", lambda _: None)
    with LocalHub() as served:
        for step in (*STEPS, "main"):
            served.add(
                REPO,
                {path.name: path for folder in (RUNG / step, TOKENIZER) for path in folder.iterdir()},
                revision=step,
            )
        served.use(monkeypatch, pytester.path / "cache")
        hub.forget()
        yield served
    catalog._ADDED.clear()
    catalog.models.cache_clear()
    selection._at_hand.cache_clear()


def run(pytester: pytest.Pytester, *options: str, models: str = MODELS) -> pytest.RunResult:
    return pytester.runpytest("suites", "--models", models, "--corpus", str(prompts.DEFAULT_CORPUS), *options)


def rows(pytester: pytest.Pytester) -> tuple[TestRow, ...]:
    """The tests of the last run."""
    return records.read([records.runs(pytester.path / "reports" / "runs")[-1]]).tests


FAILURES = (
    Failure("429", path="/api/", retry_after=1),
    Failure("500", path="/api/"),
    Failure("503", path="/tree/"),
    Failure("500", path="model.safetensors"),
    Failure("429", path="model.safetensors"),
    Failure("503", path="config.json", times=2, method="HEAD"),
    Failure("cut", path="model.safetensors", after=5000),
    Failure("reset", path="model.safetensors", after=5000),
    Failure("truncated", path="model.safetensors", after=5000),
    Failure("wrong_hash", path="model.safetensors"),
    Failure("wrong_hash", path="tokenizer_config.json"),
)


def test_the_suite_on_training_is_as_on_the_ladder_whatever_the_hub_does(
    pytester: pytest.Pytester, local: LocalHub
) -> None:
    for failure in FAILURES:
        local.fail(failure)
    result = run(pytester, "-k", "test_training", "--keep", "none", "--pairs", "800")
    # Claim and control; baselines of three revisions and an untrained copy.
    result.assert_outcomes(passed=2, skipped=4, deselected=result.parseoutcomes()["deselected"])
    assert result.ret == 0
    assert local.failures == []
    assert not list(pytester.path.glob("cache/**/*.safetensors"))
    (claim,) = (row for row in rows(pytester) if row.role == "claim")
    assert claim.verdict is not None
    rise = claim.verdict.effects[0]
    # As on the ladder: reports/ladder/claims.txt.
    assert (rise.estimate, rise.low, rise.high) == tuple(pytest.approx(v, abs=5e-4) for v in (0.576, 0.427, 0.709))
    assert rise.n == 400
    assert [row.reason for row in rows(pytester) if row.role == "baseline"] == [
        "baselines belong to protocol paper with the default pairs; the claim is tested all the same"
    ] * 4


def six_blocks(seed: int) -> dict[str, bytes]:
    """A tiny model of as many blocks as the smallest Pythias have, which the local hub serves in their place."""
    shape = Rung("olmo", "tiny", width=16, blocks=6, heads=2, key_value_heads=2, intermediate=32, seed=seed)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]), no_progress_bars():
        build(shape, end_of_text=0).save_pretrained(folder)
        return {path.name: path.read_bytes() for path in (*Path(folder).iterdir(), *TOKENIZER.iterdir())}


def test_of_seeds_of_one_recipe_training_and_size_are_about_runs(pytester: pytest.Pytester, local: LocalHub) -> None:
    """Tiny ones in the place of PolyPythias, one of which has a stale branch."""
    for place, size in enumerate(("14m", "31m")):
        for seed in (1, 2, 3):
            for number, step in enumerate(("step0", "step1000", "step2000", "step143000")):
                stale = (size, seed, step) == ("14m", 2, "step1000")
                files = six_blocks(100 * place + 10 * seed + (2 if stale else number))
                local.add(f"EleutherAI/pythia-{size}-seed{seed}", files, revision=step)
    models = "polypythia-14m-seed[123]@all,polypythia-31m-seed[123]@all"
    chosen = "(test_training or test_size) and (claim or control) and not order"
    result = run(pytester, "-k", chosen, "--pairs", "20", "--disk", "2MB", models=models)
    result.stdout.fnmatch_lines(["polypythia-14m-seed2@step1000 is left out: it holds the weights of step2000*"])
    told = {(row.role, row.subject): row for row in rows(pytester)}
    training, size = told["claim", "polypythia-14m-seed1-runs"], told["claim", "polypythia"]
    assert told.keys() == {(role, subject) for role in ("claim", "control") for subject in (
        "polypythia-14m-seed1-runs", "polypythia-31m-seed1-runs", "polypythia")}  # fmt: skip
    assert training.verdict is not None
    assert size.verdict is not None
    assert {effect.n for effect in training.verdict.effects} == {3}
    assert training.verdict.notes[0] == "over 3 training runs (n = runs)"
    assert {effect.n for effect in size.verdict.effects} == {6}
    assert size.verdict.notes[0] == "over 3 and 3 training runs (n = runs)"
    # What is random supports nothing, and what is planted passes.
    assert {row.outcome for (role, _), row in told.items() if role == "control"} == {"passed"}


def test_every_suite_takes_a_model_of_ones_own(pytester: pytest.Pytester, local: LocalHub) -> None:
    """From the hub, and as a folder; that no suite fails to collect it is the point, one is run."""
    collected = run(pytester, "--collect-only", "-q")
    asked = {line.split("::")[0] for line in collected.outlines if "::" in line}
    assert len(asked) >= 10
    alone = shutil.copytree(RUNG / "main", pytester.path / "mine")
    shutil.copytree(TOKENIZER, alone, dirs_exist_ok=True)
    result = run(pytester, "-k", "logit_difference", models=str(alone))
    result.assert_outcomes(passed=2, deselected=result.parseoutcomes()["deselected"])
    assert {row.subject for row in rows(pytester)} == {"mine"}


def test_of_a_hubs_model_as_many_pairs_are_measured_as_the_paper_has(
    pytester: pytest.Pytester, local: LocalHub
) -> None:
    run(pytester, "-k", "test_families and claim", models=REPO)
    (claim,) = rows(pytester)
    assert claim.verdict is not None
    assert claim.verdict.n == 500
    run(pytester, "-k", "test_families and claim", "--pairs", "20", models=REPO)
    assert [row.verdict.n for row in rows(pytester) if row.verdict] == [10]


def test_a_model_that_cannot_be_had_is_told_apart_from_a_claim_that_fails(
    pytester: pytest.Pytester, local: LocalHub
) -> None:
    hub.fetch(REPO, weights=False)
    local.fail(Failure("gated", path="model.safetensors", times=-1, method=""))
    result = run(pytester, "-k", "logit_difference and claim", models=REPO)
    assert result.ret == EXIT_NOT_MEASURED
    result.stdout.fnmatch_lines(
        ["*someone/olmo-small is gated. Ask for access*", "exit status 11: no claim failed and no curve moved*"]
    )
