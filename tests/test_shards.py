"""Loads dealt by bytes, told of in a folder, each measured by one; folders that stay small, lookups that stay few."""

from __future__ import annotations

import collections
import dataclasses
import errno
import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from measure import catalog, kinds, results
from measure.base import files
from measure.catalog import Shape
from measure.harness import options
from measure.harness.engines import gpus, shards, work
from measure.harness.engines.in_process import InProcess
from measure.harness.engines.protocol import Load, load_of
from measure.harness.engines.shards import Board, Job
from measure.harness.engines.store import Store
from measure.harness.engines.work import CannotGoOnError, Worker
from measure.hub import known
from measure.hub.leases import Leases
from measure.results import metrics
from measure.spec import ConfigSpec, CurveSpec, Frozen, MeasureError, NotMeasuredError, Scaled, SliceSpec
from tests.pages import blocks
from tests.test_results import curves_of, line

SPEC = CurveSpec("ladder-olmo-0.2m", pairs=4, steps=5)
SHAPE = Shape(8, 2, 2, 2, 16, 10, False)


def job(name: str = "ladder-olmo-0.2m", **changed: Any) -> Job:
    spec = CurveSpec(name, pairs=4, steps=5, **changed)
    return Job(load_of(spec), (spec,))


@pytest.mark.parametrize("text", ["", "1", "0/2", "1/0", "a/b", "1/2/3", "-1/2", "1/2 ", "１/２"])
def test_what_is_no_shard_is_told(text: str) -> None:
    with pytest.raises(MeasureError, match="is no shard; expected K/N, the K-th of N shards, as in 1/4"):
        options.shard_of(text)


def test_a_shard_beyond_the_last_is_told() -> None:
    with pytest.raises(MeasureError, match="there is no shard 3 of 2; give 1/2 to 2/2"):
        options.shard_of("3/2")


def test_loads_are_dealt_by_bytes_alike_in_whatever_order() -> None:
    draw = random.Random(0)
    sizes = {f"m{number}": draw.choice([1, 10, 100]) * 10**9 for number in range(60)}
    found = shards.deal(sizes, 4)
    assert sorted(name for share in found for name in share) == sorted(sizes)
    totals = [sum(sizes[name] for name in share) for share in found]
    assert max(totals) <= 1.05 * sum(totals) / 4
    names = list(sizes)
    draw.shuffle(names)
    again = shards.deal({name: sizes[name] for name in names}, 4)
    assert [set(share) for share in again] == [set(share) for share in found]


def test_all_that_needs_a_checkpoint_is_dealt_to_one() -> None:
    names = ("ladder-olmo-0.2m", "ladder-qwen2-0.2m")
    jobs = [job(name, weights=weights) for weights in ("stored", "scrambled:0") for name in names]
    shares = shards.dealt(jobs, 2)
    assert [{one.load[0] for one in share} for share in shares] == [{names[0]}, {names[1]}]
    own, others = shards.own_and_others(shares, 1)
    assert own == shares[1]
    assert others == shares[0]


def test_a_load_of_many_specs_is_taken_first_and_another_checkpoint_last() -> None:
    few, many, another = (
        Job(Load(name, weights), (CurveSpec(name),) * count)
        for name, weights, count in (("m", "stored", 1), ("m", "scrambled:0", 5), ("n", "stored", 9))
    )
    [share] = shards.dealt([few, many, another], 1)
    assert share == [many, few, another]
    # By who helps: the checkpoint that its own worker has not come to, and of that the most work.
    assert shards.own_and_others([[], share], 0)[1] == [another, many, few]


def test_every_kind_of_spec_travels() -> None:
    every = [
        CurveSpec("m", interventions=(Scaled("mlp", (1, 2), 0.5), Frozen("attention", (1, 1)))),
        SliceSpec("m", extent=(-1.0, 2.0)),
        ConfigSpec("m"),
    ]
    assert [shards.from_plain(json.loads(json.dumps(shards.to_plain(spec)))) for spec in every] == every


