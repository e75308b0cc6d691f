"""LLFF's poses_bounds.npy: [N,17], a 3x5 matrix and two depth bounds per photo, in the order of the photos' names.

The matrix has the camera-to-world axes down, right, back, then the position, then height, width and focal length in
pixels (https://github.com/Fyusion/LLFF, "Using your own poses without running COLMAP").
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from blender_saga.errors import UserError
from blender_saga.gaussians.view import View

from ..common.safe_arrays import load_array
from .photo import IMAGE_SUFFIXES, Frame


def read_llff(path: Path) -> list[Frame]:
    """Frames in the order of their photos' names.

    Args:
        path: poses_bounds.npy; a folder next to it (`images`, `images_8` and so on) has the same number of photos.

    Raises:
        UserError: if the file is not such an array, or no folder has that number of photos.
    """
    try:
        values = load_array(path)
    except (OSError, ValueError) as error:
        raise UserError(f"The cameras {path} cannot be read", str(error), "Choose LLFF's poses_bounds.npy") from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.shape[1] != 17 or values.dtype.kind != "f":
        shape = list(getattr(values, "shape", ()))
        raise UserError(
            f"The cameras {path} cannot be read",
            f"its shape is {shape} instead of [N, 17]",
            fix="Choose a poses_bounds.npy from LLFF",
        )
    if not np.isfinite(values).all() or not len(values):
        raise UserError(
            f"The cameras {path} cannot be read",
            "it has no cameras, or numbers that are not finite",
            fix="Choose a poses_bounds.npy from LLFF",
        )
    images = _images(path.parent, len(values))
    poses = values[:, :15].reshape(-1, 3, 5).astype(np.float64)
    return [_frame(pose, image) for pose, image in zip(poses, images, strict=True)]


def _frame(pose: np.ndarray, image: Path) -> Frame:
    down, right, back, position = pose[:, 0], pose[:, 1], pose[:, 2], pose[:, 3]
    height, width, focal = pose[:, 4]
    to_world = np.eye(4)
    to_world[:3] = np.stack([right, down, -back, position], axis=1)
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    return Frame(View(np.linalg.inv(to_world), K, round(width), round(height)), image.name, image)


def _images(folder: Path, count: int) -> list[Path]:
    counts = []
    for place in sorted(folder.glob("images*")):
        images = sorted(p for p in place.iterdir() if p.suffix in IMAGE_SUFFIXES) if place.is_dir() else []
        if len(images) == count:
            return images
        counts.append(f"{place.name} has {len(images)}")
    why = f"it has poses of {count} photos; {', '.join(counts) or 'it has no folder images'}"
    raise UserError(
        f"The photos of {folder} do not fit its cameras",
        why,
        "Put exactly these photos into images",
    )
