"""A real backend process through the add-on's own client, a scene for it, and what is done to it from outside."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from blender_saga.client.backend import Backend
from blender_saga.client.connection.jobs import Job
from blender_saga.client.connection.process import Launch
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View, look_at
from blender_saga.wire.messages import Click, LoadScene, ObjectPoints, Prompt, SelectOptions, Train, TrainSettings
from tests.paths import ROOT

REAL = ROOT / "backend" / "launch.py"
FAKE = ROOT / "tests" / "fakes" / "launch_fake.py"
SECONDS = 240
"""Limit of what hangs; nothing waits that long when all is well."""
PAPER = TrainSettings(recipe="paper", steps=100_000, views=6, width=96, height=72, pixels=256)
"""A training that goes on until something ends it; its features belong to the Gaussians."""
QUICK = TrainSettings(steps=200, views=6, width=96, height=72, pixels=128)


def launch_of(folder: Path, script: Path = REAL, name: str = "backend.log", python: Path | None = None) -> Launch:
    """What is started: the repository's backend by this Python."""
    return Launch(python or Path(sys.executable), script, ROOT / "blender_saga", folder / name, "cpu")


def balls(count: int = 3000, things: int = 5) -> GaussianCloud:
    """Spheres of discs in a row, each of a color of its own."""
    rng = np.random.default_rng(3)
    number = np.arange(count) % things
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    centers = np.stack([1.2 * (number - (things - 1) / 2), np.zeros(count), np.zeros(count)], axis=1)
    half = normals + np.array([0, 0, 1.0])  # half-way rotation: takes z to the normal
    quats = np.stack([half[:, 2], -half[:, 1], half[:, 0], np.zeros(count)], axis=1) + 1e-9
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    size = 0.75 / np.sqrt(count / things)
    colors = np.random.default_rng(4).normal(size=(things, 1, 3))
    return GaussianCloud(
        centers + 0.5 * normals, quats, np.tile([size, size, size / 50], (count, 1)), np.full(count, 0.95),
        colors[number],
    )  # fmt: skip


def arrays_of(cloud: GaussianCloud) -> bytes:
    """Every byte of a cloud."""
    return b"".join(a.tobytes() for a in (cloud.means, cloud.quats, cloud.scales, cloud.opacities, cloud.sh))


def front(width: int = 480, height: int = 160) -> View:
    """All balls side by side."""
    K = np.array([[400.0, 0, width / 2], [0, 400.0, height / 2], [0, 0, 1]])
    return View(look_at(np.array([0, -6.0, 0]), np.zeros(3), np.array([0, 0, 1.0])), K, width, height)


def click_on(scene: str, thing: int = 2, things: int = 5, **options: object) -> Click:
    """A click in the middle of a ball."""
    view = front()
    place = view.viewmat @ [1.2 * (thing - (things - 1) / 2), 0, 0, 1]
    pixel = (view.K @ place[:3] / place[2])[:2]
    prompt = Prompt(view, pixel[None].astype(np.float32))
    return Click(scene, (prompt,), (ObjectPoints(np.eye(4)),), SelectOptions(**options))


def load(backend: Backend, cloud: GaussianCloud, model_file: str = "") -> str:
    """Have a cloud loaded; its name."""
    name = cloud.fingerprint()
    backend.wait(backend.submit(LoadScene(name, cloud, model_file=model_file)), SECONDS).outcome()
    return name


def until(condition: Callable[[], bool], what: str = "it", seconds: float = SECONDS) -> None:
    """Look again and again until something outside of this process has happened."""
    ends, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < ends, f"{what} has not happened after {seconds:.0f} s"
        pause.wait(0.01)


def train_until(backend: Backend, request: Train, step: int = 1, phase: str = "training") -> Job:
    """Start a training and wait until it is at a step of a phase."""
    job = backend.submit(request)

    def there() -> bool:
        backend.poll()
        assert not job.ended, job.error
        return job.progress is not None and job.progress.phase == phase and job.progress.step >= step

    until(there, f"{phase}, step {step}")
    return job


def pid_of(backend: Backend) -> int:
    """The backend's process."""
    until(lambda: backend._process is not None and backend._process._child is not None, "a process")
    return backend._process._child.pid


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def stopped(pid: int) -> bool:
    """Whether a process is held by SIGSTOP."""
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def listens_at(pid: int) -> tuple[str, int]:
    """Where a backend listens."""
    (here,) = [c.laddr for c in psutil.Process(pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    return here.ip, here.port


def answers_at(address: tuple[str, int]) -> bool:
    """Whether anybody listens there."""
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError:
        return False
    return True


def python_that(folder: Path, *lines: str) -> Path:
    """A program to start in Python's place: does some lines of shell, then becomes it."""
    path = folder / "python"
    path.write_text("\n".join(["#!/bin/sh", *lines, f'exec "{sys.executable}" "$@"' + "\n"]))
    path.chmod(0o755)
    return path


def megabytes(pid: int) -> float:
    """Memory that a process takes."""
    return psutil.Process(pid).memory_info().rss / 2**20


def handles(pid: int | None = None) -> int:
    """Open files and sockets of a process."""
    return psutil.Process(pid).num_fds()
