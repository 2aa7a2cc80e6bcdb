"""What a collected test is to a suite: its specs, its claim, its subject, and where its baseline stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from measure import kinds
from measure.names import Title
from measure.spec import AnySpec, MeasureError

# The folder of accepted verdicts, beside those of baselines.
VERDICTS = "verdicts"
# The parameter that --protocol strict gives every claim: what is read.
READ = "strict_read"
# A test's place among those of its run.
ORDER = pytest.StashKey[int]()


def specs_in(value: object) -> Iterator[AnySpec]:
    """Every spec inside a test's parameter: itself, or in a sequence, a mapping or a dataclass of them."""
    if isinstance(value, AnySpec):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from specs_in(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from specs_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from specs_in(getattr(value, field.name))


def parameters(item: pytest.Item) -> Mapping[str, object]:
    """A test's parameters by name."""
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec is not None else {}


def specs_of(item: pytest.Item) -> list[AnySpec]:
    """The specs in a test's parameters."""
    return list(specs_in(parameters(item)))


def models_of(item: pytest.Item) -> set[str]:
    """The models that they name, without their revisions."""
    return {spec.ref.name for spec in specs_of(item)}


def strict_read_of(item: pytest.Item) -> str | None:
    """What is read, where --protocol strict asks for it."""
    read = parameters(item).get(READ)
    return None if read is None else str(read)


def uses(item: pytest.Item, *fixtures: str) -> bool:
    """Whether a test asks for one of the plugin's fixtures, and not for what else has its name."""
    known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    return any(_is_of_the_plugin(name, known.get(name, ())) for name in fixtures)


def _is_of_the_plugin(name: str, definitions: Sequence[pytest.FixtureDef[object]]) -> bool:
    # The last one counts; one of the same name that asks for the one before it is a wrapper.
    for definition in reversed(definitions):
        if definition.func.__module__ == "measure.plugin":
            return True
        if name not in definition.argnames:
            return False
    return False


def is_of_a_suite(item: pytest.Item) -> bool:
    """Whether a test leaves a row in the records."""
    return uses(item, "measured", "claim", "baseline")


def subject_of(item: pytest.Item) -> str:
    """What a claim is asked of: the test's id, or its module's name where it has no parameters."""
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return item.path.stem.removeprefix("test_")
    return str(callspec.id).replace(f"-draw{draw_of(item)}", "", 1) if draw_of(item) else str(callspec.id)


def unasked(dropped: Sequence[pytest.Item], kept: Sequence[pytest.Item]) -> list[str]:
    """Claims of which tests were dropped and none is kept, with what their suites take."""
    asked = {title_of(item)[0] for item in kept}
    found: dict[str, str] = {}
    for item in dropped:
        title, takes = title_of(item)[0], getattr(getattr(item, "module", None), "TAKES", None)
        if title and takes and title not in asked and uses(item, "claim"):
            found[title] = f"{title}: takes {takes}"
    return list(found.values())


def not_for(lacks: Mapping[pytest.Item, str], kept: Sequence[pytest.Item]) -> list[str]:
    """Claims with tests that take what a run does not give them, and what that is; how many cases where others go."""
    asked = {title_of(item)[0] for item in kept if uses(item, "claim")}
    found: dict[tuple[str, str], set[str]] = {}
    for item, what in lacks.items():
        title = title_of(item)[0]
        if title and uses(item, "claim"):
            found.setdefault((title, what), set()).add(subject_of(item))
    return [
        f"{title}: {f'{len(cases)} of its cases take' if title in asked else 'takes'} {what}"
        for (title, what), cases in found.items()
    ]


def draw_of(item: pytest.Item) -> int:
    """Which draw of its counterfeits a control takes, 0 being the first."""
    marker = item.get_closest_marker("draw")
    return int(marker.args[0]) if marker is not None and marker.args else 0


def title_of(item: pytest.Item) -> tuple[str | None, str]:
    """The claim that a test is about and its place in the paper: by its marker, else by the module's CLAIM.

    A claim that has neither is called by its module's name.
    """
    from measure.report import table as report

    marker = item.get_closest_marker("claim")
    if marker is not None:
        return marker.args[0], marker.kwargs.get("place", report.place(marker.args[0]))
    named = getattr(getattr(item, "module", None), "CLAIM", None)
    if isinstance(named, Title):
        # As in a title that is a text, whose closing bracket belongs to the place in every file of records.
        return str(named), f"{named.place})"
    if named is None and uses(item, "claim"):
        named = item.path.stem.removeprefix("test_")
    return named, report.place(named) if named else ""


def check_marker(item: pytest.Item) -> None:
    """Raise `UsageError` where a test's marker `claim` does not hold a text, and its place at most."""
    for marker in item.iter_markers("claim"):
        texts = [*marker.args, marker.kwargs.get("place", "")]
        known = len(marker.args) == 1 and set(marker.kwargs) <= {"place"}
        if not (known and all(isinstance(text, str) for text in texts) and marker.args[0].strip()):
            raise pytest.UsageError(
                f"{item.nodeid}: the marker claim needs the claim's text, and its place at most, as in "
                '@pytest.mark.claim("Sharpness grows with training", place="Fig. 4").'
            )


def check_kinds(items: list[pytest.Item]) -> None:
    """Raise `UsageError` for a spec whose kind nobody registered."""
    for item in items:
        try:
            for spec in specs_of(item):
                kinds.of(spec)
        except MeasureError as error:
            # Else pytest would go on to `pytest_collection_finish` with them.
            items.clear()
            raise pytest.UsageError(f"{item.nodeid}: {error}") from None


def check_told_apart(items: Sequence[pytest.Item]) -> None:
    """Refuse two modules that would share a claim's title, or a folder of baselines."""
    titles: dict[str, Path] = {}
    folders: dict[Path, Path] = {}
    for item in items:
        if not is_of_a_suite(item):
            continue
        title = title_of(item)[0]
        if title and uses(item, "claim") and titles.setdefault(title, item.path) != item.path:
            raise pytest.UsageError(
                f"{titles[title]} and {item.path} both hold the claim {title!r}, and verdicts are told apart by their "
                "claims; give one of them another text."
            )
        if uses(item, "baseline") and folders.setdefault(baseline_folder(item), item.path) != item.path:
            raise pytest.UsageError(
                f"{folders[baseline_folder(item)]} and {item.path} would share the folder of baselines "
                f"{baseline_folder(item)}; rename one of them."
            )


def accepted_file(item: pytest.Item) -> Path:
    """Where a suite's accepted verdicts are kept. Raises `UsageError` as `baseline_folder` does."""
    folder = baseline_folder(item)
    return folder.parent / VERDICTS / f"{folder.name}.json"


def unwanted_draws(items: Sequence[pytest.Item], draws: int) -> list[pytest.Item]:
    """Tests of a counterfeit's draw that was not asked for, the first being draw 0."""
    return [item for item in items if draw_of(item) >= draws]


def named_of(item: pytest.Item) -> tuple[str, ...]:
    """The counterfeits that a control is to refute; none where the test is no control of `claims.controls`."""
    marker = item.get_closest_marker("draw")
    return tuple(marker.kwargs.get("named", ())) if marker is not None else ()


def baseline_folder(item: pytest.Item) -> Path:
    """The folder of a suite's baselines. Raises `UsageError` for one outside the root folder."""
    root = item.config.rootpath.resolve()
    own = item.config.getini("measure_baselines")
    folder = (root / own if own else item.path.parent / "baselines").resolve() / item.path.stem
    if not folder.is_relative_to(root):
        raise pytest.UsageError(
            f"the baselines of {item.path} would lie in {folder}, outside the root folder {root}; "
            "set measure_baselines in pytest's settings to a folder below it, or run pytest with --rootdir."
        )
    return folder
