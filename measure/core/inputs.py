"""What users hand in: prompts as strings or token ids and their tokenizer, checked before anything runs."""

from __future__ import annotations

import logging
import os
import reprlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor

from measure.models.loading import LoadedModel, named_tokenizer
from measure.prompts import drawn as prompts
from measure.prompts.drawn import Prompt
from measure.prompts.text_files import half_character
from measure.spec import MeasureError

_LOG = logging.getLogger("measure")

PromptsInput = str | Sequence[str] | Sequence[Sequence[int]] | np.ndarray | Tensor


# What cannot be prompts, though it can be gone through: bytes are numbers, sets have no order, a mask would be lost.
_NO_PROMPTS = (Mapping, bytes, bytearray, memoryview, set, frozenset, np.ma.MaskedArray)


def check_flag(name: str, value: Any) -> None:
    """Raise `MeasureError` unless `value` is True or False: the word "false" would count as true."""
    if not (isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1))):
        raise MeasureError(f"{name}={reprlib.repr(value)} is a {_kind(value)}; expected True or False.")


def given_tokenizer(given: Any) -> Any:
    """A tokenizer that can be called as those of transformers: one of these, of tokenizers, or named by a path or name.

    Raises `MeasureError` for anything else.
    """
    if given is None:
        return None
    if isinstance(given, str | os.PathLike):
        return named_tokenizer(os.fspath(given))
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    if isinstance(given, Tokenizer):
        return PreTrainedTokenizerFast(tokenizer_object=given)
    if not callable(given) or isinstance(given, type):
        raise MeasureError(
            f"tokenizer is a {_kind(given)}; expected a tokenizer of transformers or tokenizers, a folder with one, or "
            "the name of a model."
        )
    return given


def _kind(given: Any) -> str:
    return f"class {given.__name__}" if isinstance(given, type) else type(given).__name__


def token_ids(name: str, given: PromptsInput, tokenizer: Any, bos: bool, model: LoadedModel) -> tuple[Prompt, ...]:
    """Strings or token ids as checked token ids."""
    rows = _rows(name, given)
    strings = [isinstance(row, str) for row in rows]
    if all(strings) and getattr(given, "ndim", 1) > 1:
        raise MeasureError(f"{name} is a {_kind(given)} of columns; give one of them, or a list of strings.")
    if all(strings):
        if tokenizer is None:
            lacking = model.no_tokenizer or "the model came without a tokenizer"
            raise MeasureError(f"{name} holds strings and {lacking}; pass tokenizer= or token ids.")
        texts = [str(row) for row in rows]
        ids = _encoded(name, texts, tokenizer, bos)
        if any(text[:1].isalnum() for text in texts) and _feels_blanks(tokenizer):
            _hint_at_blanks()
    elif any(strings):
        wrong = strings.index(False)
        raise MeasureError(
            f"{name}[{wrong}] is {reprlib.repr(rows[wrong])} among strings; expected strings alone, or token ids alone."
        )
    elif bos:
        raise MeasureError(f"bos=True is for strings; {name} holds token ids: put the BOS id into them.")
    else:
        ids = tuple(_as_prompt(name, row) for row in rows)
    empty = [position for position, prompt in enumerate(ids) if not prompt]
    if empty:
        raise MeasureError(
            f"{name}[{empty[0]}] is {rows[empty[0]]!r}, which has no tokens; a prompt needs at least one."
        )
    prompts.check_rows(ids, model.vocabulary, model.context, name, model.name)
    check_ends(ids, name, tokenizer, model.network.config)
    return ids


def _feels_blanks(tokenizer: Any) -> bool:
    """Whether a word is another token at the beginning of a text than after a blank."""
    first, later = prompts.tokenize(tokenizer, ["the", " the"])
    return first != later


@cache
def _hint_at_blanks() -> None:
    """Say once what is easily overlooked."""
    _LOG.warning(
        "a prompt begins without a blank, so its first word is another token than within a text; the paper's prompts "
        'begin with one (" The house"). Measured as given.'
    )


