from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from measure.core import agreement, measurements, paths, predicting, reference
from measure.core.agreement import Choice
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Pairs
from measure.results.predictions import Predictions
from tests.conftest import tiny_model

STEPS, SPAN, LAYER = 11, 2, 2


def predictions(model: LoadedModel, pairs: Pairs, **given: Any) -> Predictions:
    call: dict[str, Any] = {
        "layer": LAYER,
        "reads": ["final_norm"],
        "steps": STEPS,
        "span": SPAN,
        "origin": {},
        **given,
    }
    return predicting.predictions(model, pairs, **call)[call["reads"][0]]


@torch.no_grad()
def plain_logits(model: LoadedModel, pairs: Pairs, row: int) -> np.ndarray:
    """(steps, tokens) by one plain forward for each alpha."""
    ids_a, ids_b = torch.tensor(pairs.a[row]), torch.tensor(pairs.b[row])
    a, b = (reference.reference_states(model, ids, LAYER)[-1] for ids in (ids_a, ids_b))
    points = [a + alpha * (b - a) for alpha in paths.alphas(STEPS)]
    return np.stack([reference.reference_read(model, ids_a, x, LAYER, "logits").numpy() for x in points]).astype(float)


@torch.no_grad()
def null_logits(model: LoadedModel, pairs: Pairs, row: int) -> np.ndarray:
    """(steps, tokens) where the final residual state runs straight from end to end and no block runs."""
    ids_a, ids_b = torch.tensor(pairs.a[row]), torch.tensor(pairs.b[row])
    a, b = (
        reference.reference_read(model, ids_a, reference.reference_states(model, ids, LAYER)[-1], LAYER, "residual")
        for ids in (ids_a, ids_b)
    )
    points = [a + alpha * (b - a) for alpha in paths.alphas(STEPS)]
    found = [reference.reference_read(model, ids_a, x, model.depth, "logits").numpy() for x in points]
    return np.stack(found).astype(float)


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@torch.no_grad()
def test_everything_is_what_plain_forwards_give(model: LoadedModel, pairs: Pairs) -> None:
    found = predictions(model, pairs)
    for row in range(len(pairs)):
        logits = plain_logits(model, pairs, row)
        with torch.no_grad():
            tops = [int(model.network(torch.tensor([p[row]])).logits[0, -1].argmax()) for p in (pairs.a, pairs.b)]
        assert found.end_tokens[row].tolist() == [str(top) for top in tops]
        np.testing.assert_array_equal(found.top_tokens[row], logits.argmax(axis=1))
        if tops[0] != tops[1]:
            difference = logits[:, tops[0]] - logits[:, tops[1]]
            np.testing.assert_allclose(found.logit_difference[row], difference, atol=1e-4)
            scaled = (difference - difference[0]) / (difference[-1] - difference[0])
            np.testing.assert_allclose(found.scaled_logit_difference[row], scaled, atol=1e-3)
        p = softmax(logits)
        bits = [jensenshannon(p[i], p[i + SPAN], base=2) ** 2 for i in range(STEPS - SPAN)]
        np.testing.assert_allclose(found.span_divergence[row], bits, atol=1e-5)
        assert found.end_divergence[row] == pytest.approx(jensenshannon(p[0], p[-1], base=2) ** 2, abs=1e-5)
        null = null_logits(model, pairs, row)
        assert np.abs(null - logits).max() > 1e-2
        np.testing.assert_array_equal(found.null.top_tokens[row], null.argmax(axis=1))
        if tops[0] != tops[1]:
            difference = null[:, tops[0]] - null[:, tops[1]]
            np.testing.assert_allclose(found.null_logit_difference[row], difference, atol=1e-4)
        p = softmax(null)
        bits = [jensenshannon(p[i], p[i + SPAN], base=2) ** 2 for i in range(STEPS - SPAN)]
        np.testing.assert_allclose(found.null_span_divergence[row], bits, atol=1e-5)
        a, b = (reference.reference_states(model, torch.tensor(p[row]), LAYER)[-1] for p in (pairs.a, pairs.b))
        assert found.separation[row] == pytest.approx(float((b - a).norm()), rel=1e-5)


