"""Train, click, split, export and everything that can happen to the backend, with a fake session behind a real one's
process, server and socket. The fake selects what projects near the clicked pixel, so views and matrices matter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Matrix, Vector

from blender_saga.gaussians.cloud import GaussianCloud
from tests.blender.clouds import random_cloud, read_inria, write_inria
from tests.blender.support import addon
from tests.blender.test_bad_input import refused
from tests.blender.views import Eye, click
from tests.fakes.models import saga_file
from tests.paths import ROOT

ENDLESS, DIES = 99_999, 66_666  # steps: see tests/fakes/geometric_session.py
PLACES = np.array([[-2.0, 0, 0], [0, 0, 1], [2, 0, 0]])  # of three little clusters, in Blender's space


def three_clusters() -> GaussianCloud:
    """60 Gaussians, 20 at each place, mixed; in the axes of the files."""
    rng = np.random.default_rng(5)
    cluster = np.arange(60) % 3
    blender = PLACES[cluster] + rng.normal(size=(60, 3)) * 0.02
    means = blender @ np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # (x, y, z) -> (x, -z, y)
    quats = np.tile([1.0, 0, 0, 0], (60, 1))
    return GaussianCloud(means, quats, np.full((60, 3), 0.05), np.full(60, 0.9), rng.normal(size=(60, 4, 3)))


CLUSTER = np.arange(60) % 3


@pytest.fixture(autouse=True)
def fake_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start launches the fake."""
    monkeypatch.setenv("BLENDER_SAGA_PYTHON", sys.executable)
    monkeypatch.setenv("SAGA_TEST_SESSION", "geometric_session")
    monkeypatch.setattr(addon("scene.state.launch"), "LAUNCH", ROOT / "tests" / "fakes" / "launch_fake.py")


@pytest.fixture
def splat(tmp_path: Path) -> bpy.types.Object:
    """Three clusters, imported and active."""
    write_inria(tmp_path / "three.ply", three_clusters())
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "three.ply"))
    return bpy.context.view_layer.objects.active


@pytest.fixture
def trained(splat: bpy.types.Object) -> bpy.types.Object:
    """The same, trained, with the backend running."""
    bpy.ops.saga.backend_start()
    assert bpy.ops.saga.train(steps=5) == {"FINISHED"}
    return splat


def selected(obj: bpy.types.Object) -> np.ndarray:
    return addon("scene.splat.point_cloud").selection(obj)


def session() -> object:
    return addon("scene.state.session")


@pytest.mark.parametrize("orthographic", [False, True])
def test_train_click_split_export(trained: bpy.types.Object, tmp_path: Path, orthographic: bool) -> None:
    assert trained.saga.model_file == str(tmp_path / "three.saga") and (tmp_path / "three.saga").exists()

    assert click(Vector(PLACES[2]), Eye(orthographic=orthographic)) == {"FINISHED"}
    np.testing.assert_array_equal(selected(trained), CLUSTER == 2)
    similarity = addon("scene.splat.attributes").read(trained.data.attributes["saga:similarity"])
    assert similarity[CLUSTER == 2].min() > similarity[CLUSTER != 2].max()
    assert bpy.context.scene.saga.scale == 0.5  # what the backend chose is what the slider shows

    bpy.ops.saga.split()
    part = bpy.context.view_layer.objects.active
    assert (len(part.data.points), len(trained.data.points)) == (20, 40)
    bpy.ops.saga.export_splat(filepath=str(tmp_path / "part.ply"))
    wanted = three_clusters().take(CLUSTER == 2)
    got = read_inria(tmp_path / "part.ply")
    np.testing.assert_allclose(got["means"], wanted.means, atol=1e-5)
    np.testing.assert_allclose(got["sh"], wanted.sh, atol=1e-5)


def test_modes_combine_with_the_selection(trained: bpy.types.Object) -> None:
    for place, mode, wanted in (
        (0, "SET", CLUSTER == 0),
        (1, "ADD", CLUSTER != 2),
        (0, "SUBTRACT", CLUSTER == 1),
        (0, "INTERSECT", CLUSTER == 9),
        (2, "SET", CLUSTER == 2),
    ):
        click(Vector(PLACES[place]), mode=mode)
        np.testing.assert_array_equal(selected(trained), wanted, err_msg=mode)


