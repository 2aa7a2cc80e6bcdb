"""What the name of a training checkpoint tells: stage, ingredient, step, tokens; one pattern a family. Reads nothing.

The catalog, the hub, the check for stale weights and the records all ask `parse`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from measure.spec import MeasureError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_PARTS = {
    "stage": r"(?P<stage>[0-9]{1,3})",
    "ingredient": r"(?P<ingredient>[0-9]{1,3})",
    "step": r"(?P<step>[0-9]{1,18})",
    "tokens": r"(?P<tokens>[0-9]{1,18})(?P<unit>[KMBT]?)",
}
_HOLDS = "parts are {stage}, {ingredient}, {step} and {tokens}, and [...] may be missing"
# How trainings name their checkpoints where no family's pattern is known: checkpoint-500, ckpt_7, epoch3, a/step-40.
_GENERAL = re.compile(
    r"(?P<before>.*?)(?:stage(?P<stage>[0-9]{1,3})(?P<between>.*?))?(?:ingredient(?P<ingredient>[0-9]{1,3})[-_]?)?"
    r"(?:(?:step|checkpoint|ckpt|iter|epoch)[-_]?(?P<step>[0-9]{1,18})(?![0-9])"
    r"(?:[-_]tokens(?P<tokens>[0-9]{1,18})(?P<unit>[KMBT])(?![0-9A-Za-z]))?"
    r"|tokens[-_]?(?P<alone>[0-9]{1,18})(?P<alone_unit>[KMBT]?)(?![0-9A-Za-z]))(?P<after>.*)",
    re.DOTALL,
)
_WANTED = re.compile(
    r"(?:stage(?P<stage>[0-9]{1,3})-)?(?:ingredient(?P<ingredient>[0-9]{1,3})-)?"
    r"tokens(?P<tokens>[0-9]{1,18})(?P<unit>[KMBT])"
)


@dataclass(frozen=True)
class Revision:
    """A training checkpoint, by its name.

    `stage` and `ingredient` are 0 where the name tells none, `step` None where it tells tokens alone. `tokens` are
    those of its stage, or of the whole run where steps are counted on: as the name tells them, else its steps times
    the family's tokens a step; None where nobody tells. `whole`: the name is these parts and nothing else.
    """

    name: str
    step: int | None
    tokens: int | None = None
    stage: int = 0
    ingredient: int = 0
    whole: bool = True

    @property
    def order(self) -> tuple[int, int]:
        """Stage, and step in it, by which the checkpoints of a run are ordered."""
        return self.stage, self.step if self.step is not None else self.tokens or 0


@dataclass(frozen=True)
class Family:
    """How the checkpoints of some repositories are named.

    `pattern` is literal but for {stage}, {ingredient}, {step}, {tokens}, and [...] for what may be missing;
    `repositories` a regular expression of hub ids. `tokens_a_step` is None where it is not published. `counted_on`:
    steps go on from stage to stage, where others begin each stage at 0 with a batch of its own.
    """

    name: str
    repositories: str
    pattern: str
    tokens_a_step: int | None = None
    counted_on: bool = False


_STAGES = "[stage{stage}-][ingredient{ingredient}-]"
# Tokens a step: Pythia, 1,024 sequences of 2,048 (its paper); SmolLM2 and SmolLM3, the cards of these repositories, of
# which for the 360M none was found; OLMo 3 7B, 5.93 trillion tokens (card) over 1,413,814 steps (branches) are 2^22 to
# four digits. The others' names tell tokens; those of OLMo 2 1B are 2^21 a step.
FAMILIES = (
    Family("pythia", r"EleutherAI/(neox-ckpt-)?pythia-[\w.]+(-deduped)?(-v0)?(-(data-|weight-)?seed\d+)?",
           "step{step}", 1024 * 2048),
    Family("olmo-1", r"allenai/OLMo-(1B|7B)(-0424|-0724)?(-hf)?", "step{step}-tokens{tokens}"),
    Family("olmo-2", r"allenai/OLMo-2-0425-1B(-early-training)?", _STAGES + "step{step}-tokens{tokens}", 2**21),
    Family("olmo-2", r"allenai/OLMo-2-(1124-(7|13)B|0325-32B)", _STAGES + "step{step}-tokens{tokens}"),
    Family("olmo-3", r"allenai/Olmo-3-1025-7B", _STAGES + "step{step}", 2**22),
    Family("olmo-3", r"allenai/Olmo-3-1125-32B", _STAGES + "step{step}"),
    Family("smollm2", r"HuggingFaceTB/SmolLM2-135M-intermediate-checkpoints", "step-{step}", 2**20),
    Family("smollm2", r"HuggingFaceTB/SmolLM2-360M-intermediate-checkpoints", "step-{step}"),
    Family("smollm2", r"HuggingFaceTB/SmolLM2-1.7B-intermediate-checkpoints", "step-{step}", 2**21),
    Family("smollm3", r"HuggingFaceTB/SmolLM3-3B-checkpoints", "[stage{stage}-]step-{step}", 2_359_296, True),
)  # fmt: skip
# The pattern of --revision-pattern, if there is one.
_OWN: list[Family] = []


def use_own(pattern: str, tokens_a_step: int | None = None) -> None:
    """Try a pattern of one's own first, for the rest of this process. Raises `MeasureError` for one that is none."""
    compiled(pattern)
    if tokens_a_step is not None and tokens_a_step < 1:
        raise MeasureError(f"--tokens-a-step {tokens_a_step}: give the number of tokens that a training step takes.")
    _OWN[:] = [Family("your own", ".*", pattern, tokens_a_step)]


