"""The suites as a whole: nothing of the paper is missing, and each claim has its control."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from measure import claims
from measure.claims import Claim
from measure.harness.items import specs_in
from measure.spec import AnySpec, ConfigSpec, CurveSpec, PredictionSpec
from tests import small_results

# Table 1 lists the paper's models, section 6 speaks of families that the ladder has none of, others took Pythias.
UNSEEN = ("suite_test_model_table", "suite_test_families", "suite_test_published")
PRETRAINED = ("smollm2-135m-instruct", "gemma3-270m")
SUITES = sorted((Path(__file__).parent.parent / "suites").glob("test_*.py"))
# Every claim, figure and table of the paper. Fig. 5 to 22 are the appendix's slices, of which 11 shows a split.
PAPER = {
    *(f"Fig. {number}" for number in ("1", "2a", "2b", "2c", "3", "4", "4c", *range(5, 25))),
    "Table 1",
    *(f"claim {number}" for number in (1, 2, 3, 4)),
    "footnote 3",
    "footnote 5",
    "section 6",
}


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"suite_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[loaded.__name__] = loaded  # dataclasses look their module up
    spec.loader.exec_module(loaded)
    return loaded


def named(place: str) -> set[str]:
    """The figures, tables, claims and footnotes that the place of a claim names."""
    kind, found = "", set()
    for part in re.split(r", | and ", place):
        words = part.split()
        if len(words) > 1:
            kind = {"Figs.": "Fig.", "claims": "claim"}.get(words[0], words[0])
        first, _, last = words[-1].partition("-")
        numbers = range(int(first), int(last) + 1) if last else [first]
        found |= {f"{kind} {number}" for number in numbers}
    return found


def test_nothing_of_the_paper_is_missing() -> None:
    places = [module(path).CLAIM.place for path in SUITES]
    found = set().union(*(named(place) for place in places if place != "not in the paper"))
    assert found == PAPER


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_each_suite_quotes_its_claim_judges_it_and_has_a_control(path: Path) -> None:
    suite = module(path)
    assert suite.CLAIM.text
    assert str(suite.CLAIM) == f"{suite.CLAIM.text} ({suite.CLAIM.place})"
    assert suite.__doc__
    text = path.read_text()
    assert "def test_claim(" in text
    assert "def test_control(" in text
    assert "claim.refute(" in text
    assert "claim.confirm(" in text
    assert "claim.check(" in text
    assert "EXPECTED" in text


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_ladder_and_real_models_stand_in_one_parametrization(path: Path) -> None:
    suite = module(path)
    ids = [param.id for name in ("GROUPS", "CASES", "TRAJECTORIES") for param in getattr(suite, name, [])]
    ladder = [name for name in ids if "ladder" in name]
    # Table 1 lists five models, others have published of two, and the ladder's are none of them.
    assert bool(ladder) == (path.stem not in ("test_model_table", "test_published"))
    assert len(ladder) < len(ids)


def test_every_accepted_negative_is_of_a_case_that_exists() -> None:
    for path in SUITES:
        suite = module(path)
        ids = {param.id for name in ("GROUPS", "CASES", "TRAJECTORIES") for param in getattr(suite, name, [])}
        for name in suite.EXPECTED:
            assert re.sub(r"-(final_norm|residual|logits)$", "", name) in ids, f"{path.name}: {name}"


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_margin_asks_for_something(path: Path) -> None:
    margins = {name: value for name, value in vars(module(path)).items() if name.endswith("_MARGIN")}
    assert all(value > 0 for value in margins.values()), margins


def suite_of(name: str) -> ModuleType:
    return module(Path(__file__).parent.parent / "suites" / f"test_{name}.py")


def test_words_that_repeat_are_told_by_the_second_of_a_pair() -> None:
    """Rows of `words` come twice, the second half turned round."""
    result = small_results.predictions(PredictionSpec("ladder-olmo-0.2m"), rows=4)
    result = replace(result, last_tokens=np.array([[1, 2], [3, 2], [2, 1], [2, 3]]))
    assert suite_of("similarity").second_words(result).tolist() == [2, 2]


def test_a_way_round_is_no_jump_between_printed_pairs() -> None:
    """Steep, slow at its ends, and in between far from both."""
    curves = small_results.curves(CurveSpec("ladder-olmo-0.2m"), 12.0)
    suite = suite_of("printed_pairs")
    assert suite.jumps(claims.planted(curves)).all()
    planted = claims.planted(curves)
    bulge = 3 * np.sin(np.pi * planted.alphas) * planted.distance[:, -1:]
    around = replace(planted, distance=planted.distance + bulge, end_side_distance=planted.end_side_distance + bulge)
    assert (claims.steepness(around) > claims.SLOPE_MARGIN).all()
    assert (claims.slowness(around) > claims.TENTH).all()
    assert not suite.jumps(around).any()


def test_a_counterfeit_that_imitates_the_model_is_told() -> None:
    """The control of the suite on counterfeits can fail: one that has plateaus, the others none."""
    suite = suite_of("counterfeits")
    case, others = next(param.values for param in suite.CONTROLS)
    made = {spec.id: small_results.curves(spec, 1.0) for spec in (case.trained, *others.values())}
    for result in made.values():
        result.provenance["prompts_sha256"] = "the same"
    plain = {name: claims.replace_by_null(made[spec.id]) for name, spec in others.items()}
    imitator = suite.SAME_ENDS[0]
    found = {spec.id: plain[name] for name, spec in others.items()} | {case.trained.id: made[case.trained.id]}
    found[others[imitator].id] = claims.planted(made[others[imitator].id])
    with pytest.raises(pytest.fail.Exception, match=f"supported by data on which it must not hold:\n  {imitator}"):
        suite.test_control(case, others, lambda spec: found[spec.id], Claim("control"))


def marks(param: ParameterSet) -> list[pytest.Mark]:
    return [mark if isinstance(mark, pytest.Mark) else mark.mark for mark in param.marks]


def specs_of(suite: ModuleType, *names: str) -> list[AnySpec]:
    # Of counterfeits the first draw, which every run takes.
    params = [
        param
        for name in names
        for param in getattr(suite, name, [])
        if not any(mark.name == "draw" and mark.args[0] for mark in marks(param))
    ]
    return [spec for param in params for spec in specs_in(param.values) if not isinstance(spec, ConfigSpec)]


def test_every_curve_that_a_verdict_rests_on_has_one_baseline() -> None:
    """A change of a counterfeit's curve moves verdicts as one of the trained model's does."""
    suites = [module(path) for path in SUITES]
    judged = {spec for suite in suites for spec in specs_of(suite, "GROUPS", "CASES", "TRAJECTORIES", "CONTROLS")}
    kept = [spec for suite in suites for spec in specs_of(suite, "SPECS")]
    assert {spec.id for spec in judged if spec.model.startswith("ladder-")} - {spec.id for spec in kept} == set()
    assert len(kept) == len(set(kept))


def ids_of(suite: ModuleType) -> list[str]:
    return [str(param.id) for name in ("GROUPS", "CASES", "TRAJECTORIES") for param in getattr(suite, name, [])]


def pretrained_cell(suite: ModuleType, model: str) -> str:
    """What was found on a model of the package index, or what it lacks to be asked."""
    ids = [name for name in ids_of(suite) if model in name]
    if not ids:
        return f"takes {suite.TAKES}"
    found = {
        re.sub(f"(training-)?{model}-?", "", name): f"**{suite.EXPECTED.get(name, 'supported')}**".replace(
            "**inconclusive**", "inconclusive"
        )
        for name in ids
    }
    return "; ".join(f"{case}: {verdict}" if case else verdict for case, verdict in found.items())


def pretrained_row(suite: ModuleType) -> str:
    """A suite's line in the tables of pretrained models."""
    return f"| {suite.CLAIM} | {' | '.join(pretrained_cell(suite, model) for model in PRETRAINED)} |"


