"""transforms.json of instant-ngp and nerfstudio.

Poses are camera to world with OpenGL axes (x right, y up, z back). Pixels count from the corner of the picture
(https://docs.nerf.studio/quickstart/data_conventions.html).
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from blender_saga.errors import UserError
from blender_saga.gaussians.view import View

from .photo import IMAGE_SUFFIXES, Frame, Lens

_OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
_NORMALIZED = "dataparser_transforms.json"


def read_transforms(path: Path) -> tuple[list[Frame], list[str], int]:
    """Frames whose photos exist, in the file's order.

    The poses keep the space of the file, which is the space of a splat trained on it. If nerfstudio's
    dataparser_transforms.json is in the same folder, the poses are transformed into nerfstudio's training space.

    Returns:
        Frames, notes for the user, and the number of frames whose photo is missing.

    Raises:
        UserError: if the file is invalid or its lens is not supported.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        to_model, scale, notes = _space(values, path.with_name(_NORMALIZED))
        frames, missing = [], 0
        for entry in values["frames"]:
            image = _image(path.parent, str(entry["file_path"]))
            if image is None:
                missing += 1
                continue
            pose = to_model @ _square(entry["transform_matrix"])
            pose[:3, 3] *= scale
            frames.append(_frame(values | entry, pose, image))
    except OSError as error:
        raise UserError(
            f"The cameras {path} cannot be read",
            error.strerror or str(error),
            fix="Check that the file exists and that you have permission to read it",
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, np.linalg.LinAlgError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UserError(f"The cameras {path} cannot be read", why, "Choose a valid transforms.json") from error
    return frames, notes, missing


def _space(values: dict, normalization: Path) -> tuple[np.ndarray, float, list[str]]:
    """Matrix [4,4] and then scale from the file's space to the splat's space; notes for the user.

    nerfstudio's dataparser_transforms.json maps the original reconstruction to the normalized space. In this file,
    `applied_transform` and `applied_scale` map the original reconstruction to its poses.
    """
    applied = _square(values["applied_transform"]) if "applied_transform" in values else np.eye(4)
    if not normalization.is_file():
        note = "the poses of the file are used unchanged, including its applied_transform"
        return np.eye(4), 1.0, [] if np.allclose(applied, np.eye(4)) else [note]
    normalized = json.loads(normalization.read_text(encoding="utf-8"))
    matrix = _square(normalized["transform"]) @ np.linalg.inv(applied)
    scale = float(normalized["scale"]) / float(values.get("applied_scale", 1.0))
    return matrix, scale, [f"the poses were transformed into nerfstudio's normalized space ({normalization.name})"]


def _square(rows: list) -> np.ndarray:
    """[4,4] matrix from a 3x4 or 4x4 one."""
    matrix = np.eye(4)
    values = np.array(rows, dtype=np.float64)
    if values.shape not in ((3, 4), (4, 4)) or not np.isfinite(values).all():
        raise ValueError("a matrix does not have 3x4 or 4x4 numbers")
    matrix[:3] = values[:3]
    return matrix


def _image(folder: Path, name: str) -> Path | None:
    for suffix in ("", *IMAGE_SUFFIXES):  # NeRF's own scenes omit the extension
        path = folder / (name + suffix)
        if path.is_file():
            return path
    return None


def _frame(values: dict, pose: np.ndarray, image: Path) -> Frame:
    """A frame; `values` are the entries of the file, overridden by those of the frame."""
    width, height = (int(values[key]) if key in values else 0 for key in ("w", "h"))
    if not (width and height):
        with Image.open(image) as picture:
            width, height = picture.size
    fx = float(values["fl_x"]) if "fl_x" in values else 0.5 * width / math.tan(float(values["camera_angle_x"]) / 2)
    fy = fx
    if "fl_y" in values:
        fy = float(values["fl_y"])
    elif "camera_angle_y" in values and "fl_x" not in values:
        fy = 0.5 * height / math.tan(float(values["camera_angle_y"]) / 2)
    cx, cy = float(values.get("cx", width / 2)), float(values.get("cy", height / 2))
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    viewmat = np.linalg.inv(pose @ _OPENGL_TO_OPENCV)
    volume = np.linalg.det(viewmat[:3, :3])
    if not volume > 0:
        raise ValueError("a pose mirrors the picture")
    viewmat[:3] /= np.cbrt(volume)  # the axes may not have unit length
    return Frame(View(viewmat, K, width, height), str(values["file_path"]).removeprefix("./"), image, _lens(values))


def _lens(values: dict) -> Lens:
    model = str(values.get("camera_model", "OPENCV"))
    k1, k2, k3, k4, p1, p2 = (float(values.get(key, 0)) for key in ("k1", "k2", "k3", "k4", "p1", "p2"))
    known = model in ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
    if not known or values.get("is_fisheye") or k4:
        raise UserError(
            f"The camera model {model if not known else 'OPENCV_FISHEYE'} is not supported",
            "fisheye lenses cannot be rasterized",
            "Undistort the photos first",
        )
    return Lens((k1, k2, k3, 0.0, 0.0, 0.0), (p1, p2))