def own() -> Family | None:
    """The family that `use_own` made known."""
    return _OWN[0] if _OWN else None


def forget_own() -> None:
    """Go by the families' patterns alone."""
    _OWN.clear()


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression. Raises `MeasureError` for an unknown part, or where none tells the order."""
    text, expression, seen, optional = f"revision pattern {pattern!r}", "", set(), False
    for piece in re.findall(r"\{[^{}]*\}|.", pattern, re.DOTALL):
        if len(piece) > 1:
            name = piece[1:-1]
            if name not in _PARTS:
                raise MeasureError(f"{text}: {piece} is no part of a revision's name; {_HOLDS}.")
            if name in seen:
                raise MeasureError(f"{text} holds {piece} twice; name each part once.")
            seen.add(name)
            expression += _PARTS[name]
        elif piece in "[]":
            if optional == (piece == "["):
                raise MeasureError(f"{text}: its [ and ] do not match; {_HOLDS}.")
            optional = piece == "["
            expression += "(?:" if optional else ")?"
        elif piece in "{}":
            raise MeasureError(f"{text}: its {{ and }} do not match; {_HOLDS}.")
        else:
            expression += re.escape(piece)
    if optional:
        raise MeasureError(f"{text}: its [ and ] do not match; {_HOLDS}.")
    if not seen & {"step", "tokens"}:
        raise MeasureError(f"{text} holds neither {{step}} nor {{tokens}}, so that no order can be told; {_HOLDS}.")
    return re.compile(expression)


def family_of(place: str) -> Family | None:
    """How the checkpoints of a repository are named; None where that is not known."""
    return next((one for one in FAMILIES if re.fullmatch(one.repositories, place, re.IGNORECASE)), None)


def parse(name: str, place: str = "") -> Revision | None:
    """What a revision's name tells; None where it tells of no training.

    By one's own pattern, else that of the family of `place`, a hub id, else the ways in which trainings name
    their checkpoints.
    """
    for family in (*_OWN, family_of(place)):
        if family is not None and (match := compiled(family.pattern).fullmatch(name)):
            return _of_family(name, match, family)
    match = _GENERAL.fullmatch(name)
    return _in_general(name, match) if match else None


def _of_family(name: str, match: re.Match[str], family: Family) -> Revision:
    told = {"unit": "", **{part: found for part, found in match.groupdict().items() if found is not None}}
    stage, step = int(told.get("stage", 0)), int(told["step"]) if "step" in told else None
    tokens = _count(told["tokens"], told["unit"]) if "tokens" in told else None
    if tokens is None and step is not None and family.tokens_a_step and (stage < 2 or family.counted_on):
        tokens = step * family.tokens_a_step
    return Revision(name, step, tokens, stage, int(told.get("ingredient", 0)))


def _in_general(name: str, match: re.Match[str]) -> Revision:
    told = match.groupdict(default="")
    tokens, unit = (told["tokens"], told["unit"]) if told["step"] else (told["alone"], told["alone_unit"])
    return Revision(
        name,
        int(told["step"]) if told["step"] else None,
        _count(tokens, unit) if tokens else None,
        int(told["stage"] or 0),
        int(told["ingredient"] or 0),
        whole=not told["before"] and not told["after"] and told["between"] in ("", "-", "_"),
    )


def _count(number: str, unit: str) -> int:
    return int(number) * _UNITS[unit]


def in_order(names: Iterable[str], place: str = "") -> tuple[Revision, ...]:
    """The training checkpoints among names, by stage and step; names that are anything else are left out."""
    found = [one for one in (parse(name, place) for name in names) if one is not None and one.whole]
    return tuple(sorted(found, key=lambda one: (*one.order, one.ingredient, one.name)))


@dataclass(frozen=True)
class Wanted:
    """So many tokens, in a stage and ingredient where they are told; else in the first stage."""

    tokens: int
    stage: int | None = None
    ingredient: int | None = None

    def nearest(self, found: Sequence[Revision]) -> Revision | None:
        """The checkpoint that saw about as many tokens; None where none tells its own."""
        stages = (0, 1) if self.stage is None else (self.stage,)
        kept = [one for one in found if one.stage in stages and self.ingredient in (None, one.ingredient)]
        told = [(abs(one.tokens - self.tokens), one) for one in kept if one.tokens is not None]
        return min(told, key=lambda pair: pair[0])[1] if told else None


def wanted(text: str) -> Wanted | None:
    """What `tokens10B` or `stage2-tokens50B` asks for; None for what is a name."""
    match = _WANTED.fullmatch(text)
    if match is None:
        return None
    stage, ingredient = (int(match[part]) if match[part] else None for part in ("stage", "ingredient"))
    return Wanted(_count(match["tokens"], match["unit"]), stage, ingredient)
