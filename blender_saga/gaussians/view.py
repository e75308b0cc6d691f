"""A view: the pose and projection of a camera, perspective or orthographic, possibly off-center."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import REPORT, ErrorCode, UserError

_OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class View:
    """One pinhole or orthographic view.

    The center of pixel (column, row) is (column + 0.5, row + 0.5); rows count from the top.

    Attributes:
        viewmat: [4,4] float64, world to camera, OpenCV axes (x right, y down, z forward).
        K: [3,3] float64. Perspective: u = fx x/z + cx. Orthographic: u = fx x + cx, fx in pixels per scene unit.
        width, height: size in pixels.
        orthographic: whether the projection is orthographic.
        near: near plane in scene units; Gaussians with a center (camera z) in front of it are not drawn.
    """

    viewmat: np.ndarray
    K: np.ndarray
    width: int
    height: int
    orthographic: bool = False
    near: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "viewmat", np.asarray(self.viewmat, dtype=np.float64))
        object.__setattr__(self, "K", np.asarray(self.K, dtype=np.float64))
        if self.viewmat.shape != (4, 4) or self.K.shape != (3, 3):
            raise UserError(
                "The view is not usable", "its matrices must be 4x4 and 3x3", fix=REPORT, code=ErrorCode.BAD_VIEW
            )
        finite = np.isfinite(self.viewmat).all() and np.isfinite(self.K).all()
        if not finite or self.width < 1 or self.height < 1 or self.K[0, 0] == 0 or self.K[1, 1] == 0:
            why = "it has a zero size or values that are not finite"
            raise UserError("The view is not usable", why, fix=REPORT, code=ErrorCode.BAD_VIEW)

    @property
    def key(self) -> bytes:
        """Equal for views that show the same, and only for those: every attribute goes in."""
        rest = np.array([self.width, self.height, self.orthographic, self.near], np.float64)
        return self.viewmat.tobytes() + self.K.tobytes() + rest.tobytes()

    @property
    def camera_position(self) -> np.ndarray:
        """[3] float64, the camera's center in world space, or the nearest point in a degenerate space."""
        try:
            return np.linalg.inv(self.viewmat)[:3, 3]
        except np.linalg.LinAlgError:  # an object of scale 0 along an axis
            return -np.linalg.pinv(self.viewmat[:3, :3]) @ self.viewmat[:3, 3]

    def of_object(self, matrix_world: np.ndarray) -> View:
        """The same view in object space: viewmat @ matrix_world (any invertible affine [4,4])."""
        return replace(self, viewmat=self.viewmat @ np.asarray(matrix_world, dtype=np.float64))

    def resized(self, width: int, height: int) -> View:
        """The same frustum with another image size."""
        scale = np.diag([width / self.width, height / self.height, 1.0])
        return replace(self, K=scale @ self.K, width=width, height=height)

    def contains(self, pixels: np.ndarray) -> np.ndarray:
        """[P] bool: the pixels [P,2] (column, row) inside the image."""
        pixels = np.asarray(pixels)
        return ((pixels >= 0) & (pixels < (self.width, self.height))).all(axis=-1)


def view_from_opengl(view_matrix: np.ndarray, projection: np.ndarray, width: int, height: int) -> View:
    """Convert the matrices of a Blender viewport to a View.

    Args:
        view_matrix: [4,4] world to camera, OpenGL axes (-z forward): `RegionView3D.view_matrix`.
        projection: [4,4] camera to clip space: `RegionView3D.window_matrix`. Perspective or orthographic, with or
            without lens shift.
        width, height: size of the region in pixels.

    Raises:
        UserError: if the projection matrix is not that of a camera.
    """
    p = np.asarray(projection, dtype=np.float64)
    orthographic = bool(abs(p[3, 3] - 1.0) < 1e-6 and abs(p[3, 2]) < 1e-6)
    if p.shape != (4, 4) or (not orthographic and abs(p[3, 2] + 1.0) > 1e-6):
        raise UserError(
            "The view is not usable",
            "its projection matrix is not that of a camera",
            fix=REPORT,
            code=ErrorCode.BAD_VIEW,
        )
    fx, fy = 0.5 * width * p[0, 0], 0.5 * height * p[1, 1]
    # Clip x = P00 x + P02 z (perspective: divided by -z) or P00 x + P03 (orthographic); rows grow downwards.
    shift_x, shift_y = (p[0, 3], -p[1, 3]) if orthographic else (-p[0, 2], p[1, 2])
    K = np.array([[fx, 0, 0.5 * width * (1 + shift_x)], [0, fy, 0.5 * height * (1 + shift_y)], [0, 0, 1.0]])
    near = (
        -np.finfo(np.float32).max if orthographic else 0.01
    )  # Blender's orthographic views also show objects behind the camera
    viewmat = _OPENGL_TO_OPENCV @ np.asarray(view_matrix, dtype=np.float64)
    return View(viewmat, K, int(width), int(height), orthographic, float(near))


def look_at(eye: np.ndarray, target: np.ndarray, up: np.ndarray) -> np.ndarray:
    """World-to-camera matrix of a camera at `eye` that looks at `target`, both [3] in scene units.

    Returns:
        [4,4] float64, OpenCV axes; the image's y axis points away from `up`.
    """
    eye, target, up = (np.asarray(v, dtype=np.float64) for v in (eye, target, up))
    forward = target - eye
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-6:  # the view direction is parallel to `up`: use any perpendicular axis
        right = np.cross(forward, np.eye(3)[int(np.argmin(np.abs(forward)))])
    right = right / np.linalg.norm(right)
    viewmat = np.eye(4)
    viewmat[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    viewmat[:3, 3] = -viewmat[:3, :3] @ eye
    return viewmat
