"""The model hub, against a small one on loopback: commits, revisions, what may pass, and one message for the rest."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from measure.base import checkpoint_files
from measure.hub import answers
from measure.hub import cache as hub_cache
from measure.hub import checkpoints as hub
from measure.hub import errors as hub_errors
from measure.hub import hashes as hub_hashes
from measure.hub import listings as hub_listings
from measure.hub.leases import Leases
from measure.spec import MeasureError
from tests.hub import Failure, LocalHub, tiny_checkpoint

REPO = "tiny/olmo"
BRANCHES = ("step0-tokens0B", "step1000-tokens2B", "step3000-tokens6B", "step10-odd", "wip", "main")


@dataclass(frozen=True)
class Served:
    """A hub with one model of several branches, and the cache of this test."""

    hub: LocalHub
    cache: Path
    commits: dict[str, str]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been waited, by us and by huggingface_hub."""
    found: list[float] = []
    monkeypatch.setattr("time.sleep", found.append)
    return found


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[Served]:
    with LocalHub() as local:
        commits = {name: local.add(REPO, tiny_checkpoint(seed), revision=name) for seed, name in enumerate(BRANCHES)}
        local.use(monkeypatch, tmp_path / "cache")
        hub.forget()
        yield Served(local, tmp_path / "cache", commits)


def incomplete(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.name.endswith((".incomplete", ".part"))]


def test_a_revision_is_fetched_once_and_names_its_commit(served: Served) -> None:
    found = hub.fetch(REPO, "step1000-tokens2B")
    assert found.commit == served.commits["step1000-tokens2B"]
    assert found.folder.name == found.commit
    assert found.fetched
    assert (found.folder / "model.safetensors").read_bytes() == tiny_checkpoint(1)["model.safetensors"]
    asked = len(served.hub.requests)
    hub.forget()
    again = hub.fetch(REPO, "step1000-tokens2B")
    assert not again.fetched
    assert len(served.hub.requests) == asked + 1


def test_only_what_a_model_is_loaded_from_is_fetched(served: Served) -> None:
    files = {
        **tiny_checkpoint(0),
        "consolidated.safetensors": b"twice",
        "pytorch_model.bin": b"pickled",
        "onnx/model.safetensors": b"other",
        "model-00001-of-00002.safetensors": b"parts of the same",
    }
    served.hub.add("tiny/full", files)
    names = {path.name for path in hub.fetch("tiny/full").folder.iterdir()}
    assert names == {name for name in tiny_checkpoint(0) if name in hub.SMALL_FILES} | {"model.safetensors"}
    small = hub.fetch(REPO, weights=False).folder
    assert not list(small.glob("*.safetensors"))


def test_pickled_weights_are_refused_unless_allowed(served: Served) -> None:
    files = {name: content for name, content in tiny_checkpoint(0).items() if not name.endswith(".safetensors")}
    served.hub.add("tiny/pickled", {**files, "pytorch_model.bin": b"pickled"})
    with pytest.raises(MeasureError, match=r"holds its weights pickled only \(pytorch_model.bin\).*--allow-pickle"):
        hub.fetch("tiny/pickled")
    assert not list(served.cache.rglob("pytorch_model.bin"))
    assert (hub.fetch("tiny/pickled", allow_pickle=True).folder / "pytorch_model.bin").read_bytes() == b"pickled"


def test_a_repository_without_a_model_says_what_it_has(served: Served) -> None:
    served.hub.add("tiny/none", {"README.md": b"nothing"})
    with pytest.raises(MeasureError, match=r"tiny/none has no config.json.*README.md"):
        hub.fetch("tiny/none")
    served.hub.add("tiny/bare", {"config.json": b"{}"})
    with pytest.raises(MeasureError, match=r"tiny/bare has no weights as transformers writes them"):
        hub.fetch("tiny/bare")


