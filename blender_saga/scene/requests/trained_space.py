"""The space of a trained cloud, which Apply Transform may change separately for each object that shares it."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np

from ...gaussians.cloud import GaussianCloud
from ...gaussians.transforms import RDF_TO_BLENDER, transform_cloud
from ..splat import point_cloud
from .lookup import siblings

_SLACK = 4e-6  # relative rounding error: thirty times the epsilon of float32


def applied(obj: bpy.types.Object) -> np.ndarray:
    """[4,4] float64: from the space of the trained cloud to object space."""
    return _matrix(obj.saga.applied)


def from_file(obj: bpy.types.Object) -> np.ndarray:
    """[4,4] float64: from the space of the imported file to object space."""
    turn = RDF_TO_BLENDER if obj.saga.axes == "RDF" else np.eye(4)
    return _matrix(obj.saga.baked) @ turn


def _matrix(flat: Sequence[float]) -> np.ndarray:
    return np.array(flat, np.float64).reshape(4, 4)


def apply(obj: bpy.types.Object, change: np.ndarray) -> None:
    """Record that change [4,4] was applied to the points of `obj`.

    Clicks do not need this record for an object with a trained cloud of its own, whose points are sent unchanged.
    """
    obj.saga.baked = (change @ _matrix(obj.saga.baked)).ravel()
    if len(siblings(obj)) > 1:
        obj.saga.applied = (change @ applied(obj)).ravel()


def to_cloud(obj: bpy.types.Object) -> GaussianCloud:
    """The Gaussians of a splat in the space of the trained cloud.

    Raises:
        UserError: if the object is no splat or has no points.
    """
    cloud, matrix = point_cloud.to_cloud(obj), applied(obj)
    return cloud if np.array_equal(matrix, np.eye(4)) else transform_cloud(cloud, np.linalg.inv(matrix), overwrite=True)


def elsewhere(obj: bpy.types.Object, means: np.ndarray) -> np.ndarray | None:
    """[N] bool: points of an object that are not at means [N,3] of the trained cloud, up to rounding errors.

    NaN, which marks points that were not sent, matches no point. None if all points are at their means.
    """
    places, matrix = point_cloud.positions(obj), applied(obj)
    if np.array_equal(places, means):
        return None
    there = means @ matrix[:3, :3].T + matrix[:3, 3]
    largest = np.abs(np.nan_to_num(means)).max()
    size = max(np.abs(matrix[:3, 3]).max(), np.abs(matrix[:3, :3]).max() * largest, np.abs(places).max())
    slack = 0.0 if np.array_equal(matrix, np.eye(4)) else _SLACK * size
    away = ~(np.abs(there - places) <= slack).all(axis=1)
    return away if away.any() else None
