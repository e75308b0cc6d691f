"""After Apply Transform and Blender's own tools, a click still finds the Gaussians that stand there."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Vector

from tests.blender.support import addon
from tests.blender.test_backend_flow import CLUSTER, PLACES, fake_backend, selected, splat, trained
from tests.blender.views import click

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
    addon("scene.splat.point_cloud").set_selection(trained, CLUSTER == 1)
    part = addon("scene.splat.point_cloud").split(trained)
    part.location = (0, 0, -2)
    for obj in (trained, part):
        obj.select_set(obj == part)
    bpy.context.view_layer.objects.active = part
    bpy.ops.saga.apply_transform()
    trained.select_set(True)
    bpy.context.view_layer.objects.active = trained
    bpy.ops.object.join()
    ids = addon("scene.splat.point_cloud").ids(trained)
    assert sorted(ids) == list(range(60))
    assert click(Vector(PLACES[1]) + Vector((0, 0, -2))) == {"FINISHED"}
    np.testing.assert_array_equal(selected(trained), CLUSTER[ids] == 1)


FLIPPED = Matrix.LocRotScale((0.4, 0, -1.5), Euler((0.2, 0.3, 0.1)), (0.9, -0.7, 0.9))
LIFTED = Matrix.Translation((0, 0, 1))


def duplicate(obj: bpy.types.Object) -> bpy.types.Object:
    copy = obj.copy()
    copy.data = obj.data.copy()
    bpy.context.collection.objects.link(copy)
    return copy


def apply_to(obj: bpy.types.Object, matrix: Matrix) -> None:
    for other in bpy.context.scene.objects:
        other.select_set(other == obj)
    obj.matrix_world = matrix
    bpy.ops.saga.apply_transform()
    assert obj.matrix_world == Matrix()


@pytest.mark.parametrize("applied", ["the copy", "the original", "both", "the copy twice"])
@pytest.mark.parametrize("loaded", [False, True])  # whether the backend already had the places before
def test_duplicates_of_which_one_was_applied(trained: bpy.types.Object, applied: str, loaded: bool) -> None:
    copy = duplicate(trained)
    if loaded:
        click(Vector(PLACES[0]))
    stands = {trained: Matrix(), copy: Matrix()}
    if applied in ("the original", "both"):
        stands[trained] = LIFTED
        apply_to(trained, LIFTED)
    if applied != "the original":
        stands[copy] = FLIPPED
        apply_to(copy, FLIPPED)
    if applied == "the copy twice":
        stands[copy] = LIFTED @ FLIPPED
        apply_to(copy, LIFTED)
    for obj, other in ((copy, trained), (trained, copy)):
        for cluster in (2, 0):
            assert click(stands[obj] @ Vector(PLACES[cluster])) == {"FINISHED"}
            np.testing.assert_array_equal(selected(obj), cluster == CLUSTER)
            assert not selected(other).any()


def move_points(obj: bpy.types.Object, mask: np.ndarray, by: tuple[float, float, float]) -> None:
    """As a script or Blender's edit mode does it: the points, not the object."""
    places = addon("scene.splat.point_cloud").positions(obj)
    places[mask] += by
    addon("scene.splat.attributes").write(obj.data, "position", "FLOAT_VECTOR", places)


def test_the_backend_is_not_sent_again_what_it_has(trained: bpy.types.Object) -> None:
    copy = duplicate(trained)
    apply_to(copy, FLIPPED)
    click(FLIPPED @ Vector(PLACES[1]))
    queries = addon("scene.requests.click")
    assert queries.needed([trained, copy], "") is None
    move_points(copy, np.ones(60, bool), (1, 1, 1))
    assert queries.needed([trained, copy], "") is None  # what was moved by hand is told with each click
    move_points(trained, np.arange(60) == 7, (1, 1, 1))
    assert queries.needed([trained, copy], "") is not None  # now no copy of number 7 is where it was


def test_training_a_duplicate_that_was_applied(trained: bpy.types.Object) -> None:
    copy = duplicate(trained)
    turned = Matrix.LocRotScale((0, 0, -2), Euler((0, 0, 0.3)), None)
    apply_to(copy, turned)
    bpy.context.view_layer.objects.active = copy
    assert bpy.ops.saga.train(steps=5) == {"FINISHED"}
    assert copy.saga.fingerprint == trained.saga.fingerprint
    for obj, matrix in ((copy, turned), (trained, Matrix())):
        click(matrix @ Vector(PLACES[2]))
        np.testing.assert_array_equal(selected(obj), CLUSTER == 2)


@pytest.mark.parametrize("turned", [False, True])
def test_copies_that_were_moved_within_their_points(trained: bpy.types.Object, turned: bool) -> None:
    """Two objects hold the same Gaussians, and the points of one were moved, not the object: ids alone do not tell."""
    copy = duplicate(trained)
    stands = Matrix()
    if turned:
        stands = FLIPPED
        apply_to(copy, FLIPPED)
    move_points(copy, CLUSTER == 1, (0, 0, -1))
    for _ in range(2):  # before and after the backend has the scene
        for obj, other, place in (
            (copy, trained, stands @ Vector(PLACES[1]) + Vector((0, 0, -1))),
            (trained, copy, Vector(PLACES[1])),
        ):
            assert click(place) == {"FINISHED"}
            np.testing.assert_array_equal(selected(obj), CLUSTER == 1)
            assert not selected(other).any()


def test_points_duplicated_and_moved_in_edit_mode(trained: bpy.types.Object) -> None:
    """Shift D and G in Blender's edit mode: one object holds the same ids twice."""
    click(Vector(PLACES[0]))
    addon("scene.splat.point_cloud").set_selection(trained, CLUSTER == 2)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.pointcloud.duplicate()
    bpy.ops.transform.translate(value=(0, 0, -2))
    bpy.ops.object.mode_set(mode="OBJECT")
    ids = addon("scene.splat.point_cloud").ids(trained)
    assert len(ids) == 80
    copies = np.arange(80) >= 60
    for place, wanted in (
        (Vector(PLACES[2]) + Vector((0, 0, -2)), copies),
        (Vector(PLACES[2]), (CLUSTER[ids] == 2) & ~copies),
        (Vector(PLACES[0]), CLUSTER[ids] == 0),
    ):
        assert click(place) == {"FINISHED"}
        np.testing.assert_array_equal(selected(trained), wanted)


def test_hidden_points_are_not_among_the_moved_ones(trained: bpy.types.Object) -> None:
    copy = duplicate(trained)
    move_points(copy, CLUSTER == 1, (0, 0, -3))
    hidden = (CLUSTER == 1) & (np.arange(60) < 30)
    addon("scene.splat.point_cloud").set_hidden(copy, hidden)
    click(Vector(PLACES[1]) + Vector((0, 0, -3)))
    np.testing.assert_array_equal(selected(copy), (CLUSTER == 1) & ~hidden)
