"""Layers against reads: many from one run, equal to each alone; drawn in a terminal, kept as table and figure."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

import measure
from measure import MeasureError, cli
from measure.api import sweeps
from measure.core import forward, measurements, prefixes
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Pairs
from tests.conftest import DEPTH, tiny_network

A, B = [[5, 6, 7], [8, 9, 10], [5, 6, 4]], [[11, 12, 13], [14, 15, 16], [17, 18, 19]]
ASKED = ("sweep", "ladder-olmo-0.2m", " The house was very", " The house was in", "--steps", "5")


def test_blocks_read_in_one_run_are_those_of_plain_forwards(model: LoadedModel, pairs: Pairs) -> None:
    reads = [f"block:{number}" for number in range(2, DEPTH + 1)]
    asked: dict[str, Any] = {"layer": 2, "steps": 5, "origin": {}}
    found = measurements.all_curves(model, pairs, reads=[*reads, "final_norm", "residual"], **asked)
    for read in reads:
        plain = measurements.reference_curves(model, pairs, read=read, **asked)
        np.testing.assert_allclose(found[read].relative, plain.relative, atol=1e-5)
        np.testing.assert_allclose(found[read].null.relative, plain.null.relative, atol=1e-5)
    np.testing.assert_array_equal(found[f"block:{DEPTH}"].distance, found["residual"].distance)
    # The patched block itself holds the points.
    np.testing.assert_allclose(found["block:2"].relative, np.tile(np.linspace(0, 1, 5), (len(pairs), 1)), atol=1e-5)
    assert np.abs(found["block:3"].relative - found["block:4"].relative).max() > 1e-3


def test_layers_share_their_clean_runs_and_give_what_each_gives_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    network, ran = tiny_network("qwen2"), []
    whole = forward.run_to_layers
    monkeypatch.setattr(
        forward,
        "run_to_layers",
        lambda model, ids, layers, **more: [ran.append(len(ids)), whole(model, ids, layers, **more)][1],
    )
    found = measure.interpolate(network, A, B, steps=5, layer="all", read=["final_norm", "logits"])
    # Those of the pair on which the paths are compared, and all of them: A's through all blocks, then B's.
    assert ran == [1, 1, 3, 3]
    for layer, by_read in found.items():
        for read, curves in by_read.items():
            alone = measure.interpolate(network, A, B, steps=5, layer=layer, read=["final_norm", "logits"])
            np.testing.assert_allclose(curves.distance, alone[read].distance, rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(curves.null_distance, alone[read].null_distance, rtol=1e-6, atol=1e-6)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, bool]]:
    """Of every forward from a layer on: the layer, how many positions of a prompt ran, and whether others were kept."""
    seen: list[tuple[int, int, bool]] = []
    whole = forward.run_from_layer

    def counted(model: Any, earlier: Any, points: Any, layer: int, *rest: Any, kept: Any = None, **more: Any) -> Any:
        seen.append((layer, points.shape[1], kept is not None))
        return whole(model, earlier, points, layer, *rest, kept=kept, **more)

    monkeypatch.setattr(forward, "run_from_layer", counted)
    return seen


def test_positions_before_the_points_run_once_for_all_layers(ran: list[tuple[int, int, bool]]) -> None:
    network = tiny_network("qwen2")
    measure.sweep(network, A, B, steps=5, read="residual")
    assert [layer for layer, points, kept in ran if points == 5 and kept] == [1, 1, 2, 3, 4]  # the first in the check
    assert [layer for layer, points, kept in ran if points == 2 and kept] == [2, 3, 4]
    ran.clear()
    # It was seen to be right.
    measure.sweep(network, A, B, steps=5, read="residual")
    # Beside the norm alone, a point in a row.
    assert [one for one in ran if one[1] > 1] == [(layer, 5, True) for layer in (1, 2, 3, 4)]
    ran.clear()
    measure.sweep(network, A, B, steps=5, read="residual", layer=[1, 2])
    assert not any(kept for _, _, kept in ran)


@pytest.mark.parametrize(
    "more",
    [
        {"path": "slerp", "distance": "kl"},
        {"points": np.random.default_rng(0).normal(size=(3, 5, 32)), "prompts_b": None},
        {"interventions": [measure.Scaled("mlp", (2, 3), 0.5)]},
        {"interventions": [measure.Frozen("attention", (DEPTH, DEPTH))], "layer": [1, 2, 3]},
        {"read": ["block:4", "residual", "logits"], "layer": [3, 1, 2]},
    ],
)
def test_layers_that_share_give_what_each_gives_alone(more: dict[str, Any], ran: list[tuple[int, int, bool]]) -> None:
    network = tiny_network("qwen2")
    asked = {"prompts_a": A, "prompts_b": B, "steps": 5, "layer": "all", **more}
    found = measure.interpolate(network, **asked)
    assert any(kept for _, _, kept in ran)
    for layer, shared in found.items():
        alone = measure.interpolate(network, **{**asked, "layer": layer})
        for read in shared if isinstance(shared, dict) else ():
            np.testing.assert_allclose(shared[read].distance, alone[read].distance, rtol=1e-6, atol=1e-6)
        if not isinstance(shared, dict):
            np.testing.assert_allclose(shared.distance, alone.distance, rtol=1e-6, atol=1e-6)


def test_keys_and_values_are_given_by_the_name_that_a_model_has_for_them() -> None:
    """Transformers has renamed it, and warns of the old name."""

    class Old(torch.nn.Module):
        def forward(self, past_key_values: Any = None) -> None: ...

    class New(torch.nn.Module):
        def forward(self, cache: Any = None) -> None: ...

    assert [prefixes.cache_argument(module()) for module in (Old, New)] == ["past_key_values", "cache"]
    network = tiny_network("qwen2")
    for module in (network, network.model):
        assert prefixes.cache_argument(module) in inspect.signature(module.forward).parameters


@pytest.mark.parametrize("broken", ["update", "raises"])
def test_keys_and_values_that_are_not_right_are_not_shared(
    broken: str, monkeypatch: pytest.MonkeyPatch, ran: list[tuple[int, int, bool]]
) -> None:
    whole = prefixes.Behind.update

    def update(self: Any, keys: Any, values: Any, number: int, *rest: Any, **more: Any) -> Any:
        if broken == "raises":
            raise RuntimeError("no cache")
        k, v = whole(self, keys, values, number, *rest, **more)
        return k, torch.cat([v[:, :, :1] * (1.1 if number == 2 else 1), v[:, :, 1:]], dim=2)

    network = tiny_network("qwen2")
    right = {layer: measure.interpolate(network, A, B, steps=5, layer=layer) for layer in range(1, DEPTH + 1)}
    network = tiny_network("qwen2")
    monkeypatch.setattr(prefixes.Behind, "update", update)
    found = measure.interpolate(network, A, B, steps=5, layer="all")
    for layer, curves in found.items():
        np.testing.assert_allclose(curves.distance, right[layer].distance, rtol=1e-6, atol=1e-6)
        assert curves.provenance["path"] == "fast"
    # Behind a patch after the third block it does not run.
    shared = {layer for layer, points, kept in ran[-2 * DEPTH :] if points == 5 and kept}
    assert shared == ({3, 4} if broken == "update" else set())


def test_a_sweep_holds_every_block_behind_the_patch() -> None:
    network = tiny_network("qwen2")
    found = measure.sweep(network, A, B, steps=9)
    assert found.layers == [1, 2, 3, 4]
    assert found.reads == ["block:2", "block:3", "block:4", "final_norm"]
    assert set(found.curves) == {
        (layer, read) for layer in (1, 2, 3, 4) for read in found.reads if read == "final_norm" or int(read[6:]) > layer
    }
    matrix = found.matrix("max_slope")
    assert list(np.isnan(matrix).sum(axis=1)) == [0, 1, 2, 3]
    alone = measure.interpolate(network, A, B, steps=9, layer=2, read="block:3")
    assert matrix[1, 1] == pytest.approx(np.median(alone.by_unit("max_slope")))
    assert len(found.frame()) == 3 * len(found.curves)
    kl = measure.sweep(network, A, B, steps=9, layer=[1, 2], distance="kl")
    assert kl.reads == ["logits"]


def test_the_terminal_shows_low_values_light_and_high_ones_dark() -> None:
    found = measure.sweep(tiny_network("qwen2"), A, B, steps=9, layer=[1, 2, 4])
    lines = found.lines("max_slope")
    assert lines[0] == "median max slope of 3 pairs; patched after block (down), read after block (right)"
    assert lines[1].split() == ["patch", "2", "3", "4", "norm"]
    matrix = found.matrix("max_slope")
    low, high = np.nanmin(matrix), np.nanmax(matrix)
    assert lines[-1].startswith(f"{low:.3f} ..")
    assert f"@@ {high:.3f}" in lines[-1]
    row = int(np.argmax(np.nanmax(matrix, axis=1)))
    assert "@" in lines[2 + row]
    assert lines[2].endswith(f"{matrix[0, -1]:.3f}")


def test_a_pair_that_shares_a_prompt_is_not_counted_among_those_of_the_median() -> None:
    found = measure.sweep(tiny_network("qwen2"), [*A, A[0]], [*B, B[1]], steps=5, layer=[3])
    assert found.lines()[0].startswith(
        "median edge speed of 3 pairs (1 more share a prompt with an earlier one and are left out); patched after"
    )


def test_where_nothing_moves_that_is_said() -> None:
    assert measure.sweep(tiny_network("qwen2"), A[:1], A[:1], steps=5).lines() == [
        "no pair has a edge speed: both prompts of each give the same output"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": [3], "read": "block:2"}, "layer=3: every read asked for stands before it"),
        ({"read": "block:9"}, "has 4 blocks"),
        ({"layer": 9}, "has 4 blocks"),
        ({"read": ["block:2", "logits"], "distance": "kl"}, "use read='logits'"),
        ({"distance": "l1"}, "distance='l1' is not known; choose one of l2, symmetric"),
        ({"distance": 3}, "distance=3 is a int; expected one of l2"),
    ],
)
def test_what_cannot_be_swept_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(MeasureError, match=message):
        measure.sweep(tiny_network("qwen2"), A, B, steps=5, **arguments)


def test_the_command_draws_and_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, figure = tmp_path / "s.csv", tmp_path / "s.png"
    assert (
        cli.main([*ASKED, "--layer", "1", "2", "--metric", "max_slope", "--save", str(table), "--save", str(figure)])
        == 0
    )
    said = capsys.readouterr().out
    assert "median max slope of 1 pair" in said
    assert f"saved {table}" in said
    assert set(pandas.read_csv(table)["read"]) == {"block:2", "block:3", "block:4", "final_norm"}
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_table_of_pairs_from_a_file_has_their_labels(tmp_path: Path) -> None:
    asked = ["sweep", ASKED[1], "--pairs-from", "printed", "--layer", "1", "2", "--read", "final_norm"]
    assert cli.main([*asked, "--steps", "5", "--save", str(tmp_path / "s.csv")]) == 0
    assert list(pandas.read_csv(tmp_path / "s.csv")["label"]) == ["D1", "D2", "D3", "S1", "S2", "S3"] * 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--metric", "slope"], "metric='slope' is not known; choose one of max_slope"),
        (["--save", "x.npz"], "a sweep is kept as a table"),
        (["--read", "block:9"], "has 4 blocks"),
        (["--layer", "7"], "has 4 blocks"),
    ],
)
def test_what_the_command_cannot_do_is_one_sentence(
    more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*ASKED, *more]) == 2
    assert message in capsys.readouterr().err


def test_a_curve_from_the_shell_goes_along_an_arc(capsys: pytest.CaptureFixture[str]) -> None:
    usual = ["curve", *ASKED[1:]]
    assert cli.main(usual) == 0
    straight = capsys.readouterr().out
    assert cli.main([*usual, "--path", "slerp", "--distance", "symmetric", "--read", "block:3"]) == 0
    assert capsys.readouterr().out != straight
    assert sweeps.SHADES[0] == " "
