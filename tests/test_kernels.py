"""Linear layers of few positions give what torch's give, and are taken where they are faster."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmarks.machine import recorded
from measure.core import agreement, forward, gates, kernels, measurements
from measure.models.loading import LoadedModel, adopt
from measure.prompts.drawn import Pairs
from tests.conftest import random_prompts, tiny_model
from tests.test_families import FAMILIES, network
from tests.test_forward import BOUND, disagreement

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this torch was built without oneDNN"
)
# One pair: its points and the positions before them are then a whole forward.
ONE = Pairs(random_prompts([6]), random_prompts([6], seed=1), (0,))
STEPS = 40


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Taken for layers and models of any size, on any machine as with AVX512; collects the positions of each product.

    AVX512's bounds are the wider in kind: the others change no operands over.
    """
    seen: list[int] = []
    whole = kernels.product

    def counted(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        seen.append(x.numel() // x.shape[-1])
        return whole(x, weight, bias)

    monkeypatch.setattr(kernels, "LARGE", 1)
    monkeypatch.setattr(kernels, "bounds", lambda: kernels.BOUNDS["AVX512"])
    monkeypatch.setattr(kernels, "is_faster", lambda *_: True)
    monkeypatch.setattr(kernels, "product", counted)
    return seen


def curves(model: LoadedModel, how: Any = measurements.fast_curves, pairs: Pairs = ONE, **options: Any) -> Any:
    return how(model, pairs, **{"layer": 1, "read": "final_norm", "steps": STEPS, "origin": {}, **options})


@pytest.mark.parametrize("positions", [1, 16, 59, 64, 112, 113, 300])
@pytest.mark.parametrize("shape", [(40, 24), (96, 24), (24, 96), (240, 24)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", kernels.BOUNDS)
def test_a_product_is_torchs(
    positions: int, shape: tuple[int, int], bias: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "bounds", lambda: kernels.BOUNDS[kind])
    torch.manual_seed(0)
    layer = torch.nn.Linear(shape[1], shape[0], bias=bias)
    x = torch.randn(positions, 2 * shape[1])
    with torch.no_grad():
        for given in (x[:, : shape[1]], x[None, :, shape[1] :], x.t().contiguous().t()[None, :, : shape[1]]):
            found = kernels.product(given, layer.weight, layer.bias)
            assert found.shape == (*given.shape[:-1], shape[0])
            torch.testing.assert_close(found, layer(given), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("read", ["final_norm", "logits"])
def test_every_family_measures_the_same(family: str, read: str, everywhere: list[int]) -> None:
    model = adopt(network(family), None, "float32")
    fast = curves(model, read=read)
    # GPT-2 keeps its weights turned, in layers of its own: of it only the unembedding is a linear layer.
    assert bool(everywhere) == (family != "gpt2" or read == "logits")
    # Five positions before them, and three more to fill whole tiles.
    assert (STEPS + 5 + 3 in everywhere) == (family != "gpt2")
    everywhere.clear()
    assert disagreement(fast, curves(model, measurements.reference_curves, read=read)) <= BOUND
    assert not everywhere, "the reference path runs torch's own"


@pytest.mark.parametrize("read", ["final_norm", "logits"])
def test_without_operands_swapped_nothing_is_padded_or_transposed(
    read: str, everywhere: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "bounds", lambda: kernels.BOUNDS["AVX2"])
    model = tiny_model("qwen2")
    fast = curves(model, read=read)
    assert set(everywhere) - {STEPS} == {12, STEPS + 5}  # both prompts up to the patch, then points behind the first
    assert disagreement(fast, curves(model, measurements.reference_curves, read=read)) <= BOUND
    states = torch.randn(1, 48, 24)
    assert kernels._transposed(states) is states
    assert kernels.padding(59, states) == 0


def test_many_pairs_measure_the_same(everywhere: list[int], pairs: Pairs) -> None:
    model = tiny_model("olmo")
    for several in (pairs, Pairs(random_prompts([6] * 9), random_prompts([6] * 9, seed=1), tuple(range(9)))):
        fast = curves(model, pairs=several)
        assert disagreement(fast, curves(model, measurements.reference_curves, several)) <= BOUND
    assert max(everywhere) <= kernels.BOUNDS["AVX512"].most


def test_padding_changes_no_count_of_gates(everywhere: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("olmo")
    found = gates.crossings(model, ONE, layer=1, reads=["final_norm"], steps=41, origin={})["final_norm"]
    assert 48 in everywhere
    monkeypatch.setattr(kernels, "is_faster", lambda *_: False)
    plain = gates.crossings(model, ONE, layer=1, reads=["final_norm"], steps=41, origin={})["final_norm"]
    assert found.crossings.shape == plain.crossings.shape
    assert np.abs(found.crossings - plain.crossings).sum() <= 2
    assert plain.crossings.sum() > 20


def test_a_wrong_product_is_seen(everywhere: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "product", lambda x, weight, bias=None: functional.linear(x, 1.01 * weight, bias))
    choice = agreement.choose_path(tiny_model("olmo"), ONE.a, ONE.b, 1, ["final_norm"], STEPS)
    assert choice.path == "reference"
    assert "differs from the reference" in str(choice.reason)


def _of(weight: torch.Tensor, bias: torch.Tensor | None = None, rows: int = 48, dtype: Any = torch.float32) -> Any:
    return torch.randn(rows, weight.shape[-1], dtype=dtype), weight, bias


def run_layer(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, kind: type[Any] = nn.Linear) -> Any:
    """What a layer with these operands gives where large ones run without copies of their weights."""
    layer = kind(1, 1, bias=False)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    with torch.no_grad(), kernels.without_copies(layer, torch.empty(1, 1024)):
        return layer(x)


class Special(torch.Tensor):
    """Weights of a kind of their own, as quantised ones are."""


class OwnLinear(nn.Linear):
    """A layer that may do more than multiply, as adapters' do."""


LARGE = torch.randn(2048, 256)
UNFIT = {
    "few weights": _of(LARGE[:2047]),
    "many positions": _of(LARGE, rows=1025),
    "float64": _of(LARGE.double(), dtype=torch.float64),
    "a kind of its own": _of(LARGE.as_subclass(Special)),
    "sparse": _of(LARGE.to_sparse()),
    "weights with gaps": _of(torch.randn(2048, 512)[:, :256]),
    "weights the other way round": _of(torch.randn(256, 2048).t()),
    "a strided bias": _of(LARGE, torch.randn(4096)[::2]),
    "an expanded bias": _of(LARGE, torch.randn(1).expand(2048)),
    "a bias for all": _of(LARGE, torch.randn(1)),
    "a layer of its own": (*_of(LARGE), OwnLinear),
}


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """On any machine as with AVX2; a 1 for each product by these kernels."""
    seen: list[int] = []
    assert kernels.is_exact(), "tried before products are counted"
    whole = kernels.product
    monkeypatch.setattr(kernels, "bounds", lambda: kernels.BOUNDS["AVX2"])
    monkeypatch.setattr(kernels, "product", lambda *operands: seen.append(1) or whole(*operands))
    return seen


@pytest.mark.usefixtures("everywhere")
def test_few_positions_are_checked_also_where_many_run(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kernels.product

    def broken(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        found = whole(x, weight, bias)
        return found if x.numel() // x.shape[-1] not in kernels.BOUNDS["AVX512"].swapped else found.view(-1)

    monkeypatch.setattr(kernels, "product", broken)
    a, b = random_prompts([20] * 3), random_prompts([20] * 3, seed=1)
    choice = agreement.choose_path(tiny_model("qwen2"), a, b, 1, ["final_norm"], 200)
    assert choice.path == "reference"
    assert "the fast path failed: RuntimeError" in str(choice.reason)


@pytest.mark.parametrize("name", UNFIT)
def test_what_the_kernel_would_misread_is_left_to_torch(name: str, taken: list[int]) -> None:
    for fit in (_of(LARGE), _of(LARGE, torch.randn(2048)), _of(LARGE, rows=1024)):
        torch.testing.assert_close(run_layer(*fit), functional.linear(*fit), rtol=1e-5, atol=1e-4)
    assert len(taken) == 3
    operands = UNFIT[name][:3]
    torch.testing.assert_close(run_layer(*UNFIT[name]), functional.linear(*operands), rtol=0, atol=0)
    assert len(taken) == 3


def test_operands_of_mixed_precision_are_refused_by_torch_as_ever(taken: list[int]) -> None:
    with pytest.raises(RuntimeError, match="same dtype"):
        run_layer(*_of(LARGE, dtype=torch.float64))
    assert not taken


def test_layers_are_left_as_they_were(taken: list[int]) -> None:
    layer, other = nn.Linear(1024, 1024), nn.Linear(1024, 1024)
    vars(other)["forward"] = lambda x: x  # as tools that move weights about leave it
    shared = nn.ModuleList([nn.Sequential(layer), nn.Sequential(layer, other)])
    x = torch.randn(8, 1024)
    with torch.no_grad(), kernels.without_copies(shared, x), kernels.without_copies(layer, x):
        assert other(x) is x
        layer(x)
    assert len(taken) == 1
    with pytest.raises(ZeroDivisionError), kernels.without_copies(shared, x):
        1 / 0  # noqa: B018
    assert "forward" not in vars(layer)
    assert other(x) is x
    layer(x)
    assert len(taken) == 1


def test_rows_with_gaps_between_them_are_brought_together() -> None:
    """The kernel would take a thousand times as long."""
    weight = nn.Parameter(torch.randn(1024, 512))
    for x in (torch.randn(20, 1024)[:, :512], torch.randn(4, 15, 512)[:, 5:]):
        product = recorded(lambda x=x: kernels.product(x, weight))[1].products[0]
        assert product.strides in ((512, 1), (1, product.activations[0]))


@pytest.mark.usefixtures("everywhere")
def test_operands_are_swapped_and_lie_as_is_fastest() -> None:
    model = tiny_model("qwen2")
    curves(model)
    products = [one for one in recorded(lambda: curves(model))[1].products if one.by_onednn]
    width, gates = model.shape.hidden, model.shape.intermediate
    inside = [one for one in products if one.weights_first]
    assert {(one.activations, one.strides) for one in inside} == {((48, width), (1, 48)), ((48, gates), (1, 48))}
    assert len(inside) == 3 * (model.depth - 1)


def test_prompts_take_it_up_to_the_patch_too(everywhere: list[int]) -> None:
    model = tiny_model("olmo")
    with torch.no_grad():
        forward.run_to_layer(model, torch.tensor(ONE.a), 1)
    assert set(everywhere) == {6}


@pytest.mark.parametrize("default", [{"dtype": torch.float64}, {"device": "meta"}])
def test_a_default_dtype_or_device_changes_nothing(default: dict[str, Any]) -> None:
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(default.get("dtype", before))
        with torch.device(default.get("device", "cpu")):
            assert kernels.is_exact.__wrapped__()
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_other_precisions_run_torchs_own(precision: str, everywhere: list[int]) -> None:
    network_ = network("olmo").to(getattr(torch, precision))
    curves(adopt(network_, None, "bfloat16" if precision == "bfloat16" else "float32"))
    assert not everywhere


@pytest.mark.usefixtures("everywhere")
def test_states_are_transposed_in_memory_alone() -> None:
    states = torch.randn(1, 48, 24)
    turned = kernels._transposed(states)
    assert torch.equal(turned, states)
    assert turned.stride()[1:] == (1, 48)
    for others in (torch.randn(2, 24, 24), torch.randn(1, 300, 24)):
        assert kernels._transposed(others) is others


@pytest.mark.parametrize("turned", [True, False])
def test_a_kernel_that_rounds_is_left_alone(turned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels.is_exact()
    whole = kernels.product

    def rounding(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        if turned == (bias is None):
            x, weight = x.bfloat16().float(), weight.bfloat16().float()
        return whole(x, weight, bias)

    monkeypatch.setattr(kernels, "product", rounding)
    assert not kernels.is_exact.__wrapped__()


def test_rounding_that_the_environment_asks_for_is_seen() -> None:
    program = """
import torch
from measure.core import kernels
from measure.models.loading import as_measured
torch.set_float32_matmul_precision("medium")
x, weight = torch.randn(64, 256), torch.randn(1024, 256)
with as_measured(torch.nn.Linear(1, 1)):
    off = (kernels.product(x, weight) - x.double() @ weight.double().t()).abs().max()
    print(kernels.is_exact() == bool(off < 1e-3))
"""
    for mode in ("STRICT", "BF16"):
        environment = {**os.environ, "ONEDNN_DEFAULT_FPMATH_MODE": mode}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
        )
        assert done.stdout.split() == ["True"], mode


@pytest.mark.parametrize("kind", ["AVX512", "AVX2", "DEFAULT"])
def test_where_it_is_faster(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: kind)
    wide, narrow = torch.empty(1, 896), torch.empty(1, 64)
    layer = nn.Linear(1024, 1024)
    assert kernels.is_faster(wide) == (kind in kernels.BOUNDS)
    with kernels.without_copies(layer, wide):
        assert ("forward" in vars(layer)) == (kind in kernels.BOUNDS)
    for other in (narrow, wide.double(), wide.bfloat16(), wide.to("meta")):
        assert not kernels.is_faster(other)
        with kernels.without_copies(layer, other):
            assert "forward" not in vars(layer)
        assert kernels.padding(59, other) == 0
    assert kernels.padding(59, wide) == (5 if kind == "AVX512" else 0)
    assert kernels.padding(64, wide) == kernels.padding(236, wide) == 0
    # An unembedding in a model as wide as SmolLM2, and no other layer of it.
    narrow, head, other = torch.empty(1, 576), nn.Linear(576, 2**15, device="meta"), nn.Linear(576, 1536)
    with kernels.without_copies(nn.ModuleList([head, other]), narrow):
        assert ("forward" in vars(head)) == (kind in kernels.BOUNDS)
        assert "forward" not in vars(other)
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "enabled", False)
        assert not kernels.is_faster(wide)
        with kernels.without_copies(head, narrow):
            assert "forward" not in vars(head)
