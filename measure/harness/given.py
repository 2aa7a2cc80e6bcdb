"""What a test is given by its fixtures: results, its claim, its baseline."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from measure import catalog, kinds
from measure.claims import Claim
from measure.harness.items import baseline_folder, models_of, named_of, specs_of, subject_of
from measure.harness.options import OWN_PAIRS, is_default_sample, is_usual_sample
from measure.harness.outcomes import BASELINE, CAUSE, CLAIM, USED, verdicts_of
from measure.harness.snapshot import baseline_file, baseline_in
from measure.harness.stash import NAMED, harness_of
from measure.spec import AnySpec, MeasureError

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion


def results(request: pytest.FixtureRequest, strict_read: str | None) -> Callable[[AnySpec], Any]:
    """The function from a spec to its result, which takes note of what a test used, and of what kept it from that."""
    used = request.node.stash.setdefault(USED, [])

    def result(asked: AnySpec) -> Any:
        harness = harness_of(request.config)
        spec = harness.effective(asked, strict_read)
        if asked not in specs_of(request.node):
            _skip_where_it_cannot_be(asked, request.config)
        used.append(harness.told(spec).id)
        try:
            return harness.measured(asked, strict_read)
        except MeasureError as error:
            request.node.stash[CAUSE] = error
            raise

    return result


def _skip_where_it_cannot_be(asked: AnySpec, config: pytest.Config) -> None:
    """What an option keeps from being measured here; a spec in a test's parameters was asked at collection."""
    from measure.harness import selection
    from measure.prompts import own_pairs

    if OWN_PAIRS in config.stash and (lacks := own_pairs.lacking(asked)):
        pytest.skip(f"not asked of the pairs of --pairs-from: takes {lacks}")

    choice, named = config.getoption("--models"), config.stash[NAMED]
    weights = kinds.is_run(asked)
    reason = selection.not_measured([asked.ref.name], choice, weights=weights) if named is None else None
    if reason:
        pytest.skip(reason)


def claim_of(request: pytest.FixtureRequest) -> Claim:
    """The claim of a test: how it is judged, and what was accepted of it."""
    names = [catalog.models().get(name) for name in models_of(request.node)]
    ladder = bool(names) and all(model is not None and model.source == "ladder" for model in names)
    must = ladder and is_default_sample(request.config)
    held = is_usual_sample(request.config)
    drawn = OWN_PAIRS not in request.config.stash
    known, keep = verdicts_of(request.node)
    request.node.stash[CLAIM] = Claim(
        subject_of(request.node),
        must_be_measured=must,
        known=known,
        held=held,
        keep=keep,
        named=named_of(request.node),
        drawn=drawn,
    )
    return request.node.stash[CLAIM]


def baseline_of(request: pytest.FixtureRequest, snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """The comparison of a test with its baseline; skips the test where there is nothing to compare with."""
    if not is_default_sample(request.config):
        pytest.skip("baselines belong to protocol paper with the default pairs; the claim is tested all the same")
    made = request.config.option.update_snapshots or request.config.getoption("--refresh")
    if not made and not _has_baseline(request):
        models = request.config.getoption("--models")
        named = "" if models in ("auto", "ladder", "all") else f" --models {shlex.quote(models)}"
        pytest.skip(
            "not measured: no curve was accepted for this model yet; look at it, then accept it with "
            f"`measure refresh -k {subject_of(request.node)}{named}`"
        )
    assertion = snapshot.use_extension(baseline_in(baseline_folder(request.node), request.config.rootpath))
    request.node.stash[BASELINE] = assertion
    return assertion


def _has_baseline(request: pytest.FixtureRequest) -> bool:
    """Whether there is a baseline to compare with; one of the ladder's that is missing is an error, and said later."""
    known = (catalog.models().get(name) for name in models_of(request.node))
    others = [model for model in known if model is not None and model.source != "ladder"]
    return not others or baseline_file(request.node).exists()
