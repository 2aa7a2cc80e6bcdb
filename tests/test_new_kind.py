"""A kind of measurement that is one file outside of the package: the docs' own, from its suite to the page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from measure import kinds
from measure.kinds import Kind
from measure.kinds.rows import State
from measure.report import page, records
from measure.report.records import Run
from measure.results import Curves, Result, RowResult, metrics
from measure.results.metrics import Definition
from measure.spec import MeasureError, Spec
from tests.pages import blocks

KIND, SUITE = blocks("docs/own-kind.md", "python")
TRAINED, UNTRAINED = "ladder-olmo-0.2m-angle", "ladder-olmo-0.2m-angle-untrained0"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    kinds.every()
    registries: list[dict[Any, Any]] = [kinds._BY_NAME, kinds._BY_SPEC, metrics.TABLE, Result._kinds]
    before = [dict(registry) for registry in registries]
    yield
    for registry, kept in zip(registries, before, strict=True):
        registry.clear()
        registry.update(kept)


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    pytester.makepyfile(angles=KIND, test_angles=SUITE)
    monkeypatch.syspath_prepend(pytester.path)
    return pytester


def run_of(suite: pytest.Pytester) -> Run:
    """What the last run left behind."""
    return records.read([records.runs(suite.path / "reports" / "runs")[-1]])


def baseline(suite: pytest.Pytester) -> Path:
    return suite.path / "baselines" / "test_angles" / f"test_baseline[{TRAINED}].json"


def test_a_kind_in_one_file_is_measured_compared_recorded_and_shown(suite: pytest.Pytester, tmp_path: Path) -> None:
    assert len(KIND.splitlines()) <= 60
    suite.runpytest("--snapshot-update").assert_outcomes(passed=3)
    content = json.loads(baseline(suite).read_text())
    assert content["kind"] == "angles"
    assert content["defaults"]["pairs"] == content["pairs"] == 40
    assert content["metrics"].keys() == content["tolerance"]["on processors"].keys() == {"first_angle", "last_angle"}

    suite.runpytest().assert_outcomes(passed=3)
    run = run_of(suite)
    assert {name: row.how for name, row in run.results.items()} == {TRAINED: "stored", UNTRAINED: "stored"}
    row = run.results[TRAINED]
    assert (row.type, row.n, row.degenerate, row.curve) == ("AngleSpec", 40, 0, None)
    assert row.metrics["last_angle"].n == 20
    assert row.metrics["last_angle"].median == pytest.approx(content["metrics"]["last_angle"]["median"], rel=1e-4)
    assert row.provenance["prompts_sha256"] == content["prompts_sha256"]
    assert {one.outcome for one in run.tests} == {"passed"}
    assert sum(one.verdict is not None and one.verdict.outcome == "supported" for one in run.tests) == 1

    target, _ = page.write([records.runs(suite.path / "reports" / "runs")[-1]], tmp_path / "page")
    view = page.unpacked(target.read_text())
    assert view["metrics"]["first_angle"] == {"label": "angle after block 1", "told": "between A and B, degrees"}
    assert view["results"][TRAINED]["metrics"]["last_angle"]["n"] == 20
    assert "curve" not in view["results"][TRAINED]


def test_a_number_of_it_that_drifts_fails_and_is_named(suite: pytest.Pytester) -> None:
    suite.runpytest("--snapshot-update", "-k", "baseline").assert_outcomes(passed=2)
    content = json.loads(baseline(suite).read_text())
    content["metrics"]["first_angle"]["q75"] += 1
    baseline(suite).write_text(json.dumps(content))
    found = suite.runpytest("-k", "baseline")
    found.assert_outcomes(passed=1, failed=1)
    found.stdout.fnmatch_lines(["*the result moved: 1 numbers are out of tolerance*", "*q75 of first_angle: measured*"])
    rows = {row.subject: row.baseline for row in run_of(suite).tests}
    assert rows[TRAINED] is not None
    assert rows[TRAINED].state is State.MOVED
    assert rows[TRAINED].farthest[0].kind == "first_angle"


def test_what_was_stored_by_another_text_of_its_file_is_measured_again(suite: pytest.Pytester) -> None:
    suite.runpytest("--snapshot-update", "-k", "baseline").assert_outcomes(passed=2)
    (suite.path / "angles.py").write_text(KIND.replace("np.rad2deg(", "1.01 * np.rad2deg("))
    suite.runpytest("-k", "baseline").assert_outcomes(failed=2)
    assert {row.how for row in run_of(suite).results.values()} == {"measured"}


def test_a_function_that_gives_something_else_is_told(suite: pytest.Pytester) -> None:
    (suite.path / "angles.py").write_text(KIND.replace("for _ in specs]", "for _ in specs[1:]]"))
    said = " ".join(suite.runpytest("-k", "baseline").stdout.str().split())
    assert "the kind 'angles' gave 0 different results for 1 specs; expected an object of Angles for each." in said
    with pytest.raises(MeasureError, match="'odd' gave 2 results, dict, str among them, for 2 specs"):
        kinds.check_results(kind(), [{}, ""], 2)


def test_what_a_run_of_it_takes_is_reckoned(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    from measure.harness import plan

    monkeypatch.chdir(suite.path)
    (planned,) = plan.plan(plan.collect(None, paths=["."]))
    assert (planned.name, planned.work.specs, planned.work.tokens) == ("ladder-olmo-0.2m", 2, 2 * 40 * 20)


def test_a_kind_is_imported_without_torch(tmp_path: Path) -> None:
    (tmp_path / "angles.py").write_text(KIND)
    check = "import angles, sys; from measure import kinds; kinds.every(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=tmp_path, check=False).returncode == 0


# What is refused


@dataclass(frozen=True)
class OddSpec(Spec):
    pairs: int = 4
    pairing: str = "random"
    rows: str = "all"


@dataclass(frozen=True, eq=False)
class Odd(RowResult, kind="odd"):
    odd: Any


class Bare(Odd, kind="bare"):
    pass


def kind(**changed: Any) -> Kind:
    return Kind(**{"name": "odd", "spec": OddSpec, "result": Odd, "measure": "nowhere:odd", **changed})


def test_kinds_that_cannot_be_told_apart_or_lack_something_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(name: str) -> Definition:
        return Definition(name, "odd", "odd", None, 1.0, 1.0)

    bad = {
        "is called as 'curves' with CurveSpec": {"spec": dataclass(frozen=True)(type("CurveSpec", (OddSpec,), {}))},
        "has results of kind 'odd'; write class Odd(RowResult, kind=\"even\").": {"name": "even"},
        "has Bare, which is no dataclass; write @dataclass over it.": {"result": Bare, "name": "bare"},
        "takes triples, and OddSpec lacks triples": {"takes": "triples"},
        "has the metric 'size', which Odd has not": {"metrics": (other("size"),)},
    }
    for said, changed in bad.items():
        with pytest.raises(MeasureError) as error:
            kinds.register(kind(**changed))
        assert said in str(error.value)
    monkeypatch.setattr(Odd, "detour", property(len), raising=False)
    with pytest.raises(MeasureError, match=r"'detour' of the kind 'odd' has the name of another, detour \(sum"):
        kinds.register(kind(metrics=(other("detour"),)))
    with pytest.raises(MeasureError, match="there is no kind 'odd'; import the module that registers it"):
        kinds.named("odd")
    assert kinds.register(kind(metrics=(other("odd"),))) is kinds.of(OddSpec("m"))


def test_two_results_of_one_name_are_refused() -> None:
    with pytest.raises(MeasureError, match="Other has kind='curves', the name of measure.results.Curves in files"):

        class Other(RowResult, kind="curves"):
            pass

    assert Result._kinds["curves"] is Curves


def test_a_spec_of_no_kind_is_told_at_collection(suite: pytest.Pytester) -> None:
    (suite.path / "angles.py").write_text(KIND.replace("kinds.register(kinds.Kind(", "dict(dict("))
    found = suite.runpytest()
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.fnmatch_lines(["*test_angles.py::*: AngleSpec is no spec of a known kind; register its kind with*"])
