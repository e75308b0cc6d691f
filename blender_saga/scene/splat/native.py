"""Blender 5.3 and newer draw splats themselves: their point clouds have a type, and ours are given it.

The attributes are the same before and after, so a file saved in 5.2 only lacks the type (`PointCloud.type` is
"GAUSSIAN_SPLAT" in 5.3), and has what stood in for it: a box in the viewport, a material for still renders.
"""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from . import point_cloud, render_points

_WORDS = ("GAUSSIAN", "SPLAT")


def splat_type(rna: bpy.types.Struct) -> tuple[str, str] | None:
    """Property and value that make a point cloud a splat; None before 5.3.

    Found by what the values are called, so that another name of the property does not matter.
    """
    for prop in rna.properties:
        if prop.type != "ENUM" or prop.is_readonly:
            continue
        for item in prop.enum_items:
            if any(word in item.identifier.upper() for word in _WORDS):
                return prop.identifier, item.identifier
    return None


def mark(points: bpy.types.PointCloud) -> None:
    """Make Blender draw a point cloud as splats, where it can."""
    found = splat_type(bpy.types.PointCloud.bl_rna)
    if found is not None:
        setattr(points, *found)


def adopt(obj: bpy.types.Object) -> None:
    """Let Blender draw a splat that was saved before it could: what stood in for that goes."""
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
    """Adopt the splats of every file that is opened, linked or appended from now on."""
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
