"""The fast path is the reference path, and would be seen not to be if it were broken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from measure.core import agreement, forward, measurements, reference
from measure.models.loading import LoadedModel, adopt
from measure.prompts.drawn import Pairs
from measure.results import Curves
from measure.spec import READS, Read
from tests.conftest import DEPTH, random_prompts, tiny_model, tiny_network

BOUND = 1e-5
STEPS = 9


def both(model: LoadedModel, pairs: Pairs, layer: int, read: Read = "final_norm") -> tuple[Curves, Curves]:
    fast = measurements.fast_curves(model, pairs, layer=layer, read=read, steps=STEPS, origin={})
    reference = measurements.reference_curves(model, pairs, layer=layer, read=read, steps=STEPS, origin={})
    return fast, reference


def disagreement(fast: Curves, reference: Curves) -> float:
    """Largest difference of relative distance; infinite where only one of the two has any."""
    difference = np.abs(fast.relative - reference.relative)
    return float(np.where(np.isnan(difference), np.inf, difference).max())


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("layer", [1, 2, DEPTH - 1, DEPTH])
def test_fast_is_reference(model: LoadedModel, pairs: Pairs, layer: int, read: Read) -> None:
    fast, reference = both(model, pairs, layer, read)
    assert not fast.degenerate.any()
    assert disagreement(fast, reference) <= BOUND
    assert disagreement(fast.null, reference.null) <= BOUND
    np.testing.assert_allclose(fast.distance, reference.distance, atol=float(BOUND * fast.reference_norm.max()))


def test_the_reference_itself_is_the_definition(olmo: LoadedModel) -> None:
    """Against a forward written out by hand here, block by block."""
    prompt_a, prompt_b = random_prompts([6, 6])
    network, layer = olmo.network, 2
    positions = torch.arange(6)[None]

    def run(states: torch.Tensor, blocks: Any) -> torch.Tensor:
        rotary = network.model.rotary_emb(states, positions)
        for block in blocks:
            states = block(states, attention_mask=None, position_ids=positions, position_embeddings=rotary)
        return states

    with torch.no_grad():
        below_a, below_b = (
            run(network.model.embed_tokens(torch.tensor([prompt])), network.model.layers[:layer])
            for prompt in (prompt_a, prompt_b)
        )
        ends = []
        for alpha in (0.0, 0.25, 1.0):
            patched = below_a.clone()
            patched[:, -1] += alpha * (below_b[:, -1] - below_a[:, -1])
            ends.append(network.model.norm(run(patched, network.model.layers[layer:]))[0, -1])
    expected = [float(torch.linalg.vector_norm(end - ends[0])) for end in ends]
    fast, reference = both(olmo, Pairs((prompt_a,), (prompt_b,), (0,)), layer)
    for curves in (fast, reference):
        np.testing.assert_allclose(curves.distance[0, [0, 2, -1]], expected, rtol=1e-5, atol=1e-6)


def _wrong_prefix(patch: pytest.MonkeyPatch) -> None:
    whole = forward.run_from_layer
    patch.setattr(forward, "run_from_layer", lambda m, earlier, *a, **k: whole(m, earlier.roll(1, 0), *a, **k))


def _stale_states(patch: pytest.MonkeyPatch) -> None:
    """What an uncropped or reused cache does: an earlier prompt's states stand in for this one's."""
    whole, kept = forward.run_to_layer, {}

    def stale(model: LoadedModel, ids: torch.Tensor, layer: int) -> forward.Boundary:
        return kept.setdefault(ids.shape[1], whole(model, ids.flip(0), layer))

    patch.setattr(forward, "run_to_layer", stale)


def _layer_too_few(patch: pytest.MonkeyPatch) -> None:
    whole = forward.run_to_layer
    patch.setattr(forward, "run_to_layer", lambda model, ids, layer: whole(model, ids, layer - 1))


def _layer_too_many(patch: pytest.MonkeyPatch) -> None:
    whole = forward.run_from_layer
    patch.setattr(
        forward, "run_from_layer", lambda m, e, p, layer, read, **k: whole(m, e, p, min(layer + 1, m.depth), read, **k)
    )


def _dead_entry(patch: pytest.MonkeyPatch) -> None:
    """The patch is not applied: every alpha runs the state of alpha = 0."""
    whole = forward.run_from_layer
    patch.setattr(forward, "run_from_layer", lambda m, e, p, *a, **k: whole(m, e, p[:, :1].expand_as(p), *a, **k))


def _points_see_each_other(patch: pytest.MonkeyPatch) -> None:
    def causal(earlier: int, points: int, like: torch.Tensor, *_: Any) -> torch.Tensor:
        size = earlier + points
        return torch.full((size, size), torch.finfo(like.dtype).min).triu(1)[None, None]

    patch.setattr(forward, "_points_mask", causal)


def _positions_run_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.Tensor, "clamp", lambda tensor, **_: tensor)


@pytest.mark.parametrize(
    "broken",
    [
        _wrong_prefix,
        _stale_states,
        _layer_too_few,
        _layer_too_many,
        _dead_entry,
        _points_see_each_other,
        _positions_run_on,
    ],
)
def test_a_broken_fast_path_is_seen(family: str, monkeypatch: pytest.MonkeyPatch, broken: Any) -> None:
    if family == "gpt2" and broken is _positions_run_on:
        pytest.skip("GPT-2 adds positions to the embeddings, below any patch: position ids above it have no effect")
    model = tiny_model(family)
    same = Pairs(random_prompts([6] * 4), random_prompts([6] * 4, seed=1), (0, 1, 2, 3))
    reference = measurements.reference_curves(model, same, layer=2, read="final_norm", steps=STEPS, origin={})
    with monkeypatch.context() as patch:
        broken(patch)
        fast = measurements.fast_curves(model, same, layer=2, read="final_norm", steps=STEPS, origin={})
        choice = agreement.choose_path(model, same.a, same.b, 2, ["final_norm"], STEPS)
    assert disagreement(fast, reference) > 100 * BOUND
    assert choice.path == "reference"
    assert str(choice.reason).startswith("the fast path ")


def test_a_dead_hook_in_the_reference_is_seen(
    model: LoadedModel, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = measurements.fast_curves(model, pairs, layer=2, read="final_norm", steps=STEPS, origin={})
    whole = reference.reference_reads

    def dead(m: LoadedModel, ids: torch.Tensor, point: torch.Tensor, *rest: Any) -> dict[Any, torch.Tensor]:
        return whole(m, ids, reference.reference_states(m, ids, rest[0])[-1], *rest)

    monkeypatch.setattr(reference, "reference_reads", dead)
    plain = measurements.reference_curves(model, pairs, layer=2, read="final_norm", steps=STEPS, origin={})
    assert disagreement(fast, plain) > 100 * BOUND


def test_the_reference_runs_each_point_once_for_all_reads(
    olmo: LoadedModel, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, layers = reference.reference_reads, []

    def counted(m: LoadedModel, ids: torch.Tensor, point: torch.Tensor, layer: int, *rest: Any) -> Any:
        layers.append(layer)
        return whole(m, ids, point, layer, *rest)

    monkeypatch.setattr(reference, "reference_reads", counted)
    measurements.reference_curves(olmo, pairs, layer=2, read="final_norm", steps=STEPS, origin={})
    assert layers.count(2) == len(pairs) * STEPS


def test_last_layer_residual_is_a_straight_line(model: LoadedModel, pairs: Pairs) -> None:
    fast, reference = both(model, pairs, DEPTH, "residual")
    for curves in (fast, reference):
        np.testing.assert_allclose(curves.relative, np.tile(curves.alphas, (len(pairs), 1)), atol=1e-6)
        np.testing.assert_allclose(curves.max_slope, 1.0, atol=1e-4)


def test_the_null_is_the_norm_of_the_straight_line_between_the_final_residuals(olmo: LoadedModel) -> None:
    prompt_a, prompt_b = random_prompts([6, 6])
    pair = Pairs((prompt_a,), (prompt_b,), (0,))
    fast = measurements.fast_curves(olmo, pair, layer=2, read="final_norm", steps=STEPS, origin={})
    ids = torch.tensor(prompt_a)
    with torch.no_grad():
        ends = [
            reference.reference_read(olmo, ids, reference.reference_states(olmo, torch.tensor(p), 2)[-1], 2, "residual")
            for p in (prompt_a, prompt_b)
        ]
        line = torch.stack([ends[0] + alpha * (ends[1] - ends[0]) for alpha in np.linspace(0, 1, STEPS)])
        normed = olmo.network.model.norm(line)
    expected = torch.linalg.vector_norm(normed - normed[0], dim=-1)
    np.testing.assert_allclose(fast.null_distance[0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fast.null_distance[0, -1], fast.distance[0, -1], rtol=1e-5)
    straight = measurements.fast_curves(olmo, pair, layer=2, read="residual", steps=STEPS, origin={})
    np.testing.assert_allclose(straight.null.max_slope, 1, atol=1e-4)


def test_float64_agrees_to_float64_before_the_norm(olmo: LoadedModel, pairs: Pairs) -> None:
    model = LoadedModel(olmo.network.double(), None, olmo.blocks, "tiny", "main", "stored", "loaded", "", "")
    fast, reference = both(model, pairs, 1, "residual")
    assert disagreement(fast, reference) <= 1e-13


def test_the_model_is_left_as_found(family: str, pairs: Pairs) -> None:
    network = tiny_network(family).train()
    before = {name: (type(m), m.training, len(m._forward_hooks)) for name, m in network.named_modules()}
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    model = adopt(network, None, "float32")
    both(model, pairs, 2, "logits")
    with pytest.raises(RuntimeError, match="stop"):
        _interrupted(model, pairs)
    assert before == {name: (type(m), m.training, len(m._forward_hooks)) for name, m in network.named_modules()}
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


def _interrupted(model: LoadedModel, pairs: Pairs) -> None:
    def stop(_module: nn.Module, _inputs: Any) -> None:
        raise RuntimeError("stop")

    hook = model.block_list[-1].register_forward_pre_hook(stop)
    try:
        measurements.reference_curves(model, pairs, layer=2, read="final_norm", steps=STEPS, origin={})
    finally:
        hook.remove()
