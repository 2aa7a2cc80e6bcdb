"""Kill commands at random moments (SIGKILL), and see that nothing is lost or half written and every next run is right.

    .venv/bin/python -m tests.torture --kills 200

In a project of its own, on the smallest models: suites, `--snapshot-update`, `measure refresh`, `measure report`,
`measure ladder train`, `measure curve --save`. After each kill what lies there is looked at; after every few the
command runs to its end, and must have made what it makes undisturbed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from measure.base import files
from measure.harness.engines import store
from measure.report import history, records
from measure.results import Curves, Result
from measure.results.slices import Slices
from measure.spec import MeasureError

ROOT = Path(__file__).parent.parent
# A command runs to its end after so many kills.
EVERY = 5
RUNG = "ladder-olmo-0.2m"
SUITE = """
import pytest
from measure import CurveSpec, Effect, Interval, SliceSpec, Verdict

CLAIM = "Curves exist (Fig. 0)"
NAMES = ("ladder-olmo-0.2m", "ladder-olmo-0.2m@step64-tokens0M", "ladder-qwen2-0.2m")
SPECS = [CurveSpec(name, pairs=12, steps=9, layer=layer) for name in NAMES for layer in (1, 2)]
SPECS += [SliceSpec(name, size=5, triples=2) for name in NAMES]

@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_claim(spec, measured, claim):
    measured(spec)
    claim.check(Verdict((Effect("an effect", Interval(0.3, 0.2, 0.4, 12), 0.1),)))

@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_baseline(spec, measured, baseline):
    assert baseline == measured(spec)
