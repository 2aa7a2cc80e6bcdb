"""MLPs and attention of blocks, found by what they add to the residual stream; scaled, or frozen at a clean run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from measure.core import forward, reference
from measure.models.loading import LoadedModel, as_measured
from measure.prompts.drawn import Prompt
from measure.spec import Frozen, Intervention, MeasureError, Part, Scaled

_ATTENTION = re.compile("attention|attn", re.IGNORECASE)
_MLP = re.compile("mlp|feed_?forward|ffn|moe", re.IGNORECASE)
# How much of what a block adds may be left when both parts are taken off, relative to it.
_LEFT = 1e-4
# Tokens of the forward in which parts are looked for.
_TOKENS = 6

Place = tuple[Part, int]


@dataclass(eq=False)
class _Block:
    """What passed through a block: the state it was given, the one it returned, what its modules returned in turn."""

    given: Tensor | None = None
    returned: Tensor | None = None
    inside: list[tuple[nn.Module, Tensor]] = field(default_factory=list)


@dataclass(eq=False)
class Active:
    """Interventions that are on: where what is frozen comes from, and what it was in the clean runs of prompts."""

    model: LoadedModel
    frozen: dict[Place, nn.Module]
    clean: dict[Prompt, dict[Place, Float[Tensor, "tokens width"]]] = field(default_factory=dict)

    def of(self, prompt: Prompt) -> dict[Place, Float[Tensor, "tokens width"]]:
        """What the frozen parts add in a prompt's clean run, each prompt run once."""
        if prompt not in self.clean:
            kept: dict[Place, Tensor] = {}

            def keep(place: Place) -> Any:
                return lambda _module, _inputs, output: kept.update({place: forward.states_of(output)[0].clone()})

            ids = torch.tensor(prompt, device=self.model.device)
            last = max(block for _, block in self.frozen)
            hooks = [module.register_forward_hook(keep(place)) for place, module in self.frozen.items()]
            try:
                reference.reference_states(self.model, ids, last)
            finally:
                for hook in hooks:
                    hook.remove()
            self.clean[prompt] = kept
        return self.clean[prompt]

    @contextmanager
    def held(self, prompts: Sequence[Prompt], length: int | None = None, times: int = 1) -> Iterator[None]:
        """Within it the frozen parts add, in a row for each prompt, what they did in its clean run.

        At all positions; or from `length` from the end on, so many `times` one after another.
        """
        hooks = []
        for place, module in self.frozen.items():
            rows = torch.stack([self.of(prompt)[place][-(length or 0) :] for prompt in prompts])
            hooks.append(module.register_forward_hook(_put(rows.repeat(1, times, 1))))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


_ACTIVE: ContextVar[Active | None] = ContextVar("interventions", default=None)


def run_clean(prompts: Sequence[Prompt]) -> None:
    """Run now the clean runs that frozen parts are taken from: who watches a forward is not to see them in it."""
    active = _ACTIVE.get()
    for prompt in prompts if active is not None and active.frozen else ():
        assert active is not None
        active.of(prompt)


@contextmanager
def frozen(prompts: Sequence[Prompt], length: int | None = None, times: int = 1) -> Iterator[None]:
    """`Active.held`, where anything is frozen."""
    active = _ACTIVE.get()
    if active is None or not active.frozen:
        yield
        return
    with active.held(prompts, length, times):
        yield


