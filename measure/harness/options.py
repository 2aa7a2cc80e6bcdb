"""The options that the plugin gives pytest, and what may stand in them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping

import pytest

from measure.harness.engines import launchers
from measure.spec import DEFAULT_PAIRS, KEEP, MOST_DRAWS, PRECISIONS, PROTOCOLS, MeasureError

# The corpus that stands for the pairs of --pairs-from, see `own_pairs.hold`.
OWN_PAIRS = pytest.StashKey[str]()


def add_options(parser: pytest.Parser) -> None:
    """Add every option, and the ini setting that moves baselines."""
    group = parser.getgroup("stable regions")
    _add_models(group)
    _add_sample(group)
    _add_fetching(group)
    _add_kept(group)
    _add_spreading(group)
    parser.addini(
        "measure_baselines",
        "folder of all baselines, from the root folder (default: baselines/ beside each suite)",
        default="",
    )


def _add_models(group: pytest.OptionGroup) -> None:
    """Which models are measured, and how their checkpoints are named."""
    group.addoption(
        "--models",
        default="auto",
        metavar="auto|ladder|all|NAME,...",
        help="models to measure: auto (default) is the ladder, and hub models where an accelerator can hold them; "
        "a name may be a hub id or a folder, also NAME@REVISION,NAME to compare revisions, or a hub's NAME@all or "
        "NAME@step*000, audited first",
    )
    group.addoption(
        "--revision-pattern",
        metavar="PATTERN",
        default=None,
        help="how a training's checkpoints are named, such as ckpt_{step}; parts are stage, ingredient, step, tokens",
    )
    group.addoption(
        "--tokens-a-step", type=int, metavar="N", default=None, help="tokens that a step of that pattern takes"
    )


def _add_sample(group: pytest.OptionGroup) -> None:
    """What is asked of them: pairs, protocol, corpus, precision."""
    group.addoption("--pairs", type=int, default=None, help=f"pairs of prompts (default {DEFAULT_PAIRS})")
    group.addoption(
        "--pairs-from",
        default=None,
        metavar="printed|words|FILE",
        help="these pairs under every claim that draws pairs: the paper's six, this package's words, or a file with "
        "columns a and b",
    )
    group.addoption("--protocol", choices=PROTOCOLS, default=None, help="how pairs are drawn (default paper)")
    group.addoption(
        "--corpus",
        default=None,
        metavar="FILE",
        help="draw prompts from this text, or take them from this file of token ids; a path or hf://OWNER/NAME/FILE",
    )
    group.addoption(
        "--precision",
        choices=PRECISIONS,
        default=None,
        help="what is computed in (default float32); baselines and the paper's numbers belong to float32",
    )


def _add_fetching(group: pytest.OptionGroup) -> None:
    """What is fetched and loaded, and what a run is for."""
    group.addoption(
        "--keep", choices=KEEP, default="all", help="which checkpoints fetched by this run stay in the cache after use"
    )
    group.addoption(
        "--disk",
        metavar="SIZE",
        default=None,
        help="what checkpoints fetched by runs may take, such as 200GB: what is measured makes room for the next",
    )
    group.addoption("--allow-pickle", action="store_true", help="load pickled weights where there are no safetensors")
    group.addoption(
        "--refresh", choices=("write", "dry", "rewrite", "dry-rewrite"), default=None, help=argparse.SUPPRESS
    )


def _add_kept(group: pytest.OptionGroup) -> None:
    """Draws, of counterfeits and of pairs, and where results and records are kept."""
    group.addoption(
        "--draws",
        type=int,
        default=1,
        metavar="N",
        help="draws of each counterfeit that claims are held against (default 1, at most 3)",
    )
    group.addoption("--seed", type=int, default=None, help="draw other pairs of prompts (default 0)")
    group.addoption("--store", metavar="DIR", default=None, help="folder of measured results (default .store)")
    group.addoption(
        "--records",
        metavar="FILE",
        default=None,
        help="write the run's records here (default reports/runs/WHEN.jsonl, and reports/history.jsonl a line a case)",
    )


def _add_spreading(group: pytest.OptionGroup) -> None:
    """Over what a run is spread; see docs/scale.md."""
    group.addoption(
        "--shard",
        default=None,
        metavar="K/N",
        help="be the K-th of N processes that share these tests and a store: each measures a part, the last judges",
    )
    group.addoption(
        "--engine",
        choices=("in-process", *launchers.names()),
        default=None,
        help="who measures (default: this process, or one process for each of several GPUs)",
    )
    group.addoption("--workers", type=int, default=None, metavar="N", help="how many processes, actors or jobs")
    group.addoption("--gpus", type=int, default=None, metavar="N", help="use so many of this machine's GPUs (all)")
    group.addoption(
        "--slurm",
        default="",
        metavar="NAME=VALUE,...",
        help="what --engine slurm asks for, in submitit's names: slurm_partition=gpu,timeout_min=240,gpus_per_node=1",
    )


def check_sample(config: pytest.Config) -> None:
    """Raise `UsageError` for fewer pairs than an interval stands on, and for a seed or draws that are none."""
    draws, seed, pairs = (config.getoption(f"--{name}") for name in ("draws", "seed", "pairs"))
    if not 1 <= draws <= MOST_DRAWS:
        raise pytest.UsageError(f"--draws {draws}: each counterfeit has {MOST_DRAWS} draws; give 1 to {MOST_DRAWS}.")
    if seed is not None and seed < 0:
        raise pytest.UsageError(f"--seed {seed}: seeds are 0 or above; leave it out for the default draw, 0.")
    _check_own_pairs(config)
    if pairs is None:
        return
    from measure.stats.shared_ends import FEWEST

    if pairs < 2 * FEWEST:
        raise pytest.UsageError(
            f"--pairs {pairs}: half of them are independent, and no interval stands on fewer than {FEWEST}; "
            f"give {2 * FEWEST} or more."
        )


def _check_own_pairs(config: pytest.Config) -> None:
    """Raise `UsageError` for options that say of pairs that are written how they are drawn."""
    given = config.getoption("--pairs-from")
    for name, what in (("--corpus", "says what pairs are drawn from"), ("--pairs", "says how many are drawn")):
        if given is not None and config.getoption(name) is not None:
            raise pytest.UsageError(
                f"--pairs-from {given} takes every pair that is written there, and {name} {what}; leave one of them "
                "out."
            )
    if given is not None and (config.option.update_snapshots or config.getoption("--refresh")):
        raise pytest.UsageError(
            f"--pairs-from {given}: baselines and accepted verdicts are of the default pairs, so that nothing can be "
            "accepted here; leave out --snapshot-update."
        )


def shard_of(text: str) -> tuple[int, int]:
    """K and N of `K/N`. Raises `MeasureError` unless K is one of 1 to N."""
    found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text, re.ASCII)
    if found is None:
        raise MeasureError(f"{text!r} is no shard; expected K/N, the K-th of N shards, as in 1/4.")
    number, count = int(found[1]), int(found[2])
    if number > count:
        raise MeasureError(f"there is no shard {number} of {count}; give 1/{count} to {count}/{count}.")
    return number, count


def check_spreading(config: pytest.Config) -> None:
    """Raise `UsageError` for options that say over what a run is spread, and do not go together."""
    shard, engine, workers = (config.getoption(f"--{name}") for name in ("shard", "engine", "workers"))
    if shard is not None:
        try:
            shard_of(shard)
        except MeasureError as error:
            raise pytest.UsageError(f"--shard: {error}") from None
    for name, value in (("--workers", workers), ("--gpus", config.getoption("--gpus"))):
        if value is not None and value < 1:
            raise pytest.UsageError(f"{name} {value}: give 1 or more.")
    if engine == "slurm" and workers is None:
        raise pytest.UsageError("--engine slurm: say how many jobs to submit, with --workers N.")
    apart = {"--shard": shard, "--engine": engine if engine != "in-process" else None}
    _check_apart(config, {name: value for name, value in apart.items() if value is not None})


def _check_apart(config: pytest.Config, given: Mapping[str, str]) -> None:
    if len(given) > 1:
        raise pytest.UsageError(
            f"--shard {given['--shard']} is for several processes that you start, and --engine {given['--engine']} "
            "starts them itself; leave one of them out."
        )
    for name, value in given.items():
        if getattr(config.option, "numprocesses", None):
            raise pytest.UsageError(
                f"{name} {value}: pytest-xdist spreads tests, and this spreads models; leave -n out."
            )
        if config.getoption("--refresh"):
            raise pytest.UsageError(f"{name} {value}: a refresh measures in one process; leave it out.")


def is_usual_sample(config: pytest.Config, *, any_seed: bool = False) -> bool:
    """Whether pairs, corpus and seed are those that verdicts were accepted at, whatever the protocol."""
    own = [config.getoption(f"--{name}") for name in ("pairs", "pairs-from", "corpus", "precision")]
    return own == [None] * 4 and (any_seed or not config.getoption("--seed"))


def is_default_sample(config: pytest.Config, *, any_seed: bool = False) -> bool:
    """Whether pairs, protocol and corpus are those that the baselines were made with."""
    return is_usual_sample(config, any_seed=any_seed) and config.getoption("--protocol") in (None, "paper")
