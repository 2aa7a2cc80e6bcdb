"""Which models a run measures: those that --models names, those that this machine can hold, and why not the others."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from measure import catalog
from measure.base import places
from measure.base.packed_forms import packed_form
from measure.catalog import checkpoint_suites
from measure.harness import sweeping
from measure.harness.engines import estimates
from measure.hub import checkpoints as hub
from measure.hub import known, shelf
from measure.models import loading as models
from measure.models import structure
from measure.names import ModelRef
from measure.report.terminal import in_words
from measure.spec import AnySpec, MeasureError

CHOICES = ("auto", "ladder", "all")


def named(choice: str, tell: Callable[[str], object] = lambda _: None) -> set[str] | None:
    """The catalog's names of the models in a list of names, hub ids and folders; None for auto, ladder and all.

    What the catalog does not know is added to it: `NAME@REVISION,NAME@REVISION,NAME` gives the revisions in order of
    training, `main` being the last; of a model on the hub `NAME@all` or `NAME@step*000` gives those that there are, and
    `tell` is told of each that an audit leaves out. A comma inside the path of something that exists belongs to it.
    Folders of one name are told apart by the folders that they are in. Raises `MeasureError` for what is no model.
    """
    if choice in CHOICES:
        return None
    revisions: dict[str, list[str]] = {}
    bare: set[str] = set()
    for text in (one for part in _parts(choice) for one in _runs_of(part)):
        name, revision = catalog.split(text)
        bare |= set() if revision else {name}
        revisions.setdefault(_one_spelling(name), []).append(revision or "main")
    usual = {name for name, found in revisions.items() if found == ["main"] and name in bare}
    known = {
        name: _run(name, None if name in usual else found, tell) or _known(name, found)
        for name, found in revisions.items()
    }
    plain = _plain_names([name for name, found in known.items() if found is None])
    return {known[name] or _add(name, plain[name], found, tell) for name, found in revisions.items()}


def _runs_of(text: str) -> list[str]:
    """A pattern of names of trainings on the hub as those names, anything else as it stands."""
    ref = ModelRef.parse(text)
    if not any(sign in ref.name for sign in "*?[") or _is_path(text):
        return [text]
    found = [run for run in checkpoint_suites.runs() if fnmatchcase(run, ref.name)]
    if not found:
        raise MeasureError(f"{ref.name} matches no training in the catalog; `measure models` lists them.")
    return [str(dataclasses.replace(ref, name=run)) for run in found]


def _run(name: str, asked: list[str] | None, tell: Callable[[str], object]) -> str | None:
    """The name of a training on the hub, put into the catalog with the revisions asked for; None: its usual ones."""
    run = checkpoint_suites.runs().get(name)
    if run is None or name in catalog.models():
        return name if run is not None else None
    found = sweeping.of_run(run, asked or run.revisions)
    for line in found.lines:
        tell(line)
    catalog.add(dataclasses.replace(catalog.checkpoints()[name], revisions=found.revisions, origin="added"))
    return name


def _parts(choice: str) -> Iterator[str]:
    """What stands between commas, those in the paths of what exists aside."""
    parts = choice.split(",")
    while parts:
        # The longest that is there; else up to the next comma.
        for count in range(len(parts), 0, -1):
            text = ",".join(parts[:count])
            found = next((form for form in (text, text.strip()) if _is_path(form)), None)
            if found is not None or count == 1:
                yield found or text.strip()
                parts = parts[count:]
                break


def _is_path(text: str) -> bool:
    name, revision = catalog.split(text)
    place = places.at(name)
    return place is not None and (not revision or places.at(str(place / revision)) is not None)


def _one_spelling(name: str) -> str:
    """A folder's or file's path from the root, links in it left as they are; other names as they stand."""
    place = places.at(name)
    if catalog.find(name) is not None or place is None:
        return name
    return str(place.resolve() if ".." in place.parts else place.absolute())


def _plain_names(names: Sequence[str]) -> dict[str, str]:
    """Short names for models that the catalog has not, each of one's own whatever the order; see `_plain`."""
    taken = {model.name for model in catalog.models().values() if model.origin == "added"}
    held = {model.location: model.name for model in catalog.models().values() if model.origin == "added"}
    found = {name: _plain(name, 1) for name in names}
    for parts in range(2, 2 + max((len(Path(name).parts) for name in names), default=0)):
        often = Counter(found.values())
        clashing = [n for n, p in found.items() if often[p] > 1 or (p in taken and held.get(n) != p)]
        found.update({name: _plain(name, parts) for name in clashing})
    return found


