"""Decide, one by one, on baselines that a run found not as accepted (`measure review`). Measures nothing.

A run's records hold the text that accepting would write, so that what is accepted is what was looked at. Each decision
stands as soon as it is taken: an accepted baseline is a file, one that is to stay is noted beside the records.
"""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from measure.base import files
from measure.base.exits import EXIT_DRIFT, EXIT_NOT_MEASURED
from measure.base.files import write_atomically
from measure.harness import baselines, drift, regression
from measure.harness.snapshot import text_of
from measure.kinds.rows import CODE, Offer, State, TestRow
from measure.report import records
from measure.report.records import Run
from measure.spec import MeasureError

# What there is to decide of a baseline: nothing where it was accepted since, cannot be, or is to stay.
Standing = Literal["open", "accepted", "kept", "changed", "damaged"]
_SAID: dict[Standing, str] = {
    "accepted": "accepted since the run",
    "kept": "kept as it is, decided before; --again asks once more",
    "changed": "its file was changed since the run, so that nobody saw the two beside each other: run the suites again",
    "damaged": "its record is not as the run left it: run the suites again",
}
Say = Callable[[str], None]
# The next line that was typed, "" at the end of the input.
Hear = Callable[[], str]


@dataclass(frozen=True)
class Drifted:
    """A test whose baseline was not as accepted when it ended, and what there is to decide now."""

    test: TestRow
    standing: Standing

    @property
    def offer(self) -> Offer:
        """What accepting writes; only of one that is no damaged record."""
        assert self.test.baseline is not None
        assert self.test.baseline.offer is not None
        return self.test.baseline.offer


@dataclass(frozen=True)
class Found:
    """What a run's records hold to be decided: `path` as it was named, in the project's `root`."""

    path: Path
    root: Path
    run: Run
    drifted: tuple[Drifted, ...]

    @property
    def undecided(self) -> list[Drifted]:
        """Those that can be decided."""
        return [one for one in self.drifted if one.standing == "open"]


def find(path: Path, root: Path = Path(), *, again: bool = False) -> Found:
    """The baselines that are not as accepted in a run's records, the worst first; `again`: those decided to stay too.

    Raises `MeasureError` for records that cannot be read, or are of other measuring code, and outside of the project.
    """
    run = records.read([path])
    _check_code(path, run)
    kept = set() if again else _kept(path)
    rows = [row for row in run.tests if row.baseline is not None and row.baseline.state is not State.AS_ACCEPTED]
    for row in rows:
        suite = row.test.partition("::")[0]
        if not (root / suite).is_file():
            raise MeasureError(f"there is no {suite} here; run `measure review` in the root of the project measured.")
    drifted = (Drifted(row, _standing(row, root.resolve(), kept)) for row in sorted(rows, key=_worst_first))
    return Found(path, root.resolve(), run, tuple(drifted))


def _check_code(path: Path, run: Run) -> None:
    from measure.hub.known import source_hash

    own, code = source_hash()[:CODE], run.header.code if run.header is not None else ""
    if code != own:
        told = f"other measuring code ({code}, here it is {own})" if code else "a version that could not be reviewed"
        raise MeasureError(f"{path} holds records of {told}; run the suites again.")


def _worst_first(row: TestRow) -> tuple[int, float]:
    assert row.baseline is not None
    farthest = row.baseline.farthest[:1]
    excess = [float("inf") if one.excess is None else one.excess for one in farthest]
    return list(State).index(row.baseline.state), -excess[0] if excess else 0.0


def _standing(row: TestRow, root: Path, kept: set[str]) -> Standing:
    offer = row.baseline.offer if row.baseline is not None else None
    if offer is None or not _is_sound(offer, root):
        return "damaged"
    now = text_of(root / offer.path) or ""
    if regression.seen(now) != offer.over:
        accepted = regression.compare(offer.text, now).state is State.AS_ACCEPTED
        return "accepted" if accepted else "changed"
    return "kept" if row.test in kept else "open"


def _is_sound(offer: Offer, root: Path) -> bool:
    """Whether an offer is as the run left it, and names a JSON file below the root."""
    if files.seal(offer.path, offer.text) != offer.seal or PurePosixPath(offer.path).suffix != ".json":
        return False
    try:
        baselines.parse(offer.text)
        return (root / offer.path).resolve().is_relative_to(root)
    # A path with a NUL in it, links that lead in a circle.
    except (MeasureError, ValueError, OSError, RuntimeError):
        return False


