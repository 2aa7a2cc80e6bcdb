"""A file that is there is read, whatever its name and kind; what cannot be read is one sentence that names it."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest
from datasets import Dataset, DatasetDict

from measure.harness.engines.drawing import _corpus
from measure.harness.engines.in_process import InProcess
from measure.prompts import drawn as prompts
from measure.prompts import text_files
from measure.spec import MeasureError, NotMeasuredError

TEXTS = ("A gate stood open.", 'She said: "no,\nnever"; and\twent.', "null", "")


def json_lines(texts: tuple[str, ...] = TEXTS) -> bytes:
    return "".join(json.dumps({"n": 1, "TEXT": text}) + "\n" for text in texts).encode()


def cells(delimiter: str) -> bytes:
    quoted = ('"' + text.replace('"', '""') + '"' for text in TEXTS)
    return f"n{delimiter}TEXT\n".encode() + "".join(f"1{delimiter}{text}\n" for text in quoted).encode()


def parquet(path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"TEXT": TEXTS, "n": range(len(TEXTS))}), path)


def raw(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


WRITERS: dict[str, Callable[[Path], object]] = {
    ".jsonl": raw(json_lines()),
    ".ndjson": raw(json_lines()),
    ".json": raw(json.dumps([{"TEXT": text} for text in TEXTS], indent=1).encode()),
    ".csv": raw(cells(",")),
    ".tsv": raw(cells("\t")),
    ".parquet": parquet,
    ".pq": parquet,
    ".arrow": lambda path: pyarrow.feather.write_feather(pyarrow.table({"TEXT": TEXTS}), str(path)),
    ".jsonl.gz": raw(gzip.compress(json_lines())),
    ".ndjson.gz": raw(gzip.compress(json_lines())),
    ".json.gz": raw(gzip.compress(json_lines())),
    ".csv.gz": raw(gzip.compress(cells(","))),
    ".tsv.gz": raw(gzip.compress(cells("\t"))),
}


def texts_of(source: object) -> tuple[str, ...]:
    return prompts.load_corpus(str(source)).texts


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_every_kind_of_file_holds_the_same_texts(tmp_path: Path, ending: str, change: Callable[[str], str]) -> None:
    path = tmp_path / f"Own{change(ending)}"
    WRITERS[ending](path)
    assert texts_of(path) == TEXTS


def test_every_ending_is_read_by_a_test() -> None:
    assert set(WRITERS) == set(text_files.ENDINGS)


NAMES = ["a[1]", "a@b", "a,b", "w*d", "q?", "~home", "two words", "n#1", "p%20", "lr=1", "Größe", "-x", "c:d", "x\ny"]


@pytest.mark.parametrize("name", NAMES)
def test_what_exists_is_read_whatever_its_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / name
    folder.mkdir()
    path = folder / f"{name}.jsonl"
    path.write_bytes(json_lines())
    (tmp_path / "link").symlink_to(path)
    sources = [path, f"{name}/{name}.jsonl", f"./{name}/{name}.jsonl", folder, f"{folder}/"]
    assert {texts_of(source) for source in sources} == {TEXTS}
    np.save(folder / f"{name}.npy", [[5, 6]])
    assert prompts.load_corpus(str(folder / f"{name}.npy")).rows == ((5, 6),)


def test_the_home_folder_is_opened_where_no_shell_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.jsonl").write_bytes(json_lines())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert texts_of("~/mine.jsonl") == TEXTS
    with pytest.raises(NotMeasuredError, match="corpus '~/other.jsonl': found no parquet"):
        texts_of("~/other.jsonl")


def test_what_save_to_disk_wrote_is_read(tmp_path: Path) -> None:
    table = Dataset.from_dict({"TEXT": list(TEXTS)})
    table.save_to_disk(tmp_path / "one", num_shards=2)
    DatasetDict(train=table).save_to_disk(tmp_path / "split")
    DatasetDict(train=table, test=table).save_to_disk(tmp_path / "splits")
    assert texts_of(tmp_path / "one") == texts_of(tmp_path / "split") == texts_of(tmp_path / "splits" / "test") == TEXTS
    with pytest.raises(MeasureError, match="holds the splits train, test; name one: .*/splits/train or "):
        texts_of(tmp_path / "splits")
    (tmp_path / "one" / "state.json").write_text("{}")
    table.select([2, 0]).save_to_disk(tmp_path / "chosen")
    assert texts_of(tmp_path / "chosen") == (TEXTS[2], TEXTS[0])
    for content in ("{}", "{", "[]"):
        (tmp_path / "one" / "state.json").write_text(content)
        with pytest.raises(MeasureError, match=r"one could not be read \(.*expected whole parquet, JSON or CSV files"):
            texts_of(tmp_path / "one")


def test_what_lies_beside_the_data_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(json_lines())
    (tmp_path / "dataset_info.json").write_text('{"splits": {}}')
    (tmp_path / "counts.json").write_text('{"rows": 4}')
    for name in ("README.md", "LICENSE", "notes.txt", ".hidden.json"):
        (tmp_path / name).write_text("About these texts.")
    assert texts_of(tmp_path) == TEXTS


def test_empty_files_among_others_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    (tmp_path / "b.jsonl").write_bytes(json_lines())
    assert texts_of(tmp_path) == TEXTS


def test_json_over_several_lines_and_after_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{\n "TEXT": "one"\n}\n\n{"TEXT":\r\n "two \xe2\x80\xa8 lines"}')
    assert texts_of(path) == ("one", "two \u2028 lines")


def test_cells_are_texts_whatever_they_say(tmp_path: Path) -> None:
    words = ["null", "NA", "None", "nan", "1", "true", "2020-01-01", ""]
    (tmp_path / "a.csv").write_text("TEXT\n" + "".join(f'"{word}"\n' for word in words))
    assert texts_of(tmp_path / "a.csv") == tuple(words)
    (tmp_path / "dates.jsonl").write_text('{"TEXT": "2020-01-01"}\n')
    assert texts_of(tmp_path / "dates.jsonl") == ("2020-01-01",)
    (tmp_path / "book.csv").write_text(f"TEXT\n{'word ' * 100_000}\n")
    assert len(texts_of(tmp_path / "book.csv")[0]) == 500_000


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "null": ("a.jsonl", b'{"TEXT": "a"}\nnull\n', "line 2 is null, no object"),
    "number": ("a.jsonl", b"3\n", "line 1 is 3, no object"),
    "list of strings": ("a.json", b'{"TEXT": "a"}\n["b"]', 'line 2 is ["b"], no object'),
    "no JSON": ("a.jsonl", b'{"TEXT": "a"}\n{"TEXT":', "line 2 is no JSON: '{\"TEXT\":'"),
    "nested": ("a.jsonl", b"[" * 200_000, "it is nested too deep"),
    "Latin-1": (
        "a.jsonl",
        '{"TEXT": "a"}\n{"TEXT": "é"}\n'.encode("latin1"),
        "line 2 is no UTF-8: byte 0xe9, as",
    ),
    "Latin-1 CSV": ("a.csv", "TEXT\né\n".encode("latin1"), "a.csv could not be read (line 2 is no UTF-8: byte 0xe9"),
    "UTF-16": ("a.jsonl", '{"TEXT": "a"}\n'.encode("utf-16"), "it is UTF-16 or UTF-32; write it again in UTF-8"),
    "UTF-16 without mark": ("a.csv", "TEXT\n".encode("utf-16-le"), "it is UTF-16 or UTF-32"),
    "half a character": (
        "a.jsonl",
        b'{"TEXT": "a\\ud83d"}\n',
        "row 0 holds half a character ('\\ud83d', at 1)",
    ),
    "no text": ("a.jsonl", b'{"TEXT": ["a"]}\n', "TEXT of row 0 is ['a'], no text"),
    "empty": ("a.jsonl", b"", "corpus is empty: it holds no row"),
    "one mark": ("a.csv", b"\xef\xbb\xbf", "is empty"),
    "header alone": ("a.csv", b"TEXT,n\n", "is empty"),
    "empty parquet": ("a.parquet", b"", "a.parquet could not be read (it is empty)"),
    "short row": ("a.csv", b"n,TEXT\n1\n", "TEXT of row 0 is None, no text"),
    "long row": ("a.csv", b"TEXT,n\na,1\nb,2,3\n", "row 1 has 3 cells, its header 2"),
    "open quote": ("a.csv", b'TEXT\n"a\nb\n', "a quote in it is never closed"),
    "two columns": ("a.csv", b"TEXT,TEXT\na,b\n", "it has 2 columns TEXT"),
    "other column": ("a.tsv", b"text\tn\na\t1\n", "has columns text, n but no TEXT"),
    "no gzip": ("a.jsonl.gz", b'{"TEXT": "a"}\n', "a.jsonl.gz could not be read (Not a gzipped file"),
    "cut gzip": ("a.csv.gz", gzip.compress(b"TEXT\na\n")[:-9], "its gzip stream is damaged or cut short"),
    "plain text": ("a.txt", b"A gate.", "ends in '.txt' cannot be read; expected one of .parquet, .pq, .arrow, .jsonl"),
    "packed otherwise": ("a.jsonl.zst", b"", "ends in '.zst' cannot be read"),
    "no ending": ("texts", b"A gate.", "a file without an ending cannot be read"),
    "damaged arrow": ("a.arrow", b"ARROW1 and no more", "a.arrow could not be read ("),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, case: str) -> None:
    name, content, message = REFUSED[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MeasureError) as caught:
        prompts.load_corpus(str(tmp_path / name))
    said = str(caught.value).replace(f"corpus {str(tmp_path / name)!r}", "corpus")
    assert message in said
    assert "\n" not in said


def test_a_text_file_is_told_how_to_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A gate.")
    with pytest.raises(MeasureError, match="does not say where one text ends .* as a line of a .jsonl file"):
        texts_of(tmp_path / "a.txt")


def test_folders_that_cannot_be_read_say_what_they_hold(tmp_path: Path) -> None:
    with pytest.raises(NotMeasuredError, match="found no parquet, JSON or CSV file there. It is empty"):
        texts_of(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(NotMeasuredError, match=re.escape("It holds .txt, data/.")):
        texts_of(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(json_lines())
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json_lines()))
    with pytest.raises(MeasureError, match="holds a.jsonl also packed, which may be the same texts twice"):
        texts_of(tmp_path)
    (tmp_path / "a.jsonl.gz").unlink()
    parquet(tmp_path / "b.parquet")
    with pytest.raises(MeasureError, match=r"holds files of 2 kinds \(.*a.jsonl, .*b.parquet\)"):
        texts_of(tmp_path)
    with pytest.raises(MeasureError, match="neither a file nor a folder"):
        os.mkfifo(tmp_path / "pipe.jsonl")
        texts_of(tmp_path / "pipe.jsonl")
    with pytest.raises(NotMeasuredError, match="found no parquet"):
        texts_of("x" * 5000)


@pytest.mark.parametrize("home", ["nowhere", "a file", None])
def test_texts_are_read_without_a_home(tmp_path: Path, home: str | None) -> None:
    """In a process of its own: the libraries look for their homes when they are imported."""
    (tmp_path / "a file").write_bytes(b"")
    parquet(tmp_path / "a.parquet")
    gone = {name: value for name, value in os.environ.items() if name not in ("HOME", "HF_HOME", "XDG_CACHE_HOME")}
    place = {} if home is None else {"HF_HOME": "/proc/nowhere" if home == "nowhere" else str(tmp_path / home)}
    code = (
        "import sys; from measure.prompts.drawn import load_corpus; "
        "print(*(load_corpus(s).sha256 for s in sys.argv[1:]))"
    )
    sources = ["default", str(tmp_path / "a.parquet")]
    done = subprocess.run(
        [sys.executable, "-c", code, *sources], env=gone | place, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [prompts.load_corpus(source).sha256 for source in sources], done.stderr


def test_the_shipped_prose_is_what_it_was() -> None:
    """By this hash baselines and stored results know it, whatever reads it."""
    assert prompts.load_corpus("default").sha256 == "283443113ce786dd44ebe5cc0acec81c860754653e47ae9799ba74947b93bb33"


def test_a_corpus_is_known_by_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(json_lines(("one gate", "two")))
    state = path.stat()
    before = _corpus(str(path))
    path.write_bytes(json_lines(("two gate", "one")))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size
    InProcess(None, lambda *_: None).close()
    after = _corpus(str(path))
    assert after.texts == ("two gate", "one")
    assert after.sha256 != before.sha256
