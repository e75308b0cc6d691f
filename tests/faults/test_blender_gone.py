"""Blender is killed, put to sleep, or runs twice: no process is left behind, nothing is lost."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from blender_saga.client.connection.connection import ConnectionState
from blender_saga.gaussians.formats.registry import write_splat
from blender_saga.wire.messages import Train, TrainSettings
from saga_backend.methods import checkpoint
from saga_backend.model import saga_file
from tests.faults import blender_side
from tests.faults.real import (
    PAPER,
    QUICK,
    ROOT,
    SECONDS,
    answers_at,
    arrays_of,
    balls,
    click_on,
    is_gone,
    listens_at,
    load,
    megabytes,
    pid_of,
    stopped,
    train_until,
    until,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


class Side:
    """Blender's side as a process, and what it says."""

    def __init__(self, how: str, folder: Path, model: str = "model", steps: int = blender_side.STEPS) -> None:
        script = Path(blender_side.__file__)
        command = [sys.executable, str(script), how, str(folder), str(folder / f"{model}.saga"), str(steps)]
        self.errors = (folder / f"{model}.stderr").open("w")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.backend = int(self.read("pid")["pid"])

    def read(self, name: str) -> dict:
        """The next line that has this to say."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            facts = json.loads(line) if line.startswith("{") else {}
            if name in facts:
                return facts
        raise AssertionError(f"it ended without a word of {name}: {Path(self.errors.name).read_text()[-2000:]}")

    def read_step(self, least: int) -> int:
        """The first step from this one on."""
        while (step := self.read("step")["step"]) < least:
            pass
        return step

    def end(self) -> None:
        """Kill both sides, if they still are."""
        self.process.kill()
        self.process.wait()
        self.errors.close()
        if not is_gone(self.backend):
            os.kill(self.backend, signal.SIGKILL)


@pytest.fixture
def sides(tmp_path: Path, monkeypatch) -> Iterator:
    """Starts Blender's side: `sides("client")`."""
    monkeypatch.setenv(checkpoint.EVERY_VARIABLE, "0.5")
    started: list[Side] = []

    def start(how: str, **options: object) -> Side:
        started.append(Side(how, tmp_path, **options))
        return started[-1]

    yield start
    for side in started:
        side.end()


def kill_and_look(side: Side) -> float:
    """Kill Blender's side; seconds until no process and no socket of the backend is left."""
    where = listens_at(side.backend)
    began = time.monotonic()
    side.process.kill()
    until(lambda: is_gone(side.backend), "the end of the backend")
    until(lambda: not answers_at(where), "the end of its socket")  # the system closes it with the last thread
    seconds = time.monotonic() - began
    side.process.wait()
    return seconds


def test_killed_while_it_trains(case, sides, tmp_path: Path) -> None:
    """Started again, the same training goes on where it was kept last."""
    with case("Blender's side killed while it trains") as row:
        side = sides("client")
        side.read_step(5)
        until(Path(tmp_path, "model.saga.unfinished", "features.safetensors").is_file, "a checkpoint")
        row.right(kill_and_look(side))
        again = sides("client")
        first = again.read("step")["step"]
        assert first > 0
        row.lost = "nothing"
        row.remark = f"no process, no socket left (no GPU here; its memory goes with the process); went on from {first}"


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed")
def test_a_real_blender_killed_while_it_trains(case, sides, tmp_path: Path, monkeypatch) -> None:
    """The installed extension in Blender without a window."""
    import build_extension

    build_extension.build(tmp_path)
    write_splat(tmp_path / "model.ply", balls())
    file = (tmp_path / "model.ply").read_bytes()
    monkeypatch.setenv("BLENDER_USER_RESOURCES", str(tmp_path / "profile"))
    monkeypatch.setenv("BLENDER_SAGA_PYTHON", sys.executable)
    with case("Blender killed while it trains (installed extension)") as row:
        side = sides("blender")
        side.read_step(5)
        until(lambda: any(tmp_path.glob("*.unfinished/features.safetensors")), "a checkpoint")
        row.right(kill_and_look(side))
        again = sides("blender")
        first = again.read("step")["step"]
        assert first > 0 and (tmp_path / "model.ply").read_bytes() == file
        row.lost, row.remark = "nothing", f"Train Affinity pressed again went on from step {first}"


def test_killed_in_the_handshake(case, sides, tmp_path: Path) -> None:
    """The backend has just been started and imports its libraries."""
    with case("Blender's side killed while the backend starts") as row:
        lines = "import sys; sys.path[:0] = [sys.argv[2], sys.argv[2] + '/backend']; from pathlib import Path; "
        lines += "from tests.faults.real import Backend, launch_of, pid_of; "
        lines += "b = Backend(launch_of(Path(sys.argv[1]))); b.start(); print(pid_of(b), flush=True); input()"
        command = [sys.executable, "-c", lines, str(tmp_path), str(ROOT)]
        blender = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        pid = int(blender.stdout.readline())
        began = time.monotonic()
        blender.kill()
        until(lambda: is_gone(pid), "the end of the backend")
        row.right(time.monotonic() - began)
        blender.wait()
        row.lost = "nothing"


