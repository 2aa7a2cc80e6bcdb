"""The command `measure compare`: two models on the same pairs, and what others have published."""

from __future__ import annotations

import argparse
from typing import Any

from measure.commands import ways
from measure.commands.common import add_command, save, say
from measure.commands.measuring import READ, add_loading, layers_of
from measure.spec import MeasureError


def add(commands: Any) -> None:
    """What the command takes."""
    command = add_command(
        commands,
        "compare",
        run,
        "Compare the curves of two models, a base and what was made of it, on the same pairs of prompts; or measure "
        "again what Plateau Lab exported, and tell the largest difference.",
        "measure compare ladder-olmo-0.2m@step64-tokens0M ladder-olmo-0.2m --save compared.csv --save compared.png\n"
        "  measure compare ./base ./tuned --pairs-from mine.csv --layer all\n"
        "  measure compare plateau-examples-selected.jsonl\n"
        "  measure compare EleutherAI/pythia-1.4b-deduped@step64000",
    )
    command.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="two models, named as for measure curve; or a .jsonl of Plateau Lab, and a model for the one it names; or "
        "a Pythia of which others have published widths",
    )
    prompts = command.add_mutually_exclusive_group()
    prompts.add_argument(
        "--pairs-from",
        metavar="FILE",
        help="printed (the paper's six pairs), words, or a file with columns a, b, label",
    )
    prompts.add_argument(
        "--pairs", type=int, metavar="N", help="draw so many disjoint pairs from the shipped prose (default 100)"
    )
    command.add_argument("--seed", type=int, default=0, help="of the pairs that are drawn (default 0)")
    command.add_argument(
        "--layer", default="1", metavar="N ...", help="blocks before the patch, from 1; or all (default 1)"
    )
    command.add_argument("--steps", type=int, default=50, help="points of the curve (default 50)")
    command.add_argument("--read", metavar="READ", help=f"{READ} (default final_norm, of kl and js logits)")
    ways.add_options(command)
    add_loading(command, _COMPARED)


_COMPARED = (
    "keep a row a metric (.csv, .parquet, .json), a figure (.png, .svg, .pdf), or both models' curves (.npz, as "
    "NAME-a.npz and NAME-b.npz); several times"
)


def run(options: argparse.Namespace) -> int:
    """Run it; returns the exit status."""
    from measure.api import comparison, plateau_lab, published_runs
    from measure.api.two_models import compare
    from measure.claims import published
    from measure.prompts import own_pairs, tables

    if plateau_lab.is_export(options.models[0]):
        return _redo(options)
    tables.check_names(options.save, source=options.pairs_from)
    if len(options.models) == 1 and (told := published.named(options.models[0])):
        _check_usual(options, "save")
        say(*published_runs.lines_of(told))
        return 0
    if len(options.models) != 2:
        raise MeasureError(
            f"compare takes two models, {len(options.models)} given; name a base and a tuned one, or one file "
            "that Plateau Lab exported, NAME.jsonl."
        )
    first, second = options.models
    asked = own_pairs.pairs(options.pairs_from) if options.pairs_from else None
    if asked is not None:
        own_pairs.check_differ(asked.a, asked.b, options.pairs_from)
    found = compare(
        first,
        second,
        asked,
        pairs=options.pairs,
        layer=layers_of(options.layer),
        read=options.read,
        steps=options.steps,
        bos=options.bos,
        precision=options.precision,
        seed=options.seed,
        allow_pickle=options.allow_pickle,
        **ways.asked(options),
    )
    by_layer = found if isinstance(found, dict) else {found.a.provenance["layer"]: found}
    say(*comparison.lines(by_layer))
    save(options.save, lambda name: comparison.write(by_layer, name))
    return 0


def _check_usual(options: argparse.Namespace, *more: str) -> None:
    """Raise `MeasureError` for options that are of two models, where there is a file or a published one."""
    usual: dict[str, Any] = {"pairs_from": None, "pairs": None, "seed": 0, "layer": "1", "steps": 50, "bos": False}
    usual |= {"read": None, **ways.USUAL, **{name: [] for name in more}}
    for name, value in usual.items():
        if getattr(options, name) != value:
            raise MeasureError(f"--{name.replace('_', '-')} is for two models; {options.models[0]} says its own.")


def _redo(options: argparse.Namespace) -> int:
    """What a file of Plateau Lab holds, measured again."""
    from measure.api import plateau_lab

    if len(options.models) > 2:
        raise MeasureError(f"a file and at most one model to measure it on; found {' '.join(options.models[1:])}.")
    _check_usual(options)
    plateau_lab.check_names(options.save, options.models[0])
    found = plateau_lab.redo(*options.models, precision=options.precision, allow_pickle=options.allow_pickle)
    say(*plateau_lab.lines(found))
    save(options.save, lambda name: plateau_lab.write(found, name))
    return 0
