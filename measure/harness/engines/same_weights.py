"""Two revisions or folders that hold the same weights: one of them is not what its name says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measure import catalog, kinds
from measure.harness.engines.protocol import Found
from measure.hub import checkpoints as hub
from measure.hub import stale
from measure.models import loading as models
from measure.names import STORED
from measure.results import Result


class SeenWeights:
    """What the weights were that results came of; each new one is held against those seen before."""

    def __init__(self) -> None:
        # By repository and hash, the revision that was asked for first, and what it was.
        self._weights: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        # By hash and folder, the name asked for, and the configuration's hash.
        self._folders: dict[str, dict[Path, tuple[str, str]]] = defaultdict(dict)

    def check(self, found: Found) -> None:
        """Raise `MeasureError` where two revisions of a model hold the same weights: one of them is stale.

        Also two folders with the same weights and the same configuration, wherever they lie.
        """
        for spec, (result, _) in found.items():
            if not (isinstance(result, Result) and kinds.is_run(spec) and spec.weights == STORED):
                continue
            reference = catalog.resolve(spec.model)
            if reference.source == "hub":
                self._check_revision(reference, result.provenance)
            elif reference.source == "folder":
                self._check_place(spec.model, Path(reference.location).resolve(), result.provenance)

    def _check_revision(self, reference: catalog.Reference, provenance: Mapping[str, Any]) -> None:
        place, asked, weights = reference.location, reference.revision, provenance["weights_sha256"]
        seen = self._weights[place].setdefault(weights, (asked, provenance["revision"]))
        # Branches are asked for only where there is something to tell.
        names = hub.known_branches(place) if seen[0] != asked else ()
        if seen[0] != asked and not stale.may_be_equal(seen[1], provenance["revision"], names, place):
            raise stale.equal(f"{place}: revisions {seen[0]} and {asked}", weights, "on the hub")

    def _check_place(self, name: str, place: Path, provenance: Mapping[str, Any]) -> None:
        weights, config = provenance["weights_sha256"], provenance["config_sha256"]
        seen = self._folders[weights]
        for other, (called, its_config) in seen.items() if place not in seen else ():
            common = _in_common(other, place)
            if common and stale.may_be_equal(common[1], common[2], models.revisions_in(common[0])):
                continue
            if common or its_config == config:
                raise stale.equal(f"{called} and {name}", weights, "or one folder copied twice")
        seen.setdefault(place, (name, config))


def _in_common(first: Path, second: Path) -> tuple[Path, str, str] | None:
    """The folder of a training that two folders belong to, and what each is called in it; None where there is none."""
    if first.parent == second.parent:
        return first.parent, first.name, second.name
    if second.parent == first:
        return first, "main", second.name
    if first.parent == second:
        return second, first.name, "main"
    return None
