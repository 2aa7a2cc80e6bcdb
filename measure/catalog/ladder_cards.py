"""The machine-readable card of a ladder's rung: read, and held against itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec

from measure.base import files
from measure.catalog.records import Model, Shape
from measure.spec import MeasureError

# What a loaded rung says of its weights file, held against its card.
AS_THE_CARD_SAYS = "weights as the card says"
NOT_AS_THE_CARD_SAYS = "weights NOT as card.json says"


class _Rung(TypedDict):
    family: Literal["olmo", "qwen2"]
    size: str
    width: int
    blocks: int
    heads: int
    key_value_heads: int
    intermediate: int
    seed: int


class _Recipe(TypedDict):
    sequence: int
    batch: int
    steps: int
    learning_rate: float
    final_learning_rate: float
    warmup: int
    weight_decay: float
    betas: tuple[float, float]
    gradient_clip: float


class _Text(TypedDict):
    name: str
    sha256: str
    tokens: int


class _Heldout(TypedDict):
    loss: float
    standard_error: float
    windows: int


class _Revision(TypedDict):
    revision: str
    step: int
    tokens: int
    heldout: _Heldout
    sha256: str


class _Card(TypedDict):
    rung: _Rung
    parameters: int
    non_embedding_parameters: int
    recipe: _Recipe
    corpus: _Text
    heldout: _Text
    revisions: list[_Revision]


def read_card(folder: Path) -> dict[str, Any]:
    """The machine-readable model card of a rung. Raises `MeasureError` when it cannot be read."""
    path = folder / "card.json"
    try:
        card: dict[str, Any] = files.read_json(path)
        msgspec.convert(card, _Card)
        if wrong := _wrong_in(card):
            raise ValueError(wrong)
    except ValueError as error:
        raise MeasureError(
            f"{path} cannot be read ({error}); restore it, or train the rung anew with `measure ladder train`."
        ) from error
    return card


def _wrong_in(card: dict[str, Any]) -> str:
    """What in a card contradicts itself; nothing if it is whole."""
    rung, recipe, revisions = card["rung"], card["recipe"], card["revisions"]
    names = [entry["revision"] for entry in revisions]
    if names[-1:] != ["main"] or len(set(names)) < len(names):
        return f"its revisions are {', '.join(names) or 'none'}, expected several of which main is the last"
    off = [e for e in revisions if e["tokens"] != e["step"] * recipe["sequence"] * recipe["batch"]]
    if off or revisions[-1]["step"] != recipe["steps"]:
        return f"its revision {(off or revisions[-1:])[0]['revision']} is of another step than its recipe's"
    if min(rung[name] for name in ("width", "blocks", "heads", "key_value_heads", "intermediate")) < 1:
        return "its rung is of no size"
    shape = rung_shape(card)
    if shape.vocabulary < 1 or shape.parameters(rung["family"]) != card["parameters"]:
        return f"its rung has {shape.parameters(rung['family'])} parameters, not {card['parameters']}"
    return ""


def rung_shape(card: dict[str, Any]) -> Shape:
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


def rung_model(folder: Path) -> Model:
    card = read_card(folder)
    return Model(
        name=folder.name,
        family=card["rung"]["family"],
        source="ladder",
        location=str(folder),
        shape=rung_shape(card),
        revisions=tuple(revision["revision"] for revision in card["revisions"]),
        seed=card["rung"]["seed"],
    )