def _rows(name: str, given: Any) -> list[Any]:
    if isinstance(given, str):
        return [given]
    if isinstance(given, _NO_PROMPTS) or not isinstance(given, Iterable) or getattr(given, "ndim", 1) == 0:
        raise MeasureError(
            f"{name} is a {_kind(given)}; expected a string, a list of strings, or token ids of shape "
            "(pairs, tokens), such as the input_ids of a tokenizer's output."
        )
    try:
        rows = list(given.detach().cpu() if isinstance(given, Tensor) else given)
    except (RuntimeError, NotImplementedError) as error:  # a tensor without values, or not stored as rows
        raise MeasureError(
            f"{name} is a tensor that cannot be read ({str(error).splitlines()[0]}); give a dense one, or lists."
        ) from None
    if not rows:
        raise MeasureError(f"{name} is empty; give at least one prompt.")
    return rows


def _encoded(name: str, texts: list[str], tokenizer: Any, bos: bool) -> tuple[Prompt, ...]:
    for row, text in enumerate(texts):
        if half := half_character(text):
            raise MeasureError(
                f"{name}[{row}] {half}: it was cut within a character, and is no Unicode text; give whole characters."
            )
    try:
        ids = prompts.tokenize(tokenizer, texts, bos=bos)
        found = tuple(tuple(int(token) for token in prompt) for prompt in ids)
        unknown, suspects = prompts.unknown_token(tokenizer), _suspects("".join(texts), tokenizer)
        for row, (text, prompt) in enumerate(zip(texts, found, strict=True)):
            _check_known(f"{name}[{row}]", text, prompt, tokenizer, unknown)
            _check_kept(f"{name}[{row}]", text, tokenizer, suspects)
        return found
    except MeasureError:
        raise
    except Exception as error:  # whatever a foreign tokenizer raises
        raise MeasureError(
            f"the tokenizer, a {type(tokenizer).__name__}, could not take {name} ({type(error).__name__}: "
            f"{reprlib.repr(str(error))}); expected one that is called as those of transformers, or pass token ids."
        ) from error


def _check_known(name: str, text: str, prompt: Prompt, tokenizer: Any, unknown: tuple[str, int] | None) -> None:
    """Raise `MeasureError` for a text of which the unknown token would be measured, unless that is written there."""
    if unknown is None or prompt.count(unknown[1]) <= text.count(unknown[0]):
        return
    parts = [text[start:end] for token, start, end in _spans(text, tokenizer) if token == unknown[1]]
    letters = (letter for letter in text if unknown[1] in prompts.tokenize(tokenizer, [letter])[0])
    found = next((part for part in parts if part != unknown[0]), None) or next(letters, text)
    raise MeasureError(
        f"{name} holds {found!r}, which the tokenizer does not know: {unknown[0]} would be measured in its place. "
        "Write the prompt without it, or give token ids."
    )


def _check_kept(name: str, text: str, tokenizer: Any, suspects: set[str]) -> None:
    """Raise `MeasureError` for a text of which the tokenizer passes over a letter, digit or sign."""
    if suspects.isdisjoint(text):
        return
    covered = {place for _, start, end in _spans(text, tokenizer) for place in range(start, end)}
    for place, letter in enumerate(text):
        without = text.replace(letter, "")
        if letter in suspects and place not in covered and _ids_of(text, tokenizer) == _ids_of(without, tokenizer):
            raise MeasureError(
                f"{name} holds {letter!r}, which the tokenizer does not know and passes over. Write the prompt without "
                "it, or give token ids."
            )


# By tokenizer, the letters that it is known not to pass over: asking costs as much as a pair on a small model.
_KEPT: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


