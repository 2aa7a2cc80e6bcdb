"""A record as Plateau Lab exports it (schema 7), measured here by plain hooks and forwards, all in float64.

Its formulas are written out again, from its docs/METHOD.md: nothing of `measure` is used.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

METRICS = ("c", "relative_l2_shinkle", "relative_l2_janiak", "relative_l2_projected")


def state(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


def between(a: Tensor, b: Tensor, t: float, kind: str) -> Tensor:
    """One point between two states of one position."""
    if kind == "linear":
        return (1 - t) * a + t * b
    unit_a, unit_b = a / a.norm(), b / b.norm()
    angle = torch.acos(torch.clamp(unit_a @ unit_b, -1, 1))
    turned = (torch.sin((1 - t) * angle) * unit_a + torch.sin(t * angle) * unit_b) / torch.sin(angle)
    return turned * ((1 - t) * a.norm() + t * b.norm())


def run(network: Any, ids: list[int], layer: int, patch: dict[int, Tensor]) -> dict[str, Tensor]:
    """Every block's output at the last position from `layer` (from 0) on, and the logits; positions patched there."""
    seen: dict[str, Tensor] = {}

    def hook(number: int) -> Any:
        def watch(_: Any, __: Any, out: Any) -> Any:
            hidden = state(out).clone()
            if number == layer:
                for position, value in patch.items():
                    hidden[0, position] = value
            seen[f"all {number}"] = hidden[0]
            seen[str(number)] = hidden[0, -1]
            return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

        return watch

    blocks = network.base_model.layers
    handles = [block.register_forward_hook(hook(number)) for number, block in enumerate(blocks)]
    with torch.no_grad():
        seen["logits"] = network(input_ids=torch.tensor([ids])).logits[0, -1]
    for handle in handles:
        handle.remove()
    return seen


def record(
    network: Any,
    a: list[int],
    b: list[int],
    *,
    layer: int = 0,
    steps: int = 9,
    kind: str = "slerp",
    context: str = "a",
    position: str = "last_token",
    model: str = "mine",
    texts: dict[int, str] | None = None,
) -> dict[str, Any]:
    network = network.double()
    apart = next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y) if position != "last_token" else -1
    starts = [apart if apart >= 0 else len(side) - 1 for side in (a, b)]
    clean = [run(network, side, layer, {})[f"all {layer}"] for side in (a, b)]
    held = a if context == "a" else b
    first = starts[0 if context == "a" else 1]
    t = torch.linspace(0, 1, steps).tolist()
    found: list[dict[str, Tensor]] = []
    for at in t:
        patch = {
            first + i: between(clean[0][starts[0] + i], clean[1][starts[1] + i], at, kind)
            for i in range(len(a) - starts[0])
        }
        found.append(run(network, held, layer, patch))
    keys = [*map(str, range(layer, len(network.base_model.layers))), "logits"]
    rows = [{"key": key, "values": values([one[key] for one in found])} for key in keys]
    told = texts or {}
    pieces = [[{"id": token, "text": told.get(token, str(token))} for token in side] for side in (a, b)]
    settings = {"patch_layer": layer, "steps": steps, "interpolation": kind, "batch_size": 4, "context": context,
                "patch_position": position, "measurement_position": "last_token"}  # fmt: skip
    return {"schema_version": 7, "id": "x1", "created_at": "2026-11-01T00:00:00+00:00", "model": model,
            "model_revision": None, "dtype": "float32", "sequence_a": "A", "sequence_b": "B", "input_tokens": pieces,
            "settings": settings, "effect": {"t": t, "rows": rows}, "metrics": {}, "curves": []}  # fmt: skip


def values(z: list[Tensor]) -> dict[str, list[float] | None]:
    """Its four metrics along what was read; none where the ends are equal, or nothing moved."""
    near, far = ([float((x - end).norm()) for x in z] for end in (z[0], z[-1]))
    steps = [float((x - y).norm()) for x, y in zip(z[1:], z, strict=False)]
    way, whole = z[-1] - z[0], near[-1]
    lengths = [math.fsum(steps[:count]) for count in range(len(z))]
    kept: dict[str, list[float] | None] = dict.fromkeys(METRICS)
    if sum(steps):
        kept["c"] = [length / lengths[-1] for length in lengths]
    if whole >= 1e-8:
        kept["relative_l2_shinkle"] = [x / (x + y) for x, y in zip(near, far, strict=True)]
        kept["relative_l2_janiak"] = [x / whole for x in near]
        kept["relative_l2_projected"] = [float((x - z[0]) @ way / (way @ way)) for x in z]
    return kept
