"""Join for splats: transforms the Gaussians, including their rotations and spherical harmonics.

Blender's own operator only moves the points and leaves their scale, rotation and colors unchanged.
"""

from __future__ import annotations

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ...gaussians.transforms import transform_cloud
from ..splat import attributes, point_cloud
from ..splat.attributes import Columns
from . import apply_transform

_ID = "saga:id"
_FOREIGN = -1  # the id of a point that belongs to another model


def join(target: bpy.types.Object, others: list[bpy.types.Object]) -> None:
    """Append the points of other splats to `target`, in place and with all attributes, and remove the others.

    An attribute that a splat lacks is zero for its points. The points of the target do not change.

    Args:
        target: a splat; its transform does not change.
        others: splats, one or more.

    Raises:
        UserError: if an object is no splat, is linked, or has a scale of zero; then nothing is changed.
    """
    for obj in (target, *others):
        point_cloud.require(obj)
        if obj.library is not None or obj.data.library is not None:
            what = f"The splat {obj.name} is linked from another file"
            raise UserError(what, fix="Make it local first (Object > Relations > Make Local)", code=ErrorCode.LINKED)
    if abs(target.matrix_world.determinant()) < 1e-30:
        fix = "Set a scale other than zero"
        raise UserError(f"Nothing can be joined to {target.name}", "its scale is zero along an axis", fix)
    parts = [attributes.read_all(target.data), *(_brought(obj, target) for obj in others)]
    if target.data.users > 1:  # a linked duplicate must not change
        target.data = target.data.copy()
    _write(target.data, parts)
    for obj in others:
        data = obj.data
        bpy.data.objects.remove(obj)
        if not data.users:
            bpy.data.pointclouds.remove(data)


def _brought(obj: bpy.types.Object, target: bpy.types.Object) -> Columns:
    """The attributes of another splat, in the object space of the target."""
    data = obj.data
    if obj.matrix_world != target.matrix_world:
        change = np.linalg.inv(np.array(target.matrix_world, np.float64)) @ np.array(obj.matrix_world, np.float64)
        cloud = transform_cloud(point_cloud.to_cloud(obj), change, overwrite=True)
        data = obj.data.copy()
        try:
            apply_transform.write_points(data, cloud)
            columns = attributes.read_all(data)
        finally:
            bpy.data.pointclouds.remove(data)
    else:
        columns = attributes.read_all(data)
    if _ID in columns and obj.saga.fingerprint != target.saga.fingerprint:
        columns[_ID] = ("INT", np.full(len(columns[_ID][1]), _FOREIGN, np.int32))
    return columns


def _write(points: bpy.types.PointCloud, parts: list[Columns]) -> None:
    counts = [len(part["position"][1]) for part in parts]
    points.resize(sum(counts))
    kinds = {name: kind for part in reversed(parts) for name, (kind, _) in part.items()}
    if _ID not in parts[0]:
        kinds.pop(_ID, None)
    for name, kind in kinds.items():
        columns = [part[name][1] if part.get(name, ("",))[0] == kind else None for part in parts]
        like = next(column for column in columns if column is not None)
        blanks = [np.zeros((count, *like.shape[1:]), like.dtype) for count in counts]
        whole = [b if column is None else column for column, b in zip(columns, blanks, strict=True)]
        attributes.write(points, name, kind, np.concatenate(whole))
    points.update_tag()
