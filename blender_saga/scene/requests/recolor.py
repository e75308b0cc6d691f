"""Recolor the selection by text: request, preview at any strength, apply or discard.

A preview only affects drawing: the attributes do not change before it is applied, so that saved files, undo steps and
exports never contain a preview.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import bpy
import numpy as np
from bpy.app.handlers import persistent

from ...errors import ErrorCode, UserError
from ...gaussians.cloud import GaussianCloud, concatenate
from ...gaussians.sh import C0
from ...gaussians.transforms import transform_cloud
from ...wire.messages import Recolor, Recolored
from ..splat import attributes, draw_data, point_cloud
from ..state import properties
from ..state.link import link
from ..state.request import SceneRequest
from ..state.searches import searches
from . import prompts

_BASE = "radiance:base"
_numbers = itertools.count(1)


@dataclass(frozen=True, eq=False)
class _Part:
    """The recolored points of one data-block: `session_uid`, indices, point count, original radiance:base [k,4]."""

    uid: int
    count: int
    points: np.ndarray
    before: np.ndarray


@dataclass(frozen=True, eq=False)
class RecolorRequest:
    """A request for new colors; the answer has one row for each point of the parts, in order."""

    request: SceneRequest
    parts: tuple[_Part, ...]


@dataclass(frozen=True, eq=False)
class Preview:
    """New colors: `shift` [n,3] for all points of the parts; `text`: the target text."""

    parts: tuple[_Part, ...]
    shift: np.ndarray
    text: str


_preview: Preview | None = None


def ask(objects: Iterable[bpy.types.Object], words: Recolor) -> RecolorRequest:
    """Request new colors for the selected, visible points.

    Args:
        objects: splats; objects that share their points are sent once.
        words: the message, to which this adds the cloud.

    Raises:
        UserError: if nothing is selected, an object is linked from another file, or the backend does not run or is
            busy with another search.
    """
    searches.check_idle()
    holders = {obj.data.session_uid: obj for obj in reversed(list(objects))}
    parts, clouds = [], []
    for obj in reversed(holders.values()):
        points = np.flatnonzero(point_cloud.selection(obj) & ~point_cloud.hidden(obj))
        if len(points):
            parts.append(_part(obj, points))
            clouds.append(_standing(obj, points))
    if not parts:
        fix = "Click on an object first"
        raise UserError("Nothing is selected", fix=fix, code=ErrorCode.NO_SELECTION)
    message = Recolor(concatenate(clouds), words.source, words.text, words.weights, words.steps, words.seed)
    return RecolorRequest(searches.begin(link.request(None, message)), tuple(parts))


def _part(obj: bpy.types.Object, points: np.ndarray) -> _Part:
    if obj.data.library is not None or obj.library is not None:
        raise UserError(
            f"The splat {obj.name} is linked from another file",
            fix="Make it local first (Object > Relations > Make Local)",
            code=ErrorCode.LINKED,
        )
    base = attributes.read(obj.data.attributes[_BASE])
    return _Part(obj.data.session_uid, len(base), points, base[points])


def _standing(obj: bpy.types.Object, points: np.ndarray) -> GaussianCloud:
    """Some points in world space, which CLIP sees them in."""
    return transform_cloud(point_cloud.to_cloud(obj).take(points), np.array(obj.matrix_world, np.float64), True)


def received(query: RecolorRequest) -> Preview:
    """The result of a finished request.

    Raises:
        UserError: if the request failed.
        Cancelled: if the request was cancelled.
    """
    answer, message = query.request.outcome(), query.request.message
    assert isinstance(answer, Recolored) and isinstance(message, Recolor)
    assert answer.shift.shape == (len(message.cloud), 3)
    return Preview(query.parts, answer.shift, message.text)


def show(preview: Preview, strength: float) -> None:
    """Draw a preview, and replace any other one.

    Raises:
        UserError: if the splats have changed since the request.
    """
    global _preview
    _data_of(preview)
    forget()
    _preview = preview
    shade(strength)


def shade(strength: float) -> None:
    """Change the strength of the current preview, if any, to a value from 0 to 1."""
    if _preview is None:
        return
    for part, base in _mixed(_preview, strength):
        draw_data.tints[part.uid] = draw_data.Tint(part.count, part.points, base[:, :3], next(_numbers))
    _redraw()


def shown() -> Preview | None:
    """The current preview, or None."""
    return _preview


def forget() -> None:
    """Discard the preview and draw the original colors."""
    global _preview
    _preview = None
    if draw_data.tints:
        draw_data.tints.clear()
        _redraw()


def write(preview: Preview, strength: float) -> list[bpy.types.PointCloud]:
    """Write the colors of a preview to the splats. Returns the changed data-blocks.

    Raises:
        UserError: if the splats have changed since the request; then nothing is written.
    """
    holders = _data_of(preview)
    for (part, mixed), points in zip(_mixed(preview, strength), holders, strict=True):
        base = attributes.read(points.attributes[_BASE])
        base[part.points] = mixed
        attributes.write(points, _BASE, "FLOAT4", base)
        points.update_tag()
    return holders


def apply(preview: Preview, scene: bpy.types.Scene) -> None:
    """Write the colors of a preview at the scene's strength, end it, and clear the selection, which would hide them.

    Raises:
        UserError: as `write`.
    """
    changed = write(preview, scene.saga.recolor_strength)
    forget()
    for obj in bpy.data.objects:
        if obj.data in changed:
            point_cloud.deselect(obj)
    prompts.forget(scene)


def _mixed(preview: Preview, strength: float) -> list[tuple[_Part, np.ndarray]]:
    """The radiance:base [k,4] of each part, moved by a fraction of the shift, linearly from the old colors."""
    ends = np.cumsum([len(part.points) for part in preview.parts])
    mixed = []
    for part, shift in zip(preview.parts, np.split(preview.shift, ends[:-1]), strict=True):
        base = part.before.copy()
        base[:, :3] += np.float32(strength / C0) * shift
        mixed.append((part, base))
    return mixed


def _data_of(preview: Preview) -> list[bpy.types.PointCloud]:
    """The data-blocks of a preview's parts; checks that they have not changed."""
    there = {points.session_uid: points for points in bpy.data.pointclouds}
    holders = [there[part.uid] for part in preview.parts if part.uid in there and _same(there[part.uid], part)]
    if len(holders) < len(preview.parts):
        forget()
        raise UserError(
            "The splats have changed since the preview was requested", fix="Press Preview again", code=ErrorCode.CHANGED
        )
    return holders


def _same(points: bpy.types.PointCloud, part: _Part) -> bool:
    base = points.attributes.get(_BASE)
    if base is None or base.data_type != "FLOAT4" or len(points.points) != part.count:
        return False
    return np.array_equal(attributes.read(base)[part.points], part.before, equal_nan=True)


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


@persistent
def _file_opened(*_: object) -> None:
    forget()


def start() -> None:
    """Follow the strength slider, and discard the preview when another file is opened."""
    properties.shaders.append(shade)
    bpy.app.handlers.load_post.append(_file_opened)


def stop() -> None:
    """Undo `start`."""
    forget()
    if shade in properties.shaders:
        properties.shaders.remove(shade)
    if _file_opened in bpy.app.handlers.load_post:
        bpy.app.handlers.load_post.remove(_file_opened)
