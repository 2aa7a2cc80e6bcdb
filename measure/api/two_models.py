"""`measure.compare`: two models on the same pairs of prompts, one in memory at a time where they come by name."""

from __future__ import annotations

import gc
import hashlib
import os
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from measure.api import same_tokens
from measure.api.comparison import Comparison, Difference
from measure.api.one_model import interpolate
from measure.core.asked import course_of, positions_of, reads_of
from measure.core.distances import Own
from measure.core.inputs import check_flag, given_tokenizer
from measure.models import structure
from measure.models.loading import LoadedModel, adopt, load, named_tokenizer, read_own_config
from measure.prompts import drawn as drawing
from measure.prompts.drawn import Pairs
from measure.prompts.own_pairs import WrittenPairs
from measure.prompts.text_files import half_character
from measure.results import Curves
from measure.spec import (
    PRECISIONS,
    Interpolation,
    Intervention,
    MeasureError,
    Precision,
    Read,
    check_choice,
    check_integer,
    check_read,
    check_steps,
)

DEFAULT_PAIRS = 100
# Of a configuration, what says where a model came from or is told apart from it.
_NOT_CONFIG = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "quantization_config", "architectures")

Layers = int | Sequence[int] | Literal["all"]


@dataclass(frozen=True)
class _Asked:
    """Prompts A and B of every pair, texts or ids, and what pairs are called; or how many are to be drawn."""

    a: tuple[Any, ...] = ()
    b: tuple[Any, ...] = ()
    labels: tuple[str, ...] | None = None
    drawn: int = 0
    seed: int = 0
    bos: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompts that are texts."""
        return tuple(one for one in (*self.a, *self.b) if isinstance(one, str))


@dataclass(frozen=True)
class _Known:
    """What of a model is known beside its curves. `depth` 0: not known; `tokenizer` None: there is none, or not yet."""

    side: str
    name: str
    tokenizer: Any = None
    depth: int = 0
    told: Mapping[str, str] | None = None


def compare(
    a: Any,
    b: Any,
    prompts: Any = None,
    *,
    pairs: int | None = None,
    layer: Layers = 1,
    read: Read | None = None,
    steps: int = 50,
    path: Interpolation = "linear",
    distance: str | Own = "l2",
    patched: int | Literal["difference"] = -1,
    read_at: int = -1,
    interventions: Sequence[Intervention] = (),
    bos: bool = False,
    tokenizer: Any = None,
    precision: Precision = "float32",
    seed: int = 0,
    allow_pickle: bool = False,
) -> Comparison | dict[int, Comparison]:
    """Curves of two models, a base and what was made of it, on the same pairs: every metric's paired difference.

    `a`, `b`: models as in `measure.interpolate`. If both are given by name, one is in memory at a time.
    `prompts`: pairs (A, B) of strings or of token ids, or what `measure.pairs` returns. Left out: `pairs` disjoint
    pairs (100) of windows of 10 tokens are drawn from the corpus of this package with `seed`.
    `bos`: put the BOS in front of them. `tokenizer`: of strings, if neither model has one. `allow_pickle`: load pickled
    weights of models by name. Everything else is as in `measure.interpolate`.

    Returns a `Comparison`, or a dict by layer of several layers: medians of each model and of its nulls, the median
    over independent pairs of b minus a with its 95 % interval, and what else the two models differ in. No verdict.
    Raises `MeasureError` if the two read prompts as different token ids, if one has no such layer, and as
    `measure.interpolate` does: before anything is measured, as far as that can be known.
    """
    measuring = _measuring(
        {"read": read, "steps": steps, "path": path, "distance": distance, "patched": patched, "read_at": read_at},
        interventions,
    )
    check_choice("precision", precision, PRECISIONS)
    check_flag("bos", bos)
    asked, layers = _asked(prompts, pairs, check_integer("seed", seed), bool(bos)), _layers(layer)
    given = given_tokenizer(tokenizer)
    models = [_adopted(one, precision) for one in (a, b)]
    known = [_preview(side, one) for side, one in zip("ab", models, strict=True)]
    _check_alike(known, asked, layers)
    found = []
    for place, model in enumerate(models):
        loaded = load(model, precision=precision, allow_pickle=allow_pickle) if isinstance(model, str) else model
        known[place] = _described("ab"[place], loaded, model)
        _check_alike(known, asked, layers)
        wanted = layers or list(range(1, loaded.depth + 1))
        found.append(_measured(loaded, asked, wanted, _chosen(given, known), measuring))
        # Before the next one is loaded.
        del loaded
        _free()
    told, (first, second) = _differences(*known), found
    compared = {number: Comparison(first[number], second[number], told, asked.labels) for number in first}
    return compared if isinstance(layer, str | Iterable) else compared[layers[0]]


def _measuring(asked: Mapping[str, Any], interventions: Any) -> dict[str, Any]:
    """How both models are measured, checked as far as it can be without them."""
    check_steps(check_integer("steps", asked["steps"]))
    if asked["read"] is not None:
        check_read(asked["read"])
    [read] = reads_of(asked["read"], asked["distance"])
    check_integer("read_at", asked["read_at"])
    positions_of(asked["read_at"])
    course_of(asked["path"], None, asked["distance"], asked["patched"], asked["steps"], interventions)
    return {**asked, "read": read, "interventions": interventions}


def _chosen(given: Any, known: Sequence[_Known]) -> Any:
    """The tokenizer that prompts of both models are read with."""
    return next((one for one in (given, *(model.tokenizer for model in known)) if one is not None), None)


def _free() -> None:
    """Give back what a model held that nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# What is asked


