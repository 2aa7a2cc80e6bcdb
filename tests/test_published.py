"""Published numbers: what the table holds, widths by a plain script, and a checkpoint of that name from a hub."""

from __future__ import annotations

import inspect
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

import measure
from measure import MeasureError, catalog, cli
from measure.api import published_runs
from measure.claims import published
from measure.harness import selection
from measure.hub import checkpoints as hub
from measure.models.loading import no_progress_bars
from tests.conftest import tiny_network, whole_table
from tests.hub import TOKENIZER, LocalHub
from tests.plateau_lab_record import record, run

ways = pytest.mark.skipif(
    "path" not in inspect.signature(measure.interpolate).parameters, reason="this version goes straight alone"
)
SMALL = next(one for one in published.table().widths if "410m" in one.model)


def test_the_table_is_whole_and_says_where_it_is_from() -> None:
    table = published.table()
    assert len(table.pairs) == 60
    # No token stands in two pairs.
    assert len({token for pair in table.pairs for token in pair}) == 120
    large = [one for one in table.widths if one.model == "EleutherAI/pythia-1.4b-deduped"]
    steps = [int(one.revision.removeprefix("step")) for one in large]
    assert len(steps) == 20
    assert steps == sorted(steps)
    # step16 of that repository is step143000.
    assert 16 not in steps
    assert all(one.low is not None and one.high is not None and one.low < one.median < one.high for one in large)
    assert (large[0].median, large[-1].median, SMALL.median) == (0.83123, 0.54119, 0.63988)
    assert all("billy000400/marsv" in one.source for one in (*table.widths, *table.first_pair))
    assert {len(one.widths) for one in table.first_pair} == {len(table.carriers)}


def plainly(d: list[float], t: list[float]) -> float:
    """The width of one curve, as its authors' rules have it."""
    highest, falls = d[0], 0.0
    for value in d:
        highest = max(highest, value)
        falls = max(falls, highest - value)
    times = {}
    for level in (0.1, 0.9):
        passed = []
        for i in range(len(d) - 1):
            if d[i] < level <= d[i + 1]:
                passed.append(t[i] + (level - d[i]) / (d[i + 1] - d[i]) * (t[i + 1] - t[i]))
            elif d[i] > level >= d[i + 1]:
                passed.append(float("nan"))
        times[level] = passed
    if d[0] > 0.1 or d[-1] < 0.9 or falls > 0.02 or any(len(passed) != 1 for passed in times.values()):
        return float("nan")
    return times[0.9][0] - times[0.1][0]


def test_widths_are_a_plain_scripts_on_a_rung_of_the_ladder() -> None:
    words = measure.pairs("words")
    curves = measure.interpolate("ladder-olmo-0.2m", words.a[:40], words.b[:40], read="logits")
    assert curves.end_side_distance is not None
    symmetric = curves.distance / (curves.distance + curves.end_side_distance)
    found = published.widths(symmetric, curves.alphas)
    expected = [plainly(row, curves.alphas.tolist()) for row in symmetric.tolist()]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.isfinite(found).sum() > 20


def test_curves_that_have_no_width() -> None:
    t = np.linspace(0, 1, 51)
    wave = t + 0.1 * np.sin(6 * np.pi * t) * (t > 0.3) * (t < 0.7)
    again = np.where((t > 0.11) & (t < 0.15), 0.095, t)
    rows = np.stack([t, 0.2 + 0.8 * t, 0.85 * t, wave, again, t**2])
    found = published.widths(rows, t)
    np.testing.assert_allclose(found[[0, 5]], [0.8, 0.9**0.5 - 0.1**0.5], atol=2e-3)
    assert np.isnan(found[1:5]).all()
    np.testing.assert_allclose(found, [plainly(row, t.tolist()) for row in rows.tolist()], atol=1e-12)


def test_the_median_is_over_pairs_of_that_over_carriers() -> None:
    by_carrier = np.array([[0.1, 0.2, 0.9], [0.1, np.nan, 0.2], [np.nan] * 3, [0.8, 0.8, 0.8]])
    assert published.median_width(by_carrier) == 0.2
    assert np.isnan(published.median_width(np.full((2, 3), np.nan)))


