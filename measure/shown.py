"""What leaves this process: control characters shown instead of sent, folders of this machine left out."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

# What moves a terminal's cursor, recolours it or turns text around, and halves of surrogate pairs, which have no bytes.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_HASH = 8
# In a text, a path in quotation marks, or of two parts or more; also one that pytest wrote from where it stands.
_QUOTED = re.compile(r"""(?<=['"])(?:file://)?(/[^'"\n]+)(?=['"])""")
_BARE = re.compile(
    r"""(?<![\w/.~-])(?:file://)?((?:/|(?:\.\./)+)(?:[^\s/'"<>|:,;()\[\]{}]+/)+[^\s/'"<>|:,;()\[\]{}]*)"""
)
# Where Python's libraries lie tells nothing.
_LIBRARY = re.compile(r".*/((?:site-packages|dist-packages|python3\.\d+)/.+)")
_HERE = Path(__file__).parent


def shown(text: str) -> str:
    r"""Text with its control characters spelled out, `\x1b` for an escape; line ends and tabs stay."""
    return _HIDDEN.sub(_spelled, text)


def one_line(text: str) -> str:
    r"""`shown`, line ends and tabs spelled out too."""
    return shown(text).replace("\n", "\\n").replace("\t", "\\t")


def _spelled(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


@dataclass(frozen=True)
class Places:
    """Writes paths so that they can leave the machine: from the project's `root`, others as their last part and a hash.

    The hash, of the whole path, tells two of one name apart. `named` are paths that the user named: in a text they are
    found whatever is in them. What lies in the folder `beside` what is written, and not below `root`, is named from it.
    """

    root: Path
    named: tuple[str, ...] = ()
    beside: Path | None = None

    @cached_property
    def _known(self) -> list[tuple[str, str]]:
        """What is looked for in texts as it stands, the longest first, and what stands for it."""
        found = {name: self.path(name) for name in self.named if name.startswith("/") and len(name) > 1}
        return sorted(found.items(), key=lambda pair: -len(pair[0]))

    def _roots(self) -> list[tuple[str, str]]:
        """Folders that paths are written from, and what they are called; this package, for what failed in it."""
        folders = [self.root, *([self.beside] if self.beside is not None else [])]
        own = [(root, "") for root in map(os.path.abspath, folders) if root != "/"]
        return [*own, (str(_HERE), f"{_HERE.name}/")]

    def path(self, text: str) -> str:
        """A path that may have `@REVISION` or `::TEST` behind it; what is no absolute path as it stands."""
        where, colons, test = text.partition("::")
        if not where.startswith("/"):
            return text
        whole = os.path.normpath(where)
        if library := _LIBRARY.fullmatch(whole):
            return library[1] + colons + test
        for root, called in self._roots():
            if whole == root or whole.startswith(f"{root}/"):
                return (called + whole[len(root) + 1 :] or ".") + colons + test
        folder, _, last = whole.rpartition("/")
        name, at, revision = last.partition("@")
        digest = hashlib.sha256(f"{folder}/{name}".encode(errors="surrogatepass")).hexdigest()[:_HASH]
        return f"{name}#{digest}{at}{revision}{colons}{test}"

    def argument(self, text: str) -> str:
        """An argument of a command: a path, `--option=PATH`, or several paths with commas between them."""
        if text.startswith("/") and os.path.lexists(text.partition("::")[0]):
            return self.path(text)
        option, equals, value = text.partition("=") if text.startswith("-") else ("", "", text)
        return self.text(option) + equals + ",".join(map(self.path, value.split(",")))

    def text(self, text: str) -> str:
        """A text with every absolute path in it written so."""
        for root, called in self._roots():
            if f"{root}/" in text:
                text = re.sub(rf"(?<![\w/.~-]){re.escape(root)}/", called, text)
        for name, told in self._known:
            if name in text:
                text = re.sub(rf"(?<![\w/.~-]){re.escape(name)}(?![\w-])", told.replace("\\", r"\\"), text)
        text = _QUOTED.sub(lambda found: self._found(found[1]), text)
        return _BARE.sub(lambda found: self._found(found[1]), text)

    def _found(self, path: str) -> str:
        ends = path[len(path.rstrip(".")) :]
        whole = path.rstrip(".")
        return self.path(os.path.abspath(whole) if whole.startswith("../") else whole) + ends

    def every(self, value: Any) -> Any:
        """`text` of each string, in whatever it lies."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {name: self.every(item) for name, item in value.items()}
        return [self.every(item) for item in value] if isinstance(value, list | tuple) else value
