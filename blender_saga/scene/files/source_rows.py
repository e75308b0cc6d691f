"""Rows of the PLY that a splat was imported from, so that export writes unchanged points byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from ...errors import UserError
from ...gaussians.blocks import over_blocks
from ...gaussians.cloud import GaussianCloud
from ...gaussians.formats.registry import PLY, identify
from ...gaussians.ply import activate_rows, column_names, map_rows, raw_rows
from ...gaussians.transforms import RDF_TO_BLENDER, transform_cloud
from ..state.paths import absolute
from .import_splat import as_attribute

_BLOCK = 32768
_SLACK = {"means": 0.0, "quats": 2e-7, "scales": 2e-7, "opacities": 2e-7, "sh": 2e-6}
"""Largest difference from the file of an unchanged value: the last bits of a matrix product depend on the position of
the row in its block. For scales, the difference is relative."""


@dataclass(frozen=True, eq=False)
class Points:
    """The current data of some points of a splat.

    Attributes:
        cloud: the Gaussians in object space.
        ids: [N] `saga:id` of each point.
        extras: extra properties.
    """

    cloud: GaussianCloud
    ids: np.ndarray
    extras: dict[str, np.ndarray]


def original_rows(obj: bpy.types.Object, now: Points) -> np.ndarray | None:
    """Rows [N] of the file that `obj` was imported from, with changed values updated.

    None if the file is missing, has changed, or is not a plain PLY; then all values must be encoded anew.
    """
    path = Path(absolute(obj.saga.source)) if obj.saga.source else None
    if path is None or obj.saga.axes != "RDF" or not path.is_file():
        return None
    try:
        rows = map_rows(path) if identify(path) is PLY else None
        if rows is None or len(rows) != obj.saga.count or now.ids.min() < 0 or now.ids.max() >= len(rows):
            return None
        if len(now.ids) != len(rows) or not np.array_equal(now.ids, np.arange(len(rows))):
            rows = rows[now.ids]
        same = _same(path, rows, now)
    except UserError:
        return None
    if same is None or not same.any():
        return None
    return rows if same.all() else _written_over(rows, ~same, now)


def _same(path: Path, rows: np.ndarray, now: Points) -> np.ndarray | None:
    """[N] bool: points that equal their row in the file, compared block by block; None if the rows do not match."""
    same = np.ones(len(rows), bool)
    k = now.cloud.sh.shape[1]
    if k != 1 + sum(name.startswith("f_rest_") for name in rows.dtype.names or ()) // 3:
        return None

    def work(part: slice) -> None:
        before = transform_cloud(activate_rows(path, rows[part]), RDF_TO_BLENDER, overwrite=True)
        if len(before) != part.stop - part.start:  # rows with non-finite values were left out, so ids and rows differ
            raise UserError(f"The file {path.name} has changed", fix="Import it again")
        for name, slack in _SLACK.items():
            old, new = getattr(before, name), getattr(now.cloud, name)[part]
            equal = np.abs(new - old) <= slack * np.maximum(np.abs(old), name != "scales")
            same[part] &= equal.reshape(len(before), -1).all(axis=1)

    over_blocks(len(rows), _BLOCK, work)
    for name, values in now.extras.items():
        if name in (rows.dtype.names or ()):
            same &= as_attribute(np.asarray(rows[name]))[1] == values
    return same


def _written_over(rows: np.ndarray, changed: np.ndarray, now: Points) -> np.ndarray:
    rows = np.array(rows)
    cloud = transform_cloud(now.cloud.take(changed), np.linalg.inv(RDF_TO_BLENDER))
    values, there = raw_rows(cloud, slice(None)), set(rows.dtype.names or ())
    normals = {"nx", "ny", "nz"}
    for name, column in zip(column_names(cloud.sh.shape[1]), values.T, strict=True):
        if name in there - normals:
            rows[name][changed] = column
    for name in there & set(now.extras):
        rows[name][changed] = now.extras[name][changed]
    return rows
