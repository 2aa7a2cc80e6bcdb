"""What a run would take (`measure plan`), and fetching what it needs (`measure fetch`). Measures nothing."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from measure import catalog, kinds
from measure.harness.engines import addresses, estimates
from measure.harness.engines import protocol as engines
from measure.harness.engines.drawing import corpus_of
from measure.harness.engines.one_load import alike
from measure.harness.engines.store import Store
from measure.harness.refresh import run_pytest
from measure.harness.stash import HARNESS
from measure.hub import checkpoints as hub
from measure.models import loading as models
from measure.names import ModelRef
from measure.prompts import drawn as prompts
from measure.spec import AnySpec, MeasureError


@dataclass(frozen=True)
class ModelPlan:
    """What one model, with all its revisions and counterfeits, asks for; `estimated`: the hub did not say how much."""

    name: str
    revisions: int
    work: estimates.Work
    stored: int
    to_fetch: int
    estimated: bool
    memory: int


@dataclass
class _Collected:
    """Keeps what the chosen tests would have measured."""

    gathered: dict[engines.Load, list[AnySpec]] = field(default_factory=dict)
    store: Store | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if HARNESS in session.config.stash:
            harness = session.config.stash[HARNESS]
            self.gathered, self.store = dict(harness.engine.gathered), harness.store


def collect(
    expression: str | None, arguments: Iterable[str] = (), *, paths: Sequence[str | Path] = ("suites",)
) -> _Collected:
    """The specs behind the tests that `pytest PATHS -k EXPRESSION` would run. Raises `MeasureError` for none."""
    witness = _Collected()
    chosen = ["-k", expression] if expression else []
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        ended = run_pytest([*map(str, paths), *chosen, "--collect-only", "-qq", *arguments], witness)
    if ended != pytest.ExitCode.OK:
        if ended == pytest.ExitCode.NO_TESTS_COLLECTED:
            where = " ".join(map(str, paths))
            asked = f"-k {expression!r}: no test has such a name" if expression else f"there is no test in {where}"
            raise MeasureError(f"{asked}; see `pytest {where} --collect-only -q`.")
        raise MeasureError(f"the suites could not be collected:\n{said.getvalue().strip()}")
    return witness


def plan(collected: _Collected) -> list[ModelPlan]:
    """One entry for each model, in the order in which they would be measured."""
    by_model: dict[str, dict[engines.Load, list[AnySpec]]] = {}
    for load, specs in collected.gathered.items():
        by_model.setdefault(ModelRef.parse(load.model).name, {})[load] = specs
    return [_plan_model(name, loads, collected.store) for name, loads in by_model.items()]


def _plan_model(name: str, loads: dict[engines.Load, list[AnySpec]], store: Store | None) -> ModelPlan:
    model = catalog.models()[name]
    work, stored, to_fetch, estimated = estimates.Work(), 0, 0, False
    for load, specs in loads.items():
        held = _stored(load, specs, store)
        stored += len(held)
        missing = [spec for spec in specs if spec not in held]
        for group in alike(missing):
            if kinds.is_run(group[0]):
                work += estimates.work(model, group)
    for revision in dict.fromkeys(load.model for load in loads):
        weights = any(load.needs_weights for load in loads if load.model == revision)
        found, guessed = _to_fetch(model, revision, weights=weights)
        estimated |= guessed
        to_fetch += found
    logits = any(estimates.logit_points(spec) for specs in loads.values() for spec in specs)
    return ModelPlan(
        name=name,
        revisions=len({load.model for load in loads}),
        work=work,
        stored=stored,
        to_fetch=to_fetch,
        estimated=estimated,
        memory=estimates.memory(model, logits=logits),
    )


def _stored(load: engines.Load, specs: Sequence[AnySpec], store: Store | None) -> set[AnySpec]:
    """Specs that the store holds, as far as can be known without fetching anything."""
    reference = catalog.resolve(load.model)
    if store is None or load.is_config:
        return set()
    corpora = {corpus_of(spec, reference.source) for spec in specs if kinds.is_run(spec)}
    if not all(map(prompts.is_at_hand, corpora)):
        return set()
    try:
        links = addresses.links_of(specs)
    except MeasureError:  # a model that is not at hand: nothing of it can be in the store
        return set()
    return {spec for spec, link in links.items() if store.holds(link)}


def _to_fetch(model: catalog.Model, name: str, *, weights: bool) -> tuple[int, bool]:
    """Bytes to fetch for a revision, and whether they are estimated from the parameters."""
    if model.source != "hub":
        return 0, False
    reference = catalog.resolve(name)
    if hub.is_cached(reference.location, reference.revision):
        return 0, False
    try:
        found = hub.bytes_to_fetch(reference.location, reference.revision, weights=weights)
    except MeasureError:
        found = None
    if found is not None:
        return found, False
    return (model.float32_bytes if weights else 0), True


def corpora_to_fetch(collected: _Collected) -> dict[str, int]:
    """Bytes of the corpora that are not at hand, by name."""
    specs = [(load, spec) for load, group in collected.gathered.items() for spec in group if kinds.is_run(spec)]
    named = {corpus_of(spec, catalog.resolve(load.model).source) for load, spec in specs}
    return {name: prompts.bytes_to_fetch(name) for name in sorted(named)}


def lines(plans: Sequence[ModelPlan], corpora: Mapping[str, int]) -> list[str]:
    """The plan as a table of at most 100 columns."""
    rates: dict[str, float] = {}
    rows = ["model                    revs specs stored     fetch    tokens     TFLOP     time    memory"]
    seconds = 0.0
    for entry in plans:
        device = models.device_of(catalog.resolve(entry.name))
        rates.setdefault(device, estimates.rate(device))
        took = estimates.seconds(entry.work, rates[device])
        seconds += took
        rows.append(
            f"{entry.name:<24.24} {entry.revisions:>4} {entry.work.specs + entry.stored:>5} {entry.stored:>6} "
            f"{_fetch(entry):>9} {_count(entry.work.tokens):>9} {entry.work.operations / 1e12:>9.3g} "
            f"{_seconds(took):>8} {entry.memory / 1e9:>6.1f} GB"
        )
    fetched = sum(entry.to_fetch for entry in plans)
    about = "~" if any(entry.estimated for entry in plans) else ""
    at = ", ".join(f"{name}, {value / 1e9:.0f} GFLOP/s in a matrix product" for name, value in rates.items())
    rows.append(f"in all: {about}{fetched / 1e9:.2f} GB to fetch, {_seconds(seconds)} to measure (on {at})")
    rows.append("time: at half that rate, and 0.1 s a spec; statistics and pytest's own come on top")
    rows += [
        f"and {size / 1e9:.2f} GB for {name}, which prompts are drawn from" for name, size in corpora.items() if size
    ]
    if about:
        rows.append("~: the hub was not asked or did not answer; taken as float32 from the number of parameters")
    return rows


def _fetch(entry: ModelPlan) -> str:
    if not entry.to_fetch:
        return "-"
    return f"{'~' if entry.estimated else ''}{entry.to_fetch / 1e9:.2f} GB"


def _count(number: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f}"


def _seconds(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def fetch(collected: _Collected, *, allow_pickle: bool = False) -> Iterable[str]:
    """Bring every hub model and corpus that the chosen tests need into the cache; a line for each as it is there."""
    needed: dict[str, bool] = {}
    corpora: dict[str, None] = {}
    for load, specs in collected.gathered.items():
        source = catalog.resolve(load.model).source
        if source == "hub":
            needed[load.model] = needed.get(load.model, False) or load.needs_weights
        named = dict.fromkeys(corpus_of(spec, source) for spec in specs if kinds.is_run(spec))
        corpora.update({corpus: None for corpus in named if not prompts.is_at_hand(corpus)})
    for name, weights in needed.items():
        found = models.fetch(catalog.resolve(name), weights=weights, allow_pickle=allow_pickle)
        with contextlib.suppress(MeasureError):
            # Offline it tells which training step is the last, and which is nearest to a number of tokens.
            hub.branches(found.repo)
        yield f"{name:<32} {found.revision} at {found.commit[:12]}, {'fetched' if found.fetched else 'in the cache'}"
    for corpus in corpora:
        held = prompts.load_corpus(corpus)
        yield f"{corpus:<32} {len(held.texts) or len(held.rows)} {'texts' if held.texts else 'prompts'}, fetched"
    if not needed and not corpora:
        yield "nothing to fetch: the chosen tests need no hub model (name some by --models, or all)"
