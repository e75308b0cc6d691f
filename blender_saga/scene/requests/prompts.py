"""The clicks and boxes of the current selection, stored in the scene for undo and saving."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ...gaussians.view import View
from ...wire.messages import CleanUp, Prompt, SelectOptions
from ..splat import instances, point_cloud
from ..state.properties import PromptRecord
from .cameras import flatten, picture_pixel, view_from_flat
from .weights import weights

Corners = tuple[int, int, int, int]
"""Start and end of a drag in region pixels from the bottom left; equal for a click."""


def make_prompt(view: View, corners: Corners, positive: bool) -> Prompt:
    """A click, or a box if the corners differ.

    Raises:
        UserError: if the click or box is outside the view.
    """
    if corners[:2] == corners[2:]:
        return Prompt(view, picture_pixel(view, *corners[:2]), "points", positive)
    pixels = np.array(corners, np.float32).reshape(2, 2)
    pixels[:, 1] = view.height - 1 - pixels[:, 1]
    if (pixels.max(axis=0) < 0).any() or (pixels.min(axis=0) >= (view.width, view.height)).any():
        raise UserError("The box is outside the view", fix="Draw it over the object", code=ErrorCode.BAD_VIEW)
    return Prompt(view, pixels, "box", positive)


def recall(scene: bpy.types.Scene) -> tuple[Prompt, ...]:
    """The stored prompts, oldest first."""
    return tuple(_prompt(record) for record in scene.saga.prompts)


def _prompt(record: PromptRecord) -> Prompt:
    view = view_from_flat(record.view, record.projection, (record.width, record.height))
    x, y, x2, y2 = (int(value) for value in record.corners)
    return make_prompt(view, (x, y, x2, y2), record.positive)


def add(scene: bpy.types.Scene, record: dict[str, object]) -> None:
    """Store a prompt, given as the values of a PromptRecord."""
    new = scene.saga.prompts.add()
    for name, value in record.items():
        setattr(new, name, value)


def take(scene: bpy.types.Scene, place: int) -> dict[str, object]:
    """Remove a prompt and return its values, for `put_back`."""
    record = scene.saga.prompts[place]
    arrays = {name: tuple(getattr(record, name)) for name in ("view", "projection", "corners")}
    values = arrays | {name: getattr(record, name) for name in ("width", "height", "positive", "box")}
    scene.saga.prompts.remove(place)
    return values


def put_back(scene: bpy.types.Scene, place: int, values: dict[str, object]) -> None:
    """Undo `take`."""
    add(scene, values)
    scene.saga.prompts.move(len(scene.saga.prompts) - 1, place)


def forget(scene: bpy.types.Scene) -> None:
    """Remove all prompts."""
    scene.saga.prompts.clear()
    scene.saga.prompts_state = ""


def confirm(scene: bpy.types.Scene, objects: list[bpy.types.Object]) -> None:
    """Record that the selection of these objects is the answer to the prompts."""
    scene.saga.prompts_state = state(objects)


def hold(scene: bpy.types.Scene, objects: list[bpy.types.Object]) -> bool:
    """Whether the prompts still define the selection: nothing else has changed it or moved an object since."""
    return len(scene.saga.prompts) > 0 and scene.saga.prompts_state == state(objects)


def state(objects: list[bpy.types.Object]) -> str:
    """A digest of the objects, their transforms and their selection."""
    value = 1
    for obj in sorted(set(objects), key=lambda o: o.name):
        value = zlib.adler32(_place(obj.matrix_world) + obj.name.encode(), value)
        value = zlib.adler32(np.packbits(point_cloud.selection(obj)), value)
    for instance in instances.instances(bpy.context.view_layer, None):
        value = zlib.adler32(_place(instance.matrix_world), value)
    return f"{value:08x}"


def _place(matrix: Iterable[Iterable[float]]) -> bytes:
    return np.array(flatten(matrix), np.float32).tobytes()


def select_options(scene: bpy.types.Scene, scale: float, threshold: float, scores: bool) -> SelectOptions:
    """How a click is answered: the sidebar's choices, with a scale and a threshold (negative: automatic).

    Args:
        scene: whose sidebar it is.
        scale, threshold: as in SelectOptions.
        scores: whether to record the similarity of every point too.
    """
    settings = scene.saga
    clean_up = CleanUp(settings.drop_floaters, settings.only_connected, settings.fill_holes, settings.only_visible)
    method = "auto" if is_instant(scene) else settings.select_by.lower()
    return SelectOptions(method, scale, threshold, settings.snap, scores, clean_up, weights("SAM"))


def is_instant(scene: bpy.types.Scene) -> bool:
    """Whether Segment Anything answers the clicks."""
    return scene.saga.select_by == "INSTANT"
