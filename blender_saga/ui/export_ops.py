"""File > Export > Gaussian Splat."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
from bpy.props import BoolProperty, StringProperty
from bpy_extras.io_utils import ExportHelper

from ..gaussians.ply import write_ply
from ..gaussians.transforms import RDF_TO_BLENDER, transform_cloud
from ..scene import point_cloud
from ..scene.lookup import find_splat
from ..scene.paths import absolute
from ..wire.errors import UserError
from .reporting import Result, reported


class SAGA_OT_export_ply(bpy.types.Operator, ExportHelper):
    """Export a splat as a PLY that any 3D Gaussian Splatting viewer opens"""

    bl_idname = "saga.export_ply"
    bl_label = "Export Gaussian Splat"

    filename_ext = ".ply"
    filter_glob: StringProperty(default="*.ply", options={"HIDDEN"})
    object: StringProperty(name="Object", description="Empty: the active object", options={"SKIP_SAVE"})
    selection_only: BoolProperty(name="Selection Only", description="Only the selected Gaussians")
    world_space: BoolProperty(
        name="World Space", description="As it stands in the scene: moved, rotated and scaled", default=True
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """The file dialog, with the object's name; not its source's folder, where that name is the original."""
        obj = context.view_layer.objects.active
        if not self.filepath and obj is not None:
            self.filepath = f"{bpy.path.clean_name(obj.name)}.ply"
        return super().invoke(context, event)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Write the file; it replaces an older one only when it is complete."""
        context.view_layer.update()  # a script may have moved the object just now
        obj = find_splat(context, self.object)
        cloud = point_cloud.to_cloud(obj)
        if self.selection_only:
            mask = point_cloud.selection(obj)
            if not mask.any():
                raise UserError(f"Nothing is selected in {obj.name}", fix="Click on a thing first", code="no_selection")
            cloud = cloud.take(mask)
        cloud = transform_cloud(cloud, self._matrix(obj))
        write_ply(Path(absolute(self.filepath)), cloud)
        self.report({"INFO"}, f"Exported {len(cloud):,} Gaussians to {Path(self.filepath).name}")
        return {"FINISHED"}

    def _matrix(self, obj: bpy.types.Object) -> np.ndarray:
        """[4,4]: from the object's space to the axes of the file."""
        matrix = np.array(obj.matrix_world, np.float64) if self.world_space else np.eye(4)
        return np.linalg.inv(RDF_TO_BLENDER) @ matrix if obj.saga.axes == "RDF" else matrix


def _menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.operator(SAGA_OT_export_ply.bl_idname, text="Gaussian Splat (.ply)")


CLASSES = (SAGA_OT_export_ply,)


def add_menu() -> None:
    """Add the entry to File > Export."""
    bpy.types.TOPBAR_MT_file_export.append(_menu)


def remove_menu() -> None:
    """Undo `add_menu`."""
    bpy.types.TOPBAR_MT_file_export.remove(_menu)
