"""The splats of a file as plain arrays, read again only after Blender reports a change."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import bpy
import numpy as np

from . import attributes, changes, instances, point_cloud

MARKS = {"saga:similarity": "FLOAT", "saga:cluster": "INT", "saga:pca": "FLOAT_VECTOR"}
"""Attributes that view modes show, with their types."""
_SHAPE = {"position": 3, "scale": 3, "rotation": 4, "radiance:base": 4}
_TABLE = 1021  # columns of the checksum's table: a prime, so that swapped points are unlikely to share a column


@dataclass(frozen=True, eq=False)
class Tint:
    """Temporary colors for some points of a data-block, for drawing only; its attributes do not change.

    Attributes:
        count: required number of points of the data-block.
        points: [k] int, indices of the points.
        base: [k,3] float32, their constant coefficients (radiance:base).
        number: version of the colors, above 0; changes with them.
    """

    count: int
    points: np.ndarray
    base: np.ndarray
    number: int


tints: dict[int, Tint] = {}
"""The tints of a preview, by `session_uid` of the data-block."""


@dataclass(eq=False)
class Block:
    """One point cloud data-block.

    Attributes:
        means [N,3], quats [N,4], scales [N,3], opacities [N]: float32, object space.
        sh: [N,K,3] float16: half the memory of float32, and still finer than a display.
        selected, hidden: [N] bool.
        marks: attribute name -> values, for the existing attributes of MARKS.
        geometry: version of the Gaussians; `marking`: version of the selection and marks; `coloring`: number of the
            current tint, 0 without one.
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
    coloring: int = 0
    _plain: tuple[np.ndarray, np.ndarray] | None = None  # tinted points and their original coefficients

    def __len__(self) -> int:
        return len(self.means)

    def tint(self, wanted: Tint | None) -> None:
        """Show temporary colors, or the original ones (None)."""
        wanted = wanted if wanted is not None and wanted.count == len(self) else None
        if self.coloring == (wanted.number if wanted else 0):
            return
        if self._plain is not None:
            points, base = self._plain
            self.sh[points, 0], self._plain = base, None
        if wanted is not None:
            self._plain = wanted.points, self.sh[wanted.points, 0]
            self.sh[wanted.points, 0] = wanted.base
        self.coloring = wanted.number if wanted else 0


@dataclass
class Blocks:
    """Recently drawn data-blocks, by `session_uid`."""

    known: dict[int, Block] = field(default_factory=dict)
    _count: int = 0
    _room: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))

    def of(self, obj: bpy.types.Object | instances.Instance) -> Block:
        """The current arrays of a splat object."""
        points, stamp = obj.data, changes.stamp(obj.data)
        block = self.known.get(points.session_uid)
        if block is None or (block.stamp != stamp and self._digest(points) != block.digest):
            block = self.known[points.session_uid] = self._read(obj, stamp)
        elif block.stamp != stamp:
            block.selected, block.hidden, block.marks = _states(obj)
            block.marking, block.stamp = self._next(), stamp
        block.tint(tints.get(points.session_uid))
        return block

    def keep_only(self, uids: set[int]) -> None:
        """Forget all other data-blocks."""
        self.known = {uid: block for uid, block in self.known.items() if uid in uids}

    def _read(self, obj: bpy.types.Object, stamp: tuple[int, int]) -> Block:
        cloud = point_cloud.to_cloud(obj)
        arrays = cloud.means, cloud.quats, cloud.scales, cloud.opacities, cloud.sh.astype(np.float16)
        return Block(*arrays, *_states(obj), self._next(), self._next(), stamp, self._digest(obj.data))

    def _digest(self, points: bpy.types.PointCloud) -> int:
        """A digest of the Gaussians, which a changed selection does not affect; much faster than reading all data."""
        value = len(points.points)
        if len(self._room) < 4 * value:  # reused: allocating memory would take as long as reading into it
            self._room = np.empty(4 * value, np.float32)
        for name, width in _SHAPE.items():
            attribute = points.attributes.get(name)
            if attribute is not None and len(attribute.data):
                values = self._room[: width * len(attribute.data)]
                attributes.read_into(attribute, values)
                value = checksum(values, value)
        return value

    def _next(self) -> int:
        self._count += 1
        return self._count


def _states(obj: bpy.types.Object) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    return point_cloud.selection(obj), point_cloud.hidden(obj), _marks(obj.data)


def checksum(values: np.ndarray, start: int = 0) -> int:
    """A checksum of contiguous float32 values that changes with any single value, at memory speed.

    It hashes the column sums of a wide integer table.
    """
    flat = values.ravel()
    words = flat[: len(flat) // 2 * 2].view(np.uint64)
    whole = len(words) // _TABLE * _TABLE
    for part in (words[:whole].reshape(-1, _TABLE).sum(axis=0), words[whole:], flat[2 * len(words) :]):
        start = zlib.crc32(part, start)
    return start


def _marks(points: bpy.types.PointCloud) -> dict[str, np.ndarray]:
    found = {}
    for name, data_type in MARKS.items():
        attribute = points.attributes.get(name)
        if attribute is not None and attribute.data_type == data_type and attribute.domain == "POINT":
            found[name] = attributes.read(attribute)
    return found


def shown(
    layer: bpy.types.ViewLayer, space: bpy.types.SpaceView3D | None
) -> list[bpy.types.Object | instances.Instance]:
    """The visible splats and splat instances of a viewport, with respect to hiding and local view."""
    objects = [
        obj
        for obj in layer.objects
        if obj.type == "POINTCLOUD"
        and len(obj.data.points)
        and point_cloud.is_splat(obj)
        and obj.visible_get(view_layer=layer, viewport=space)
    ]
    return [*objects, *instances.instances(layer, space)]
