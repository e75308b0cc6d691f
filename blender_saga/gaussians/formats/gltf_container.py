"""glTF 2.0 as a container: GLB or JSON, buffers, accessors and node matrices, independent of Gaussians.

Specified by Khronos, "glTF 2.0 Specification".
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import numpy as np

from ..files import bad_file, map_bytes

GLB_MAGIC = b"glTF"
_JSON, _BIN = 0x4E4F534A, 0x004E4942
_LARGEST_JSON = 64 << 20  # bytes
_KINDS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_DEEPEST = 64  # depth of nodes; real scenes are flatter, and cycles exceed it


class Gltf:
    """An opened glTF.

    Attributes:
        path: path of the file, for errors.
        json: the document.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data = map_bytes(path)
        self._size = len(data)
        self._blob: np.ndarray | None = None
        text = data[:_LARGEST_JSON].tobytes() if data[:4].tobytes() != GLB_MAGIC else self._open_glb(data)
        try:
            self.json = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise bad_file(path, f"its JSON is damaged ({error})") from error
        if not isinstance(self.json, dict) or not isinstance(self.json.get("asset"), dict):
            raise bad_file(path, "it is not a glTF file")
        self._buffers: dict[int, np.ndarray] = {}

    def _open_glb(self, data: np.ndarray) -> bytes:
        if len(data) < 20:
            raise bad_file(self.path, "its header is cut off", len(data))
        version, length, size, kind = struct.unpack("<4I", data[4:20].tobytes())
        if version != 2:
            raise bad_file(self.path, f"GLB version {version} is not supported", 4)
        if length > len(data) or kind != _JSON or size > min(len(data) - 20, _LARGEST_JSON):
            raise bad_file(self.path, f"its JSON of {size} bytes does not fit into the file of {len(data)} bytes", 8)
        after = 20 + size
        if after + 8 <= len(data):
            size_2, kind_2 = struct.unpack("<2I", data[after : after + 8].tobytes())
            if kind_2 == _BIN and size_2 > len(data) - after - 8:
                raise bad_file(self.path, f"its binary part of {size_2} bytes is cut off", after)
            self._blob = data[after + 8 : after + 8 + size_2] if kind_2 == _BIN else None
        return data[20 : 20 + size].tobytes()

    def item(self, kind: str, index: Any) -> dict[str, Any]:
        """An entry of a top-level list.

        Raises:
            UserError: if there is no such entry.
        """
        entries = self.json.get(kind)
        if not isinstance(index, int) or not isinstance(entries, list) or not 0 <= index < len(entries):
            raise bad_file(self.path, f"it refers to {kind} {str(index)[:20]}, which is missing")
        if not isinstance(entries[index], dict):
            raise bad_file(self.path, f"its {kind} {index} is damaged")
        return entries[index]

    def buffer_view(self, index: Any) -> np.ndarray:
        """[size] uint8, the bytes of a buffer view."""
        view = self.item("bufferViews", index)
        data = self._buffer(view.get("buffer"))
        start, size = whole(self.path, view, "byteOffset", 0), whole(self.path, view, "byteLength")
        if start + size > len(data):
            raise bad_file(
                self.path, f"buffer view {index} ends at byte {start + size} of a buffer of {len(data)} bytes"
            )
        return data[start : start + size]

    def _buffer(self, index: Any) -> np.ndarray:
        entry = self.item("buffers", index)
        if index not in self._buffers:
            uri = entry.get("uri")
            data = self._blob if uri is None else self._fetch(uri)
            if data is None:
                raise bad_file(self.path, f"buffer {index} has no data")
            self._buffers[index] = data
        return self._buffers[index]

    @property
    def size(self) -> int:
        """Bytes of the file and of its external buffers read so far."""
        return self._size + sum(len(data) for data in self._buffers.values())

    def _fetch(self, uri: Any) -> np.ndarray:
        """The bytes of a URI: embedded in the JSON, or in a file in the same folder or below it."""
        if not isinstance(uri, str):
            raise bad_file(self.path, "the URI of a buffer is damaged")
        if uri.startswith("data:"):
            try:
                return np.frombuffer(base64.b64decode(uri.partition(",")[2], validate=True), np.uint8)
            except (binascii.Error, ValueError) as error:
                raise bad_file(self.path, f"a buffer in its JSON is damaged ({error})") from error
        name = PurePosixPath(unquote(uri))
        if name.is_absolute() or ".." in name.parts or ":" in uri or "\\" in uri:
            raise bad_file(self.path, f"the URI {uri[:60]!r} of a buffer leads out of its folder")
        return map_bytes(self.path.parent / name)

    def accessor(self, index: Any, width: int, count: int | None = None) -> np.ndarray:
        """The values of an accessor.

        Args:
            index: number of the accessor.
            width: required number of components, 1 to 4.
            count: required number of rows; None for any.

        Returns:
            [count, width] float32; normalized integers are converted to 0..1 or -1..1.

        Raises:
            UserError: if the accessor is damaged or has another type.
        """
        entry = self.item("accessors", index)
        kind = _KINDS.get(whole(self.path, entry, "componentType"))
        if kind is None or _WIDTHS.get(str(entry.get("type"))) != width:
            raise bad_file(self.path, f"accessor {index} does not have {width} components")
        rows = whole(self.path, entry, "count")
        if "sparse" in entry or "bufferView" not in entry:
            raise bad_file(self.path, f"accessor {index} is sparse or has no data, which is not supported")
        if count is not None and rows != count:
            raise bad_file(self.path, f"accessor {index} has {rows} rows for {count} Gaussians")
        values = self._strided(index, entry, np.dtype((kind, (width,))), rows)
        if not entry.get("normalized") or values.dtype.kind == "f":
            return values.astype(np.float32)
        return np.maximum(values / np.float32(np.iinfo(values.dtype).max), -1).astype(np.float32)

    def _strided(self, index: int, entry: dict[str, Any], row: np.dtype, rows: int) -> np.ndarray:
        data = self.buffer_view(entry["bufferView"])
        stride = whole(self.path, self.item("bufferViews", entry["bufferView"]), "byteStride", row.itemsize)
        start = whole(self.path, entry, "byteOffset", 0)
        if stride < row.itemsize or start + (rows - 1) * stride + row.itemsize > len(data):
            raise bad_file(self.path, f"accessor {index} has {rows} rows, which do not fit into its {len(data)} bytes")
        base = data[start : start + (rows - 1) * stride + row.itemsize]
        kind, shape = row.base, (rows, row.shape[0])
        return np.ndarray(shape, kind, base.tobytes() if stride == row.itemsize else base, 0, (stride, kind.itemsize))

    def placed_meshes(self) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        """Every mesh of the scene with its world matrix [4,4], in node order."""
        scenes = self.json.get("scenes")
        if isinstance(scenes, list) and scenes:
            roots = self.item("scenes", self.json.get("scene", 0)).get("nodes", [])
        else:
            nodes = self.json.get("nodes")
            roots = list(range(len(nodes))) if isinstance(nodes, list) else []
        seen: set[int] = set()
        for root in roots if isinstance(roots, list) else ():
            yield from self._walk(root, np.eye(4), seen, 0)

    def _walk(
        self, index: Any, parent: np.ndarray, seen: set[int], depth: int
    ) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        node = self.item("nodes", index)
        if index in seen or depth > _DEEPEST:
            raise bad_file(self.path, f"node {index} is its own parent, or nested too deeply")
        seen.add(index)
        world = parent @ _local_matrix(self.path, node)
        if "mesh" in node:
            yield self.item("meshes", node["mesh"]), world
        children = node.get("children", [])
        for child in children if isinstance(children, list) else ():
            yield from self._walk(child, world, seen, depth + 1)


def whole(path: Path, entry: dict[str, Any], key: str, default: int | None = None) -> int:
    """A non-negative integer of an entry.

    Raises:
        UserError: if the value is missing or has another type.
    """
    value = entry.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise bad_file(path, f"{key} is {str(value)[:20]} instead of a non-negative integer")
    return value


def _local_matrix(path: Path, node: dict[str, Any]) -> np.ndarray:
    """[4,4] of a node: its matrix (column-major), or translation, rotation (x, y, z, w) and scale."""
    try:
        if "matrix" in node:
            return np.array(node["matrix"], np.float64).reshape(4, 4).T
        x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64)
        out = np.eye(4)
        out[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
        out[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), np.float64).reshape(3)
        out[:3, 3] = np.array(node.get("translation", (0, 0, 0)), np.float64).reshape(3)
        return out
    except (ValueError, TypeError, OverflowError) as error:
        raise bad_file(path, f"the transform of a node is damaged ({error})") from error
