from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from measure.harness.engines.protocol import Load, load_of
from measure.harness.items import title_of
from measure.names import ModelRef, Title, Weights
from measure.spec import ConfigSpec, CurveSpec, Frozen, PredictionSpec, Scaled, SliceSpec, Spec

BASELINES = sorted((Path(__file__).parent.parent / "baselines").glob("test_*/*.json"))

# Suites whose tests have shorter ids than their specs.
OWN_IDS = ("test_polytopes", "test_semantics", "test_similarity")


def spec_of(content: dict[str, Any]) -> Spec:
    """The spec of a baseline, of the kind that has its fields."""
    names = content["spec"].keys() | content["defaults"].keys()
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in content["spec"].items()}
    changed = fields.get("interventions", ())
    fields["interventions"] = tuple((Scaled if "factor" in one else Frozen)(**one) for one in changed)
    made = PredictionSpec if "span" in names else SliceSpec if "size" in names else CurveSpec
    return made(**{name: value for name, value in fields.items() if value != ()})


def test_every_baseline_has_the_name_that_its_spec_has_once_parsed_and_printed() -> None:
    assert len(BASELINES) > 600
    for path in BASELINES:
        spec = spec_of(json.loads(path.read_text()))
        printed = dataclasses.replace(spec, model=str(spec.ref), weights=str(Weights.parse(spec.weights)))
        assert printed == spec
        # Of models of the hub and the index other numbers of pairs are drawn than their tests name.
        named = {printed.id, re.sub("-pairs[0-9]+", "", printed.id)}
        if path.parent.name in OWN_IDS:
            assert path.name.startswith(f"test_baseline[{printed.ref.name}")
        else:
            assert path.name in {f"test_baseline[{name}].json" for name in named}


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [("m", "m", ""), ("a/b@step1", "a/b", "step1"), ("hf://a/b@x@y", "hf://a/b", "x@y")],
)
def test_a_model_is_taken_apart_at_the_first_at(text: str, name: str, revision: str) -> None:
    assert ModelRef.parse(text) == ModelRef(name, revision) == CurveSpec(text).ref
    assert str(ModelRef(name, revision)) == text


def test_weights_tell_kind_seed_and_what_is_changed() -> None:
    stored, whole, later = map(Weights.parse, ("stored", "scrambled:2", "rows_after_3:07"))
    assert (stored.is_stored, whole.is_stored, later.is_stored) == (True, False, False)
    assert (whole.kind, whole.seed, whole.change) == ("scrambled", 2, "")
    assert (later.kind, later.seed, later.change) == ("rows_after_3", 7, "rows")
    assert (str(stored), str(later)) == ("stored", "rows_after_3:07")


def test_a_load_tells_what_it_needs() -> None:
    loads = [load_of(CurveSpec("m@main", weights=kind)) for kind in ("stored", "scrambled:0", "untrained:0")]
    assert [load.needs_weights for load in loads] == [True, True, False]
    config = load_of(ConfigSpec("m"))
    assert (config.is_config, config.needs_weights, loads[2].is_config) == (True, False, False)
    # As workers are told of it, and files are named by it.
    assert json.dumps(loads[1]) == '["m", "scrambled:0", "float32"]'
    assert Load(*json.loads(json.dumps(loads[1]))) == loads[1]


@pytest.mark.parametrize("claim", ["Curves exist (Fig. 0)", Title("Curves exist", place="Fig. 0")])
def test_records_tell_a_title_as_they_tell_a_text(claim: str | Title) -> None:
    item: Any = SimpleNamespace(get_closest_marker=lambda _: None, module=SimpleNamespace(CLAIM=claim))
    assert title_of(item) == ("Curves exist (Fig. 0)", "Fig. 0)")
