"""What a run leaves behind: one JSON line for each thing, written as it happens, and read back. Measures nothing.

Each run has a file of its own, `reports/runs/<when it started>-<process>.jsonl`. A line is a row with its `kind`:

`run` (first, `Header`): what was asked, of which models, with what.
`result` (`ResultRow`): the outcome of one spec, as it is known.
`test` (`TestRow`): one test of a suite, as it ends.
`end` (last, `End`): absent where a run was killed.

The rows' fields, told in `measure/kinds/rows.py`, are the lines' keys. Numbers have 5 significant digits; null stands
for what is no number. Fields that hold their default are left out. Keys and kinds that this version does not know are
passed over.
"""

from __future__ import annotations

import base64
import dataclasses
import errno
import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from jaxtyping import Float, Int, UInt8

from measure.base import files
from measure.kinds.rows import End, Header, Number, ResultRow, Row, TestRow, place_type
from measure.spec import MeasureError

FORMAT = 3
FOLDER = Path("reports") / "runs"
# pytest's exit statuses of a run that was interrupted, or that broke itself.
_BROKEN_OFF = (2, 3)
_KINDS: dict[str, type[Row]] = {"run": Header, "result": ResultRow, "test": TestRow, "end": End}
_NAMES = {row: kind for kind, row in _KINDS.items()}


