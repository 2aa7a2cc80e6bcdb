"""How the documentation is built: `make docs`. The pages are the Markdown of the repository, where it lies."""

from __future__ import annotations

import re
from typing import Any

project = "stable-regions"
author = copyright = "The stable-regions developers"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
# The root of the sources is the repository's, so that links between pages are the same here as there.
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "RELEASING.md",
    "benchmarks/README.md",
    "docs/*.md",
    "docs/*.ipynb",
    "measure/ladder/weights/README.md",
]
exclude_patterns = [".*", "build", "runs", "reports", "baselines", "suites", "tests"]

html_theme = "furo"
html_title = "stable-regions"
html_extra_path = ["site"]
html_show_sourcelink = False
html_copy_source = False
templates_path: list[str] = []

myst_heading_anchors = 3
# What a notebook shows is in it; that it comes out so is what tests/test_tutorial.py says.
nb_execution_mode = "off"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
default_role = "code"


def _as_rst(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with names in backticks; nothing else in them is markup."""
    for place, line in enumerate(lines):
        parts = re.split(r"(`[^`]+`)", line)
        parts[::2] = [re.sub(r"([\\*|_])", r"\\\1", part) for part in parts[::2]]
        parts[1::2] = [f"`{part}`" for part in parts[1::2]]
        lines[place] = "".join(parts)


def setup(app: Any) -> None:
    """Hang the above into the build."""
    app.connect("autodoc-process-docstring", _as_rst)
