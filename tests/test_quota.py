"""What the processes that share a cache may ask of the hub, and that one of them fetches at a time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from measure.hub import quota

# Two requests a batch, three batches a window of a second.
_SMALL = "quota.WINDOW, quota.USABLE, quota.BATCH, quota._BATCHES = 1.0, 0.2, 2, 3"
_TAKER = f"""
import sys, time
from pathlib import Path
from measure.hub import quota
{_SMALL}
for _ in range(6):
    quota.take(Path(sys.argv[1]))
    print(time.time())
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    quota._CREDITS.clear()
    yield
    quota._CREDITS.clear()


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_no_window_holds_more_requests_than_allowed_whatever_the_processes(tmp_path: Path) -> None:
    takers = [started(_TAKER, tmp_path) for _ in range(3)]
    times = sorted(float(line) for taker in takers for line in taker.communicate(timeout=120)[0].split())
    assert len(times) == 18
    begins = {number: (tmp_path / f"batch-{number}").stat().st_mtime for number in quota._numbers(tmp_path)}
    assert len(begins) == 7
    # However late a process comes to use its batch.
    assert all(begins[number] >= begins[number - 3] + 0.999 for number in begins if number - 3 in begins)
    assert times[-1] - begins[min(begins)] > 1.5


def test_batches_are_taken_in_turn_a_window_after_the_one_so_many_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    for _ in range(quota._BATCHES * quota.BATCH):
        quota.take(tmp_path)
    assert waited == []
    quota.take(tmp_path)
    assert len(waited) == 1
    assert 299 < waited[0] <= 300
    assert quota._BATCHES * quota.BATCH == 2500


def test_few_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    quota.take(tmp_path, 10_000)
    assert len(list(tmp_path.iterdir())) <= 2 * quota._BATCHES + 1


def test_clocks_apart_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are aged by their own times alone."""
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waited"))
    quota.take(tmp_path)
    monkeypatch.setattr("time.time", lambda: 0.0)
    quota._CREDITS.clear()
    quota.take(tmp_path)


def test_where_nothing_can_be_written_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    quota.take(tmp_path / "file", 10_000)
    with quota.turn(tmp_path / "file"):
        pass


_HOLDER = """
import sys, time
from pathlib import Path
from measure.hub import quota
with quota.turn(Path(sys.argv[1])):
    for _ in range(20):
        with open(sys.argv[2], "a") as file:
            file.write(sys.argv[3])
        time.sleep(0.01)
"""


def test_one_process_fetches_at_a_time(tmp_path: Path) -> None:
    told = tmp_path / "told"
    holders = [started(_HOLDER, tmp_path / "turns", told, name) for name in "abc"]
    for holder in holders:
        holder.communicate(timeout=120)
    assert [holder.returncode for holder in holders] == [0, 0, 0]
    # Each wrote its letters in one go.
    assert sorted(told.read_text()[start : start + 20] for start in (0, 20, 40)) == [20 * name for name in "abc"]


def test_each_machine_has_turns_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def another() -> None:
        with quota.turn(tmp_path):
            pass

    with quota.turn(tmp_path):
        monkeypatch.setattr("socket.gethostname", lambda: "node7.example")
        thread = threading.Thread(target=another, daemon=True)
        thread.start()
        thread.join(20)
        assert (tmp_path / "node7_example.0").exists()


def test_the_turn_of_a_killed_process_is_taken_over_and_that_of_a_living_one_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "DEAD", 1.0)
    monkeypatch.setattr(quota, "BEAT", 0.1)
    with quota.turn(tmp_path):
        pass
    [last] = tmp_path.iterdir()
    # As a process of another machine leaves its own when it is killed: not let go of, and never changed again.
    holder = {"worker": "its turn", "host": "node7", "pid": 1, "machine": "another 1", "born": "1"}
    last.with_suffix(".1").write_text(json.dumps(holder) + "\n00000003\n")
    began = time.monotonic()
    held = threading.Event()

    def hold() -> None:
        with quota.turn(tmp_path):
            held.set()
            time.sleep(2.5)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    assert time.monotonic() - began > 0.9
    with quota.turn(tmp_path):
        # Not before it let go, though it took longer than a dead one is given.
        assert time.monotonic() - began > 3.3
    thread.join()
