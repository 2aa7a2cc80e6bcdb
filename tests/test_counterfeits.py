"""Counterfeits: what each keeps of the trained blocks, what it destroys, and what it cannot be made of."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from measure.models import counterfeits
from measure.models import loading as models
from measure.spec import CurveSpec, MeasureError

RUNG = "ladder-olmo-0.2m"
KINDS = ("shuffled", "rows", "spectrum", "gaussian", "neurons", "attention", "reordered")


def matrices(model: models.LoadedModel) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.network.named_parameters() if p.ndim > 1}


@pytest.fixture(scope="module")
def stored() -> dict[str, torch.Tensor]:
    return matrices(models.load(RUNG))


def made(kind: str, seed: int = 0, layer: int = 1) -> dict[str, torch.Tensor]:
    return matrices(models.load(RUNG, weights=f"{kind}_after_{layer}:{seed}"))


def block_of(name: str) -> int:
    return int(name.split("layers.")[1].split(".")[0]) if "layers." in name else -1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", [1, 2])
def test_what_makes_a_and_b_is_kept(kind: str, layer: int, stored: dict[str, torch.Tensor]) -> None:
    found = made(kind, layer=layer)
    changed = {name for name, matrix in found.items() if not torch.equal(matrix, stored[name])}
    assert changed
    assert all(block_of(name) >= layer for name in changed)


@pytest.mark.parametrize("kind", ["shuffled", "rows", "spectrum", "gaussian"])
def test_every_matrix_after_the_patch_is_another(kind: str, stored: dict[str, torch.Tensor]) -> None:
    found = made(kind)
    later = [name for name in stored if block_of(name) >= 1]
    assert later
    assert not [name for name in later if torch.equal(found[name], stored[name])]


@pytest.mark.parametrize("kind", ["shuffled", "rows", "spectrum", "gaussian", "neurons", "reordered"])
def test_a_seed_makes_one_model_and_another_seed_another(kind: str) -> None:
    once, again, other = made(kind, 0), made(kind, 0), made(kind, 1)
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert any(not torch.equal(once[name], other[name]) for name in once)


def test_shuffled_keeps_every_entry(stored: dict[str, torch.Tensor]) -> None:
    for name, matrix in made("shuffled").items():
        assert torch.equal(matrix.flatten().sort().values, stored[name].flatten().sort().values)


def test_rows_keeps_the_entries_of_every_row(stored: dict[str, torch.Tensor]) -> None:
    for name, matrix in made("rows").items():
        assert torch.equal(matrix.sort(-1).values, stored[name].sort(-1).values)


def test_spectrum_keeps_the_singular_values(stored: dict[str, torch.Tensor]) -> None:
    for name, matrix in made("spectrum").items():
        torch.testing.assert_close(
            torch.linalg.svdvals(matrix), torch.linalg.svdvals(stored[name]), rtol=1e-3, atol=1e-4
        )


def test_gaussian_keeps_the_norm_and_no_entry(stored: dict[str, torch.Tensor]) -> None:
    for name, matrix in made("gaussian").items():
        torch.testing.assert_close(matrix.norm(), stored[name].norm())


def test_neurons_permutes_the_columns_out_of_each_mlp_alone(stored: dict[str, torch.Tensor]) -> None:
    for name, matrix in made("neurons").items():
        if "down_proj" not in name or block_of(name) < 1:
            assert torch.equal(matrix, stored[name])
        else:
            assert not torch.equal(matrix, stored[name])
            assert sorted(map(tuple, matrix.T.tolist())) == sorted(map(tuple, stored[name].T.tolist()))


def test_attention_leaves_the_mlps(stored: dict[str, torch.Tensor]) -> None:
    changed = {name for name, matrix in made("attention").items() if not torch.equal(matrix, stored[name])}
    assert changed
    assert all("attn" in name for name in changed)


def test_reordered_holds_the_same_blocks() -> None:
    model = models.load(RUNG)
    blocks = model.block_list
    before = [block.self_attn.layer_idx for block in blocks], list(blocks)
    counterfeits.change_later(blocks, "reordered_after_1:0")
    assert [block.self_attn.layer_idx for block in blocks] == before[0]
    assert set(map(id, blocks)) == set(map(id, before[1]))
    assert blocks[0] is before[1][0]
    assert list(blocks) != before[1]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_to_change_after_the_last_block(kind: str) -> None:
    depth = models.load(RUNG).depth
    with pytest.raises(MeasureError, match=rf"has {depth} blocks, so none follows layer {depth}, and there is nothing"):
        models.load(RUNG, weights=f"{kind}_after_{depth}:0")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "reordered"])
def test_one_block_after_the_patch_is_enough(kind: str, stored: dict[str, torch.Tensor]) -> None:
    depth = models.load(RUNG).depth
    found = made(kind, layer=depth - 1)
    assert {block_of(name) for name in found if not torch.equal(found[name], stored[name])} == {depth - 1}


def test_one_block_has_no_other_order() -> None:
    depth = models.load(RUNG).depth
    with pytest.raises(MeasureError, match=f"one block follows layer {depth - 1}, and one block has no other order"):
        models.load(RUNG, weights=f"reordered_after_{depth - 1}:0")


class Shared(nn.Module):
    """A block that stands twice in its model."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Linear(4, 4)


def test_blocks_that_share_a_matrix_have_no_such_counterfeit() -> None:
    one = Shared()
    with pytest.raises(MeasureError, match=r"mlp.weight is one matrix for blocks before and after layer 1"):
        counterfeits.change_later(nn.ModuleList([one, one]), "shuffled_after_1:0")


def test_without_a_known_mlp_no_neurons_can_be_permuted() -> None:
    blocks = nn.ModuleList([Shared(), Shared()])
    with pytest.raises(MeasureError, match=r"out of each block's MLP, called down_proj.* found 0 in 1 blocks"):
        counterfeits.change_later(blocks, "neurons_after_1:0")


@pytest.mark.parametrize("kind", ["GPT2", "GPTNeoX", "Phi", "OPT", "Llama"])
def test_neurons_are_found_in_other_families(kind: str) -> None:
    import transformers

    usual = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    small: dict[str, Any] = {
        "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
        "OPT": {**usual, "ffn_dim": 32, "word_embed_proj_dim": 16},
    }.get(kind, {**usual, "intermediate_size": 32})
    config = getattr(transformers, f"{kind}Config")(vocab_size=32, **small)
    network = transformers.AutoModelForCausalLM.from_config(config)
    before = copy.deepcopy(network.state_dict())
    counterfeits.change_later(models.network_blocks(network), "neurons_after_1:0")
    changed = [name for name, matrix in network.state_dict().items() if not torch.equal(matrix, before[name])]
    assert len(changed) == 1
    matrix, old = network.state_dict()[changed[0]], before[changed[0]]
    neurons = matrix.shape.index(next(size for size in matrix.shape if size != 16))
    assert torch.equal(matrix.sort(neurons).values, old.sort(neurons).values)


@pytest.mark.parametrize(
    "weights", ["shuffled", "shuffled_after_1", "shuffled_after_:0", "nothing_after_1:0", "rows:0"]
)
def test_weights_that_are_none_are_told(weights: str) -> None:
    with pytest.raises(MeasureError, match=r"is not known; use .*'KIND_after_LAYER:SEED' with shuffled, rows"):
        CurveSpec(RUNG, weights=weights)


def test_ids_of_counterfeits_are_apart() -> None:
    ids = {CurveSpec(RUNG, weights=weights).id for weights in ("rows_after_1:10", "rows_after_11:0", "rows_after_1:1")}
    assert len(ids) == 3
