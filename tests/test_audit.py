"""Checkpoints that are not what their names say, found by what the local hub lists, before a byte of weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from measure import catalog, cli
from measure.catalog import known_bad, revisions
from measure.harness import selection, sweeping
from measure.hub import audit
from measure.hub import checkpoints as hub
from measure.spec import MeasureError
from tests.hub import Failure, LocalHub, tiny_checkpoint

REPO = "tiny/training"
PYTHIA = "EleutherAI/pythia-1.4b-deduped"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with LocalHub() as local:
        local.use(monkeypatch, tmp_path / "cache")
        hub.forget()
        yield local
        assert not [line for line in local.requests if "resolve" in line], "an audit fetches no file"
    hub.forget()
    revisions.forget_own()
    catalog.forget_added()
    selection._at_hand.cache_clear()


def parts(*contents: str, of: int | None = None) -> dict[str, bytes]:
    """Weights in as many files as there are contents; "" leaves one out."""
    names = [f"model-{number:05}-of-{of or len(contents):05}.safetensors" for number in range(1, len(contents) + 1)]
    return {"config.json": b"{}", **{name: text.encode() for name, text in zip(names, contents, strict=True) if text}}


def whole(content: str) -> dict[str, bytes]:
    return {"config.json": b"{}", "model.safetensors": content.encode()}


def serve(local: LocalHub, branches: Mapping[str, Mapping[str, bytes]], repo: str = REPO) -> None:
    for name, files in branches.items():
        local.add(repo, files, revision=name)


PLANTED = {
    "step0": parts("a", "b", "c"),
    "step1": parts("a", "b", "c"),
    "step2": parts("d", "e", "f"),
    "step4": parts("m", "n", "o"),  # main's
    "step8": parts("m", "h", "i"),  # its first file is main's
    "step16": {"config.json": b"{}"},
    "step32": parts("j", "", "l"),
    "step64": parts("p", "q", "r"),
    "step128": parts("p", "q", "r"),  # another step's
    "step256": {"config.json": b"{}", "pytorch_model.bin": b"pickled"},
    "step512": parts("m", "n", "o"),  # the last, which main may be
    "main": parts("m", "n", "o"),
    "wip": parts("x", "y", "z"),
}
FAULTS = {
    "step4": "holds the weights of step512 and main (sha256 ",
    "step8": "is part of one step and part of another: model-00001-of-00003.safetensors is main's, of 3",
    "step16": "has no weights",
    "step32": "has 2 of 3 files of weights: part 00002 is missing",
    "step64": "holds the weights of step128 (sha256 ",
    "step128": "holds the weights of step64 (sha256 ",
}


def test_every_planted_fault_is_found_and_nothing_else(served: LocalHub) -> None:
    serve(served, PLANTED)
    found = audit.audit(REPO)
    assert found.revisions == (*(name for name in PLANTED if name.startswith("step")), "main")
    assert found.faults.keys() == FAULTS.keys()
    for name, text in FAULTS.items():
        assert text in found.faults[name][0].text
    assert found.sound == ("step0", "step1", "step2", "step256", "step512", "main")
    allowed = {one.revision for one in found.findings if one.kind == "allowed"}
    assert allowed == {"step0", "step1"}


def test_one_request_a_commit_and_none_for_one_that_is_known(served: LocalHub) -> None:
    serve(served, PLANTED)
    audit.audit(REPO)
    assert len(served.requests) == 1 + len(PLANTED) - 1
    hub.forget()
    served.requests.clear()
    audit.audit(REPO)
    assert len(served.requests) == 1
    served.add(REPO, whole("new"), revision="step2")
    hub.forget()
    audit.audit(REPO)
    assert len(served.requests) == 3


def test_the_step_before_the_first_update_may_be_the_first(served: LocalHub) -> None:
    serve(served, {"step0": whole("a"), "step1": whole("a"), "step2": whole("a"), "main": whole("z")})
    assert audit.audit(REPO).faults.keys() == {"step2"}


def test_the_table_is_told_with_its_source_where_the_hashes_show_it_and_as_mended_else(served: LocalHub) -> None:
    serve(served, {"step8": whole("a"), "step16": whole("z"), "step143000": whole("z"), "main": whole("z")}, PYTHIA)
    [first, second] = audit.audit(PYTHIA).faults["step16"]
    assert first.kind == "equal"
    assert second.text == "is known: holds the weights of step143000"
    assert second.source.endswith("marsv, dir19, step16_forensics.json")
    served.add(PYTHIA, whole("b"), revision="step16")
    hub.forget()
    found = audit.audit(PYTHIA)
    assert not found.faults
    assert [one.kind for one in found.findings if one.revision == "step16"] == ["mended"]


@pytest.mark.parametrize(
    ("repository", "revision", "count"),
    [
        ("EleutherAI/pythia-2.8b", "step53000", 1),
        ("EleutherAI/pythia-2.8b", "step54000", 1),
        ("EleutherAI/pythia-2.8b", "step66000", 0),
        ("EleutherAI/pythia-12b", "step58000", 1),
        ("EleutherAI/pythia-410m-seed6", "step88000", 1),
        ("EleutherAI/pythia-70m", "step0", 0),
        ("allenai/OLMo-2-1124-7B", "stage1-step175000-tokens735B", 1),
    ],
)
def test_the_table_knows_what_others_have_found(repository: str, revision: str, count: int) -> None:
    assert len(known_bad.of(repository, revision)) == count
    assert all(one.source for one in known_bad.KNOWN)


def test_pythia_28b_has_76_branches_that_are_main_and_ten_others_in_the_table() -> None:
    steps = [0, *(2**power for power in range(10)), *range(1000, 144_000, 1000)]
    told = [one.fault for step in steps for one in known_bad.of("EleutherAI/pythia-2.8b", f"step{step}")]
    assert told.count("holds the weights of main") == 76
    assert sum("ten branches" in fault for fault in told) == 10


def test_the_command_prints_a_table_or_json_and_ends_with_1(
    served: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(served, PLANTED)
    assert cli.main(["audit", REPO]) == 1
    out = capsys.readouterr().out
    assert out.startswith("tiny/training: 12 revisions, 6 not what their names say\n")
    assert "  FAULT step16  has no weights\n" in out
    assert "  note  step0   holds the weights of step1" in out
    assert out.endswith("  sound: step0, step1, step2, ..., step512, main (6)\n")
    assert cli.main(["audit", f"{REPO}@step[02]", "--json"]) == 0
    [told] = json.loads(capsys.readouterr().out)
    assert told["revisions"] == ["step0", "step2", "main"]
    assert (told["findings"], told["sound"]) == ([], ["step0", "step2", "main"])


def test_a_run_over_two_repositories_is_audited_in_both(served: LocalHub, capsys: pytest.CaptureFixture[str]) -> None:
    serve(served, {"stage1-step0-tokens0B": whole("a")}, "allenai/OLMo-2-0425-1B-early-training")
    serve(served, {"stage1-step140000-tokens294B": whole("b"), "main": whole("c")}, "allenai/OLMo-2-0425-1B")
    assert cli.main(["audit", "olmo2-1b"]) == 0
    assert capsys.readouterr().out == (
        "allenai/OLMo-2-0425-1B-early-training: 1 revisions, all sound\n"
        "allenai/OLMo-2-0425-1B: 2 revisions, all sound\n"
    )


def test_a_repository_of_checkpoints_alone_has_an_empty_main_and_no_fault(
    served: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints, final = "HuggingFaceTB/SmolLM2-135M-intermediate-checkpoints", "HuggingFaceTB/SmolLM2-135M"
    serve(served, {"step-240000": whole("a"), "main": {"README.md": b"-"}}, checkpoints)
    serve(served, {"main": whole("z")}, final)
    assert cli.main(["audit", "smollm2-135m"]) == 0
    out = capsys.readouterr().out
    assert "  note  main has no weights: the repository holds checkpoints alone\n" in out
    assert f"{final}: 1 revisions, all sound\n" in out
    assert sweeping.of_repository(checkpoints, ["all"]).lines == (f"{checkpoints}@main is left out: it has no weights",)


def test_what_cannot_be_audited_is_one_sentence(
    served: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(served, {"main": whole("a"), "wip": whole("b")})
    serve(served, {"ckpt_7": whole("a"), "n8": whole("b")}, "tiny/named")

    def said(*arguments: str) -> str:
        assert cli.main(["audit", *arguments]) == 2
        return capsys.readouterr().err

    assert "tiny/training has no training checkpoints to audit: of its 2 branches (main, wip) none" in said(REPO)
    assert "the hub has no model 'tiny/none', or it is private" in said("tiny/none")
    assert "tiny/training@step* matches none of its 0 training checkpoints (none)" in said(f"{REPO}@step*")
    assert "ladder-olmo-0.2m is no model of the hub" in said("ladder-olmo-0.2m")
    assert "{stp} is no part of a revision's name" in said("tiny/named", "--revision-pattern", "n{stp}")
    assert cli.main(["audit", "tiny/named", "--revision-pattern", "n{step}", "--json"]) == 0
    [told] = json.loads(capsys.readouterr().out)
    assert told["revisions"] == ["ckpt_7", "n8"]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "cannot be audited: the hub's own hashes are asked for, and HF_HUB_OFFLINE is set" in said(REPO)


def test_a_sweep_leaves_stale_revisions_out_and_says_so_in_a_line_each(served: LocalHub) -> None:
    serve(served, PLANTED)
    found = sweeping.of_repository(REPO, ["all"])
    assert found.revisions == ("step0", "step1", "step2", "step256", "step512", "main")
    assert len(found.lines) == len(FAULTS)
    assert "tiny/training@step16 is left out: it has no weights" in found.lines
    assert sweeping.of_repository(REPO, ["step[02]", "main"]).revisions == ("step0", "step2", "main")
    with pytest.raises(MeasureError, match=r"none of its 2 revisions asked for is what its name says .*measure audit"):
        sweeping.of_repository(REPO, ["step64", "step128"])
    with pytest.raises(MeasureError, match=r"tiny/training@stage1-\* matches none of its 11 training checkpoints \(st"):
        sweeping.of_repository(REPO, ["stage1-*"])


def test_a_sweep_that_cannot_be_audited_says_so_and_goes_on(served: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = sweeping.of_repository(REPO, ["step16", "main"])
    assert found.revisions == ("step16", "main")
    assert found.lines[0].startswith("tiny/training: its revisions were not audited (tiny/training cannot be audited")


def test_a_hub_that_fails_a_while_is_audited_all_the_same(served: LocalHub) -> None:
    serve(served, PLANTED)
    for failure in (Failure("429", path="/refs"), Failure("500", path="/revision/step2")):
        served.fail(failure)
    assert audit.audit(REPO).faults.keys() == FAULTS.keys()


def test_a_run_is_taken_from_each_of_its_repositories() -> None:
    where = {
        "olmo2-1b@stage1-step1000-tokens3B": ("allenai/OLMo-2-0425-1B-early-training", "stage1-step1000-tokens3B"),
        "olmo2-1b@stage1-step140000-tokens294B": ("allenai/OLMo-2-0425-1B", "stage1-step140000-tokens294B"),
        "olmo2-1b@tokens10B": ("allenai/OLMo-2-0425-1B-early-training", "tokens10B"),
        "olmo2-1b@tokens1000B": ("allenai/OLMo-2-0425-1B", "tokens1000B"),
        "olmo2-1b@stage2-ingredient1-step50-tokens1B": ("allenai/OLMo-2-0425-1B", "stage2-ingredient1-step50-tokens1B"),
        "olmo2-1b": ("allenai/OLMo-2-0425-1B", "main"),
        "smollm2-135m@step-240000": ("HuggingFaceTB/SmolLM2-135M-intermediate-checkpoints", "step-240000"),
        "smollm2-135m@main": ("HuggingFaceTB/SmolLM2-135M", "main"),
        "smollm3-3b@stage2-step-4200000": ("HuggingFaceTB/SmolLM3-3B-checkpoints", "stage2-step-4200000"),
        "polypythia-14m-seed3": ("EleutherAI/pythia-14m-seed3", "step143000"),
        "polypythia-14m@step8": ("EleutherAI/pythia-14m", "step8"),
    }
    for name, place in where.items():
        found = catalog.resolve(name)
        assert (found.location, found.revision) == place


def test_polypythias_are_45_runs_beside_the_originals_and_six_that_vary_one_thing() -> None:
    runs = [model for model in catalog.checkpoints().values() if model.family == "polypythia"]
    assert sum(model.seed > 0 for model in runs) == 45
    assert sum(model.family.startswith("polypythia-") for model in catalog.checkpoints().values()) == 6
    assert not catalog.checkpoints().keys() & catalog.models().keys()


def test_naming_a_run_puts_it_into_the_catalog_with_what_the_audit_leaves(served: LocalHub) -> None:
    # The tokens of `tokens10B` are the branch nearest to it, wherever it lies.
    serve(served, {"stage1-step0-tokens0B": whole("a"), "stage1-step1000-tokens3B": whole("z"),
                   "stage1-step5000-tokens10B": whole("b")}, "allenai/OLMo-2-0425-1B-early-training")  # fmt: skip
    serve(served, {"stage1-step50000-tokens105B": whole("y"), "stage1-step480000-tokens1007B": whole("y"),
                   "main": whole("z")}, "allenai/OLMo-2-0425-1B")  # fmt: skip
    told: list[str] = []
    assert selection.named("olmo2-1b", told.append) == {"olmo2-1b"}
    model = catalog.models()["olmo2-1b"]
    assert model.revisions == ("stage1-step0-tokens0B", "stage1-step1000-tokens3B", "tokens10B", "main")
    assert [line.partition(" is")[0] for line in told] == ["olmo2-1b@tokens100B", "olmo2-1b@tokens1000B"]


def test_all_checkpoints_of_a_run_end_with_its_main(served: LocalHub) -> None:
    steps = ("step0", "step512", "step1000", "step143000")
    serve(served, {name: whole(name) for name in steps} | {"main": {}}, "EleutherAI/pythia-14m-seed1")
    selection.named("polypythia-14m-seed1@all")
    assert catalog.models()["polypythia-14m-seed1"].revisions == ("step0", "step512", "step1000", "main")
    catalog.forget_added()
    assert selection.named("polypythia-14m-seed[12]@main") == {"polypythia-14m-seed1", "polypythia-14m-seed2"}
    assert catalog.models()["polypythia-14m-seed1"].revisions == ("main",)
    with pytest.raises(MeasureError, match=r"pythia-\*-x matches no training in the catalog"):
        selection.named("pythia-*-x")


def test_a_sweep_of_a_model_of_the_paper_is_one_of_its_own(served: LocalHub) -> None:
    files = tiny_checkpoint(0)
    for name in ("step0-tokens0B", "step2000-tokens4B", "main"):
        served.add("allenai/OLMo-1B-0724-hf", {**files, "model.safetensors": name.encode()}, revision=name)
    assert sweeping.of_repository("allenai/OLMo-1B-0724-hf", ["all"]).revisions[-1] == "main"
    with pytest.raises(MeasureError, match="the suites measure olmo-1b at the catalog's revisions"):
        selection.named("olmo-1b@step9")
