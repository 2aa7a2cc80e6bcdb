"""The pages of the documentation, and what stands in them between fences."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "RELEASING.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
_FENCED = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(name: str, kind: str) -> list[str]:
    """What stands between fences of one kind ("" for commands), without the fences."""
    return [body for found, body in _FENCED.findall((ROOT / name).read_text()) if found == kind]


def without_blocks(text: str) -> str:
    """A page without what stands between fences."""
    return _FENCED.sub("", text)
