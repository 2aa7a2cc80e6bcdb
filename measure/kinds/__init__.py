"""What a kind of measurement is: one record, registered once, and the questions that the harness asks of it.

Each kind has a file: those of this package stand beside this one and are found there, others register themselves when
they are imported. Holds no formula and measures nothing: a kind names the function that does, and it is imported when
first asked for, so that specs and results stay free of torch.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, TypeGuard, runtime_checkable

from measure.kinds.rows import ResultRow
from measure.results import metrics
from measure.results.metrics import Definition
from measure.spec import AnySpec, MeasureError, Pairing, Rows, Spec
from measure.spec import Protocol as Sampling

PROCESSORS = "on processors"
ACROSS = "across devices"
ENVIRONMENT = (
    "measure",
    "torch",
    "transformers",
    "numpy",
    "python",
    "device",
    "dtype",
    "weights_sha256",
    "config_sha256",
    "card",
    "path",
)

# By class of devices, how far a number of that name may move.
Tolerance = Mapping[str, Mapping[str, float]]
# Ids of tokens to their texts.
Texts = Callable[[Sequence[int]], list[str]]
# (specs that differ in their read alone, or as `Kind.layers` says, the loaded model, prompts, what to add to the
# provenance) -> their results.
# Of a kind that runs no model: spec -> what came out.
Measure = Callable[..., Any]


def tolerances(known: Sequence[Definition]) -> dict[str, dict[str, float]]:
    """How far quartiles of metrics may move, by class of devices."""
    return {
        PROCESSORS: {one.name: one.processors for one in known},
        ACROSS: {one.name: one.devices for one in known},
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind:
    """A kind of measurement.

    `name`: that of its results in files; `spec` and `result`: the types of what goes in and what comes out.
    `measure`: the function that measures (see `Measure`), or where it is, as in "package.module:function".
    `metrics`: those that a baseline, a record and the page hold; each is a property of the result, (rows,).
    `takes`: what prompts are drawn, pairs or triples; None of a kind that reads a model's configuration alone.
    `layers`: `measure` takes specs that differ in their layer too, whose clean runs are then shared.
    `independent`: of the pairs drawn those alone are measured that inference uses.
    `points`: of a spec, how many points are run in each context. `logits`: of how many contexts one has its logits
    taken, whatever is read; 0 for none. `tokens`: its records tell tokens as text.
    `described`: of a result, the groups of numbers that a baseline holds, in one of the forms that `harness.baselines`
    reads; `form`: the name of that form in the file, the kind's own where it is None. `tolerance`: how far they may
    move, `tolerance_from` where that comes from.
    `recorded`: (row, outcome, texts of tokens) -> the row of the records with what came out.
    """

    name: str
    spec: type[AnySpec]
    result: type[Any]
    measure: str | Measure
    metrics: tuple[Definition, ...] = ()
    takes: Literal["pairs", "triples"] | None = "pairs"
    layers: bool = False
    independent: bool = False
    points: Callable[[Any], int] = lambda spec: 1
    logits: int = 0
    tokens: bool = False
    described: Callable[[Any], dict[str, Any]] | None = None
    form: str | None = None
    tolerance: Tolerance | None = None
    tolerance_from: str = "as the kind states them"
    recorded: Callable[[ResultRow, Any, Texts], ResultRow] | None = None

    @property
    def runs(self) -> bool:
        """Whether a model is run, on prompts, with its weights."""
        return self.takes is not None

    @property
    def chooses_rows(self) -> bool:
        """Whether a spec says which of the pairs drawn are measured."""
        return self.takes == "pairs" and not self.independent

    @property
    def held(self) -> str:
        """The name of its baselines' form in the file."""
        return self.form or self.name

    def allowed(self) -> Tolerance:
        """How far the numbers of its baselines may move."""
        return tolerances(self.metrics) if self.tolerance is None else self.tolerance

    def measuring(self) -> Measure:
        """The function that measures, imported now."""
        if not isinstance(self.measure, str):
            return self.measure
        module, _, function = self.measure.partition(":")
        found: Measure = getattr(importlib.import_module(module), function)
        return found


_BY_SPEC: dict[type[AnySpec], Kind] = {}
_BY_NAME: dict[str, Kind] = {}
# Fields that specs have of which pairs or triples are drawn.
_ASKED = {"pairs": ("pairs", "pairing", "rows"), "triples": ("triples",), None: ()}


def register(kind: Kind) -> Kind:
    """Make a kind known, from then on; returns it.

    Raises `MeasureError` for one that lacks something, or is called as another is.
    """
    _check(kind)
    others = [one for one in _BY_NAME.values() if not _is_same(one, kind)]
    for one in others:
        if kind.name == one.name or kind.spec.__name__ == one.spec.__name__:
            raise MeasureError(
                f"the kind {kind.name!r} with {kind.spec.__name__} is called as {one.name!r} with "
                f"{one.spec.__name__}, and ids, files and records tell kinds apart by both names; give it others."
            )
    for metric in kind.metrics:
        known = {m.name: m for one in others for m in one.metrics}.get(metric.name, metric)
        if known != metric:
            raise MeasureError(
                f"the metric {metric.name!r} of the kind {kind.name!r} has the name of another, {known.label} "
                f"({known.formula}); give it another name."
            )
        metrics.TABLE[metric.name] = metric
    _BY_SPEC[kind.spec] = _BY_NAME[kind.name] = kind
    return kind