def stand_in(seed: int = 0) -> Any:
    """As many tokens as Pythia has, and little else."""
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=50304, initializer_range=0.3, **shape)).eval()


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub that has a checkpoint under the name of the published one."""
    with no_progress_bars():
        stand_in().save_pretrained(tmp_path / "mine")
    shutil.copytree(TOKENIZER, tmp_path / "mine", dirs_exist_ok=True)
    with LocalHub() as served:
        files = {path.name: path for path in (tmp_path / "mine").iterdir()}
        for revision in ("main", SMALL.revision):
            served.add(SMALL.model, files, revision=revision)
        served.use(monkeypatch, tmp_path / "cache")
        hub.forget()
        yield served


@ways
def test_a_checkpoint_of_that_name_is_measured_by_exact_token_ids(
    local: LocalHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = published.table()
    few = msgspec.structs.replace(whole, pairs=(*whole.pairs[:3], whole.pairs[-1]))
    monkeypatch.setattr(published, "table", lambda: few)
    assert published.lacking(SMALL) == (
        "EleutherAI/pythia-410m-deduped@step143000 is not in the hub's cache; fetch it: hf download "
        "EleutherAI/pythia-410m-deduped --revision step143000"
    )
    found = published_runs.measured(SMALL)
    assert published.lacking(SMALL) == ""
    assert found.widths.shape == (4, 3)
    network, tokenizer = stand_in(), measure.models.loading.named_tokenizer("ladder-olmo-0.2m")
    for pair, carrier in ((0, 0), (2, 1), (3, 2)):
        front = tokenizer(published.table().carriers[carrier], add_special_tokens=False)["input_ids"]
        a, b = ([*front, token] for token in few.pairs[pair])
        rows = record(network, a, b, steps=50)["effect"]
        symmetric = rows["rows"][-1]["values"]["relative_l2_shinkle"]
        np.testing.assert_allclose(found.widths[pair, carrier], plainly(symmetric, rows["t"]), atol=2e-5)
    assert cli.main(["compare", "EleutherAI/pythia-410m-deduped"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].startswith("EleutherAI/pythia-410m-deduped@step143000")
    assert f" 0.6399 {'':>17} {found.median:>8.4f} " in out[1]
    assert "  beyond tolerance: median by " in out[1]
    assert out[-1] == "tolerance: 0.001 of the median, 0.003 of the first pair's single widths."


def numbers(**more: Any) -> published.Measured:
    """What would be found on the published checkpoint itself."""
    first = next(one for one in published.table().first_pair if one.model == SMALL.model)
    widths = np.full((60, 3), SMALL.median)
    widths[0] = first.widths
    found = published.Measured(SMALL, widths, np.array(first.cosines), np.array(first.distances))
    return replace(found, **more)


@pytest.mark.parametrize(
    ("name", "by"), [("widths", 0.02), ("cosines", 2e-4), ("distances", 2e-3), ("widths", float("nan"))]
)
def test_what_is_off_is_told(name: str, by: float) -> None:
    whole = numbers()
    assert whole.agrees
    assert "beyond" not in "\n".join(published.lines([whole]))
    off = numbers(**{name: getattr(whole, name) + by})
    assert not off.agrees
    assert "beyond tolerance: " in published.lines([off])[1]


def test_names_of_published_checkpoints() -> None:
    assert [one.revision for one in published.named("pythia-410m")] == ["step143000"]
    assert len(published.named("EleutherAI/pythia-1.4b-deduped")) == 20
    assert [one.revision for one in published.named("EleutherAI/pythia-1.4b-deduped@step512")] == ["step512"]
    assert published.named("EleutherAI/pythia-1.4b-deduped@step16") == []
    assert published.named("ladder-olmo-0.2m") == []


def test_what_is_not_cached_is_not_fetched_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with LocalHub() as served:
        served.use(monkeypatch, tmp_path / "cache")
        hub.forget()
        assert cli.main(["compare", "EleutherAI/pythia-1.4b-deduped@step512"]) == 2
    error = capsys.readouterr().err
    assert "fetch it: hf download EleutherAI/pythia-1.4b-deduped --revision step512" in error
    assert error.count("\n") == 1


def test_a_model_without_tokenizer_cannot_read_the_carriers(tmp_path: Path) -> None:
    tiny_network("gpt_neox").save_pretrained(tmp_path / "bare")
    with pytest.raises(MeasureError, match="has no tokenizer to read the carriers with; put its tokenizer.json beside"):
        published_runs.measured(SMALL, str(tmp_path / "bare"))


LARGE = next(one for one in published.table().widths if one.revision == "step512")


@pytest.fixture
def suite(
    pytester: pytest.Pytester, local: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.Pytester]:
    """The suite alone, on three of the pairs, with a hub that has stand-ins of two published models."""
    files = {path.name: path for path in (tmp_path / "mine").iterdir()}
    for seed, revision in enumerate((LARGE.revision, "step3000", "step143000", "main"), 1):
        # The last revision of training is what main is.
        stand_in(min(seed, 3)).save_pretrained(tmp_path / revision)
        local.add(
            LARGE.model, {**files, "model.safetensors": tmp_path / revision / "model.safetensors"}, revision=revision
        )
    whole = published.table()
    few = msgspec.structs.replace(whole, pairs=(*whole.pairs[:2], whole.pairs[-1]))
    monkeypatch.setattr(published, "table", lambda: few)
    shutil.copy(Path(__file__).parent.parent / "suites" / "test_published.py", pytester.mkdir("suites"))
    pytester.makeini("[pytest]")
    pytester.makeconftest('pytest_plugins = ["measure.plugin"]')
    yield pytester
    catalog._ADDED.clear()
    catalog.models.cache_clear()
    selection._at_hand.cache_clear()


def rows_of(result: pytest.RunResult) -> list[str]:
    """The lines of a run's table of checkpoints, without its head and its tolerance."""
    head, *rows, tolerance = [
        line for line in result.outlines if line.startswith(("checkpoint ", "EleutherAI/", "tolerance: "))
    ]
    assert head.split() == ["checkpoint", "published", "95", "%", "interval", "here", "off", "curves"]
    assert tolerance == "tolerance: 0.001 of the median, 0.003 of the first pair's single widths."
    return rows


