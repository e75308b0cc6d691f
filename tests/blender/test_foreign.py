"""Splats that came in by another way, and objects that Blender can make of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

from tests.blender.clouds import random_cloud, write_inria
from tests.blender.support import addon
from tests.blender.test_bad_input import CLICK, refused


@pytest.mark.parametrize("degree", range(4))
def test_a_mesh_of_blenders_own_import_becomes_a_splat(tmp_path: Path, degree: int) -> None:
    cloud = random_cloud(50, degree)
    write_inria(tmp_path / "mesh.ply", cloud)
    bpy.ops.wm.ply_import(filepath=str(tmp_path / "mesh.ply"))
    mesh = bpy.context.view_layer.objects.active
    mesh.location = (1, 2, 3)
    bpy.context.view_layer.update()
    assert mesh.type == "MESH" and addon("scene.files.adopt").can_adopt(mesh)
    assert bpy.ops.saga.adopt() == {"FINISHED"}
    splat = bpy.context.view_layer.objects.active
    found = addon("scene.splat.point_cloud").to_cloud(splat)
    for name in ("means", "quats", "scales", "opacities", "sh"):
        np.testing.assert_allclose(getattr(found, name), getattr(cloud, name), rtol=1e-4, atol=1e-5, err_msg=name)
    assert tuple(splat.matrix_world.translation) == (1, 2, 3) and mesh.hide_get()
    bpy.ops.saga.export_splat(filepath=str(tmp_path / "back.ply"))


def test_what_is_no_splat_is_not_adopted(snapshot: Callable) -> None:
    bpy.ops.mesh.primitive_cube_add()
    before = snapshot()
    refused(lambda: bpy.ops.saga.adopt(), "Cube cannot be converted to a splat")
    assert snapshot() == before
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    refused(lambda: bpy.ops.saga.adopt(), "No object is active")


def test_a_splat_of_blender_itself_can_be_trained_and_selected(tmp_path: Path) -> None:
    """Blender 5.3 writes the same attributes, but neither our record nor saga:id."""
    write_inria(tmp_path / "s.ply", random_cloud(30, 1))
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "s.ply"))
    obj = bpy.context.view_layer.objects.active
    obj.data.attributes.remove(obj.data.attributes["saga:id"])
    obj.saga.fingerprint, obj.saga.count = "", 0
    assert addon("scene.splat.point_cloud").is_splat(obj)
    bpy.ops.saga.invert()
    assert addon("scene.splat.point_cloud").selection(obj).all()


def test_a_splat_in_a_hidden_collection(tmp_path: Path, snapshot: Callable) -> None:
    write_inria(tmp_path / "s.ply", random_cloud(30, 1))
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "s.ply"))
    obj = bpy.context.view_layer.objects.active
    collection = bpy.data.collections.new("away")
    bpy.context.scene.collection.children.link(collection)
    for old in obj.users_collection:
        old.objects.unlink(obj)
    collection.objects.link(obj)
    bpy.context.view_layer.layer_collection.children["away"].hide_viewport = True
    before = snapshot()
    for operator in (bpy.ops.saga.invert, bpy.ops.saga.split, bpy.ops.saga.delete):
        refused(lambda op=operator: op(), "No splat is active|is hidden")
    assert snapshot() == before


def test_linked_library_data_is_refused(tmp_path: Path, snapshot: Callable) -> None:
    write_inria(tmp_path / "s.ply", random_cloud(30, 1))
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "s.ply"))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, wanted):
        wanted.objects = ["s"]
    obj = wanted.objects[0]
    bpy.context.collection.objects.link(obj)
    bpy.context.view_layer.objects.active = obj
    before = snapshot()
    for name in ("invert", "clear", "split", "duplicate", "delete", "hide", "show_all", "grow", "segment_scene"):
        refused(lambda name=name: getattr(bpy.ops.saga, name)(), "linked from another file. Make it local first")
    assert snapshot() == before


def test_edit_mode_of_something_else(tmp_path: Path) -> None:
    write_inria(tmp_path / "s.ply", random_cloud(30, 1))
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "s.ply"))
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.mode_set(mode="EDIT")
    refused(lambda: bpy.ops.saga.split(), "The object Cube is not a splat")
    assert bpy.ops.saga.invert(object="s") == {"FINISHED"}


@pytest.mark.parametrize("count", [1, 2])
def test_the_smallest_splats_can_be_worked_with(tmp_path: Path, count: int) -> None:
    write_inria(tmp_path / "s.ply", random_cloud(count, 3))
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "s.ply"))
    obj = bpy.context.view_layer.objects.active
    block = addon("scene.splat.draw_data").Blocks().of(obj)
    order = addon("viewport.splat_order")
    assert len(order.sort(order.SortRequest((block,), np.eye(4)[None], True, 1.0, "COLOR")).order) == count
    bpy.ops.saga.invert()
    bpy.ops.saga.grow()
    bpy.ops.saga.grow(steps=-1)
    refused(lambda: bpy.ops.saga.delete(), "All Gaussians of s are selected")
    bpy.ops.saga.duplicate()
    assert len(bpy.context.view_layer.objects.active.data.points) == count


def test_a_splat_that_lost_all_points_is_simply_not_drawn(tmp_path: Path) -> None:
    write_inria(tmp_path / "s.ply", random_cloud(5, 0))
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "s.ply"))
    obj = bpy.context.view_layer.objects.active
    obj.data.resize(0)
    assert addon("scene.splat.draw_data").shown(bpy.context.view_layer, None) == []
    refused(lambda: bpy.ops.saga.invert(), "has no Gaussians")


def test_clicks_on_what_cannot_be_changed(tmp_path: Path, snapshot: Callable) -> None:
    """Linked library data and a hidden collection: the click says so before anything is asked."""
    write_inria(tmp_path / "s.ply", random_cloud(30, 1))
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "s.ply"))
    obj = bpy.context.view_layer.objects.active
    obj.hide_viewport = True
    bpy.context.view_layer.update()
    before = snapshot()
    refused(lambda: bpy.ops.saga.click(object="s", **CLICK), "The splat s is hidden. Click its eye icon")
    refused(lambda: bpy.ops.saga.click(object="s", **CLICK, box=True, x2=70, y2=70), "The splat s is hidden")
    assert snapshot() == before
    obj.hide_viewport = False
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, wanted):
        wanted.objects = ["s"]
    bpy.context.collection.objects.link(wanted.objects[0])
    bpy.context.view_layer.objects.active = wanted.objects[0]
    before = snapshot()
    for call in (
        lambda: bpy.ops.saga.click(**CLICK),
        lambda: bpy.ops.saga.train(),
        lambda: bpy.ops.saga.segment_select(node=0),
        lambda: bpy.ops.saga.segment_hide(node=0),
        lambda: bpy.ops.saga.segments_split(),
        lambda: bpy.ops.saga.color_features(),
        lambda: bpy.ops.saga.apply_transform(),
    ):
        refused(call, "linked from another file. Make it local first")
    assert snapshot() == before
