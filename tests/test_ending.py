"""How a run ends: a line a claim, each cause once, the whole table beside the records; and a line now and then."""

from __future__ import annotations

import re

import pytest

from measure.base import progress
from measure.base.exits import EXIT_NOT_MEASURED
from measure.harness.engines import estimates
from measure.kinds.rows import TestRow, VerdictRow
from measure.report import terminal
from tests.conftest import whole_table

LONG = "Dissimilar prompts are parted by a boundary, similar ones are not (Fig. 2a, 2b)"
SIZES = ("olmo-0.2m", "olmo-1.1m", "qwen2-0.2m")


def row(subject: str, found: str | None, claim: str = LONG, **changed: object) -> TestRow:
    verdict = VerdictRow(found, 20) if found else None
    return TestRow(f"t::test_claim[{subject}]", "claim", claim=claim, subject=subject, verdict=verdict, **changed)  # type: ignore[arg-type]


def ladder(*outcomes: str | None, claim: str = LONG) -> list[TestRow]:
    return [row(f"ladder-{size}", outcome, claim) for size, outcome in zip(SIZES, outcomes, strict=True)]


def test_a_claim_is_a_line_with_what_it_is_supported_on_and_what_not() -> None:
    rows = ladder("supported", "inconclusive", "supported")
    assert terminal.verdicts(rows, 100) == [
        "Dissimilar prompts are parted by a boundary,   supported on olmo 0.2m, qwen2 0.2m; inconclusive on",
        "similar ones are not (Fig. 2a, 2b)             olmo 1.1m",
    ]
    narrow = terminal.verdicts(ladder("supported", "supported", "supported"), 80)
    assert narrow == [
        "Dissimilar prompts are parted by a    supported on all 3",
        "boundary, similar ones are not (Fig.",
        "2a, 2b)",
    ]
    wide = terminal.verdicts(ladder("supported", "supported", "supported"), 200)
    assert wide == [f"{LONG}  supported on all 3"]
    both = [*rows, row("olmo-1b", "supported")]
    assert "ladder-olmo 0.2m" in " ".join(terminal.verdicts(both, 200))


@pytest.mark.parametrize(("width", "most"), [(80, 3), (100, 2)])
def test_no_claim_takes_more_lines_than_its_title(width: int, most: int) -> None:
    many = [row(f"a-model-of-a-long-name-{n}-different-last-token", "inconclusive") for n in range(12)]
    lines = terminal.verdicts([*many, row("another-different-last-token", "supported")], width)
    assert len(lines) <= most
    assert all(len(line) <= width for line in lines)
    assert "inconclusive on 12" in " ".join(lines)


def test_what_is_wrong_stands_in_the_line_of_its_claim() -> None:
    failed = row("ladder-olmo-0.2m", "inconclusive", "C", outcome="failed")
    assert terminal.verdicts([failed], 100) == ["C  inconclusive on olmo 0.2m; NOT AS EXPECTED on olmo 0.2m"]
    believed = {"a counterfeit": VerdictRow("supported", 20)}
    control = TestRow("t::test_control[m]", "control", claim="C", subject="m", outcome="failed", controls=believed)
    assert terminal.verdicts([row("m", "supported", "C"), control], 100) == ["C  supported on m; CONTROL BROKEN on m"]
    skipped = row("m", None, "C", outcome="skipped", reason="not measured: why")
    assert terminal.verdicts([skipped], 100) == ["C  not measured"]
    dead = row("m", None, "C", outcome="failed", reason="why")
    assert terminal.verdicts([dead], 100) == ["C  no verdict on m"]
    assert terminal.verdicts([dead], 100, {dead.test}) == ["C  not measured on m"]


def test_models_left_out_are_one_line_with_how_to_measure_them_and_how_long_it_takes() -> None:
    seconds = {"b": 600.0, "a": 80.0, "d": 4e4, "c": 7200.0, "e": 4e4}
    assert terminal.left_out(seconds, "auto") == (
        "not measured: a (about 80 s here, --models a), b (10 min), c (2 h), 2 more; all of them about 24 h, "
        "--models all"
    )
    assert terminal.left_out({"a": 5.0}, "ladder") == "left out by --models ladder: a (about 5 s here, --models a)"


