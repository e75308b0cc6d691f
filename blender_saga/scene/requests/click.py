"""Clicks: choose the objects, send the request, and write the answer to their selection."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ...gaussians.cloud import concatenate
from ...gaussians.selection import combine, unpack
from ...gaussians.view import View
from ...wire.messages import (
    Click,
    InstantClick,
    LoadScene,
    LookAhead,
    ObjectPoints,
    Prompt,
    Selection,
    SelectOptions,
)
from ..splat import instances, point_cloud
from ..state.link import link, means_of
from ..state.request import SceneRequest
from . import trained_space
from .duplicates import all_there, points_of
from .lookup import is_trained, not_trained, siblings, trained_model


@dataclass(frozen=True, eq=False)
class Query:
    """A pending click, with the objects of its answer.

    Attributes:
        request: the request to the backend.
        points: `session_uid` and number of points of each object, in the order of the message.
        shown: [N] bool for each object, the points that took part; None for all.
    """

    request: SceneRequest
    points: tuple[tuple[int, int], ...]
    shown: tuple[np.ndarray | None, ...]


def ask(
    objects: list[bpy.types.Object], prompts: tuple[Prompt, ...], options: SelectOptions, instant: bool = False
) -> Query:
    """Send a click on objects that share a trained cloud.

    Args:
        objects: those that take part.
        prompts: all of the selection so far, in whatever views; the newest last.
        options: how it is answered.
        instant: Segment Anything answers; the objects need no model.

    Raises:
        UserError: if they are not trained (and have to be), or the backend does not run.
    """
    here = loaded_objects(objects, instant)
    if instant:
        weights_chosen(options.weights)
    kind = InstantClick if instant else Click
    request = link.request(here.load, kind(here.scene, prompts, here.points, options))
    return Query(request, tuple((o.session_uid, len(o.data.points)) for o in here.objects), here.shown)


def look_ahead(objects: list[bpy.types.Object], view: View, weights: str) -> SceneRequest:
    """Prepare a view in the backend before the first click.

    Raises:
        UserError: if there is no visible splat, there are no weights, or the backend does not run.
    """
    weights_chosen(weights)
    here = loaded_objects(objects, instant=True)
    return link.request(here.load, LookAhead(here.scene, view, weights, here.points))


@dataclass(frozen=True, eq=False)
class LoadedObjects:
    """Objects that share a cloud, in the form of a message; `load` is the scene to send first, or None."""

    scene: str
    objects: list[bpy.types.Object]
    shown: tuple[np.ndarray | None, ...]
    points: tuple[ObjectPoints, ...]
    load: LoadScene | None


def loaded_objects(objects: list[bpy.types.Object], instant: bool) -> LoadedObjects:
    """The objects of a query with their transforms; with `instant`, they need no model."""
    objects = [o for o in objects if not point_cloud.hidden(o).all()]
    if not objects:
        raise UserError("The whole splat is hidden", fix="Press Show All", code=ErrorCode.HIDDEN)
    first = objects[0]
    model = next(filter(None, map(trained_model, objects)), "")
    if not instant and not model and not is_trained(first):
        raise not_trained(first)
    objects, places = _standing(objects)
    shown, load = tuple(_shown(o) for o in objects), needed(objects, model)
    means = link.loaded_means(first.saga.fingerprint) if load is None else means_of(load)
    assert means is not None
    points = tuple(points_of(o, mask, at, means) for o, mask, at in zip(objects, shown, places, strict=True))
    return LoadedObjects(first.saga.fingerprint, objects, shown, points, load)


def weights_chosen(weights: str) -> None:
    """Check that instant clicks are possible.

    Raises:
        UserError: without weights.
    """
    if not weights:
        fix = "Choose SAM Weights in the preferences, or download them there"
        raise UserError("Instant clicks need Segment Anything", "no weights file is chosen", fix, ErrorCode.BAD_WEIGHTS)


def needed(objects: list[bpy.types.Object], model: str) -> LoadScene | None:
    """The scene to send before a request about objects that share a trained cloud; None if it is loaded.

    Raises:
        UserError: if the objects do not match the cloud.
    """
    means = link.loaded_means(objects[0].saga.fingerprint)
    loaded = means is not None and all_there(objects, means)
    return None if loaded else _load(siblings(objects[0]), model)


def _shown(obj: bpy.types.Object) -> np.ndarray | None:
    hidden = point_cloud.hidden(obj)
    return ~hidden if hidden.any() else None


def _standing(objects: list[bpy.types.Object]) -> tuple[list[bpy.types.Object], list[np.ndarray]]:
    """Objects and their world matrices [4,4]; an object in collection instances appears once for each instance."""
    places = [(o, np.array(o.matrix_world, np.float64)) for o in objects]
    shown = instances.instances(bpy.context.view_layer, None)
    places += [(i.original, i.matrix_world) for i in shown if i.original in objects]
    return [o for o, _ in places], [matrix for _, matrix in places]


def apply(query: Query, mode: str) -> Selection:
    """Write the answer of a finished query to its objects. Returns the answer.

    Args:
        query: from `ask`.
        mode: set, add, subtract or intersect (gaussians.selection.SelectMode).

    Raises:
        UserError: if the query failed, or the objects have changed since; then nothing is written.
        Cancelled: if it was cancelled.
    """
    answer = query.request.outcome()
    assert isinstance(answer, Selection)
    objects = objects_of(query)
    taking_part = sum(_count(o, shown) for o, shown in zip(objects, query.shown, strict=True))
    if answer.total != taking_part:
        why = f"it has {answer.total:,} points instead of {taking_part:,}"
        raise UserError(
            "The backend's answer cannot be used", why, "Press Restart; nothing was changed", ErrorCode.WIRE
        )
    holders = {o.data.session_uid: o for o in objects}  # linked duplicates share their data, which is written once
    for uid, mask in _by_data(query, objects, unpack(answer.bits, answer.total)).items():
        old = point_cloud.selection(holders[uid])
        point_cloud.set_selection(holders[uid], combine(old, mask, mode))
    if len(answer.scores):
        for uid, scores in _by_data(query, objects, answer.scores).items():
            point_cloud.set_similarity(holders[uid], scores)
    return answer


def _by_data(query: Query, objects: list[bpy.types.Object], values: np.ndarray) -> dict[int, np.ndarray]:
    """Split values [T] of all points by data-block; objects that share one use the larger value."""
    merged: dict[int, np.ndarray] = {}
    start = 0
    for obj, shown in zip(objects, query.shown, strict=True):
        count = _count(obj, shown)
        part = _spread(values[start : start + count], shown)
        start += count
        uid = obj.data.session_uid
        merged[uid] = np.maximum(merged[uid], part) if uid in merged else part
    return merged


def _count(obj: bpy.types.Object, shown: np.ndarray | None) -> int:
    """The number of points of an object that took part."""
    return len(obj.data.points) if shown is None else int(np.count_nonzero(shown))


def _spread(values: np.ndarray, shown: np.ndarray | None) -> np.ndarray:
    """Expand values of the points that took part to all points, with 0 for the others."""
    if shown is None:
        return values
    spread = np.zeros(len(shown), values.dtype)
    spread[shown] = values
    return spread


def objects_of(query: Query) -> list[bpy.types.Object]:
    """The objects of a query; an instanced object appears several times.

    Raises:
        UserError: if an object is gone or has another number of points.
    """
    by_uid = {o.session_uid: o for o in bpy.data.objects}
    objects = [by_uid.get(uid) for uid, _ in query.points]
    same = all(
        o is not None and len(o.data.points) == count for o, (_, count) in zip(objects, query.points, strict=True)
    )
    if not same:
        raise UserError("The splats have changed during the click", fix="Click again", code=ErrorCode.CHANGED)
    return objects


def _load(objects: list[bpy.types.Object], model: str) -> LoadScene:
    """The scene with the existing Gaussians, each id once, because duplicates are equal.

    Raises:
        UserError: if points of another splat were joined, whose ids belong to other Gaussians.
    """
    cloud, record = concatenate([trained_space.to_cloud(o) for o in objects]), objects[0].saga
    ids, first, back = np.unique(
        np.concatenate([point_cloud.ids(o) for o in objects]), return_index=True, return_inverse=True
    )
    if ids[0] < 0 or ids[-1] >= record.count or not np.array_equal(cloud.opacities, cloud.opacities[first][back]):
        why = "points of another splat were joined to it"
        raise UserError(
            f"The splat {objects[0].name} does not match its model", why, "Train it again", ErrorCode.FOREIGN_POINTS
        )
    return LoadScene(record.fingerprint, cloud.take(first), ids.astype(np.int32), record.count, model)
