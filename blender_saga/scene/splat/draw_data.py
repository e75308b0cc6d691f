"""The splats of a file as plain arrays, read again only where Blender says that they have changed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import bpy
import numpy as np

from . import attributes, changes, instances, point_cloud

MARKS = {"saga:similarity": "FLOAT", "saga:cluster": "INT", "saga:pca": "FLOAT_VECTOR"}
"""Attributes that a view mode shows, with their types."""
_SHAPE = {"position": 3, "scale": 3, "rotation": 4, "radiance:base": 4}
_TABLE = 1021  # columns of a checksum's table: a prime, so that points that changed places do not meet in a column


@dataclass(frozen=True, eq=False)
class Tint:
    """Other colors for some points of a data-block while it is drawn; its attributes stay as they are.

    Attributes:
        count: points that the data-block must have.
        points: [k] int, which of them.
        base: [k,3] float32, their constant coefficients (radiance:base).
        number: another one whenever they are others, above 0.
    """

    count: int
    points: np.ndarray
    base: np.ndarray
    number: int


tints: dict[int, Tint] = {}
"""Of data-blocks by `session_uid`: what a preview shows."""


@dataclass(eq=False)
class Block:
    """One point cloud data-block.

    Attributes:
        means [N,3], quats [N,4], scales [N,3], opacities [N]: float32, object space.
        sh: [N,K,3] float16: half the memory, and finer than a screen shows.
        selected, hidden: [N] bool.
        marks: attribute name -> values, for those of MARKS that are there.
        geometry: another number whenever the Gaussians are others; `marking`: whenever selection or marks are;
            `coloring`: that of the tint that is shown, 0 without one.
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
    _plain: tuple[np.ndarray, np.ndarray] | None = None  # points that are tinted, and their own coefficients

    def __len__(self) -> int:
        return len(self.means)

    def tint(self, wanted: Tint | None) -> None:
        """Show other colors, or (None) its own."""
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
    """All data-blocks that were drawn lately, by `session_uid`."""

    known: dict[int, Block] = field(default_factory=dict)
    _count: int = 0
    _room: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))

    def of(self, obj: bpy.types.Object | instances.Instance) -> Block:
        """The arrays of a splat object as they are now."""
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
        """Forget all others."""
        self.known = {uid: block for uid, block in self.known.items() if uid in uids}

    def _read(self, obj: bpy.types.Object, stamp: tuple[int, int]) -> Block:
        cloud = point_cloud.to_cloud(obj)
        arrays = cloud.means, cloud.quats, cloud.scales, cloud.opacities, cloud.sh.astype(np.float16)
        return Block(*arrays, *_states(obj), self._next(), self._next(), stamp, self._digest(obj.data))

    def _digest(self, points: bpy.types.PointCloud) -> int:
        """Tells changes of the Gaussians from a change of the selection, in a fraction of the time of reading all."""
        value = len(points.points)
        if len(self._room) < 4 * value:  # kept: fresh memory would cost as much as what is read into it
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
    """A number that differs when any one of contiguous float32 values does, at the speed of reading them.

    Columns of a wide table are added up as integers, and the sums are what is hashed.
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
    """The splats that are to be seen in a viewport, hiding and local view considered; also where they are instanced."""
    objects = [
        obj
        for obj in layer.objects
        if obj.type == "POINTCLOUD"
        and len(obj.data.points)
        and point_cloud.is_splat(obj)
        and obj.visible_get(view_layer=layer, viewport=space)
    ]
    return [*objects, *instances.instances(layer, space)]
