"""The explorer's server over real connections: clients that go away, many at once, requests that are not let in."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from measure.explore import computing
from measure.explore.served import served
from measure.explore.turns import Job
from tests.explorers import Running

MODEL = "ladder-olmo-0.2m"
A, B = " The house was very", " The house was in"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    found = Running([served(MODEL, precision="float32", allow_pickle=False)], "secret")
    yield found
    found.end()


def curves(client: str, **more: Any) -> dict[str, Any]:
    return {"client": client, "pairs": [[A, B]], "layers": [1, 2, 3, 4], **more}


def waited(found: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not found():
        assert time.monotonic() < end
        time.sleep(0.005)


def held(running: Running) -> threading.Event:
    """The queue, at a stand until the event is set."""
    gate = threading.Event()

    def standing() -> Iterator[dict[str, Any]]:
        gate.wait(30)
        yield {"type": "free"}

    running.turns.add(Job("gate", "curve", standing(), lambda _: None))
    return gate


def waiting(running: Running) -> set[str]:
    return set(running.turns._waiting) - {"gate"}


def test_of_a_client_that_goes_away_nothing_more_is_measured(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    monkeypatch.setattr(computing, "_next_size", lambda size, *_: measured.append(size) or size)
    gate = held(running)
    with running.asked("standing", {"client": "gone", "layer": 1}):
        waited(lambda: "gone" in waiting(running))
        (job,) = running.turns._waiting["gone"]
    waited(job.cancelled.is_set)
    stays = running.events("curves", curves("stays"))
    assert next(stays)["type"] == "place"
    gate.set()
    assert [event["type"] for event in stays][-5:] == ["curve"] * 4 + ["end"]
    waited(lambda: not waiting(running))
    assert measured == []


def test_twenty_clients_at_once_are_all_answered_and_in_turn(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real = computing.curve

    def noted(model: Any, ids: Any, layer: int, asked: Any) -> Any:
        order.append(asked.client)
        return real(model, ids, layer, asked)

    monkeypatch.setattr(computing, "curve", noted)
    names = [f"page{number}" for number in range(20)]
    found: dict[str, list[dict[str, Any]]] = {}

    def one(name: str) -> None:
        found[name] = list(running.events("curves", curves(name, steps=5 + names.index(name))))

    threads = [threading.Thread(target=one, args=(name,)) for name in names]
    gate = held(running)
    for thread in threads:
        thread.start()
    waited(lambda: waiting(running) == set(names))
    gate.set()
    for thread in threads:
        thread.join(60)
    for number, name in enumerate(names):
        measured = [event for event in found[name] if event["type"] == "curve"]
        assert [len(event["relative"]) for event in measured] == [5 + number] * 4
    # Nobody has a second curve before everybody has the first.
    assert [sorted(order[at : at + 20]) for at in range(0, 80, 20)] == [sorted(names)] * 4


def test_two_tabs_on_one_model_are_told_the_same_and_do_not_end_each_other(running: Running) -> None:
    gate = held(running)
    tabs = [running.events("curves", curves(name, path="slerp")) for name in ("one", "two")]
    assert [next(tab)["type"] for tab in tabs] == ["place", "place"]
    # A newer question of the first tab ends its older one alone.
    newer = running.events("curves", curves("one", path="slerp", layers=[3]))
    assert next(newer)["type"] == "place"
    gate.set()
    first, second, third = ([event for event in tab if event["type"] != "place"] for tab in (*tabs, newer))
    assert first == [{"type": "cancelled"}]
    assert [event.get("layer") for event in second] == [1, 2, 3, 4, None]
    assert third[0] == second[2]


@pytest.mark.parametrize(
    ("path", "headers", "status", "said"),
    [
        ("/about", {}, 403, "Open the one that `measure explore` printed"),
        ("/guess/about", {}, 403, "Open the one that `measure explore` printed"),
        ("/secret/about", {"Host": "rebound.test"}, 403, "answers under 127.0.0.1, localhost, [::1] alone"),
        ("/secret/about", {"Origin": "http://rebound.test"}, 403, "answers its own page alone"),
        ("/secret/tokens", {"Content-Length": str(100 * 2**20)}, 413, "more than 4,194,304 bytes"),
        ("/secret/tokens", {"Content-Length": "many"}, 400, ""),
    ],
)
def test_what_is_not_let_in(running: Running, path: str, headers: dict[str, str], status: int, said: str) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        assert answer.status == status
        assert said in answer.read().decode()


def test_of_a_hundred_megabytes_in_parts_no_more_is_read_than_can_be(running: Running) -> None:
    sent = 0

    def parts() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b"x" * 2**20

    with (
        closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)) as connection,
        pytest.raises(OSError, match="reset|[Bb]roken pipe"),
    ):
        connection.request("POST", "/secret/tokens", parts(), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert sent < 50
    # And others are answered.
    assert list(running.events("curves", curves("after", layers=[1])))[-1]["type"] == "end"
