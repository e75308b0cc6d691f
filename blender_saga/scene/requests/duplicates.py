"""Copies of one Gaussian that stand at different places: each id has one place in the backend, the others are told."""

from __future__ import annotations

import bpy
import numpy as np

from ...wire.messages import ObjectPoints
from ..splat import point_cloud
from . import trained_space
from .lookup import siblings


def points_of(obj: bpy.types.Object, shown: np.ndarray | None, place: np.ndarray, means: np.ndarray) -> ObjectPoints:
    """An object as the backend sees it.

    Args:
        obj: the object.
        shown: [N] bool: its points that take part; None: all.
        place: [4,4], object to world.
        means: [count,3], where the backend has each id. Points that are not there are sent along.
    """
    ids = short_ids(obj) if shown is None else point_cloud.ids(obj)[shown]
    matrix, away = place @ trained_space.applied(obj), elsewhere(obj, means)
    if away is None:
        return ObjectPoints(matrix, ids)
    moved = np.flatnonzero(away if shown is None else away[shown]).astype(np.int32)
    cloud = trained_space.to_cloud(obj).with_degree(0).take(away if shown is None else away & shown)
    return ObjectPoints(matrix, ids, moved, cloud)


def short_ids(obj: bpy.types.Object) -> np.ndarray:
    """The ids of an object's points; empty, which is short for 0..count-1, where it holds the whole cloud."""
    ids = point_cloud.ids(obj)
    whole = len(ids) == obj.saga.count and np.array_equal(ids, np.arange(len(ids), dtype=np.int32))
    return ids[:0] if whole else ids


def all_there(objects: list[bpy.types.Object], means: np.ndarray) -> bool:
    """Whether every id of the objects' points is, in one of its copies, where the backend has it: means [count,3].

    It is not so when points came back by undo, were moved in edit mode, or belong to another splat.
    """
    away = {o: mask for o in objects if (mask := elsewhere(o, means)) is not None}
    if not away:
        return True
    there = np.full(len(means), np.nan, np.float32)  # the opacity of each id that has a copy at its place
    for obj in siblings(objects[0]):
        mask = away[obj] if obj in away else elsewhere(obj, means)
        here = slice(None) if mask is None else ~mask
        there[point_cloud.ids(obj)[here]] = point_cloud.opacities(obj)[here]
    return all(_are_copies(obj, mask, there) for obj, mask in away.items())


def _are_copies(obj: bpy.types.Object, mask: np.ndarray, there: np.ndarray) -> bool:
    """Whether the points at a mask [N] are copies of such as have an opacity in there [count]: no move changes it."""
    ids = point_cloud.ids(obj)[mask]
    known = ((ids >= 0) & (ids < len(there))).all()
    return bool(known and np.array_equal(there[ids], point_cloud.opacities(obj)[mask]))


def elsewhere(obj: bpy.types.Object, means: np.ndarray) -> np.ndarray | None:
    """[N] bool: points of an object that are not where the backend has their ids; None: there are none such."""
    ids = short_ids(obj)
    return trained_space.elsewhere(obj, means if len(ids) == 0 else means[np.clip(ids, 0, len(means) - 1)])
