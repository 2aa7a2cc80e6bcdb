"""`python -m tests.newest JUNIT RECORDS`: packages that are not as pinned here, and what differed with them.

JUNIT is what pytest wrote of the tests, RECORDS what the suites wrote; ends with 1 where anything differed.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from measure.kinds.rows import State, TestRow
from measure.report import records

PINS = Path(__file__).parent.parent / "constraints.txt"
Table = dict[str, tuple[str, str]]


def plain(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(text: str) -> dict[str, str]:
    """Versions by plain name, of a file of constraints."""
    return {plain(name): version for name, _, version in (line.partition("==") for line in text.split())}


def installed() -> dict[str, str]:
    """Versions by plain name, of what is installed here."""
    return {plain(one.metadata["Name"]): one.version for one in metadata.distributions()}


def parted(pins: dict[str, str], used: dict[str, str]) -> Table:
    """What is not as pinned: the pinned version and the one used, "-" where there is no pin."""
    return {name: (pins.get(name, "-"), used[name]) for name in sorted(used) if pins.get(name) != used[name]}


def of_tests(junit: Path) -> tuple[str, list[str]]:
    """How the tests ended, and those that failed."""
    cases = list(ET.parse(junit).iter("testcase"))
    ways = {f"{case.get('classname')}::{case.get('name')}": _way(case) for case in cases}
    return _counted(ways.values()), [name for name, way in ways.items() if way in ("failure", "error")]


def _way(case: ET.Element) -> str:
    return next((one.tag for one in case if one.tag in ("failure", "error", "skipped")), "passed")


def _counted(ways: Iterable[str]) -> str:
    return ", ".join(f"{count} {way}" for way, count in sorted(Counter(ways).items()))


def of_suites(path: Path) -> tuple[str, list[str]]:
    """How the suites ended with the largest deviation of a baseline, and the tests that failed."""
    tests = records.read([path]).tests
    held = [row.baseline for row in tests if row.baseline is not None]
    as_accepted = sum(one.state is State.AS_ACCEPTED for one in held)
    off = [far.excess for one in held for far in one.farthest if far.excess is not None]
    told = f"{_counted(row.outcome for row in tests)}; {as_accepted} of {len(held)} baselines as accepted"
    told += f", the farthest number {max(off, default=0.0):.2g} of its tolerance off"
    return told, [f"{row.test}: {_reason(row)}" for row in tests if row.outcome == "failed"]


def _reason(row: TestRow) -> str:
    why = row.baseline.why if row.baseline is not None else ()
    return why[0] if why else (row.reason or "").partition("\n")[0]


def report(junit: Path, path: Path) -> tuple[str, bool]:
    """The whole text, and whether nothing failed."""
    lines = [f"{'package':<28} {'pinned':>16} {'used':>18}"]
    lines += [
        f"{name:<28} {pin:>16} {used:>18}"
        for name, (pin, used) in parted(pinned(PINS.read_text()), installed()).items()
    ]
    (tests, failed), (suites, moved) = of_tests(junit), of_suites(path)
    lines += [f"tests: {tests}", *(f"  {one}" for one in failed), f"suites: {suites}", *(f"  {one}" for one in moved)]
    return "\n".join(lines), not failed and not moved


if __name__ == "__main__":
    text, good = report(Path(sys.argv[1]), Path(sys.argv[2]))
    print(text)
    sys.exit(not good)
