"""After Apply Transform and Blender's own tools, a click still finds the Gaussians that stand there."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Euler, Matrix, Vector

from .support import addon
from .test_backend_flow import CLUSTER, PLACES, fake_backend, selected, splat, trained
from .views import click

__all__ = ["fake_backend", "splat", "trained"]  # fixtures

MOTION = Matrix.LocRotScale((0.4, 0, -0.6), Euler((0.2, 0.3, 0.1)), (1.2, 0.7, 0.9))


def test_after_apply_transform(trained: bpy.types.Object) -> None:
    trained.matrix_world = MOTION
    bpy.ops.saga.apply_transform()
    assert trained.matrix_world == Matrix()
    for cluster in (2, 0):
        assert click(MOTION @ Vector(PLACES[cluster])) == {"FINISHED"}
        np.testing.assert_array_equal(selected(trained), cluster == CLUSTER)


def test_after_split_move_apply_and_join(trained: bpy.types.Object) -> None:
    addon("scene.point_cloud").set_selection(trained, CLUSTER == 1)
    part = addon("scene.point_cloud").split(trained)
    part.location = (0, 0, -2)
    for obj in (trained, part):
        obj.select_set(obj == part)
    bpy.context.view_layer.objects.active = part
    bpy.ops.saga.apply_transform()
    trained.select_set(True)
    bpy.context.view_layer.objects.active = trained
    bpy.ops.object.join()
    ids = addon("scene.point_cloud").ids(trained)
    assert sorted(ids) == list(range(60))
    assert click(Vector(PLACES[1]) + Vector((0, 0, -2))) == {"FINISHED"}
    np.testing.assert_array_equal(selected(trained), CLUSTER[ids] == 1)
