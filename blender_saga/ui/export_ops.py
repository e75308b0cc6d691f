"""File > Export > Gaussian Splat."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ExportHelper

from ..gaussians.formats.registry import FORMATS, format_for
from ..scene.files.export_splat import ExportOptions, one_each, pieces_of, write_pieces
from ..scene.files.import_splat import AXES
from ..scene.splat.evaluated import Placed, named, selected, visible
from ..scene.state.paths import absolute
from .reporting import Result, reported

_FORMATS = (
    ("PLY", "PLY", "Uncompressed, exact, and supported by every viewer", ".ply"),
    ("COMPRESSED_PLY", "Compressed PLY", "PlayCanvas's packed PLY, about 14 times smaller", ".compressed.ply"),
    ("SPZ", "SPZ", "Niantic's packed format, about 10 times smaller", ".spz"),
    ("SPLAT", ".splat", "32 bytes per Gaussian, colors without spherical harmonics", ".splat"),
    ("GLTF", "glTF", "Binary glTF with KHR_gaussian_splatting, exact", ".glb"),
)
_ENDINGS = {name: ending for name, _, _, ending in _FORMATS}
_SPZ = (
    ("3", "3", "Supported by every SPZ viewer"),
    ("4", "4", "Newest version, packed with zstd; supported by few viewers yet"),
)
_SCOPES = (
    ("SELECTED", "Selected Objects", "Export the selected splats, or the active splat if none is selected"),
    ("VISIBLE", "Visible Objects", "Export every visible splat, without hidden Gaussians"),
)


class SAGA_OT_export_splat(bpy.types.Operator, ExportHelper):
    """Export splats to a file that 3D Gaussian Splatting viewers can open"""

    bl_idname = "saga.export_splat"
    bl_label = "Export Gaussian Splat"
    bl_options = {"PRESET"}  # noqa: RUF012 - Blender needs a plain set

    filename_ext = ".ply"
    filter_glob: StringProperty(default=";".join(f"*{e}" for e in _ENDINGS.values()), options={"HIDDEN"})
    object: StringProperty(
        name="Object",
        description="Name of the only object to export, regardless of the selection",
        options={"SKIP_SAVE", "HIDDEN"},
    )
    format: EnumProperty(name="Format", items=[entry[:3] for entry in _FORMATS])
    scope: EnumProperty(name="Objects", items=_SCOPES)
    selection_only: BoolProperty(name="Selection Only", description="Export only the selected Gaussians")
    one_each: BoolProperty(
        name="One File per Object",
        description="Write each object to its own file, with the object's name added to the file name",
    )
    world_space: BoolProperty(
        name="World Space", description="Apply the location, rotation and scale of the object", default=True
    )
    axes: EnumProperty(name="Axes", description="Orientation of the coordinates in the file", items=AXES)
    scale: FloatProperty(
        name="Scale",
        description="Scale factor of the exported splats",
        default=1.0,
        min=1e-6,
        soft_min=0.01,
        soft_max=100,
    )
    sh_degree: IntProperty(
        name="SH Degree", description="Highest degree of spherical harmonics to export", default=4, min=0, max=4
    )
    with_objects: BoolProperty(name="Object IDs", description="Add the number of the object as a PLY property")
    with_clusters: BoolProperty(
        name="Segment IDs", description="Add the number of the object found by Segment Scene as a PLY property"
    )
    spz_version: EnumProperty(name="SPZ Version", items=_SPZ)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Open the file dialog with the object's name, outside the folder of the source file that has this name."""
        obj = context.view_layer.objects.active
        if not self.filepath and obj is not None:
            self.filepath = f"{bpy.path.clean_name(obj.name)}{_ENDINGS[self.format]}"
        return super().invoke(context, event)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the options of the chosen format in the sidebar of the file dialog."""
        layout = self.layout
        layout.use_property_split, layout.use_property_decorate = True, False
        groups = [
            ("format", *(("spz_version",) if self.format == "SPZ" else ())),
            ("scope", "selection_only", "one_each"),
            ("world_space", "axes", "scale"),
            ("sh_degree",) if self.format != "SPLAT" else (),
            ("with_objects", "with_clusters") if self.format == "PLY" else (),
        ]
        for group in filter(None, groups):
            column = layout.column()
            for name in group:
                column.prop(self, name)

    def check(self, context: bpy.types.Context) -> bool:
        """Set the file extension of the chosen format."""
        path = _with_ending(self.filepath, _ENDINGS[self.format])
        changed = path != self.filepath
        self.filepath = path
        return changed

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Write the files; each file replaces an older one only after it is complete."""
        path = Path(absolute(self.filepath))
        if not path.suffix:
            path = path.with_name(path.name + _ENDINGS[self.format])
        format_for(path)  # refuse an unknown extension before the work starts
        options = ExportOptions(
            self.selection_only,
            self.scope == "VISIBLE",
            self.world_space,
            self.axes,
            self.scale,
            self.sh_degree,
            self.with_objects,
            self.with_clusters,
            int(self.spz_version),
        )
        pieces = pieces_of(self._placed(context), options)
        groups = [(path, pieces)] if not self.one_each else one_each(path, pieces)
        for target, group in groups:
            count, losses = write_pieces(target, group, options)
            for loss in losses:
                self.report({"WARNING"}, loss)
            self.report({"INFO"}, f"Exported {count:,} Gaussians to {target.name}")
        return {"FINISHED"}

    def _placed(self, context: bpy.types.Context) -> list[Placed]:
        if self.object:
            return named(context, self.object)
        return visible(context) if self.scope == "VISIBLE" else selected(context)


def _with_ending(name: str, ending: str) -> str:
    for kind in FORMATS:
        for suffix in kind.suffixes:
            if name.lower().endswith(suffix):
                return name if suffix == ending else name[: -len(suffix)] + ending
    return name + ending


def _menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.operator(SAGA_OT_export_splat.bl_idname, text="Gaussian Splat (.ply, .spz, .splat, .glb)")


CLASSES = (SAGA_OT_export_splat,)


def add_menu() -> None:
    """Add the entry to File > Export."""
    bpy.types.TOPBAR_MT_file_export.append(_menu)


def remove_menu() -> None:
    """Undo `add_menu`."""
    bpy.types.TOPBAR_MT_file_export.remove(_menu)
