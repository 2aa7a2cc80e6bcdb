"""Which inputs: corpora, files of token ids, tokenization, seeded sampling of pairs and triples, written pairs."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from measure.base import places
from measure.hub import checkpoints as hub
from measure.prompts import contexts, text_files, token_files
from measure.spec import PROMPT_TOKENS, MeasureError, Pairing, Protocol, check_choice

_HERE = Path(__file__).parents[1] / "corpus"
DEFAULT_CORPUS = _HERE / "prose.jsonl"
# Prefix, word, similar word (interchangeable in its place, of one narrow class: nouns of a kind, adjectives or verbs of
# a kind, antonyms included), dissimilar word (another part of speech; auxiliaries, determiners, pronouns, conjunctions
# and prepositions are classes of their own): all three can stand next in running English. Written by that rule before
# any was measured; five dissimilar words that broke it were replaced afterwards, without regard to their numbers.
WORDS = _HERE / "words.jsonl"
# S1 to S3 and D1 to D3 (paper, Appendix B), exactly as printed.
PRINTED = _HERE / "printed.jsonl"
# Every pairing is here: drawn from a corpus, or written in a file.
DRAWN: tuple[str, ...] = ("random", "random_with_bos", *contexts.KINDS, "same_last_token")
WRITTEN = {"similar": WORDS, "dissimilar": WORDS, "printed_similar": PRINTED, "printed_dissimilar": PRINTED}
# The paper's corpus: the authors kept the first 100 books of the first of 37 shards.
PAPER_CORPUS = "sedthh/gutenberg_english"
PAPER_BOOKS = 100
_FIRST_SHARD = re.compile(r"-0+-of-\d+[^/]*\.parquet$")
# Letters that no tokenizer knows which does not know them all.
_RARE = "\U00013080\ua66e\U00012000"
_LOG = logging.getLogger("measure")

Prompt = tuple[int, ...]


@dataclass(frozen=True)
class Corpus:
    """What prompts come from, and the hash that tells whether it is the same: texts to draw them from, or `rows`.

    `rows` are prompts taken as they stand, in the order of their file; there are then no texts.
    """

    name: str
    texts: tuple[str, ...]
    sha256: str
    rows: tuple[Prompt, ...] = ()


@dataclass(frozen=True)
class Pairs:
    """Prompts A and B of each pair as token ids, and which pairs are independent of each other.

    `units[i]` numbers the independent unit that pair i belongs to; -1 marks a pair left out of inference.
    """

    a: tuple[Prompt, ...]
    b: tuple[Prompt, ...]
    units: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.a)

    @property
    def sha256(self) -> str:
        """Hash of every token id, in order."""
        return _hash((*self.a, *self.b))

    def independent(self) -> Pairs:
        """The pairs that inference uses."""
        rows = [row for row, unit in enumerate(self.units) if unit >= 0]
        a, b = (tuple(side[row] for row in rows) for side in (self.a, self.b))
        return Pairs(a, b, tuple(self.units[row] for row in rows))


@dataclass(frozen=True)
class Triples:
    """Prompts A, B and C of each triple as token ids; no prompt stands in two triples."""

    a: tuple[Prompt, ...]
    b: tuple[Prompt, ...]
    c: tuple[Prompt, ...]

    def __len__(self) -> int:
        return len(self.a)

    @property
    def sha256(self) -> str:
        """Hash of every token id, in order."""
        return _hash((*self.a, *self.b, *self.c))


def _hash(prompts: Sequence[Prompt]) -> str:
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(np.asarray([len(prompt), *prompt], dtype="<i8").tobytes())
    return digest.hexdigest()


# For pairs that come from a file of their own.
NO_CORPUS = Corpus("none", (), hashlib.sha256().hexdigest())


def file_of(pairing: Pairing) -> Path | None:
    """The file of this package that pairs of this kind are written in; None for those drawn from a corpus.

    Raises `MeasureError` for a pairing that is neither.
    """
    check_choice("pairing", pairing, (*DRAWN, *WRITTEN))
    return WRITTEN.get(pairing)


def load_corpus(source: str) -> Corpus:
    """Load texts to draw prompts from, or prompts as token ids.

    `source` is `default` (the prose shipped with this package), a parquet, Arrow, JSON, CSV or TSV file with a TEXT
    column, a glob of such files, a folder of them or one that `save_to_disk` wrote, see `text_files.files_of`, or
    `sedthh/gutenberg_english`, of which the first 100 books are taken as in the paper; or one file of token ids, see
    `token_files.read_token_file`. A single file may be on the hub, see `token_files.hub_file`.
    Raises `MeasureError` when nothing is found, the column is missing or a file is damaged.
    """
    on_hub = token_files.hub_file(source)
    place = _fetched(source, on_hub) if on_hub else places.at(source) or Path(source)
    # Without the folders of this machine.
    name = source if on_hub or "/" not in source or source == PAPER_CORPUS else Path(source).name
    if not places.is_folder(place) and token_files.is_token_file(place):
        rows = token_files.read_token_file(place)
        return Corpus(name, (), _hash(rows), rows)
    texts = _texts(str(place) if on_hub else source)
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return Corpus(name, texts, digest.hexdigest())


def load_texts(source: str) -> Corpus:
    """`load_corpus` for those who need texts. Raises `MeasureError` for a file of token ids."""
    corpus = load_corpus(source)
    if corpus.rows:
        raise MeasureError(f"corpus {source!r} holds token ids; expected texts: files with a TEXT column.")
    return corpus


def _fetched(source: str, file: token_files.HubFile) -> Path:
    endings = sorted({*token_files.TOKEN_ENDINGS, *text_files.ENDINGS})
    if text_files.ending(Path(file.filename)) not in endings:
        raise MeasureError(
            f"corpus {source!r}: files that end in {Path(file.filename).suffix!r} cannot be read; expected one of "
            f"{', '.join(endings)}. Nothing was fetched."
        )
    return hub.fetch_file(file.repo, file.filename, revision=file.revision, kind=file.kind)


def _texts(source: str) -> tuple[str, ...]:
    if source == PAPER_CORPUS:
        shard = hub.fetch_file(PAPER_CORPUS, _paper_shard(), kind="dataset")
        return text_files.read(source, [shard], most=PAPER_BOOKS)
    return text_files.read(source, [DEFAULT_CORPUS] if source == "default" else text_files.files_of(source))


def _paper_shard() -> str:
    """The first of the paper's shards, the only one that its prompts come from."""
    shards = [name for name in hub.file_names(PAPER_CORPUS, kind="dataset") if _FIRST_SHARD.search(name)]
    if not shards:
        raise MeasureError(
            f"{PAPER_CORPUS}: its first shard, *-00000-of-*.parquet, is not there; give another corpus with --corpus."
        )
    return shards[0]


