"""The rows of a run's records, as frozen types. They hold what was found and do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from measure.names import STORED, ModelRef, Weights

QUARTILES = ("q25", "median", "q75")
# Characters of the measuring code's hash that a run is told by.
CODE = 12

# None: no number.
Number = float | None
Numbers = tuple[Number, ...]
# A field of a spec, or of a result's provenance.
Field = str | int | float | bool | list[object] | dict[str, object] | None
Role = Literal["claim", "control", "baseline", "other"]


class How(StrEnum):
    """How a run came by the outcome of a spec."""

    STORED = "stored"
    MEASURED = "measured"
    FAILED = "failed"


class Ended(StrEnum):
    """How a test ended, in pytest's words; a negative that is accepted has `XFAILED`."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    XFAILED = "xfailed"


class Form(StrEnum):
    """What `measure refresh --rewrite` made of a baseline; behind `LEFT` stands why."""

    REWRITTEN = "rewritten"
    AS_IT_WAS = "as it was"
    LEFT = "not rewritten"


class State(StrEnum):
    """What became of a baseline. Only one that is `AS_ACCEPTED` passes its test."""

    AS_ACCEPTED = "as accepted"
    MOVED = "moved"
    # What the file holds is as accepted, but it lacks numbers that are measured by now.
    INCOMPLETE = "incomplete"
    # The file is of another spec, of other prompts, or cannot be read: there is nothing to compare.
    REFUSED = "refused"
    NEW = "new"


@dataclass(frozen=True)
class Revision:
    """A revision of a model, with its training steps and tokens; None where nothing tells."""

    name: str
    step: int | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class ModelRow:
    """What a header says of one model of the catalog."""

    family: str
    source: str = ""
    parameters: int = 0
    layers: int = 0
    seed: int = 0
    revisions: tuple[Revision, ...] = ()


@dataclass(frozen=True)
class Machine:
    """Where a run was measured."""

    system: str = ""
    processor: str = ""
    cores: int | None = None
    accelerator: str | None = None


@dataclass(frozen=True)
class Header:
    """What was asked, of which models, with what; `tests`: how many were chosen. None: an option not given.

    `code`: the first characters of the hash of the measuring code.
    """

    format: int
    started: str = ""
    arguments: tuple[str, ...] = ()
    tests: int = 0
    protocol: str = "paper"
    models: str | None = None
    pairs: int | None = None
    corpus: str | None = None
    precision: str | None = None
    seed: int | None = None
    code: str = ""
    catalog: Mapping[str, ModelRow] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Machine | None = None
    # What stands for the pairs that the run was given, by name and hash of their content.
    pairs_from: str | None = None


@dataclass(frozen=True)
class Quartiles:
    """Quartiles of a curve, point by point."""

    q25: Numbers
    median: Numbers
    q75: Numbers

    def rows(self) -> tuple[Numbers, Numbers, Numbers]:
        """The three, from the lowest."""
        return self.q25, self.median, self.q75


@dataclass(frozen=True, kw_only=True)
class CurveRow(Quartiles):
    """Quartiles of r over `alphas`."""

    alphas: Numbers


@dataclass(frozen=True)
class Spread:
    """Quartiles of a number over the rows of a result."""

    q25: Number
    median: Number
    q75: Number


@dataclass(frozen=True)
class Metric(Spread):
    """A metric: quartiles over rows; `estimate`, the median over `n` independent units, with its 95 % interval."""

    estimate: Number = None
    low: Number = None
    high: Number = None
    n: int = 0


@dataclass(frozen=True)
class PairRows:
    """Each row's own curves, of a result of few rows; `logit` and the tokens of predictions alone."""

    relative: tuple[Numbers, ...]
    max_slope: Numbers = ()
    logit: tuple[Numbers, ...] = ()
    last_tokens: tuple[tuple[str, ...], ...] = ()
    end_tokens: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Triple:
    """One slice.

    `rgb`: base64 of bytes: beta rows from the lowest, alpha columns, channels. `largest`: the largest distance of each
    field, d = largest (1 - rgb / 255), to half a 255th. `tokens` and `top`: base64 of places in `tokens`, one byte a
    cell, two little-endian ones where there are more than 256. `metrics`: the slice's own.
    """

    rgb: str
    largest: Numbers
    degenerate: bool
    reference_points: tuple[Numbers, ...]
    tokens: tuple[str, ...]
    top: str
    own_colours: tuple[Numbers, ...] = ()
    metrics: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True)
