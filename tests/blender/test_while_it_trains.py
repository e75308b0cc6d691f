"""What an artist may do while a training runs, and what may happen to it: nothing is lost, no traceback, one sentence.

The backend is the fake of test_backend_flow.py: a real process with a session that needs no torch.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from mathutils import Vector

from tests.blender.clouds import write_inria
from tests.blender.support import PACKAGE, addon
from tests.blender.test_backend_flow import CLUSTER, ENDLESS, PLACES, selected, session, three_clusters
from tests.blender.test_bad_input import refused
from tests.blender.views import click
from tests.paths import ROOT

FAKE = ROOT / "tests" / "fakes" / "launch_fake.py"


@pytest.fixture(autouse=True)
def fake_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start launches the fake."""
    monkeypatch.setenv("BLENDER_SAGA_PYTHON", sys.executable)
    monkeypatch.setenv("SAGA_TEST_SESSION", "geometric_session")
    monkeypatch.setattr(addon("scene.state.launch"), "LAUNCH", FAKE)


@pytest.fixture(autouse=True)
def no_traceback(capfd: pytest.CaptureFixture) -> Iterator[None]:
    yield
    written = capfd.readouterr()
    assert "Traceback" not in written.out + written.err


@pytest.fixture
def splat(tmp_path: Path) -> bpy.types.Object:
    write_inria(tmp_path / "three.ply", three_clusters())
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "three.ply"))
    return bpy.context.view_layer.objects.active


@pytest.fixture
def training(splat: bpy.types.Object) -> object:
    """A training that goes on until it is stopped, and has begun."""
    bpy.ops.saga.backend_start()
    bpy.ops.saga.train(steps=ENDLESS, wait=False)
    running = session().trainings.request
    while running.job.progress is None:
        session().link.backend._connection.wait(1)
        session().poll()
    return running


def begun() -> object:
    """A training that ends well. Until somebody polls, it runs for Blender, however quick the backend is."""
    bpy.ops.saga.train(steps=5, wait=False)
    assert not session().trainings.request.ended
    return session().trainings.request


def finish(running: object) -> None:
    """Wait for its end, whatever it is."""
    while not running.ended:
        session().link.backend._connection.wait(1)
        session().poll()


def test_a_training_may_be_asked_for_while_the_backend_starts(splat: bpy.types.Object) -> None:
    bpy.ops.saga.backend_start(wait=False)
    assert session().link.backend.state.value == "starting"
    assert bpy.ops.saga.train(steps=5) == {"FINISHED"}
    click(Vector(PLACES[1]))
    np.testing.assert_array_equal(selected(splat), CLUSTER == 1)


def test_a_backend_of_another_version(
    splat: bpy.types.Object, tmp_path: Path, snapshot: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = json.dumps({"address": ["127.0.0.1", 1], "protocol": 999})
    (tmp_path / "launch.py").write_text(f"input(); print({line!r}, flush=True); input()")
    monkeypatch.setattr(addon("scene.state.launch"), "LAUNCH", tmp_path / "launch.py")
    before = snapshot()
    refused(lambda: bpy.ops.saga.backend_start(), "protocol version 999")
    refused(lambda: bpy.ops.saga.train(), "The backend is not running.*version 999")
    assert snapshot() == before


def test_undo_while_it_trains(splat: bpy.types.Object) -> None:
    bpy.ops.saga.backend_start()
    bpy.ops.ed.undo_push(message="imported")
    running = begun()
    splat.location.x = 5
    bpy.ops.ed.undo_push(message="moved")
    bpy.ops.ed.undo()  # all references to the object are dead now
    finish(running)
    obj = bpy.data.objects["three"]
    assert not session().status.failed and obj.location.x == 0 and obj.saga.model_file
    click(Vector(PLACES[1]))
    np.testing.assert_array_equal(selected(obj), CLUSTER == 1)


def test_the_import_is_undone_while_it_trains(tmp_path: Path) -> None:
    bpy.ops.ed.undo_push(message="empty")
    write_inria(tmp_path / "three.ply", three_clusters())
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "three.ply"))
    bpy.ops.ed.undo_push(message="imported")
    bpy.ops.saga.backend_start()
    running = begun()
    bpy.ops.ed.undo()
    assert "three" not in bpy.data.objects
    finish(running)
    assert not session().status.failed
    bpy.ops.ed.redo()
    click(Vector(PLACES[1]))  # its model is known although the object was not there to be told
    np.testing.assert_array_equal(selected(bpy.data.objects["three"]), CLUSTER == 1)


def test_another_file_is_opened_while_it_trains(splat: bpy.types.Object, tmp_path: Path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    bpy.ops.saga.backend_start()
    running = begun()
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.mesh.primitive_cube_add()
    finish(running)
    assert not session().status.failed and [o.name for o in bpy.data.objects] == ["Cube"]
    assert (tmp_path / "three.saga").exists()  # where the other file will look for it
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "work.blend"))
    click(Vector(PLACES[1]))
    np.testing.assert_array_equal(selected(bpy.data.objects["three"]), CLUSTER == 1)


