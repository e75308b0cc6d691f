"""What a training is told to look at. The rule: a Gaussian that is sent lies in a view that is sent where Blender's
camera sees its point; and the file's own coordinates, turned as told, are those of the Gaussians that are sent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Matrix, Vector

from blender_saga.gaussians.view import View, look_at
from tests.blender.clouds import random_cloud, write_inria
from tests.blender.support import addon
from tests.blender.test_bad_input import refused
from tests.blender.test_end_to_end import PLACES, overlap, two_balls
from tests.blender.views import Eye, click

TO_BLENDER = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # (x, y, z) of a file -> (x, z, -y)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list:
    """The (LoadScene, Train) of every training that is begun; they end at once, no backend is needed."""
    session, messages = addon("scene.state.session"), []

    def request(load: object, train: object) -> object:
        messages.append((load, train))
        trained = addon("wire.messages").Trained(train.scene, 1, 1, 1, 1.0)
        return SimpleNamespace(ended=True, wait=lambda: trained, outcome=lambda: trained)

    monkeypatch.setattr(session.link, "request", request)
    monkeypatch.setattr(session.link, "connected", lambda: None)
    return messages


@pytest.fixture
def splat(tmp_path: Path) -> bpy.types.Object:
    """Forty Gaussians of a file, imported and active."""
    write_inria(tmp_path / "cloud.ply", random_cloud(40, 1))
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "cloud.ply"))
    return bpy.context.view_layer.objects.active


def train(**options: object) -> None:
    """Begin a training and do not wait: `sent` has what it was told."""
    assert bpy.ops.saga.train(wait=False, **options) == {"FINISHED"}


def camera(name: str = "eye", place: tuple = (0.5, -9, 2), **data: object) -> bpy.types.Object:
    """A camera that looks about at the origin."""
    made = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    for key, value in data.items():
        setattr(made.data, key, value)
    bpy.context.collection.objects.link(made)
    made.location = place
    made.rotation_euler = (Vector((0.2, 0.1, 0)) - Vector(place)).to_track_quat("-Z", "Y").to_euler()
    bpy.context.view_layer.update()
    return made


def pixels(view: View, means: np.ndarray) -> np.ndarray:
    """[N,2] where a view sees points."""
    p = means @ view.viewmat[:3, :3].T + view.viewmat[:3, 3]
    p[:, 2] = 1 if view.orthographic else p[:, 2]
    p = p @ view.K.T
    return p[:, :2] / p[:, 2:]


def seen_by(eye: bpy.types.Object, obj: bpy.types.Object) -> np.ndarray:
    """[N,2] where Blender says that its camera sees the points of an object, in pixels of the render."""
    scene = bpy.context.scene
    size = np.array([scene.render.resolution_x, scene.render.resolution_y]) * scene.render.resolution_percentage // 100
    points = [obj.matrix_world @ point.co for point in obj.data.points]
    places = np.array([world_to_camera_view(scene, eye, point)[:2] for point in points])
    return (places * (1, -1) + (0, 1)) * size


CAMERAS = {
    "plain": {},
    "shifted": {"shift_x": 0.2, "shift_y": -0.1, "lens": 35.0},
    "vertical": {"sensor_fit": "VERTICAL", "sensor_height": 20.0},
    "orthographic": {"type": "ORTHO", "ortho_scale": 7.0, "shift_x": 0.1},
}


@pytest.mark.parametrize("kind", CAMERAS)
@pytest.mark.parametrize("standing", ["as imported", "moved", "parented"])
def test_blender_cameras_are_where_they_stand(splat: bpy.types.Object, sent: list, kind: str, standing: str) -> None:
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = 640, 360, 50
    render.pixel_aspect_x = 1.5 if kind == "shifted" else 1.0
    if standing != "as imported":
        splat.matrix_world = Matrix.LocRotScale(Vector((1, 0.5, 0)), Matrix.Rotation(0.7, 3, "X").to_quaternion(), None)
        splat.scale = (1.5, 1.5, 1.5)
    if standing == "parented":
        splat.parent = bpy.data.objects.new("parent", None)
        bpy.context.collection.objects.link(splat.parent)
        splat.parent.rotation_euler, splat.parent.scale = (0, 0.4, 0.3), (0.5, 0.5, 0.5)
    eye = camera(**CAMERAS[kind])
    eye.scale = (2, 2, 2)  # Blender's pictures do not care
    bpy.context.view_layer.update()
    train(views_from="CAMERAS")
    load, message = sent[0]
    (view,) = message.sources.views
    assert message.sources.names == ("eye",) and (view.width, view.height) == (320, 180)
    assert view.near == pytest.approx(eye.data.clip_start)
    np.testing.assert_allclose(pixels(view, load.cloud.means.astype(float)), seen_by(eye, splat), atol=0.02)


def test_an_animated_camera_looks_at_every_nth_frame(splat: bpy.types.Object, sent: list) -> None:
    scene, eye, other = bpy.context.scene, camera("walk"), camera("other", (3, -8, 1))
    scene.frame_start, scene.frame_end = 10, 20
    for frame, x in ((10, -3.0), (20, 3.0)):
        eye.location.x = x
        eye.keyframe_insert("location", frame=frame)
        splat.location.z = x / 10
        splat.keyframe_insert("location", frame=frame)
    scene.frame_set(13, subframe=0.25)
    train(views_from="CAMERAS", frame_step=5)
    assert (scene.frame_current, scene.frame_subframe) == (13, 0.25)
    load, message = sent[0]
    expected = [f"{name}/{frame:04d}" for frame in (10, 15, 20) for name in ("walk", "other")]
    assert sorted(message.sources.names) == sorted(expected)
    for name, view in zip(message.sources.names, message.sources.views, strict=True):
        scene.frame_set(int(name[-4:]))
        there = seen_by(eye if name.startswith("walk") else other, splat)
        np.testing.assert_allclose(pixels(view, load.cloud.means.astype(float)), there, atol=0.02)


def test_only_the_cameras_of_a_collection(splat: bpy.types.Object, sent: list) -> None:
    camera("stray")
    outer, inner = bpy.data.collections.new("rig"), bpy.data.collections.new("inner")
    bpy.context.scene.collection.children.link(outer)
    outer.children.link(inner)
    chosen = camera("chosen")
    bpy.context.collection.objects.unlink(chosen)
    inner.objects.link(chosen)
    train(views_from="CAMERAS", cameras="rig")
    assert sent[0][1].sources.names == ("chosen",)


# --- the file's own cameras -----------------------------------------------------------------------------------------


def file_means() -> np.ndarray:
    return random_cloud(40, 1).means.astype(float)


def check_turn(messages: tuple, ids: np.ndarray) -> None:
    """The file's coordinates, turned as told, are those that were sent."""
    load, message = messages
    turn = message.sources.to_object
    np.testing.assert_allclose(file_means()[ids] @ turn[:3, :3].T + turn[:3, 3], load.cloud.means, atol=2e-5)