def plant(monkeypatch: pytest.MonkeyPatch, found: published.Measured) -> None:
    """Publish what was found on a stand-in."""
    whole, told = published.table(), found.published
    first = published.FirstPair(
        told.model, told.revision, *(tuple(v.tolist()) for v in (found.widths[0], found.cosines, found.distances)), ""
    )
    widths = tuple(msgspec.structs.replace(one, median=found.median) if one == told else one for one in whole.widths)
    planted = msgspec.structs.replace(whole, widths=widths, first_pair=(first,))
    monkeypatch.setattr(published, "table", lambda: planted)


def test_the_suite_fails_on_a_checkpoint_that_is_not_as_published(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = suite.runpytest("suites", "--models", "pythia-410m")
    # The control, which holds the planted numbers, holds.
    result.assert_outcomes(passed=1, failed=1, deselected=2)
    assert result.ret == 1
    [row] = rows_of(result)
    own = published_runs.measured(SMALL)
    assert row.split()[:3] == [SMALL.name, "0.6399", f"{own.median:.4f}"]
    assert " 9 of 9  beyond tolerance: median by " in row
    result.stdout.fnmatch_lines(["expected the claim to be supported, measured: contradicted*as published 0 of 1*"])
    assert "beyond tolerance: median by " in whole_table(suite.path)


def test_the_suite_passes_where_the_published_numbers_are_found(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = published_runs.measured(SMALL)
    plant(monkeypatch, own)
    # Now in the cache, it need not be named.
    result = suite.runpytest("suites", "-k", "410m")
    result.assert_outcomes(passed=2, deselected=2)
    assert rows_of(result) == [f"{SMALL.name:<44} {own.median:>9.4f} {'':>17} {own.median:>8.4f} {0:>+8.4f}  9 of 9"]
    result = suite.runpytest("suites", "-k", "410m", "--models", "ladder")
    result.assert_outcomes(skipped=2, deselected=2)


def test_the_suite_takes_the_revisions_that_are_named_or_cached(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, local: LocalHub
) -> None:
    result = suite.runpytest("suites", "-rs")
    result.assert_outcomes(skipped=4)
    why = "EleutherAI/pythia-1.4b-deduped@step0 is not in the hub's cache; fetch it: hf download {} --revision step0"
    result.stdout.fnmatch_lines([f"SKIPPED*not measured: {why.format(LARGE.model)} (and 19 more)"])
    asked = suite.runpytest("suites", "--models", LARGE.name)
    assert [row.split()[0] for row in rows_of(asked)] == [LARGE.name]
    # One without a published number.
    other = suite.runpytest("suites", "-rs", "--models", f"{LARGE.model}@step3000")
    other.assert_outcomes(skipped=2, deselected=2)
    other.stdout.fnmatch_lines(["SKIPPED*not measured: nothing is published of * at the revisions named"])
    # Without a revision: its last, and what is in the cache by now.
    last = suite.runpytest("suites", "-k", "claim", "--models", LARGE.model)
    found = rows_of(last)
    assert [row.split()[0] for row in found] == [LARGE.name, f"{LARGE.model}@step143000"]
    last.stdout.fnmatch_lines([f"not measured: {why.format(LARGE.model)} (and 17 more)"])


def test_widths_and_medians_are_a_plain_scripts_on_a_rung_of_the_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole chain: tokens, arc, logits, symmetric distance, width, medians, states after the first block."""
    whole = published.table()
    pairs = ((20, 30), (401, 402), (77, 500))
    monkeypatch.setattr(published, "table", lambda: msgspec.structs.replace(whole, pairs=pairs))
    found = published_runs.measured(SMALL, "ladder-olmo-0.2m")
    network = measure.models.loading.load("ladder-olmo-0.2m").network.double()
    tokenizer = measure.models.loading.named_tokenizer("ladder-olmo-0.2m")
    fronts = [tokenizer(carrier, add_special_tokens=False)["input_ids"] for carrier in whole.carriers]
    widths = [[by_hand(network, *([*front, token] for token in pair)) for front in fronts] for pair in pairs]
    np.testing.assert_allclose(found.widths, widths, atol=2e-5)
    medians = [statistics.median(w for w in row if w == w) for row in widths if any(w == w for w in row)]
    assert found.median == pytest.approx(statistics.median(medians), abs=2e-5)
    for carrier, front in enumerate(fronts):
        x, y = (run(network, [*front, token], 0, {})["0"] for token in pairs[0])
        assert found.cosines[carrier] == pytest.approx(float(x @ y / (x.norm() * y.norm())), rel=1e-5)
        assert found.distances[carrier] == pytest.approx(float((x - y).norm()), rel=1e-5)


def by_hand(network: Any, a: list[int], b: list[int]) -> float:
    """The width of a pair's curve along the arc, one run a point."""
    curve = record(network, a, b, steps=50)["effect"]
    return plainly(curve["rows"][-1]["values"]["relative_l2_shinkle"], curve["t"])