"""
MEASURE = [sys.executable, "-c", "import sys; from measure.cli import main; sys.exit(main())"]
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--quiet"]
TRAIN = ["ladder", "train", RUNG, "--corpus", "text.jsonl", "--heldout", "held.jsonl", "--out", "rungs", "--steps", "6"]


class LostError(AssertionError):
    """Something is lost, or half written."""


@dataclass(frozen=True)
class Command:
    """What is killed: how it begins, what must hold after a kill, and after it has come to its end."""

    name: str
    arguments: Sequence[str]
    prepare: Callable[[Path], None]
    whole: Callable[[Path], None]
    done: Callable[[Path], None]


def right(condition: bool, what: str) -> None:
    if not condition:
        raise LostError(what)


def start(arguments: Sequence[str], project: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    said = (project / "said.txt").open("wb")
    return subprocess.Popen(
        arguments, cwd=project, env=environment, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
    )


def to_its_end(arguments: Sequence[str], project: Path) -> float:
    """Seconds that a command takes. Raises `LostError` where it does not end with 0."""
    began = time.monotonic()
    status = start(arguments, project).wait(timeout=600)
    if status != 0:
        raise LostError(f"ended with {status}: {(project / 'said.txt').read_text(errors='replace')[-2000:]}")
    return time.monotonic() - began


def killed(arguments: Sequence[str], project: Path, after: float) -> bool:
    """Start a command and kill it; False where it had ended by then."""
    process = start(arguments, project)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=after)
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


# What must hold


def store_is_whole(project: Path) -> None:
    for path in (project / ".store").rglob("*.npz"):
        if not path.name.startswith("."):
            found, address = Result.read(path)
            right(isinstance(found, Curves | Slices) and address == path.stem, f"{path} is no whole result")
    for path in (project / ".store").rglob("*.link"):
        if not path.name.startswith("."):
            address = files.unsealed(path.stem, path.read_bytes())
            right((project / ".store" / address[: store.LETTERS] / f"{address}.npz").exists(), f"{path} leads nowhere")


def records_are_whole(project: Path) -> None:
    for path in (project / "reports" / "runs").glob("*.jsonl"):
        lines = path.read_bytes().split(b"\n")
        for line in lines[:-1]:
            right(records.from_json(line) is not None, f"{path} holds a line that is none")
    right(not history.read(project / "reports" / "history.jsonl").problems, "the history holds a line that is none")


def baselines(project: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (project / "suites" / "baselines" / "test_it").glob("[!.]*.json")}


def moved(text: str) -> str:
    """A baseline of another curve."""
    content = json.loads(text)
    rows = content["curve"]["median"] if "curve" in content else content["triples"]["red"][0]
    rows[3] = round((rows[3] or 0.0) + 0.1, 6)
    return json.dumps(content)


class Baselines:
    """Accepted baselines, and others in their place, which an update or a refresh writes anew."""

    def __init__(self, project: Path) -> None:
        self.accepted = baselines(project)
        self.moved = {name: moved(text) for name, text in self.accepted.items()}

    def prepare(self, project: Path) -> None:
        for name, text in self.moved.items():
            (project / "suites" / "baselines" / "test_it" / name).write_text(text)

    def whole(self, project: Path) -> None:
        store_is_whole(project)
        records_are_whole(project)
        found = baselines(project)
        right(found.keys() == self.accepted.keys(), "baselines are gone, or too many")
        for name, text in found.items():
            right(text in (self.accepted[name], self.moved[name]), f"the baseline {name} is neither old nor new")

    def done(self, project: Path) -> None:
        self.whole(project)
        for name, text in baselines(project).items():
            # The time and place of measuring aside.
            old, new = (json.loads(one) | {"environment": None} for one in (self.accepted[name], text))
            right(old == new, f"the baseline {name} is not what is measured")
        right(not (project / ".store" / "refreshed").exists(), "a refresh has not ended")


def page_is_whole(project: Path) -> None:
    page, table = project / "out" / "index.html", project / "out" / "claims.txt"
    if page.exists():
        right(page.read_text().rstrip().endswith("</html>"), "half a page")
    if table.exists():
        right("baselines: " in table.read_text(), "half a table")


class Weights:
    """The revisions that an undisturbed training makes."""

    def __init__(self, project: Path) -> None:
        self.expected = self._hashes(project)

    @staticmethod
    def _hashes(project: Path) -> dict[str, str]:
        from measure.hub.known import hash_file

        found = (project / "rungs" / RUNG).glob("[!.]*/model.safetensors")
        return {path.parent.name: hash_file(path) for path in found}

    def whole(self, project: Path) -> None:
        for name, found in self._hashes(project).items():
            right(found == self.expected[name], f"the revision {name} is another, or half")

    def done(self, project: Path) -> None:
        right(self._hashes(project) == self.expected, "revisions are not those of an undisturbed training")
        right((project / "rungs" / RUNG / "card.json").exists(), "there is no card")
        right(not (project / "rungs" / RUNG / "state.pt").exists(), "the training state was not cleared away")
        shutil.rmtree(project / "rungs")


class Curve:
    """A saved result."""

    def __init__(self, project: Path) -> None:
        self.expected = Curves.load(project / "curve.npz").distance.tolist()

    def whole(self, project: Path) -> None:
        if (project / "curve.npz").exists():
            right(Curves.load(project / "curve.npz").distance.tolist() == self.expected, "another curve, or half")

    def done(self, project: Path) -> None:
        right((project / "curve.npz").exists(), "no curve")
        self.whole(project)
        (project / "curve.npz").unlink()


def nothing(_: Path) -> None:
    pass


def project_in(folder: Path) -> list[Command]:
    """Make the project, with everything made once undisturbed; its commands."""
    (folder / "suites").mkdir(parents=True)
    (folder / "conftest.py").write_text('pytest_plugins = ["measure.plugin"]')
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --snapshot-no-cleanup\n")
    (folder / "suites" / "test_it.py").write_text(SUITE)
    prose = (ROOT / "measure" / "corpus" / "prose.jsonl").read_text().splitlines()
    (folder / "text.jsonl").write_text("\n".join(prose))
    (folder / "held.jsonl").write_text("\n".join(prose[:20]))
    suites, update = [*PYTEST, "suites"], [*PYTEST, "suites", "--snapshot-update"]
    train = [*MEASURE, *TRAIN, "--revisions", "0,2,4"]
    curve = [*MEASURE, "curve", RUNG, " The house was very", " The house was in", "--steps", "9", "--save", "curve.npz"]
    to_its_end(update, folder)
    to_its_end(train, folder)
    to_its_end(curve, folder)
    kept, weights, saved = Baselines(folder), Weights(folder), Curve(folder)
    shutil.rmtree(folder / "rungs")
    (folder / "curve.npz").unlink()

    def empty_store(project: Path) -> None:
        for name, text in kept.accepted.items():
            (project / "suites" / "baselines" / "test_it" / name).write_text(text)
        if random.random() < 0.5:
            shutil.rmtree(project / ".store", ignore_errors=True)

    return [
        Command("suites", suites, empty_store, kept.whole, kept.done),
        Command("snapshot-update", update, kept.prepare, kept.whole, kept.done),
        Command("refresh", [*MEASURE, "refresh", "-k", "test_it"], kept.prepare, kept.whole, kept.done),
        Command("report", [*MEASURE, "report", "--out", "out"], nothing, page_is_whole, page_is_whole),
        Command("ladder train", train, nothing, weights.whole, weights.done),
        Command("curve --save", curve, nothing, saved.whole, saved.done),
    ]


def torture(kills: int, seed: int, folder: Path, only: str | None = None) -> list[str]:
    """Kill as often as that, commands in turn; returns what went wrong."""
    random.seed(seed)
    commands = [one for one in project_in(folder) if only in (None, one.name)]
    took = {}
    for command in commands:
        command.prepare(folder)
        took[command.name] = to_its_end(command.arguments, folder)
        command.done(folder)
        print(f"{command.name}: {took[command.name]:.1f} s undisturbed", flush=True)
    done, wrong = 0, []
    while done < kills and len(wrong) < 5:
        for command in commands:
            try:
                command.prepare(folder)
                for _ in range(EVERY):
                    if done < kills:
                        done += killed(command.arguments, folder, random.uniform(0.0, took[command.name]))
                        command.whole(folder)
                to_its_end(command.arguments, folder)
                command.done(folder)
            except (LostError, MeasureError, OSError) as error:
                wrong.append(f"{command.name}, after {done} kills: {error}")
        print(f"{done} kills, {len(wrong)} went wrong", flush=True)
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """0 where nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", metavar="COMMAND", help="suites, snapshot-update, refresh, report, ...")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        wrong = torture(options.kills, options.seed, Path(folder) / "project", options.only)
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print("nothing was lost" if not wrong else f"{len(wrong)} of what was looked at went wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
