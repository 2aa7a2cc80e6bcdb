"""`reports/`: what `make sample` and `make pretrained-sample` committed is whole, small, and what the docs show."""

from __future__ import annotations

import json
import re
from pathlib import Path

from measure.report import page

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "reports" / "ladder"


def test_it_is_small_and_has_what_the_docs_show() -> None:
    files = [path for path in SAMPLE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 6e6
    assert (SAMPLE / "claims-strict.txt").read_text(encoding="utf-8").startswith("claims (protocol strict;")
    linked = re.findall(r"\(\.\./(reports/ladder[^)]*)\)", (ROOT / "docs" / "findings.md").read_text(encoding="utf-8"))
    assert sum(name.endswith(".png") for name in linked) == 2
    [asked] = re.findall(r"^SAMPLE := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {path.stem for path in (SAMPLE / "figures").iterdir()} == set(asked.split())


def test_the_page_and_the_table_are_of_one_whole_run_of_the_ladder() -> None:
    text = (SAMPLE / "index.html").read_text(encoding="utf-8")
    view = page.unpacked(text)
    facts = dict(view["facts"])
    assert facts["asked for"].startswith("suites/ --models ladder")
    assert view["problems"] == []
    # Nothing of the machine that measured it, but what kind it is.
    assert not re.search(r"/(home|root|tmp|work|Users)/", json.dumps(view))
    table = [line.split() for line in (SAMPLE / "claims.txt").read_text(encoding="utf-8").splitlines()]
    for claim in view["claims"]:
        for case in claim["cases"]:
            if case["judged"] and case["measured"]:
                assert [case["subject"], case["state"]] in [words[:2] for words in table]
                assert case["control"]["state"] == "held"
                assert not case["failed"]
    assert len([claim for claim in view["claims"] if claim["title"].endswith(")")]) == 24


def test_the_sample_of_a_pretrained_model_is_small_whole_and_of_that_model() -> None:
    sample = ROOT / "reports" / "pretrained"
    assert sum(path.stat().st_size for path in sample.rglob("*") if path.is_file()) <= 5e6
    [asked] = re.findall(r"^PRETRAINED_FIGURES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {path.stem for path in (sample / "figures").iterdir()} == set(asked.split())
    text = (sample / "index.html").read_text(encoding="utf-8")
    view = page.unpacked(text)
    assert dict(view["facts"])["asked for"].startswith("suites/ --models smollm2-135m-instruct")
    assert view["problems"] == []
    assert not re.search(r"/(home|root|tmp|work|Users)/", json.dumps(view))
    cases = [case for claim in view["claims"] for case in claim["cases"] if case["judged"]]
    assert len(cases) == 17
    assert all(case["control"]["state"] == "held" and not case["failed"] for case in cases)
