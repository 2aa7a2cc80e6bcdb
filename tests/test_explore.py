"""The explorer's server: what it lets in, whose turn it is, and that its numbers are those of `measure.interpolate`."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import measure
from measure import cli
from measure.core import agreement, runs
from measure.spec import MeasureError

pytest.importorskip("starlette", reason="needs the extra explore")

from measure.explore import addresses, asked, command, computing, pair_files, planes, server, turns
from measure.explore.served import Kept, Served, served
from measure.explore.turns import Job, Turns

MODEL = "ladder-olmo-0.2m"
A, B, C = " The house was very", " The house was in", " He said that"
TOKEN = "open-sesame"


@pytest.fixture(scope="module")
def model() -> Served:
    return served(MODEL, precision="float32", allow_pickle=False)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines()]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


class Client:
    """Speaks ASGI to the application, as uvicorn does."""

    def __init__(self, models: list[Served]) -> None:
        self.turns = Turns()
        self.turns.start()
        self.app = server.application(models, TOKEN, self.turns)

    def get(self, path: str, **headers: str) -> Answer:
        return asyncio.run(self._ask("GET", path, [b""], headers))

    def post(self, path: str, content: Any = None, *, parts: list[bytes] | None = None, **headers: str) -> Answer:
        body = content if isinstance(content, bytes) else json.dumps({"client": "me", **(content or {})}).encode()
        return asyncio.run(self._ask("POST", f"/{TOKEN}/{path}", parts or [body], headers))

    async def _ask(self, method: str, path: str, parts: list[bytes], headers: dict[str, str]) -> Answer:
        given = {"host": "127.0.0.1:80", **{name.replace("_", "-"): value for name, value in headers.items()}}
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
            "asgi": {"version": "3.0", "spec_version": "2.3"},
        }  # fmt: skip
        waiting = [
            {"type": "http.request", "body": part, "more_body": at < len(parts) - 1} for at, part in enumerate(parts)
        ]
        sent: list[Any] = []

        async def receive() -> Any:
            if waiting:
                return waiting.pop(0)
            await asyncio.sleep(3600)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], told, b"".join(one.get("body", b"") for one in sent[1:]))


@pytest.fixture(scope="module")
def client(model: Served) -> Iterator[Client]:
    found = Client([model])
    yield found
    found.turns.close()


def curves(**more: Any) -> dict[str, Any]:
    return {"pairs": [[A, B]], "layers": [1], **more}


# Numbers


@pytest.mark.parametrize(
    "more", [{}, {"read": "residual"}, {"read": "logits", "distance": "kl"}, {"path": "slerp", "steps": 20}]
)
def test_curves_are_those_of_interpolate_to_the_last_digit(client: Client, model: Served, more: dict[str, Any]) -> None:
    found = client.post("curves", curves(layers=[1, 2], **more)).of("curve")
    assert [one["layer"] for one in found] == [1, 2]
    for one in found:
        expected: Any = measure.interpolate(model.loaded, A, B, layer=one["layer"], **more)
        for name, array in (
            ("distance", expected.distance),
            ("relative", expected.relative),
            ("speed", expected.speed),
        ):
            assert one[name] == array[0].tolist()
        assert one["null"] == expected.null.relative[0].tolist()
        for name, (own, null) in one["metrics"].items():
            assert own == pytest.approx(float(getattr(expected, name)[0]), abs=0, nan_ok=True) or own is None
            assert null == pytest.approx(float(getattr(expected.null, name)[0]), abs=0, nan_ok=True) or null is None


def test_a_curve_is_that_of_measure_curve(client: Client, tmp_path: Path) -> None:
    (one,) = client.post("curves", curves()).of("curve")
    target = tmp_path / "curve.csv"
    assert cli.main(["curve", MODEL, A, B, "--save", str(target)]) == 0
    (row,) = csv.DictReader(io.StringIO(target.read_text()))
    assert {name: float(row[name]) for name in one["metrics"]} == {
        name: own for name, (own, _) in one["metrics"].items()
    }
    arrays = tmp_path / "curve.npz"
    assert cli.main(["curve", MODEL, A, B, "--save", str(arrays)]) == 0
    assert measure.Curves.load(arrays).distance[0].tolist() == one["distance"]


@pytest.mark.parametrize("read", ["final_norm", "residual", "logits"])
def test_slices_are_those_of_slice2d_but_for_rounding(client: Client, model: Served, read: str) -> None:
    answer = client.post("plane", {"a": A, "b": B, "c": C, "size": 9, "layer": 2, "read": read})
    expected = measure.slice2d(model.loaded, A, B, C, layer=2, size=9, read=read)
    rows = answer.of("rows")
    assert [one["from"] for one in rows] == sorted({one["from"] for one in rows})
    found = np.concatenate([np.array(one["distance"]).reshape(3, -1, 9) for one in rows], axis=1)
    np.testing.assert_allclose(found, expected.distance[0], atol=2e-5 * expected.distance.max())
    (plane,) = answer.of("plane")
    np.testing.assert_allclose(plane["points"], expected.reference_points[0], atol=1e-5)
    told = [word for one in answer.of("words") for word in one["words"]]
    same = [model.loaded.tokenizer.decode([int(one)]) for one in expected.top_tokens[0].flat]
    assert sum(one == other for one, other in zip(told, same, strict=True)) >= 79


def test_a_slice_runs_each_cell_once_in_each_context(
    client: Client, model: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post("plane", {"a": A, "b": B, "c": C, "size": 16})
    ran: list[int] = []
    real = runs.outputs

    def counted(model: Any, known: Any, prompts: Any, points: Any, *more: Any) -> Any:
        ran.append(points.shape[1])
        return real(model, known, prompts, points, *more)

    monkeypatch.setattr(runs, "outputs", counted)
    client.post("plane", {"a": A, "b": B, "c": C, "size": 16})
    # And once each prompt's own state, with the first row.
    assert sum(ran) == 3 * (16 * 16 + 1)
    assert ran[:3] == [17] * 3
    assert max(ran) <= planes.MOST_CELLS


def test_once_all_layers_are_checked_nobody_waits_for_it(
    client: Client, model: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.loaded.facts.passed.clear()
    assert len(list(computing.warmed(model))) == model.loaded.depth
    monkeypatch.setattr(agreement, "_plainly", None)
    assert len(client.post("curves", curves(layers=[1, 3], steps=200)).of("curve")) == 2
    assert client.post("plane", {"a": A, "b": B, "c": C, "size": 32, "layer": 2}).of("rows")


def test_a_plane_needs_three_prompts_that_differ(client: Client) -> None:
    for a, b, c in ((A, A, C), (A, B, B), (A, B, A)):
        (found,) = client.post("plane", {"a": a, "b": b, "c": c, "size": 8}).of("problem")
        assert "prompt C lies on the line from A to B, so there is no plane" in found["text"]


def test_tops_are_the_most_probable_tokens(client: Client, model: Served) -> None:
    (found,) = client.post("tops", {"a": A, "b": B, "layer": 1}).of("tops")
    ids = model.loaded.tokenizer(A, add_special_tokens=False, return_tensors="pt")["input_ids"]
    logits = model.loaded.network(ids).logits[0, -1].detach()
    best = logits.softmax(-1).topk(3)
    assert found["ids"][0] == best.indices.tolist()
    np.testing.assert_allclose(found["shares"][0], best.values.numpy(), rtol=1e-4)
    assert found["texts"][0] == [model.loaded.tokenizer.decode([one]) for one in found["ids"][0]]


def test_random_pairs_are_independent_and_measured_as_the_curve_is(client: Client, model: Served) -> None:
    found = client.post("standing", {"layer": 2, "count": 12}).of("standing")
    slopes = [value for one in found for value in one["more"]["max_slope"]]
    pairs = computing._random_pairs(model, 12, False)
    assert len(slopes) == len(pairs) == 12
    assert len({*pairs.a, *pairs.b}) == 24
    expected: Any = measure.interpolate(model.loaded, list(pairs.a), list(pairs.b), layer=2)
    np.testing.assert_allclose([own for own, _ in slopes], expected.max_slope, rtol=1e-3)
    # Asked again, what is known already comes at once.
    assert len(client.post("standing", {"layer": 2, "count": 12}).of("standing")) == 1


def test_equal_prompts_have_no_curve_and_say_so(client: Client) -> None:
    (one,) = client.post("curves", curves(pairs=[[A, A]])).of("curve")
    assert one["degenerate"]
    assert one["relative"] == [None] * 50


def test_memory_is_bounded_by_what_is_kept() -> None:
    kept: Kept[int] = Kept(3)
    for number in range(10):
        kept.put(number, number)
        kept.get(0)
    assert len(kept) == 3
    # What was asked for again stays, what was not goes.
    assert [kept.get(number) for number in (0, 1, 7, 9)] == [0, None, None, 9]


# Safety


def test_the_page_is_there_and_its_policy_lets_nothing_else_in(client: Client) -> None:
    answer = client.get(f"/{TOKEN}/")
    assert answer.status == 200
    assert "<title>Stable regions: explorer</title>" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    for name in ("main.js", "explore.css", "uPlot.iife.min.js"):
        assert client.get(f"/{TOKEN}/{name}").status == 200


@pytest.mark.parametrize("path", ["/", "/about", "/wrong/", f"/{TOKEN}", f"/{TOKEN[:-1]}/about", f"/{TOKEN}x/"])
def test_without_the_token_nothing_is_answered(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status == 403
    assert "Open the one that `measure explore` printed" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "bad.test"},
        {"host": "127.0.0.1.bad.test:80"},
        {"host": ""},
        {"origin": "http://bad.test"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1:80"},
        {"origin": "http://127.0.0.1:81"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_another_host_or_origin_is_refused(client: Client, headers: dict[str, str]) -> None:
    assert client.get(f"/{TOKEN}/about", **headers).status == 403
    assert client.post("tokens", {"texts": [A]}, **headers).status == 403


def test_ones_own_origin_is_let_in(client: Client) -> None:
    own = {"host": "localhost:8899", "origin": "http://localhost:8899", "sec_fetch_site": "same-origin"}
    assert client.post("tokens", {"texts": [A]}, **own).status == 200


def test_requests_of_a_hundred_megabytes_are_refused(client: Client) -> None:
    answer = client.post("tokens", b"{}", content_length=str(100 * 2**20))
    assert (answer.status, "more than 4,194,304 bytes" in answer.text) == (413, True)
    # As well where nobody said so beforehand.
    many = client.post("tokens", parts=[b"x" * 2**20] * 100)
    assert many.status == 413


@pytest.mark.parametrize(
    "path", ["../../pyproject.toml", "..%2f..%2fpyproject.toml", "index.html", "web/main.js", "static/"]
)
def test_no_file_but_the_pages_own_is_opened(client: Client, path: str) -> None:
    assert client.get(f"/{TOKEN}/{path}").status == 404


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("curves", b"{", "the request is none that this page makes"),
        ("curves", b"[" * 100_000, "the request is none that this page makes"),
        ("curves", {"model": 1, **curves()}, "there is no model 1 here"),
        ("curves", {"model": "/etc", **curves()}, "the request is none that this page makes"),
        ("curves", curves(client="<b>"), "does not say which page it comes from"),
        ("curves", curves(steps=100_000), "the page takes 5 to 200"),
        ("curves", curves(read="eval"), "read='eval'"),
        ("curves", curves(path="own"), "the request is none that this page makes"),
        ("curves", curves(pairs=[[A, B]] * 201), "201 pairs were asked for at once; the page takes 200"),
        ("curves", curves(pairs=[["x" * 20_001, B]]), "a prompt has 20,001 characters; the page takes 20,000"),
        ("plane", {"a": A, "b": B, "c": C, "size": 65}, "the page takes 4 to 64"),
        ("plane", {"a": A, "b": B, "c": C, "read": "block:2"}, "slices are read at final_norm, residual, logits"),
        ("tokens", {"texts": ["\ud800"]}, "cut within a character"),
        ("suite", {"rows": []}, "the list holds no pair"),
        ("suite", {"rows": [{"a": "", "b": B}]}, "prompt A of pair 1 is empty"),
        ("standing", {"count": 100_000}, "expected 1 to 200"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_sentence(client: Client, path: str, content: Any, said: str) -> None:
    answer = client.post(path, content)
    assert answer.status == 400
    assert said in answer.text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"pairs": [["", B]]}, "prompt A is empty; write at least one token there."),
        ({"pairs": [[A, "\udc00"]]}, "prompt B holds"),
        ({"pairs": [[A, " the" * 5000]]}, "prompt B has 5,000 tokens; the page takes 512."),
        ({"layers": [5]}, "layer 5 was asked for; ladder-olmo-0.2m has blocks 1 to 4."),
        ({"layers": [3], "read": "block:2"}, "block 2 cannot be read after a patch behind block 3: choose 3 to 4."),
        ({"bos": True}, "no BOS token"),
    ],
)
def test_what_cannot_be_measured_is_told_in_a_sentence(client: Client, more: dict[str, Any], said: str) -> None:
    (found,) = client.post("curves", curves(**more)).of("problem")
    assert said in found["text"]


def test_markup_is_text(client: Client) -> None:
    hostile = " <img src=x onerror=alert(1)>"
    (tokens,) = json.loads(client.post("tokens", {"texts": [hostile]}).text)
    assert "".join(token["text"] for token in tokens) == hostile
    assert client.post("tokens", {"texts": [hostile]}).headers["content-type"] == "application/json"


# Turns


def waited(found: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not found():
        assert time.monotonic() < end
        time.sleep(0.005)


def steps(name: str, count: int, done: list[str], gate: threading.Event | None = None) -> Iterator[dict[str, Any]]:
    for number in range(count):
        if gate is not None:
            gate.wait(30)
        done.append(name)
        yield {"type": name, "number": number}


def test_twenty_pages_take_turns(model: Served) -> None:
    queue, done, gate = Turns(), [], threading.Event()
    ended: list[str] = []
    for page in range(20):
        name = f"page{page}"
        work = steps(name, 5, done, gate)
        queue.add(Job(name, "curve", work, lambda event, name=name: ended.append(name) if event is None else None))
    queue.start()
    gate.set()
    waited(lambda: len(ended) == 20)
    queue.close()
    # Nobody has a second step before everybody had the first.
    assert [sorted(done[at : at + 20]) for at in range(0, 100, 20)] == [sorted(f"page{page}" for page in range(20))] * 5


def test_a_newer_question_ends_the_older_and_goes_before_what_takes_long() -> None:
    queue, done, gate = Turns(), [], threading.Event()
    told: dict[str, list[Any]] = {"old": [], "new": [], "long": []}
    queue.add(Job("me", "standing", steps("long", 3, done, gate), told["long"].append))
    queue.add(Job("me", "curve", steps("old", 3, done, gate), told["old"].append))
    queue.add(Job("me", "curve", steps("new", 1, done, gate), told["new"].append))
    queue.start()
    gate.set()
    waited(lambda: all(events and events[-1] is None for events in told.values()))
    queue.close()
    assert done == ["new", "long", "long", "long"]
    assert [event for event in told["old"] if event and event["type"] == "old"] == []


def test_what_nobody_waits_for_gives_way() -> None:
    queue, done, gate, ended = Turns(), [], threading.Event(), threading.Event()
    queue.add(Job("start", turns.BACKGROUND, steps("background", 3, done, gate), lambda _: None))
    queue.add(Job("me", "curve", steps("mine", 3, done, gate), lambda event: ended.set() if event is None else None))
    queue.start()
    gate.set()
    assert ended.wait(30)
    queue.close()
    assert done[:3] == ["mine"] * 3


def test_the_place_in_the_queue_is_told() -> None:
    queue, told = Turns(), []
    for page in range(3):
        queue.add(Job(f"page{page}", "curve", steps("x", 1, []), told.append if page == 2 else lambda _: None))
    queue.start()
    waited(lambda: bool(told) and told[-1] is None)
    queue.close()
    places = [event["place"] for event in told if event and event["type"] == "place"]
    assert places == sorted(places, reverse=True)
    assert places[0] == 2


def test_a_defect_or_lack_of_memory_costs_one_answer_and_not_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    def broken(error: Exception) -> Iterator[dict[str, Any]]:
        raise error
        yield {}

    queue = Turns()
    queue.start()
    told: dict[str, list[Any]] = {}
    for number, error in enumerate([MemoryError(), ValueError("secret"), MeasureError("said")]):
        told[str(number)] = []
        queue.add(Job(f"page{number}", "curve", broken(error), told[str(number)].append))
    waited(lambda: all(events and events[-1] is None for events in told.values()))
    said = [next(event for event in events if event and event["type"] == "problem")["text"] for events in told.values()]
    queue.close()
    assert "no memory left" in said[0]
    assert "secret" not in said[1]
    assert "the terminal of measure explore tells more" in said[1]
    assert said[2] == "said"


def test_no_more_wait_than_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MOST_WAITING", 2)
    queue = Turns()
    for page in range(2):
        queue.add(Job(f"page{page}", "curve", iter(()), lambda _: None))
    with pytest.raises(MeasureError, match="2 measurements wait already"):
        queue.add(Job("page2", "curve", iter(()), lambda _: None))


# Files of pairs


def read(text: str, name: str = "mine") -> list[dict[str, Any]]:
    return pair_files.read(asked.Read("me", name=name, text=text))["rows"]


def test_pairs_come_in_as_csv_and_json() -> None:
    expected = [{"a": " x, y", "b": ' "z"', "label": "one"}]
    assert read('\ufefflabel,a,b\r\none," x, y"," ""z"""\r\n') == expected
    assert read(json.dumps(expected[0]) + "\n\n") == expected
    assert read(json.dumps(expected)) == expected
    assert read("a,b\n x, y\n")[0]["label"] == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; give CSV with columns a, b and label, or JSONL."),
        ("x,y\n1,2\n", "has columns ['x', 'y']; expected columns a, b"),
        ("a,b\n,2\n", "row 1: a is empty"),
        ("a,b\n1\n", "row 1: b is None, no text"),
        ('{"a": "x"}\n', "it has ['a']; expected a and b, or a record of Plateau Lab"),
        ('{"a": "x", "b": 3}', "b is 3, no text"),
        ('{"a": "x", "b": "\\ud800"}', "cut within a character"),
        ('{"a": 1}\n{\n', "line 2: no whole JSON"),
        ("[" * 100_000, "no whole JSON"),
        ("[3]", "found 3; expected a record with a and b."),
        ('{"sequence_a": "x", "sequence_b": "y", "schema_version": 3}', "its schema is 3; expected 7"),
        ('{"sequence_a": "x", "schema_version": 7}', "b is None, no text"),
        ("a,b\n" + "x,y\n" * 201, "holds 201 pairs; the page takes 200"),
    ],
)
def test_what_is_no_file_of_pairs_is_told_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(MeasureError, match=".") as told:
        read(text)
    assert said in str(told.value)


