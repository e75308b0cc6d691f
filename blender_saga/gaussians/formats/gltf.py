"""Read and write glTF with KHR_gaussian_splatting; reading includes SPZ compression.

Gaussians are a primitive of points: POSITION, ROTATION (x, y, z, w), SCALE (linear, or natural logarithms in files that
follow drafts before 2026), OPACITY (0..1), SH_DEGREE_l_COEF_n (r, g, b), degree 0 to 3. Axes are LUF (y up).
Specified by Khronos: glTF extensions KHR_gaussian_splatting (ratified 2026; its review draft of 2025 for the
logarithms) and KHR_gaussian_splatting_compression_spz_2 (draft, 2025).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ErrorCode, UserError
from ..atomic_write import atomic_stream
from ..axes import change_axes
from ..cloud import SH_COEFFICIENTS, GaussianCloud, concatenate
from ..files import bad_file, check_expansion
from ..loaded import Decoded, LoadedSplat, assemble
from ..transforms import transform_cloud
from .gltf_container import GLB_MAGIC, Gltf, whole
from .packing import dc_to_color, to_steps
from .spz import decode_spz

EXTENSION = "KHR_gaussian_splatting"
AXES = "LUF"
"""Axis convention, as named in `gaussians.axes`."""
_COMPRESSED = (f"{EXTENSION}_compression_spz_2", f"{EXTENSION}_compression_spz")
_HIGHEST_DEGREE = 3
_BYTES = 56  # memory of one Gaussian, without harmonics
_MOST_PRIMITIVES = 10_000  # decoded one by one: a limit protects against files that keep the reader busy
_MOST_BYTES = (1 << 32) - (1 << 20)  # 32-bit lengths, minus room for the JSON
_LINEAR = "lin_rec709_display"
_FLOAT, _BYTE, _ARRAY_BUFFER = 5126, 5121, 34962


def read_gltf(path: str | Path, keep_invalid: bool = False) -> LoadedSplat:
    """Read all Gaussians of a glTF's scene as one cloud, in the order of its nodes.

    Raises:
        UserError: if the file is damaged, truncated or has no Gaussians.
    """
    path = Path(path)
    gltf = Gltf(path)
    found = list(_primitives(gltf))
    _check_total(gltf, [primitive for primitive, _, _ in found])
    logarithms = _has_logarithms(gltf, [primitive for primitive, _, _ in found])
    parts: list[GaussianCloud] = []
    kept: list[np.ndarray] = []
    warnings: list[str] = []
    for primitive, extension, world in found:
        part = _read_primitive(gltf, primitive, extension, (logarithms, keep_invalid))
        parts.append(part.cloud if np.array_equal(world, np.eye(4)) else transform_cloud(part.cloud, world))
        kept.append(np.ones(len(part.cloud), bool) if part.kept is None else part.kept)
        warnings += part.warnings
        if extension.get("colorSpace") == _LINEAR:
            warnings.append("The colors of the file are linear; they are read unchanged and look too dark")
    if not parts:
        why = f"no primitive of its scene has the extension {EXTENSION}"
        raise UserError(
            f"The file {path.name} is not a Gaussian splat", why, "Choose another file", code=ErrorCode.BAD_FILE
        )
    cloud = change_axes(concatenate(parts), AXES, "RDF")
    mask = np.concatenate(kept)
    version = str(gltf.json["asset"].get("version", ""))[:8]
    return LoadedSplat(cloud, None if mask.all() else mask, tuple(dict.fromkeys(warnings)), "gltf", version, AXES)


def _primitives(gltf: Gltf) -> Iterator[tuple[dict[str, Any], dict[str, Any], np.ndarray]]:
    """Every primitive with the extension: the primitive, the extension's data, the world matrix [4,4]."""
    count = 0
    for mesh, world in gltf.placed_meshes():
        primitives = mesh.get("primitives")
        for primitive in primitives if isinstance(primitives, list) else ():
            extensions = primitive.get("extensions") if isinstance(primitive, dict) else None
            extension = extensions.get(EXTENSION) if isinstance(extensions, dict) else None
            if isinstance(extension, dict):
                count += 1
                if count > _MOST_PRIMITIVES:
                    raise bad_file(gltf.path, f"its scene has more than {_MOST_PRIMITIVES:,} splat primitives")
                yield primitive, extension, world


def _check_total(gltf: Gltf, primitives: list[dict[str, Any]]) -> None:
    """Refuse scenes that instance the same few Gaussians millions of times."""
    total = 0
    for primitive in primitives:
        attributes = primitive.get("attributes")
        place = attributes.get("POSITION") if isinstance(attributes, dict) else None
        if place is None:
            continue
        entry = gltf.item("accessors", place)
        total += _BYTES * whole(gltf.path, entry, "count")
        if "bufferView" in entry:
            gltf.buffer_view(entry["bufferView"])  # now its size counts
    check_expansion(gltf.path, total, gltf.size, f"its scene of {len(primitives)} primitives")


def _has_logarithms(gltf: Gltf, primitives: list[dict[str, Any]]) -> bool:
    """Whether the scales are logarithms, as in drafts: linear scales are never negative."""
    for primitive in primitives:
        attributes = primitive.get("attributes")
        if isinstance(attributes, dict) and f"{EXTENSION}:SCALE" in attributes:
            index = attributes[f"{EXTENSION}:SCALE"]
            if "bufferView" in gltf.item("accessors", index) and (gltf.accessor(index, 3) < 0).any():
                return True
    return False


