"""What the commands on tests and on runs share: which tests are meant, which records."""

from __future__ import annotations

import argparse
from pathlib import Path

from measure.spec import MeasureError


def add_paths(command: argparse.ArgumentParser) -> None:
    """Where the tests are, as arguments."""
    command.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="suites, or folders of them (default suites)"
    )


def paths_of(options: argparse.Namespace, command: str) -> list[Path]:
    """Where the tests are."""
    paths: list[Path] = options.paths or [Path("suites")]
    for path in paths:
        if not Path(str(path).partition("::")[0]).exists():
            raise MeasureError(
                f"there is no {path} here; run `measure {command}` in the root of the project, or name the tests: "
                f"measure {command} PATH."
            )
    return paths


def add_choice(command: argparse.ArgumentParser) -> None:
    """What the commands that choose tests share with pytest."""
    add_paths(command)
    command.add_argument("-k", dest="expression", metavar="EXPR", help="the tests meant, as for pytest -k")
    command.add_argument("--models", default="auto", help="as for pytest --models")
    for name in ("--pairs", "--pairs-from", "--protocol", "--corpus", "--precision", "--store", *_PATTERN):
        command.add_argument(name, help=f"as for pytest {name}")


_PATTERN = ("--revision-pattern", "--tokens-a-step")


def pytest_options(options: argparse.Namespace) -> list[str]:
    """The options that pytest has too, as it takes them."""
    named = ("models", "pairs", "pairs-from", "protocol", "corpus", "precision", "store", *_PATTERN)
    names = [name.removeprefix("--") for name in named]
    given = {name: getattr(options, name.replace("-", "_")) for name in names}
    return [part for name, value in given.items() if value is not None for part in (f"--{name}", value)]


def last_run(folder: Path) -> Path:
    """The records of the last run in a folder. Raises `MeasureError` where there are none."""
    from measure.report import records

    found = records.runs(folder / records.FOLDER.name) or records.runs(folder)
    if not found:
        raise MeasureError(
            f"{folder} holds no records of a run; run the suites first (`pytest suites/`), or name a file."
        )
    return found[-1]
