"""Which models exist: families, sizes, hub ids, training revisions, ladder rungs. No torch, no network."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from measure.base import checkpoint_files, places
from measure.base.packed_forms import PACKED_FORMS, PACKED_SOURCES, PackedForm, packed_form
from measure.catalog import checkpoint_suites, revisions
from measure.catalog import entries as catalog_entries
from measure.catalog.ladder_cards import read_card, rung_model
from measure.catalog.records import Model, Origin, Reference, Shape, Source
from measure.names import ModelRef
from measure.spec import MeasureError, NotMeasuredError

__all__ = [
    "FEWEST_RUNS",
    "LADDER",
    "Model",
    "Origin",
    "Reference",
    "Shape",
    "Source",
    "add",
    "added",
    "alone",
    "checkpoints",
    "deep",
    "find",
    "forget_added",
    "largest",
    "left_out",
    "models",
    "place_of",
    "read_card",
    "relatives",
    "resolve",
    "runs",
    "seeds",
    "sizes",
    "split",
    "studied",
]

LADDER = Path(__file__).parents[1] / "ladder" / "weights"
# Beside the package in a clone, and not beside an installed one.
_CLONE = Path(__file__).parents[2] / "constraints.txt"


_ADDED: dict[str, Model] = {}


@cache
def models() -> Mapping[str, Model]:
    """Every catalogued model by name, the ladder's first."""
    rungs = [rung_model(path.parent) for path in LADDER.glob("*/card.json")]
    rungs.sort(key=lambda model: (model.family, model.parameters, model.name))
    fixed = (*catalog_entries.INDEX, *catalog_entries.PAPER, *catalog_entries.DISCUSSION)
    return {model.name: model for model in (*rungs, *fixed, *_ADDED.values())}


@cache
def checkpoints() -> Mapping[str, Model]:
    """Trainings whose checkpoints are on the hub, by name. A run that names one adds it to `models`."""
    return {
        run.name: Model(
            name=run.name,
            family=run.family,
            source="hub",
            location=run.places[-1].repository,
            shape=Shape(*run.dimensions),
            revisions=run.revisions,
            seed=run.seed,
            origin="checkpoints",
            counted=run.parameters,
        )
        for run in checkpoint_suites.runs().values()
    }


def find(name: str) -> Model | None:
    """The model of a name: added, in the catalog, or a training on the hub. None if there is none."""
    return models().get(name) or checkpoints().get(name)


def place_of(run: checkpoint_suites.Run, revision: str) -> tuple[str, str]:
    """The repository that holds a run's checkpoint, and the checkpoint's name there."""
    name = run.main if revision == "main" else revision
    for place in run.places[:-1] if name != "main" else ():
        step = _step_of(name, place.repository)
        if step is not None and (place.until is None or step <= place.until):
            return place.repository, name
    return run.places[-1].repository, name


def _step_of(revision: str, repository: str) -> int | None:
    """The step of the first stage that a checkpoint, or a number of tokens, is at; None for another stage, or none."""
    if (asked := revisions.wanted(revision)) is not None:
        family = revisions.family_of(repository)
        size = family.tokens_a_step if family else None
        return asked.tokens // (size or 1) if (asked.stage or 1) == 1 else None
    found = revisions.parse(revision, repository)
    family = revisions.family_of(repository)
    counted_on = family is not None and family.counted_on
    return found.step if found is not None and (found.stage < 2 or counted_on) else None


def left_out(model: Model) -> tuple[str, ...]:
    """The revisions of a rung that an installed package lacks. A clone of the project has all of them."""
    if _CLONE.is_file() or model.source != "ladder":
        return ()
    return tuple(revision for revision in model.revisions if not (Path(model.location) / revision).is_dir())


def _check_shipped(model: Model, revision: str) -> None:
    if revision not in left_out(model):
        return
    rungs = {m: left_out(m) for m in models().values() if m.source == "ladder"}
    here = [m.name if not gone else f"{m.name}@{r}" for m, gone in rungs.items() for r in m.revisions if r not in gone]
    raise NotMeasuredError(
        f"{model.name}@{revision} does not come with the installed package, which holds "
        f"{', '.join(dict.fromkeys(here))}; measure one of these, or install the package from a clone of the project, "
        "which has every revision (`pip install --editable CLONE`)."
    )


def studied() -> list[Model]:
    """The models that every claim is tested on, one seed of each: all but those that the paper only mentions."""
    return [model for model in models().values() if model.seed == 0 and model.origin != "discussion"]


def alone() -> list[Model]:
    """Models of the index, and added ones, that have one revision: for claims that one such model can answer."""
    return [model for model in studied() if model.origin in ("index", "added") and len(model.revisions) == 1]


