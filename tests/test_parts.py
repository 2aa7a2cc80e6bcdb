"""MLPs and attention scaled or frozen: against models changed by hand, both paths, what is refused."""

from __future__ import annotations

import copy
import re
from contextlib import nullcontext
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

import measure
from measure import CurveSpec, Frozen, MeasureError, Scaled
from measure.core import measurements, parts, segments
from measure.core.course import USUAL, Course
from measure.harness.engines import store
from measure.models import loading as models
from measure.models.loading import LoadedModel, adopt
from measure.prompts.drawn import Pairs
from tests import families
from tests.conftest import DEPTH, tiny_model, tiny_network

A, B = [[5, 6, 7, 8], [9, 4, 5, 6, 7]], [[9, 10, 11, 12], [9, 4, 9, 3, 2]]
PAIRS = Pairs(tuple(map(tuple, A)), tuple(map(tuple, B)), (0, 1))
ASKED: dict[str, Any] = {"layer": 1, "steps": 5}
CHANGES = {
    "mlp": (Scaled("mlp", (2, 3), 0.5),),
    "attention": (Scaled("attention", (1, 4), 0.0),),
    "frozen mlp": (Frozen("mlp", (2, 4)),),
    "frozen attention": (Frozen("attention", (3, 3)),),
    "both": (Scaled("mlp", (1, 2), -1.5), Frozen("attention", (2, 4))),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("patched", [-1, -2])
def test_the_fast_path_is_the_reference(model: LoadedModel, name: str, patched: int) -> None:
    course = Course(patched=patched, read_at=patched, interventions=CHANGES[name])
    asked: dict[str, Any] = {"read": "final_norm", "origin": {}, "course": course, **ASKED}
    fast = measurements.fast_curves(model, PAIRS, **asked)
    plain = measurements.reference_curves(model, PAIRS, **asked)
    np.testing.assert_allclose(fast.relative, plain.relative, atol=1e-5)
    untouched = measurements.fast_curves(model, PAIRS, **{**asked, "course": Course(patched=patched, read_at=patched)})
    assert np.abs(fast.relative - untouched.relative).max() > 1e-3


def test_a_scaled_mlp_is_a_model_with_smaller_weights() -> None:
    network = tiny_network("llama")
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for block in changed.model.layers[1:3]:
            block.mlp.down_proj.weight *= 0.5
    found = measure.interpolate(network, A, B, interventions=[Scaled("mlp", (2, 3), 0.5)], **ASKED)
    np.testing.assert_allclose(found.distance, measure.interpolate(changed, A, B, **ASKED).distance, rtol=1e-4)
    assert found.provenance["interventions"] == ["scaled-mlp-2-3-0.5"]
    assert found.provenance["path"] == "fast"


def test_attention_and_mlps_all_frozen_leave_the_straight_line() -> None:
    """Then blocks add the same whatever was patched in, and the residual moves as the point does."""
    both = [Frozen("mlp", (2, DEPTH)), Frozen("attention", (2, DEPTH))]
    for family in ("llama", "gpt_neox", "gpt2"):
        found = measure.interpolate(tiny_network(family), A, B, interventions=both, read="residual", **ASKED)
        np.testing.assert_allclose(found.relative, np.tile(found.alphas, (2, 1)), atol=1e-5)


def test_scaled_by_1_nothing_changes_and_the_model_is_left_as_found() -> None:
    network = tiny_network("qwen2")
    before = measure.interpolate(network, A, B, **ASKED)
    found = measure.interpolate(network, A, B, interventions=[Scaled("mlp", (1, 4), 1)], **ASKED)
    np.testing.assert_allclose(found.distance, before.distance, rtol=1e-5)
    measure.interpolate(network, A, B, interventions=[Scaled("mlp", (1, 4), 0)], **ASKED)
    np.testing.assert_array_equal(measure.interpolate(network, A, B, **ASKED).distance, before.distance)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("family", ["olmo2", "gemma2", "granite", "phi", "gptj"])
def test_what_is_added_is_found_behind_norms_multipliers_and_beside_one_another(family: str) -> None:
    network = families.network_of(family)
    model = adopt(network, None, "float32")
    with models.as_measured(model.network):
        modules = parts.found(model, [("mlp", 2), ("attention", 2)])
    assert len(modules) == 2
    both = [Scaled("mlp", (1, 4), 0.0), Scaled("attention", (1, 4), 0.0)]
    found = measure.interpolate(network, A, B, interventions=both, read="residual", steps=5)
    # With nothing added any more, what is patched in is what comes out.
    np.testing.assert_allclose(found.relative, np.tile(found.alphas, (2, 1)), atol=1e-5)


@pytest.mark.parametrize("family", ["bloom", "opt", "mamba"])
def test_a_family_without_parts_of_its_own_is_refused(family: str) -> None:
    with pytest.raises(MeasureError, match="the mlp of block 2 cannot be changed alone: looked for an attention"):
        measure.interpolate(families.network_of(family), A, B, interventions=[Scaled("mlp", (2, 2), 0.0)], steps=5)


def test_a_broken_fast_path_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("olmo")
    course = Course(interventions=CHANGES["frozen mlp"])
    assert segments.choice_of(model, PAIRS, 1, ["final_norm"], 5, course).path == "fast"
    model.facts.passed.clear()
    plain = parts.frozen
    monkeypatch.setattr(parts, "frozen", lambda rows, length=None, _=1: nullcontext() if length else plain(rows))
    assert segments.choice_of(model, PAIRS, 1, ["final_norm"], 5, course).path == "reference"
    assert USUAL.key == ""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scaled("mlp", (4, 1), 0.0), "blocks=(4, 1): expected the first block and the last, counted from 1"),
        (lambda: Scaled("mlp", (0, 1), 0.0), "blocks=(0, 1): expected the first block"),
        (lambda: Scaled("mlp", 3, 0.0), "blocks=3 is no range"),
        (lambda: Scaled("mlp", (1, 2, 3), 0.0), "blocks=(1, 2, 3) is no range"),
        (lambda: Scaled("mlp", (1, 2.5), 0.0), "blocks=(1, 2.5) is no range"),
        (lambda: Scaled("mlps", (1, 2), 0.0), "part='mlps' is not known; choose one of mlp, attention"),
        (lambda: Scaled("mlp", (1, 2), float("nan")), "factor=nan: expected a finite number"),
        (lambda: Scaled("mlp", (1, 2), float("inf")), "factor=inf: expected a finite number"),
        (lambda: Scaled("mlp", (1, 2), "0"), "factor='0': expected a finite number"),
        (lambda: measured(Scaled("mlp", (2, 9), 0.0)), "has 4 blocks; choose a range within 1 to 4"),
        (lambda: measured(Frozen("mlp", (1, 1))), "these blocks run before the patch after block 1"),
        (lambda: measured("mlp"), "interventions is a str; expected a list of Scaled and Frozen"),
        (lambda: measured(*["mlp"]), "interventions is a str"),
        (lambda: CurveSpec("m", interventions=(3,)), "interventions holds a int"),
        (
            lambda: CurveSpec("m", interventions=(Scaled("mlp", (1, 2), 0), Frozen("mlp", (2, 3)))),
            "scaled-mlp-1-2-0 and frozen-mlp-2-3 both change the mlp of block 2",
        ),
    ],
)
def test_bad_input_is_one_clear_error(make: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(MeasureError, match=re.escape(message)):
        make()


def measured(intervention: Any) -> Any:
    return measure.interpolate(tiny_network("olmo"), A, B, interventions=intervention, **ASKED)


def test_a_spec_names_its_interventions(olmo: LoadedModel) -> None:
    spec = CurveSpec("m", interventions=CHANGES["mlp"], steps=5)
    assert spec.id == "m-steps5-scaled-mlp-2-3-0.5"
    names = {str(Scaled("mlp", (2, 3), factor)) for factor in (0.1234567, 0.12345671, 0.123457)}
    assert len(names) == 3
    assert store.key(spec, {}) != store.key(CurveSpec("m", steps=5), {})
    (found,) = measurements.measure_specs([spec], olmo, PAIRS, origin={})
    expected = measured(CHANGES["mlp"])
    np.testing.assert_allclose(found.distance, expected.distance, rtol=1e-5)  # type: ignore[attr-defined]
    assert found.provenance["spec"]["interventions"][0]["factor"] == 0.5
