"""Tell: names as records have them -> names to read, and names to link to. Measures nothing."""

from __future__ import annotations

import hashlib
import re
import shlex
import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from measure.kinds.rows import ResultRow, TestRow
from measure.report.figure_parts import amount_name
from measure.report.records import Run
from measure.report.view_rows import Used

# As claims call their counterfeits; the last two are no counterfeits but readings.
_AFTER = {
    "shuffled": "later blocks shuffled",
    "rows": "later rows shuffled",
    "spectrum": "later spectrum kept",
    "gaussian": "later blocks Gaussian",
    "neurons": "later neurons permuted",
    "attention": "later attention shuffled",
    "reordered": "later blocks reordered",
}
_WEIGHTS = {"stored": "", "scrambled": "all weights shuffled", "untrained": "untrained weights"}
_PAIRINGS = {
    "random": "random pairs",
    "random_with_bos": "random pairs with BOS",
    "same_last_token": "random pairs of one last token",
    "random_context": "random pairs behind other tokens",
    "no_context": "random pairs without context",
    "similar": "similar pairs",
    "dissimilar": "dissimilar pairs",
    "printed_similar": "the paper's similar pairs",
    "printed_dissimilar": "the paper's dissimilar pairs",
}
_READS = {"final_norm": "after the final norm", "residual": "before the final norm", "logits": "logits"}
_LAST = "patched after the last block"
_SUBJECTS = (
    (re.compile(r"training-(.+)"), "{}, along training"),
    (re.compile(r"size-(.+)"), "{}, by size"),
    (re.compile(r"(.+)-different-last-token"), "{}, pairs of different last tokens"),
    (re.compile(r"(.+)-same-last-token"), "{}, pairs of one last token"),
    (re.compile(r"(.+)-bos"), "{}, with BOS"),
)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
# Of a name in a link so much stays; longer ones end in a hash.
_LINK = 80
# What the page itself is made of.
_TAKEN = ("head", "main", "report", "run", "figures", "answers", "drift", "compared", "shown", "missing")


def when(text: str) -> str:
    """A time as ISO writes it in words; what is none as it is."""
    try:
        found = datetime.fromisoformat(text)
        at = found if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return text
    zone = "" if found.tzinfo is None else " UTC"
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M}{zone}"


def subject(text: str) -> str:
    """What a claim was asked of, in words."""
    for pattern, words in _SUBJECTS:
        if found := pattern.fullmatch(text):
            return words.format(found[1])
    return text


def short(rows: Iterable[TestRow], title: str) -> str:
    """A claim in a word or two, its suite's: `suites/test_jump_location.py` is jump location."""
    stems = {row.test.partition("::")[0].rpartition("/")[2].removesuffix(".py") for row in rows}
    if len(stems) == 1 and (stem := stems.pop()).startswith("test_") and len(stem) < 40:
        return stem.removeprefix("test_").replace("_", " ")
    return textwrap.shorten(title, 40, placeholder=" …") or title[:40]


def links(names: Sequence[str], before: str = "") -> list[str]:
    """What each of several names is called in a link: the same in every run, whatever else there is.

    Two that would be called the same end in hashes of their names.
    """
    found = [_link(name) for name in names]
    counts = Counter(found)
    told = [
        f"{link}-{_hash(name)}" if counts[link] > 1 or (not before and link in _TAKEN) else link
        for link, name in zip(found, names, strict=True)
    ]
    seen: Counter[str] = Counter()
    for place, link in enumerate(told):
        seen[link] += 1
        told[place] = before + (link if seen[link] == 1 else f"{link}-{seen[link]}")
    return told


def _link(name: str) -> str:
    link = re.sub(r"[^\w.]+", "-", name.lower()).strip("-.")
    if not link:
        return f"x-{_hash(name)}"
    return link if len(link) <= _LINK else f"{link[:_LINK]}-{_hash(name)}"


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]


# What pytest takes for one name in -k.
_NAMES = re.compile(r"[\w:+.\[\]\\/=-]+")


def command(test: str) -> str:
    """The command that accepts what was measured of a test's baseline, as it is typed."""
    file, _, name = test.partition("::")
    words = [file.rpartition("/")[2], *_NAMES.findall(name.rpartition("::")[2])]
    chosen = " and ".join(word for word in words if word.lower() not in ("", "and", "or", "not"))
    return f"measure refresh -k {shlex.quote(chosen)}"


def without_place(title: str) -> str:
    """A claim's title without the figures in brackets at its end."""
    return re.sub(r"\s*\([^()]*\)\s*$", "", title) or title


def weights(row: ResultRow) -> str:
    """What was done to a model's weights; nothing for those of the checkpoint."""
    found = row.weights
    return _AFTER.get(found.change, found.kind) if found.change else _WEIGHTS.get(found.kind, found.kind)


def amount(row: ResultRow, run: Run) -> str:
    """How far a result's checkpoint is trained, as far as the header tells; else the revision's name."""
    known = run.header.catalog.get(row.model) if run.header else None
    entries = [entry for entry in known.revisions if entry.name == row.revision] if known else []
    return amount_name(entries[0]) if entries else row.revision


