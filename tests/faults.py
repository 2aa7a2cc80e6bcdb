"""Break the harness on purpose, one line at a time, and see whether a test notices: `python -m tests.faults`.

Nothing is broken in the checkout: its files are copied into a temporary folder, and there one fault of
`tests/fault_list.py` at a time is put in, its commands are run until one fails, and the line is put back. Every result
is a line in a file; a fault whose line, source and tests are as they were then is not judged again.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import queue
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fault_list import FAULTS, Fault

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "build" / "faults.jsonl"
# Seconds of computing: a test that has no end has noticed something too. Waiting counts for nothing.
LONGEST = 900
# pytest's own statuses for tests that could not be collected, and for a usage that it does not understand.
NOT_RUN = (2, 3, 4)
ENDS = {-signal.SIGXCPU: f"no end within {LONGEST} s of computing", 5: "no test is left"}
IMPORTS = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("faulty", sys.argv[1])
module = sys.modules["faulty"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
"""


class StaleError(Exception):
    """A fault whose line is not in its file as the list has it."""


@dataclass(frozen=True)
class Ran:
    """What became of one command: whether it failed, by which test, and whether the tests ran at all."""

    failed: bool
    by: str = ""
    not_run: bool = False


def broken(fault: Fault, folder: Path) -> str:
    """The fault's file with its line broken. Raises `StaleError` unless the line is there exactly once."""
    path = folder / fault.file
    count = path.read_text().count(fault.old) if path.is_file() else 0
    if count != 1:
        raise StaleError(f"fault {fault.number} is stale: {fault.old!r} stands {count} times in {fault.file}")
    return path.read_text().replace(fault.old, fault.new)


def files_of(fault: Fault) -> list[str]:
    """The fault's file, and those that its commands run."""
    return [fault.file, *(shlex.split(command)[0] for command in fault.commands)]


def hash_of(folder: Path, names: Iterable[str]) -> str:
    """sha256 over some files of a folder."""
    digest = hashlib.sha256()
    for name in sorted(set(names)):
        digest.update(f"{name}|".encode() + (folder / name).read_bytes())
    return digest.hexdigest()


def sources(folder: Path) -> list[str]:
    """Whatever an unbroken command's outcome may hang on."""
    places = [*(folder / name for name in ("measure", "tests", "suites", "baselines"))]
    found = [path for place in places for ending in ("py", "json", "jsonl") for path in place.rglob(f"*.{ending}")]
    return [str(path.relative_to(folder)) for path in found]


# The copy


def names_in_checkout() -> list[str]:
    """What git holds, and what it neither holds nor ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return sorted({name for name in listing.split("\0") if name and (ROOT / name).is_file()})


@contextmanager
def copied(store: Path | None) -> Iterator[Path]:
    """A copy of the checkout, with the results of `store` to begin with; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        folder = Path(place).resolve() / "copy"
        for name in names_in_checkout():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        if store is not None:
            # Files of a store are replaced and never changed, so that links do.
            shutil.copytree(store, folder / ".store", copy_function=_link)
        check_is_used(folder)
        yield folder


def _link(source: str, target: str) -> None:
    # A file that was being written may be gone by now.
    with suppress(FileNotFoundError):
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)


def environment(folder: Path) -> dict[str, str]:
    """In it, what is imported is the copy, and never from bytecode of the line before."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return {**kept, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """This interpreter, in the copy."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)


def check_is_used(folder: Path) -> None:
    """Exit unless the copy is what is imported in it."""
    found = python(folder, "-c", "import measure; print(measure.__file__)").stdout.strip()
    if not found or not Path(found).resolve().is_relative_to(folder):
        sys.exit(f"measure is imported from {found or 'nowhere'}, not from the copy in {folder}")


# Judging