def test_click_on_the_background_is_an_empty_selection(trained: bpy.types.Object) -> None:
    click(Vector(PLACES[0]))
    assert click(Vector((0, 0, -2))) == {"FINISHED"}
    assert not selected(trained).any()
    assert session().status.message == "There is nothing under the click"


def test_moved_and_split_objects_are_clicked_where_they_stand(trained: bpy.types.Object) -> None:
    click(Vector(PLACES[2]))
    bpy.ops.saga.split()
    part = bpy.context.view_layer.objects.active
    part.matrix_world = Matrix.Translation((0, 0, -1)) @ Matrix.Rotation(0.3, 4, "X")
    moved = part.matrix_world @ Vector(PLACES[2])
    click(moved)
    assert selected(part).all() and not selected(trained).any()
    click(Vector(PLACES[2]))  # where it was there is nothing now
    assert not selected(part).any()
    click(Vector(PLACES[0]), mode="ADD")
    assert selected(trained).sum() == 20


def test_duplicates_take_part_and_hidden_objects_do_not(trained: bpy.types.Object) -> None:
    copy = trained.copy()
    copy.data = trained.data.copy()
    bpy.context.collection.objects.link(copy)
    copy.location = (0, 0, 2)
    click(Vector(PLACES[0]) + Vector((0, 0, 2)))
    np.testing.assert_array_equal(selected(copy), CLUSTER == 0)
    assert not selected(trained).any()
    copy.hide_set(True)
    click(Vector(PLACES[1]))
    np.testing.assert_array_equal(selected(trained), CLUSTER == 1)
    np.testing.assert_array_equal(selected(copy), CLUSTER == 0)  # as it was


def test_linked_duplicates_share_the_selection(trained: bpy.types.Object) -> None:
    other = trained.copy()  # the same data
    bpy.context.collection.objects.link(other)
    other.location = (0, 0, 2)
    click(Vector(PLACES[0]) + Vector((0, 0, 2)))
    np.testing.assert_array_equal(selected(trained), CLUSTER == 0)


def test_deleted_points_do_not_shift_the_answer(trained: bpy.types.Object) -> None:
    click(Vector(PLACES[0]))
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.pointcloud.delete()
    bpy.ops.object.mode_set(mode="OBJECT")
    click(Vector(PLACES[2]))
    np.testing.assert_array_equal(selected(trained), CLUSTER[CLUSTER != 0] == 2)


def test_click_can_be_undone(trained: bpy.types.Object) -> None:
    bpy.ops.ed.undo_push(message="before")
    click(Vector(PLACES[0]))
    bpy.ops.ed.undo_push(message="click")
    click(Vector(PLACES[1]))
    bpy.ops.ed.undo_push(message="click")
    bpy.ops.ed.undo()
    np.testing.assert_array_equal(selected(bpy.data.objects["three"]), CLUSTER == 0)


def test_reload_of_the_file_takes_the_model_from_its_file(trained: bpy.types.Object, tmp_path: Path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    bpy.ops.saga.backend_stop()
    bpy.ops.wm.read_homefile(use_empty=True)
    addon("scene.state.session").models.paths.clear()  # another run of Blender
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "work.blend"))
    bpy.ops.saga.backend_start()
    click(Vector(PLACES[1]))
    np.testing.assert_array_equal(selected(bpy.data.objects["three"]), CLUSTER == 1)


def test_model_next_to_a_saved_file_moves_with_it(splat: bpy.types.Object, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project" / "work.blend"))
    bpy.ops.saga.backend_start()
    bpy.ops.saga.train(steps=5)
    assert bpy.data.objects["three"].saga.model_file == "//three.saga"
    bpy.ops.wm.save_mainfile()
    bpy.ops.saga.backend_stop()
    session().models.paths.clear()
    (tmp_path / "project").rename(tmp_path / "elsewhere")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "elsewhere" / "work.blend"))
    bpy.ops.saga.backend_start()
    click(Vector(PLACES[1]))
    np.testing.assert_array_equal(selected(bpy.data.objects["three"]), CLUSTER == 1)


