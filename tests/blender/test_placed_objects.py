"""A splat is clicked and drawn where it stands: parented, scaled, sharing its data, shown by a collection instance."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np
import pytest
from mathutils import Matrix, Vector

from tests.blender.support import addon
from tests.blender.test_backend_flow import CLUSTER, PLACES, fake_backend, selected, splat, trained
from tests.blender.test_bad_input import refused
from tests.blender.test_splat_draw import eye, gpu, picture, reference, small_cloud
from tests.blender.test_splat_draw import splat as small_splat
from tests.blender.views import Eye, click

__all__ = ["fake_backend", "gpu", "splat", "trained"]  # fixtures

POSES = {
    "rotated": Matrix.Rotation(0.8, 4, (1, 2, 3)),
    "scaled": Matrix.Diagonal((1.4, 0.6, 1.2, 1)),
    "mirrored": Matrix.Diagonal((-1, 1, 1, 1)),
    "sheared": Matrix.Rotation(0.5, 4, "Y") @ Matrix.Diagonal((1.5, 0.7, 1, 1)) @ Matrix.Rotation(-0.9, 4, "Y"),
}


def empty(matrix: Matrix) -> bpy.types.Object:
    holder = bpy.data.objects.new("holder", None)
    bpy.context.collection.objects.link(holder)
    holder.matrix_world = matrix
    bpy.context.view_layer.update()
    return holder


@pytest.mark.parametrize("orthographic", [False, True])
@pytest.mark.parametrize("pose", POSES)
def test_parented_and_posed(trained: bpy.types.Object, pose: str, orthographic: bool) -> None:
    trained.parent = empty(Matrix.Translation((0.3, 0.5, -0.2)) @ POSES[pose])
    trained.location = (0.1, 0, 0.2)
    bpy.context.view_layer.update()
    for cluster in (2, 1):
        place = trained.matrix_world @ Vector(PLACES[cluster])
        assert click(place, Eye(orthographic=orthographic)) == {"FINISHED"}
        np.testing.assert_array_equal(selected(trained), cluster == CLUSTER)


def test_two_objects_of_one_data_block_and_one_of_them_parented(trained: bpy.types.Object) -> None:
    other = trained.copy()
    bpy.context.collection.objects.link(other)
    other.parent = empty(Matrix.Translation((0, 0, 2)) @ Matrix.Rotation(0.4, 4, "X"))
    bpy.context.view_layer.update()
    for obj, cluster in ((other, 0), (trained, 2)):
        click(obj.matrix_world @ Vector(PLACES[cluster]))
        np.testing.assert_array_equal(selected(trained), cluster == CLUSTER)
    before = len(bpy.data.pointclouds)
    bpy.ops.saga.split()  # the object that is active gets data of its own, the other one keeps all its points
    assert sorted(len(o.data.points) for o in bpy.data.objects if o.type == "POINTCLOUD") == [20, 40, 60]
    assert len(bpy.data.pointclouds) == before + 2


@pytest.fixture
def instanced(trained: bpy.types.Object) -> tuple[bpy.types.Object, bpy.types.Object]:
    """The splat in a collection, and an empty that shows the collection elsewhere."""
    return trained, instance_of(trained, Matrix.Translation((0, 0, 2)) @ Matrix.Rotation(0.3, 4, "X"))


def instance_of(obj: bpy.types.Object, matrix: Matrix) -> bpy.types.Object:
    collection = bpy.data.collections.new("things")
    bpy.context.scene.collection.children.link(collection)
    for old in obj.users_collection:
        old.objects.unlink(obj)
    collection.objects.link(obj)
    collection.instance_offset = (0.2, 0, 0)
    holder = empty(matrix)
    holder.instance_type, holder.instance_collection = "COLLECTION", collection
    bpy.context.view_layer.objects.active = obj
    bpy.context.view_layer.update()
    return holder


def test_a_collection_instance_is_clicked_where_it_stands(instanced: tuple) -> None:
    obj, holder = instanced
    place = holder.matrix_world @ Matrix.Translation((-0.2, 0, 0)) @ Vector(PLACES[0])
    click(place)
    np.testing.assert_array_equal(selected(obj), CLUSTER == 0)
    click(Vector(PLACES[1]), mode="ADD")  # and the original; the two clicks are one selection
    np.testing.assert_array_equal(selected(obj), CLUSTER != 2)
    assert len(bpy.context.scene.saga.prompts) == 2
    holder.location.x += 1
    click(Vector(PLACES[2]), mode="ADD")  # the earlier view no longer shows what it showed
    assert len(bpy.context.scene.saga.prompts) == 0 and selected(obj).all()


def test_an_instance_says_what_it_is(instanced: tuple, snapshot: Callable) -> None:
    _, holder = instanced
    bpy.context.view_layer.objects.active = holder
    before = snapshot()
    for operator in (bpy.ops.saga.invert, bpy.ops.saga.split, bpy.ops.saga.segment_scene):
        refused(operator, "holder is an instance of a collection: its splats belong.*Make Instances Real")
    assert snapshot() == before


def test_a_collection_instance_is_drawn_where_it_stands(gpu: object) -> None:
    cloud, view = small_cloud(200, 0, 3), eye(False)
    obj = small_splat("s", cloud)
    holder = instance_of(obj, Matrix.Translation((1, 0, 0.5)) @ POSES["scaled"])
    shown = addon("scene.splat.draw_data").shown(bpy.context.view_layer, None)
    assert [thing.name for thing in shown] == ["s", "s"]
    both = picture(gpu, shown, view)
    from blender_saga.gaussians.transforms import transform_cloud

    place = holder.matrix_world @ Matrix.Translation((-0.2, 0, 0))
    wanted = reference([cloud, transform_cloud(cloud, np.array(place, np.float64))], view)
    assert np.abs(both - wanted).mean() < 1e-3
    holder.hide_set(True)
    assert addon("scene.splat.draw_data").shown(bpy.context.view_layer, None) == [obj]
    holder.hide_set(False)
    bpy.context.view_layer.layer_collection.children["things"].exclude = True  # only the instance is left
    bpy.context.view_layer.update()
    assert len(addon("scene.splat.draw_data").shown(bpy.context.view_layer, None)) == 1
