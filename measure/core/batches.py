"""How many positions go into a forward: rows of points, chunks of pairs, and less where memory is short."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from measure.core import forward
from measure.core.course import USUAL, Course
from measure.models.loading import LoadedModel
from measure.prompts.drawn import Prompt
from measure.spec import NotMeasuredError

# Points in a row at least: in shorter ones what a cut saves is lost again in copies (benchmarks/README.md).
ROW = 128

# Logits held at a time, in numbers: 128 MB in float32, of which some copies are made. Twice as many gain a twentieth of
# the time at most, and take half a gigabyte more in each process.
LOGIT_VALUES = 2**25


def rows_of(points: int, earlier: int, width: int) -> int:
    """Into how many rows of a batch a prompt's points are cut.

    All in one, attention costs the square of their number; in many, the positions before them run many times. With
    24 width^2 operations for a position in a block and 4 width for each pair of positions, rows of
    sqrt(earlier (6 width + earlier)) cost least; none gets shorter than that, or than `ROW`.
    """
    return max(1, int(points / max(ROW, (earlier * (6 * width + earlier)) ** 0.5)))


def positions_of(model: LoadedModel, tokens: int, points: int, tail: int = 1) -> int:
    """How many positions run for a prompt of so many tokens and its points, each of `tail` positions."""
    return tail * points + rows_of(tail * points, tokens - tail, model.shape.hidden) * (tokens - tail)


def in_rows(points: Float[Tensor, "prompts points width"], rows: int, more: int) -> Float[Tensor, "rows some width"]:
    """Each prompt's points cut into as many rows of one length, `more` than they need; its last point fills them up."""
    prompts, count, width = points.shape
    size = -(-count // rows) + more
    filled = torch.cat([points, points[:, -1:].expand(-1, rows * size - count, -1)], dim=1)
    return filled.reshape(prompts * rows, size, width)


def together(
    found: Shaped[Tensor, "rows some units"], prompts: int, points: int
) -> Shaped[Tensor, "prompts points units"]:
    """What came out of rows that `in_rows` made, by prompt again."""
    return found.reshape(prompts, -1, found.shape[-1])[:, :points]


def chunks(
    model: LoadedModel,
    a: Sequence[Prompt],
    b: Sequence[Prompt],
    points: int,
    positions: int,
    *,
    logits: bool,
    blocks: int = 0,
    course: Course = USUAL,
) -> Iterator[list[int]]:
    """Rows to run together: A prompts of one length, at most `positions` positions to a forward (one pair at least).

    With `logits` no more than can be held, and with the states after so many `blocks`. Where not the last position is
    patched, of one rows hold as many positions from the patched one on.
    """
    bound = min(positions, LOGIT_VALUES // model.vocabulary) if logits else positions
    bound = min(bound, LOGIT_VALUES // (blocks * model.shape.hidden)) if blocks else bound
    groups: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for row, pair in enumerate(zip(a, b, strict=True)):
        groups[len(pair[0]), len(pair[1]), course.tail(*pair).length].append(row)
    for (a_tokens, b_tokens, tail), rows in groups.items():
        size = max(1, bound // max(positions_of(model, a_tokens, points, tail), a_tokens + b_tokens))
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


@dataclass
class Room:
    """How much goes into a forward: `positions`, and no more than `most` rows once a device had no memory for more."""

    positions: int = forward.CHUNK_POSITIONS
    most: int | None = None

    def run(self, model: LoadedModel, rows: list[int], work: Callable[[list[int]], None], positions: int) -> None:
        """Do `work` on rows, in halves and quarters where the device has no memory for all at once.

        A row takes `positions` positions. Raises `MeasureError` when a single one does not fit.
        """
        if self.most is None or len(rows) <= self.most:
            if _fits(work, rows):
                return
            if len(rows) == 1:
                raise no_memory(model, positions)
            self.shrink(model, len(rows) // 2)
        size = self.most or 1  # which may become smaller on the way
        for start in range(0, len(rows), size):
            self.run(model, rows[start : start + size], work, positions)

    def shrink(self, model: LoadedModel, most: int) -> None:
        """No more than so many rows from now on."""
        self.most = most
        if model.device.type == "cuda":
            torch.cuda.empty_cache()


def no_memory(model: LoadedModel, positions: int) -> NotMeasuredError:
    return NotMeasuredError(
        f"{model.name}: there is no memory left on {model.device} for a single pair: some "
        f"{activation_bytes(model, positions) / 1e9:.2f} GB are needed beside the model's weights. Take "
        "shorter prompts or fewer steps, end what else uses the device, or take a larger one."
    )


def _fits(work: Callable[[list[int]], None], rows: list[int]) -> bool:
    """Do `work`; False where memory ran out. What the failed forward held is let go of on return."""
    try:
        work(rows)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device, or the machine, had no memory left."""
    # On a processor torch raises a RuntimeError of no class of its own, as libraries under it do.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(told in str(error) for told in _NO_MEMORY)


_NO_MEMORY = ("DefaultCPUAllocator", "bad_alloc", "out of memory", "STATUS_ALLOC_FAILED")


def activation_bytes(model: LoadedModel, positions: int) -> int:
    """About what a forward of so many positions takes beside the weights, in bytes."""
    return model.dtype.itemsize * positions * model.shape.activations
