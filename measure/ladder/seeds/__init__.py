"""Seeds of the ladder whose weights are not kept: for each one small file of what was measured on them, and its reader.

Takes no torch. The files are made by `measure ladder seeds` (`ladder.seed_training`); those beside this module come
with the package.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from measure.base import files
from measure.spec import MeasureError
from measure.stats import Interval

FOLDER = Path(__file__).parent
FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """What was measured on one set of weights: 800 pairs of the default draw, after the first layer and final norm.

    `quartiles` (3, steps): pointwise quartiles of r over pairs. By metric, over independent units with its 95 %
    interval: `curve` the median, `null` that of the norm-only null, `beyond_null` that of the differences between the
    two, unit by unit. `weights_sha256` is that of the weights file.
    """

    weights_sha256: str
    quartiles: tuple[tuple[float, ...], ...]
    curve: dict[str, Interval]
    null: dict[str, Interval]
    beyond_null: dict[str, Interval]


@dataclass(frozen=True)
class SeedRun:
    """One training run: a rung, a seed, the recipe, and what was measured before (`untrained`) and after (`trained`).

    `recipe_sha256` covers all that decides the weights but the seed, see `recipe_hash`. `heldout` is the trained
    weights' loss in nats per token, and on what text.
    """

    format: int
    rung: dict[str, Any]
    seed: int
    recipe: dict[str, Any]
    corpus: dict[str, Any]
    recipe_sha256: str
    heldout: dict[str, Any]
    spec: dict[str, Any]
    prompts_sha256: str
    versions: dict[str, str]
    untrained: Checkpoint
    trained: Checkpoint

    @property
    def family(self) -> str:
        return str(self.rung["family"])

    @property
    def size(self) -> str:
        return str(self.rung["size"])

    @property
    def filename(self) -> str:
        return filename(self.family, self.size, self.seed)

    @property
    def heldout_loss(self) -> float:
        """Nats per token, of the trained weights."""
        return float(self.heldout["loss"])

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that are kept."""
        return tuple(self.trained.curve)


def filename(family: str, size: str, seed: int) -> str:
    """Name of a run's file."""
    return f"{family}-{size}-seed{seed}.json"


def recipe_hash(rung: Mapping[str, Any], recipe: Mapping[str, Any], corpus: Mapping[str, Any]) -> str:
    """sha256 of what a training run is but for its seed: shape, recipe, and the text as tokens.

    Takes the parts as a rung's card has them. Which checkpoints are kept (`revisions`) changes no weight, and a
    corpus is what it holds, not its name; the count of its tokens tells a tokenizer from another.
    """
    content = {
        "rung": {name: value for name, value in rung.items() if name != "seed"},
        "recipe": {name: value for name, value in recipe.items() if name != "revisions"},
        "corpus": {name: corpus[name] for name in ("sha256", "tokens")},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load(family: str, size: str, folder: Path = FOLDER) -> tuple[SeedRun, ...]:
    """The runs kept of one rung, by seed; none if there are none. Raises `MeasureError` for a damaged file."""
    runs = [read(path) for path in folder.glob(f"{family}-{size}-seed*.json")]
    return tuple(sorted(runs, key=lambda run: run.seed))


def read(path: Path) -> SeedRun:
    """One run. Raises `MeasureError` when its file cannot be read, is damaged, or is not what its name says."""
    try:
        run = msgspec.convert(_with_nan(files.read_json(path)), SeedRun)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if wrong := _wrong(run, path):
        raise _damaged(path, wrong)
    return run


def _damaged(path: Path, why: str) -> MeasureError:
    return MeasureError(
        f"{path} is no whole file of a training seed ({why}); restore it, or make it again with `measure ladder seeds`."
    )


def _with_nan(value: Any) -> Any:
    """JSON has no NaN: the number that is not there is null in the file."""
    if isinstance(value, dict):
        return {name: _with_nan(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_with_nan(entry) for entry in value]
    return math.nan if value is None else value


def _wrong(run: SeedRun, path: Path) -> str:
    """What in a file contradicts itself; nothing if it is whole."""
    if run.format != FORMAT:
        return f"format {run.format}, this version reads format {FORMAT}"
    missing = [
        name for name, part in (("family", run.rung), ("size", run.rung), ("loss", run.heldout)) if name not in part
    ]
    if missing:
        return f"without {missing[0]}"
    if run.filename != path.name:
        return f"it holds {run.filename}"
    if {"sha256", "tokens"} - run.corpus.keys() or recipe_hash(run.rung, run.recipe, run.corpus) != run.recipe_sha256:
        return "its recipe is not the one that its recipe_sha256 was made of"
    loss = run.heldout["loss"]
    if isinstance(loss, bool) or not isinstance(loss, int | float) or not loss > 0:
        return f"its held-out loss is {loss!r}"
    return _wrong_in(run.untrained, run) or _wrong_in(run.trained, run)


def _wrong_in(checkpoint: Checkpoint, run: SeedRun) -> str:
    points = {len(row) for row in checkpoint.quartiles}
    if len(checkpoint.quartiles) != 3 or [*points] != [run.spec.get("steps")]:
        return f"its quartiles are not 3 x {run.spec.get('steps')} numbers"
    if not np.isfinite(checkpoint.quartiles).all():
        return "its quartiles are not all numbers"
    named = {tuple(part) for part in (checkpoint.curve, checkpoint.null, checkpoint.beyond_null)}
    if named != {run.metrics} or not run.metrics:
        return "its parts have not the same metrics"
    return next((f"its {name} is outside of its own interval" for name, one in _intervals(checkpoint) if _out(one)), "")


def _intervals(checkpoint: Checkpoint) -> list[tuple[str, Interval]]:
    return [pair for part in (checkpoint.curve, checkpoint.null, checkpoint.beyond_null) for pair in part.items()]


def _out(one: Interval) -> bool:
    """Whether an estimate lies outside of its interval; one that is no number lies nowhere."""
    return one.n < 0 or one.estimate < one.low or one.estimate > one.high


def content(run: SeedRun) -> bytes:
    """A run as a file: one line for each part, so that a change can be seen."""
    parts = {field.name: getattr(run, field.name) for field in fields(run)}
    lines = [f"{json.dumps(name)}: {msgspec.json.encode(part).decode()}" for name, part in parts.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
