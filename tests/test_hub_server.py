"""The local hub is a hub to the real clients, and each failure that is ordered from it happens."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import datasets
import httpx2
import huggingface_hub
import pytest
import torch
from huggingface_hub import HfApi, constants, hf_hub_download, list_repo_refs, model_info, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

from measure.models.loading import no_progress_bars
from tests.hub import Failure, LocalHub, tiny_checkpoint, tiny_corpus

REPO = "org/tiny"
FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 40, "deep/er/notes.txt": b"notes"}
WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    with LocalHub() as hub:
        hub.add(REPO, FILES)
        hub.use(monkeypatch, tmp_path / "cache")
        yield hub


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client sleeps, in seconds, without the sleep."""
    found: list[float] = []
    for name in ("utils._http", "file_download"):
        module = sys.modules[f"huggingface_hub.{name}"]
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=found.append, time=time.time))
    return found


def fetch() -> bytes:
    return Path(hf_hub_download(REPO, WEIGHTS)).read_bytes()


def test_a_snapshot_is_what_was_added(hub: LocalHub) -> None:
    folder = Path(snapshot_download(REPO))
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")} == FILES
    assert len(hub.requests) == 2 + 2 * len(FILES)
    assert HfApi().verify_repo_checksums(REPO).mismatches == []
    hub.requests.clear()
    assert Path(snapshot_download(REPO)) == folder
    assert Path(snapshot_download(REPO, revision=folder.name)) == folder
    assert hub.requests == [f"GET /api/models/{REPO}/revision/main"]


def test_branches_move_and_commits_stay(hub: LocalHub, tmp_path: Path) -> None:
    first = model_info(REPO).sha
    (tmp_path / "files" / "sub").mkdir(parents=True)
    (tmp_path / "files" / "sub" / WEIGHTS).write_bytes(b"later")
    later = hub.add(REPO, tmp_path / "files", revision="step/1")
    assert {ref.name: ref.target_commit for ref in list_repo_refs(REPO).branches} == {"main": first, "step/1": later}
    assert Path(hf_hub_download(REPO, f"sub/{WEIGHTS}", revision="step/1")).read_bytes() == b"later"
    moved = hub.add(REPO, {"config.json": b"new"})
    assert model_info(REPO).sha == moved
    assert len({first, later, moved}) == 3
    assert hub.add(REPO, FILES) == first
    assert Path(hf_hub_download(REPO, "config.json", revision=moved)).read_bytes() == b"new"


def test_a_tree_comes_in_pages(hub: LocalHub) -> None:
    hub.page = 2
    tree = [entry.path for entry in HfApi().list_repo_tree(REPO, recursive=True)]
    assert tree == ["config.json", "deep", "deep/er", "deep/er/notes.txt", WEIGHTS]
    assert len(hub.requests) == 3
    assert [entry.path for entry in HfApi().list_repo_tree(REPO, "deep")] == ["deep/er"]
    with pytest.raises(EntryNotFoundError):
        list(HfApi().list_repo_tree(REPO, "shallow"))
    infos = HfApi().get_paths_info(REPO, [WEIGHTS, "deep", "shallow"])
    assert [info.path for info in infos] == ["deep", WEIGHTS]


@pytest.mark.parametrize("architecture", ["olmo", "qwen2"])
def test_transformers_loads_a_tiny_checkpoint(hub: LocalHub, architecture: str) -> None:
    for seed in (0, 1):
        hub.add("org/model", tiny_checkpoint(seed, architecture=architecture), revision=f"seed{seed}")
    with no_progress_bars():
        zero, one = (AutoModelForCausalLM.from_pretrained("org/model", revision=f"seed{seed}") for seed in (0, 1))
    tokenizer = AutoTokenizer.from_pretrained("org/model", revision="seed0")
    assert len(tokenizer) == zero.get_input_embeddings().num_embeddings
    assert zero.dtype == torch.float32
    assert not torch.equal(zero.get_input_embeddings().weight, one.get_input_embeddings().weight)
    assert zero(**tokenizer("A short text.", return_tensors="pt")).logits.isfinite().all()
    assert sum(map(len, tiny_checkpoint(0, architecture=architecture).values())) < 400_000


