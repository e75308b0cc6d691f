"""A training that the death of its backend cuts off: the panel says how far it was, one button goes on with it.

The backend is the fake of test_backend_flow.py: a real process with a session that needs no torch. That a real one goes
on from its checkpoint is tested in tests/backend/methods/test_checkpoint.py and tests/faults.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

from tests.blender.clouds import write_inria
from tests.blender.support import addon
from tests.blender.test_backend_flow import DIES, ENDLESS, session, three_clusters
from tests.blender.test_bad_input import refused
from tests.blender.test_panels import draw
from tests.paths import ROOT


@pytest.fixture(autouse=True)
def fake_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start launches the fake."""
    monkeypatch.setenv("BLENDER_SAGA_PYTHON", sys.executable)
    monkeypatch.setenv("SAGA_TEST_SESSION", "geometric_session")
    monkeypatch.setattr(addon("scene.state.launch"), "LAUNCH", ROOT / "tests" / "fakes" / "launch_fake.py")


@pytest.fixture
def splat(tmp_path: Path) -> bpy.types.Object:
    write_inria(tmp_path / "three.ply", three_clusters())
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "three.ply"))
    return bpy.context.view_layer.objects.active


def poll_until(condition: Callable[[], bool]) -> None:
    while not condition():
        session().link.backend._connection.wait(1)
        session().poll()


@pytest.fixture
def cut_off(splat: bpy.types.Object) -> object:
    """A training that had begun when its backend was killed."""
    bpy.ops.saga.backend_start()
    bpy.ops.saga.train(steps=ENDLESS, wait=False)
    running = session().trainings.request
    poll_until(lambda: running.job.progress is not None)
    session().link.backend._process._child.kill()
    poll_until(lambda: running.ended)
    return running


def test_it_is_told_and_goes_on_by_one_button(cut_off: object, snapshot: Callable) -> None:
    before = snapshot()
    assert session().status.failed and "it was killed" in session().status.message
    text, buttons = draw("train")
    assert "Training was interrupted" in text
    assert buttons["train_resume"] and not buttons["train"]
    assert bpy.ops.saga.train_resume(wait=False) == {"FINISHED"}
    again = session().trainings.request
    assert again is not cut_off and again.message is cut_off.message and session().trainings.interrupted is None
    poll_until(lambda: again.job.progress is not None)
    bpy.ops.saga.cancel()
    poll_until(lambda: again.ended)
    assert "Train with the same settings" in session().status.message and not session().status.failed
    assert snapshot() == before


def test_it_is_recorded_on_the_splat_when_it_ends(splat: bpy.types.Object) -> None:
    """The user has restarted by hand, and selected another object meanwhile."""
    bpy.ops.saga.backend_start()
    bpy.ops.saga.train(steps=5, wait=False)
    session().link.stop()
    assert "stopped" in session().status.message and session().trainings.interrupted is not None
    bpy.ops.object.empty_add()
    bpy.ops.saga.backend_start()
    assert bpy.ops.saga.train_resume() == {"FINISHED"}
    assert splat.saga.model_file and session().trainings.result is not None and session().trainings.interrupted is None


def test_one_that_kills_its_backend_can_be_let_go(splat: bpy.types.Object) -> None:
    bpy.ops.saga.backend_start()
    refused(lambda: bpy.ops.saga.train(steps=DIES), "backend")
    refused(lambda: bpy.ops.saga.train_resume(), "backend")  # it dies again
    assert session().trainings.interrupted is not None
    bpy.ops.saga.backend_start()
    assert bpy.ops.saga.train(steps=5) == {"FINISHED"} and session().trainings.interrupted is None


def test_without_one_there_is_nothing_to_go_on_with(splat: bpy.types.Object) -> None:
    refused(lambda: bpy.ops.saga.train_resume(), "No training was interrupted.*Press Train")
    assert session().link.backend is None


def test_after_blender_was_killed_the_panel_says_that_something_is_kept(splat: bpy.types.Object) -> None:
    bpy.ops.saga.backend_start()
    model = addon("scene.state.paths").model_path(splat, splat.saga.fingerprint)
    assert "was not finished" not in draw("train")[0]
    Path(f"{model}.unfinished").mkdir()
    assert "was not finished" in draw("train")[0]


def test_a_backend_that_owes_its_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held by a debugger, swapping, or the machine has slept: the connection stands, nothing comes."""
    watching = addon("scene.state.monitor")
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(watching, "time", SimpleNamespace(monotonic=lambda: clock.now))
    state = addon("client.connection.connection").ConnectionState.connected
    job = SimpleNamespace(ended=False)
    backend = SimpleNamespace(state=state, starts=1, submit=lambda message: job)
    watch = watching.MemoryWatch()
    for now, silent in ((100.0, 0), (104.0, 0), (105.0, 5), (112.5, 12)):
        clock.now = now
        changed = watch.look(backend)
        assert watch.silent == silent and changed == (silent > 0)
    watch.look(SimpleNamespace(state=addon("client.connection.connection").ConnectionState.lost))
    assert watch.silent == 0
