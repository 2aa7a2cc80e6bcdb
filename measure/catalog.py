"""Which models exist: families, sizes, hub ids, training revisions, ladder rungs. No torch, no network."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec

from measure import checkpoint_files, checkpoint_suites, files, places, revisions
from measure.spec import MeasureError, NotMeasuredError

LADDER = Path(__file__).parent / "ladder" / "weights"
# Beside the package in a clone, and not beside an installed one.
_CLONE = Path(__file__).parent.parent / "constraints.txt"

Source = Literal["ladder", "hub", "folder", "gguf", "index"]
Origin = Literal["paper", "discussion", "index", "added", "checkpoints"]


@dataclass(frozen=True)
class Shape:
    """The dimensions of a decoder, as in the paper's Table 1 (corrected where the real configs differ)."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int
    tied: bool

    @property
    def activations(self) -> int:
        """About how many numbers a forward holds at a position: residual states and what a block makes of them."""
        return 8 * self.hidden + 3 * self.intermediate

    def parameters(self, family: str) -> int:
        """Parameters counted from the dimensions: OLMo has neither biases nor norm scales, Qwen2 has both."""
        keys = 2 * self.hidden * self.key_value_heads // self.heads
        block = self.hidden * (2 * self.hidden + keys) + 3 * self.hidden * self.intermediate
        norms = 0
        if family == "qwen2":
            block += self.hidden + keys + 2 * self.hidden
            norms = self.hidden
        return self.layers * block + norms + self.vocabulary * self.hidden * (1 if self.tied else 2)


@dataclass(frozen=True)
class Model:
    """One model of the catalog. `revisions` run from untrained to `main`, the fully trained one.

    A revision `tokensNB` of a hub model is the training branch nearest to N billion tokens. Models that differ in
    `seed` alone were trained on one recipe from different random seeds. `origin` is `paper` for what the paper's
    figures show and for the ladder, `discussion` for what it only mentions, `index` for public models that lie in the
    package index (`measure.shelf`), `checkpoints` for trainings on the hub (`measure.checkpoint_suites`), of which no
    claim is asked unless they are named, `added` for what the user put in.
    """

    name: str
    family: str
    source: Source
    location: str
    shape: Shape
    revisions: tuple[str, ...]
    seed: int = 0
    origin: Origin = "paper"
    counted: int | None = None
    licence: str = ""

    @property
    def parameters(self) -> int:
        """Parameters: counted from the dimensions, or beforehand where a family has its own."""
        return self.counted or self.shape.parameters(self.family)

    @property
    def float32_bytes(self) -> int:
        """Memory that the weights take when they are measured."""
        return 4 * self.parameters

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return self.shape.layers


@dataclass(frozen=True)
class Reference:
    """Where a model's weights are: `location` is a folder or a hub id, `model` its catalog entry if it has one."""

    name: str
    revision: str
    source: Source
    location: str
    model: Model | None = None


