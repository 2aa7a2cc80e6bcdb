"""Workers as actors of Ray, on one machine or many: each draws loads from the run's folder, and Ray keeps no state.

Nothing goes through Ray but the name of that folder and a sentence back. Ray places the actors, one a GPU where there
are any, and starts them anew when they die.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from measure.spec import NotMeasuredError


def _ray() -> Any:
    try:
        with warnings.catch_warnings():
            # What Ray has to say to those who wrote it.
            warnings.simplefilter("ignore")
            import ray
    except ImportError:
        raise NotMeasuredError(
            "--engine ray needs Ray, which is not installed here; install it (`pip install 'stable-regions[ray]'`), or "
            "run several processes with --shard K/N, which need nothing."
        ) from None
    return ray


def launcher(config: pytest.Config) -> RayActors:
    """Raises `NotMeasuredError` where Ray is missing. None of pytest's options are for it."""
    return RayActors()


class RayActors:
    """Workers of a Ray cluster: that of RAY_ADDRESS, else one of this machine alone."""

    def __init__(self) -> None:
        self._ray = _ray()
        self._began = False
        self._waiting: dict[Any, int] = {}
        self._actors: list[Any] = []

    def workers(self) -> int:
        """As many as the cluster has GPUs, or processors where it has none."""
        self._join()
        has = self._ray.cluster_resources()
        return max(1, int(has.get("GPU", 0) or has.get("CPU", 1)))

    def _join(self) -> None:
        if self._ray.is_initialized():
            return
        # An actor that has no GPU shall not be told that there is none: what the machine has is asked of torch.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if not os.environ.get("RAY_ADDRESS"):
            # Results do not pass through its memory.
            options |= {"include_dashboard": False, "object_store_memory": 100 * 2**20}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise NotMeasuredError(
                f"Ray does not start, or cannot be reached ({str(error).splitlines()[0]}); see `ray status`, and set "
                "RAY_ADDRESS to the cluster's."
            ) from None
        self._began = True

    def start(self, run: Path, count: int) -> None:
        """Start the actors."""
        self._join()
        gpus = 1 if self._ray.cluster_resources().get("GPU", 0) else 0
        actor = self._ray.remote(
            num_gpus=gpus, num_cpus=1, max_restarts=-1, max_task_retries=-1, runtime_env=_environment()
        )(_Puller)
        self._actors = [actor.remote() for _ in range(count)]
        self._waiting = {one.work.remote(str(run), number): number for number, one in enumerate(self._actors)}

    @property
    def alive(self) -> int:
        """How many actors have not ended their work."""
        return len(self._waiting)

    def look(self) -> list[str]:
        """What those actors said that cannot go on; Ray starts anew those that died."""
        if not self._waiting:
            return []
        ended, _ = self._ray.wait(list(self._waiting), num_returns=len(self._waiting), timeout=0)
        said = []
        for one in ended:
            number = self._waiting.pop(one)
            try:
                why = self._ray.get(one)
            except self._ray.exceptions.RayError as error:
                why = str(error).strip().splitlines()[-1]
            said += [f"worker {number}: {why}"] if why else []
        return said

    def stop(self) -> None:
        """End the actors, and Ray where it was started here."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors, self._waiting = [], {}
        if self._began:
            self._ray.shutdown()
            self._began = False


def _environment() -> dict[str, Any]:
    """What an actor's process finds of this one: where packages are. Not which GPUs it may use: Ray decides that."""
    path = os.pathsep.join(dict.fromkeys(one for one in sys.path if one and Path(one).is_dir()))
    kept = {name: os.environ[name] for name in os.environ if name.startswith(("HF_", "OMP_", "TRANSFORMERS_"))}
    return {"env_vars": {**kept, "PYTHONPATH": path}}


class _Puller:
    """What runs in an actor."""

    def work(self, run: str, number: int) -> str | None:
        """Work until all is done; see `pool_worker.run`."""
        from measure.harness.engines import pool_worker

        return pool_worker.run(run, number)