def deep(least: int) -> tuple[str, ...]:
    """Names of the models that claims on depth are tested on. Those of `alone` need `least` blocks or more."""
    return (*catalog_entries.DEEP, *(model.name for model in alone() if model.layers >= least))


def largest() -> tuple[str, ...]:
    """Names of the models for claims with one case a family: its largest rung, and all of `deep` that are no rungs."""
    rungs = (sizes(family, "ladder")[-1].name for family in ("olmo", "qwen2"))
    return (*rungs, *(name for name in deep(2) if models()[name].source != "ladder"))


def relatives() -> dict[str, list[Model]]:
    """Families of models that the user added, by name: two or more of one kind and tokenizer, smallest first."""
    by_family: dict[str, list[Model]] = {}
    for model in sorted(_ADDED.values(), key=lambda model: (model.parameters, model.seed)):
        # Of the runs of one recipe, which are of one size, the first.
        others = by_family.setdefault(model.family, [])
        if _recipe(model) not in map(_recipe, others):
            others.append(model)
    return {family: found for family, found in by_family.items() if len(found) > 1}


def add(model: Model) -> None:
    """Add a model to the catalog for the rest of this process. Raises `MeasureError` if its name is taken."""
    known = models().get(model.name)
    if known is not None and known.location != model.location:
        raise MeasureError(
            f"{model.location} would be called {model.name}, and the catalog's {model.name} is {known.location}; "
            "rename the folder."
        )
    if known is None or known.origin == "added":
        _ADDED[model.name] = model
        models.cache_clear()


def added() -> tuple[Model, ...]:
    """The models that `add` added."""
    return tuple(_ADDED.values())


def forget_added() -> None:
    """Remove the models that `add` added."""
    _ADDED.clear()
    models.cache_clear()


def _only_packed(folder: Path) -> tuple[PackedForm, Path] | None:
    """The file with a whole model in a folder that holds no other form of one; None where there is none.

    Raises `MeasureError` where there are two: one must be named.
    """
    forms = {path: form for path in folder.glob("*") if (form := packed_form(path.name)) and path.is_file()}
    files = sorted(forms)
    if not files or (folder / "config.json").is_file():
        return None
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        kinds = " or ".join(dict.fromkeys(forms[path].label for path in files))
        raise MeasureError(f"{folder} holds {len(files)} {kinds} files ({names}); name one: {files[0]}.")
    return forms[files[0]], files[0]


def _folder(name: str, revision: str) -> Reference:
    """A local model; `@revision` names a folder inside it."""
    folder = places.at(name) or Path(name)
    location = folder / revision
    if packed := _only_packed(location):
        form, path = packed
        return Reference(name, revision or "main", form.source, str(path))
    if not (location / "config.json").is_file():
        checkpoint_files.check_folder(location)
        inside = ", ".join(sorted(path.parent.name for path in folder.glob("*/config.json"))) or "none"
        raise NotMeasuredError(
            f"{location} has no config.json, so it holds no model; models in folders of {name}: {inside} "
            "(write FOLDER@NAME for one of them)."
        )
    return Reference(name, revision or "main", "folder", str(location))


def sizes(family: str, source: Source) -> list[Model]:
    """The models of one family from smallest to largest, one training seed of each."""
    found = [m for m in models().values() if m.family == family and m.source == source and m.seed == 0]
    return sorted(found, key=lambda model: model.parameters)


def seeds(model: Model) -> list[Model]:
    """`model` and the models trained by the same recipe from other random seeds."""
    base = _recipe(model)
    return [m for m in models().values() if m.name == base or m.name.rpartition("-seed")[0] == base]


def _recipe(model: Model) -> str:
    """What models that differ in their seed alone are called without it."""
    return model.name.rpartition("-seed")[0] if model.seed else model.name


# Below this many runs there is no spread to speak of.
FEWEST_RUNS = 3


def runs(model: Model) -> list[Model]:
    """Training runs of a model's recipe that the user added, by seed. None if there are fewer than three.

    Further runs of the ladder are not among them: measurements of those are kept, see `measure.claims.over_runs`.
    """
    found = [one for one in seeds(model) if one.origin == "added" and one.family == model.family]
    return sorted(found, key=lambda one: one.seed) if len(found) >= FEWEST_RUNS else []


def _check_only_main(name: str, revision: str) -> None:
    if revision != "main":
        raise NotMeasuredError(f"{name} has no revision {revision!r}: one file holds one set of weights; leave @ out.")


