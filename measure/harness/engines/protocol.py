"""What an engine is: told of specs, asked for outcomes. Which load a spec belongs to. Measures nothing.

The unit that travels to a worker is one load, and the specs that are measured on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from measure import catalog, kinds
from measure.catalog import Shape
from measure.names import Weights
from measure.results import Result
from measure.spec import AnySpec

Outcome = Result | Shape | Exception
_CONFIG = "config"


class Load(NamedTuple):
    """What has to be loaded: a model's name with its revision, its weights, its precision."""

    model: str
    weights: str = _CONFIG
    precision: str = ""

    @property
    def is_config(self) -> bool:
        """Whether the configuration is read and nothing loaded."""
        return self.weights == _CONFIG

    @property
    def needs_weights(self) -> bool:
        """Whether loading takes more than the configuration."""
        return not self.is_config and not Weights.parse(self.weights).is_untrained


# The outcome of each spec of a load, and whether it was `stored`, `measured` or `failed`.
Found = dict[AnySpec, tuple[Outcome, str]]
Report = Callable[[AnySpec, str], None]
Begin = Callable[[str], None]


@runtime_checkable
class Engine(Protocol):
    """Where and when specs are measured.

    `in_process.InProcess` is the default; `pool.Pool` hands loads to workers, `work.Shard` is one of several processes
    that share them.
    """

    @property
    def gathered(self) -> Mapping[Load, list[AnySpec]]:
        """The specs that it was told of, by what has to be loaded for them."""

    def gather(self, specs: Iterable[AnySpec]) -> None:
        """Take note of specs that will be asked for."""

    def outcome(self, spec: AnySpec) -> Outcome:
        """The result of a spec, or its error."""

    def close(self) -> None:
        """Let go of what is under way."""


def untold(_: str) -> None:
    """For those who wait for nothing."""


def load_of(spec: AnySpec) -> Load:
    """What has to be loaded for `spec`: specs with the same answer are measured on one loading."""
    # Without a revision main is meant.
    name, revision = catalog.split(spec.model)
    name = name if revision in ("", "main") else spec.model
    return Load(name, spec.weights, spec.precision) if kinds.is_run(spec) else Load(name)