def place(obj: bpy.types.Object) -> None:
    obj.matrix_world = Matrix.LocRotScale(Vector((1, 2, -0.5)), Matrix.Rotation(0.6, 3, "Y").to_quaternion(), None)
    obj.scale = (2, 2, 2)
    bpy.context.view_layer.update()


def test_photos_are_turned_with_the_import(splat: bpy.types.Object, sent: list, tmp_path: Path) -> None:
    place(splat)  # an object that is only placed keeps its own space
    train(views_from="PHOTOS", photos=str(tmp_path))
    check_turn(sent[0], np.arange(40))
    np.testing.assert_allclose(sent[0][1].sources.to_object[:3, :3], TO_BLENDER)
    assert sent[0][1].sources.cameras == str(tmp_path)


def test_photos_follow_apply_transform(splat: bpy.types.Object, sent: list, tmp_path: Path) -> None:
    for _ in range(2):
        place(splat)
        bpy.ops.saga.apply_transform()
    train(views_from="PHOTOS", photos=str(tmp_path))
    check_turn(sent[0], np.arange(40))


def test_photos_fit_parts_and_what_shares_their_cloud(splat: bpy.types.Object, sent: list, tmp_path: Path) -> None:
    mask = np.arange(40) % 4 == 0
    addon("scene.splat.point_cloud").set_selection(splat, mask)
    bpy.ops.saga.split()
    part = bpy.context.view_layer.objects.active
    place(part)
    bpy.ops.saga.apply_transform()  # two objects share the cloud now, one was applied
    for obj, ids in ((part, np.flatnonzero(mask)), (splat, np.flatnonzero(~mask))):
        train(views_from="PHOTOS", photos=str(tmp_path), object=obj.name)
        check_turn(sent[-1], ids)
    camera()
    train(views_from="CAMERAS", object=part.name)
    load, message = sent[-1]
    there = seen_by(bpy.data.objects["eye"], part)
    np.testing.assert_allclose(pixels(message.sources.views[0], load.cloud.means.astype(float)), there, atol=0.02)


