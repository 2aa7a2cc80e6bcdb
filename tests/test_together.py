"""Specs of one model that are measured together: what comes out is what comes of each alone, and errors stay apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from measure.core import batches, forward, measurements
from measure.harness.engines import in_process as engine
from measure.harness.engines import one_load
from measure.harness.engines.store import Store
from measure.results import Curves
from measure.spec import CurveSpec, MeasureError, PredictionSpec

MODEL = "ladder-olmo-0.2m"


def spec_of(layer: int, **more: Any) -> CurveSpec:
    return CurveSpec(MODEL, layer=layer, pairs=8, steps=7, **more)


def measured(specs: list[Any], store: Store | None = None) -> dict[Any, Any]:
    return engine.measure(specs, store, lambda *_: None)


def test_layers_of_one_set_of_curves_are_measured_some_at_a_time() -> None:
    layers = [spec_of(layer) for layer in range(1, 2 * one_load.LAYERS + 2)]
    other = [spec_of(2, path="arc"), spec_of(3, path="arc"), PredictionSpec(MODEL, layer=2), PredictionSpec(MODEL)]
    reads = [spec_of(1, read="logits")]
    found = one_load.together(one_load.alike([*layers, *other, *reads]))
    assert sorted(map(len, found)) == [1, 1, 1, 1, 1, one_load.LAYERS, one_load.LAYERS + 1]
    assert found[0] == [layers[0], reads[0], *layers[1 : one_load.LAYERS]]
    assert {spec for specs in found for spec in specs} == {*layers, *other, *reads}


def test_a_spec_gives_the_same_alone_and_in_company(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[bool] = []
    whole = forward.run_from_layer
    monkeypatch.setattr(
        forward, "run_from_layer", lambda *a, **more: [ran.append("kept" in more), whole(*a, **more)][1]
    )
    specs = [spec_of(layer) for layer in (1, 2, 3, 4)] + [spec_of(2, read="logits")]
    together = measured(specs)
    assert any(ran)
    for spec in specs:
        (alone,) = measured([spec]).values()
        assert isinstance(alone, Curves)
        found = together[spec]
        for name in ("distance", "step_distance", "end_side_distance", "null_distance", "reference_norm"):
            scale = alone.reference_norm.max()
            np.testing.assert_allclose(getattr(found, name) / scale, getattr(alone, name) / scale, atol=1e-6)
        assert found.provenance == alone.provenance


def test_an_error_strikes_its_own_layer_alone() -> None:
    specs = [spec_of(layer) for layer in (1, 2, 3, 99)]
    found = measured(specs)
    assert [isinstance(found[spec], Curves) for spec in specs] == [True, True, True, False]
    assert isinstance(found[specs[-1]], MeasureError)
    assert "layer=99" in str(found[specs[-1]])


def test_what_the_store_holds_is_not_measured_again_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    specs = [spec_of(layer) for layer in (1, 2, 3, 4)]
    measured(specs[:1], store)
    asked: list[list[int]] = []
    whole = measurements.layers_curves

    def layers_curves(*given: Any, **more: Any) -> Any:
        asked.append(list(more["layers"]))
        return whole(*given, **more)

    monkeypatch.setattr(measurements, "layers_curves", layers_curves)
    measured(specs, store)
    measured(specs, store)
    assert asked == [[2, 3, 4]]


def test_keys_and_values_that_are_held_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    from measure.core import several

    chunks: list[int] = []
    whole = batches.Room.run
    monkeypatch.setattr(
        batches.Room,
        "run",
        lambda self, model, rows, *rest: [chunks.append(len(rows)), whole(self, model, rows, *rest)][1],
    )
    specs = [spec_of(layer, rows="independent") for layer in (1, 2, 3)]
    measured(specs)
    assert set(chunks) == {4}
    monkeypatch.setattr(several, "BYTES", 1)
    chunks.clear()
    measured(specs)
    assert set(chunks) == {1}
