"""File > Import > Gaussian Splat, and files dropped into the viewport."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, FloatProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from ..errors import UserError
from ..gaussians.formats.registry import READ_SUFFIXES
from ..gaussians.formats.sog import META
from ..scene.files.import_splat import AXES, ImportOptions, import_files
from ..scene.state.paths import absolute
from .operator_base import make_active
from .reporting import Result, reported

_ENDINGS = tuple(suffix for suffix in READ_SUFFIXES if suffix.count(".") == 1)  # .compressed.ply ends with .ply
_UP = (
    ("AUTO", "From Axes", "Use the orientation that Axes sets"),
    *((name, name, f"Treat the {name} axis of the file as up") for name in ("X", "Y", "Z", "-X", "-Y", "-Z")),
)


class SAGA_OT_import_splat(bpy.types.Operator, ImportHelper):
    """Import 3D Gaussian splats as point clouds: PLY, SPZ, .splat, .ksplat, SOG or glTF"""

    bl_idname = "saga.import_splat"
    bl_label = "Import Gaussian Splat"
    bl_options = {"REGISTER", "UNDO", "PRESET"}  # noqa: RUF012 - Blender needs a plain set

    filename_ext = ".ply"
    filter_glob: StringProperty(default=";".join((*(f"*{e}" for e in _ENDINGS), META)), options={"HIDDEN"})
    directory: StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})
    axes: EnumProperty(name="Axes", description="Orientation of the coordinates in the file", items=AXES)
    up: EnumProperty(
        name="Up Axis", description="Axis of the file that points up, for captures that lie on their side", items=_UP
    )
    scale: FloatProperty(
        name="Scale", description="Scale of the imported object", default=1.0, min=1e-6, soft_min=0.01, soft_max=100
    )
    sh_degree: IntProperty(
        name="SH Degree",
        description="Highest degree of spherical harmonics (colors that change with the view direction) to import; "
        "lower degrees need less memory",
        default=4,
        min=0,
        max=4,
    )
    keep_invalid: BoolProperty(
        name="Keep Invalid", description="Keep Gaussians with values that are not finite instead of leaving them out"
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Import dropped files directly; otherwise open the file dialog."""
        if self.files and self.directory:
            self.filepath = self.filepath or str(Path(self.directory, self.files[0].name))
            return self.invoke_popup(context)
        return super().invoke(context, event)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Read all files before changing the scene, so that an error leaves it unchanged."""
        options = ImportOptions(self.axes, self.up, self.scale, self.sh_degree, self.keep_invalid)
        imported = import_files(self._paths(), options)
        for obj in imported.objects:
            context.collection.objects.link(obj)
        make_active(context, imported.objects[-1])
        for obj in imported.objects:
            obj.select_set(True)
        for warning in imported.warnings:
            self.report({"WARNING"}, warning)
        count = sum(len(obj.data.points) for obj in imported.objects)
        what = imported.objects[0].name if len(imported.objects) == 1 else f"{len(imported.objects)} objects"
        self.report({"INFO"}, f"Imported {count:,} Gaussians as {what}")
        return {"FINISHED"}

    def _paths(self) -> list[Path]:
        """The chosen files; scripts may give a single file in `filepath` alone."""
        if self.directory and any(entry.name for entry in self.files):
            return [Path(absolute(self.directory), entry.name) for entry in self.files if entry.name]
        if not self.filepath:
            raise UserError("No file to import", fix="Choose a file")
        return [Path(absolute(self.filepath))]


class SAGA_FH_splat(bpy.types.FileHandler):
    """Splat files dropped into the viewport or the outliner."""

    bl_idname = "SAGA_FH_splat"
    bl_label = "Gaussian Splat"
    bl_import_operator = SAGA_OT_import_splat.bl_idname
    bl_file_extensions = ";".join(_ENDINGS)

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        """Whether the area accepts new objects."""
        return context.area is not None and context.area.type in ("VIEW_3D", "OUTLINER")


def _menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.operator(SAGA_OT_import_splat.bl_idname, text="Gaussian Splat (.ply, .spz, .splat, .sog, .glb, ...)")


CLASSES = (SAGA_OT_import_splat, SAGA_FH_splat)


def add_menu() -> None:
    """Add the entry to File > Import."""
    bpy.types.TOPBAR_MT_file_import.append(_menu)


def remove_menu() -> None:
    """Undo `add_menu`."""
    bpy.types.TOPBAR_MT_file_import.remove(_menu)