_OLMO_1B = ("step0-tokens0B", "step2000-tokens4B", "step5000-tokens10B", "step15000-tokens31B", "main")
# The paper's token counts; which branch is nearest the hub's refs tell.
_OLMO_7B = ("step0-tokens0B", "tokens10B", "tokens100B", "tokens501B", "main")
_HUB: tuple[tuple[str, str, str, Shape, tuple[str, ...]], ...] = (
    ("olmo-1b", "olmo", "allenai/OLMo-1B-0724-hf", Shape(2048, 16, 16, 16, 8192, 50304, False), _OLMO_1B),
    ("olmo-7b", "olmo", "allenai/OLMo-7B-0724-hf", Shape(4096, 32, 32, 32, 11008, 50304, False), _OLMO_7B),
    ("qwen2-0.5b", "qwen2", "Qwen/Qwen2-0.5B", Shape(896, 24, 14, 2, 4864, 151936, True), ("main",)),
    ("qwen2-1.5b", "qwen2", "Qwen/Qwen2-1.5B", Shape(1536, 28, 12, 2, 8960, 151936, True), ("main",)),
    ("qwen2-7b", "qwen2", "Qwen/Qwen2-7B", Shape(3584, 28, 28, 4, 18944, 152064, False), ("main",)),
)  # fmt: skip
# The families of the paper's Discussion, one model of each; parameters as transformers counts them.
_DISCUSSION: tuple[tuple[str, str, str, Shape, int], ...] = (
    ("gpt2", "gpt2", "openai-community/gpt2", Shape(768, 12, 12, 12, 3072, 50257, True), 124_439_808),
    ("pythia-410m", "gpt_neox", "EleutherAI/pythia-410m-deduped",
     Shape(1024, 24, 16, 16, 4096, 50304, False), 405_334_016),
    ("phi-2", "phi", "microsoft/phi-2", Shape(2560, 32, 32, 32, 10240, 51200, False), 2_779_683_840),
    ("llama-7b", "llama", "huggyllama/llama-7b", Shape(4096, 32, 32, 32, 11008, 32000, False), 6_738_415_616),
    ("gemma-2b", "gemma", "google/gemma-2b", Shape(2048, 18, 8, 1, 16384, 256000, True), 2_506_172_416),
)  # fmt: skip
# Not the paper's: public models whose weights the package index holds.
_INDEX: tuple[tuple[str, str, Shape, int, str], ...] = (
    ("smollm2-135m-instruct", "llama", Shape(576, 30, 9, 3, 1536, 49152, True), 134_515_008, "Apache-2.0"),
    ("gemma3-270m", "gemma3", Shape(640, 18, 4, 1, 2048, 262144, True), 268_098_176, "Gemma Terms of Use"),
)  # fmt: skip
_ADDED: dict[str, Model] = {}


class _Rung(TypedDict):
    family: Literal["olmo", "qwen2"]
    size: str
    width: int
    blocks: int
    heads: int
    key_value_heads: int
    intermediate: int
    seed: int


class _Recipe(TypedDict):
    sequence: int
    batch: int
    steps: int
    learning_rate: float
    final_learning_rate: float
    warmup: int
    weight_decay: float
    betas: tuple[float, float]
    gradient_clip: float


class _Text(TypedDict):
    name: str
    sha256: str
    tokens: int


class _Heldout(TypedDict):
    loss: float
    standard_error: float
    windows: int


class _Revision(TypedDict):
    revision: str
    step: int
    tokens: int
    heldout: _Heldout
    sha256: str


class _Card(TypedDict):
    rung: _Rung
    parameters: int
    non_embedding_parameters: int
    recipe: _Recipe
    corpus: _Text
    heldout: _Text
    revisions: list[_Revision]


def read_card(folder: Path) -> dict[str, Any]:
    """The machine-readable model card of a rung. Raises `MeasureError` when it cannot be read."""
    path = folder / "card.json"
    try:
        card: dict[str, Any] = files.read_json(path)
        msgspec.convert(card, _Card)
        if wrong := _wrong_in(card):
            raise ValueError(wrong)
    except ValueError as error:
        raise MeasureError(
            f"{path} cannot be read ({error}); restore it, or train the rung anew with `measure ladder train`."
        ) from error
    return card


def _wrong_in(card: dict[str, Any]) -> str:
    """What in a card contradicts itself; nothing if it is whole."""
    rung, recipe, revisions = card["rung"], card["recipe"], card["revisions"]
    names = [entry["revision"] for entry in revisions]
    if names[-1:] != ["main"] or len(set(names)) < len(names):
        return f"its revisions are {', '.join(names) or 'none'}, expected several of which main is the last"
    off = [e for e in revisions if e["tokens"] != e["step"] * recipe["sequence"] * recipe["batch"]]
    if off or revisions[-1]["step"] != recipe["steps"]:
        return f"its revision {(off or revisions[-1:])[0]['revision']} is of another step than its recipe's"
    if min(rung[name] for name in ("width", "blocks", "heads", "key_value_heads", "intermediate")) < 1:
        return "its rung is of no size"
    shape = _rung_shape(card)
    if shape.vocabulary < 1 or shape.parameters(rung["family"]) != card["parameters"]:
        return f"its rung has {shape.parameters(rung['family'])} parameters, not {card['parameters']}"
    return ""


def _rung_shape(card: dict[str, Any]) -> Shape:
    """A rung's dimensions by its card; every rung ties its embeddings."""
    rung = card["rung"]
    return Shape(
        hidden=rung["width"],
        layers=rung["blocks"],
        heads=rung["heads"],
        key_value_heads=rung["key_value_heads"],
        intermediate=rung["intermediate"],
        vocabulary=(card["parameters"] - card["non_embedding_parameters"]) // rung["width"],
        tied=True,
    )


