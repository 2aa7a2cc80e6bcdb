"""How a measurement goes, as options of the commands: what they say is what Python is told."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import measure
from measure import Comparison, Frozen, MeasureError, Scaled, cli
from measure.commands import ways
from tests.conftest import random_prompts, tiny_network

RUNG = "ladder-olmo-1.1m"
PROMPTS = (" She went to the old house", " He came from a new place")
CHANGED = ["--path", "slerp", "--distance", "symmetric", "--read", "logits", "--patched", "-2", "--read-at", "-1"]
PARTS = ["--scale", "mlp:2-3:0.5", "--freeze", "attention:2"]
PYTHON: dict[str, Any] = {"path": "slerp", "distance": "symmetric", "read": "logits", "patched": -2}
MEANT = (Scaled("mlp", (2, 3), 0.5), Frozen("attention", (2, 2)))


def options(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    ways.add_options(parser)
    return parser.parse_args(given)


def test_without_options_all_is_as_usual() -> None:
    usual = {"path": "linear", "distance": "l2", "patched": -1, "read_at": -1, "interventions": ()}
    assert ways.asked(options()) == usual
    assert vars(options()) == ways.USUAL


def test_options_say_what_python_is_told() -> None:
    asked = ways.asked(options("--patched", "difference", "--read-at", "-2", *PARTS, "--scale", "attention:4:1e-3"))
    assert (asked["patched"], asked["read_at"]) == ("difference", -2)
    # Those scaled first, then those frozen.
    assert asked["interventions"] == (MEANT[0], Scaled("attention", (4, 4), 0.001), MEANT[1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ("--scale", "mlp:2-5"),
            "--scale 'mlp:2-5': expected PART:BLOCKS:FACTOR, such as mlp:2-5:0, the part being mlp",
        ),
        (("--scale", "norm:2:0"), "the part being mlp or attention"),
        (("--scale", "mlp:2-5:much"), "--scale 'mlp:2-5:much': expected PART:BLOCKS:FACTOR"),
        (("--scale", "mlp:2-5:nan"), "--scale 'mlp:2-5:nan': factor=nan: expected a finite number"),
        (("--scale", "mlp:5-2:0"), "--scale 'mlp:5-2:0': blocks=(5, 2): expected the first block and the last"),
        (("--freeze", "mlp:2-5:0"), "--freeze 'mlp:2-5:0': expected PART:BLOCKS, such as attention:2-5"),
        (("--freeze", "mlp"), "--freeze 'mlp': expected PART:BLOCKS"),
    ],
)
def test_what_cannot_be_read_is_refused(given: tuple[str, str], message: str) -> None:
    with pytest.raises(MeasureError) as raised:
        ways.asked(options(*given))
    assert message in str(raised.value)


def test_curve_and_sweep_measure_as_they_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = measure.interpolate(RUNG, *PROMPTS, steps=5, **PYTHON, interventions=MEANT)
    out = tmp_path / "curve.json"
    assert cli.main(["curve", RUNG, *PROMPTS, *CHANGED, *PARTS, "--steps", "5", "--save", str(out)]) == 0
    assert json.loads(out.read_text())[0]["edge_speed"] == pytest.approx(float(expected.edge_speed[0]))
    command = ["sweep", RUNG, *PROMPTS, *CHANGED, *PARTS, "--layer", "1", "--steps", "5", "--save", str(out)]
    assert cli.main(command) == 0
    assert json.loads(out.read_text())[0]["edge_speed"] == pytest.approx(float(expected.edge_speed[0]))
    plain = measure.interpolate(RUNG, *PROMPTS, steps=5, read="logits")
    assert abs(float(plain.edge_speed[0] - expected.edge_speed[0])) > 0.01
    assert cli.main(["curve", RUNG, *PROMPTS, "--scale", "mlp:2-9:0"]) == 2
    assert "blocks" in capsys.readouterr().err


def test_two_models_are_compared_as_they_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    networks = tiny_network("olmo"), tiny_network("llama")
    a, b = random_prompts([5] * 8), random_prompts([5] * 8, seed=1)
    pairs = list(zip(a, b, strict=True))
    found = measure.compare(*networks, pairs, steps=5, **PYTHON, interventions=[MEANT[0]])
    assert isinstance(found, Comparison)
    for side, network in zip((found.a, found.b), networks, strict=True):
        alone = measure.interpolate(network, a, b, steps=5, **PYTHON, interventions=[MEANT[0]])
        np.testing.assert_array_equal(side.distance, alone.distance)
    kl = measure.compare(*networks, pairs, steps=5, distance="kl")
    assert isinstance(kl, Comparison)
    assert kl.a.provenance["read"] == "logits"
    names = [f"ladder-olmo-1.1m@{one}" for one in ("step512-tokens2M", "main")]
    out = tmp_path / "compared.json"
    command = ["compare", *names, "--pairs", "6", *CHANGED, *PARTS, "--steps", "5", "--save", str(out)]
    assert cli.main(command) == 0
    told = {row["metric"]: row["difference"] for row in json.loads(out.read_text())}
    again = measure.compare(*names, pairs=6, steps=5, **PYTHON, interventions=MEANT)
    assert isinstance(again, Comparison)
    assert told["edge_speed"] == pytest.approx(again.effect("edge_speed").difference.estimate)
    assert cli.main(["compare", "EleutherAI/pythia-410m-deduped", "--path", "slerp"]) == 2
    assert "--path is for two models; EleutherAI/pythia-410m-deduped says its own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"path": "round"}, "path='round' is not known"),
        ({"distance": "kl", "read": "final_norm"}, "use read='logits'"),
        ({"patched": 0}, "positions are counted from the end"),
        ({"read_at": 1}, "positions are counted from the end"),
        ({"interventions": "mlp"}, "interventions is a str; expected a list of Scaled and Frozen"),
    ],
)
def test_a_way_that_is_none_is_refused_before_a_model_is_read(more: dict[str, Any], message: str) -> None:
    with pytest.raises(MeasureError) as raised:
        measure.compare("no-such-model", "another", [([1, 2], [1, 3])], **more)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"path": "arc"}, "path: None against 'arc'"),
        ({"distance": "symmetric"}, "distance: None against 'symmetric'"),
        ({"patched": -2}, "patched position: None against -2"),
        ({"interventions": [MEANT[0]]}, "interventions: None against ['scaled-mlp-2-3-0.5']"),
        ({"read": "logits"}, "read: 'final_norm' against 'logits'"),
    ],
)
def test_results_that_were_not_measured_alike_are_not_compared(more: dict[str, Any], what: str) -> None:
    network = tiny_network("olmo")
    a, b = random_prompts([5] * 3), random_prompts([5] * 3, seed=1)
    one, other = (measure.interpolate(network, a, b, steps=5, **changed) for changed in ({}, more))
    with pytest.raises(MeasureError) as raised:
        Comparison(one, other)
    assert str(raised.value) == f"the two results differ in their {what}; measure both alike."
