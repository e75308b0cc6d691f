"""Blender's own point cloud tools: every attribute and `saga:id` goes with its Gaussian."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np

from blender_saga.gaussians.formats.registry import read_splat
from tests.blender.support import addon
from tests.blender.test_splat_files import imported, with_extras


def record(obj: bpy.types.Object) -> dict[int, tuple[bytes, ...]]:
    """Everything about each Gaussian, by id; copies of one Gaussian must agree."""
    read, found = addon("scene.splat.attributes").read, {}
    names = sorted(a.name for a in obj.data.attributes if not a.name.startswith("."))
    columns = [read(obj.data.attributes[name]) for name in names]
    for row, identity in enumerate(addon("scene.splat.point_cloud").ids(obj)):
        values = tuple(np.ascontiguousarray(column[row]).tobytes() for column in columns)
        assert found.setdefault(int(identity), values) == values
    return found


def select(obj: bpy.types.Object, mask: np.ndarray) -> None:
    addon("ui.operator_base").make_active(bpy.context, obj)  # edit mode is for all selected objects
    addon("scene.splat.point_cloud").set_selection(obj, mask)
    bpy.ops.object.mode_set(mode="EDIT")


def test_separate_delete_duplicate_and_join(tmp_path: Path) -> None:
    (obj,) = imported(with_extras(tmp_path / "a.ply"))
    before = record(obj)
    select(obj, np.arange(60) < 20)
    bpy.ops.pointcloud.separate()
    bpy.ops.object.mode_set(mode="OBJECT")
    (part,) = (o for o in bpy.data.objects if o.type == "POINTCLOUD" and o != obj)
    assert record(part) == {key: before[key] for key in range(20)}
    assert record(obj) == {key: before[key] for key in range(20, 60)}

    select(obj, np.arange(40) < 10)
    bpy.ops.pointcloud.delete()
    bpy.ops.object.mode_set(mode="OBJECT")
    assert record(obj) == {key: before[key] for key in range(30, 60)}

    select(part, np.arange(20) < 5)
    bpy.ops.pointcloud.duplicate()
    bpy.ops.object.mode_set(mode="OBJECT")
    assert len(part.data.points) == 25 and record(part) == {key: before[key] for key in range(20)}

    for other in (obj, part):
        other.select_set(True)
    bpy.context.view_layer.objects.active = obj
    bpy.ops.object.join()
    assert len(obj.data.points) == 55
    assert record(obj) == {key: before[key] for key in (*range(20), *range(30, 60))}
    bpy.ops.saga.export_splat(filepath=str(tmp_path / "b.ply"))
    loaded, source = read_splat(tmp_path / "b.ply"), read_splat(tmp_path / "a.ply")
    np.testing.assert_array_equal(loaded.rows, source.rows[addon("scene.splat.point_cloud").ids(obj)])


def test_points_moved_in_edit_mode_go_out_where_they_are(tmp_path: Path) -> None:
    (obj,) = imported(with_extras(tmp_path / "a.ply"))
    select(obj, np.arange(60) < 3)
    bpy.ops.transform.translate(value=(0, 0, 2))
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.saga.export_splat(filepath=str(tmp_path / "b.ply"))
    a, b = (read_splat(tmp_path / name).cloud for name in ("a.ply", "b.ply"))
    np.testing.assert_allclose(b.means[:3], a.means[:3] - [0, 2, 0], atol=1e-5)
    np.testing.assert_array_equal(b.means[3:], a.means[3:])