SUITE = """
import pytest
from measure.spec import CurveSpec

CLAIM = "Curves exist (Fig. 0)"
SPECS = [CurveSpec("no-such-model", layer=layer) for layer in range(1, 4)]

@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_claim(spec, measured, claim):
    measured(spec)

@pytest.mark.parametrize("spec", [CurveSpec("ladder-olmo-0.2m", pairs=4, steps=5, layer=9)], ids=["nine"])
def test_deep(spec, measured):
    measured(spec)

def test_own_defect(measured):
    raise AssertionError("its own")
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    pytester.makepyfile(test_it=SUITE)
    return pytester


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_cause_is_told_once_whole_and_without_a_trace(suite: pytest.Pytester, workers: tuple[str, ...]) -> None:
    result = suite.runpytest(*workers)
    result.assert_outcomes(failed=5)
    text = result.stdout.str()
    flat = re.sub(r"\s+", " ", text)
    assert "3 tests, the first of them test_it.py::test_claim[no-such-model" in flat
    assert flat.count("model 'no-such-model' is unknown.") == 1
    assert "or a hub id such as allenai/OLMo-1B-0724-hf." in flat
    assert flat.count("has 4 blocks; ") == 1
    # The test's own code is at fault there, and its trace is told as ever.
    assert text.count("AssertionError: its own") >= 1
    assert text.count("measured(spec)") == 0
    assert "FAILED test_it.py::test_own_defect" in text
    assert "FAILED test_it.py::test_claim" not in text
    assert "Curves exist (Fig. 0)  not measured on all 3" in result.outlines
    # Below pytest's own summary, and above the counts alone.
    assert re.match(r"the whole table: reports/runs/.*\.claims\.txt", result.outlines[-2])
    assert whole_table(suite.path).startswith("claims (protocol paper; n: independent units)\nCurves exist (Fig. 0)\n")


def test_a_missing_model_alone_is_not_measured(suite: pytest.Pytester) -> None:
    result = suite.runpytest("-k", "claim")
    result.assert_outcomes(failed=3, deselected=2)
    assert result.ret == EXIT_NOT_MEASURED
    assert "FAILURES" not in result.stdout.str()


def test_a_line_now_and_then_says_which_model_and_spec(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    pytester.makepyfile(test_it=SUITE.replace("layer=9", "layer=2"))
    assert "of at most" not in pytester.runpytest("-k", "deep").stdout.str()
    monkeypatch.setattr(progress, "PAUSE", 0.0)
    found = pytester.runpytest("-k", "deep", "--store", "fresh")
    found.stdout.fnmatch_lines(
        [
            "[[]0 of at most 1] loading ladder-olmo-0.2m",
            "[[]0 of at most 1] ladder-olmo-0.2m, spec 1 of 1: ladder-olmo-0.2m-layer2-steps5-pairs4",
            "[[]0 of at most 1] ladder-olmo-0.2m, spec 1 of 1, after 4 pairs",
            "[[]1 of at most 1] measured ladder-olmo-0.2m-layer2-steps5-pairs4",
        ]
    )
    assert "so far] stored" in pytester.runpytest("-k", "deep", "-n", "1", "--store", "fresh").stdout.str()


def test_a_table_that_cannot_be_written_is_a_sentence(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(estimates, "accelerator_bytes", lambda: 0)
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    pytester.makepyfile(test_it=SUITE)
    monkeypatch.setattr(terminal, "write_atomically", full)
    result = pytester.runpytest("-k", "claim")
    assert result.ret == EXIT_NOT_MEASURED
    text = result.stdout.str()
    assert "the table of claims could not be written (No space left on device)" in text
    # What is nowhere else stands here.
    assert "no verdict: the test failed" in text
