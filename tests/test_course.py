"""How X goes, where it is patched and read: fast path against plain forwards, known answers, what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

import measure
from measure import kinds
from measure.core import agreement, asked, forward, measurements, paths, reference
from measure.core.course import Course
from measure.harness import baselines
from measure.harness.engines import in_process as engine
from measure.harness.engines import one_load, store
from measure.models.loading import LoadedModel, adopt
from measure.prompts.drawn import Pairs
from measure.spec import CrossingSpec, CurveSpec, MeasureError, PredictionSpec, SliceSpec, Spec, fields_of
from tests.conftest import DEPTH, WordTokenizer, random_prompts, tiny_network

A, B = [[5, 6, 7, 8], [9, 4, 5, 6, 7]], [[9, 10, 11, 12], [9, 4, 9, 3, 2]]
EVEN = Pairs(tuple(map(tuple, A)), tuple(map(tuple, B)), (0, 1))
WIDTH = 32


def ends(network: Any, layer: int) -> list[torch.Tensor]:
    """A and B of the first pair."""
    model = adopt(network, None, "float32")
    with torch.no_grad():
        return [reference.reference_states(model, torch.tensor(side[0]), layer)[-1] for side in (A, B)]


COURSES = {
    "slerp": Course("slerp"),
    "arc": Course("arc", "symmetric"),
    "earlier position": Course(patched=-2),
    "read there": Course(patched=-2, read_at=-2),
    "from the difference": Course(patched="difference"),
    "arc from the difference": Course("slerp", "projection", None, "difference", -2),
    "own points": Course(points=torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(0))),
}


@pytest.mark.parametrize("name", COURSES)
@pytest.mark.parametrize("read", ["final_norm", "logits", "block:3"])
def test_the_fast_path_is_the_reference(model: LoadedModel, name: str, read: str) -> None:
    asked: dict[str, Any] = {"layer": 2, "read": read, "steps": 5, "origin": {}, "course": COURSES[name]}
    fast = measurements.fast_curves(model, EVEN, **asked)
    plain = measurements.reference_curves(model, EVEN, **asked)
    assert not fast.degenerate.any()
    np.testing.assert_allclose(fast.relative, plain.relative, atol=1e-5)
    np.testing.assert_allclose(fast.null.relative, plain.null.relative, atol=1e-5)
    np.testing.assert_allclose(fast.reference_norm, plain.reference_norm, rtol=1e-5)


def test_each_course_gives_numbers_of_its_own(olmo: LoadedModel) -> None:
    asked: dict[str, Any] = {"layer": 2, "read": "final_norm", "steps": 5, "origin": {}}
    found = [measurements.fast_curves(olmo, EVEN, course=course, **asked).relative for course in COURSES.values()]
    for number, one in enumerate(found):
        assert all(np.abs(one - other).max() > 1e-3 for other in found[:number])


def test_the_arc_turns_evenly_and_keeps_or_scales_the_norm() -> None:
    a, b = torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    at = paths.alphas(4)
    slerp, arc = (paths.between(kind, a, b, at)[0].numpy() for kind in ("slerp", "arc"))  # type: ignore[arg-type]
    angles = np.degrees(np.arctan2(slerp[:, 1], slerp[:, 0]))
    np.testing.assert_allclose(angles, [0, 30, 60, 90], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(slerp, axis=-1), [3, 7 / 3, 5 / 3, 1], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(arc, axis=-1), 3, rtol=1e-6)
    np.testing.assert_array_equal(slerp[0], a[0])
    np.testing.assert_allclose(slerp[-1], b[0], atol=1e-7)
    np.testing.assert_allclose(arc[-1], 3 * b[0], atol=1e-6)


def test_of_equal_directions_the_arc_is_the_line() -> None:
    a = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    at = paths.alphas(5)
    torch.testing.assert_close(paths.between("slerp", a, 2 * a, at), paths.segment(a, 2 * a, at))
    torch.testing.assert_close(paths.between("slerp", a, a, at), paths.segment(a, a, at))


def test_where_no_block_runs_the_null_is_the_curve_on_every_path() -> None:
    """The null is the same path between the two final states: of the arc at A's norm the one that meets both."""
    for path in ("linear", "slerp", "arc"):
        found = measure.interpolate(tiny_network("olmo"), A, B, layer=DEPTH, steps=7, path=path)  # type: ignore[call-overload]
        np.testing.assert_allclose(found.null.relative, found.relative, atol=1e-5)
    straight = measure.interpolate(tiny_network("olmo"), A, B, layer=DEPTH, steps=7)
    assert np.abs(found.relative - straight.relative).max() > 1e-3


