"""Export objects to splat files, in world or object space, merged or one file per object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ...gaussians.axes import axes_matrix
from ...gaussians.cloud import GaussianCloud, concatenate
from ...gaussians.formats.registry import FORMATS, PLY, WriteOptions, format_for, write_splat
from ...gaussians.loaded import normalize
from ...gaussians.ply import write_rows
from ...gaussians.transforms import RDF_TO_BLENDER, transform_cloud
from ..splat import point_cloud
from ..splat.attributes import read
from ..splat.evaluated import Placed
from ..state.paths import absolute
from .import_splat import extras
from .source_rows import Points, original_rows

_CLUSTER, _OBJECT = "cluster", "object"
_HIDDEN = "saga:hidden"
_UNIT_SLACK = 1e-5


@dataclass(frozen=True)
class ExportOptions:
    """Options of the export.

    Attributes:
        selection_only: export only the selected Gaussians.
        shown_only: leave out individually hidden Gaussians.
        world_space: export in world space instead of the space of each object.
        axes: one of `AXES`, the orientation of the coordinates in the file.
        scale: scale factor.
        sh_degree: highest degree of spherical harmonics to write, 0 to 4.
        with_objects: write the number of the object as the extra property `object`, and the names as comments.
        with_clusters: write `saga:cluster` as the extra property `cluster`.
        spz_version: 3 or 4.
    """

    selection_only: bool = False
    shown_only: bool = False
    world_space: bool = True
    axes: str = "FORMAT"
    scale: float = 1.0
    sh_degree: int = 4
    with_objects: bool = False
    with_clusters: bool = False
    spz_version: int = 3


@dataclass(frozen=True, eq=False)
class Piece:
    """The Gaussians of one placed splat in object space, and the matrix to the axes of PLY files."""

    placed: Placed
    points: Points
    matrix: np.ndarray


def pieces_of(found: list[Placed], options: ExportOptions) -> list[Piece]:
    """The parts of placed splats that the options select.

    Raises:
        UserError: if the options select nothing.
    """
    pieces = [piece for place in found if (piece := _piece(place, options)) is not None]
    if pieces:
        return pieces
    if options.selection_only:
        where = found[0].original.name if len(found) == 1 else "the splats"
        raise UserError(f"Nothing is selected in {where}", fix="Click on an object first", code=ErrorCode.NO_SELECTION)
    raise UserError("There is nothing to export", "all Gaussians are hidden", "Press Show All", code=ErrorCode.HIDDEN)


def _piece(place: Placed, options: ExportOptions) -> Piece | None:
    obj = place.shown
    mask = np.ones(len(obj.data.points), bool)
    if options.selection_only:
        mask &= point_cloud.selection(obj)
    if options.shown_only:
        mask &= ~_flags(obj, _HIDDEN)
    if not mask.any():
        return None
    whole = mask.all()
    cloud, more = _sound(point_cloud.to_cloud(obj)).with_degree(options.sh_degree), extras(obj)
    ids = read(obj.data.attributes["saga:id"]) if _is(obj, "saga:id", "INT") else np.full(len(mask), -1, np.int32)
    if options.with_clusters and _is(obj, "saga:cluster", "INT"):
        more[_CLUSTER] = read(obj.data.attributes["saga:cluster"])
    if not whole:
        cloud, ids, more = cloud.take(mask), ids[mask], {name: values[mask] for name, values in more.items()}
    return Piece(place, Points(cloud, ids, more), _to_rdf(place, options.world_space))


def _sound(cloud: GaussianCloud) -> GaussianCloud:
    """Normalize Gaussians for files: nodes and scripts can make scales negative and quaternions longer than 1."""
    np.abs(cloud.scales, out=cloud.scales)
    lengths = np.linalg.norm(cloud.quats, axis=1)
    if np.abs(lengths - 1).max() > _UNIT_SLACK:  # rounding errors are kept, so that values do not change
        normalize(cloud.quats)
    return cloud


def _to_rdf(place: Placed, world_space: bool) -> np.ndarray:
    """[4,4] from object space to the axes of PLY files; the identity for data that the import did not rotate."""
    if world_space:
        return np.linalg.inv(RDF_TO_BLENDER) @ place.matrix
    return np.linalg.inv(RDF_TO_BLENDER) if place.original.saga.axes == "RDF" else np.eye(4)


def _is(obj: bpy.types.Object, name: str, data_type: str) -> bool:
    attribute = obj.data.attributes.get(name)
    return attribute is not None and attribute.domain == "POINT" and attribute.data_type == data_type


def _flags(obj: bpy.types.Object, name: str) -> np.ndarray:
    if not _is(obj, name, "BOOLEAN"):
        return np.zeros(len(obj.data.points), bool)
    return read(obj.data.attributes[name])


def one_each(path: Path, pieces: list[Piece]) -> list[tuple[Path, list[Piece]]]:
    """One file for each piece, named by file and object, with a number if an object is placed more than once."""
    ending = next(suffix for kind in FORMATS for suffix in kind.suffixes if path.name.lower().endswith(suffix))
    stem = path.name[: -len(ending)]
    groups: dict[str, Piece] = {}
    for piece in pieces:
        name = f"{stem}-{bpy.path.clean_name(piece.placed.original.name)}"
        number = sum(key.startswith(name) for key in groups)
        groups[f"{name}-{number + 1}" if name in groups else name] = piece
    return [(path.with_name(name + ending), [piece]) for name, piece in groups.items()]


def write_pieces(path: Path, pieces: list[Piece], options: ExportOptions) -> tuple[int, tuple[str, ...]]:
    """Write pieces to one file, in the format of its extension.

    This overwrites the arrays of the pieces, which must not be used afterwards.

    Returns:
        The number of Gaussians, and sentences about data that the format cannot store.

    Raises:
        UserError: if an object has a scale of zero, or the file cannot be written.
    """
    kind = format_for(path)
    count = sum(len(piece.points.cloud) for piece in pieces)
    beyond = _beyond_format(options, kind.axes)
    plain = np.array_equal(beyond, np.eye(4)) and not (options.with_objects or options.with_clusters)
    if kind is PLY and len(pieces) == 1 and plain:
        rows = _as_in_its_file(pieces[0], path)
        if rows is not None:
            write_rows(path, rows, absolute(pieces[0].placed.original.saga.source))
            return count, ()
    clouds = [transform_cloud(piece.points.cloud, beyond @ piece.matrix, overwrite=True) for piece in pieces]
    cloud = concatenate(clouds)
    names = [piece.placed.original.name for piece in pieces]
    comments = tuple(f"object {i + 1} {name}" for i, name in enumerate(names)) if options.with_objects else ()
    more = WriteOptions(_joined(pieces, options), options.spz_version, comments)
    losses = write_splat(path, cloud, more)
    if options.with_clusters and not any(_CLUSTER in piece.points.extras for piece in pieces):
        losses += ("The file has no segment IDs: no segments were found yet. Press Segment Scene first",)
    return count, losses


def _beyond_format(options: ExportOptions, axes: str) -> np.ndarray:
    """[4,4] to apply after the axes of PLY files, for a format with `axes` and the axes that the options choose."""
    matrix = np.eye(4)
    if options.axes != "FORMAT":
        matrix[:3, :3] = axes_matrix(axes, "RDF") @ axes_matrix("RDF", options.axes)
    matrix[:3, :3] *= options.scale
    return matrix


def _as_in_its_file(piece: Piece, path: Path) -> np.ndarray | None:
    """Rows of the PLY that a piece was imported from, if the piece has not moved."""
    obj = piece.placed.original
    stands = np.array_equal(piece.matrix @ RDF_TO_BLENDER, np.eye(4))
    if not stands or piece.placed.edited:
        return None
    rows = original_rows(obj, piece.points)
    if rows is not None and path.exists() and path.samefile(absolute(obj.saga.source)):
        return np.array(rows)  # a copy, because the mapped file is about to be replaced
    return rows


def _joined(pieces: list[Piece], options: ExportOptions) -> dict[str, np.ndarray]:
    """Extra properties of all pieces, concatenated; 0 if a piece lacks a property."""
    names = dict.fromkeys(name for piece in pieces for name in piece.points.extras)
    out: dict[str, np.ndarray] = {}
    for name in names:
        kind = next(piece.points.extras[name].dtype for piece in pieces if name in piece.points.extras)
        parts = [piece.points.extras.get(name, np.zeros(len(piece.points.cloud), kind)) for piece in pieces]
        out[name] = np.concatenate(parts)
    if options.with_objects:
        numbers = [np.full(len(piece.points.cloud), i + 1, np.int32) for i, piece in enumerate(pieces)]
        out[_OBJECT] = np.concatenate(numbers)
    return out
