"""The suites themselves on models that come from a hub, which fails in every way it can."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from measure import catalog, hub, prompts, records, selection
from measure.exits import EXIT_NOT_MEASURED
from measure.rows import TestRow
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
