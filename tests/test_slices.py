from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jaxtyping
import matplotlib
import numpy as np
import pytest
import torch

import measure
from measure.core import agreement, batches, forward, planes, reference
from measure.core.agreement import Choice
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Prompt, Triples
from measure.results import Curves
from measure.results.slices import Slices, splits
from measure.spec import MeasureError
from tests.conftest import DEPTH, random_prompts, tiny_network

A, B, C = [[5, 6, 7, 8]], [[9, 10, 11, 12]], [[13, 14, 15]]
AT = np.array([-0.25, 0.0, 0.6, 1.0, 1.25])


def triples() -> Triples:
    return Triples(*(random_prompts([4, 6], seed) for seed in (0, 1, 2)))


def slices(model: LoadedModel, layer: int = 2, read: Any = "final_norm", of: Triples | None = None) -> Slices:
    return planes.slices(model, of or triples(), layer=layer, reads=[read], at=AT, origin={})[read]


@torch.no_grad()
def corner(model: LoadedModel, prompt: Prompt, layer: int) -> torch.Tensor:
    return reference.reference_states(model, torch.tensor(prompt), layer)[-1]


@torch.no_grad()
@pytest.mark.parametrize("read", ["final_norm", "residual", "logits"])
def test_every_cell_is_what_a_plain_forward_gives(model: LoadedModel, read: Any) -> None:
    found = slices(model, read=read)
    for row, prompts in enumerate(zip(triples().a, triples().b, triples().c, strict=True)):
        a, b, c = (corner(model, prompt, 2) for prompt in prompts)
        along = b - a
        foot = a + ((c - a) @ along) / (along @ along) * along
        for k, (prompt, own) in enumerate(zip(prompts, (a, b, c), strict=True)):
            ids = torch.tensor(prompt)
            clean = reference.reference_read(model, ids, own, 2, read)
            for i, j in ((0, 4), (2, 1), (3, 3), (1, 0)):
                x = a + AT[j] * along + AT[i] * (c - foot)
                d = float((clean - reference.reference_read(model, ids, x, 2, read)).norm())
                assert found.distance[row, k, i, j] == pytest.approx(d, abs=2e-4 * float(clean.norm()))
        top = reference.reference_read(
            model, torch.tensor(prompts[0]), a + AT[2] * along + AT[3] * (c - foot), 2, "logits"
        )
        assert found.top_tokens[row, 3, 2] == int(top.argmax())


def test_the_known_answer_after_the_last_block_is_plane_geometry(model: LoadedModel) -> None:
    found = slices(model, layer=DEPTH, read="residual")
    for row, prompts in enumerate(zip(triples().a, triples().b, triples().c, strict=True)):
        a, b, c = (corner(model, prompt, DEPTH).double() for prompt in prompts)
        length = float((b - a).norm())
        foot = float((c - a) @ (b - a)) / length**2
        height = float((c - a - foot * (b - a)).norm())
        np.testing.assert_allclose(found.reference_points[row], [[0, 0], [1, 0], [foot, 1]], atol=1e-5)
        for k, (alpha, beta) in enumerate(found.reference_points[row]):
            expected = np.hypot((AT[None, :] - alpha) * length, (AT[:, None] - beta) * height)
            np.testing.assert_allclose(found.distance[row, k], expected, rtol=1e-4, atol=1e-4)


def test_a_reference_is_at_distance_0_from_itself_and_its_cell_too(model: LoadedModel) -> None:
    found = slices(model)
    assert (np.diagonal(found.reference_distance, axis1=1, axis2=2) == 0).all()
    np.testing.assert_allclose(found.distance[:, 0, 1, 1] / found.reference_norm[:, 0], 0, atol=1e-5)
    np.testing.assert_allclose(found.distance[:, 1, 1, 3] / found.reference_norm[:, 1], 0, atol=1e-5)