# Deciding


def accept(one: Drifted, root: Path) -> str:
    """Write a baseline as it was measured, and say so; of one that is incomplete what it lacks alone.

    Raises `MeasureError` where there is nothing to decide any more, and where it cannot be written.
    """
    standing = _standing(one.test, root, set())
    if standing != "open":
        raise MeasureError(f"{one.test.test} was not accepted: {_SAID[standing]}.")
    assert one.test.baseline is not None
    path, text = root / one.offer.path, one.offer.text
    completed = one.test.baseline.state is State.INCOMPLETE
    if completed:
        text = regression.rewritten(text, text_of(path) or "") or text
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise MeasureError(f"{one.offer.path} could not be written ({error.strerror}): it is as it was.") from None
    return f"completed {one.offer.path}, no accepted number changed" if completed else f"accepted {one.offer.path}"


def _note(path: Path) -> Path:
    """Where it is noted which baselines are to stay."""
    return path.with_suffix(".kept.json")


def _kept(path: Path) -> set[str]:
    """Tests whose baselines were decided to stay; none where the note is damaged: they are asked about again."""
    with suppress(MeasureError):
        found = files.read_json(_note(path))
        return {one for one in found if isinstance(one, str)} if isinstance(found, list) else set()
    return set()


def keep(one: Drifted, path: Path) -> str:
    """Note that a baseline is to stay, and say so."""
    said = f"kept {one.offer.path}: this run's curve is not accepted"
    try:
        write_atomically(_note(path), json.dumps(sorted(_kept(path) | {one.test.test}), indent=1).encode())
    except OSError as error:
        return f"{said} (it will be asked about again: {_note(path)} cannot be written, {error.strerror})"
    return said


# Telling


def listed(found: Found) -> Iterator[str]:
    """Every baseline that is not as accepted, with what there is to do about it."""
    for one in found.drifted:
        yield ""
        yield from drift.lines(one.test, found.run.results)
        yield "to accept it: " + command(found, one) if one.standing == "open" else _SAID[one.standing]


def command(found: Found, one: Drifted) -> str:
    """What accepts one baseline from a shell."""
    last = records.runs()[-1:] == [found.path]
    return shlex.join(["measure", "review", *([] if last else [str(found.path)]), "--accept", one.test.test])


def summary(found: Found) -> list[str]:
    """How many baselines there are of each kind, what was not compared at all, and which verdicts moved."""
    rows = found.run.tests
    compared = [row for row in rows if row.baseline is not None]
    others = [row for row in rows if row.role == "baseline" and row.baseline is None]
    reasons = list(dict.fromkeys(_first_line(row) for row in others))
    told = [f"{found.path}: {_of(len(found.drifted), len(compared))}", *found.run.problems]
    if others:
        told.append(f"{len(others)} not compared: {'; '.join(reasons[:3])}{'; ...' if len(reasons) > 3 else ''}")
    return [*told, *_verdicts(found)]


def _of(drifted: int, compared: int) -> str:
    if not compared:
        return "no baseline was compared in this run, so nothing can be said of drift"
    if not drifted:
        return f"nothing drifted, {compared} baseline{'s' * (compared != 1)} as accepted"
    return f"{drifted} of {compared} baseline{'s' * (compared != 1)} not as accepted"


def _first_line(row: TestRow) -> str:
    return next(iter((row.reason or "").strip().splitlines()), "no reason given")


def _verdicts(found: Found) -> list[str]:
    """Accepted negatives whose effects moved: no curves, so that they are accepted by pytest alone."""
    header = found.run.header
    models = ["--models", header.models] if header is not None and header.models not in (None, "auto") else []
    return [
        f"the effects of a verdict moved too; to accept them: "
        f"{shlex.join(['pytest', row.test, *map(str, models), '--snapshot-update'])}"
        for row in found.run.tests
        if row.role == "claim" and row.status == EXIT_DRIFT
    ]


