"""Edits that stay right: what is exported or applied looks as it stood, in pictures of the project's rasterizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.transforms import RDF_TO_BLENDER, transform_cloud
from blender_saga.gaussians.view import View, view_from_opengl
from saga_backend.rasterizer.cpu import render
from tests.blender.clouds import covariances, random_cloud, write_inria
from tests.blender.support import addon
from tests.blender.test_bad_input import refused
from tests.blender.views import HEIGHT, WIDTH, Eye, camera_matrices
from tests.paths import DATA

MOTIONS = {
    "moved": Matrix.Translation((0.3, -0.2, 0.5)),
    "rotated": Matrix.LocRotScale((0.1, 0.2, 0.3), Euler((0.5, -1.0, 2.0)), None),
    "uniform": Matrix.LocRotScale(None, Euler((0.5, 0, 0)), (1.4, 1.4, 1.4)),
    "mirrored": Matrix.LocRotScale(None, Euler((0, 0, 1)), (1, -1, 1)),
    "non-uniform": Matrix.LocRotScale((0, 0, 0.2), Euler((0.3, 0.4, 0.5)), (0.5, 1.6, 1.3)),
    "all at once": Matrix.LocRotScale((0.3, -0.2, 0.2), Euler((0.5, -1.0, 2.0)), (0.6, -1.4, 1.1)),
}
CAPTURE = DATA / "splats" / "playbot_sh2.ply"
RIGID = ("moved", "rotated", "uniform", "mirrored")


def splat(tmp_path: Path, degree: int, n: int = 400) -> bpy.types.Object:
    write_inria(tmp_path / "a.ply", random_cloud(n, degree))
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "a.ply"))
    return bpy.context.view_layer.objects.active


def eye() -> View:
    return view_from_opengl(*(np.array(m) for m in camera_matrices(Eye())), WIDTH, HEIGHT)


def look(obj: bpy.types.Object) -> np.ndarray:
    """The picture of an object as it stands: drawn in its own space, with the camera brought there."""
    bpy.context.view_layer.update()
    view = eye().of_object(np.array(obj.matrix_world))
    return render(addon("scene.splat.point_cloud").to_cloud(obj), view).rgb


def same_picture(a: np.ndarray, b: np.ndarray) -> None:
    assert a.max() > 0.3 and a.std() > 0.02  # there is something to see
    assert np.abs(a - b).max() <= 1 / 255


@pytest.mark.parametrize(
    ("motion", "degree", "ending"),
    [
        *((name, degree, ".ply") for name in RIGID for degree in (0, 3, 4)),
        *((name, 3, ".glb") for name in RIGID),  # the formats that do not round
        *((name, 0, ending) for name in ("non-uniform", "all at once") for ending in (".ply", ".glb")),
    ],
)
def test_exported_and_imported_again_it_looks_the_same(tmp_path: Path, motion: str, degree: int, ending: str) -> None:
    obj = splat(tmp_path, degree)
    obj.matrix_world = MOTIONS[motion]
    before = look(obj)
    same_picture(before, look(out_and_in(obj, tmp_path / f"b{ending}")))


def out_and_in(obj: bpy.types.Object, path: Path) -> bpy.types.Object:
    """Export as it stands, import again."""
    bpy.ops.saga.export_splat(filepath=str(path), object=obj.name)
    bpy.ops.saga.import_splat(filepath=str(path))
    again = bpy.context.view_layer.objects.active
    assert again != obj and again.matrix_world == Matrix()
    return again


@pytest.mark.skipif(not CAPTURE.exists(), reason="the shared test data is not beside this checkout")
def test_a_real_capture_moved_rotated_mirrored_and_stretched(tmp_path: Path) -> None:
    """Shapes are exact; colors that change with the direction turn, which a stretched picture tells from a shear."""
    flat, full, blind = (imported(degree) for degree in (0, 2, 0))
    for obj in (flat, full, blind):
        obj.matrix_world = MOTIONS["all at once"] @ Matrix.Scale(2.5, 4)
    same_picture(look(flat), look(out_and_in(flat, tmp_path / "flat.ply")))
    before = look(full)
    pictures = look(out_and_in(full, tmp_path / "b.ply")), look(blind)
    apart = [np.sqrt(np.square(before - picture).mean()) for picture in pictures]
    assert apart[0] < 5 / 255 and apart[0] < apart[1] / 2


def imported(degree: int) -> bpy.types.Object:
    """The capture, with harmonics up to a degree."""
    bpy.ops.saga.import_splat(filepath=str(CAPTURE), sh_degree=degree)
    return bpy.context.view_layer.objects.active


@pytest.mark.parametrize(
    ("motion", "degree"),
    [*((name, degree) for name in RIGID for degree in (0, 3)), ("non-uniform", 0), ("all at once", 0)],
)
def test_applied_it_looks_the_same(tmp_path: Path, motion: str, degree: int) -> None:
    obj = splat(tmp_path, degree)
    obj.matrix_world = MOTIONS[motion]
    before = look(obj)
    assert bpy.ops.saga.apply_transform() == {"FINISHED"}
    assert obj.matrix_basis == Matrix()
    same_picture(before, look(obj))


def test_under_a_non_uniform_scale_colors_turn_with_the_rotation_in_it(tmp_path: Path) -> None:
    # A color that depends on the direction cannot be sheared; the polar factor is the rotation nearest to the matrix.
    obj = splat(tmp_path, 3)
    cloud = addon("scene.splat.point_cloud").to_cloud(obj)
    obj.matrix_world = MOTIONS["non-uniform"]
    bpy.ops.saga.apply_transform()
    u, _, vt = np.linalg.svd(np.array(MOTIONS["non-uniform"])[:3, :3])
    wide = np.eye(4)
    wide[:3, :3] = u @ vt
    turned = transform_cloud(cloud, wide)
    np.testing.assert_allclose(addon("scene.splat.point_cloud").to_cloud(obj).sh, turned.sh, atol=1e-5)


@pytest.mark.parametrize("parts", [("location",), ("rotation",), ("scale",), ("rotation", "scale")])
def test_parts_are_applied_alone(tmp_path: Path, parts: tuple[str, ...]) -> None:
    obj = splat(tmp_path, 0, 50)
    obj.matrix_world = MOTIONS["non-uniform"]
    bpy.context.view_layer.update()
    cloud = addon("scene.splat.point_cloud").to_cloud(obj)
    wanted = transform_cloud(cloud, np.array(obj.matrix_world))
    bpy.ops.saga.apply_transform(**{name: name in parts for name in ("location", "rotation", "scale")})
    location, rotation, scale = obj.matrix_basis.decompose()
    assert (location.length < 1e-6) == ("location" in parts)
    assert (abs(rotation.w) > 1 - 1e-6) == ("rotation" in parts)
    assert ((scale - type(scale)((1, 1, 1))).length < 1e-6) == ("scale" in parts)
    got = transform_cloud(addon("scene.splat.point_cloud").to_cloud(obj), np.array(obj.matrix_world))
    np.testing.assert_allclose(got.means, wanted.means, atol=1e-5)
    shapes = (covariances(c.quats.astype(np.float64), c.scales) for c in (got, wanted))
    np.testing.assert_allclose(*shapes, atol=1e-6)


def test_parents_and_children_stay_where_they_are(tmp_path: Path) -> None:
    obj = splat(tmp_path, 0, 50)
    parent, child = (bpy.data.objects.new(name, None) for name in ("parent", "child"))
    for empty in (parent, child):
        bpy.context.collection.objects.link(empty)
    parent.location, child.location = (1, 2, 3), (0, 0, 1)
    obj.parent, child.parent = parent, obj
    obj.location, obj.rotation_euler = (5, 0, 0), (0, 0, 1)
    bpy.context.view_layer.update()
    world, childs = obj.matrix_world.copy(), child.matrix_world.copy()
    means = addon("scene.splat.point_cloud").positions(obj) @ np.array(world)[:3, :3].T + np.array(world)[:3, 3]
    bpy.ops.saga.apply_transform()
    np.testing.assert_allclose(np.array(child.matrix_world), np.array(childs), atol=1e-6)
    np.testing.assert_allclose(np.add(addon("scene.splat.point_cloud").positions(obj), (1, 2, 3)), means, atol=1e-5)


def test_it_is_one_step_of_undo_and_keeps_every_other_attribute(tmp_path: Path) -> None:
    obj = splat(tmp_path, 1, 50)
    mask = np.arange(50) % 3 == 0
    addon("scene.splat.point_cloud").set_selection(obj, mask)
    obj.matrix_world = MOTIONS["rotated"]
    bpy.ops.ed.undo_push(message="turned")
    before, key = addon("scene.splat.point_cloud").positions(obj).copy(), obj.saga.fingerprint
    bpy.ops.saga.apply_transform()
    bpy.ops.ed.undo_push(message="applied")  # in the window Blender does this by itself
    assert not np.allclose(addon("scene.splat.point_cloud").positions(obj), before)
    np.testing.assert_array_equal(addon("scene.splat.point_cloud").ids(obj), np.arange(50))
    np.testing.assert_array_equal(addon("scene.splat.point_cloud").selection(obj), mask)
    assert obj.saga.fingerprint == key == addon("scene.splat.point_cloud").to_cloud(obj).fingerprint()
    bpy.ops.ed.undo()
    obj = bpy.data.objects["a"]
    np.testing.assert_array_equal(addon("scene.splat.point_cloud").positions(obj), before)
    np.testing.assert_allclose(np.array(obj.matrix_world), np.array(MOTIONS["rotated"]), atol=1e-6)


def test_what_cannot_be_applied_changes_nothing(tmp_path: Path, snapshot: Callable) -> None:
    obj = splat(tmp_path, 0, 20)
    other = obj.copy()
    bpy.context.collection.objects.link(other)
    before = snapshot()
    refused(lambda: bpy.ops.saga.apply_transform(), "another object shares its points")
    assert snapshot() == before
    bpy.data.objects.remove(other)
    obj.scale = (1, 0, 1)
    bpy.context.view_layer.update()
    before = snapshot()
    refused(lambda: bpy.ops.saga.apply_transform(), "its scale is zero")
    assert snapshot() == before
    for selected in bpy.context.selected_objects:
        selected.select_set(False)
    bpy.context.view_layer.objects.active = None
    refused(lambda: bpy.ops.saga.apply_transform(), "No splat is active")


def test_the_rasterizer_sees_an_axis_turn_as_nothing() -> None:
    """The oracle itself: the same Gaussians in two spaces, seen by the same camera."""
    cloud: GaussianCloud = random_cloud(400, 4)
    view = eye()
    turned = transform_cloud(cloud, RDF_TO_BLENDER)
    same_picture(render(cloud, view.of_object(RDF_TO_BLENDER)).rgb, render(turned, view).rgb)