def test_datasets_streams_the_corpus(hub: LocalHub) -> None:
    hub.add("sedthh/gutenberg_english", tiny_corpus(4), kind="dataset")
    rows = list(datasets.load_dataset("sedthh/gutenberg_english", split="train", streaming=True))
    assert [sorted(row) for row in rows] == 4 * [["METADATA", "SOURCE", "TEXT"]]
    with pytest.raises(RepositoryNotFoundError):
        model_info("sedthh/gutenberg_english")


@pytest.mark.parametrize(
    ("error", "order", "call"),
    [
        (RepositoryNotFoundError, "missing_repo", lambda: hf_hub_download("org/none", WEIGHTS)),
        (RevisionNotFoundError, "missing_revision", lambda: hf_hub_download(REPO, WEIGHTS, revision="none")),
        (GatedRepoError, "gated", lambda: hf_hub_download("org/gated", WEIGHTS)),
        (EntryNotFoundError, None, lambda: hf_hub_download(REPO, "none")),
    ],
)
def test_refusals(hub: LocalHub, error: type[Exception], order: str | None, call: Callable[[], str]) -> None:
    """As the hub's own answers and on order, to a listing as to a file."""
    hub.add("org/gated", FILES, gated=True)
    with pytest.raises(error):
        call()
    if order:
        hub.fail(Failure(order, times=2, method=""))
        with pytest.raises(error):
            model_info(REPO)
        with pytest.raises(error):
            fetch()
    assert fetch() == FILES[WEIGHTS]


def test_a_file_after_429_is_asked_for_again(hub: LocalHub, naps: list[float]) -> None:
    hub.fail(Failure("429", WEIGHTS))
    hub.fail(Failure("429", WEIGHTS, retry_after=30))
    assert fetch() == FILES[WEIGHTS]
    assert naps == [1, 31]


@pytest.mark.parametrize("kind", ["500", "503"])
def test_a_file_after_5xx_is_not(hub: LocalHub, naps: list[float], kind: str) -> None:
    hub.fail(Failure(kind, WEIGHTS))
    with pytest.raises(HfHubHTTPError, match=kind):
        fetch()
    assert (naps, hub.failures) == ([], [])


@pytest.mark.parametrize("kind", ["429", "500", "503"])
def test_listings_and_heads_after_a_bad_status(hub: LocalHub, naps: list[float], kind: str) -> None:
    hub.fail(Failure(kind, "/revision/"))
    with pytest.raises(LocalEntryNotFoundError, match=kind):
        snapshot_download(REPO)
    hub.fail(Failure(kind, "/tree/", times=2))
    snapshot_download(REPO)
    assert naps == [1, 2]
    hub.fail(Failure(kind, "deep", times=-1, method="HEAD"))
    hub.add(REPO, {"deep/new": b"new"})
    with pytest.raises(LocalEntryNotFoundError):
        hf_hub_download(REPO, "deep/new")
    assert naps == [1, 2, 1, 2, 4, 8, 8]
    hub.failures.clear()
    assert Path(hf_hub_download(REPO, "deep/new")).read_bytes() == b"new"


def test_a_cut_download_is_resumed_by_whole_chunks(
    hub: LocalHub, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fail(Failure("cut", WEIGHTS, after=1000, times=6))
    with pytest.raises(httpx2.RemoteProtocolError, match="received 1000 bytes, expected 10240"):
        fetch()
    assert hub.requests[1:] == 6 * [f"GET /{REPO}/resolve/main/{WEIGHTS}"]
    hub.fail(Failure("cut", WEIGHTS, after=1000, times=9))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100)
    assert fetch() == FILES[WEIGHTS]
    assert (len(naps), hub.failures) == (5 + 9, [])


