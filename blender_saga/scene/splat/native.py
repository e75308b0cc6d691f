"""Native splats of Blender 5.3 and newer: set the type of the point cloud that makes Blender draw splats.

Both versions use the same attributes. A file saved in 5.2 lacks the type (`PointCloud.type` is "GAUSSIAN_SPLAT" in
5.3) and has substitutes for it: display as bounds in the viewport, and a material for still renders.
"""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from . import point_cloud, render_points

_WORDS = ("GAUSSIAN", "SPLAT")


def splat_type(rna: bpy.types.Struct) -> tuple[str, str] | None:
    """Property and value that make a point cloud a splat; None before 5.3.

    The search uses the names of the enum values, so that the name of the property does not matter.
    """
    for prop in rna.properties:
        if prop.type != "ENUM" or prop.is_readonly:
            continue
        for item in prop.enum_items:
            if any(word in item.identifier.upper() for word in _WORDS):
                return prop.identifier, item.identifier
    return None


def mark(points: bpy.types.PointCloud) -> None:
    """Make Blender draw a point cloud as splats, if this version can."""
    found = splat_type(bpy.types.PointCloud.bl_rna)
    if found is not None:
        setattr(points, *found)


def adopt(obj: bpy.types.Object) -> None:
    """Let Blender draw a splat saved by an older version, and remove the substitutes."""
    mark(obj.data)
    materials = obj.data.materials
    if len(materials) == 1 and materials[0] is not None and materials[0].name == render_points.MATERIAL:
        materials.clear()
    if obj.saga.fingerprint and obj.display_type == "BOUNDS" and obj.library is None:
        obj.display_type = "TEXTURED"


@persistent
def _adopt_all(*_: object) -> None:
    for obj in bpy.data.objects:
        if point_cloud.is_splat(obj) and obj.data.library is None:
            adopt(obj)


def start() -> None:
    """Adopt the splats of every file that is opened, linked or appended."""
    if splat_type(bpy.types.PointCloud.bl_rna) is not None:
        for handlers in _handlers():
            handlers.append(_adopt_all)


def stop() -> None:
    """Undo `start`."""
    for handlers in _handlers():
        if _adopt_all in handlers:
            handlers.remove(_adopt_all)


def _handlers() -> tuple[list, ...]:
    return bpy.app.handlers.load_post, bpy.app.handlers.blend_import_post
