"""What to measure: validated, hashable records and their short ids. Nothing here runs a model."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import operator
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from measure.distances import DISTANCES, OF_DISTRIBUTIONS, Distance
from measure.names import ModelRef
from measure.shown import shown

_Read = Literal["final_norm", "residual", "logits"]
# One of these, or `block:N`: the residual stream after block N, counted from 1.
Read = str
Interpolation = Literal["linear", "slerp", "arc"]
Toward = Literal["b", "difference", "isotropic", "covariance"]
Part = Literal["mlp", "attention"]
Protocol = Literal["paper", "strict"]
Precision = Literal["float32", "tf32", "bfloat16", "float16", "float64"]
# Which checkpoints fetched by a run stay on the disk.
Keep = Literal["none", "last", "all"]
Pairing = Literal[
    "random", "random_with_bos", "random_context", "no_context", "same_last_token",
    "similar", "dissimilar", "printed_similar", "printed_dissimilar",
]  # fmt: skip
Rows = Literal["all", "independent"]

READS: tuple[str, ...] = get_args(_Read)
BLOCK_READ = re.compile(r"block:([1-9]\d{0,5})", re.ASCII)
INTERPOLATIONS: tuple[str, ...] = get_args(Interpolation)
TOWARD: tuple[str, ...] = get_args(Toward)
PARTS: tuple[str, ...] = get_args(Part)
PROTOCOLS: tuple[str, ...] = get_args(Protocol)
PRECISIONS: tuple[str, ...] = get_args(Precision)
PAIRINGS: tuple[str, ...] = get_args(Pairing)
ROWS: tuple[str, ...] = get_args(Rows)
KEEP: tuple[str, ...] = get_args(Keep)

# Draws that suites have of each counterfeit.
MOST_DRAWS = 3
DEFAULT_PAIRS = 800
# Of what costs more to measure: 210 independent pairs, so that 200 are left where some have no logit difference.
FEWER_PAIRS = 420
PROMPT_TOKENS = 10
# Fields of specs that may be a path.
PATHS = ("model", "corpus")
UNSAFE_IN_FILE_NAMES = re.compile(r'[\\/:*?|"<>]')
# What the blocks after a layer are made into: its kind, the layer, a seed; see `counterfeits`.
AFTER = re.compile(r"(shuffled|rows|spectrum|gaussian|neurons|attention|reordered)_after_(\d+):(\d+)")
_WEIGHTS = re.compile(rf"stored|(?:scrambled|untrained):\d+|{AFTER.pattern}")


class MeasureError(ValueError):
    """An error a user can mend: says what was found, what was expected, what to do next.

    Control characters in it, which names and files may hold, are shown and not sent.
    """

    def __str__(self) -> str:
        return shown(super().__str__())


class NotMeasuredError(MeasureError):
    """Not measured, whatever the claim: network, memory, disk, a model or file that is gated or missing."""


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `MeasureError` unless `value` is one of `choices`."""
    if value not in choices:
        raise MeasureError(f"{name}={value!r} is not known; choose one of {', '.join(choices)}.")


def block_of(read: Read) -> int | None:
    """The block after which `block:N` reads; None for the other reads."""
    found = BLOCK_READ.fullmatch(read)
    return int(found[1]) if found else None


def check_read(read: object) -> Read:
    """`read`. Raises `MeasureError` unless it is one of `READS`, or names a block."""
    if isinstance(read, str) and (read in READS or BLOCK_READ.fullmatch(read)):
        return read
    raise MeasureError(
        f"read={read!r} is not known; choose one of {', '.join(READS)}, or block:N for the residual stream after "
        "block N, such as block:5."
    )


def check_distance(distance: str, read: Read) -> None:
    """Raise `MeasureError` for a distance that is not known, or has no meaning on what is read."""
    check_choice("distance", distance, DISTANCES)
    if distance in OF_DISTRIBUTIONS and read != "logits":
        raise MeasureError(
            f"distance={distance!r} is taken between next-token distributions, and read={read!r} holds none; use "
            "read='logits'."
        )


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


def check_plane(size: int, extent: object) -> tuple[float, float]:
    """`extent` as two floats. Raises `MeasureError` unless a slice of `size` by `size` cells can be drawn over it."""
    if not isinstance(size, int) or size < 2:
        raise MeasureError(f"size={size!r}: a slice needs at least 2 points a side; 32 is the default.")
    try:
        low, high = (float(end) for end in extent)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    # Written so that what is no number is refused.
    if not -math.inf < low <= 0 < 1 <= high < math.inf:
        raise MeasureError(
            f"extent={extent!r}: alpha and beta must run from 0 or below to 1 or above, two finite numbers, so that "
            "A and B are inside; the paper uses (-0.25, 1.25)."
        )
    return low, high


