"""Requests about the whole scene (the tree of objects and parts, the features as colors), and edits of segments."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ...wire.messages import Candidates, Cluster, Clusters, Color, Colors, FindText, Names, NameSegments
from ..splat import attributes, point_cloud
from ..state.link import link
from ..state.request import SceneRequest
from ..state.searches import searches
from . import click, text
from .lookup import is_trained, not_trained, require_rows, siblings, trained_model
from .select_members import select_members

CLUSTER, PCA = "saga:cluster", "saga:pca"


@dataclass(frozen=True, eq=False)
class SearchRequest:
    """A pending request about the whole scene, for the objects of a trained cloud."""

    request: SceneRequest
    uid: int
    fingerprint: str


def ask(obj: bpy.types.Object, message: Cluster | Color | FindText | NameSegments) -> SearchRequest:
    """Send a request about the whole scene.

    Raises:
        UserError: if the splat is not trained, the backend does not run, or another search is running.
    """
    searches.check_idle()
    objects = siblings(obj)
    model = next(filter(None, map(trained_model, objects)), "")
    if not model and not is_trained(obj):
        raise not_trained(obj)
    request = searches.begin(link.request(click.needed(objects, model), message))
    return SearchRequest(request, obj.session_uid, obj.saga.fingerprint)


def record(search: SearchRequest) -> str:
    """Write the answer to the object and all that share its model. Returns a summary.

    Raises:
        UserError: if the request failed or the object no longer exists.
        Cancelled: if the request was cancelled.
    """
    answer = search.request.outcome()
    obj = next((o for o in bpy.data.objects if o.session_uid == search.uid), None)
    if obj is None or obj.saga.fingerprint != search.fingerprint:
        raise UserError("The splat has changed since the request", fix="Try again", code=ErrorCode.CHANGED)
    if isinstance(answer, Candidates):
        return text.write(obj, answer)
    if isinstance(answer, Names):
        return text.write_names(obj, answer)
    holders = {o.data.session_uid: o for o in siblings(obj)}.values()
    if isinstance(answer, Colors):
        require_rows(obj, len(answer.rgb))
        for holder in holders:
            point_cloud.set_mark(holder, PCA, "FLOAT_VECTOR", answer.rgb[point_cloud.ids(holder)] / np.float32(255))
        return "The colors show the features"
    assert isinstance(answer, Clusters)
    require_rows(obj, len(answer.labels))
    for holder in holders:
        point_cloud.set_mark(holder, CLUSTER, "INT", answer.labels[point_cloud.ids(holder)])
    for sibling in siblings(obj):
        _write_tree(sibling, answer)
    tops = int(np.count_nonzero(answer.parents < 0))
    return answer.note or f"Found {tops} objects with {len(answer.parents) - tops} parts"


def _write_tree(obj: bpy.types.Object, answer: Clusters) -> None:
    """Write the segment records of an object, each object followed by its parts."""
    names = {record.node: record.name for record in obj.saga.segments if record.renamed}
    obj.saga.segments.clear()
    numbers: dict[int, int] = {}
    for node, level in depth_first(answer.parents):
        parent = int(answer.parents[node])
        numbers[parent] = numbers.get(parent, 0) + 1
        record = obj.saga.segments.add()
        record.node, record.parent, record.level = node, parent, level
        record.count, record.size = int(answer.counts[node]), float(answer.sizes[node])
        own = f"{'Object' if level == 0 else 'Part'} {numbers[parent]}"
        record.name = names.get(node, own)
        record.renamed = node in names  # assigning the name has set `renamed`


def depth_first(parents: np.ndarray) -> list[tuple[int, int]]:
    """(node, depth) of a forest in depth-first order; in parents [T], parents come before their children."""
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(parents):
        children.setdefault(int(parent), []).append(node)
    order, waiting = [], [(node, 0) for node in reversed(children.get(-1, []))]
    while waiting:
        node, depth = waiting.pop()
        order.append((node, depth))
        waiting += [(child, depth + 1) for child in reversed(children.get(node, []))]
    return order


def members(obj: bpy.types.Object, node: int) -> np.ndarray:
    """[N] bool: the points of an object that belong to a segment or one of its parts.

    Raises:
        UserError: if the object has no segments.
    """
    attribute = obj.data.attributes.get(CLUSTER)
    if attribute is None or attribute.data_type != "INT":
        raise UserError(
            f"The segments of {obj.name} are not known", fix="Press Segment Scene", code=ErrorCode.NO_CLUSTERS
        )
    below = {node}
    for segment in sorted(obj.saga.segments, key=lambda t: t.node):  # parents first
        if segment.parent in below:
            below.add(segment.node)
    return np.isin(attributes.read(attribute), list(below))


def select(context: bpy.types.Context, obj: bpy.types.Object, node: int, mode: str = "set") -> None:
    """Select a segment with its parts in all visible objects that share the model; see `select_members`."""
    select_members(context, obj, lambda each: members(each, node), mode, "segment")


def toggle_hidden(obj: bpy.types.Object, node: int) -> None:
    """Hide a segment with its parts in all objects that share the model; show it if it is completely hidden.

    Raises:
        UserError: if an object has no segments; then nothing is changed.
    """
    sharing = siblings(obj)
    objects = list({o.data.session_uid: o for o in sharing}.values())
    masks = [members(o, node) for o in objects]
    hide = any((mask & ~point_cloud.hidden(o)).any() for o, mask in zip(objects, masks, strict=True))
    for each, mask in zip(objects, masks, strict=True):
        before = point_cloud.hidden(each)
        point_cloud.set_hidden(each, before | mask if hide else before & ~mask)
        if hide:
            point_cloud.set_selection(each, point_cloud.selection(each) & ~mask)
    for sibling in sharing:
        for record in sibling.saga.segments:
            record.hidden = hide if record.node == node else record.hidden


def split_all(obj: bpy.types.Object) -> list[bpy.types.Object]:
    """Split every segment that is part of no other off as a new object with its name; the rest stays in `obj`.

    Raises:
        UserError: if there is no segment to split off.
    """
    parts = []
    for name, node in [(record.name, record.node) for record in obj.saga.segments if record.parent < 0]:
        mask = members(obj, node)
        if mask.any() and not mask.all():
            point_cloud.set_selection(obj, mask)
            parts.append(point_cloud.split(obj))
            parts[-1].name = name
    if not parts:
        raise UserError(
            f"There is nothing to split in {obj.name}", fix="Press Segment Scene first", code=ErrorCode.IDLE
        )
    return parts
