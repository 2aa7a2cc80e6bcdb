"""Training runs as units: effects over seeds of one recipe, on kept runs whose answers are known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from measure import claims
from measure.claims import over_runs
from measure.ladder import seeds
from measure.ladder.seeds import Checkpoint, SeedRun
from measure.stats import Interval
from tests.test_claims import family as curves

TEMPLATE = seeds.load("olmo", "1.1m")[0]


def alone(value: float) -> Interval:
    return Interval(value, value, value, 400)


def checkpoint(steep: float, speed: float, null: float = 0.9) -> Checkpoint:
    return Checkpoint(
        weights_sha256="a" * 64,
        quartiles=(),
        curve={"edge_speed": alone(speed)},
        null={"edge_speed": alone(null)},
        beyond_null={"max_slope": alone(steep)},
    )


def kept(family: str, size: str, steep: list[float], speed: float = 0.45) -> list[SeedRun]:
    return [
        replace(
            TEMPLATE,
            rung={"family": family, "size": size, "seed": number},
            seed=number,
            recipe_sha256="r",
            untrained=checkpoint(0.02, 0.9),
            trained=checkpoint(value, speed),
        )
        for number, value in enumerate(steep)
    ]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], list[SeedRun]]:
    found: dict[tuple[str, str], list[SeedRun]] = {}
    monkeypatch.setattr(seeds, "load", lambda family, size: tuple(found.get((family, size), ())))
    return found


def test_an_effect_of_a_checkpoint_is_beyond_its_own_null() -> None:
    assert over_runs.steepness(checkpoint(0.5, 0.45)) == 0.5
    assert over_runs.slowness(checkpoint(0.5, 0.45)) == pytest.approx(math.log(2))


def test_a_mean_over_runs_has_students_interval() -> None:
    found = over_runs.paired([1.0, 2.0, 3.0])
    assert (found.estimate, found.n) == (2.0, 3)
    # t of two degrees of freedom, 4.3027, times 1 / sqrt(3).
    assert (found.low, found.high) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-4)


def test_a_difference_over_different_runs_has_welchs_interval() -> None:
    found = over_runs.between([1.0, 2.0, 3.0], [5.0, 6.0, 7.0, 8.0])
    assert (found.estimate, found.n) == (4.5, 7)
    assert 2.2 < found.low < 2.4 < found.estimate < found.high < 6.8
    assert found.high - found.estimate == pytest.approx(found.estimate - found.low)


def test_training_is_told_from_untrained_to_trained(runs: dict[tuple[str, str], list[SeedRun]]) -> None:
    runs["olmo", "0.2m"] = kept("olmo", "0.2m", [0.5, 0.6, 0.7])
    [line] = over_runs.along_training("ladder-olmo-0.2m")
    assert line.startswith("over 3 training runs (n = runs): steeper over null +0.580 [+0.332, +0.828]; slower")
    assert "+0.693 [" in line


def test_sizes_are_told_from_the_smallest_to_the_largest_of_enough_runs(
    runs: dict[tuple[str, str], list[SeedRun]],
) -> None:
    runs["olmo", "0.2m"] = kept("olmo", "0.2m", [0.5, 0.6, 0.7, 0.6])
    runs["olmo", "1.1m"] = kept("olmo", "1.1m", [0.9, 1.0, 1.1])
    runs["olmo", "3m"] = kept("olmo", "3m", [2.0])
    [line] = over_runs.by_size("ladder-olmo", ("0.2m", "1.1m", "3m"))
    assert line.startswith("0.2m to 1.1m over 4 and 3 training runs (n = runs): steeper over null +0.400 [")
    assert over_runs.by_size("ladder-olmo", ("0.2m", "3m")) == ()


def test_below_three_runs_and_of_other_models_nothing_is_told(
    runs: dict[tuple[str, str], list[SeedRun]],
) -> None:
    runs["olmo", "0.2m"] = kept("olmo", "0.2m", [0.5, 0.6])
    assert over_runs.along_training("ladder-olmo-0.2m") == ()
    assert over_runs.along_training("olmo-1b") == ()
    assert over_runs.by_size("olmo", ("1b", "7b")) == ()


def test_runs_of_another_recipe_are_left_out(runs: dict[tuple[str, str], list[SeedRun]]) -> None:
    own = kept("olmo", "0.2m", [0.5, 0.6, 0.7])
    runs["olmo", "0.2m"] = [*own, replace(own[0], seed=9, recipe_sha256="other", trained=checkpoint(9.0, 0.45))]
    [line] = over_runs.along_training("ladder-olmo-0.2m")
    assert line.startswith("over 3 training runs")


def test_what_ships_is_told() -> None:
    for family in ("olmo", "qwen2"):
        [line] = over_runs.along_training(f"ladder-{family}-0.2m")
        assert line.startswith("over ")


def test_runs_that_are_measured_are_units_whatever_the_pairs() -> None:
    before = [curves(1.0, seed) for seed in range(4)]
    after = [curves(steep, seed) for seed, steep in enumerate((3.0, 3.2, 3.4, 3.6))]
    effects = over_runs.sharper(before, after, "first to last")
    assert [effect.name for effect in effects] == [
        "steeper over null, first to last",
        "slower ends (log), first to last",
        "no detour (log + 0.2), first to last",
    ]
    assert {effect.interval.n for effect in effects} == {4}
    changes = [over_runs.of_run(claims.steepness, b) - over_runs.of_run(claims.steepness, a)
               for a, b in zip(before, after, strict=True)]  # fmt: skip
    assert effects[0].interval == over_runs.paired(changes)
    assert effects[0].outcome == "supported"
    # As many pairs as one likes, of runs that disagree.
    mixed = [curves(steep, seed) for seed, steep in enumerate((5.0, 1.0, 5.0, 1.0))]
    assert over_runs.sharper(before, mixed, "x")[0].outcome == "inconclusive"


def test_two_sizes_are_told_apart_between_their_runs() -> None:
    small, large = [curves(1.5, seed) for seed in range(3)], [curves(3.0 + seed / 10, seed) for seed in range(4)]
    effects = over_runs.sharper_between(small, large, "smallest to largest")
    assert effects[0].interval.n == 7
    assert effects[0].outcome == "supported"
    assert over_runs.sharper_between(large, small, "x")[0].outcome == "contradicted"


def test_a_trend_over_runs_takes_six_of_them() -> None:
    runs = [[curves(steep, seed) for steep in (1.0, 2.0, 3.0)] for seed in range(6)]
    trends = over_runs.trends(runs)
    assert [trend.n for trend in trends] == [6, 6]
    assert trends[0].p < 0.01
    assert over_runs.trends(runs[:5]) == ()
