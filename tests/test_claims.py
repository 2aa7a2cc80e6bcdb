"""What claims share, on curves whose answers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from measure import claims, stats
from measure.results import Curves
from measure.spec import MeasureError
from tests.test_results import concave, curves_of, line, sigmoid


def family(shape: float, seed: int, n: int = 60) -> Curves:
    """Sigmoids of slopes about `shape`, on the same prompts for every seed."""
    slopes = shape * np.exp(0.2 * np.random.default_rng(seed).normal(size=n))
    return prompted(curves_of(*(sigmoid(slope) for slope in slopes)))


def prompted(curves: Curves, prompts: str = "p", model: str = "m") -> Curves:
    return replace(curves, provenance={"prompts_sha256": prompts * 32, "model": model})


def outcomes(before: Curves, after: Curves, scrambled: Curves) -> list[str]:
    return [effect.outcome for effect in claims.sharper(before, after, scrambled, "x")]


def test_sharper_needs_a_steeper_slope_flatter_edges_and_more_than_shuffling_gives() -> None:
    blunt, sharp, straight = family(1.5, 0), family(3.0, 1), prompted(curves_of(*[line()] * 60))
    assert outcomes(blunt, sharp, straight) == ["supported"] * 3
    assert outcomes(sharp, blunt, straight)[:2] == ["contradicted"] * 2
    assert outcomes(blunt, blunt, straight)[:2] == ["inconclusive"] * 2
    assert outcomes(blunt, sharp, family(3.0, 2))[2] == "inconclusive"


def test_a_sharp_curve_without_plateaus_is_not_sharper() -> None:
    planted = prompted(curves_of(*[concave()] * 60))
    assert outcomes(family(1.5, 0), planted, planted) == ["supported", "contradicted", "inconclusive"]


def test_trends_and_onsets_follow_the_order() -> None:
    ordered = [family(shape, seed) for seed, shape in enumerate((1.2, 1.25, 2.0, 3.0))]
    assert [trend.outcome for trend in claims.sharpening_trends(ordered)] == ["supported"] * 2
    assert [trend.outcome for trend in claims.sharpening_trends(ordered[::-1])] == ["contradicted"] * 2
    assert claims.sharpening_trends(ordered[:2]) == ()
    assert claims.onsets("abcd", ordered) == ("onset (95 % band): max slope c, edge drift c",)
    assert claims.onsets("dcba", ordered[::-1]) == ("onset (95 % band): max slope None, edge drift None",)


def test_models_of_different_tokenizers_are_not_paired() -> None:
    one, other = family(1.5, 0), prompted(family(3.0, 1), "q", "other")
    with pytest.raises(MeasureError, match=r"found m on p{12}, other on q{12}\. Models with different tokenizers"):
        claims.sharper(one, other, one, "x")
    with pytest.raises(MeasureError, match="cannot be paired"):
        claims.sharpening_trends([one, one, other])


def test_one_size_or_revision_is_nothing_to_compare() -> None:
    with pytest.raises(MeasureError, match="needs two sizes or two revisions to compare; found 1"):
        claims.sharpening_trends([family(1.5, 0)])


def test_notes_carry_numbers() -> None:
    assert claims.null_note(family(2.0, 0)) == (
        "norm-only null of the last: max slope 1.00 [1.00, 1.00], edge drift 0.184 [0.184, 0.184]"
    )
    note = claims.seed_note([family(2.0, seed) for seed in range(3)])
    assert note.startswith("3 training seeds of the smallest: max slope ")


def test_mixed_by_a_coin_no_difference_is_left() -> None:
    flat, steep = family(4, seed=0), family(12, seed=1)
    one, other = claims.mixed(flat, steep)
    rise = stats.median_rise(one.by_unit("max_slope"), other.by_unit("max_slope"))
    assert stats.median_rise(flat.by_unit("max_slope"), steep.by_unit("max_slope")).low > 3
    assert rise.low < 0 < rise.high
    both = np.sort(np.stack([one.max_slope, other.max_slope]), axis=0)
    np.testing.assert_allclose(both, np.sort(np.stack([flat.max_slope, steep.max_slope]), axis=0))


def test_verdicts_of_strict_are_named_by_read() -> None:
    assert claims.under_strict("a", "inconclusive", "residual", "logits") == {
        "a-residual": "inconclusive",
        "a-logits": "inconclusive",
    }
