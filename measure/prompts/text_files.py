"""Texts in files: which files a corpus is made of, and how each kind of file is read.

Fetches nothing, writes nothing, and knows no tokenizer. What is read depends on what the files hold, never on when they
were written or on what was read before.
"""

from __future__ import annotations

import csv
import glob
import gzip
import io
import json
import reprlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from measure.base import places
from measure.spec import MeasureError, NotMeasuredError

COLUMN = "TEXT"
_KINDS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "Arrow",
    ".jsonl": "JSON",
    ".ndjson": "JSON",
    ".json": "JSON",
    ".csv": "CSV",
    ".tsv": "CSV",
}
_SAVED = "saved by datasets"
_PACKED = ("JSON", "CSV")
ENDINGS = (*_KINDS, *(f"{ending}.gz" for ending, kind in _KINDS.items() if kind in _PACKED))
# What `datasets` writes beside a table; these hold no rows.
_NOTES = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
# Of one cell; the module's own bound is less than a book. The largest that fits wherever Python runs.
_LARGEST_CELL = 2**31 - 1
_LARGEST_NOTE = 2**20
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Table:
    """The names of a file's columns, and one column as it stands, which may hold anything; None without it."""

    columns: tuple[str, ...]
    texts: Sequence[Any] | None
    rows: int = 0


def ending(path: Path) -> str:
    """The end of a file's name that tells its kind, in lower case: `.jsonl`, or `.jsonl.gz` for a packed one."""
    last = path.suffix.lower()
    return path.with_suffix("").suffix.lower() + last if last == ".gz" else last


def kind(path: Path) -> str | None:
    """What a file is by its name: parquet, Arrow, JSON or CSV; None for what is not read.

    A folder that `datasets` saved is a file like these.
    """
    if (path / "state.json").is_file():
        return _SAVED
    name = ending(path)
    return _KINDS[name.removesuffix(".gz")] if name in ENDINGS else None


def files_of(source: str) -> list[Path]:
    """The files that `source` names, in the order of their names: one file, those of a folder, or those of a glob.

    What exists is taken as it is, whatever is in its name. A folder that `save_to_disk` wrote is its files as it lists
    them. Raises `MeasureError` where there is nothing, nothing that can be read, or files of two kinds.
    """
    try:
        return _files_of(source, places.at(source))
    except OSError as error:  # a name too long, a folder that is closed to us
        raise NotMeasuredError(f"corpus {reprlib.repr(source)} could not be read ({error.strerror}).") from error


def _files_of(source: str, place: Path | None) -> list[Path]:
    if place is None:
        return _alike(source, [path for path in map(Path, sorted(glob.glob(source))) if path.is_file()])
    if not place.is_dir():
        return [_known(source, place)]
    if (place / "dataset_dict.json").is_file():
        place = _only_split(source, place)
    if (place / "state.json").is_file():
        return [place]
    inside = sorted(filter(Path.is_file, place.iterdir()), key=str)
    return _alike(source, [path for path in inside if len(inside) == 1 or not _is_note(path)], place)


def _is_note(path: Path) -> bool:
    """Whether a file tells of the data beside it, and is none: one JSON object without a text."""
    if path.name in _NOTES or path.name.startswith("."):
        return True
    if ending(path) != ".json" or path.stat().st_size > _LARGEST_NOTE:
        return False
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and COLUMN not in found


def _known(source: str, path: Path) -> Path:
    if kind(path) is None:
        raise MeasureError(
            f"corpus {source!r}: {_unread(path)} cannot be read; expected one of {', '.join(ENDINGS)}, with a "
            f"{COLUMN} column.{_how_to_write(path)}"
        )
    if not path.is_file():
        raise MeasureError(f"corpus {source!r} is neither a file nor a folder; write it into a file first.")
    return path


def _unread(path: Path) -> str:
    return f"a file that ends in {ending(path)!r}" if path.suffix else "a file without an ending"


def _how_to_write(path: Path) -> str:
    if ending(path).removesuffix(".gz") not in (".txt", ".text", ".md", ""):
        return ""
    return (
        " Such a file does not say where one text ends and the next begins: write each text as a line of a .jsonl "
        f'file, {{"{COLUMN}": "..."}}.'
    )


def _alike(source: str, found: list[Path], folder: Path | None = None) -> list[Path]:
    """Of files of any kind those that can be read. Raises `MeasureError` for none, and for two kinds of them."""
    files = [path for path in found if kind(path) is not None]
    if not files:
        raise NotMeasuredError(_nothing(source, found, folder))
    kinds = {kind(path): path for path in reversed(files)}
    twice = {path.name.lower().removesuffix(".gz"): path for path in files}
    if len(kinds) > 1 or len(twice) < len(files):
        one = sorted(map(str, kinds.values())) if len(kinds) > 1 else [str(files[0])]
        what = f"files of {len(kinds)} kinds ({', '.join(one)})" if len(kinds) > 1 else f"{files[0].name} also packed"
        raise MeasureError(
            f"corpus {source!r} holds {what}, which may be the same texts twice; name the file, or a glob of files of "
            "one kind."
        )
    return files


