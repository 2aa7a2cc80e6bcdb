"""What the page asks for: what a request may hold, and how much of it. Measures nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import msgspec

from measure.distances import DISTANCES
from measure.prompts.text_files import half_character
from measure.spec import INTERPOLATIONS, READS, MeasureError, block_of, check_read

# Bytes of a request; a list of pairs to be taken over is the largest.
MOST_BYTES = 4 * 2**20
# Letters and tokens of a prompt: at 512 tokens a curve takes some seconds on two processors.
MOST_LETTERS = 20_000
MOST_TOKENS = 512
MOST_PAIRS = 200
MOST_STEPS = 200
MOST_LABEL = 200
# Cells a side of a slice.
MOST_CELLS = 64

T = TypeVar("T", bound="_Asked")


class OtherModelsError(MeasureError):
    """A page that was told of other models than there are: its numbers would mean others."""


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every request holds: the model, by its number on the command line, and which page asks.

    `served` tells which models the page was told of.
    """

    client: str
    model: int = 0
    served: str = ""


class Tokens(_Asked, frozen=True):
    """Prompts, to be shown as tokens."""

    texts: tuple[str, ...] = ()
    bos: bool = False


class Settings(_Asked, frozen=True):
    """How curves are measured."""

    read: str = "final_norm"
    path: Literal["linear", "slerp", "arc"] = "linear"
    distance: str = "l2"
    steps: int = 50
    bos: bool = False


class Measured(Settings, frozen=True):
    """Curves of some pairs after some layers; `channel` is what of the page waits for them."""

    pairs: tuple[tuple[str, str], ...] = ()
    layers: tuple[int, ...] = ()
    channel: str = "curve"


class Tops(Settings, frozen=True):
    """The most probable next tokens along one pair's way."""

    a: str = ""
    b: str = ""
    layer: int = 1


class Standing(Settings, frozen=True):
    """Random pairs of the package's corpus, to tell where a pair stands among them."""

    layer: int = 1
    count: int = 200


class Plane(_Asked, frozen=True):
    """A slice through three prompts."""

    a: str = ""
    b: str = ""
    c: str = ""
    layer: int = 1
    read: str = "final_norm"
    size: int = 32
    bos: bool = False


class Row(msgspec.Struct, frozen=True):
    """A pair of the page's list."""

    a: str
    b: str
    label: str = ""


class Listed(Settings, frozen=True):
    """The page's list of pairs, to be written as a file of its own."""

    rows: tuple[Row, ...] = ()
    layer: int = 1


class Read(_Asked, frozen=True):
    """A file of pairs that somebody chose, as text."""

    name: str = ""
    text: str = ""


def taken(kind: type[T], content: bytes) -> T:
    """A request, checked. Raises `MeasureError` for what cannot be asked, and says why."""
    try:
        asked = msgspec.convert(json.loads(content), kind)
    except (ValueError, RecursionError) as error:
        raise MeasureError(
            f"the request is none that this page makes ({_short(error)}); load the page again."
        ) from None
    _check(asked)
    return asked


def _short(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__


def _check(asked: Any) -> None:
    if not 0 < len(asked.client) <= 64 or not asked.client.isalnum():
        raise MeasureError("the request does not say which page it comes from; load the page again.")
    if isinstance(asked, Settings):
        _check_settings(asked)
    if isinstance(asked, Tokens):
        _check_count("prompts", len(asked.texts), 8)
        _check_lengths(asked.texts)
    if isinstance(asked, Measured):
        _check_count("pairs", len(asked.pairs), MOST_PAIRS)
        _check_lengths([text for pair in asked.pairs for text in pair])
        _check_count("layers", len(asked.layers), 1000)
        _check_count("letters in its channel", len(asked.channel), 16)
    if isinstance(asked, Plane):
        check_size(asked.size)
        check_read(asked.read)
        if block_of(asked.read) is not None:
            raise MeasureError(f"slices are read at {', '.join(READS)}, not at {asked.read!r}; choose one of them.")
    if isinstance(asked, Tops | Plane):
        _check_lengths([asked.a, asked.b, getattr(asked, "c", "")])
    if isinstance(asked, Standing) and not 1 <= asked.count <= 200:
        raise MeasureError(f"{asked.count} random pairs were asked for; expected 1 to 200.")
    if isinstance(asked, Listed):
        _check_rows(asked.rows)


def _check_settings(asked: Settings) -> None:
    if not 5 <= asked.steps <= MOST_STEPS:
        raise MeasureError(f"{asked.steps} points a curve were asked for; the page takes 5 to {MOST_STEPS}.")
    if asked.path not in INTERPOLATIONS or asked.distance not in DISTANCES:
        raise MeasureError(
            f"found path {asked.path[:40]!r} and distance {asked.distance[:40]!r}; choose one that is listed."
        )
    check_read(asked.read)


def check_size(size: int) -> None:
    """Raise `MeasureError` for a slice of more cells than the page takes."""
    if not 4 <= size <= MOST_CELLS:
        raise MeasureError(f"a slice of {size} cells a side was asked for; the page takes 4 to {MOST_CELLS}.")


def _check_count(what: str, found: int, most: int) -> None:
    if found > most:
        raise MeasureError(f"{found} {what} were asked for at once; the page takes {most}.")


def _check_lengths(texts: Sequence[str]) -> None:
    for text in texts:
        if len(text) > MOST_LETTERS:
            raise MeasureError(
                f"a prompt has {len(text):,} characters; the page takes {MOST_LETTERS:,}. Longer ones can be measured "
                "by measure.interpolate."
            )


def _check_rows(rows: Sequence[Row]) -> None:
    _check_count("pairs", len(rows), MOST_PAIRS)
    if not rows:
        raise MeasureError("the list holds no pair; add at least one.")
    _check_lengths([text for row in rows for text in (row.a, row.b)])
    _check_count("characters of a label", max(len(row.label) for row in rows), MOST_LABEL)
    for number, row in enumerate(rows, 1):
        for name, text in (("A", row.a), ("B", row.b)):
            check_prompt(f"prompt {name} of pair {number}", text)


def check_prompt(name: str, text: str) -> None:
    """Raise `MeasureError` for a prompt that is empty or no whole text."""
    if not text:
        raise MeasureError(f"{name} is empty; write at least one token there.")
    if half := half_character(text):
        raise MeasureError(f"{name} {half}: it was cut within a character; write whole characters there.")
