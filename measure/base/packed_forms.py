"""Forms in which one file holds a whole model: known by how the file's name ends. Reads nothing.

A new one is its row here, and a module that has what `measure.hub.packed.Reader` names.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PackedForm:
    """`label`: as its users write it. `ending`: of its files, in small letters. `module`: what unpacks them."""

    label: str
    ending: str
    module: str

    @property
    def source(self) -> str:
        """What a reference to such a file has as its source; also the key of what provenance says of it."""
        return self.ending.removeprefix(".")


PACKED_FORMS = (PackedForm("GGUF", ".gguf", "measure.hub.gguf_files"),)
PACKED_SOURCES = tuple(form.source for form in PACKED_FORMS)


def packed_form(name: str) -> PackedForm | None:
    """The form of a file by its name; None for a file that is no model."""
    return next((form for form in PACKED_FORMS if name.lower().endswith(form.ending)), None)
