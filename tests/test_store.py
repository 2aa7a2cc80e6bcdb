"""What changes a number changes the address; a damaged file is no result."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from measure import catalog
from measure.harness.engines import drawing, store
from measure.harness.engines import in_process as engine
from measure.harness.engines import protocol as engines
from measure.harness.engines.store import Store
from measure.hub import known
from measure.models import loading as models
from measure.prompts import drawn as prompts
from measure.results import Curves
from measure.spec import CurveSpec, MeasureError
from tests.conftest import tiny_network
from tests.test_results import curves_of, line

ROOT = Path(__file__).parent.parent

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
    from tests.test_architecture import imported, wing

    found, new = set(), {"core.measurements"}
    while new:
        found |= new
        new = set().union(*map(imported, new)) - found
    # What brings files, says how sure one is, or draws what came out.
    others = {name for name in found if wing(name) in {"base", "catalog", "hub", "kinds", "shown", "stats"}}
    assert all(known.is_measuring(f"measure.{name}") for name in found - others)
    makes = {"base.checkpoint_files", "base.places", "hub.known", "hub.stale", "hub.tokenizer_places"}
    assert {name for name in others if known.is_measuring(f"measure.{name}")} == makes
    assert all(list((ROOT / "measure").glob(f"{place}*")) for place in known.MEASURING)


def test_a_result_comes_back(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    assert kept.get("ab12") is None
    kept.put("ab12", curves_of(line()))
    found = kept.get("ab12")
    assert found is not None
    np.testing.assert_array_equal(found.distance, curves_of(line()).distance)


def test_a_result_that_an_earlier_version_kept_is_found(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    kept.put("ab12", curves_of(line()))
    kept.link("cd34", "ab12")
    for name in ("ab12.npz", "cd34.link"):
        (tmp_path / name[:2]).mkdir()
        (tmp_path / name[:3] / name).rename(tmp_path / name[:2] / name)
    assert kept.follow("cd34") is not None
    assert kept.holds("cd34")


def test_a_damaged_result_is_measured_again(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    kept.put("ab12", curves_of(line()))
    path = tmp_path / "ab1" / "ab12.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert kept.get("ab12") is None


def measured(kept: Store, *specs: CurveSpec) -> tuple[list[str], dict[CurveSpec, engines.Outcome]]:
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
    whole = models.load
    monkeypatch.setattr(models, "load", lambda name, **k: loads.append(name) or whole(name, **k))
    measured(Store(tmp_path), SPEC, replace(SPEC, layer=2), replace(SPEC, model=f"{SPEC.model}@step0-tokens0M"), SPEC)
    assert loads == [SPEC.model, f"{SPEC.model}@step0-tokens0M"]


def test_pairs_are_drawn_once_for_models_of_one_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    whole = prompts.draw
    monkeypatch.setattr(prompts, "draw", lambda *a: drawn.append(1) or whole(*a))
    fresh = replace(SPEC, seed=12345)
    outcomes = measured(
        Store(tmp_path), fresh, replace(fresh, model=f"{SPEC.model}@step0-tokens0M"), replace(fresh, layer=2)
    )[1]
    assert len(drawn) == 1
    assert len({outcome.provenance["prompts_sha256"] for outcome in outcomes.values()}) == 1  # type: ignore[union-attr]


def test_hub_models_default_to_the_papers_corpus() -> None:
    assert drawing.corpus_of(SPEC, "hub") == "sedthh/gutenberg_english"
    assert drawing.corpus_of(SPEC, "ladder") == "default"
    assert drawing.corpus_of(replace(SPEC, corpus="mine.parquet"), "hub") == "mine.parquet"


def put_both(folder: Path) -> tuple[Path, Path]:
    """A result and a link to it, and their files."""
    kept = Store(folder)
    kept.put("ab12", curves_of(line()))
    kept.link("cd34", "ab12")
    assert kept.follow("cd34") is not None
    return folder / "ab1" / "ab12.npz", folder / "cd3" / "cd34.link"


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"ab12", b"a" * 10_000, b'"ab12"\n0123456789abcdef\n', b"../../x", b"\0"]
)
def test_a_link_that_is_not_as_it_was_written_leads_nowhere(tmp_path: Path, content: bytes) -> None:
    _, path = put_both(tmp_path)
    path.write_bytes(content)
    kept = Store(tmp_path)
    assert kept.follow("cd34") is None
    assert not kept.holds("cd34")
    kept.link("cd34", "ab12")
    assert kept.holds("cd34")
    assert kept.problem is None


def test_a_link_of_another_name_leads_nowhere(tmp_path: Path) -> None:
    _, path = put_both(tmp_path)
    shutil.copy(path, tmp_path / "cd3" / "cd39.link")
    assert Store(tmp_path).follow("cd39") is None


def test_a_result_of_another_address_is_none(tmp_path: Path) -> None:
    path, _ = put_both(tmp_path)
    shutil.copy(path, tmp_path / "ab1" / "ab19.npz")
    assert Store(tmp_path).get("ab19") is None
    assert Store(tmp_path).get("ab12") is not None


def test_folders_and_pipes_in_place_of_files_are_told(tmp_path: Path) -> None:
    for path in put_both(tmp_path):
        path.unlink()
        path.mkdir()
    (tmp_path / "refreshed").mkdir()
    kept = Store(tmp_path, refreshing=True)
    assert (kept.get("ab12"), kept.follow("cd34"), kept.holds("cd34")) == (None, None, False)
    kept.put("ab12", curves_of(line()))
    kept.link("cd34", "ab12")
    kept.put("ab13", curves_of(line()))
    kept.end_refresh()
    assert kept.problem is not None
    assert kept.problem.startswith(f"results are not kept: {tmp_path} cannot be written (")
    assert "--store DIR" in kept.problem


def test_a_journal_that_is_no_text_remembers_nothing(tmp_path: Path) -> None:
    put_both(tmp_path)
    (tmp_path / "refreshed").write_bytes(b"\xff\xfeab12\n")
    assert Store(tmp_path, refreshing=True).get("ab12") is None
    (tmp_path / "refreshed").write_bytes(b"\xff\xfe\nab12\n")
    assert Store(tmp_path, refreshing=True).get("ab12") is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda arrays: arrays.update(distance=arrays["distance"][:, :7]), "not as it was written"),
        (lambda arrays: arrays.update(distance=2 * arrays["distance"]), "not as it was written"),
        (lambda arrays: arrays.pop("units"), "not as it was written"),
        (lambda arrays: arrays.update(header=np.array("[]")), "no attribute"),
    ],
)
def test_a_whole_archive_of_other_content_is_no_result(tmp_path: Path, change: object, said: str) -> None:
    path, _ = put_both(tmp_path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    change(arrays)  # type: ignore[operator]
    np.savez(path, **arrays)
    assert Store(tmp_path).get("ab12") is None
    with pytest.raises(MeasureError, match="is not a whole result file") as error:
        Curves.load(path)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"distance": np.zeros((1, 7))},
        {"alphas": np.zeros((50, 1))},
        {"reference_norm": np.zeros(3)},
        {"units": np.zeros(1)},
        {"step_distance": np.zeros((1, 50))},
    ],
)
def test_arrays_that_do_not_fit_are_no_result(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    """Of files of earlier versions, which have no seal."""
    path = tmp_path / "it.npz"
    np.savez(path, **unsealed(curves_of(line())))
    assert len(Curves.load(path)) == 1
    np.savez(path, **{**unsealed(curves_of(line())), **change})
    with pytest.raises(MeasureError, match="is not a whole result file"):
        Curves.load(path)


def unsealed(curves: Curves) -> dict[str, np.ndarray]:
    header = {"format": 1, "kind": "curves", "provenance": {}}
    arrays = {name: value for name, value in vars(curves).items() if isinstance(value, np.ndarray)}
    return {**arrays, "header": np.array(json.dumps(header))}


@pytest.mark.parametrize("lost", ["spec", "weights_sha256", "prompts_sha256", "device", "revision"])
def test_a_stored_result_that_lacks_where_it_comes_from_is_measured_again(tmp_path: Path, lost: str) -> None:
    kept = Store(tmp_path)
    assert measured(kept, SPEC)[0] == ["measured"]
    for path in tmp_path.rglob("*.npz"):
        result, address = Curves.read(path)
        del result.provenance[lost]
        kept.put(address, result)
    assert measured(kept, SPEC)[0] == ["measured"]
    assert measured(kept, SPEC)[0] == ["stored"]


def test_a_stored_result_of_another_spec_is_measured_again(tmp_path: Path) -> None:
    kept, other = Store(tmp_path), replace(SPEC, layer=2)
    assert measured(kept, SPEC, other)[0] == ["measured"] * 2
    (address, wrong), (_, right) = ((Curves.read(path)[1], Curves.load(path)) for path in tmp_path.rglob("*.npz"))
    kept.put(address, right)
    assert wrong.provenance["spec"] != right.provenance["spec"]
    assert sorted(measured(kept, SPEC, other)[0]) == ["measured", "stored"]


@pytest.mark.parametrize("place", ["/dev/null", "file"])
def test_where_nothing_can_be_kept_is_measured_and_told_once(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("no folder")
    kept = Store(tmp_path / place)
    assert measured(kept, SPEC, replace(SPEC, layer=2))[0] == ["measured"] * 2
    assert kept.problem is not None
    assert kept.problem.startswith(f"results are not kept: {tmp_path / place} cannot be written (Not a directory)")


def test_what_killed_runs_left_is_swept_and_not_what_a_neighbour_writes(tmp_path: Path) -> None:
    old, young = (tmp_path / "ab1" / f".{'ab' * 32}.npz.{name}" for name in ("aaaaaaaa", "bbbbbbbb"))
    put_both(tmp_path)
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    Store(tmp_path, dry=True).sweep()
    assert old.exists()
    Store(tmp_path).sweep()
    assert (old.exists(), young.exists()) == (False, True)
    Store(tmp_path / "none").sweep()
