"""Every way to write the same prompts is read alike; whatever else a file holds is one clear error."""

from __future__ import annotations

import gzip
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from measure.prompts.text_files import ending
from measure.prompts.token_files import TOKEN_ENDINGS, HubFile, hub_file, is_token_file, read_token_file
from measure.spec import CurveSpec, MeasureError

IDS = ((5, 6, 7), (8, 9, 10), (5, 6, 7), (0, 11, 12))


def write_lines(path: Path, rows: Any) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


WRITERS: dict[str, Callable[[Path], object]] = {
    "array.npy": lambda path: np.save(path, np.array(IDS)),
    "big-endian-columns.npy": lambda path: np.save(path, np.asfortranarray(np.array(IDS, dtype=">u2"))),
    "one-tensor.safetensors": lambda path: save_file({"any": torch.tensor(IDS)}, path),
    "several-tensors.safetensors": lambda path: save_file(
        {"attention_mask": torch.ones(4, 3), "input_ids": torch.tensor(IDS, dtype=torch.int32)}, path
    ),
    "tensor.pt": lambda path: torch.save(torch.tensor(IDS), path),
    "old-tensor.pt": lambda path: torch.save(torch.tensor(IDS), path, _use_new_zipfile_serialization=False),
    "dict.pt": lambda path: torch.save({"input_ids": torch.tensor(IDS, dtype=torch.uint8), "n": 4}, path),
    "lists.jsonl": lambda path: write_lines(path, IDS),
    "objects.jsonl": lambda path: write_lines(path, [{"name": "x", "input_ids": row} for row in IDS]),
    "lists.json": lambda path: write_lines(path, IDS),
    "lists.ndjson": lambda path: write_lines(path, IDS),
    **{
        f"packed{ending}.gz": lambda path: path.write_bytes(gzip.compress("\n".join(map(json.dumps, IDS)).encode()))
        for ending in (".jsonl", ".json", ".ndjson")
    },
}


@pytest.mark.parametrize("name", WRITERS)
def test_however_written_the_prompts_are_the_same(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    assert is_token_file(tmp_path / name)
    found = read_token_file(tmp_path / name)
    assert found == IDS
    assert {type(token) for row in found for token in row} == {int}


def test_every_ending_is_read_by_a_test() -> None:
    assert {ending(Path(name)) for name in WRITERS} == set(TOKEN_ENDINGS)


def test_an_ending_may_be_in_capitals(tmp_path: Path) -> None:
    for name in ("array.npy", "tensor.pt", "lists.jsonl"):
        WRITERS[name](tmp_path / name)
        path = (tmp_path / name).rename(tmp_path / name.upper())
        assert is_token_file(path)
        assert read_token_file(path) == IDS


def test_lines_may_follow_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf[1, 2]\n")
    assert is_token_file(tmp_path / "a.jsonl")
    assert read_token_file(tmp_path / "a.jsonl") == ((1, 2),)


def test_lines_may_differ_in_length(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [[1], [2, 3, 4]])
    assert read_token_file(tmp_path / "a.jsonl") == ((1,), (2, 3, 4))


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("[1, 2]", True),
        ("[]", True),
        ('{"input_ids": [1]}', True),
        ('{"TEXT": "a"}', False),
        ('{"TEXT": "a", "input_ids": [1]}', False),
        ('[{"TEXT": "a"}, {"TEXT": "b"}]', False),
        ("[", False),
        ('"a"', False),
        ("", False),
    ],
)
def test_json_lines_are_ids_or_texts_by_their_first_line(tmp_path: Path, first: str, expected: bool) -> None:
    (tmp_path / "a.jsonl").write_text(f"{first}\n[1]\n")
    assert is_token_file(tmp_path / "a.jsonl") is expected


def test_what_is_no_file_of_ids() -> None:
    names = ["default", "owner/name", "table.parquet", "table.csv", "not-there.jsonl", "ids.bin"]
    assert not any(is_token_file(Path(name)) for name in names)
    assert all(is_token_file(Path(f"not-there{ending}")) for ending in (".npy", ".safetensors", ".pt"))


def cut(name: str, kept: int) -> Callable[[Path], object]:
    """A file of another name, cut short."""

    def write(path: Path) -> None:
        WRITERS[name](path)
        path.write_bytes(path.read_bytes()[:kept])

    return write


def raw(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def saved(held: Any) -> Callable[[Path], object]:
    return lambda path: torch.save(held, path)


def array(values: Any, dtype: Any = None) -> Callable[[Path], object]:
    return lambda path: np.save(path, np.array(values, dtype=dtype))


def lines(*text: str) -> Callable[[Path], object]:
    return raw("".join(f"{line}\n" for line in text).encode())


def archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.array(IDS))


# A header that states a tensor of a type that torch has and arrays have not.
BFLOAT = b'{"ids":{"dtype":"BF16","shape":[1,1],"data_offsets":[0,2]}}'
DAMAGED = "it is damaged or cut short, or holds Python objects. Expected a whole file as "
OTHER_THINGS = "it holds other things than tensors, or is damaged; nothing else is unpickled, since that can run code"

