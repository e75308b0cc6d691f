"""Starts and stops, and hours of work made short: nothing piles up."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from blender_saga.client.backend import Backend
from blender_saga.wire.messages import Cluster, LoadScene, Status, Train, TrainSettings, Unload
from tests.faults.real import (
    FAKE,
    REAL,
    SECONDS,
    balls,
    click_on,
    handles,
    launch_of,
    load,
    megabytes,
    pid_of,
    train_until,
    until,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="handles are counted as POSIX does it")


def cycles(folder: Path, script: Path, count: int) -> tuple[list[float], list[psutil.Process]]:
    """Start, load and stop; memory of this side in MB after each, and the processes there were."""
    backend = Backend(launch_of(folder, script))
    memory, processes, cloud = [], [], balls(500)
    for _ in range(count):
        backend.restart()
        load(backend, cloud)
        processes.append(psutil.Process(pid_of(backend)))
        backend.stop()
        memory.append(megabytes(psutil.Process().pid))
    return memory, processes


def held_now() -> tuple[int, int, int]:
    """Handles, threads and processes of this side."""
    return handles(), threading.active_count(), len(psutil.Process().children(recursive=True))


@pytest.mark.parametrize(("script", "what", "often"), [(FAKE, "without torch", (10, 200)), (REAL, "real", (2, 200))])
def test_start_and_stop(case, counts, tmp_path: Path, script: Path, what: str, often: tuple[int, int]) -> None:
    count = counts(*often)
    with case(f"{count} starts and stops ({what})") as row:
        threads = threading.active_count()
        cycles(tmp_path, script, 1)  # what is imported and cached at the first
        until(lambda: threading.active_count() <= threads, "the end of the first one's threads")
        before = held_now()
        began = time.monotonic()
        memory, processes = cycles(tmp_path, script, count)
        row.right((time.monotonic() - began) / count)
        until(lambda: all(now <= was for now, was in zip(held_now(), before, strict=True)), f"no more than {before}")
        after = held_now()
        assert not any(process.is_running() for process in processes) and len(set(processes)) == count
        assert {p.name for p in tmp_path.iterdir()} == {"backend.log", "backend.previous.log"}
        grown = memory[-1] - memory[0]
        assert grown < 20 + 0.05 * count, "MB on Blender's side"
        row.lost = "nothing"
        row.remark = (
            f"handles, threads, processes {before} before, {after} after; {grown:+.1f} MB; seconds: of one cycle"
        )


ENDLESS = TrainSettings(recipe="paper", steps=100_000, views=4, width=64, height=48, pixels=64)


class Soak:
    """Everything a user does, again and again, at one backend."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self._backend, self._folder, self._rounds = backend, folder, 0
        self._clouds = [balls(3000), balls(4000)]

    def turn(self) -> None:
        """Load, train, click, cluster, cancel a training, forget."""
        cloud = self._clouds[self._rounds % 2]
        self._rounds += 1
        scene, model = cloud.fingerprint(), str(self._folder / f"{len(cloud.means)}.saga")
        self._ask(LoadScene(scene, cloud))
        method = ("saga", "click-gaussian", "segments")[self._rounds % 3]
        self._ask(Train(scene, model, TrainSettings(method, steps=30, views=4, width=64, height=48, pixels=64)))
        for thing in range(5):
            self._ask(click_on(scene, thing, scores=True))
        self._ask(Cluster(scene))
        endless = train_until(self._backend, Train(scene, model, ENDLESS))  # as far in every round: memory is compared
        self._backend.cancel(endless)
        self._backend.wait(endless, SECONDS)
        self._ask(Status())
        self._ask(Unload(scene))

    def _ask(self, message: object) -> object:
        return self._backend.wait(self._backend.submit(message), SECONDS).outcome()


def slope(seconds: list[float], values: list[float]) -> float:
    """Of the straight line through the later two thirds, per hour: at first, what is compiled and cached comes in."""
    first = len(seconds) // 3
    return float(np.polyfit(seconds[first:], values[first:], 1)[0]) * 3600


def test_hours_of_work_in_minutes(case, counts, backends, tmp_path: Path) -> None:
    minutes = counts(reduced=20, full=300) / 60
    with case(f"soak: everything a user does, for {60 * minutes:.0f} s") as row:
        backend = backends()
        backend.wait_connected(SECONDS)
        soak, pid = Soak(backend, tmp_path), pid_of(backend)
        for _ in range(3):  # each method once
            soak.turn()
        began, times, memory, own, open_files = time.monotonic(), [], [], [], []
        while time.monotonic() - began < 60 * minutes or len(times) < 6:
            soak.turn()
            times.append(time.monotonic() - began)
            memory.append(megabytes(pid))
            own.append(megabytes(psutil.Process().pid))
            open_files.append(handles(pid))
        grown = np.mean(memory[-3:]) - np.mean(memory[len(memory) // 3 :][:3])
        assert open_files[-1] <= max(open_files[: len(open_files) // 2]), open_files
        assert grown < 40 + 0.05 * len(memory), memory
        row.lost = "nothing"
        row.remark = (
            f"{len(times)} rounds of load, train, 5 clicks, cluster, cancel, unload; backend {memory[0]:.0f} MB at the "
            f"first, {memory[-1]:.0f} MB at the last, {slope(times, memory) / len(times) * times[-1] / 3600:+.3f} MB a "
            f"round; {open_files[-1]} handles; this side {own[0]:.0f} to {own[-1]:.0f} MB"
        )
