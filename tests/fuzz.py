"""Damage the files that the package writes for itself, and see that reading them is right or refused in a sentence.

    .venv/bin/python -m tests.fuzz --mutations 10000 --seed 1

A mutation ends as `refused` (a `MeasureError` of one message), `again` (it is found out or measured anew), `same` (the
very same content) or `edited` (what is there is another whole file of its kind, as an editor would have written it:
only where nothing but its author can know). Everything else is an error: another exception, a hang, another content
taken for the one that was written, a control character in what is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import io
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from measure import catalog
from measure.catalog import ladder_cards, revisions
from measure.claims import accepted
from measure.harness import baselines, recording, regression, review, snapshot
from measure.harness.engines.store import Store
from measure.hub import cache as hub_cache
from measure.hub import gguf_files, known
from measure.kinds.rows import CODE, State
from measure.ladder import seeds, train
from measure.report import history, page, records
from measure.results import Curves, Result
from measure.spec import CurveSpec, MeasureError, SliceSpec
from measure.stats import Effect, Interval, Verdict
from tests import small_results as small
from tests import written_runs as written

SLOWEST = 10.0
ADDRESS, LINK = "ab" * 32, "cd" * 32
COMMIT = "0123456789abcdef" * 2 + "01234567"
CURVE, SLICE = CurveSpec("ladder-olmo-0.2m"), SliceSpec("ladder-olmo-0.2m")


class WrongError(AssertionError):
    """What a mutation must not end in."""


@dataclass(frozen=True)
class Kind:
    """A kind of file: where it lies in a folder, what it holds, and how a mutated one is read."""

    name: str
    path: str
    whole: bytes
    judge: Callable[[Path], str]


def right(condition: bool, what: str) -> None:
    if not condition:
        raise WrongError(what)


# Kinds


def baseline(result: Any) -> tuple[bytes, Callable[[Path], str]]:
    text = baselines.to_text(baselines.describe(result))
    own = baselines.parse(text)

    def judge(path: Path) -> str:
        if (there := snapshot.text_of(path)) is None:
            return "refused"
        found = regression.compare(text, there)
        records.to_json(records_row(regression.row("it.json", text, there)))
        with contextlib.suppress(MeasureError):
            regression.rewritten(text, there)
        if found.state is not State.AS_ACCEPTED:
            right(bool(found.why) and all(found.why), "nothing is said")
            return "refused"
        return "same" if alike(own, baselines.parse(there)) else wrong("a baseline that is another passes")

    return text.encode(), judge


def records_row(found: Any) -> Any:
    return records.TestRow("t", "baseline", baseline=found)


def wrong(what: str) -> str:
    raise WrongError(what)


def alike(own: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether every number that is compared is there, and off by no more than the code allows."""
    first, second = baselines.numbers(own), baselines.numbers(other)
    if [one.what for one in first] != [one.what for one in second] or own["pairs"] != other["pairs"]:
        return False
    table = own["tolerance"][baselines.PROCESSORS]
    return all(
        a.value == b.value
        or (a.value is not None and b.value is not None and abs(a.value - b.value) <= regression._tolerance(table, a))
        for a, b in zip(first, second, strict=True)
    )


def provenance() -> dict[str, Any]:
    named = dict.fromkeys((*baselines.ENVIRONMENT, "revision", "prompts_sha256"), "x")
    return {"model": "m", **named, "spec": {"model": "m", "layer": 1}}


def whole_curves() -> Curves:
    return Curves(**small.fields(4.0), provenance=provenance())


def equal(one: Result, other: Result) -> bool:
    if type(one) is not type(other) or one.provenance != other.provenance:
        return False
    pairs = ((value, vars(other).get(name)) for name, value in vars(one).items() if isinstance(value, np.ndarray))
    return all(other is not None and np.array_equal(value, other) for value, other in pairs)


def entry(path: Path) -> str:
    found = Store(path.parent.parent).get(ADDRESS)
    right(found is None or equal(whole_curves(), found), "another result is taken from the store")
    return "again" if found is None else "same"


def link(path: Path) -> str:
    kept = Store(path.parent.parent)
    if not os.path.lexists(kept._path(ADDRESS)):
        kept.put(ADDRESS, whole_curves())
        kept.put("ab" + "0" * 62, Curves(**small.fields(2.0), provenance=provenance()))
    found, there = kept.follow(LINK), kept.holds(LINK)
    right(found is None or equal(whole_curves(), found), "a link leads to another result")
    right(there == (found is not None), "a link is said to lead where it does not")
    kept.link(LINK, ADDRESS)
    right(bool(kept.problems) or kept.holds(LINK), "a link is not mended")
    return "again" if found is None else "same"