def test_the_training_of_a_closed_file_can_be_cancelled(training: object) -> None:
    bpy.ops.wm.read_homefile(use_empty=True)
    assert bpy.ops.saga.cancel() == {"FINISHED"}
    finish(training)
    assert "cancelled" in session().status.message


def test_cancelled_while_the_scene_is_sent_it_does_not_begin(splat: bpy.types.Object, snapshot: Callable) -> None:
    """The scene has arrived when the cancel does: too late to stop that, in time for what was to come after it."""
    bpy.ops.saga.backend_start()
    before = snapshot()
    bpy.ops.saga.train(steps=ENDLESS, wait=False)
    running = session().trainings.request
    assert session().link.backend._connection.wait(60)  # the scene's answer is there, and nobody has looked at it
    assert bpy.ops.saga.cancel() == {"FINISHED"}
    session().poll()
    assert running.ended and "cancelled" in session().status.message and not session().status.failed
    assert snapshot() == before and "Train" not in [job.kind for job in session().link.backend.jobs]
    assert bpy.ops.saga.train(steps=5) == {"FINISHED"}


def test_a_copy_deleted_and_renamed_while_it_trains(training: object, splat: bpy.types.Object) -> None:
    splat.name = "vase"
    other = splat.copy()
    bpy.context.collection.objects.link(other)
    bpy.data.objects.remove(other)
    bpy.ops.saga.cancel()
    finish(training)
    assert splat.saga.model_file == "" and not session().status.failed


def test_the_backend_is_stopped_while_it_trains(training: object, splat: bpy.types.Object, snapshot: Callable) -> None:
    before = snapshot()
    assert bpy.ops.saga.backend_stop() == {"FINISHED"}
    assert training.ended and session().status.failed
    assert session().status.message == "The backend was stopped. Press Start to continue"
    assert snapshot() == before
    bpy.ops.saga.backend_start()
    assert bpy.ops.saga.train(steps=5) == {"FINISHED"}


def test_the_extension_is_disabled_and_enabled_while_it_trains(training: object, splat: bpy.types.Object) -> None:
    process = session().link.backend._process._child
    name = splat.name
    try:
        bpy.ops.preferences.addon_disable(module=PACKAGE)
        assert process.poll() is not None
        assert not hasattr(bpy.types, "SAGA_PT_train")
    finally:
        bpy.ops.preferences.addon_enable(module=PACKAGE)
    assert session().link.backend is None and session().trainings.request is None
    addon("scene.state.launch").LAUNCH = FAKE  # in case Blender has loaded the module anew
    obj = bpy.data.objects[name]
    assert obj.saga.fingerprint  # the record in the file outlives the extension
    bpy.ops.saga.backend_start()
    assert bpy.ops.saga.train(steps=5, object=name) == {"FINISHED"}
    click(Vector(PLACES[1]), object=name)
    np.testing.assert_array_equal(selected(obj), CLUSTER == 1)


def test_a_folder_that_is_locked_is_not_written_to(
    splat: bpy.types.Object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model goes where the user may write. (Root may write everywhere, so the answer is pretended.)"""
    really = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and really(path, mode))
    bpy.ops.saga.backend_start()
    bpy.ops.saga.train(steps=5)
    assert not (tmp_path / "three.saga").exists()
    assert Path(splat.saga.model_file).parent == addon("scene.state.paths").user_folder("models")
    click(Vector(PLACES[1]))
    np.testing.assert_array_equal(selected(splat), CLUSTER == 1)


def test_memory_is_asked_for_while_connected_and_forgotten_after(
    splat: bpy.types.Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session().link.memory.state is None
    bpy.ops.saga.backend_start()
    while session().link.memory.state is None:
        session().poll()
        session().link.backend._connection.wait(0.05)
    state = session().link.memory.state
    assert (state.memory, state.device_total) == (512, 8192)
    sent, clock = [], SimpleNamespace(now=session().link.memory._next)
    monkeypatch.setattr(addon("scene.state.monitor"), "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(session().link.backend, "submit", lambda message: sent.append(message))
    for since in (-1.9, -1.0, -0.1):
        clock.now = session().link.memory._next + since
        session().poll()
    assert not sent  # not at every tick of the timer
    clock.now = session().link.memory._next
    session().poll()
    assert [type(message).__name__ for message in sent] == ["Status"]
    sent.clear()
    bpy.ops.saga.backend_stop()
    session().poll()
    assert session().link.memory.state is None and not sent


def test_a_backend_that_cannot_tell_is_not_asked_again(splat: bpy.types.Object) -> None:
    """An environment of the user's own may lack the package; the panel goes without the numbers."""
    bpy.ops.saga.backend_start()
    asked = []

    def outcome() -> object:
        raise addon("errors").UserError("Something went wrong in the backend")

    backend = SimpleNamespace(
        state=session().link.backend.state,
        starts=1,
        submit=lambda m: asked.append(m) or SimpleNamespace(ended=True, outcome=outcome),
    )
    watch = addon("scene.state.monitor").MemoryWatch()
    for _ in range(6):
        watch.look(backend)
        watch._next = 0.0  # as if the time were over
    assert len(asked) == 1 and watch.state is None
