"""Other colors for the selection by a text: asked for, shown at any strength, written down or forgotten.

A preview is a matter of drawing: the attributes stay as they are until it is applied, so a file that is saved, a step
of undo and an export never hold half of it.
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
from ..state.session import Request, session

_BASE = "radiance:base"
_numbers = itertools.count(1)


@dataclass(frozen=True, eq=False)
class _Part:
    """The points of one data-block that change: `session_uid`, which of how many, radiance:base [k,4] as it was."""

    uid: int
    count: int
    points: np.ndarray
    before: np.ndarray


@dataclass(frozen=True, eq=False)
class RecolorRequest:
    """Colors that were asked for; the request's answer has a row for each point of the parts, in order."""

    request: Request
    parts: tuple[_Part, ...]


@dataclass(frozen=True, eq=False)
class Preview:
    """Colors that came: `shift` [n,3] of all points of the parts; `text`: what they were led to."""

    parts: tuple[_Part, ...]
    shift: np.ndarray
    text: str


_preview: Preview | None = None


def ask(objects: Iterable[bpy.types.Object], words: Recolor) -> RecolorRequest:
    """Ask for other colors of what is selected and not hidden.

    Args:
        objects: splats; of those that share their points one is asked for.
        words: the message; its cloud is put in here.

    Raises:
        UserError: if nothing is selected, an object is linked from another file, the backend does not run or looks
            for something already.
    """
    if session.search is not None and not session.search.ended:
        raise UserError(
            "The backend is looking for things already", fix="Wait for its end, or cancel it", code=ErrorCode.BUSY
        )
    holders = {obj.data.session_uid: obj for obj in reversed(list(objects))}
    parts, clouds = [], []
    for obj in reversed(holders.values()):
        points = np.flatnonzero(point_cloud.selection(obj) & ~point_cloud.hidden(obj))
        if len(points):
            parts.append(_part(obj, points))
            clouds.append(_standing(obj, points))
    if not parts:
        fix = "Click on a thing first"
        raise UserError("Nothing is selected that could be recolored", fix=fix, code=ErrorCode.NO_SELECTION)
    message = Recolor(concatenate(clouds), words.source, words.text, words.weights, words.steps, words.seed)
    session.search = session.request(None, message)
    return RecolorRequest(session.search, tuple(parts))


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
    """Some points as they stand in the world: from there CLIP looks at them."""
    return transform_cloud(point_cloud.to_cloud(obj).take(points), np.array(obj.matrix_world, np.float64), True)


def received(wish: RecolorRequest) -> Preview:
    """What came of a wish that has ended.

    Raises:
        UserError: if it failed.
        Cancelled: if it was cancelled.
    """
    answer, message = wish.request.outcome(), wish.request.message
    assert isinstance(answer, Recolored) and isinstance(message, Recolor)
    assert answer.shift.shape == (len(message.cloud), 3)
    return Preview(wish.parts, answer.shift, message.text)


def show(preview: Preview, strength: float) -> None:
    """Draw a preview from now on, in place of any other.

    Raises:
        UserError: if the splats were changed since it was asked for.
    """
    global _preview
    _data_of(preview)
    forget()
    _preview = preview
    shade(strength)


def shade(strength: float) -> None:
    """Show the preview, if there is one, at another strength, 0 to 1."""
    if _preview is None:
        return
    for part, base in _mixed(_preview, strength):
        draw_data.tints[part.uid] = draw_data.Tint(part.count, part.points, base[:, :3], next(_numbers))
    _redraw()


def shown() -> Preview | None:
    """The preview that is drawn."""
    return _preview


def forget() -> None:
    """Draw the splats as they are."""
    global _preview
    _preview = None
    if draw_data.tints:
        draw_data.tints.clear()
        _redraw()


def write(preview: Preview, strength: float) -> list[bpy.types.PointCloud]:
    """Give the splats the colors of a preview; returns the data-blocks that were changed.

    Raises:
        UserError: if they were changed since the preview was asked for; then nothing is written.
    """
    holders = _data_of(preview)
    for (part, mixed), points in zip(_mixed(preview, strength), holders, strict=True):
        base = attributes.read(points.attributes[_BASE])
        base[part.points] = mixed
        attributes.write(points, _BASE, "FLOAT4", base)
        points.update_tag()
    return holders


def _mixed(preview: Preview, strength: float) -> list[tuple[_Part, np.ndarray]]:
    """Of each part its radiance:base [k,4] with a share of the shift: a straight line from the old colors."""
    ends = np.cumsum([len(part.points) for part in preview.parts])
    mixed = []
    for part, shift in zip(preview.parts, np.split(preview.shift, ends[:-1]), strict=True):
        base = part.before.copy()
        base[:, :3] += np.float32(strength / C0) * shift
        mixed.append((part, base))
    return mixed


def _data_of(preview: Preview) -> list[bpy.types.PointCloud]:
    """The data-blocks of a preview's parts, which are as they were."""
    there = {points.session_uid: points for points in bpy.data.pointclouds}
    holders = [there[part.uid] for part in preview.parts if part.uid in there and _same(there[part.uid], part)]
    if len(holders) < len(preview.parts):
        forget()
        raise UserError(
            "The splats were changed since the new colors were asked for", fix="Ask again", code=ErrorCode.CHANGED
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
    """Follow the slider, and forget a preview when another file is opened."""
    properties.shaders.append(shade)
    bpy.app.handlers.load_post.append(_file_opened)


def stop() -> None:
    """Undo `start`."""
    forget()
    if shade in properties.shaders:
        properties.shaders.remove(shade)
    if _file_opened in bpy.app.handlers.load_post:
        bpy.app.handlers.load_post.remove(_file_opened)
