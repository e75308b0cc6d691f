"""Mask extraction on a Ray cluster: one task per picture, with the results in the same folder as on one machine.

The weights travel to the workers with the first task, so only this machine needs the file. Ray replaces a lost worker
and repeats its picture on another one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from blender_saga.errors import ErrorCode, UserError

from ..common.progress import Control
from .cache import file_bytes
from .extract import PHASE, Pictures, Task
from .sam.generator import SamGenerator
from .sam.model import open_sam_content
from .sam.settings import SamSettings

RETRIES = 5
"""Number of retries of a picture after its worker was lost."""
_POLL_SECONDS = 0.5  # interval of the check for cancellation
_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, eq=False)
class Weights:
    """Input of every worker: name, content and SHA-256 of the weights file, and the settings."""

    name: str
    content: np.ndarray
    sha256: str
    settings: SamSettings


def find_masks(picture: np.ndarray, key: str, weights: Weights) -> bytes:
    """The task of a worker: the content of a picture's mask file (cache.file_bytes)."""
    return file_bytes(_generator(weights).masks(picture), key)


def _generator(weights: Weights) -> SamGenerator:
    """The worker's model, cached between tasks."""
    key = (weights.sha256, weights.settings)
    if key not in _cache:
        from ..common.device import find_device

        _cache.clear()
        sam = open_sam_content(Path(weights.name), weights.content.data, weights.sha256, find_device("auto").name)
        _cache[key] = SamGenerator(sam, weights.settings)
    return _cache[key]


_cache: dict[tuple[str, SamSettings], SamGenerator] = {}


@dataclass(eq=False)
class RayEngine:
    """Computes masks on a Ray cluster (masks.extract.Engine).

    Attributes:
        weights: the weights file on this machine.
        sha256: SHA-256 of its content.
        settings: SAM's settings.
        address: address of the cluster; "": a cluster on this machine, started and stopped here.
        workers: workers of the started cluster; 0: one per core.
        find: the task of a worker.
    """

    weights: Path
    sha256: str
    settings: SamSettings
    address: str = ""
    workers: int = 0
    find: Callable[[np.ndarray, str, Weights], bytes] = find_masks

    def run(self, tasks: Sequence[Task], pictures: Pictures, control: Control) -> Iterator[tuple[Task, bytes]]:
        """See Engine.

        Raises:
            UserError: if Ray is not installed or not reachable, or a picture lost its worker too often.
            Cancelled: if the control was cancelled.
        """
        ray = import_ray()
        if not tasks:
            return
        own = self._connect(ray)
        try:
            yield from self._distribute(ray, tasks, pictures, control)
        finally:
            if own:
                ray.shutdown()

    def _connect(self, ray: ModuleType) -> bool:
        """Join the cluster, or start one; returns whether this process must shut it down."""
        if ray.is_initialized():
            return False
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if self.address:
                ray.init(address=self.address, **quiet)
            else:
                _share_path()
                ray.init(address="local", num_cpus=self.workers or None, include_dashboard=False, **quiet)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            where = f"at {self.address}" if self.address else "on this machine"
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            fix = "Run `ray status` on its head node; docs/user/cluster.md explains how to start a cluster"
            raise UserError(f"The Ray cluster {where} cannot be used", why, fix, ErrorCode.NO_CLUSTER) from error
        return True

    def _distribute(
        self, ray: ModuleType, tasks: Sequence[Task], pictures: Pictures, control: Control
    ) -> Iterator[tuple[Task, bytes]]:
        """Queue two pictures per worker and no more, because queued pictures stay in memory.

        On an early exit, running tasks end with the connection. Cancelling them one by one is not safe: a task that
        finishes at the same moment makes Ray abort this process ("Tried to complete task that was not pending").
        """
        gpus = ray.cluster_resources().get("GPU", 0)
        remote = ray.remote(num_cpus=1, num_gpus=1 if gpus else 0, max_retries=RETRIES)(self.find)
        weights = ray.put(self._weights())
        limit = 2 * max(1, int(gpus or ray.cluster_resources().get("CPU", 1)))
        waiting = iter(tasks)
        running: dict[Any, Task] = {}
        done = 0
        while True:
            while len(running) < limit and (task := next(waiting, None)) is not None:
                running[remote.remote(pictures.of(task.frame), task.key, weights)] = task
            if not running:
                return
            finished, _ = ray.wait(list(running), num_returns=1, timeout=_POLL_SECONDS)
            control.progress(PHASE, done, len(tasks))
            for reference in finished:
                content = _result(ray, reference, running[reference].name)
                done += 1
                yield running.pop(reference), content

    def _weights(self) -> Weights:
        return Weights(self.weights.name, np.fromfile(self.weights, np.uint8), self.sha256, self.settings)


def import_ray() -> ModuleType:
    """The package.

    Raises:
        UserError: if it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage statistics
    try:
        import ray
    except ImportError as error:
        fix = "Install backend/requirements/cluster.txt into the backend's environment"
        raise UserError("Ray is not installed", str(error), fix, ErrorCode.NO_CLUSTER) from error
    return ray


def _share_path() -> None:
    """Let workers on this machine import this package."""
    paths = [str(_ROOT / "backend"), str(_ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))


def _result(ray: ModuleType, reference: Any, name: str) -> bytes:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        why = f"the workers of {name} were lost {RETRIES + 1} times ({type(error).__name__})"
        fix = "Run the command again (finished masks are kept), and check the memory of the workers"
        raise UserError("The cluster cannot compute the masks", why, fix, ErrorCode.NO_CLUSTER) from error
