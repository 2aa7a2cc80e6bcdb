"""What the page calls things, and how it links to them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.expression import Expression

from measure import claims
from measure.claims.controls import LATER
from measure.report import page_names
from tests import written_runs as written
from tests.test_page import case, shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-28T02:23:50+00:00", "28 November 2026, 02:23 UTC"),
        ("2026-11-28T02:23:50+05:30", "27 November 2026, 20:53 UTC"),
        ("2026-01-02T03:04:05", "2 January 2026, 03:04"),
        ("yesterday", "yesterday"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00"),
        ("", ""),
    ],
)
def test_a_time_is_said_in_words(text: str, said: str) -> None:
    assert page_names.when(text) == said


def test_subjects_are_said_in_words() -> None:
    assert page_names.subject("training-ladder-olmo-0.2m") == "ladder-olmo-0.2m, along training"
    assert page_names.subject("size-olmo") == "olmo, by size"
    assert page_names.subject("a-same-last-token") == "a, pairs of one last token"
    assert page_names.subject("gemma-2b-bos") == "gemma-2b, with BOS"
    assert page_names.subject("ladder-olmo-1.1m") == "ladder-olmo-1.1m"


def test_links_are_made_of_names_alone() -> None:
    names = ["Sharpness grows with training", "A/B", "<b>", "x" * 300, "日本 語", "‮", "answers"]
    found = page_names.links(names)
    assert found[:3] == ["sharpness-grows-with-training", "a-b", "b"]
    assert len(found[3]) < 100
    assert found[4] == "日本-語"
    assert len(set(found)) == len(names)
    # The page's own places are no claim's.
    assert found[6] != "answers"
    assert page_names.links(names[::-1]) == found[::-1]
    # Two that would be one are told apart by what they are called, not by their order.
    one, other = page_names.links(["a b", "a-b"])
    assert page_names.links(["a-b", "a b"]) == [other, one]
    assert page_names.links(["same", "same"], "claim/")[0] != page_names.links(["same", "same"], "claim/")[1]


def test_a_link_to_a_case_is_the_same_in_a_narrower_run(tmp_path: Path) -> None:
    lines = written.whole_run()
    _, whole = shown(tmp_path, lines)
    _, narrow = shown(tmp_path, [line for line in lines if line.get("claim") != written.GROWTH])
    assert (
        case(whole, "rung-b")["anchor"] == case(narrow, "rung-b")["anchor"] == "solid-regions-emerge-in-slices/rung-b"
    )
    assert [claim["anchor"] for claim in whole["claims"]] == [
        "sharpness-grows-with-training",
        "solid-regions-emerge-in-slices",
    ]
    assert [claim["short"] for claim in whole["claims"]] == ["x", "x"]


def test_counterfeits_are_called_as_claims_call_them() -> None:
    for name, kind in LATER.items():
        row = written.typed(written.curve("x", "m@main", weights=f"{kind}_after_1:0"))
        assert page_names.weights(row) == name
    assert page_names.weights(written.typed(written.curve("x", "m@main", weights="scrambled:0"))) in claims.KINDS


def trained_run() -> list[written.Line]:
    """One model at three checkpoints, of which the header knows the tokens, and what was made of the last."""
    lines = written.whole_run()
    lines[0]["catalog"]["rung-a"] |= {
        "layers": 4,
        "parameters": 200_000,
        "revisions": [
            {"name": "step0-tokens0M", "step": 0, "tokens": 0},
            {"name": "step64-tokens0M", "step": 64, "tokens": 262_144},
            {"name": "main", "step": 1024, "tokens": 4_194_304},
        ],
    }
    ids = ["first", "middle", "last"]
    names = ["step0-tokens0M", "step64-tokens0M", "main"]
    curves = [written.curve(one, f"rung-a@{name}") for one, name in zip(ids, names, strict=True)]
    beside = {
        "later": written.curve("later", "rung-a@main", weights="shuffled_after_1:0"),
        "deep": written.curve("deep", "rung-a@main", layer=4),
        "shuffled": written.curve("shuffled", "rung-a@main", weights="scrambled:0"),
    }
    lines[1:4] = [*curves, *beside.values()]
    for line in lines:
        if line.get("claim") == written.GROWTH and line["role"] in ("claim", "control"):
            line["specs"] = ids if line["role"] == "claim" else [*ids, *beside]
    return lines


def test_checkpoints_are_called_by_their_tokens_and_panels_by_what_was_done(tmp_path: Path) -> None:
    _, view = shown(tmp_path, trained_run())
    found = {one: rest for one, *rest in case(view, "rung-a")["specs"]}
    assert [found[name][0] for name in ("first", "middle", "last")] == ["0 tokens", "262k tokens", "4.19M tokens"]
    assert found["later"] == [
        "4.19M tokens, later blocks shuffled", "control", "later blocks shuffled", "4.19M tokens", "4.19M tokens"
    ]  # fmt: skip
    assert found["deep"][2] == "patched after the last block"
    assert {found[name][2] for name in ("first", "middle", "last")} == {"trained"}
    assert "0M" not in str(found)


def test_seeds_are_said_where_there_are_several(tmp_path: Path) -> None:
    lines = trained_run()
    lines.insert(1, written.curve("other", "rung-a@main", weights="scrambled:1"))
    next(line for line in lines if line.get("role") == "control")["specs"].append("other")
    _, view = shown(tmp_path, lines)
    found = {one: name for one, name, *_ in case(view, "rung-a")["specs"]}
    assert found["shuffled"] == "4.19M tokens, all weights shuffled, seed 0"
    assert found["other"] == "4.19M tokens, all weights shuffled, seed 1"


def test_pairs_and_reads_are_said_in_words() -> None:
    run = written.typed_run(written.whole_run())
    row = written.typed(written.curve("x", "m@step5", pairing="printed_similar", read="residual", layer=3))
    assert page_names.described(row, run) == "m, step5, the paper's similar pairs, layer 3, before the final norm"
    assert page_names.described(written.typed(written.curve("x", "m@main")), run) == "m"


@pytest.mark.parametrize(
    "name",
    [
        "test_baseline[a-main]",
        "test_baseline[/models/x y (z)-main]",
        "TestOf::test_baseline[and-or-a@b]",
        "test_baseline[]",
    ],
)
def test_the_command_that_accepts_a_baseline_chooses_its_test(name: str) -> None:
    command = page_names.command(f"suites/test_training.py::{name}")
    (expression,) = shlex.split(command)[3:]
    known = ["suites", "test_training.py", *name.split("::")]

    def matches(word: str, /, **_: Any) -> bool:
        return any(word.lower() in one.lower() for one in known)

    assert command.startswith("measure refresh -k ")
    assert Expression.compile(expression).evaluate(matches)
    known = ["suites", "test_training.py", "test_baseline[another]"]
    assert not Expression.compile(expression).evaluate(matches)


def test_the_case_of_the_largest_model_that_was_measured_is_drawn_first(tmp_path: Path) -> None:
    lines = written.whole_run()
    lines[0]["catalog"] |= {"rung-b": {"family": "qwen2", "parameters": 3_000_000}, "huge": {"family": "x"}}
    lines[0]["catalog"]["huge"]["parameters"] = 10**9
    lines[1:1] = [written.curve("b", "rung-b@main"), written.curve("h", "huge@main")]
    verdict = written.verdict("contradicted", written.effect("max slope rises", -0.5, "contradicted"))
    lines[-1:-1] = [
        written.row("claim", written.GROWTH, "rung-b", "failed", verdict=verdict, specs=["b"]),
        written.row("claim", written.GROWTH, "huge", "skipped", reason="not measured: no room", specs=["h"]),
    ]
    _, view = shown(tmp_path, lines)
    assert view["claims"][0]["drawn"] == "sharpness-grows-with-training/rung-b"


def test_layers_of_a_case_stand_in_their_order(tmp_path: Path) -> None:
    lines = written.whole_run()
    names = ["l1", "l7", "l2", "l3"]
    added = [written.curve(name, "rung-a@main", layer=layer) for name, layer in zip(names, (1, 7, 2, 3), strict=True)]
    claim = next(line for line in lines if line.get("role") == "claim" and line["subject"] == "rung-a")
    lines[1:1] = added
    claim["specs"] = names
    _, view = shown(tmp_path, lines)
    found = [spec for spec in case(view, "rung-a")["specs"] if spec[2] == "claim"]
    assert [spec[0] for spec in found] == ["l1", "l2", "l3", "l7"]
