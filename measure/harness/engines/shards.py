"""One run by several workers: loads dealt by bytes, and a folder beside the results that tells what became of each.

The folder holds no results: those are in the store, and what is here says where. It measures nothing.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import heapq
import importlib
import itertools
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from measure import catalog, kinds
from measure.base import files
from measure.harness.engines.protocol import Found, Load, Outcome
from measure.harness.engines.store import Store
from measure.hub.known import source_hash
from measure.hub.leases import Holder, Lease, Leases
from measure.results import Result, write_atomically
from measure.spec import AnySpec, Frozen, Intervention, MeasureError, NotMeasuredError, Scaled, fields_of

# The folder of shared runs, in the store's.
FOLDER = "shared"
# A load whose workers died so often is the cause of it.
MOST_DEATHS = 5
# Seconds in which what is created exclusively gets its content.
_PATIENCE = 30.0


def deal(sizes: Mapping[str, int], shards: int) -> list[list[str]]:
    """Names dealt by bytes: the largest first, each to the shard that has least by then.

    Whatever the order in which they are given, all get the same; each shard's stand in that order.
    """
    least = [(0, number) for number in range(shards)]
    place: dict[str, int] = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        so_far, number = heapq.heappop(least)
        heapq.heappush(least, (so_far + max(1, sizes[name]), number))
        place[name] = number
    return [[name for name in sizes if place[name] == number] for number in range(shards)]


def bytes_of(name: str) -> int:
    """About how many bytes loading a model takes, by its dimensions or its files; 0 where nothing tells."""
    try:
        reference = catalog.resolve(name)
    except MeasureError:
        return 0
    if reference.model is not None:
        return reference.model.float32_bytes
    place = Path(reference.location)
    try:
        if place.is_dir():
            return sum(one.stat().st_size for one in place.iterdir() if one.is_file())
        return place.stat().st_size if place.is_file() else 0
    except OSError:
        return 0


@dataclass(frozen=True)
class Job:
    """What travels to a worker: one load, and the specs that are measured on it."""

    load: Load
    specs: tuple[AnySpec, ...]

    @functools.cached_property
    def name(self) -> str:
        """A short name that no other load has, fit for a file."""
        return hashlib.sha256(json.dumps(self.load).encode()).hexdigest()[:32]


def jobs_of(gathered: Mapping[Load, Sequence[AnySpec]]) -> tuple[Job, ...]:
    """One for each load, in the order in which they were gathered."""
    return tuple(Job(load, tuple(specs)) for load, specs in gathered.items() if specs)


def dealt(jobs: Iterable[Job], shards: int) -> list[list[Job]]:
    """Jobs by shard; all that need one checkpoint stand in one, those with most specs first.

    Who takes them in this order has small ones left for the end, when others are idle.
    """
    by_name: dict[str, list[Job]] = {}
    for job in jobs:
        by_name.setdefault(job.load[0], []).append(job)
    by_name = {name: sorted(some, key=lambda job: -len(job.specs)) for name, some in by_name.items()}
    shares = deal({name: bytes_of(name) for name in by_name}, shards)
    return [[job for name in names for job in by_name[name]] for names in shares]


def own_and_others(shares: Sequence[Sequence[Job]], number: int) -> tuple[list[Job], list[Job]]:
    """A worker's share, and after it those of the others, beginning with the next."""
    count = len(shares)
    following = [shares[(number + step) % count] for step in range(1, count)]
    # The last checkpoint first: its own worker begins with the first.
    return list(shares[number]), [job for share in following for job in _from_last_checkpoint(share)]


def _from_last_checkpoint(share: Sequence[Job]) -> list[Job]:
    by_name = [list(some) for _, some in itertools.groupby(share, key=lambda job: job.load[0])]
    return [job for some in reversed(by_name) for job in some]


def to_plain(spec: AnySpec) -> list[Any]:
    """A spec as JSON has it: its type, the module that registers its kind, its fields."""
    return [type(spec).__name__, type(spec).__module__, fields_of(spec)]


def from_plain(told: Sequence[Any]) -> AnySpec:
    """The spec that `to_plain` told. Raises `MeasureError` where its kind's module cannot be imported here."""
    name, module, fields = told
    return _type(name, module)(**{name: _value(value) for name, value in fields.items()})


def _type(name: str, module: str) -> type[AnySpec]:
    """The type of specs that has a name; of a kind that is not of this package, once its module is imported."""
    known = {kind.spec.__name__: kind.spec for kind in kinds.every()}
    if name not in known:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
        known = {kind.spec.__name__: kind.spec for kind in kinds.every()}
    if name not in known:
        raise MeasureError(
            f"a worker cannot import the module {module!r} that registers the kind of {name}; put it on PYTHONPATH of "
            "all workers, or measure with --engine in-process."
        )
    return known[name]


