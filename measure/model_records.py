"""What is known of a model before it is loaded: its dimensions, its revisions, where its weights are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Source = Literal["ladder", "hub", "folder", "gguf", "index"]
Origin = Literal["paper", "discussion", "index", "added", "checkpoints"]


@dataclass(frozen=True)
class Shape:
    """The dimensions of a decoder, as in the paper's Table 1 (corrected where the real configs differ)."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int
    tied: bool

    @property
    def activations(self) -> int:
        """About how many numbers a forward holds at a position: residual states and what a block makes of them."""
        return 8 * self.hidden + 3 * self.intermediate

    def parameters(self, family: str) -> int:
        """Parameters counted from the dimensions: OLMo has neither biases nor norm scales, Qwen2 has both."""
        keys = 2 * self.hidden * self.key_value_heads // self.heads
        block = self.hidden * (2 * self.hidden + keys) + 3 * self.hidden * self.intermediate
        norms = 0
        if family == "qwen2":
            block += self.hidden + keys + 2 * self.hidden
            norms = self.hidden
        return self.layers * block + norms + self.vocabulary * self.hidden * (1 if self.tied else 2)


@dataclass(frozen=True)
class Model:
    """One model of the catalog. `revisions` run from untrained to `main`, the fully trained one.

    A revision `tokensNB` of a hub model is the training branch nearest to N billion tokens. Models that differ in
    `seed` alone were trained on one recipe from different random seeds. `origin` is `paper` for what the paper's
    figures show and for the ladder, `discussion` for what it only mentions, `index` for public models that lie in the
    package index (`measure.shelf`), `checkpoints` for trainings on the hub (`measure.checkpoint_suites`), of which no
    claim is asked unless they are named, `added` for what the user put in.
    """

    name: str
    family: str
    source: Source
    location: str
    shape: Shape
    revisions: tuple[str, ...]
    seed: int = 0
    origin: Origin = "paper"
    counted: int | None = None
    licence: str = ""

    @property
    def parameters(self) -> int:
        """Parameters: counted from the dimensions, or beforehand where a family has its own."""
        return self.counted or self.shape.parameters(self.family)

    @property
    def float32_bytes(self) -> int:
        """Memory that the weights take when they are measured."""
        return 4 * self.parameters

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return self.shape.layers


@dataclass(frozen=True)
class Reference:
    """Where a model's weights are: `location` is a folder or a hub id, `model` its catalog entry if it has one."""

    name: str
    revision: str
    source: Source
    location: str
    model: Model | None = None
