"""What the page asks for, measured a step at a time: each gives one event. Curves come by the public interface alone.

Steps are kept below some tenths of a second where that can be, so that pages take turns and a newer question does not
wait long for an older one. Numbers go out as they came, to the last digit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

import measure
from measure.core import agreement
from measure.explore import planes
from measure.explore.asked import MOST_STEPS, Measured, Plane, Settings, Standing, Tops
from measure.explore.served import Served
from measure.explore.turns import Event
from measure.prompts import drawn as prompts
from measure.prompts.drawn import Prompt
from measure.results import Curves, metrics
from measure.spec import MeasureError, Read, block_of

# Seconds that a step of many parts should take.
STEP = 0.3
# Seconds that cells in one context may take: on a small model they reach the most that run together long before.
CELLS = 0.8
# Tokens told at each point.
TOPS = 3


def plain(values: Any) -> Any:
    """Arrays and numbers as JSON has them: what is no number is none."""
    array = np.asarray(values, dtype=float)
    if array.ndim:
        return [plain(one) for one in array] if array.ndim > 1 else [plain(one) for one in array.tolist()]
    return float(array) if np.isfinite(array) else None


# Curves


def curves(model: Served, asked: Measured) -> Iterator[Event]:
    """A curve for each pair after each layer, the layers in the order in which they were asked for."""
    for layer in asked.layers:
        model.check_layer(layer)
    for layer in asked.layers:
        for number, (a, b) in enumerate(asked.pairs):
            names = [f"prompt {side}" + (f" of pair {number + 1}" if len(asked.pairs) > 1 else "") for side in "AB"]
            ids = model.checked([a, b], names, asked.bos)
            yield {**curve(model, ids, layer, asked), "type": "curve", "pair": number, "layer": layer}


def curve(model: Served, ids: Sequence[Prompt], layer: int, asked: Settings) -> Event:
    """One curve, as `measure.interpolate` gives it."""
    key = ("curve", *ids, layer, asked.read, asked.path, asked.distance, asked.steps)
    if (kept := model.kept.get(key)) is None:
        began = time.perf_counter()
        found = _interpolated(model, [ids[0]], [ids[1]], layer, asked)
        kept = {**_told(found), "seconds": time.perf_counter() - began, "tokens": [len(one) for one in ids]}
        model.kept.put(key, kept)
    return dict(kept)


def _interpolated(model: Served, a: list[Prompt], b: list[Prompt], layer: int, asked: Settings) -> Curves:
    _check_read(model, asked.read, layer)
    found = measure.interpolate(
        model.loaded, a, b, layer=layer, read=asked.read, steps=asked.steps, path=asked.path, distance=asked.distance
    )
    assert isinstance(found, Curves), "of one layer and one read"
    return found


def _check_read(model: Served, read: Read, layer: int) -> None:
    block = block_of(read)
    if block is not None and not layer <= block <= model.loaded.depth:
        raise MeasureError(
            f"block {block} cannot be read after a patch behind block {layer}: choose {layer} to {model.loaded.depth}."
        )


def _told(found: Curves) -> Event:
    """The one curve of a result."""
    null = found.null
    return {
        "alphas": plain(found.alphas),
        "distance": plain(found.distance[0]),
        "relative": plain(found.relative[0]),
        "null": plain(null.relative[0]),
        "speed": plain(found.speed[0]),
        "null_speed": plain(null.speed[0]),
        "metrics": {name: [plain(getattr(side, name)[0]) for side in (found, null)] for name in metrics.NAMES},
        "degenerate": bool(found.degenerate[0]),
        "way": found.provenance.get("path"),
    }


# Predictions along a curve


def tops(model: Served, asked: Tops) -> Iterator[Event]:
    """The most probable next tokens at every point of one pair's way, with their probabilities."""
    model.check_layer(asked.layer)
    ids = model.checked([asked.a, asked.b], ["prompt A", "prompt B"], asked.bos)
    key = ("tops", *ids, asked.layer, asked.path, asked.steps)
    if (kept := model.kept.get(key)) is None:
        seen: list[tuple[np.ndarray, np.ndarray]] = []

        def probable(outputs: np.ndarray, ends: np.ndarray) -> np.ndarray:
            # Asked first with the curve's own logits, and then with the null's.
            if not seen:
                seen.append(_most_probable(outputs[0]))
            return np.abs(outputs[..., 0] - ends[:, :1, 0])

        measure.interpolate(
            model.loaded, [ids[0]], [ids[1]], layer=asked.layer, read="logits", steps=asked.steps, path=asked.path,
            distance=probable,
        )  # fmt: skip
        tokens, shares = seen[0]
        texts = np.array(_words(model, tokens.ravel().tolist()), object).reshape(tokens.shape)
        kept = {"ids": tokens.tolist(), "texts": texts.tolist()}
        kept["shares"] = plain(shares)
        model.kept.put(key, kept)
    yield {**kept, "type": "tops", "layer": asked.layer}