def run(command: str, folder: Path) -> Ran:
    """Run one command in the copy."""
    arguments = ("-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider", *shlex.split(command))
    ended = python(folder, *arguments)
    if ended.returncode == 0:
        return Ran(False)
    # The last: before it a test that runs pytest itself may have told of others.
    named = re.findall(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
    by = named[-1] if named else f"{command}: {ENDS.get(ended.returncode, f'exit {ended.returncode}')}"
    return Ran(True, by, ended.returncode in NOT_RUN)


def judge(fault: Fault, folder: Path) -> dict[str, Any]:
    """Put the fault in, run its commands until one fails, put the line back."""
    started, path = time.monotonic(), folder / fault.file
    whole = path.read_text()
    path.write_text(broken(fault, folder))
    try:
        verdict, by = _verdict(fault, folder)
    finally:
        path.write_text(whole)
    return {
        "fault": fault.number,
        **key_of(fault, folder),
        "file": fault.file,
        "what": fault.what,
        "verdict": verdict,
        "by": by,
        "seconds": round(time.monotonic() - started, 1),
    }


def _verdict(fault: Fault, folder: Path) -> tuple[str, str]:
    try:
        ast.parse((folder / fault.file).read_text())
    except SyntaxError:
        return "trivial", "no Python"
    for command in fault.commands:
        ran = run(command, folder)
        if ran.not_run and python(folder, "-c", IMPORTS, fault.file).returncode:
            return "trivial", "it cannot be imported"
        if ran.failed:
            return "caught", ran.by
    return "survived", ""


def key_of(fault: Fault, folder: Path) -> dict[str, str]:
    """What a result holds for: this line, this source, these tests."""
    return {"old": fault.old, "new": fault.new, "source": hash_of(folder, files_of(fault))}


# Results, one a line


def read(path: Path) -> list[dict[str, Any]]:
    """Results, the later ones last; half a line that a kill left is passed over."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def keep(path: Path, row: dict[str, Any]) -> None:
    """Add one result, in one piece."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        # After half a line that a kill left.
        file.write(b"\n" if path.stat().st_size and not path.read_bytes().endswith(b"\n") else b"")
        file.write(json.dumps(row).encode() + b"\n")
        os.fsync(file.fileno())


def known(faults: Sequence[Fault], folder: Path, rows: Iterable[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """By number, the faults of which a result still holds."""
    by_key = {(row.get("old"), row.get("new"), row.get("source")): row for row in rows if "fault" in row}
    keys = {fault.number: tuple(key_of(fault, folder).values()) for fault in faults}
    return {number: by_key[key] for number, key in keys.items() if key in by_key}


def failing(faults: Sequence[Fault], folder: Path, results: Path) -> dict[str, str]:
    """Commands that fail although nothing is broken, with the test that does; none ought to."""
    source = hash_of(folder, sources(folder))
    passed = {row["passes"] for row in read(results) if row.get("source") == source and "passes" in row}
    found = {}
    for command in dict.fromkeys(command for fault in faults for command in fault.commands):
        if command in passed:
            continue
        ran = run(command, folder)
        say(f"unbroken: {command}: {f'FAILS, {ran.by}' if ran.failed else 'passes'}")
        if ran.failed:
            found[command] = ran.by
        else:
            keep(results, {"passes": command, "source": source})
    return found


# What is told


def say(line: str) -> None:
    print(line, flush=True)


# By the hundreds of a fault's number.
AREAS = (
    "measuring",
    "metrics and results",
    "statistics",
    "claims and sessions",
    "suites",
    "runs that are spread",
    "the explorer",
)


def area(fault: Fault) -> str:
    """Where a fault belongs in the table; its number says it."""
    return AREAS[fault.number // 100 - 1]


def table(faults: Sequence[Fault], rows: dict[int, dict[str, Any]]) -> str:
    """The share caught in each area, then every survivor, as Markdown."""
    lines = ["| faults in | judged | caught | survived | trivial |", "|---|---|---|---|---|"]
    for name in [*dict.fromkeys(map(area, faults)), "all"]:
        some = [rows[fault.number] for fault in faults if fault.number in rows and name in (area(fault), "all")]
        caught, survived, trivial = (
            sum(row["verdict"] == verdict for row in some) for verdict in ("caught", "survived", "trivial")
        )
        share = f"{caught} ({caught / (caught + survived):.0%})" if caught + survived else "0"
        lines.append(f"| {name} | {len(some)} | {share} | {survived} | {trivial} |")
    for verdict in ("survived", "trivial"):
        chosen = [fault for fault in faults if rows.get(fault.number, {}).get("verdict") == verdict]
        lines += ["", f"{verdict}: {'' if chosen else 'none'}".rstrip()]
        lines += [f"- {fault.number}, `{fault.file}`, {fault.what}: `{fault.old}` to `{fault.new}`" for fault in chosen]
    return "\n".join(lines)


def asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", metavar="N,M", help="these faults, or hundreds: 3xx for all from 300 to 399")
    parser.add_argument("--jobs", type=int, default=1, help="faults judged at a time, each in a copy of its own")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are kept (default build/)")
    parser.add_argument("--store", type=Path, help="measured results to begin with: suites then measure little")
    parser.add_argument("--again", action="store_true", help="judge anew what has been judged")
    parser.add_argument("--table", action="store_true", help="judge nothing, print the table of what is known")
    return parser.parse_args(arguments)


def chosen(only: str | None) -> list[Fault]:
    """The faults asked for, all where none are."""
    wanted = (only or "").split(",")
    names = {fault: {str(fault.number), f"{fault.number // 100}xx"} for fault in FAULTS}
    return [fault for fault in FAULTS if only is None or names[fault] & set(wanted)]


def judge_all(faults: Sequence[Fault], folders: Sequence[Path], results: Path) -> None:
    """Judge the faults, as many at a time as there are copies, and keep each result as it comes."""
    free: queue.Queue[Path] = queue.Queue()
    for folder in folders:
        free.put(folder)

    def in_a_free_copy(fault: Fault) -> dict[str, Any]:
        folder = free.get()
        try:
            return judge(fault, folder)
        finally:
            free.put(folder)

    with ThreadPoolExecutor(len(folders)) as pool:
        waiting = [pool.submit(in_a_free_copy, fault) for fault in faults]
        for done, future in enumerate(as_completed(waiting), 1):
            row = future.result()
            keep(results, row)
            by = f" by {row['by']}" if row["by"] else ""
            say(f"[{done}/{len(faults)}] {row['fault']} {row['what']}: {row['verdict']}{by} ({row['seconds']} s)")


def judged(faults: Sequence[Fault], options: argparse.Namespace) -> dict[int, dict[str, Any]]:
    """Results by number, after judging what was not judged yet and has commands that pass unbroken."""
    with ExitStack() as stack:
        folders = [stack.enter_context(copied(options.store))]
        rows = [] if options.again else read(options.results)
        old = known(faults, folders[0], rows)
        due = [fault for fault in faults if fault.number not in old]
        wrong = failing(due, folders[0], options.results)
        able = [fault for fault in due if not wrong.keys() & set(fault.commands)]
        folders += [stack.enter_context(copied(options.store)) for _ in range(min(options.jobs, len(able)) - 1)]
        if able:
            judge_all(able, folders, options.results)
        return known(faults, folders[0], read(options.results))


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every fault was caught, 1 where one was not, 2 where one could not be judged."""
    options = asked(arguments)
    faults = chosen(options.only)
    try:
        for fault in faults:
            broken(fault, ROOT)
    except StaleError as error:
        say(str(error))
        return 2
    # What is started inherits it, each process with a count of its own.
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    rows = known(faults, ROOT, read(options.results)) if options.table else judged(faults, options)
    say(table(faults, rows))
    if left := [fault.number for fault in faults if fault.number not in rows]:
        say(f"\nnot judged: {', '.join(map(str, left))}")
        return 2
    return int(any(row["verdict"] != "caught" for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