def test_plateau_lab_records_go_out_and_are_the_same_measured_again(client: Client, tmp_path: Path) -> None:
    rows = [{"a": A, "b": B, "label": "first"}, {"a": C, "b": B}]
    found = client.post("plateau-lab", {"rows": rows, "layer": 2, "path": "slerp", "steps": 20}).of("record")
    assert len(found) == 2
    file = tmp_path / "records.jsonl"
    file.write_text("".join(json.dumps(one["record"]) + "\n" for one in found))
    from measure.api import plateau_lab

    assert max(one.largest for one in plateau_lab.redo(file, MODEL)) <= plateau_lab.EXPECTED
    again = read(file.read_text())
    assert again[0] == {"a": A, "b": B, "label": "first", "layer": 2, "path": "slerp"}


def listed(**more: Any) -> asked.Listed:
    words = ("dog", "rain", "ship", "wall", "queen", "road", "fire", "book")
    rows = tuple(asked.Row(f" He \\ saw 'the' {word}", f' It "is" {{no}} {word}s', f'"{word}" {{x}}') for word in words)
    return asked.Listed("me", rows=rows, **more)


def test_the_suite_of_a_list_runs_as_it_is(pytester: pytest.Pytester) -> None:
    made = pair_files.suite(listed(layer=2), MODEL)
    assert made["suite"].count("\n") < 70
    pytester.makepyfile(**{made["file"].removesuffix(".py"): made["suite"]})
    done = pytester.runpytest("-p", "measure.plugin", made["file"], "--snapshot-update")
    text = done.stdout.str()
    assert done.parseoutcomes().get("errors", 0) == 0, text
    assert "My pairs have plateaus" in text
    assert "1 as accepted" in text
    assert list(pytester.path.glob("baselines/**/*.json")), text


