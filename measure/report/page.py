"""Tell: the records of a run -> one self-contained page. Measures and judges nothing; the script draws what is here.

Names, prompts and tokens come from outside. They travel as packed JSON alone, and the script sets them as text;
the page's policy forbids every request and any script but its own. The names of the records stand escaped in its head,
so that a page can be told from that of another run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Any

import msgspec

from measure.base.files import write_atomically
from measure.report import history, page_history, records
from measure.report.page_history import History
from measure.report.page_view import claims_table, subjects, view
from measure.report.records import Run
from measure.report.view_rows import View
from measure.shown import Places
from measure.spec import MeasureError

_WEB = Path(__file__).parent / "web"
# What lines that parse, yet were not written by this version, end in.
_DAMAGED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError, RecursionError)
# Of a page so much holds its head.
_HEAD = 100_000
_META = re.compile(r'<meta name="records" content="([^"]*)" data-tests="(\d{1,9})">')
# What makes a module of a part of the script.
_IMPORT = re.compile(r'^import \{ [\w, ]+ \} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=async function |function |const )", re.MULTILINE)
_PACKED = re.compile(r'<script type="application/zlib" id="report">([^<]*)</script>')


@dataclass(frozen=True)
class Source:
    """The records that a page shows, as they were named, and how many tests there are in them."""

    records: str
    tests: int = 0


def write(paths: Sequence[Path], out: Path, *, merge: bool = False, earlier: Path = history.FILE) -> tuple[Path, str]:
    """Write `out/index.html` and `out/claims.txt`, and tell in lines what they show, and what they replace.

    `earlier`: the file of what earlier runs found; without it none is shown.
    Of two records the second is compared with the first. Where the run to be shown cannot be read there is a page that
    says so, and then `MeasureError`, which also tells of an earlier run that cannot be read and of more than two runs
    that are not to be merged.
    """
    if len(paths) > 2 and not merge:
        raise MeasureError(f"{len(paths)} runs given: one is shown, two are compared, more can be shown with --merge.")
    before = records.read(paths[:1]) if len(paths) == 2 and not merge else None
    asked = [str(path) for path in (paths if merge else paths[-1:])]
    # From where `measure report` is called, or beside the page.
    places = Places(Path(), beside=out)
    named = ", ".join(map(places.path, asked))
    try:
        run = records.read(paths if merge else paths[-1:])
        source = Source(named, len(run.tests))
        with damage_told(", ".join(asked)):
            past = page_history.read(earlier, subjects(run), history.sample_of(run.header) if run.header else "")
            content, shown, table = _drawn(run, before, source, past)
    except MeasureError as error:
        raise _told(error, Source(named), out, places.text(str(error))) from error
    replaced = _replaced(out, source)
    target = _written(out, content, table)
    return target, "\n".join([*_said(shown, len(content), paths[0]), *replaced])


def _told(error: MeasureError, source: Source, out: Path, said: str) -> MeasureError:
    """What is to be said of a run that cannot be shown, once there is a page that says it too."""
    nothing = view(Run(None, {}, (), problems=(said,)))
    replaced = _replaced(out, source)
    try:
        target = _written(out, html(nothing, source).encode(), [said])
    except MeasureError as other:
        return MeasureError(f"{error} And {other}")
    return MeasureError("\n".join([f"{error} {target} says so too.", *replaced]))


def _said(shown: View, size: int, earlier: Path) -> list[str]:
    """What a page shows, in lines."""
    cases = sum(len(claim.cases) for claim in shown.claims)
    of_how_many = f"{cases} case{'s' * (cases != 1)} of {len(shown.claims)} claim{'s' * (len(shown.claims) != 1)}"
    said = [f"{of_how_many}, {size / 1e6:.1f} MB", *shown.problems]
    if found := shown.compared:
        said.append(
            f"compared with {earlier}: {len(found.verdicts)} verdicts or controls changed, "
            f"{len(found.curves)} of {found.common} results moved"
        )
    return said


def _drawn(run: Run, before: Run | None, source: Source, past: History) -> tuple[bytes, View, list[str]]:
    """The page of a run, the view that it holds, and the lines of its table of claims."""
    shown = view(run, before, past)
    return html(shown, source).encode(), shown, claims_table(run, shown.problems)


@contextmanager
def damage_told(named: str) -> Iterator[None]:
    """Raise `MeasureError` for what records that were not written by this version end in."""
    try:
        yield
    except MeasureError:
        raise
    except _DAMAGED as error:
        raise MeasureError(
            f"{named}: the records are not as this version writes them ({error!r}); run the suites again."
        ) from error


def _replaced(out: Path, source: Source) -> list[str]:
    """A line on the page that is there, where it shows more tests of other records."""
    old = _source_of(out / "index.html")
    if old is None or old.tests <= source.tests or _same(old.records, source.records):
        return []
    several = old.records.split(", ")
    asked = f"{'--merge ' if len(several) > 1 else ''}{shlex.join(several)}"
    # Of records elsewhere a page holds no folder.
    again = f", which `measure report {asked}` brings back" if all(map(os.path.exists, several)) else ""
    return [f"this page replaces one of {old.tests} tests ({old.records}){again}"]


def _source_of(page: Path) -> Source | None:
    """The records that a page says it shows; None where it says nothing, or cannot be read."""
    try:
        with page.open("rb") as file:
            found = _META.search(file.read(_HEAD).decode(errors="replace"))
    except OSError:
        return None
    # What is no text to be printed was not written here.
    told = Source(unescape(found[1]), int(found[2])) if found else None
    return told if told and told.records.isprintable() else None


def _same(one: str, other: str) -> bool:
    return os.path.abspath(one) == os.path.abspath(other)


def _written(out: Path, content: bytes, table: Sequence[str]) -> Path:
    """Write the page, and beside it the table of claims."""
    target = out / "index.html"
    try:
        write_atomically(out / "claims.txt", "".join(f"{line}\n" for line in table).encode(errors="backslashreplace"))
        write_atomically(target, content)
    except OSError as error:
        raise MeasureError(f"{target} cannot be written ({error}); give another folder with --out.") from error
    return target


def html(shown: View, source: Source) -> str:
    """The page that draws `shown`, a view as `view` makes it, and says what it is of."""
    style = _file("uPlot.min.css") + _file("page.css")
    library, script = _file("uPlot.iife.min.js"), _script()
    policy = {
        "default-src": "'none'",
        "script-src": f"{_hash(library)} {_hash(script)}",
        "style-src": _hash(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    parts = {
        "policy": "; ".join(f"{name} {allowed}" for name, allowed in policy.items()),
        "records": _whole(escape(source.records)),
        "tests": str(source.tests),
        "licence": _file("uPlot.LICENSE"),
        "style": style,
        "library": library,
        "script": script,
        "report": packed(msgspec.to_builtins(shown)),
    }
    return "".join(parts.get(part, part) if odd else part for odd, part in _split(_file("page.html")))


def _split(template: str) -> Iterable[tuple[bool, str]]:
    """The pieces of a template, every second one a name that stood between two @; nothing that is put in is read."""
    return ((bool(place % 2), piece) for place, piece in enumerate(template.split("@")))


def modules() -> dict[str, str]:
    """The modules of the page's script: by name their text, each behind what it imports."""
    return _needed("page", {})