def _most_probable(logits: Float[np.ndarray, "points tokens"]) -> tuple[np.ndarray, np.ndarray]:
    """Ids and probabilities of the most probable tokens at each point, (points, 3) each."""
    best = np.argpartition(-logits, TOPS, axis=1)[:, :TOPS]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(logits, best, axis=1), axis=1), axis=1)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return best, np.take_along_axis(shares, best, axis=1) / shares.sum(axis=1, keepdims=True)


# Where a pair stands


def standing(model: Served, asked: Standing) -> Iterator[Event]:
    """The metrics of independent random pairs of the package's corpus, more of them with each event."""
    model.check_layer(asked.layer)
    pairs = _random_pairs(model, asked.count, asked.bos)
    key = ("standing", asked.count, asked.layer, asked.read, asked.path, asked.distance, asked.steps, asked.bos)
    # What an earlier question found, to be gone on with.
    found: dict[str, list[list[float | None]]] = model.kept.get(key) or {name: [] for name in metrics.NAMES}
    model.kept.put(key, found)
    some, told = 1, 0
    while True:
        done = len(found[metrics.NAMES[0]])
        more = {name: values[told:done] for name, values in found.items()}
        yield {"type": "standing", "of": len(pairs), "from": told, "more": more, "layer": asked.layer}
        if done >= len(pairs):
            return
        # Another page may have asked for the same meanwhile.
        began, told, done = time.perf_counter(), done, len(found[metrics.NAMES[0]])
        rows = range(done, min(done + some, len(pairs)))
        if not rows:
            continue
        sides = [[side[row] for row in rows] for side in (pairs.a, pairs.b)]
        measured = _interpolated(model, sides[0], sides[1], asked.layer, asked)
        for name in metrics.NAMES:
            values = zip(plain(getattr(measured, name)), plain(getattr(measured.null, name)), strict=True)
            found[name] += [list(pair) for pair in values]
        some = _next_size(some, time.perf_counter() - began)


def _next_size(size: int, seconds: float, step: float = STEP) -> int:
    """How many parts fit into a step, by how long the last ones took; no more than twice as many."""
    return max(1, min(2 * size, int(size * step / max(seconds, 1e-3))))


def _random_pairs(model: Served, count: int, bos: bool) -> prompts.Pairs:
    key = ("pairs", count, bos)
    if (kept := model.kept.get(key)) is None:
        corpus = prompts.load_corpus("default")
        # Chained: every second pair is independent of the others.
        with model.lock:
            drawn = prompts.draw(
                corpus, model.tokenizer, "paper", 2 * count, 0, "random_with_bos" if bos else "random"
            ).independent()
        kept = prompts.Pairs(drawn.a[:count], drawn.b[:count], drawn.units[:count])
        model.kept.put(key, kept)
    assert isinstance(kept, prompts.Pairs)
    return kept


# Slices


def plane(model: Served, asked: Plane) -> Iterator[Event]:
    """A slice through three prompts, some rows at a time from beta's lower end up, each context a step of its own.

    Its numbers are those of `measure.slice2d` but for rounding. With each part come the tokens predicted in A's
    context.
    """
    model.check_layer(asked.layer)
    ids = model.checked([asked.a, asked.b, asked.c], ["prompt A", "prompt B", "prompt C"], asked.bos)
    at = np.linspace(-0.25, 1.25, asked.size)
    laid = planes.laid(model.loaded, ids, asked.layer, asked.read, at)
    yield {"type": "plane", "size": asked.size, "at": plain(at), "points": [[0, 0], [1, 0], [laid.foot, 1]]}
    before: list[planes.Part | None] = [None, None, None]
    row, some = 0, 1
    while row < asked.size:
        cells, slowest = laid.cells[row : row + some].flatten(0, 1), 0.0
        for place in range(3):
            # Of the processor: by the clock a busy machine would be given small parts, which cost it twice as much.
            began = time.thread_time()
            part = before[place] = planes.part(laid, place, cells, before[place])
            more = {"words": _words(model, planes.top_tokens(laid, part.residual))} if place == 0 else {}
            slowest = max(slowest, time.thread_time() - began)
            if place < 2:
                yield {"type": "words" if more else "part", "from": row, **more}
        yield {"type": "rows", "from": row, "distance": plain([one.distance for one in before if one is not None])}
        row += some
        some = min(_next_size(some, slowest, CELLS), max(1, planes.MOST_CELLS // asked.size))


def _words(model: Served, ids: Sequence[int]) -> list[str]:
    """Tokens as text, each spelled once."""
    named = dict(zip(known := sorted(set(ids)), model.spelled(known), strict=True))
    return [named[one] for one in ids]


# Before the first question


def warmed(model: Served) -> Iterator[Event]:
    """Check the fast path against the reference once for each layer, so that no page waits for it."""
    texts = [text[:2000] for text in prompts.load_corpus("default").texts[:2]]
    a, b = [ids[:64] for ids in model.ids(texts, False)]
    for layer in range(1, model.loaded.depth + 1):
        # For as many points as the page's curves have, and steps of its slices.
        agreement.choose_path(model.loaded, [a], [b], layer, ["final_norm"], MOST_STEPS)
        yield {"type": "warmed", "layer": layer}
