"""Tell: what the paper prints in numbers beside what a run measured. Judges nothing.

Most of its results are pictures; what is here stands in its text, its titles of panels and its Table 1, as printed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from measure import catalog
from measure.kinds.rows import ResultRow
from measure.report import page_names
from measure.report.figure_parts import count_name
from measure.report.records import Run
from measure.report.view_rows import Printed

Rows = Sequence[ResultRow]
# Table 1 as printed where it is not what the models' own configs say.
ERRATA = {("olmo-1b", "tied"): True, ("qwen2-7b", "vocabulary"): 151936}


def beside(title: str, rows: Rows, run: Run) -> tuple[Printed, ...]:
    """Of a claim, by its title, what the paper prints and what `rows`, the results it rests on, have instead."""
    tell = _BY_TITLE.get(title)
    return tuple(entry for entry in tell(rows, run) if entry.here) if tell and rows else ()


def _range(values: Iterable[int | None], text: Callable[[int], str] = "{:,}".format) -> str:
    """One number, or the least and the most."""
    found = sorted({value for value in values if value is not None})
    if not found:
        return ""
    return text(found[0]) if len(found) == 1 else f"{text(found[0])} to {text(found[-1])}"


def _alphas(rows: Rows) -> Printed:
    return Printed("values of alpha", "50", _range(len(row.curve.alphas) if row.curve else None for row in rows))


def _pairs(rows: Rows) -> Printed:
    drawn = [row for row in rows if row.spec.get("pairing", "random") == "random"]
    return Printed("pairs of prompts", "1,000", _range(row.n for row in drawn))


def _models(rows: Rows, run: Run, printed: str) -> Printed:
    known = run.header.catalog if run.header else {}
    sizes = [known[row.model].parameters or None for row in rows if row.model in known]
    return Printed("parameters of the models", printed, _range(sizes, count_name))


def _by_hand(rows: Rows, run: Run) -> list[Printed]:
    counts = []
    for kind in ("similar", "dissimilar"):
        found = [row.n // 2 for row in rows if row.spec.get("pairing") == f"printed_{kind}" and row.n]
        counts.append(Printed(f"{kind} pairs written by hand", "3", _range(found)))
    return [*counts, _alphas(rows), _models(rows, run, "0.5B")]


def _by_size(rows: Rows, run: Run) -> list[Printed]:
    return [_pairs(rows), _alphas(rows), _models(rows, run, "0.5B to 7B")]


def _by_training(rows: Rows, run: Run) -> list[Printed]:
    amounts = dict.fromkeys(page_names.amount(row, run) for row in rows)
    told = ", ".join(amounts) if len(amounts) <= 8 else f"{len(amounts)} checkpoints"
    shown = Printed("training tokens of the curves drawn", "0, 4B, 10B, 31B, 3050B (1B); 0 to 2750B (7B)", told)
    return [_pairs(rows), _alphas(rows), _models(rows, run, "1B and 7B"), shown]


def _slices(rows: Rows, run: Run) -> list[Printed]:
    sliced = [row for row in rows if row.triples]
    spans = dict.fromkeys(f"{row.extent[0]:g} to {row.extent[1]:g}" for row in sliced if row.extent)
    return [
        Printed("slices in Figures 5 to 22", "18", _range(row.n for row in sliced)),
        Printed("alpha and beta", "-0.25 to 1.25", ", ".join(spans)),
        _models(rows, run, "1B and 7B"),
    ]


def _layers(rows: Rows, run: Run) -> list[Printed]:
    layers = sorted({layer for row in rows if isinstance(layer := row.spec.get("layer"), int)})
    return [Printed("patched after layer", "1 and 7", _ranges(layers)), _models(rows, run, "1.5B")]


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers in ascending order, three and more that follow one another as a range: `1, 5 to 9`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    told = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(told)


def printed_shape(model: str) -> dict[str, object]:
    """A row of Table 1 as printed."""
    shape: dict[str, object] = dict(dataclasses.asdict(catalog.models()[model].shape))
    return shape | {dimension: value for (name, dimension), value in ERRATA.items() if name == model}


def _table_1(rows: Rows, run: Run) -> list[Printed]:
    found = []
    for row in rows:
        if row.shape and row.model in catalog.models():
            printed = printed_shape(row.model)
            found += [
                Printed(f"{row.model}: {name.replace('_', ' ')}", _said(printed[name]), _said(row.shape[name]))
                for name in printed
                if name in row.shape
            ]
    return found


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


_BY_TITLE: dict[str, Callable[[Rows, Run], list[Printed]]] = {
    "Dissimilar prompts are parted by a boundary, similar ones are not (Fig. 2a, 2b)": _by_hand,
    "The paper's own pairs S1 to S3 and D1 to D3 show it (Fig. 2a, 2b)": _by_hand,
    "Sharpness grows with model size (Fig. 3, claim 2)": _by_size,
    "Sharpness grows with training (Fig. 4, claim 2)": _by_training,
    "Along training solid regions emerge in slices (Figs. 1, 5-22)": _slices,
    "After a later layer curves are smoother and still jump (Figs. 23-24)": _layers,
    "Models have the dimensions listed, two errors of the paper mended (Table 1)": _table_1,
}
TITLES = tuple(_BY_TITLE)
