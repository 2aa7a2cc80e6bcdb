"""Baselines outlive changes of the code: what each change makes of one, and how a baseline takes a new form."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pytest

from measure import kinds
from measure.harness import baselines, regression
from measure.harness.regression import compare, rewritten
from measure.kinds import ACROSS, PROCESSORS
from measure.kinds.rows import State
from measure.results import Curves
from measure.results.slices import Slices
from measure.spec import CurveSpec, MeasureError, SliceSpec
from tests import small_results as small

Edit = Callable[[dict[str, Any]], object]
ENVIRONMENT = {**dict.fromkeys(baselines.ENVIRONMENT, "x"), "device": "cpu x86_64"}


def provenance(spec: CurveSpec | SliceSpec, **changed: Any) -> dict[str, Any]:
    return {"spec": asdict(spec), "prompts_sha256": "p" * 64, **ENVIRONMENT, **changed}


SPEC = CurveSpec("rung", layer=2)


def curves(spec: CurveSpec = SPEC, **changed: Any) -> Curves:
    return replace(small.curves(spec), provenance=provenance(spec, **changed))


def slices() -> Slices:
    spec = SliceSpec("rung")
    return replace(small.slices(spec), provenance=provenance(spec))


def text(result: Curves | Slices) -> str:
    return baselines.to_text(baselines.describe(result))


def earlier(edit: Edit, result: Curves | Slices | None = None) -> str:
    """A baseline as a version of the code wrote it in which something was not as it is now."""
    content = json.loads(text(result or curves()))
    edit(content)
    return baselines.to_text(content)


def tolerances(factor: float) -> Edit:
    def edit(content: dict[str, Any]) -> None:
        for devices in (PROCESSORS, ACROSS):
            content["tolerance"][devices]["max_slope"] *= factor

    return edit


def without_metric(content: dict[str, Any]) -> None:
    for group in ("metrics", "null_metrics"):
        del content[group]["jump_location"]
    for devices in (PROCESSORS, ACROSS):
        del content["tolerance"][devices]["jump_location"]


def raised(quartiles: dict[str, float], by: float) -> None:
    quartiles["median"] += by


def with_metric(content: dict[str, Any]) -> None:
    content["metrics"]["of_old"] = {"q25": 1.0, "median": 2.0, "q75": 3.0}
    for devices in (PROCESSORS, ACROSS):
        content["tolerance"][devices]["of_old"] = 0.1


CHANGES: dict[str, tuple[Edit, State, str]] = {
    # The name of the change, the file as it was before it, what becomes of it, and what is said.
    "nothing": (lambda c: None, State.AS_ACCEPTED, ""),
    "field with default added": (lambda c: c["defaults"].pop("precision"), State.AS_ACCEPTED, ""),
    "field added and set": (lambda c: c["spec"].pop("layer") and c["defaults"].pop("layer"), State.REFUSED,
                            "layer: 2, which the baseline knows nothing of"),
    "default changed": (lambda c: c["defaults"].update(steps=60), State.REFUSED,
                        "steps: 60 -> 50\nthe default of steps was changed"),
    "default of a field that the spec sets changed": (lambda c: c["defaults"].update(layer=3), State.AS_ACCEPTED, ""),
    "field removed": (lambda c: c["defaults"].update(gone=1), State.AS_ACCEPTED, ""),
    "field removed that the spec had set": (lambda c: c["spec"].update(gone=2), State.REFUSED, "gone: 2 in the base"),
    "metric added": (without_metric, State.INCOMPLETE, "lacks jump_location, jump_location of the norm-only null"),
    "metric of the null added": (lambda c: c["null_metrics"].pop("edge_drift"), State.INCOMPLETE,
                                 "lacks edge_drift of the norm-only null"),
    "metric removed": (with_metric, State.REFUSED, "holds of_old, which is measured no more"),
    "tolerance halved": (tolerances(2), State.AS_ACCEPTED, "max_slope 0.001 (code 0.0005)"),
    "tolerance doubled": (tolerances(0.5), State.AS_ACCEPTED, "max_slope 0.00025 (code 0.0005)"),
    "new read": (lambda c: c["spec"].update(read="residual"), State.REFUSED, "read: residual -> final_norm"),
    "steps changed": (lambda c: c["spec"].update(steps=20), State.REFUSED, "steps: 20 -> 50"),
    "seed changed": (lambda c: c["spec"].update(seed=3), State.REFUSED, "seed: 3 -> 0"),
    "corpus edited": (lambda c: c.update(prompts_sha256="q" * 64), State.REFUSED, "the prompts are not those of"),
    "model renamed": (lambda c: c["spec"].update(model="old"), State.REFUSED, "model: old -> rung"),
    "a number moved": (lambda c: c["metrics"]["max_slope"].update(median=9.0), State.MOVED, "median of max_slope: "),
    "moved, and a metric added": (lambda c: (without_metric(c), c["metrics"]["max_slope"].update(q25=9.0)),
                                  State.MOVED, "lacks jump_location"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_gives_the_right_one_of_unchanged_incomplete_moved_and_refused(change: str) -> None:
    edit, state, said = CHANGES[change]
    found = compare(text(curves()), earlier(edit))
    assert found.state is state
    assert said in "\n".join((*found.why, *found.notes))
    assert (state is State.AS_ACCEPTED) == (not found.why)
    assert bool(found.notes) == change.startswith("tolerance")


def test_a_field_really_added_to_a_spec_leaves_baselines_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = text(curves())

    @dataclass(frozen=True)
    class Wider(CurveSpec):
        norming: str = "no"

    known = kinds.named("curves")
    monkeypatch.setitem(kinds._BY_NAME, "curves", replace(known, spec=Wider))
    assert compare(text(curves(Wider("rung", layer=2))), accepted).state is State.AS_ACCEPTED
    assert compare(text(curves(Wider("rung", layer=2, norming="yes"))), accepted).state is State.REFUSED
    monkeypatch.setattr(Curves, "kept_metrics", (*Curves.kept_metrics, "end_distance"))
    more = {devices: {**table, "end_distance": 1e-5} for devices, table in known.allowed().items()}
    monkeypatch.setitem(kinds._BY_NAME, "curves", replace(known, spec=Wider, tolerance=more))
    found = compare(text(curves(Wider("rung", layer=2))), accepted)
    assert (found.state, found.lacking) == (State.INCOMPLETE, (("metrics", "end_distance"),))


def test_a_slice_lacks_and_loses_metrics_as_curves_do() -> None:
    lacking = compare(text(slices()), earlier(lambda c: c["triples"].pop("steep_share"), slices()))
    assert (lacking.state, lacking.lacking) == (State.INCOMPLETE, (("triples", "steep_share"),))
    more = compare(text(slices()), earlier(lambda c: c["triples"].update(odd=c["triples"]["foot"]), slices()))
    assert more.state is State.REFUSED


def test_the_tolerance_is_of_the_devices_that_both_were_measured_on() -> None:
    def moved(content: dict[str, Any]) -> None:
        content["curve"]["median"][5] += 1e-4

    here, there = curves(), curves(device="NVIDIA H100")
    assert compare(text(here), earlier(moved, here)).state is State.MOVED
    assert "tolerance on processors" in "\n".join(compare(text(here), earlier(moved, here)).why)
    for measured, accepted in ((there, here), (here, there), (there, there)):
        assert compare(text(measured), earlier(moved, accepted)).state is State.AS_ACCEPTED


def test_every_kept_number_has_a_tolerance_on_every_class_of_devices() -> None:
    for kind in filter(lambda kind: kind.runs, kinds.every()):
        kept = {metric.name for metric in kind.metrics} | set(getattr(kind.result, "kept_metrics", ()))
        across = kind.allowed()[ACROSS]
        for table in kind.allowed().values():
            assert kept <= table.keys()
            assert all(0 < allowed < np.inf for allowed in table.values())
        assert all(allowed <= across[name] for name, allowed in kind.allowed()[PROCESSORS].items())


# How a baseline takes the form of the code


def test_what_is_in_form_is_not_rewritten() -> None:
    assert rewritten(text(curves()), text(curves())) is None


@pytest.mark.parametrize("change", ["metric added", "metric removed", "tolerance halved", "field with default added"])
def test_rewriting_changes_the_form_and_no_accepted_number(change: str) -> None:
    edit = CHANGES[change][0]

    def nudged(content: dict[str, Any]) -> None:
        edit(content)
        content["curve"]["median"][5] = round(content["curve"]["median"][5] + 4e-6, 6)

    accepted = earlier(nudged)
    found = rewritten(text(curves()), accepted)
    assert found is not None
    assert compare(text(curves()), found).state is State.AS_ACCEPTED
    assert compare(text(curves()), found).notes == ()
    old, new = json.loads(accepted), json.loads(found)
    assert new["curve"] == old["curve"], "within tolerance, and not walked"
    assert {**new["metrics"], **old["metrics"]} == {**old["metrics"], **new["metrics"]}
    assert new["metrics"].keys() == json.loads(text(curves()))["metrics"].keys()
    assert new["environment"] == old["environment"]
    assert rewritten(text(curves()), found) is None


def test_a_completed_baseline_says_on_what_it_was_completed() -> None:
    found = rewritten(text(curves(torch="3.0")), earlier(without_metric, curves(torch="2.0")))
    assert found is not None
    content = json.loads(found)
    assert (content["environment"]["torch"], content["completed_on"]["torch"]) == ("2.0", "3.0")


def test_a_file_of_format_1_is_read_and_rewritten() -> None:
    content = json.loads(text(curves()))
    content |= {"format": 1, "spec": {**content.pop("defaults"), **content["spec"]}}
    content["tolerance"] = {**content["tolerance"][ACROSS], "from": "of old"}
    old = baselines.to_text(content)
    found = compare(text(curves()), old)
    assert found.state is State.AS_ACCEPTED
    assert "of format 1; " in found.notes[-1]
    assert compare(text(curves(CurveSpec("rung", layer=3))), old).state is State.REFUSED
    assert rewritten(text(curves()), old) == text(curves())


@pytest.mark.parametrize(
    ("accepted", "message"),
    [
        (earlier(lambda c: c["metrics"]["max_slope"].update(median=9.0)), "it is moved, and only its form is"),
        (earlier(lambda c: c["spec"].update(steps=20)), "it is refused, and only its form is rewritten"),
        ("{", "it is refused, and only its form"),
        ("", "it is new, and only its form"),
        (
            earlier(lambda c: (tolerances(100)(c), raised(c["metrics"]["max_slope"], 0.01))),
            "the code's tolerance does not accept what the file's did: median of max_slope",
        ),
        (
            earlier(without_metric, curves(device="NVIDIA H100")),
            "it was accepted on NVIDIA H100 and can be completed there alone, not on cpu x86_64",
        ),
    ],
)  # fmt: skip
def test_what_would_change_what_was_accepted_is_not_rewritten(accepted: str, message: str) -> None:
    with pytest.raises(MeasureError) as error:
        rewritten(text(curves()), accepted)
    assert message in str(error.value)


def test_the_record_of_a_baseline_tells_both_sides() -> None:
    row = regression.row("x.json", text(curves()), earlier(CHANGES["a number moved"][0]))
    assert row.state is State.MOVED
    assert row.measured is not None
    assert row.accepted is not None
    assert row.accepted.metrics["max_slope"].median == 9.0
    assert row.farthest[0].kind == "max_slope"
    assert row.tolerance["curve"] == 1e-5
    damaged = regression.row("x.json", text(curves()), "[" * 100_000)
    assert (damaged.state, damaged.accepted, damaged.farthest) == (State.REFUSED, None, ())