def test_the_machine_sleeps(case, counts, sides) -> None:
    """Both sides are held at once, as the system does it, and go on at once."""
    seconds = counts(reduced=3, full=60)
    with case(f"machine asleep for {seconds} s while it trains (both sides held)") as row:
        side = sides("client")
        before = side.read_step(5)
        for pid in (side.backend, side.process.pid):
            os.kill(pid, signal.SIGSTOP)
        until(lambda: stopped(side.backend) and stopped(side.process.pid), "the stop")
        wakes = time.monotonic() + seconds
        until(lambda: time.monotonic() > wakes, "the night")
        for pid in (side.process.pid, side.backend):
            os.kill(pid, signal.SIGCONT)
        began = time.monotonic()
        facts = side.read("step")
        while facts["step"] < before + 3:
            facts = side.read("step")
        row.right(time.monotonic() - began)
        assert facts["state"] == "connected"
        row.lost, row.remark = "nothing", f"three more steps after that, from {before}"


def test_the_clock_jumps(case, backends, tmp_path: Path, monkeypatch) -> None:
    """By a day, forwards and back, between any two looks at it, for the backend and for the client."""
    jump = "import time, itertools; real, days = time.time, itertools.cycle((0, 86400, -86400)); "
    jump += "time.time = lambda: real() + next(days)"
    (tmp_path / "sitecustomize.py").write_text(jump.replace("; ", "\n") + "\n")
    launcher = tmp_path / "launch_jumping.py"
    launcher.write_text(
        f"import runpy, sys\nexec(open({str(tmp_path / 'sitecustomize.py')!r}).read())\n"
        f"runpy.run_path({str(ROOT / 'backend' / 'launch.py')!r}, run_name='__main__')\n"
    )
    clock, days = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: clock() + 86_400 * (next(days) % 3 - 1))
    monkeypatch.setenv(checkpoint.EVERY_VARIABLE, "0.2")
    with case("the clock jumps by a day, forwards and back, at every look") as row:
        backend, cloud = backends(script=launcher), balls()
        scene = load(backend, cloud)
        request = Train(scene, str(tmp_path / "model.saga"), QUICK)
        trained = backend.wait(backend.submit(request), SECONDS).outcome()
        assert trained.steps == QUICK.steps and backend.state is ConnectionState.connected
        backend.wait(backend.submit(click_on(scene)), SECONDS).outcome()
        row.lost, row.remark = "nothing", "waiting, deadlines and checkpoints go by the monotonic clock"


def test_two_blenders_train_to_one_file(case, backends, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(checkpoint.EVERY_VARIABLE, "0.05")
    cloud, model = balls(), tmp_path / "model.saga"
    before = arrays_of(cloud)
    with case("two Blenders train to the same .saga at once") as row:
        two = [backends(), backends()]
        for backend in two:
            load(backend, cloud)
        settings = [QUICK, TrainSettings(method="click-gaussian", steps=200, views=6, width=96, height=72)]
        jobs = [
            backend.submit(Train(cloud.fingerprint(), str(model), how))
            for backend, how in zip(two, settings, strict=True)
        ]
        for backend, job in zip(two, jobs, strict=True):
            assert backend.wait(job, SECONDS).outcome().steps == 200
        loaded, header = saga_file.load(model, cloud.fingerprint())
        assert (loaded.affinity is None) != (loaded.levels is None) and header.steps == 200
        for backend in two:
            backend.wait(backend.submit(click_on(cloud.fingerprint())), SECONDS).outcome()
        assert [p.name for p in tmp_path.iterdir() if ".saga" in p.name] == ["model.saga"]
        assert arrays_of(cloud) == before
        row.lost = "nothing"
        row.remark = "the file is whole and that of the one that ended last; each answers by its own model"


def test_one_of_two_blenders_is_killed(case, sides, backends, tmp_path: Path) -> None:
    with case("one of two Blenders killed while both train") as row:
        other, cloud = backends(), balls()
        scene = load(other, cloud)
        job = train_until(other, Train(scene, str(tmp_path / "other.saga"), PAPER), 3)
        side = sides("client")
        side.read_step(3)
        row.right(kill_and_look(side))
        step = job.progress.step
        until(lambda: other.poll() and job.progress.step > step + 3, "more steps of the other")
        assert other.state is ConnectionState.connected and megabytes(pid_of(other)) > 0
        assert psutil.Process(pid_of(other)).is_running()
        row.lost = "nothing"
