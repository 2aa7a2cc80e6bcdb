"""Every file of `measure` with its first line, as tables. `python -m tests.house` writes them into docs/map.md."""

from __future__ import annotations

import ast
from pathlib import Path

from measure.base.files import write_atomically
from tests.test_architecture import ORDER, ROOT, files, wing

DOCUMENT = ROOT / "docs" / "map.md"
BEGIN = "## Every file of the instrument"


def first_line(path: Path) -> str:
    """What a file says first of itself."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0].rstrip(".").replace("|", "\\|")


def table(own: str) -> list[str]:
    """The files of a wing, subfolders last."""
    names = sorted((name for name in files() if wing(name) == own), key=lambda name: (name.count("."), name))
    rows = [(str(files()[name].relative_to(ROOT)), first_line(files()[name])) for name in names]
    return ["| file | |", "|---|---|", *(f"| `{place}` | {line} |" for place, line in rows), ""]


def text() -> str:
    """What of the document is made from the source; what stands on top in one table."""
    alone = [own for own in ORDER if (ROOT / "measure" / f"{own}.py").is_file()]
    lines = [BEGIN, "", "### On top", "", "| file | |", "|---|---|"]
    lines += [row for own in alone for row in table(own)[2:-1]]
    for own in (own for own in ORDER if own not in alone):
        lines += ["", f"### {own}", "", *table(own)[:-1]]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the tables into the document."""
    head = DOCUMENT.read_text().partition(BEGIN)[0]
    write_atomically(DOCUMENT, (head + text()).encode())


if __name__ == "__main__":
    main()
