"""What a run's page shows, as frozen types. As JSON they are what `measure/report/web/` reads; they do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from measure.kinds.rows import EffectRow, FactRow, Farthest, Metric, Number, Numbers, Quartiles, TrendRow

# Fields that may be UNSET are left out of the page where they are; tuples with names are lists there.
Texts = tuple[str, ...]
Pair = tuple[str, str]


@dataclass(frozen=True)
class Against:
    """An accepted curve, and what was measured less it, in millionths."""

    accepted: Quartiles
    residual: Quartiles
    tolerance: float


@dataclass(frozen=True)
class BaselineView:
    """One baseline test, or a test that judges nothing: what became of it, and the curve beside the accepted one.

    `name`: what was measured, in words; `accept`: the command that takes what was measured for accepted.
    """

    subject: str
    outcome: str
    state: str
    why: Texts = ()
    reason: str | None = None
    file: str | None = None
    farthest: tuple[Farthest, ...] = ()
    changed: tuple[tuple[str, str, str], ...] = ()
    curve: Against | None = None
    notes: Texts | UnsetType = UNSET
    name: str | UnsetType = UNSET
    accept: str | UnsetType = UNSET


@dataclass(frozen=True)
class CounterfeitView:
    """The verdict on one counterfeit."""

    name: str
    outcome: str
    n: int
    effects: tuple[EffectRow, ...]


@dataclass(frozen=True)
class ControlView:
    """What became of a case's counterfeits."""

    state: str = "not run"
    counterfeits: tuple[CounterfeitView, ...] = ()
    reason: str | None = None
    strongest: str | None = None


class Used(NamedTuple):
    """A result that a case rests on: its id, its name in the case, and whether claim or control brought it.

    `group`: the panel that it is drawn in, trained or what was done to the model; `series`: its name there; `shade`:
    what its colour stands for where that is an order.
    """

    id: str
    name: str
    role: str
    group: str
    series: str
    shade: str


class PastRun(NamedTuple):
    """An earlier run: when it started, the code's short hash, the file of its records."""

    started: str
    code: str
    records: str


class Past(NamedTuple):
    """What an earlier run, by its place among `View.runs`, found of a case: outcome, and the effect that decided.

    `changed`: whether it stood otherwise before, by the rule of `history.changes`.
    """

    run: int
    outcome: str
    estimate: Number
    low: Number
    high: Number
    margin: Number
    n: int | None
    changed: bool = False


class Printed(NamedTuple):
    """A number that the paper prints, and what stands for it here."""

    what: str
    paper: str
    here: str


@dataclass(frozen=True)
class Before:
    """What a case was in the run before."""

    state: str = "not in it"
    effects: tuple[EffectRow, ...] = ()


@dataclass(frozen=True)
class CaseView:
    """One subject of a claim: its verdict, its control, its baselines, and the results that they rest on.

    `name`: the subject in words. `lead`: the effect that decides. `judged`: False for the tests of a claim that belong
    to none of its cases. `history`: what earlier runs found. `printed`: what the paper prints.
    """

    subject: str
    anchor: str
    judged: bool
    measured: bool
    failed: bool
    state: str = "no verdict"
    expected: str = "supported"
    outcome: str = "passed"
    reason: str | None = None
    n: int | None = None
    effects: tuple[EffectRow, ...] = ()
    lead: EffectRow | None = None
    trends: tuple[TrendRow, ...] = ()
    facts: tuple[FactRow, ...] = ()
    notes: Texts = ()
    control: ControlView = ControlView()
    specs: tuple[Used, ...] = ()
    baselines: tuple[BaselineView, ...] = ()
    moved: bool = False
    families: Texts = ()
    before: Before | UnsetType = UNSET
    name: str | UnsetType = UNSET
    history: tuple[Past, ...] | UnsetType = UNSET
    printed: tuple[Printed, ...] | UnsetType = UNSET


@dataclass(frozen=True)
class Count:
    """A number on top of the page."""

    word: str
    count: int


@dataclass(frozen=True)
class VerdictCount(Count):
    """How many cases have a verdict, and of how many it was not expected."""

    unexpected: int


