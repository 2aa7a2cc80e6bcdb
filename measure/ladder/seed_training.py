"""Train seeds of the ladder's rungs, and keep of each what is measured on it: see `ladder.seeds` for the files.

Does not measure: `Measure` is handed in. Trained weights lie in a folder of the user's, laid out as the shipped ones
(DIR/RUNG/REVISION, a card beside the revisions), so that they can be measured again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from measure import catalog, stats
from measure.base.files import write_atomically
from measure.hub.known import hash_file
from measure.ladder import card, seeds, train
from measure.ladder.recipe import VOCABULARY, Recipe, Rung, rung
from measure.ladder.seeds import Checkpoint, SeedRun
from measure.ladder.train import Text
from measure.results import METRICS, Curves
from measure.spec import MeasureError

# Seconds between two lines of progress.
EVERY = 15.0
START = "step0-tokens0M"
VERSIONS = ("measure", "torch", "transformers", "numpy", "python", "device")
QUARTILE_DIGITS = 6

# The curves of a model, named as `CurveSpec` takes it, on the default draw.
Measure = Callable[[str], Curves]
Say = Callable[[str], None]


def chosen(names: Sequence[str], numbers: Sequence[int]) -> list[Rung]:
    """Each of the rungs named with each of the seeds, all rungs of a seed before the next seed.

    Raises `MeasureError` for an unknown rung and for a seed below 0.
    """
    shapes = [rung(name if name.startswith("ladder-") else f"ladder-{name}") for name in names]
    wrong = [f"seed {number}" for number in numbers if number < 0] + [s.name for s in shapes if s.seed]
    if wrong:
        raise MeasureError(f"{wrong[0]}: seeds are whole numbers from 0, given with --seeds N or --seed K ... alone.")
    return list(dict.fromkeys(replace(shape, seed=number) for number in numbers for shape in shapes))


def check_writable(folder: Path, option: str) -> None:
    """Raise `MeasureError` unless files can be written in `folder`, which is made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise MeasureError(f"{option} {folder}: {error.strerror}; give a folder that can be written.") from error


@dataclass(frozen=True)
class Trained:
    """Where the weights of a finished run are: a rung's folder with its card."""

    folder: Path

    @property
    def card(self) -> dict[str, Any]:
        return catalog.read_card(self.folder)

    @property
    def rung(self) -> Rung:
        return Rung(**self.card["rung"])

    @property
    def recipe_sha256(self) -> str:
        return seeds.recipe_hash(self.card["rung"], self.card["recipe"], self.card["corpus"])

    @property
    def has_weights(self) -> bool:
        """Whether its first and last weights are here; an installed package has the cards of rungs left out too."""
        told = {entry["revision"] for entry in self.card["revisions"]}
        return all((self.folder / name).is_dir() for name in {START, "main"} & told)

    def revision(self, name: str) -> dict[str, Any] | None:
        """What the card says of a revision, None if it has it not."""
        return next((entry for entry in self.card["revisions"] if entry["revision"] == name), None)


def in_folder(folder: Path) -> list[Trained]:
    """The finished runs in `folder`, smallest rung first, seed by seed."""
    found = [Trained(path.parent) for path in folder.glob("*/card.json")]
    found = [run for run in found if run.rung.name == run.folder.name and run.has_weights]
    return sorted(found, key=lambda run: (run.card["parameters"], run.rung.family, run.rung.seed))


def at_hand(weights: Path, names: Sequence[str] | None, numbers: Sequence[int] | None) -> list[Trained]:
    """The finished runs, shipped or in `weights`, of the rungs and seeds asked for; None asks for all.

    Raises `MeasureError` where there are none, or not all of those that are asked for by rung and seed.
    """
    found = {run.rung: run for run in (*in_folder(catalog.LADDER), *in_folder(weights))}
    every = sorted(found, key=lambda each: (each.blocks, each.family, each.seed))
    asked = chosen(names or list(dict.fromkeys(replace(each, seed=0).name for each in every)), numbers or [0])
    shapes = {replace(each, seed=0) for each in asked}
    wanted = [each for each in every if replace(each, seed=0) in shapes and (numbers is None or each.seed in numbers)]
    missing = [each.name for each in asked if each not in found] if names and numbers else []
    if missing or not wanted:
        raise MeasureError(
            f"no weights of {missing[0] if missing else 'these rungs and seeds'} come with the package or are in "
            f"{weights}; train them first, with --corpus and --heldout."
        )
    return [found[each] for each in wanted]


