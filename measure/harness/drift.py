"""Tell: one baseline that is not as accepted beside what was measured, in a terminal and as a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from measure.kinds.rows import QUARTILES, BaselineRow, Farthest, Numbers, ResultRow, Side, State, TestRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of the terminal's picture: columns, rows of the curves, rows of what parts them.
WIDTH, HEIGHT, BELOW = 61, 13, 5
ACCEPTED, MEASURED, BOTH = "o", "x", "#"
# Kinds of numbers beyond their tolerance that are told.
KINDS = 6
# Triples of a picture, those that moved most.
TRIPLES = 4
COLOURS = ("red", "green", "blue")
# How many bands a baseline divides a slice into, each way.
_BANDS = 4


def lines(test: TestRow, results: Mapping[str, ResultRow]) -> list[str]:
    """What there is to see: the curve against its baseline, the numbers farthest off, and what else changed."""
    found = test.baseline
    assert found is not None
    return [
        f"{found.state}: {test.test}",
        *_measured_of(test, results),
        *_drawn(found),
        *_why(found),
        *_beyond(found.farthest),
    ]


def _measured_of(test: TestRow, results: Mapping[str, ResultRow]) -> list[str]:
    """Of which results it is the baseline, with the fields of their specs that a reader asks for first."""
    told = []
    for name in test.specs:
        if name in results:
            spec = results[name].spec
            fields = ("model", "weights", "layer", "read", "pairing", "pairs", "triples", "corpus")
            told.append("  " + ", ".join(f"{field} {spec[field]}" for field in fields if field in spec))
    return told


def _why(found: BaselineRow) -> list[str]:
    """Why it is not as accepted, without how to accept it, which is what is asked."""
    if found.state is State.NEW:
        return ["", "there is no baseline yet: this curve would be the first"]
    return ["", *(line for line in found.why if not (line.startswith("if ") and "--snapshot-update" in line))]


def _beyond(farthest: Sequence[Farthest]) -> list[str]:
    """The other kinds of numbers that are out of tolerance, the worst of each."""
    off = [one for one in farthest if one.excess is None or one.excess > 1][1:]
    told = [f"  {one.what}: measured {one.measured}, accepted {one.accepted}, {_times(one)}" for one in off[:KINDS]]
    more = [f"  and {len(off) - KINDS} kinds more"] if len(off) > KINDS else []
    return ["out of tolerance too:", *told, *more] if told else []


def _times(one: Farthest) -> str:
    if one.excess is None:
        return "where one is no number"
    return f"{one.excess:,.{0 if one.excess >= 10 else 1}f} times its tolerance of {one.tolerance:.2g}"


# In the terminal


def _drawn(found: BaselineRow) -> list[str]:
    old, new = _median(found.accepted), _median(found.measured)
    if old is None and new is None:
        return _cells(found)
    marked = [(mark, line) for mark, line in ((ACCEPTED, old), (MEASURED, new)) if line is not None]
    names = {ACCEPTED: "baseline", MEASURED: "measured"}
    key = "  ".join(f"{mark} {names[mark]}" for mark, _ in marked) + ("  # both" if len(marked) > 1 else "")
    return ["", f"d / d(1) over alpha, medians: {key}", *_panel(marked), *_residual(old, new, found)]


def _median(side: Side | None) -> Float[np.ndarray, " steps"] | None:
    """A side's median curve; None where it has none that can be drawn."""
    if side is None or side.curve is None or len(side.curve.median) < 2:
        return None
    values = _numbers(side.curve.median)
    return values if np.isfinite(values).any() else None


def _numbers(values: Numbers) -> Float[np.ndarray, " steps"]:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _spread(values: Float[np.ndarray, " steps"]) -> Float[np.ndarray, " columns"]:
    """A curve at each column."""
    known = np.isfinite(values)
    return np.interp(np.linspace(0, 1, WIDTH), np.linspace(0, 1, len(values))[known], values[known])


def _panel(marked: Sequence[tuple[str, Float[np.ndarray, " steps"]]]) -> list[str]:
    """Curves as marks, one a column, between the lowest and the highest."""
    spread = [(mark, _spread(line)) for mark, line in marked]
    low = min(0.0, *(float(line.min()) for _, line in spread))
    high = max(1.0, *(float(line.max()) for _, line in spread))
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]
    for mark, line in spread:
        for column, row in enumerate(np.round((high - line) / (high - low) * (HEIGHT - 1)).astype(int)):
            grid[row][column] = mark if grid[row][column] == " " else BOTH
    ends = {0: f"{high:5.2f}", HEIGHT - 1: f"{low:5.2f}"}
    return [f"{ends.get(row, ''):>5} |{''.join(cells)}".rstrip() for row, cells in enumerate(grid)]


