"""What one pytest process measures for its tests, and the rows of the records that come of it."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from measure import catalog, kinds
from measure.base.progress import Pace
from measure.harness import recording, spread
from measure.harness.engines.drawing import prompts_of
from measure.harness.engines.in_process import InProcess
from measure.harness.engines.store import Store
from measure.harness.engines.work import Shard
from measure.harness.options import OWN_PAIRS
from measure.hub import known
from measure.kinds import rows
from measure.kinds.rows import Header, Machine, ResultRow, Row
from measure.models import loading as models
from measure.prompts import own_pairs
from measure.report import records
from measure.results import Result
from measure.shown import Places, one_line
from measure.spec import DEFAULT_PAIRS, AnySpec, MeasureError

# Options that change what every spec asks for.
_SAMPLE = ("pairs", "protocol", "corpus", "precision", "seed")
# By where a model comes from, how many pairs of curves are drawn where a spec asks for the usual number. Of the hub's
# as many as the paper has; of the index's, which are measured on two cores, half of the ladder's: 200 independent ones.
PAIRS: dict[str, int] = {"hub": 1000, "index": DEFAULT_PAIRS // 2}


def _usual_pairs(spec: AnySpec) -> int | None:
    """The number of pairs that is usual for a spec's model; None where the spec's own stands."""
    usual = kinds.takes_pairs(spec) and kinds.of(spec).chooses_rows and spec.pairs == DEFAULT_PAIRS
    known = catalog.models().get(spec.ref.name)
    return PAIRS.get(known.source) if usual and known is not None else None


def decoded(tokenizer: Any, prompt: Sequence[int]) -> str:
    """A prompt as text, each of its tokens as it stands."""
    return str(tokenizer.decode(list(prompt), skip_special_tokens=False, clean_up_tokenization_spaces=False))


@cache
def _token_texts(model: str) -> kinds.Texts | None:
    """The texts of a model's tokens by their ids; None where it has no fast tokenizer at hand."""
    from tokenizers import Tokenizer

    reference = catalog.resolve(model)
    hub = reference.source == "hub"
    folder = models.fetch(reference, weights=False).folder if hub else models.local_folder(reference)
    path = models.tokenizer_file(reference, folder)
    if path is None:
        return None
    tokenizer = Tokenizer.from_file(str(path))
    return lambda ids: [tokenizer.decode([number], skip_special_tokens=False) for number in ids]


def places(config: pytest.Config) -> Places:
    """How paths are written in what a run leaves behind; the models of the catalog are those that it named."""
    named = [config.getoption(f"--{name}") for name in ("corpus", "pairs-from", "store", "records")]
    named += [model.location for model in catalog.models().values() if model.origin == "added"]
    return Places(config.rootpath, tuple(filter(None, named)))


def effective(config: pytest.Config, spec: AnySpec, read: str | None = None) -> AnySpec:
    """`spec` under a run's options, and the read that --protocol strict asks for."""
    given = {name: config.getoption(f"--{name}") for name in _SAMPLE} | {"read": read}
    if OWN_PAIRS in config.stash and own_pairs.lacking(spec) is None:
        given["corpus"] = config.stash[OWN_PAIRS]
    else:
        given["pairs"] = given["pairs"] or _usual_pairs(spec)
    fields = {field.name for field in dataclasses.fields(spec)}
    return dataclasses.replace(spec, **{n: value for n, value in given.items() if value is not None and n in fields})


