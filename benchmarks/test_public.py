"""What a user waits for at the public interface, `measure.interpolate`: first call, later calls. Run by `make bench`.

The first call on a model hashes its weights and checks the fast path; later ones find both known. A model that is named
is loaded at each call, its hash and its check being kept across processes. The schemes of `benchmarks/schemes.py` take
turns with it in one process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import pytest
import torch

import measure
from benchmarks.schemes import SCHEMES
from benchmarks.test_schemes import STEPS, drawn, qwen2
from measure.hub import known, shelf
from measure.models import loading as models
from measure.prompts.drawn import Pairs


@dataclass(frozen=True)
class Asked:
    """How many pairs, and how many times faster than a scheme the first call and a later one must be."""

    pairs: int
    first: dict[str, float]
    later: dict[str, float]


CASES = {
    "1 pair": Asked(1, {}, {"c expert": 1.8}),
    "4 pairs": Asked(4, {"a authors": 6, "b competent": 2}, {"a authors": 18, "b competent": 6}),
}
NAMED = ("smollm2-135m-instruct", "gemma3-270m")


@lru_cache(maxsize=1)
def loaded() -> Any:
    torch.manual_seed(0)
    network = qwen2().eval()
    # The first time that transformers is asked for hidden states it hangs hooks on every block, for good; a model with
    # new hooks is looked at again.
    with torch.no_grad():
        network(torch.tensor([[1, 2]]), output_hidden_states=True)
    return network


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def call(model: Any, pairs: Pairs) -> None:
    measure.interpolate(model, [list(row) for row in pairs.a], [list(row) for row in pairs.b], steps=STEPS)


@pytest.mark.parametrize("name", CASES)
def test_a_loaded_model_of_qwens_shape(name: str, benchmark: Any) -> None:
    case, network = CASES[name], loaded()
    pairs = drawn(case.pairs, 10, network.config.vocab_size)
    model = models.adopt(network, None, "float32")
    call(network, pairs)
    first, later, ratios = [], [], {}
    for scheme in {**case.first, **case.later}:
        found = []
        for _ in range(3 if scheme != "a authors" else 1):
            known._OF_MODEL.clear()
            first.append(seconds(lambda: call(network, pairs)))
            before = seconds(lambda: call(network, pairs))
            taken = seconds(partial(SCHEMES[scheme], model, pairs, STEPS))
            after = seconds(lambda: call(network, pairs))
            later += [before, after]
            found.append((taken / first[-1], taken / ((before + after) / 2)))
        ratios[scheme] = tuple(statistics.median(column) for column in zip(*found, strict=True))
    print(f"\n\nmeasure.interpolate, Qwen2-0.5B's shape, {name}, {torch.get_num_threads()} threads")
    print(f"first call {statistics.median(first):.2f} s, later calls {statistics.median(later):.2f} s")
    for scheme, (to_first, to_later) in ratios.items():
        print(f"{scheme}: the first call is {to_first:.1f} times faster, a later one {to_later:.1f}")
    benchmark.extra_info.update({"first": first, "later": later, "ratios": ratios})
    benchmark.pedantic(lambda: None, rounds=1)
    assert {s: r for s, r in ratios.items() if r[0] < case.first.get(s, 0) or r[1] < case.later.get(s, 0)} == {}


@pytest.mark.parametrize("name", NAMED)
def test_a_model_by_its_name(name: str, benchmark: Any) -> None:
    """From a GGUF file that was unpacked, loaded at each call."""
    if not shelf.is_cached(name):
        pytest.skip(shelf.how_to_get(name))
    found = {}
    for count in (1, 4):
        pairs = drawn(count, 10, 40000)
        call(name, pairs)
        found[count] = statistics.median(seconds(partial(call, name, pairs)) for _ in range(3))
    print(f"\n\nmeasure.interpolate by name, {name}, load included: {found[1]:.2f} s a pair, {found[4]:.2f} s four")
    benchmark.extra_info.update({str(count): taken for count, taken in found.items()})
    benchmark.pedantic(lambda: None, rounds=1)
