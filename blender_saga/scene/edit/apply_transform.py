"""Apply Transform for splats: transforms the Gaussians, including their rotations and spherical harmonics.

Blender's own operator only moves the points and leaves their scale, rotation and colors unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix

from ...errors import ErrorCode, UserError
from ...gaussians.cloud import GaussianCloud
from ...gaussians.transforms import transform_cloud
from ..requests import trained_space
from ..splat import attributes, point_cloud


@dataclass(frozen=True)
class Parts:
    """The parts of the transform to apply."""

    location: bool = True
    rotation: bool = True
    scale: bool = True


@dataclass(frozen=True, eq=False)
class Baked:
    """The result for one object: its Gaussians, the matrix applied to them, the matrix left on the object."""

    obj: bpy.types.Object
    cloud: GaussianCloud
    change: Matrix
    kept: Matrix


def apply_transforms(objects: list[bpy.types.Object], parts: Parts) -> None:
    """Apply parts of each object's transform to its Gaussians. All objects stay in place, including children.

    Raises:
        UserError: if an object is no splat, is linked, shares its points with another object, or has a scale of zero;
            then no object is changed.
    """
    for baked in [_bake(obj, parts) for obj in objects]:
        write_points(baked.obj.data, baked.cloud)
        trained_space.apply(baked.obj, np.array(baked.change, np.float64))
        for child in baked.obj.children:
            child.matrix_parent_inverse = baked.change @ child.matrix_parent_inverse
        baked.obj.matrix_basis = baked.kept


def _bake(obj: bpy.types.Object, parts: Parts) -> Baked:
    point_cloud.require(obj)
    if obj.library is not None or obj.data.library is not None:
        raise UserError(
            f"The splat {obj.name} is linked from another file",
            fix="Make it local first (Object > Relations > Make Local)",
            code=ErrorCode.LINKED,
        )
    what = f"The transform of {obj.name} cannot be applied"
    if obj.data.users > 1:
        fix = "Use Object > Relations > Make Single User first"
        raise UserError(what, "another object shares its points", fix, code=ErrorCode.SHARED)
    if abs(obj.matrix_basis.determinant()) < 1e-30:
        raise UserError(what, "its scale is zero along an axis", "Set a scale other than zero")
    kept = _kept(obj.matrix_basis, parts)
    change = kept.inverted() @ obj.matrix_basis
    return Baked(obj, transform_cloud(point_cloud.to_cloud(obj), np.array(change, np.float64)), change, kept)


def _kept(basis: Matrix, parts: Parts) -> Matrix:
    """The matrix left on the object, from the parts that are not applied."""
    location, rotation, scale = basis.decompose()
    return Matrix.LocRotScale(
        None if parts.location else location, None if parts.rotation else rotation, None if parts.scale else scale
    )


def write_points(points: bpy.types.PointCloud, cloud: GaussianCloud) -> None:
    """Overwrite the Gaussians of a splat with as many others, in the same order and in object space."""
    radius = points.attributes.get("radius")
    if radius is not None and radius.data_type == "FLOAT" and radius.domain == "POINT":  # for still renders
        old, new = (
            s.prod(axis=1, dtype=np.float64) for s in (attributes.read(points.attributes["scale"]), cloud.scales)
        )
        grown = np.cbrt(np.divide(new, old, out=np.ones(len(old)), where=old > 0))
        attributes.write(points, "radius", "FLOAT", attributes.read(radius) * grown)
    attributes.write(points, "position", "FLOAT_VECTOR", cloud.means)
    attributes.write(points, "scale", "FLOAT_VECTOR", cloud.scales)
    attributes.write(points, "rotation", "QUATERNION", cloud.quats)
    point_cloud.write_harmonics(points, cloud.sh)
    points.update_tag()