class Harness:
    """What a process measures for its tests. `emit` takes each row of the records as it comes."""

    def __init__(self, config: pytest.Config, emit: Callable[[Row], None]) -> None:
        self.config = config
        refresh = config.getoption("--refresh")
        folder = Path(config.getoption("--store") or config.rootpath / ".store")
        self.store = Store(folder, refreshing=refresh is not None, dry=(refresh or "").startswith("dry"))
        self.engine = spread.engine_for(config, self.store, self._progress, self._begin)
        self.emit = emit
        self._places = places(config)
        self._done = 0
        self._pace = Pace()
        self._tokenizers: dict[str, Any] = {}
        self._rows: dict[AnySpec, ResultRow] = {}

    def effective(self, spec: AnySpec, read: str | None = None) -> AnySpec:
        """`spec` under this session's options, and the read that --protocol strict asks for."""
        return effective(self.config, spec, read)

    def told(self, spec: AnySpec) -> AnySpec:
        """A spec as the records name it: without the folders of this machine."""
        return recording.told(spec, self._places)

    def gather(self, asked: Iterable[AnySpec], read: str | None) -> None:
        """Take note of what a test will ask for."""
        self.engine.gather(self.effective(spec, read) for spec in asked)

    def measured(self, asked: AnySpec, read: str | None = None) -> Result | catalog.Shape:
        """The result of a spec; the first one asked of a model measures all that were gathered for it.

        Raises `NotMeasuredError` for what the world denies, `MeasureError` for what is wrong.
        """
        outcome = self.engine.outcome(self.effective(asked, read))
        self._show("")
        if isinstance(outcome, Exception):
            # Anew, without the frames of whoever asked before.
            raise type(outcome)(str(outcome))
        return outcome

    def _progress(self, spec: AnySpec, how: str) -> None:
        self._done += 1
        # Known by now: an engine reports a spec once it has its outcome.
        outcome = self.engine.outcome(spec)
        row = self._rows.get(spec) if isinstance(outcome, Result) else None
        if row is None:
            texts, prompts = self._texts(spec), self._prompts(spec, outcome)
            row = recording.of_result(self.told(spec), how, outcome, texts, prompts)
        if isinstance(self.engine, Shard) and isinstance(outcome, Result):
            # The one that judges tells once more of what it measured.
            self._rows[spec] = row
        self.emit(dataclasses.replace(row, how=how))
        self._show(self._counted(f"{how} {spec.id}"))

    def _begin(self, what: str) -> None:
        self._show(self._counted(what))

    def _counted(self, what: str) -> str:
        return one_line(f"[{self._done} of at most {sum(map(len, self.engine.gathered.values()))}] {what}")

    def _show(self, line: str) -> None:
        """Write over the terminal's present line, around pytest's capture; where there is none, a line now and then."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        if reporter is None or capture is None:
            return
        with capture.global_and_fixture_disabled():
            if reporter.isatty:
                reporter.rewrite(line, erase=True)
                reporter.rewrite("")
            elif line and self._pace.is_due():
                reporter.ensure_newline()
                reporter.write_line(line)

    def _texts(self, spec: AnySpec) -> kinds.Texts | None:
        try:
            return _token_texts(spec.model) if kinds.of(spec).tokens else None
        # A record without the texts of tokens is better than no record.
        except (MeasureError, OSError):
            return None

    def _prompts(self, spec: AnySpec, outcome: object) -> Sequence[tuple[str, ...]]:
        """Each row's prompts as text, where the records keep them and they can be told."""
        if not (kinds.is_run(spec) and isinstance(outcome, Result) and recording.keeps_prompts(spec, outcome)):
            return ()
        try:
            if spec.model not in self._tokenizers:
                self._tokenizers[spec.model] = models.named_tokenizer(spec.model)
            tokenizer = self._tokenizers[spec.model]
            rows = prompts_of(spec, outcome, tokenizer)
        # A record without prompts is better than no record.
        except (MeasureError, OSError):
            return ()
        return [tuple(decoded(tokenizer, prompt) for prompt in row) for row in rows]

    def share(self) -> str | None:
        """Under --shard, measure what falls to this process; None where it judges, else a sentence on why it does not.

        Raises `MeasureError` where it cannot take part.
        """
        return self.engine.share() if isinstance(self.engine, Shard) else None

    def judged(self, written: Path | None) -> None:
        """Under --shard, tell the others that all is judged, and where the records are."""
        if isinstance(self.engine, Shard):
            self.engine.end(written)

    def close(self) -> None:
        """Stop fetching, and clear away what killed runs left in the store."""
        self.engine.close()
        # A store of many workers is large, and each sweeps the folders that it writes into.
        if isinstance(self.engine, InProcess):
            self.store.sweep()


def header(config: pytest.Config, tests: int, names: Iterable[str]) -> Header:
    """What was asked, of which models, with what."""
    import torch

    asked = {name: config.getoption(f"--{name}") for name in ("models", "pairs", "corpus", "precision", "seed")}
    wanted = set(names)
    versions = {"measure": "stable-regions", **{name: name for name in ("torch", "transformers", "numpy")}}
    return Header(
        format=records.FORMAT,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        arguments=tuple(map(str, config.invocation_params.args)),
        tests=tests,
        protocol=config.getoption("--protocol") or "paper",
        pairs_from=config.stash.get(OWN_PAIRS, None),
        **asked,
        code=known.source_hash()[: rows.CODE],
        catalog={name: recording.of_model(model) for name, model in catalog.models().items() if name in wanted},
        versions={name: metadata.version(package) for name, package in versions.items()}
        | {"python": platform.python_version()},
        machine=Machine(
            system=platform.system(),
            processor=platform.machine(),
            cores=os.cpu_count(),
            accelerator=torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        ),
    )
