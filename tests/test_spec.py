from __future__ import annotations

import re
from typing import Any

import pytest

from measure.spec import CrossingSpec, CurveSpec, MeasureError, PredictionSpec, SliceSpec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": 0}, "layers are counted from 1"),
        ({"steps": 1}, "at least 2 points"),
        ({"read": "norm"}, "choose one of final_norm, residual, logits"),
        ({"protocol": "loose"}, "choose one of paper, strict"),
        ({"precision": "half"}, "choose one of float32"),
        ({"weights": "shuffled"}, "use 'stored', 'scrambled:SEED' or 'untrained:SEED'"),
        ({"pairs": 1}, "at least 2 pairs"),
        ({"pairing": "alike"}, "choose one of random, random_with_bos"),
    ],
)
def test_a_bad_field_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(MeasureError, match=re.escape(message)):
        CurveSpec("ladder-olmo-0.2m", **change)


def test_ids_tell_specs_apart_and_can_name_files() -> None:
    specs = [
        CurveSpec("a/b@main"),
        CurveSpec("a/b@step1"),
        CurveSpec("a/b@main", weights="scrambled:0"),
        CurveSpec("a/b@main", layer=2),
        CurveSpec("a/b@main", pairs=10),
    ]
    ids = [spec.id for spec in specs]
    assert len(set(ids)) == len(ids)
    assert ids[0] == "a--b-main"
    assert ids[2] == "a--b-main-scrambled0"
    assert not any(set(name) & set('\\/:*?|"<>') for name in ids)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PredictionSpec("m", steps=5, span=5), "span=5: two points compared are 1 to steps - 1 = 4 apart"),
        (lambda: CrossingSpec("m", steps=10), "use an odd number"),
        (lambda: SliceSpec("m", size=1), "a slice needs at least 2 points a side"),
        (lambda: SliceSpec("m", extent=(0.5, 1.0)), "must run from 0 or below"),
        (lambda: SliceSpec("m", triples=0), "at least one triple"),
    ],
)
def test_a_bad_spec_of_another_kind_is_refused(make: Any, message: str) -> None:
    with pytest.raises(MeasureError, match=re.escape(message)):
        make()


def test_kinds_of_one_model_have_ids_of_their_own() -> None:
    ids = {kind("m").id for kind in (CurveSpec, PredictionSpec, CrossingSpec, SliceSpec)}
    assert ids == {"m", "m-prediction", "m-crossing", "m-slice"}
