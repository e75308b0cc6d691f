"""Convert splats from other add-ons and Blender's PLY import: objects with the property names of trainers."""

from __future__ import annotations

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ...gaussians.cloud import SH_COEFFICIENTS, GaussianCloud
from ..splat import attributes, native, point_cloud

_NEEDED = ("f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3")


def can_adopt(obj: bpy.types.Object | None) -> bool:
    """Whether `adopt` can convert an object to a splat."""
    if obj is None or obj.type not in ("MESH", "POINTCLOUD") or point_cloud.is_splat(obj):
        return False
    return all(_is_number(obj.data.attributes.get(name)) for name in _NEEDED)


def adopt(obj: bpy.types.Object) -> bpy.types.Object:
    """Create a splat object from an object with trainer attributes, in the same place, and hide the original.

    The attributes hold logarithms of standard deviations and logits of opacities, as trainers write them. Their
    axes stay unchanged: data that the import did not rotate is not rotated here either.

    Raises:
        UserError: if the object lacks the attributes, has no points, or has values that are not finite.
    """
    if not can_adopt(obj):
        raise UserError(
            f"{obj.name} cannot be converted to a splat",
            "it lacks the attributes of a splat (f_dc_0, opacity, scale_0, rot_0 ...)",
            "Import the splat file with File > Import > Gaussian Splat",
            code=ErrorCode.NOT_A_SPLAT,
        )
    cloud = _cloud(obj)
    if not len(cloud):
        raise UserError(f"{obj.name} has no points", fix="Choose another object", code=ErrorCode.EMPTY)
    if not all(np.isfinite(values).all() for values in (cloud.means, cloud.scales, cloud.sh)):
        raise UserError(
            f"{obj.name} has values that are not finite", fix="Import its file again", code=ErrorCode.BAD_NUMBERS
        )
    splat = point_cloud.create_object(obj.name, cloud, "BLENDER")
    native.mark(splat.data)
    splat.matrix_world = obj.matrix_world
    for collection in obj.users_collection:
        collection.objects.link(splat)
    return splat


def _cloud(obj: bpy.types.Object) -> GaussianCloud:
    def columns(*names: str) -> np.ndarray:
        return np.stack([attributes.read(obj.data.attributes[name]) for name in names], axis=1)

    rest = 0
    while _is_number(obj.data.attributes.get(f"f_rest_{rest}")):
        rest += 1
    coefficients = max(k for k in SH_COEFFICIENTS if 3 * (k - 1) <= rest)
    sh = columns("f_dc_0", "f_dc_1", "f_dc_2")[:, None]
    if coefficients > 1:
        per_channel = rest // 3  # order of the file: all red, all green, all blue coefficients
        used = [f"f_rest_{c * per_channel + i}" for i in range(coefficients - 1) for c in range(3)]
        sh = np.concatenate([sh, columns(*used).reshape(len(sh), -1, 3)], axis=1)
    quats = columns("rot_0", "rot_1", "rot_2", "rot_3")
    lengths = np.linalg.norm(quats, axis=1, keepdims=True)
    quats = np.where(lengths > 0, quats / np.maximum(lengths, 1e-12), [1, 0, 0, 0])
    opacities = 1 / (1 + np.exp(-attributes.read(obj.data.attributes["opacity"])))
    return GaussianCloud(
        attributes.read(obj.data.attributes["position"]),
        quats.astype(np.float32),
        np.exp(columns("scale_0", "scale_1", "scale_2")),
        opacities,
        sh,
    )


def _is_number(attribute: bpy.types.Attribute | None) -> bool:
    return attribute is not None and attribute.domain == "POINT" and attribute.data_type == "FLOAT"
