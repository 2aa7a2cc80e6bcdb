"""`python -m benchmarks.profile_suites [PYTEST OPTION...]`: where the time of the ladder's suites goes, by sampling.

The stack of the main thread is looked at every few milliseconds. A sample belongs to the innermost frame that is an
import's, one of a module of `measure` or one of a suite; where there is none it is pytest's own.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

import pytest

ROOT = Path(__file__).parent.parent
EVERY = 0.005
GROUPS = {
    "forward.py": "forward passes",
    "runs.py": "forward passes",
    "reference.py": "forward passes",
    "kernels.py": "forward passes",
    "verdicts.py": "statistics",
    "resampling.py": "statistics",
    "intervals.py": "statistics",
    "trend_tests.py": "statistics",
    "claim.py": "statistics",
    "controls.py": "statistics",
}
# Functions of the modules above and of others that derive numbers from what the forward passes gave.
DERIVED = {
    "distances",
    "norms",
    "from_start",
    "top_tokens",
    "_distances",
    "_predicted",
    "divergence",
    "_crossed",
    "_changes",
}
NAMED = ("forward passes", "statistics", "imports", "pytest's own work")


def place(frame: FrameType | None) -> str:
    """What a stack is at work on."""
    while frame is not None:
        file, name = Path(frame.f_code.co_filename), frame.f_code.co_name
        if "importlib" in str(file):
            return "imports"
        # What a module does when it is first imported is found by the importer's frames behind it.
        if name != "<module>" and file.is_relative_to(ROOT / "measure"):
            other = "statistics" if file.parent.name == "claims" else str(file.relative_to(ROOT))
            return "distances and predictions" if name in DERIVED else GROUPS.get(file.name, other)
        if name != "<module>" and file.is_relative_to(ROOT / "suites"):
            return "suites"
        frame = frame.f_back
    return "pytest's own work"


def main(options: list[str]) -> int:
    seen: Counter[str] = Counter()
    done = threading.Event()
    watched = threading.get_ident()

    def watch() -> None:
        while not done.wait(EVERY):
            seen[place(sys._current_frames().get(watched))] += 1

    thread = threading.Thread(target=watch, daemon=True)
    started = time.perf_counter()
    thread.start()
    with tempfile.TemporaryDirectory() as store:
        status = pytest.main(["suites/", "-q", "--models", "ladder", "--store", store, *options])
    taken = time.perf_counter() - started
    done.set()
    thread.join()
    total = sum(seen.values())
    print(f"\n| {taken:.0f} s, {total} samples | share |\n|---|---|")
    for name, count in seen.most_common():
        print(f"| {name} | {count / total:.1%} |")
    rest = sum(count for name, count in seen.items() if name not in NAMED)
    print(f"outside {', '.join(NAMED)}: {rest / total:.1%}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