def check_told(spec: AnySpec) -> None:
    """Raise `NotMeasuredError` for a spec that a worker would not have as it is."""
    with contextlib.suppress(TypeError, MeasureError):
        if from_plain(json.loads(json.dumps(to_plain(spec)))) == spec:
            return
    raise NotMeasuredError(
        f"{spec.id} cannot be told to a worker: {type(spec).__name__} has fields that are not numbers, texts, or "
        "tuples of them; measure it with --engine in-process."
    )


def _value(value: Any) -> Any:
    """A field as a spec has it: JSON has no tuples, and tells interventions by their fields."""
    if isinstance(value, list):
        return tuple(map(_value, value))
    if isinstance(value, dict):
        kind: type[Intervention] = Scaled if "factor" in value else Frozen
        return kind(**{name: _value(part) for name, part in value.items()})
    return value


def _key(spec: AnySpec) -> str:
    return hashlib.sha256(json.dumps(to_plain(spec), sort_keys=True).encode()).hexdigest()[:32]


def place_of(store: Path, jobs: Iterable[Job]) -> Path:
    """Where, in a store's folder, the runs of just these specs are."""
    keys = sorted(_key(spec) for job in jobs for spec in job.specs)
    return store / FOLDER / hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]


def conditions() -> dict[str, str]:
    """What all workers of a run must have in common, else their results have different keys."""
    versions = {name: metadata.version(name) for name in ("torch", "transformers", "tokenizers")}
    return {"measuring code": source_hash()[:12], **versions}


def enter(place: Path, own: Mapping[str, str], *, anew: bool = False) -> Path:
    """The folder of the run of this place that is under way, or of the last one; a new one where there is none.

    One that has ended is followed by a new one where conditions have changed; one under way is ended where all is to
    begin `anew`. Raises `MeasureError` where one is under way under other conditions, `OSError` where nothing can be
    written.
    """
    place.mkdir(parents=True, exist_ok=True)
    number = 0
    while os.path.exists(place / f"conditions.{number + 1}"):
        number += 1
    while True:
        began = _began(place / f"conditions.{number}")
        if began is not None:
            run = place / str(number)
            if anew:
                end(run, "a later run, which took its place")
            elif began == dict(own):
                # Whoever removes it has all looked at again.
                run.mkdir(exist_ok=True)
                return run
            elif not (run / "ended").exists():
                raise MeasureError(_other(began, own, place))
            number += 1
        if _create(place / f"conditions.{number}", dict(own)):
            (place / str(number)).mkdir(exist_ok=True)
            return place / str(number)


def check(run: Path, accelerator: str) -> None:
    """Raise `MeasureError` unless a worker has what the run was begun with, and the accelerator that the others have.

    `accelerator` is what this one measures on; the first worker of a run decides.
    """
    own = conditions()
    began = _began(run.with_name(f"conditions.{run.name}")) or own
    if began != own:
        raise MeasureError(_other(began, own, run.parent))
    path = run / "accelerator"
    if not _create(path, {"accelerator": accelerator}):
        told = _began(path) or {}
        if told != {"accelerator": accelerator}:
            raise MeasureError(_other(told, {"accelerator": accelerator}, run.parent))


def end(run: Path, by: str) -> None:
    """Say by whom a run was brought to its end: its workers stop."""
    write_atomically(run / "ended", files.sealed("ended", by))


def _create(path: Path, content: Mapping[str, str]) -> bool:
    """Whether this process is the one that creates a file."""
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(file, "wb") as written:
        written.write(files.sealed(path.name, dict(content)))
        written.flush()
        os.fsync(written.fileno())
    return True


