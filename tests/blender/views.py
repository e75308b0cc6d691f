"""Views as Blender draws them, and where a point appears in them: mathutils only."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
from mathutils import Matrix, Vector

WIDTH, HEIGHT = 320, 240


@dataclass(frozen=True)
class Eye:
    """Where the camera stands and what it looks at, in world space."""

    place: tuple[float, float, float] = (0, -8, 1)
    target: tuple[float, float, float] = (0, 0, 0)
    orthographic: bool = False


def camera_matrices(eye: Eye) -> tuple[Matrix, Matrix]:
    """World-to-camera and projection matrix of a Blender camera, its lens shifted."""
    data = bpy.data.cameras.new("eye")
    data.type, data.ortho_scale = ("ORTHO" if eye.orthographic else "PERSP"), 8.0
    data.shift_x = 0.1
    camera = bpy.data.objects.new("eye", data)
    bpy.context.collection.objects.link(camera)
    camera.location = eye.place
    camera.rotation_euler = (Vector(eye.target) - Vector(eye.place)).to_track_quat("-Z", "Y").to_euler()
    bpy.context.view_layer.update()
    graph = bpy.context.evaluated_depsgraph_get()
    matrices = camera.matrix_world.inverted(), camera.calc_matrix_camera(graph, x=WIDTH, y=HEIGHT)
    bpy.data.objects.remove(camera)
    return matrices


def region_pixel(point: Vector, view: Matrix, projection: Matrix) -> tuple[int, int]:
    """Region pixel (from bottom left) at which a point in world space is drawn."""
    clip = projection @ view @ point.to_4d()
    return int((clip.x / clip.w + 1) / 2 * WIDTH), int((clip.y / clip.w + 1) / 2 * HEIGHT)


def click_arguments(point: Vector, eye: Eye = Eye()) -> dict[str, object]:
    """Arguments of the click operator for the pixel where a point in world space is drawn."""
    view, projection = camera_matrices(eye)
    x, y = region_pixel(point, view, projection)
    flat_view, flat_projection = ([v for row in matrix for v in row] for matrix in (view, projection))
    place = {"width": WIDTH, "height": HEIGHT, "x": x, "y": y}
    return {"view_matrix": flat_view, "projection_matrix": flat_projection, **place}


def click(point: Vector, eye: Eye = Eye(), **more: object) -> set[str]:
    """Click where a point in world space is drawn."""
    return bpy.ops.saga.click(**click_arguments(point, eye), **more)