def _needed(name: str, before: dict[str, str]) -> dict[str, str]:
    if name not in before:
        text = _file(f"{name}.js")
        for other in _IMPORT.findall(text):
            _needed(other, before)
        before[name] = text
    return before


def _script() -> str:
    """All modules in one function: from a page in one file none can be imported. Their names share its scope."""
    parts = "".join(_EXPORT.sub("", _IMPORT.sub("", text)) for text in modules().values())
    return f'"use strict";\n(async () => {{\n{parts}}})();\n'


def _file(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _whole(text: str) -> str:
    """Text with lone surrogates, which have no bytes, spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def packed(content: object) -> str:
    """Content as JSON, deflated, in base64: half its size, and nothing in it can end the element that it stands in."""
    text = _whole(json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpacked(text: str) -> Any:
    """What a page, given as its text, holds of the run: the content that `packed` was given, as JSON has it.

    Raises `MeasureError` for a page that holds nothing of a run, or that is damaged.
    """
    found = _PACKED.search(text)
    if found is None:
        raise MeasureError("this page holds no report as this version packs it; `measure report` makes it again.")
    try:
        return json.loads(zlib.decompress(base64.b64decode(found[1], validate=True)))
    except (ValueError, zlib.error) as error:
        told = f"the report in this page is damaged ({error}); `measure report` makes it again."
        raise MeasureError(told) from error
