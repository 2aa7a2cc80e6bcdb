"""A model hub on loopback: what the clients ask of huggingface.co, answered from memory, and failing on order.

It serves models and datasets to `huggingface_hub`, `transformers` and `datasets` as they really ask.
It takes no uploads, knows no tokens, and sends nobody on to a content network or to xet storage.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import re
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote

import pyarrow
import pytest
import torch
from huggingface_hub import HfFileSystem, close_session, hf_api
from pyarrow import parquet

from measure.ladder.recipe import Rung
from measure.ladder.train import build
from measure.models.loading import no_progress_bars

TOKENIZER = Path(__file__).parent.parent / "measure" / "ladder" / "weights" / "tokenizer"
# What the hub keeps in large file storage and names by sha256; every other file goes by its git hash.
LARGE = (".safetensors", ".bin", ".pt", ".npy", ".parquet")
# A repository's name has one part or two, and the second must not swallow the operation after it.
_API = re.compile(r"/api/(model|dataset)s/([^/]+?(?:/[^/]+?)??)(?:/(revision|tree|refs|paths-info)(?:/([^/]+)(.*))?)?")
_FILE = re.compile(r"/(?:(dataset)s/)?([^/]+?(?:/[^/]+?)??)/resolve/([^/]+)/(.+)")
# The codes by which the clients tell the hub's errors apart.
_REFUSALS = {
    "missing_repo": (401, "RepoNotFound", "Invalid username or password."),
    "gated": (403, "GatedRepo", "Access to this repository is restricted and you are not in the authorized list."),
    "missing_revision": (404, "RevisionNotFound", "Invalid rev id"),
    "missing_file": (404, "EntryNotFound", "Entry not found"),
}


@dataclass(frozen=True)
class Failure:
    """A failure on order, for the next `times` requests (-1: all) by `method` ("": any) whose path contains `path`.

    `cut` ends the connection after `after` bytes of the body, `reset` aborts it there: clients treat the two
    differently. `truncated` sends `after` bytes and says that this is all; with `method=""` the HEAD before it says
    so too, and clients believe it. `wrong_hash` changes one byte. `retry_after`, in seconds, goes with the statuses.
    """

    kind: Literal[
        "429", "500", "503", "cut", "reset", "truncated", "wrong_hash", "gated", "missing_repo", "missing_revision"
    ]
    path: str = ""
    times: int = 1
    after: int = 0
    retry_after: float | None = None
    method: str = "GET"

    def meets(self, method: str, path: str) -> bool:
        """Whether it happens to this request; an answer without a body cannot fail in it."""
        bodiless = method == "HEAD" and self.kind in ("cut", "reset", "wrong_hash")
        return self.times != 0 and self.method in ("", method) and self.path in path and not bodiless


@dataclass(frozen=True)
class _Blob:
    """One file; `listed` is what listings say of it: size, git hash, and the sha256 of a large one."""

    content: bytes
    listed: dict[str, Any]

    def headers(self, commit: str) -> dict[str, str]:
        found = {"X-Repo-Commit": commit, "ETag": f'"{self.listed["oid"]}"', "Accept-Ranges": "bytes"}
        if large := self.listed.get("lfs"):
            found |= {"X-Linked-Etag": f'"{large["oid"]}"', "X-Linked-Size": str(large["size"])}
        return found


@dataclass
class _Repo:
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, _Blob]] = field(default_factory=dict)

    def resolve(self, revision: str) -> str:
        """The commit of a branch or, if there is none of that name, of a commit."""
        commit = self.branches.get(revision, revision)
        if commit not in self.commits:
            raise _RefusedError("missing_revision")
        return commit


@dataclass(frozen=True)
class _Reply:
    """An answer; the connection ends after `stop` bytes of the body where that is set, by abortion if `reset`."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    stop: int | None = None
    reset: bool = False


class _RefusedError(Exception):
    """One of the hub's own errors, by its name in `_REFUSALS`."""

    def __init__(self, name: str, commit: str = "") -> None:
        super().__init__(name)
        status, code, message = _REFUSALS[name]
        # With the commit the client remembers that the file is not in it.
        headers = {"X-Error-Code": code, "X-Error-Message": message} | ({"X-Repo-Commit": commit} if commit else {})
        self.reply = _json({"error": message}, status, headers)


