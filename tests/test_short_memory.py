"""Memory that is short while the paths are compared says nothing of a path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from measure.core import batches, forward, measurements, planes, reference
from measure.models import loading as models
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Pairs, Triples
from measure.spec import NotMeasuredError
from tests.conftest import random_prompts

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]
PAIRS = Pairs(random_prompts([5] * 4), random_prompts([5] * 4, seed=1), (0, 1, 2, 3))


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets a function run on so many positions at most."""

    def limit(name: str, positions: int, error: Exception, counts: Any) -> list[int]:
        home = reference if name == "reference_reads" else forward
        run, tried = getattr(home, name), []

        def limited(*given: Any, **options: Any) -> Any:
            tried.append(counts(*given))
            if tried[-1] > positions:
                raise error
            return run(*given, **options)

        monkeypatch.setattr(home, name, limited)
        return tried

    return limit


def in_fast(_model: LoadedModel, earlier: torch.Tensor, points: torch.Tensor, *_: Any) -> int:
    return len(points) * (earlier.shape[1] + points.shape[1]) if earlier.shape[1] else 0


def in_reference(_model: LoadedModel, ids: torch.Tensor, *_: Any) -> int:
    return ids.numel()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_fast_path_short_of_memory_stays_the_fast_path(olmo: LoadedModel, limit: Any, error: Exception) -> None:
    whole = measurements.curves(olmo, PAIRS, layer=1, read="final_norm", steps=6, origin={})
    olmo.facts.passed.clear()
    # One pair has 4 positions before its points, and 6 points.
    tried = limit("run_from_layer", 10, error, in_fast)
    found = measurements.curves(olmo, PAIRS, layer=1, read="final_norm", steps=6, origin={})
    assert found.provenance["path"] == "fast"
    assert "path_reason" not in found.provenance
    assert found.provenance["memory"] == "out of memory: no more than 1 pairs, or rows of a slice, in a forward"
    np.testing.assert_allclose(found.distance, whole.distance, atol=1e-5 * whole.reference_norm.max())
    assert [count for count in tried if count][:2] == [20, 10]


def test_a_reference_short_of_memory_runs_each_point_alone(olmo: LoadedModel, limit: Any) -> None:
    tried = limit("reference_reads", 5, ERRORS[0], in_reference)
    found = measurements.curves(olmo, PAIRS, layer=1, read="final_norm", steps=6, origin={})
    assert found.provenance["path"] == "fast"
    assert tried == [30, 5, 5, 5]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("name", "counts"), [("run_from_layer", in_fast), ("reference_reads", in_reference)])
def test_no_memory_for_one_pair_is_told_as_that(
    olmo: LoadedModel, limit: Any, name: str, counts: Any, error: Exception
) -> None:
    limit(name, 0, error, counts)
    with pytest.raises(NotMeasuredError, match=r"there is no memory left on cpu for a single pair: some 0\.00 GB are"):
        measurements.curves(olmo, PAIRS, layer=1, read="final_norm", steps=6, origin={})
    assert olmo.facts.passed == {(1, "final_norm"): []}


def test_a_slice_is_compared_at_as_many_points_as_are_run_at_least(olmo: LoadedModel, limit: Any) -> None:
    triples = Triples(*(random_prompts([5], seed=seed) for seed in range(3)))
    at = np.linspace(0, 1, 24)
    given = {"layer": 1, "reads": ["final_norm"], "at": at, "origin": {}}
    whole = planes.slices(olmo, triples, **given)["final_norm"]
    olmo.facts.passed.clear()
    limit("run_from_layer", 4 + batches.ROW, ERRORS[0], in_fast)
    found = planes.slices(olmo, triples, **given)["final_norm"]
    assert found.provenance["path"] == "fast"
    assert "no more than 1 pairs" in found.provenance["memory"]
    np.testing.assert_allclose(found.distance, whole.distance, atol=1e-5 * whole.reference_norm.max())
    assert olmo.facts.passed == {(1, "final_norm"): [(5, batches.ROW)]}


def test_a_broken_path_is_still_seen_where_memory_is_short(olmo: LoadedModel, limit: Any) -> None:
    run = forward.run_to_layer
    limit("run_from_layer", 10, ERRORS[0], in_fast)
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(forward, "run_to_layer", lambda model, ids, layer: run(model, ids, layer + 1))
        found = measurements.curves(olmo, PAIRS, layer=1, read="final_norm", steps=6, origin={})
    assert found.provenance["path"] == "reference"
    assert "differs from the reference by" in found.provenance["path_reason"]


def test_memory_too_short_to_keep_any_is_no_error(olmo: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise ERRORS[1]

    monkeypatch.setattr(torch, "UntypedStorage", none)
    with models.as_measured(olmo.network):
        pass
