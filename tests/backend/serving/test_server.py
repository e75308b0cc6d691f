"""The backend as a real process, through launch.py and the client; its session is a fake that needs no torch."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from blender_saga.client.backend import Backend
from blender_saga.client.connection.connection import ConnectionState
from blender_saga.client.connection.jobs import Job, JobState
from blender_saga.client.connection.process import BackendProcess, Launch
from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View
from blender_saga.wire import codec
from blender_saga.wire.channel import Channel, ChannelClosed, connect, open_socket
from blender_saga.wire.messages import (
    Cancel,
    Click,
    Cluster,
    Color,
    Done,
    Failed,
    LoadScene,
    Progress,
    Prompt,
    SceneState,
    Shutdown,
    Stopped,
    Train,
    TrainSettings,
    Unload,
    Welcome,
)
from tests.paths import ROOT

pytestmark = pytest.mark.usefixtures("patient")
FAKE = ROOT / "tests" / "fakes" / "launch_fake.py"
SECONDS = 120
"""Limit of a test that hangs; nothing waits that long when all is well."""


def launch_of(folder: Path, name: str = "backend.log", device: str = "auto", script: Path = FAKE) -> Launch:
    return Launch(Path(sys.executable), script, ROOT / "blender_saga", folder / name, device)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    backend = Backend(launch_of(tmp_path))
    backend.start()
    yield backend
    backend.stop()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[BackendProcess]:
    process = BackendProcess(launch_of(tmp_path))
    yield process
    process.stop()


def a_cloud(n: int = 5) -> GaussianCloud:
    return GaussianCloud(*(np.ones((n, *s), np.float32) for s in [(3,), (4,), (3,), (), (1, 3)]))


def a_click(scene: str) -> Click:
    return Click(scene, (Prompt(View(np.eye(4), np.eye(3), 8, 8), np.zeros((1, 2), np.float32)),))


def load(backend: Backend, scene: str) -> SceneState:
    return backend.wait(backend.submit(LoadScene(scene, a_cloud())), SECONDS).outcome()


def greeted(process: BackendProcess, address: tuple[str, int]) -> Channel:
    channel = open_socket(address)
    connect(channel, process.key, "a test")
    return channel


def ask(channel: Channel, message_id: int, request: object) -> object:
    """The final answer to a request."""
    channel.send(message_id, request)
    while True:
        answered, answer = channel.receive()
        if answered == message_id and not isinstance(answer, Progress):
            return answer


def test_the_main_job(backend: Backend, tmp_path: Path) -> None:
    assert backend.state is ConnectionState.starting
    welcome = backend.wait_connected(SECONDS)
    assert (welcome.device, welcome.note, backend.state) == ("cpu", "a fake", ConnectionState.connected)
    assert load(backend, "scene").count == 5
    steps, ended = [], []
    job = backend.submit(Train("scene", settings=TrainSettings(steps=500)), on_done=ended.append)
    trained = backend.wait(job, SECONDS, on_progress=lambda progress: steps.append(progress.step)).outcome()
    assert trained.steps == 500
    assert steps == sorted(steps)
    assert ended == [job]
    selection = backend.wait(backend.submit(a_click("scene")), SECONDS).outcome()
    assert np.unpackbits(selection.bits).tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    backend.stop()
    assert backend.state is ConnectionState.stopped
    assert "a library that prints" in (tmp_path / "backend.log").read_text()


def test_requests_keep_their_order_without_waiting_for_answers(backend: Backend) -> None:
    jobs = [
        backend.submit(LoadScene("scene", a_cloud())),
        backend.submit(Train("scene", settings=TrainSettings(steps=1))),
    ]
    assert [backend.wait(job, SECONDS).state for job in jobs] == [JobState.finished] * 2


def test_clicks_are_answered_while_training_runs(backend: Backend) -> None:
    load(backend, "until click")
    train = backend.submit(Train("until click"))
    click = backend.submit(a_click("until click"))
    assert backend.wait(click, SECONDS).outcome().count == 1
    assert backend.wait(train, SECONDS).state is JobState.finished  # the fake trains until it is clicked


def test_clustering_runs_beside_a_training_and_holds_up_no_click(backend: Backend) -> None:
    load(backend, "until click")
    train = backend.submit(Train("until click"))
    cluster = backend.submit(Cluster("until click"))
    color = backend.submit(Color("until click"))
    assert backend.wait(color, SECONDS).outcome().rgb.shape == (5, 3)
    assert not train.ended and not cluster.ended  # the fake works on both until it is clicked
    click = backend.submit(a_click("until click"))
    assert backend.wait(click, SECONDS).outcome().count == 1
    assert backend.wait(cluster, SECONDS).outcome().labels.tolist() == [-1] * 5
    assert backend.wait(train, SECONDS).state is JobState.finished


def test_a_clustering_is_cancelled_half_way_and_while_it_waits(backend: Backend) -> None:
    load(backend, "forever")
    first, second = backend.submit(Cluster("forever")), backend.submit(Cluster("forever"))
    backend.cancel(second)
    backend.wait(first, SECONDS, on_progress=lambda _: backend.cancel(first))
    assert first.state is JobState.cancelled and first.progress.step > 0
    assert backend.wait(second, SECONDS).state is JobState.cancelled and second.progress is None


def test_cancelled_half_way(backend: Backend) -> None:
    load(backend, "forever")
    job = backend.submit(Train("forever"))
    backend.wait(job, SECONDS, on_progress=lambda _: backend.cancel(job))
    assert job.state is JobState.cancelled
    assert job.progress.step > 0
    again = backend.submit(Train("forever"))  # nothing is left of the first
    backend.wait(again, SECONDS, on_progress=lambda _: backend.cancel(again))
    assert again.state is JobState.cancelled


def test_one_training_at_a_time(backend: Backend) -> None:
    load(backend, "forever")
    first = backend.submit(Train("forever"))
    second = backend.submit(Train("forever"))
    with pytest.raises(UserError, match="is training already") as caught:
        backend.wait(second, SECONDS).outcome()
    assert caught.value.code == "busy"
    backend.cancel(first)
    assert backend.wait(first, SECONDS).state is JobState.cancelled


def test_a_query_before_training_is_one_sentence(backend: Backend) -> None:
    load(backend, "scene")
    with pytest.raises(UserError, match=r"^This splat is not trained yet\. Press Train Affinity first$") as caught:
        backend.wait(backend.submit(a_click("scene")), SECONDS).outcome()
    assert caught.value.code == "no_model"


@pytest.mark.parametrize("scene", ["bug", "wrong"])
def test_a_bug_is_told_and_survived(backend: Backend, tmp_path: Path, scene: str) -> None:
    with pytest.raises(UserError) as caught:
        backend.wait(backend.submit(a_click(scene)), SECONDS).outcome()
    assert caught.value.code == "bug"
    assert load(backend, "scene").count == 5  # and by then it is in the log, where it comes after the answer
    backend.stop()  # until then this process may still have to write it
    assert "Traceback" in (tmp_path / "backend.log").read_text()


def test_a_request_that_is_none(backend: Backend) -> None:
    with pytest.raises(UserError, match="Stopped is not a request"):
        backend.wait(backend.submit(Stopped()), SECONDS).outcome()


def test_killed_while_training(backend: Backend) -> None:
    load(backend, "forever")
    ended: list[Job] = []
    job = backend.submit(Train("forever"), on_done=ended.append)
    backend.wait(job, SECONDS, on_progress=lambda _: backend._process._child.kill())
    assert backend.state is ConnectionState.lost
    assert ended == [job]
    assert backend.error == (
        "The backend has stopped: it was killed, probably because memory ran out. "
        "Press Restart; the scene in Blender is unchanged"
    )
    with pytest.raises(UserError, match="not running"):
        backend.submit(a_click("forever"))
    backend.restart()
    assert backend.wait_connected(SECONDS).device == "cpu"
    assert (backend.starts, backend.error) == (2, "")
    assert load(backend, "forever").count == 5
    assert ended == [job]


def test_stopping_ends_jobs_and_the_process(backend: Backend) -> None:
    load(backend, "forever")
    ended: list[Job] = []
    backend.submit(Train("forever"), on_done=ended.append)
    child = backend._process._child
    backend.stop()
    backend.stop()
    assert child.poll() == 0
    assert [job.error.code for job in ended] == ["stopped"]
    assert backend.state is ConnectionState.stopped


def test_stopped_while_it_starts(backend: Backend) -> None:
    backend.stop()
    assert backend.state is ConnectionState.stopped
    backend.start()
    backend.start()  # it is starting already
    backend.wait_connected(SECONDS)
    assert backend.starts == 2


def test_a_callback_that_fails_costs_the_others_nothing(backend: Backend) -> None:
    def fail(job: Job) -> None:
        raise ZeroDivisionError(job.kind)

    load(backend, "forever")
    ended: list[Job] = []
    backend.submit(Train("forever"), on_done=fail)
    backend.submit(Train("forever"), on_done=ended.append)
    with pytest.raises(ZeroDivisionError):
        backend.stop()
    assert len(ended) == 1
    assert backend.state is ConnectionState.stopped


def test_waiting_in_vain_is_an_error_and_the_job_goes_on(backend: Backend) -> None:
    load(backend, "forever")
    job = backend.submit(Train("forever"))
    with pytest.raises(UserError) as caught:
        backend.wait(job, 0.05, on_progress=lambda _: backend._connection.wait(SECONDS))  # there is always more of it
    assert caught.value.code == "timeout"
    assert not job.ended


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    backend = Backend(launch_of(tmp_path, device="cuda"))
    backend.start()
    with pytest.raises(UserError, match="there is no GPU"):
        backend.wait_connected(SECONDS)
    assert backend.state is ConnectionState.failed
    assert backend.error == "CUDA cannot be used: there is no GPU. Choose the device auto or cpu"
    assert not backend._process.alive
    backend.stop()


def test_two_backends_from_one_folder(backend: Backend, tmp_path: Path) -> None:
    other = Backend(launch_of(tmp_path, "other.log"))
    other.start()
    load(backend, "forever")
    training = backend.submit(Train("forever"))
    assert load(other, "scene").count == 5
    other.stop()
    backend.cancel(training)
    assert backend.wait(training, SECONDS).state is JobState.cancelled


def test_closing_standard_input_ends_it(process: BackendProcess) -> None:
    channel = greeted(process, process.start())
    ask(channel, 1, LoadScene("forever", a_cloud()))
    channel.send(2, Train("forever"))
    process._child.stdin.close()
    assert process._child.wait(SECONDS) == 0


PARENT = """
import json, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from blender_saga.client.connection.process import BackendProcess, Launch
process = BackendProcess(Launch(*(Path(text) for text in {paths!r})))
print(json.dumps([process.start(), process.key.hex(), process._child.pid]), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_kill_9_of_the_parent_ends_it(tmp_path: Path) -> None:
    launch = launch_of(tmp_path)
    paths = [str(path) for path in (launch.python, launch.launch_path, launch.addon_dir, launch.log_path)]
    source = PARENT.format(root=str(ROOT), paths=paths)
    with subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        address, key, child = json.loads(parent.stdout.readline())
        channel = open_socket(tuple(address))
        connect(channel, bytes.fromhex(key))
        parent.kill()
    with pytest.raises(ChannelClosed):  # the system closes the sockets of a process that has ended
        channel.receive()
    if hasattr(os, "pidfd_open"):
        _wait_for_end(child)


def _wait_for_end(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([descriptor], [], [], SECONDS)[0]
    os.close(descriptor)


def test_shutdown_is_answered_before_the_end(process: BackendProcess) -> None:
    channel = greeted(process, process.start())
    assert isinstance(ask(channel, 1, Shutdown()), Done)
    assert process._child.wait(SECONDS) == 0


def test_a_client_that_dies_in_the_middle_of_an_array(process: BackendProcess) -> None:
    address = process.start()
    first = greeted(process, address)
    frame = codec.encode(1, LoadScene("scene", a_cloud(10_000)))
    first._socket.sendall(len(frame).to_bytes(4, "big") + frame[: len(frame) // 2])
    first.close()
    second = greeted(process, address)
    assert ask(second, 1, LoadScene("scene", a_cloud())).count == 5
    second.close()


def test_the_training_of_a_client_that_is_gone_is_cancelled(process: BackendProcess) -> None:
    address = process.start()
    first, second = greeted(process, address), greeted(process, address)
    ask(first, 1, LoadScene("forever", a_cloud()))
    first.send(2, Train("forever"))
    assert isinstance(first.receive()[1], Progress)
    train = Train("scene", settings=TrainSettings(steps=1))
    ask(second, 1, LoadScene("scene", a_cloud()))
    assert ask(second, 2, train).code == "busy"
    first.close()
    message_id = 3
    while isinstance(answer := ask(second, message_id, train), Failed):
        assert answer.code == "busy"
        message_id += 1
    assert answer.steps == 1
    second.close()


def test_bad_frames_are_refused_and_the_next_is_answered(process: BackendProcess) -> None:
    address = process.start()
    channel = greeted(process, address)
    channel.send_frame(codec.encode(4, Unload("x")).replace(b'"x"', b"111"))
    answered, answer = channel.receive()
    assert (answered, answer.code) == (4, "wire")
    assert isinstance(ask(channel, 5, Unload("x")), Done)
    channel.send_frame(b"noise")
    with pytest.raises(ChannelClosed):
        channel.receive()
    assert isinstance(ask(greeted(process, address), 1, Unload("x")), Done)


def test_cancelling_what_is_not_there_is_no_error(process: BackendProcess) -> None:
    channel = greeted(process, process.start())
    assert isinstance(ask(channel, 1, Cancel(99)), Done)


def test_welcome_says_which_version_it_is(process: BackendProcess) -> None:
    welcome = connect(open_socket(process.start()), process.key)
    assert isinstance(welcome, Welcome)
    assert welcome.backend


def test_the_real_session_behind_the_real_entry_point(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the real session needs torch")
    pytest.importorskip("saga_backend.serving.session", reason="the session is not there")
    backend = Backend(launch_of(tmp_path, device="cpu", script=ROOT / "backend" / "launch.py"))
    backend.start()
    try:
        assert backend.wait_connected(SECONDS).device == "cpu"
        assert load(backend, "scene").count == 5
        with pytest.raises(UserError) as caught:
            backend.wait(backend.submit(a_click("scene")), SECONDS).outcome()
        assert caught.value.code != "bug"
    finally:
        backend.stop()
