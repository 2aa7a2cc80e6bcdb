"""Which models a run measures: those that --models names, those that this machine can hold, and why not the others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from measure import catalog, engine, hub, known, models, shelf, structure
from measure.spec import MeasureError

CHOICES = ("auto", "ladder", "all")


def named(choice: str) -> set[str] | None:
    """The catalog's names of the models in a list of names, hub ids and folders; None for auto, ladder and all.

    What the catalog does not know is added to it: `NAME@REVISION,NAME@REVISION,NAME` gives the revisions in order of
    training, `main` being the last. Raises `MeasureError` for what is no model.
    """
    if choice in CHOICES:
        return None
    revisions: dict[str, list[str]] = {}
    for text in choice.split(","):
        name, _, revision = text.strip().partition("@")
        revisions.setdefault(name, []).append(revision or "main")
    return {_known(name, found) or _add(name, found) for name, found in revisions.items()}


def _known(name: str, revisions: list[str]) -> str | None:
    """The name of a model that the catalog has by its name, or ships by its hub id.

    Raises `MeasureError` for revisions: it has its own.
    """
    models = catalog.models().values()
    found = next((m for m in models if name == m.name or (name == m.location and m.origin != "added")), None)
    if found is not None and revisions != ["main"]:
        raise MeasureError(
            f"{name}@{revisions[0]}: the suites measure {found.name} at the catalog's revisions, "
            f"{', '.join(found.revisions)}; name it without @, and choose among its tests with -k."
        )
    return found.name if found is not None else None


def _add(name: str, revisions: list[str]) -> str:
    ordered = tuple(dict.fromkeys(sorted(revisions, key=lambda revision: revision == "main")))
    first = name if ordered[0] == "main" else f"{name}@{ordered[0]}"
    reference = catalog.resolve(first)
    location = _location(name, reference)
    # The name stands in the ids of tests, and these in names of files.
    plain = Path(location).name if reference.source in ("folder", "gguf") else location.replace("/", "--")
    plain = re.sub(r"[^\w.+-]+", "-", plain)
    config = models.read_own_config(first)
    catalog.add(
        catalog.Model(
            name=plain,
            family=_family(reference, config) or plain,
            source=reference.source,
            location=location,
            shape=structure.shape_of(config),
            revisions=ordered,
            origin="added",
            counted=models.count_parameters(config),
        )
    )
    return plain


def not_measured(names: Iterable[str], choice: str, *, weights: bool = True) -> str | None:
    """Why a test of these models is not measured under --models `choice` on this machine; None when it is.

    `weights`: it needs more of them than their configs.
    """
    found = [catalog.models()[name] for name in names if name in catalog.models()]
    if reason := _not_fetched(found, choice):
        return reason
    away = sorted((model for model in found if model.source == "hub"), key=lambda model: model.parameters)
    if not away or choice == "all":
        return None
    if choice == "ladder":
        return "not measured: --models ladder leaves hub models out"
    forced = f"force it with --models {','.join(model.name for model in away)}"
    if not weights and not engine.accelerator_bytes():
        return f"not measured: the config is on the model hub; {forced}"
    # Models are loaded one after the other: the largest decides.
    if weights and engine.accelerator_bytes() <= 1.2 * away[-1].float32_bytes:
        return f"not measured: {memory(away[-1])} need an accelerator that holds them; {forced}"
    absent = [model.location for model in away if not _at_hand(model.location)]
    if absent:
        return (
            f"not measured: {', '.join(absent)} is neither in the cache nor can the hub be reached; fetch it first "
            f"(`measure fetch`), or {forced}"
        )
    return None


def _location(name: str, reference: catalog.Reference) -> str:
    """Where an added model is, wherever the process goes on."""
    if "://" in reference.location or reference.source not in ("folder", "gguf"):
        return reference.location
    return str(Path(reference.location if reference.source == "gguf" else name).resolve())


def _family(reference: catalog.Reference, config: Any) -> str | None:
    """One name for models of one kind and one tokenizer, which are compared on the same prompts; None without one."""
    if reference.source == "hub":
        return None
    path = models.tokenizer_file(reference, models.local_folder(reference))
    return f"{config.model_type}-{known.hash_file(path)[:6]}" if path is not None else None


def _not_fetched(found: Iterable[catalog.Model], choice: str) -> str | None:
    """Why a test of models of the package index is not measured; None where they are all here, or were asked for."""
    index = [model.name for model in found if model.source == "index"]
    if index and choice == "ladder":
        return "not measured: --models ladder leaves other models out"
    absent = [name for name in index if not shelf.is_cached(name)]
    return f"not measured: {shelf.how_to_get(absent[0])}" if absent and choice == "auto" else None


def memory(model: catalog.Model) -> str:
    """The memory that a model's weights take, in words."""
    return f"{model.float32_bytes / 1e9:.1f} GB of float32 weights"


@cache
def _at_hand(repo: str) -> bool:
    return hub.is_cached(repo) or hub.is_reachable(repo)


def without_revision(name: str) -> str:
    """A model's name without what follows @."""
    return name.partition("@")[0]


def check_present(names: set[str], present: set[str]) -> None:
    """Raise `MeasureError` where one of the models named is measured by no test."""
    absent = sorted(names - present) if present else []
    if absent:
        raise MeasureError(f"no chosen test measures {absent[0]}; they measure {', '.join(sorted(present))}.")
