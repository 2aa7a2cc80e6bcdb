"""Which revisions may hold the same weights, by their names."""

from __future__ import annotations

import pytest

from measure.hub import stale

PYTHIA = ("step0", "step1", "step512", "step143000", "main")
OLMO = ("stage1-step0-tokens0B", "stage1-step900-tokens4B", "stage2-ingredient1-step50-tokens1B", "main")


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("step512", (0, 512)),
        ("step1000-tokens2B", (0, 1000)),
        ("stage2-ingredient1-step50-tokens1B", (2, 50)),
        ("stage1-step-40000", (1, 40000)),
        ("checkpoint-500", (0, 500)),
        ("ckpt_007", (0, 7)),
        ("main", None),
        ("v1.0", None),
        ("stepping", None),
    ],
)
def test_names_tell_stage_and_step(name: str, order: tuple[int, int] | None) -> None:
    assert stale.order(name) == order


@pytest.mark.parametrize(
    ("first", "second", "names", "may"),
    [
        ("main", "step143000", PYTHIA, True),
        ("step143000", "main", PYTHIA, True),
        ("main", "step512", PYTHIA, False),
        ("step0", "step1", PYTHIA, True),
        ("step1", "step0", (), True),
        ("step0-tokens0B", "step1-tokens0B", (), True),
        ("step1", "step2", PYTHIA, False),
        ("step0", "step512", PYTHIA, False),
        ("step0", "step0", PYTHIA, False),
        ("main", "step512", (), True),
        ("main", "wip", ("main", "wip"), True),
        ("wip", "other", (), False),
        ("main", "stage2-ingredient1-step50-tokens1B", OLMO, True),
        ("main", "stage1-step900-tokens4B", OLMO, False),
        ("stage1-step0", "stage2-step1", OLMO, False),
    ],
)
def test_main_and_the_last_and_the_first_two_may_be_equal(
    first: str, second: str, names: tuple[str, ...], may: bool
) -> None:
    assert stale.may_be_equal(first, second, names) is may