def ladder_row(suite: ModuleType) -> str:
    """A suite's line in the ladder's table: on which of the ladder's cases the claim is supported, and what else."""
    ids = [name for name in ids_of(suite) if not any(model in name for model in PRETRAINED)]
    by_verdict: dict[str, list[str]] = {"supported": []}
    for name in (name for name in ids if "ladder" in name):
        by_verdict.setdefault(suite.EXPECTED.get(name, "supported"), []).append(name.replace("ladder-", ""))
    supported = ", ".join(by_verdict.pop("supported"))
    # Of models that nobody has looked at: where the claim is on these, the table says so.
    unseen = [name for name in ids if "ladder" not in name] if suite.__name__ in UNSEEN else []
    by_verdict |= {"not measured": unseen} if unseen else {}
    others = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in by_verdict.items())
    return f"| {suite.CLAIM} | {supported} | {others} |"


def test_readme_and_findings_tell_every_verdict_that_the_suites_expect() -> None:
    root = Path(__file__).parent.parent
    readme, findings = ((root / name).read_text().splitlines() for name in ("README.md", "docs/findings.md"))
    pretrained, ladder = ([row(module(path)) for path in SUITES] for row in (pretrained_row, ladder_row))
    # The README leaves out what no pretrained model can be asked.
    missing = [row for row in pretrained if row not in readme and row.count("| takes ") < len(PRETRAINED)]
    missing += [row for row in (*pretrained, *ladder) if row not in findings]
    assert not missing, "\n".join(missing)