def bytes_to_fetch(source: str) -> int:
    """What `load_corpus` would download, where that can be known. Downloads nothing."""
    if is_at_hand(source):
        return 0
    file = token_files.hub_file(source)
    repo, kind = (file.repo, file.kind) if file else (PAPER_CORPUS, "dataset")
    sizes = hub.file_sizes(repo, revision=file.revision if file else "main", kind=kind)
    return sum(size for name, size in sizes.items() if (name == file.filename if file else _FIRST_SHARD.search(name)))


def is_at_hand(source: str) -> bool:
    """Whether a corpus can be loaded without fetching anything."""
    if source == PAPER_CORPUS:
        return any(map(_FIRST_SHARD.search, hub.cached_files(PAPER_CORPUS, kind="dataset")))
    file = token_files.hub_file(source)
    return file is None or file.filename in hub.cached_files(file.repo, revision=file.revision, kind=file.kind)


def tokenize(tokenizer: Any, prompts: Sequence[str], *, bos: bool = False) -> tuple[Prompt, ...]:
    """Token ids of each string, without special tokens; with `bos`, the tokenizer's BOS in front, where it is not yet.

    Raises `MeasureError` when `bos` is asked of a tokenizer that has none.
    """
    encoded = tokenizer(list(prompts), add_special_tokens=False, verbose=False)["input_ids"]
    if not bos:
        return tuple(tuple(ids) for ids in encoded)
    front = getattr(tokenizer, "bos_token_id", None)
    if front is None:
        raise MeasureError("bos=True, but this tokenizer has no BOS token; leave bos=False.")
    # A chat template has written it into the text already.
    return tuple(tuple(ids) if ids and ids[0] == front else (front, *ids) for ids in encoded)


