"""Sweeps over hub checkpoints: the next one fetched meanwhile, dropped after use, stale ones refused."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from measure.harness.engines import fetching
from measure.harness.engines import in_process as engine
from measure.harness.engines import protocol as engines
from measure.harness.engines.store import Store
from measure.hub import checkpoints as hub
from measure.models import loading as models
from measure.results import Curves
from measure.spec import CurveSpec, MeasureError
from tests.hub import LocalHub, tiny_checkpoint, tiny_corpus

REPO = "tiny/olmo"
STEPS = ("step0-tokens0B", "step1000-tokens2B", "step3000-tokens6B")


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    with LocalHub() as served:
        for seed, step in enumerate(STEPS):
            served.add(REPO, tiny_checkpoint(seed), revision=step)
        served.add(REPO, tiny_checkpoint(len(STEPS) - 1), revision="main")
        served.use(monkeypatch, tmp_path / "cache")
        hub.forget()
        yield served


def spec(revision: str) -> CurveSpec:
    return CurveSpec(
        f"{REPO}@{revision}", pairs=4, steps=5, corpus=str(models.catalog.LADDER.parent.parent / "corpus/prose.jsonl")
    )


def run(
    specs: list[CurveSpec], tmp_path: Path, keep: fetching.Keep = "all"
) -> tuple[list[str], dict[CurveSpec, engines.Outcome]]:
    how: list[str] = []
    running = engine.InProcess(Store(tmp_path / "store"), lambda _, state: how.append(state), keep=keep)
    running.gather(specs)
    try:
        return how, {spec: running.outcome(spec) for spec in specs}
    finally:
        running.close()


def snapshots(tmp_path: Path) -> set[str]:
    return {path.parent.name for path in (tmp_path / "cache").rglob("model.safetensors")}


def test_a_result_says_which_commit_it_is_of(local: LocalHub, tmp_path: Path) -> None:
    outcome = run([spec(STEPS[1])], tmp_path)[1].popitem()[1]
    assert isinstance(outcome, Curves)
    assert outcome.provenance["revision"] == STEPS[1]
    assert outcome.provenance["commit"] == hub.commit_of(REPO, STEPS[1])


def test_the_next_checkpoint_is_fetched_while_one_is_measured(
    local: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[str] = []
    second = threading.Event()
    fetch, load = models.fetch, models.load

    def noted(reference: models.catalog.Reference, **options: bool) -> hub.Checkpoint:
        found = fetch(reference, **options)
        if threading.current_thread().name.startswith("fetch"):
            came.append(reference.revision)
            if reference.revision == STEPS[1]:
                second.set()
        return found

    def waiting(name: str, **options: object) -> models.LoadedModel:
        # The first is not even loaded before the second has come: it was fetched meanwhile, or this never ends.
        if name.endswith(STEPS[0]):
            assert second.wait(20)
        return load(name, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(models, "fetch", noted)
    monkeypatch.setattr(models, "load", waiting)
    how, _ = run([spec(step) for step in STEPS], tmp_path)
    assert how == ["measured"] * 3
    assert came == list(STEPS)


@pytest.mark.parametrize(("keep", "left"), [("none", 0), ("last", 1), ("all", 3)])
def test_checkpoints_fetched_by_a_run_are_dropped_after_use(
    local: LocalHub, tmp_path: Path, keep: fetching.Keep, left: int
) -> None:
    run([spec(step) for step in STEPS], tmp_path, keep)
    assert len(snapshots(tmp_path)) == left
    if keep == "last":
        assert snapshots(tmp_path) == {hub.commit_of(REPO, STEPS[-1])}


def test_what_was_in_the_cache_before_stays(local: LocalHub, tmp_path: Path) -> None:
    before = hub.fetch(REPO, STEPS[1])
    run([spec(step) for step in STEPS], tmp_path, "none")
    assert snapshots(tmp_path) == {before.commit}


def test_a_second_run_of_a_commit_fetches_nothing_again(local: LocalHub, tmp_path: Path) -> None:
    run([spec(step) for step in STEPS], tmp_path, "none")
    asked = len(local.requests)
    how, _ = run([spec(step) for step in STEPS], tmp_path, "none")
    assert how == ["stored"] * 3
    assert not [line for line in local.requests[asked:] if "resolve" in line]
    local.add(REPO, tiny_checkpoint(7), revision=STEPS[0])
    hub.forget()
    assert run([spec(step) for step in STEPS], tmp_path)[0] == ["measured", "stored", "stored"]


def test_two_revisions_of_equal_weights_are_an_error_but_for_main_and_the_last(local: LocalHub, tmp_path: Path) -> None:
    how, outcomes = run([spec(STEPS[-1]), spec("main")], tmp_path)
    assert how == ["measured", "measured"]
    assert all(isinstance(outcome, Curves) for outcome in outcomes.values())
    local.add(REPO, tiny_checkpoint(len(STEPS) - 1), revision="step16-tokens0B")
    how, outcomes = run([spec("main"), spec("step16-tokens0B")], tmp_path)
    assert how == ["stored", "failed"]
    assert "revisions main and step16-tokens0B hold the same weights" in str(outcomes[spec("step16-tokens0B")])
    assert "Only main and the last training step may be equal" in str(outcomes[spec("step16-tokens0B")])


def test_the_first_two_steps_may_be_equal(local: LocalHub, tmp_path: Path) -> None:
    for step in ("step0", "step1", "step2"):
        local.add("tiny/first", tiny_checkpoint(3), revision=step)
    local.add("tiny/first", tiny_checkpoint(4))
    first, second, third = (replace(spec("main"), model=f"tiny/first@step{n}") for n in range(3))
    assert run([first, second], tmp_path)[0] == ["measured", "measured"]
    how, outcomes = run([first, third], tmp_path)
    assert how == ["stored", "failed"]
    assert "tiny/first: revisions step0 and step2 hold the same weights" in str(outcomes[third])


def in_folders(tmp_path: Path, **seeds: int) -> Path:
    """Checkpoints in folders of one folder, each of a seed."""
    for name, seed in seeds.items():
        (tmp_path / "mine" / name).mkdir(parents=True)
        for file, content in tiny_checkpoint(seed).items():
            (tmp_path / "mine" / name / file).write_bytes(content)
    return tmp_path / "mine"


@pytest.mark.parametrize("between", ["@", "/"])
def test_two_folders_of_equal_weights_are_an_error_but_for_the_first_two_and_main(tmp_path: Path, between: str) -> None:
    folder = in_folders(tmp_path, step0=0, step1=0, step2=0, step8=1, main=1, step9=1)
    specs = {path.name: replace(spec("main"), model=f"{folder}{between}{path.name}") for path in folder.iterdir()}
    allowed = [specs[name] for name in ("step0", "step1")]
    assert run([*allowed, *allowed], tmp_path)[0] == ["measured"] * 2
    assert run([specs["main"], specs["step9"]], tmp_path)[0] == ["measured"] * 2
    how, outcomes = run([*allowed, specs["step2"]], tmp_path)
    assert how == ["stored", "stored", "failed"]
    said = rf"mine{between}step\d and \S+mine{between}step2 hold the same weights \(sha256 \w{{12}}\).*copied twice"
    assert re.search(said, str(outcomes[specs["step2"]]))
    # Nor does it strike what was measured before.
    assert all(isinstance(outcomes[one], Curves) for one in allowed)
    outcome = run([specs["main"], specs["step8"]], tmp_path)[1][specs["step8"]]
    assert "hold the same weights" in str(outcome)


def test_a_folder_and_its_last_checkpoint_may_be_equal(tmp_path: Path) -> None:
    folder = in_folders(tmp_path, **{"checkpoint-5": 0, "checkpoint-20": 1})
    for path in (folder / "checkpoint-20").iterdir():
        shutil.copy(path, folder)
    root, last, first = (
        replace(spec("main"), model=f"{folder}{name}") for name in ("", "@checkpoint-20", "/checkpoint-5")
    )
    assert run([root, last, first], tmp_path)[0] == ["measured"] * 3


def test_one_model_in_two_folders_is_an_error_and_one_folder_by_two_names_is_not(tmp_path: Path) -> None:
    one = in_folders(tmp_path / "a", base=0) / "base"
    other = in_folders(tmp_path / "b", tuned=0) / "tuned"
    third = in_folders(tmp_path / "c", other=0) / "other"
    (tmp_path / "link").symlink_to(one)
    config = (third / "config.json").read_text()
    (third / "config.json").write_text(config.replace('"silu"', '"gelu"'))
    specs = [replace(spec("main"), model=str(place)) for place in (one, tmp_path / "link", other, third)]
    how, outcomes = run(specs, tmp_path)
    assert how[2] == "failed"
    assert "a/mine/base and" in str(outcomes[specs[2]])
    assert [isinstance(outcomes[one], Curves) for one in specs] == [True, True, False, True]


def test_a_checkpoint_that_cannot_be_fetched_strikes_its_own_specs(local: LocalHub, tmp_path: Path) -> None:
    how, outcomes = run([spec(STEPS[0]), spec("step2-tokens1B"), spec(STEPS[1])], tmp_path)
    assert how == ["measured", "failed", "measured"]
    assert "tiny/olmo has no revision 'step2-tokens1B'" in str(outcomes[spec("step2-tokens1B")])


def test_untrained_weights_need_no_checkpoint(local: LocalHub, tmp_path: Path) -> None:
    model = models.load(f"{REPO}@{STEPS[0]}", weights="untrained:0")
    assert model.commit == hub.commit_of(REPO, STEPS[0])
    assert snapshots(tmp_path) == set()


def test_the_papers_corpus_is_found_offline_once_it_was_fetched(
    local: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from measure.prompts import drawn as prompts

    local.add(prompts.PAPER_CORPUS, tiny_corpus(150), kind="dataset")
    corpus = prompts.load_corpus(prompts.PAPER_CORPUS)
    assert len(corpus.texts) == prompts.PAPER_BOOKS
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.forget()
    assert prompts.load_corpus(prompts.PAPER_CORPUS) == corpus
    assert prompts.is_at_hand(prompts.PAPER_CORPUS)
    assert not prompts.is_at_hand("hf://someone/else/ids.npy")
    with pytest.raises(MeasureError, match="is not in the local cache, and HF_HUB_OFFLINE is set"):
        prompts.load_corpus("hf://someone/else/ids.npy")


def test_a_commit_pushed_meanwhile_is_not_taken_for_the_one_before(
    local: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where what is loaded is not what was asked for, its result is not found again as that."""
    load = models.load

    def pushed(name: str, **options: object) -> models.LoadedModel:
        local.add(REPO, tiny_checkpoint(9), revision=STEPS[0])
        hub.forget()
        return load(name, **options)  # type: ignore[arg-type]

    before = hub.commit_of(REPO, STEPS[0])
    with monkeypatch.context() as patch:
        patch.setattr(models, "load", pushed)
        outcome = run([spec(STEPS[0])], tmp_path)[1].popitem()[1]
    assert isinstance(outcome, Curves)
    assert outcome.provenance["commit"] != before
    local.add(REPO, tiny_checkpoint(0), revision=STEPS[0])
    hub.forget()
    assert hub.commit_of(REPO, STEPS[0]) == before
    assert run([spec(STEPS[0])], tmp_path)[0] == ["measured"]


