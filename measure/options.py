"""The options that the plugin gives pytest, and what may stand in them."""

from __future__ import annotations

import argparse

import pytest

from measure.spec import DEFAULT_PAIRS, KEEP, PRECISIONS, PROTOCOLS

# Draws that suites have of each counterfeit; `measure.claims` asks here, since reading it takes longer.
MOST_DRAWS = 3
# The corpus that stands for the pairs of --pairs-from, see `own_pairs.hold`.
OWN_PAIRS = pytest.StashKey[str]()


def add_options(parser: pytest.Parser) -> None:
    """Add every option, and the ini setting that moves baselines."""
    group = parser.getgroup("stable regions")
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
    parser.addini(
        "measure_baselines",
        "folder of all baselines, from the root folder (default: baselines/ beside each suite)",
        default="",
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
    from measure.shared_ends import FEWEST

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


def is_usual_sample(config: pytest.Config, *, any_seed: bool = False) -> bool:
    """Whether pairs, corpus and seed are those that verdicts were accepted at, whatever the protocol."""
    own = [config.getoption(f"--{name}") for name in ("pairs", "pairs-from", "corpus", "precision")]
    return own == [None] * 4 and (any_seed or not config.getoption("--seed"))


def is_default_sample(config: pytest.Config, *, any_seed: bool = False) -> bool:
    """Whether pairs, protocol and corpus are those that the baselines were made with."""
    return is_usual_sample(config, any_seed=any_seed) and config.getoption("--protocol") in (None, "paper")
