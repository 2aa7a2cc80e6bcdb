"""What changes a number changes the address; a damaged file is no result."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from measure import catalog, engine, known, store
from measure.results import Curves
from measure.spec import CurveSpec
from measure.store import Store
from tests.conftest import tiny_network
from tests.test_results import curves_of, line

SPEC = CurveSpec("ladder-olmo-0.2m", pairs=4, steps=5)
CONDITIONS = {"weights": "w", "prompts": "p", "torch": "2", "transformers": "5", "device": "cpu"}


def test_every_condition_is_part_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = {store.key(SPEC, CONDITIONS), store.key(replace(SPEC, layer=2), CONDITIONS)}
    addresses |= {store.key(SPEC, {**CONDITIONS, name: "other"}) for name in CONDITIONS}
    monkeypatch.setattr(store, "source_hash", lambda: "other source")
    addresses.add(store.key(SPEC, CONDITIONS))
    assert len(addresses) == 3 + len(CONDITIONS)


def test_every_module_that_makes_a_number_is_hashed() -> None:
    """Those that a measurement imports, directly or not."""
    from tests.test_architecture import imported

    found, new = set(), {"measurements"}
    while new:
        found |= new
        new = set().union(*map(imported, new)) - found
    assert found - {
        "files",
        "shown",
        "gguf_files",
        "shelf",
        "catalog",
        "figures",
        "stats",
        "shared_ends",
        "metrics",
        "hub",
        "hub_errors",
    } == set(known.MEASURING_MODULES)


def test_a_result_comes_back(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    assert kept.get("ab12") is None
    kept.put("ab12", curves_of(line()))
    found = kept.get("ab12")
    assert found is not None
    np.testing.assert_array_equal(found.distance, curves_of(line()).distance)


def test_a_damaged_result_is_measured_again(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    kept.put("ab12", curves_of(line()))
    path = tmp_path / "ab" / "ab12.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert kept.get("ab12") is None


def measured(kept: Store, *specs: CurveSpec) -> tuple[list[str], dict[CurveSpec, engine.Outcome]]:
    how: list[str] = []
    outcomes = engine.measure(specs, kept, lambda _, state: how.append(state))
    return how, outcomes


def test_a_second_run_reuses_and_a_changed_one_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Store(tmp_path)
    assert measured(kept, SPEC)[0] == ["measured"]
    assert measured(kept, SPEC)[0] == ["stored"]
    assert measured(kept, replace(SPEC, seed=1))[0] == ["measured"]
    assert measured(kept, replace(SPEC, weights="scrambled:0"))[0] == ["measured"]
    monkeypatch.setattr(store, "source_hash", lambda: "changed measuring code")
    assert measured(kept, SPEC)[0] == ["measured"]


def test_an_error_strikes_its_own_specs_alone(tmp_path: Path) -> None:
    bad_layer, unknown = replace(SPEC, layer=9), replace(SPEC, model="nobody-knows")
    how, outcomes = measured(Store(tmp_path), SPEC, bad_layer, unknown)
    assert sorted(how) == ["failed", "failed", "measured"]
    assert isinstance(outcomes[SPEC], Curves)
    assert "has 4 blocks" in str(outcomes[bad_layer])
    assert "is unknown" in str(outcomes[unknown])


def test_a_kept_error_holds_no_frames(tmp_path: Path) -> None:
    outcome = measured(Store(tmp_path), replace(SPEC, layer=9))[1].popitem()[1]
    assert isinstance(outcome, Exception)
    assert outcome.__traceback__ is outcome.__context__ is outcome.__cause__ is None


def test_a_model_without_a_tokenizer_says_so(tmp_path: Path) -> None:
    tiny_network("olmo").save_pretrained(tmp_path / "model")
    bare = replace(SPEC, model=str(tmp_path / "model"))
    assert "has no tokenizer to draw prompts with" in str(measured(Store(tmp_path), bare)[1][bare])


def test_a_tokenizer_of_another_model_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    tiny_network("olmo").save_pretrained(folder)
    shutil.copytree(catalog.LADDER / "tokenizer", folder, dirs_exist_ok=True)
    asked = replace(SPEC, model=str(folder))
    said = str(measured(Store(tmp_path), asked)[1][asked])
    assert said.startswith("the prompts drawn[")
    assert "knows ids 0 to 96" in said


def test_a_model_is_loaded_once_for_all_its_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    whole = engine.models.load
    monkeypatch.setattr(engine.models, "load", lambda name, **k: loads.append(name) or whole(name, **k))
    measured(Store(tmp_path), SPEC, replace(SPEC, layer=2), replace(SPEC, model=f"{SPEC.model}@step0-tokens0M"), SPEC)
    assert loads == [SPEC.model, f"{SPEC.model}@step0-tokens0M"]


def test_pairs_are_drawn_once_for_models_of_one_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    whole = engine.prompts.draw
    monkeypatch.setattr(engine.prompts, "draw", lambda *a: drawn.append(1) or whole(*a))
    fresh = replace(SPEC, seed=12345)
    outcomes = measured(
        Store(tmp_path), fresh, replace(fresh, model=f"{SPEC.model}@step0-tokens0M"), replace(fresh, layer=2)
    )[1]
    assert len(drawn) == 1
    assert len({outcome.provenance["prompts_sha256"] for outcome in outcomes.values()}) == 1  # type: ignore[union-attr]


def test_hub_models_default_to_the_papers_corpus() -> None:
    assert engine.corpus_of(SPEC, "hub") == "sedthh/gutenberg_english"
    assert engine.corpus_of(SPEC, "ladder") == "default"
    assert engine.corpus_of(replace(SPEC, corpus="mine.parquet"), "hub") == "mine.parquet"
