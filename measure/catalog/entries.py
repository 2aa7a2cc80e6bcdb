"""The entries of the catalog, as data: the paper's models, those of its Discussion, those of the package index.

Dimensions as in the paper's Table 1, corrected where the real configurations differ.
"""

from __future__ import annotations

from measure.catalog.records import Model, Shape

_OLMO_1B = ("step0-tokens0B", "step2000-tokens4B", "step5000-tokens10B", "step15000-tokens31B", "main")
# The paper's token counts; which branch is nearest the hub's refs tell.
_OLMO_7B = ("step0-tokens0B", "tokens10B", "tokens100B", "tokens501B", "main")

# The models of the paper's figures.
PAPER = (
    Model("olmo-1b", "olmo", "hub", "allenai/OLMo-1B-0724-hf", Shape(2048, 16, 16, 16, 8192, 50304, False), _OLMO_1B),
    Model("olmo-7b", "olmo", "hub", "allenai/OLMo-7B-0724-hf", Shape(4096, 32, 32, 32, 11008, 50304, False), _OLMO_7B),
    Model("qwen2-0.5b", "qwen2", "hub", "Qwen/Qwen2-0.5B", Shape(896, 24, 14, 2, 4864, 151936, True), ("main",)),
    Model("qwen2-1.5b", "qwen2", "hub", "Qwen/Qwen2-1.5B", Shape(1536, 28, 12, 2, 8960, 151936, True), ("main",)),
    Model("qwen2-7b", "qwen2", "hub", "Qwen/Qwen2-7B", Shape(3584, 28, 28, 4, 18944, 152064, False), ("main",)),
)  # fmt: skip


def _discussed(name: str, family: str, location: str, shape: Shape, counted: int) -> Model:
    return Model(name, family, "hub", location, shape, ("main",), origin="discussion", counted=counted)


# The families of the paper's Discussion, one model of each; parameters as transformers counts them.
DISCUSSION = (
    _discussed("gpt2", "gpt2", "openai-community/gpt2", Shape(768, 12, 12, 12, 3072, 50257, True), 124_439_808),
    _discussed("pythia-410m", "gpt_neox", "EleutherAI/pythia-410m-deduped",
               Shape(1024, 24, 16, 16, 4096, 50304, False), 405_334_016),
    _discussed("phi-2", "phi", "microsoft/phi-2", Shape(2560, 32, 32, 32, 10240, 51200, False), 2_779_683_840),
    _discussed("llama-7b", "llama", "huggyllama/llama-7b",
               Shape(4096, 32, 32, 32, 11008, 32000, False), 6_738_415_616),
    _discussed("gemma-2b", "gemma", "google/gemma-2b", Shape(2048, 18, 8, 1, 16384, 256000, True), 2_506_172_416),
)  # fmt: skip


def _of_index(name: str, family: str, shape: Shape, counted: int, licence: str) -> Model:
    return Model(name, family, "index", name, shape, ("main",), origin="index", counted=counted, licence=licence)


# Not the paper's: public models whose weights the package index holds.
INDEX = (
    _of_index("smollm2-135m-instruct", "llama", Shape(576, 30, 9, 3, 1536, 49152, True), 134_515_008, "Apache-2.0"),
    _of_index("gemma3-270m", "gemma3", Shape(640, 18, 4, 1, 2048, 262144, True), 268_098_176, "Gemma Terms of Use"),
)  # fmt: skip

# Of those with revisions or sizes, the ones of which claims on depth are asked.
DEEP = ("ladder-olmo-1.1m", "ladder-olmo-3m", "ladder-qwen2-1.1m", "ladder-qwen2-3m", "qwen2-1.5b", "olmo-1b")