def split(text: str) -> tuple[str, str]:
    """Split `NAME@REVISION` into name and revision; the revision is "" if there is none.

    An @ inside the path of a file or folder that exists belongs to the path. The longest such path is taken.
    """
    ref = ModelRef.parse(text)
    if find(ref.name) is not None:
        return ref.name, ref.revision
    ends = [len(text), *(place for place in range(len(text) - 1, 0, -1) if text[place] == "@")]
    found = next((end for end in ends if places.at(text[:end]) is not None), None)
    return (ref.name, ref.revision) if found is None else (text[:found], text[found + 1 :])


def resolve(text: str) -> Reference:
    """Find the model that `text` names: a catalog name, a folder or a hub id, each with an optional `@revision`.

    Or a GGUF file: a path, or hf://OWNER/NAME/FILE.gguf. A path that exists is taken as it is, whatever its name holds.
    Write hf://OWNER/NAME for a model on the hub if there is also a folder OWNER here.

    Raises `MeasureError` with the nearest known models or revisions.
    """
    name, revision = split(text)
    if model := find(name):
        return _in_catalog(model, name, revision or "main")
    if (place := places.at(name)) is not None:
        return _at_place(name, revision, place)
    if form := packed_form(text):
        return Reference(text, "main", form.source, text)
    if form := packed_form(name):
        _check_only_main(name, revision)
        return Reference(name, "main", form.source, name)
    on_hub = name.removeprefix("hf://")
    if on_hub.count("/") == 1 and not places.is_written_as_one(on_hub):
        if on_hub == name:
            _check_no_folder(name)
        return Reference(on_hub, revision or "main", "hub", on_hub)
    # Nothing of the parts is there, so that no @ tells where a revision begins.
    meant = text if "/" in revision else name
    if places.is_written_as_one(name):
        raise NotMeasuredError(f"there is no folder {_shown(meant)}{_beside(meant)}; give a folder with a config.json.")
    near = difflib.get_close_matches(name, {**checkpoints(), **models()}, n=3, cutoff=0.0)
    raise NotMeasuredError(
        f"model {_shown(meant)} is unknown. Nearest in the catalog: {', '.join(near)}. "
        "Or give a folder with a config.json, or a hub id such as allenai/OLMo-1B-0724-hf."
    )


def _in_catalog(model: Model, name: str, revision: str) -> Reference:
    """Where a revision of a model of the catalog is."""
    if run := checkpoint_suites.runs().get(name):
        location, revision = place_of(run, revision)
        return Reference(name, revision, "hub", location, model)
    # The hub has more training revisions than the paper shows; only the ladder's list is complete.
    if model.source == "ladder" and revision not in model.revisions:
        raise NotMeasuredError(f"{name} has no revision {revision!r}; it has {', '.join(model.revisions)}.")
    if model.source == "ladder":
        _check_shipped(model, revision)
    if model.source in ("index", *PACKED_SOURCES):
        _check_only_main(name, revision)
        return Reference(name, "main", model.source, model.location, model)
    if model.source == "folder":
        whole = revision == "main" and (Path(model.location) / "config.json").is_file()
        found = _folder(model.location, "" if whole else revision)
        return dataclasses.replace(found, name=name, model=model)
    location = str(Path(model.location) / revision) if model.source == "ladder" else model.location
    return Reference(name, revision, model.source, location, model)


def _at_place(name: str, revision: str, place: Path) -> Reference:
    """The model in a folder, or in one file."""
    if place.is_dir():
        return _folder(name, revision)
    form = packed_form(name)
    if form is None:
        endings = " or ".join(one.ending for one in PACKED_FORMS)
        raise NotMeasuredError(
            f"{name} is a file, and no model; give the folder with its config.json, or a file that ends in {endings}."
        )
    _check_only_main(name, revision or "main")
    return Reference(name, "main", form.source, str(place))


def _check_no_folder(name: str) -> None:
    """Refuse what may be a hub id, but stands for a folder by its looks: the first part of it is here."""
    owner = name.partition("/")[0]
    known = any(name == model.location for model in models().values())
    if not known and (place := places.at(owner)) is not None and place.is_dir():
        raise NotMeasuredError(
            f"there is no folder {name!r}{_beside(name)}; give one that is there, or write hf://{name} for the model "
            "of that name on the hub."
        )


def _beside(name: str) -> str:
    """What a folder that has the parent of one that is not there holds instead, the likeliest first."""
    parent = places.at(str(Path(name).parent))
    try:
        found = parent.iterdir() if parent is not None and parent.is_dir() else ()
        inside = [path.name for path in found if path.is_dir() and not path.name.startswith(".")]
    except OSError:
        return ""
    near = difflib.get_close_matches(Path(name).name, inside, n=3, cutoff=0.0)
    return f" (in {Path(name).parent} there are {', '.join(near)})" if near else ""


def _shown(name: str) -> str:
    return repr(name if len(name) <= 200 else f"{name[:200]}...")
