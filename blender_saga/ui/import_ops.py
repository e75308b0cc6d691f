"""File > Import > Gaussian Splat."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import StringProperty
from bpy_extras.io_utils import ImportHelper

from ..gaussians.ply import read_ply
from ..gaussians.transforms import RDF_TO_BLENDER, transform_cloud
from ..scene import point_cloud
from ..scene.paths import absolute
from .reporting import Result, reported


class SAGA_OT_import_splat(bpy.types.Operator, ImportHelper):
    """Import a 3D Gaussian Splatting PLY as a point cloud"""

    bl_idname = "saga.import_splat"
    bl_label = "Import Gaussian Splat"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads it as it is

    filename_ext = ".ply"
    filter_glob: StringProperty(default="*.ply", options={"HIDDEN"})

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Read the file first: where that fails, the scene stays as it is."""
        path = Path(absolute(self.filepath))
        loaded = read_ply(path)
        cloud = transform_cloud(loaded.cloud, RDF_TO_BLENDER)
        obj = point_cloud.create_object(path.stem, cloud, "RDF", str(path))
        context.collection.objects.link(obj)
        make_active(context, obj)
        for warning in loaded.warnings:
            self.report({"WARNING"}, warning)
        self.report({"INFO"}, f"Imported {len(cloud):,} Gaussians as {obj.name}")
        return {"FINISHED"}


def make_active(context: bpy.types.Context, obj: bpy.types.Object) -> None:
    """Select an object alone and make it the active one."""
    for other in context.selected_objects:
        other.select_set(False)
    obj.select_set(True)  # by itself: an object that was linked just now is not in `view_layer.objects` yet
    context.view_layer.objects.active = obj


def _menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.operator(SAGA_OT_import_splat.bl_idname, text="Gaussian Splat (.ply)")


CLASSES = (SAGA_OT_import_splat,)


def add_menu() -> None:
    """Add the entry to File > Import."""
    bpy.types.TOPBAR_MT_file_import.append(_menu)


def remove_menu() -> None:
    """Undo `add_menu`."""
    bpy.types.TOPBAR_MT_file_import.remove(_menu)
