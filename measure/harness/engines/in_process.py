"""Which spec runs when and where: by model, behind the store, in this process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial

from measure.harness.engines import drawing
from measure.harness.engines.addresses import is_needed, known_results, links_of
from measure.harness.engines.failures import kept
from measure.harness.engines.fetching import Fetcher
from measure.harness.engines.one_load import measure_load
from measure.harness.engines.protocol import Begin, Found, Load, Outcome, Report, load_of, untold
from measure.harness.engines.same_weights import SeenWeights
from measure.harness.engines.store import Store
from measure.kinds.rows import How
from measure.spec import AnySpec, Keep


class InProcess:
    """Measures the specs that it was told of, each model loaded once, the next checkpoint fetched meanwhile.

    An error belongs to the specs it struck and stops no other. `report` is told of each spec whether it was `stored`,
    `measured` or `failed`, as it ends, `begin` of what is done meanwhile. `keep` says which checkpoints brought from
    the hub stay on the disk, `disk` how many bytes they may take.
    """

    def __init__(
        self,
        store: Store | None,
        report: Report,
        *,
        begin: Begin = untold,
        keep: Keep = "all",
        allow_pickle: bool = False,
        disk: int | None = None,
    ) -> None:
        drawing.forget()
        self.store = store
        self.gathered: dict[Load, list[AnySpec]] = defaultdict(list)
        self._report = report
        self._begin = begin
        self._outcomes: dict[AnySpec, Outcome] = {}
        self._fetcher = Fetcher(keep, allow_pickle=allow_pickle, budget=disk)
        self._seen = SeenWeights()

    def gather(self, specs: Iterable[AnySpec]) -> None:
        """Take note of specs that will be asked for."""
        for spec in specs:
            group = self.gathered[load_of(spec)]
            if spec not in group:
                group.append(spec)

    def outcome(self, spec: AnySpec) -> Outcome:
        """The result of a spec, or its error; the first one asked of a model measures all that were gathered for it."""
        if spec not in self._outcomes:
            self.gather([spec])
            self._measure(load_of(spec))
        return self._outcomes[spec]

    def close(self) -> None:
        """Stop fetching."""
        self._fetcher.close()

    def _open(self, load: Load) -> list[AnySpec]:
        return [spec for spec in self.gathered[load] if spec not in self._outcomes]

    def _measure(self, load: Load) -> None:
        specs = self._open(load)
        self._fetch_ahead(load)
        following = next((other for other in self.gathered if other.model != load.model and self._open(other)), None)
        if following is not None:
            self._fetch_ahead(following)
        self._keep(self._found(load, specs))
        if not any(self._open(other) for other in self.gathered if other.model == load.model):
            self._fetcher.used(load.model)

    def _keep(self, found: Found) -> None:
        for spec, (outcome, how) in found.items():
            self._outcomes[spec] = outcome
            self._report(spec, how)

    def settle(self, found: Found) -> None:
        """Take the outcomes of one load that were found elsewhere, held against earlier ones as if found here."""
        try:
            self._check_weights(found)
        except Exception as error:  # handed to the tests that asked
            found = dict.fromkeys(found, (kept(error), How.FAILED))
        self._keep(found)

    def forget(self, load: Load) -> None:
        """Hold nothing more of a load: neither what was asked of it nor what came of it."""
        open_ones = self._open(load)
        for spec in self.gathered.pop(load, []):
            self._outcomes.pop(spec, None)
        # What was fetched ahead, and measured by another, would keep its room on the disk.
        if open_ones and not any(other.model == load.model and self._open(other) for other in list(self.gathered)):
            self._fetcher.used(load.model)

    def _fetch_ahead(self, load: Load) -> None:
        specs = self._open(load)
        weights = load.needs_weights
        needed = partial(is_needed, specs, self.store)
        self._fetcher.ahead(load.model, weights=weights, needed=needed)

    def _found(self, load: Load, specs: list[AnySpec]) -> Found:
        try:
            found = known_results(links_of(specs), self.store)
            missing = [spec for spec in specs if spec not in found]
            if missing:
                self._fetcher.wait(load.model, weights=load.needs_weights)
                pickle = self._fetcher.allow_pickle
                found.update(measure_load(missing, self.store, self._begin, allow_pickle=pickle))
            self._check_weights(found)
        except Exception as error:  # handed to the tests that asked
            return dict.fromkeys(specs, (kept(error), How.FAILED))
        return found

    def _check_weights(self, found: Found) -> None:
        self._seen.check(found)


def measure(specs: Iterable[AnySpec], store: Store | None, report: Report) -> dict[AnySpec, Outcome]:
    """Measure every spec; see `InProcess`."""
    specs = list(dict.fromkeys(specs))
    engine = InProcess(store, report)
    try:
        engine.gather(specs)
        return {spec: engine.outcome(spec) for spec in specs}
    finally:
        engine.close()
