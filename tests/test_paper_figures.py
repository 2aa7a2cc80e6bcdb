"""Figures from records: every one from a full set, none from an empty one, and what they show held against the numbers.

How they look was judged by eye; here are the properties that a change could break unseen.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from measure import cli
from measure.harness import recording
from measure.kinds.rows import Header, ModelRow, PairRows, Revision
from measure.report import figure_parts, paper_figures, records, slice_figures
from measure.report.paper_figures import FIGURES
from measure.report.records import Run
from measure.spec import CrossingSpec, CurveSpec, SliceSpec
from tests import small_results as small

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of the 18 triples, in two renderings, one of each is enough.
LOOKED_AT = [name for name in FIGURES if not name.removeprefix("fig").partition("-")[0].isdigit()]
LOOKED_AT += ["fig1", "fig1-regions", "fig2", "fig2-every-model", "fig3", "fig4", "fig5", "fig7-regions", "fig23-24"]
OURS = ["edge-drift", "edge-speed", "layer-sweep", "gates", "protocols", "reads"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small.run(tmp_path_factory.mktemp("run") / "records.jsonl", *small.lines())


@pytest.fixture(scope="module")
def minimal(tmp_path_factory: pytest.TempPathFactory) -> Run:
    spec = CurveSpec("ladder-olmo-0.2m@main")
    row = recording.of_result(spec, "measured", small.result(spec))
    return small.run(tmp_path_factory.mktemp("run") / "records.jsonl", small.header("ladder-olmo-0.2m"), row)


PICTURES = Path(__file__).with_name("figure_colours.json")


def catalog_of(run: Run) -> dict[str, ModelRow]:
    assert run.header is not None
    return dict(run.header.catalog)


def drawn(name: str, run: Run) -> Figure:
    figure = FIGURES[name](run)
    assert figure is not None
    return figure


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_visible()]


def texts(figure: Figure) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def pixels(figure: Figure, dpi: int = 40) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def test_every_figure_of_the_paper_has_its_name() -> None:
    numbered = {name.removeprefix("fig").partition("-")[0] for name in FIGURES if name.startswith("fig")}
    assert numbered == {*map(str, range(1, 24))} - {"24"}
    assert {*OURS, "fig23-24", "fig1-regions", "fig22-regions"} <= FIGURES.keys()


@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_full_run_has_every_figure_with_its_n_at_column_width(name: str, run: Run) -> None:
    figure = drawn(name, run)
    width, height = figure.get_size_inches()
    assert width == pytest.approx(3.3)
    assert height <= 9
    caption = max(texts(figure), key=len)
    assert "n\u00a0=\u00a0" in caption or "triple" in caption
    assert caption.endswith(".")
    smallest = min(text.get_fontsize() for text in figure.findobj(lambda part: hasattr(part, "get_fontsize")))
    assert smallest >= 4.5


@pytest.mark.parametrize("name", list(FIGURES))
def test_a_run_that_lacks_what_a_figure_shows_has_none(name: str, minimal: Run) -> None:
    assert FIGURES[name](minimal) is None
    assert FIGURES[name](Run(Header(records.FORMAT), {}, ())) is None
    assert FIGURES[name](Run(None, {}, ())) is None


@pytest.mark.parametrize(
    ("name", "specs"),
    [
        ("fig4", [CurveSpec(f"ladder-olmo-0.2m@{revision}") for revision in ("step0-tokens0M", "main")]),
        ("fig3", [CurveSpec(f"ladder-olmo-{size}@main") for size in ("0.2m", "1.1m")]),
        ("edge-drift", [CurveSpec("ladder-olmo-0.2m@main", weights=weights) for weights in ("stored", "scrambled:0")]),
        ("edge-speed", [CurveSpec("ladder-olmo-0.2m@main", weights=weights) for weights in ("stored", "scrambled:0")]),
        ("layer-sweep", [CurveSpec("ladder-olmo-0.2m@main", layer=layer) for layer in (1, 2, 3)]),
        ("fig5", [SliceSpec(f"ladder-olmo-0.2m@{revision}") for revision in ("step0-tokens0M", "main")]),
        ("gates", [CrossingSpec("ladder-olmo-0.2m@main")]),
    ],
)
def test_the_least_that_a_figure_can_be_drawn_from(name: str, specs: list[Any], tmp_path: Path) -> None:
    rows = [recording.of_result(spec, "measured", small.result(spec)) for spec in specs]
    models = {spec.ref.name for spec in specs}
    figure = drawn(name, small.run(tmp_path / "records.jsonl", small.header(*sorted(models)), *rows))
    assert pixels(figure).min() < 100
    assert FIGURES[name](small.run(tmp_path / "less.jsonl", small.header(*sorted(models)))) is None


@pytest.mark.parametrize("header", [None, Header(records.FORMAT)])
def test_results_of_models_that_the_header_does_not_know_are_drawn_all_the_same(
    header: Header | None, run: Run
) -> None:
    bare = Run(header, run.results, run.tests)
    assert FIGURES["edge-drift"](bare) is not None
    assert FIGURES["fig23-24"](bare) is not None
    assert FIGURES["fig3"](bare) is None


def test_curves_are_the_medians_and_bands_the_quartiles(run: Run) -> None:
    panel = panels(drawn("fig3", run))[0]
    curve = run.results["ladder-olmo-1.1m-main"].curve
    assert curve is not None
    assert any(np.array_equal(shown.get_ydata(), curve.median) for shown in panel.lines)
    bands = [np.unique(band.get_paths()[0].vertices[:, 1].round(6)) for band in panel.collections]
    edges = np.unique(np.round([*curve.q25, *curve.q75], 6))
    assert any(np.array_equal(band, edges) for band in bands)


def test_max_slope_stands_at_the_parameters_with_bars_between_quartiles(run: Run) -> None:
    below = panels(drawn("fig3", run))[-1]
    assert below.get_xscale() == "log"
    container = below.containers[0]
    metric = [run.results[f"ladder-olmo-{size}-main"].metrics["max_slope"] for size in ("0.2m", "1.1m")]
    x, y = container.lines[0].get_data()
    assert x.tolist() == [catalog_of(run)[f"ladder-olmo-{size}"].parameters for size in ("0.2m", "1.1m")]
    assert y.tolist() == [entry.median for entry in metric]
    bars = container.lines[2][0].get_segments()
    np.testing.assert_allclose([bar[:, 1] for bar in bars], [[entry.q25, entry.q75] for entry in metric])


def test_the_untrained_model_stands_at_zero_left_of_the_break(run: Run) -> None:
    below = panels(drawn("fig4", run))[-1]
    labels = [label.get_text() for label in below.get_xticklabels()]
    ticks = below.get_xticks()
    assert labels[0] == "0"
    revisions = catalog_of(run)["ladder-olmo-0.2m"].revisions
    shown = [entry.tokens for entry in revisions if entry.name in small.TRAINED]
    x = below.containers[0].lines[0].get_xdata()
    assert x[0] == ticks[0] < min(amount for amount in shown if amount)
    assert x[1:].tolist() == shown[1:]
    (mark,) = [line for line in below.lines if line.get_transform() == below.get_xaxis_transform()]
    assert x[0] < mark.get_xdata()[0] < x[1]


@pytest.mark.parametrize(
    ("known", "unit", "first"), [(("step",), "training steps", "0"), ((), "revision, in order", "1")]
)
def test_where_tokens_are_not_known_steps_are_counted_or_mere_order(
    known: tuple[str, ...], unit: str, first: str, run: Run
) -> None:
    changed = {}
    for model, about in catalog_of(run).items():
        revisions = (Revision(r.name, **{name: getattr(r, name) for name in known}) for r in about.revisions)
        changed[model] = replace(about, revisions=tuple(revisions))
    below = panels(drawn("fig4", Run(Header(records.FORMAT, catalog=changed), run.results, ())))[-1]
    assert below.get_xlabel() == unit
    assert below.get_xticklabels()[0].get_text() == first


def test_slices_are_the_recorded_colours_with_their_references(run: Run) -> None:
    row = run.results["ladder-olmo-0.2m-main-slice"]
    figure = drawn("fig5", run)
    shown = next(panel for panel in panels(figure) if panel.get_title() == "8.39M tokens")
    assert (shown.images[0].get_array() == records.slice_colours(row, 0)).all()
    marks = [tuple(point.get_xydata()[0]) for point in shown.lines]
    assert marks == [*row.triples[0].reference_points]
    assert [text.get_text() for text in shown.texts] == ["A", "B", "C"]


def test_regions_are_parted_by_lines_and_alike_references_are_one(run: Run) -> None:
    row = run.results["ladder-olmo-0.2m-main-slice"]
    triple = row.triples[0]
    nearest, colours = slice_figures._nearest(records.slice_colours(row, 0), triple)
    assert set(np.unique(nearest)) == {0, 1, 2}
    assert colours.shape == (small.SIZE, small.SIZE, 3)
    # C's corner is C's.
    assert nearest[-2, small.SIZE // 2 - 1] == 2
    lines = slice_figures._boundaries(nearest, 0.0, 1.0)
    differing = (nearest[1:] != nearest[:-1]).sum() + (nearest[:, 1:] != nearest[:, :-1]).sum()
    assert len(lines.get_segments()) == differing
    a, b, _ = triple.own_colours
    merged, _ = slice_figures._nearest(records.slice_colours(row, 0), replace(triple, own_colours=(a, b, a)))
    assert 2 not in merged


def coarse(figure: Figure) -> list[Any]:
    """Mean colours of a picture over 8 rows of 8 cells; `figure_colours.json` holds some that were looked at."""
    rows = np.array_split(pixels(figure).astype(float), 8, axis=0)
    cells = [np.array_split(row, 8, axis=1) for row in rows]
    return [[np.round(cell.mean(axis=(0, 1))).astype(int).tolist() for cell in row] for row in cells]


@pytest.mark.parametrize(("name", "accepted"), json.loads(PICTURES.read_text()).items())
def test_slices_look_as_when_they_were_looked_at(name: str, accepted: list[Any], run: Run) -> None:
    assert np.abs(np.array(coarse(drawn(name, run))) - np.array(accepted)).max() < 12


def test_a_slice_without_a_plane_says_so(run: Run) -> None:
    row = run.results["ladder-olmo-0.2m-main-slice"]
    first, *others = row.triples
    flat = replace(first, degenerate=True, own_colours=((None,) * 3,) * 3)
    changed = Run(run.header, {**run.results, row.id: replace(row, triples=(flat, *others))}, run.tests)
    for name in ("fig5", "fig5-regions"):
        figure = drawn(name, changed)
        pixels(figure)
        assert "no plane" in texts(figure)


def test_trained_and_shuffled_are_told_apart_by_drift(run: Run) -> None:
    slope, drift = panels(drawn("edge-drift", run))
    assert [label.get_text() for label in slope.get_yticklabels()] == [
        "ladder-qwen2-0.2m",
        "ladder-olmo-1.1m",
        "ladder-olmo-0.2m",
    ]
    metric = run.results["ladder-olmo-0.2m-main"].metrics["edge_drift"]
    shown = [container.lines[0].get_xdata()[0] for container in drift.containers]
    assert metric.estimate in shown


def test_what_looks_from_both_ends_stands_beside_its_null(run: Run) -> None:
    _, speed, drift = panels(drawn("edge-speed", run))
    row = run.results["ladder-olmo-0.2m-main"]
    for panel, name in ((speed, "edge_speed"), (drift, "two_sided_drift")):
        assert row.metrics[name].estimate in [c.lines[0].get_xdata()[0] for c in panel.containers]
        assert row.null_metrics[name].median in [line.get_xdata()[0] for line in panel.lines]


def test_both_protocols_are_held_against_each_other_and_never_mixed(run: Run) -> None:
    slope, _ = panels(drawn("protocols", run))
    points = {tuple(np.ravel(container.lines[0].get_data())) for container in slope.containers}
    pair = ["ladder-olmo-0.2m-main", "ladder-olmo-0.2m-main-protocolstrict"]
    assert tuple(run.results[name].metrics["max_slope"].estimate for name in pair) in points
    below = panels(drawn("fig3", run))[-1]
    assert run.results[pair[1]].metrics["max_slope"].median not in below.containers[0].lines[0].get_ydata()


def test_float32_is_drawn_where_a_run_has_it_and_another_precision_is_named(run: Run) -> None:
    both = dict(run.results)
    for row in run.results.values():
        both[f"{row.id}-low"] = replace(row, spec={**row.spec, "precision": "bfloat16"})
    assert "bfloat16" not in max(texts(drawn("fig3", Run(run.header, both, ()))), key=len)
    low = {name: row for name, row in both.items() if name.endswith("-low")}
    assert max(texts(drawn("fig3", Run(run.header, low, ()))), key=len).endswith("computed in bfloat16.")


def test_drawing_leaves_the_callers_style_alone(run: Run) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawn("fig3", run)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_files_are_written_and_the_same_each_time(ending: str, run: Run, tmp_path: Path) -> None:
    first, again = (
        paper_figures.save_all(run, tmp_path / name, [ending], ["fig3", "fig1-regions"]) for name in ("a", "b")
    )
    assert [path.name for path in first] == [f"fig3.{ending}", f"fig1-regions.{ending}"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_figures_that_a_run_has_not_are_left_out(minimal: Run, tmp_path: Path) -> None:
    assert paper_figures.save_all(minimal, tmp_path) == []


@pytest.mark.parametrize(
    ("number", "name"), [(0, "0"), (131072, "131k"), (8388608, "8.39M"), (3.05e12, "3050B"), (4e9, "4B"), (500, "500")]
)
def test_counts_are_short(number: float, name: str) -> None:
    assert figure_parts.count_name(number) == name


def test_names_of_models_from_outside_stay_text(run: Run, tmp_path: Path) -> None:
    hostile = "$\\frac{$<b>&"
    path = small.write(tmp_path / "records.jsonl", small.header(), *run.results.values())
    path.write_text(path.read_text().replace("ladder-olmo-0.2m", json.dumps(hostile)[1:-1]))
    figure = drawn("edge-drift", records.read([path]))
    pixels(figure)
    assert hostile in texts(figure)


def test_slice_specs_are_those_of_the_suite() -> None:
    assert SliceSpec("x").triples == slice_figures.TRIPLES


def letters(figure: Figure) -> list[str]:
    return [text.get_text() for panel in panels(figure) for text in panel.texts if text.get_weight() == "bold"]


@pytest.mark.parametrize(
    ("name", "count"),
    [("fig2", 3), ("fig3", 2), ("fig4", 4), ("fig23-24", 6), ("edge-speed", 3), ("layer-sweep", 2), ("gates", 3),
     ("protocols", 2), ("reads", 3)],
)  # fmt: skip
def test_panels_have_letters(name: str, count: int, run: Run) -> None:
    assert sorted(letters(drawn(name, run))) == list("abcdefghi"[:count])


@pytest.mark.parametrize("name", ["fig1", "fig5", "fig5-regions"])
def test_the_axes_of_slices_have_their_names_at_the_edge(name: str, run: Run) -> None:
    shown = panels(drawn(name, run))
    across = [[label.get_text() for label in panel.get_xticklabels()] for panel in shown]
    up = [[label.get_text() for label in panel.get_yticklabels()] for panel in shown]
    assert [labels for labels in across if labels] == [["0", "α", "1"]] * 3
    left = sum(np.isclose(panel.get_position().x0, shown[0].get_position().x0) for panel in shown)
    assert [labels for labels in up if labels] == [["0", "β", "1"]] * left
    assert all(panel.get_xticks().tolist() == panel.get_yticks().tolist() == [0, 0.5, 1] for panel in shown)


def test_the_axis_is_named_beneath_the_lowest_panel_of_each_column(run: Run) -> None:
    fewer = {name: row for name, row in run.results.items() if name != "ladder-qwen2-0.2m-step256-tokens1M-slice"}
    assert len(fewer) == len(run.results) - 1
    rows: dict[float, list[Axes]] = {}
    for panel in panels(drawn("fig5", Run(run.header, fewer, ()))):
        rows.setdefault(round(panel.get_position().x0, 3), []).append(panel)
    for column in rows.values():
        named = [panel.xaxis.get_tick_params()["labelbottom"] for panel in column]
        assert named == [False] * (len(column) - 1) + [True]


def printed(run: Run, *pairs: tuple[str, str]) -> Run:
    """The run with the last words of its printed dissimilar pairs, and so many lines, each higher than the last."""
    changed = dict(run.results)
    for name, row in run.results.items():
        if row.spec.get("pairing") == "printed_dissimilar":
            assert row.curve is not None
            lines = tuple(tuple(a ** (0.5 + k) for a in row.curve.alphas if a is not None) for k in range(len(pairs)))
            changed[name] = replace(row, pairs=PairRows(lines + lines, last_tokens=pairs + pairs))
    return Run(run.header, changed, run.tests)


def test_the_papers_own_pairs_are_named_on_their_lines(run: Run) -> None:
    given = printed(run, (" very", " in"), ("▁was", "▁had"), (" no", " such"), (" her", " him"))
    panel = panels(drawn("fig2", given))[1]
    names = {text.get_text(): text for text in panel.texts if text.get_text().startswith("D")}
    assert [*names] == ["D1", "D2", "D3"]
    thin = [line for line in panel.lines if line.get_linewidth() == 0.5]
    assert len(thin) == 4
    for place, name in ((0, "D1"), (1, "D2"), (3, "D3")):
        x, y = names[name].xy
        assert y == pytest.approx(x ** (0.5 + place)), "on its own line"
    assert [text.get_text() for text in panels(drawn("fig2", printed(run, (" no", " such"))))[1].texts][-1:] != ["D1"]


def test_a_model_has_one_name(run: Run) -> None:
    figure = drawn("fig3", run)
    below = panels(figure)[-1]
    assert [label.get_text() for label in below.get_xticklabels()] == ["500k", "1M"]
    assert not [text for text in texts(figure) if text in ("329k", "1.35M")]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (3.3e5, 3.2e6, [5e5, 1e6, 2e6]),
        (7e7, 1.2e10, [1e8, 3e8, 1e9, 3e9, 1e10]),
        (5e8, 5e8, [5e8]),
        (3.2e8, 3.6e8, [3.2e8]),
        (1, 1e12, [10.0**k for k in range(13)]),
    ],
)
def test_round_numbers_on_an_axis(low: float, high: float, ticks: list[float]) -> None:
    assert paper_figures._round(low, high) == pytest.approx(ticks)


def test_captions_stand_beside_the_pictures(run: Run, tmp_path: Path) -> None:
    from matplotlib.image import imread

    names = ["fig3", "fig5"]
    paper_figures.save_all(run, tmp_path / "with", ["png"], names)
    files = paper_figures.save_all(run, tmp_path / "without", ["png", "svg"], names, captions=False)
    assert [path.name for path in files] == ["fig3.png", "fig3.svg", "fig3.txt", "fig5.png", "fig5.svg", "fig5.txt"]
    for name in names:
        text = (tmp_path / "without" / f"{name}.txt").read_text()
        assert text.count("\n") == 1
        assert text.endswith(", read final norm.\n") or text.endswith("from A, B and C.\n")
        assert "\u00a0" not in text
        assert text.split("; ")[0] not in (tmp_path / "without" / f"{name}.svg").read_text()
        whole, bare = (imread(tmp_path / kind / f"{name}.png")[..., :3] for kind in ("with", "without"))
        assert whole.shape[1] == bare.shape[1]
        # The panels are what they were: nothing above the caption changes.
        assert 0.6 * len(whole) < len(bare) < len(whole)
        top = len(bare) - 20
        assert np.abs(whole[:top] - bare[:top]).max() < 0.02


def test_the_command_leaves_captions_out(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = small.write(
        tmp_path / "r.jsonl", small.header("ladder-olmo-0.2m", "ladder-olmo-1.1m"), *run.results.values()
    )
    asked = ["report", str(path), "--out", str(tmp_path), "--no-caption"]
    assert cli.main(asked) == 2
    assert "--no-caption is of figures; say with --figures png" in capsys.readouterr().err
    assert cli.main([*asked, "--figures", "png", "--only", "fig3"]) == 0
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["fig3.png", "fig3.txt"]
    assert "2 files, 1 figures" in capsys.readouterr().out


def test_what_was_measured_otherwise_is_in_no_figure_of_the_paper(run: Run) -> None:
    items = figure_parts.items_of(run)
    changed = {
        "interventions": [{"part": "mlp", "blocks": [2, 3], "factor": 0.0}],
        "path": "arc",
        "toward": "isotropic",
    }
    for field, value in changed.items():
        first = items[0].row
        more = replace(first, spec={**first.spec, field: value})
        assert len(figure_parts.items_of(replace(run, results={**run.results, "changed": more}))) == len(items)
