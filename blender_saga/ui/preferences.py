"""The preferences: the machine, folder, Python and device of the backend."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, StringProperty

from ..scene.state.paths import PACKAGE
from .backend_panel import draw_backend
from .drawing import draw_text

PLACES = (
    ("HERE", "This Machine", "Start the backend on this machine, with the packages that Install provides"),
    ("ELSEWHERE", "Another Machine", "Connect through an SSH tunnel to a machine that runs 'saga_backend serve'"),
)
DEVICES = (
    ("auto", "Automatic", "Use the NVIDIA GPU if there is one, otherwise the CPU"),
    ("cpu", "CPU", "Always use the CPU"),
    ("cuda", "NVIDIA GPU", "Always use the GPU, and fail if there is none"),
)


class SagaPreferences(bpy.types.AddonPreferences):
    """The machine, folder, Python and device of the backend."""

    bl_idname = PACKAGE

    backend_folder: StringProperty(
        name="Backend Folder",
        description="Folder for the backend's packages (about 7 GB); Blender's folder for extensions if empty",
        subtype="DIR_PATH",
    )
    backend_python: StringProperty(
        name="Own Python",
        description="Python that already has the backend's packages; the one that Install creates if empty",
        subtype="FILE_PATH",
    )
    device: EnumProperty(name="Device", items=DEVICES)
    sam_weights: StringProperty(
        name="SAM Weights",
        description="Weights file of Segment Anything (vit_h, vit_l or vit_b) on the backend's machine",
        subtype="FILE_PATH",
    )
    clip_weights: StringProperty(
        name="CLIP Weights",
        description="Weights file of OpenCLIP (ViT-B-16) on the backend's machine, used to find objects by text",
        subtype="FILE_PATH",
    )

    backend_where: EnumProperty(name="Backend Runs On", items=PLACES)
    remote_address: StringProperty(
        name="Address", description="HOST:PORT of the local end of the tunnel, for example: 127.0.0.1:7860"
    )
    remote_key: StringProperty(
        name="Key",
        description="Key printed by 'saga_backend serve'; stored as plain text in Blender's preferences file",
        subtype="PASSWORD",
    )
    remote_sam_weights: StringProperty(
        name="Remote SAM Weights", description="Full path of Segment Anything's weights file on the other machine"
    )
    remote_clip_weights: StringProperty(
        name="Remote CLIP Weights", description="Full path of OpenCLIP's weights file on the other machine"
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the settings and the backend's state."""
        layout = self.layout
        layout.use_property_split = True
        layout.row().prop(self, "backend_where", expand=True)
        if self.backend_where == "ELSEWHERE":
            names: tuple[str, ...] = ("remote_address", "remote_key", "remote_sam_weights", "remote_clip_weights")
        else:
            names = ("backend_folder", "backend_python", "device", "sam_weights", "clip_weights")
        for name in names:
            layout.prop(self, name)
        if self.backend_where == "ELSEWHERE":
            draw_text(layout, "Blender's preferences file stores the key as plain text", "INFO")
        draw_backend(layout)


CLASSES = (SagaPreferences,)