FAILING = {
    "too many requests": Failure("429", path="/api/", times=3, retry_after=2),
    "too many requests for a file": Failure("429", path="model.safetensors", times=2),
    "a failing server": Failure("500", path="/api/", times=3),
    "a failing file": Failure("500", path="model.safetensors", times=2),
    "a failing look at a file": Failure("503", path="model.safetensors", times=2, method="HEAD"),
    "a listing that fails": Failure("503", path="/tree/", times=2),
    "a connection cut": Failure("cut", path="model.safetensors", times=2, after=5000),
    "a connection reset": Failure("reset", path="model.safetensors", times=2, after=5000),
    "a file cut short": Failure("truncated", path="model.safetensors", times=1, after=5000),
    "a file cut short that says so": Failure("truncated", path="model.safetensors", times=2, after=5000, method=""),
    "a wrong hash": Failure("wrong_hash", path="model.safetensors", times=2),
    "a wrong hash of a small file": Failure("wrong_hash", path="config.json", times=1),
}


@pytest.mark.parametrize("failure", FAILING.values(), ids=FAILING)
def test_what_may_pass_is_tried_again(served: Served, waits: list[float], failure: Failure) -> None:
    served.hub.fail(failure)
    found = hub.fetch(REPO, "main")
    assert served.hub.failures == []
    for name, content in tiny_checkpoint(BRANCHES.index("main")).items():
        if name in hub.SMALL_FILES or name == "model.safetensors":
            assert (found.folder / name).read_bytes() == content
    assert incomplete(served.cache) == []


def test_waits_grow_and_the_hubs_own_are_kept(served: Served, waits: list[float]) -> None:
    served.hub.fail(Failure("429", path="/api/models/tiny/olmo/revision", times=2, retry_after=7))
    hub.fetch(REPO)
    assert len([wait for wait in waits if wait >= 7]) >= 2


def test_a_connection_cut_goes_on_where_it_was(served: Served) -> None:
    served.hub.fail(Failure("cut", path="model.safetensors", after=5000))
    hub.fetch(REPO)
    sent = [line for line in served.hub.requests if "model.safetensors" in line and line.startswith("GET")]
    assert len(sent) == 2


LASTING = {
    "429": (Failure("429", path="/api/", times=-1), r"tiny/olmo@main: the hub answered 429, again and again"),
    "500": (
        Failure("500", path="model.safetensors", times=-1, method=""),
        r"the hub answered 500, again and again.*goes on",
    ),
    "cut": (
        Failure("cut", path="model.safetensors", times=-1),
        r"tiny/olmo@main: the download failed \(.*again and again",
    ),
    "wrong_hash": (
        Failure("wrong_hash", path="model.safetensors", times=-1),
        r"model.safetensors came with the hash \w{12}, the hub states \w{12}, again and again; it was not kept",
    ),
    "gated": (Failure("gated", times=-1, method=""), r"tiny/olmo is gated. Ask for access on its page.*hf auth login"),
    "missing_repo": (
        Failure("missing_repo", times=-1, method=""),
        r"the hub has no model 'tiny/olmo', or it is private",
    ),
}


@pytest.mark.parametrize(("failure", "said"), LASTING.values(), ids=LASTING)
def test_what_lasts_is_one_message_and_nothing_half_written(served: Served, failure: Failure, said: str) -> None:
    served.hub.fail(failure)
    with pytest.raises(MeasureError, match=said):
        hub.fetch(REPO)
    assert incomplete(served.cache) == []
    assert not list(served.cache.rglob("model.safetensors"))


def test_a_gated_model_that_is_listed_says_so(served: Served) -> None:
    served.hub.add("tiny/gated", tiny_checkpoint(0), gated=True)
    with pytest.raises(MeasureError, match=r"tiny/gated is gated"):
        hub.fetch("tiny/gated")


def test_a_missing_revision_names_those_next_to_it(served: Served) -> None:
    with pytest.raises(MeasureError, match=re.escape("has no revision 'step999-tokens2B'; nearest: step1000-tokens2B")):
        hub.fetch(REPO, "step999-tokens2B")
    with pytest.raises(MeasureError, match=re.escape("has no revision 'mian'; nearest: main")):
        hub.fetch(REPO, "mian")


