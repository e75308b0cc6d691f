"""The first panels of the SAGA tab: the active splat and its view. Panels compute nothing."""

from __future__ import annotations

import bpy

from ..scene.files import adopt
from ..scene.requests.lookup import find_splat, trained_model, trains_now
from ..scene.splat import point_cloud
from ..scene.state.link import link
from ..scene.state.models import models
from ..scene.state.status import status
from ..viewport import splat_draw
from ..viewport.splat_colors import MODE_ATTRIBUTES
from .drawing import draw_text
from .panel_base import SagaPanel, reason


class SAGA_PT_scene(SagaPanel, bpy.types.Panel):
    """The active splat"""

    bl_label = "Splat"
    bl_order = 0

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the name, size and model of the splat."""
        layout = self.layout
        problem = reason(lambda: find_splat(context, ""))
        if problem:
            draw_text(layout, problem, "INFO")
            if adopt.can_adopt(context.view_layer.objects.active):
                layout.operator("saga.adopt", icon="POINTCLOUD_DATA")
            layout.operator("saga.import_splat", text="Import Splat", icon="IMPORT")
        else:
            obj = find_splat(context, "")
            layout.label(text=obj.name, icon="OUTLINER_OB_POINTCLOUD")
            layout.label(text=f"{len(obj.data.points):,} Gaussians, SH degree {point_cloud.sh_degree(obj)}")
            layout.label(text=_model_state(obj))
            if link.holds(obj.saga.fingerprint):
                draw_text(layout, models.unsaved[obj.saga.fingerprint][1], "ERROR")
                layout.operator("saga.save_model", icon="FILE_TICK")
        if status.message:
            draw_text(layout, status.message, "ERROR" if status.failed else "NONE")


def _model_state(obj: bpy.types.Object) -> str:
    if trains_now(obj):
        return "Model: training"
    if link.holds(obj.saga.fingerprint):
        return "Model: not saved"
    model = trained_model(obj)
    return f"Model: {bpy.path.basename(model)}" if model else "Model: not trained"


class SAGA_PT_view(SagaPanel, bpy.types.Panel):
    """How splats are displayed"""

    bl_label = "View"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the view mode, the drawing method and the density."""
        layout, settings = self.layout, context.scene.saga
        layout.prop(settings, "view_mode", text="")
        self._draw_missing(context, settings.view_mode)
        row = layout.row(align=True)
        row.prop(settings, "drawing", text="")
        density = row.row(align=True)
        density.enabled = settings.drawing != "BLENDER"
        density.prop(settings, "density", slider=True)
        layout.prop(settings, "show_selection")
        if splat_draw.painter.error:
            draw_text(layout, "Splats cannot be drawn; the console shows the reason. Set Draw As to Blender", "ERROR")

    def _draw_missing(self, context: bpy.types.Context, mode: str) -> None:
        """Draw the button that a view mode without data needs."""
        if mode == "COLOR" or reason(lambda: find_splat(context, "")):
            return
        layout, attribute = self.layout, MODE_ATTRIBUTES[mode]
        if attribute in find_splat(context, "").data.attributes:
            if mode == "PCA":
                layout.operator("saga.color_features", text="Update", icon="FILE_REFRESH")
            return
        if mode == "SIMILARITY":
            draw_text(layout, "No click yet. Click on an object with the SAGA Select tool", "INFO")
        else:
            layout.operator("saga.color_features" if mode == "PCA" else "saga.segment_scene")


CLASSES = (SAGA_PT_scene, SAGA_PT_view)
