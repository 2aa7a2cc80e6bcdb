"""The command `measure models`: the catalog as a table."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Any

from measure import catalog
from measure.commands.common import add_command, say


def add(commands: Any) -> None:
    """What the command takes."""
    command = add_command(commands, "models", run, "List the models of the catalog.", "measure models --json")
    command.add_argument("--json", action="store_true", help="one JSON list with an object per model")


def run(options: argparse.Namespace) -> int:
    """Run it; returns the exit status."""
    entries = [*catalog.models().values(), *catalog.checkpoints().values()]
    if options.json:
        fields = ("name", "family", "source", "parameters", "layers", "revisions", "licence")
        print(json.dumps([{field: getattr(entry, field) for field in fields} for entry in entries], indent=1))
        return 0
    say(f"{'name':<24} {'parameters':>14} {'layers':>6} {'memory':>9}  {'weights':<10} revisions")
    for entry in entries:
        if entry.origin == "checkpoints" and entry.seed:
            continue
        revisions = entry.revisions if len(entry.revisions) < 3 else (entry.revisions[0], "...", entry.revisions[-1])
        count = f" ({len(entry.revisions)})" if len(entry.revisions) > 2 else ""
        held, last = _where(entry), f"{', '.join(revisions)}{count}"
        if entry.origin == "checkpoints" and count:
            last = f"main and {len(entry.revisions) - 1} checkpoints"
        size = f"{entry.parameters:>14,} {entry.layers:>6} {_bytes(entry.float32_bytes):>9}"
        say(f"{entry.name:<24} {size}  {held:<10} {last}{f' ({entry.licence})' if entry.licence else ''}")
    seeded = {entry.name.rpartition("-seed")[0] for entry in entries if entry.origin == "checkpoints" and entry.seed}
    say("further seeds, NAME-seed1 and on:", *textwrap.wrap(", ".join(sorted(seeded)), 98, break_on_hyphens=False))
    return 0


def _where(entry: catalog.Model) -> str:
    """Where a model's weights are."""
    from measure.hub import checkpoints as hub
    from measure.hub import shelf

    if entry.source == "index":
        return "cached" if shelf.is_cached(entry.name) else "index"
    if entry.source == "ladder":
        here = len(entry.revisions) - len(catalog.left_out(entry))
        return "shipped" if here == len(entry.revisions) else f"{here} shipped" if here else "in a clone"
    places = [catalog.resolve(f"{entry.name}@{revision}") for revision in entry.revisions]
    return _held([hub.is_cached(place.location, place.revision) for place in places])


def _held(cached: list[bool]) -> str:
    """How many of a model's revisions are in the hub's local cache."""
    if not any(cached):
        return "on the hub"
    return "cached" if all(cached) else f"{sum(cached)} cached"


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"
