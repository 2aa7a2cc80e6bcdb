"""Today's kinds: their ids, addresses, baselines and records are what they were before each had a file."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from measure import kinds
from measure.harness import baselines, recording
from measure.harness.engines import estimates, store
from measure.kinds import Kind
from measure.results import Result, metrics
from measure.spec import (
    AnySpec,
    ConfigSpec,
    CrossingSpec,
    CurveSpec,
    MeasureError,
    PredictionSpec,
    Scaled,
    SliceSpec,
    Spec,
    fields_of,
)

BASELINES = sorted(
    path for path in (Path(__file__).parent.parent / "baselines").glob("*/*.json") if path.parent.name != "verdicts"
)
ODD = CurveSpec(
    "a/b@r", weights="scrambled:0", layer=2, read="block:3", protocol="strict", seed=1, corpus="x/y.txt", steps=9,
    precision="bfloat16", pairs=4, pairing="similar", rows="independent", path="arc", distance="cosine",
    interventions=(Scaled("mlp", (1, 2), 0.5),),
)  # fmt: skip
# Ids, and addresses of a store whose measuring source hashes to "s".
ADDRESSES: list[tuple[Spec, str, str]] = [
    (CurveSpec("m"), "m", "cbed18372a257cb8da3abb52e3a1c90c03d3abe537c66a89bb4831ef090b34be"),
    (ODD, "a--b-r-scrambled0-layer2-readblock3-protocolstrict-seed1-corpusy.txt-28528849-precisionbfloat16-steps9-"
     "pairs4-pairingsimilar-rowsindependent-patharc-distancecosine-scaled-mlp-1-2-0.5",
     "a086a94336e3eae48a980ee5564948cb6d82678ffc97db2bfa963fdc7feee7c5"),
    (PredictionSpec("m", span=4), "m-prediction-span4",
     "4089a8e1e84732b71aaec3cb625a8a99ad3fc912bc31fa23aa7473834884d6f3"),
    (CrossingSpec("m", read="residual"), "m-crossing-readresidual",
     "c5dc2d2653d1d97e6c3b0a55c4bf7e274f97e109f0f37174749145e97ce94c83"),
    (SliceSpec("m", size=8, triples=2, read="logits"), "m-slice-readlogits-size8-triples2",
     "a8b6baeb81f44ebce5a514cbadc2e45f94f8f2eef682b228b1122c3bb1d5bf24"),
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(ADDRESSES)))
def test_ids_and_addresses_are_what_they_were(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, name, address = ADDRESSES[place]
    monkeypatch.setattr(store, "source_hash", lambda: "s")
    assert (spec.id, store.key(spec, {"a": "b"})) == (name, address)


def test_a_config_is_named_as_it_was() -> None:
    assert ConfigSpec("a/b@r").id == "a--b-r-config"
    assert fields_of(ConfigSpec("a/b@r")) == {"model": "a/b@r"}


@cache
def content(path: Path) -> tuple[str, dict[str, Any]]:
    text = path.read_text()
    return text, baselines.parse(text)


def kind_of(held: dict[str, Any]) -> Kind:
    """The kind that a baseline is of: the one with its form and its defaults."""
    whole = {**held["defaults"], **held["spec"]}
    forms = [kind for kind in kinds.every() if kind.held == held["kind"]]
    fits = [kind for kind in forms if baselines._parted(kind, whole)[1] == held["defaults"]]
    assert len(fits) == 1
    return fits[0]


def spec_of(held: dict[str, Any]) -> AnySpec:
    whole = {**held["defaults"], **held["spec"]}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in whole.items()}
    if "interventions" in given:
        given["interventions"] = tuple(Scaled(**one) for one in given["interventions"])
    return kind_of(held).spec(**given)


def test_every_baseline_is_of_one_kind_and_is_written_as_it_stands() -> None:
    assert len(BASELINES) > 600
    seen: dict[str, int] = {}
    for path in BASELINES:
        text, held = content(path)
        kind, spec = kind_of(held), spec_of(held)
        seen[kind.name] = seen.get(kind.name, 0) + 1
        assert kinds.of(spec) is kind
        # Of old with every number in a line of its own.
        assert text in (baselines.to_text(held), json.dumps(held, indent=1) + "\n")
        assert baselines._parted(kind, fields_of(spec)) == (held["spec"], held["defaults"])
        groups = {name: held[name] for name in ("curve", "metrics", "null_metrics", "scale", "triples") if name in held}
        allowed = baselines._tolerances_of(kind, groups)
        # Of old with those of other kinds too.
        there = {of: {n: value for n, value in held["tolerance"][of].items() if n in allowed[of]} for of in allowed}
        assert json.dumps(there) == json.dumps(allowed)
        assert held["tolerance"]["from"] == kind.tolerance_from
        assert spec.id
    assert set(seen) >= {"curves", "predictions", "crossings", "slices"}


def test_every_kind_says_all_that_is_asked_of_it() -> None:
    known = {one.name: one for one in kinds.every()}
    assert set(known) >= {"curves", "predictions", "crossings", "slices", "config"}
    for name, one in known.items():
        assert callable(one.measuring())
        assert one.recorded is not None
        assert one.runs == bool(one.metrics)
        assert one.result is Result._kinds.get(name, one.result)
        assert all(metrics.TABLE[metric.name] is metric for metric in one.metrics)


def test_a_spec_is_of_the_kind_of_its_own_type() -> None:
    assert kinds.of(CurveSpec("m")).name == "curves"
    assert kinds.of(PredictionSpec("m")).name == "predictions"
    with pytest.raises(MeasureError, match="^Spec is no spec of a known kind; register its kind with measure.kinds"):
        kinds.of(Spec("m"))


@pytest.mark.parametrize(
    ("spec", "points", "logits"),
    [
        (CurveSpec("m", pairs=8, steps=5), (8, 5), 0),
        (CurveSpec("m", pairs=8, steps=5, read="logits"), (8, 5), 40),
        (PredictionSpec("m", pairs=8), (4, 51), 4 * 51),
        (CrossingSpec("m", pairs=8), (4, 129), 0),
        (SliceSpec("m", size=4, triples=2), (6, 19), 2 * 19),
    ],
)
def test_points_and_logits_are_reckoned_as_before(spec: Spec, points: tuple[int, int], logits: int) -> None:
    assert estimates.run_points(spec) == points
    assert estimates.logit_points(spec) == logits


def test_a_spec_of_no_prompts_keeps_none() -> None:
    assert not recording.keeps_prompts(ConfigSpec("m"), ValueError("no"))