def unknown_token(tokenizer: Any) -> tuple[str, int] | None:
    """The token that stands for whatever a tokenizer does not know, and its id; None without one of its own."""
    token, number = (getattr(tokenizer, name, None) for name in ("unk_token", "unk_token_id"))
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if number is None and backend is not None:
        # Made of a tokenizer that nobody told its special tokens.
        token = getattr(backend.model, "unk_token", None)
        number = backend.token_to_id(token) if token else None
    # Those of bytes know everything, and their token has another use.
    if number is None or number not in tokenize(tokenizer, [_RARE])[0]:
        return None
    return str(token), number


def conventional_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer itself puts a BOS in front of a text."""
    ids = tokenizer("a", add_special_tokens=True)["input_ids"]
    return tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id


def independent_units(a: Sequence[Hashable], b: Sequence[Hashable]) -> tuple[int, ...]:
    """Number the pairs that share no prompt with an earlier numbered pair; -1 for those that do.

    And for a prompt with itself, which has no curve: its prompt is left for the pairs that have one.
    """
    seen: set[Hashable] = set()
    units: list[int] = []
    count = 0
    for pair in zip(a, b, strict=True):
        if pair[0] == pair[1] or seen.intersection(pair):
            units.append(-1)
            continue
        seen.update(pair)
        units.append(count)
        count += 1
    return tuple(units)


def check_rows(
    rows: Sequence[Prompt], vocabulary: int, context: int | None, name: str, model: str = "the model"
) -> None:
    """Raise `MeasureError` unless `model` can run every row; `name` is what the rows are called.

    Token ids must be below `vocabulary`; lengths, where the model tells its `context`, not above that.
    """
    for number, row in enumerate(rows):
        wrong = [token for token in row if not 0 <= token < vocabulary]
        if wrong:
            raise MeasureError(
                f"{name}[{number}] has token id {wrong[0]}; {model} knows ids 0 to {vocabulary - 1}, a vocabulary of "
                f"{vocabulary:,}. Was it tokenized for another model?"
            )
        if context is not None and len(row) > context:
            raise MeasureError(
                f"{name}[{number}] has {len(row)} tokens; the context of {model} is {context}. Shorten it."
            )


def windows(corpus: Corpus, tokenizer: Any, count: int, seed: int) -> tuple[Prompt, ...]:
    """`count` windows of 10 content tokens, drawn anywhere in the texts (line breaks included) without overlap.

    Of a corpus of `rows` the first `count`, whatever their lengths; nothing is drawn, so `seed` makes no difference.
    Raises `MeasureError` when the corpus is too short to hold that many.
    """
    if corpus.rows:
        return _first_rows(corpus, count)
    texts = [np.asarray(ids, dtype=np.int64) for ids in tokenize(tokenizer, corpus.texts)]
    rows = np.concatenate(texts) if texts else np.empty(0, int)
    ends = np.cumsum([len(text) for text in texts])
    starts = np.concatenate(
        [np.arange(end - len(text), end - PROMPT_TOKENS + 1) for text, end in zip(texts, ends, strict=True)]
    )
    # Over a letter that the tokenizer does not know no prompt is drawn.
    unknown = unknown_token(tokenizer)
    taken = np.zeros(len(rows), dtype=bool) if unknown is None else rows == unknown[1]
    lost = f", {taken.sum():,} of which the tokenizer does not know" if taken.any() else ""
    if lost:
        _LOG.info("%s: %d of %d tokens are unknown to the tokenizer and left out", corpus.name, taken.sum(), len(rows))
    drawn: list[Prompt] = []
    for start in np.random.default_rng(seed).permutation(starts):
        if len(drawn) == count:
            break
        window = slice(start, start + PROMPT_TOKENS)
        if not taken[window].any():
            taken[window] = True
            drawn.append(tuple(rows[window].tolist()))
    if len(drawn) < count:
        raise MeasureError(
            f"corpus {corpus.name!r} is too short: {count:,} prompts of {PROMPT_TOKENS} tokens were asked for, and "
            f"{len(drawn):,} fit into its {len(rows):,} tokens{lost} without overlap. Use a longer corpus or fewer "
            "pairs."
        )
    return tuple(drawn)


def _first_rows(corpus: Corpus, count: int) -> tuple[Prompt, ...]:
    held = len(corpus.rows)
    if held < count:
        # Chained, one prompt more than pairs is needed.
        fits = f", or ask for fewer: --pairs {held - 1} fits" if held > 2 else ""
        raise MeasureError(
            f"corpus {corpus.name!r} is too short: {count:,} prompts were asked for, and it holds {held:,}. "
            f"Use a longer file{fits}."
        )
    return corpus.rows[:count]


def _each_once(corpus: Corpus) -> Corpus:
    """Where no prompt may stand in two pairs or triples, a row that a file repeats is taken once."""
    rows = tuple(dict.fromkeys(corpus.rows))
    if len(rows) == len(corpus.rows):
        return corpus
    return replace(corpus, rows=rows, name=f"{corpus.name} without its repeated rows")


def draw(
    corpus: Corpus, tokenizer: Any, protocol: Protocol, pairs: int, seed: int, pairing: Pairing = "random"
) -> Pairs:
    """Draw `pairs` pairs of prompts; see `CurveSpec` for what `pairing` may be.

    `paper`: chained, prompt i with prompt i + 1, no BOS; every second pair is an independent unit, unless one before it
    holds the same prompt.
    `strict`: pairs // 2 disjoint pairs, first all in the direction A to B and then all in B to A, BOS where the
    tokenizer's own convention has it. Both protocols so rest on pairs // 2 independent units.
    Pairs that share their last token are disjoint under `paper` too; pairs from a file are taken in both directions.
    Of a corpus of `rows`, disjoint pairs take a repeated row once, and `strict` pairs row i with row i + pairs // 2.
    Other contexts are given to the prompts of `random`, so that rows and units are the same.
    """
    if pairing in contexts.KINDS:
        return in_contexts(draw(corpus, tokenizer, protocol, pairs, seed), tokenizer, seed, pairing)
    half = pairs // 2
    if file_of(pairing):
        return _both_ways(*_with_bos(written(tokenizer, pairing), tokenizer, protocol))
    if pairing == "same_last_token":
        first, second = _with_bos(_same_last_token(corpus, tokenizer, half, seed), tokenizer, protocol)
        return Pairs(first, second, tuple(range(half))) if protocol == "paper" else _both_ways(first, second)
    if protocol == "paper":
        drawn = windows(corpus, tokenizer, pairs + 1, seed)
        if pairing == "random_with_bos":
            drawn = _behind_bos(drawn, tokenizer)
        units = [-1] * pairs
        kept = slice(0, 2 * half, 2)
        units[kept] = independent_units(drawn[:-1][kept], drawn[1:][kept])
        return Pairs(drawn[:-1], drawn[1:], tuple(units))
    drawn = windows(_each_once(corpus), tokenizer, 2 * half, seed)
    if pairing == "random_with_bos":
        drawn = _behind_bos(drawn, tokenizer)
    return _both_ways(*_with_bos((drawn[:half], drawn[half:]), tokenizer, protocol))


def in_contexts(drawn: Pairs, tokenizer: Any, seed: int, pairing: Pairing) -> Pairs:
    """The same last tokens, row by row, in other contexts; see `contexts`. Units stay, though prompts may repeat."""
    every = tuple(dict.fromkeys((*drawn.a, *drawn.b)))
    stands_for = contexts.changed(pairing, every, getattr(tokenizer, "bos_token_id", None), seed)
    a, b = (tuple(stands_for[prompt] for prompt in side) for side in (drawn.a, drawn.b))
    return Pairs(a, b, drawn.units)


def draw_triples(corpus: Corpus, tokenizer: Any, protocol: Protocol, triples: int, seed: int) -> Triples:
    """Draw `triples` triples of disjoint windows, one after the other; BOS under `strict` by convention."""
    drawn = windows(_each_once(corpus), tokenizer, 3 * triples, seed)
    return Triples(*_with_bos((drawn[0::3], drawn[1::3], drawn[2::3]), tokenizer, protocol))


_Side = tuple[Prompt, ...]


def _both_ways(first: _Side, second: _Side) -> Pairs:
    return Pairs(first + second, second + first, tuple(range(len(first))) * 2)


def _with_bos(sides: tuple[_Side, ...], tokenizer: Any, protocol: Protocol) -> tuple[_Side, ...]:
    """Every prompt behind one BOS where protocol `strict` and the tokenizer's own convention have it."""
    if protocol == "paper" or not conventional_bos(tokenizer):
        return sides
    return tuple(_behind_bos(side, tokenizer) for side in sides)


