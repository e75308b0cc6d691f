"""A backend elsewhere: the model's file travels, and whatever happens to the tunnel loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blender_saga.client.backend import Backend
from blender_saga.client.connection.connection import ConnectionState
from blender_saga.client.connection.jobs import Job, JobState
from blender_saga.client.connection.remote import Remote
from blender_saga.errors import ErrorCode, UserError
from blender_saga.wire.messages import (
    FindText,
    LoadScene,
    ModelFile,
    Shutdown,
    Status,
    Train,
    TrainSettings,
    TrainSources,
)
from saga_backend.serving import server as server_module
from tests.fakes.models import saga_file
from tests.fakes.tunnel import Tunnel
from tests.helpers.faraway import KEY, SECONDS, Elsewhere, a_cloud, answer, backend, elsewhere, refusal, tunnel

__all__ = ["backend", "elsewhere", "tunnel"]  # fixtures


def until_lost(backend: Backend) -> str:
    """Wait as a timer does: nothing is asked, nothing is sent."""
    job = backend.submit(Train("forever"))
    with pytest.raises(UserError):
        backend.wait(job, SECONDS).outcome()
    assert backend.state is ConnectionState.lost
    return backend.error


# --- the model's file ---------------------------------------------------------------------------------------------


def test_the_models_file_is_written_here_and_opened_there(
    backend: Backend, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    path = tmp_path / "scene.saga"
    assert answer(backend, LoadScene("scene", a_cloud(), model_file=str(path))).note == ""
    trained = answer(backend, Train("scene", str(path), TrainSettings(steps=2)))
    assert (trained.model_file, trained.steps) == (str(path), 2)
    assert path.read_bytes() == saga_file("scene")
    assert [p.name for p in tmp_path.iterdir()] == ["scene.saga"]
    answer(backend, LoadScene("scene", a_cloud(), model_file=str(path)))
    assert elsewhere.session.opened == []  # it comes from there
    backend.restart()  # another connection, perhaps another server
    state = answer(backend, LoadScene("scene", a_cloud(), model_file=str(path)))
    assert elsewhere.session.opened == [saga_file("scene")]
    assert state.model_steps == 3  # what opening it has said
    path.write_bytes(saga_file("scene", another=True))
    answer(backend, LoadScene("scene", a_cloud(), model_file=str(path)))
    assert len(elsewhere.session.opened) == 2


def test_what_a_text_found_out_comes_back(backend: Backend, elsewhere: Elsewhere, tmp_path: Path) -> None:
    path = tmp_path / "scene.saga"
    path.write_bytes(saga_file("scene", old=True))
    answer(backend, LoadScene("scene", a_cloud(), model_file=str(path)))
    answer(backend, FindText("scene", "red box", "/clip.pt", str(path)))
    assert path.read_bytes() == saga_file("scene", old=True)  # nothing was found out
    elsewhere.session.describes = True
    found = answer(backend, FindText("scene", "red box", "/clip.pt", str(path)))
    assert found.counts.tolist() == [1] and found.note == ""
    assert path.read_bytes() == saga_file("scene")
    path.unlink()
    tmp_path.rmdir()
    found = answer(backend, FindText("scene", "red box", "/clip.pt", str(path)))
    assert found.counts.tolist() == [1] and "The text index could not be saved" in found.note


def test_a_bad_model_is_told_and_the_scene_is_there(backend: Backend, elsewhere: Elsewhere, tmp_path: Path) -> None:
    path = tmp_path / "castle.saga"
    path.write_bytes(b"not a model")
    state = answer(backend, LoadScene("refuses models", a_cloud(), model_file=str(path)))
    assert (state.count, state.model_steps) == (5, 0)
    assert state.note == "castle.saga is the model of another cloud."


@pytest.mark.parametrize(
    "content",
    [b"", b"short", saga_file("of another scene"), (10**9).to_bytes(8, "little") + b"{}", b"\x02" + b"\0" * 7],
)
def test_bytes_that_are_no_model_of_the_scene_replace_no_file(
    backend: Backend, elsewhere: Elsewhere, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scene.saga"
    path.write_bytes(b"the old one")
    monkeypatch.setattr(
        elsewhere.session, "fetch_model", lambda request: ModelFile("scene", np.frombuffer(content, np.uint8))
    )
    answer(backend, LoadScene("scene", a_cloud()))
    error = refusal(backend, Train("scene", str(path), TrainSettings(steps=1)))
    assert (error.code, path.read_bytes()) == ("bad_model", b"the old one")


def test_a_place_that_cannot_be_written_begins_no_training(
    backend: Backend, elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(backend, LoadScene("scene", a_cloud()))
    monkeypatch.setattr(elsewhere.session, "train", None)  # it would be a bug
    error = refusal(backend, Train("scene", str(tmp_path / "gone" / "scene.saga")))
    assert error.code == "cannot_write" and "Choose a folder" in error.sentence()


def test_a_disk_that_is_full_at_the_end_is_told(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(backend, LoadScene("scene", a_cloud()))
    full = lambda path: (_ for _ in ()).throw(UserError("no", "No space left on device"))  # noqa: E731
    monkeypatch.setattr("blender_saga.client.connection.model_sync.atomic_stream", full)
    trained = answer(backend, Train("scene", str(tmp_path / "scene.saga"), TrainSettings(steps=1)))
    assert trained.model_file == "" and "No space left on device" in trained.unsaved  # and the backend still has it


# --- paths of the other machine -----------------------------------------------------------------------------------


def test_failures_about_paths_name_the_machine(
    backend: Backend, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module.platform, "node", lambda: "gpu-box")
    backend.restart()
    assert backend.wait_connected(SECONDS).machine == "gpu-box"
    answer(backend, LoadScene("scene", a_cloud()))

    def missing(request: Train, control: object) -> None:
        raise UserError("The photos cannot be read", "there is no /data/photos", "Choose others", "no_folder")

    monkeypatch.setattr(elsewhere.session, "train", missing)
    with_path = refusal(backend, Train("scene", sources=TrainSources(cameras="/data/photos")))
    assert with_path.sentence() == (
        "The photos cannot be read: there is no /data/photos, on gpu-box, where the backend runs. Choose others"
    )
    assert "gpu-box" not in refusal(backend, Train("scene")).sentence()


# --- what happens to a connection ---------------------------------------------------------------------------------


def test_a_cut_tunnel_is_lost_and_reconnecting_sends_the_scene_anew(
    backend: Backend, tunnel: Tunnel, elsewhere: Elsewhere
) -> None:
    answer(backend, LoadScene("forever", a_cloud()))
    training = backend.submit(Train("forever"))
    backend.wait(training, SECONDS, on_progress=lambda _: tunnel.cut())
    assert training.state is JobState.failed and backend.state is ConnectionState.lost
    assert backend.error.startswith("The connection to the backend was lost: the tunnel at 127.0.0.1:")
    assert "Press Reconnect" in backend.error
    with pytest.raises(UserError, match=r"Blender is not connected to the backend\. Press Connect"):
        backend.submit(Status())
    before = backend.starts
    backend.start()
    backend.wait_connected(SECONDS)
    assert backend.starts == before + 1
    answer(backend, LoadScene("scene", a_cloud()))
    trained = _when_free(backend, Train("scene", settings=TrainSettings(steps=3)))
    assert trained.steps == 3  # nobody waits for the other one any more


def _when_free(backend: Backend, message: Train) -> object:
    """The server learns of a cut by itself; until then it is busy."""
    while True:
        job: Job = backend.wait(backend.submit(message), SECONDS)
        if job.error is None or job.error.code != "busy":
            return job.outcome()


def test_a_server_that_is_ended_and_started_again(backend: Backend, elsewhere: Elsewhere) -> None:
    answer(backend, LoadScene("scene", a_cloud()))
    elsewhere.end()
    with pytest.raises(UserError, match=r"was lost|not connected"):
        answer(backend, Train("scene"))
    elsewhere.start()
    backend.start()
    backend.wait_connected(SECONDS)
    assert refusal(backend, Train("scene")).code == "no_scene"
    assert answer(backend, LoadScene("scene", a_cloud())).count == 5


def test_disconnecting_ends_no_server_and_nor_does_shutdown(backend: Backend, elsewhere: Elsewhere) -> None:
    error = refusal(backend, Shutdown())
    assert error.code == "not_yours"
    backend.stop()
    assert backend.state is ConnectionState.stopped and not elsewhere.server.ended.is_set()
    backend.start()
    assert backend.wait_connected(SECONDS).device == "cpu"


PATIENCE = 2.0
"""Seconds: short for a test, and longer than a busy machine keeps a thread waiting that beats all the time."""


@pytest.fixture
def beating(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server says all the time that it is there."""
    monkeypatch.setattr("blender_saga.wire.channel.Channel.keep_alive.__defaults__", (0.02, None))


