"""What may be chosen about Segment Anything's masks: the same in the sidebar and as parameters of the operator."""

from __future__ import annotations

from dataclasses import fields

from bpy.props import FloatProperty, IntProperty

from ...wire.messages import SamOptions

_ONCE = {"SKIP_SAVE"}
_PAPER = SamOptions()


class SamChoices:
    """Properties named as the fields of `SamOptions`, with its defaults, which are the paper's."""

    points_per_side: IntProperty(
        name="Points per Side",
        description="Each picture is asked at a grid of so many points squared; more finds smaller things",
        min=1,
        max=128,
        default=_PAPER.points_per_side,
        options=_ONCE,
    )
    iou: FloatProperty(
        name="Quality",
        description="Lowest quality that the model gives a mask",
        min=0,
        max=1,
        default=_PAPER.iou,
        options=_ONCE,
    )
    stability: FloatProperty(
        name="Stability",
        description="How sharp a mask must be at least",
        min=0,
        max=1,
        default=_PAPER.stability,
        options=_ONCE,
    )
    nms: FloatProperty(
        name="Overlap",
        description="Of masks more alike than this the worse is dropped",
        min=0,
        max=1,
        default=_PAPER.nms,
        options=_ONCE,
    )
    least_area: IntProperty(
        name="Least Area",
        description="Pixels; smaller islands go, smaller holes are filled",
        min=0,
        default=_PAPER.least_area,
        options=_ONCE,
    )
    crop_layers: IntProperty(
        name="Crop Layers",
        description="How often pictures are also asked in parts",
        min=0,
        max=3,
        default=_PAPER.crop_layers,
        options=_ONCE,
    )
    longest_side: IntProperty(
        name="Longest Side",
        description="Pixels; larger photos are made smaller first",
        min=64,
        max=8192,
        default=_PAPER.longest_side,
        options=_ONCE,
    )


CHOICES = tuple(field.name for field in fields(SamOptions) if field.name != "weights")
"""Names of the properties, in the order of the panel."""


def options_of(owner: object, weights: str) -> SamOptions:
    """The message's part from an operator's or the scene's properties."""
    return SamOptions(weights, **{name: getattr(owner, name) for name in CHOICES})
