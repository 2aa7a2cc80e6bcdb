"""What the paper prints in numbers, beside what a run measured."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np

from measure.report import page_paper
from tests import written_runs as written
from tests.test_page import case, shown
from tests.test_page_names import trained_run

SUITES = Path(__file__).parent.parent / "suites"


def suite(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"suite_{name}", SUITES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_claim_that_has_numbers_is_one_of_the_suites() -> None:
    titles = {str(suite(path.stem).CLAIM) for path in SUITES.glob("test_*.py")}
    assert set(page_paper.TITLES) <= titles


def test_table_1_is_the_one_that_its_suite_holds() -> None:
    table = suite("test_model_table").TABLE_1
    for model, shape in table.items():
        assert page_paper.printed_shape(model) == dataclasses.asdict(shape)


def test_the_papers_numbers_stand_beside_ours(tmp_path: Path) -> None:
    _, view = shown(tmp_path, trained_run())
    assert case(view, "rung-a")["printed"] == [
        ["pairs of prompts", "1,000", "8"],
        ["values of alpha", "50", str(written.STEPS)],
        ["parameters of the models", "1B and 7B", "200k"],
        ["training tokens of the curves drawn", "0, 4B, 10B, 31B, 3050B (1B); 0 to 2750B (7B)",
         "0 tokens, 262k tokens, 4.19M tokens"],
    ]  # fmt: skip
    # Of a claim of somebody else's, whatever figure it names, the paper prints nothing.
    assert "printed" not in case(view, "rung-b")


def test_dimensions_stand_beside_table_1(tmp_path: Path) -> None:
    shape = page_paper.printed_shape("olmo-1b") | {"tied": False}
    title = next(title for title in page_paper.TITLES if "Table 1" in title)
    config = {
        "kind": "result", "id": "config", "type": "ConfigSpec", "spec": {"model": "olmo-1b"}, "how": "measured",
        "shape": shape,
    }  # fmt: skip
    lines = [written.header(), config, written.row("claim", title, "olmo-1b", specs=["config"])]
    _, view = shown(tmp_path, lines)
    printed = case(view, "olmo-1b")["printed"]
    assert ["olmo-1b: tied", "yes", "no"] in printed
    assert ["olmo-1b: hidden", "2,048", "2,048"] in printed


def test_where_nothing_was_measured_the_paper_is_not_cited(tmp_path: Path) -> None:
    title = next(title for title in page_paper.TITLES if "Fig. 3" in title)
    lines = [written.header(), written.row("claim", title, "olmo", "skipped", reason="not measured: no GPU")]
    _, view = shown(tmp_path, lines)
    assert "printed" not in case(view, "olmo")


PAIRS = [
    [" She opened the dusty book and a cloud of mist", " She opened the dusty book and a cloud of dust"],
    [" She opened the dusty book and a cloud of dust", " She opened the dusty book and a cloud of mist"],
]


def single_pairs(**changed: Any) -> list[written.Line]:
    """A run with the one of the paper's similar pairs that a tokenizer left, both ways."""
    lines = written.whole_run()
    rows = [np.linspace(0, 1, written.STEPS).tolist(), (np.linspace(0, 1, written.STEPS) ** 2).tolist()]
    pairs = {"relative": rows, "last_tokens": [[" mist", " dust"], [" dust", " mist"]]}
    one = written.curve("first", "rung-a@step0", pairing="printed_similar")
    lines[1] = one | {"n": 2, "pairs": pairs, "prompts": PAIRS} | changed
    return lines


def test_of_the_papers_pairs_it_is_said_how_many_there_are_and_why(tmp_path: Path) -> None:
    _, view = shown(tmp_path, single_pairs())
    found = view["results"]["first"]
    assert found["note"] == (
        "The paper's similar pairs: n = 1 of its 3 (S1). A pair is kept where its prompts differ in one token, the "
        "last; of the others this model's tokenizer splits a last word."
    )
    assert found["pairs"]["names"] == ["S1: ' mist' to ' dust'", "S1 from B to A: ' dust' to ' mist'"]
    assert found["pairing"] == "printed_similar"
    # Records from before prompts were kept do not say which.
    _, view = shown(tmp_path, single_pairs(prompts=[]))
    assert "n = 1 of its 3. A pair" in view["results"]["first"]["note"]
    assert view["results"]["first"]["pairs"]["names"] == ["' mist' to ' dust'", "' dust' to ' mist'"]
    _, view = shown(tmp_path, single_pairs(n=6))
    assert "note" not in view["results"]["first"]


def test_prompts_travel_once_for_all_results_that_have_them(tmp_path: Path) -> None:
    lines = single_pairs()
    lines[2] = lines[2] | {"prompts": PAIRS}
    triples = [[" a", " b", " c"], [" d", " e", " f"]]
    next(line for line in lines if line.get("id") == "plane")["prompts"] = triples
    _, view = shown(tmp_path, lines)
    assert view["prompts"] == [PAIRS, triples]
    assert [view["results"][name].get("prompts") for name in ("first", "last", "plane", "shuffled")] == [0, 0, 1, None]
    _, view = shown(tmp_path, written.whole_run())
    assert view["prompts"] == []
    assert "prompts" not in view["results"]["plane"]


def test_layers_that_follow_one_another_are_a_range() -> None:
    assert page_paper._ranges([]) == ""
    assert page_paper._ranges([1, 7]) == "1, 7"
    assert page_paper._ranges([1, 2]) == "1, 2"
    assert page_paper._ranges(range(1, 31)) == "1 to 30"
    assert page_paper._ranges([1, 3, 4, 5, 9, 10]) == "1, 3 to 5, 9, 10"
