"""Preferences: where the backend lives, which Python and device it uses."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, StringProperty

from ..scene.state.paths import PACKAGE
from .backend_panel import draw_backend
from .drawing import draw_text

PLACES = (
    ("HERE", "On This Machine", "Blender starts it, with the packages that Install has brought"),
    ("ELSEWHERE", "Elsewhere", "On another machine, where 'saga_backend serve' runs, at the end of an SSH tunnel"),
)
DEVICES = (
    ("auto", "Automatic", "The NVIDIA GPU where there is one, else the processor"),
    ("cpu", "Processor", "Always the processor"),
    ("cuda", "NVIDIA GPU", "Always the GPU; an error where there is none"),
)


class SagaPreferences(bpy.types.AddonPreferences):
    """Where the backend lives and what it runs on."""

    bl_idname = PACKAGE

    backend_folder: StringProperty(
        name="Backend folder",
        description="Where the backend's packages are installed, about 7 GB; empty: Blender's folder for extensions",
        subtype="DIR_PATH",
    )
    backend_python: StringProperty(
        name="Own Python",
        description="A Python that has the backend's packages already; empty: the one that Install makes",
        subtype="FILE_PATH",
    )
    device: EnumProperty(name="Device", items=DEVICES)
    sam_weights: StringProperty(
        name="SAM weights",
        description="File of Segment Anything's weights (vit_h, vit_l, vit_b) on the backend's machine",
        subtype="FILE_PATH",
    )
    clip_weights: StringProperty(
        name="CLIP weights",
        description="File of OpenCLIP weights (ViT-B-16) on the backend's machine, for finding things by words",
        subtype="FILE_PATH",
    )

    backend_where: EnumProperty(name="Backend Runs", items=PLACES)
    remote_address: StringProperty(name="Address", description="HOST:PORT of the tunnel's near end: 127.0.0.1:7860")
    remote_key: StringProperty(
        name="Key",
        description="What 'saga_backend serve' has printed. It is kept in Blender's preferences file, as plain text",
        subtype="PASSWORD",
    )
    remote_sam_weights: StringProperty(
        name="SAM weights there", description="File of Segment Anything's weights, its whole path on the other machine"
    )
    remote_clip_weights: StringProperty(
        name="CLIP weights there", description="File of OpenCLIP weights, its whole path on the other machine"
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the settings and the backend's state."""
        layout = self.layout
        layout.use_property_split = True
        layout.row().prop(self, "backend_where", expand=True)
        if self.backend_where == "ELSEWHERE":
            names = ("remote_address", "remote_key", "remote_sam_weights", "remote_clip_weights")
        else:
            names = ("backend_folder", "backend_python", "device", "sam_weights", "clip_weights")
        for name in names:
            layout.prop(self, name)
        if self.backend_where == "ELSEWHERE":
            draw_text(layout, "The key is kept in Blender's preferences file, as plain text", "INFO")
        draw_backend(layout)


CLASSES = (SagaPreferences,)
