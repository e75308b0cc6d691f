"""Convert between GaussianCloud and point cloud objects, with the attributes of Blender 5.3's own importer."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ...gaussians.blocks import blocks, over_blocks
from ...gaussians.cloud import SH_COEFFICIENTS, GaussianCloud
from . import attributes, render_points

SELECTION = ".selection"
"""The selection attribute of edit mode for point clouds; without it, Blender treats all points as selected."""
_ID = "saga:id"
_SIMILARITY = "saga:similarity"
_HIDDEN = "saga:hidden"
_GROUP, _CACHED = 5, 8192  # largest number of coefficients, and rows, copied together
_ROOM = 128 << 20  # bytes of the buffer: 2 coefficients at a time for 5 million Gaussians
_BLOCK = 16 * _CACHED
_NEEDED = {"scale": "FLOAT_VECTOR", "rotation": "QUATERNION", "radiance:base": "FLOAT4"}


def create_object(name: str, cloud: GaussianCloud, axes: str, source: str = "") -> bpy.types.Object:
    """Create a point cloud object from a cloud, not yet linked to a collection.

    Args:
        name: name of the object and its data.
        cloud: N Gaussians in object space. They get `saga:id` 0..N-1, and none is selected.
        axes: "RDF" if the cloud was rotated from the file's y-down axes to Blender's (export rotates it back),
            otherwise "BLENDER".
        source: path of the imported file.
    """
    points = bpy.data.pointclouds.new(name)
    points.resize(len(cloud))
    attributes.write(points, "position", "FLOAT_VECTOR", cloud.means)
    attributes.write(points, "scale", "FLOAT_VECTOR", cloud.scales)
    attributes.write(points, "rotation", "QUATERNION", cloud.quats)
    base = np.concatenate([cloud.sh[:, 0], cloud.opacities[:, None]], axis=1)
    attributes.write(points, "radiance:base", "FLOAT4", base)
    write_harmonics(points, cloud.sh)
    attributes.write(points, SELECTION, "BOOLEAN", np.zeros(len(cloud), np.bool_))
    obj = bpy.data.objects.new(name, points)
    obj.saga.source, obj.saga.axes = source, axes
    if bpy.app.version < (5, 3, 0):
        obj.display_type = "BOUNDS"  # viewport/splat_draw.py draws the splats
        render_points.prepare(obj, cloud.scales, cloud.opacities)
    identify(obj, cloud)
    return obj


def identify(obj: bpy.types.Object, cloud: GaussianCloud) -> None:
    """Number the points 0..N-1 and record the fingerprint of `cloud`, the Gaussians of `obj`."""
    attributes.write(obj.data, _ID, "INT", np.arange(len(cloud), dtype=np.int32))
    obj.saga.fingerprint, obj.saga.count, obj.saga.model_file = cloud.fingerprint(), len(cloud), ""
    obj.saga.property_unset("applied")


def is_splat(obj: bpy.types.Object | None) -> bool:
    """Whether an object is a point cloud with the attributes of a splat."""
    return obj is not None and obj.type == "POINTCLOUD" and all(_has(obj, name) for name in _NEEDED)


def require(obj: bpy.types.Object) -> None:
    """Check that an object is a splat with at least one point.

    Raises:
        UserError: if it is not.
    """
    if not is_splat(obj):
        raise UserError(
            f"The object {obj.name} is not a splat",
            "it is not a point cloud with scale, rotation and radiance",
            "Select an object that was imported from a splat file",
            code=ErrorCode.NOT_A_SPLAT,
        )
    if len(obj.data.points) == 0:
        raise UserError(
            f"The splat {obj.name} has no Gaussians", fix="Undo, or import its file again", code=ErrorCode.EMPTY
        )


def to_cloud(obj: bpy.types.Object) -> GaussianCloud:
    """The Gaussians of a splat object, in object space and point order.

    Raises:
        UserError: if it is another kind of object or holds no points.
    """
    require(obj)
    base = _get(obj, "radiance:base")
    sh = np.empty((len(base), _coefficients(obj), 3), np.float32)
    sh[:, 0] = base[:, :3]
    _read_harmonics(obj, sh)
    return GaussianCloud(_get(obj, "position"), _get(obj, "rotation"), _get(obj, "scale"), base[:, 3], sh)


def write_harmonics(points: bpy.types.PointCloud, sh: np.ndarray) -> None:
    """Set the attributes of the higher coefficients of sh [N,K,3]."""
    for group, planes in _groups(*sh.shape[:2]):
        over_blocks(len(sh), _BLOCK, functools.partial(_scatter, sh, group, planes))
        for i, plane in zip(range(group.start, group.stop), planes, strict=True):
            attributes.write(points, f"radiance:sh_{i - 1}", "FLOAT_VECTOR", plane)


def _read_harmonics(obj: bpy.types.Object, sh: np.ndarray) -> None:
    """Fill the higher coefficients of sh [N,K,3]."""
    for group, planes in _groups(*sh.shape[:2]):
        for i, plane in zip(range(group.start, group.stop), planes, strict=True):
            attributes.read_into(obj.data.attributes[f"radiance:sh_{i - 1}"], plane)
        over_blocks(len(sh), _BLOCK, functools.partial(_gather, sh, group, planes))


def _groups(n: int, k: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Groups of coefficients 1..K-1, each with a buffer: one pass over sh per coefficient would read it K times."""
    size = min(k - 1, _GROUP, max(1, _ROOM // (12 * max(n, 1))))
    room = np.empty((size, n, 3), np.float32)
    for first in range(1, k, max(1, size)):
        group = slice(first, min(first + size, k))
        yield group, room[: group.stop - first]


def _scatter(sh: np.ndarray, group: slice, planes: np.ndarray, rows: slice) -> None:
    for part in blocks(rows.stop - rows.start, _CACHED):
        place = slice(rows.start + part.start, rows.start + part.stop)
        planes[:, place] = sh[place, group].transpose(1, 0, 2)


def _gather(sh: np.ndarray, group: slice, planes: np.ndarray, rows: slice) -> None:
    for part in blocks(rows.stop - rows.start, _CACHED):
        place = slice(rows.start + part.start, rows.start + part.stop)
        sh[place, group] = planes[:, place].transpose(1, 0, 2)


def positions(obj: bpy.types.Object) -> np.ndarray:
    """[N,3] float32, the centers in object space."""
    return _get(obj, "position")


def scales(obj: bpy.types.Object) -> np.ndarray:
    """[N,3] float32, standard deviations in object space."""
    return _get(obj, "scale")


def opacities(obj: bpy.types.Object) -> np.ndarray:
    """[N] float32, 0 to 1."""
    return _get(obj, "radiance:base")[:, 3]


def sh_degree(obj: bpy.types.Object) -> int:
    """Degree of a splat's spherical harmonics, 0 to 4."""
    return SH_COEFFICIENTS.index(_coefficients(obj))


def ids(obj: bpy.types.Object) -> np.ndarray:
    """[N] int32, the `saga:id` of the points.

    Raises:
        UserError: if the object has no ids.
    """
    if not _has(obj, _ID):
        raise UserError(
            f"The splat {obj.name} has lost its saga:id", "its points cannot be identified", "Train it again"
        )
    return _get(obj, _ID)


def selection(obj: bpy.types.Object) -> np.ndarray:
    """[N] bool, the selected points; none without the attribute."""
    return _get(obj, SELECTION) if _has(obj, SELECTION) else np.zeros(len(obj.data.points), np.bool_)


def set_selection(obj: bpy.types.Object, mask: np.ndarray) -> None:
    """Select exactly the points at mask [N] bool."""
    attributes.write(obj.data, SELECTION, "BOOLEAN", mask)
    obj.data.update_tag()


def deselect(obj: bpy.types.Object) -> None:
    """Deselect all points."""
    set_selection(obj, np.zeros(len(obj.data.points), np.bool_))


def set_similarity(obj: bpy.types.Object, scores: np.ndarray) -> None:
    """Record the similarity [N] float32 of the last query."""
    attributes.write(obj.data, _SIMILARITY, "FLOAT", scores)
    obj.data.update_tag()


def split(obj: bpy.types.Object) -> bpy.types.Object:
    """Move the selected points to a new object in the same place and collections, and deselect everything.

    Raises:
        UserError: if none or all of the points are selected.
    """
    mask = selection(obj)
    if not mask.any():
        raise UserError(
            f"Nothing is selected in {obj.name}", fix="Click on an object first", code=ErrorCode.NO_SELECTION
        )
    if mask.all():
        raise UserError(
            f"Nothing can be split from {obj.name}",
            "all of its Gaussians are selected",
            fix="Select a part of it, or move the object itself",
            code=ErrorCode.ALL_SELECTED,
        )
    part = _copy(obj)
    if obj.data.users > 1:  # a linked duplicate keeps all of its points
        obj.data = obj.data.copy()
    for holder, kept in ((part, mask), (obj, ~mask)):
        attributes.keep_points(holder.data, kept)
        set_selection(holder, np.zeros(int(np.count_nonzero(kept)), np.bool_))
    return part


def duplicate(obj: bpy.types.Object) -> bpy.types.Object:
    """Copy the selected points to a new object in the same place and collections, with all points selected."""
    mask = selection(obj)
    part = _copy(obj)
    if not mask.all():
        attributes.keep_points(part.data, mask)
    return part


def delete(obj: bpy.types.Object) -> int:
    """Delete the selected points. Returns their number."""
    mask = selection(obj)
    if obj.data.users > 1:  # a linked duplicate keeps all of its points
        obj.data = obj.data.copy()
    attributes.keep_points(obj.data, ~mask)
    obj.data.update_tag()
    return int(np.count_nonzero(mask))


def hidden(obj: bpy.types.Object) -> np.ndarray:
    """[N] bool, the hidden points, which are neither drawn nor clicked; none without the attribute."""
    return _get(obj, _HIDDEN) if _has(obj, _HIDDEN) else np.zeros(len(obj.data.points), np.bool_)


def set_hidden(obj: bpy.types.Object, mask: np.ndarray) -> None:
    """Hide exactly the points at mask [N] bool."""
    attributes.write(obj.data, _HIDDEN, "BOOLEAN", mask)
    obj.data.update_tag()


def set_mark(obj: bpy.types.Object, name: str, data_type: str, values: np.ndarray) -> None:
    """Store one value per point for a view mode: [N] or [N,3]."""
    attributes.write(obj.data, name, data_type, values)
    obj.data.update_tag()


def _copy(obj: bpy.types.Object) -> bpy.types.Object:
    """A copy of the object and its data, in the same collections."""
    part = obj.copy()
    part.data = obj.data.copy()
    for collection in obj.users_collection:
        collection.objects.link(part)
    return part


def _has(obj: bpy.types.Object, name: str) -> bool:
    attribute = obj.data.attributes.get(name)
    wanted = {**_NEEDED, SELECTION: "BOOLEAN", _HIDDEN: "BOOLEAN", _ID: "INT"}.get(name, "FLOAT_VECTOR")
    return attribute is not None and attribute.data_type == wanted and attribute.domain == "POINT"


def _get(obj: bpy.types.Object, name: str) -> np.ndarray:
    return attributes.read(obj.data.attributes[name])


def _coefficients(obj: bpy.types.Object) -> int:
    """K of the highest degree with a complete set of coefficients."""
    there = 1
    while _has(obj, f"radiance:sh_{there - 1}"):
        there += 1
    return max(k for k in SH_COEFFICIENTS if k <= there)