def _is_same(one: Kind, other: Kind) -> bool:
    """Whether a kind is another one whose module was imported anew."""
    return (one.spec.__module__, one.spec.__qualname__) == (other.spec.__module__, other.spec.__qualname__)


def _check(kind: Kind) -> None:
    for one in (kind.spec, kind.result):
        # Not what it inherits: fields of its own would be none.
        if "__dataclass_params__" not in vars(one):
            raise MeasureError(
                f"the kind {kind.name!r} has {one.__name__}, which is no dataclass; write @dataclass over it."
            )
    if getattr(kind.result, "kind", kind.name) != kind.name:
        raise MeasureError(
            f"the kind {kind.name!r} has results of kind {kind.result.kind!r}; write "
            f'class {kind.result.__name__}(RowResult, kind="{kind.name}").'
        )
    fields = {field.name for field in dataclasses.fields(kind.spec)}
    lacking = [name for name in _ASKED[kind.takes] if name not in fields]
    if lacking:
        raise MeasureError(
            f"the kind {kind.name!r} takes {kind.takes}, and {kind.spec.__name__} lacks {', '.join(lacking)}, which "
            "say how they are drawn; add the fields, or let it inherit from CurveSpec or SliceSpec."
        )
    there = {*dir(kind.result), *(field.name for field in dataclasses.fields(kind.result))}
    without = [metric.name for metric in kind.metrics if metric.name not in there]
    if without:
        raise MeasureError(
            f"the kind {kind.name!r} has the metric {without[0]!r}, which {kind.result.__name__} has not; add a "
            "property of that name with a number for each row."
        )


def check_results(kind: Kind, found: Sequence[object], count: int) -> None:
    """Raise `MeasureError` unless a kind's function gave a result of its own, of the right type, for each spec."""
    types = sorted({type(one).__name__ for one in found if not isinstance(one, kind.result)})
    # One object for several specs would have the provenance of the last.
    different = len(set(map(id, found)))
    if types or different != count:
        gave = f"{len(found)} results, {', '.join(types)} among them," if types else f"{different} different results"
        raise MeasureError(
            f"the function of the kind {kind.name!r} gave {gave} for {count} specs; expected an object of "
            f"{kind.result.__name__} for each."
        )


@cache
def _load_own() -> None:
    """Import the kinds of this package."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def every() -> list[Kind]:
    """Every kind that is known."""
    _load_own()
    return list(_BY_NAME.values())


def of(spec: AnySpec | OfPairs) -> Kind:
    """The kind of a spec. Raises `MeasureError` where none was registered for its type."""
    _load_own()
    found = _BY_SPEC.get(type(spec))  # type: ignore[arg-type]
    if found is None:
        raise MeasureError(
            f"{type(spec).__name__} is no spec of a known kind; register its kind with measure.kinds.register, in the "
            "module that defines it."
        )
    return found


def named(name: str) -> Kind:
    """The kind whose results are called so in files. Raises `MeasureError` for a name that none has."""
    _load_own()
    if name not in _BY_NAME:
        raise MeasureError(f"there is no kind {name!r}; import the module that registers it, or use {_listed()}.")
    return _BY_NAME[name]


def _listed() -> str:
    return ", ".join(_BY_NAME)


# What the harness asks of a spec


@runtime_checkable
class OfPairs(Protocol):
    """What a spec has of which pairs are drawn, see `measure.CurveSpec`."""

    @property
    def model(self) -> str: ...
    @property
    def protocol(self) -> Sampling: ...
    @property
    def seed(self) -> int: ...
    @property
    def corpus(self) -> str: ...
    @property
    def pairs(self) -> int: ...
    @property
    def pairing(self) -> Pairing: ...
    @property
    def rows(self) -> Rows: ...


@runtime_checkable
class OfTriples(Protocol):
    """What a spec has of which triples are drawn, see `measure.SliceSpec`."""

    @property
    def protocol(self) -> Sampling: ...
    @property
    def seed(self) -> int: ...
    @property
    def triples(self) -> int: ...


def is_run(spec: AnySpec) -> TypeGuard[Spec]:
    """Whether a model is run for a spec."""
    return of(spec).runs


def takes_pairs(spec: AnySpec) -> TypeGuard[OfPairs]:
    """Whether pairs are drawn for a spec."""
    return of(spec).takes == "pairs"


def takes_triples(spec: AnySpec) -> TypeGuard[OfTriples]:
    """Whether triples are drawn for a spec."""
    return of(spec).takes == "triples"
