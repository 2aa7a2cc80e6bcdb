"""What the numbers of `make bench` were measured on, beside them in `benchmarks/results.json`."""

from __future__ import annotations

import os
from typing import Any

import torch


def pytest_benchmark_update_machine_info(config: object, machine_info: dict[str, Any]) -> None:
    """The accelerators, and what else tells one class of machine from another; the machine's own name tells nothing."""
    machine_info.pop("node", None)
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    machine_info["class"] = {
        "processor": machine_info.get("cpu", {}).get("brand_raw", machine_info.get("processor")),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "gpu": gpus,
        "torch": torch.__version__,
    }
