"""Whether a model's weights are numbers, of one kind, in one place: what is not is refused and named. Measures nothing.

The same for what was loaded here and for what was handed over.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from measure.spec import MeasureError

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
# As many numbers as torch adds up without calling upon other threads.
_SERIAL = 2**15 - 2**6
# Packages of quantized layers, whose weights may look like any other's.
_QUANTIZERS = re.compile(
    r"(torchao|bitsandbytes|quanto|optimum\.quanto|hqq|gptqmodel|auto_gptq|auto_round|awq|eetq|aqlm|vptq|spqr_quant|"
    r"fbgemm_gpu|compressed_tensors|quark|torch\.ao\.(nn|quantization)|"
    r"transformers\.integrations\.(bitnet|finegrained_fp8|fbgemm_fp8|fouroversix|fp_quant|gemma_quant|higgs|hqq|"
    r"metal_quantization|mxfp4|nvfp4|quanto|sinq))(\.|$)"
)
# As files of safetensors say them.
_STATED = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool", "I64": "int64"}
_STATED |= {"I8": "int8", "U8": "uint8", "I16": "int16", "I32": "int32", "U32": "uint32", "C64": "complex64"}
_STATED |= {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
# Of buffers of small integers those that say where something is, and not what it weighs.
_PLACES = re.compile(r"ids?$|index|indices|position|length|mask|tracked|count|step")
# What bitsandbytes and compressed-tensors hang on layers that may be of torch's own class.
_STATES = ("quant_state", "quantization_scheme")
_ORIGINAL = "take the checkpoint that it was made from, in float32, or in 16 bits said aloud"


class NotFiniteError(ValueError):
    """A tensor of the weights that holds NaN or infinity."""


def check(name: str, network: Any) -> None:
    """Raise `MeasureError` for weights that are not all floating-point numbers of one precision on one device.

    Also for quantized layers, whatever library made them, and for buffers that hold NaN. That the weights themselves
    are numbers is seen when they are hashed: `looked_at`.
    """
    _check_plain(name, network)
    if not any(True for _ in network.parameters()):
        raise MeasureError(f"{name} has no parameters, so it is no model that could be measured; load its weights.")
    _check_here(name, network)
    _check_alike(name, network)
    for place, buffer in network.named_buffers():
        if buffer.dtype in FLOATS and not is_finite(buffer, mask=True):
            raise MeasureError(f"{name}: the buffer {place} holds NaN or infinity; load the model again.")


# Numbers


def is_finite(values: Tensor, *, mask: bool = False) -> bool:
    """Whether all numbers of a tensor are finite; minus infinity is one in what may be a `mask`."""
    flat = values.detach().reshape(-1)
    # Once through the memory: no sum is finite where a number is not. Large numbers may add up to none.
    if math.isfinite(_sum(flat)):
        return True
    return bool((torch.isfinite(flat) | torch.isneginf(flat) if mask else torch.isfinite(flat)).all())


def _sum(flat: Tensor) -> float:
    """The sum, on a processor by one thread alone: torch would call upon others, which may be busy, and wait."""
    if flat.device.type != "cpu":
        return flat.sum(dtype=torch.float32 if flat.element_size() < 4 else None).item()
    with np.errstate(over="ignore", invalid="ignore"):
        if flat.element_size() >= 4:
            return float(np.add.reduce(flat.numpy()))
        return sum(part.sum(dtype=torch.float32).item() for part in torch.split(flat, _SERIAL))


@contextmanager
def looked_at(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Look whether tensors hold numbers alone, beside what is done within: a hash takes one core and ten times as long.

    Raises `NotFiniteError` at the end where one does not.
    """
    with ThreadPoolExecutor(1) as beside:
        looked = beside.submit(_first_not_finite, tensors)
        yield
    if (place := looked.result()) is not None:
        raise NotFiniteError(not_finite(place, tensors[place].dtype))


