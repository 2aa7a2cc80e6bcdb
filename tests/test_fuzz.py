"""Damaged files of ours: of a thousand mutations none ends in a traceback, a hang or a wrong number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import fuzz

KINDS = {kind.name: kind for kind in fuzz.kinds()}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_whole_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Else every mutation would be refused, and nothing said of it."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    path = tmp_path / KINDS[name].path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(KINDS[name].whole)
    assert fuzz.outcome(KINDS[name], tmp_path) in ("same", "edited")


def test_a_thousand_mutations(tmp_path: Path) -> None:
    found, errors = fuzz.fuzz(1000, 0, tmp_path)
    assert errors == []
    assert found.keys() == KINDS.keys()
    # Damage is seen, and not everything is damaged for good.
    assert all(set(counts) - {"same", "edited"} for counts in found.values())


def test_mutations_are_the_same_each_time() -> None:
    kind = KINDS["card"]
    first, again = (fuzz.mutated(kind, np.random.default_rng([0, 7])) for _ in range(2))
    assert first == again


def test_what_goes_wrong_is_told(tmp_path: Path) -> None:
    """The control: a kind whose reader believes everything."""
    (tmp_path / "x").write_bytes(b"x")
    assert fuzz.outcome(fuzz.Kind("k", "x", b"x", lambda _: fuzz.wrong("believed")), tmp_path).startswith("ERROR")
    assert fuzz.outcome(fuzz.Kind("k", "x", b"x", lambda _: str(1 // 0)), tmp_path).startswith("ERROR")
