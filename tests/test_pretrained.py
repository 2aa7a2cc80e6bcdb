"""A pretrained model of the package index, where it is here: what is measured on it is what plain forwards give."""

from __future__ import annotations

import numpy as np
import pytest

import measure
from measure.core import measurements
from measure.hub import shelf
from measure.models import loading as models
from measure.prompts import drawn as prompts

NAME = "smollm2-135m-instruct"

pytestmark = pytest.mark.skipif(not shelf.is_cached(NAME), reason=shelf.how_to_get(NAME))


@pytest.fixture(scope="module")
def model() -> models.LoadedModel:
    return models.load(NAME)


def test_the_fast_path_gives_what_plain_forwards_give(model: models.LoadedModel) -> None:
    words = [model.tokenizer(text)["input_ids"] for text in (" The house at the end of the street", " He took his hat")]
    other = [
        model.tokenizer(text)["input_ids"] for text in (" She opened the letter and began", " It was on the table")
    ]
    a, b = (tuple(tuple(row) for row in side) for side in (words, other))
    pairs = prompts.Pairs(a, b, (0, 1))
    given = {"layer": 1, "read": "final_norm", "steps": 6, "origin": {}}
    fast, reference = (run(model, pairs, **given) for run in (measurements.fast_curves, measurements.reference_curves))  # type: ignore[operator]
    scale = reference.reference_norm[:, None]
    np.testing.assert_allclose(fast.distance / scale, reference.distance / scale, atol=1e-5)


def test_the_papers_first_dissimilar_pair_jumps_and_its_first_similar_one_hardly(model: models.LoadedModel) -> None:
    """D1 and S1 as printed."""
    dissimilar = measure.interpolate(
        model, " The house at the end of the street was very", " The house at the end of the street was in"
    )
    similar = measure.interpolate(
        model, " She opened the dusty book and a cloud of mist", " She opened the dusty book and a cloud of dust"
    )
    assert dissimilar.max_slope[0] == pytest.approx(6.17, abs=0.05)
    assert similar.max_slope[0] == pytest.approx(1.34, abs=0.05)
    assert dissimilar.edge_speed[0] < 0.5 * dissimilar.null.edge_speed[0]
    assert dissimilar.provenance["gguf"]["types"] == {"F32": 61, "Q4_1": 210, "Q8_0": 1}