def test_the_curve_is_that_of_the_curves(model: LoadedModel, pairs: Pairs) -> None:
    curves = measurements.curves(model, pairs, layer=LAYER, read="residual", steps=STEPS, origin={})
    found = predictions(model, pairs, reads=["residual"])
    np.testing.assert_allclose(found.distance, curves.distance, atol=1e-5)


def test_the_reference_path_gives_the_same(model: LoadedModel, pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = predictions(model, pairs)
    monkeypatch.setattr(agreement, "choose_path", lambda *_: Choice("reference", "asked for"))
    slow = predictions(model, pairs)
    assert slow.provenance["path"] == "reference"
    for name in ("distance", "logit_difference", "span_divergence", "end_divergence", "separation"):
        np.testing.assert_allclose(getattr(slow, name), getattr(fast, name), atol=2e-4, err_msg=name)
    np.testing.assert_array_equal(slow.end_tokens, fast.end_tokens)


def test_only_independent_pairs_are_measured(olmo: LoadedModel, pairs: Pairs) -> None:
    some = Pairs(pairs.a, pairs.b, (0, -1, 1, -1, 2, -1))
    assert len(predictions(olmo, some)) == 3


def test_equal_tops_have_no_logit_difference_and_are_counted() -> None:
    model = tiny_model("olmo")
    same = Pairs(((5, 6, 7),), ((5, 6, 7),), (0,))
    found = predictions(model, same)
    assert found.equal_tops.all()
    assert np.isnan(found.logit_deviation).all()
    assert np.isnan(found.flat_divergence).all()


def made(relative: np.ndarray, logits: np.ndarray, divergence: np.ndarray, tops: np.ndarray) -> Predictions:
    rows = len(relative)
    return Predictions(
        alphas=np.linspace(0, 1, relative.shape[1]),
        distance=relative,
        null_distance=relative,
        reference_norm=np.ones(rows),
        units=np.arange(rows),
        separation=np.ones(rows),
        last_tokens=np.zeros((rows, 2), int),
        end_tokens=np.full((rows, 2), "x"),
        top_tokens=tops,
        logit_difference=logits,
        end_divergence=divergence[:, 0],
        span_divergence=divergence,
    )


def test_windows_are_where_r_moves_least_and_most() -> None:
    relative = np.array([[0.0, 0.0, 0.1, 0.9, 1.0]])
    found = made(relative, 1 - 2 * relative, np.array([[0.01, 0.02, 0.8, 0.03]]), np.array([[7, 7, 7, 8, 8]]))
    assert found.span == 1
    assert found.flat_divergence == [0.01]
    assert found.straddling_divergence == [0.8]
    assert found.flat_agreement == [1.0]
    assert found.straddling_agreement == [0.0]


def test_a_logit_difference_that_follows_r_deviates_by_nothing_and_correlates() -> None:
    relative = np.array([[0.0, 0.0, 0.1, 0.9, 1.0], [0.0, 0.7, 0.8, 0.9, 1.0]])
    found = made(relative, 3 - 5 * relative, np.zeros((2, 4)), np.zeros((2, 5), int))
    np.testing.assert_allclose(found.logit_deviation, 0, atol=1e-12)
    np.testing.assert_allclose(found.logit_correlation, 1)
    assert found.logit_deviation_from_line[0] == pytest.approx(np.abs(relative[0] - np.linspace(0, 1, 5)).mean())
    assert found.logit_deviation_from_other[0] == pytest.approx(np.abs(relative[0] - relative[1]).mean())
    still = replace(found, logit_difference=np.ones((2, 5)))
    assert np.isnan(still.scaled_logit_difference).all()


def test_what_was_not_measured_along_the_null_is_no_agreement() -> None:
    """Files of older versions hold no predictions along the null."""
    relative = np.array([[0.0, 0.0, 0.1, 0.9, 1.0]])
    found = made(relative, 1 - 2 * relative, np.array([[0.01, 0.02, 0.8, 0.03]]), np.array([[7, 7, 7, 8, 8]]))
    assert np.isnan(found.null.span_agreement).all()
    assert np.isnan(found.null.flat_agreement).all()
    assert found.span_agreement.tolist() == [[1, 1, 0, 1]]
