"""Blender 5.3's own splats, played by a property of that name: nothing here has run in a 5.3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np
import pytest

from tests.blender.clouds import random_cloud, write_inria
from tests.blender.support import addon

TYPES = [("POINTS", "Points", ""), ("GAUSSIAN_SPLAT", "3D Gaussian Splats", "")]


@pytest.fixture
def native() -> Iterator[None]:
    """A Blender whose point clouds have the type of 5.3, with the extension enabled in it."""
    bpy.types.PointCloud.type = bpy.props.EnumProperty(items=TYPES)
    addon("scene.splat.native").start()
    yield
    addon("scene.splat.native").stop()
    del bpy.types.PointCloud.type


def saved_before(tmp_path: Path) -> None:
    write_inria(tmp_path / "a.ply", random_cloud(30, 1))
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "a.ply"))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """A file of 5.2 with a splat and a point cloud that is none."""
    plain = bpy.data.objects.new("plain", bpy.data.pointclouds.new("plain"))
    bpy.context.collection.objects.link(plain)
    saved_before(tmp_path)
    return tmp_path / "a.blend"


def check(obj: bpy.types.Object) -> None:
    assert obj.data.type == "GAUSSIAN_SPLAT"
    assert obj.display_type == "TEXTURED" and not len(obj.data.materials)


def test_a_file_of_5_2_opens_as_native_splats(old_file: Path, native: None) -> None:
    bpy.ops.wm.open_mainfile(filepath=str(old_file))
    check(bpy.data.objects["a"])
    assert bpy.data.objects["plain"].data.type == "POINTS"


def test_what_is_appended_from_a_file_of_5_2_too(old_file: Path, native: None) -> None:
    bpy.ops.wm.append(directory=str(old_file / "Object") + "/", filename="a")
    check(bpy.data.objects["a"])


def test_a_material_of_the_users_own_stays(tmp_path: Path, native: None) -> None:
    saved_before(tmp_path)
    with bpy.data.libraries.load(str(tmp_path / "a.blend")) as (_, wanted):
        wanted.objects = ["a"]
    (obj,) = wanted.objects
    obj.data.materials.clear()
    obj.data.materials.append(bpy.data.materials.new("Mine"))
    addon("scene.splat.native").adopt(obj)
    assert [m.name for m in obj.data.materials] == ["Mine"]


def test_imports_and_their_parts_have_the_type(tmp_path: Path, native: None) -> None:
    write_inria(tmp_path / "a.ply", random_cloud(30, 1))
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "a.ply"))
    obj = bpy.context.view_layer.objects.active
    addon("scene.splat.point_cloud").set_selection(obj, np.arange(30) < 10)
    part = addon("scene.splat.point_cloud").split(obj)
    bpy.ops.wm.ply_import(filepath=str(tmp_path / "a.ply"))
    bpy.ops.saga.adopt()
    adopted = bpy.context.view_layer.objects.active
    assert [o.data.type for o in (obj, part, adopted)] == ["GAUSSIAN_SPLAT"] * 3


def test_a_splat_that_blender_imported_is_exported_and_joined(tmp_path: Path, native: None) -> None:
    """It has the attributes and the type, and nothing of ours."""
    cloud = random_cloud(30, 3)
    point_cloud, transforms = addon("scene.splat.point_cloud"), addon("gaussians.transforms")
    made = point_cloud.create_object("theirs", transforms.transform_cloud(cloud, transforms.RDF_TO_BLENDER), "RDF")
    theirs = bpy.data.objects.new("theirs", made.data.copy())
    for name in ("saga:id", ".selection", "radius"):
        theirs.data.attributes.remove(theirs.data.attributes[name])
    theirs.data.type = "GAUSSIAN_SPLAT"
    bpy.context.collection.objects.link(theirs)
    addon("ui.operator_base").make_active(bpy.context, theirs)
    assert theirs.saga.fingerprint == "" and point_cloud.is_splat(theirs)
    for world_space in (True, False):
        bpy.ops.saga.export_splat(filepath=str(tmp_path / "b.ply"), world_space=world_space)
        back = addon("gaussians.ply").read_ply(tmp_path / "b.ply").cloud
        np.testing.assert_allclose(back.means, cloud.means, atol=1e-6)
        np.testing.assert_allclose(back.sh, cloud.sh, atol=1e-6)
    theirs.rotation_euler = (1, 0, 0)
    assert bpy.ops.saga.apply_transform() == {"FINISHED"}
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "b.ply"))
    theirs.select_set(True)
    bpy.context.view_layer.objects.active = theirs
    assert bpy.ops.saga.join() == {"FINISHED"}
    assert len(theirs.data.points) == 60 and "saga:id" not in theirs.data.attributes
