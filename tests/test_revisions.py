"""What names of training checkpoints tell, family by family, and a pattern of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from measure.catalog import revisions
from measure.catalog.revisions import Revision
from measure.spec import MeasureError

SMOLLM = "HuggingFaceTB/SmolLM2-135M-intermediate-checkpoints"


@pytest.fixture(autouse=True)
def own() -> Iterator[None]:
    yield
    revisions.forget_own()


PUBLISHED = {
    # As their repositories name them; tokens by the name, else by the tokens a step that are published.
    "EleutherAI/pythia-1.4b-deduped": ("step1000", Revision("step1000", 1000, 2_097_152_000)),
    "EleutherAI/pythia-410m-seed9": ("step143000", Revision("step143000", 143_000, 299_892_736_000)),
    "EleutherAI/pythia-160m-data-seed1": ("step1", Revision("step1", 1, 2_097_152)),
    "allenai/OLMo-1B-0724-hf": ("step2000-tokens4B", Revision("step2000-tokens4B", 2000, 4 * 10**9)),
    "allenai/OLMo-2-0425-1B": (
        "stage1-step140000-tokens294B",
        Revision("stage1-step140000-tokens294B", 140_000, 294 * 10**9, stage=1),
    ),
    "allenai/OLMo-2-0425-1B-early-training": (
        "stage1-step0-tokens0B",
        Revision("stage1-step0-tokens0B", 0, 0, stage=1),
    ),
    "allenai/OLMo-2-1124-7B": (
        "stage2-ingredient3-step11931-tokens50B",
        Revision("stage2-ingredient3-step11931-tokens50B", 11_931, 50 * 10**9, stage=2, ingredient=3),
    ),
    "allenai/Olmo-3-1025-7B": (
        "stage1-step1413814",
        Revision("stage1-step1413814", 1_413_814, 5_929_965_715_456, stage=1),
    ),
    SMOLLM: ("step-240000", Revision("step-240000", 240_000, 251_658_240_000)),
    "HuggingFaceTB/SmolLM2-360M-intermediate-checkpoints": ("step-160000", Revision("step-160000", 160_000)),
    "HuggingFaceTB/SmolLM3-3B-checkpoints": (
        "stage2-step-4200000",
        Revision("stage2-step-4200000", 4_200_000, 9_909_043_200_000, stage=2),
    ),
}


@pytest.mark.parametrize(("place", "told"), PUBLISHED.items(), ids=PUBLISHED)
def test_the_names_of_every_family_are_read_whole(place: str, told: tuple[str, Revision]) -> None:
    name, expected = told
    assert revisions.parse(name, place) == expected


def test_steps_that_begin_anew_in_a_stage_tell_no_tokens() -> None:
    found = revisions.parse("stage2-step47684", "allenai/Olmo-3-1025-7B")
    assert found == Revision("stage2-step47684", 47_684, None, stage=2)


def test_an_unknown_repositorys_names_are_read_and_no_size_of_its_steps_is_guessed() -> None:
    assert revisions.parse("step1000", "someone/olmo-small") == Revision("step1000", 1000)
    assert revisions.parse("main", "someone/olmo-small") is None
    odd = revisions.parse("step10-odd", "someone/olmo-small")
    assert odd is not None
    assert (odd.step, odd.whole) == (10, False)


def test_checkpoints_are_in_order_of_stage_and_step_and_other_branches_left_out() -> None:
    names = ["main", "stage2-ingredient2-step5-tokens1B", "stage1-step900-tokens4B", "wip", "step10-odd"]
    names += ["stage2-ingredient1-step5-tokens1B", "stage1-step1000-tokens5B"]
    assert [one.name for one in revisions.in_order(names, "allenai/OLMo-2-1124-7B")] == [
        "stage1-step900-tokens4B",
        "stage1-step1000-tokens5B",
        "stage2-ingredient1-step5-tokens1B",
        "stage2-ingredient2-step5-tokens1B",
    ]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("tokens5B", "stage1-step900-tokens4B"),
        ("stage2-tokens5B", "stage2-ingredient1-step9-tokens5B"),
        ("stage2-ingredient2-tokens5B", "stage2-ingredient2-step5-tokens1B"),
        ("stage3-tokens5B", None),
    ],
)
def test_tokens_are_looked_for_in_the_first_stage_unless_another_is_told(asked: str, found: str | None) -> None:
    names = ["stage1-step900-tokens4B", "stage2-ingredient1-step9-tokens5B", "stage2-ingredient2-step5-tokens1B"]
    wanted = revisions.wanted(asked)
    assert wanted is not None
    nearest = wanted.nearest(revisions.in_order(names, "allenai/OLMo-2-1124-7B"))
    assert (nearest and nearest.name) == found
    assert revisions.wanted("step900-tokens4B") is None


def test_a_pattern_of_ones_own_is_tried_first() -> None:
    revisions.use_own("[phase{stage}-]n{step}", tokens_a_step=10)
    assert revisions.parse("phase1-n7", "LLM360/Amber") == Revision("phase1-n7", 7, 70, stage=1)
    assert revisions.parse("n7", "LLM360/Amber") == Revision("n7", 7, 70)
    # What it does not fit goes by the family.
    assert revisions.parse("step1", "EleutherAI/pythia-14m") == Revision("step1", 1, 2_097_152)


WRONG = {
    "ckpt_{stp}": "{stp} is no part of a revision's name; parts are {stage}, {ingredient}, {step} and {tokens}",
    "ckpt": "holds neither {step} nor {tokens}, so that no order can be told",
    "{step}-{step}": "holds {step} twice",
    "[a{step}": "its [ and ] do not match",
    "a]{step}": "its [ and ] do not match",
    "[[a]]{step}": "its [ and ] do not match",
    "a{{step}": "its { and } do not match",
}


@pytest.mark.parametrize(("pattern", "said"), WRONG.items(), ids=range(len(WRONG)))
def test_a_pattern_that_is_none_says_what_one_holds(pattern: str, said: str) -> None:
    with pytest.raises(MeasureError, match=re.escape(said)):
        revisions.use_own(pattern)
    assert revisions.parse("n7") is None


def test_a_step_takes_some_tokens() -> None:
    with pytest.raises(MeasureError, match="--tokens-a-step 0: give the number of tokens"):
        revisions.use_own("{step}", 0)
