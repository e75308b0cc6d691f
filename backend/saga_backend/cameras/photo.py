"""The camera of a photo: an ideal view, the lens distortion, and lookups of pixels through both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from blender_saga.gaussians.view import View

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".JPG", ".JPEG", ".PNG", ".webp", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class Lens:
    """Distortion in OpenCV's rational model, in normalized image coordinates; all zeros: no distortion.

    Attributes:
        radial: k1 .. k6.
        tangential: p1, p2.
    """

    radial: tuple[float, ...] = (0.0,) * 6
    tangential: tuple[float, float] = (0.0, 0.0)

    def __bool__(self) -> bool:
        return any(self.radial) or any(self.tangential)

    def distort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position in the photo of an ideal camera's point (x, y) = (X/Z, Y/Z), in the same units.

        Source: OpenCV, "Camera calibration and 3D reconstruction", the distortion model.
        """
        k1, k2, k3, k4, k5, k6 = self.radial
        p1, p2 = self.tangential
        r2 = x * x + y * y
        factor = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        return (
            x * factor + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * factor + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )


def without_extension(name: str) -> str:
    """A photo's name without its extension, with its folders. Accepts any text; `with_suffix` fails for "..jpg"."""
    folders, slash, last = name.rpartition("/")
    return f"{folders}{slash}{PurePosixPath(last).stem}"


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera of a set of photos.

    Attributes:
        view: the ideal camera without distortion, at any size of the photo's aspect ratio.
        name: the photo's name in the camera file, with folders ("left/0001.jpg"); masks are matched by it.
        image: the photo; None for a virtual view.
        lens: the lens distortion.
    """

    view: View
    name: str
    image: Path | None = None
    lens: Lens = Lens()

    @property
    def stem(self) -> str:
        """The name without folders and extension."""
        return PurePosixPath(self.name).stem

    def resized(self, width: int, height: int) -> Frame:
        """The same frame at another view size."""
        return replace(self, view=self.view.resized(width, height))

    def fits(self, width: int, height: int) -> bool:
        """Whether a picture of this size has the photo's aspect ratio, up to rounding by one pixel."""
        across, down = width / self.view.width, height / self.view.height
        slack = 1.01 * max(1.0, across, down)
        return abs(across * self.view.height - height) <= slack or abs(down * self.view.width - width) <= slack

    def look_up(self, picture: np.ndarray) -> np.ndarray:
        """Resample a picture of the photo into the view: undistorted, nearest pixel.

        Args:
            picture: [...,h,w] of any type and size with the photo's aspect ratio (`fits`).

        Returns:
            [...,H,W] at the view's size; 0 outside the photo.
        """
        height, width = picture.shape[-2:]
        rows, columns, inside = self._sources(width, height)
        out = picture[..., rows, columns]
        return out if inside.all() else np.where(inside, out, np.zeros((), picture.dtype))

    def _sources(self, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row and column (clipped) of the picture's pixel for each pixel of the view, and whether it is inside."""
        view = self.view
        u, v = np.arange(view.width) + 0.5, np.arange(view.height)[:, None] + 0.5
        if self.lens:
            (fx, cx), (fy, cy) = view.K[0, [0, 2]], view.K[1, [1, 2]]
            x, y = self.lens.distort((u - cx) / fx, (v - cy) / fy)
            u, v = x * fx + cx, y * fy + cy
        columns = np.floor(u * (width / view.width)).astype(np.int64)
        rows = np.floor(v * (height / view.height)).astype(np.int64)
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        return np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1), inside


def virtual_frames(views: list[View]) -> list[Frame]:
    """Frames of virtual views, named view_000, view_001 and so on like their mask files."""
    return [Frame(view, f"view_{index:03d}") for index, view in enumerate(views)]