def _ladder_model(folder: Path) -> Model:
    card = read_card(folder)
    return Model(
        name=folder.name,
        family=card["rung"]["family"],
        source="ladder",
        location=str(folder),
        shape=_rung_shape(card),
        revisions=tuple(revision["revision"] for revision in card["revisions"]),
        seed=card["rung"]["seed"],
    )


@cache
def models() -> Mapping[str, Model]:
    """Every catalogued model by name, the ladder's first."""
    rungs = [_ladder_model(path.parent) for path in LADDER.glob("*/card.json")]
    rungs.sort(key=lambda model: (model.family, model.parameters, model.name))
    hub = [Model(name, family, "hub", hub_id, shape, revisions) for name, family, hub_id, shape, revisions in _HUB]
    hub += [
        Model(name, family, "hub", hub_id, shape, ("main",), origin="discussion", counted=counted)
        for name, family, hub_id, shape, counted in _DISCUSSION
    ]
    index = [
        Model(name, family, "index", name, shape, ("main",), origin="index", counted=counted, licence=licence)
        for name, family, shape, counted, licence in _INDEX
    ]
    return {model.name: model for model in (*rungs, *index, *hub, *_ADDED.values())}


@cache
def checkpoints() -> Mapping[str, Model]:
    """Trainings whose checkpoints are on the hub, by name; one is put into `models` where a run names it."""
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
    """The model that has a name, among those put in, those of the catalog, and trainings on the hub."""
    return models().get(name) or checkpoints().get(name)


def place_of(run: checkpoint_suites.Run, revision: str) -> tuple[str, str]:
    """The repository that a run's checkpoint is taken from, and what it is called there."""
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
    """The revisions of a rung that the installed package leaves out; none in a clone of the project, which has all."""
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
    """The models of which every claim is asked, one seed of each: all but those that the paper only mentions."""
    return [model for model in models().values() if model.seed == 0 and model.origin != "discussion"]


def alone() -> list[Model]:
    """The models of one set of weights of which every claim is asked that one such model can answer."""
    return [model for model in studied() if model.origin in ("index", "added") and len(model.revisions) == 1]


# Of those with revisions or sizes, the ones of which claims on depth are asked.
_DEEP = ("ladder-olmo-1.1m", "ladder-olmo-3m", "ladder-qwen2-1.1m", "ladder-qwen2-3m", "qwen2-1.5b", "olmo-1b")


def deep(least: int) -> tuple[str, ...]:
    """Names of the models of which claims on depth are asked; of those `alone`, with `least` blocks or more."""
    return (*_DEEP, *(model.name for model in alone() if model.layers >= least))


def largest() -> tuple[str, ...]:
    """Names of the models that are asked for one case a family: the largest rung of each, and all others of `deep`."""
    rungs = (sizes(family, "ladder")[-1].name for family in ("olmo", "qwen2"))
    return (*rungs, *(name for name in deep(2) if models()[name].source != "ladder"))


def relatives() -> dict[str, list[Model]]:
    """By name, families of models that the user put in: two or more of one kind and one tokenizer, smallest first."""
    by_family: dict[str, list[Model]] = {}
    for model in sorted(_ADDED.values(), key=lambda model: (model.parameters, model.seed)):
        # Of the runs of one recipe, which are of one size, the first.
        others = by_family.setdefault(model.family, [])
        if _recipe(model) not in map(_recipe, others):
            others.append(model)
    return {family: found for family, found in by_family.items() if len(found) > 1}


def add(model: Model) -> None:
    """Put a model beside the catalogued ones for the rest of this process. Raises `MeasureError` for a name taken."""
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
    """What `add` put in."""
    return tuple(_ADDED.values())


def forget_added() -> None:
    """Leave the catalogued models alone."""
    _ADDED.clear()
    models.cache_clear()


def _only_gguf(folder: Path) -> Path | None:
    """The GGUF file of a folder that holds no other form of a model; None where there is none.

    Raises `MeasureError` where there are two: one must be named.
    """
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".gguf" and path.is_file())
    if not files or (folder / "config.json").is_file():
        return None
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise MeasureError(f"{folder} holds {len(files)} GGUF files ({names}); name one: {files[0]}.")
    return files[0]


