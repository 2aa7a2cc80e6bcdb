"""Files of ours: read whole or refused with the reason, sealed to their place, swept of what killed runs left."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from measure import results
from measure.base import files
from measure.spec import MeasureError


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "Expecting value"),
        (b'{"a": 1', "Expecting"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"a": "caf\xe9"}', "it is not in UTF-8 (byte 10)"),
        ('{"a": 1}'.encode("utf-16"), "it is not in UTF-8"),
        (b"[NaN]", "NaN is no JSON number"),
        (b"[-Infinity]", "-Infinity is no JSON number"),
        (b"[1e400]", "1e400 is too large a number"),
        (b"[" + b"9" * 400 + b".5]", "is too large a number"),
        (b"[" + b"9" * 5000 + b"]", "is too large a number"),
        (b"[9223372036854775808]", "is too large a number"),
        (b"[" * 100_000, "it is nested too deep"),
        (b"[" * 60 + b"]" * 60, "it is nested too deep"),
        (b'{"a": 1, "b": 2, "a": 3}', "'a' is there twice"),
        ("\udce9", "it is not in UTF-8"),
    ],
)
def test_what_is_damaged_is_refused_with_the_reason(text: bytes | str, reason: str) -> None:
    with pytest.raises(MeasureError) as error:
        files.parsed(text)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_whole_is_read() -> None:
    assert files.parsed('{"a": [1, -2.5, 1e300, null, true, "\\ud800"], "b": {}}') == {
        "a": [1, -2.5, 1e300, None, True, "\ud800"],
        "b": {},
    }
    assert files.parsed(b"[-9223372036854775808, 12345678901234567890e10]") == [-(2**63), 1.2345678901234567e29]
    assert files.parsed(b"[" * 30 + b"]" * 30)


def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, reason in (
        ("pipe", "no ordinary file"),
        ("", "Is a directory"),
        ("none", "No such file"),
        ("loop", "symbolic links"),
    ):
        with pytest.raises(MeasureError, match=reason):
            files.read_json(tmp_path / name)


def test_a_seal_holds_for_one_content_in_one_place() -> None:
    kept = files.sealed("here", {"a": [1, 2]})
    assert files.unsealed("here", kept) == {"a": [1, 2]}
    changed = [kept.replace(b"1", b"3", 1), kept[:-3], kept[5:], b"", b"\n", b"\xff" + kept, kept.replace(b"\n", b"")]
    for place, content in (("there", kept), *(("here", one) for one in changed)):
        with pytest.raises(MeasureError, match="it is not as it was written"):
            files.unsealed(place, content)


def aged(path: Path, seconds: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("half")
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_old_temporaries_are_swept_and_nothing_else(tmp_path: Path) -> None:
    hash_ = "0123456789abcdef" * 4
    gone = [
        aged(tmp_path / name, files.OLD + 60)
        for name in (f".{hash_}.npz.a1b2c3d4", f".{hash_}.link.xxxx", ".it.json.abcdefgh", ".index.html.a_b_c_d_")
    ]
    # A neighbour's that runs, and what is somebody else's.
    stays = [aged(tmp_path / f".{hash_}.npz.a1b2c3d5", 1.0)]
    stays += [
        aged(tmp_path / name, 10 * files.OLD) for name in (".gitignore", "it.json", ".env.abcdefgh", ".it.json.swp")
    ]
    files.sweep([tmp_path, tmp_path / "none"])
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in stays)


def test_whoever_writes_into_a_folder_sweeps_it_once(tmp_path: Path) -> None:
    old = aged(tmp_path / ".it.json.abcdefgh", files.OLD + 60)
    results.write_atomically(tmp_path / "it.json", b"{}")
    assert not old.exists()
    aged(old, files.OLD + 60)
    results.write_atomically(tmp_path / "it.json", b"{}")
    assert old.exists()


def test_folders_that_were_being_filled_are_swept_a_day_after(tmp_path: Path) -> None:
    for name in (".fetch.abcdefgh", ".fetch.ijklmnop", ".fetch.x", "fetch.abcdefgh"):
        aged(tmp_path / name / "part", files.OLD_FOLDER + 60)
        os.utime(tmp_path / name, (time.time() - files.OLD_FOLDER - 60,) * 2)
    # What fills one touches what is in it, not the folder.
    aged(tmp_path / ".fetch.ijklmnop" / "part", 1.0)
    os.utime(tmp_path / ".fetch.ijklmnop", (0, 0))
    files.sweep_folders(tmp_path, r"\.fetch\.")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".fetch.ijklmnop", ".fetch.x", "fetch.abcdefgh"]