def _residual(
    old: Float[np.ndarray, " steps"] | None, new: Float[np.ndarray, " steps"] | None, found: BaselineRow
) -> list[str]:
    """What parts two curves of as many points, as high as it is at most: mostly too little to be seen above."""
    if old is None or new is None or len(old) != len(new):
        return []
    apart = _spread(np.nan_to_num(new - old))
    # Between the columns too.
    most = float(np.abs(np.nan_to_num(new - old)).max())
    if most == 0:
        return ["measured - baseline: 0 at every alpha"]
    allowed = found.tolerance.get("curve")
    beside = f", where {allowed:.2g} is accepted" if allowed else ""
    grid = [["-" if row == BELOW // 2 else " "] * WIDTH for row in range(BELOW)]
    for column, row in enumerate(np.round((most - apart) / (2 * most) * (BELOW - 1)).astype(int)):
        grid[row][column] = "*"
    head = f"measured - baseline, at most {most:.2g}{beside}:"
    ends = {0: f"{most:+.0e}", BELOW // 2: "0", BELOW - 1: f"{-most:+.0e}"}
    return [head, *(f"{ends.get(row, ''):>6}|{''.join(cells)}".rstrip() for row, cells in enumerate(grid))]


def _cells(found: BaselineRow) -> list[str]:
    """Of slices the triple that moved most: which of A, B and C each of its parts is nearest to, beta up."""
    sides = [side for side in (found.accepted, found.measured) if side is not None and _has_colours(side)]
    if not sides:
        return []
    triple = _worst_triple(found)
    grids = [_letters(side, triple) for side in sides]
    names = ["baseline", "measured"] if len(sides) == 2 else ["baseline" if sides[0] is found.accepted else "measured"]
    rows = [names, *zip(*grids, strict=True)]
    head = f"triple {triple + 1}, nearest of A, B and C, alpha across and beta up:"
    return ["", head, *("  " + "   ".join(f"{cell:<8}" for cell in row).rstrip() for row in rows)]


def _has_colours(side: Side) -> bool:
    rows = [side.triples.get(name, ()) for name in COLOURS]
    return all(row and all(len(cells) == _BANDS * _BANDS for cells in row) for row in rows)


def _worst_triple(found: BaselineRow) -> int:
    """The triple of which the number farthest off is; the first where none is named, or there is no such one."""
    named = re.search(r" of triple (\d+)", found.farthest[0].what) if found.farthest else None
    place = int(named[1]) - 1 if named else 0
    sides = [side for side in (found.accepted, found.measured) if side is not None and _has_colours(side)]
    return place if all(place < len(side.triples[name]) for side in sides for name in COLOURS) else 0


def _coarse(side: Side, triple: int) -> Float[np.ndarray, "bands bands 3"]:
    """Mean colours of a slice's parts, beta rows from the lowest."""
    channels = [_numbers(side.triples[name][triple]).reshape(_BANDS, _BANDS) for name in COLOURS]
    return np.stack(channels, axis=-1)


def _letters(side: Side, triple: int) -> list[str]:
    nearest = np.nan_to_num(_coarse(side, triple)).argmax(axis=-1)
    return [" ".join("ABC"[place] for place in row) for row in nearest[::-1]]


# As a picture


def picture(test: TestRow) -> Figure | None:
    """The curve with its band beside the baseline's, what parts them beneath; of slices the colours of both.

    None where neither can be drawn.
    """
    found = test.baseline
    assert found is not None
    if _median(found.accepted) is not None or _median(found.measured) is not None:
        return _curves(test, found)
    sides = [(name, side) for name, side in (("baseline", found.accepted), ("measured", found.measured)) if side]
    drawn = [(name, side) for name, side in sides if _has_colours(side)]
    return _slices(test, drawn, found) if drawn else None


def _short(test: TestRow) -> str:
    """A test's name without the folders of its suite."""
    return test.test.rpartition("/")[2]


def _curves(test: TestRow, found: BaselineRow) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], ":", color="0.6", linewidth=0.8)
    for name, side, colour in (("baseline", found.accepted, "0.35"), ("measured", found.measured, "#0072B2")):
        if side is not None and side.curve is not None:
            low, middle, high = map(_numbers, side.curve.rows())
            alphas = np.linspace(0, 1, len(middle))
            above.plot(alphas, middle, "--" if name == "baseline" else "-", color=colour, label=name)
            above.fill_between(alphas, low, high, color=colour, alpha=0.15, linewidth=0)
    above.set(ylabel="d / d(1), median and quartiles", title=f"{found.state}: {_short(test)}")
    above.title.set(fontsize=8, parse_math=False)
    above.legend(frameon=False)
    _apart(below, found)
    below.set(xlabel="alpha", ylabel="measured - baseline")
    return figure


def _apart(axes: Axes, found: BaselineRow) -> None:
    """The difference of each quartile, over what is accepted."""
    old, new = (side.curve if side is not None else None for side in (found.accepted, found.measured))
    allowed = found.tolerance.get("curve", 0.0)
    axes.axhspan(-allowed, allowed, color="0.85", linewidth=0)
    axes.axhline(0, color="0.6", linewidth=0.8)
    if old is None or new is None or len(old.median) != len(new.median):
        return
    for name, before, after in zip(QUARTILES, old.rows(), new.rows(), strict=True):
        apart = _numbers(after) - _numbers(before)
        line: dict[str, Any] = {"linewidth": 1.4} if name == "median" else {"linewidth": 0.7, "linestyle": "--"}
        axes.plot(np.linspace(0, 1, len(apart)), apart, color="#D55E00", **line)


def _slices(test: TestRow, drawn: Sequence[tuple[str, Side]], found: BaselineRow) -> Figure:
    from matplotlib.figure import Figure

    worst, count = _worst_triple(found), min(len(side.triples[COLOURS[0]]) for _, side in drawn)
    chosen = [worst, *(place for place in range(count) if place != worst)][:TRIPLES]
    figure = Figure(figsize=(1.6 * len(chosen) + 0.4, 1.8 * len(drawn) + 0.5), layout="constrained")
    axes = figure.subplots(len(drawn), len(chosen), squeeze=False)
    for line, (name, side) in zip(axes, drawn, strict=True):
        for panel, triple in zip(line, chosen, strict=True):
            panel.imshow(np.clip(np.nan_to_num(_coarse(side, triple)), 0, 1), origin="lower")
            panel.set(xticks=[], yticks=[], title=f"triple {triple + 1}")
        line[0].set_ylabel(name)
    figure.suptitle(f"{found.state}: {_short(test)}", fontsize=8, parse_math=False)
    return figure
