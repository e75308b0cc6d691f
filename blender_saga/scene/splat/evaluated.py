"""Evaluated splats, with modifiers, parents, constraints and collection instances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from . import point_cloud


@dataclass(frozen=True, eq=False)
class Placed:
    """One splat in one place.

    Attributes:
        original: the original object.
        shown: the evaluated points if the object has modifiers, valid until the next evaluation; otherwise the
            original points.
        matrix: [4,4] float64, world matrix.
        edited: whether number or order of the points may differ from the original.
    """

    original: bpy.types.Object
    shown: Shown
    matrix: np.ndarray
    edited: bool


@dataclass(frozen=True, eq=False)
class Shown:
    """Points without an object, used in place of one; geometry nodes create such instances."""

    name: str
    data: bpy.types.PointCloud
    type: str = "POINTCLOUD"


def placed(context: bpy.types.Context, wanted: Callable[[bpy.types.Object], bool]) -> list[Placed]:
    """The splats of some objects; an instancer stands for its instances.

    Args:
        context: the context with the view layer, which is evaluated now.
        wanted: whether to include an original object.
    """
    for obj in context.view_layer.objects:
        if obj.type == "POINTCLOUD" and obj.modifiers:
            obj.data.update_tag()  # a script may have changed the points without an update
    context.view_layer.update()  # a script may have moved objects
    found = []
    graph = context.evaluated_depsgraph_get()
    for instance in graph.object_instances:
        source = instance.parent if instance.is_instance else instance.object
        if source is None or instance.object.type != "POINTCLOUD" or not wanted(source.original):
            continue
        # The iterator's items do not outlive the loop; the points do, because the depsgraph owns them.
        obj, points = (instance.instance_object or instance.object).original, instance.object.data
        edited = obj.type != "POINTCLOUD" or bool(obj.modifiers) or points.original != obj.data
        shown = Shown(obj.name, points if edited else obj.data)
        if point_cloud.is_splat(shown) and len(shown.data.points):
            found.append(Placed(obj, shown, np.array(instance.matrix_world, np.float64), edited))
    return found


def selected(context: bpy.types.Context) -> list[Placed]:
    """The placed splats of the selected objects, or of the active object if no splat is selected.

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
    """The placed splats of one object.

    Raises:
        UserError: if there is no object of that name, it is no splat, or it is hidden.
    """
    obj = bpy.data.objects.get(name)
    if obj is None:
        raise UserError(f"There is no object {name}", fix="Choose an existing object", code=ErrorCode.NO_OBJECT)
    point_cloud.require(obj)
    found = placed(context, lambda other: other == obj)
    if not found:
        raise _bare(obj)
    return found


def visible(context: bpy.types.Context) -> list[Placed]:
    """The placed splats of all visible objects.

    Raises:
        UserError: if there are none.
    """
    space = context.space_data if isinstance(context.space_data, bpy.types.SpaceView3D) else None
    layer = context.view_layer
    found = placed(context, lambda obj: obj.visible_get(view_layer=layer, viewport=space))
    return _some(found, "No splat is visible", "Show a splat, or import one with File > Import")


def _bare(obj: bpy.types.Object) -> UserError:
    """The error for a splat with no visible points."""
    if obj.visible_get() and obj.modifiers:
        fix = "Check its modifiers"
        return UserError(
            f"The splat {obj.name} shows no Gaussians", "its modifiers remove all of them", fix, code=ErrorCode.EMPTY
        )
    return UserError(
        f"The splat {obj.name} is hidden", fix="Click its eye icon in the Outliner", code=ErrorCode.NO_OBJECT
    )


def _some(found: list[Placed], what: str, fix: str) -> list[Placed]:
    if not found:
        raise UserError(what, fix=fix, code=ErrorCode.NO_OBJECT)
    return found
