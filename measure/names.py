"""Names as users write them, taken apart: of models, of weights, of claims. Printed as they were written."""

from __future__ import annotations

from dataclasses import dataclass

# What weights are that a model was trained to.
STORED = "stored"


@dataclass(frozen=True)
class ModelRef:
    """A model's name and what follows @, "" where nothing does.

    Of a path with an @ in it `catalog.split` tells what is meant, which looks whether it is there.
    """

    name: str
    revision: str = ""

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """`NAME` or `NAME@REVISION`."""
        name, _, revision = text.partition("@")
        return cls(name, revision)

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name


@dataclass(frozen=True)
class Weights:
    """The weights of a model: `stored`, or a counterfeit of a kind, with the digits of its seed."""

    kind: str = STORED
    digits: str = ""

    @classmethod
    def parse(cls, text: str) -> Weights:
        """`stored`, or `KIND:SEED`."""
        kind, _, digits = text.partition(":")
        return cls(kind, digits)

    def __str__(self) -> str:
        return f"{self.kind}:{self.digits}" if self.digits else self.kind

    @property
    def seed(self) -> int:
        """The seed of a counterfeit; stored weights have none."""
        return int(self.digits)

    @property
    def is_stored(self) -> bool:
        """Whether they are those of the checkpoint."""
        return self.kind == STORED

    @property
    def is_untrained(self) -> bool:
        """Whether they are initialised afresh, so that a model needs its configuration alone."""
        return self.kind == "untrained"

    @property
    def change(self) -> str:
        """What the blocks after a layer are made into; "" where all blocks are meant, or none."""
        change, after, _ = self.kind.partition("_after_")
        return change if after else ""


@dataclass(frozen=True)
class Title:
    """The title of a claim: what is claimed, and its place in the paper, such as "Fig. 4, claim 2"."""

    text: str
    place: str

    def __str__(self) -> str:
        return f"{self.text} ({self.place})"