@dataclass(frozen=True)
class _OfBlocks:
    """A part of some blocks, the first and the last of which are counted from 1 and are both meant."""

    part: Part
    blocks: tuple[int, int]

    def __post_init__(self) -> None:
        check_choice("part", self.part, PARTS)
        try:
            first, last = (check_integer("blocks", one) for one in self.blocks)
        except (TypeError, ValueError) as error:
            raise MeasureError(
                f"blocks={self.blocks!r} is no range ({str(error).rstrip('.')}); expected two integers, the first "
                "block and the last."
            ) from None
        if not 1 <= first <= last:
            raise MeasureError(
                f"blocks={self.blocks!r}: expected the first block and the last, counted from 1, such as (1, 4)."
            )
        object.__setattr__(self, "blocks", (first, last))


@dataclass(frozen=True)
class Scaled(_OfBlocks):
    """What MLPs or attention of a range of blocks add to the residual stream, times `factor`, in every run."""

    factor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        found = self.factor
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            raise MeasureError(f"factor={found!r}: expected a finite number, 0 to take the part away.")
        object.__setattr__(self, "factor", float(found))

    def __str__(self) -> str:
        # In full where the short form is another number: ids tell one factor from the next.
        short = f"{self.factor:g}"
        told = short if float(short) == self.factor else repr(self.factor)
        return f"scaled-{self.part}-{self.blocks[0]}-{self.blocks[1]}-{told}"


@dataclass(frozen=True)
class Frozen(_OfBlocks):
    """What MLPs or attention of a range of blocks add to the residual stream, as in prompt A's clean run."""

    def __str__(self) -> str:
        return f"frozen-{self.part}-{self.blocks[0]}-{self.blocks[1]}"


Intervention = Scaled | Frozen


def check_interventions(given: Any) -> tuple[Intervention, ...]:
    """Interventions that go together. Raises `MeasureError` for what is none, and for two on one part of a block."""
    found = (given,) if isinstance(given, Scaled | Frozen) else given
    if isinstance(found, str) or not isinstance(found, list | tuple):
        raise MeasureError(f"interventions is a {type(given).__name__}; expected a list of Scaled and Frozen.")
    seen: dict[tuple[str, int], Intervention] = {}
    for one in found:
        if not isinstance(one, Scaled | Frozen):
            raise MeasureError(f"interventions holds a {type(one).__name__}; expected Scaled or Frozen.")
        for block in range(one.blocks[0], one.blocks[1] + 1):
            if (other := seen.setdefault((one.part, block), one)) is not one:
                raise MeasureError(f"{other} and {one} both change the {one.part} of block {block}; give one of them.")
    return tuple(found)


# Of a field that specs did not have at first: at its default, ids, keys and baselines are as if it were not there.
_ADDED = {"added": True}


def fields_of(spec: AnySpec) -> dict[str, Any]:
    """Every field of a spec by its name, those that were added later only where they say something."""
    whole = dataclasses.asdict(spec)
    for field in dataclasses.fields(spec):
        if field.metadata.get("added") and getattr(spec, field.name) == field.default:
            del whole[field.name]
    return whole


@dataclass(frozen=True)
class AnySpec:
    """What can be asked of a `model`, as a frozen dataclass; what becomes of it its kind says, see `measure.kinds`."""

    model: str

    @property
    def ref(self) -> ModelRef:
        """The model's name and its revision."""
        return ModelRef.parse(self.model)

    @property
    def id(self) -> str:
        """Short name, usable as a file name: model, kind if not a curve, then whatever differs from the defaults."""
        kind = type(self).__name__.removesuffix("Spec").lower()
        parts = [self.model.replace("/", "--").replace("@", "-"), *([kind] if kind != "curve" else [])]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "model" and value != field.default:
                parts.append(_short(field.name, value))
        return "-".join(parts)


@dataclass(frozen=True)
class Spec(AnySpec):
    """What every measurement names: a model, its weights, where it is patched and read, and what prompts come from.

    `model` is a catalog name, a local folder or a hub id, each with an optional `@revision`.
    `weights` is `stored`, or a counterfeit for a control: `untrained:SEED` initialises the model afresh,
    `scrambled:SEED` shuffles the entries of each weight matrix; `KIND_after_LAYER:SEED` changes the blocks after a
    layer alone, so that A and B stay: entries `shuffled`, shuffled within `rows`, random matrices of equal `spectrum`,
    `gaussian` ones of equal norm, MLP `neurons` permuted; for readings, `attention` alone shuffled, blocks `reordered`.
    `corpus` is what `prompts.load_corpus` takes: `default`, texts to draw prompts from, or a file of token ids, whose
    prompts are taken as they stand, in order, whatever `seed` says; a file may be on the hub, `hf://OWNER/NAME/FILE`.
    """

    weights: str = "stored"
    layer: int = 1
    read: Read = "final_norm"
    protocol: Protocol = "paper"
    seed: int = 0
    corpus: str = "default"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_read(self.read)
        check_choice("protocol", self.protocol, PROTOCOLS)
        check_choice("precision", self.precision, PRECISIONS)
        if not _WEIGHTS.fullmatch(self.weights):
            raise MeasureError(
                f"weights={self.weights!r} is not known; use 'stored', 'scrambled:SEED' or 'untrained:SEED', or "
                "'KIND_after_LAYER:SEED' with shuffled, rows, spectrum, gaussian, neurons, attention or reordered."
            )
        if self.layer < 1:
            raise MeasureError(f"layer={self.layer}: layers are counted from 1, 'after the first layer' is layer=1.")