def _nothing(source: str, found: list[Path], folder: Path | None) -> str:
    there = sorted({ending(path) or path.name for path in found})
    if folder is not None:
        there += sorted(f"{path.name}/" for path in folder.iterdir() if path.is_dir())
    held = f" It holds {', '.join(there[:6])}." if there else " It is empty." if folder is not None else ""
    return (
        f"corpus {source!r}: found no parquet, JSON or CSV file there.{held} Give a file, a folder or a glob of them "
        f"with a {COLUMN} column ({', '.join(ENDINGS)}), one file of token ids, or leave it at 'default'."
    )


def _only_split(source: str, folder: Path) -> Path:
    """The one split of what `DatasetDict.save_to_disk` wrote."""
    splits = _note(source, folder / "dataset_dict.json").get("splits")
    if not isinstance(splits, list) or not all(isinstance(name, str) for name in splits) or not splits:
        raise MeasureError(f"corpus {source!r}: dataset_dict.json names no splits; save the data set again.")
    if len(splits) > 1:
        named = " or ".join(str(folder / name) for name in splits[:4])
        raise MeasureError(f"corpus {source!r} holds the splits {', '.join(splits)}; name one: {named}.")
    return folder / splits[0]


def _note(source: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise MeasureError(f"corpus {source!r}: {path.name} is no whole JSON object; save the data set again.")
    return found


def read(source: str, files: Sequence[Path], *, most: int | None = None) -> tuple[str, ...]:
    """The texts of files, one after the other; of the first file the first `most` where that is given.

    Raises `MeasureError` for a file that is damaged, empty, or in another encoding than UTF-8, for one without a TEXT
    column, and for a row of it that is no text.
    """
    texts: list[str] = []
    for path in files:
        where = f" of {path.name}" if len(files) > 1 else ""
        table = read_table(f"corpus {source!r}", path, most)
        if table.texts is None and (table.columns or table.rows):
            columns = ", ".join(table.columns) or "of no name"
            raise MeasureError(
                f"corpus {source!r} has columns {columns} but no {COLUMN}{where.replace(' of ', ' in ')}; "
                f"rename the column that holds the texts to {COLUMN}."
            )
        texts += _checked(source, where, table.texts or ())
    if not texts:
        raise MeasureError(f"corpus {source!r} is empty: it holds no row; give a file with a {COLUMN} column.")
    return tuple(texts)


def _checked(source: str, where: str, texts: Sequence[Any]) -> Sequence[str]:
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise MeasureError(
                f"corpus {source!r}: {COLUMN} of row {row}{where} is {reprlib.repr(text)}, no text; "
                "drop or mend that row."
            )
        if half := half_character(text):
            raise MeasureError(
                f"corpus {source!r}: {COLUMN} of row {row}{where} {half}, so it is no Unicode text; "
                "drop or mend that row."
            )
    return texts


def half_character(text: str) -> str | None:
    """Where a text holds half of a surrogate pair, in words; None where it holds none and can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"holds half a character ({text[error.start]!r}, at {error.start})"
    return None


def read_table(what: str, path: Path, most: int | None = None, column: str = COLUMN) -> Table:
    """What one file holds in a column; errors begin with `what` it is.

    Raises `MeasureError` for a file that is damaged or of another encoding than UTF-8.
    """
    try:
        if kind(path) == _SAVED:
            return _saved(path, column)
        if kind(path) not in _PACKED and path.stat().st_size == 0:
            raise _UnreadableError("it is empty")
        if kind(path) not in _PACKED:
            return _parquet(path, most, column) if kind(path) == "parquet" else _arrow(path, column)
        text = _text(_content(path))
        if not text.strip("\ufeff \t\r\n"):
            return Table((), None)
        if kind(path) == "JSON":
            return _json(text, column)
        return _csv(text, "\t" if ".tsv" in ending(path) else ",", column)
    except MemoryError:
        raise
    except Exception as error:  # pyarrow, gzip and the disk each raise their own
        found = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MeasureError(
            f"{what}: {path.name} could not be read ({found}); expected whole parquet, JSON or CSV files of "
            f"one kind, with a {column} column, as UTF-8."
        ) from error


class _UnreadableError(ValueError):
    """What is wrong with the content of a file, in words."""


def _content(path: Path) -> bytes:
    if not ending(path).endswith(".gz"):
        return path.read_bytes()
    try:
        with gzip.open(path) as file:
            return file.read()
    except (EOFError, zlib.error):
        raise _UnreadableError("its gzip stream is damaged or cut short") from None


def _text(content: bytes) -> str:
    if content.startswith(_UTF16) or b"\0" in content[:4]:
        raise _UnreadableError("it is UTF-16 or UTF-32; write it again in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _UnreadableError(
            f"line {line} is no UTF-8: byte 0x{content[error.start]:02x}, as Latin-1 has it; write the file again in "
            "UTF-8"
        ) from None


def _json(text: str, column: str) -> Table:
    """Objects, one a line, one after the other, or as one list."""
    try:
        rows = _values(text)
    except RecursionError:
        raise _UnreadableError("it is nested too deep") from None
    if len(rows) == 1 and isinstance(rows[0][1], list):
        rows = [(f"item {number}", item) for number, item in enumerate(rows[0][1])]
    for place, row in rows:
        if not isinstance(row, dict):
            raise _UnreadableError(f'{place} is {json.dumps(row)[:40]}, no object; expected {{"{column}": "..."}}')
    columns = tuple(dict.fromkeys(name for _, row in rows for name in row))
    texts = [row.get(column) for _, row in rows] if column in columns else None
    return Table(columns, texts, len(rows))


def _values(text: str) -> list[tuple[str, Any]]:
    """Every JSON value of a text, with its place: one a line, or else one after the other, over several lines."""
    found: list[tuple[str, Any]] = []
    # Not splitlines: strings may hold other line separators as they are.
    for number, line in enumerate(text.split("\n"), 1):
        if line and not line.isspace():
            try:
                found.append((f"line {number}", json.loads(line)))
            except ValueError:
                wrong = number, line
                break
    else:
        return found
    try:
        return _one_after_the_other(text)
    except ValueError:
        raise _UnreadableError(f"line {wrong[0]} is no JSON: {reprlib.repr(wrong[1])}") from None


def _one_after_the_other(text: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    decoder, place = json.JSONDecoder(), 0
    rest = text.rstrip()
    while place < len(rest):
        while rest[place].isspace():
            place += 1
        value, place = decoder.raw_decode(rest, place)
        found.append((f"value {len(found) + 1}", value))
    return found


def _csv(text: str, delimiter: str, column: str) -> Table:
    """Cells as they stand: no word and no empty cell means that there is no text."""
    before = csv.field_size_limit(_LARGEST_CELL)
    try:
        # The last line tells a quote that is never closed, which would take in all that follows.
        end = "end of the file\n"
        rows = list(csv.reader(chain(io.StringIO(text, newline=""), [end]), delimiter=delimiter))
    finally:
        csv.field_size_limit(before)
    if rows.pop() != [end.strip()]:
        raise _UnreadableError("a quote in it is never closed")
    header, *cells = (row for row in rows if row and not _is_blank(row))
    if header.count(column) > 1:
        raise _UnreadableError(f"it has {header.count(column)} columns {column}")
    for number, row in enumerate(cells):
        if len(row) > len(header):
            raise _UnreadableError(f"row {number} has {len(row)} cells, its header {len(header)}")
    if column not in header:
        return Table(tuple(header), None)
    place = header.index(column)
    return Table(tuple(header), [row[place] if place < len(row) else None for row in cells])


def _is_blank(row: list[str]) -> bool:
    return len(row) == 1 and row[0].isspace() and not row[0].strip(" \t")


def _parquet(path: Path, most: int | None, column: str) -> Table:
    import pyarrow
    from pyarrow import parquet

    with pyarrow.OSFile(str(path)) as opened, parquet.ParquetFile(opened) as file:
        columns = tuple(file.schema_arrow.names)
        if column not in columns:
            return Table(columns, None)
        if most is None:
            return Table(columns, file.read(columns=[column])[column].to_pylist())
        first: list[Any] = []
        for batch in file.iter_batches(batch_size=most, columns=[column]):
            first += batch[column].to_pylist()
            if len(first) >= most:
                break
        return Table(columns, first[:most])


def _saved(folder: Path, column: str) -> Table:
    """What `Dataset.save_to_disk` wrote."""
    from datasets import load_from_disk

    table = load_from_disk(str(folder))
    columns = tuple(table.column_names)
    return Table(columns, list(table[column]) if column in columns else None)


def _arrow(path: Path, column: str) -> Table:
    """A table of Arrow's own, as a stream (what `datasets` writes) or as a file."""
    import pyarrow

    with pyarrow.memory_map(str(path)) as opened:
        try:
            table = pyarrow.ipc.open_stream(opened).read_all()
        except pyarrow.ArrowInvalid:
            table = pyarrow.ipc.open_file(opened).read_all()
        columns = tuple(table.column_names)
        if column not in columns:
            return Table(columns, None)
        values = table[column]
        values.validate(full=True)
        return Table(columns, values.to_pylist())
