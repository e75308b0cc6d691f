"""A click or box in a view: how it refines the earlier clicks, and what is stored of it with its answer."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ...wire.messages import Prompt, Selection
from ..splat.point_cloud import selection
from . import click, prompts
from .cameras import view_from_flat

_REFINE = "refine"


@dataclass(frozen=True)
class ViewClick:
    """A click or box, with the view that it was made in and its options.

    Attributes:
        view: world-to-camera matrix [16] in row-major order.
        projection: camera-to-clip matrix [16] in row-major order.
        size: width and height of the region in pixels.
        corners: start and end in region pixels from the bottom left, equal for a click.
        box: whether it is a box.
        mode: one of `MODES`.
        scale: from 0 (parts) to 1 (largest); negative is automatic.
        threshold: lowest similarity that is selected; negative is automatic.
        similarity: whether the similarity of each point is written too.
    """

    view: tuple[float, ...]
    projection: tuple[float, ...]
    size: tuple[int, int]
    corners: prompts.Corners
    box: bool
    mode: str
    scale: float
    threshold: float
    similarity: bool


@dataclass(frozen=True, eq=False)
class SentClick:
    """A pending click.

    Attributes:
        query: its request.
        given: the click.
        combine: set, add, subtract or intersect; or refine, if it was sent with the earlier clicks.
        positive: whether it includes its object, or excludes it from the answer to the earlier clicks.
    """

    query: click.Query
    given: ViewClick
    combine: str
    positive: bool


def send(context: bpy.types.Context, objects: list[bpy.types.Object], given: ViewClick) -> SentClick:
    """Send a click. The modes ADD and SUBTRACT refine the earlier clicks while these still define the selection.

    Raises:
        UserError: if it is outside the view, the objects are not trained, or the backend does not run.
    """
    scene = context.scene
    view = view_from_flat(given.view, given.projection, given.size)
    earlier: tuple[Prompt, ...] = ()
    combine, scale = given.mode.lower(), given.scale
    if given.mode in ("ADD", "SUBTRACT") and prompts.hold(scene, objects):
        combine, earlier = _REFINE, prompts.recall(scene)
        scale = scene.saga.scale if scale < 0 else scale  # a second object keeps the scale of the first
    elif given.mode == "ADD" and not any(selection(o).any() for o in objects):
        combine = "set"
    positive = not (combine == _REFINE and given.mode == "SUBTRACT")
    prompt = prompts.make_prompt(view, given.corners, positive)
    options = prompts.select_options(scene, scale, given.threshold, given.similarity)
    query = click.ask(objects, (*earlier, prompt), options, prompts.is_instant(scene))
    return SentClick(query, given, combine, positive)


def finish(scene: bpy.types.Scene, sent: SentClick) -> Selection:
    """Write the answer to the objects, and store the click unless the selection also has parts that no click made.

    Raises:
        UserError: if the click failed, or the objects have changed since; then nothing is written.
        Cancelled: if it was cancelled.
    """
    answer = click.apply(sent.query, "set" if sent.combine == _REFINE else sent.combine)
    if sent.combine != _REFINE:
        prompts.forget(scene)
    if sent.combine in ("set", _REFINE):
        given = sent.given
        record = {"view": given.view, "projection": given.projection, "corners": given.corners, "box": given.box}
        width, height = given.size
        prompts.add(scene, record | {"width": width, "height": height, "positive": sent.positive})
        prompts.confirm(scene, click.objects_of(sent.query))
    return answer