def test_the_reference_path_and_all_reads_at_once_give_the_same(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {read: slices(model, read=read) for read in ("final_norm", "residual", "logits")}
    reads: list[Any] = list(alone)
    together = planes.slices(model, triples(), layer=2, reads=reads, at=AT, origin={})
    monkeypatch.setattr(agreement, "choose_path", lambda *_: Choice("reference", "asked for"))
    for read, result in alone.items():
        scale = result.reference_norm[:, :, None, None]
        for other in (together[read], slices(model, read=read)):
            np.testing.assert_allclose(other.distance / scale, result.distance / scale, atol=1e-5)


def test_a_fast_path_that_forgets_the_context_is_seen_whichever_prompt_is_the_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = forward._points_mask

    def blind(earlier: int, points: int, like: torch.Tensor, window: int | None = None) -> torch.Tensor:
        mask = whole(earlier, points, like, window).clone()
        mask[..., earlier:, :earlier] = torch.finfo(like.dtype).min
        return mask

    monkeypatch.setattr(forward, "_points_mask", blind)
    longer = [[5, 6, 7, 8, 9, 10, 11]]
    for prompts in ((longer, B, C), (A, longer, C), (A, B, longer)):
        assert measure.slice2d(tiny_network("llama"), *prompts, size=2).provenance["path"] == "reference"
    # A pair of one prompt shows nothing: the other pairs must be looked at, or the next call.
    network = tiny_network("llama")
    assert measure.interpolate(network, [*longer, *longer], [*longer, *longer[:1]], steps=3).degenerate.all()
    found = measure.interpolate(network, [*longer, *longer], [*longer, *B], steps=3)
    assert found.provenance["path"] == "reference"


def test_many_cells_do_not_make_a_large_mask(olmo: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    whole = forward._points_mask
    monkeypatch.setattr(forward, "_points_mask", lambda e, p, *rest: sizes.append(e + p) or whole(e, p, *rest))
    at = np.linspace(-0.25, 1.25, 40)
    planes.slices(olmo, triples(), layer=2, reads=["final_norm"], at=at, origin={})
    assert max(sizes) <= 200


def test_a_slice_of_the_usual_size_is_the_same_with_several_reads_at_once(olmo: LoadedModel) -> None:
    at = np.linspace(-0.25, 1.25, 32)
    one = triples()
    reads: list[Any] = ["final_norm", "logits"]
    both = planes.slices(olmo, one, layer=2, reads=reads, at=at, origin={})
    for read in reads:
        alone = planes.slices(olmo, one, layer=2, reads=[read], at=at, origin={})[read]
        scale = alone.reference_norm[:, :, None, None]
        np.testing.assert_allclose(both[read].distance / scale, alone.distance / scale, atol=1e-5)
        np.testing.assert_array_equal(both[read].top_tokens, alone.top_tokens)


def test_rows_of_a_batch_do_not_change_a_number(olmo: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = slices(olmo)
    monkeypatch.setattr(batches, "ROW", 3)
    monkeypatch.setattr(batches, "rows_of", lambda points, *_: -(-points // 3))
    monkeypatch.setattr(forward, "CHUNK_POSITIONS", 20)
    parts = slices(olmo)
    assert (np.abs(parts.distance - whole.distance) <= 1e-5 * whole.reference_norm[:, :, None, None]).all()
    np.testing.assert_array_equal(parts.top_tokens, whole.top_tokens)


def test_slice2d_by_name_plots_saves_and_loads(tmp_path: Path) -> None:
    matplotlib.use("Agg")
    found = measure.slice2d("ladder-olmo-0.2m", " He said", [" the old house"], " She was not", size=8)
    assert found.distance.shape == (1, 3, 8, 8)
    assert found.rgb.shape == (1, 8, 8, 3)
    assert 0 <= found.rgb.min() <= found.rgb.max() <= 1
    assert "1 triple x 8 x 8 cells" in repr(found)
    loaded = Slices.load(found.save(tmp_path / "slice"))
    np.testing.assert_array_equal(loaded.rgb, found.rgb)
    assert loaded.provenance == found.provenance
    assert found.plot().get_xlabel() == "alpha"
    assert found.summary()["solid_share"]["n"] == 1
    with pytest.raises(MeasureError, match="holds 'slices' in format 1; expected 'curves'"):
        Curves.load(tmp_path / "slice.npz")


@pytest.mark.parametrize("c", [A, B])
def test_c_on_the_line_is_degenerate_and_has_no_colours(c: list[list[int]]) -> None:
    found = measure.slice2d(tiny_network("olmo"), A, B, c, size=4)
    assert found.on_line.all()
    assert found.degenerate.all()
    for name in ("rgb", "solid_share", "steep_share", "boundary_width"):
        assert np.isnan(getattr(found, name)).all(), name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 1}, "size=1: a slice needs at least 2 points a side"),
        ({"size": 2.5}, "size=2.5 is a float"),
        ({"extent": (0.1, 1.25)}, "alpha and beta must run from 0 or below to 1 or above"),
        ({"extent": (-float("inf"), 2.0)}, "two finite numbers"),
        ({"extent": (0, 1, 2)}, "extent=(0, 1, 2): alpha and beta must run"),
        ({"extent": None}, "extent=None: alpha and beta must run"),
        ({"prompts_c": C * 2}, "1 prompts in prompts_a against 2 in prompts_c; a triple takes one of each"),
        ({"layer": 5}, "choose 1 to 4"),
        ({"read": "norm"}, "choose one of final_norm, residual, logits"),
    ],
)
def test_bad_input_is_one_clear_error(arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    call: dict[str, Any] = {"prompts_a": A, "prompts_b": B, "prompts_c": C, **arguments}
    with pytest.raises(MeasureError, match=re.escape(message)):
        measure.slice2d(tiny_network("olmo"), **call)


def painted(field: np.ndarray) -> Slices:
    """One triple whose three distance fields are `field`, `1 - field` and flat but for a corner."""
    size = len(field)
    third = np.full_like(field, 0.5)
    third[0, 0] = 1.0
    at = np.linspace(-0.25, 1.25, size)
    distance = np.stack([field, 1 - field, third])[None]
    return Slices(
        at,
        at,
        distance,
        reference_distance=np.array([[[0.0, 1.0, 0.5], [1.0, 0.0, 0.5], [0.5, 0.5, 0.0]]]),
        reference_norm=np.ones((1, 3)),
        reference_points=np.array([[[0.0, 0.0], [1.0, 0.0], [0.5, 1.0]]]),
        top_tokens=np.zeros((1, size, size), int),
        on_line=np.array([False]),
    )


def steps(size: int, edges: list[int]) -> np.ndarray:
    """A field that is 0 and 1 in turn between the columns `edges`."""
    columns = np.zeros(size)
    for edge in edges:
        columns[edge:] = 1 - columns[edge:]
    return np.tile(columns, (size, 1))


def test_a_slice_of_two_solid_halves_is_solid_and_its_boundary_narrow() -> None:
    halves, slope = painted(steps(40, [20])), painted(np.tile(np.linspace(0, 1, 40), (40, 1)))
    assert halves.solid_share[0] > 0.9
    assert slope.solid_share[0] < 0.3
    assert halves.steep_share[0] > 0.9
    assert slope.steep_share[0] == pytest.approx(0.1, abs=0.03)
    assert halves.boundary_width[0] < 0.6 * slope.boundary_width[0]
    assert set(halves.letters(0)[5]) == {"A", "B"}


def test_a_cell_is_solid_only_where_no_channel_is_far() -> None:
    halves = painted(steps(40, [20]))
    distance = halves.distance.copy()
    distance[0, 2, 5, 5] += 0.2
    solid = replace(halves, distance=distance).solid[0]
    assert solid[5, 6]
    assert not solid[5, 5]


def test_a_slice_with_a_distance_that_is_no_number_is_degenerate() -> None:
    halves = painted(steps(40, [20]))
    distance = halves.distance.copy()
    distance[0, 1, 3, 4] = np.nan
    assert replace(halves, distance=distance).degenerate.tolist() == [True]
    assert halves.degenerate.tolist() == [False]


def test_a_region_that_splits_is_found_and_one_that_stays_is_not() -> None:
    two, four = painted(steps(40, [20])), painted(steps(40, [10, 20, 30]))
    assert two.regions(0).max() == 2
    assert four.regions(0).max() == 4
    assert splits(two, four, 0) == 2
    assert splits(two, two, 0) == 0
    assert splits(four, two, 0) == 0
