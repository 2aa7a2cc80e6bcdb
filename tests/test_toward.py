"""Where X goes in place of B: lengths, angles, directions of known distribution; curves against plain forwards."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch

from measure.claims import directions
from measure.core import measurements, reference, toward
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Pairs, Prompt
from measure.spec import CurveSpec, Interpolation, MeasureError, PredictionSpec, Toward, fields_of
from tests.conftest import random_prompts

KINDS: tuple[Toward, ...] = ("difference", "isotropic", "covariance")
PATHS: tuple[Interpolation, ...] = get_args(Interpolation)
WIDTH = 6


def states(count: int, width: int = WIDTH) -> tuple[Pairs, dict[Prompt, np.ndarray]]:
    """Pairs of prompts that share none, with states of a covariance that is far from even."""
    generator = np.random.default_rng(0)
    every = [(number, number + 1) for number in range(2 * count)]
    scale = np.geomspace(1, 30, width)
    rows = generator.standard_normal((len(every), width)) * scale + 5
    return Pairs(tuple(every[:count]), tuple(every[count:]), tuple(range(count))), dict(zip(every, rows, strict=True))


def sides(pairs: Pairs, clean: dict[Prompt, np.ndarray]) -> list[np.ndarray]:
    return [np.stack([clean[prompt] for prompt in side]) for side in (pairs.a, pairs.b)]


def turned(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles between rows."""
    return np.arccos((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_is_as_far_from_a_as_b_is(kind: Toward) -> None:
    pairs, clean = states(20)
    a, b = sides(pairs, clean)
    line, slerp, arc = (toward.ends_of(kind, path, pairs, clean, 0) for path in PATHS)
    np.testing.assert_allclose(np.linalg.norm(line - a, axis=1), np.linalg.norm(b - a, axis=1))
    for found in (arc, slerp):
        np.testing.assert_allclose(turned(a, found), turned(a, b))
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.linalg.norm(b, axis=1))
    # One direction: what of it lies across A is the same on the line and on the arc.
    across = [end - a * ((end * a).sum(1) / (a * a).sum(1))[:, None] for end in (line, arc)]
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in across]
    np.testing.assert_allclose(unit[0], unit[1], atol=1e-9)
    assert np.abs(line - b).max() > 1


def test_directions_have_the_covariance_that_they_are_named_for() -> None:
    pairs, clean = states(30)
    many = Pairs(pairs.a * 200, pairs.b * 200, pairs.units * 200)
    # Each row with a draw of its own.
    rows = {kind: [] for kind in ("isotropic", "covariance")}  # type: ignore[var-annotated]
    for seed in range(200):
        for kind, kept in rows.items():
            kept.append(toward._directions(kind, pairs, clean, seed))  # type: ignore[arg-type]
    assert len(many) == 6000
    expected = {"isotropic": np.eye(WIDTH), "covariance": np.cov(np.stack(list(clean.values())).T) * 59}
    for kind, kept in rows.items():
        found = np.cov(np.concatenate(kept).T, ddof=0)
        size = np.sqrt(np.outer(np.diag(expected[kind]), np.diag(expected[kind])))
        assert np.abs((found - expected[kind]) / size).max() < 0.08, kind


def test_differences_are_of_two_other_pairs_that_share_no_prompt() -> None:
    pairs, clean = states(8)
    names = {tuple(np.round(clean[b] - clean[a], 9)): (a, b) for a in pairs.a for b in pairs.b}
    chained = Pairs(pairs.a, (*pairs.a[1:], pairs.b[-1]), pairs.units)
    for given in (pairs, chained):
        names |= {tuple(np.round(clean[b] - clean[a], 9)): (a, b) for a in given.a for b in given.b}
        found = [names[tuple(np.round(row, 9))] for row in toward._directions("difference", given, clean, 0)]
        for row, (a, b) in enumerate(found):
            start, end = given.a.index(a), given.b.index(b)
            used = [{given.a[place], given.b[place]} for place in (row, start, end)]
            assert len(set().union(*used)) == 6


def test_what_is_drawn_for_a_pair_does_not_hang_on_the_others() -> None:
    pairs, clean = states(10)
    few = Pairs(pairs.a[3:5], pairs.b[3:5], (0, 1))
    both = [toward.ends_of("isotropic", "linear", some, clean, 0) for some in (pairs, few)]
    np.testing.assert_array_equal(both[0][3:5], both[1])
    assert np.abs(toward.ends_of("isotropic", "linear", few, clean, 1) - both[1]).min() > 1e-6


def test_where_there_is_no_length_or_no_arc_the_end_is_b() -> None:
    pairs, clean = states(4)
    a = clean[pairs.a[0]]
    clean |= {pairs.b[0]: a, pairs.b[1]: -2 * clean[pairs.a[1]], pairs.b[2]: np.zeros(WIDTH)}
    for kind in KINDS:
        line, arc = (toward.ends_of(kind, path, pairs, clean, 0) for path in (PATHS[0], PATHS[2]))
        np.testing.assert_allclose(line[0], a)
        np.testing.assert_allclose(arc[0], a)
        np.testing.assert_array_equal(arc[1:3], sides(pairs, clean)[1][1:3])


