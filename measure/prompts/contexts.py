"""The same last tokens behind other contexts: tokens of other prompts, or none. Draws no prompts.

A prompt keeps its last token, and a BOS where it begins with one. `random_context`: all tokens before the last ones, of
all prompts together, are dealt out anew, so that each prompt is as long and all have the same tokens as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

KINDS = ("random_context", "no_context")

_Prompt = tuple[int, ...]
# Of the seed of the draw another stream than that of the windows.
_STREAM = 7


def changed(kind: str, prompts: Sequence[_Prompt], bos: int | None, seed: int) -> dict[_Prompt, _Prompt]:
    """Every distinct prompt with what stands for it; the same for one that comes twice. `bos`: its id, if any."""
    fronts = {prompt: prompt[: int(bos is not None and prompt[0] == bos and len(prompt) > 1)] for prompt in prompts}
    if kind == "no_context":
        return {prompt: front + prompt[-1:] for prompt, front in fronts.items()}
    pool = list(chain.from_iterable(prompt[len(front) : -1] for prompt, front in fronts.items()))
    dealt = iter([pool[place] for place in np.random.default_rng([seed, _STREAM]).permutation(len(pool))])
    return {
        prompt: (*front, *(next(dealt) for _ in prompt[len(front) : -1]), prompt[-1])
        for prompt, front in fronts.items()
    }