def test_a_reset_download_is_not(hub: LocalHub, naps: list[float]) -> None:
    hub.fail(Failure("reset", WEIGHTS, after=1000))
    with pytest.raises(httpx2.ReadError):
        fetch()
    assert fetch() == FILES[WEIGHTS]


def test_a_truncated_file_is_seen_if_the_head_was_right(hub: LocalHub) -> None:
    hub.fail(Failure("truncated", WEIGHTS, after=1000))
    with pytest.raises(OSError, match="should be of size 10240 but has size 1000"):
        fetch()
    hub.fail(Failure("truncated", WEIGHTS, after=1000, times=2, method=""))
    assert fetch() == FILES[WEIGHTS][:1000]


def test_a_wrong_hash_is_seen_by_nobody(hub: LocalHub) -> None:
    hub.fail(Failure("wrong_hash", WEIGHTS))
    got = fetch()
    assert len(got) == len(FILES[WEIGHTS])
    assert sum(a != b for a, b in zip(got, FILES[WEIGHTS], strict=True)) == 1
    assert [wrong["path"] for wrong in HfApi().verify_repo_checksums(REPO).mismatches] == [WEIGHTS]


def test_a_failure_meets_its_requests_only(hub: LocalHub) -> None:
    hub.fail(Failure("500", "config.json", times=2))
    hub.fail(Failure("cut", method="", after=10**9))
    assert hub.failures[0].times == 2
    with pytest.raises(httpx2.RemoteProtocolError):  # the second meets the listing: the first is of another path
        model_info(REPO)
    assert fetch() == FILES[WEIGHTS]
    with pytest.raises(HfHubHTTPError):
        hf_hub_download(REPO, "config.json")
    assert hub.failures == [Failure("500", "config.json")]


def test_parts_of_a_file(hub: LocalHub) -> None:
    url = f"{hub.endpoint}/{REPO}/resolve/main/{WEIGHTS}"
    get = huggingface_hub.get_session().get
    part = get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, FILES[WEIGHTS][10:20])
    assert part.headers["Content-Range"] == "bytes 10-19/10240"
    assert get(url, headers={"Range": "bytes=10000-99999"}).content == FILES[WEIGHTS][10000:]
    assert get(url, headers={"Range": "bytes=10240-"}).status_code == 416


def test_latency_comes_before_every_answer(hub: LocalHub) -> None:
    hub.latency = 0.1
    start = time.monotonic()
    model_info(REPO)
    assert time.monotonic() - start > 0.1


def test_nothing_is_left_of_a_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not even of one that a client still holds a connection to, and not while it waits."""
    endpoint = constants.ENDPOINT
    with LocalHub() as hub, monkeypatch.context() as patch:
        hub.use(patch, tmp_path)
        assert constants.ENDPOINT == datasets.config.HF_ENDPOINT == hub.endpoint
        kept = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"))
        kept.request("GET", "/api/models/org/none")
        assert kept.getresponse().read()
        hub.latency = 60
        kept.request("GET", "/api/models/org/none")
        start = time.monotonic()
    kept.close()
    assert time.monotonic() - start < 10
    assert not [thread for thread in threading.enumerate() if re.search("hub|process_request", thread.name)]
    assert constants.ENDPOINT == datasets.config.HF_ENDPOINT == endpoint


def test_the_user_s_own_settings_do_not_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with LocalHub() as hub:
        hub.add(REPO, FILES)
        code = f"import huggingface_hub; print(huggingface_hub.hf_hub_download({REPO!r}, {WEIGHTS!r}))"
        environment = hub.environment(tmp_path / "theirs")
        out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert Path(out.stdout.strip()).is_relative_to(tmp_path / "theirs")
        hub.use(monkeypatch, tmp_path / "ours")
        assert Path(hf_hub_download(REPO, WEIGHTS)).is_relative_to(tmp_path / "ours")
        assert os.environ["HF_ENDPOINT"] == hub.endpoint
        assert hub.requests == 2 * [f"{method} /{REPO}/resolve/main/{WEIGHTS}" for method in ("HEAD", "GET")]
