"""The documentation as a site: built from these pages, every link leads somewhere, nothing is loaded from afar."""

from __future__ import annotations

import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from tests.pages import ROOT


class Page(HTMLParser):
    """What a page links to, what it loads, and the places in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.add(found["href"])
        elif tag in ("img", "script", "iframe", "source") and "src" in found:
            self.loads.add(found["src"])
        elif tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload"):
            self.loads.add(found["href"])


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    return subprocess.run(
        [*command, "--conf-dir", str(source / "docs"), str(source), str(out)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out)
    assert done.returncode == 0, done.stderr
    pages = [path for path in out.rglob("*.html") if "_downloads" not in path.parts]
    return {path: Page(path.read_text()) for path in pages}


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_afar(site: dict[Path, Page]) -> None:
    broken = []
    for path, page in site.items():
        for target in page.links | page.loads:
            if target.startswith(("https://", "http://", "data:", "mailto:")):
                assert target in page.links or target.startswith("data:"), f"{path.name} loads {target}"
                continue
            there, anchor = urldefrag(unquote(target))
            place = (path.parent / there.partition("?")[0]).resolve() if there else path
            known = site.get(place)
            if not place.is_file() or (anchor and known is not None and anchor not in known.places):
                broken.append(f"{path.name}: {target}")
    assert broken == []


def test_the_tutorial_is_a_page_with_what_its_cells_show(site: dict[Path, Page]) -> None:
    [path] = [path for path in site if path.name == "tutorial.html"]
    text = path.read_text()
    assert "max slope 2.02, of the null 1.25" in text
    assert sum(name.endswith(".png") and "_images" in name for name in site[path].loads) == 2


def test_the_api_is_told_by_docstrings_with_nothing_lost_in_them(site: dict[Path, Page]) -> None:
    [path] = [path for path in site if path.name == "api.html"]
    assert {"measure.interpolate", "measure.Curves.frame", "measure.stats.median_interval"} <= site[path].places
    assert "||F(A) - F(X(alpha))||" in path.read_text()


BROKEN = {
    "[a page](nowhere.md)": "nowhere.md",
    "[an anchor](usage.md#no-such-head)": "no-such-head",
    "```{eval-rst}\n.. autofunction:: measure.interpolat\n```": "interpolat",
    "![a picture](pictures/none.png)": "none.png",
}


def test_what_does_not_resolve_fails_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs" / "site", docs / "site")
    shutil.copy(ROOT / "docs" / "conf.py", docs)
    (docs / "usage.md").write_text("# Use\n")
    (docs / "index.md").write_text("# Pages\n\n```{toctree}\nusage\n```\n\n" + "\n\n".join(BROKEN))
    done = build(tmp_path, tmp_path / "out")
    assert done.returncode == 1
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert [said for said in BROKEN.values() if not any(said in line for line in warnings)] == []
