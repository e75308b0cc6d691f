"""Point attributes of a point cloud as numpy arrays, whatever their type."""

from __future__ import annotations

import bpy
import numpy as np

# type -> property of foreach_get/foreach_set, values per point, dtype. A dtype that differs from Blender's makes the
# transfer thirty times slower. Color bytes are copied as sRGB, unchanged.
_LAYOUT = {
    "FLOAT": ("value", 1, np.float32),
    "INT": ("value", 1, np.int32),
    "BOOLEAN": ("value", 1, np.bool_),
    "INT8": ("value", 1, np.int8),
    "FLOAT2": ("vector", 2, np.float32),
    "FLOAT_VECTOR": ("vector", 3, np.float32),
    "FLOAT4": ("vector", 4, np.float32),
    "FLOAT_COLOR": ("color", 4, np.float32),
    "BYTE_COLOR": ("color_srgb", 4, np.float32),
    "QUATERNION": ("value", 4, np.float32),
    "FLOAT4X4": ("value", 16, np.float32),
    "INT16_2D": ("value", 2, np.int16),
    "INT32_2D": ("value", 2, np.int32),
}


def read(attribute: bpy.types.Attribute) -> np.ndarray:
    """Values of a point attribute: [N] for scalars, otherwise [N,C]."""
    field, width, dtype = _LAYOUT[attribute.data_type]
    values: np.ndarray = np.empty(len(attribute.data) * width, dtype)
    attribute.data.foreach_get(field, values)
    return values if width == 1 else values.reshape(-1, width)


def read_into(attribute: bpy.types.Attribute, values: np.ndarray) -> None:
    """Read a point attribute into a contiguous array [N] or [N,C] of the attribute's dtype."""
    attribute.data.foreach_get(_LAYOUT[attribute.data_type][0], values.ravel())


def write(points: bpy.types.PointCloud, name: str, data_type: str, values: np.ndarray) -> None:
    """Set a point attribute, [N] or [N,C]; create it if it is missing or has another type or domain."""
    field, _, dtype = _LAYOUT[data_type]
    attribute = points.attributes.get(name)
    if attribute is not None and (attribute.data_type != data_type or attribute.domain != "POINT"):
        points.attributes.remove(attribute)
        attribute = None
    if attribute is None:
        attribute = points.attributes.new(name, data_type, "POINT")
    attribute.data.foreach_set(field, np.ascontiguousarray(values, dtype).ravel())


Columns = dict[str, tuple[str, np.ndarray]]
"""Name of a point attribute -> its type and values."""


def read_all(points: bpy.types.PointCloud) -> Columns:
    """All point attributes."""
    return {a.name: (a.data_type, read(a)) for a in points.attributes if a.data_type in _LAYOUT and a.domain == "POINT"}


def keep_points(points: bpy.types.PointCloud, mask: np.ndarray) -> None:
    """Keep only the points at mask [N] bool, in order and with all their attributes."""
    kept = {name: (data_type, values[mask]) for name, (data_type, values) in read_all(points).items()}
    points.resize(int(np.count_nonzero(mask)))
    for name, (data_type, values) in kept.items():  # by name: resizing invalidates attribute references
        write(points, name, data_type, values)
