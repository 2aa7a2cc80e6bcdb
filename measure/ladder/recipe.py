"""What each rung of the ladder is and how it is trained. No torch: the catalog and the command line read this."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass

from measure.spec import MeasureError

VOCABULARY = 2048
END_OF_TEXT = "<|endoftext|>"
CONTEXT = 128


@dataclass(frozen=True)
class Rung:
    """One ladder model: `olmo` (non-parametric LayerNorm) or `qwen2` (RMSNorm, grouped-query attention, QKV bias).

    Both tie their embeddings. `size` is the number of non-embedding parameters, in words ("1.1m").
    `seed` sets the initial weights and the order of the training text.
    """

    family: str
    size: str
    width: int
    blocks: int
    heads: int
    key_value_heads: int
    intermediate: int
    seed: int = 0

    @property
    def name(self) -> str:
        suffix = f"-seed{self.seed}" if self.seed else ""
        return f"ladder-{self.family}-{self.size}{suffix}"


@dataclass(frozen=True)
class Recipe:
    """How a rung is trained; the same for every rung, so that sizes and families differ in nothing else."""

    sequence: int = 64
    batch: int = 64
    steps: int = 2048
    learning_rate: float = 4e-3
    final_learning_rate: float = 4e-4
    warmup: int = 100
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    gradient_clip: float = 1.0
    revisions: tuple[int, ...] = (0, 64, 128, 256, 512, 1024)

    @property
    def step_tokens(self) -> int:
        return self.sequence * self.batch

    def rate(self, step: int) -> float:
        """Learning rate at `step`: linear warm-up, then a cosine down to `final_learning_rate`."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        span = self.learning_rate - self.final_learning_rate
        return self.final_learning_rate + span * 0.5 * (1 + math.cos(math.pi * progress))

    def revision(self, step: int) -> str:
        """Name of the checkpoint after `step` steps, as the hub names OLMo's; the last one is `main`."""
        if step == self.steps:
            return "main"
        return f"step{step}-tokens{step * self.step_tokens // 1_000_000}M"

    def schedule(self) -> dict[int, str]:
        """Step -> revision name, in order, for every checkpoint that is kept."""
        return {step: self.revision(step) for step in (*self.revisions, self.steps)}

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


_SHAPES = (
    Rung("olmo", "0.2m", width=64, blocks=4, heads=4, key_value_heads=4, intermediate=176),
    Rung("olmo", "1.1m", width=112, blocks=7, heads=4, key_value_heads=4, intermediate=320),
    Rung("olmo", "3m", width=176, blocks=8, heads=8, key_value_heads=8, intermediate=480),
    Rung("qwen2", "0.2m", width=64, blocks=4, heads=4, key_value_heads=2, intermediate=192),
    Rung("qwen2", "1.1m", width=112, blocks=7, heads=4, key_value_heads=2, intermediate=352),
    Rung("qwen2", "3m", width=176, blocks=8, heads=8, key_value_heads=2, intermediate=576),
)


def rung(name: str) -> Rung:
    """The rung called `name`; `-seedN` after a shape's name gives another training seed of it.

    Raises `MeasureError` with the known names.
    """
    for shape in _SHAPES:
        if name == shape.name:
            return shape
        base, _, seed = name.rpartition("-seed")
        if base == shape.name and re.fullmatch("[0-9]{1,9}", seed) and int(seed) > 0:
            return Rung(**{**asdict(shape), "seed": int(seed)})
    known = ", ".join(shape.name for shape in _SHAPES)
    raise MeasureError(f"{name!r} is no rung of the ladder; known: {known}, each also with -seed1, -seed2, ...")
