from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from measure.core import agreement, batches, gates, paths, reference
from measure.core.agreement import Choice
from measure.core.course import Course
from measure.models.loading import LoadedModel, adopt
from measure.prompts.drawn import Pairs
from measure.results.crossings import Crossings
from measure.spec import Frozen, MeasureError
from tests.conftest import BUILDERS, DEPTH, tiny_model

STEPS, LAYER = 17, 2
# Where the pre-activation comes from, family by family: the oracle's own knowledge, not the code's.
GATES = {"gpt2": "mlp.c_fc", "gpt_neox": "mlp.dense_h_to_4h"}


def crossings(model: LoadedModel, pairs: Pairs, layer: int = LAYER, steps: int = STEPS) -> Crossings:
    found = gates.crossings(model, pairs, layer=layer, reads=["final_norm"], steps=steps, origin={})
    return found["final_norm"]


@torch.no_grad()
def plain_signs(model: LoadedModel, family: str, pairs: Pairs, row: int) -> np.ndarray:
    """(steps, blocks, gates) by one plain forward for each alpha, hooked at the projection itself."""
    ids_a, ids_b = torch.tensor(pairs.a[row]), torch.tensor(pairs.b[row])
    a, b = (reference.reference_states(model, ids, LAYER)[-1] for ids in (ids_a, ids_b))
    signs = []
    for alpha in paths.alphas(STEPS):
        kept: list[torch.Tensor] = []
        hooks = [
            block.get_submodule(GATES.get(family, "mlp.gate_proj")).register_forward_hook(
                lambda _, __, out, kept=kept: kept.append(out[0, -1] > 0)
            )
            for block in model.block_list[LAYER:]
        ]
        reference.reference_read(model, ids_a, a + alpha * (b - a), LAYER, "final_norm")
        for hook in hooks:
            hook.remove()
        signs.append(torch.stack(kept).numpy())
    return np.stack(signs)


@pytest.mark.parametrize("family", list(BUILDERS))
@pytest.mark.parametrize("path", ["fast", "reference"])
def test_counts_are_those_of_plain_forwards(
    family: str, path: Any, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(family)
    monkeypatch.setattr(agreement, "choose_path", lambda *_: Choice(path))
    found = crossings(model, pairs)
    for row in range(len(pairs)):
        signs = plain_signs(model, family, pairs, row)
        changes = (signs[1:] != signs[:-1]).sum(axis=2).T
        # A pre-activation within rounding of 0 may fall on either side.
        assert np.abs(found.crossings[row] - changes).sum() <= 2
        assert np.abs(found.coarse[row] - (signs[2::2] != signs[:-2:2]).sum(axis=(0, 2))).max() <= 2
        assert np.abs(found.end_crossings[row] - (signs[0] != signs[-1]).sum(axis=1)).max() <= 1
    assert found.crossings.sum() > 100
    assert found.gates.tolist() == [64] * (DEPTH - LAYER) if family != "gpt2" else [128] * (DEPTH - LAYER)


def test_points_cut_into_rows_give_the_same_counts(
    model: LoadedModel, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Any] = ["final_norm", "residual"]
    whole = crossings(model, pairs)
    monkeypatch.setattr(batches, "rows_of", lambda *_: 4)
    both = gates.crossings(model, pairs, layer=LAYER, reads=reads, steps=STEPS, origin={})
    cut = both["final_norm"]
    for name in ("crossings", "coarse", "end_crossings"):
        assert np.abs(getattr(cut, name) - getattr(whole, name)).sum() <= 2


@pytest.mark.parametrize("path", ["fast", "reference"])
def test_clean_runs_that_parts_are_frozen_at_are_not_counted(
    path: Any, olmo: LoadedModel, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the last MLP adds comes behind every gate, so that freezing it changes no sign."""
    monkeypatch.setattr(agreement, "choose_path", lambda *_: Choice(path))
    asked: dict[str, Any] = {"layer": LAYER, "reads": ["final_norm"], "steps": STEPS, "origin": {}}
    course = Course(interventions=(Frozen("mlp", (DEPTH, DEPTH)),))
    found = gates.crossings(olmo, pairs, course=course, **asked)["final_norm"]
    plain = gates.crossings(olmo, pairs, **asked)["final_norm"]
    np.testing.assert_array_equal(found.crossings, plain.crossings)
    np.testing.assert_array_equal(found.coarse, plain.coarse)
    assert np.abs(found.distance - plain.distance).max() > 1e-3


def test_no_hook_stays_behind(olmo: LoadedModel, pairs: Pairs) -> None:
    crossings(olmo, pairs)
    assert not any(module._forward_pre_hooks for module in olmo.network.modules())


def test_no_block_after_the_patch_has_no_gates(olmo: LoadedModel, pairs: Pairs) -> None:
    with pytest.raises(MeasureError, match="layer=4: OlmoForCausalLM has no block after its last, so no gates"):
        crossings(olmo, pairs, layer=DEPTH)


def test_a_model_without_gates_is_refused(pairs: Pairs) -> None:
    model = tiny_model("olmo")
    for block in model.block_list:
        block.mlp.act_fn = torch.nn.Identity()
    with pytest.raises(MeasureError, match="looked for one activation function in block 3.*found none"):
        crossings(adopt(model.network, None, "float32"), pairs)


def made(step_distance: np.ndarray, counts: np.ndarray) -> Crossings:
    rows, steps = step_distance.shape
    distance = np.concatenate([np.zeros((rows, 1)), np.cumsum(step_distance, axis=1)], axis=1)
    return Crossings(
        alphas=np.linspace(0, 1, steps + 1),
        distance=distance,
        null_distance=distance,
        reference_norm=np.ones(rows),
        units=np.arange(rows),
        gates=np.array([10]),
        crossings=counts[:, None],
        coarse=counts.sum(axis=1, keepdims=True) - 1,
        end_crossings=counts.sum(axis=1, keepdims=True),
        step_distance=step_distance,
    )


def test_flat_parts_and_boundaries_by_output_speed() -> None:
    found = made(np.array([[0.1, 0.1, 2.0, 2.0, 0.1, 0.1]]), np.array([[3, 1, 2, 4, 0, 1]]))
    assert found.flat.tolist() == [[True, True, False, False, True, True]]
    assert found.flat_share[0] == pytest.approx(4 / 6)
    assert found.flat_crossings == [5]
    assert found.total == [11]
    assert found.missed_by_half[0] == pytest.approx(1 / 11)
    assert found.crossing_rate_ratio[0] == pytest.approx((5 / 4) / (6 / 2))
    assert found.region_boundaries == [1]
    np.testing.assert_allclose(found.speed[0].mean(), 1)


def test_each_stretch_of_fast_steps_is_one_boundary() -> None:
    found = made(np.array([[2.0, 0.1, 2.0, 0.1, 2.0, 2.0, 0.1, 0.1, 0.1, 0.1]]), np.ones((1, 10), int))
    assert found.region_boundaries == [3]


def test_a_straight_run_has_no_flat_part_and_no_boundary() -> None:
    found = made(np.ones((1, 6)), np.ones((1, 6), int))
    assert found.flat_share == [0]
    assert found.region_boundaries == [0]
    assert np.isnan(found.crossing_rate_ratio).all()


def test_a_degenerate_pair_has_no_flat_part() -> None:
    found = made(np.zeros((1, 6)), np.ones((1, 6), int))
    for name in ("flat_share", "flat_crossings", "region_boundaries"):
        assert np.isnan(getattr(found, name)).all()