@dataclass(frozen=True)
class Least:
    """The weakest effect of a claim, and the case that it is of."""

    effect: EffectRow
    subject: str
    anchor: str


@dataclass(frozen=True)
class ClaimView:
    """A claim with its cases, and its one line: verdicts counted, its least effect, n, its controls, its baselines.

    `short`: a word or two for it; `drawn`: the case whose curves are drawn first, that of the largest model.
    """

    title: str
    anchor: str
    cases: tuple[CaseView, ...]
    verdicts: tuple[VerdictCount, ...]
    least: Least | None
    n: tuple[int, int] | None
    counterfeits: Texts
    held: int
    broken: Texts
    controls: int
    drift: tuple[tuple[str, int], ...]
    short: str = ""
    drawn: str | None = None


@dataclass(frozen=True)
class CurveView(Quartiles):
    """Quartiles of r; `alphas` only where they are not evenly spread from 0 to 1."""

    alphas: Numbers | UnsetType = UNSET


@dataclass(frozen=True)
class GatesView:
    """Between the points of a segment: sign changes a gate and unit of alpha, smoothed; the share of slow pairs."""

    alphas: Numbers
    crossings: Quartiles
    flat: Numbers | None


@dataclass(frozen=True)
class SlicesView:
    """Slices of a result; `packed`: the colour of every cell and its place in `tokens`, deflated, base64."""

    size: int
    extent: tuple[float, float]
    largest: tuple[Numbers, ...]
    points: tuple[tuple[Numbers, ...], ...]
    degenerate: tuple[bool, ...]
    tokens: Texts
    packed: str


@dataclass(frozen=True)
class PairsView:
    """Single curves with what they are called."""

    relative: tuple[Numbers, ...]
    names: Texts


@dataclass(frozen=True)
class ResultView:
    """What is drawn of a result, its metrics, and what it was measured on; `before`: the curve of an earlier run.

    `sketch`: of a curve that is drawn small alone its median. `prompts`: the place of its prompts among `View.prompts`.
    `pairing` and `read` where they are not the usual ones; `note`: what is to be known of its pairs.
    """

    id: str
    weights: str
    n: int | None
    degenerate: int | None
    metrics: Mapping[str, Metric]
    provenance: tuple[Pair, ...]
    curve: CurveView | UnsetType = UNSET
    sketch: Numbers | UnsetType = UNSET
    null: Quartiles | UnsetType = UNSET
    logit: Quartiles | UnsetType = UNSET
    gates: GatesView | UnsetType = UNSET
    slices: SlicesView | UnsetType = UNSET
    pairs: PairsView | UnsetType = UNSET
    before: CurveView | UnsetType | None = UNSET
    prompts: int | UnsetType = UNSET
    pairing: str | UnsetType = UNSET
    read: str | UnsetType = UNSET
    note: str | UnsetType = UNSET


class ChangedVerdict(NamedTuple):
    """A case whose verdict or control is not what it was."""

    claim: str
    subject: str
    anchor: str
    before: str
    after: str


@dataclass(frozen=True)
class Compared:
    """What differs from the run before: facts with both sides, verdicts, cases that are gone, results by how much."""

    facts: tuple[tuple[str, str, str], ...]
    verdicts: tuple[ChangedVerdict, ...]
    gone: Texts
    curves: tuple[tuple[str, float], ...]
    common: int


@dataclass(frozen=True)
class MetricView:
    """What a metric is called, and a line on what it is and what it cannot see."""

    label: str
    told: str


@dataclass(frozen=True)
class View:
    """A run's whole page; `metrics`: those of its results, by name.

    `prompts`: sets of prompts, of each pair or triple its two or three; `runs`: the earlier ones, in their order.
    """

    problems: Texts
    facts: tuple[Pair, ...]
    tally: tuple[Count, ...]
    families: Texts
    claims: tuple[ClaimView, ...]
    results: Mapping[str, ResultView]
    metrics: Mapping[str, MetricView] = field(default_factory=dict)
    compared: Compared | None = None
    prompts: tuple[tuple[Texts, ...], ...] = ()
    runs: tuple[PastRun, ...] = ()
