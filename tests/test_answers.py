"""What one worker of a run was told, no other asks again: listings, refusals, checkpoints; whoever dies on the way."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from measure.harness.engines import fetching, shards
from measure.hub import answers, listings
from measure.hub import checkpoints as hub
from measure.hub.answers import Answers
from measure.hub.leases import Leases
from measure.models import loading as models
from measure.spec import MeasureError, NotMeasuredError
from tests.hub import LocalHub, tiny_checkpoint

QUESTION = ("listing", "tiny/olmo")


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    yield
    answers.stop()


def run(tmp_path: Path, name: str = "one", **options: Any) -> Answers:
    return Answers(tmp_path, Leases(name, **options))


def never() -> Any:
    raise AssertionError("asked again")


def test_a_question_is_put_once_however_many_have_it_at_once(tmp_path: Path) -> None:
    asked: list[int] = []
    found: list[Any] = []

    def ask() -> dict[str, int]:
        asked.append(1)
        time.sleep(0.3)
        return {"a": 1}

    def worker(number: int) -> None:
        found.append(run(tmp_path, f"worker {number}").once(QUESTION, ask, keep=True))

    threads = [threading.Thread(target=worker, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1
    assert found == [{"a": 1}] * 8


@pytest.mark.parametrize("kind", [MeasureError, NotMeasuredError])
@pytest.mark.parametrize("keep", [True, False])
def test_a_refusal_is_told_to_all_in_the_same_words(tmp_path: Path, kind: type[MeasureError], keep: bool) -> None:
    def refuse() -> Any:
        raise kind("tiny/olmo is gated. Ask for access.")

    for name, ask in (("one", refuse), ("two", never)):
        with pytest.raises(kind, match=r"^tiny/olmo is gated\. Ask for access\.$") as error:
            run(tmp_path, name).once(QUESTION, ask, keep=keep)
        assert type(error.value) is kind


def test_what_is_done_alone_is_done_by_each_and_no_answer_is_none(tmp_path: Path) -> None:
    assert [run(tmp_path).once(QUESTION, one.upper, keep=False) for one in ("a", "b")] == ["A", "B"]
    assert run(tmp_path).once(QUESTION, lambda: None, keep=True) is None
    with pytest.raises(OSError, match="unreachable"):
        run(tmp_path).once(QUESTION, lambda: (_ for _ in ()).throw(OSError("unreachable")), keep=True)
    assert run(tmp_path).once(QUESTION, lambda: "c", keep=True) == "c"
    run(tmp_path).tell(QUESTION, "d")
    assert run(tmp_path).once(QUESTION, never, keep=True) == "c"


def test_a_damaged_answer_is_asked_for_again(tmp_path: Path) -> None:
    run(tmp_path).once(QUESTION, lambda: "a", keep=True)
    path = run(tmp_path)._path(QUESTION)
    path.write_bytes(path.read_bytes()[:-3])
    assert run(tmp_path).once(QUESTION, lambda: "b", keep=True) == "b"


def test_where_nothing_can_be_written_each_asks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert [run(tmp_path / "file").once(QUESTION, one.upper, keep=True) for one in ("a", "b")] == ["A", "B"]


_ASKS_FOR_EVER = """
import sys, time
from pathlib import Path
from measure.hub import answers, listings
from measure.hub.leases import Leases
def ask():
    print("asks", flush=True)
    time.sleep(600)
