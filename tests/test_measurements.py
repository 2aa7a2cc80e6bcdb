"""`interpolate` as users call it: its input, its errors, and numbers that do not depend on how they were batched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

import measure
from measure.api import one_model as api
from measure.core import agreement, batches, forward, measurements, paths, reference, runs
from measure.models.loading import LoadedModel, adopt, as_measured, load
from measure.prompts.drawn import Pairs
from measure.results import Curves
from measure.spec import CurveSpec, MeasureError
from tests.conftest import DEPTH, VOCABULARY, WordTokenizer, random_prompts, tiny_network

RUNG = "ladder-olmo-0.2m"
A, B = [[5, 6, 7, 8]], [[9, 10, 11, 12]]


@pytest.mark.parametrize("read", ["final_norm", "residual", "logits"])
@pytest.mark.parametrize("chunk", [1, 64, 100_000])
def test_chunks_do_not_change_a_number(model: LoadedModel, pairs: Pairs, read: Any, chunk: int) -> None:
    whole = measurements.fast_curves(model, pairs, layer=1, read=read, steps=9, origin={})
    parts = measurements.fast_curves(model, pairs, layer=1, read=read, steps=9, origin={}, chunk=chunk)
    change = np.abs(parts.distance - whole.distance).max(axis=1)
    assert (change <= 1e-5 * whole.reference_norm).all()


@pytest.mark.parametrize("read", ["final_norm", "residual", "logits"])
@pytest.mark.parametrize("rows", [4, 9])
def test_points_cut_into_rows_give_the_same_numbers(
    model: LoadedModel, pairs: Pairs, read: Any, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measurements.fast_curves(model, pairs, layer=1, read=read, steps=9, origin={})
    monkeypatch.setattr(batches, "rows_of", lambda *_: rows)
    cut = measurements.fast_curves(model, pairs, layer=1, read=read, steps=9, origin={})
    change = np.abs(cut.distance - whole.distance).max(axis=1)
    assert (change <= 1e-5 * whole.reference_norm).all()


def test_points_cut_into_rows_give_the_same_numbers_with_all_reads_at_once(
    model: LoadedModel, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Any] = ["final_norm", "residual", "logits"]
    whole = measurements.all_curves(model, pairs, layer=1, reads=reads, steps=9, origin={})
    monkeypatch.setattr(batches, "rows_of", lambda *_: 4)
    cut = measurements.all_curves(model, pairs, layer=1, reads=reads, steps=9, origin={})
    for read in reads:
        scale = whole[read].reference_norm[:, None]
        np.testing.assert_allclose(cut[read].distance / scale, whole[read].distance / scale, atol=1e-5)
        np.testing.assert_allclose(cut[read].null_distance / scale, whole[read].null_distance / scale, atol=1e-5)


@pytest.mark.parametrize(
    ("points", "earlier", "width", "rows"),
    [
        (50, 9, 64, 1),
        (50, 9, 4096, 1),
        (1000, 9, 64, 7),
        (1000, 9, 896, 4),
        (1000, 0, 64, 7),
        (1000, 999, 64, 1),
        (5000, 999, 64, 4),
        (129, 9, 64, 1),
        (255, 9, 64, 1),
        (256, 9, 64, 2),
    ],
)
def test_many_points_are_cut_where_that_costs_least(points: int, earlier: int, width: int, rows: int) -> None:
    assert batches.rows_of(points, earlier, width) == rows

    def cost(rows: int) -> float:
        size = points / rows
        return rows * (earlier + size) * (24 * width**2 + 4 * width * (earlier + size))

    # Rows shorter than this cost less by the count, and more by the clock.
    assert cost(rows) <= 1.05 * min(map(cost, range(1, max(2, 1 + points // batches.ROW))))


def test_threads_do_not_change_a_number(model: LoadedModel, pairs: Pairs) -> None:
    found = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(measurements.fast_curves(model, pairs, layer=1, read="final_norm", steps=9, origin={}))
    finally:
        torch.set_num_threads(threads)
    assert (np.abs(found[0].distance - found[1].distance).max(axis=1) <= 1e-5 * found[0].reference_norm).all()


def test_each_pair_is_measured_in_its_own_context(model: LoadedModel, pairs: Pairs) -> None:
    together = measurements.fast_curves(model, pairs, layer=2, read="final_norm", steps=5, origin={})
    for row in range(len(pairs)):
        alone = measurements.fast_curves(
            model,
            Pairs(pairs.a[row : row + 1], pairs.b[row : row + 1], (0,)),
            layer=2,
            read="final_norm",
            steps=5,
            origin={},
        )
        np.testing.assert_allclose(alone.relative[0], together.relative[row], atol=1e-5)


def test_a_rung_by_name_with_strings() -> None:
    curves = measure.interpolate(
        RUNG, [" He opened the old door", " She"], [" The house was very", " It rained"], steps=5
    )
    assert curves.distance.shape == curves.relative.shape == (2, 5)
    assert (curves.distance[:, 0] == 0).all()
    np.testing.assert_allclose(curves.relative[:, -1], 1)
    provenance = curves.provenance
    assert (provenance["model"], provenance["revision"]) == (RUNG, "main")
    assert (provenance["dtype"], provenance["path"], provenance["layer"]) == ("float32", "fast", 1)
    assert len(provenance["weights_sha256"]) == len(provenance["prompts_sha256"]) == 64
    assert provenance["torch"] == torch.__version__


def test_a_bare_string_is_one_pair() -> None:
    assert len(measure.interpolate(RUNG, " He said", " She said", steps=3)) == 1


def test_revisions_differ() -> None:
    curves = [measure.interpolate(name, " He said", " the house", steps=9) for name in (RUNG, f"{RUNG}@step0-tokens0M")]
    assert curves[0].provenance["weights_sha256"] != curves[1].provenance["weights_sha256"]
    assert np.abs(curves[0].relative - curves[1].relative).max() > 0.01


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_token_ids_of_a_loaded_model(kind: Any) -> None:
    curves = measure.interpolate(tiny_network("gpt2"), kind(A), kind(B), steps=3)
    assert curves.provenance["prompts_sha256"] == Pairs(((5, 6, 7, 8),), ((9, 10, 11, 12),), (0,)).sha256


def test_a_loaded_model_with_its_tokenizer_and_bos() -> None:
    network = tiny_network("llama")
    with_bos = measure.interpolate(network, "a b", "c d", bos=True, tokenizer=WordTokenizer(bos=1), steps=5)
    without = measure.interpolate(network, "a b", "c d", tokenizer=WordTokenizer(bos=1), steps=5)
    assert np.abs(with_bos.relative - without.relative).max() > 1e-3


def test_a_folder(tmp_path: Path) -> None:
    network = tiny_network("olmo")
    network.save_pretrained(tmp_path)
    by_folder, loaded = measure.interpolate(str(tmp_path), A, B), measure.interpolate(network, A, B)
    np.testing.assert_array_equal(by_folder.distance, loaded.distance)


def test_identical_prompts_are_degenerate() -> None:
    curves = measure.interpolate(tiny_network("olmo"), A, A)
    assert curves.degenerate.all()
    assert np.isnan(curves.max_slope).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_must_be_said_aloud(dtype: torch.dtype) -> None:
    network = tiny_network("olmo").to(dtype)
    name: Any = str(dtype).removeprefix("torch.")
    with pytest.raises(MeasureError, match=f"the model is in {name}.*pass precision='{name}'"):
        measure.interpolate(network, A, B)
    assert measure.interpolate(network, A, B, precision=name).provenance["dtype"] == name


@pytest.mark.parametrize("setting", ["medium", "autocast"])
def test_rounding_switched_on_around_us_changes_no_number(setting: str) -> None:
    network = tiny_network("llama")
    exact = measure.interpolate(network, A, B)
    before = torch.get_float32_matmul_precision()
    try:
        if setting == "medium":
            torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", enabled=setting == "autocast"):
            rounded = measure.interpolate(network, A, B)
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(rounded.distance, exact.distance)


def test_in_sixteen_bits_the_known_line_is_still_nearly_straight() -> None:
    network = tiny_network("olmo").to(torch.float16)
    line = measure.interpolate(network, A, B, layer=DEPTH, read="residual", precision="float16")
    np.testing.assert_allclose(line.relative[0], line.alphas, atol=1e-3)


def test_a_model_that_the_fast_path_cannot_run_takes_the_reference_path(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = measure.interpolate(tiny_network("olmo"), A, B, steps=5)

    def unlike(*_: Any, **__: Any) -> Any:
        raise TypeError("this model is unlike the others")

    monkeypatch.setattr(forward, "run_from_layer", unlike)
    slow = measure.interpolate(tiny_network("olmo"), A, B, steps=5)
    assert slow.provenance["path"] == "reference"
    assert "the fast path failed: TypeError('this model is unlike" in slow.provenance["path_reason"]
    np.testing.assert_allclose(slow.relative, fast.relative, atol=1e-5)


def test_a_fast_path_that_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = forward.run_from_layer
    monkeypatch.setattr(forward, "run_from_layer", lambda m, e, p, *a, **k: whole(m, e.flip(1), p, *a, **k))
    curves = measure.interpolate(tiny_network("olmo"), A, B, steps=5)
    assert curves.provenance["path"] == "reference"
    assert "the fast path differs from the reference by" in curves.provenance["path_reason"]


def test_a_fast_path_that_is_wrong_on_a_catalogued_model_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = forward.run_from_layer
    monkeypatch.setattr(forward, "run_from_layer", lambda m, e, p, *a, **k: whole(m, e.flip(1), p, *a, **k))
    with pytest.raises(
        MeasureError, match=r"differs from the reference by .* the measuring code, torch or transformers"
    ):
        measure.interpolate(RUNG, " He said that", " She was not", steps=5)
    # A counterfeit of it is of no family: its weights may make much of rounding.
    counterfeit = load(RUNG, weights="scrambled:0")
    assert measure.interpolate(counterfeit, " He said that", " She was not", steps=5).provenance["path"] == "reference"


def test_a_model_that_reads_both_ways_is_refused() -> None:
    from transformers import BertConfig, BertLMHeadModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    with pytest.raises(MeasureError, match="does not read from left to right"):
        measure.interpolate(BertLMHeadModel(config), A, B)


def test_numpy_integers_and_paths_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    tiny_network("olmo").save_pretrained(tmp_path)
    curves = measure.interpolate(tmp_path, A, B, layer=np.int64(2), steps=np.int64(4))
    assert Curves.load(curves.save(tmp_path / "c")).provenance["layer"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": 0}, "layer=0: OlmoForCausalLM has 4 blocks; layers are counted from 1"),
        ({"layer": DEPTH + 1}, "choose 1 to 4"),
        ({"layer": "1"}, "layer='1' is a str; expected an integer"),
        ({"layer": None}, "layer=None is a NoneType"),
        ({"steps": 2.5}, "steps=2.5 is a float"),
        ({"prompts_a": {"input_ids": A}}, "prompts_a is a dict; expected a string, a list of strings, or token ids"),
        ({"prompts_a": None}, "prompts_a is a NoneType"),
        ({"prompts_a": np.array(3)}, "prompts_a is a ndarray"),
        ({"prompts_a": [[[1, 2], [3]]]}, "one list of integers a prompt"),
        ({"precision": "float64"}, "the loaded model is in float32 and is measured as it is"),
        ({"steps": 1}, "steps=1: a curve needs at least 2 points"),
        ({"read": "hidden"}, "read='hidden' is not known; choose one of final_norm, residual, logits"),
        ({"precision": "half"}, "precision='half' is not known"),
        ({"prompts_a": []}, "prompts_a is empty"),
        ({"prompts_a": [[]]}, "prompts_a[0] is [], which has no tokens"),
        ({"prompts_a": A * 2}, "2 prompts in prompts_a against 1 in prompts_b"),
        ({"prompts_b": [[5, VOCABULARY]]}, "prompts_b[0] has token id 97; OlmoForCausalLM knows ids 0 to 96"),
        ({"prompts_b": [[5, -1]]}, "has token id -1"),
        ({"prompts_b": [5, 6]}, "token ids of shape (pairs, tokens)"),
        ({"prompts_b": [[0.5, 1.0]]}, "one list of integers a prompt"),
        ({"prompts_b": [[5] * 65]}, "has 65 tokens; the context of OlmoForCausalLM is 64"),
        ({"prompts_a": "a word"}, "the model came without a tokenizer; pass tokenizer= or token ids"),
        ({"bos": True}, "bos=True is for strings"),
    ],
)
def test_bad_input_is_one_clear_error(arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Users run without the type checks of these tests: the door itself must refuse.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    call: dict[str, Any] = {"prompts_a": A, "prompts_b": B, **arguments}
    with pytest.raises(MeasureError, match=re.escape(message)):
        measure.interpolate(tiny_network("olmo"), **call)


def test_an_empty_string_has_no_tokens() -> None:
    with pytest.raises(MeasureError, match=re.escape("prompts_a[0] is '', which has no tokens")):
        measure.interpolate(RUNG, "", " He said")


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(MeasureError, match="model is a dict; expected a catalog name"):
        measure.interpolate({}, A, B)
    with pytest.raises(MeasureError, match="Nearest in the catalog"):
        measure.interpolate("ladder-olmo", A, B)


def test_public_names() -> None:
    assert all(hasattr(measure, name) for name in measure.__all__)
    with pytest.raises(AttributeError, match="public names: .*CurveSpec, Curves"):
        _ = measure.nothing


@pytest.mark.parametrize("fits", [3, 1])
def test_out_of_memory_halves_what_goes_into_a_forward_and_says_so(
    olmo: LoadedModel, fits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = random_prompts([5] * 9)
    pairs = Pairs(prompts[:-1], prompts[1:], tuple(range(8)))
    whole = measurements.curves(olmo, pairs, layer=1, read="final_norm", steps=6, origin={})
    run, tried = forward.run_from_layer, []

    def small(
        model: LoadedModel, earlier: torch.Tensor, points: torch.Tensor, *rest: object, **options: bool
    ) -> object:
        # The norm-only null runs no block.
        if earlier.shape[1]:
            tried.append(len(points))
            if len(points) > fits:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return run(model, earlier, points, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(forward, "run_from_layer", small)
    curves = measurements.curves(olmo, pairs, layer=1, read="final_norm", steps=6, origin={})
    most = 2 if fits == 3 else 1
    assert tried == ([8, 4, *[2] * 4] if fits == 3 else [8, 4, 2, *[1] * 8])
    assert curves.provenance["memory"] == f"out of memory: no more than {most} pairs, or rows of a slice, in a forward"
    assert "memory" not in whole.provenance
    np.testing.assert_allclose(curves.distance, whole.distance, atol=1e-5 * whole.reference_norm.max())


def test_a_slice_goes_on_in_fewer_rows_too(olmo: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    triple = ([[5, 6, 7]], [[8, 9, 3]], [[4, 5, 9]])
    whole = api.slice2d(olmo.network, *triple, size=24)
    run = runs.outputs

    def small(model: LoadedModel, known: object, prompts: object, points: torch.Tensor, *rest: object) -> object:
        if points.shape[1] > 2 * batches.ROW:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return run(model, known, prompts, points, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(runs, "outputs", small)
    slices = api.slice2d(olmo.network, *triple, size=24)
    assert "no more than 2 pairs" in slices.provenance["memory"]
    np.testing.assert_allclose(slices.distance, whole.distance, atol=1e-5 * whole.reference_norm.max())


def test_a_single_pair_that_does_not_fit_says_what_it_needs(olmo: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = random_prompts([5, 5])
    pairs = Pairs((first,), (second,), (0,))
    monkeypatch.setattr(agreement, "choose_path", lambda *_: agreement.Choice("fast"))

    def none(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(forward, "run_from_layer", none)
    with pytest.raises(MeasureError, match=r"no memory left on cpu for a single pair: some 0.00 GB are needed beside"):
        measurements.curves(olmo, pairs, layer=1, read="final_norm", steps=6, origin={})


def test_another_error_is_not_taken_for_one_of_memory(olmo: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = random_prompts([5] * 5)
    monkeypatch.setattr(agreement, "choose_path", lambda *_: agreement.Choice("fast"))

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(forward, "run_from_layer", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        measurements.curves(
            olmo, Pairs(prompts[:-1], prompts[1:], (0, 1, 2, 3)), layer=1, read="final_norm", steps=6, origin={}
        )


def test_rounded_products_are_refused_where_there_are_none(olmo: LoadedModel) -> None:
    with pytest.raises(MeasureError, match="precision='tf32' is a mode of NVIDIA's matrix units"):
        api.interpolate(olmo.network, [[5, 6, 7]], [[8, 9, 3]], steps=3, precision="tf32")


def test_what_looks_from_both_ends_is_known_where_no_block_runs() -> None:
    """After the last block, before the norm, the output runs straight: equal steps, (1 - alpha) d(1) to the end."""
    network = tiny_network("olmo")
    model = adopt(network, None, "float32")
    found = api.interpolate(network, [[1, 2, 3]], [[4, 5, 6]], layer=model.depth, read="residual", steps=11)
    end = found.distance[0, -1]
    assert found.step_distance is not None
    assert found.end_side_distance is not None
    np.testing.assert_allclose(found.step_distance[0], end / 10, rtol=1e-4)
    np.testing.assert_allclose(found.end_side_distance[0], (1 - found.alphas) * end, atol=1e-5 * end)
    np.testing.assert_array_equal(found.last_tokens, [[3, 6]])
    for name in ("edge_speed", "peak_speed", "detour"):
        assert getattr(found, name)[0] == pytest.approx(1, abs=1e-3)


def test_steps_and_both_ends_are_those_of_plain_forwards() -> None:
    """Through all blocks: what the reference path's own outputs give."""
    network = tiny_network("qwen2")
    found = api.interpolate(network, [[1, 2, 3]], [[4, 5, 7]], steps=6)
    model = adopt(network, None, "float32")
    with as_measured(network):
        known = runs.contexts(model, [(1, 2, 3), (4, 5, 7)], 1, "reference")
        points = paths.segment(known.last([(1, 2, 3)]), known.last([(4, 5, 7)]), paths.alphas(6))
        out = runs.outputs(model, known, [(1, 2, 3)], points, 1, ["final_norm"], "reference")["final_norm"][0]
    out = out.double().numpy()
    assert found.step_distance is not None
    assert found.end_side_distance is not None
    np.testing.assert_allclose(found.step_distance[0], np.linalg.norm(np.diff(out, axis=0), axis=1), rtol=1e-4)
    np.testing.assert_allclose(found.end_side_distance[0], np.linalg.norm(out - out[-1], axis=1), atol=1e-5)


