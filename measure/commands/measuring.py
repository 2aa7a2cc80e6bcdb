"""What the commands that measure share: the model, its prompts, the layers, and what of it is kept."""

from __future__ import annotations

import argparse
import re
from typing import Any, Literal

from measure.commands import ways
from measure.spec import PRECISIONS, READS, MeasureError

READ = f"what is read: {', '.join(READS)}, or block:N"
SAVED = "keep numbers (.npz), of curves a table (.csv, .parquet, .json), or a figure (.png, .svg, .pdf); several times"


def add_pairs(command: argparse.ArgumentParser, pairs_from: bool) -> None:
    """What the commands that measure curves share."""
    add_measuring(command, *(() if pairs_from else ("prompt_a", "prompt_b")))
    command.add_argument(
        "--pairs-from",
        metavar="FILE",
        help="in place of two prompts: printed (the paper's six pairs), words, or a file with columns a, b and label",
    )
    ways.add_options(command)


def add_measuring(command: argparse.ArgumentParser, *prompts: str) -> None:
    """What the measuring commands share."""
    command.add_argument("model", help="catalog name, folder or hub id, each with an optional @revision")
    for name in prompts:
        command.add_argument(name)
    add_loading(command, SAVED)


def add_loading(command: argparse.ArgumentParser, saved: str) -> None:
    """How models are loaded and run, and where what was found is kept."""
    command.add_argument("--bos", action="store_true", help="put the tokenizer's BOS in front of the prompts")
    command.add_argument("--allow-pickle", action="store_true", help="load pickled weights if there are no safetensors")
    command.add_argument("--precision", choices=PRECISIONS, default="float32", help="computed in (default float32)")
    command.add_argument("--save", metavar="FILE", action="append", default=[], help=saved)


def model_of(options: argparse.Namespace) -> Any:
    """The model named, loaded here only where pickled weights were allowed."""
    if not options.allow_pickle:
        return options.model
    from measure.models.loading import load

    return load(options.model, precision=options.precision, allow_pickle=True)


def pairs_of(options: argparse.Namespace) -> tuple[tuple[Any, Any], tuple[str, ...] | None]:
    """Prompts A and B that are asked for, and what the pairs of a file are called."""
    from measure.prompts import own_pairs

    if not options.pairs_from:
        own_pairs.check_differ([options.prompt_a], [options.prompt_b])
        return (options.prompt_a, options.prompt_b), None
    asked = own_pairs.pairs(options.pairs_from)
    own_pairs.check_differ(asked.a, asked.b, options.pairs_from)
    return (asked.a, asked.b), asked.labels


def layers_of(given: str) -> int | list[int] | Literal["all"]:
    """The layers asked for."""
    if given == "all":
        return "all"
    if not re.fullmatch(r"-?\d+(,\d+)*", given, re.ASCII):
        raise MeasureError(f"--layer {given!r}: expected numbers of blocks from 1, such as 1 7, or all.")
    found = [int(one) for one in given.split(",")]
    return found if len(found) > 1 else found[0]
