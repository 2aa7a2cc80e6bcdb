"""What the page asks for, measured a step at a time: each is one call of the public interface, and gives one event.

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
from measure import metrics, prompts
from measure.explore.asked import Measured, Plane, Settings, Standing, Tops
from measure.explore.served import Served
from measure.explore.turns import Event
from measure.prompts import Prompt
from measure.results import Curves
from measure.spec import MeasureError, Read, block_of

# Seconds that a step of many parts should take.
STEP = 0.3
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
        named = dict(zip(known := sorted({int(one) for one in tokens.flat}), model.spelled(known), strict=True))
        kept = {"ids": tokens.tolist(), "texts": [[named[int(one)] for one in row] for row in tokens]}
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


def _next_size(size: int, seconds: float) -> int:
    """How many parts fit into a step, by how long the last ones took."""
    return max(1, min(2 * size, int(size * STEP / max(seconds, 1e-3))))


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
    """A slice through three prompts, some rows with each event, from beta's lower end up.

    Each context runs its own reference and the cells of some rows as points of a way; see `measure.slice2d`, whose
    numbers these are but for rounding. The tokens predicted in A's context come last.
    """
    model.check_layer(asked.layer)
    ids = model.checked([asked.a, asked.b, asked.c], ["prompt A", "prompt B", "prompt C"], asked.bos)
    corners = _corners(model, ids, asked.layer)
    a, b, c = corners
    line, beside = b - a, c - a
    length = float(line @ line)
    foot = float(beside @ line) / length if length else 0.0
    up = beside - foot * line
    if not (length and np.linalg.norm(up) > 1e-5 * np.linalg.norm(beside)):
        raise MeasureError(
            "prompt C lies on the line from A to B, so there is no plane; give three prompts that differ."
        )
    at = np.linspace(-0.25, 1.25, asked.size)
    cells = a + at[None, :, None] * line + at[:, None, None] * up
    yield {
        "type": "plane", "size": asked.size, "at": plain(at), "points": [[0, 0], [1, 0], [foot, 1]],
        "corners": plain([_distances(model, ids[k], corners[k], corners, asked) for k in range(3)]),
    }  # fmt: skip
    row, some = 0, 1
    while row < asked.size:
        began = time.perf_counter()
        chosen = cells[row : row + some]
        flat = chosen.reshape(-1, chosen.shape[-1])
        sides = [_distances(model, ids[k], corners[k], flat, asked) for k in range(3)]
        yield {"type": "rows", "from": row, "distance": plain(sides)}
        row, some = row + len(chosen), _next_size(some, time.perf_counter() - began)
    yield from _cell_tokens(model, ids[0], a, cells, asked)


def _corners(model: Served, ids: Sequence[Prompt], layer: int) -> Float[np.ndarray, "3 width"]:
    """The states of three prompts after a block: what is read there at both ends of two ways."""
    seen: list[np.ndarray] = []

    def ends_of(outputs: np.ndarray, ends: np.ndarray) -> np.ndarray:
        if not seen:
            seen.append(ends)
        return np.linalg.norm(outputs - ends[:, :1], axis=-1)

    for other in ids[1:]:
        found = list(seen)
        seen.clear()
        measure.interpolate(
            model.loaded, [ids[0]], [other], layer=layer, read=f"block:{layer}", steps=5, distance=ends_of
        )
        seen[:0] = found
    return np.array([seen[0][0, 0], seen[0][0, 1], seen[1][0, 1]])


def _distances(
    model: Served,
    context: Prompt,
    own: Float[np.ndarray, " width"],
    points: Float[np.ndarray, "points width"],
    asked: Plane,
) -> Float[np.ndarray, " points"]:
    """How far the output is at some points from what it is at the context's own state."""
    given = np.concatenate([own[None], points])[None].astype(np.float32 if model.loaded.dtype.itemsize < 8 else float)
    found = measure.interpolate(model.loaded, [context], points=given, layer=asked.layer, read=asked.read)
    assert isinstance(found, Curves), "of one layer and one read"
    return found.distance[0, 1:]


def _cell_tokens(
    model: Served, context: Prompt, own: np.ndarray, cells: Float[np.ndarray, "rows columns width"], asked: Plane
) -> Iterator[Event]:
    """The most probable token at each cell, in A's context."""
    row, some = 0, 1
    while row < len(cells):
        began = time.perf_counter()
        chosen = cells[row : row + some]
        seen: list[np.ndarray] = []

        def best(outputs: np.ndarray, ends: np.ndarray, seen: list[np.ndarray] = seen) -> np.ndarray:
            if not seen:
                seen.append(outputs[0, 1:].argmax(axis=-1))
            return np.abs(outputs[..., 0] - ends[:, :1, 0])

        given = np.concatenate([own[None], chosen.reshape(-1, chosen.shape[-1])])[None].astype(np.float32)
        measure.interpolate(model.loaded, [context], points=given, layer=asked.layer, read="logits", distance=best)
        ids = seen[0].tolist()
        named = dict(zip(known := sorted(set(ids)), model.spelled(known), strict=True))
        yield {"type": "words", "from": row, "rows": len(chosen), "words": [named[one] for one in ids]}
        row, some = row + len(chosen), _next_size(some, time.perf_counter() - began)


# Before the first question


def warmed(model: Served) -> Iterator[Event]:
    """Check the fast path against the reference once for each layer, so that no page waits for it."""
    texts = [text[:2000] for text in prompts.load_corpus("default").texts[:2]]
    long = [ids[:64] for ids in model.ids(texts, False)]
    for layer in range(1, model.loaded.depth + 1):
        measure.interpolate(model.loaded, [long[0]], [long[1]], layer=layer, steps=100)
        yield {"type": "warmed", "layer": layer}