def _layers(given: Any) -> list[int]:
    """The layers asked for; none for all there are."""
    if isinstance(given, str):
        check_choice("layer", given, ("all",))
        return []
    found = [check_integer("layer", one) for one in (given if isinstance(given, Iterable) else [given])]
    if not found:
        raise MeasureError("layer is empty; expected a number, several, or 'all'.")
    return list(dict.fromkeys(found))


def _asked(given: Any, pairs: int | None, seed: int, bos: bool) -> _Asked:
    if given is None:
        count = DEFAULT_PAIRS if pairs is None else check_integer("pairs", pairs)
        if count < 1 or seed < 0:
            wrong = f"pairs={count}" if count < 1 else f"seed={seed}"
            raise MeasureError(f"{wrong}: expected at least {1 if count < 1 else 0}, to draw pairs by.")
        return _Asked(drawn=count, seed=seed, bos=bos)
    if pairs is not None:
        raise MeasureError(f"pairs={pairs!r} counts pairs that are drawn, and prompts are given too; leave one out.")
    if isinstance(given, WrittenPairs):
        return _Asked(given.a, given.b, given.labels, bos=bos)
    if isinstance(given, Pairs):
        return _Asked(given.a, given.b, bos=bos)
    if isinstance(given, str | bytes | os.PathLike | Mapping | set | frozenset) or not isinstance(given, Iterable):
        hint = f"; for a set or file by name write measure.pairs({given!r})" if isinstance(given, str) else ""
        raise MeasureError(f"prompts is a {type(given).__name__}; expected a list of pairs (A, B), or pairs=N{hint}.")
    rows = [_pair(number, row) for number, row in enumerate(given)]
    if not rows:
        raise MeasureError("prompts is empty; give at least one pair (A, B).")
    return _Asked(tuple(a for a, _ in rows), tuple(b for _, b in rows), bos=bos)


