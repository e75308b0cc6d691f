"""Memory, disk and socket give out: one sentence, and the backend goes on or is started again."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from blender_saga.client.backend import Backend
from blender_saga.client.connection.connection import ConnectionState
from blender_saga.client.connection.jobs import Job
from blender_saga.client.connection.process import BackendProcess
from blender_saga.wire import codec
from blender_saga.wire.channel import connect, open_socket
from blender_saga.wire.messages import LoadScene, ObjectPoints, SceneState, Train, TrainSettings
from tests.faults import launch_cut, launch_held
from tests.faults.real import (
    QUICK,
    SECONDS,
    arrays_of,
    balls,
    click_on,
    launch_of,
    load,
    pid_of,
    python_that,
    train_until,
    until,
)

if sys.platform != "linux":
    pytest.skip("limits are set on a running process as Linux does it", allow_module_level=True)
import resource

NO_LIMIT = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
MEGABYTE = 2**20


def limit(backend: Backend, what: int, value: int | None) -> None:
    """Limit a resource of the running backend; None: no longer."""
    bounds = NO_LIMIT if value is None else (value, resource.RLIM_INFINITY)
    resource.prlimit(pid_of(backend), what, bounds)


def starve(backend: Backend, spare: int) -> None:
    """Leave it so many bytes of memory beyond what it has now."""
    limit(backend, resource.RLIMIT_AS, psutil.Process(pid_of(backend)).memory_info().vms + spare)


def ended(backend: Backend, job: Job) -> float:
    """Wait for its end; seconds that it took."""
    began = time.monotonic()
    backend.wait(job, SECONDS)
    return time.monotonic() - began


def serves_again(backend: Backend, scene: str, cloud) -> str:
    """With memory again it answers, or has died and is restarted; in words."""
    if backend.state is ConnectionState.connected:
        limit(backend, resource.RLIMIT_AS, None)
        backend.wait(backend.submit(click_on(scene)), SECONDS).outcome()
        return "the process goes on"
    backend.restart()
    load(backend, cloud)
    return "the process ended and was restarted"


def told(job: Job) -> str:
    """The sentence; it must be about memory, or about a process that has died of it."""
    sentence = job.error.sentence()
    assert job.error.code in ("no_memory", "lost"), sentence
    return f'"{sentence}"'


def short(sentence: str, folder: Path) -> str:
    """Without the path of this run."""
    return sentence.replace(f"{folder}/", "")


def test_memory_runs_out_in_a_training(case, backends, tmp_path: Path) -> None:
    cloud = balls(20_000)
    before, backend = arrays_of(cloud), backends()
    scene = load(backend, cloud)
    model = tmp_path / "model.saga"
    backend.wait(backend.submit(Train(scene, str(model), QUICK)), SECONDS).outcome()
    first = model.read_bytes()
    with case("out of memory in a training (RLIMIT_AS)") as row:
        starve(backend, 24 * MEGABYTE)
        large = TrainSettings(steps=50, views=100, width=1280, height=960)
        job = backend.submit(Train(scene, str(model), large))
        ended(backend, job)
        began = time.monotonic()
        sentence, how = told(job), serves_again(backend, scene, cloud)
        row.right(time.monotonic() - began)
        assert model.read_bytes() == first and arrays_of(cloud) == before
        row.lost, row.remark = "nothing", f"{sentence}; {how}"


def test_memory_runs_out_in_a_query(case, backends, tmp_path: Path) -> None:
    cloud = balls(400_000)
    backend = backends()
    small = load(backend, balls(3000))
    backend.wait(backend.submit(Train(small, "", QUICK)), SECONDS).outcome()
    scene = load(backend, cloud)
    model = tmp_path / "model.saga"
    settings = TrainSettings(method="segments", views=6, width=96, height=72)
    backend.wait(backend.submit(Train(scene, str(model), settings)), SECONDS).outcome()
    first = model.read_bytes()
    backend.wait(backend.submit(click_on(scene)), SECONDS).outcome()
    with case("out of memory in a query (RLIMIT_AS)") as row:
        starve(backend, MEGABYTE // 4)
        copies = tuple(ObjectPoints(np.eye(4)) for _ in range(40))  # 16 million points: more than it has ever held
        job = backend.submit(replace(click_on(scene, scores=True), objects=copies))
        ended(backend, job)
        began = time.monotonic()
        sentence, how = told(job), serves_again(backend, scene, cloud)
        row.right(time.monotonic() - began)
        assert model.read_bytes() == first
        row.lost, row.remark = "nothing", f"{sentence}; {how}"


def test_the_disk_is_full(case, backends, tmp_path: Path, monkeypatch) -> None:
    """No file may grow beyond 4 kB: neither model nor checkpoint nor log can be written."""
    monkeypatch.setenv("BLENDER_SAGA_CHECKPOINT_SECONDS", "0")
    cloud, backend = balls(), backends()
    scene = load(backend, cloud)
    model = tmp_path / "model.saga"
    backend.wait(backend.submit(Train(scene, str(model), QUICK)), SECONDS).outcome()
    first = model.read_bytes()
    with case("disk full while it writes model, checkpoint and log (RLIMIT_FSIZE)") as row:
        limit(backend, resource.RLIMIT_FSIZE, 4096)
        job = backend.submit(Train(scene, str(model), QUICK))
        ended(backend, job)
        began = time.monotonic()
        unsaved = job.outcome().unsaved
        assert "room on its disk" in unsaved
        assert model.read_bytes() == first
        backend.wait(backend.submit(click_on(scene)), SECONDS).outcome()
        row.right(time.monotonic() - began)
        limit(backend, resource.RLIMIT_FSIZE, None)
        backend.wait(backend.submit(Train(scene, str(model), QUICK)), SECONDS).outcome()
        assert [p.name for p in tmp_path.iterdir() if ".saga" in p.name] == ["model.saga"]
        row.lost, row.remark = "nothing", f'"{short(unsaved, tmp_path)}"; the model stays in memory'


def test_a_small_disk_fills_up(case, backends, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("BLENDER_SAGA_CHECKPOINT_SECONDS", "0")
    disk = tmp_path / "disk"
    disk.mkdir()
    with case("disk full while it writes the model (tmpfs of 64 kB)") as row:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "saga-test", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small disk is not allowed here")
        try:
            cloud, backend = balls(), backends()
            scene = load(backend, cloud)
            job = backend.submit(Train(scene, str(disk / "model.saga"), QUICK))
            ended(backend, job)
            began = time.monotonic()
            unsaved = job.outcome().unsaved
            assert "cannot be saved" in unsaved
            assert not list(disk.glob("*.part")) and not (disk / "model.saga").exists()
            backend.wait(backend.submit(click_on(scene)), SECONDS).outcome()
            row.right(time.monotonic() - began)
            again = backend.submit(Train(scene, str(tmp_path / "model.saga"), QUICK))
            backend.wait(again, SECONDS).outcome()
            row.lost, row.remark = (
                "nothing",
                f'"{short(unsaved, disk)}"; it answers clicks; then trained to another disk',
            )
        finally:
            backend.stop()
            subprocess.run(["umount", "-l", str(disk)], check=True)


def test_the_log_cannot_be_written(case, backends, tmp_path: Path) -> None:
    with case("the log's disk is full (/dev/full)") as row:
        backend = backends(python=python_that(tmp_path, "exec 2>/dev/full"))
        cloud = balls()
        scene = load(backend, cloud)
        backend.wait(backend.submit(Train(scene, str(tmp_path / "model.saga"), QUICK)), SECONDS).outcome()
        backend.wait(backend.submit(click_on(scene)), SECONDS).outcome()
        row.lost, row.remark = "nothing", "it starts, trains and answers without a log"


def test_the_client_hangs_up_half_way(case, tmp_path: Path) -> None:
    """A client goes away in the middle of an array; the next one finds the backend as it was."""
    process = BackendProcess(launch_of(tmp_path))
    try:
        address = process.start()
        honest = open_socket(address)
        connect(honest, process.key, "a test")
        frame = codec.encode(1, LoadScene("x", balls()))
        with case("socket closed half-way through an array, by Blender's side") as row:
            cut = open_socket(address)
            connect(cut, process.key, "a test")
            cut._socket.sendall(struct.pack("!i", len(frame)) + frame[: len(frame) // 2])
            began = time.monotonic()
            cut._socket.shutdown(socket.SHUT_RDWR)
            honest.send_frame(frame)
            assert isinstance(honest.receive()[1], SceneState)
            row.right(time.monotonic() - began)
            child = psutil.Process(process._child.pid)
            until(lambda: sum(c.status == "ESTABLISHED" for c in child.net_connections("tcp")) == 1, "one client")
            row.lost = "nothing"
    finally:
        process.stop()


def test_the_backend_hangs_up_half_way(case, backends, tmp_path: Path, monkeypatch) -> None:
    flag = tmp_path / "cut"
    monkeypatch.setenv(launch_cut.FILE_VARIABLE, str(flag))
    backend, cloud = backends(script=Path(launch_cut.__file__)), balls()
    scene = load(backend, cloud)
    model = tmp_path / "model.saga"
    backend.wait(backend.submit(Train(scene, str(model), QUICK)), SECONDS).outcome()
    first = model.read_bytes()
    with case("socket closed half-way through an array, by the backend's side") as row:
        flag.touch()
        job = backend.submit(click_on(scene, scores=True))
        row.right(ended(backend, job))
        assert job.error.code == "lost" and "Restart" in backend.error and backend.state is ConnectionState.lost
        flag.unlink()
        backend.restart()
        load(backend, cloud, str(model))
        backend.wait(backend.submit(click_on(scene, scores=True)), SECONDS).outcome()
        assert model.read_bytes() == first
        row.lost, row.remark = "nothing", f'"{backend.error or job.error.sentence()}"'


def test_the_socket_breaks_while_it_trains(case, backends, tmp_path: Path, monkeypatch) -> None:
    """The training is cancelled with its client, and goes on from its checkpoint."""
    monkeypatch.setenv("BLENDER_SAGA_CHECKPOINT_SECONDS", "0")
    hold = tmp_path / "hold"
    monkeypatch.setenv(launch_held.FILE_VARIABLE, str(hold))
    backend, cloud = backends(script=Path(launch_held.__file__)), balls()
    scene = load(backend, cloud)
    request = Train(scene, str(tmp_path / "model.saga"), QUICK)
    with case("socket broken while it trains") as row:
        hold.write_text("training")  # it does not end before
        job = train_until(backend, request, 20)
        began = time.monotonic()
        backend._connection._channel.close()
        until(lambda: backend.poll() and backend.state is ConnectionState.lost, "the loss")
        row.right(time.monotonic() - began)
        assert job.error.code == "lost"
        hold.unlink()
        backend.restart()
        load(backend, cloud)
        trained = backend.wait(backend.submit(request), SECONDS).outcome()
        assert "went on from step" in trained.notes[0]
        row.lost, row.remark = "nothing", trained.notes[0]
