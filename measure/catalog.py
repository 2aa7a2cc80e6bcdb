"""Which models exist: families, sizes, hub ids, training revisions, ladder rungs. No torch, no network."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from measure.spec import MeasureError

LADDER = Path(__file__).parent / "ladder" / "weights"

Source = Literal["ladder", "hub", "folder"]


@dataclass(frozen=True)
class Shape:
    """The dimensions of a decoder, as in the paper's Table 1 (corrected where the real configs differ)."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int
    tied: bool

    def parameters(self, family: str) -> int:
        """Parameters counted from the dimensions: OLMo has neither biases nor norm scales, Qwen2 has both."""
        keys = 2 * self.hidden * self.key_value_heads // self.heads
        block = self.hidden * (2 * self.hidden + keys) + 3 * self.hidden * self.intermediate
        norms = 0
        if family == "qwen2":
            block += self.hidden + keys + 2 * self.hidden
            norms = self.hidden
        return self.layers * block + norms + self.vocabulary * self.hidden * (1 if self.tied else 2)


@dataclass(frozen=True)
class Model:
    """One model of the catalog. `revisions` run from untrained to `main`, the fully trained one.

    Models that differ in `seed` alone were trained on one recipe from different random seeds.
    """

    name: str
    family: str
    source: Source
    location: str
    shape: Shape
    revisions: tuple[str, ...]
    seed: int = 0

    @property
    def parameters(self) -> int:
        """Parameters, counted from the dimensions."""
        return self.shape.parameters(self.family)

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return self.shape.layers


@dataclass(frozen=True)
class Reference:
    """Where a model's weights are: `location` is a folder or a hub id, `model` its catalog entry if it has one."""

    name: str
    revision: str
    source: Source
    location: str
    model: Model | None = None


_OLMO_1B = ("step0-tokens0B", "step2000-tokens4B", "step5000-tokens10B", "step15000-tokens31B", "main")
# Of the 7B's training branches only these two are certain; the others are to be read from the hub's refs.
_OLMO_7B = ("step0-tokens0B", "main")
_HUB: tuple[tuple[str, str, str, Shape, tuple[str, ...]], ...] = (
    ("olmo-1b", "olmo", "allenai/OLMo-1B-0724-hf", Shape(2048, 16, 16, 16, 8192, 50304, False), _OLMO_1B),
    ("olmo-7b", "olmo", "allenai/OLMo-7B-0724-hf", Shape(4096, 32, 32, 32, 11008, 50304, False), _OLMO_7B),
    ("qwen2-0.5b", "qwen2", "Qwen/Qwen2-0.5B", Shape(896, 24, 14, 2, 4864, 151936, True), ("main",)),
    ("qwen2-1.5b", "qwen2", "Qwen/Qwen2-1.5B", Shape(1536, 28, 12, 2, 8960, 151936, True), ("main",)),
    ("qwen2-7b", "qwen2", "Qwen/Qwen2-7B", Shape(3584, 28, 28, 4, 18944, 152064, False), ("main",)),
)  # fmt: skip


def read_card(folder: Path) -> dict[str, Any]:
    """The machine-readable model card of a rung. Raises `MeasureError` when it cannot be read."""
    path = folder / "card.json"
    try:
        card: dict[str, Any] = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise MeasureError(
            f"{path} cannot be read ({error}); restore it, or make it again with `measure ladder card`."
        ) from error
    return card


def _rung_shape(card: dict[str, Any]) -> Shape:
    """A rung's dimensions by its card; every rung ties its embeddings."""
    rung = card["rung"]
    return Shape(
        hidden=rung["width"],
        layers=rung["blocks"],
        heads=rung["heads"],
        key_value_heads=rung["key_value_heads"],
        intermediate=rung["intermediate"],
        vocabulary=(card["parameters"] - card["non_embedding_parameters"]) // rung["width"],
        tied=True,
    )


def _ladder_model(folder: Path) -> Model:
    card = read_card(folder)
    return Model(
        name=folder.name,
        family=card["rung"]["family"],
        source="ladder",
        location=str(folder),
        shape=_rung_shape(card),
        revisions=tuple(revision["revision"] for revision in card["revisions"]),
        seed=card["rung"]["seed"],
    )


@cache
def models() -> Mapping[str, Model]:
    """Every catalogued model by name, the ladder's first."""
    rungs = [_ladder_model(path.parent) for path in LADDER.glob("*/card.json")]
    rungs.sort(key=lambda model: (model.family, model.parameters, model.name))
    hub = [Model(name, family, "hub", hub_id, shape, revisions) for name, family, hub_id, shape, revisions in _HUB]
    return {model.name: model for model in (*rungs, *hub)}


def _folder(name: str, revision: str) -> Reference:
    """A local model; `@revision` names a folder inside it."""
    location = Path(name) / revision
    if not (location / "config.json").is_file():
        inside = ", ".join(sorted(path.parent.name for path in Path(name).glob("*/config.json"))) or "none"
        raise MeasureError(
            f"{location} has no config.json, so it holds no model; models in folders of {name}: {inside} "
            "(write FOLDER@NAME for one of them)."
        )
    return Reference(name, revision or "main", "folder", str(location))


def sizes(family: str, source: Source) -> list[Model]:
    """The models of one family from smallest to largest, one training seed of each."""
    found = [m for m in models().values() if m.family == family and m.source == source and m.seed == 0]
    return sorted(found, key=lambda model: model.parameters)


def seeds(model: Model) -> list[Model]:
    """`model` and the models trained like it from other random seeds."""
    base = model.name.rpartition("-seed")[0] if model.seed else model.name
    return [m for m in models().values() if m.name == base or m.name.rpartition("-seed")[0] == base]


def resolve(text: str) -> Reference:
    """Find the model that `text` names: a catalog name, a folder or a hub id, each with an optional `@revision`.

    Raises `MeasureError` naming the nearest known models or revisions.
    """
    name, _, revision = text.partition("@")
    if model := models().get(name):
        revision = revision or "main"
        # The hub has more training revisions than the paper shows; only the ladder's list is complete.
        if model.source == "ladder" and revision not in model.revisions:
            raise MeasureError(f"{name} has no revision {revision!r}; it has {', '.join(model.revisions)}.")
        location = str(Path(model.location) / revision) if model.source == "ladder" else model.location
        return Reference(name, revision, model.source, location, model)
    if Path(name).is_dir():
        return _folder(name, revision)
    if name.count("/") == 1 and not name.startswith((".", "/")) and not Path(name).exists():
        return Reference(name, revision or "main", "hub", name)
    near = difflib.get_close_matches(name, models(), n=3, cutoff=0.0)
    raise MeasureError(
        f"model {name!r} is unknown. Nearest in the catalog: {', '.join(near)}. "
        "Or give a folder with a config.json, or a hub id such as allenai/OLMo-1B-0724-hf."
    )
