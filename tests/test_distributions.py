"""Next-token distributions along curves are float64's; logits by linearity are those of the unembedding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import Tensor, nn

from measure.core import agreement, distributions, predicting
from measure.models.loading import LoadedModel, adopt
from measure.prompts.drawn import Pairs
from tests.conftest import tiny_model
from tests.test_families import network

TOKENS, STEPS, SPAN = 3000, 11, 4


def logits(scale: float, seed: int = 0) -> Tensor:
    """Two curves from one distribution to another, in float32."""
    generator = torch.Generator().manual_seed(seed)
    first, last = torch.randn(2, 2, 1, TOKENS, generator=generator) * scale
    at = torch.linspace(0, 1, STEPS)[:, None]
    return first + at * (last - first)


@pytest.mark.parametrize("scale", [0.1, 3.0, 20.0])
@pytest.mark.parametrize("cached", [1, 500, 2**18])
def test_what_is_told_is_what_float64_gives(scale: float, cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributions, "CACHED", cached * STEPS)
    given = logits(scale)
    # A token that never comes.
    given[:, :, 7] = -torch.inf
    found = distributions.along(given, SPAN)
    p = given.double().softmax(-1)
    terms = torch.where(p > 0, p * p.log(), 0.0)
    torch.testing.assert_close(found.entropy, -terms.sum(-1), rtol=1e-6, atol=1e-6)
    assert torch.equal(found.top, given.argmax(-1))
    for pair, rows in enumerate(p.numpy()):
        bits = [jensenshannon(rows[i], rows[i + SPAN], base=2) ** 2 for i in range(STEPS - SPAN)]
        np.testing.assert_allclose(found.spans[pair], bits, atol=2e-7)
        assert float(found.ends[pair]) == pytest.approx(jensenshannon(rows[0], rows[-1], base=2) ** 2, abs=2e-7)


def test_equal_and_disjoint_distributions_are_0_and_1_bit_apart() -> None:
    given = torch.full((1, 4, 6), -torch.inf)
    given[0, :2, :3] = given[0, 2:, 3:] = 1.0
    found = distributions.along(given, 1)
    np.testing.assert_allclose(found.spans[0], [0, 1, 0], atol=1e-7)
    assert float(found.ends[0]) == pytest.approx(1)
    assert found.top.tolist() == [[0, 0, 3, 3]]


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_logit_that_is_no_number_leaves_no_entropy(wrong: float) -> None:
    given = logits(1.0)
    given[0, 3, 5] = wrong
    found = distributions.along(given, SPAN)
    assert torch.isnan(found.entropy).nonzero().tolist() == [[0, 3]]


@pytest.mark.parametrize(
    ("norm", "bias", "cap"),
    [(nn.RMSNorm, False, None), (nn.LayerNorm, False, None), (nn.LayerNorm, True, None), (nn.RMSNorm, False, 2.0)],
)
def test_logits_between_two_states_are_mixed_where_they_are_linear(norm: Any, bias: bool, cap: float | None) -> None:
    torch.manual_seed(0)
    made, head = norm(32), nn.Linear(32, TOKENS, bias=bias)
    nn.init.normal_(made.weight)
    if norm is nn.LayerNorm:
        nn.init.normal_(made.bias)

    def unembedded(states: Tensor) -> Tensor:
        found = head(made(states))
        return found if cap is None else cap * torch.tanh(found / cap)

    def mixed(states: Tensor) -> Tensor | None:
        expected, zero = unembedded(states), torch.zeros(1, 1, 32)
        middle = expected[:, [STEPS // 2]]
        return distributions.mixed(expected[:, [0, -1]], middle, unembedded(zero), made(states) - made(zero))

    ends = torch.randn(3, 2, 1, 32)
    at = torch.linspace(0, 1, STEPS)[:, None]
    states = ends[:, 0] + at * (ends[:, 1] - ends[:, 0])
    with torch.no_grad():
        found = mixed(states)
        assert (found is None) == (cap is not None)
        if found is not None:
            torch.testing.assert_close(found, unembedded(states), rtol=1e-5, atol=1e-5)
        # Off the line no mixture is one of the ends.
        bent = states.clone()
        bent[1, 3] += 0.01 * torch.randn(32)
        assert mixed(bent) is None
        assert mixed(states * torch.nan) is None
        # Of one state for both ends any mixture is it.
        still = states[:, :1].expand(-1, STEPS, -1)
        found = mixed(still)
        if found is not None:
            torch.testing.assert_close(found, unembedded(still), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["qwen2", "gpt2", "gpt_neox", "gemma2", "olmo"])
def test_the_null_of_every_family_is_that_of_its_own_unembedding(
    family: str, monkeypatch: pytest.MonkeyPatch, pairs: Pairs
) -> None:
    model = tiny_model(family) if family in ("qwen2", "olmo") else adopt(network(family), None, "float32")
    asked: dict[str, Any] = {"layer": 1, "reads": ["final_norm"], "steps": 9, "span": 2, "origin": {}}
    found = predicting.predictions(model, pairs, **asked)["final_norm"]
    told = []
    whole = distributions.mixed
    monkeypatch.setattr(distributions, "mixed", lambda *a: [told.append(whole(*a) is not None), None][1])
    plain = predicting.predictions(model, pairs, **asked)["final_norm"]
    for name in ("null_logit_difference", "null_span_divergence", "null_top_tokens"):
        np.testing.assert_allclose(getattr(found, name), getattr(plain, name), atol=2e-6, rtol=2e-6)
    # Gemma 2 caps its logits.
    assert set(told) == {family != "gemma2"}


def test_the_reference_path_runs_the_null_point_by_point(
    olmo: LoadedModel, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mixed(*_: Any) -> Any:
        raise AssertionError("mixed on the reference path")

    monkeypatch.setattr(distributions, "mixed", mixed)
    monkeypatch.setattr(agreement, "choose_path", lambda *_: agreement.Choice("reference", "asked for"))
    asked: dict[str, Any] = {"layer": 1, "reads": ["final_norm"], "steps": 9, "span": 2, "origin": {}}
    predicting.predictions(olmo, pairs, **asked)


def test_logit_differences_are_float64s_where_the_unembedding_is_linear() -> None:
    """Large logits that differ by little: what float32 logits leave of it is rounding."""
    generator = torch.Generator().manual_seed(0)
    head = nn.Linear(64, 50)
    with torch.no_grad():
        head.weight.normal_(generator=generator)
        # Both tokens' logits are large and nearly equal.
        head.weight[3] = head.weight[7] + 1e-4 * torch.randn(64, generator=generator)
    normed = torch.randn(2, 1, 64, generator=generator) * 30 + 1e-3 * torch.randn(2, 5, 64, generator=generator)
    first, second = torch.tensor([3, 4]), torch.tensor([7, 4])
    with torch.no_grad():
        found = distributions.difference(head(normed), normed, head, first, second)
        plain = distributions.difference(head(normed), None, head, first, second)
        exact = head.double()(normed.double())
        wanted = exact[0, :, 3] - exact[0, :, 7]
    torch.testing.assert_close(found[0], wanted, rtol=1e-12, atol=1e-12)
    assert float((plain[0] - wanted).abs().max()) > 1e-7
    assert found[1].isnan().all()


def test_logits_that_are_no_linear_readout_are_taken_as_they_are() -> None:
    head, normed = nn.Linear(8, 20), torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        capped = torch.tanh(head(normed)) * 0.5
        found = distributions.difference(capped, normed, head, torch.tensor([1]), torch.tensor([2]))
    torch.testing.assert_close(found[0], (capped[0, :, 1] - capped[0, :, 2]).double())


def test_weights_that_are_packed_are_not_read() -> None:
    class Packed(nn.Linear):
        """As 4-bit layers are: linear by their class, their weights in a shape of their own."""

    head, normed = Packed(8, 20), torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = head(normed)
    head.weight = nn.Parameter(torch.zeros(1, 1))
    found = distributions.difference(logits, normed, head, torch.tensor([1]), torch.tensor([2]))
    torch.testing.assert_close(found[0], (logits[0, :, 1] - logits[0, :, 2]).double())