def test_specs_of_a_kind_of_ones_own_travel_with_their_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in ((kinds, "_BY_NAME"), (kinds, "_BY_SPEC"), (metrics, "TABLE"), (results.Result, "_kinds")):
        monkeypatch.setattr(owner, name, dict(getattr(owner, name)))
    told = ["AngleSpec", "angles_of_a_test", {"model": "m"}]
    with pytest.raises(MeasureError, match="a worker cannot import the module 'angles_of_a_test' that registers the"):
        shards.from_plain(told)
    (tmp_path / "angles_of_a_test.py").write_text(blocks("docs/own-kind.md", "python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    spec = shards.from_plain(told)
    assert spec.id == "m-angle"
    assert json.loads(json.dumps(shards.to_plain(spec)))[:2] == told[:2]


# A run's folder


def run_in(place: Path, **changed: str) -> Path:
    return shards.enter(place, {**shards.conditions(), **changed})


def test_workers_of_one_code_share_a_run_and_others_are_refused(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    assert run_in(tmp_path) == run
    with pytest.raises(
        MeasureError,
        match="this worker has torch 1.0, and the run that it would join was begun with torch .*: results of the one "
        "are not found by the other. Use one checkout and one installation",
    ):
        run_in(tmp_path, torch="1.0")
    with pytest.raises(MeasureError, match="this worker has measuring code 0000, and the run"):
        run_in(tmp_path, **{"measuring code": "0000"})


def test_after_a_run_has_ended_another_code_begins_anew(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    shards.end(run, "shard 1/2")
    assert run_in(tmp_path) == run
    assert run_in(tmp_path, torch="1.0") != run


def test_workers_measure_on_one_kind_of_device(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    shards.check(run, "cuda")
    shards.check(run, "cuda")
    with pytest.raises(MeasureError, match="this worker has accelerator none, and .* was begun with accelerator cuda"):
        shards.check(run, "none")


def test_what_came_of_a_job_comes_back(tmp_path: Path) -> None:
    store = shards.Noted(tmp_path / "store")
    board = Board(run_in(tmp_path / "run"), Leases("one"))
    result = curves_of(line())
    store.put("ab12", result)
    one, config = job(), Job(Load("ladder-olmo-0.2m", "config", ""), (ConfigSpec("ladder-olmo-0.2m"),))
    denied = dataclasses.replace(job(layer=2).specs[0])
    whole = Job(one.load, (*one.specs, denied))
    found = {one.specs[0]: (result, "measured"), denied: (NotMeasuredError("no room"), "failed")}
    board.finish(whole, found, store.addresses)
    board.finish(config, {config.specs[0]: (SHAPE, "measured")}, {})
    again = Board(board.folder, Leases("two"))
    told = again.found(whole, Store(tmp_path / "store"))
    assert told[one.specs[0]][1] == "measured"
    assert type(told[denied][0]) is NotMeasuredError
    assert again.found(config, store)[config.specs[0]] == (SHAPE, "measured")
    (tmp_path / "store").rename(tmp_path / "gone")
    assert one.specs[0] not in again.found(whole, Store(tmp_path / "store"))


def test_of_files_that_have_changed_nothing_is_taken(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    board = Board(run_in(tmp_path / "run"), Leases("one"))
    one = Job(Load(str(model), "config", ""), (ConfigSpec(str(model)),))
    board.finish(one, {one.specs[0]: (SHAPE, "measured")}, {})
    assert board.found(one, Store(tmp_path / "store"))
    (model / "config.json").write_text("{ }")
    assert not board.found(one, Store(tmp_path / "store"))


# Workers


class Counted(work._Unchecked):
    """An engine that measures nothing; `fails` are the errors of specs."""

    fails: dict[str, Exception] = {}  # noqa: RUF012
    seen: list[str] = []  # noqa: RUF012

    def _found(self, load: Any, specs: Any) -> Any:
        Counted.seen.append(load[0])
        error = Counted.fails.get(load[0])
        return dict.fromkeys(specs, (error or SHAPE, "failed" if error else "measured"))

    def _fetch_ahead(self, load: Any) -> None:
        pass


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Counted]]:
    Counted.fails, Counted.seen = {}, []
    monkeypatch.setattr(work, "_Unchecked", Counted)
    return Counted


def worker(folder: Path, name: str = "one", **options: Any) -> Worker:
    board = Board(run_in(folder / "run"), Leases(name, **options))
    return Worker(board, Store(folder / "store"), lambda *_: None)


JOBS = [job(f"m{number}") for number in range(6)]


def test_a_worker_measures_its_own_and_then_what_others_left(tmp_path: Path, counted: type[Counted]) -> None:
    worker(tmp_path).work(JOBS[:3], JOBS[3:])
    assert counted.seen == [one.load[0] for one in JOBS]
    worker(tmp_path, "two").work(JOBS[3:], JOBS[:3])
    assert len(counted.seen) == 6


def test_a_load_that_its_workers_die_of_is_told_and_ends(tmp_path: Path, counted: type[Counted]) -> None:
    found = worker(tmp_path, stale=0.01)
    for number in range(shards.MOST_DEATHS):
        assert found.board.leases.deaths(found.board._path(JOBS[0], "lease")) == max(0, number - 1)
        path = found.board._path(JOBS[0], f"lease.{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
    found.work([JOBS[0]], [])
    assert counted.seen == []
    (outcome, how) = found.board.found(JOBS[0], Store(tmp_path / "store"))[JOBS[0].specs[0]]
    assert how == "failed"
    assert "5 workers died one after the other while they measured m0" in str(outcome)
    assert "measure it alone" in str(outcome)


def test_a_gpu_that_vanishes_ends_its_worker_and_no_load(
    tmp_path: Path, counted: type[Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "count", lambda: 1)
    answers = iter([None, None, None, RuntimeError("CUDA error: unknown error\nmore")])
    monkeypatch.setattr(gpus, "lost", lambda: (e := next(answers)) and gpus.told_as_lost(e))
    counted.fails = {"m2": RuntimeError("CUDA error: unknown error")}
    with pytest.raises(CannotGoOnError, match=r"the GPU is gone \(CUDA error: unknown error\); what was measured"):
        worker(tmp_path).work(JOBS, [])
    monkeypatch.setattr(gpus, "count", lambda: 0)
    counted.fails, counted.seen = {}, []
    worker(tmp_path, "two").work(JOBS, [])
    # At once, and nothing twice.
    assert counted.seen == [one.load[0] for one in JOBS[2:]]


def test_a_device_without_an_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any, **__: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal instruction was encountered")

    monkeypatch.setattr("torch.zeros", gone)
    assert "the GPU does not answer any more (CUDA error: an illegal instruction" in str(gpus.lost())
    assert gpus.told_as_lost(RuntimeError("CUDA error: device-side assert triggered")) is None


def test_a_disk_that_fills_ends_a_worker_in_a_sentence(
    tmp_path: Path, counted: type[Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    found = worker(tmp_path)
    monkeypatch.setattr(shards, "write_atomically", full)
    with pytest.raises(CannotGoOnError, match=r"cannot be written \(No space left on device\), where workers tell"):
        found.work(JOBS, [])
    monkeypatch.undo()
    monkeypatch.setattr(work, "_Unchecked", Counted)
    counted.seen = []
    worker(tmp_path, "two").work(JOBS, [])
    assert len(counted.seen) == 6


def test_results_that_cannot_be_kept_end_a_worker(tmp_path: Path, counted: type[Counted]) -> None:
    found = worker(tmp_path)
    found._store.problems.append("results are not kept: .store cannot be written (No space left on device)")
    with pytest.raises(CannotGoOnError, match="results are not kept"):
        found.work(JOBS, [])


# Size: 10,000 loads, 256 workers, a million results


def test_no_folder_of_a_million_results_has_many_entries(tmp_path: Path) -> None:
    store, folders = Store(tmp_path), collections.Counter[str]()
    draw = random.Random(0)
    for _ in range(2_000):
        address, link = (f"{draw.getrandbits(256):064x}" for _ in "al")
        folders[store._path(address).parent.name] += 1
        folders[store._link(link).parent.name] += 1
    assert {len(name) for name in folders} == {3}
    # A folder for each of 4,096 beginnings, drawn evenly: of two million files, 488 in the mean, 22 more or less.
    assert 2 * 10**6 / 16**3 + 10 * 22 < 5000
    assert max(folders.values()) <= 8


def touched(action: Any) -> int:
    """How many files and folders are opened, listed or created."""
    found: list[str] = []
    watching = True

    def hear(event: str, _: Any) -> None:
        if watching and event in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove"):
            found.append(event)

    sys.addaudithook(hear)
    action()
    watching = False
    return len(found)


def test_a_lookup_takes_as_long_in_a_large_store(tmp_path: Path) -> None:
    store, result = Store(tmp_path), curves_of(line())
    store.put("a" * 64, result)
    store.link("b" * 64, "a" * 64)

    def look() -> None:
        assert store.follow("b" * 64) is not None
        assert store.follow("c" * 64) is None
        assert store.holds("b" * 64)

    before = touched(look)
    folder = store._path("a" * 64).parent
    for number in range(500):
        (folder / f"{'a' * 58}{number:06}.npz").touch()
    assert touched(look) == before <= 5


def test_ten_thousand_loads_of_256_workers_take_a_few_looks_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(files.os, "fsync", lambda _: None)
    jobs = [Job(Load(f"m{number}", "stored", "float32"), ()) for number in range(10_000)]
    monkeypatch.setattr(shards, "bytes_of", lambda name: 1 + int(name[1:]) % 7)
    monkeypatch.setattr(shards, "_state", lambda _: "")
    shares = shards.dealt(jobs, 256)
    assert max(map(len, shares)) <= 80
    monkeypatch.setattr(Worker, "_finish", lambda self, job: self.board.finish(job, {}, {}))
    # One of the 256; what the others did is there.
    found = worker(tmp_path)
    there = {found.board._path(one, "done") for share in shares[1:] for one in share}
    looks = 0
    exists = os.path.exists

    def counted(path: Any) -> bool:
        nonlocal looks
        looks += 1
        return path in there or exists(path)

    monkeypatch.setattr(os.path, "exists", counted)
    found.work(*shards.own_and_others(shares, 0))
    assert looks <= 8 * len(shares[0]) + 2 * len(jobs)
    # A lease, or two where a worker died, and an outcome.
    folders = collections.Counter(found.board._path(one, "done").parent for one in jobs)
    assert len(folders) == 256
    assert 3 * max(folders.values()) < 500


def test_what_another_measured_gives_its_room_on_the_disk_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = InProcess(Store(tmp_path), lambda *_: None)
    used: list[str] = []
    monkeypatch.setattr(found._fetcher, "used", used.append)
    jobs = job(), job(weights="scrambled:0")
    for one in jobs:
        found.gather(one.specs)
    found.forget(jobs[0].load)
    assert used == []
    found.forget(jobs[1].load)
    assert used == ["ladder-olmo-0.2m"]


def test_the_catalogs_models_and_folders_have_bytes(tmp_path: Path) -> None:
    assert shards.bytes_of("olmo-1b@main") == catalog.models()["olmo-1b"].float32_bytes
    assert shards.bytes_of("no such model") == 0
    (tmp_path / "config.json").write_text("{}")
    assert shards.bytes_of(str(tmp_path)) == 2


def test_conditions_tell_the_code() -> None:
    assert shards.conditions()["measuring code"] == known.source_hash()[:12]
