"""Convert viewports and cameras of Blender to Views, and region pixels to image pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ...gaussians.view import View, view_from_opengl


def flat_matrices(region_data: bpy.types.RegionView3D) -> tuple[list[float], list[float]]:
    """World-to-camera and projection matrix of a 3D viewport, 16 floats each in row-major order."""
    return flatten(region_data.view_matrix), flatten(region_data.window_matrix)


def flatten(matrix: Iterable[Iterable[float]]) -> list[float]:
    """The 16 values of a 4x4 matrix in row-major order."""
    return [float(value) for row in matrix for value in row]


def view_from_flat(view: Sequence[float], projection: Sequence[float], size: tuple[int, int]) -> View:
    """The view of a region.

    Args:
        view: world-to-camera matrix, OpenGL axes, 16 floats in row-major order (`RegionView3D.view_matrix`).
        projection: camera-to-clip matrix, 16 floats in row-major order (`RegionView3D.window_matrix`).
        size: width and height of the region in pixels.

    Raises:
        UserError: if the matrices or the size are not valid.
    """
    if not any(view) or min(size) < 1:
        raise UserError(
            "The click has no view", fix="Click in a 3D viewport, or pass matrices and a size", code=ErrorCode.BAD_VIEW
        )
    return view_from_opengl(np.reshape(view, (4, 4)), np.reshape(projection, (4, 4)), *size)


def picture_pixel(view: View, x: int, y: int) -> np.ndarray:
    """[1,2] float32 (column, row) of region pixel (x, y); Blender counts y from the bottom, images from the top.

    Raises:
        UserError: if the pixel is outside the view.
    """
    pixel = np.array([[x, view.height - 1 - y]], np.float32)
    if not view.contains(pixel).all():
        where = f"the pixel ({x}, {y}) is not inside {view.width} x {view.height}"
        raise UserError(
            "The click is outside the view", where, fix="Click inside the viewport", code=ErrorCode.BAD_VIEW
        )
    return pixel


def scene_cameras(context: bpy.types.Context, collection: str = "") -> list[bpy.types.Object]:
    """The cameras of the view layer, or those of a collection and its children.

    Raises:
        UserError: if there are no cameras, or one is neither perspective nor orthographic.
    """
    objects = context.view_layer.objects
    where = "the scene"
    if collection:
        found = bpy.data.collections.get(collection)
        if found is None:
            raise UserError(
                f"There is no collection {collection}", fix="Choose another collection", code=ErrorCode.NO_CAMERAS
            )
        inside = {obj.name for obj in found.all_objects}
        objects, where = [obj for obj in objects if obj.name in inside], f"the collection {collection}"
    cameras = [obj for obj in objects if obj.type == "CAMERA"]
    if not cameras:
        raise UserError(
            f"There are no cameras in {where}", fix="Add cameras that look at the splat", code=ErrorCode.NO_CAMERAS
        )
    for obj in cameras:
        if obj.data.type not in ("PERSP", "ORTHO"):
            fix = "Choose a collection without this camera"
            raise UserError(
                f"The camera {obj.name} is panoramic",
                "only perspective and orthographic cameras can be used",
                fix,
                code=ErrorCode.NO_CAMERAS,
            )
    return cameras


def camera_views(
    context: bpy.types.Context, cameras: list[bpy.types.Object], frame_step: int, obj: bpy.types.Object
) -> list[tuple[str, View]]:
    """The views of cameras at an object, in object space and at the render size, with their names.

    Args:
        context: the context of the scene; it is unchanged afterwards.
        cameras: perspective or orthographic cameras.
        frame_step: 0 for the current frame, otherwise the step through the scene's frame range.
        obj: the viewed object.

    Returns:
        The views by name: the camera's name for the current frame, otherwise NAME/FRAME, numbered as Blender does.

    Raises:
        UserError: if the object's matrix cannot be inverted.
    """
    scene = context.scene
    if not frame_step:
        return [(camera.name, _camera_view(context, camera, obj)) for camera in cameras]
    now, rest = scene.frame_current, scene.frame_subframe
    views = []
    try:
        for frame in range(scene.frame_start, scene.frame_end + 1, frame_step):
            scene.frame_set(frame)
            views += [(f"{camera.name}/{frame:04d}", _camera_view(context, camera, obj)) for camera in cameras]
    finally:
        scene.frame_set(now, subframe=rest)
    return views


def _camera_view(context: bpy.types.Context, camera: bpy.types.Object, obj: bpy.types.Object) -> View:
    graph = context.evaluated_depsgraph_get()
    render = context.scene.render
    width = max(1, render.resolution_x * render.resolution_percentage // 100)
    height = max(1, render.resolution_y * render.resolution_percentage // 100)
    aspect = {"scale_x": render.pixel_aspect_x, "scale_y": render.pixel_aspect_y}
    projection = camera.calc_matrix_camera(graph, x=width, y=height, **aspect)
    shown = camera.evaluated_get(graph)
    place = shown.matrix_world.normalized()  # the scale of a camera has no effect
    view = view_from_flat(flatten(place.inverted()), flatten(projection), (width, height))
    view = replace(view, near=shown.data.clip_start)
    matrix = np.array(obj.evaluated_get(graph).matrix_world, np.float64)
    if abs(np.linalg.det(matrix)) < 1e-30:
        raise UserError(
            f"The splat {obj.name} is flat", "its scale is zero along an axis", "Set a scale other than zero"
        )
    return view.of_object(matrix)
