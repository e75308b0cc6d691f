"""Duplicated Gaussians in different places: the backend knows one place per id; requests send the others."""

from __future__ import annotations

import bpy
import numpy as np

from ...wire.messages import ObjectPoints
from ..splat import point_cloud
from . import trained_space
from .lookup import siblings


def points_of(obj: bpy.types.Object, shown: np.ndarray | None, place: np.ndarray, means: np.ndarray) -> ObjectPoints:
    """The points of an object in the form that a request sends.

    Args:
        obj: the object.
        shown: [N] bool, the points that take part; None for all.
        place: [4,4], object to world.
        means: [count,3], the backend's center of each id. Points with another center are sent along.
    """
    ids = short_ids(obj) if shown is None else point_cloud.ids(obj)[shown]
    matrix, away = place @ trained_space.applied(obj), elsewhere(obj, means)
    if away is None:
        return ObjectPoints(matrix, ids)
    moved = np.flatnonzero(away if shown is None else away[shown]).astype(np.int32)
    cloud = trained_space.to_cloud(obj).with_degree(0).take(away if shown is None else away & shown)
    return ObjectPoints(matrix, ids, moved, cloud)


def short_ids(obj: bpy.types.Object) -> np.ndarray:
    """The ids of an object's points; empty, which means 0..count-1, if the object has the whole cloud."""
    ids = point_cloud.ids(obj)
    whole = len(ids) == obj.saga.count and np.array_equal(ids, np.arange(len(ids), dtype=np.int32))
    return ids[:0] if whole else ids


def all_there(objects: list[bpy.types.Object], means: np.ndarray) -> bool:
    """Whether each id of the objects has a copy at the backend's center, means [count,3].

    This is false after an undo restored points, after a move in edit mode, or for points of another splat.
    """
    away = {o: mask for o in objects if (mask := elsewhere(o, means)) is not None}
    if not away:
        return True
    there = np.full(len(means), np.nan, np.float32)  # the opacity of each id that has a copy at its center
    for obj in siblings(objects[0]):
        mask = away[obj] if obj in away else elsewhere(obj, means)
        here = slice(None) if mask is None else ~mask
        there[point_cloud.ids(obj)[here]] = point_cloud.opacities(obj)[here]
    return all(_are_copies(obj, mask, there) for obj, mask in away.items())


def _are_copies(obj: bpy.types.Object, mask: np.ndarray, there: np.ndarray) -> bool:
    """Whether the points at mask [N] are copies of points in `there` [count], by opacity, which no move changes."""
    ids = point_cloud.ids(obj)[mask]
    known = ((ids >= 0) & (ids < len(there))).all()
    return bool(known and np.array_equal(there[ids], point_cloud.opacities(obj)[mask]))


def elsewhere(obj: bpy.types.Object, means: np.ndarray) -> np.ndarray | None:
    """[N] bool: points of an object that are not at the backend's center of their id; None if there are none."""
    ids = short_ids(obj)
    return trained_space.elsewhere(obj, means if len(ids) == 0 else means[np.clip(ids, 0, len(means) - 1)])
