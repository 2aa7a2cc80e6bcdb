"""The ranks of the house: a module imports from lower ranks only, suites import no engine, importing does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import measure

ROOT = Path(__file__).parent.parent
RANKS = [
    {"shown"},
    {"spec", "shared_ends", "metrics", "figures", "kernels", "rows", "exits", "places", "signals", "contexts", "gpus"},
    {
        "stats",
        "paths",
        "distances",
        "counterfeits",
        "text_files",
        "checkpoint_files",
        "sound",
        "revisions",
        "checkpoint_suites",
        "known_bad",
        "quota",
        "files",
        "progress",
    },
    {"result_files"},
    {"results", "stale", "hub_errors", "leases", "ladder.recipe", "ladder.seeds", "token_files"},
    {"view_rows", "records", "report", "known", "kinds", "kept", "directions", "catalog"},
    {"hub_cache"},
    {"hub_hashes", "hub_listings"},
    {"hub_weights"},
    {"hub", "structure", "items", "options", "terminal", "hookspec", "history", "engines"},
    {
        "gguf_files",
        "torch_settings",
        "loaded_model",
        "tokenizer_places",
        "model_config",
        "accepted",
        "published",
        "audit",
        "disk",
    },
    {"shelf", "sweeping", "claim", "controls"},
    {"model_files"},
    {"tokenizer_loading"},
    {"predictions", "crossings", "slices", "prompts", "models", "store", "claims"},
    {"prefixes", "distributions"},
    {"baselines", "training_order", "forward", "inputs", "own_pairs", "tables", "ladder", "recording", "shards"},
    {"reference"},
    {"regression", "finite", "placement", "course", "parts", "figure_parts", "over_runs", "drift"},
    {"page_names"},
    {"batches"},
    {"runs", "asked", "snapshot", "page_history", "page_results", "page_runs", "page_paper", "paper_figures"},
    {"agreement"},
    {"several", "toward"},
    {"provenance", "segments"},
    {"gates", "planes", "predicting", "fetching", "page_view", "review"},
    {"measurements"},
    {"api"},
    {"engine", "page", "sweeps"},
    {"estimates", "work"},
    {"pool_worker"},
    {"processes", "ray_actors", "slurm_jobs", "pool"},
    {"spread"},
    {"selection", "session", "outcomes"},
    {"stash"},
    {"collected", "carried", "given"},
    {"ending"},
    {"plugin"},
    {"refresh"},
    {"plan"},
    {"comparison", "same_tokens"},
    {"two_models", "plateau_lab", "published_runs"},
    {"explore"},
    {"commands"},
    {"cli"},
]
# Inside the ladder: what may import what.
LADDER = ["recipe", "train", "card", "seeds", "seed_training"]
# And of the explorer, whose server and page the command line alone reaches, by its command.
EXPLORE = ["asked", "turns", "guard", "served", "computing", "pair_files", "server", "command"]
# Of the commands what several share, and then a command a rank, though none imports another but the ladder.
COMMANDS = ["common", "choosing", "ways", "measuring", "training", "ladder_seeds", "ladder"]
COMMANDS += ["models", "curve", "sweep", "slices", "explore", "compare", "audit", "plan", "fetch", "report"]
COMMANDS += ["history", "review", "refresh"]
INSIDE = {"ladder": LADDER, "explore": EXPLORE, "commands": COMMANDS}


def modules() -> list[str]:
    files = [path.relative_to(ROOT / "measure") for path in (ROOT / "measure").rglob("*.py")]
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files]
    return sorted(name for name in names if name != "__init__")


def imported(name: str) -> set[str]:
    """Modules of `measure` that module `name` imports, anywhere in its code."""
    folder = ROOT / "measure" / name.replace(".", "/")
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    inside = {entry.removeprefix("measure.") for entry in found if entry.startswith("measure.")}
    return {entry for entry in inside if entry in modules()}


def rank(name: str) -> int:
    for number, group in enumerate(RANKS):
        if name in group:
            return number
    if (wing := name.partition(".")[0]) in INSIDE and wing != name:
        return rank(wing)
    if name.startswith("kinds."):
        return rank("predictions") + 1
    raise AssertionError(f"measure/{name} has no rank: give it one in {__file__} and in the README's map")


@pytest.mark.parametrize("name", modules())
def test_imports_go_down(name: str) -> None:
    for other in imported(name) - {name}:
        wing = name.partition(".")[0]
        if wing in INSIDE and other.startswith(f"{wing}."):
            order = INSIDE[wing]
            assert order.index(other.split(".")[1]) < order.index(name.split(".")[1]), f"{name} imports {other}"
        elif other == wing and wing in INSIDE:
            continue
        elif other.startswith("kinds.") and name.startswith("kinds."):
            assert other == "kinds.curves", f"{name} imports {other}"
        else:
            assert rank(other) < rank(name), f"{name} imports {other}"


def test_suites_never_import_torch_forward_or_engines() -> None:
    for path in (ROOT / "suites").glob("*.py"):
        text = path.read_text()
        for word in ("torch", "measure.forward", "measure.engine", "measure.models", "transformers"):
            assert f"import {word}" not in text, f"{path.name} imports {word}"
            assert f"from {word}" not in text, f"{path.name} imports {word}"


@pytest.mark.parametrize("code", ["import measure", "import measure.cli", "import measure.catalog, measure.results"])
def test_importing_takes_no_torch(code: str) -> None:
    heavy = "torch", "transformers", "datasets", "matplotlib", "scipy"
    check = f"{code}; import sys; sys.exit(', '.join(n for n in {heavy!r} if n in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_type_checkers_see_the_public_names_and_no_others() -> None:
    """Each as `X as X`, from the module that it is fetched from when first used."""
    tree = ast.parse((ROOT / "measure" / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: alias.name if node.module == "measure" else str(node.module).removeprefix("measure.")
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert seen == measure._HOMES
    assert measure.__all__ == dir(measure) == sorted(seen)