def _folder(name: str, revision: str) -> Reference:
    """A local model; `@revision` names a folder inside it."""
    folder = places.at(name) or Path(name)
    location = folder / revision
    if packed := _only_gguf(location):
        return Reference(name, revision or "main", "gguf", str(packed))
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
    """`model` and the models trained like it from other random seeds."""
    base = _recipe(model)
    return [m for m in models().values() if m.name == base or m.name.rpartition("-seed")[0] == base]


def _recipe(model: Model) -> str:
    """What models that differ in their seed alone are called without it."""
    return model.name.rpartition("-seed")[0] if model.seed else model.name


# Below this many runs there is no spread to speak of.
FEWEST_RUNS = 3


def runs(model: Model) -> list[Model]:
    """The training runs of a recipe of which a claim is asked, by seed: those that the user put in; none below three.

    Runs of the ladder are not among them: what was measured on theirs is kept, see `measure.over_runs`.
    """
    found = [one for one in seeds(model) if one.origin == "added" and one.family == model.family]
    return sorted(found, key=lambda one: one.seed) if len(found) >= FEWEST_RUNS else []


def _check_only_main(name: str, revision: str) -> None:
    if revision != "main":
        raise NotMeasuredError(
            f"{name} has no revision {revision!r}: a GGUF file holds one set of weights; leave @ out."
        )


def split(text: str) -> tuple[str, str]:
    """The name of a model and what follows @, "" where nothing does.

    An @ inside the path of a file or folder that exists belongs to it; of several such the longest is meant.
    """
    name, _, revision = text.partition("@")
    if find(name) is not None:
        return name, revision
    ends = [len(text), *(place for place in range(len(text) - 1, 0, -1) if text[place] == "@")]
    found = next((end for end in ends if places.at(text[:end]) is not None), None)
    return (name, revision) if found is None else (text[:found], text[found + 1 :])


def resolve(text: str) -> Reference:
    """Find the model that `text` names: a catalog name, a folder or a hub id, each with an optional `@revision`.

    Or a GGUF file: a path, or hf://OWNER/NAME/FILE.gguf. A path that exists is taken as it is, whatever is in its name;
    hf://OWNER/NAME is the hub's where there is a folder OWNER here.

    Raises `MeasureError` naming the nearest known models or revisions.
    """
    name, revision = split(text)
    if model := find(name):
        revision = revision or "main"
        if run := checkpoint_suites.runs().get(name):
            location, revision = place_of(run, revision)
            return Reference(name, revision, "hub", location, model)
        # The hub has more training revisions than the paper shows; only the ladder's list is complete.
        if model.source == "ladder" and revision not in model.revisions:
            raise NotMeasuredError(f"{name} has no revision {revision!r}; it has {', '.join(model.revisions)}.")
        if model.source == "ladder":
            _check_shipped(model, revision)
        if model.source in ("index", "gguf"):
            _check_only_main(name, revision)
            return Reference(name, "main", model.source, model.location, model)
        if model.source == "folder":
            whole = revision == "main" and (Path(model.location) / "config.json").is_file()
            found = _folder(model.location, "" if whole else revision)
            return dataclasses.replace(found, name=name, model=model)
        location = str(Path(model.location) / revision) if model.source == "ladder" else model.location
        return Reference(name, revision, model.source, location, model)
    if (place := places.at(name)) is not None:
        return _at_place(name, revision, place)
    if text.lower().endswith(".gguf"):
        return Reference(text, "main", "gguf", text)
    if name.lower().endswith(".gguf"):
        _check_only_main(name, revision)
        return Reference(name, "main", "gguf", name)
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


def _at_place(name: str, revision: str, place: Path) -> Reference:
    """The model in a folder, or in a GGUF file."""
    if place.is_dir():
        return _folder(name, revision)
    if not name.lower().endswith(".gguf"):
        raise NotMeasuredError(
            f"{name} is a file, and no model; give the folder with its config.json, or a file that ends in .gguf."
        )
    _check_only_main(name, revision or "main")
    return Reference(name, "main", "gguf", str(place))


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