def _first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    floats = ((place, values) for place, values in tensors.items() if values.is_floating_point())
    return next((place for place, values in floats if not is_finite(values)), None)


def not_finite(place: str, dtype: torch.dtype) -> str:
    """In words, that a tensor of the weights holds what is no number."""
    wider = "take a wider precision, or " if dtype.itemsize < 4 else ""
    return f"the weights hold NaN or infinity, first in {place}; {wider}restore the checkpoint."


# Layers that hold no plain numbers


def _check_plain(name: str, network: nn.Module) -> None:
    for place, module in network.named_modules():
        if kind := _library(module) or next(_packed(module), None):
            raise MeasureError(
                f"{name}: {place or 'the model'} is quantized ({kind}), which moves distances visibly; {_ORIGINAL}."
            )
        for own, tensor in module.named_parameters(recurse=False):
            if _is_wrapped(tensor) or tensor.dtype not in FLOATS or tensor.layout is not torch.strided:
                kind = _odd(tensor)
                raise MeasureError(
                    f"{name}: the parameter {'.'.join(filter(None, (place, own)))} is {kind}, expected a plain tensor "
                    f"of floating-point numbers: quantized weights move distances visibly; {_ORIGINAL}."
                )


def _odd(tensor: Tensor) -> str:
    """What of a parameter is not as it is expected to be."""
    if tensor.dtype not in FLOATS:
        return f"in {_called(tensor.dtype)}"
    return _called(tensor.layout) if tensor.layout is not torch.strided else f"a {type(tensor).__name__}"


def _library(module: nn.Module) -> str | None:
    home = type(module).__module__
    return f"{type(module).__name__} of {home.split('.')[0]}" if _QUANTIZERS.match(home) else None


def _packed(module: nn.Module) -> Iterator[str]:
    """What of a module are packed or small integers that stand for weights."""
    if callable(getattr(type(module), "weight", None)):
        yield f"{type(module).__name__}, whose weight is packed"
    if type(module).get_extra_state is not nn.Module.get_extra_state and module.get_extra_state() is not None:
        yield f"{type(module).__name__}, which keeps a state of its own"
    for own, value in {**vars(module), **module._buffers}.items():
        if isinstance(value, torch.ScriptObject) or (own in _STATES and value is not None):
            yield f"{own} of {type(module).__name__}"
        elif isinstance(value, Tensor) and _is_wrapped(value):
            yield f"{own}, a {type(value).__name__}"
        elif isinstance(value, Tensor) and _is_code(own, value):
            yield f"{own} in {_called(value.dtype)}"


def _is_code(own: str, values: Tensor) -> bool:
    """Whether a buffer is small integers, or tiny floats, in which weights are coded: no mask, and no places."""
    if values.dtype in FLOATS or values.is_complex() or values.numel() < 2 or _PLACES.search(own):
        return False
    if values.dtype in (torch.bool, torch.int64):
        return "weight" in own
    return values.dtype != torch.uint8 or values.is_meta or bool((values > 1).any())


def _is_wrapped(tensor: Tensor) -> bool:
    """Whether a tensor only stands for numbers that are kept otherwise: torchao's, quanto's, a part of many."""
    kind = type(tensor)
    own = getattr(kind.__torch_function__, "__func__", None)
    answers = own is not None and own is not getattr(Tensor.__torch_function__, "__func__", None)
    return tensor.is_quantized or answers or kind.__torch_dispatch__ is not Tensor.__torch_dispatch__


def _called(kind: torch.dtype | torch.layout) -> str:
    return str(kind).removeprefix("torch.")


# One place, one precision


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return dict([*network.named_parameters(), *network.named_buffers()])


