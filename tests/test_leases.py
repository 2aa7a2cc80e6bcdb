"""One holder at a time, told by files: exclusive creation, signs of life, taking over what has none, clocks aside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from measure.hub import leases
from measure.hub.leases import Leases

QUICK = 0.05


def elsewhere(path: Path, number: int = 0) -> None:
    """A lease that a process of another machine wrote."""
    holder = {"worker": "worker 7", "host": "node7", "pid": 1, "machine": "another 1", "born": "1"}
    path.with_name(f"{path.name}.{number}").write_text(json.dumps(holder) + "\n")


def test_one_of_many_that_ask_at_once_gets_it(tmp_path: Path) -> None:
    asked = [Leases(f"worker {number}") for number in range(16)]
    found = []
    gate = threading.Barrier(16)

    def ask(one: Leases) -> None:
        gate.wait()
        found.append(one.take(tmp_path / "load"))

    threads = [threading.Thread(target=ask, args=(one,)) for one in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(lease is not None for lease in found) == 1


def test_what_was_let_go_of_is_free_and_counts_as_no_death(tmp_path: Path) -> None:
    one, two = Leases("one"), Leases("two")
    for holder in (one, two, one):
        with holder.take(tmp_path / "load") as lease:  # type: ignore[union-attr]
            assert not lease.is_lost
    assert one.deaths(tmp_path / "load") == 0
    assert (tmp_path / "load.2").exists()


def test_without_signs_of_life_it_is_taken_over_once(tmp_path: Path) -> None:
    elsewhere(tmp_path / "load")
    watchers = [Leases(f"worker {number}", stale=QUICK) for number in range(4)]
    # Each sees it for the first time, and knows of no staleness yet.
    assert [one.take(tmp_path / "load") for one in watchers] == [None] * 4
    time.sleep(2 * QUICK)
    assert sum(one.take(tmp_path / "load") is not None for one in watchers) == 1
    assert watchers[0].deaths(tmp_path / "load") == 1


def test_with_signs_of_life_it_is_not_whatever_the_clocks_say(tmp_path: Path) -> None:
    path = tmp_path / "load"
    elsewhere(path)
    watcher = Leases("watcher", stale=4 * QUICK)
    for beat in range(12):
        with path.with_name("load.0").open("a") as file:
            file.write(".")
        # An hour ahead and an hour behind in turn.
        os.utime(path.with_name("load.0"), (time.time() + (-1) ** beat * 3600,) * 2)
        assert watcher.take(path) is None
        time.sleep(QUICK)


def test_a_holder_gives_signs_of_life_by_itself(tmp_path: Path) -> None:
    holder = Leases("holder", beat=QUICK)
    assert holder.take(tmp_path / "load") is not None
    before = (tmp_path / "load.0").read_bytes()
    time.sleep(6 * QUICK)
    after = (tmp_path / "load.0").read_bytes()
    # However long it is held, it grows no longer.
    assert after != before
    assert len(after) == len(before)
    holder.close()
    assert (tmp_path / "load.0").read_bytes().endswith(b"released\n")
    assert (tmp_path / "load.0").read_bytes().count(b"\n") == 2


def test_who_was_thought_dead_writes_into_its_own_file_alone(tmp_path: Path) -> None:
    slow = Leases("slow")
    lease = slow.take(tmp_path / "load")
    assert lease is not None
    elsewhere(tmp_path / "load", 1)
    after = (tmp_path / "load.1").read_bytes()
    lease.beat()
    lease.release()
    assert lease.is_lost
    assert (tmp_path / "load.1").read_bytes() == after


def test_a_process_of_this_machine_that_has_ended_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from measure.hub.leases import Leases; "
        "Leases('other').take(Path(sys.argv[1])); print('taken', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "load")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"taken\n"
    own = Leases("own")
    assert own.take(tmp_path / "load") is None
    holder = own.holder_of(tmp_path / "load")
    assert holder is not None
    assert holder.is_alive
    assert own.wait_for(tmp_path / "load", lambda _: None) is None
    process.kill()
    # Not even asked after yet by the process that started it.
    while own.take(tmp_path / "load") is None:
        time.sleep(QUICK)
    process.communicate()


def test_waiting_ends_with_the_lease_of_a_dead_holder(tmp_path: Path) -> None:
    elsewhere(tmp_path / "load")
    said: list[str] = []
    assert Leases("own", stale=QUICK).wait_for(tmp_path / "load", said.append) is not None
    assert "worker 7 (node7, process 1)" in said[0]


def test_a_lease_taken_again_and_again_leaves_one_file(tmp_path: Path) -> None:
    for _ in range(5):
        with leases.turn(tmp_path / "turns" / "here", beat=QUICK, stale=60.0):
            pass
    assert [path.name for path in (tmp_path / "turns").iterdir()] == ["here.4"]


def test_who_counts_from_a_file_that_was_cleared_away_does_not_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "load"
    late = Leases("late", cleared=True)
    with Leases("one", cleared=True).take(path):  # type: ignore[union-attr]
        pass
    seen = late._next(path)
    for _ in range(2):
        # Now that of number 2 is there alone, and number 1 could be created once more.
        with Leases("two", cleared=True).take(path):  # type: ignore[union-attr]
            pass
    monkeypatch.setattr(late, "_next", lambda _: seen)
    assert late.take(path) is None
    assert [one.name for one in tmp_path.iterdir()] == ["load.2"]


def test_half_a_lease_is_somebodys(tmp_path: Path) -> None:
    (tmp_path / "load.0").write_text('{"worker": "wor')
    own = Leases("own", stale=QUICK)
    assert own.take(tmp_path / "load") is None
    assert own.holder_of(tmp_path / "load") is None
    time.sleep(2 * QUICK)
    assert own.take(tmp_path / "load") is not None


def test_where_nothing_tells_machines_apart_only_signs_of_life_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_machine", lambda: "")
    holder = leases.this_process("one")
    assert not holder.is_alive
    assert not holder.is_gone


def test_it_takes_no_more_than_nfs_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are created exclusively and synced; none is locked, renamed or removed."""
    synced: list[int] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(file), sync(file))[1])
    found: list[str] = []
    watching = True

    def hear(event: str, _: object) -> None:
        if watching and event.startswith(("fcntl.", "os.rename", "os.remove", "os.link")):
            found.append(event)

    sys.addaudithook(hear)
    one = Leases("one")
    lease = one.take(tmp_path / "load")
    assert lease is not None
    lease.beat()
    lease.release()
    assert Leases("two").take(tmp_path / "load") is not None
    watching = False
    assert found == []
    assert len(synced) == 4