def put_tokenizer(weights: Path) -> None:
    """Lay the ladder's tokenizer beside the rungs in `weights`: prompts are the same only through the same tokenizer.

    Raises `MeasureError` where another one lies there.
    """
    shipped, own = catalog.LADDER / "tokenizer", weights / "tokenizer"
    if not own.exists():
        # A kill in the middle must not leave half a tokenizer.
        with tempfile.TemporaryDirectory(dir=weights) as place:
            os.replace(shutil.copytree(shipped, Path(place) / "tokenizer"), own)
    elif any((own / path.name).read_bytes() != path.read_bytes() for path in shipped.iterdir()):
        raise MeasureError(f"{own} is not the ladder's tokenizer; give another folder with --weights.")


@dataclass(frozen=True)
class Training:
    """What all seeds have in common: recipe and texts, and where weights are kept."""

    recipe: Recipe
    text: Text
    heldout: Text
    weights: Path
    say: Say

    def recipe_sha256(self, rung: Rung) -> str:
        """The `recipe_hash` that a run of `rung` has."""
        corpus = {"sha256": self.text.sha256, "tokens": len(self.text.ids)}
        return seeds.recipe_hash(asdict(rung), self.recipe.as_dict(), corpus)

    def finished(self, rung: Rung) -> Trained | None:
        """The weights of this very run where they are at hand: shipped, or trained before."""
        for place in (catalog.LADDER, self.weights):
            run = Trained(place / rung.name)
            has = (run.folder / "card.json").exists() and run.has_weights
            if has and run.recipe_sha256 == self.recipe_sha256(rung):
                return run
        return None

    def train(self, rung: Rung, pace: Pace) -> Trained:
        """Train one run to its end, or go on where it was killed; only its first and last weights are kept."""
        folder = self.weights / rung.name
        self._make_room(rung, folder)
        train.train(rung, self.recipe, self.text, folder, progress=False, tell=pace.watch(rung))
        card.write_card(rung, self.recipe, self.text, self.heldout, folder)
        train.forget_state(folder)
        return Trained(folder)

    def _make_room(self, rung: Rung, folder: Path) -> None:
        """Move weights of another recipe aside: nothing that took hours is deleted."""
        began = train.unfinished(folder)
        is_other = began is not None and began != train.identity(rung, self.recipe, self.text)
        # A card without the recipe looked for: else the run would be `finished`.
        if is_other or (began is None and (folder / "card.json").exists()):
            aside = next(a for n in range(1, 1000) if not (a := folder.with_name(f"{rung.name}.other{n}")).exists())
            os.replace(folder, aside)
            self.say(f"{rung.name}: weights of another recipe or corpus, now in {aside}; trained again")


def reason_to_make(path: Path, recipe_sha256: str) -> str | None:
    """Why the file of a run is to be made; None where it is whole, of the same recipe, and has every metric."""
    if not path.exists():
        return "not there yet"
    try:
        kept = seeds.read(path)
    except MeasureError as error:
        return f"made again: {error}"
    if kept.recipe_sha256 != recipe_sha256:
        return f"made again: kept of recipe {kept.recipe_sha256[:12]}, and this is {recipe_sha256[:12]}"
    return None if set(METRICS) <= set(kept.metrics) else "made again: metrics have been added since"


def train_seeds(rungs: Iterable[Rung], training: Training, out: Path | None, measure: Measure) -> None:
    """Train what is not at hand and, unless `out` is None, keep there what is measured on each run."""
    pending = []
    for each in rungs:
        why = _why(each, training, out)
        training.say(f"{each.name}: {why or 'kept already'}")
        pending += [each] if why else []
    missing = [each for each in pending if training.finished(each) is None]
    if missing:
        train.check_enough(training.recipe, training.text)
        train.check_heldout(training.heldout, training.recipe.sequence)
    pace = Pace.over(missing, training.recipe.steps, training.say)
    for each in pending:
        run = training.finished(each) or training.train(each, pace)
        training.say(f"{each.name}: weights in {run.folder}")
        if out is not None:
            keep(run, out, measure, training.say)


def _why(rung: Rung, training: Training, out: Path | None) -> str | None:
    if out is not None:
        path = out / seeds.filename(rung.family, rung.size, rung.seed)
        return reason_to_make(path, training.recipe_sha256(rung))
    return "to train" if training.finished(rung) is None else None


