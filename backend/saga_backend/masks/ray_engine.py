"""Masks on many machines: a task for each picture on a Ray cluster, the results in the same folder as from one.

The weights go to the workers with the first task, so that only the machine that asks needs the file. A worker that is
lost is replaced by Ray and its picture done again elsewhere.
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
from .sam.model import sam_of_bytes
from .sam.settings import SamSettings

RETRIES = 5
"""How often a picture is begun again because its worker was lost."""
_PATIENCE = 0.5  # seconds until it is looked whether somebody has cancelled
_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, eq=False)
class Weights:
    """What every worker needs: name, content and SHA-256 of the file of weights, and the settings."""

    name: str
    content: np.ndarray
    sha256: str
    settings: SamSettings


def find_masks(picture: np.ndarray, key: str, weights: Weights) -> bytes:
    """What a worker does: the file of the masks of a picture (cache.file_bytes)."""
    return file_bytes(_generator(weights).masks(picture), key)


def _generator(weights: Weights) -> SamGenerator:
    """The worker's own model, kept from task to task."""
    key = (weights.sha256, weights.settings)
    if key not in _kept:
        from ..common.device import find_device

        _kept.clear()
        sam = sam_of_bytes(Path(weights.name), weights.content.data, weights.sha256, find_device("auto").name)
        _kept[key] = SamGenerator(sam, weights.settings)
    return _kept[key]


_kept: dict[tuple[str, SamSettings], SamGenerator] = {}


@dataclass(eq=False)
class RayEngine:
    """Finds masks on a Ray cluster (masks.extract.Engine).

    Attributes:
        weights: file of weights, on this machine.
        sha256: of its content.
        settings: how.
        address: of the cluster; "": one is started on this machine, and ended afterwards.
        workers: of the one that is started; 0: as many as there are cores.
        find: what a worker does.
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
            UserError: if Ray is not there or not reachable, or a picture's workers were lost again and again.
            Cancelled: if the control was cancelled.
        """
        ray = import_ray()
        if not tasks:
            return
        own = self._connect(ray)
        try:
            yield from self._spread(ray, tasks, pictures, control)
        finally:
            if own:
                ray.shutdown()

    def _connect(self, ray: ModuleType) -> bool:
        """Join the cluster, or start one; whether it is to be ended afterwards."""
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
            fix = "Look at `ray status` on its head; docs/user/cluster.md says how one is started"
            raise UserError(f"The Ray cluster {where} cannot be used", why, fix, ErrorCode.NO_CLUSTER) from error
        return True

    def _spread(
        self, ray: ModuleType, tasks: Sequence[Task], pictures: Pictures, control: Control
    ) -> Iterator[tuple[Task, bytes]]:
        """Keep every worker busy and one picture ahead, no more: pictures wait in memory.

        Where it ends early, what is under way ends with the connection. It is not cancelled one by one: a task that
        ends at the same moment makes Ray abort this process ("Tried to complete task that was not pending").
        """
        gpus = ray.cluster_resources().get("GPU", 0)
        remote = ray.remote(num_cpus=1, num_gpus=1 if gpus else 0, max_retries=RETRIES)(self.find)
        weights = ray.put(self._weights())
        most = 2 * max(1, int(gpus or ray.cluster_resources().get("CPU", 1)))
        waiting = iter(tasks)
        running: dict[Any, Task] = {}
        done = 0
        while True:
            while len(running) < most and (task := next(waiting, None)) is not None:
                running[remote.remote(pictures.of(task.frame), task.key, weights)] = task
            if not running:
                return
            ended, _ = ray.wait(list(running), num_returns=1, timeout=_PATIENCE)
            control.progress(PHASE, done, len(tasks))
            for reference in ended:
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
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told that it runs
    try:
        import ray
    except ImportError as error:
        fix = "Install backend/requirements/cluster.txt beside the backend's packages"
        raise UserError("Ray is not installed", str(error), fix, ErrorCode.NO_CLUSTER) from error
    return ray


def _share_path() -> None:
    """Workers on this machine find this program where it was found."""
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
        fix = "Run it again: what was found is kept. Look at the workers' memory"
        raise UserError("The cluster cannot do this", why, fix, ErrorCode.NO_CLUSTER) from error