class LocalHub:
    """A hub with the repositories that `add` gave it, at `endpoint` from `with` to the end of the block.

    `latency` is waited before every answer, in seconds; `requests` lists "METHOD /path" of each, as it was quoted.
    """

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency
        self.endpoint = ""
        self.requests: list[str] = []
        self.page = 1000  # entries of a listing that are sent at once, as on the real hub
        self.failures: list[Failure] = []  # those still on order, each with the times that are left of it
        self._repos: dict[tuple[str, str], _Repo] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        self._server = _Server(self)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="local hub")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        _forget_connections()
        self._closing.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def add(
        self,
        repo: str,
        files: Mapping[str, bytes | Path] | Path,
        *,
        revision: str = "main",
        kind: Literal["model", "dataset"] = "model",
        gated: bool = False,
    ) -> str:
        """Commit `files` (a folder: all in it) as branch `revision` and return the commit, a hash of both.

        Earlier commits stay. A gated repository is listed, but its files, of every commit, are refused.
        """
        if isinstance(files, Path):
            files = {path.relative_to(files).as_posix(): path for path in files.rglob("*") if path.is_file()}
        blobs = {name: _blob(name, files[name]) for name in sorted(files)}
        identity = json.dumps([revision, {name: blob.listed for name, blob in blobs.items()}])
        commit = hashlib.sha1(identity.encode()).hexdigest()
        with self._lock:
            found = self._repos.setdefault((kind, repo), _Repo())
            found.gated = gated
            found.commits[commit] = blobs
            found.branches[revision] = commit
        return commit

    def fail(self, failure: Failure) -> None:
        """Order a failure; of several that meet a request the first ordered happens."""
        self.failures.append(failure)

    def environment(self, cache: Path) -> dict[str, str]:
        """This process's environment, changed so that a subprocess knows this hub alone and keeps all in `cache`."""
        return {**os.environ, **self._settings(cache), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

    def use(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        """The same for this process and the clients it has imported, until `monkeypatch` is undone.

        But for the progress bars: where the environment rules them, code that switches them is warned.
        """
        for name, value in self._settings(cache).items():
            monkeypatch.setenv(name, value)
        _forget_connections()
        _reread("huggingface_hub.constants", monkeypatch)
        _reread("datasets.config", monkeypatch)
        # The dataset viewer's host is datasets-server.ENDPOINT, which on loopback is no host.
        monkeypatch.setattr("datasets.config.USE_PARQUET_EXPORT", False)
        monkeypatch.setattr(hf_api.api, "endpoint", self.endpoint)
        monkeypatch.setattr("transformers.utils.hub._hf_api", None)

    def _settings(self, cache: Path) -> dict[str, str]:
        off = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_UPDATE_DOWNLOAD_COUNTS")
        disabled = ("XET", "TELEMETRY", "IMPLICIT_TOKEN", "UPDATE_CHECK", "SHARED_BLOBS")
        # The user's own setting of any of these would win over HF_HOME.
        inside = ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_MODULES_CACHE", "HF_XET_CACHE", "HF_TOKEN_PATH")
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(cache),
            **{name: str(cache / name.split("_")[1].lower()) for name in inside},
            **dict.fromkeys(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"), ""),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "*"),
            **dict.fromkeys(off, "0"),
            **{f"HF_HUB_DISABLE_{name}": "1" for name in disabled},
        }

    def answer(self, method: str, target: str, form: str, span: str | None) -> _Reply:
        """What to send for a request: `form` is its body, `span` its Range header."""
        path, _, query = target.partition("?")
        match = _FILE.fullmatch(path) or _API.fullmatch(path)
        if match is None:
            # The client's housekeeping, once per process: recorded or failed, it would make tests depend on order.
            return _RefusedError("missing_file").reply
        self.requests.append(f"{method} {path}")
        self._closing.wait(self.latency)  # unlike a sleep it does not hold up the end
        failure = self._due(method, path)
        if failure and failure.kind in _REFUSALS:
            return _RefusedError(failure.kind).reply
        if failure and failure.kind.isdigit():
            wait = {} if failure.retry_after is None else {"Retry-After": f"{failure.retry_after:g}"}
            return _json({"error": "failed on order"}, int(failure.kind), wait)
        try:
            reply = self._route(match, parse_qs(f"{query}&{form}"), span)
        except _RefusedError as refused:
            reply = refused.reply
        return _spoilt(reply, failure) if failure else reply

    def _due(self, method: str, path: str) -> Failure | None:
        with self._lock:
            for place, failure in enumerate(self.failures):
                if failure.meets(method, path):
                    if failure.times > 0:
                        left = [replace(failure, times=failure.times - 1)] if failure.times > 1 else []
                        self.failures[place : place + 1] = left
                    return failure
        return None

    def _route(self, match: re.Match[str], fields: dict[str, list[str]], span: str | None) -> _Reply:
        if match.re is _FILE:
            kind, name, revision, file = match.groups()
            repo = self._repo(kind or "model", name)
            return _file(repo, repo.resolve(unquote(revision)), unquote(file), span)
        kind, name, operation, revision, folder = match.groups()
        repo = self._repo(kind, name)
        if operation == "refs":
            return _json(_refs(repo))
        commit = repo.resolve(unquote(revision or "main"))
        if operation == "tree":
            recursive = "true" in fields.get("recursive", [])
            listed = _tree(repo.commits[commit], unquote(folder).strip("/"), recursive)
            return self._page(match[0], recursive, int(fields.get("cursor", ["0"])[0]), listed)
        if operation == "paths-info":
            wanted = fields.get("paths", [])
            return _json([entry for entry in _tree(repo.commits[commit], "", True) if entry["path"] in wanted])
        return _json(_info(name, repo, commit, sizes="blobs" in fields))

    def _repo(self, kind: str, name: str) -> _Repo:
        if (kind, name) not in self._repos:
            raise _RefusedError("missing_repo")
        return self._repos[kind, name]

    def _page(self, path: str, recursive: bool, start: int, listed: list[dict[str, Any]]) -> _Reply:
        end = start + self.page
        link = f'<{self.endpoint}{path}?cursor={end}&recursive={str(recursive).lower()}>; rel="next"'
        return _json(listed[start:end], 200, {"Link": link} if end < len(listed) else {})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for the acknowledgement of its headers
    server: _Server

    def do_GET(self) -> None:
        form = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        reply = self.server.hub.answer(self.command, self.path, form, self.headers.get("Range"))
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: reply.stop])
        self.close_connection = self.close_connection or reply.stop is not None
        if reply.reset:
            # Closed with nothing to linger for, a connection is aborted, once nobody reads from it any more.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()

    do_HEAD = do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the hub's `requests` are the log."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # joined at the end, so that no thread and no socket outlives its test
    request_queue_size = 64

    def __init__(self, hub: LocalHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        self._connections: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep alive, each of which a thread reads from."""
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client may leave when it likes
            super().handle_error(request, client_address)


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> _Reply:
    return _Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _blob(name: str, source: bytes | Path) -> _Blob:
    content = source if isinstance(source, bytes) else source.read_bytes()
    if not name.endswith(LARGE):
        return _Blob(content, {"oid": _git_hash(content), "size": len(content)})
    sha256 = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n".encode()
    large = {"oid": sha256, "size": len(content), "pointerSize": len(pointer)}
    return _Blob(content, {"oid": _git_hash(pointer), "size": len(content), "lfs": large})


def _info(name: str, repo: _Repo, commit: str, *, sizes: bool) -> dict[str, Any]:
    blobs = repo.commits[commit]
    files = [{"rfilename": path, **(_told(blob) if sizes else {})} for path, blob in blobs.items()]
    access = {"private": False, "disabled": False, "gated": "manual" if repo.gated else False}
    return {"id": name, "sha": commit, **access, "tags": [], "downloads": 0, "likes": 0, "siblings": files}


def _told(blob: _Blob) -> dict[str, Any]:
    """Size and hashes of a file, as they stand in a listing of files with their metadata."""
    large = blob.listed.get("lfs")
    lfs = {"lfs": {"sha256": large["oid"], "size": large["size"], "pointerSize": large["pointerSize"]}} if large else {}
    return {"size": len(blob.content), "blobId": blob.listed["oid"], **lfs}


def _refs(repo: _Repo) -> dict[str, Any]:
    heads = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": commit} for n, commit in repo.branches.items()]
    return {"branches": heads, "converts": [], "tags": [], "pullRequests": []}


def _tree(files: Mapping[str, _Blob], folder: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders in `folder` ("": the whole repository) by path; those below its folders if `recursive`."""
    found: dict[str, dict[str, Any]] = {}
    for path, blob in files.items():
        inner = [str(parent) for parent in Path(path).parents if str(parent) != "."]
        found |= {f: {"type": "directory", "path": f, "oid": _git_hash(f.encode()), "size": 0} for f in inner}
        found[path] = {"type": "file", "path": path, **blob.listed}
    if folder and found.get(folder, {}).get("type") != "directory":
        raise _RefusedError("missing_file")
    within = [path for path in sorted(found) if path.startswith(f"{folder}/" if folder else "")]
    depth = folder.count("/") + 1 if folder else 0
    return [found[path] for path in within if recursive or path.count("/") == depth]


def _file(repo: _Repo, commit: str, path: str, span: str | None) -> _Reply:
    if repo.gated:
        raise _RefusedError("gated")
    blob = repo.commits[commit].get(path)
    if blob is None:
        raise _RefusedError("missing_file", commit)
    headers, size = blob.headers(commit), len(blob.content)
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", span or "")
    if asked is None:
        return _Reply(200, blob.content, headers)
    start, end = int(asked[1]), min(int(asked[2] or size), size - 1)
    if start > end:
        return _Reply(416, b"", {**headers, "Content-Range": f"bytes */{size}"})
    return _Reply(206, blob.content[start : end + 1], {**headers, "Content-Range": f"bytes {start}-{end}/{size}"})


def _spoilt(reply: _Reply, failure: Failure) -> _Reply:
    """`reply` with a failure of its body. At least the last byte is lost, lest a large `after` make it none."""
    body = reply.body
    after = min(failure.after, max(len(body) - 1, 0))
    if failure.kind == "wrong_hash":
        middle = len(body) // 2
        return replace(reply, body=body[:middle] + bytes(b ^ 1 for b in body[middle : middle + 1]) + body[middle + 1 :])
    if failure.kind == "truncated":
        sized = {"X-Linked-Size": str(after)} if "X-Linked-Size" in reply.headers else {}
        return replace(reply, body=body[:after], headers={**reply.headers, **sized})
    return replace(reply, stop=after, reset=failure.kind == "reset")


def _forget_connections() -> None:
    """Close what this process's clients keep open: a client keeps its proxies, a file system its listings."""
    close_session()
    HfFileSystem.clear_instance_cache()


def _reread(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give module `name`, and those that copied from it, the constants it would read from this environment."""
    module = importlib.import_module(name)
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    old, package = dict(vars(module)), name.split(".")[0]
    new = {key: value for key, value in vars(fresh).items() if key.isupper() and old.get(key) != value}
    for holder in [loaded for key, loaded in sys.modules.items() if key.split(".")[0] == package]:
        if isinstance(holder, ModuleType):
            for key in new.keys() & vars(holder).keys():
                if vars(holder)[key] == old.get(key):
                    monkeypatch.setattr(holder, key, new[key])


@cache
def tiny_checkpoint(seed: int, *, architecture: Literal["olmo", "qwen2"] = "olmo") -> dict[str, bytes]:
    """The files of a loadable model of width 16 with 3 blocks, weights in float32 drawn from `seed`.

    The tokenizer is the ladder's. The result is kept: copy it before changing it.
    """
    shape = Rung(architecture, "tiny", width=16, blocks=3, heads=2, key_value_heads=2, intermediate=32, seed=seed)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]), no_progress_bars():
        build(shape, end_of_text=0).save_pretrained(folder)
        return {path.name: path.read_bytes() for path in (*Path(folder).iterdir(), *TOKENIZER.iterdir())}


@cache
def tiny_corpus(books: int = 3) -> dict[str, bytes]:
    """The files of a data set with the paper's columns, TEXT, SOURCE and METADATA, and `books` rows."""
    rows = [{"TEXT": f"Book {n}. It is short.", "SOURCE": "test", "METADATA": f'{{"n": {n}}}'} for n in range(books)]
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return {"data/train-00000-of-00001.parquet": file.getvalue()}
