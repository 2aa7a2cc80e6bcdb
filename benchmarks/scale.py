"""Two workers against one process: 24 tiny checkpoints from a hub on loopback that answers after 200 ms.

    .venv/bin/python -m benchmarks.scale

Each run fetches and measures everything anew. Asked: within 1.15 of half of what one process takes. Workers begin with
an import of torch and, under Ray, a cluster, which one process has not; so measuring must take minutes in all.
Where other programs are at work, processor seconds alone tell something: what spreading costs, not how well it spreads.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import sys
import tempfile
import time
from pathlib import Path

from measure.prompts import drawn as prompts
from tests import hub
from tests import spread_project as spread

NEEDS = {"ray": "ray", "submitit": "submitit"}


def seconds(folder: Path, served: hub.LocalHub, given: list[list[str]]) -> tuple[float, float]:
    """How long a run takes from its start to the end of its last process, and how long processors worked for it."""
    environment = served.environment(folder / "cache")
    started, worked = time.monotonic(), processor_seconds()
    running = [
        spread.start(folder, f"run-{number}", "--corpus", str(prompts.DEFAULT_CORPUS), *one, **environment)
        for number, one in enumerate(given)
    ]
    for number, process in enumerate(running):
        if process.wait() != 0:
            raise SystemExit((folder / f"run-{number}.txt").read_text())
    return time.monotonic() - started, processor_seconds() - worked


def processor_seconds() -> float:
    """Of processes that have ended, and those that they waited for: Ray's own are not among them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--checkpoints", type=int, default=24)
    # Minutes of one processor in all: with less, starting workers is a larger part than what is asked.
    parser.add_argument("--pairs", type=int, default=3000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--engines", nargs="+", choices=spread.ENGINES, default=list(spread.ENGINES), metavar="NAME")
    options = parser.parse_args()
    chosen = {name: spread.ENGINES[name] for name in options.engines}
    names = [f"someone/tiny-{number}" for number in range(options.checkpoints)]
    loads = [(name, "stored") for name in names]
    with hub.LocalHub(latency=0.2) as served, tempfile.TemporaryDirectory() as place:
        for number, name in enumerate(names):
            served.add(name, hub.tiny_checkpoint(number))
        alone = alone_worked = 0.0
        print("| engine | seconds | over half of one process | processor seconds | of one process | requests |")
        print("|---|---|---|---|---|---|", flush=True)
        for engine, given in {"in-process": [["--engine", "in-process"]], **chosen}.items():
            if importlib.util.find_spec(NEEDS.get(engine, "measure")) is None:
                print(f"| {engine} | not installed | | | | |")
                continue
            folder = spread.project(Path(place) / engine, loads, pairs=options.pairs, steps=options.steps)
            asked = len(served.requests)
            took, worked = seconds(folder, served, [list(one) for one in given])
            alone, alone_worked = alone or took, alone_worked or worked
            over = f"{2 * took / alone:.2f} | {worked:.1f} | {worked / alone_worked:.2f}"
            print(f"| {engine} | {took:.1f} | {over} | {len(served.requests) - asked} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