def test_too_few_other_pairs_are_told() -> None:
    pairs, clean = states(2)
    said = "made of two other pairs that share no prompt, and beside pair 1 of 2 found 1; give more pairs, or take"
    with pytest.raises(MeasureError, match=re.escape(said)):
        toward.ends_of("difference", "linear", pairs, clean, 0)


def measured(model: LoadedModel, spec: CurveSpec, pairs: Pairs) -> Any:
    return measurements.measure_specs([spec], model, pairs, origin={})[0]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
def test_curves_are_those_of_plain_forwards(model: LoadedModel, kind: Toward, path: Interpolation) -> None:
    """Each point put into a whole forward of its own, and KL(F(A) || F(X)) by hand."""
    a, b = (random_prompts([6, 6, 4, 6], seed) for seed in (3, 4))
    pairs, spec = Pairs(a, b, (0, 1, 2, 3)), CurveSpec("m", read="logits", distance="kl", steps=4, layer=2)
    spec = replace(spec, toward=kind, path=path)
    found = measured(model, spec, pairs)
    assert found.provenance["toward"] == kind
    with torch.no_grad():
        clean = {p: reference.reference_states(model, torch.tensor(p), 2)[-1].double().numpy() for p in (*a, *b)}
        ends = toward.ends_of(kind, path, pairs, clean, 0)
        for row, prompt in enumerate(a):
            start = clean[prompt]
            line = [start + alpha * (ends[row] - start) for alpha in np.linspace(0, 1, 4)]
            if path != "linear":
                angle = turned(start[None], ends[row][None])[0]
                unit = start / np.linalg.norm(start)
                side = ends[row] - (ends[row] @ unit) * unit
                side /= np.linalg.norm(side)
                last = np.linalg.norm(ends[row]) if path == "slerp" else np.linalg.norm(start)
                norms = np.linspace(np.linalg.norm(start), last, 4)
                line = [n * (np.cos(t * angle) * unit + np.sin(t * angle) * side)
                        for n, t in zip(norms, np.linspace(0, 1, 4), strict=True)]  # fmt: skip
            logits = [
                reference.reference_read(
                    model, torch.tensor(prompt)[None], torch.tensor(x, dtype=torch.float32)[None], 2, "logits"
                )[0].double()
                for x in line
            ]
            logs = [one.log_softmax(-1) for one in logits]
            plain = [float((logs[0].exp() * (logs[0] - log)).sum()) for log in logs]
            np.testing.assert_allclose(found.distance[row], plain, rtol=1e-4, atol=1e-7)


def test_measured_curves_have_blow_up_lengths_and_exponents(olmo: LoadedModel) -> None:
    a, b = (random_prompts([6, 6, 4, 6], seed) for seed in (3, 4))
    spec = CurveSpec("m", read="logits", distance="kl", steps=21, toward="isotropic")
    found = measured(olmo, spec, Pairs(a, b, (0, 1, 2, 3)))
    assert np.isfinite(directions.lateness(found)).all()
    assert np.isfinite(directions.power(found)).all()


def test_toward_b_a_spec_is_as_it_was() -> None:
    assert "toward" not in fields_of(CurveSpec("m"))
    assert fields_of(CurveSpec("m", toward="isotropic"))["toward"] == "isotropic"
    assert CurveSpec("m", toward="isotropic").id == "m-towardisotropic"


def test_directions_that_are_not_known_and_predictions_are_refused() -> None:
    with pytest.raises(MeasureError, match="toward='c' is not known; choose one of b, difference, isotropic, covar"):
        CurveSpec("m", toward="c")  # type: ignore[arg-type]
    with pytest.raises(MeasureError, match="toward='isotropic': predictions are compared with B's own; take curves"):
        PredictionSpec("m", toward="isotropic")


def test_after_several_layers_each_has_ends_of_its_own(olmo: LoadedModel) -> None:
    a, b = (random_prompts([6, 6, 6, 6], seed) for seed in (3, 4))
    pairs = Pairs(a, b, (0, 1, 2, 3))
    specs = [
        CurveSpec("m", read="logits", distance="kl", steps=4, toward="covariance", layer=layer) for layer in (1, 2, 3)
    ]
    many = measurements.measure_specs(specs, olmo, pairs, origin={})
    for spec, found in zip(specs, many, strict=True):
        alone = measured(olmo, spec, pairs)
        np.testing.assert_allclose(found.distance, alone.distance, rtol=1e-4, atol=1e-7)  # type: ignore[attr-defined]
        assert found.provenance["layer"] == spec.layer
