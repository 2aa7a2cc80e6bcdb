"""The tutorial: what the notebook shows is what comes out of it, offline, in an empty folder."""

from __future__ import annotations

import csv
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "docs" / "tutorial.ipynb"


def shown(notebook: nbformat.NotebookNode) -> list[str]:
    """What each cell prints, and the kinds of what it draws; progress goes elsewhere."""
    found = []
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        # What is printed comes in as many pieces as it likes.
        found.append("".join(one.text for one in cell.outputs if one.get("name") == "stdout"))
        found += [", ".join(sorted(one.data)) for one in cell.outputs if one.output_type != "stream"]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tutorial")


# The kernel's own doings: unclosed sockets of a loop that it stops, and words on its transport.
@pytest.mark.filterwarnings("error")
def test_the_tutorial_shows_what_comes_out_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    written = nbformat.read(NOTEBOOK, as_version=4)
    kept = shown(written)
    assert kept.count("image/png, text/plain") == 2
    client = NotebookClient(written, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute()
    assert shown(written) == kept
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")
    with (folder / "training.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 94
    assert {"label", "prompt_a", "prompt_b", "max_slope", "null_max_slope"} <= set(rows[0])


def test_the_notebook_is_small_and_tells_nothing_of_who_ran_it() -> None:
    text = NOTEBOOK.read_text()
    assert len(text) < 100_000
    assert "/home" not in text
    assert "/tmp" not in text
    assert '"stderr"' not in text