def _check_here(name: str, network: nn.Module) -> None:
    tensors = _tensors(network)
    absent = [place for place, tensor in tensors.items() if tensor.is_meta]
    if absent and all(parameter.is_meta for parameter in network.parameters()):
        raise MeasureError("the model is on the meta device and has no weights; load it on a processor or accelerator.")
    if absent:
        raise MeasureError(
            f"{name}: {_some(absent)} on the meta device, without weights, as where a part is left on the disk or was "
            "never loaded; load the model whole on one processor or accelerator."
        )
    main = _most((tensor.device, tensor) for tensor in network.parameters())
    others = [f"{place} on {tensor.device}" for place, tensor in tensors.items() if tensor.device != main]
    if others:
        raise MeasureError(
            f"{name} is on {main} but for {_some(others)}; a model is measured on one device: move it there whole, "
            f"model.to({str(main)!r})."
        )


def _check_alike(name: str, network: Any) -> None:
    main = _most((tensor.dtype, tensor) for tensor in network.parameters())
    # Wider buffers are no fault: positions are kept in 32 bits, whatever the weights are in.
    narrow = (torch.float16, torch.bfloat16)
    found = [(place, tensor.dtype) for place, tensor in network.named_parameters() if tensor.dtype != main]
    found = [(place, dtype) for place, dtype in found if not is_planned(network, place, dtype, main)]
    # A single number that is not saved is made by the family's own code.
    made = {place for place, buffer in network.named_buffers() if buffer.numel() == 1} - set(network.state_dict())
    buffers = {place: buffer.dtype for place, buffer in network.named_buffers() if place not in made}
    found += [(place, dtype) for place, dtype in buffers.items() if dtype in narrow and dtype != main]
    if found:
        others = _some([f"{place} in {_called(dtype)}" for place, dtype in found])
        raise MeasureError(
            f"{name} is in {_called(main)} but for {others}; expected one precision: convert it whole, "
            f"model.to({main}), or load it so."
        )


def is_planned(network: Any, place: str, dtype: torch.dtype, main: torch.dtype) -> bool:
    """Whether transformers itself keeps a parameter of this family in another precision than the rest."""
    plan: Mapping[str, torch.dtype] = getattr(network, "_get_dtype_plan", lambda _: {})(main)
    return any(part in place and kept == dtype for part, kept in plan.items())


def _most(tensors: Iterable[tuple[Any, Tensor]]) -> Any:
    """Of what tensors are in, or on, the one with the most numbers."""
    counts: Counter[Any] = Counter()
    for kind, tensor in tensors:
        counts[kind] += tensor.numel()
    return counts.most_common(1)[0][0]


def _some(told: list[str]) -> str:
    return ", ".join(told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")


# What files say


def check_stored(name: str, network: Any, types: Mapping[str, str]) -> None:
    """Raise `MeasureError` where weights are stored as what is no floating-point number: loading would cast them.

    `types` are those of the stored tensors, by name.
    """
    called = {tensor: _STATED.get(kind, kind) for tensor, kind in types.items()}
    odd = {tensor: kind for tensor, kind in called.items() if kind not in map(_called, FLOATS)}
    parameters = [place for place, _ in network.named_parameters(remove_duplicate=False)] if odd else []
    ignored = [re.compile(pattern) for pattern in network._keys_to_ignore_on_load_unexpected or ()]
    buffers = [place for place, buffer in network.named_buffers() if buffer.dtype not in FLOATS] if odd else []
    for tensor, kind in odd.items():
        ignorable = any(pattern.search(tensor) for pattern in ignored) or _PLACES.search(tensor.rpartition(".")[2])
        harmless = ignorable or _names(tensor, buffers)
        if _names(tensor, parameters) or not harmless:
            raise MeasureError(
                f"{name}: {tensor} is stored as {kind}, and its config.json says nothing of a "
                f"quantization by which to read it; {_ORIGINAL}."
            )


def _names(tensor: str, places: Iterable[str]) -> bool:
    """Whether a stored tensor is one of these, with or without a prefix."""
    return any(f".{place}".endswith(f".{tensor}") or f".{tensor}".endswith(f".{place}") for place in places)