class ResultRow:
    """The outcome of one spec: `how` is stored, measured or failed.

    Of curves: `n` rows, `curve`, `null` and `null_metrics` (the norm-only null), `metrics`, `pairs` where there are 12
    rows or fewer. `prompts`, there and of slices: (a, b) of a pair, (a, b, c) of a triple, as text; empty otherwise,
    and where they are not known. Of predictions also `logit` (the scaled logit difference) and `equal_tops`. Of
    crossings also `gates` and `ends` by block, `crossings` (sign changes per step, all blocks), `flat` (share of rows
    that stand still in each step). Of slices `size`, `extent`, `metrics`, `triples`. Of a config `shape`; of a failure
    `error`.
    """

    id: str
    type: str
    spec: Mapping[str, Field]
    how: str
    provenance: Mapping[str, Field] = field(default_factory=dict)
    n: int | None = None
    degenerate: int | None = None
    curve: CurveRow | None = None
    null: Quartiles | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    null_metrics: Mapping[str, Spread] = field(default_factory=dict)
    pairs: PairRows | None = None
    prompts: tuple[tuple[str, ...], ...] = ()
    logit: Quartiles | None = None
    equal_tops: int | None = None
    gates: tuple[int, ...] | None = None
    ends: Numbers | None = None
    crossings: Quartiles | None = None
    flat: Numbers | None = None
    size: int | None = None
    extent: tuple[float, float] | None = None
    triples: tuple[Triple, ...] = ()
    shape: Mapping[str, Field] | None = None
    error: str | None = None

    @property
    def model(self) -> str:
        """The model's name without its revision."""
        return self._ref.name

    @property
    def revision(self) -> str:
        """What follows @ in the model's name, `main` where nothing does."""
        return self._ref.revision or "main"

    @property
    def named_revision(self) -> str:
        """What follows @ in the model's name, "" where nothing does."""
        return self._ref.revision

    @property
    def weights(self) -> Weights:
        """The kind of weights (stored, scrambled, untrained) and their seed."""
        return Weights.parse(str(self.spec.get("weights", STORED)))

    @property
    def _ref(self) -> ModelRef:
        return ModelRef.parse(str(self.spec["model"]))


@dataclass(frozen=True)
class EffectRow:
    """A part of a verdict with its interval; see `measure.stats.Effect`."""

    name: str
    estimate: Number
    low: Number
    high: Number
    n: int
    margin: float
    outcome: str


@dataclass(frozen=True)
class TrendRow:
    """A rank test; see `measure.stats.Trend`."""

    name: str
    p: Number
    treatments: int
    outcome: str
    p_reversed: Number = None
    n: int = 0


@dataclass(frozen=True)
class FactRow:
    """Something looked at; see `measure.stats.Fact`."""

    name: str
    agree: int
    of: int
    outcome: str


@dataclass(frozen=True)
class VerdictRow:
    """A verdict; see `measure.stats.Verdict`."""

    outcome: str
    n: int
    effects: tuple[EffectRow, ...] = ()
    trends: tuple[TrendRow, ...] = ()
    facts: tuple[FactRow, ...] = ()
    notes: tuple[str, ...] = ()
    # Outcomes under other draws of pairs.
    draws: tuple[str, ...] = ()


@dataclass(frozen=True)
class Side:
    """One side of a comparison: quartile curves and metrics, or of slices each triple's numbers."""

    curve: Quartiles | None = None
    metrics: Mapping[str, Spread] = field(default_factory=dict)
    triples: Mapping[str, tuple[Numbers, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Farthest:
    """Of a kind of compared number the one most off its tolerance; `excess` is how many times."""

    kind: str
    what: str
    measured: Number
    accepted: Number
    tolerance: float
    excess: Number


@dataclass(frozen=True)
class Offer:
    """What accepting a result would write: `text`, to the file `path`, which stands from the root folder.

    `seal` tells that both are as the run left them; `over` which text the result was held against, "" for none.
    """

    path: str
    text: str
    seal: str
    over: str = ""


@dataclass(frozen=True)
class BaselineRow:
    """What became of a test's baseline.

    `why`: why it is not as accepted; `notes`: what is to be known though it is. `measured` and `accepted`: both sides,
    `tolerance` by the kind of number, `farthest` the worst first, `changed`: what else differs, [accepted, measured].
    `rewritten`: what `measure refresh --rewrite` made of the file. `offer`: what could be accepted in its place; None
    of a baseline that is as accepted.
    """

    state: State
    file: str = ""
    why: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    measured: Side | None = None
    accepted: Side | None = None
    tolerance: Mapping[str, float] = field(default_factory=dict)
    farthest: tuple[Farthest, ...] = ()
    changed: Mapping[str, tuple[Field, Field]] = field(default_factory=dict)
    rewritten: str | None = None
    offer: Offer | None = None


@dataclass(frozen=True)
class TestRow:
    """One test of a suite, as it ended.

    `order`: its place among the run's tests; `role`: what it is to its claim; `claim` and `place`: the claim's title,
    and where in the paper it stands; `subject`: what it was asked of; `specs`: ids of the results that it used;
    `controls`: verdicts on counterfeits; `planted`: on data built to support the claim. `status`: the exit status that
    its failure gives the run, 0 where it did not fail.
    """

    # Not one of pytest's tests.
    __test__ = False

    test: str
    role: Role
    order: int = 0
    claim: str | None = None
    place: str = ""
    subject: str = ""
    outcome: str = "passed"
    reason: str | None = None
    read: str | None = None
    protocol: str = "paper"
    specs: tuple[str, ...] = ()
    seconds: float = 0.0
    expected: str = "supported"
    verdict: VerdictRow | None = None
    controls: Mapping[str, VerdictRow] = field(default_factory=dict)
    planted: Mapping[str, VerdictRow] = field(default_factory=dict)
    baseline: BaselineRow | None = None
    status: int = 0

    @property
    def name(self) -> str:
        """The test's function, without what stands before it and its parameters."""
        return self.test.partition("[")[0].rpartition("::")[2]


@dataclass(frozen=True)
class End:
    """How a run ended, and after how long."""

    exitstatus: int
    seconds: float


Row = Header | ResultRow | TestRow | End


def place_type(tokens: int) -> str:
    """The type of places among so many tokens."""
    return "<u1" if tokens <= 256 else "<u2"