def _pair(number: int, row: Any) -> tuple[Any, Any]:
    """One pair that was handed over."""
    single = isinstance(row, str | bytes | Mapping | set | frozenset) or not isinstance(row, Iterable)
    sides = [] if single or getattr(row, "ndim", 1) == 0 else list(row)
    # Two numbers are a prompt of two tokens, and half a pair.
    if len(sides) != 2 or not all(isinstance(side, str) or _is_row(side) for side in sides):
        raise MeasureError(
            f"prompts[{number}] is {reprlib.repr(row)}; expected a pair (A, B) of strings or of token ids."
        )
    first, second = (side if isinstance(side, str) or not hasattr(side, "tolist") else side.tolist() for side in sides)
    return first, second


def _is_row(side: Any) -> bool:
    """Whether something may be a prompt's token ids; what is wrong in it is told when it is measured."""
    return isinstance(side, Iterable) and getattr(side, "ndim", 1) > 0


# What is known of the models, and whether they can be compared


def _adopted(given: Any, precision: Precision) -> str | LoadedModel:
    """A model by its name as it is, a loaded one as what is measured."""
    if isinstance(given, LoadedModel):
        return given
    return os.fspath(given) if isinstance(given, str | os.PathLike) else adopt(given, None, precision)


def _preview(side: str, model: str | LoadedModel) -> _Known:
    """What can be known of a model before its weights are read."""
    if isinstance(model, LoadedModel):
        return _described(side, model, model)
    depth = structure.depth_of(read_own_config(model))
    try:
        tokenizer = named_tokenizer(model)
    # It has none, or one that cannot be read: loading tells.
    except MeasureError:
        tokenizer = None
    return _Known(side, model, tokenizer, depth)


def _described(side: str, loaded: LoadedModel, given: str | LoadedModel) -> _Known:
    stored = read_own_config(given) if isinstance(given, str) else loaded.network.config
    template = getattr(loaded.tokenizer, "chat_template", None)
    told = {
        "weights": loaded.sha256[:12],
        "revision": loaded.commit[:12] or loaded.revision,
        "parameters": f"{sum(one.numel() for one in loaded.network.parameters()):,}",
        "stored in": str(getattr(stored, "dtype", None) or loaded.dtype).removeprefix("torch."),
        "measured in": str(loaded.dtype).removeprefix("torch."),
        "device": str(loaded.device),
        "quantisation": _quantisation(loaded),
        "adapters": loaded.adapters or "none",
        "chat template": _template(template),
        **_config(loaded.network.config),
    }
    return _Known(side, loaded.name, loaded.tokenizer, loaded.depth, told)


def _quantisation(loaded: LoadedModel) -> str:
    for form, card in loaded.packed.items():
        return ", ".join([form.upper(), *map(str, card.get("types") or ()), "unpacked"])
    found = getattr(loaded.network.config, "quantization_config", None)
    return str(dict(found).get("quant_method", "yes")) if found else "none"


def _template(template: Any) -> str:
    if template is None:
        return "none"
    text = str(template)
    return f"{len(text)} characters, sha256 {hashlib.sha256(text.encode(errors='replace')).hexdigest()[:12]}"


def _config(config: Any) -> dict[str, str]:
    """Every field of a configuration, those within others by their path."""
    found: dict[str, str] = {"config.attention": str(getattr(config, "_attn_implementation", None))}
    left = [("config", config.to_dict())]
    while left:
        path, fields = left.pop()
        for name, value in fields.items():
            if isinstance(value, Mapping):
                left.append((f"{path}.{name}", value))
            elif name not in _NOT_CONFIG:
                found[f"{path}.{name}"] = reprlib.repr(value)
    return found


def _differences(a: _Known, b: _Known) -> tuple[Difference, ...]:
    first, second = a.told or {}, b.told or {}
    names = dict.fromkeys([*first, *sorted(second)])
    found = [
        Difference(name, first.get(name, "not there"), second.get(name, "not there"))
        for name in names
        if first.get(name) != second.get(name)
    ]
    if (tokens := same_tokens.told(a.tokenizer, b.tokenizer)) is not None:
        found.insert(0, Difference("tokenizer", *tokens))
    # Weights first.
    return tuple(sorted(found, key=lambda one: one.what != "weights"))


