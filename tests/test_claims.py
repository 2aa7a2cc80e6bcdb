"""What claims share, on curves whose answers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from measure import claims, stats
from measure.claims.accepted import Accepted
from measure.results import Curves
from measure.spec import CurveSpec, MeasureError, NotMeasuredError
from measure.stats import Effect, Interval, Verdict
from tests.test_metrics import ALPHAS, along, half_circle, returning
from tests.test_results import concave, curves_of, sigmoid


def family(shape: float, seed: int, n: int = 60) -> Curves:
    """Straight paths whose r is a sigmoid of a slope about `shape`, on the same prompts for every seed."""
    slopes = shape * np.exp(0.1 * np.random.default_rng(seed).normal(size=n))
    return prompted(curves_of(*(sigmoid(slope) for slope in slopes)))


def prompted(curves: Curves, prompts: str = "p", model: str = "m") -> Curves:
    return replace(curves, provenance={"prompts_sha256": prompts * 32, "model": model})


def outcomes(*effects: Effect) -> list[str]:
    return [effect.outcome for effect in effects]


def paths(path: np.ndarray, n: int = 60) -> Curves:
    return prompted(along(*[path] * n))


def test_a_plateau_is_steep_slow_at_its_ends_and_near_them() -> None:
    assert outcomes(*claims.plateau(family(4.0, 0))) == ["supported"] * 3
    assert outcomes(*claims.jumps(family(4.0, 0))) == ["supported"] * 3


def test_a_straight_line_has_no_plateau() -> None:
    line = prompted(curves_of(*[ALPHAS] * 60))
    assert outcomes(*claims.plateau(line)) == ["inconclusive"] * 3
    # It makes no detour, which is all that the last part of a jump asks.
    assert outcomes(*claims.jumps(line)) == ["inconclusive", "inconclusive", "supported"]


def test_a_way_out_and_back_is_slow_at_its_ends_and_no_plateau() -> None:
    found = claims.plateau(paths(returning()))
    assert outcomes(*found) == ["supported", "supported", "inconclusive"]


def test_a_bent_path_of_even_speed_is_a_bend() -> None:
    found = claims.jumps(paths(half_circle()))
    assert outcomes(*found)[1:] == ["inconclusive", "contradicted"]


def test_steep_at_one_end_is_no_plateau() -> None:
    assert outcomes(*claims.plateau(prompted(curves_of(*[concave()] * 60)))) == [
        "supported",
        "contradicted",
        "contradicted",
    ]


def test_sharper_asks_for_more_of_each() -> None:
    blunt, sharp = family(1.5, 0), family(3.0, 1)
    assert outcomes(*claims.sharper(blunt, sharp, "x")) == ["supported"] * 3
    assert outcomes(*claims.sharper(sharp, blunt, "x"))[:2] == ["contradicted"] * 2
    assert outcomes(*claims.sharper(blunt, blunt, "x"))[:2] == ["inconclusive"] * 2


def test_what_the_null_has_too_is_no_sharpening() -> None:
    """A curve that is its own null, however sharp, has nothing beyond it."""
    blunt, sharp = family(1.5, 0), family(3.0, 1)
    bent = replace(
        sharp,
        null_distance=sharp.distance,
        null_step_distance=sharp.step_distance,
        null_end_side_distance=sharp.end_side_distance,
    )
    assert "supported" not in outcomes(*claims.sharper(blunt, bent, "x"))[:2]
    assert "supported" not in outcomes(*claims.plateau(bent))


def test_near_linear_is_told_from_a_jump() -> None:
    assert outcomes(*claims.near_linear(prompted(curves_of(*[ALPHAS] * 60)), "x")) == ["supported"] * 2
    assert outcomes(*claims.near_linear(family(3.0, 0), "x")) == ["contradicted"] * 2


def test_trends_and_onsets_follow_the_order() -> None:
    ordered = [family(shape, seed) for seed, shape in enumerate((1.2, 1.21, 2.0, 3.0))]
    assert [trend.outcome for trend in claims.sharpening_trends(ordered)] == ["supported"] * 2
    assert [trend.outcome for trend in claims.sharpening_trends(ordered[::-1])] == ["contradicted"] * 2
    assert claims.sharpening_trends(ordered[:2]) == ()
    assert claims.onsets("abcd", ordered) == ("onset (95 % band): max slope c, edge speed c",)
    assert claims.onsets("dcba", ordered[::-1]) == ("onset (95 % band): max slope None, edge speed None",)


def test_models_of_different_tokenizers_are_not_paired() -> None:
    one, other = family(1.5, 0), prompted(family(3.0, 1), "q", "other")
    with pytest.raises(MeasureError, match=r"found m on p{12}, other on q{12}\. Models with different tokenizers"):
        claims.sharper(one, other, "x")
    with pytest.raises(MeasureError, match="cannot be paired"):
        claims.sharpening_trends([one, one, other])


def test_one_size_or_revision_is_nothing_to_compare() -> None:
    with pytest.raises(MeasureError, match="needs two sizes or two revisions to compare; found 1"):
        claims.sharpening_trends([family(1.5, 0)])


def test_notes_carry_numbers() -> None:
    note = claims.null_note(family(2.0, 0))
    assert note.startswith("the last, and its norm-only null: max slope ")
    assert "null 1.00 [1.00, 1.00]; edge speed " in note
    assert note.endswith("null 0.184 [0.184, 0.184]")
    note = claims.seed_note([family(2.0, seed) for seed in range(3)])
    assert note.startswith("3 training seeds of the smallest: max slope ")


def test_planted_curves_have_what_claims_ask_for() -> None:
    flat = prompted(curves_of(*[ALPHAS] * 60))
    assert outcomes(*claims.plateau(claims.planted(flat))) == ["supported"] * 3
    np.testing.assert_allclose(claims.planted(flat).detour, 1)
    grown = claims.planted_growth([flat] * 4)
    assert [trend.outcome for trend in claims.sharpening_trends(grown)] == ["supported"] * 2
    np.testing.assert_array_equal(grown[0].distance, flat.null_distance)


def test_counterfeits_are_named_and_drawn() -> None:
    spec = CurveSpec("m@main", layer=2)
    found = claims.counterfeits(spec, 1)
    assert tuple(found) == claims.KINDS
    assert found["later blocks shuffled"].weights == "shuffled_after_2:1"
    assert found["all weights shuffled"].weights == "scrambled:1"
    assert all(one.rows == "independent" and one.layer == 2 for one in found.values())
    assert tuple(claims.counterfeits(spec, kinds=claims.KINDS[:2])) == claims.KINDS[:2]


def test_controls_take_every_draw_and_the_first_keeps_its_id() -> None:
    cases = [pytest.param(CurveSpec("m@main"), id="m")]
    found = claims.controls(cases, claims.counterfeits)
    assert [param.id for param in found] == ["m", "m-draw1", "m-draw2"]
    drawn = [param.values[1]["all weights shuffled"].weights for param in found]  # type: ignore[index]
    assert drawn == ["scrambled:0", "scrambled:1", "scrambled:2"]


def verdict(estimate: float, margin: float = 0.1, draws: tuple[str, ...] = ()) -> Verdict:
    return Verdict((Effect("e", Interval(estimate, estimate - 0.02, estimate + 0.02, 40), margin),), draws=draws)


def test_a_planted_claim_that_is_not_supported_fails_its_control() -> None:
    claim = claims.Claim("m")
    claim.confirm({"planted": verdict(0.5)})
    assert set(claim.planted) == {"planted"}
    with pytest.raises(pytest.fail.Exception, match=r"data built to support it:\n  weak: inconclusive"):
        claim.confirm({"weak": verdict(0.1)})
    with pytest.raises(pytest.fail.Exception, match="none was given"):
        claim.confirm({})


def test_an_accepted_negative_is_held_to_its_effect() -> None:
    known = Accepted({"e": (0.05, 0.03, 0.07)}, {})
    accepted = {"m": "inconclusive"}
    with pytest.raises(pytest.xfail.Exception):
        claims.Claim("m", known=known).check(verdict(0.06), accepted)
    for moved in (0.02, -0.05, 0.09):
        claim = claims.Claim("m", known=known)
        with pytest.raises(pytest.fail.Exception, match=r"than were accepted:\n  e: accepted \+0\.050"):
            claim.check(verdict(moved), accepted)
        assert claim.drift
    gone = Accepted({"f": (0.05, 0.03, 0.07)}, {})
    with pytest.raises(pytest.fail.Exception, match=r"measured no more"):
        claims.Claim("m", known=gone).check(verdict(0.06), accepted)


def test_a_verdict_that_another_draw_does_not_share_is_inconclusive() -> None:
    steady, flips = (Accepted({}, {"1": "supported", "2": second}) for second in ("supported", "inconclusive"))
    claims.Claim("m", known=steady).check(verdict(0.5))
    with pytest.raises(pytest.fail.Exception, match="expected the claim to be supported, measured: inconclusive"):
        claims.Claim("m", known=flips).check(verdict(0.5))
    with pytest.raises(pytest.xfail.Exception):
        claims.Claim("m", known=flips).check(verdict(0.5), {"m": "inconclusive"})


def test_on_another_sample_a_verdict_is_told_and_not_held() -> None:
    claim = claims.Claim("m", known=Accepted({"e": (0.05, 0.03, 0.07)}, {"1": "supported"}), held=False)
    claim.check(verdict(0.06), {"m": "contradicted"})
    assert claim.verdict is not None
    assert (claim.verdict.outcome, claim.expected) == ("inconclusive", "inconclusive")


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


def test_below_six_last_tokens_nothing_is_measured() -> None:
    """Pairs of five kinds of last tokens, however many, are five pairs."""
    few = replace(family(4.0, 0), last_tokens=np.stack([np.arange(60) % 5, np.arange(60) % 5], axis=1))
    verdict = Verdict(claims.plateau(few))
    assert verdict.outcome == "not measured"
    with pytest.raises(NotMeasuredError, match=r"\(n = 60\); measure more pairs.* 6 different last tokens"):
        claims.Claim("m").check(verdict)
    enough = replace(few, last_tokens=np.arange(120).reshape(60, 2))
    assert Verdict(claims.plateau(enough)).outcome == "supported"


def test_pairs_that_share_a_last_token_make_intervals_wider() -> None:
    effect = np.repeat(np.random.default_rng(0).normal(size=10), 6)
    shared = np.repeat(np.arange(10), 6)
    alone = family(4.0, 0)
    alike = replace(alone, last_tokens=np.stack([shared, 100 + np.arange(60)], axis=1))
    one, other = (claims.level(lambda curves: effect, curves) for curves in (alone, alike))
    assert other.high - other.low > 1.5 * (one.high - one.low)


def test_a_control_of_nothing_is_none() -> None:
    with pytest.raises(pytest.fail.Exception, match="given no counterfeit, and a control that cannot fail is none"):
        claims.Claim("m").refute({})


def test_how_narrow_a_path_is_does_not_depend_on_from_where_one_looks() -> None:
    """Round a half circle at even speed r is steep at first and then flat; the path itself is as wide as a line."""
    round_about = paths(half_circle())
    assert round_about.transition_width[0] < 0.7
    np.testing.assert_allclose(claims.narrowness(round_about), 0, atol=1e-6)
    assert (claims.narrowness(family(4.0, 0)) > 0.5).all()


def test_a_control_knows_which_counterfeits_it_is_to_refute() -> None:
    made = claims.controls([pytest.param("case", id="case")], lambda _, draw: {"rows": draw, "shuffled": draw}, draws=2)
    marks = [getattr(mark, "mark", mark) for param in made for mark in param.marks]
    assert [mark.args for mark in marks] == [(0,), (1,)]
    assert all(mark.kwargs == {"named": ("rows", "shuffled")} for mark in marks)


def test_a_counterfeit_named_and_left_out_is_told() -> None:
    claim = claims.Claim("case", named=["norm-only null", "shuffled"])
    with pytest.raises(pytest.fail.Exception, match="named for this claim and not refuted: shuffled"):
        claim.refute({"norm-only null": verdict(-1.0)})


def test_two_counterfeits_of_one_verdict_are_told() -> None:
    claim = claims.Claim("case", named=["rows", "shuffled"])
    with pytest.raises(pytest.fail.Exception, match="'rows' and 'shuffled' gave the same verdict to the last digit"):
        claim.refute({"rows": verdict(-1.0), "shuffled": verdict(-1.0)})
    claim.refute({"rows": verdict(-1.0), "shuffled": verdict(-1.1), "null": verdict(-1.1)})
