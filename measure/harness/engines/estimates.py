"""What a measurement takes, before it is run: positions, operations, memory, seconds at the rate of this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from measure import catalog, kinds
from measure.core import batches, forward
from measure.harness.engines.one_load import alike
from measure.prompts import drawn as prompts
from measure.prompts import own_pairs
from measure.spec import PROMPT_TOKENS, AnySpec, Spec

# What Python, torch and the other libraries take before a model is loaded.
_BASE_BYTES = 800_000_000
# Of the matrix-multiply rate measured here, what the forward passes of small and of large models reach at least.
_EFFICIENCY = 0.5
_SECONDS_A_SPEC = 0.1


@dataclass(frozen=True)
class Work:
    """Positions run through blocks (counted once, however many blocks), floating-point operations, number of specs."""

    tokens: int = 0
    operations: float = 0.0
    specs: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.tokens + other.tokens, self.operations + other.operations, self.specs + other.specs)


def memory(model: catalog.Model, *, logits: bool) -> int:
    """The most memory at a time: the weights, one forward's activations, and its logits where they are read."""
    activations = 4 * forward.CHUNK_POSITIONS * model.shape.activations
    return _BASE_BYTES + model.float32_bytes + activations + (4 * batches.LOGIT_VALUES if logits else 0)


def work(model: catalog.Model, group: Sequence[Spec]) -> Work:
    """Operations of specs that differ in their read alone, and are measured on one run of the blocks."""
    spec, shape = group[0], model.shape
    contexts, points = run_points(spec)
    tokens = own_pairs.tokens(spec.corpus) if own_pairs.is_held(spec.corpus) else PROMPT_TOKENS
    earlier = tokens - 1
    rows = batches.rows_of(points, earlier, shape.hidden)
    prefix = contexts * tokens
    positions = contexts * (points + rows * earlier)
    embeddings = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
    block = (model.parameters - embeddings) / shape.layers
    attention = 4 * shape.hidden * (points / rows + earlier)
    above = shape.layers - spec.layer
    run = 2 * block * (prefix * spec.layer + positions * above) + attention * positions * above
    unembedded = max(logit_points(other) for other in group)
    return Work(prefix + positions, run + 2 * shape.hidden * shape.vocabulary * unembedded, len(group))


def run_points(spec: Spec) -> tuple[int, int]:
    """How many contexts are run, and how many points in each."""
    kind = kinds.of(spec)
    points = kind.points(spec)
    if kinds.takes_triples(spec):
        return 3 * spec.triples, points
    assert kinds.takes_pairs(spec)
    if own_pairs.is_held(spec.corpus):
        return own_pairs.rows(spec), points
    written = prompts.file_of(spec.pairing)
    pairs = prompts.most_written(spec.pairing) if written else spec.pairs
    return pairs // 2 if kind.independent and not written else pairs, points


def logit_points(spec: AnySpec) -> int:
    """At how many points logits are taken."""
    if not kinds.is_run(spec):
        return 0
    contexts, points = run_points(spec)
    share = kinds.of(spec).logits or int(spec.read == "logits")
    return contexts // share * points if share else 0


def rate(device: str, tries: int = 8) -> float:
    """Floating-point operations a second of a float32 matrix product here, the best of some."""
    left, right = (torch.randn(2048, 1024, device=device), torch.randn(1024, 2048, device=device))
    best = 0.0
    for _ in range(tries):
        started = time.perf_counter()
        (left @ right).sum().item()
        best = max(best, 2 * 2048 * 1024 * 2048 / (time.perf_counter() - started))
    return best


def seconds(work: Work, rate: float) -> float:
    """About how long it takes at a rate: half of it is reached, and each spec takes its own."""
    return work.operations / (rate * _EFFICIENCY) + _SECONDS_A_SPEC * work.specs


def seconds_of(name: str, specs: Iterable[AnySpec], rate: float) -> float:
    """About how long the specs of one model take at a rate, none of them being known."""
    model = catalog.models()[name]
    groups = alike(spec for spec in specs if kinds.is_run(spec))
    return seconds(sum((work(model, group) for group in groups), Work()), rate)


def memory_here() -> int:
    """Bytes of memory that this machine has; none known is all that is needed."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 2**62


def accelerator_bytes() -> int:
    """Memory of the largest accelerator at hand, 0 where there is none."""
    if not torch.cuda.is_available():
        return 0
    return max(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count()))
