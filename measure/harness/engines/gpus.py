"""The GPUs of this machine: how many there are, and whether the one in use has gone. Measures nothing."""

from __future__ import annotations

import os

import torch

from measure.spec import NotMeasuredError

# What CUDA says where a device has gone, not where a kernel was wrong.
_LOST = (
    "no CUDA-capable device",
    "no CUDA GPUs are available",
    "busy or unavailable",
    "invalid device ordinal",
    "GPU is lost",
    "fell off the bus",
    "uncorrectable ECC",
    "CUDA error: unknown error",
    "CUDA error: system not yet initialized",
    "CUDA unknown error",
    "No CUDA GPUs",
)


def count() -> int:
    """How many GPUs this process sees."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def names() -> list[str]:
    """What CUDA_VISIBLE_DEVICES must hold for a process to see one of them alone, in order."""
    # A launcher may have given this process a part of the machine's.
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    seen = [name.strip() for name in given.split(",") if name.strip()]
    return seen[: count()] if seen else [str(number) for number in range(count())]


def chosen(wanted: int | None) -> list[str]:
    """So many of `names`, all where None is given. Raises `NotMeasuredError` where there are fewer."""
    here = names()
    if wanted is not None and wanted > len(here):
        raise NotMeasuredError(f"--gpus {wanted}: this machine has {len(here) or 'none'}; give as many at most.")
    return here[:wanted]


def told_as_lost(error: BaseException) -> str | None:
    """What to say of an error by which a GPU went away; None for any other."""
    text = str(error)
    if not any(said in text for said in _LOST):
        return None
    return (
        f"the GPU is gone ({text.splitlines()[0]}); what was measured is kept: see nvidia-smi, then run the same "
        "command again."
    )


def lost() -> str | None:
    """What to say where the GPU of this process does not answer any more; None where it does."""
    try:
        torch.zeros(1, device="cuda").sum().item()
    except (RuntimeError, AssertionError) as error:
        return told_as_lost(error) or (
            f"the GPU does not answer any more ({str(error).splitlines()[0]}); what was measured is kept: see "
            "nvidia-smi, then run the same command again."
        )
    return None