def test_a_half_open_tunnel_is_found_out(tunnel: Tunnel, beating: None) -> None:
    backend = Backend(Remote(tunnel.address, KEY, beat=0.02, patience=PATIENCE))
    backend.start()
    backend.wait_connected(SECONDS)
    tunnel.stall()
    assert "The connection to the backend was lost" in until_lost(backend)
    backend.stop()


def test_a_half_open_tunnel_is_found_out_while_a_scene_is_sent(tunnel: Tunnel, beating: None) -> None:
    scene = LoadScene("scene", a_cloud(400_000))
    backend = Backend(Remote(tunnel.address, KEY, beat=30, patience=PATIENCE))
    backend.start()
    backend.wait_connected(SECONDS)
    tunnel.stall()
    with pytest.raises(UserError, match="was lost"):
        backend.wait(backend.submit(scene), SECONDS).outcome()
    backend.stop()


def test_a_connection_that_is_lost_before_anyone_waits_for_it_says_so(tunnel: Tunnel) -> None:
    backend = Backend(Remote(tunnel.address, KEY, beat=30, patience=0.05))
    backend.start()
    while not backend._connection._is_over():
        backend._connection.wait(SECONDS)
    with pytest.raises(UserError, match=r"The connection to the backend was lost.*Press Reconnect"):
        backend.wait_connected(SECONDS)
    backend.stop()


