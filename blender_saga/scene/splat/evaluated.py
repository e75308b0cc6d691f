"""Splats as the viewer sees them: evaluated (modifiers, parents, constraints), instances of collections too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from . import point_cloud


@dataclass(frozen=True, eq=False)
class Placed:
    """One splat at one place.

    Attributes:
        original: the object of the file.
        shown: the points that count: evaluated where modifiers act, and then alive only until the scene is evaluated
            again.
        matrix: [4,4] float64, world matrix.
        edited: whether the points may not be those of the original, in number and order.
    """

    original: bpy.types.Object
    shown: Shown
    matrix: np.ndarray
    edited: bool


@dataclass(frozen=True, eq=False)
class Shown:
    """Points without an object of their own, to be used in place of one: geometry nodes make such instances."""

    name: str
    data: bpy.types.PointCloud
    type: str = "POINTCLOUD"


def placed(context: bpy.types.Context, wanted: Callable[[bpy.types.Object], bool]) -> list[Placed]:
    """The splats of wanted objects; a wanted instancer stands for what it instances.

    Args:
        context: whose view layer is evaluated, now.
        wanted: asked with original objects.
    """
    for obj in context.view_layer.objects:
        if obj.type == "POINTCLOUD" and obj.modifiers:
            obj.data.update_tag()  # a script may have changed the points and told nobody
    context.view_layer.update()  # or moved something
    found = []
    graph = context.evaluated_depsgraph_get()
    for instance in graph.object_instances:
        source = instance.parent if instance.is_instance else instance.object
        if source is None or instance.object.type != "POINTCLOUD" or not wanted(source.original):
            continue
        # What the iterator gives does not outlive the loop, but for the points: they are the graph's.
        obj, points = (instance.instance_object or instance.object).original, instance.object.data
        edited = obj.type != "POINTCLOUD" or bool(obj.modifiers) or points.original != obj.data
        shown = Shown(obj.name, points if edited else obj.data)
        if point_cloud.is_splat(shown) and len(shown.data.points):
            found.append(Placed(obj, shown, np.array(instance.matrix_world, np.float64), edited))
    return found


def selected(context: bpy.types.Context) -> list[Placed]:
    """Those of the selected objects; of the active one where no splat is selected.

    Raises:
        UserError: if there are none.
    """
    names = {obj.name for obj in context.selected_objects}
    found = placed(context, lambda obj: obj.name in names)
    active = context.view_layer.objects.active
    if not found and active is not None:
        point_cloud.require(active)
        found = placed(context, lambda obj: obj == active)
    bare = next((obj for obj in (*context.selected_objects, active) if point_cloud.is_splat(obj)), None)
    if not found and bare is not None:
        raise _bare(bare)
    return _some(found, "No splat is active or selected", "Select a splat object, or import one with File > Import")


def named(context: bpy.types.Context, name: str) -> list[Placed]:
    """That of one object.

    Raises:
        UserError: if there is none of that name, it is no splat, or it is hidden.
    """
    obj = bpy.data.objects.get(name)
    if obj is None:
        raise UserError(f"There is no object {name}", fix="Choose one that is there", code=ErrorCode.NO_OBJECT)
    point_cloud.require(obj)
    found = placed(context, lambda other: other == obj)
    if not found:
        raise _bare(obj)
    return found


def visible(context: bpy.types.Context) -> list[Placed]:
    """Those of everything that is to be seen.

    Raises:
        UserError: if there are none.
    """
    space = context.space_data if isinstance(context.space_data, bpy.types.SpaceView3D) else None
    layer = context.view_layer
    found = placed(context, lambda obj: obj.visible_get(view_layer=layer, viewport=space))
    return _some(found, "No splat is to be seen", "Show one, or import one with File > Import")


def _bare(obj: bpy.types.Object) -> UserError:
    """For a splat of which nothing is to be seen."""
    if obj.visible_get() and obj.modifiers:
        fix = "Look at its modifiers"
        return UserError(
            f"The splat {obj.name} shows no Gaussians", "its modifiers leave none", fix, code=ErrorCode.EMPTY
        )
    return UserError(
        f"The splat {obj.name} is hidden", fix="Show it first, with the eye in the Outliner", code=ErrorCode.NO_OBJECT
    )


def _some(found: list[Placed], what: str, fix: str) -> list[Placed]:
    if not found:
        raise UserError(what, fix=fix, code=ErrorCode.NO_OBJECT)
    return found
