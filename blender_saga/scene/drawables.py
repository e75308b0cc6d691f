"""The splats of a file as plain arrays, read again only where Blender says that they have changed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import bpy
import numpy as np

from . import attributes, changes, point_cloud

MARKS = {"saga:similarity": "FLOAT", "saga:cluster": "INT", "saga:pca": "FLOAT_VECTOR"}
"""Attributes that a view mode shows, with their types."""


@dataclass(eq=False)
class Block:
    """One point cloud data-block.

    Attributes:
        means [N,3], quats [N,4], scales [N,3], opacities [N]: float32, object space.
        sh: [N,K,3] float16: half the memory, and finer than a screen shows.
        selected, hidden: [N] bool.
        marks: attribute name -> values, for those of MARKS that are there.
        geometry: another number whenever the Gaussians are others; `marking`: whenever selection or marks are.
    """

    means: np.ndarray
    quats: np.ndarray
    scales: np.ndarray
    opacities: np.ndarray
    sh: np.ndarray
    selected: np.ndarray
    hidden: np.ndarray
    marks: dict[str, np.ndarray]
    geometry: int
    marking: int
    stamp: tuple[int, int]
    digest: int

    def __len__(self) -> int:
        return len(self.means)


@dataclass
class Blocks:
    """All data-blocks that were drawn lately, by `session_uid`."""

    known: dict[int, Block] = field(default_factory=dict)
    _count: int = 0

    def of(self, obj: bpy.types.Object) -> Block:
        """The arrays of a splat object as they are now."""
        points, stamp = obj.data, changes.stamp(obj.data)
        block = self.known.get(points.session_uid)
        if block is None or (block.stamp != stamp and _digest(points) != block.digest):
            block = self.known[points.session_uid] = self._read(obj, stamp)
        elif block.stamp != stamp:
            block.selected, block.hidden, block.marks = _states(obj)
            block.marking, block.stamp = self._next(), stamp
        return block

    def keep_only(self, uids: set[int]) -> None:
        """Forget all others."""
        self.known = {uid: block for uid, block in self.known.items() if uid in uids}

    def _read(self, obj: bpy.types.Object, stamp: tuple[int, int]) -> Block:
        cloud = point_cloud.to_cloud(obj)
        arrays = cloud.means, cloud.quats, cloud.scales, cloud.opacities, cloud.sh.astype(np.float16)
        return Block(*arrays, *_states(obj), self._next(), self._next(), stamp, _digest(obj.data))

    def _next(self) -> int:
        self._count += 1
        return self._count


def _states(obj: bpy.types.Object) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    return point_cloud.selection(obj), point_cloud.hidden(obj), _marks(obj.data)


def _digest(points: bpy.types.PointCloud) -> int:
    """Tells most changes of the Gaussians from a change of the selection, in a fraction of the time of reading all."""
    value = len(points.points)
    for name in ("position", "scale", "rotation", "radiance:base"):
        attribute = points.attributes.get(name)
        if attribute is not None and len(attribute.data):
            value = zlib.adler32(attributes.read(attribute), value)
    return value


def _marks(points: bpy.types.PointCloud) -> dict[str, np.ndarray]:
    found = {}
    for name, data_type in MARKS.items():
        attribute = points.attributes.get(name)
        if attribute is not None and attribute.data_type == data_type and attribute.domain == "POINT":
            found[name] = attributes.read(attribute)
    return found


def shown(layer: bpy.types.ViewLayer, space: bpy.types.SpaceView3D | None) -> list[bpy.types.Object]:
    """The splats that are to be seen in a viewport, hiding and local view considered."""
    return [
        obj
        for obj in layer.objects
        if obj.type == "POINTCLOUD"
        and len(obj.data.points)
        and point_cloud.is_splat(obj)
        and obj.visible_get(view_layer=layer, viewport=space)
    ]