def test_the_revision_nearest_to_a_token_count_is_taken(served: Served) -> None:
    for wanted, nearest in (
        ("tokens0B", "step0-tokens0B"),
        ("tokens3B", "step1000-tokens2B"),
        ("tokens9B", "step3000-tokens6B"),
    ):
        assert hub.fetch(REPO, wanted).revision == nearest
    with pytest.raises(
        MeasureError, match=r"nearest .* is step3000-tokens6B, after 6 billion tokens, which is too far"
    ):
        hub.fetch(REPO, "tokens900B")
    served.hub.add("tiny/plain", tiny_checkpoint(0))
    with pytest.raises(MeasureError, match=r"tiny/plain@tokens1B: none of its 1 branches is a training checkpoint"):
        hub.fetch("tiny/plain", "tokens1B")
    for place in ("EleutherAI/pythia-14m", "tiny/steps"):
        served.hub.add(place, tiny_checkpoint(0), revision="step1000")
        served.hub.add(place, tiny_checkpoint(1), revision="step143000")
    assert hub.nearest_revision("EleutherAI/pythia-14m", "tokens2B") == "step1000"
    # Whose steps are of a size that nobody told.
    with pytest.raises(MeasureError, match=r"tells its tokens \(looked for stepN-tokensNB; --revision-pattern"):
        hub.nearest_revision("tiny/steps", "tokens2B")


def test_what_one_process_of_a_run_was_told_no_other_asks_again(served: Served) -> None:
    with answers.shared(served.cache / "run", Leases("one")):
        first, known = hub.commit_of(REPO, "main"), hub.branches(REPO)
        asked = len(served.hub.requests)
        served.hub.add(REPO, tiny_checkpoint(9), revision="main")
        served.hub.add(REPO, tiny_checkpoint(9), revision="later")
        # Another process, which has heard nothing yet: the run stays on one commit.
        hub.forget()
        assert (hub.commit_of(REPO, "main"), hub.branches(REPO)) == (first, known)
        assert len(served.hub.requests) == asked
    hub.forget()
    assert hub.commit_of(REPO, "main") != first


