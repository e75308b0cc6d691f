"""From what Blender draws with (region, 4x4 matrices, region pixels) to a View and its pixels."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np

from ..gaussians.view import View, view_from_opengl
from ..wire.errors import UserError


def flat_matrices(region_data: bpy.types.RegionView3D) -> tuple[list[float], list[float]]:
    """World-to-camera and projection matrix of a 3D viewport, 16 floats each, row by row."""
    return flatten(region_data.view_matrix), flatten(region_data.window_matrix)


def flatten(matrix: Sequence[Sequence[float]]) -> list[float]:
    """The 16 numbers of a 4x4 matrix, row by row."""
    return [float(value) for row in matrix for value in row]


def view_from_flat(view: Sequence[float], projection: Sequence[float], size: tuple[int, int]) -> View:
    """The view of a region.

    Args:
        view: world to camera, OpenGL axes, 16 floats row by row (`RegionView3D.view_matrix`).
        projection: camera to clip space, 16 floats row by row (`RegionView3D.window_matrix`).
        size: width and height of the region in pixels.

    Raises:
        UserError: if these are no view.
    """
    if not any(view) or min(size) < 1:
        raise UserError("No view was given", fix="Click in a 3D viewport, or pass matrices and a size", code="bad_view")
    return view_from_opengl(np.reshape(view, (4, 4)), np.reshape(projection, (4, 4)), *size)


def picture_pixel(view: View, x: int, y: int) -> np.ndarray:
    """[1,2] float32 (column, row) of region pixel (x, y); Blender counts y from the bottom, pictures from the top.

    Raises:
        UserError: if the pixel is outside of the view.
    """
    pixel = np.array([[x, view.height - 1 - y]], np.float32)
    if not view.contains(pixel).all():
        where = f"pixel {x}, {y} is not inside {view.width} x {view.height}"
        raise UserError("The click is outside of the view", where, code="bad_view")
    return pixel
