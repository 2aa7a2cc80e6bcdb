"""Workers as `slurm` submits them, by submitit's local executor: what is meant for a cluster, tried on one machine."""

from __future__ import annotations

import pytest

from measure.harness.engines.launchers.slurm import SlurmJobs, parameters


def launcher(config: pytest.Config) -> SlurmJobs:
    """Raises `MeasureError` for parameters that are none, or where submitit is missing."""
    return SlurmJobs("local", parameters(config.getoption("--slurm")))
