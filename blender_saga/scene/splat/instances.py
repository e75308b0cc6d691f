"""Splats in collection instances."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from . import point_cloud

_DEEP = 8  # levels of nested instances


@dataclass(frozen=True, eq=False)
class Instance:
    """A splat of a collection instance, used in place of an object for drawing.

    Attributes:
        original: the object in the collection.
        matrix_world: [4,4] float64.
    """

    original: bpy.types.Object
    matrix_world: np.ndarray
    type: str = "POINTCLOUD"

    @property
    def name(self) -> str:
        """Taken from the original."""
        return self.original.name

    @property
    def data(self) -> bpy.types.PointCloud:
        """Taken from the original."""
        return self.original.data


def instances(layer: bpy.types.ViewLayer, space: bpy.types.SpaceView3D | None) -> list[Instance]:
    """The visible instances of a viewport, or of the view layer (None). Costs nothing if there are none."""
    wanted = {obj for obj in layer.objects if shows_splats(obj) and obj.visible_get(view_layer=layer, viewport=space)}
    if not wanted:
        return []
    found = []
    for instance in bpy.context.evaluated_depsgraph_get().object_instances:
        if instance.is_instance and instance.parent.original in wanted:
            obj = instance.instance_object.original
            if point_cloud.is_splat(obj) and len(obj.data.points):
                found.append(Instance(obj, np.array(instance.matrix_world, np.float64)))
    return found


def shows_splats(obj: bpy.types.Object | None) -> bool:
    """Whether an object instances a collection with a splat."""
    return obj is not None and obj.instance_type == "COLLECTION" and _holds(obj.instance_collection, _DEEP)


def _holds(collection: bpy.types.Collection | None, deep: int) -> bool:
    if collection is None or not deep:
        return False
    return any(
        point_cloud.is_splat(o) or (o.instance_type == "COLLECTION" and _holds(o.instance_collection, deep - 1))
        for o in collection.all_objects
    )
