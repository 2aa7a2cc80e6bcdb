"""Pairs of prompts that somebody wrote: the paper's own, the word pairs of this package, or those of a file."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from measure import places, prompts, text_files
from measure.spec import MeasureError

SETS = ("printed", "words")


@dataclass(frozen=True)
class WrittenPairs:
    """Prompts A and B of every pair as text, and what each pair is called."""

    a: tuple[str, ...]
    b: tuple[str, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.a)


def pairs(source: str | Path) -> WrittenPairs:
    """Pairs of prompts as text: `printed`, `words`, or of a CSV, JSON or parquet file with columns a, b (and label).

    `printed` are the paper's D1 to D3 and S1 to S3 (its Appendix B). `words` are prefixes of this package, each with a
    word in place of which stand a similar and a dissimilar one, labelled `similar 1`, `dissimilar 1`, `similar 2`, ...
    Rows of a file without labels are numbered.
    Raises `MeasureError` for a source that is not there, other columns, and cells that are no text.
    """
    place = places.at(str(source))
    if place is None and source in SETS:
        return _printed() if source == "printed" else _words()
    if place is None or place.is_dir() or text_files.kind(place) is None:
        what = "there is nothing of that name" if place is None else "that is no file of pairs"
        raise MeasureError(
            f"pairs from {str(source)!r}: {what}; expected {' or '.join(SETS)}, or a file that ends in "
            f"{', '.join(text_files.ENDINGS)}."
        )
    return _of_file(place)


def _of_file(path: Path) -> WrittenPairs:
    what = f"pairs from {path.name!r}"
    tables = {name: text_files.read_table(what, path, column=name) for name in ("a", "b", "label")}
    columns = tables["a"].columns
    if missing := [name for name in ("a", "b") if tables[name].texts is None]:
        found = f"columns {', '.join(columns)}" if columns else "no columns"
        raise MeasureError(
            f"{what}: it has {found} and no {' and no '.join(missing)}; name the two columns of prompts a and b."
        )
    a, b = (_texts(what, name, tables[name]) for name in ("a", "b"))
    if not a:
        raise MeasureError(f"{what}: it holds no row below its header; give at least one pair.")
    given = tables["label"].texts
    labels = [str(number) if label is None else str(label) for number, label in enumerate(given or [None] * len(a), 1)]
    return WrittenPairs(a, b, tuple(labels))


def _texts(what: str, name: str, table: text_files.Table) -> tuple[str, ...]:
    for row, text in enumerate(table.texts or (), 1):
        if not isinstance(text, str) or not text:
            found = "empty" if text in ("", None) else f"{reprlib.repr(text)}, no text"
            raise MeasureError(f"{what}: {name} of row {row} is {found}; write a prompt there, or drop the row.")
    return tuple(table.texts or ())


@cache
def _printed() -> WrittenPairs:
    rows = prompts.written_rows(prompts.PRINTED)
    return WrittenPairs(
        tuple(row["prefix"] + row["a"] for row in rows),
        tuple(row["prefix"] + row["b"] for row in rows),
        tuple(row["name"] for row in rows),
    )


@cache
def _words() -> WrittenPairs:
    found = [
        (row["prefix"] + row["word"], row["prefix"] + row[kind], f"{kind} {number}")
        for number, row in enumerate(prompts.written_rows(prompts.WORDS), 1)
        for kind in ("similar", "dissimilar")
    ]
    a, b, labels = zip(*found, strict=True)
    return WrittenPairs(a, b, labels)