def _behind_bos(side: _Side, tokenizer: Any) -> _Side:
    bos = tokenizer.bos_token_id
    if bos is None:
        raise MeasureError("pairing='random_with_bos', but this tokenizer has no BOS token; use 'random'.")
    return tuple(prompt if prompt[0] == bos else (bos, *prompt) for prompt in side)


def _same_last_token(corpus: Corpus, tokenizer: Any, pairs: int, seed: int) -> tuple[_Side, _Side]:
    """Disjoint pairs of prompts that end on the same token, in the order in which windows are drawn or rows stand."""
    waiting: dict[int, Prompt] = {}
    found: list[tuple[Prompt, Prompt]] = []
    drawn = _each_once(corpus).rows or windows(corpus, tokenizer, 4 * pairs, seed)
    for prompt in drawn:
        if (partner := waiting.pop(prompt[-1], None)) is None:
            waiting[prompt[-1]] = prompt
        elif len(found) < pairs:
            found.append((partner, prompt))
    if len(found) < pairs:
        raise MeasureError(
            f"corpus {corpus.name!r} is too short: of {len(drawn):,} prompts {len(found):,} disjoint pairs end on the "
            f"same token, {pairs:,} were asked for. Use a longer corpus or fewer pairs."
        )
    return tuple(a for a, _ in found), tuple(b for _, b in found)