def status(found: Found) -> int:
    """The exit status: of drift as long as one is not accepted, else whether something was never compared."""
    rows = found.run.tests
    if any(one.standing != "accepted" for one in found.drifted) or _verdicts(found):
        return EXIT_DRIFT
    denied = any(row.status == EXIT_NOT_MEASURED and row.role == "baseline" for row in rows)
    return EXIT_NOT_MEASURED if denied or not any(row.baseline is not None for row in rows) else 0


# One after the other

_ASK = "accept a, keep the baseline k, skip s, quit q: "


def ask(found: Found, say: Say, prompt: Say, hear: Hear) -> int:
    """Show one after the other what can be decided, and do as is typed; returns the exit status."""
    decided: dict[str, Standing] = {}
    rest = found.undecided
    for number, one in enumerate(rest, 1):
        say("")
        say(f"{number} of {len(rest)}")
        for line in drift.lines(one.test, found.run.results):
            say(line)
        answer = _answer(prompt, hear, say)
        if answer in ("q", ""):
            break
        if answer != "s":
            decided[one.test.test] = _done(answer, one, found, say)
    say("")
    now = [Drifted(one.test, decided.get(one.test.test, one.standing)) for one in found.drifted]
    say(_counted(now))
    return status(Found(found.path, found.root, found.run, tuple(now)))


def _answer(prompt: Say, hear: Hear, say: Say) -> str:
    """a, k, s or q; "" at the end of the input, which ends as q does."""
    while True:
        prompt(_ASK)
        typed = hear()
        if not typed:
            say("")
            say("the input ended: what is not decided is as it was")
            return ""
        word = typed.strip().lower()
        if word and any(word in (name[0], name) for name in ("accept", "keep", "skip", "quit")):
            return word[0]
        say(f"{typed.strip()!r} is none of them; type a, k, s or q")


def _done(answer: str, one: Drifted, found: Found, say: Say) -> Standing:
    """Accept or keep, and what that makes of it."""
    if answer == "k":
        say(keep(one, found.path))
        return "kept"
    try:
        say(accept(one, found.root))
    except MeasureError as error:
        say(str(error))
        return one.standing
    return "accepted"


_WORDS: dict[Standing, str] = {"accepted": "accepted", "kept": "kept", "open": "not decided"}


def _counted(now: Sequence[Drifted]) -> str:
    standings = [one.standing for one in now]
    told = [f"{standings.count(standing)} {word}" for standing, word in _WORDS.items() if standing in standings]
    rest = standings.count("changed") + standings.count("damaged")
    return ", ".join([*told, *([f"{rest} to be measured again"] if rest else [])])


def accept_named(found: Found, names: Sequence[str], say: Say) -> int:
    """Accept the baselines of the tests named, or of the files; returns the exit status.

    Raises `MeasureError` for a name that none has or several have, before anything is written.
    """
    chosen = {one.test.test: one for one in [_named(found, name) for name in names]}
    for one in chosen.values():
        say(f"{one.offer.path} was accepted before" if one.standing == "accepted" else accept(one, found.root))
    return 0


def _named(found: Found, name: str) -> Drifted:
    known = [one for one in found.drifted if name in _names(one)]
    if len(known) == 1:
        return known[0]
    there = ", ".join(one.test.test for one in (known or found.drifted)) or "none"
    wrong = "is the name of several baselines" if known else "names no baseline that is not as accepted in this run"
    raise MeasureError(f"--accept {name}: it {wrong}; give one of: {there}.")


def _names(one: Drifted) -> tuple[str, ...]:
    offer = one.test.baseline.offer if one.test.baseline is not None else None
    return (one.test.test, *((offer.path, PurePosixPath(offer.path).name) if offer is not None else ()))


# Pictures


def save(found: Found, folder: Path) -> list[Path]:
    """A picture of each baseline that is not as accepted, in `folder`; returns the files.

    Raises `MeasureError` where they cannot be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in found.drifted:
            figure = drift.picture(one.test)
            if figure is not None:
                suite = PurePosixPath(one.test.test.partition("::")[0]).stem
                name = one.test.baseline.file if one.test.baseline is not None else ""
                path = folder / f"{suite}-{PurePosixPath(name).stem}.png"
                buffer = io.BytesIO()
                figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
                write_atomically(path, buffer.getvalue())
                written.append(path)
    except OSError as error:
        raise MeasureError(
            f"--save {folder}: pictures cannot be written there ({error.strerror}); give another folder."
        ) from None
    return written
