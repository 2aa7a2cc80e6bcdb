"""Pairs of prompts that somebody wrote: the paper's own, the word pairs of this package, or those of a file.

Under the suites they stand in the place of pairs drawn from a corpus, all of them, in their order. Such pairs are held
by this process under a name that tells what they hold, `pairs-from-FILE-HASH`: a spec's corpus.
"""

from __future__ import annotations

import hashlib
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from measure import kinds
from measure.base import places
from measure.kinds import OfPairs
from measure.prompts import contexts, text_files
from measure.prompts import drawn as prompts
from measure.prompts.drawn import Corpus, Pairs
from measure.spec import AnySpec, MeasureError

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
        if half := text_files.half_character(text):
            raise MeasureError(f"{what}: {name} of row {row} {half}; write whole characters there, or drop the row.")
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


def check_differ(a: Sequence[str], b: Sequence[str], source: str | None = None) -> None:
    """Raise `MeasureError` where A and B are one prompt in every pair, of a file or of those given."""
    if all(one == other for one, other in zip(a, b, strict=True)):
        where = "" if source is None else f"pairs from {source!r}: in every row "
        raise MeasureError(f"{where}A and B are one prompt; give pairs that differ.")


# Under the suites

# Pairs that a run was given, by the name that stands for them in its specs.
_HELD: dict[str, WrittenPairs] = {}
_TRIPLES = "triples of prompts"
# What of a spec's prompts no pairs can stand for, and what it then takes.
_TAKES = {
    "same_last_token": "pairs drawn so that both end on the same token",
    "similar": "the word pairs of this package",
    "dissimilar": "the word pairs of this package",
    "printed_similar": "the paper's printed pairs",
    "printed_dissimilar": "the paper's printed pairs",
}


def hold(source: str) -> str:
    """Keep the pairs of `source` for the specs of this process; returns the corpus that stands for them.

    Pairs of other content have another name, wherever their file lies. Raises `MeasureError` as `pairs` does, and where
    no pair has two prompts.
    """
    found = pairs(source)
    check_differ(found.a, found.b, source)
    # Neither folders nor what cannot stand in the name of a file.
    called = re.sub(r"[^\w.+-]+", "-", Path(source).name)[-40:]
    name = f"pairs-from-{called}-{_hash(found)[:8]}"
    _HELD[name] = found
    return name


def is_held(corpus: str) -> bool:
    """Whether a spec's corpus stands for pairs that this process was given."""
    return corpus in _HELD


def held(corpus: str) -> WrittenPairs:
    """The pairs that a corpus stands for."""
    return _HELD[corpus]


def _hash(written: WrittenPairs) -> str:
    digest = hashlib.sha256()
    for text in _in_turn(written):
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()


def _in_turn(written: WrittenPairs) -> tuple[str, ...]:
    return tuple(text for pair in zip(written.a, written.b, strict=True) for text in pair)


def corpus(name: str) -> Corpus:
    """Pairs that are held as what a spec's prompts come from: A and B of each in turn."""
    return Corpus(name, _in_turn(_HELD[name]), _hash(_HELD[name]))


@cache
def source_hash() -> str:
    """sha256 of this module, which says which pairs are independent: results on one's own pairs are kept under it."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def lacking(spec: AnySpec) -> str | None:
    """What a spec takes in the place of pairs that could be anyone's; None for one that draws random pairs."""
    if kinds.takes_triples(spec):
        return _TRIPLES
    return _TAKES.get(spec.pairing) if kinds.takes_pairs(spec) else "the dimensions of models, and no prompts"


def all_lack(specs: Sequence[AnySpec]) -> str | None:
    """What a test with these specs takes in the place of such pairs; None where it draws random ones, or has no spec.

    Pairs that are written may stand beside random ones, as they are; triples are drawn.
    """
    found = [lacking(spec) for spec in specs]
    if not found or (None in found and _TRIPLES not in found):
        return None
    return next(what for what in found if what is not None and (None not in found or what == _TRIPLES))


def drawn(spec: OfPairs, corpus: Corpus, tokenizer: Any) -> Pairs:
    """Every pair of a corpus of pairs, in its order; under protocol `strict` all in both directions, BOS by convention.

    Raises `MeasureError` where this tokenizer takes the two prompts of every pair for one.
    """
    bos = spec.pairing == "random_with_bos" or (spec.protocol == "strict" and prompts.conventional_bos(tokenizer))
    ids = prompts.tokenize(tokenizer, corpus.texts, bos=bos)
    a, b = ids[0::2], ids[1::2]
    units = independent(a, b, spec.seed)
    if max(units) < 0:
        raise MeasureError(f"{corpus.name}: for this tokenizer A and B of every pair are one prompt; give others.")
    found = Pairs(a, b, units) if spec.protocol == "paper" else Pairs(a + b, b + a, units * 2)
    other = spec.pairing in contexts.KINDS
    return prompts.in_contexts(found, tokenizer, spec.seed, spec.pairing) if other else found


def independent(a: tuple[Any, ...], b: tuple[Any, ...], seed: int = 0) -> tuple[int, ...]:
    """Number pairs of which no two share a prompt, in their order; -1 for the others, and for a prompt with itself.

    Which of several pairs that share a prompt is the one is drawn by lot: the first of them may be of one kind.
    """
    order = np.random.default_rng(seed).permutation(len(a))
    found = prompts.independent_units([a[place] for place in order], [b[place] for place in order])
    kept = {int(place) for place, unit in zip(order, found, strict=True) if unit >= 0}
    numbers = {place: number for number, place in enumerate(sorted(kept))}
    return tuple(numbers.get(place, -1) for place in range(len(a)))


def rows(spec: OfPairs) -> int:
    """How many rows are measured for a spec of pairs that are held, before a tokenizer has seen them."""
    written = _HELD[spec.corpus]
    alone = spec.rows == "independent" or kinds.of(spec).independent
    count = max(independent(written.a, written.b, spec.seed)) + 1 if alone else len(written)
    return count if spec.protocol == "paper" else 2 * count


def tokens(name: str) -> int:
    """About how many tokens a prompt of pairs that are held has: four letters are one, as in most English texts."""
    texts = _in_turn(_HELD[name])
    return max(2, round(sum(map(len, texts)) / len(texts) / 4))


def described(name: str, seed: int = 0) -> list[str]:
    """What a run of a seed is told of the pairs it was given: how many are independent, what is easily overlooked."""
    written = _HELD[name]
    units = independent(written.a, written.b, seed)
    count, free = len(units), max(units) + 1
    lines = [
        f"{count} pair{'s' * (count != 1)} of prompts from {name.removeprefix('pairs-from-')}, {_units(count, free)}"
    ]
    same = [str(row) for row, (a, b) in enumerate(zip(written.a, written.b, strict=True), 1) if a == b]
    if same:
        lines.append(f"in row {', '.join(same)} A and B are one prompt, which has no curve: left out of every verdict")
    open_ended = sum(text[:1].isalnum() for text in _in_turn(written))
    if open_ended:
        lines.append(
            f"{open_ended} of {2 * count} prompts begin without a blank: to most tokenizers their first word is "
            'another token than within a text; the paper\'s prompts begin with one (" The house"). Measured as given'
        )
    return lines


def _units(count: int, free: int) -> str:
    if free == count:
        return "no two with a prompt in common: each is an independent unit"
    return (
        f"{free} of them without a prompt in common: the independent units of every verdict (which of those that share "
        "one is drawn by lot, see --seed)"
    )
