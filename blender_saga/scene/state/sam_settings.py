"""Settings of Segment Anything's masks, shared by the sidebar and the train operator."""

from __future__ import annotations

from dataclasses import fields

from bpy.props import FloatProperty, IntProperty

from ...wire.messages import SamOptions

_ONCE = {"SKIP_SAVE"}
_PAPER = SamOptions()


class SamChoices:
    """One property for each field of `SamOptions`, with the defaults of the paper."""

    points_per_side: IntProperty(
        name="Points per Side",
        description="Points per side of the prompt grid on each image; more points find smaller objects",
        min=1,
        max=128,
        default=_PAPER.points_per_side,
        options=_ONCE,
    )
    iou: FloatProperty(
        name="Quality",
        description="Lowest predicted quality of a mask",
        min=0,
        max=1,
        default=_PAPER.iou,
        options=_ONCE,
    )
    stability: FloatProperty(
        name="Stability",
        description="Lowest stability of a mask's border",
        min=0,
        max=1,
        default=_PAPER.stability,
        options=_ONCE,
    )
    nms: FloatProperty(
        name="Overlap",
        description="Largest overlap of two masks; above it, the worse mask is dropped",
        min=0,
        max=1,
        default=_PAPER.nms,
        options=_ONCE,
    )
    least_area: IntProperty(
        name="Min Area",
        description="Area in pixels below which islands are removed and holes are filled",
        min=0,
        default=_PAPER.least_area,
        options=_ONCE,
    )
    crop_layers: IntProperty(
        name="Crop Layers",
        description="Number of extra passes over crops of each image",
        min=0,
        max=3,
        default=_PAPER.crop_layers,
        options=_ONCE,
    )
    longest_side: IntProperty(
        name="Longest Side",
        description="Longest side of an image in pixels; larger photos are scaled down first",
        min=64,
        max=8192,
        default=_PAPER.longest_side,
        options=_ONCE,
    )


CHOICES = tuple(field.name for field in fields(SamOptions) if field.name != "weights")
"""Property names, in the order of the panel."""


def options_of(owner: object, weights: str) -> SamOptions:
    """Build the options of the message from the properties of an operator or the scene."""
    return SamOptions(weights, **{name: getattr(owner, name) for name in CHOICES})
