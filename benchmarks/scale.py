"""Two workers against one process: 24 tiny checkpoints from a hub on loopback that answers after 200 ms.

    .venv/bin/python -m benchmarks.scale

Each run fetches and measures everything anew. Asked: within 1.15 of half of what one process takes. Workers begin with
an import of torch and, under Ray, a cluster, which one process has not; so measuring must take minutes in all.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from pathlib import Path

from measure import prompts
from tests import hub
from tests import spread_project as spread

NEEDS = {"ray": "ray", "submitit": "submitit"}


def seconds(folder: Path, served: hub.LocalHub, given: list[list[str]]) -> float:
    """How long a run takes from its start to the end of its last process."""
    environment = served.environment(folder / "cache")
    started = time.monotonic()
    running = [
        spread.start(folder, f"run-{number}", "--corpus", str(prompts.DEFAULT_CORPUS), *one, **environment)
        for number, one in enumerate(given)
    ]
    for number, process in enumerate(running):
        if process.wait() != 0:
            raise SystemExit((folder / f"run-{number}.txt").read_text())
    return time.monotonic() - started


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--checkpoints", type=int, default=24)
    parser.add_argument("--pairs", type=int, default=4000)
    options = parser.parse_args()
    names = [f"someone/tiny-{number}" for number in range(options.checkpoints)]
    loads = [(name, "stored") for name in names]
    with hub.LocalHub(latency=0.2) as served, tempfile.TemporaryDirectory() as place:
        for number, name in enumerate(names):
            served.add(name, hub.tiny_checkpoint(number))
        alone = 0.0
        print("| engine | seconds | over half of one process |\n|---|---|---|", flush=True)
        for engine, given in {"in-process": [["--engine", "in-process"]], **spread.ENGINES}.items():
            if importlib.util.find_spec(NEEDS.get(engine, "measure")) is None:
                print(f"| {engine} | not installed | |")
                continue
            folder = spread.project(Path(place) / engine, loads, pairs=options.pairs, steps=50)
            took = seconds(folder, served, [list(one) for one in given])
            alone = alone or took
            print(f"| {engine} | {took:.1f} | {2 * took / alone:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