def test_offline_what_was_fetched_is_found_and_the_rest_is_named(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = hub.fetch(REPO, "tokens2B")
    hub.fetch(REPO, "main", weights=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.forget()
    asked = len(served.hub.requests)
    offline = hub.fetch(REPO, "tokens2B")
    assert (offline.revision, offline.commit, offline.fetched) == ("step1000-tokens2B", online.commit, False)
    assert hub.fetch(REPO, online.commit).folder == online.folder
    with pytest.raises(
        MeasureError,
        match=r"model.safetensors of tiny/olmo@main is not .*HF_HUB_OFFLINE is set.*`hf download tiny/olmo`",
    ):
        hub.fetch(REPO, "main")
    with pytest.raises(
        MeasureError,
        match=r"tiny/olmo@step0-tokens0B is not in the local cache.*`hf download tiny/olmo --revision step0-tokens0B`",
    ):
        hub.fetch(REPO, "step0-tokens0B")
    assert hub.is_cached(REPO, "tokens2B")
    assert not hub.is_cached(REPO, "main")
    assert len(served.hub.requests) == asked


def test_without_a_network_the_cache_serves(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    online = hub.fetch(REPO)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", "http://127.0.0.1:9")
    hub.forget()
    assert hub.fetch(REPO).commit == online.commit
    assert not hub.is_reachable(REPO)
    with pytest.raises(
        MeasureError,
        match=r"tiny/other@main is not in the local cache, and the hub cannot be reached\..*`hf download tiny/other`",
    ):
        hub.fetch("tiny/other")


def test_a_full_disk_is_said_before_anything_is_fetched(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(MeasureError, match=r"tiny/olmo: 0.00 GB are to be fetched and 0.00 GB are free.*--keep none"):
        hub.fetch(REPO)
    assert not [line for line in served.hub.requests if "resolve" in line]


def test_a_disk_that_fills_up_is_said(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(MeasureError, match="the disk filled up while it was fetched"):
        hub.fetch(REPO)
    assert incomplete(served.cache) == []


def test_what_was_fetched_can_be_dropped_but_not_what_others_share(served: Served) -> None:
    first, second = hub.fetch(REPO, "step0-tokens0B"), hub.fetch(REPO, "main")
    hub.drop(first)
    assert not first.folder.exists()
    assert (second.folder / "tokenizer.json").read_bytes() == tiny_checkpoint(0)["tokenizer.json"]
    assert hub.fetch(REPO, "step0-tokens0B").fetched


def test_a_large_model_that_cannot_be_measured_is_refused_before_its_weights(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_LARGE", 0)

    def refuse(folder: Path) -> None:
        assert (folder / "config.json").exists()
        raise MeasureError("quantized")

    with pytest.raises(MeasureError, match="quantized"):
        hub.fetch(REPO, check=refuse)
    assert not list(served.cache.rglob("model.safetensors"))


def test_bytes_to_fetch_are_told_without_fetching(served: Served) -> None:
    files = tiny_checkpoint(BRANCHES.index("main"))
    wanted = sum(len(content) for name, content in files.items() if name in hub.SMALL_FILES or "safetensors" in name)
    assert hub.bytes_to_fetch(REPO, "main") == wanted
    assert not [line for line in served.hub.requests if "resolve" in line]
    hub.fetch(REPO)
    assert hub.bytes_to_fetch(REPO, "main") == 0


def test_one_file_is_fetched_checked_and_found_offline(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.hub.add("tiny/data", {"a.npy": b"12345", "b.npy": b"678"}, kind="dataset")
    served.hub.fail(Failure("wrong_hash", path="a.npy"))
    assert hub.fetch_file("tiny/data", "a.npy", kind="dataset").read_bytes() == b"12345"
    assert hub.file_names("tiny/data", kind="dataset") == ["a.npy", "b.npy"]
    with pytest.raises(MeasureError, match=r"tiny/data@main has no file 'c.npy'; nearest: b.npy, a.npy"):
        hub.fetch_file("tiny/data", "c.npy", kind="dataset")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.forget()
    assert hub.fetch_file("tiny/data", "a.npy", kind="dataset").read_bytes() == b"12345"
    with pytest.raises(MeasureError, match=r"b.npy of tiny/data@main is not in the .*--repo-type dataset"):
        hub.fetch_file("tiny/data", "b.npy", kind="dataset")


def test_a_file_in_the_storage_that_repositories_share_is_held_against_its_hash_too(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer versions of huggingface_hub keep large files in one place, under another hash, and link to them."""
    whole = hub.check_hashes
    damaged: list[str] = []

    def shared(folder: Path, names: list[str]) -> None:
        blob = folder / "model.safetensors"
        entry = blob.parent / blob.readlink()
        if not entry.is_symlink():
            elsewhere = served.cache / "shared"
            elsewhere.mkdir(exist_ok=True)
            content = entry.read_bytes() if damaged else entry.read_bytes()[:-1] + b"x"
            (elsewhere / "other-hash").write_bytes(content)
            entry.unlink()
            entry.symlink_to(elsewhere / "other-hash")
            damaged.append("once")
        whole(folder, names)

    monkeypatch.setattr(hub, "check_hashes", shared)
    found = hub.fetch(REPO)
    assert len(damaged) == 2
    expected = tiny_checkpoint(BRANCHES.index("main"))["model.safetensors"]
    assert (found.folder / "model.safetensors").read_bytes() == expected


WEIGHTS = "model.safetensors"


def whole(folder: Path, seed: int = BRANCHES.index("main")) -> bool:
    """Whether the files of a snapshot are those of a tiny checkpoint."""
    return all((folder / path.name).read_bytes() == tiny_checkpoint(seed)[path.name] for path in folder.iterdir())


def spoil(folder: Path, name: str) -> None:
    """Change a byte of a file in the cache."""
    blob = (folder / name).resolve()
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    # Clocks of files tick in milliseconds, and here less may have passed.
    os.utime(blob, ns=(0, blob.stat().st_mtime_ns + 10**9))


def test_what_was_fetched_and_not_checked_is_not_used(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends between the two leaves a file that nobody has looked at."""

    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    served.hub.fail(Failure("wrong_hash", path=WEIGHTS))
    with monkeypatch.context() as patch:
        patch.setattr(hub, "check_hashes", ended)
        with pytest.raises(KeyboardInterrupt):
            hub.fetch(REPO)
    assert not whole(next(served.cache.rglob("snapshots/*")))
    hub.forget()
    found = hub.fetch(REPO)
    assert whole(found.folder)
    assert not found.fetched, "what was in the cache before is not this run's to drop"


def test_of_what_was_fetched_and_not_checked_a_part_is_looked_at_too(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the rest is still to be fetched."""
    served.hub.fail(Failure("wrong_hash", path="config.json"))
    with monkeypatch.context() as patch:
        patch.setattr(hub, "check_hashes", lambda *_: None)
        hub.fetch(REPO, weights=False)
    assert whole(hub.fetch(REPO).folder)


def test_all_files_that_are_damaged_are_named_and_removed(served: Served) -> None:
    for name in ("config.json", WEIGHTS, "tokenizer.json"):
        served.hub.fail(Failure("wrong_hash", path=name, times=-1))
    with pytest.raises(MeasureError) as refused:
        hub.fetch(REPO)
    for name in ("config.json", WEIGHTS, "tokenizer.json"):
        assert f"{name} came with the hash" in str(refused.value)
        assert not list(served.cache.rglob(name))
    served.hub.failures.clear()
    assert whole(hub.fetch(REPO).folder)


def test_a_file_is_held_against_its_hash_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    digest = hub_hashes._digest
    monkeypatch.setattr(hub_hashes, "_digest", lambda blob, like: [looked.append(like), digest(blob, like)][1])
    folder = hub.fetch(REPO).folder
    assert len(looked) == len(list(folder.iterdir()))
    hub.forget()
    hub.fetch(REPO)
    hub.fetch_file(REPO, "config.json")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.fetch(REPO)
    assert len(looked) == len(list(folder.iterdir()))


def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    folder = hub.fetch(REPO).folder
    for name in (WEIGHTS, "config.json"):
        spoil(folder, name)
    hub.forget()
    assert whole(hub.fetch(REPO).folder)
    assert "tiny/olmo@main in the cache is damaged and is fetched again" in caplog.text
    spoil(folder, "config.json")
    assert hub.fetch_file(REPO, "config.json").read_bytes() == tiny_checkpoint(5)["config.json"]


def test_a_damaged_file_is_refused_where_it_cannot_be_fetched_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = hub.fetch(REPO).folder
    for name in (WEIGHTS, "config.json"):
        spoil(folder, name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    said = r"config.json came with .*model.safetensors came with .*; it was not kept, and HF_HUB_OFFLINE is set. Fetch"
    with pytest.raises(MeasureError, match=said):
        hub.fetch(REPO)
    with pytest.raises(MeasureError, match="is not in the local cache"):
        hub.fetch(REPO)
    other = hub.fetch_file
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    hub.fetch(REPO)
    spoil(folder, "config.json")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MeasureError, match="config.json came with the hash"):
        other(REPO, "config.json")


def test_files_that_another_program_cached_are_held_against_their_hashes(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a commit of which we know nothing but what lies in the cache."""
    from huggingface_hub import snapshot_download

    served.hub.fail(Failure("wrong_hash", path=WEIGHTS))
    folder = Path(snapshot_download(REPO))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert not (served.cache / "measure").exists()
    with pytest.raises(MeasureError, match=r"model.safetensors came with the hash"):
        hub.fetch(REPO)
    assert not (folder / WEIGHTS).exists()


def test_a_damaged_file_that_cannot_be_removed_is_told(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = hub.fetch(REPO).folder
    spoil(folder, WEIGHTS)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", denied)
    with pytest.raises(MeasureError, match=r"is not what the hub states and cannot be removed \(Permission denied\)"):
        hub.fetch(REPO)


def test_a_link_to_another_revisions_file_is_mended_and_that_file_stays(served: Served) -> None:
    first, second = hub.fetch(REPO, "step0-tokens0B").folder, hub.fetch(REPO).folder
    (second / WEIGHTS).unlink()
    (second / WEIGHTS).symlink_to((first / WEIGHTS).readlink())
    hub.forget()
    assert whole(hub.fetch(REPO).folder)
    assert whole(first, 0)


def test_without_links_files_are_held_against_what_the_hub_states(served: Served) -> None:
    folder = hub.fetch(REPO).folder
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).write_bytes(content[:-1] + b"x")
    hub.forget()
    assert whole(hub.fetch(REPO).folder)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b"x\n{}"])
def test_by_hashes_that_were_damaged_no_file_is_judged(served: Served, damage: bytes) -> None:
    folder = hub.fetch(REPO).folder
    (kept,) = (served.cache / "measure").rglob("*.hashes")
    kept.write_bytes(damage)
    assert hub_cache.remembered_hashes(folder) == {}
    kept.write_text(hub_cache.sealed('{"config.json": "00"}').replace('00"', '01"'))
    assert hub_cache.remembered_hashes(folder) == {}


def test_names_of_blobs_that_are_no_hashes_are_not_taken_for_some(served: Served) -> None:
    """As some mirrors name them; then what the hub states counts."""
    folder = hub.fetch(REPO).folder
    blob = (folder / WEIGHTS).resolve()
    odd = blob.rename(blob.with_name("w-1a2b3c"))
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(odd)
    hub.forget()
    assert whole(hub.fetch(REPO).folder)
    spoil(folder, WEIGHTS)
    hub.forget()
    assert whole(hub.fetch(REPO).folder)


# Weights that are another revision's


def test_a_step_that_is_main_is_refused_before_it_is_fetched(served: Served) -> None:
    main = tiny_checkpoint(BRANCHES.index("main"))
    served.hub.add(REPO, main, revision="step512-tokens1B")
    with pytest.raises(
        MeasureError, match=r"tiny/olmo: revisions main and step512-tokens1B hold the same weights \(sha256 \w{12}\)"
    ):
        hub.fetch(REPO, "step512-tokens1B")
    assert not [line for line in served.hub.requests if "resolve" in line]
    served.hub.add(REPO, main, revision="step5000-tokens9B")
    assert hub.fetch(REPO, "step5000-tokens9B").fetched, "the last step is what main is of"
    served.hub.add(REPO, main, revision="v1.0")
    assert hub.fetch(REPO, "v1.0").commit


def in_parts(seed: int) -> dict[str, bytes]:
    """A tiny checkpoint in two parts, of which one is as good as the other here: nothing is loaded."""
    files = dict(tiny_checkpoint(seed))
    content = files.pop(WEIGHTS)
    return {
        **files,
        "model-00001-of-00002.safetensors": content[: len(content) // 2],
        "model-00002-of-00002.safetensors": content[len(content) // 2 :],
        "model.safetensors.index.json": b'{"metadata": {}, "weight_map": {}}',
    }


def test_a_step_of_which_one_part_is_mains_is_refused_before_it_is_fetched(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    main, part = in_parts(0), "model-00001-of-00002.safetensors"
    served.hub.add("tiny/parts", main)
    served.hub.add("tiny/parts", in_parts(1), revision="step1000")
    served.hub.add("tiny/parts", {**in_parts(2), part: main[part]}, revision="step2000")
    served.hub.add("tiny/parts", {**in_parts(3), part: main[part]}, revision="fixed")
    assert hub.fetch("tiny/parts", "step1000").fetched
    before = len(served.hub.requests)
    with pytest.raises(
        MeasureError, match=rf"tiny/parts@step2000: of its 2 files of weights {part} is main's, byte by byte, and the o"
    ):
        hub.fetch("tiny/parts", "step2000")
    assert not [line for line in served.hub.requests[before:] if "resolve" in line]
    assert not caplog.records
    assert hub.fetch("tiny/parts", "fixed").fetched, "no checkpoint of a training, by its name"
    assert "tiny/parts@fixed: of its 2 files of weights" in caplog.text


@pytest.mark.parametrize("stated", [True, False])
def test_offline_a_part_that_is_mains_is_seen_too(
    served: Served, monkeypatch: pytest.MonkeyPatch, stated: bool
) -> None:
    """By what the hub said before, and else by what other programs left in the cache."""
    from huggingface_hub import snapshot_download

    main, part = in_parts(0), "model-00001-of-00002.safetensors"
    served.hub.add("tiny/parts", main)
    served.hub.add("tiny/parts", in_parts(1), revision="step1000")
    served.hub.add("tiny/parts", {**in_parts(2), part: main[part]}, revision="step2000")
    for revision in ("main", "step1000", "step2000"):
        snapshot_download("tiny/parts", revision=revision)
        if stated:
            hub_listings.listing_or_none("tiny/parts", revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert hub.fetch("tiny/parts", "step1000").folder
    with pytest.raises(MeasureError, match=rf"tiny/parts@step2000: of its 2 files of weights {part} is main's"):
        hub.fetch("tiny/parts", "step2000")


def test_main_is_asked_for_its_hashes_once_a_commit(served: Served) -> None:
    hub.fetch(REPO, "step1000-tokens2B")
    hub.forget()
    before = len(served.hub.requests)
    hub.fetch(REPO, "step1000-tokens2B")
    assert len(served.hub.requests) == before + 1


# What else a repository may hold


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_repository_with_an_adapter_is_refused(served: Served, name: str) -> None:
    served.hub.add("tiny/tuned", {**tiny_checkpoint(0), name: b"{}"})
    with pytest.raises(
        MeasureError, match=rf"tiny/tuned holds an adapter \({name}\) beside a whole model, and what is"
    ):
        hub.fetch("tiny/tuned")
    served.hub.add("tiny/adapter", {name: b"{}"})
    for call in (hub.fetch, lambda repo: hub.fetch_file(repo, "config.json")):
        with pytest.raises(MeasureError, match=r"tiny/adapter holds an adapter .* and no whole model.*merge it"):
            call("tiny/adapter")
    assert not [line for line in served.hub.requests if "resolve" in line]


def test_parts_in_a_folder_of_the_repository_are_fetched_and_checked(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = in_parts(0)
    files["deep/w.safetensors"] = files.pop("model-00001-of-00002.safetensors")
    files["model.safetensors.index.json"] = b'{"metadata": {}, "weight_map": {"a": "deep/w.safetensors"}}'
    served.hub.add("tiny/deep", files)
    served.hub.fail(Failure("wrong_hash", path="deep/w.safetensors"))
    folder = hub.fetch("tiny/deep").folder
    assert (folder / "deep/w.safetensors").read_bytes() == files["deep/w.safetensors"]
    spoil(folder, "deep/w.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MeasureError, match=r"w.safetensors came with the hash"):
        hub.fetch("tiny/deep")


def test_an_index_that_tells_of_files_outside_of_the_repository_is_refused(served: Served) -> None:
    index = {"model.safetensors.index.json": b'{"metadata": {}, "weight_map": {"a": "../../w.safetensors"}}'}
    served.hub.add("tiny/out", {**in_parts(0), **index})
    with pytest.raises(
        MeasureError, match=r"tiny/out: model.safetensors.index.json tells of ../../w.safetensors, outs"
    ):
        hub.fetch("tiny/out")


def test_weights_that_are_there_whole_and_in_parts_are_told(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.hub.add("tiny/both", {**in_parts(0), **tiny_checkpoint(0)})
    folder = hub.fetch("tiny/both").folder
    assert not list(folder.glob("model-*"))
    assert (
        "tiny/both@main holds its weights whole and in parts (model.safetensors.index.json); the whole" in caplog.text
    )


def test_a_download_that_leaves_weights_out_is_not_taken_for_one(served: Served) -> None:
    from huggingface_hub import hf_hub_download

    hf_hub_download(REPO, "config.json")
    served.hub.fail(Failure("503", path="/tree/", times=-1))
    with pytest.raises(MeasureError, match=r"is not there after its download"):
        hub.fetch(REPO)
    served.hub.failures.clear()
    assert hub.fetch(REPO).fetched


def test_a_snapshot_that_lacks_a_small_file_is_not_measured_offline(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = hub.fetch(REPO)
    (found.folder / "tokenizer_config.json").unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.forget()
    with pytest.raises(MeasureError, match=r"tokenizer_config.json of tiny/olmo@main is not in the local cache"):
        hub.fetch(REPO)


def test_a_name_with_brackets_is_a_name(served: Served) -> None:
    served.hub.add("tiny/data", {"ids[0].npy": b"12345", "ids0.npy": b"other"}, kind="dataset")
    assert hub.fetch_file("tiny/data", "ids[0].npy", kind="dataset").read_bytes() == b"12345"


def test_weights_in_parts_are_cached_when_all_are(tmp_path: Path) -> None:
    def holds(*names: str) -> bool:
        folder = tmp_path / "-".join(names)
        folder.mkdir()
        for name in names:
            (folder / name).touch()
        return hub_cache.has_all(folder, checkpoint_files.SAFE)

    part, index = "model-0000{}-of-00002.safetensors", "model.safetensors.index.json"
    assert not holds("config.json")
    assert not holds(index)
    assert not holds(part.format(1))
    assert not holds(part.format(1), index)
    assert holds(part.format(1), part.format(2), index)
    assert holds("model.safetensors", part.format(1))


def test_patience_ends(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What took long already, huggingface_hub's own waits in it, is not begun anew."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def call() -> None:
        now[0] += 100.0
        tries.append(now[0])
        raise ConnectionResetError("Consistency check failed")

    tries: list[float] = []
    with pytest.raises(ConnectionResetError):
        hub_errors.with_retries(call)
    assert len(tries) == 2


def test_an_error_out_of_the_hubs_storage_may_pass() -> None:
    def xet_get() -> None:
        raise RuntimeError("connection reset")

    with pytest.raises(RuntimeError) as of_storage:
        xet_get()
    with pytest.raises(ValueError, match="invalid literal") as other:
        int("x")
    assert hub_errors._may_pass(of_storage.value)
    assert not hub_errors._may_pass(other.value)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[",
        b"\xff\xfe",
        b"null",
        b"7",
        b'{"a": "b"}',
        b'{"a": -1}',
        b'{"a": 1e400}',
        b"[[1]]",
        b"[" * 100_000,
        None,
    ],
)
def test_what_the_hub_said_before_and_is_damaged_is_as_if_it_had_not(
    served: Served, monkeypatch: pytest.MonkeyPatch, damage: bytes | None
) -> None:
    hub.fetch(REPO, "step1000-tokens2B")
    hub.branches(REPO)
    kept = [path for path in hub.memory().rglob("*") if path.is_file() and "known" not in path.parts]
    assert len(kept) >= 3
    for path in kept:
        path.unlink()
        if damage is None:
            path.mkdir()
        else:
            path.write_bytes(damage)
    hub.forget()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with contextlib.suppress(MeasureError):
        hub.fetch(REPO, "step1000-tokens2B")
    with pytest.raises(MeasureError, match="HF_HUB_OFFLINE|not in the local cache"):
        hub.branches(REPO)
    assert hub.is_cached(REPO, "tokens2B") in (True, False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert hub.fetch(REPO, "step1000-tokens2B").commit == served.commits["step1000-tokens2B"]
    assert len(hub.branches(REPO)) == len(BRANCHES)