def test_model_of_another_cloud_is_refused_with_the_reason(
    trained: bpy.types.Object, tmp_path: Path, snapshot: Callable
) -> None:
    (tmp_path / "three.saga").write_bytes(saga_file("of something else", steps=1))
    bpy.ops.saga.backend_stop()
    bpy.ops.saga.backend_start()
    before = snapshot()
    refused(lambda: click(Vector(PLACES[1])), "three.saga belongs to another cloud. Train it again")
    assert snapshot() == before


def test_model_that_is_gone_is_said_to_be_gone(trained: bpy.types.Object, tmp_path: Path, snapshot: Callable) -> None:
    (tmp_path / "three.saga").unlink()
    click(Vector(PLACES[1]))  # the backend still has it in memory
    bpy.ops.saga.backend_stop()
    bpy.ops.saga.backend_start()
    before = snapshot()
    refused(lambda: click(Vector(PLACES[1])), "three.saga is missing. Train it again")
    assert snapshot() == before


def test_training_does_not_overwrite_the_model_of_another_cloud(splat: bpy.types.Object, tmp_path: Path) -> None:
    (tmp_path / "three.saga").write_text("somebody else's")
    bpy.ops.saga.backend_start()
    bpy.ops.saga.train(steps=5)
    assert (tmp_path / "three.saga").read_text() == "somebody else's"
    assert splat.saga.model_file == str(tmp_path / f"three-{splat.saga.fingerprint[:8]}.saga")


def test_training_a_part_numbers_it_anew(trained: bpy.types.Object, tmp_path: Path) -> None:
    click(Vector(PLACES[2]))
    bpy.ops.saga.split()
    part = bpy.context.view_layer.objects.active
    whole = trained.saga.fingerprint
    bpy.ops.saga.train(steps=5)
    assert part.saga.fingerprint != whole == trained.saga.fingerprint
    assert trained.saga.model_file == str(tmp_path / "three.saga") != part.saga.model_file
    np.testing.assert_array_equal(addon("scene.splat.point_cloud").ids(part), np.arange(20))
    click(Vector(PLACES[2]))
    assert selected(part).all() and not selected(trained).any()
    click(Vector(PLACES[0]), object="three")  # the rest is still selectable with its own model
    assert selected(trained).sum() == 20


def test_cancelled_training_changes_nothing(splat: bpy.types.Object, snapshot: Callable, tmp_path: Path) -> None:
    bpy.ops.saga.backend_start()
    before = snapshot()
    bpy.ops.saga.train(steps=ENDLESS, wait=False)
    training = session().trainings.request
    refused(lambda: bpy.ops.saga.train(), "already running")

    def cancel(progress: object) -> None:
        if progress.step >= 3 and not training.job.cancelling:
            bpy.ops.saga.cancel()

    with pytest.raises(addon("errors").Cancelled):
        training.wait(on_progress=cancel)
    assert snapshot() == before and not (tmp_path / "three.saga").exists()
    assert "cancelled" in session().status.message and not session().status.failed


def test_training_nobody_waits_for_is_recorded_when_it_ends(splat: bpy.types.Object) -> None:
    bpy.ops.saga.backend_start()
    bpy.ops.saga.train(steps=5, wait=False)
    session().trainings.request.wait()
    assert splat.saga.model_file and "Trained 5 steps on 3 views and 7 masks" in session().status.message
    click(Vector(PLACES[1]))
    np.testing.assert_array_equal(selected(splat), CLUSTER == 1)


def test_splat_deleted_while_it_is_trained(splat: bpy.types.Object) -> None:
    bpy.ops.saga.backend_start()
    bpy.ops.saga.train(steps=5, wait=False)
    bpy.data.objects.remove(splat)
    session().trainings.request.wait()
    assert not session().status.failed


def test_backend_that_dies_while_training_loses_nothing(splat: bpy.types.Object, snapshot: Callable) -> None:
    bpy.ops.saga.backend_start()
    before = snapshot()
    refused(lambda: bpy.ops.saga.train(steps=DIES), "backend")
    assert snapshot() == before
    refused(lambda: bpy.ops.saga.train(), "not running.*Press Start")
    bpy.ops.saga.backend_start()
    assert bpy.ops.saga.train(steps=5) == {"FINISHED"}