def journal(path: Path) -> str:
    kept = Store(path.parent, refreshing=True)
    if not kept._path(ADDRESS).exists():
        Store(path.parent).put(ADDRESS, whole_curves())
    found = kept.get(ADDRESS)
    right(found is None or equal(whole_curves(), found), "another result is taken in a refresh")
    kept.put(ADDRESS, whole_curves())
    kept.end_refresh()
    return "again" if found is None else "same"


def saved(path: Path) -> str:
    right(equal(whole_curves(), Curves.load(path)), "a saved result is another")
    return "same"


def run_of(path: Path) -> str:
    page.write([path], path.parent / "out")
    table = (path.parent / "out" / "claims.txt").read_bytes()
    right(not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", table), "a control character stands in claims.txt")
    return "edited"


def card(path: Path) -> str:
    model = ladder_cards.rung_model(path.parent)
    own = catalog.models()["ladder-olmo-0.2m"]
    row, whole = (recording.of_model(one) for one in (model, own))
    read, shipped = catalog.read_card(path.parent), catalog.read_card(catalog.LADDER / "ladder-olmo-0.2m")
    if (model.shape, row.seed) == (own.shape, own.seed) and row.revisions == whole.revisions:
        return "same" if read == shipped else "edited"
    # Names of revisions and recipes are the author's.
    return "edited"


def state(path: Path) -> str:
    found = train._read_state(path)
    own = whole_state()
    right(found.keys() == own.keys() and found["step"] == own["step"], "a training state is another")
    right(torch.equal(found["model"]["w"], own["model"]["w"]), "a training state has other weights")
    return "same"


def whole_state() -> dict[str, Any]:
    weights = torch.linspace(-1, 1, 500)
    return {"identity": "x" * 64, "model": {"w": weights}, "optimizer": {"lr": 0.1}, "step": 64}


def sizes(path: Path) -> str:
    found = hub_cache.remembered_sizes("o/n", COMMIT)
    right(found is None or all(type(size) is int and size >= 0 for size in found.values()), "sizes that are none")
    return "again" if found is None else "edited"


def branches(path: Path) -> str:
    found = hub_cache.remembered_branches("o/n")
    right(all(isinstance(name, str) for name in found), "branches without a name")
    revisions.in_order(found)
    return "edited" if found else "again"


def ref(path: Path) -> str:
    found = hub_cache.cached_commit("o/n", "main")
    right(found is None or re.fullmatch("[0-9a-f]{40}", found) is not None, "a commit that is none")
    return "again" if found is None else "same" if found == COMMIT else "edited"


def fact(path: Path) -> str:
    found = known.read_hash(path)
    right(found in (None, "a" * 64), "another hash is believed")
    return "again" if found is None else "same"


PASSED = [[1, "final_norm", 10, 50], [2, "logits", 7, 21]]


def passed(path: Path) -> str:
    found = known.read_passed(path)
    right(found in ({}, {(1, "final_norm"): [(10, 50)], (2, "logits"): [(7, 21)]}), "another check is believed passed")
    return "same" if found else "again"


def gguf(path: Path) -> str:
    found = gguf_files.card(path.parent)
    right(
        found is None or found == {"format": gguf_files.FORMAT, "file": "x.gguf", "types": {"F32": 3}}, "another card"
    )
    return "again" if found is None else "same"


def gguf_card() -> bytes:
    content = {"format": gguf_files.FORMAT, "file": "x.gguf", "types": {"F32": 3}, "files": {}}
    return json.dumps({**content, "seal": gguf_files._seal(content)}).encode()


def verdicts(path: Path) -> str:
    found = accepted.read(path)
    verdict = Verdict((Effect("e", Interval(0.2, 0.1, 0.3, 40), 0.1),))
    for one in found.values():
        one.drift(verdict)
    return "edited" if found != ACCEPTED else "same"


ACCEPTED = {
    "ladder-olmo-0.2m": accepted.Accepted({"e": (0.2, 0.1, 0.3), "f": (-1.0, -2.0, 0.5)}, {"1": "supported"}),
    "ladder-qwen2-0.2m": accepted.Accepted({}, {"2": "inconclusive"}),
}


def verdict_text() -> bytes:
    found = {name: {"effects": one.effects, "draws": one.draws} for name, one in ACCEPTED.items()}
    return json.dumps(found, indent=1).encode()


def seed(path: Path) -> str:
    run = seeds.read(path)
    right(run.heldout_loss > 0 and len(run.trained.quartiles) == 3, "a seed that is none")
    return "same" if repr(run) == repr(seeds.read(SEED)) else "edited"


SEED = seeds.FOLDER / "olmo-0.2m-seed0.json"
MEMORY = Path("home") / "measure" / "models--o--n"


def past() -> history.Entry:
    return history.Entry(
        started="2026-01-02T03:04:05+00:00", run="a.jsonl", code="abc", claim="Curves jump (Fig. 1)", place="Fig. 1)",
        subject="rung", outcome="supported", estimate=0.5, low=0.4, high=0.6, margin=0.1, n=12, effect="slope",
    )  # fmt: skip


def history_of(path: Path) -> str:
    found = history.read(path)
    if not path.exists():
        return "refused"
    history.lines(found, every=True)
    given = sum(bool(line.strip()) for line in path.read_bytes().splitlines())
    right(len(found.entries) == given or bool(found.problems), "a line is passed over and nothing is said")
    added = dataclasses.replace(past(), run="b.jsonl", started="9999-01-01T00:00:00+00:00")
    history.append(path, [added])
    right(added in history.read(path).entries, "what was added is not read back")
    return "refused" if found.problems else "same" if found.entries == (past(),) else "edited"


def offered() -> tuple[str, str, bytes]:
    """Of a baseline that moved: the accepted text, the one that accepting writes, and the records of the run."""
    new = baselines.to_text(baselines.describe(whole_curves_of_baseline()))
    content = json.loads(new)
    content["curve"]["median"][2] += 0.01
    old = baselines.to_text(content)
    row = dataclasses.replace(
        regression.row("it.json", new, old), offer=regression.offer("suites/baselines/it.json", new, old)
    )
    header = records.Header(records.FORMAT, started=past().started, code=known.source_hash()[:CODE])
    test = records.TestRow(
        "suites/test_it.py::test_baseline[it]", "baseline", outcome="failed", baseline=row, status=10
    )
    return old, new, b"".join(map(records.to_json, (header, test, records.End(10, 1.0))))


def reviewed(path: Path) -> str:
    old, new, _ = offered()
    root = path.parent / "project"
    there = root / "suites" / "baselines" / "it.json"
    there.parent.mkdir(parents=True, exist_ok=True)
    (root / "suites" / "test_it.py").write_text("")
    there.write_text(old)
    with page.damage_told(str(path)):
        found = review.find(path, root)
        [*review.summary(found), *review.listed(found), review.status(found)]
    for one in found.undecided:
        with contextlib.suppress(MeasureError):
            review.accept(one, found.root)
    files = sorted(str(one.relative_to(root)) for one in root.rglob("*") if one.is_file())
    right(files == ["suites/baselines/it.json", "suites/test_it.py"], f"there are {files}")
    right(there.read_text() in (old, new), "another text was accepted")
    right(there.read_text() == old or bool(found.undecided), "what was not offered was accepted")
    return "edited" if there.read_text() == new else "refused"


def kinds() -> list[Kind]:
    """Every kind of file of ours."""
    curve_text, curve_judge = baseline(whole_curves_of_baseline())
    slice_text, slice_judge = baseline(whole_slices())
    lines = b"".join(json.dumps(line).encode() + b"\n" for line in written.whole_run())
    sized = json.dumps({"config.json": 12, "model.safetensors": 3456}).encode()
    named = json.dumps(["main", "step0-tokens0B", "step1000-tokens2B"]).encode()
    from measure.base import files

    return [
        Kind("baseline", "it.json", curve_text, curve_judge),
        Kind("slice baseline", "it.json", slice_text, slice_judge),
        Kind("store entry", f"ab/{ADDRESS}.npz", whole_curves().to_bytes(ADDRESS), entry),
        Kind("store link", f"cd/{LINK}.link", files.sealed(LINK, ADDRESS), link),
        Kind("refresh journal", "refreshed", f"{'ef' * 32}\n{ADDRESS}\n".encode(), journal),
        Kind("saved result", "it.npz", whole_curves().to_bytes(), saved),
        Kind("records", "run.jsonl", lines, run_of),
        Kind("card", "card.json", (catalog.LADDER / "ladder-olmo-0.2m" / "card.json").read_bytes(), card),
        Kind("training state", "state.pt", train._state_bytes(whole_state()), state),
        Kind("sizes", str(MEMORY / f"{COMMIT}.json"), sized, sizes),
        Kind("branches", str(MEMORY / "branches.json"), named, branches),
        Kind("ref", str(MEMORY / "refs" / "main"), COMMIT.encode(), ref),
        Kind("hash", "fact.json", files.sealed("fact.json", "a" * 64), fact),
        Kind("passed checks", "fact.json", files.sealed("fact.json", PASSED), passed),
        Kind("gguf.json", "gguf.json", gguf_card(), gguf),
        Kind("verdicts", "test_it.json", verdict_text(), verdicts),
        Kind("history", "history.jsonl", history.to_line(past()), history_of),
        Kind("reviewed records", "run.jsonl", offered()[2], reviewed),
        Kind("seed", SEED.name, SEED.read_bytes(), seed),
    ]


def whole_curves_of_baseline() -> Curves:
    said = {**provenance(), "spec": {"model": "ladder-olmo-0.2m"}, "device": "cpu x86_64"}
    return Curves(**small.fields(4.0), provenance=said)


def whole_slices() -> Any:
    found = small.slices(SLICE)
    found.provenance.update(provenance(), spec={"model": "ladder-olmo-0.2m"}, device="cpu x86_64")
    return found


# Mutations


HOSTILE: list[Any] = [
    None, True, False, -1, 0, 1, -0.5, 2**31, 2**63, 10**30, 10**400, 1e308, -1e308, float("nan"), float("inf"), "",
    "text", "\x1b[2J\x1b]0;x\x07", "\ud800", "/home/someone/x", "a" * 5000, "²", [], [1], [[None]], {}, {"a": 1},
    {"a": {"b": []}}, [[[[[[[[[[1]]]]]]]]]],
]  # fmt: skip


def bytes_mutated(whole: bytes, random: np.random.Generator) -> bytes:
    """Damage that needs to know nothing of what is in the file."""
    size = len(whole)
    place, other = sorted(random.integers(0, size + 1, 2).tolist())
    block = whole[place : place + int(random.integers(1, 512))]
    flipped = bytearray(whole)
    for at in random.integers(0, size, int(random.integers(1, 9))).tolist():
        flipped[at] ^= 1 << int(random.integers(8))
    choices: list[bytes] = [
        whole[:place], b"", b"\0" * size, bytes(flipped), whole[:place] + whole[other:],
        whole[:place] + random.bytes(len(block)) + whole[place + len(block) :], whole[:place] + block + whole[place:],
        b"\xef\xbb\xbf" + whole, whole.replace(b"\n", b"\r\n"), whole.decode("latin1").encode("utf-16"),
        whole[:place] + b"\xe9" + whole[place:], whole + random.bytes(20), whole[::-1], random.bytes(size),
        b"[" * 100_000, whole[:place] + b"\0" * len(block) + whole[place + len(block) :], whole + whole,
    ]  # fmt: skip
    return choices[int(random.integers(len(choices)))]


def json_mutated(whole: bytes, random: np.random.Generator) -> bytes:
    """One place in one JSON text of the file changed: a value, a key, or its text."""
    lines = whole.split(b"\n") if whole.startswith(b'{"kind"') else [whole]
    at = int(random.integers(len(lines)))
    try:
        value = json.loads(lines[at])
    except ValueError:
        return bytes_mutated(whole, random)
    lines[at] = _changed(copy.deepcopy(value), lines[at].decode(), random).encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def _changed(value: Any, text: str, random: np.random.Generator) -> str:
    kind = int(random.integers(10))
    numbers = list(re.finditer(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", text))
    if kind < 3 and numbers:
        found = numbers[int(random.integers(len(numbers)))]
        puts = ["-1", "0", "NaN", "Infinity", "1e400", "9" * 5000, "2147483648", '"x"', "null", "[" * 900 + "]" * 900]
        digit = str(int(random.integers(1, 10)))
        put = [*puts, found[0][:-1] + digit, "-" + found[0].lstrip("-")][int(random.integers(len(puts) + 2))]
        return text[: found.start()] + put + text[found.end() :]
    holder, name = _place(value, random)
    if holder is None:
        return json.dumps(HOSTILE[int(random.integers(len(HOSTILE)))])
    if kind < 6:
        holder[name] = HOSTILE[int(random.integers(len(HOSTILE)))]
    elif kind < 8:
        del holder[name]
    elif isinstance(holder, dict):
        key = json.dumps(name)
        return json.dumps(value).replace(f"{key}:", f"{key}: {json.dumps(holder[name])}, {key}:", 1)
    else:
        holder.insert(name, holder[name])
    return json.dumps(value)


def _place(value: Any, random: np.random.Generator) -> tuple[Any, Any]:
    """Somewhere in a value: what holds it, and by which name or number."""
    holder, name = None, None
    for _ in range(int(random.integers(1, 7))):
        names = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
        if not names:
            break
        holder, name = value, names[int(random.integers(len(names)))]
        value = holder[name]
    return holder, name


def archive_mutated(whole: bytes, random: np.random.Generator) -> bytes:
    """A whole archive of other content."""
    with np.load(io.BytesIO(whole)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    names = [name for name in arrays if name != "header"]
    name = names[int(random.integers(len(names)))]
    array = arrays[name]
    header = json.loads(str(arrays["header"]))
    kind = int(random.integers(9))
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[f"{name}_too"] = array
    elif kind < 7:
        others = [array[:1], array.T, array.astype("U8"), array * 2 + 1, array.astype("float16"), np.array(7.0)]
        arrays[name] = others[int(random.integers(len(others)))]
    if kind > 5:
        arrays["header"] = np.array(_changed(header, json.dumps(header), random).encode("utf-8", "ignore").decode())
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def zip_mutated(whole: bytes, random: np.random.Generator) -> bytes:
    """The members of an archive in another order, one of them changed."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = [(one, archive.read(one)) for one in archive.namelist()]
    at = int(random.integers(len(members)))
    members[at] = members[at][0], bytes_mutated(members[at][1] or b" ", random)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def mutated(kind: Kind, random: np.random.Generator) -> bytes:
    """One mutation of a kind of file."""
    ways = [bytes_mutated]
    if kind.path.endswith(".npz"):
        ways += [archive_mutated, archive_mutated, zip_mutated]
    elif kind.whole[:1] in b'{["':
        ways += [json_mutated] * 3
    return ways[int(random.integers(len(ways)))](kind.whole, random)


def put(path: Path, content: bytes, random: np.random.Generator) -> None:
    """Lay a file down; now and then something that is none in its place."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    match int(random.integers(60)):
        case 0:
            path.mkdir()
        case 1:
            path.symlink_to(path.parent / "nowhere")
        case 2:
            path.symlink_to(path)
        case 3:
            os.mkfifo(path)
        case _:
            path.write_bytes(content)


# Running them


class HangError(Exception):
    """A mutation took too long."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    def over(*_: object) -> None:
        raise HangError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(kind: Kind, folder: Path) -> str:
    """What became of a mutation; "ERROR ..." for what it must not end in."""
    try:
        with limited(SLOWEST):
            return kind.judge(folder / kind.path)
    except MeasureError as error:
        said = str(error)
        return "refused" if said and "Traceback" not in said else f"ERROR no sentence: {said!r}"
    except Exception as error:
        return f"ERROR {''.join(traceback.format_exception(error)[-3:])}"


def fuzz(count: int, first: int, folder: Path) -> tuple[dict[str, Counter[str]], list[str]]:
    """Outcomes by kind of `count` mutations, dealt out evenly; and what went wrong."""
    every, found, errors = kinds(), {}, []
    # What the hub said is kept beside its cache.
    from huggingface_hub import constants

    before = constants.HF_HOME, constants.HF_HUB_CACHE
    try:
        for number in range(count):
            kind, random = every[number % len(every)], np.random.default_rng([first, number])
            own = folder / kind.name.replace(" ", "-")
            constants.HF_HOME, constants.HF_HUB_CACHE = str(own / "home"), str(own / "home" / "hub")
            put(own / kind.path, mutated(kind, random), random)
            told = outcome(kind, own)
            found.setdefault(kind.name, Counter())[told.partition(" ")[0]] += 1
            if told.startswith("ERROR"):
                errors.append(f"{kind.name}, mutation {number} of seed {first}: {told}")
    finally:
        constants.HF_HOME, constants.HF_HUB_CACHE = before
    return found, errors


def main(arguments: list[str] | None = None) -> int:
    """0 where nothing went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found, errors = fuzz(options.mutations, options.seed, Path(folder))
    for name, counts in found.items():
        print(f"{name:<16} {', '.join(f'{number} {told}' for told, number in sorted(counts.items()))}")
    print(*errors[:20], sep="\n", end="\n" if errors else "")
    print(f"{options.mutations} mutations, {len(errors)} errors, {time.monotonic() - started:.0f} s")
    return int(bool(errors))


if __name__ == "__main__":
    sys.exit(main())
