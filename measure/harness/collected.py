"""The tests of a run once they are collected: which are taken, which are left, and in what order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from measure import kinds
from measure.harness.items import (
    check_kinds,
    check_marker,
    check_told_apart,
    is_of_a_suite,
    models_of,
    not_for,
    specs_of,
    strict_read_of,
    unasked,
    unwanted_draws,
    uses,
)
from measure.harness.options import OWN_PAIRS
from measure.harness.stash import LEFT_OUT, NAMED, OTHER_PAIRS, SWEPT, UNASKED
from measure.spec import UNSAFE_IN_FILE_NAMES, AnySpec, MeasureError


def fill_catalog(config: pytest.Config) -> None:
    """Put into the catalog what the options and the repository's hook name; suites ask it what there is."""
    from measure import catalog

    catalog.forget_added()
    config.stash[SWEPT] = []
    by = "--revision-pattern"
    try:
        _use_own_pattern(config)
        by = "pytest_measure_models"
        for given in config.hook.pytest_measure_models(config=config):
            for model in given:
                _add(model, config.stash[SWEPT].append)
        by = "--models"
        config.stash[NAMED] = _named(config.getoption("--models"), config.stash[SWEPT].append)
    except MeasureError as error:
        raise pytest.UsageError(f"{by}: {error}") from None


def _use_own_pattern(config: pytest.Config) -> None:
    """How training checkpoints are named, where the user tells it."""
    from measure.catalog import revisions

    pattern, size = config.getoption("--revision-pattern"), config.getoption("--tokens-a-step")
    revisions.forget_own()
    if pattern is not None:
        revisions.use_own(pattern, size)
    elif size is not None:
        raise MeasureError(f"--tokens-a-step {size} belongs to a --revision-pattern; give one.")


def _named(choice: str, tell: Callable[[str], object] = lambda _: None) -> set[str] | None:
    if choice in ("auto", "ladder", "all"):
        return None
    from measure.harness import selection

    return selection.named(choice, tell)


def _add(model: object, tell: Callable[[str], object]) -> None:
    """Put what a repository's hook names beside the catalogued models."""
    from measure import catalog

    if isinstance(model, catalog.Model):
        catalog.add(model)
    elif isinstance(model, str):
        _named(model, tell)
    else:
        raise MeasureError(f"the hook gave {model!r}; expected names, or objects of measure.catalog.Model.")


def hold_pairs(config: pytest.Config) -> None:
    """Take the pairs of --pairs-from, which stand in place of those drawn. Raises `UsageError` for what holds none."""
    from measure.prompts import own_pairs

    try:
        config.stash[OWN_PAIRS] = own_pairs.hold(config.getoption("--pairs-from"))
    except MeasureError as error:
        raise pytest.UsageError(f"--pairs-from: {error}") from None


def select(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse what cannot be told apart, apply --draws, --models and --pairs-from; a model's tests come together."""
    check_kinds(items)
    for item in items:
        # Elsewhere a marker of this name is somebody else's.
        if is_of_a_suite(item):
            check_marker(item)
        _check_id(item)
    check_told_apart(items)
    drop(config, items, unwanted_draws(items, config.getoption("--draws")))
    _select_models(config, items)
    if OWN_PAIRS in config.stash:
        _select_pairs(config, items)
    if any(map(is_of_a_suite, items)):
        items.sort(key=_places())


def _check_id(item: pytest.Item) -> None:
    """Raise `UsageError` for an id that names a baseline's file and cannot."""
    callspec = getattr(item, "callspec", None)
    unsafe = UNSAFE_IN_FILE_NAMES.search(callspec.id) if callspec else None
    if unsafe and uses(item, "baseline"):
        raise pytest.UsageError(
            f"the id of {item.nodeid} names its baseline file, and {unsafe[0]!r} cannot stand in a file name: two "
            "such ids could share one file. Give the parameter another id."
        )


def _places() -> Callable[[pytest.Item], int]:
    """Where a test stands among the others: by the place of its model in the catalog, first those of none."""
    from measure import catalog

    order = {name: place for place, name in enumerate(catalog.models())}

    def place(item: pytest.Item) -> int:
        specs = specs_of(item)
        return order.get(specs[0].ref.name, len(order)) if specs else -1

    return place


def _select_models(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of models that were not named, and mark with its reason what this machine does not measure."""
    names = config.stash[NAMED]
    if names is None and not any(map(specs_of, items)):
        return
    from measure.harness import selection

    choice: str = config.getoption("--models")
    if names is not None:
        try:
            selection.check_present(names, set().union(*map(models_of, items)))
        except MeasureError as error:
            raise pytest.UsageError(f"--models: {error}") from None
    dropped: list[pytest.Item] = []
    seconds = _left_out(config, items, choice) if names is None and choice != "all" else {}
    config.stash[LEFT_OUT] = seconds
    for item in items:
        chosen = models_of(item)
        weights = any(map(kinds.is_run, specs_of(item)))
        if not (names is None or chosen <= names):
            dropped.append(item)
        # A suite that looks by itself what is at hand says so.
        if names is not None or getattr(getattr(item, "module", None), "BY_ITSELF", False):
            continue
        if reason := selection.not_measured(chosen, choice, weights=weights, seconds=seconds):
            item.add_marker(pytest.mark.skip(reason=reason))
    drop(config, items, dropped)
    if names is not None:
        config.stash[UNASKED] = unasked(dropped, items)


def _left_out(config: pytest.Config, items: list[pytest.Item], choice: str) -> dict[str, float]:
    """Models that none of these tests measures, with the seconds that all of their specs would take here."""
    from measure.harness import selection
    from measure.harness.session import effective

    found: dict[str, dict[AnySpec, None]] = {}
    for item in items:
        for spec in specs_of(item):
            if kinds.is_run(spec):
                asked = effective(config, spec, strict_read_of(item))
                found.setdefault(spec.ref.name, {})[asked] = None
    return selection.left_out({name: tuple(specs) for name, specs in found.items()}, choice)


def _select_pairs(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of pairs drawn at random, which take those of --pairs-from instead."""
    from measure.prompts import own_pairs

    compared = {item for item in items if uses(item, "baseline")}
    lacks = {item: what for item in items if item not in compared and (what := own_pairs.all_lack(specs_of(item)))}
    dropped = [item for item in items if item in compared or item in lacks]
    drop(config, items, dropped)
    told = [f"not asked of these pairs: {line}" for line in not_for(lacks, items)]
    if compared:
        told.append("baselines are not compared: they are of other pairs")
    config.stash[OTHER_PAIRS] = [*own_pairs.described(config.stash[OWN_PAIRS], config.getoption("--seed") or 0), *told]


def drop(config: pytest.Config, items: list[pytest.Item], dropped: list[pytest.Item]) -> None:
    """Take tests out of a run, and tell pytest."""
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        gone = set(map(id, dropped))
        items[:] = [item for item in items if id(item) not in gone]


def told(config: pytest.Config) -> list[str]:
    """Which claims are not asked of the models named, or of pairs of one's own, and what these lack."""
    names = ", ".join(sorted(config.stash.get(NAMED, None) or ()))
    of_models = [f"not asked of {names}: {line}" for line in config.stash.get(UNASKED, [])]
    return [*config.stash.get(SWEPT, []), *config.stash.get(OTHER_PAIRS, []), *of_models]
