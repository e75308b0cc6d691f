"""A model that cannot be saved when its training ends is not lost: it answers, and it is saved somewhere else."""

# ruff: noqa: F811 - fixtures that are imported

from __future__ import annotations

import os
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Vector

from tests.blender.support import addon
from tests.blender.test_backend_flow import CLUSTER, PLACES, fake_backend, selected, session, splat, trained  # noqa: F401
from tests.blender.test_bad_input import refused
from tests.blender.test_panels import draw
from tests.blender.views import click


@pytest.fixture
def unsaved(splat: bpy.types.Object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bpy.types.Object:
    """A splat whose model was to go to a folder that is not there when it is trained."""
    bpy.ops.saga.backend_start()
    with monkeypatch.context() as patch:
        patch.setattr(addon("scene.requests.train"), "model_path", lambda *given: tmp_path / "gone" / "three.saga")
        bpy.ops.saga.train(steps=5)
    return splat


def test_clicks_are_answered_and_the_panel_says_what_to_do(unsaved: bpy.types.Object, tmp_path: Path) -> None:
    assert not unsaved.saga.model_file
    assert "press Save Model" in session().status.message and not session().status.failed
    click(Vector(PLACES[1]))
    np.testing.assert_array_equal(selected(unsaved), CLUSTER == 1)
    bpy.ops.saga.segment_scene()
    text, buttons = draw("scene")
    assert "Model: not saved" in text and "cannot be saved" in text and buttons["save_model"]

    wanted = tmp_path / "kept"
    assert bpy.ops.saga.save_model(filepath=str(wanted)) == {"FINISHED"}
    assert unsaved.saga.model_file == f"{wanted}.saga" and Path(f"{wanted}.saga").is_file()
    text, buttons = draw("scene")
    assert "Model: kept.saga" in text and "save_model" not in buttons
    bpy.ops.saga.backend_stop()
    bpy.ops.saga.backend_start()
    click(Vector(PLACES[2]))  # the new process has it from the file
    np.testing.assert_array_equal(selected(unsaved), CLUSTER == 2)


def test_saving_the_blend_saves_the_model_too(unsaved: bpy.types.Object, tmp_path: Path) -> None:
    blend = tmp_path / "work.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    assert (tmp_path / "three.saga").is_file() and "three.saga" in session().status.message
    bpy.ops.saga.backend_stop()
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    obj = bpy.data.objects["three"]
    assert obj.saga.model_file == "//three.saga"
    bpy.ops.saga.backend_start()
    click(Vector(PLACES[0]))
    np.testing.assert_array_equal(selected(obj), CLUSTER == 0)


def test_saving_the_blend_elsewhere_in_vain(
    unsaved: bpy.types.Object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's own file cannot be written: the .blend is saved all the same, and the model is still there."""
    saving = addon("scene.requests.save_model")
    error = addon("errors").UserError("The file cannot be written", "it is made so", code="file")
    with monkeypatch.context() as patch:
        patch.setattr(saving, "atomic_stream", lambda path: (_ for _ in ()).throw(error))
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    assert (tmp_path / "work.blend").is_file()
    assert session().status.failed and "cannot be written" in session().status.message
    click(Vector(PLACES[1]))
    np.testing.assert_array_equal(selected(unsaved), CLUSTER == 1)
    really = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and really(path, mode))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    assert not (tmp_path / "three.saga").exists() and addon("scene.requests.save_model").unsaved([unsaved])


def test_when_the_backend_ends_it_is_told(unsaved: bpy.types.Object) -> None:
    bpy.ops.saga.backend_stop()
    bpy.ops.saga.backend_start()
    refused(lambda: click(Vector(PLACES[1])), "not trained")
    assert "Model: not trained" in draw("scene")[0]
    refused(lambda: bpy.ops.saga.save_model(), "not trained")


def test_a_saved_model_can_be_saved_elsewhere(trained: bpy.types.Object, tmp_path: Path) -> None:
    first = trained.saga.model_file
    bpy.ops.saga.backend_stop()
    assert bpy.ops.saga.save_model(filepath=str(tmp_path / "copy.saga")) == {"FINISHED"}
    assert trained.saga.model_file == str(tmp_path / "copy.saga")
    assert Path(first).read_bytes() == (tmp_path / "copy.saga").read_bytes()


def test_an_older_model_does_not_take_the_place_of_the_unsaved_one(
    trained: bpy.types.Object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained again, not saved, and then the points change, so that the scene is sent anew."""
    old = trained.saga.model_file
    session().models.unsaved[trained.saga.fingerprint] = session().link.backend.starts, "The model cannot be saved"
    sent = []
    monkeypatch.setattr(
        addon("scene.state.link"), "SceneRequest", lambda backend, load, message, then: sent.append(load)
    )
    addon("scene.splat.point_cloud").set_hidden(trained, CLUSTER == 1)
    monkeypatch.setattr(session().link, "_loaded", {})
    addon("scene.requests.segments").ask(trained, addon("wire.messages").Cluster(trained.saga.fingerprint))
    assert sent[0].model_file == "" and trained.saga.model_file == old


def test_bad_places(trained: bpy.types.Object, tmp_path: Path) -> None:
    before = trained.saga.model_file
    refused(lambda: bpy.ops.saga.save_model(filepath=str(tmp_path / "none" / "a.saga")), "cannot be written")
    assert trained.saga.model_file == before
    bpy.ops.saga.backend_stop()
    bpy.ops.wm.read_homefile(use_empty=True)
    refused(lambda: bpy.ops.saga.save_model(filepath=str(tmp_path / "a.saga")), "No splat is active")