def network_with(a: torch.Tensor, b: torch.Tensor) -> Any:
    """A tiny model in which the states of tokens 5 and 6 after the first block, in prompts of one token, are given."""
    network = tiny_network("olmo")
    with torch.no_grad():
        for token, values in ((5, a), (6, b)):
            network.model.embed_tokens.weight[token] = values
        # The first block adds nothing.
        for parameter in network.model.layers[0].parameters():
            parameter.zero_()
    return network


LENGTH = torch.linspace(-1, 2, WIDTH)


@pytest.mark.parametrize(
    ("b", "message"),
    [
        (-2 * LENGTH, "A and B point in opposite directions"),
        (0 * LENGTH, "B is the origin, which has no direction"),
    ],
)
def test_a_pair_without_an_arc_is_degenerate_and_told(b: torch.Tensor, message: str, caplog: Any) -> None:
    network = network_with(LENGTH, b)
    with pytest.raises(MeasureError, match=f"no path of that kind between A and B .pair 1: {message}.*path='linear'"):
        measure.interpolate(network, [[5]], [[6]], path="slerp", steps=3)
    found = measure.interpolate(network, [[5], [5]], [[6], [7]], path="slerp", steps=3)
    assert list(found.degenerate) == [True, False]
    assert np.isnan(found.max_slope[0])
    assert np.isnan(found.distance[0]).all()
    assert np.isnan(found.null.edge_speed[0])
    assert f"1 of 2 pairs have no path and are degenerate (pair 1: {message}" in caplog.text
    # Straight through the origin there is a way.
    assert not measure.interpolate(network, [[5]], [[6]], steps=3).degenerate.any()


def test_points_of_ones_own_need_no_second_prompt() -> None:
    network = tiny_network("qwen2")
    start, end = ends(network, 2)
    line = torch.stack([start + alpha * (end - start) for alpha in np.linspace(0, 1, 5)])
    found = measure.interpolate(network, A[:1], points=line[None].numpy(), layer=2)
    same = measure.interpolate(network, A[:1], B[:1], layer=2, steps=5)
    np.testing.assert_allclose(found.distance, same.distance, atol=1e-5)
    assert found.provenance["interpolation"] == "points of one's own"
    repeated = measure.interpolate(network, [A[0], A[0], A[1]], points=np.stack([line] * 3), layer=2)
    assert list(repeated.units) == [0, -1, 1]


def test_beside_points_of_ones_own_the_text_of_b_is_empty(olmo: LoadedModel, tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(2, 3, WIDTH))
    found = measure.interpolate(olmo, [" 5 6", " 7 8"], points=points, tokenizer=WordTokenizer(1))
    assert found.frame()[["prompt_a", "prompt_b"]].to_numpy().tolist() == [[" 5 6", ""], [" 7 8", ""]]
    assert measure.Curves.load(found.save(tmp_path / "own.npz")).prompts is not None


def test_a_later_position_follows_the_patch() -> None:
    network = tiny_network("qwen2")
    found = measure.interpolate(network, A, B, layer=2, steps=5, patched=-2, read_at=[-2, -1])
    assert list(found) == [-2, -1]
    assert not any(curves.degenerate.any() for curves in found.values())
    # After the last block nothing at a later position is left to follow it.
    there = measure.interpolate(network, A, B, layer=DEPTH, steps=5, patched=-2, read_at=-1)
    assert there.degenerate.all()


