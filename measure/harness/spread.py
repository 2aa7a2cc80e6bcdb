"""Over what a run of pytest is spread: this process, a shard of several, or workers."""

from __future__ import annotations

import pytest

from measure.harness.engines import gpus, launchers
from measure.harness.engines.in_process import InProcess
from measure.harness.engines.pool import Pool
from measure.harness.engines.protocol import Begin, Engine, Report
from measure.harness.engines.store import Store
from measure.harness.engines.work import Shard
from measure.harness.options import shard_of
from measure.hub import disk


def disk_budget(config: pytest.Config) -> int | None:
    """The bytes of --disk. Raises `MeasureError` for what is none."""
    given = config.getoption("--disk")
    return disk.size(given) if given is not None else None


def engine_for(config: pytest.Config, store: Store, report: Report, begin: Begin) -> Engine:
    """The engine that the options of a run ask for. Raises `MeasureError` where it cannot be had."""
    options = {name: config.getoption(f"--{name.replace('_', '-')}") for name in ("keep", "allow_pickle")}
    options["disk"] = disk_budget(config)
    if (shard := config.getoption("--shard")) is not None:
        return Shard(*shard_of(shard), store, report, begin, **options)
    asked, workers = config.getoption("--engine"), config.getoption("--workers")
    seen = gpus.chosen(config.getoption("--gpus"))
    alone = asked is None and (len(seen) < 2 and workers is None)
    # Workers of pytest-xdist are spread already.
    if alone or asked == "in-process" or store.refreshing or hasattr(config, "workerinput"):
        return InProcess(store, report, begin=begin, **options)
    pairs = config.getoption("--pairs-from")
    # One checkpoint is soon measured where the others would only wait for it, unless somebody asked for them.
    least = 2 if asked is None else 1
    launcher = launchers.launcher(asked or "processes", config)
    return Pool(launcher, workers, store, report, begin, pairs_from=pairs, least=least, **options)
