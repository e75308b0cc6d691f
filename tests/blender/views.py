"""Views as Blender draws them, and where a point appears in them: mathutils only."""

from __future__ import annotations

import bpy
from mathutils import Matrix, Vector

WIDTH, HEIGHT = 320, 240


def camera_matrices(orthographic: bool = False) -> tuple[Matrix, Matrix]:
    """World-to-camera and projection matrix of a camera at (0, -8, 1) that looks at the origin, lens shifted."""
    data = bpy.data.cameras.new("eye")
    data.type, data.ortho_scale = ("ORTHO", 8.0) if orthographic else ("PERSP", 8.0)
    data.shift_x = 0.1
    eye = bpy.data.objects.new("eye", data)
    bpy.context.collection.objects.link(eye)
    eye.location = (0, -8, 1)
    eye.rotation_euler = Vector((0, 8, -1)).to_track_quat("-Z", "Y").to_euler()
    bpy.context.view_layer.update()
    graph = bpy.context.evaluated_depsgraph_get()
    matrices = eye.matrix_world.inverted(), eye.calc_matrix_camera(graph, x=WIDTH, y=HEIGHT)
    bpy.data.objects.remove(eye)
    return matrices


def region_pixel(point: Vector, view: Matrix, projection: Matrix) -> tuple[int, int]:
    """Region pixel (from bottom left) at which a point in world space is drawn."""
    clip = projection @ view @ point.to_4d()
    return int((clip.x / clip.w + 1) / 2 * WIDTH), int((clip.y / clip.w + 1) / 2 * HEIGHT)


def click(point: Vector, orthographic: bool = False, **more: object) -> set[str]:
    """Click where a point in world space is drawn."""
    view, projection = camera_matrices(orthographic)
    x, y = region_pixel(point, view, projection)
    flat = {
        "view_matrix": [v for row in view for v in row],
        "projection_matrix": [v for row in projection for v in row],
    }
    return bpy.ops.saga.click(**flat, width=WIDTH, height=HEIGHT, x=x, y=y, **more)
