"""Much at once: clicks by the thousand while a training runs, millions of Gaussians, hundreds of views of masks."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from blender_saga.client.backend import Backend
from blender_saga.client.connection.jobs import Job
from blender_saga.gaussians.view import View, look_at
from blender_saga.wire.messages import LoadScene, Selection, Train, TrainSettings, TrainSources
from tests.faults.real import PAPER, SECONDS, balls, click_on, load, megabytes, pid_of, train_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read as Linux tells it")
GIGABYTE = 1024.0  # MB


def click_steadily(backend: Backend, scene: str, count: int, every: float) -> list[float]:
    """Click at a steady pace, whether answers come or not; seconds until each answer."""
    sent: dict[Job, float] = {}
    took: list[float] = []
    failed: list[Job] = []

    def done(job: Job) -> None:
        took.append(time.monotonic() - sent[job])
        failed.extend([job] if not isinstance(job.result, Selection) or not job.result.count else [])

    began, pause = time.monotonic(), threading.Event()
    while len(took) < count:
        due = min(count, 1 + int((time.monotonic() - began) / every))
        while len(sent) < due:
            at = time.monotonic()
            sent[backend.submit(click_on(scene, len(sent) % 5), done)] = at
        backend.poll()
        pause.wait(0.002)
        assert time.monotonic() - began < count * every + SECONDS
    assert not failed, failed[0].error
    return took


def test_clicks_while_it_trains(case, counts, backends, tmp_path: Path) -> None:
    count = counts(reduced=100, full=1000)
    backend = backends()
    scene = load(backend, balls(20_000))
    with case(f"{count} clicks at 20 a second while it trains (20,000 Gaussians)") as row:
        training = train_until(backend, Train(scene, str(tmp_path / "model.saga"), PAPER), 5)
        backend.wait(backend.submit(click_on(scene)), SECONDS).outcome()
        step = training.progress.step
        took = click_steadily(backend, scene, count, 0.05)
        assert not training.ended and training.progress.step > step
        row.lost = "nothing"
        p50, p99 = np.percentile(took, [50, 99]) * 1000
        row.remark = (
            f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, slowest {1000 * max(took):.0f} ms; "
            f"{training.progress.step - step} steps of the training meanwhile"
        )


def test_millions_of_gaussians(case, counts, backends, tmp_path: Path) -> None:
    """Loaded, segmented, trained and clicked; the peak is that of the backend's process."""
    count = counts(reduced=200_000, full=5_000_000)
    with case(f"{count:,} Gaussians: load, train, click") as row:
        backend = backends()
        cloud = balls(count)
        began = time.monotonic()
        scene = cloud.fingerprint()
        backend.wait(backend.submit(LoadScene(scene, cloud)), SECONDS * 10).outcome()
        watched = Peak(pid_of(backend))
        views = counts(reduced=12, full=40)  # the default: of finer discs a view shows a smaller share
        settings = TrainSettings(steps=200, views=views, width=480, height=360)
        job = backend.submit(Train(scene, str(tmp_path / "model.saga"), settings))
        while not job.ended:
            watched.look()
            backend._connection.wait(0.5)
            backend.poll()
        job.outcome()
        trained = time.monotonic() - began
        clicks = []
        for thing in range(5):
            began = time.monotonic()
            selection = backend.wait(backend.submit(click_on(scene, thing)), SECONDS).outcome()
            clicks.append(time.monotonic() - began)
            watched.look()
            shares = np.unpackbits(selection.bits, count=count).reshape(-1, 5).mean(axis=0)  # of each ball
            assert 0 < selection.count < count and np.all((shares < 0.01) | (shares > 0.99)), shares  # whole balls
        assert watched.most < 24 * GIGABYTE
        row.lost = "nothing"
        row.remark = (
            f"at most {watched.most / GIGABYTE:.1f} GB; loaded and trained in {trained:.0f} s, "
            f"a click {1000 * np.median(clicks):.0f} ms"
        )


class Peak:
    """The most memory a process has had, MB."""

    def __init__(self, pid: int) -> None:
        self._pid, self.most = pid, 0.0

    def look(self) -> None:
        lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        self.most = max(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def around(count: int) -> tuple[View, ...]:
    """Views in a circle around the balls."""
    K = np.array([[90.0, 0, 60], [0, 90.0, 40], [0, 0, 1]])
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    eyes = np.stack([7 * np.sin(angles), -7 * np.cos(angles), 2 + np.sin(5 * angles)], axis=1)
    return tuple(View(look_at(eye, np.zeros(3), np.array([0, 0, 1.0])), K, 120, 80) for eye in eyes)


def label_maps(folder: Path, views: tuple[View, ...]) -> tuple[str, ...]:
    """A PNG label map for each view: every ball a disc, the nearer before the farther; their names."""
    folder.mkdir()
    rows, columns = np.mgrid[0:80, 0:120] + 0.5
    for index, view in enumerate(views):
        labels = np.zeros((80, 120), np.uint8)
        centers = np.array([[1.2 * (thing - 2), 0, 0, 1] for thing in range(5)]) @ view.viewmat.T
        for thing in np.argsort(-centers[:, 2]):
            x, y, z = centers[thing, :3]
            column, row = 90 * x / z + 60, 90 * y / z + 40
            labels[(columns - column) ** 2 + (rows - row) ** 2 < (90 * 0.5 / z) ** 2] = thing + 1
        Image.fromarray(labels).save(folder / f"view_{index:04d}.png")
    return tuple(f"view_{index:04d}" for index in range(len(views)))


def test_masks_of_many_views(case, counts, backends, tmp_path: Path) -> None:
    count = counts(reduced=20, full=500)
    views = around(count)
    names = label_maps(tmp_path / "masks", views)
    with case(f"masks of {count} views") as row:
        backend = backends()
        scene = load(backend, balls(20_000))
        before = megabytes(pid_of(backend))
        began = time.monotonic()
        sources = TrainSources(views, names, masks="files", masks_folder=str(tmp_path / "masks"))
        settings = TrainSettings(steps=200, views=1000, width=120, height=80)
        job = backend.submit(Train(scene, str(tmp_path / "model.saga"), settings, sources))
        trained = backend.wait(job, SECONDS * 10).outcome()
        seconds = time.monotonic() - began
        assert trained.views == count and trained.masks > count
        watched = Peak(pid_of(backend))
        watched.look()
        selection = backend.wait(backend.submit(click_on(scene)), SECONDS).outcome()
        assert 0 < selection.count < selection.total / 2
        row.lost = "nothing"
        row.remark = (
            f"{trained.masks} masks in {seconds:.0f} s; at most {watched.most / GIGABYTE:.1f} GB "
            f"({before / GIGABYTE:.1f} before); of {psutil.virtual_memory().total / 2**30:.0f} GB"
        )
