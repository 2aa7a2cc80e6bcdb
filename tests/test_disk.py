"""A budget for what is brought from the hub: held by dropping what is measured, over all processes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from measure.harness.engines.fetching import Fetcher
from measure.hub import checkpoints as hub
from measure.hub import disk
from measure.hub.checkpoints import Checkpoint
from measure.spec import MeasureError
from tests.hub import LocalHub, tiny_checkpoint

REPO = "tiny/olmo"
STEPS = ("step0-tokens0B", "step1000-tokens2B", "step3000-tokens6B", "main")


@pytest.mark.parametrize(
    ("text", "bytes_"), [("200GB", 2 * 10**11), ("1.5 tb", 15 * 10**11), ("500M", 5 * 10**8), ("7", 7)]
)
def test_a_size_has_a_unit(text: str, bytes_: int) -> None:
    assert disk.size(text) == bytes_


@pytest.mark.parametrize("text", ["", "GB", "-3GB", "0", "1XB", "1e9"])
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(MeasureError, match=r"--disk .*: expected a number of bytes with its unit, such as 200GB"):
        disk.size(text)


def budget(tmp_path: Path, limit: int, dropped: list[str]) -> disk.Budget:
    return disk.Budget(limit, tmp_path / "brought", lambda found: dropped.append(found.revision))


def here(held: disk.Budget, revision: str) -> None:
    held.here(Checkpoint(REPO, revision, "c" * 40, Path("nowhere"), fetched=True))


def test_what_nobody_uses_makes_room_the_oldest_first(tmp_path: Path) -> None:
    dropped: list[str] = []
    held = budget(tmp_path, 100, dropped)
    for name in ("a", "b"):
        held.reserve(REPO, name, 40)
        here(held, name)
        held.used(REPO, name)
        os.utime(tmp_path)
    held.reserve(REPO, "c", 40)
    assert dropped == ["a"]
    assert held.taken == 80
    held.reserve(REPO, "b", 0)
    # Which is used again, and stays.
    tries = iter([True, False])
    held.reserve(REPO, "d", 60, must=lambda: next(tries))
    assert (dropped, held.taken) == (["a"], 80)


def test_one_larger_than_the_budget_is_refused(tmp_path: Path) -> None:
    said = r"tiny/olmo@a: one checkpoint takes 0.20 GB, and --disk allows 50.0 MB in all; give it more"
    with pytest.raises(MeasureError, match=said):
        budget(tmp_path, 50_000_000, []).reserve(REPO, "a", 200_000_000)


def test_what_an_ended_process_left_makes_room_and_what_a_living_one_uses_does_not(tmp_path: Path) -> None:
    dropped: list[str] = []
    held = budget(tmp_path, 100, dropped)
    held.reserve(REPO, "a", 80)
    here(held, "a")
    [user] = (tmp_path / "brought").glob("*/user-*")
    host = user.name.rpartition("-")[0]
    living = subprocess.Popen(["sleep", "60"])
    try:
        user.rename(user.with_name(f"{host}-{living.pid}"))
        tries = iter([True, False])
        held.reserve(REPO, "b", 80, must=lambda: next(tries))
        assert dropped == []
    finally:
        living.kill()
        living.wait()
    held.reserve(REPO, "b", 80)
    assert dropped == ["a"]


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    with LocalHub() as served:
        for seed, step in enumerate(STEPS):
            served.add(REPO, tiny_checkpoint(seed), revision=step)
        served.use(monkeypatch, tmp_path / "cache")
        hub.forget()
        yield served


def test_a_sweep_holds_its_budget(local: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for one checkpoint and a half: at no moment are two there. Asked of the fetcher as the engine asks it."""
    one = hub.bytes_to_fetch(REPO, STEPS[0]) or 0
    most = 0
    download = hub._download

    def counted(*arguments: Any, **options: Any) -> None:
        nonlocal most
        download(*arguments, **options)
        most = max(most, len(list((tmp_path / "cache").rglob("model.safetensors"))))

    monkeypatch.setattr(hub, "_download", counted)
    names = [f"{REPO}@{step}" for step in STEPS]
    fetcher = Fetcher(budget=one * 3 // 2)
    # Not in the order in which they are fetched ahead: the one that is waited for goes before.
    for now, following in ((0, 1), (3, 1), (1, 2), (2, None)):
        for place in (now, following):
            if place is not None:
                fetcher.ahead(names[place], weights=True, needed=lambda: True)
        fetcher.wait(names[now], weights=True)
        assert hub.is_cached(REPO, STEPS[now])
        fetcher.used(names[now])
    fetcher.close()
    assert most == 1
    # What was measured stays until its room is needed.
    assert hub.is_cached(REPO, STEPS[2])


def test_a_run_that_ends_waits_for_no_room(local: LocalHub) -> None:
    fetcher = Fetcher(budget=(hub.bytes_to_fetch(REPO, STEPS[0]) or 0) * 3 // 2)
    for step in STEPS[:2]:
        fetcher.ahead(f"{REPO}@{step}", weights=True, needed=lambda: True)
    fetcher.wait(f"{REPO}@{STEPS[0]}", weights=True)
    fetcher.close()
    assert not hub.is_cached(REPO, STEPS[1])


def test_a_budget_too_small_for_one_checkpoint_strikes_its_specs(local: LocalHub) -> None:
    fetcher = Fetcher(budget=1000)
    fetcher.ahead(f"{REPO}@main", weights=True, needed=lambda: True)
    with pytest.raises(MeasureError, match="one checkpoint takes"):
        fetcher.wait(f"{REPO}@main", weights=True)
    fetcher.close()
    assert not [line for line in local.requests if "resolve" in line]