REFUSED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "ending": ("a.bin", raw(b""), "the ending '.bin' is not known; expected .npy, .safetensors, .pt, .jsonl, .json"),
    "folder": ("a.npy", lambda path: path.mkdir(), "a.npy is a folder; give the path of one file"),
    "missing": ("a.pt", lambda _: None, "a.pt is not there; give the path of one file, no folder and no glob"),
    "npy-float": ("a.npy", array([[1.0, 2.0]]), "it holds float64; expected integers from 0 of shape (prompts, "),
    "npy-bool": ("a.npy", array([[True]]), "it holds bool; expected integers"),
    "npy-flat": ("a.npy", array([1, 2]), "its shape is (2,) (prompts of several lengths go into a .jsonl file)"),
    "npy-cube": ("a.npy", array([[[1]]]), "its shape is (1, 1, 1)"),
    "npy-negative": ("a.npy", array([[1, 2], [3, -1]]), "row 1 holds -1, which is no token id"),
    "npy-large": ("a.npy", array([[2**63]], np.uint64), "row 0 holds 9223372036854775808, which is no token id"),
    "npy-no-rows": ("a.npy", array(np.zeros((0, 10), int)), "it holds no prompt; expected integers"),
    "npy-no-columns": ("a.npy", array(np.zeros((5, 0), int)), "row 0 is empty"),
    "npy-objects": ("a.npy", array([[1], [1, 2]], object), DAMAGED + "np.save(file, ids) writes it"),
    "npy-archive": ("a.npy", archive, "(ValueError): it is damaged"),
    "npy-cut": ("a.npy", cut("array.npy", 180), DAMAGED + "np.save(file, ids) writes it; fetch it or write it again"),
    "npy-empty": ("a.npy", raw(b""), "could not be read (ValueError)"),
    "safetensors-cut": ("a.safetensors", cut("one-tensor.safetensors", 100), "(SafetensorError): it is damaged"),
    "safetensors-empty": ("a.safetensors", raw(b""), DAMAGED + "safetensors.torch.save_file({'input_ids': ids}, file)"),
    "safetensors-none": ("a.safetensors", lambda path: save_file({}, path), "it holds 0 tensors, none of them named"),
    "safetensors-two": (
        "a.safetensors",
        lambda path: save_file({"a": torch.ones(1, 1), "b": torch.ones(1, 1)}, path),
        "it holds 2 tensors, none of them named input_ids: ['a', 'b']; expected",
    ),
    "safetensors-bfloat16": (
        "a.safetensors",
        raw(struct.pack("<Q", len(BFLOAT)) + BFLOAT + b"\0\0"),
        "it holds torch.bfloat16, torch.strided; expected integers",
    ),
    "pt-array": ("a.pt", saved(np.array(IDS)), f"{OTHER_THINGS}; expected integers from 0 of shape (prompts, tokens), "
                 "as torch.save(ids, file) writes them"),
    "pt-object": ("a.pt", saved(Path("any")), OTHER_THINGS),
    "pt-pointer": ("a.pt", raw(b"version https://git-lfs.github.com/spec/v1\n"), OTHER_THINGS),
    "pt-cut": ("a.pt", cut("tensor.pt", 900), DAMAGED + "torch.save(ids, file) writes it"),
    "pt-old-cut": ("a.pt", cut("old-tensor.pt", 60), "(EOFError): it is damaged"),
    "pt-garbage": ("a.pt", raw(b"hello world"), "(KeyError): it is damaged"),
    "pt-empty": ("a.pt", raw(b""), "(EOFError): it is damaged"),
    "pt-list": ("a.pt", saved([[1, 2]]), "it holds a list, no tensor"),
    "pt-dict": ("a.pt", saved({"ids": torch.ones(1)}), "it holds a dict without input_ids, of ['ids']"),
    "pt-dict-list": ("a.pt", saved({"input_ids": [[1]]}), "it holds a list, no tensor"),
    "pt-float": ("a.pt", saved(torch.ones(2, 2)), "it holds float32"),
    "pt-bool": ("a.pt", saved(torch.ones(2, 2, dtype=torch.bool)), "it holds bool"),
    "pt-sparse": ("a.pt", saved(torch.ones(2, 2).to_sparse()), "it holds torch.float32, torch.sparse_coo"),
    "pt-flat": ("a.pt", saved(torch.ones(2, dtype=torch.int64)), "its shape is (2,)"),
    "lines-broken": ("a.jsonl", lines("[1]", "[2, "), "line 2 is no JSON: '[2, \\n'; expected on each line a list"),
    "lines-blank": ("a.jsonl", lines("[1]", "", "[2]"), "line 2 is no JSON: '\\n'"),
    "lines-float": ("a.jsonl", lines("[1, 2.0]"), "line 1 holds 2.0, no integer"),
    "lines-bool": ("a.jsonl", lines("[1]", "[1, true]"), "line 2 holds True, no integer"),
    "lines-null": ("a.jsonl", lines("[1, null]"), "line 1 holds None, no integer"),
    "lines-nested": ("a.json", lines("[[1, 2], [3, 4]]"), "line 1 holds [1, 2], no integer"),
    "lines-negative": ("a.jsonl", lines("[1]", "[2, -100]"), "line 2 holds -100, which is no token id"),
    "lines-empty-row": ("a.jsonl", lines("[1]", "[]"), "line 2 is empty"),
    "lines-number": ("a.jsonl", lines("3"), "line 1 holds 3, no list"),
    "lines-object": ("a.jsonl", lines('{"ids": [1]}'), "line 1 is an object without input_ids, of ['ids']"),
    "lines-object-text": ("a.jsonl", lines('{"input_ids": "a"}'), "line 1 holds 'a', no list"),
    "lines-empty": ("a.jsonl", raw(b""), 'it holds no prompt; expected on each line a list of token ids, such as '),
    "lines-deep": ("a.jsonl", lines("[1]", "[" * 100_000), "line 2 is nested too deep: '[[[["),
    "lines-packed-cut": ("a.jsonl.gz", raw(gzip.compress(b"[1]\n")[:-9]), "its gzip stream is damaged or cut short"),
    "lines-bytes": ("a.jsonl", raw(b"[1]\n\xff\xfe"), "it is no text in UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_is_one_clear_error(tmp_path: Path, case: str) -> None:
    name, write, message = REFUSED[case]
    write(tmp_path / name)
    with pytest.raises(MeasureError, match=re.escape(message)) as caught:
        read_token_file(tmp_path / name)
    assert str(caught.value).startswith(f"token file {tmp_path / name}")
    # The advice of torch and numpy is to load the file unsafely.
    assert "weights_only" not in str(caught.value)
    assert "allow_pickle" not in str(caught.value)


class Trap:
    """What writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "sprung")


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"input_ids": torch.tensor(IDS), "more": Trap(sprung)}, tmp_path / "a.pt")
    np.save(tmp_path / "a.npy", np.array([[Trap(sprung)]], dtype=object))
    for name in ("a.pt", "a.npy"):
        with pytest.raises(MeasureError):
            read_token_file(tmp_path / name)
    assert not sprung.exists()
    np.load(tmp_path / "a.npy", allow_pickle=True)
    sprung.unlink()
    torch.load(tmp_path / "a.pt", weights_only=False)
    assert sprung.exists()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("hf://an-owner/a_name/ids.pt", HubFile("an-owner/a_name", "model", "main", "ids.pt")),
        ("hf://o/n.1@v2.0/in/a/folder.npy", HubFile("o/n.1", "model", "v2.0", "in/a/folder.npy")),
        ("hf://datasets/o/n/ids@2.pt", HubFile("o/n", "dataset", "main", "ids@2.pt")),
        ("hf://datasets/o/n@refs%2Fpr%2F1/x.jsonl", HubFile("o/n", "dataset", "refs/pr/1", "x.jsonl")),
        ("default", None),
        ("sedthh/gutenberg_english", None),
        ("folder/ids.pt", None),
    ],
)
def test_a_file_on_the_hub_is_named(source: str, expected: HubFile | None) -> None:
    assert hub_file(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "hf://",
        "hf://owner/ids.pt",
        "hf://owner/name",
        "hf://owner/name/",
        "hf://owner/name@/ids.pt",
        "hf://owner/name@main",
        "hf://owner//ids.pt",
        "hf://owner/name/../ids.pt",
        "hf://owner/name//ids.pt",
        "hf://datasets/name/ids.pt",
        "hf://spaces/owner/name/ids.pt",
        "hf://an owner/name/ids.pt",
    ],
)
def test_a_source_on_the_hub_of_another_form_is_refused(source: str) -> None:
    message = (
        f"corpus {source!r} names no file on the hub; expected hf://OWNER/NAME/FILE, hf://OWNER/NAME@REVISION/FILE"
    )
    with pytest.raises(MeasureError, match=re.escape(message)):
        hub_file(source)


def test_a_spec_on_any_corpus_has_an_id_that_can_name_a_file() -> None:
    sources = [
        "ids.pt",
        "a/ids.pt",
        "/b/ids.pt",
        "hf://o/n@rev/ids.pt",
        "hf://o/n/ids.pt",
        "in/train*",
        "C:\\ids.pt",
        "a/",
    ]
    ids = [CurveSpec("m", corpus=source).id for source in sources]
    assert len(set(ids)) == len(ids)
    assert not any(set(name) & set('\\/:*?|"<>') for name in ids)
    assert ids[0] == "m-corpusids.pt"
    assert all(name.startswith("m-corpusids.pt-") for name in ids[1:5])
    assert CurveSpec("m").id == "m"
    assert len(CurveSpec("m", corpus=f"a/{'x' * 250}").id) < 100