def _read_primitive(
    gltf: Gltf, primitive: dict[str, Any], extension: dict[str, Any], how: tuple[bool, bool]
) -> LoadedSplat:
    logarithms, keep_invalid = how
    inner = extension.get("extensions")
    for name in _COMPRESSED:
        if isinstance(inner, dict) and isinstance(inner.get(name), dict):
            data = gltf.buffer_view(inner[name].get("bufferView")).tobytes()
            return decode_spz(gltf.path, data, keep_invalid, AXES)
    if isinstance(inner, dict) and inner:
        raise bad_file(gltf.path, f"its compression {next(iter(inner))[:60]} is not supported")
    attributes = primitive.get("attributes")
    if not isinstance(attributes, dict):
        raise bad_file(gltf.path, "a primitive has no attributes")
    decoded = _decode(gltf, attributes)
    if logarithms:
        with np.errstate(over="ignore", invalid="ignore"):
            decoded.scales = np.exp(decoded.scales)
    return assemble(gltf.path, decoded, keep_invalid)


def _decode(gltf: Gltf, attributes: dict[str, Any]) -> Decoded:
    names = [f"{EXTENSION}:{name}" for name in ("ROTATION", "SCALE", "OPACITY", "SH_DEGREE_0_COEF_0")]
    missing = [name for name in ("POSITION", *names) if name not in attributes]
    if missing:
        raise bad_file(gltf.path, "a primitive lacks " + ", ".join(missing))
    means = gltf.accessor(attributes["POSITION"], 3)
    n = len(means)
    rotation, scale, opacity = (
        gltf.accessor(attributes[name], width, n) for name, width in zip(names, (4, 3, 1), strict=False)
    )
    degree = 0
    while f"{EXTENSION}:SH_DEGREE_{degree + 1}_COEF_0" in attributes and degree < len(SH_COEFFICIENTS) - 1:
        degree += 1
    sh = np.empty((n, SH_COEFFICIENTS[degree], 3), np.float32)
    for index, name in enumerate(_sh_names(degree)):
        if name not in attributes:
            raise bad_file(gltf.path, f"a primitive lacks {name}")
        sh[:, index] = gltf.accessor(attributes[name], 3, n)
    return Decoded(means, np.ascontiguousarray(rotation[:, [3, 0, 1, 2]]), scale, opacity[:, 0], sh)


def _sh_names(degree: int) -> list[str]:
    return [f"{EXTENSION}:SH_DEGREE_{band}_COEF_{i}" for band in range(degree + 1) for i in range(2 * band + 1)]


def write_gltf(path: str | Path, cloud: GaussianCloud) -> tuple[str, ...]:
    """Write an uncompressed binary glTF (.glb); viewers without the extension show colored points.

    Returns:
        Sentences about data that the format cannot store.

    Raises:
        UserError: if it has too many Gaussians, or the file cannot be written.
    """
    degree = min(cloud.sh_degree, _HIGHEST_DEGREE)
    cut = cloud.sh_degree > degree
    cloud = change_axes(cloud.with_degree(degree), "RDF", AXES)
    columns = _columns(cloud)
    document = json.dumps(_document(columns), separators=(",", ":")).encode()
    document += b" " * (-len(document) % 4)
    size = sum(values.nbytes for values in columns.values())  # every row is a multiple of 4 bytes
    if size > _MOST_BYTES:
        why = f"it would have {size:,} bytes, and a .glb is limited to 4 GiB"
        raise UserError("The splat cannot be written as glTF", why, "Export a PLY or SPZ file, or several files")
    with atomic_stream(path) as stream:
        stream.write(struct.pack("<4s2I", GLB_MAGIC, 2, 28 + len(document) + size))
        stream.write(struct.pack("<I4s", len(document), b"JSON") + document)
        stream.write(struct.pack("<I4s", size, b"BIN\0"))
        for values in columns.values():
            stream.write(values.tobytes())
    if not cut:
        return ()
    return ("glTF stores spherical harmonics up to degree 3: those of degree 4 were left out",)


def _columns(cloud: GaussianCloud) -> dict[str, np.ndarray]:
    """Values by attribute name, in the order of the file."""
    color = np.concatenate([dc_to_color(cloud.sh[:, 0]), cloud.opacities[:, None]], axis=1)
    columns = {
        "POSITION": cloud.means,
        "COLOR_0": to_steps(color, 255).astype(np.uint8),
        f"{EXTENSION}:ROTATION": cloud.quats[:, [1, 2, 3, 0]],
        f"{EXTENSION}:SCALE": cloud.scales,
        f"{EXTENSION}:OPACITY": cloud.opacities,
    }
    columns |= {name: cloud.sh[:, i] for i, name in enumerate(_sh_names(cloud.sh_degree))}
    return columns


def _document(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    views, accessors, start = [], [], 0
    for index, (name, values) in enumerate(columns.items()):
        views.append({"buffer": 0, "byteOffset": start, "byteLength": values.nbytes, "target": _ARRAY_BUFFER})
        start += values.nbytes
        width = 1 if values.ndim == 1 else values.shape[1]
        entry: dict[str, Any] = {
            "bufferView": index,
            "componentType": _BYTE if values.dtype == np.uint8 else _FLOAT,
            "count": len(values),
            "type": "SCALAR" if width == 1 else f"VEC{width}",
        }
        if name == "COLOR_0":
            entry["normalized"] = True
        if name == "POSITION":
            entry |= {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
        accessors.append(entry)
    kind = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    kind |= {"projection": "perspective", "sortingMethod": "cameraDistance"}
    attributes = {name: index for index, name in enumerate(columns)}
    return {
        "asset": {"version": "2.0", "generator": "Blender SAGA"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": attributes, "mode": 0, "extensions": {EXTENSION: kind}}]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": start}],
    }
