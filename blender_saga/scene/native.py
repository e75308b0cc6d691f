"""Blender 5.3 and newer draw splats themselves: their point clouds have a type, and ours are given it.

The attributes are the same before and after, so a file saved in 5.2 only lacks the type.
"""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from . import point_cloud

_WORDS = ("GAUSSIAN", "SPLAT")


def splat_type(rna: bpy.types.Struct) -> tuple[str, str] | None:
    """Property and value that make a point cloud a splat; None before 5.3.

    Found by what the values are called: 5.3 is not out, and its name for this is not settled.
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


@persistent
def _mark_all(*_: object) -> None:
    for obj in bpy.data.objects:
        if point_cloud.is_splat(obj) and obj.data.library is None:
            mark(obj.data)


def start() -> None:
    """Mark the splats of every file that is opened from now on."""
    if splat_type(bpy.types.PointCloud.bl_rna) is not None:
        bpy.app.handlers.load_post.append(_mark_all)


def stop() -> None:
    """Undo `start`."""
    if _mark_all in bpy.app.handlers.load_post:
        bpy.app.handlers.load_post.remove(_mark_all)
