"""What to measure: validated, hashable records and their short ids. Nothing here runs a model."""

from __future__ import annotations

import dataclasses
import operator
import re
from dataclasses import dataclass
from typing import Literal, get_args

Read = Literal["final_norm", "residual", "logits"]
Protocol = Literal["paper", "strict"]
Precision = Literal["float32", "float64", "bfloat16", "float16"]

READS: tuple[str, ...] = get_args(Read)
PROTOCOLS: tuple[str, ...] = get_args(Protocol)
PRECISIONS: tuple[str, ...] = get_args(Precision)

DEFAULT_PAIRS = 800
PROMPT_TOKENS = 10
_WEIGHTS = re.compile(r"stored|(scrambled|untrained):\d+")


class MeasureError(ValueError):
    """An error a user can mend: says what was found, what was expected, what to do next."""


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `MeasureError` unless `value` is one of `choices`."""
    if value not in choices:
        raise MeasureError(f"{name}={value!r} is not known; choose one of {', '.join(choices)}.")


def check_integer(name: str, value: object) -> int:
    """`value` as a plain int, NumPy's integers included. Raises `MeasureError` for anything else."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise MeasureError(f"{name}={value!r} is a {type(value).__name__}; expected an integer.") from None


def check_steps(steps: int) -> None:
    """Raise `MeasureError` unless a curve can be drawn with `steps` points."""
    if not isinstance(steps, int) or steps < 2:
        raise MeasureError(
            f"steps={steps!r}: a curve needs at least 2 points, alpha = 0 and alpha = 1; the paper uses 50."
        )


@dataclass(frozen=True)
class CurveSpec:
    """One set of interpolation curves: a model, its weights, and the prompts it is measured on.

    `model` is a catalog name, a local folder or a hub id, each with an optional `@revision`.
    `weights` is `stored`, or a counterfeit for a control: `scrambled:SEED` shuffles the entries of each
    weight matrix, `untrained:SEED` initialises the model afresh.
    `pairs` counts the pairs drawn: chained under protocol `paper` (every second one is disjoint and used for
    inference), disjoint and measured in both directions under `strict`.
    """

    model: str
    weights: str = "stored"
    layer: int = 1
    read: Read = "final_norm"
    steps: int = 50
    protocol: Protocol = "paper"
    pairs: int = DEFAULT_PAIRS
    seed: int = 0
    corpus: str = "default"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_choice("read", self.read, READS)
        check_choice("protocol", self.protocol, PROTOCOLS)
        check_choice("precision", self.precision, PRECISIONS)
        check_steps(self.steps)
        if not _WEIGHTS.fullmatch(self.weights):
            raise MeasureError(
                f"weights={self.weights!r} is not known; use 'stored', 'scrambled:SEED' or 'untrained:SEED'."
            )
        if self.layer < 1:
            raise MeasureError(f"layer={self.layer}: layers are counted from 1, 'after the first layer' is layer=1.")
        if self.pairs < 2:
            raise MeasureError(f"pairs={self.pairs}: at least 2 pairs are needed for a median with an interval.")

    @property
    def id(self) -> str:
        """Short name, usable as a file name: model, then whatever differs from the defaults."""
        parts = [self.model.replace("/", "--").replace("@", "-")]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "model" and value != field.default:
                parts.append(str(value).replace(":", "") if field.name == "weights" else f"{field.name}{value}")
        return "-".join(parts)