def _plain(name: str, parts: int) -> str:
    """The last parts of a path, or a hub id, as it can stand in the ids of tests, and these in names of files.

    Asked for more parts than a path has, it is the last one with a hash of the whole.
    """
    is_path = places.at(name) is not None or packed_form(name) is not None
    pieces = Path(name).parts if is_path else (name.replace("/", "--"),)
    if parts > len(pieces):
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:6]
        pieces = (f"{pieces[-1]}-{digest}",)
    return re.sub(r"[^\w.+-]+", "-", "-".join(pieces[-parts:]))


def _known(name: str, revisions: list[str]) -> str | None:
    """The name of a model that the catalog has by its name, or ships by its hub id.

    Raises `MeasureError` for revisions: it has its own.
    """
    models = catalog.models().values()
    plain = name.removeprefix("hf://")
    found = next((m for m in models if name == m.name or (plain == m.location and m.origin != "added")), None)
    if found is not None and found.source == "hub" and any(map(sweeping.is_pattern, revisions)):
        # A sweep is a model of its own, beside the one that the suites have accepted numbers of.
        return None
    if found is not None and revisions != ["main"]:
        raise MeasureError(
            f"{name}@{revisions[0]}: the suites measure {found.name} at the catalog's revisions, "
            f"{', '.join(found.revisions)}; name it without @, and choose among its tests with -k."
        )
    return found.name if found is not None else None


def _add(name: str, plain: str, revisions: list[str], tell: Callable[[str], object]) -> str:
    ordered = tuple(dict.fromkeys(sorted(revisions, key=lambda revision: revision == "main")))
    reference = catalog.resolve(name if ordered[0] == "main" else f"{name}@{ordered[0]}")
    location = name if reference.source == "folder" else reference.location
    if reference.source == "hub":
        plain, name = _plain(location, 1), location
        chosen = sweeping.of_repository(location, ordered)
        for line in chosen.lines:
            tell(line)
        ordered = chosen.revisions
    first = name if ordered[0] == "main" else f"{name}@{ordered[0]}"
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


def not_measured(
    names: Iterable[str], choice: str, *, weights: bool = True, seconds: Mapping[str, float] | None = None
) -> str | None:
    """Why a test of these models is not measured under --models `choice` on this machine; None when it is.

    `weights`: it needs more of them than their configs. `seconds`: how long each would take here, where that is known.
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
    if not weights and not estimates.accelerator_bytes():
        return f"not measured: the config is on the model hub; {forced}"
    # Models are loaded one after the other: the largest decides.
    if weights and estimates.accelerator_bytes() <= 1.2 * away[-1].float32_bytes:
        return _without_accelerator(away, forced, seconds or {})
    absent = [model.location for model in away if not _at_hand(model.location)]
    if absent:
        return (
            f"not measured: {', '.join(absent)} is neither in the cache nor can the hub be reached; fetch it first "
            f"(`measure fetch --models {','.join(model.name for model in away)}`), or {forced}"
        )
    return None


def _without_accelerator(away: Sequence[catalog.Model], forced: str, seconds: Mapping[str, float]) -> str:
    """Why models of the hub that no accelerator here holds are not measured unless they are asked for."""
    largest, held = away[-1], estimates.accelerator_bytes()
    needed, here = estimates.memory(largest, logits=True), estimates.memory_here()
    if held:
        return (
            f"not measured: {memory(largest)} need an accelerator that holds them, and the one here has "
            f"{held / 1e9:.0f} GB; {forced}"
        )
    if needed > here:
        return (
            f"not measured: {memory(largest)} need {needed / 1e9:.0f} GB of memory, and this machine has "
            f"{here / 1e9:.0f}; on a larger one {forced}"
        )
    known = [seconds[model.name] for model in away if model.name in seconds]
    about = f"would take about {in_words(sum(known))} here" if known else "would take its time here"
    return f"not measured: without an accelerator it {about} ({memory(largest)}); {forced}"


def left_out(specs: Mapping[str, Sequence[AnySpec]], choice: str) -> dict[str, float]:
    """Of models by the specs that their tests would measure, those left out of a run, with about how many seconds.

    The rate of this machine is measured where there is one at all.
    """
    out = {name: found for name, found in specs.items() if name in catalog.models() and not_measured([name], choice)}
    rates: dict[str, float] = {}
    seconds = {}
    for name, found in out.items():
        device = models.device_of(catalog.resolve(name))
        rates[device] = rates.get(device) or estimates.rate(device, tries=2)
        seconds[name] = estimates.seconds_of(name, found, rates[device])
    return seconds


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


def check_present(names: set[str], present: set[str]) -> None:
    """Raise `MeasureError` where one of the models named is measured by no test."""
    absent = sorted(names - present) if present else []
    if absent:
        raise MeasureError(f"no chosen test measures {absent[0]}; they measure {', '.join(sorted(present))}.")