def written(tokenizer: Any, pairing: Pairing) -> tuple[_Side, _Side]:
    """The pairs of a file whose two prompts, for this tokenizer, differ in their last token alone.

    Of the word pairs a row is kept when all three of its words pass, so that `similar` and `dissimilar` hold the same
    prefixes and first words in the same order. Raises `MeasureError` when no pair is left.
    """
    if file_of(pairing) == PRINTED:
        initial = {"printed_similar": "S", "printed_dissimilar": "D"}[pairing]
        rows = [row for row in written_rows(PRINTED) if row["name"][0] == initial]
        columns, second = ["a", "b"], 1
    else:
        rows = written_rows(WORDS)
        columns, second = ["word", "similar", "dissimilar"], {"similar": 1, "dissimilar": 2}[pairing]
    kept: list[tuple[Prompt, Prompt]] = []
    for row in rows:
        ids = tokenize(tokenizer, [row["prefix"] + row[column] for column in columns])
        if len({prompt[:-1] for prompt in ids}) == 1 and len(set(ids)) == len(ids):
            kept.append((ids[0], ids[second]))
    if not kept:
        raise MeasureError(
            f"pairing={pairing!r}: with this tokenizer no pair of the file differs in its last token alone; "
            "it splits their last words."
        )
    return tuple(a for a, _ in kept), tuple(b for _, b in kept)


def most_written(pairing: Pairing) -> int:
    """How many pairs of a file there are at most, both ways: a tokenizer may leave some out."""
    path = file_of(pairing)
    rows = written_rows(path) if path else []
    # The printed pairs of both kinds stand in one file; of the words each row has a pair of both kinds.
    return len(rows) if path == PRINTED else 2 * len(rows)


def written_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a file of pairs that this package ships."""
    return [json.loads(line) for line in path.read_text().splitlines()]