def test_backend_killed_between_clicks(trained: bpy.types.Object, snapshot: Callable) -> None:
    click(Vector(PLACES[0]))
    process = session().link.backend._process._child
    process.kill()
    process.wait()
    before = snapshot()
    refused(lambda: click(Vector(PLACES[1])), "backend")
    assert snapshot() == before
    bpy.ops.saga.backend_start()
    click(Vector(PLACES[1]))
    np.testing.assert_array_equal(selected(trained), CLUSTER == 1)


def test_click_when_the_backend_is_stopped(trained: bpy.types.Object, snapshot: Callable) -> None:
    bpy.ops.saga.backend_stop()
    before = snapshot()
    refused(lambda: click(Vector(PLACES[0])), "The backend is not running. Press Start")
    assert snapshot() == before


def test_disabling_the_extension_ends_the_backend(trained: bpy.types.Object) -> None:
    process = session().link.backend._process._child
    session().close()
    assert process.poll() is not None


def test_points_moved_in_edit_mode_are_clicked_where_they_are(trained: bpy.types.Object) -> None:
    click(Vector(PLACES[0]))
    bpy.ops.object.mode_set(mode="EDIT")
    places = addon("scene.splat.attributes").read(trained.data.attributes["position"])
    places[CLUSTER == 0] += (0, 0, 2)
    trained.data.attributes["position"].data.foreach_set("vector", places.ravel())
    bpy.ops.object.mode_set(mode="OBJECT")
    click(Vector(PLACES[0]))
    assert not selected(trained).any()
    click(Vector(PLACES[0]) + Vector((0, 0, 2)))
    np.testing.assert_array_equal(selected(trained), CLUSTER == 0)


def test_points_that_come_back_by_undo_are_clickable(trained: bpy.types.Object) -> None:
    click(Vector(PLACES[0]))
    bpy.ops.ed.undo_push(message="click")
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.pointcloud.delete()
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.ed.undo_push(message="deleted")
    bpy.ops.saga.backend_stop()
    bpy.ops.saga.backend_start()
    click(Vector(PLACES[1]))  # loads what is there now
    bpy.ops.ed.undo()
    click(Vector(PLACES[0]))
    np.testing.assert_array_equal(selected(bpy.data.objects["three"]), CLUSTER == 0)


def test_a_scene_is_sent_once(trained: bpy.types.Object, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    submit = session().link.backend.submit
    monkeypatch.setattr(
        session().link.backend, "submit", lambda message, done: sent.append(message) or submit(message, done)
    )
    click(Vector(PLACES[0]))
    bpy.ops.saga.split()
    click(Vector(PLACES[1]))
    trained.hide_set(True)
    click(Vector(PLACES[0]))
    assert [type(message).__name__ for message in sent] == ["Click"] * 3


def test_parts_that_are_joined_again_keep_their_model(trained: bpy.types.Object) -> None:
    click(Vector(PLACES[2]))
    bpy.ops.saga.split()
    part = bpy.context.view_layer.objects.active
    trained.select_set(True)
    bpy.ops.object.join()  # into the part
    click(Vector(PLACES[0]))
    np.testing.assert_array_equal(
        np.sort(addon("scene.splat.point_cloud").ids(part)[selected(part)]), np.arange(0, 60, 3)
    )


def test_points_of_another_splat_that_were_joined_are_refused(
    trained: bpy.types.Object, tmp_path: Path, snapshot: Callable
) -> None:
    write_inria(tmp_path / "other.ply", random_cloud(30, 1))
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "other.ply"))
    trained.select_set(True)
    bpy.context.view_layer.objects.active = trained
    bpy.ops.object.join()
    before = snapshot()
    refused(lambda: click(Vector(PLACES[0])), "points of another splat were joined to it. Train it again")
    assert snapshot() == before
    bpy.ops.saga.train(steps=5)
    click(Vector(PLACES[0]))
    assert selected(trained)[:60].sum() == 20
