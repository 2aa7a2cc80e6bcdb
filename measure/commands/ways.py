"""How a measurement goes, as options of a command: path, distance, positions, interventions. Measures nothing."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any

from measure.distances import DISTANCES
from measure.spec import INTERPOLATIONS, PARTS, Frozen, Intervention, MeasureError, Scaled

# What each option is where it is not given.
USUAL: dict[str, Any] = {"path": "linear", "distance": "l2", "patched": "-1", "read_at": -1, "scale": [], "freeze": []}
_BLOCKS = rf"({'|'.join(PARTS)}):(\d{{1,6}})(?:-(\d{{1,6}}))?"
_FORMS = {
    "scale": (re.compile(rf"{_BLOCKS}:(\S+)", re.ASCII), "PART:BLOCKS:FACTOR, such as mlp:2-5:0"),
    "freeze": (re.compile(_BLOCKS, re.ASCII), "PART:BLOCKS, such as attention:2-5"),
}


def add_options(command: argparse.ArgumentParser) -> None:
    """The options of every command that measures curves."""
    command.add_argument("--path", choices=INTERPOLATIONS, default="linear", help="how A goes to B (default linear)")
    command.add_argument(
        "--distance", choices=DISTANCES, default="l2", help="between outputs (default l2); kl and js are of the logits"
    )
    command.add_argument(
        "--patched",
        default="-1",
        metavar="N",
        help="position that is patched, from the end (default -1, the last), or difference: all from the first in "
        "which the prompts differ",
    )
    command.add_argument(
        "--read-at", type=int, default=-1, metavar="N", help="position that is read, from the end (default -1)"
    )
    command.add_argument(
        "--scale",
        action="append",
        default=[],
        metavar="PART:BLOCKS:FACTOR",
        help="what the mlp or attention of blocks adds, times a number, such as mlp:2-5:0; several times",
    )
    command.add_argument(
        "--freeze",
        action="append",
        default=[],
        metavar="PART:BLOCKS",
        help="the same as in the clean run of prompt A, such as attention:2-5; several times",
    )


def asked(options: argparse.Namespace) -> dict[str, Any]:
    """What the options say, as `measure.interpolate` takes it. Raises `MeasureError` for what cannot be read."""
    return {
        "path": options.path,
        "distance": options.distance,
        "patched": _position(options.patched),
        "read_at": options.read_at,
        "interventions": tuple(_interventions(options)),
    }


def _position(given: str) -> int | str:
    return int(given) if re.fullmatch(r"-?\d{1,6}", given, re.ASCII) else given


def _interventions(options: argparse.Namespace) -> Iterator[Intervention]:
    for name in _FORMS:
        for text in getattr(options, name):
            yield _intervention(name, text)


def _intervention(name: str, text: str) -> Intervention:
    pattern, form = _FORMS[name]
    found = pattern.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        part: Any
        part, first, last, *factor = found.groups()
        blocks = int(first), int(last or first)
        return Scaled(part, blocks, float(factor[0])) if factor else Frozen(part, blocks)
    except MeasureError as error:
        raise MeasureError(f"--{name} {text!r}: {error}") from None
    except ValueError:
        raise MeasureError(f"--{name} {text!r}: expected {form}, the part being {' or '.join(PARTS)}.") from None
