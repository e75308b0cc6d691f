"""Find all objects of a splat at once; select, hide and split them."""

from __future__ import annotations

import bpy
from bpy.props import IntProperty, StringProperty

from ..scene.requests import prompts, segments
from ..scene.requests.lookup import find_splat
from ..wire.messages import Cluster, Color
from .operator_base import Asking, Combining, make_active
from .reporting import Result, reported

_ONCE = {"SKIP_SAVE"}


class SAGA_OT_segment_scene(Asking, bpy.types.Operator):
    """Find all objects of the splat and their parts"""

    bl_idname = "saga.segment_scene"
    bl_label = "Segment Scene"

    object: StringProperty(name="Object", description="Name of the object; the active object if empty", options=_ONCE)
    smallest: IntProperty(
        name="Min Gaussians", description="Lowest number of Gaussians of an object; 0 chooses it automatically", min=0
    )

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Send the request; the view mode Clusters shows the answer."""
        obj = find_splat(context, self.object)
        search = segments.ask(obj, Cluster(obj.saga.fingerprint, smallest=self.smallest))
        scene = context.scene.name
        return self._run(search, lambda: _show(scene, "CLUSTERS"))


class SAGA_OT_color_features(Asking, bpy.types.Operator):
    """Show the learned features as colors; similar colors belong together"""

    bl_idname = "saga.color_features"
    bl_label = "Color Features"

    object: StringProperty(name="Object", description="Name of the object; the active object if empty", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Send the request; the view mode Features shows the answer."""
        obj = find_splat(context, self.object)
        search = segments.ask(obj, Color(obj.saga.fingerprint))
        scene = context.scene.name
        return self._run(search, lambda: _show(scene, "PCA"))


def _show(scene: str, mode: str) -> None:
    if scene in bpy.data.scenes:
        bpy.data.scenes[scene].saga.view_mode = mode


class SAGA_OT_segment_select(Combining, bpy.types.Operator):
    """Select this object with all its parts (Shift adds, Ctrl subtracts)"""

    bl_idname = "saga.segment_select"
    bl_label = "Select Segment"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    node: IntProperty(name="Segment", description="Number of the segment", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Select in all visible objects that share the model."""
        segments.select(context, find_splat(context, ""), self.node, self.mode.lower())
        return {"FINISHED"}


class SAGA_OT_segment_hide(bpy.types.Operator):
    """Hide or show this object with all its parts"""

    bl_idname = "saga.segment_hide"
    bl_label = "Hide Segment"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    node: IntProperty(name="Segment", description="Number of the segment", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Hide in all objects that share the model; show if the segment is completely hidden."""
        segments.toggle_hidden(find_splat(context, ""), self.node)
        return {"FINISHED"}


class SAGA_OT_segments_split(bpy.types.Operator):
    """Split every segment off as a new object with the segment's name"""

    bl_idname = "saga.segments_split"
    bl_label = "Split All Segments"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", description="Name of the object; the active object if empty", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Split one object; Gaussians without a segment stay in it."""
        obj = find_splat(context, self.object)
        parts = segments.split_all(obj)
        prompts.forget(context.scene)
        if context.mode == "OBJECT":
            make_active(context, obj)
        self.report({"INFO"}, f"Split {obj.name} into {len(parts)} objects")
        return {"FINISHED"}


CLASSES = (
    SAGA_OT_segment_scene,
    SAGA_OT_color_features,
    SAGA_OT_segment_select,
    SAGA_OT_segment_hide,
    SAGA_OT_segments_split,
)
