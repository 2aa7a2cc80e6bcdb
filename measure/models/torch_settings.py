"""How torch and transformers are set while a model is loaded or measured; everything is put back after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import nn

from measure.models import structure


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """No bar for a load or save that takes milliseconds; downloads keep theirs, which are huggingface_hub's."""
    from huggingface_hub import constants
    from transformers.utils import logging

    # Where the environment has switched them off for good, switching them on is warned of.
    shown = logging.is_progress_bar_enabled() and constants.HF_HUB_DISABLE_PROGRESS_BARS is None
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _switches(*, tf32: bool) -> list[tuple[Any, str, Any]]:
    """Every setting that lets torch round float32 products: (holder, attribute, the value wanted)."""
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        backends: Any = torch.backends
        exact = [(holder, "fp32_precision", "ieee") for holder in (backends.cudnn.conv, backends.mkldnn.matmul)]
        return [(backends.cuda.matmul, "fp32_precision", "tf32" if tf32 else "ieee"), *exact]
    return [(torch.backends.cuda.matmul, "allow_tf32", tf32), (torch.backends.cudnn, "allow_tf32", False)]


def keep_freed_memory() -> None:
    """Let the C library keep some 60 MB of what tensors leave, instead of giving it back and fetching it page by page.

    glibc keeps twice the largest block that it ever saw freed, up to 64 MB, and at first 128 kB: on a small model a
    third of the time went into pages. So it is shown a large block, which nobody ever touches. The process stays so.
    Other C libraries go their own ways, and so does glibc where its thresholds were set by hand.
    """
    # Where there is not even room to look, there is none to keep.
    with suppress(RuntimeError, MemoryError):
        torch.UntypedStorage(31 * 2**20, device="cpu")  # type: ignore[no-untyped-call]


@contextmanager
def as_measured(network: nn.Module, *, tf32: bool = False) -> Iterator[None]:
    """Evaluation mode, no gradients, no autocast, exact float32 unless `tf32`; all put back after, also on an error.

    What torch would compile runs as it is written.
    """
    keep_freed_memory()
    training = [module for module in network.modules() if module.training]
    wanted = _switches(tf32=tf32)
    before = [(holder, name, getattr(holder, name)) for holder, name, _ in wanted]
    compiled = any(structure.is_compiled(module) for module in network.modules())
    try:
        for module in training:
            module.training = False
        for holder, name, value in wanted:
            setattr(holder, name, value)
        device = next(network.parameters()).device.type
        eager = structure.run_eagerly() if compiled else nullcontext()
        with torch.no_grad(), eager, torch.autocast(device, enabled=False):
            yield
    finally:
        for holder, name, value in before:
            setattr(holder, name, value)
        for module in training:
            module.training = True
