"""File > Export > Gaussian Splat."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ExportHelper

from ..gaussians.formats.registry import FORMATS, format_for
from ..scene.files.export_splat import ExportOptions, Piece, pieces_of, write_pieces
from ..scene.files.import_splat import AXES
from ..scene.splat.evaluated import Placed, named, selected, visible
from ..scene.state.paths import absolute
from .reporting import Result, reported

_FORMATS = (
    ("PLY", "PLY", "As trainers write it: exact, read by every viewer", ".ply"),
    ("COMPRESSED_PLY", "Compressed PLY", "PlayCanvas' packed PLY: about 14 times smaller", ".compressed.ply"),
    ("SPZ", "SPZ", "Niantic's packed format: about 10 times smaller", ".spz"),
    ("SPLAT", ".splat", "32 bytes a Gaussian, colors without spherical harmonics", ".splat"),
    ("GLTF", "glTF", "Binary glTF with KHR_gaussian_splatting: exact", ".glb"),
)
_ENDINGS = {name: ending for name, _, _, ending in _FORMATS}
_SPZ = (("3", "3", "Every viewer of SPZ reads it"), ("4", "4", "The newest, packed with zstd; few viewers read it yet"))
_SCOPES = (
    ("SELECTED", "Selected Objects", "The selected splats; the active one where none is selected"),
    ("VISIBLE", "Visible Objects", "Every splat that is to be seen, without hidden Gaussians"),
)


class SAGA_OT_export_splat(bpy.types.Operator, ExportHelper):
    """Export splats as they stand in the scene, to a file that 3D Gaussian Splatting viewers open"""

    bl_idname = "saga.export_splat"
    bl_label = "Export Gaussian Splat"
    bl_options = {"PRESET"}  # noqa: RUF012 - Blender reads it as it is

    filename_ext = ".ply"
    filter_glob: StringProperty(default=";".join(f"*{e}" for e in _ENDINGS.values()), options={"HIDDEN"})
    object: StringProperty(
        name="Object", description="Only this one, whatever is selected", options={"SKIP_SAVE", "HIDDEN"}
    )
    format: EnumProperty(name="Format", items=[entry[:3] for entry in _FORMATS])
    scope: EnumProperty(name="Objects", items=_SCOPES)
    selection_only: BoolProperty(name="Selection Only", description="Only the selected Gaussians")
    one_each: BoolProperty(
        name="One File per Object",
        description="Otherwise all go into one file; the object's name is added to the file's",
    )
    world_space: BoolProperty(
        name="World Space", description="As it stands in the scene: moved, rotated and scaled", default=True
    )
    axes: EnumProperty(name="Axes", description="What the numbers of the file mean", items=AXES)
    scale: FloatProperty(
        name="Scale", description="What all is scaled by", default=1.0, min=1e-6, soft_min=0.01, soft_max=100
    )
    sh_degree: IntProperty(
        name="Color Detail", description="Highest degree of spherical harmonics", default=4, min=0, max=4
    )
    with_objects: BoolProperty(
        name="Object Numbers", description="Add the number of the object as a property; PLY only"
    )
    with_clusters: BoolProperty(
        name="Cluster Numbers", description="Add the number of the thing it was found to be part of; PLY only"
    )
    spz_version: EnumProperty(name="SPZ Version", items=_SPZ)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """The file dialog, with the object's name; not its source's folder, where that name is the original."""
        obj = context.view_layer.objects.active
        if not self.filepath and obj is not None:
            self.filepath = f"{bpy.path.clean_name(obj.name)}{_ENDINGS[self.format]}"
        return super().invoke(context, event)

    def draw(self, context: bpy.types.Context) -> None:
        """What the chosen format has, in the side bar of the file dialog."""
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
        """Give the name the ending of the chosen format."""
        path = _with_ending(self.filepath, _ENDINGS[self.format])
        changed = path != self.filepath
        self.filepath = path
        return changed

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Write the files; each replaces an older one only when it is complete."""
        path = Path(absolute(self.filepath))
        if not path.suffix:
            path = path.with_name(path.name + _ENDINGS[self.format])
        format_for(path)  # an ending that cannot be is told before the work
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
        groups = [(path, pieces)] if not self.one_each else _one_each(path, pieces)
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


def _one_each(path: Path, pieces: list[Piece]) -> list[tuple[Path, list[Piece]]]:
    """A name for each piece: the file's, the object's, and a number where an object is placed more than once."""
    ending = next(suffix for kind in FORMATS for suffix in kind.suffixes if path.name.lower().endswith(suffix))
    stem, groups = path.name[: -len(ending)], {}
    for piece in pieces:
        name = f"{stem}-{bpy.path.clean_name(piece.placed.original.name)}"
        number = sum(key.startswith(name) for key in groups)
        groups[f"{name}-{number + 1}" if name in groups else name] = piece
    return [(path.with_name(name + ending), [piece]) for name, piece in groups.items()]


def _menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.operator(SAGA_OT_export_splat.bl_idname, text="Gaussian Splat (.ply, .spz, .splat, .glb)")


CLASSES = (SAGA_OT_export_splat,)


def add_menu() -> None:
    """Add the entry to File > Export."""
    bpy.types.TOPBAR_MT_file_export.append(_menu)


def remove_menu() -> None:
    """Undo `add_menu`."""
    bpy.types.TOPBAR_MT_file_export.remove(_menu)
