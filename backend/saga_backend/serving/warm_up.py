"""Compile the functions of training and clicks once for each machine, by a tiny training and a click.

numba caches compiled functions in the folder NUMBA_CACHE_DIR. If Blender has set it (client/connection/process.py), a
stamp file in it marks the finished preparation. If it is not set, in development, functions compile on first use.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from pathlib import Path

import numba
import numpy as np
from llvmlite.binding import get_host_cpu_name

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View, look_at
from blender_saga.wire.messages import CleanUp, Click, LoadScene, Prompt, SelectOptions, Train, TrainSettings

from .. import __version__
from ..common.device import find_device
from ..common.progress import Control

PHASE = "preparing (once)"
_PHASES = 11  # of a training, masks in pictures, and a click
_SETTINGS = TrainSettings(steps=2, views=3, width=64, height=48, pixels=16)
_log = logging.getLogger(__name__)
_running = threading.Lock()


def warm_up(control: Control) -> None:
    """Compile, unless this version has done so on this machine.

    Raises:
        Cancelled: if the control was cancelled.
    """
    stamp = _stamp()
    if stamp is None or stamp.exists() or not _running.acquire(blocking=False):  # its own training calls it too
        return
    try:
        _train_and_click(control)
    except UserError:  # functions compile on first use instead
        _log.exception("The preparation failed")
    finally:
        _running.release()
    _write(stamp)


def _write(stamp: Path) -> None:
    with contextlib.suppress(OSError):
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(
            "The compiled functions of numba lie beside this file. All of them may be deleted.\n", encoding="utf-8"
        )


def _stamp() -> Path | None:
    folder = os.environ.get("NUMBA_CACHE_DIR")
    return Path(folder, f"prepared-{__version__}-{numba.__version__}-{get_host_cpu_name()}.txt") if folder else None


class _PhaseCounter(Control):
    """Counts the phases of the tiny training as steps of one phase for the user."""

    def __init__(self, control: Control) -> None:
        super().__init__()
        self._control, self._phases = control, [""]

    def emit(self, phase: str, step: int, total: int) -> None:
        if phase != self._phases[-1]:
            self._phases.append(phase)
        self._control.progress(PHASE, min(len(self._phases) - 2, _PHASES - 1), _PHASES)


def _train_and_click(control: Control) -> None:
    from .session import Session

    counter = _PhaseCounter(control)
    session = Session("cpu")
    session.load_scene(LoadScene("balls", _balls()))
    session.train(Train("balls", settings=_SETTINGS), counter)
    K = np.array([[60, 0, 32], [0, 60, 24], [0, 0, 1.0]])
    view = View(look_at(np.array([1.5, -6, 1]), np.array([1.5, 0, 0]), np.array([0, 0, 1])), K, 64, 48)
    _compare_masks(view, counter)
    counter.emit("clicking", 0, 1)
    prompt = Prompt(view, np.array([[17, 24]], np.float32))
    every = CleanUp(True, True, True, True)
    for method in ("auto", "saga"):
        session.click(Click("balls", (prompt,), options=SelectOptions(method, clean_up=every)))


def _compare_masks(view: View, control: Control) -> None:
    """Compile the functions for masks in pictures: the masks are the two halves of three equal pictures."""
    from ..rasterizer.select import CPU
    from ..training.preparation import picture_masks, rasterize

    halves = np.zeros((2, view.height, view.width), bool)
    halves[0, :, : view.width // 2] = halves[1, :, view.width // 2 :] = True
    picture_masks(rasterize(_balls(), [view] * 3, CPU, 0, control), [halves] * 3, CPU, control)


def _balls() -> GaussianCloud:
    """Two balls of different colors."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(600, 3))
    ball = np.arange(600) % 2
    means = directions / np.linalg.norm(directions, axis=1, keepdims=True) + ball[:, None] * [3.0, 0, 0]
    quats = np.tile([1.0, 0, 0, 0], (600, 1))
    sh = np.where(ball[:, None], [1.0, -1, -1], [-1.0, -1, 1])[:, None]
    return GaussianCloud(means, quats, np.full((600, 3), 0.08), np.full(600, 0.9), sh)


class _PrintedProgress(Control):
    """Prints the lines of `launch.py --warm-up` for client/install/installation.py."""

    _last = ""

    def emit(self, phase: str, step: int, total: int) -> None:
        line = f"{phase}: {step} of {total}"
        if line != self._last:
            self._last = line
            print(line, flush=True)


def main() -> int:
    """For Install: print the device and test the whole backend, even if all is compiled; returns the exit code.

    The tiny training and its clicks use every package of a typical session.
    """
    try:
        print(f"device: {find_device('auto').note}", flush=True)
        with _running:
            _train_and_click(_PrintedProgress())
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    stamp = _stamp()
    if stamp is not None:
        _write(stamp)
    return 0