def _suspects(text: str, tokenizer: Any) -> set[str]:
    """Letters, digits and signs of a text that a tokenizer may pass over: written twice they are as written once."""
    if getattr(tokenizer, "is_fast", False) is not True:
        return set()
    try:
        kept = _KEPT.setdefault(tokenizer, set())
    except TypeError:  # one that cannot be a key
        kept = set()
    # Accents and marks that nobody sees may be left out on purpose.
    new = [letter for letter in set(text) - kept if unicodedata.category(letter)[0] in "LNPS"]
    if new:
        once, twice = (prompts.tokenize(tokenizer, [letter * count for letter in new]) for count in (1, 2))
        kept.update(letter for letter, a, b in zip(new, once, twice, strict=True) if a != b)
    return set(new) - kept


def _spans(text: str, tokenizer: Any) -> list[tuple[int, int, int]]:
    """Every token of a text with the places where what it stands for begins and ends; none where that is not told."""
    if getattr(tokenizer, "is_fast", False) is not True:
        return []
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [(token, *span) for token, span in zip(found["input_ids"], found["offset_mapping"], strict=True)]


def _ids_of(text: str, tokenizer: Any) -> Prompt:
    return prompts.tokenize(tokenizer, [text])[0]


def check_ends(rows: Sequence[Prompt], name: str, tokenizer: Any, config: Any) -> None:
    """Raise `MeasureError` where a row begins with two BOS tokens, or begins or ends with padding.

    A pad token that is also BOS or EOS may stand there alone for what it says, unless it fills up shorter rows.
    """
    bos = getattr(tokenizer, "bos_token_id", None)
    told = [*_ids(tokenizer, "bos", "eos"), *_ids(config, "bos", "eos")]
    for pad in {*_ids(tokenizer, "pad"), *_ids(config, "pad")}:
        runs = [_runs(row, pad) for row in rows]
        allowed = 1 if pad in told and not _fills_up(rows, pad, runs) else 0
        for number, (before, behind) in enumerate(runs):
            if max(before, behind) > allowed:
                count, where = (behind, "ends") if behind > allowed else (before, "begins")
                raise MeasureError(
                    f"{name}[{number}] {where} in padding, {count} token{'s' if count > 1 else ''} of id {pad}; give "
                    "each prompt without it: lengths may differ, as lists of ids."
                )
    for number, row in enumerate(rows):
        if bos is not None and row[:2] == (bos, bos):
            raise MeasureError(
                f"{name}[{number}] begins with the BOS token (id {bos}) twice; take one off: text of a chat template "
                "has it already."
            )


def _ids(holder: Any, *names: str) -> list[int]:
    found = [getattr(holder, f"{name}_token_id", None) for name in names]
    return [token for one in found for token in (one if isinstance(one, list | tuple) else [one]) if token is not None]


def _runs(row: Prompt, pad: int) -> tuple[int, int]:
    """How often a token stands at the beginning of a row, and at its end."""
    if pad not in (row[0], row[-1]):
        return 0, 0
    kept = [place for place, token in enumerate(row) if token != pad]
    return (kept[0], len(row) - 1 - kept[-1]) if kept else (len(row), len(row))


def _fills_up(rows: Sequence[Prompt], pad: int, runs: Sequence[tuple[int, int]]) -> bool:
    """Whether rows of one length differ in what of the token they end with, and hold none of it within."""
    within = sum(row.count(pad) for row in rows) - sum(before + behind for before, behind in runs)
    return len(set(map(len, rows))) == 1 and len(set(runs)) > 1 and within <= 0


def _as_prompt(name: str, row: Any) -> Prompt:
    try:
        values = np.asarray(row.detach().cpu() if isinstance(row, Tensor) else row)
    # Nested lists of unequal lengths, or tensors of a kind that arrays have not.
    except (ValueError, TypeError, RuntimeError):
        values = np.empty((0, 0))
    truths = isinstance(row, list | tuple) and any(isinstance(token, bool | np.bool_) for token in row)
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iu") or truths:
        raise MeasureError(
            f"{name} holds {reprlib.repr(row)}; expected strings, or token ids of shape (pairs, tokens): "
            "one list of integers a prompt."
        )
    return tuple(values.tolist())
