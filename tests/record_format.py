"""The rows of a run's records as tables. `python -m tests.record_format` writes them into docs/records.md."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

from measure.base.files import write_atomically
from measure.kinds import rows

DOCUMENT = Path(__file__).parent.parent / "docs" / "records.md"
# What stands in the document before the tables is written by hand.
BEGIN = "## The four kinds of lines"
LINES = {"run": rows.Header, "result": rows.ResultRow, "test": rows.TestRow, "end": rows.End}


def parts() -> list[type[Any]]:
    """The types that stand inside the lines, in the order of the source."""
    own = [one for one in vars(rows).values() if getattr(one, "__module__", "") == rows.__name__]
    found = [one for one in own if dataclasses.is_dataclass(one) and one not in LINES.values()]
    return [one for one in found if isinstance(one, type)]


def fields(row: type[Any]) -> list[str]:
    """The lines of a table: name, type and default of every field."""
    return [
        "| field | type | default |",
        "|---|---|---|",
        *(
            f"| `{one.name}` | `{str(one.type).replace('|', 'or')}` | {default(one)} |"
            for one in dataclasses.fields(row)
        ),
        "",
    ]


def default(one: dataclasses.Field[Any]) -> str:
    if one.default_factory is not dataclasses.MISSING:
        return "`{}`"
    return "" if one.default is dataclasses.MISSING else f"`{one.default!r}`" if one.default != () else "`[]`"


def section(title: str, row: type[Any]) -> list[str]:
    return [f"### {title}", "", inspect.cleandoc(row.__doc__ or ""), "", *fields(row)]


def text() -> str:
    """What of the document is made from the source."""
    states = ", ".join(f"`{state}`" for state in rows.State)
    lines = [
        BEGIN,
        "",
        *(line for kind, row in LINES.items() for line in section(f'"kind": "{kind}"', row)),
        "## What stands in them",
        "",
        "`Number` is a float or null; `Numbers` a list of them; `Field` whatever JSON holds; `Role` one of `claim`,",
        f"`control`, `baseline`, `other`; `State` one of {states}.",
        "",
        *(line for row in parts() for line in section(row.__name__, row)),
    ]
    return "\n".join(lines)


def main() -> None:
    """Write the tables into the document."""
    head = DOCUMENT.read_text().partition(BEGIN)[0]
    write_atomically(DOCUMENT, (head + text()).encode())


if __name__ == "__main__":
    main()