def _short(field: str, value: object) -> str:
    """A field's part of an id: no character of it that a file name cannot hold."""
    if field == "weights":
        return str(value).replace(":", "-" if "_after_" in str(value) else "")
    if field == "interventions":
        return "-".join(str(one) for one in value)  # type: ignore[attr-defined]
    if field == "read":
        return f"{field}{value}".replace(":", "")
    text = str(value)
    if field == "corpus" and UNSAFE_IN_FILE_NAMES.search(text):
        # The end of its name for the reader; the hash tells two folders, repositories or revisions apart.
        name = UNSAFE_IN_FILE_NAMES.sub("-", text.rstrip("/").rpartition("/")[2])[-60:]
        text = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return f"{field}{text}"


@dataclass(frozen=True)
class CurveSpec(Spec):
    """One set of interpolation curves, of `steps` points.

    `pairing`: where pairs come from. `random`: windows of the corpus. `random_with_bos`: the same, behind the
    tokenizer's BOS. `random_context`: their last tokens, behind other tokens. `no_context`: their last tokens alone.
    `same_last_token`: windows that share their last token. `similar`, `dissimilar`: words of this package.
    `printed_similar`, `printed_dissimilar`: the paper's S1 to S3 and D1 to D3. The prompts of these four differ in
    their last token alone.
    `pairs`: how many are drawn. Under protocol `paper` they are chained; every second one is disjoint from the others
    and used for inference. Under `strict` they are disjoint, and measured in both directions. Of a file's pairs all
    are taken, both ways.
    `rows`: which of them are measured, `all` or those that inference uses, `independent`.
    `path`: how X goes from A to B (`measure.core.paths.between`). `toward`: where it goes in place of B, as far
    (`measure.core.toward`). `distance`: what is taken between outputs (`measure.distances`). `interventions`: which
    parts of blocks are scaled or frozen.
    """

    steps: int = 50
    pairs: int = DEFAULT_PAIRS
    pairing: Pairing = "random"
    rows: Rows = "all"
    path: Interpolation = dataclasses.field(default="linear", metadata=_ADDED)
    distance: Distance = dataclasses.field(default="l2", metadata=_ADDED)
    interventions: tuple[Intervention, ...] = dataclasses.field(default=(), metadata=_ADDED)
    toward: Toward = dataclasses.field(default="b", metadata=_ADDED)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_steps(self.steps)
        check_choice("pairing", self.pairing, PAIRINGS)
        check_choice("rows", self.rows, ROWS)
        check_choice("path", self.path, INTERPOLATIONS)
        check_choice("toward", self.toward, TOWARD)
        check_distance(self.distance, self.read)
        object.__setattr__(self, "interventions", check_interventions(self.interventions))
        if self.pairs < 2:
            raise MeasureError(f"pairs={self.pairs}: at least 2 pairs are needed for a median with an interval.")


@dataclass(frozen=True)
class PredictionSpec(CurveSpec):
    """Curves with the next-token distributions along them. Points that are `span` steps apart are compared.

    Metrics that compare them with r mean r = d / d(1) of the Euclidean distance.
    """

    steps: int = 51
    pairs: int = FEWER_PAIRS
    span: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.toward != "b":
            raise MeasureError(f"toward={self.toward!r}: predictions are compared with B's own; take curves.")
        if not 0 < self.span < self.steps:
            raise MeasureError(f"span={self.span}: two points compared are 1 to steps - 1 = {self.steps - 1} apart.")


@dataclass(frozen=True)
class CrossingSpec(CurveSpec):
    """Curves with the gates that change sign along them. `steps` is odd, so that every second point can be left out."""

    steps: int = 129
    pairs: int = FEWER_PAIRS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps % 2 == 0:
            raise MeasureError(
                f"steps={self.steps}: crossings are counted again on every second point; use an odd number."
            )


@dataclass(frozen=True)
class SliceSpec(Spec):
    """Two-dimensional slices through `triples` of prompts; alpha and beta run over `extent` in `size` steps."""

    size: int = 32
    extent: tuple[float, float] = (-0.25, 1.25)
    triples: int = 18

    def __post_init__(self) -> None:
        super().__post_init__()
        check_plane(self.size, self.extent)
        check_choice("read", self.read, READS)
        if self.triples < 1:
            raise MeasureError(f"triples={self.triples}: at least one triple of prompts is needed.")


@dataclass(frozen=True)
class ConfigSpec(AnySpec):
    """The dimensions in a model's own config; needs no weights."""