def test_a_large_scene_on_a_slow_line_arrives_and_says_how_far_it_is(
    tunnel: Tunnel, elsewhere: Elsewhere, beating: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tunnel.piece = 4096
    backend = Backend(Remote(tunnel.address, KEY, beat=0.02, patience=SECONDS))
    backend.start()
    backend.wait_connected(SECONDS)
    monkeypatch.setattr("blender_saga.client.connection.connection._TOLD_BYTES", 0)
    monkeypatch.setattr("blender_saga.client.connection.connection._TOLD_SECONDS", 0.0)
    told: list[tuple[str, int]] = []
    job = backend.submit(LoadScene("scene", a_cloud(200_000)))
    backend.wait(job, SECONDS, on_progress=lambda p: told.append((p.phase, p.step)))
    assert job.outcome().count == 200_000
    assert told and all(phase == "sending the splat" for phase, _ in told)
    backend.stop()


def test_a_client_that_fell_silent_gives_way_to_another_ones_training(
    backend: Backend, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(backend, LoadScene("forever", a_cloud()))
    training = backend.submit(Train("forever"))
    _begun(backend, training)
    other = Backend(replace(backend.launch, address=elsewhere.address))
    other.start()
    other.wait_connected(SECONDS)
    answer(other, LoadScene("scene", a_cloud()))
    assert refusal(other, Train("scene")).code == "busy"
    monkeypatch.setattr(server_module, "SILENCE_SECONDS", -1.0)
    assert answer(other, Train("scene", settings=TrainSettings(steps=2))).steps == 2
    with pytest.raises(UserError, match="was lost"):
        backend.wait(training, SECONDS).outcome()
    other.stop()


def _begun(backend: Backend, job: Job) -> None:
    """Wait until a training has said something."""
    while job.progress is None and not job.ended:
        backend._connection.wait(SECONDS)
        backend.poll()
    assert not job.ended


def test_scenes_of_clients_that_are_gone_are_forgotten_when_room_is_needed(
    backend: Backend, elsewhere: Elsewhere, tunnel: Tunnel
) -> None:
    answer(backend, LoadScene("first", a_cloud()))
    backend.restart()
    backend.wait_connected(SECONDS)
    answer(backend, LoadScene("first", a_cloud()))
    answer(backend, LoadScene("second", a_cloud()))
    assert elsewhere.session.scenes == {"first", "second"}  # one client may have several
    backend.stop()
    backend.start()
    backend.wait_connected(SECONDS)
    _eventually(backend, lambda: elsewhere.session.scenes == {"third"})


def _eventually(backend: Backend, condition: Callable[[], bool]) -> None:
    """The server learns by itself that a client is gone: load a scene until it has."""
    while not condition():
        answer(backend, LoadScene("third", a_cloud()))


def test_a_failure_of_the_fetch_fails_the_training(
    backend: Backend, elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(request: object) -> None:
        raise UserError("There is not enough memory", code=ErrorCode.NO_MEMORY)

    monkeypatch.setattr(elsewhere.session, "fetch_model", no_memory)
    answer(backend, LoadScene("scene", a_cloud()))
    assert refusal(backend, Train("scene", str(tmp_path / "x.saga"), TrainSettings(steps=1))).code == "no_memory"