def test_the_scale_is_that_of_the_run_without_a_patch() -> None:
    """||F(A)||, and not ||F(B)||, which before the norm is another number."""
    network = tiny_network("qwen2")
    found = api.interpolate(network, [[1, 2, 3]], [[4, 5, 7]], read="residual", steps=6)
    ends = []
    with as_measured(network):
        model = adopt(network, None, "float32")
        for prompt in ((1, 2, 3), (4, 5, 7)):
            point = reference.reference_states(model, torch.tensor(prompt), 1)[-1]
            ends.append(float(reference.reference_read(model, torch.tensor((1, 2, 3)), point, 1, "residual").norm()))
    assert found.reference_norm[0] == pytest.approx(ends[0], rel=1e-5)
    assert ends[1] != pytest.approx(ends[0], rel=1e-2)


def test_the_fast_path_is_checked_on_pairs_that_move(olmo: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a state to itself nothing moves, and a broken path would pass there."""
    same, first, second = random_prompts([6, 6, 6])
    whole = forward.run_from_layer

    def dead(m: LoadedModel, e: torch.Tensor, p: torch.Tensor, *a: Any, **k: Any) -> Any:
        return whole(m, e, p[:, :1].expand_as(p), *a, **k)

    monkeypatch.setattr(forward, "run_from_layer", dead)
    choice = agreement.choose_path(olmo, [same, same, first], [same, same, second], 2, ["final_norm"], 6)
    assert choice.path == "reference"


@pytest.mark.parametrize(("rows", "expected"), [("all", 4), ("independent", 2)])
def test_a_spec_says_which_rows_are_measured(olmo: LoadedModel, rows: Any, expected: int) -> None:
    prompts = random_prompts([5] * 5)
    pairs = Pairs(prompts[:-1], prompts[1:], (0, -1, 1, -1))
    (found,) = measurements.measure_specs([CurveSpec("tiny", rows=rows)], olmo, pairs, origin={})
    assert isinstance(found, Curves)
    assert len(found) == expected


def test_own_pairs_that_share_a_prompt_are_not_independent() -> None:
    found = api.interpolate(tiny_network("olmo"), [[1, 2, 3], [4, 5, 7]], [[4, 5, 7], [8, 9, 3]], steps=4)
    assert (found.units >= 0).sum() == 1


def test_the_fast_path_is_held_to_rounding() -> None:
    assert agreement.AGREEMENT[torch.float32] == agreement.AGREEMENT[torch.float64] == 1e-5


def test_where_the_output_jumps_rounding_is_allowed_to_grow_with_its_speed() -> None:
    jump = np.array([[0.0, 0.0, 0.0, 12.0, 12.0], [0.0, 2.5, 5.0, 7.5, 10.0], [0.0, np.nan, np.nan, np.nan, 1.0]])
    np.testing.assert_allclose(agreement._amplified(jump)[:2], [[1, 1, 2.4, 2.4, 1], [1, 1, 1, 1, 1]])
    assert np.isfinite(agreement._amplified(jump)).all()
    assert (agreement._amplified(np.zeros((2, 1))) == 1).all()
