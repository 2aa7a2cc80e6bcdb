"""Whether two tokenizers read the same prompts as the same token ids, and ids as the same tokens; what else differs."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from typing import Any

from measure.prompts import drawn as prompts


def conflict(a: Any, b: Any, used: Iterable[int] = ()) -> str:
    """In what the vocabularies of two tokenizers contradict each other, as part of a sentence; empty where in nothing.

    One may know more tokens than the other. Of tokens that were added to a vocabulary, such as those of a chat
    template, an id may stand for another one in either, unless it is among the ids `used` in prompts.
    """
    known = [_vocabulary(tokenizer) for tokenizer in (a, b)]
    if not all(known):
        return ""
    by_id = [{number: token for token, number in vocabulary.items()} for vocabulary in known]
    free = (_added(a) | _added(b)) - set(used)
    for number in sorted(by_id[0].keys() & by_id[1].keys() - free):
        if by_id[0][number] != by_id[1][number]:
            return f"token id {number} is {by_id[0][number]!r} in a and {by_id[1][number]!r} in b"
    for token in sorted(known[0].keys() & known[1].keys()):
        first, second = known[0][token], known[1][token]
        if first != second and not {first, second} <= free:
            return f"the token {token!r} is id {first} in a and id {second} in b"
    missing = [number for number in sorted(set(used)) if (number in by_id[0]) != (number in by_id[1])]
    if missing:
        return f"token id {missing[0]}, which the prompts hold, is known to one of them alone"
    return ""


def read_apart(a: Any, b: Any, texts: Sequence[str], *, bos: bool = False) -> str:
    """The first of some texts that two tokenizers read as different ids, as part of a sentence; empty where none is."""
    found = [prompts.tokenize(tokenizer, texts, bos=bos) for tokenizer in (a, b)]
    for text, first, second in zip(texts, *found, strict=True):
        if first != second:
            place = next((i for i, (x, y) in enumerate(zip(first, second, strict=False)) if x != y), None)
            ids = (
                f"{len(first)} and {len(second)} ids" if place is None else f"id {first[place]} and id {second[place]}"
            )
            where = "as" if place is None else f"from token {place + 1} on as"
            return f"{reprlib.repr(text)} is read {where} {ids} in a and b"
    return ""


def told(a: Any, b: Any) -> tuple[str, str] | None:
    """What of two tokenizers that contradict each other in nothing is not the same, in a and in b; None for nothing."""
    if a is None or b is None:
        names = ["none came with it" if one is None else f"{len(_vocabulary(one)):,} tokens" for one in (a, b)]
        return None if a is b else (names[0], names[1])
    known = [_vocabulary(tokenizer) for tokenizer in (a, b)]
    if known[0] == known[1]:
        return None
    own = [_some(sorted(known[i].items() - known[1 - i].items(), key=lambda item: item[1])) for i in (0, 1)]
    return own[0], own[1]


def _some(tokens: list[tuple[str, int]]) -> str:
    """Tokens that one has alone, in print."""
    if not tokens:
        return "none of its own"
    shown = ", ".join(f"{number} {token!r}" for token, number in tokens[:3])
    return f"{len(tokens)} of its own ({shown}{', ...' if len(tokens) > 3 else ''})"


def _vocabulary(tokenizer: Any) -> dict[str, int]:
    """Tokens by name; none where a tokenizer does not tell."""
    get = getattr(tokenizer, "get_vocab", None)
    return dict(get()) if callable(get) else {}


def _added(tokenizer: Any) -> set[int]:
    get = getattr(tokenizer, "get_added_vocab", None)
    return set(get().values()) if callable(get) else set()
