"""Where a model's tokenizer may lie: with it, beside the ladder's rungs, in the folder of its training run."""

from __future__ import annotations

import re
from pathlib import Path

from measure import catalog

# A training run's checkpoints, as the trainer of transformers names them.
_CHECKPOINT = re.compile(r"checkpoint-\d+")
# Files that a tokenizer's vocabulary is in; tokenizer_config.json alone has none.
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")


def tokenizer_places(reference: catalog.Reference, folder: Path) -> list[Path]:
    """Where the tokenizer of a model whose files are in `folder` may be, the first that has one being it."""
    return [folder, *_shared_tokenizer(Path(reference.location)), *trainers_root(reference)]


def _shared_tokenizer(folder: Path) -> list[Path]:
    """A revision of the ladder lies in DIR/RUNG/REVISION; one tokenizer in DIR/tokenizer serves them all."""
    return [folder.parent.parent / "tokenizer"] if (folder.parent / "card.json").is_file() else []


def trainers_root(reference: catalog.Reference) -> list[Path]:
    """The folder of the training run that a checkpoint is in: trainers save the tokenizer there, once."""
    if reference.source != "folder":
        return []
    place, inside = Path(reference.location), Path(reference.revision).parts
    if inside and place.parts[-len(inside) :] == inside:
        return [place.parents[len(inside) - 1]]
    # A link may have another name.
    return [path.parent for path in (place, place.resolve()) if _CHECKPOINT.fullmatch(path.name)][:1]


def tokenizer_file(reference: catalog.Reference, folder: Path) -> Path | None:
    """The tokenizer.json of a model whose files are in `folder`; None where it has none."""
    for place in tokenizer_places(reference, folder):
        if any((place / name).is_file() for name in VOCABULARIES):
            path = place / "tokenizer.json"
            return path if path.is_file() else None
    return None