def test_the_lines_of_python_are_the_list(model: Served) -> None:
    made = pair_files.suite(listed(layer=2, steps=20), MODEL)
    found: dict[str, Any] = {}
    exec(compile("\n".join(made["python"].splitlines()[:-2]), "copied", "exec"), found)
    assert list(found["a"]) == [row.a for row in listed().rows]
    assert len(found["curves"]) == 8
    assert found["curves"].provenance["layer"] == 2


# The command


def test_a_port_in_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["explore", MODEL, "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert f"--port {port} cannot be opened on 127.0.0.1" in said
    assert "give another, 0 for a free one" in said


def test_an_address_is_kept_a_week_and_read_by_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    token, place = addresses.token(8899), tmp_path / "stable-regions" / "explore" / "8899"
    assert len(token) == 32
    assert (place.stat().st_mode & 0o777, place.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert addresses.token(8899) == token
    assert token not in (addresses.token(8898), addresses.token(0), addresses.token(0))
    assert sorted(path.name for path in place.parent.iterdir()) == ["8898", "8899"]
    other = addresses.token(8899, anew=True)
    assert addresses.token(8899) == other != token
    for spoilt in (lambda: place.chmod(0o644), lambda: place.write_text("x" * 31), lambda: place.write_text("ä" * 32),
                   lambda: os.utime(place, (0, time.time() - 8 * 24 * 3600))):  # fmt: skip
        before = addresses.token(8899)
        spoilt()
        assert addresses.token(8899) != before
    place.unlink()
    place.symlink_to(tmp_path / "other")
    (tmp_path / "other").write_text(token)
    assert addresses.token(8899) != token


def test_where_nothing_can_be_kept_an_address_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert addresses.token(8899) != addresses.token(8899)


def test_a_page_that_was_told_of_other_models_is_not_answered(client: Client) -> None:
    (own,) = {json.loads(client.get(f"/{TOKEN}/about").text)["served"]}
    assert client.post("tokens", {"texts": [A], "served": own}).status == 200
    for path, content in (("tokens", {"texts": [A]}), ("curves", curves()), ("suite", {"rows": [{"a": A, "b": B}]})):
        answer = client.post(path, {"served": "another", **content})
        assert (answer.status, answer.text) == (
            409,
            "measure explore was started with other models; load the page again.",
        )


def test_it_is_bound_to_this_machine_alone() -> None:
    with command.opened(0) as bound:
        assert bound.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_is_none_is_told(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explore", MODEL, f"--port={port}"]) == 2
    assert "expected a number from 1 to 65535" in capsys.readouterr().err


def test_without_the_extra_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert cli.main(["explore", MODEL]) == 2
    assert "pip install 'stable-regions[explore]'" in capsys.readouterr().err
