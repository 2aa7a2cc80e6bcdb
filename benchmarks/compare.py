"""`python -m benchmarks.compare BEFORE AFTER`: two results of `make bench`, made on one class of machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def numbers(found: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, float]]:
    """Every number that a benchmark kept, with where it stands."""
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{place}{name}: ")
        elif isinstance(value, int | float):
            yield f"{place}{name}", float(value)


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Lines of a table; raises `ValueError` where the machines are of two classes."""
    classes = [result["machine_info"].get("class") for result in (before, after)]
    if None in classes:
        raise ValueError("a result does not tell its class of machine: it is none of `make bench`.")
    if classes[0] != classes[1]:
        raise ValueError(
            f"measured on two classes of machine, {classes[0]} and {classes[1]}: their numbers do not compare. "
            "Run `make bench` on one machine before and after."
        )
    old, new = (
        {bench["name"]: dict(numbers(bench["extra_info"])) for bench in result["benchmarks"]}
        for result in (before, after)
    )
    lines = ["| benchmark | number | before | after | after / before |", "|---|---|---|---|---|"]
    for bench in [name for name in new if name in old]:
        for name in [name for name in new[bench] if name in old[bench]]:
            a, b = old[bench][name], new[bench][name]
            lines.append(f"| {bench} | {name} | {a:.4g} | {b:.4g} | {f'{b / a:.2f}' if a else '–'} |")
    alone = sorted(name for name in {*old, *new} if name not in old or name not in new)
    return [*lines, f"in one of the two alone: {', '.join(alone)}"] if alone else lines


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        before, after = (json.loads(Path(name).read_text()) for name in arguments)
        print("\n".join(compared(before, after)))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyError, TypeError, AttributeError) as error:
        print(f"error: {' or '.join(arguments)} is no result of `make bench` ({error!r}).", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