def _began(path: Path) -> dict[str, str] | None:
    """The conditions of a run; None where there is none yet."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            found = files.unsealed(path.name, files.content(path))
            return {str(name): str(value) for name, value in found.items()}
        except FileNotFoundError:
            return None
        except MeasureError:
            # Created, and not written yet.
            if time.monotonic() > until:
                raise MeasureError(
                    f"{path} is not as it was written; remove the folder {path.parent} to begin anew, what was "
                    "measured stays in the store."
                ) from None
            time.sleep(0.1)


def _other(began: Mapping[str, str], own: Mapping[str, str], place: Path) -> str:
    name = next(name for name in own if began.get(name) != own[name])
    return (
        f"this worker has {name} {own[name]}, and the run that it would join was begun with {name} "
        f"{began.get(name)}: results "
        "of the one are not found by the other. Use one checkout and one installation for all workers, or, if no other "
        f"is at work, remove {place} to begin anew."
    )


@dataclass
class Board:
    """What becomes of a run's jobs, in its folder: who works on one, and what came of it."""

    folder: Path
    leases: Leases
    _done: set[str] = field(default_factory=set)

    def _path(self, job: Job, end: str) -> Path:
        # 256 folders, of a lease and an outcome for each job at least.
        return self.folder / "loads" / job.name[:2] / f"{job.name}.{end}"

    def is_done(self, job: Job) -> bool:
        """Whether the outcome of a job is there."""
        if job.name not in self._done and os.path.exists(self._path(job, "done")):
            self._done.add(job.name)
        return job.name in self._done

    def take(self, job: Job) -> Lease | None:
        """The lease on a job that is not done; None while another has it, or where it is done."""
        path = self._path(job, "lease")
        path.parent.mkdir(parents=True, exist_ok=True)
        lease = self.leases.take(path)
        # A file system that remembers what is not there asks anew once something was created beside it.
        if lease is not None and self.is_done(job):
            lease.release()
            return None
        return lease

    def deaths(self, job: Job) -> int:
        """How many workers died over a job."""
        return self.leases.deaths(self._path(job, "lease"))

    def holder(self, job: Job) -> Holder | None:
        """Who works on a job, or did so last."""
        return self.leases.holder_of(self._path(job, "lease"))

    def finish(self, job: Job, found: Found, addresses: Mapping[int, str]) -> None:
        """Tell what came of a job: results by their address in the store, which `addresses` has by the object's id."""
        told = {_key(spec): {"how": how, **_told(outcome, addresses)} for spec, (outcome, how) in found.items()}
        path = self._path(job, "done")
        write_atomically(path, files.sealed(path.name, {"state": _state(job.load[0]), "specs": told}))

    def found(self, job: Job, store: Store) -> Found:
        """What came of a job; without the specs of which the store does not hold the result any more.

        Nothing where the files of a model of this file system are not those that were measured.
        """
        told = self._read(self._path(job, "done"), _state(job.load[0]))
        found: Found = {}
        for spec in job.specs:
            one = told.get(_key(spec))
            outcome = _outcome(spec, one, store) if one is not None else None
            if one is not None and outcome is not None:
                found[spec] = outcome, str(one["how"])
        return found

    def _read(self, path: Path, state: str) -> dict[str, dict[str, Any]]:
        try:
            told = files.unsealed(path.name, files.content(path))
        except (OSError, MeasureError):
            return {}
        return dict(told["specs"]) if told["state"] == state else {}

    @property
    def ended(self) -> str | None:
        """Who judged the run, and where its records are; None before."""
        try:
            return str(files.unsealed("ended", files.content(self.folder / "ended")))
        except (OSError, MeasureError):
            return None


def _state(name: str) -> str:
    """What tells that a model's files are as they were; "" for one of the hub, whose commit a run keeps to."""
    try:
        reference = catalog.resolve(name)
        place = Path(reference.location)
        if reference.source == "hub" or not place.exists():
            return ""
        paths = sorted(place.iterdir()) if place.is_dir() else [place]
        told = [[path.name, s.st_size, s.st_mtime_ns] for path in paths if path.is_file() for s in [path.stat()]]
    except (MeasureError, OSError):
        return ""
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _told(outcome: Outcome, addresses: Mapping[int, str]) -> dict[str, Any]:
    if isinstance(outcome, Result):
        return {"address": addresses[id(outcome)]}
    if isinstance(outcome, Exception):
        return {"error": str(outcome), "denied": isinstance(outcome, NotMeasuredError)}
    import msgspec

    # Of a kind that runs no model.
    return {"read": msgspec.to_builtins(outcome)}


def _outcome(spec: AnySpec, one: Mapping[str, Any], store: Store) -> Outcome | None:
    if "address" in one:
        return store.get(str(one["address"]))
    if "read" in one:
        import msgspec

        found: Outcome = msgspec.convert(one["read"], kinds.of(spec).result)
        return found
    kind = NotMeasuredError if one.get("denied") else MeasureError
    return kind(str(one.get("error")))


@dataclass(frozen=True)
class Noted(Store):
    """A store that knows the address of each result that it gave or took, by the object's id."""

    addresses: dict[int, str] = field(default_factory=dict, compare=False)

    def get(self, address: str) -> Result | None:
        """See `Store.get`."""
        result = super().get(address)
        if result is not None:
            self.addresses[id(result)] = address
        return result

    def put(self, address: str, result: Result) -> None:
        """See `Store.put`."""
        super().put(address, result)
        self.addresses[id(result)] = address