def _put(rows: Float[Tensor, "rows positions width"]) -> Any:
    def put(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        states = forward.states_of(output).clone()
        states[:, -rows.shape[1] :] = rows
        return forward.replaced(output, states)

    return put


def _scale(factor: float) -> Any:
    return lambda _module, _inputs, output: forward.replaced(output, factor * forward.states_of(output))


@contextmanager
def intervened(model: LoadedModel, interventions: Sequence[Intervention]) -> Iterator[None]:
    """Within it parts are scaled, in every run, and those to be frozen are known.

    Raises `MeasureError` for a block that is not there, and one whose parts cannot be told apart.
    """
    if not interventions or _ACTIVE.get() is not None:
        yield
        return
    places = {one: [(one.part, block) for block in range(one.blocks[0], one.blocks[1] + 1)] for one in interventions}
    with as_measured(model.network, tf32=model.tf32):
        modules = found(model, [place for some in places.values() for place in some])
    active = Active(model, {at: modules[at] for one in interventions if isinstance(one, Frozen) for at in places[one]})
    with ExitStack() as stack:
        for one in interventions:
            if isinstance(one, Scaled):
                for place in places[one]:
                    stack.callback(modules[place].register_forward_hook(_scale(one.factor)).remove)
        before = _ACTIVE.set(active)
        stack.callback(_ACTIVE.reset, before)
        yield


def check(model: LoadedModel, interventions: Sequence[Intervention], layer: int) -> None:
    """Raise `MeasureError` for blocks that are not there, and for what would be frozen before anything is patched."""
    for one in interventions:
        if one.blocks[1] > model.depth:
            raise MeasureError(
                f"{one}: {model.name} has {model.depth} blocks; choose a range within 1 to {model.depth}."
            )
        if isinstance(one, Frozen) and one.blocks[1] <= layer:
            raise MeasureError(
                f"{one}: these blocks run before the patch after block {layer}, so that they are what they were; "
                "freeze later ones."
            )


def found(model: LoadedModel, places: Sequence[Place]) -> dict[Place, nn.Module]:
    """The module that adds each part to the residual stream. Raises `MeasureError` where there is none of its own."""
    seen = _watched(model, sorted({block for _, block in places}))
    parts = {number: _parts(block) for number, block in seen.items()}
    modules: dict[Place, nn.Module] = {}
    for part, number in places:
        both = parts[number]
        if both is None or _is_shared(model, both[part], number):
            names = ", ".join(dict.fromkeys(type(module).__name__ for module, _ in seen[number].inside)) or "none"
            raise MeasureError(
                f"{model.name}: the {part} of block {number} cannot be changed alone: looked for an attention and an "
                "MLP whose outputs, apart, are all that the block adds to its residual stream, among its modules "
                f"({names}); only in such blocks can parts be scaled or frozen."
            )
        modules[part, number] = both[part]
    return modules


def _is_shared(model: LoadedModel, module: nn.Module, number: int) -> bool:
    """Whether a module runs in another block too."""
    others = (block for place, block in enumerate(model.block_list, 1) if place != number)
    return any(module is other for block in others for other in block.modules())


def _watched(model: LoadedModel, numbers: Sequence[int]) -> dict[int, _Block]:
    """What passes through some blocks in a plain forward of a few tokens."""
    seen = {number: _Block() for number in numbers}
    hooks = []
    for number, kept in seen.items():
        block = model.block_list[number - 1]
        hooks.append(block.register_forward_pre_hook(_given(kept), with_kwargs=True))
        hooks.append(block.register_forward_hook(_returned(kept)))
        hooks += [module.register_forward_hook(_inside(kept)) for module in block.children()]
    ids = torch.arange(min(_TOKENS, model.vocabulary), device=model.device)[None]
    try:
        model.base(input_ids=ids, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _given(kept: _Block) -> Any:
    def hook(_module: nn.Module, inputs: Any, options: dict[str, Any]) -> None:
        state = inputs[0] if inputs else options.get("hidden_states")
        kept.given = state.clone() if isinstance(state, Tensor) else None

    return hook


def _returned(kept: _Block) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        kept.returned = forward.states_of(output).clone()

    return hook


def _inside(kept: _Block) -> Any:
    def hook(module: nn.Module, _inputs: Any, output: Any) -> None:
        state = output[0] if isinstance(output, tuple | list) and output else output
        # As it is now: some add to it in place.
        if isinstance(state, Tensor):
            kept.inside.append((module, state.clone()))

    return hook


def _parts(block: _Block) -> dict[Part, nn.Module] | None:
    """The two modules whose outputs, each times a number, are what a block adds; None where there are none."""
    x, y = block.given, block.returned
    if x is None or y is None or x.shape != y.shape:
        return None
    inside = [(module, state) for module, state in block.inside if state.shape == x.shape]
    named = [type(module).__name__ for module, _ in inside]
    start = next((place for place, name in enumerate(named) if _ATTENTION.search(name)), None)
    if start is None:
        return None
    mlp = next((place for place, name in enumerate(named) if _MLP.search(name)), None)
    # After each may follow a norm, whose output is what is added; where no MLP is named, it is its last layer.
    first = range(start, mlp if mlp is not None and mlp > start else len(named))
    second = range(mlp if mlp is not None else start + 1, len(named))
    for one, other in product(first, second):
        if one != other and _adds_up((y - x).double(), inside[one][1].double(), inside[other][1].double()):
            return {"attention": inside[one][0], "mlp": inside[other][0]}
    return None


def _adds_up(whole: Tensor, a: Tensor, b: Tensor) -> bool:
    """Whether a state is one number times `a` plus another times `b`, neither of them 0."""
    columns = torch.stack([a.flatten(), b.flatten()], dim=1)
    if not torch.isfinite(columns).all() or torch.linalg.matrix_rank(columns) < 2:
        return False
    shares = torch.linalg.lstsq(columns, whole.flatten()[:, None]).solution
    left = torch.linalg.vector_norm(columns @ shares - whole.flatten()[:, None])
    return bool(left <= _LEFT * torch.linalg.vector_norm(whole)) and bool((shares.abs() > 1e-3).all())
