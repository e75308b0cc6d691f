"""Import splat files of any format, with their extra properties; several files are imported all or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from ...errors import UserError
from ...gaussians.axes import axes_matrix
from ...gaussians.cloud import GaussianCloud
from ...gaussians.formats.images import use_reader
from ...gaussians.formats.registry import read_splat
from ...gaussians.formats.sog import META
from ...gaussians.transforms import RDF_TO_BLENDER, transform_cloud
from ..splat import attributes, native, point_cloud
from . import webp

EXTRA = "ply:"
"""Prefix of the attributes that store the extra properties of a PLY."""

AXES = (
    (
        "FORMAT",
        "Format Default",
        "Y down for PLY, .splat, SOG and .ksplat; Y up for SPZ and glTF",
    ),
    ("RDF", "Y Down, Z Forward", "Right-handed: trainers, COLMAP, OpenCV"),
    ("RUB", "Y Up, Z Back", "Right-handed: SPZ, OpenGL, three.js"),
    ("LUF", "Y Up, Z Forward, X Left", "Right-handed: glTF"),
    ("RUF", "Y Up, Z Forward, X Right", "Left-handed: Unity"),
    ("RFU", "Z Up, Y Forward", "Right-handed: Blender"),
    ("FRU", "Z Up, X Forward, Y Right", "Left-handed: Unreal"),
)
"""Orientation of the coordinates in a file: identifier (see `gaussians.axes`), label, description."""


@dataclass(frozen=True)
class ImportOptions:
    """Options of the import.

    Attributes:
        axes: one of `AXES`: "FORMAT" uses the axes of the format; the others are for files that deviate from it.
        up: axis of the file that points up, "X" to "-Z", for captures that lie on their side; "AUTO": from `axes`.
        scale: scale of the object.
        sh_degree: highest degree of spherical harmonics to read, 0 to 4.
        keep_invalid: keep Gaussians with values that are not finite.
    """

    axes: str = "FORMAT"
    up: str = "AUTO"
    scale: float = 1.0
    sh_degree: int = 4
    keep_invalid: bool = False


@dataclass(frozen=True)
class Imported:
    """New objects, not yet in a collection, and warnings for the user."""

    objects: tuple[bpy.types.Object, ...]
    warnings: tuple[str, ...]


def import_files(paths: list[Path], options: ImportOptions) -> Imported:
    """Read files into new objects; if one file cannot be read, no object is created.

    Raises:
        UserError: if a file cannot be read; names the file, the position and the reason.
    """
    use_reader(webp.read_picture)
    objects: list[bpy.types.Object] = []
    warnings: list[str] = []
    try:
        for path in paths:
            obj, told = _import(path, options)
            objects.append(obj)
            warnings += (f"{path.name}: {text}" if len(paths) > 1 else text for text in told)
    except UserError:
        for obj in objects:
            bpy.data.pointclouds.remove(obj.data)
        raise
    return Imported(tuple(objects), tuple(warnings))


def _import(path: Path, options: ImportOptions) -> tuple[bpy.types.Object, tuple[str, ...]]:
    cloud, extras, warnings, axes = _turned(path, options)
    obj = point_cloud.create_object(_name(path), cloud, "RDF", str(path))
    for name, values in extras.items():
        data_type, converted = as_attribute(values)
        attributes.write(obj.data, EXTRA + name, data_type, converted)
    native.mark(obj.data)
    obj.matrix_world = _placement(options, axes)
    return obj, warnings


def _turned(path: Path, options: ImportOptions) -> tuple[GaussianCloud, Mapping[str, np.ndarray], tuple[str, ...], str]:
    """The Gaussians of a file in Blender's axes, its extra properties, its warnings and its axes."""
    loaded = read_splat(path, options.keep_invalid)
    cloud, extras, warnings = loaded.cloud.with_degree(options.sh_degree), loaded.extras, loaded.warnings
    axes = loaded.axes
    del loaded  # also frees the mapped file: 5 million Gaussians take more than a gigabyte
    return transform_cloud(cloud, RDF_TO_BLENDER, overwrite=True), extras, warnings, axes


def _name(path: Path) -> str:
    if path.name == META:
        return path.resolve().parent.name
    return path.stem.removesuffix(".compressed")


def _placement(options: ImportOptions, axes: str) -> Matrix:
    """The object's matrix: the options that deviate from the format. Export in object space undoes it."""
    meant = axes if options.axes == "FORMAT" else options.axes
    from_file = RDF_TO_BLENDER[:3, :3] @ axes_matrix(meant, "RDF")
    linear = _upright(from_file, options.up) @ from_file @ axes_matrix("RDF", axes) @ RDF_TO_BLENDER[:3, :3].T
    matrix = np.eye(4)
    matrix[:3, :3] = linear * options.scale
    return Matrix(matrix.tolist())  # a flat list would be column-major


def _upright(from_file: np.ndarray, up: str) -> np.ndarray:
    """[3,3] smallest rotation that turns an axis of the file upwards; the axis is parallel to one of Blender's."""
    if up == "AUTO":
        return np.eye(3)
    direction = from_file[:, "XYZ".index(up[-1])] * (-1 if up[0] == "-" else 1)
    if abs(direction[2]) > 0.5:
        return np.eye(3) if direction[2] > 0 else np.diag([1.0, -1, -1])
    x, y, z = np.cross(direction, (0, 0, 1))  # the axis of a quarter turn
    return np.outer((x, y, z), (x, y, z)) + np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def as_attribute(values: np.ndarray) -> tuple[str, np.ndarray]:
    """Attribute type and values for a property; doubles and integers beyond 31 bits become floats."""
    if values.dtype.kind in "iub" and (values.size == 0 or abs(int(values.max())) < 1 << 31):
        return "INT", values.astype(np.int32)
    with np.errstate(over="ignore"):
        return "FLOAT", values.astype(np.float32)


def extras(obj: bpy.types.Object) -> dict[str, np.ndarray]:
    """The extra properties of a splat: [N] values by name, without the prefix."""
    found = {}
    for attribute in obj.data.attributes:
        if attribute.name.startswith(EXTRA) and attribute.domain == "POINT" and attribute.data_type in ("INT", "FLOAT"):
            found[attribute.name.removeprefix(EXTRA)] = attributes.read(attribute)
    return found