def test_a_patch_at_the_last_position_is_the_usual_one() -> None:
    network = tiny_network("qwen2")
    usual = measure.interpolate(network, [[5, 6, 7]], [[5, 6, 9]], steps=5)
    from_there = measure.interpolate(network, [[5, 6, 7]], [[5, 6, 9]], steps=5, patched="difference")
    np.testing.assert_allclose(from_there.distance, usual.distance, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "bent"}, "path='bent' is not known; choose one of linear, slerp, arc"),
        ({"path": 3}, "path=3 is a int"),
        ({"read": "block:0"}, "read='block:0' is not known"),
        (
            {"read": "block:9"},
            "read='block:9': OlmoForCausalLM has 4 blocks, counted from 1; choose block:2 to block:4",
        ),
        ({"read": "block:1"}, "block 1 runs before the patch after block 2, which changes nothing of it"),
        ({"read": []}, "read is empty"),
        ({"read": 3}, "read=3 is not known"),
        ({"patched": 0}, "positions are counted from the end"),
        ({"patched": "all"}, "patched='all' is not known; expected a position counted from the end"),
        ({"patched": -5}, "patched=-5: pair 1 has a prompt of 4 tokens"),
        ({"patched": 1.5}, "patched=1.5 is a float"),
        ({"patched": True}, "patched=True is a bool"),
        ({"read_at": -2}, "read_at=-2 stands before the patched position of pair 1"),
        ({"read_at": []}, "read_at is empty"),
        ({"patched": "difference", "prompts_b": [[5], [6]]}, "pair 1 has prompts of 4 and 1 tokens"),
        ({"points": np.zeros((2, 3))}, "points has shape (2, 3)"),
        ({"points": np.zeros((2, 3, 5))}, "points has shape (2, 3, 5); expected (pairs, points, width) = (2, 3, 32)"),
        ({"points": np.full((2, 3, WIDTH), np.nan)}, "points[0, 0] holds NaN or infinity"),
        ({"points": np.full((2, 3, WIDTH), 1e39)}, "points[0, 0] holds a number beyond what float32 can hold"),
        ({"points": "x"}, "points is no array of numbers"),
        ({"points": np.full((2, 3, WIDTH), 1j)}, "points is no array of numbers (complex numbers)"),
        ({"points": np.zeros((2, 3, WIDTH)), "path": "arc"}, "points of one's own take the place of a path"),
        ({"points": np.zeros((2, 3, WIDTH)), "steps": 7}, "steps=7 and 3 points a pair"),
        ({"points": np.zeros((2, 3, WIDTH)), "patched": "difference"}, "points of one's own go into one position"),
        ({"prompts_b": None}, "prompts_b is a NoneType"),
    ],
)
def test_bad_input_is_one_clear_error(arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    call: dict[str, Any] = {"prompts_a": A, "prompts_b": B, "layer": 2, **arguments}
    with pytest.raises(MeasureError, match=re.escape(message)):
        measure.interpolate(tiny_network("olmo"), **call)


def test_a_broken_fast_path_on_another_course_is_seen(olmo: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    course = Course(patched=-2)
    assert agreement.choose_path(olmo, EVEN.a, EVEN.b, 2, ["block:3"], 5, None, course).path == "fast"
    olmo.facts.passed.clear()
    whole = forward._tails_mask
    monkeypatch.setattr(forward, "_tails_mask", lambda *given: whole(*given) * 0)
    choice = agreement.choose_path(olmo, EVEN.a, EVEN.b, 2, ["block:3"], 5, None, course)
    assert choice.path == "reference"


def test_the_check_is_of_the_pair_with_the_most_positions(olmo: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of two pairs as long differs in its last token alone, where masks of several positions play no part."""
    pairs = Pairs(((9, 4, 5, 6, 7), (9, 4, 5, 6, 7)), ((9, 4, 5, 6, 2), (9, 4, 9, 3, 2)), (0, -1))
    whole = forward._tails_mask
    monkeypatch.setattr(forward, "_tails_mask", lambda *given: whole(*given) * 0)
    choice = agreement.choose_path(olmo, pairs.a, pairs.b, 2, ["final_norm"], 5, None, Course(patched="difference"))
    assert choice.path == "reference"


def test_shorter_prompts_that_differ_earlier_are_checked_too(
    olmo: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest prompts differ in their last token alone; those of the other pair in their last three."""
    pairs = Pairs(((9, 4, 5, 6, 7, 8), (9, 4, 5, 6, 7)), ((9, 4, 5, 6, 7, 2), (9, 4, 9, 3, 2)), (0, 1))
    course = Course(patched="difference")

    def chosen(*rows: int, points: int = 5) -> str:
        a, b = ([side[row] for row in rows] for side in (pairs.a, pairs.b))
        return agreement.choose_path(olmo, a, b, 2, ["final_norm"], points, None, course).path

    whole = forward._tails_mask
    monkeypatch.setattr(forward, "_tails_mask", lambda *given: whole(*given) * 0)
    assert chosen(0) == "fast"
    assert chosen(0, 1) == "reference"
    # What passed with one position, in many points, has not passed with several.
    assert chosen(0, points=60) == "fast"
    assert chosen(1) == "reference"


BASELINES = sorted((Path(__file__).parent.parent / "baselines").glob("*/*.json"))


def spec_of(content: dict[str, Any]) -> Spec:
    whole = {**content["defaults"], **content["spec"]}
    if content.get("kind", "curves") == "slices":
        return SliceSpec(**{**whole, "extent": tuple(whole["extent"])})
    kind = PredictionSpec if "span" in whole else CrossingSpec if content["defaults"]["steps"] == 129 else CurveSpec
    return kind(**whole)


def test_ids_and_keys_of_every_baseline_are_as_if_nothing_had_been_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "source_hash", lambda: "source")
    contents = [json.loads(path.read_text()) for path in BASELINES if path.parent.name != "verdicts"]
    # Those with what was added are of specs that there could not be before.
    contents = [one for one in contents if "defaults" in one and "interventions" not in one["spec"]]
    assert len(contents) > 100
    for content in contents:
        spec, whole = spec_of(content), {**content["defaults"], **content["spec"]}
        assert json.loads(json.dumps(fields_of(spec))) == whole
        assert not {"path", "distance"} & set(spec.id.split("-"))
        found, defaults = baselines._parted(kinds.of(spec), fields_of(spec))
        assert (found, defaults) == (content["spec"], content["defaults"])


def test_every_spec_of_several_is_held_against_its_read(olmo: LoadedModel) -> None:
    specs = [CurveSpec("m", layer=2, steps=3, read=read) for read in ("final_norm", "block:1")]
    with pytest.raises(MeasureError, match="block 1 runs before the patch after block 2"):
        measurements.measure_specs(specs, olmo, EVEN, origin={})


def test_a_spec_that_asks_for_another_path_is_another() -> None:
    usual, bent = CurveSpec("m"), CurveSpec("m", path="slerp", distance="kl", read="logits")
    assert (usual.id, bent.id) == ("m", "m-readlogits-pathslerp-distancekl")
    assert store.key(usual, {}) != store.key(bent, {})
    assert "path" not in fields_of(usual)
    assert CurveSpec("m", read="block:5").id == "m-readblock5"
    with pytest.raises(MeasureError, match="distance='kl' is taken between next-token distributions"):
        CurveSpec("m", distance="kl")
    with pytest.raises(MeasureError, match="path='bent' is not known"):
        CurveSpec("m", path="bent")  # type: ignore[arg-type]


@pytest.mark.parametrize("distance", ["kl", "js"])
def test_a_spec_with_a_distance_between_distributions_is_measured(distance: Any) -> None:
    spec = CurveSpec("ladder-olmo-0.2m", read="logits", distance=distance, steps=3, pairs=2)
    usual = CurveSpec("ladder-olmo-0.2m", steps=3, pairs=2)
    assert one_load.alike([spec, usual]) == [[spec], [usual]]
    (found,) = engine.measure([spec], None, lambda *_: None).values()
    assert isinstance(found, measure.Curves)
    assert found.provenance["distance"] == distance


def test_a_spec_is_measured_along_its_path(olmo: LoadedModel) -> None:
    spec = CurveSpec("m", path="slerp", distance="symmetric", layer=2, steps=5, pairs=2)
    prompts = random_prompts([5] * 4)
    pairs = Pairs(prompts[:2], prompts[2:], (0, 1))
    (found,) = measurements.measure_specs([spec], olmo, pairs, origin={})
    course = asked.course_of("slerp", None, "symmetric", -1, 5)
    expected = measurements.fast_curves(olmo, pairs, layer=2, read="final_norm", steps=5, origin={}, course=course)
    np.testing.assert_array_equal(found.distance, expected.distance)  # type: ignore[attr-defined]
    assert found.provenance["spec"]["path"] == "slerp"
    assert (found.provenance["interpolation"], found.provenance["distance"]) == ("slerp", "symmetric")


def test_a_slice_has_no_block_to_be_read_after() -> None:
    with pytest.raises(MeasureError, match="read='block:2' is not known; choose one of final_norm, residual, logits"):
        measure.SliceSpec("m", read="block:2")