def described(row: ResultRow, run: Run) -> str:
    """What was measured, in words: what is as usual is left out."""
    revision = row.named_revision
    usual = {"pairing": "random", "read": "final_norm", "layer": 1}
    said = _parts(row, run, None)
    kept = [said[name] for name in ("pairing", "layer", "read") if row.spec.get(name, usual[name]) != usual[name]]
    of_training = amount(row, run) if revision not in ("", "main") else ""
    return ", ".join(filter(None, [row.model, of_training, weights(row), *kept]))


# What tells apart the results of a case, in the order in which it is said; the rest is said where that is not enough.
_ALWAYS = ("model", "revision", "weights", "pairing", "layer", "read")
# What a curve's colour does not stand for.
_NOT_SHADED = ("weights", "pairing", "read")


def of_case(results: Mapping[str, ResultRow], claimed: Collection[str], run: Run) -> tuple[Used, ...]:
    """The results of a case, those that its claim rests on being `claimed`: each with what tells it from the others."""
    usual = _usual_layer([results[name] for name in claimed])
    parts = {name: _parts(row, run, usual) for name, row in results.items()}
    _tell_seeds(results, parts)
    fields = _telling(parts)
    in_order = _by_layer(results, claimed)
    return tuple(_used(results[name], parts[name], fields, name in claimed, run) for name in in_order)


def _by_layer(results: Mapping[str, ResultRow], claimed: Collection[str]) -> list[str]:
    """The results' names, of one model those after several layers in that order: shades follow the depth."""
    names = list(results)
    layers = {
        name: layer
        for name, row in results.items()
        if name in claimed and row.weights.is_stored and isinstance(layer := row.spec.get("layer"), int)
    }
    if len({str(results[name].spec["model"]) for name in layers}) != 1:
        return names
    places = [place for place, name in enumerate(names) if name in layers]
    for place, name in zip(places, sorted(layers, key=lambda name: layers[name]), strict=True):
        names[place] = name
    return names


def _used(row: ResultRow, part: Mapping[str, str], fields: Sequence[str], claimed: bool, run: Run) -> Used:
    group = _group(row, part, claimed)
    # A panel's heading says what was done to the model.
    inside = [field for field in fields if field != "weights" and not (field == "layer" and group != "trained")]
    return Used(
        id=row.id,
        name=_joined(part, fields) or part["model"],
        role="claim" if claimed else "control",
        group=group,
        series=_joined(part, inside),
        shade=_joined({**part, **_grown(row, run)}, [field for field in inside if field not in _NOT_SHADED]),
    )


def _usual_layer(rows: Sequence[ResultRow]) -> object:
    """The layer after which most of a claim's results are patched; None where there is none such."""
    layers = [row.spec.get("layer") for row in rows]
    return next((layer for layer in layers if 2 * layers.count(layer) > len(layers)), None)


def _parts(row: ResultRow, run: Run, usual: object) -> dict[str, str]:
    """Field by field, what can be said of a result."""
    spec = row.spec
    pairing, read = str(spec.get("pairing", "")), str(spec.get("read"))
    said = {
        "model": row.model,
        "revision": amount(row, run),
        "weights": weights(row),
        "pairing": _PAIRINGS.get(pairing, pairing),
        "layer": _layer(row, run, usual),
        "read": _READS.get(read, read),
        "name": row.named_revision,
    }
    rest = {name: f"{name} {value}" for name, value in spec.items() if name not in said}
    return said | {"type": row.type.removesuffix("Spec").lower()} | rest


def _layer(row: ResultRow, run: Run, usual: object) -> str:
    layer = row.spec.get("layer")
    if layer is None or layer == usual:
        return ""
    known = run.header.catalog.get(row.model) if run.header else None
    return _LAST if usual is not None and known and known.layers == layer else f"layer {layer}"


def _tell_seeds(results: Mapping[str, ResultRow], parts: Mapping[str, dict[str, str]]) -> None:
    """Say the seed of changed weights where a case has several."""
    for name, row in results.items():
        seeds = {other.weights.digits for other in results.values() if other.weights.kind == row.weights.kind}
        if len(seeds) > 1:
            parts[name]["weights"] += f", seed {row.weights.digits}"


def _telling(parts: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The fields that tell results apart; details that tell nothing more apart are left out."""
    kept: list[str] = []
    shown: dict[str, tuple[str, ...]] = dict.fromkeys(parts, ())
    for field in dict.fromkeys(field for part in parts.values() for field in part):
        differs = len({part.get(field, "") for part in parts.values()}) > 1
        if differs and (field in _ALWAYS or len(set(shown.values())) < len(shown)):
            kept.append(field)
            shown = {name: (*label, parts[name].get(field, "")) for name, label in shown.items()}
    return kept


def _joined(part: Mapping[str, str], fields: Iterable[str]) -> str:
    return ", ".join(filter(None, (part.get(field, "") for field in fields)))


def _group(row: ResultRow, part: Mapping[str, str], claimed: bool) -> str:
    """Under which heading a result is drawn."""
    deeper = part["layer"] and not claimed
    if not row.weights.is_stored:
        return f"{weights(row)}, {part['layer']}" if deeper else weights(row)
    if not deeper:
        return "trained"
    return part["layer"] if part["layer"] == _LAST else f"patched after {part['layer']}"


def _grown(row: ResultRow, run: Run) -> dict[str, str]:
    """Of another training seed of a model the model: both are drawn alike."""
    known = run.header.catalog.get(row.model) if run.header else None
    return {"model": row.model.removesuffix(f"-seed{known.seed}")} if known and known.seed else {}
