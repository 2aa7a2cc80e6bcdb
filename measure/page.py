"""Tell: the records of a run -> one self-contained page. Measures and judges nothing; the script draws what is here.

Names, prompts and tokens come from outside. They travel as JSON alone, no `<` in it, and the script sets them as text;
the page's policy forbids every request and any script but its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from measure import records
from measure.page_view import Record, claims_table, view
from measure.records import Run
from measure.results import write_atomically
from measure.spec import MeasureError

_WEB = Path(__file__).parent / "web"


def write(paths: Sequence[Path], out: Path, *, merge: bool = False) -> tuple[Path, str]:
    """Write `out/index.html` and `out/claims.txt`, and tell in a line what they show.

    Of two records the second is compared with the first. Where the run to be shown cannot be read there is a page that
    says so, and then `MeasureError`, which also tells of an earlier run that cannot be read and of more than two runs
    that are not to be merged.
    """
    if len(paths) > 2 and not merge:
        raise MeasureError(f"{len(paths)} runs given: one is shown, two are compared, more can be shown with --merge.")
    before = records.read(paths[:1]) if len(paths) == 2 and not merge else None
    try:
        run = records.read(paths if merge else paths[-1:])
        content, shown, table = _drawn(run, before, paths)
    except MeasureError as error:
        nothing = view(Run({}, {}, (), problems=(str(error),)))
        try:
            target = _written(out, html(nothing).encode(), [str(error)])
        except MeasureError as other:
            raise MeasureError(f"{error} And {other}") from error
        raise MeasureError(f"{error} {target} says so too.") from error
    target = _written(out, content, table)
    cases = sum(len(claim["cases"]) for claim in shown["claims"])
    said = [f"{cases} cases of {len(shown['claims'])} claims, {len(content) / 1e6:.1f} MB", *shown["problems"]]
    if found := shown["compared"]:
        said.append(
            f"compared with {paths[0]}: {len(found['verdicts'])} verdicts or controls changed, "
            f"{len(found['curves'])} of {found['common']} results moved"
        )
    return target, "\n".join(said)


def _drawn(run: Run, before: Run | None, paths: Sequence[Path]) -> tuple[bytes, Record, list[str]]:
    """The page of a run, the view that it holds, and the lines of its table of claims."""
    try:
        shown = view(run, before)
        return html(shown).encode(), shown, claims_table(run, shown["problems"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MeasureError(
            f"{', '.join(map(str, paths))}: the records are not as this version writes them ({error!r}); run the "
            "suites again."
        ) from error


def _written(out: Path, content: bytes, table: Sequence[str]) -> Path:
    """Write the page, and beside it the table of claims."""
    target = out / "index.html"
    try:
        write_atomically(out / "claims.txt", "".join(f"{line}\n" for line in table).encode(errors="backslashreplace"))
        write_atomically(target, content)
    except OSError as error:
        raise MeasureError(f"{target} cannot be written ({error}); give another folder with --out.") from error
    return target


def html(shown: Record) -> str:
    """The page that draws `shown`, a view as `view` makes it."""
    style = _file("uPlot.min.css") + _file("page.css")
    library, script = _file("uPlot.iife.min.js"), _file("page.js")
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
        "licence": _file("uPlot.LICENSE"),
        "style": style,
        "library": library,
        "script": script,
        "report": embedded(shown),
    }
    return "".join(parts.get(part, part) if odd else part for odd, part in _split(_file("page.html")))


def _split(template: str) -> Iterable[tuple[bool, str]]:
    """The pieces of a template, every second one a name that stood between two @; nothing that is put in is read."""
    return ((bool(place % 2), piece) for place, piece in enumerate(template.split("@")))


def _file(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def embedded(content: Any) -> str:
    """JSON that can stand inside a script element: no `<` in it can end the element or open a comment."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # The two separators were line ends in scripts before 2019; lone surrogates have no bytes.
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "backslashreplace").decode()