answers.share(Path(sys.argv[1]), Leases("other"))
getattr(answers, sys.argv[2])(("listing", "tiny/olmo"), ask)
"""


@pytest.mark.parametrize("how", ["once", "alone"])
def test_the_question_of_one_that_was_killed_is_put_by_the_next(tmp_path: Path, how: str) -> None:
    command = [sys.executable, "-c", _ASKS_FOR_EVER, str(tmp_path), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"asks\n"
    found: list[str] = []
    answers.share(tmp_path, Leases("own"))
    thread = threading.Thread(target=lambda: found.append(getattr(answers, how)(QUESTION, lambda: "told")))
    thread.start()
    thread.join(0.5)
    assert found == []
    process.kill()
    thread.join(20)
    assert found == ["told"]
    process.communicate()


# Against a hub


REPOS = ("tiny/one", "tiny/gated", "tiny/none", "tiny/cut")


class Forgetful(dict[Any, Any]):
    """What a process was told, where every thread is to be a process of its own, which was told nothing yet."""

    def __setitem__(self, *_: object) -> None:
        pass


def add(served: LocalHub, repo: str) -> None:
    for seed, revision in enumerate(("main", "step1000-tokens2B")):
        files = dict(tiny_checkpoint(seed))
        if repo == "tiny/cut":
            del files["config.json"]
        served.add(repo, files, revision=revision, gated=repo == "tiny/gated")


def told(repo: str, revision: str) -> str:
    try:
        return answers.alone(("brought", repo, revision), lambda: hub.fetch(repo, revision)).commit
    except MeasureError as error:
        return str(error)


def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> tuple[list[str], list[list[str]]]:
    """What so many workers asked of a hub, all for the same, and what each was told."""
    said: list[list[str]] = []

    def work() -> None:
        said.append([told(repo, revision) for repo in REPOS for revision in ("main", "tokens2B")])

    with LocalHub(latency=0.01) as served, monkeypatch.context() as patch:
        for repo in REPOS:
            if repo != "tiny/none":
                add(served, repo)
        served.use(patch, tmp_path / f"cache-{workers}")
        patch.setattr(listings, "_LISTINGS", {} if workers == 1 else Forgetful())
        if workers > 1:
            answers.share(tmp_path / "run", Leases("worker"))
        threads = [threading.Thread(target=work) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return list(served.requests), said


def test_eight_workers_ask_the_hub_no_more_than_one_process_and_are_told_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_one, (alone,) = asked(tmp_path, monkeypatch, 1)
    by_eight, said = asked(tmp_path, monkeypatch, 8)
    # How many files of a gated repository are asked for before the first refusal is heard is chance.
    eight, one = (Counter(line for line in lines if "gated/resolve" not in line) for lines in (by_eight, by_one))
    assert eight <= one
    assert said == [alone] * 8
    assert sum(count for line, count in eight.items() if line.startswith("GET") and "safetensors" in line) == 2
    assert sum("gated/resolve" in line for line in by_eight) <= 2 * len(tiny_checkpoint(0))
    assert [len(one) for one in alone[:2]] == [40, 40]
    for text in ("is gated. Ask for access", "the hub has no model 'tiny/none'", "tiny/cut has no config.json"):
        assert sum(text in one for one in alone) == 2


def test_a_fetcher_that_was_refused_is_followed_by_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker of the machine, with the same checkpoint, is told what the first was told."""
    tries: list[str] = []

    def refuse(*_: Any, **__: Any) -> Any:
        tries.append("asked")
        raise NotMeasuredError("tiny/olmo: the disk filled up while it was fetched; make room.")

    monkeypatch.setattr(models, "fetch", refuse)
    with answers.shared(tmp_path, Leases("one")):
        for _ in range(3):
            fetcher = fetching.Fetcher()
            fetcher.ahead("tiny/olmo@main", weights=True, needed=lambda: True)
            with pytest.raises(NotMeasuredError, match="the disk filled up while it was fetched"):
                fetcher.wait("tiny/olmo@main", weights=True)
            fetcher.close()
    assert tries == ["asked"]


def test_workers_begin_with_what_their_starter_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalHub() as served:
        served.add("tiny/one", tiny_checkpoint(0))
        served.use(monkeypatch, tmp_path / "cache")
        hub.forget()
        commit, requests = hub.commit_of("tiny/one", "main"), len(served.requests)
        with answers.shared(tmp_path / "run", Leases("controller")) as told:
            for question, value in hub.listed().items():
                told.tell(question, value)
            hub.forget()
            assert hub.commit_of("tiny/one", "main") == commit
        assert len(served.requests) == requests
        hub.forget()


def test_folders_of_answers_stay_small(tmp_path: Path) -> None:
    """10,000 loads, each with a listing, its main's, its bringing, a lease or two of each: under 256 folders."""
    found = {run(tmp_path)._path((kind, f"m{n}")).parent for n in range(2_000) for kind in ("listing", "brought")}
    assert len(found) == 256
    assert 10_000 * 3 * 3 / 256 < 5000
    assert shards.FOLDER != answers.FOLDER