def to_json(row: Row) -> bytes:
    """A row as one line, without what holds its default."""
    kept = {
        one.name: value
        for one in dataclasses.fields(row)
        if (value := getattr(row, one.name)) != one.default and (value or one.default_factory is dataclasses.MISSING)
    }
    content = _finite(msgspec.to_builtins({"kind": _NAMES[type(row)], **kept}, enc_hook=_plain))
    return (json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n").encode()


def _plain(value: object) -> object:
    """What JSON has no word for, as what it has one for."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _finite(value: object) -> object:
    """`value` with None for each float that is no number, in whatever it lies; JSON knows no NaN."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_json(line: bytes) -> Row | None:
    """The row that a line holds; None for a kind that this version does not know.

    Raises `MeasureError` for what is no whole record.
    """
    content = _parsed(line)
    kind = content.pop("kind", None)
    if not isinstance(kind, str):
        raise MeasureError("it has no kind")
    try:
        return msgspec.convert(content, _KINDS[kind]) if kind in _KINDS else None
    # Beside its own error: numbers too large, nesting too deep, halves of surrogate pairs.
    except (ValueError, OverflowError, RecursionError) as error:
        raise MeasureError(str(error)) from None


def _parsed(line: bytes) -> dict[str, object]:
    # Not by msgspec, which takes no half of a surrogate pair: a token's text may be one.
    try:
        content = json.loads(line, parse_constant=_no_number, parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise MeasureError(str(error)) from None
    if not isinstance(content, dict):
        raise MeasureError("it is no object")
    return content


def _number(text: str) -> Number:
    # A float that Python cannot hold is read as infinity.
    value = float(text)
    return value if math.isfinite(value) else None


def _no_number(name: str) -> None:
    """NaN and infinities, which no JSON has, are what null stands for here."""


class Writer:
    """The records of one run, in a file of its own that no other run has: a kill leaves whole lines and one half.

    Where a line cannot be written, a disk being full, the run goes on without its records, and `problem` says so.
    """

    def __init__(self, path: Path) -> None:
        """Make the file. Raises `MeasureError` where there is one of this name already, or none can be made."""
        self.path = path
        self.problem: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o644)
        except OSError as error:
            raise self._refusal(path, error) from None

    @staticmethod
    def _refusal(path: Path, error: OSError) -> MeasureError:
        if os.path.lexists(path):
            return MeasureError(
                f"{path} is there already, and records of another run are never written over; give another file with "
                "--records FILE, or remove that one."
            )
        return MeasureError(
            f"records cannot be written to {path} ({error.strerror}); give a file in a folder that can be written with "
            "--records FILE."
        )

    def write(self, row: Row) -> None:
        """Add one line, in one write."""
        if self.problem is None:
            line = to_json(row)
            try:
                # A disk with room for a part of a line takes that part.
                why = None if os.write(self._file, line) == len(line) else os.strerror(errno.ENOSPC)
            except OSError as error:
                why = error.strerror
            if why:
                self.problem = f"{self.path}: the records end here, a line could not be written ({why})"

    def close(self) -> None:
        os.close(self._file)


class Recorder:
    """The records of a run, as they come: tests' rows in memory, and every row at once in a file at `path`.

    With None for a path nothing is written. The file is made when the header comes; where that cannot be done and the
    file was not `asked` for, the run goes on without its records, and `problem` says so.
    """

    def __init__(self, path: Path | None, *, asked: bool = True) -> None:
        self.rows: list[TestRow] = []
        # The first that came: under pytest-xdist each worker tells it.
        self.header: Header | None = None
        self._path = path
        self._asked = asked
        self._refused: str | None = None
        self._writer: Writer | None = None
        self._started = time.monotonic()

    def take(self, row: Row) -> None:
        """Keep a row. Raises `MeasureError` where it is the header and the file cannot be made."""
        if isinstance(row, TestRow):
            self.rows.append(row)
        if isinstance(row, Header):
            self.header = self.header or row
            if self._writer is not None or self._path is None or self._refused:
                return
            try:
                self._writer = Writer(self._path)
            except MeasureError as error:
                if self._asked:
                    raise
                self._refused = f"nothing of this run is recorded: {error}"
        if self._writer is not None:
            self._writer.write(row)

    @property
    def written(self) -> Path | None:
        """The file that holds the records; None where there is none."""
        return self._writer.path if self._writer is not None else None

    @property
    def problem(self) -> str | None:
        """Why the file does not hold all of them."""
        return self._writer.problem if self._writer is not None else self._refused

    def end(self, exitstatus: int) -> None:
        """Say in the records that the run came to its end."""
        if self._writer is not None:
            self._writer.write(End(exitstatus, round(time.monotonic() - self._started, 1)))
            self._writer.close()


def new_path(folder: Path, now: datetime | None = None) -> Path:
    """A name in `folder` for a run's records: by name they stand in the order in which runs started."""
    started = now or datetime.now(UTC)
    return folder / f"{started:%Y%m%dT%H%M%S.%fZ}-{os.getpid()}.jsonl"


def runs(folder: Path = FOLDER) -> list[Path]:
    """The records in `folder`, the last run's last."""
    return sorted(folder.glob("*.jsonl"))


@dataclass(frozen=True)
class Run:
    """What a run left behind, or several merged: its header, its results by id, its tests, and how it ended.

    `header` is None where nothing could be read, `end` where a run was killed, or goes on. `problems` are sentences on
    what could not be read.
    """

    header: Header | None
    results: Mapping[str, ResultRow]
    tests: tuple[TestRow, ...]
    end: End | None = None
    problems: tuple[str, ...] = ()
    headers: tuple[Header, ...] = ()


def read(paths: Iterable[str | Path]) -> Run:
    """Read files of records as one run: of a result or a test that is in several, the later one stands.

    A line that is only half written is passed over and told of. Raises `MeasureError` where there is no file, no
    record, another format, or records of several runs in one file.
    """
    headers: list[Header] = []
    results: dict[str, ResultRow] = {}
    tests: dict[tuple[str, str], TestRow] = {}
    problems: list[str] = []
    end = None
    for path in map(Path, paths):
        rows, damaged = _rows(path)
        headers.append(_header(path, rows, damaged))
        results |= {row.id: row for row in rows if isinstance(row, ResultRow)}
        ended = sorted((row for row in rows if isinstance(row, TestRow)), key=lambda row: row.order)
        tests |= {(row.test, row.protocol): row for row in ended}
        end = next((row for row in reversed(rows) if isinstance(row, End)), None)
        whole = end is not None and end.exitstatus not in _BROKEN_OFF
        problems += _problems(path, damaged, ended=whole)
    if not headers:
        raise MeasureError(f"no records were named; give the file that a run writes, {FOLDER}/WHEN.jsonl.")
    return Run(_merged(headers), results, tuple(tests.values()), end, tuple(problems), tuple(headers))


def _problems(path: Path, damaged: Sequence[str], *, ended: bool) -> list[str]:
    found = []
    if damaged:
        lines = "1 line is" if len(damaged) == 1 else f"{len(damaged)} lines are"
        found.append(f"{path.name}: {lines} no whole record, passed over ({damaged[0]})")
    if not ended:
        found.append(f"{path.name}: the run was stopped, or has not ended yet; what it had finished is here")
    return found


def _rows(path: Path) -> tuple[list[Row], list[str]]:
    """The rows of a file, and what is wrong with each line that holds none."""
    try:
        content = files.content(path)
    except OSError as error:
        raise MeasureError(
            f"{path} cannot be read ({error.strerror}); a run of the suites writes {FOLDER}/WHEN.jsonl."
        ) from None
    rows: list[Row] = []
    damaged: list[str] = []
    for line in content.splitlines():
        if line.strip():
            # A file of another format is to be told as that, not as one of damaged lines.
            if not rows and not damaged:
                _check_format(path, line)
            try:
                row = from_json(line)
            except MeasureError as error:
                damaged.append(str(error))
            else:
                rows += [row] if row is not None else []
    return rows, damaged


def _check_format(path: Path, line: bytes) -> None:
    """Raise `MeasureError` where a file's first line is a whole record, but no header of this format."""
    try:
        first = _parsed(line)
    except MeasureError:
        return
    found = first.get("format") if first.get("kind") == "run" else None
    if found != FORMAT:
        what = "another format, from before records had a header" if found is None else f"format {found!r}"
        raise MeasureError(
            f"{path} holds records of {what}; this version reads format {FORMAT}. Run the suites again, or use the "
            "version that wrote them."
        )


def _header(path: Path, rows: Sequence[Row], damaged: Sequence[str]) -> Header:
    """The one header of a file."""
    headers = [row for row in rows if isinstance(row, Header)]
    if len(headers) == 1:
        return headers[0]
    if headers:
        raise MeasureError(
            f"{path} holds records of {len(headers)} runs mixed together; each run has a file of its own, and "
            "`measure report --merge A B` shows several as one."
        )
    if damaged:
        raise MeasureError(f"{path} holds no whole header of a run ({damaged[0]}); run the suites again.")
    raise MeasureError(f"{path} holds no records; run the suites first (`pytest suites/`).")


def _merged(headers: Sequence[Header]) -> Header:
    """The last header, with the models of all."""
    models = {name: model for header in headers for name, model in header.catalog.items()}
    return dataclasses.replace(headers[-1], catalog=models)


def slice_colours(result: ResultRow, triple: int) -> UInt8[np.ndarray, "size size 3"]:
    """Colours of one slice, (beta, alpha, channel)."""
    colours = np.frombuffer(base64.b64decode(result.triples[triple].rgb), np.uint8)
    return colours.reshape(*_sides(result), 3)


def slice_distances(result: ResultRow, triple: int) -> Float[np.ndarray, "3 size size"]:
    """Distances from A, B and C over one slice, to half a 255th of the largest."""
    colours = slice_colours(result, triple).astype(float)
    largest = np.array([np.nan if d is None else d for d in result.triples[triple].largest])
    return np.moveaxis((1 - colours / 255) * largest, -1, 0)


def slice_tokens(result: ResultRow, triple: int) -> Int[np.ndarray, "size size"]:
    """Most probable next token at each cell of one slice, as a place in the triple's `tokens`."""
    entry = result.triples[triple]
    places = np.frombuffer(base64.b64decode(entry.top), place_type(len(entry.tokens)))
    return places.reshape(_sides(result)).astype(int)


def _sides(result: ResultRow) -> tuple[int, int]:
    assert result.size is not None, "no slices"
    return result.size, result.size


def running_mean(values: Sequence[Number]) -> list[Number]:
    """Means over five neighbours, the ends repeated: counts of single steps are small whole numbers.

    None where one of the five is None.
    """
    known = np.array([np.nan if value is None else value for value in values])
    if not len(known):
        return []
    means = np.convolve(np.pad(known, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    return [None if np.isnan(mean) else float(f"{mean:.5g}") for mean in means]
