"""The models that the page may ask for, those named on the command line: loaded, tokenised for, told of."""

from __future__ import annotations

import copy
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from measure.core import inputs
from measure.distances import DISTANCES
from measure.explore import asked
from measure.models.loading import LoadedModel, load
from measure.prompts import drawn as prompts
from measure.prompts.drawn import Prompt
from measure.results import metrics
from measure.spec import INTERPOLATIONS, READS, MeasureError, Precision

V = TypeVar("V")
# What is measured already is shown again without being measured; some 15 kB a curve.
KEPT = 600


class Kept(Generic[V]):
    """The values that were asked for last, so many at most."""

    def __init__(self, most: int = KEPT) -> None:
        self._most, self._held, self._lock = most, OrderedDict[Hashable, V](), threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Hashable) -> V | None:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: Hashable, value: V) -> None:
        with self._lock:
            self._held[key] = value
            while len(self._held) > self._most:
                self._held.popitem(last=False)


@dataclass(frozen=True, eq=False)
class Served:
    """One model, its tokenizer twice: texts are shown as tokens while another thread measures."""

    name: str
    loaded: LoadedModel
    tokenizer: Any
    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: Kept[Any] = field(default_factory=Kept)

    def ids(self, texts: Sequence[str], bos: bool) -> list[Prompt]:
        """Texts as token ids."""
        with self.lock:
            return list(prompts.tokenize(self.tokenizer, texts, bos=bos))

    def tokens(self, text: str, bos: bool) -> list[dict[str, Any]]:
        """A text as tokens: id, text, whether it is special. Raises `MeasureError` for what is no whole text."""
        if not text:
            return []
        asked.check_prompt("the prompt", text)
        with self.lock:
            (ids,) = prompts.tokenize(self.tokenizer, [text], bos=bos)
            special = set(getattr(self.tokenizer, "all_special_ids", ()))
            return [{"id": one, "text": self._spelled(one), "special": one in special} for one in ids]

    def spelled(self, ids: Sequence[int]) -> list[str]:
        """Tokens as text."""
        with self.lock:
            return [self._spelled(one) for one in ids]

    def _spelled(self, number: int) -> str:
        text = str(self.tokenizer.decode([number]))
        # A part of a character has no text of its own.
        return str(self.tokenizer.convert_ids_to_tokens(number)) if "\N{REPLACEMENT CHARACTER}" in text else text

    def checked(self, texts: Sequence[str], names: Sequence[str], bos: bool) -> list[Prompt]:
        """Prompts as token ids. Raises `MeasureError` for one that is empty, no text, or too long to be looked at."""
        for text, name in zip(texts, names, strict=True):
            asked.check_prompt(name, text)
        for ids, name in zip(self.ids(texts, bos), names, strict=True):
            if len(ids) > asked.MOST_TOKENS:
                raise MeasureError(
                    f"{name} has {len(ids):,} tokens; the page takes {asked.MOST_TOKENS}. Longer ones can be measured "
                    "by measure.interpolate."
                )
        return [self._checked(name, text, bos) for text, name in zip(texts, names, strict=True)]

    def _checked(self, name: str, text: str, bos: bool) -> Prompt:
        """One prompt as token ids, checked as `measure.interpolate` checks it."""
        try:
            with self.lock:
                return inputs.token_ids(name, [text], self.tokenizer, bos, self.loaded)[0]
        except MeasureError as error:
            raise MeasureError(str(error).replace(f"{name}[0]", name)) from None

    def check_layer(self, layer: int) -> None:
        """Raise `MeasureError` for a layer that the model has not."""
        if not 1 <= layer <= self.loaded.depth:
            raise MeasureError(f"layer {layer} was asked for; {self.name} has blocks 1 to {self.loaded.depth}.")

    @property
    def told(self) -> dict[str, Any]:
        """What the page shows of the model."""
        one = self.loaded
        return {
            "name": self.name,
            "revision": one.revision,
            "layers": one.depth,
            "context": one.context,
            "width": one.shape.hidden,
            "dtype": str(one.dtype).removeprefix("torch."),
            "device": one.device.type,
            "bos": getattr(one.tokenizer, "bos_token_id", None) is not None,
            "weights_sha256": one.sha256,
        }


def served(name: str, *, precision: Precision, allow_pickle: bool) -> Served:
    """Load one model. Raises `MeasureError` as `models.load` does, and for one without a tokenizer."""
    loaded = load(name, precision=precision, allow_pickle=allow_pickle)
    if loaded.tokenizer is None:
        lacking = loaded.no_tokenizer or "it came without a tokenizer"
        raise MeasureError(f"{name} cannot be explored by text: {lacking}; put one into its folder.")
    return Served(name, loaded, copy.deepcopy(loaded.tokenizer))


def digest(models: Sequence[Served]) -> str:
    """Which models these are, in their order: a page that goes on after a restart asks for them by number."""
    told = [(one.name, one.loaded.revision, one.loaded.sha256, str(one.loaded.dtype)) for one in models]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def about(models: Sequence[Served]) -> dict[str, Any]:
    """What the page is told when it opens: the models, the choices, the bounds, the metrics with their formulas."""
    table = [
        {"name": one.name, "label": one.label, "formula": one.formula, "straight": one.straight, "blind": one.blind}
        for one in metrics.CURVES
    ]
    limits = {
        "tokens": asked.MOST_TOKENS,
        "pairs": asked.MOST_PAIRS,
        "steps": asked.MOST_STEPS,
        "cells": asked.MOST_CELLS,
    }
    return {
        "served": digest(models),
        "models": [one.told for one in models],
        "reads": READS,
        "paths": INTERPOLATIONS,
        "distances": DISTANCES,
        "metrics": table,
        "limits": limits,
    }
