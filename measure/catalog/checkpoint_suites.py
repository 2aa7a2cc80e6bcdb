"""Public trainings whose checkpoints are on the hub: their repositories, dimensions, seeds. Data alone.

Dimensions are those of the published configurations, parameters as transformers counts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

# hidden, layers, heads, key and value heads, intermediate, vocabulary, tied
Dimensions = tuple[int, int, int, int, int, int, bool]


@dataclass(frozen=True)
class Place:
    """A repository that holds a run, or its checkpoints up to a step of the first stage."""

    repository: str
    until: int | None = None


@dataclass(frozen=True)
class Run:
    """One training run: where its checkpoints are, in order of training, and those that a claim is asked of.

    `main`, the trained model, is the last place's; or the branch that `main` names, where the repository's own is no
    checkpoint of this run or not its end. `revisions` end with it.
    """

    name: str
    family: str
    places: tuple[Place, ...]
    dimensions: Dimensions
    parameters: int
    revisions: tuple[str, ...]
    main: str = "main"
    seed: int = 0


# By size: hidden, layers, heads, vocabulary; parameters.
_PYTHIA: Mapping[str, tuple[int, int, int, int, int]] = {
    "14m": (128, 6, 4, 50304, 14_067_712),
    "31m": (256, 6, 8, 50304, 30_494_720),
    "70m": (512, 6, 8, 50304, 70_426_624),
    "160m": (768, 12, 12, 50304, 162_322_944),
    "410m": (1024, 24, 16, 50304, 405_334_016),
    "1b": (2048, 16, 8, 50304, 1_011_781_632),
    "1.4b": (2048, 24, 16, 50304, 1_414_647_808),
    "2.8b": (2560, 32, 32, 50304, 2_775_208_960),
    "6.9b": (4096, 32, 32, 50432, 6_857_302_016),
    "12b": (5120, 36, 40, 50688, 11_846_072_320),
}
# Of these five sizes there are nine further seeds each (PolyPythias, arXiv 2503.09543).
SEEDED = ("14m", "31m", "70m", "160m", "410m")
SEEDS = range(1, 10)
# Of the 154 steps of each, about every fourth in logs.
_STEPS = ("step0", "step128", "step1000", "step4000", "step16000", "step64000", "main")

_OLMO: tuple[tuple[str, str, tuple[Place, ...], Dimensions, int, tuple[str, ...]], ...] = (
    # One run in two repositories: the first 37,000 steps by 1,000, and all of it more coarsely.
    ("olmo2-1b", "olmo2", (Place("allenai/OLMo-2-0425-1B-early-training", 37_000), Place("allenai/OLMo-2-0425-1B")),
     (2048, 16, 16, 16, 8192, 100_352, False), 1_484_916_736,
     ("stage1-step0-tokens0B", "stage1-step1000-tokens3B", "tokens10B", "tokens100B", "tokens1000B", "main")),
    ("olmo2-7b", "olmo2", (Place("allenai/OLMo-2-1124-7B"),),
     (4096, 32, 32, 32, 11008, 100_352, False), 7_298_617_344,
     ("stage1-step150-tokens1B", "stage1-step1000-tokens5B", "tokens100B", "tokens1000B", "main")),
    # Its first 100,000 steps are not public (allenai/OLMo issue 842).
    ("olmo2-13b", "olmo2", (Place("allenai/OLMo-2-1124-13B"),),
     (5120, 40, 40, 40, 13824, 100_352, False), 13_716_198_400, ("main",)),
    ("olmo3-7b", "olmo3", (Place("allenai/Olmo-3-1025-7B"),),
     (4096, 32, 32, 32, 11008, 100_278, False), 7_298_011_136,
     ("stage1-step0", "tokens10B", "tokens100B", "tokens1000B", "stage1-step1413814", "main")),
    ("olmo3-32b", "olmo3", (Place("allenai/Olmo-3-1125-32B"),),
     (5120, 64, 40, 8, 27648, 100_278, False), 32_233_522_176, ("main",)),
)  # fmt: skip
_SMOLLM: tuple[tuple[str, str, tuple[Place, ...], Dimensions, int, tuple[str, ...]], ...] = (
    # Checkpoints are in a repository of their own, the trained model in another.
    ("smollm2-135m", "smollm2",
     (Place("HuggingFaceTB/SmolLM2-135M-intermediate-checkpoints"), Place("HuggingFaceTB/SmolLM2-135M")),
     (576, 30, 9, 3, 1536, 49_152, True), 134_515_008, ("step-240000", "step-480000", "step-1200000", "main")),
    ("smollm2-360m", "smollm2",
     (Place("HuggingFaceTB/SmolLM2-360M-intermediate-checkpoints"), Place("HuggingFaceTB/SmolLM2-360M")),
     (960, 32, 15, 5, 2560, 49_152, True), 361_821_120, ("step-160000", "step-480000", "step-1600000", "main")),
    ("smollm2-1.7b", "smollm2",
     (Place("HuggingFaceTB/SmolLM2-1.7B-intermediate-checkpoints"), Place("HuggingFaceTB/SmolLM2-1.7B")),
     (2048, 24, 32, 32, 8192, 49_152, True), 1_711_376_384, ("step-125000", "step-500000", "step-2000000", "main")),
    ("smollm3-3b", "smollm3", (Place("HuggingFaceTB/SmolLM3-3B-checkpoints"), Place("HuggingFaceTB/SmolLM3-3B-Base")),
     (2048, 36, 16, 4, 11008, 128_256, True), 3_075_098_624,
     ("stage1-step-40000", "stage1-step-400000", "stage1-step-1600000", "stage1-step-3200000", "main")),
)  # fmt: skip


def _pythia(name: str, family: str, repository: str, size: str, seed: int = 0) -> Run:
    hidden, layers, heads, vocabulary, parameters = _PYTHIA[size]
    dimensions = (hidden, layers, heads, heads, 4 * hidden, vocabulary, False)
    place = Place(f"EleutherAI/{repository}")
    # Some have no weights at their own main, and that of pythia-2.8b is not its last step (EleutherAI/pythia 205).
    return Run(name, family, (place,), dimensions, parameters, _STEPS, main="step143000", seed=seed)


def _pythias() -> list[Run]:
    """Ten seeds of five sizes; six runs that vary the order of the data, or the first weights, alone; the other sizes.

    `polypythia-SIZE` is the original, seed 0: under `pythia-410m` the catalog has the deduplicated one.
    """
    found = []
    for size in SEEDED:
        found.append(_pythia(f"polypythia-{size}", "polypythia", f"pythia-{size}", size))
        for seed in SEEDS:
            name = f"-{size}-seed{seed}"
            found.append(_pythia(f"polypythia{name}", "polypythia", f"pythia{name}", size, seed))
    for varied in ("data", "weight"):
        for seed in (1, 2, 3):
            name = f"-160m-{varied}-seed{seed}"
            found.append(_pythia(f"polypythia{name}", f"polypythia-{varied}", f"pythia{name}", "160m", seed))
    for size in _PYTHIA:
        if size not in SEEDED:
            found.append(_pythia(f"pythia-{size}", "pythia", f"pythia-{size}", size))
        if size not in ("14m", "31m"):
            found.append(_pythia(f"pythia-{size}-deduped", "pythia-deduped", f"pythia-{size}-deduped", size))
    return found


@cache
def runs() -> Mapping[str, Run]:
    """Every run by its name."""
    return {run.name: run for run in (*(Run(*row) for row in (*_OLMO, *_SMOLLM)), *_pythias())}
