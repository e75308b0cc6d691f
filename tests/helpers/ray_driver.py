"""Masks on a Ray cluster of two workers, as a program of its own: Ray's threads are not for a process of many tests.

`ray_driver.py FOLDER` tells four stories and writes what came of them to FOLDER/told.json: without Ray, a worker that
is killed, a worker that refuses, a run that is cancelled and taken up again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from blender_saga.errors import Cancelled, UserError
from saga_backend.cameras.photo import virtual_frames
from saga_backend.common.progress import Control
from saga_backend.masks.cache import MaskCache
from saga_backend.masks.extract import Engine, Local, Pictures, extract, tasks_of
from saga_backend.masks.ray_engine import RayEngine, Weights, find_masks
from saga_backend.masks.sam.model import open_sam
from saga_backend.masks.sam.settings import SamSettings
from saga_backend.rasterizer.select import CPU
from tests.helpers.clicks import CLOUD
from tests.helpers.tiny_sam import OPEN, tiny_sam
from tests.helpers.twins import toy_views

SETTINGS = SamSettings(**OPEN)
FRAMES = virtual_frames([view.resized(64, 48) for view in toy_views()[:4]])
PICTURES = Pictures(CLOUD, CPU, 64)


def dying(picture: np.ndarray, key: str, weights: Weights, folder: str) -> bytes:
    """As find_masks, but the first worker that comes here is killed, as by a machine that goes down."""
    try:
        (Path(folder) / "killed").touch(exist_ok=False)
    except FileExistsError:
        (Path(folder) / f"{os.getpid()}-{key[:8]}").touch()
        return find_masks(picture, key, weights)
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


def refusing(picture: np.ndarray, key: str, weights: Weights) -> bytes:
    raise UserError("A worker cannot do this", "it has no memory", "Buy some", "no_memory")


class Watching(Control):
    """Keeps the progress; cancels itself after so many steps of finding masks."""

    def __init__(self, most: int = 1 << 30) -> None:
        super().__init__()
        self.steps: list[tuple[int, int]] = []
        self._most = most

    def emit(self, phase: str, step: int, total: int) -> None:
        if phase == "finding masks":
            self.steps.append((step, total))
            if step >= self._most:
                self.cancel()


def make(engine: Engine, folder: Path, control: Control | None = None) -> None:
    tasks = tasks_of(FRAMES, PICTURES, SETTINGS, open_sam(tiny_sam()).sha256)
    extract(tasks, MaskCache(folder), engine, PICTURES, control or Control())


def engine() -> RayEngine:
    return RayEngine(tiny_sam(), open_sam(tiny_sam()).sha256, SETTINGS, workers=2)


def refused(folder: Path, how: RayEngine) -> dict[str, str]:
    try:
        make(how, folder)
    except UserError as error:
        return {"code": error.code, "sentence": str(error)}
    return {}


def killed(folder: Path) -> dict:
    marks = folder / "marks"
    marks.mkdir()
    make(Local(open_sam(tiny_sam()), SETTINGS), folder / "local")
    watching = Watching()

    def find(picture: np.ndarray, key: str, weights: Weights) -> bytes:
        return dying(picture, key, weights, str(marks))

    make(replace(engine(), find=find), folder / "spread", watching)
    return {"steps": watching.steps, "marks": [path.name for path in marks.iterdir()]}


def cancelled(folder: Path) -> dict:
    first, second = Watching(most=1), Watching()
    try:
        make(engine(), folder / "again", first)
        ended = "finished"
    except Cancelled:
        ended = "cancelled"
    kept = len(list((folder / "again").iterdir()))
    make(engine(), folder / "again", second)
    return {"ended": ended, "kept": kept, "steps": second.steps}


def main(folder: Path) -> None:
    sys.modules["ray"] = None  # as if it were not installed
    told: dict = {"without": refused(folder / "without", engine())}
    del sys.modules["ray"]
    with_cluster = engine()
    import ray

    with_cluster._connect(ray)  # one cluster for all: it takes seconds to start
    told |= {"killed": killed(folder), "refused": refused(folder / "refused", replace(engine(), find=refusing))}
    told["cancelled"] = cancelled(folder)
    (folder / "told.json").write_text(json.dumps(told), encoding="utf-8")
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
