"""The command `measure report`: a run's records as a page, and the paper's figures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure.commands.choosing import last_run
from measure.commands.common import add_command, say
from measure.spec import MeasureError


def add(commands: Any) -> None:
    """What the command takes."""
    command = add_command(
        commands,
        "report",
        run,
        "Make one self-contained page of a run's records; of two runs it compares the second with the first.",
        "measure report --previous\n"
        "  measure report before.jsonl after.jsonl --out compared\n"
        "  measure report --figures png pdf --only fig3 fig4",
    )
    command.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN",
        help="records of a run, or a folder of them, of which the last is taken (default reports/runs)",
    )
    command.add_argument(
        "--out",
        type=Path,
        default=Path("reports"),
        help="folder for index.html, claims.txt and figures/ (default %(default)s)",
    )
    command.add_argument("--previous", action="store_true", help="compare the last run with the one before it")
    command.add_argument(
        "--merge", action="store_true", help="show all runs as one; where they overlap the later stands"
    )
    _add_figures(command)


def _add_figures(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--figures",
        nargs="+",
        choices=("png", "svg", "pdf"),
        metavar="png | svg | pdf",
        help="draw the paper's figures of the last run too, as files of these kinds",
    )
    command.add_argument(
        "--only", nargs="+", metavar="FIGURE", help="of the figures only these: fig1, fig4, gates, ..."
    )
    command.add_argument(
        "--no-caption", action="store_true", help="leave captions out of the figures, and write them beside, NAME.txt"
    )


def run(options: argparse.Namespace) -> int:
    """Run it; returns the exit status."""
    from measure.report import page, paper_figures

    names = paper_figures.checked(options.only or paper_figures.FIGURES)
    if options.only and not options.figures:
        raise MeasureError("--only chooses among figures; say with --figures png (svg, pdf) how to write them.")
    if options.no_caption and not options.figures:
        raise MeasureError("--no-caption is of figures; say with --figures png (svg, pdf) how to write them.")
    runs = _runs(options)
    written, shown = page.write(runs, options.out, merge=options.merge)
    say(f"written {written}: {shown}")
    if options.figures:
        _draw(options, runs, names)
    return 0


def _draw(options: argparse.Namespace, runs: Sequence[Path], names: Sequence[str]) -> None:
    """Draw the figures named, of the last run or of all as one."""
    from measure.report import page, paper_figures, records

    found = records.read(runs if options.merge else runs[-1:])
    with page.damage_told(str(runs[-1])):
        files = paper_figures.save_all(
            found, options.out / "figures", options.figures, names, captions=not options.no_caption
        )
    drawn = {path.stem for path in files}
    say(f"written {options.out / 'figures'}: {len(files)} files, {len(drawn)} figures")
    if missing := [name for name in names if name not in drawn]:
        say(f"these records have nothing to show in {', '.join(missing)}")


def _runs(options: argparse.Namespace) -> list[Path]:
    """The records that are asked for, by name: of a folder the last."""
    from measure.report import records

    if options.previous and options.runs:
        raise MeasureError("--previous compares the last two runs; two that are named are compared without it.")
    if not options.previous:
        return [last_run(path) if path.is_dir() else path for path in options.runs or [last_run(records.FOLDER)]]
    if len(found := records.runs()) < 2:
        raise MeasureError(f"--previous: {records.FOLDER} holds {len(found)} of the two runs that it takes.")
    return found[-2:]