def test_a_folder_that_is_written_while_it_is_loaded_is_not_taken_for_what_it_became(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = in_folders(tmp_path, one=0) / "one"
    asked, load = replace(spec("main"), model=str(folder)), models.load

    def written(name: str, **options: object) -> models.LoadedModel:
        found = load(name, **options)  # type: ignore[arg-type]
        (folder / "model.safetensors").write_bytes(tiny_checkpoint(1)["model.safetensors"])
        return found

    with monkeypatch.context() as patch:
        patch.setattr(models, "load", written)
        before = run([asked], tmp_path)[1][asked]
    how, outcomes = run([asked], tmp_path)
    assert how == ["measured"]
    assert isinstance(before, Curves)
    assert isinstance(outcomes[asked], Curves)
    assert outcomes[asked].provenance["weights_sha256"] != before.provenance["weights_sha256"]
    assert run([asked], tmp_path)[0] == ["stored"]


def test_one_checkpoint_under_two_token_counts_is_an_error(local: LocalHub, tmp_path: Path) -> None:
    how, outcomes = run([spec("tokens2B"), spec("tokens3B")], tmp_path)
    assert how == ["measured", "failed"]
    assert "revisions tokens2B and tokens3B hold the same weights" in str(outcomes[spec("tokens3B")])


def test_main_may_equal_a_step_where_nobody_knows_which_is_the_last(
    local: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for revision in (STEPS[-1], "main"):
        hub.fetch(REPO, revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.forget()
    assert run([spec(STEPS[-1]), spec("main")], tmp_path)[0] == ["measured", "measured"]


def test_a_run_that_is_over_ends_though_a_fetch_never_does(local: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_GRACE", 0.1)
    never = threading.Event()
    monkeypatch.setattr(models, "fetch", lambda *_, **__: never.wait(30))
    fetcher = fetching.Fetcher()
    fetcher.ahead(f"{REPO}@main", weights=True, needed=lambda: True)
    fetcher.close()
    assert fetcher._thread is not None
    assert fetcher._thread.daemon
    never.set()
    fetcher._thread.join()


def test_only_the_first_shard_is_the_papers_corpus(local: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from measure.prompts import drawn as prompts

    shard = tiny_corpus(3)["data/train-00000-of-00001.parquet"]
    local.add(prompts.PAPER_CORPUS, {f"data/train-0000{n}-of-00037.parquet": shard for n in (0, 7)}, kind="dataset")
    hub.fetch_file(prompts.PAPER_CORPUS, "data/train-00007-of-00037.parquet", kind="dataset")
    assert not prompts.is_at_hand(prompts.PAPER_CORPUS)
    assert prompts.bytes_to_fetch(prompts.PAPER_CORPUS) == len(shard)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.forget()
    with pytest.raises(MeasureError, match="its first shard"):
        prompts.load_corpus(prompts.PAPER_CORPUS)