def test_paths_are_those_of_the_blend(splat: bpy.types.Object, sent: list, tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    (tmp_path / "masks").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    train(views_from="PHOTOS", photos="//shots", masks_from="FILES", masks_folder="//masks")
    sources = sent[0][1].sources
    assert (sources.cameras, sources.masks_folder) == (str(tmp_path / "shots"), str(tmp_path / "masks"))
    assert (sources.masks, sources.views) == ("files", ())


def test_the_button_takes_what_the_sidebar_shows(splat: bpy.types.Object) -> None:
    """Without a window Blender calls no `invoke`, so it is called here."""
    settings, rig = bpy.context.scene.saga, bpy.data.collections.new("rig")
    settings.views_from, settings.cameras, settings.frame_step = "CAMERAS", rig, 100
    settings.masks_from, settings.masks_folder, settings.photos = "FILES", "//masks", "//photos"
    settings.method, settings.recipe, settings.steps, settings.views = "SEGMENTS", "PAPER", 77, 5
    operator = SimpleNamespace(_start=lambda context: {"FINISHED"})
    assert addon("ui.train_ops").SAGA_OT_train.invoke(operator, bpy.context, None) == {"FINISHED"}
    assert (operator.views_from, operator.cameras, operator.frame_step) == ("CAMERAS", "rig", 100)
    assert (operator.masks_from, operator.masks_folder, operator.photos) == ("FILES", "//masks", "//photos")
    assert (operator.method, operator.recipe, operator.steps, operator.views) == ("SEGMENTS", "PAPER", 77, 5)
    settings.cameras = None
    addon("ui.train_ops").SAGA_OT_train.invoke(operator, bpy.context, None)
    assert operator.cameras == ""


def test_segment_anything_is_told_its_weights_and_settings(splat: bpy.types.Object, sent: list, tmp_path: Path) -> None:
    train(masks_from="SAM", sam_weights="/weights/sam.pth", points_per_side=16, iou=0.5)
    sources = sent[0][1].sources
    assert (sources.masks, sources.sam.weights) == ("sam", "/weights/sam.pth")
    assert (sources.sam.points_per_side, sources.sam.stability) == (16, pytest.approx(0.95))
    assert sources.sam.iou == pytest.approx(0.5)
    assert sources.masks_folder == str(tmp_path / "cloud_masks")  # beside the model
    train(masks_from="SAM", sam_weights="/weights/sam.pth", masks_folder=str(tmp_path / "kept"))
    assert sent[1][1].sources.masks_folder == str(tmp_path / "kept")
    assert sent[1][1].sources.sam.points_per_side == 32  # what a script does not give has its default


def test_defaults_of_the_sidebar_are_those_of_the_message(splat: bpy.types.Object) -> None:
    settings, options = bpy.context.scene.saga, addon("wire.messages").SamOptions()
    for name in addon("scene.state.sam_settings").CHOICES:
        assert getattr(settings, name) == pytest.approx(getattr(options, name)), name


# --- bad input ------------------------------------------------------------------------------------------------------

BAD = {
    "no cameras": ({"views_from": "CAMERAS"}, "There are no cameras in the scene. Add cameras"),
    "no collection": ({"views_from": "CAMERAS", "cameras": "none"}, "There is no collection none"),
    "no photos": ({"views_from": "PHOTOS"}, "No folder of photos is chosen. Choose the folder"),
    "no such photos": ({"views_from": "PHOTOS", "photos": "/no/such/folder"}, "The folder of photos is missing"),
    "files of nothing": ({"masks_from": "FILES", "masks_folder": "/"}, "Mask files need photos or cameras"),
    "no weights": ({"masks_from": "SAM"}, "Segment Anything needs its weights: no weights file is chosen"),
    "no masks": (
        {"views_from": "PHOTOS", "photos": "/", "masks_from": "FILES"},
        "No folder of masks is chosen. Choose the folder",
    ),
    "no such masks": (
        {"views_from": "PHOTOS", "photos": "/", "masks_from": "FILES", "masks_folder": "/no/such/folder"},
        "The folder of masks is missing",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_missing_is_said_before_anything_is_done(
    splat: bpy.types.Object, sent: list, snapshot: Callable, kind: str
) -> None:
    options, match = BAD[kind]
    before = snapshot()
    refused(lambda: bpy.ops.saga.train(**options), match)
    assert snapshot() == before and not sent


def test_a_collection_without_cameras(splat: bpy.types.Object, sent: list) -> None:
    camera()
    bpy.context.scene.collection.children.link(bpy.data.collections.new("empty"))
    refused(lambda: bpy.ops.saga.train(views_from="CAMERAS", cameras="empty"), "no cameras in the collection empty")


def test_a_panoramic_camera(splat: bpy.types.Object, sent: list) -> None:
    camera("round", type="PANO")
    refused(lambda: bpy.ops.saga.train(views_from="CAMERAS"), "The camera round is panoramic")


def test_a_flat_splat(splat: bpy.types.Object, sent: list) -> None:
    camera()
    splat.scale.z = 0
    refused(lambda: bpy.ops.saga.train(views_from="CAMERAS"), "is flat: its scale is zero")


def test_too_many_views(splat: bpy.types.Object, sent: list) -> None:
    camera()
    bpy.context.scene.frame_end = 2001
    refused(
        lambda: bpy.ops.saga.train(views_from="CAMERAS", frame_step=1), "2001 views are too many: the limit is 2000"
    )


# --- with the real backend ------------------------------------------------------------------------------------------


def write_photo_set(folder: Path) -> None:
    """A COLMAP folder around the two balls, in the axes of the file; the photos are empty files, nobody opens them."""
    from scipy.spatial.transform import Rotation

    (folder / "sparse" / "0").mkdir(parents=True)
    (folder / "images").mkdir()
    lines = []
    for i in range(8):
        angle = i * np.pi / 4
        eye = np.array([3.5 * np.cos(angle), -1.6, 3.5 * np.sin(angle)])
        viewmat = look_at(eye, np.array([0, -0.3, 0]), np.array([0.0, -1, 0]))
        x, y, z, w = Rotation.from_matrix(viewmat[:3, :3]).as_quat()
        lines += [f"{i + 1} {w} {x} {y} {z} {' '.join(map(str, viewmat[:3, 3]))} 1 {i:02d}.png", ""]
        (folder / "images" / f"{i:02d}.png").touch()
    (folder / "sparse" / "0" / "cameras.txt").write_text("1 PINHOLE 320 240 300 300 160 120\n")
    (folder / "sparse" / "0" / "images.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def balls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bpy.types.Object:
    """Two balls on a floor, placed somewhere, with the real backend running."""
    pytest.importorskip("torch", reason="needs the backend's packages")
    monkeypatch.setenv("BLENDER_SAGA_PYTHON", sys.executable)
    write_inria(tmp_path / "balls.ply", two_balls()[0])
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "balls.ply"))
    bpy.ops.saga.backend_start()
    obj = bpy.context.view_layer.objects.active
    obj.matrix_world = Matrix.Translation((0.5, 0, 0.2)) @ Matrix.Rotation(0.4, 4, "Z") @ Matrix.Scale(0.8, 4)
    bpy.context.view_layer.update()
    return obj


def test_clicks_after_photos_hit_what_the_artist_sees(balls: bpy.types.Object, tmp_path: Path) -> None:
    write_photo_set(tmp_path / "photos")
    bpy.ops.saga.train(views_from="PHOTOS", photos=str(tmp_path / "photos"), width=160, steps=60)
    trained = addon("scene.state.session").trainings.result
    assert (trained.views, trained.notes) == (8, ())
    labels = two_balls()[1]
    for label, where in ((1, PLACES[0]), (2, PLACES[1])):
        point = balls.matrix_world @ Vector(where)
        best = 0.0
        for scale in (0.4, 0.6, 0.8):
            assert click(point, Eye((0.5, -5, 1.5), (0.5, 0, 0.4)), scale=scale) == {"FINISHED"}
            best = max(best, overlap(addon("scene.splat.point_cloud").selection(balls), labels == label))
        assert best > 0.6, label  # the undersides are seen by no photo


def test_photos_that_do_not_see_the_splat(balls: bpy.types.Object, tmp_path: Path, snapshot: Callable) -> None:
    write_photo_set(tmp_path / "photos")
    place = addon("scene.splat.attributes").read(balls.data.attributes["position"])
    balls.data.attributes["position"].data.foreach_set("vector", (place + 100).ravel())
    before = snapshot()
    refused(
        lambda: bpy.ops.saga.train(views_from="PHOTOS", photos=str(tmp_path / "photos")), "No camera sees the splat"
    )
    (tmp_path / "none").mkdir()
    refused(lambda: bpy.ops.saga.train(views_from="PHOTOS", photos=str(tmp_path / "none")), "has no cameras")
    assert snapshot() == before
