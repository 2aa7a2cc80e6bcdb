"""Checkpoints on the hub that others have found to be not what their names say, with where they told it. Data alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# How a fault shows: in the hub's hashes of files (equal weights, shared files), in what there is, or in numbers alone.
Shows = Literal["equal", "shared", "missing", "numbers"]


@dataclass(frozen=True)
class Known:
    """A fault of some revisions of a repository, told in `source`; `revisions` is a regular expression of names."""

    repository: str
    revisions: str
    fault: str
    shows: Shows
    source: str


_PYTHIA = "EleutherAI/pythia issue"
# 0 to 512, 1000 to 53000 by 1,000, and some of the later round ones.
_AS_MAIN = (
    r"step(0|1|2|4|8|16|32|64|128|256|512|([1-9]|[1-4]\d|5[0-3])000|(55|60|65|70|80|90|100|103|110|120|130|140)000)"
)
KNOWN = (
    Known("EleutherAI/pythia-2.8b", _AS_MAIN, "holds the weights of main", "equal", f"{_PYTHIA} 205, also 195"),
    Known("EleutherAI/pythia-2.8b", r"step(54|56|57|58|59|61|62|63|64|143)000",
          "one of ten branches with the same weights, whose embeddings are main's", "equal", f"{_PYTHIA} 205"),
    Known("EleutherAI/neox-ckpt-pythia-6.9b-deduped", r"step(0|1|2|4|8|16|32|64|128|256|512|[1-6]000)",
          "early steps (0 to 6300 are told of pythia-2.8b) hold the same weights", "equal",
          f"{_PYTHIA} 195, a comment"),
    Known("EleutherAI/pythia-12b", r"step5[08]000", "its first file is the final model's", "shared", f"{_PYTHIA} 206"),
    Known("EleutherAI/pythia-12b-deduped", r"step32000", "was another step's, and was uploaded anew in June 2023",
          "equal", f"{_PYTHIA} 108"),
    Known("EleutherAI/pythia-1.4b-deduped", r"step16", "holds the weights of step143000", "equal",
          "github.com/billy000400/marsv, dir19, step16_forensics.json"),
    Known("EleutherAI/pythia-410m-seed9", r"step40000", "has no weights", "missing", f"{_PYTHIA} 202"),
    Known("EleutherAI/pythia-410m-seed6", r"step88000", "has no weights", "missing", f"{_PYTHIA} 202"),
    Known("EleutherAI/pythia-410m-seed2", r"step111000", "has no weights", "missing", f"{_PYTHIA} 202"),
    Known("EleutherAI/pythia-160m-weight-seed[12]", r"step0", "is not what step 1 of this run was trained from",
          "numbers", f"{_PYTHIA} 203"),
    Known(r"EleutherAI/pythia-[\w.]+(-deduped)?", r"step2", "is told to be equal to step 0", "equal",
          f"{_PYTHIA} 198"),
    Known("allenai/OLMo-2-1124-7B", r"stage1-step(101000-tokens424B|175000-tokens735B|300000-tokens1259B)",
          "one of three branches with the same weights", "equal", "allenai/OLMo issue 915"),
)  # fmt: skip


def of(repository: str, revision: str) -> list[Known]:
    """What is known against a revision."""
    return [
        one
        for one in KNOWN
        if re.fullmatch(one.repository, repository, re.IGNORECASE) and re.fullmatch(one.revisions, revision)
    ]