def _check_alike(known: Sequence[_Known], asked: _Asked, layers: Sequence[int]) -> None:
    """Raise `MeasureError` where two models cannot be compared, as far as it is known by now."""
    a, b = known
    if a.depth and b.depth:
        _check_layers(a, b, layers)
    if a.tokenizer is None or b.tokenizer is None:
        return
    tokenizers = a.tokenizer, b.tokenizer
    # Half a character is refused when it is measured, and no tokenizer reads it.
    given = tuple(text for text in asked.texts if not half_character(text))
    texts = drawing.load_corpus("default").texts if asked.drawn else given
    apart, used = "", _given_ids(asked)
    if texts:
        apart = same_tokens.read_apart(*tokenizers, texts, bos=asked.bos)
        used |= {token for row in drawing.tokenize(a.tokenizer, texts) for token in row}
    if apart := apart or same_tokens.conflict(*tokenizers, used):
        raise MeasureError(
            f"the tokenizers of a ({a.name}) and b ({b.name}) differ: {apart}; give two models that read prompts as "
            "the same token ids, or measure each on its own prompts (measure.interpolate)."
        )


def _given_ids(asked: _Asked) -> set[int]:
    """Ids in prompts that were handed over as ids; what is none is refused when it is measured."""
    found = set()
    for prompt in (*asked.a, *asked.b):
        # Of no prompt at all, or of a tensor elsewhere, arrays cannot be made.
        with suppress(ValueError, TypeError, RuntimeError):
            values = np.asarray(prompt.detach().cpu() if isinstance(prompt, torch.Tensor) else prompt)
            found |= set(values.ravel().tolist()) if values.dtype.kind in "iu" else set()
    return found


def _check_layers(a: _Known, b: _Known, layers: Sequence[int]) -> None:
    if not layers and a.depth != b.depth:
        raise MeasureError(
            f"layer='all': a ({a.name}) has {a.depth} blocks and b ({b.name}) {b.depth}; name the layers, from 1 to "
            f"{min(a.depth, b.depth)}."
        )
    for one in (a, b):
        if wrong := [number for number in layers if not 1 <= number <= one.depth]:
            raise MeasureError(
                f"layer={wrong[0]}: {one.side} ({one.name}) has {one.depth} blocks; layers are counted from 1 ('after "
                f"the first layer' is layer=1), so choose 1 to {min(a.depth, b.depth)}."
            )


# Measuring


def _measured(
    loaded: LoadedModel, asked: _Asked, layers: Sequence[int], tokenizer: Any, measuring: Mapping[str, Any]
) -> dict[int, Curves]:
    first, second = _drawn(asked, tokenizer) if asked.drawn else (asked.a, asked.b)
    # Drawn prompts are ids that have it already.
    bos = asked.bos and not asked.drawn
    found = interpolate(loaded, first, second, layer=list(layers), bos=bos, tokenizer=tokenizer, **measuring)
    assert isinstance(found, dict)
    if not asked.drawn:
        return found
    origin = {"corpus": "default", "seed": asked.seed, "bos": asked.bos}
    return {number: replace(one, provenance={**one.provenance, **origin}) for number, one in found.items()}


def _drawn(asked: _Asked, tokenizer: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Disjoint pairs of windows of the corpus that this package ships."""
    if tokenizer is None:
        raise MeasureError(
            "neither model has a tokenizer to draw prompts with; pass tokenizer=, or prompts as token ids."
        )
    rows = drawing.windows(drawing.load_corpus("default"), tokenizer, 2 * asked.drawn, asked.seed)
    if asked.bos:
        front = getattr(tokenizer, "bos_token_id", None)
        if front is None:
            raise MeasureError("bos=True, but this tokenizer has no BOS token; leave bos=False.")
        rows = tuple((front, *row) for row in rows)
    return rows[: asked.drawn], rows[asked.drawn :]