def keep(run: Trained, out: Path, measure: Measure, say: Say) -> None:
    """Measure a finished run before and after training, and write its file in `out`."""
    made = record(run, measure)
    path = out / made.filename
    write_atomically(path, seeds.content(made))
    say(f"{run.rung.name}: measured, {path}")


def record(run: Trained, measure: Measure) -> SeedRun:
    """What is kept of a finished run. Raises `MeasureError` where its weights are not as its card says."""
    told, main = run.card, run.revision("main")
    assert main is not None
    with _start_of(run) as start:
        folders = {"untrained": start, "trained": run.folder / "main"}
        hashes = {state: hash_file(folder / "model.safetensors") for state, folder in folders.items()}
        if hashes["trained"] != main["sha256"]:
            raise MeasureError(f"{folders['trained']}: the weights are not those that card.json was written for.")
        curves = {state: measure(str(folder)) for state, folder in folders.items()}
    known = curves["trained"].provenance
    return SeedRun(
        format=seeds.FORMAT,
        rung={name: value for name, value in told["rung"].items() if name != "seed"},
        seed=told["rung"]["seed"],
        recipe={name: value for name, value in told["recipe"].items() if name != "revisions"},
        corpus=told["corpus"],
        recipe_sha256=run.recipe_sha256,
        heldout={**told["heldout"], **main["heldout"]},
        spec={name: value for name, value in known["spec"].items() if name != "model"},
        prompts_sha256=known["prompts_sha256"],
        versions={name: str(known[name]) for name in VERSIONS},
        **{state: summarized(curves[state], hashes[state]) for state in folders},
    )


@contextmanager
def _start_of(run: Trained) -> Iterator[Path]:
    """The folder of a run's untrained weights: those kept, or made again from its seed."""
    if run.revision(START):
        yield run.folder / START
        return
    tokenizer = catalog.LADDER / "tokenizer"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / START
        train.save_revision(train.build(run.rung, train.end_token(tokenizer)), folder)
        shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
        yield folder


def summarized(curves: Curves, weights_sha256: str) -> Checkpoint:
    """What is kept of the curves of one set of weights."""
    ends = curves.unit_ends
    beyond = {name: curves.by_unit(name) - curves.null.by_unit(name) for name in METRICS}
    return Checkpoint(
        weights_sha256=weights_sha256,
        quartiles=tuple(tuple(row) for row in curves.quartiles().round(QUARTILE_DIGITS).tolist()),
        curve={name: curves.interval(name) for name in METRICS},
        null={name: curves.null.interval(name) for name in METRICS},
        beyond_null={name: stats.median_interval(values, ends=ends) for name, values in beyond.items()},
    )


def _cost(rung: Rung) -> float:
    """What a step takes, in multiplications per token, up to a factor that is the same for every rung."""
    shape = catalog.Shape(
        rung.width, rung.blocks, rung.heads, rung.key_value_heads, rung.intermediate, VOCABULARY, tied=True
    )
    return float(shape.parameters(rung.family))


def spoken(seconds: float) -> str:
    """A duration as one says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass
class Pace:
    """Says every some seconds how far training is and what is left of it."""

    steps: int
    waiting: float
    say: Say
    clock: Callable[[], float] = time.monotonic
    every: float = field(default_factory=lambda: EVERY)
    done: float = 0.0
    began: float | None = None
    said: float = 0.0

    @classmethod
    def over(cls, rungs: Sequence[Rung], steps: int, say: Say) -> Pace:
        """The pace over all runs to be trained; `waiting` is what the runs not begun will take."""
        return cls(steps, sum(_cost(each) for each in rungs) * steps, say)

    def watch(self, rung: Rung) -> Callable[[int, float], None]:
        """Begin a run: returns what is to be told its step and loss."""
        cost = _cost(rung)
        self.waiting -= cost * self.steps
        if self.began is None:
            self.began = self.said = self.clock()

        def tell(step: int, loss: float) -> None:
            self.done += cost
            now = self.clock()
            if now - self.said >= self.every or step == self.steps:
                self.said = now
                self.say(f"{rung.name}: step {step} of {self.steps}, loss {loss:.3f}, {self._left(cost, step, now)}")

        return tell

    def _left(self, cost: float, step: int, now: float) -> str:
        assert self.began is not None
        rate = self.done / max(now - self.began, 1e-9)
        own = (self.steps - step) * cost
        left, left_of_all = spoken(own / rate), spoken((own + self.waiting) / rate)
        return f"{rate / cost:.1f} steps/s; about {left} left of it, {left_of_all} of all"
