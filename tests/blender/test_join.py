"""Joining splats: each stays where and how it stands, with every attribute, and clicks still find it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Vector

from blender_saga.gaussians.transforms import transform_cloud
from tests.blender.clouds import covariances, random_cloud, write_inria
from tests.blender.support import addon
from tests.blender.test_apply_transform import look, same_picture
from tests.blender.test_backend_flow import CLUSTER, PLACES, fake_backend, selected, splat, trained
from tests.blender.test_bad_input import refused
from tests.blender.test_splat_files import imported, vertex_bytes, with_extras
from tests.blender.views import click

__all__ = ["fake_backend", "splat", "trained"]  # fixtures

TURNED = Matrix.LocRotScale((1, 0.5, -0.2), Euler((0.5, 1, 2)), (1.5, -1.5, 1.5))


def choose(active: bpy.types.Object, *others: bpy.types.Object) -> None:
    addon("ui.operator_base").make_active(bpy.context, active)
    for other in others:
        other.select_set(True)


def split(obj: bpy.types.Object, mask: np.ndarray) -> bpy.types.Object:
    addon("scene.splat.point_cloud").set_selection(obj, mask)
    return addon("scene.splat.point_cloud").split(obj)


@pytest.mark.parametrize("degree", [0, 3])
def test_a_turned_part_looks_the_same_after_joining(tmp_path: Path, degree: int) -> None:
    write_inria(tmp_path / "a.ply", random_cloud(400, degree))
    (obj,) = imported(tmp_path / "a.ply")
    part = split(obj, np.arange(400) < 150)
    obj.matrix_world = Matrix.LocRotScale((0, 0, 0.3), Euler((0, 0, 1)), (0.8, 0.8, 0.8))
    part.matrix_world = TURNED
    bpy.context.view_layer.update()
    choose(obj, part)
    bpy.ops.saga.export_splat(filepath=str(tmp_path / "two.ply"))
    (two,) = imported(tmp_path / "two.ply")
    before = look(two)
    bpy.data.objects.remove(two)
    choose(obj, part)
    assert bpy.ops.saga.join() == {"FINISHED"}
    assert len(obj.data.points) == 400 and [o.name for o in bpy.context.scene.objects] == ["a"]
    same_picture(before, look(obj))


def test_shapes_follow_a_non_uniform_scale(tmp_path: Path) -> None:
    (obj,) = imported(with_extras(tmp_path / "a.ply"))
    part = split(obj, np.arange(60) >= 40)
    part.matrix_world = Matrix.LocRotScale((1, 2, 3), Euler((1, 2, 3)), (0.5, 2, 1))
    bpy.context.view_layer.update()
    to_cloud = addon("scene.splat.point_cloud").to_cloud
    wanted = transform_cloud(to_cloud(part), np.array(part.matrix_world))
    choose(obj, part)
    bpy.ops.saga.join()
    got = to_cloud(obj).take(slice(40, 60))
    np.testing.assert_allclose(got.means, wanted.means, atol=1e-6)
    shapes = (covariances(c.quats.astype(np.float64), c.scales) for c in (got, wanted))
    np.testing.assert_allclose(*shapes, atol=1e-6)


def test_parts_put_together_again_are_the_file_they_came_from(tmp_path: Path) -> None:
    (obj,) = imported(with_extras(tmp_path / "a.ply"))
    names = {a.name for a in obj.data.attributes}
    part = split(obj, np.arange(60) >= 35)
    choose(obj, part)
    bpy.ops.saga.join()
    assert {a.name for a in obj.data.attributes} == names
    np.testing.assert_array_equal(addon("scene.splat.point_cloud").ids(obj), np.arange(60))
    bpy.ops.saga.export_splat(filepath=str(tmp_path / "b.ply"))
    assert vertex_bytes(tmp_path / "b.ply") == vertex_bytes(tmp_path / "a.ply")


def test_attributes_that_one_lacks_are_zero_there(tmp_path: Path) -> None:
    write_inria(tmp_path / "b.ply", random_cloud(10, 0, seed=4))
    (obj,) = imported(with_extras(tmp_path / "a.ply"))
    (other,) = imported(tmp_path / "b.ply")
    choose(obj, other)
    bpy.ops.saga.join()
    cloud, extras = addon("scene.splat.point_cloud").to_cloud(obj), addon("scene.files.import_splat").extras(obj)
    assert cloud.sh_degree == 2 and not cloud.sh[60:, 1:].any() and cloud.sh[:60, 1:].any()
    np.testing.assert_array_equal(extras["label"], [*range(60), *[0] * 10])
    # Numbers of another cloud's Gaussians would be taken for ones of this cloud.
    np.testing.assert_array_equal(addon("scene.splat.point_cloud").ids(obj), [*range(60), *[-1] * 10])


def test_it_is_one_step_of_undo(tmp_path: Path) -> None:
    (obj,) = imported(with_extras(tmp_path / "a.ply"))
    part = split(obj, np.arange(60) >= 35)
    choose(obj, part)
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.saga.join()
    bpy.ops.ed.undo_push(message="joined")  # in the window Blender does this by itself
    bpy.ops.ed.undo()
    counts = sorted(len(o.data.points) for o in bpy.context.scene.objects)
    assert counts == [25, 35]


def test_linked_duplicates_elsewhere_keep_what_they_have(tmp_path: Path) -> None:
    (obj,) = imported(with_extras(tmp_path / "a.ply"))
    part = split(obj, np.arange(60) >= 35)
    twins = [o.copy() for o in (obj, part)]
    for twin in twins:
        bpy.context.collection.objects.link(twin)
    choose(obj, part)
    bpy.ops.saga.join()
    assert [len(o.data.points) for o in (obj, *twins)] == [60, 35, 25]


def test_what_cannot_be_joined_changes_nothing(tmp_path: Path, snapshot: Callable) -> None:
    (obj,) = imported(with_extras(tmp_path / "a.ply"))
    part = split(obj, np.arange(60) >= 35)
    for flat in (part, obj):
        flat.scale = (1, 0, 1)
        bpy.context.view_layer.update()
        choose(obj, part)
        before = snapshot()
        refused(lambda: bpy.ops.saga.join(), "scale is zero")
        assert snapshot() == before
        flat.scale = (1, 1, 1)
    choose(obj, part)
    obj.select_set(False)
    assert not bpy.ops.saga.join.poll()
    bpy.ops.mesh.primitive_cube_add()
    for each in (obj, part):
        each.select_set(True)
    assert not bpy.ops.saga.join.poll()  # with a mesh among them the key is Blender's own


def test_clicks_find_a_joined_part_where_it_stands(trained: bpy.types.Object) -> None:
    part = split(trained, CLUSTER == 1)
    part.matrix_world = moved = Matrix.LocRotScale((0, 0, -2), Euler((0.1, 0.2, 0.3)), (1, 1, 1))
    bpy.context.view_layer.update()
    choose(trained, part)
    bpy.ops.saga.join()
    ids = addon("scene.splat.point_cloud").ids(trained)
    assert sorted(ids) == list(range(60))
    for cluster, matrix in ((1, moved), (0, Matrix())):
        assert click(matrix @ Vector(PLACES[cluster])) == {"FINISHED"}
        np.testing.assert_array_equal(selected(trained), CLUSTER[ids] == cluster)
