"""The backend is killed in the middle of something: the user reads why, restarts, and has lost nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from safetensors.numpy import load_file

from blender_saga.client.backend import Backend
from blender_saga.client.connection.connection import ConnectionState
from blender_saga.client.connection.jobs import Job
from blender_saga.wire.messages import Selection, Train, Trained, TrainSettings
from saga_backend.methods import checkpoint
from tests.faults import launch_held
from tests.faults.real import (
    PAPER,
    QUICK,
    SECONDS,
    arrays_of,
    balls,
    click_on,
    is_gone,
    load,
    pid_of,
    stopped,
    train_until,
    until,
)

KILLED = "it was killed"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture
def cloud():
    """The scene, and that nobody changed a byte of it."""
    cloud = balls()
    before = arrays_of(cloud)
    yield cloud
    assert arrays_of(cloud) == before


@pytest.fixture
def held(backends, tmp_path: Path, monkeypatch, request) -> tuple[Backend, Path]:
    """A backend that waits at the place which this file names, as long as it is there; the parameter: the first one."""
    file = tmp_path / "hold"
    file.write_text(getattr(request, "param", ""))
    monkeypatch.setenv(launch_held.FILE_VARIABLE, str(file))
    monkeypatch.setenv(checkpoint.EVERY_VARIABLE, "0")  # every step, however many a machine does in a second
    return backends(script=Path(launch_held.__file__)), file


def kill(backend: Backend, job: Job | None = None) -> float:
    """Kill it; seconds until the client says so and every job has ended."""
    pid = pid_of(backend)
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    until(lambda: backend.poll() and backend.state in (ConnectionState.lost, ConnectionState.failed), "the loss")
    seconds = time.monotonic() - began
    assert KILLED in backend.error and "Restart" in backend.error, backend.error
    assert not backend.jobs and is_gone(pid)
    if job is not None:
        assert job.error is not None and job.error.code in ("lost", "unreachable")
    return seconds


def answers(backend: Backend, scene: str) -> None:
    """It selects one of five things."""
    selection = backend.wait(backend.submit(click_on(scene)), SECONDS).outcome()
    assert isinstance(selection, Selection) and 0 < selection.count < selection.total / 2


def test_while_it_trains(case, held, cloud, tmp_path: Path) -> None:
    """And the training goes on, to the last bit as if nothing had been. The one that is killed does not end before."""
    settings = TrainSettings(recipe="paper", steps=300, views=6, width=96, height=72, pixels=256)
    backend, hold = held
    load(backend, cloud)
    whole, cut = tmp_path / "whole.saga", tmp_path / "cut.saga"
    backend.wait(backend.submit(Train(cloud.fingerprint(), str(whole), settings)), SECONDS * 4).outcome()
    with case("kill -9 while it trains") as row:
        request = Train(cloud.fingerprint(), str(cut), settings)
        hold.write_text("training")
        job = train_until(backend, request, 20)
        reached = job.progress.step
        row.right(kill(backend, job))
        hold.unlink()
        backend.restart()
        load(backend, cloud)
        trained = backend.wait(backend.submit(request), SECONDS * 4).outcome()
        assert isinstance(trained, Trained)
        assert cut.read_bytes() == whole.read_bytes() and not kept_of(cut).parent.exists()
        answers(backend, cloud.fingerprint())
        row.lost = "nothing"
        row.remark = f"killed at step {reached}, went on from {gone_on(trained.notes)}; "
        row.remark += "the model is that of an uninterrupted training, byte for byte"


def test_checkpoints_are_as_old_as_they_may(case, counts, backends, cloud, tmp_path: Path, monkeypatch) -> None:
    """In full, with the time that users have: 20 seconds."""
    every, model = counts(reduced=1, full=20), tmp_path / "model.saga"
    monkeypatch.setenv(checkpoint.EVERY_VARIABLE, str(every))
    backend = backends()
    load(backend, cloud)
    request = Train(cloud.fingerprint(), str(model), PAPER)
    with case(f"kill -9 while it trains, a checkpoint every {every} s") as row:
        job = backend.submit(request)
        apart = two_checkpoints(backend, job, kept_of(model))
        row.right(kill(backend, job))
        kept = int(load_file(kept_of(model))["steps"][0])
        backend.restart()
        load(backend, cloud)
        again = train_until(backend, request, 1)
        assert again.progress.step >= kept > 0
        row.lost = "nothing"
        row.remark = f"checkpoints {apart:.1f} s apart; the newest was of step {kept:,}, from which it went on"


def kept_of(model: Path) -> Path:
    """Where the features of an unfinished training are."""
    return Path(f"{model}.unfinished", "features.safetensors")


def gone_on(notes: tuple[str, ...]) -> str:
    """The step of "It was interrupted and went on from step 6 of 120"."""
    assert "went on from step" in notes[0]
    return notes[0].split("step ")[1]


def two_checkpoints(backend: Backend, job: Job, kept: Path) -> float:
    """Wait for two checkpoints of a training; seconds between them."""
    written: list[float] = []

    def another() -> bool:
        backend.poll()
        assert not job.ended, "the training has ended before"
        if kept.is_file() and kept.stat().st_mtime not in written:
            written.append(kept.stat().st_mtime)
        return len(written) == 2

    until(another, "a checkpoint")
    return written[1] - written[0]


def test_while_it_answers(case, backends, cloud, tmp_path: Path) -> None:
    backend = backends()
    scene = load(backend, cloud)
    model = tmp_path / "model.saga"
    backend.wait(backend.submit(Train(scene, str(model), QUICK)), SECONDS).outcome()
    before = model.read_bytes()
    with case("kill -9 while it answers 50 clicks") as row:
        jobs = [backend.submit(click_on(scene, i % 5, scores=True)) for i in range(50)]
        backend.wait(jobs[0], SECONDS)
        row.right(kill(backend))
        assert all(job.ended for job in jobs)
        backend.restart()
        assert load(backend, cloud, str(model)) == scene
        answers(backend, scene)
        assert model.read_bytes() == before
        row.lost = "nothing"
        row.remark = f"{sum(job.error is not None for job in jobs)} of 50 clicks were told that it has stopped"


def test_while_it_writes_the_model(case, backends, cloud, tmp_path: Path) -> None:
    """The file is a pipe that takes no more after some bytes, so the process is killed in the middle of it."""
    backend = backends()
    scene = load(backend, cloud)
    model = tmp_path / "model.saga"
    backend.wait(backend.submit(Train(scene, str(model), QUICK)), SECONDS).outcome()
    before = model.read_bytes()
    with case("kill -9 while it writes the model") as row:
        part = tmp_path / f"model.saga.{pid_of(backend)}.part"
        os.mkfifo(part)
        os.utime(part, (time.time() + 3600,) * 2)  # however long the training takes, it is not one that was left
        job = backend.submit(Train(scene, str(model), QUICK))
        with part.open("rb") as pipe:
            assert pipe.read(1000)
            row.right(kill(backend, job))
        assert model.read_bytes() == before
        backend.restart()
        load(backend, cloud, str(model))
        answers(backend, scene)
        os.utime(part, (0, 0))  # as if a minute had passed
        backend.wait(backend.submit(Train(scene, str(model), QUICK)), SECONDS).outcome()
        assert [p.name for p in tmp_path.iterdir() if ".saga" in p.name] == ["model.saga"]
        row.lost, row.remark = "nothing", "the older model stays whole; what was half written goes with the next save"


@pytest.mark.parametrize("held", ["handshake"], indirect=True)
def test_in_the_handshake(case, held, cloud) -> None:
    backend, hold = held
    with case("kill -9 in the handshake") as row:
        child = psutil.Process(pid_of(backend))
        until(lambda: any(c.status == psutil.CONN_ESTABLISHED for c in child.net_connections("tcp")), "the handshake")
        assert backend.state is ConnectionState.starting
        waiting = backend.submit(click_on("any"))
        row.right(kill(backend, waiting))
        hold.unlink()
        backend.restart()
        load(backend, cloud)
        row.lost = "nothing"


def test_held_for_a_while(case, counts, backends, cloud, tmp_path: Path) -> None:
    """SIGSTOP: nothing answers, the window goes on, and so does the training afterwards."""
    seconds = counts(reduced=3, full=30)
    backend = backends()
    scene = load(backend, cloud)
    with case(f"SIGSTOP for {seconds} s while it trains") as row:
        job = train_until(backend, Train(scene, str(tmp_path / "model.saga"), PAPER), 50)
        slowest, step = hold(backend, seconds, lambda: backend.submit(click_on(scene)))
        began = time.monotonic()
        until(lambda: backend.poll() and job.progress.step > step, "more steps")
        row.right(time.monotonic() - began)
        until(lambda: backend.poll() and len(backend.jobs) == 1, "the answers")
        assert backend.state is ConnectionState.connected and not job.ended
        row.lost = "nothing"
        row.remark = f"Blender's thread never waited longer than {1000 * slowest:.0f} ms; the clicks were answered then"


def hold(backend: Backend, seconds: float, act: Callable[[], object]) -> tuple[float, int]:
    """Hold the process, do as Blender does meanwhile; the slowest turn in seconds, and the step it was held at."""
    os.kill(pid_of(backend), signal.SIGSTOP)
    until(lambda: stopped(pid_of(backend)), "the stop")
    backend.poll()
    step = max((job.progress.step for job in backend.jobs if job.progress), default=0)
    slowest, ends, tick = 0.0, time.monotonic() + seconds, threading.Event()
    act()
    while time.monotonic() < ends:
        began = time.monotonic()
        backend.poll()
        slowest = max(slowest, time.monotonic() - began)
        tick.wait(0.05)
    os.kill(pid_of(backend), signal.SIGCONT)
    return slowest, step


def test_held_and_restarted(case, backends, cloud) -> None:
    with case("SIGSTOP, then Restart") as row:
        backend = backends()
        scene = load(backend, cloud)
        pid = pid_of(backend)
        os.kill(pid, signal.SIGSTOP)
        until(lambda: stopped(pid), "the stop")
        job = backend.submit(click_on(scene))
        began = time.monotonic()
        backend.restart()
        row.right(time.monotonic() - began)
        assert is_gone(pid) and job.error.code == "stopped"
        load(backend, cloud)
        row.lost = "nothing"
