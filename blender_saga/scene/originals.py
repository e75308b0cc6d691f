"""Rows of the PLY that a splat came from, for points that nobody has touched: they go out byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from ..gaussians.cloud import GaussianCloud
from ..gaussians.formats.registry import PLY, identify
from ..gaussians.loaded import LoadedSplat
from ..gaussians.ply import column_names, raw_rows, read_ply
from ..gaussians.transforms import RDF_TO_BLENDER, transform_cloud
from ..wire.errors import UserError
from .paths import absolute
from .splat_files import as_attribute

_FIELDS = ("means", "quats", "scales", "opacities", "sh")


@dataclass(frozen=True, eq=False)
class Points:
    """Some points of a splat as they are now.

    Attributes:
        cloud: in object space.
        ids: [N] their `saga:id`.
        extras: their extra properties.
    """

    cloud: GaussianCloud
    ids: np.ndarray
    extras: dict[str, np.ndarray]


def original_rows(obj: bpy.types.Object, now: Points) -> np.ndarray | None:
    """Rows [N] of the file that `obj` came from, with what has changed since written over.

    None where the file is gone, another one, or not a plain PLY; then every number has to be made anew.
    """
    loaded = _source(obj)
    if loaded is None or loaded.rows is None or loaded.cloud.sh.shape[1] != now.cloud.sh.shape[1]:
        return None
    if now.ids.min() < 0 or now.ids.max() >= len(loaded.cloud):
        return None
    before, rows = transform_cloud(loaded.cloud, RDF_TO_BLENDER), loaded.rows
    extras = {name: as_attribute(values)[1] for name, values in loaded.extras.items()}
    if len(now.ids) != len(rows) or not np.array_equal(now.ids, np.arange(len(rows))):
        before, rows = before.take(now.ids), rows[now.ids]
        extras = {name: values[now.ids] for name, values in extras.items()}
    same = _same(before, extras, now)
    return np.asarray(rows) if same.all() else _written_over(rows, ~same, now)


def _source(obj: bpy.types.Object) -> LoadedSplat | None:
    path = Path(absolute(obj.saga.source)) if obj.saga.source else None
    if path is None or obj.saga.axes != "RDF" or not path.is_file():
        return None
    try:
        loaded = read_ply(path) if identify(path) is PLY else None
    except UserError:
        return None
    return loaded if loaded is not None and len(loaded.cloud) == obj.saga.count else None


def _same(before: GaussianCloud, extras: dict[str, np.ndarray], now: Points) -> np.ndarray:
    """[N] bool: points whose every number is what it was."""
    same = np.ones(len(now.ids), bool)
    for name in _FIELDS:
        equal = getattr(before, name) == getattr(now.cloud, name)
        same &= equal.reshape(len(same), -1).all(axis=1)
    for name, values in extras.items():
        if name in now.extras:
            same &= values == now.extras[name]
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
