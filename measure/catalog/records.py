"""What is known of a model before it is loaded: its dimensions, its revisions, where its weights are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# `ladder`, `hub`, `folder`, `index`, or one of `packed_forms.PACKED_SOURCES`.
Source = str
Origin = Literal["paper", "discussion", "index", "added", "checkpoints"]


@dataclass(frozen=True)
class Shape:
    """The dimensions of a decoder, as in the paper's Table 1 (corrected where the real configurations differ)."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int
    tied: bool

    @property
    def activations(self) -> int:
        """Roughly how many numbers a forward pass holds at a position: residual states and what a block computes."""
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

    A revision `tokensNB` of a hub model is the training branch nearest to N billion tokens. Models that differ only in
    `seed` were trained by one recipe from different random seeds.

    `origin` is `paper` for models of the paper's figures and for the ladder; `discussion` for those that the paper only
    mentions; `index` for public models in the package index (`hub.shelf`); `checkpoints` for trainings on the hub
    (`catalog.checkpoint_suites`), which suites take only if they are named; `added` for models that the user added.
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
        """Number of parameters: from the dimensions, or as counted beforehand for families that need it."""
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
    """Where a model's weights are. `location` is a folder, a file or a hub id; `model` its catalog entry, if any."""

    name: str
    revision: str
    source: Source
    location: str
    model: Model | None = None
