"""Objects to splat files: as they stand in the scene or in their own space, merged or one file each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ...gaussians.axes import axes_matrix
from ...gaussians.cloud import GaussianCloud, concatenate
from ...gaussians.formats.registry import PLY, WriteOptions, format_for, write_splat
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
    """What is written and how.

    Attributes:
        selection_only: only the selected Gaussians.
        shown_only: without Gaussians that are hidden one by one.
        world_space: as the viewer sees it; else in the space of each object.
        axes: of `splat_files.AXES`: what the numbers of the file mean.
        scale: factor.
        sh_degree: harmonics above it are left out, 0 to 4.
        with_objects: number of the object as the extra property `object`, names as comments of the file.
        with_clusters: `saga:cluster` as the extra property `cluster`.
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
    """The Gaussians of one placed splat, in its own space, and from there to the axes of PLY files."""

    placed: Placed
    points: Points
    matrix: np.ndarray


def pieces_of(found: list[Placed], options: ExportOptions) -> list[Piece]:
    """What the options leave of some placed splats.

    Raises:
        UserError: if nothing is left.
    """
    pieces = [piece for place in found if (piece := _piece(place, options)) is not None]
    if pieces:
        return pieces
    if options.selection_only:
        where = found[0].original.name if len(found) == 1 else "the splats"
        raise UserError(f"Nothing is selected in {where}", fix="Click on a thing first", code=ErrorCode.NO_SELECTION)
    raise UserError("There is nothing to export", "all Gaussians are hidden", "Show them first", code=ErrorCode.HIDDEN)


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
    """The same Gaussians as files hold them: nodes and scripts may have made scales negative or rotations long."""
    np.abs(cloud.scales, out=cloud.scales)
    lengths = np.linalg.norm(cloud.quats, axis=1)
    if np.abs(lengths - 1).max() > _UNIT_SLACK:  # not for the last bit: those go out as they came in
        normalize(cloud.quats)
    return cloud


def _to_rdf(place: Placed, world_space: bool) -> np.ndarray:
    """[4,4] from the object's space to the axes of PLY files, in which numbers are that nobody turned on the way in."""
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


def write_pieces(path: Path, pieces: list[Piece], options: ExportOptions) -> tuple[int, tuple[str, ...]]:
    """Write pieces as one file, in the format that its ending names.

    The pieces are of no use afterwards: their arrays are overwritten.

    Returns:
        How many Gaussians it holds, and sentences about what the format cannot hold.

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
        losses += ("There are no cluster numbers to write: nothing has been found yet (Segment Scene)",)
    return count, losses


def _beyond_format(options: ExportOptions, axes: str) -> np.ndarray:
    """[4,4] that comes on top of the axes of PLY files, so that a format with `axes` holds what the options ask for."""
    matrix = np.eye(4)
    if options.axes != "FORMAT":
        matrix[:3, :3] = axes_matrix(axes, "RDF") @ axes_matrix("RDF", options.axes)
    matrix[:3, :3] *= options.scale
    return matrix


def _as_in_its_file(piece: Piece, path: Path) -> np.ndarray | None:
    """Rows of the PLY that a piece came from, if it stands where it stood in that file."""
    obj = piece.placed.original
    stands = np.array_equal(piece.matrix @ RDF_TO_BLENDER, np.eye(4))
    if not stands or piece.placed.edited:
        return None
    rows = original_rows(obj, piece.points)
    if rows is not None and path.exists() and path.samefile(absolute(obj.saga.source)):
        return np.array(rows)  # not mapped from the file that is about to be replaced
    return rows


def _joined(pieces: list[Piece], options: ExportOptions) -> dict[str, np.ndarray]:
    """Extra properties of all pieces, one behind the other; 0 where a piece has none of that name."""
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
