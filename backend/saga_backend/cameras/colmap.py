"""COLMAP's sparse models, text and binary: cameras and images (https://colmap.github.io/format.html)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from blender_saga.errors import UserError
from blender_saga.gaussians.view import View

from .photo import Frame, Lens


class _Model(NamedTuple):
    """A camera model: its name, how many parameters it has, and where they go."""

    name: str
    parameters: int
    focals: int  # the first parameters: 1 or 2 focal lengths, then cx, cy
    lens: tuple[int, ...] = ()  # what the parameters after those are: k1.. as 1.., p1, p2 as -1, -2


_MODELS = {
    0: _Model("SIMPLE_PINHOLE", 3, 1),
    1: _Model("PINHOLE", 4, 2),
    2: _Model("SIMPLE_RADIAL", 4, 1, (1,)),
    3: _Model("RADIAL", 5, 1, (1, 2)),
    4: _Model("OPENCV", 8, 2, (1, 2, -1, -2)),
    5: _Model("OPENCV_FISHEYE", 8, 0),
    6: _Model("FULL_OPENCV", 12, 2, (1, 2, -1, -2, 3, 4, 5, 6)),
    7: _Model("FOV", 5, 0),
    8: _Model("SIMPLE_RADIAL_FISHEYE", 4, 0),
    9: _Model("RADIAL_FISHEYE", 5, 0),
    10: _Model("THIN_PRISM_FISHEYE", 12, 0),
}
"""By COLMAP's number; 0 focals: not readable here, its pictures do not come from a pinhole."""
_BY_NAME = {model.name: model for model in _MODELS.values()}


class _Camera(NamedTuple):
    K: np.ndarray
    width: int
    height: int
    lens: Lens


def find_model(folder: Path) -> Path | None:
    """The folder of a sparse model in or below a scene's folder, or None."""
    for place in (".", "sparse/0", "sparse", "0"):
        where = folder / place
        if any((where / f"cameras{suffix}").is_file() for suffix in (".bin", ".txt")):
            return where
    return None


def read_colmap(folder: Path) -> list[Frame]:
    """Frames of a sparse model in the order of their names; `image` is still to be found.

    Args:
        folder: holds cameras.bin and images.bin, or cameras.txt and images.txt.

    Raises:
        UserError: if the model is incomplete, damaged, empty, or of a camera that is no pinhole with a simple lens.
    """
    suffix = ".bin" if (folder / "cameras.bin").is_file() else ".txt"
    paths = folder / f"cameras{suffix}", folder / f"images{suffix}"
    try:
        cameras = dict(_binary_cameras(paths[0]) if suffix == ".bin" else _text_cameras(paths[0]))
        images = list(_binary_images(paths[1]) if suffix == ".bin" else _text_images(paths[1]))
        frames = [_frame(name, pose, cameras[camera]) for name, pose, camera in images]
    except FileNotFoundError as error:
        why = f"{Path(error.filename).name} is missing"
        raise UserError(f"The COLMAP model {folder} cannot be read", why, "Give the whole sparse model") from error
    except (OSError, ValueError, KeyError, IndexError, struct.error) as error:
        why = f"cameras{suffix} or images{suffix} is damaged ({type(error).__name__}: {error})"
        raise UserError(f"The COLMAP model {folder} cannot be read", why, "Export the model again") from error
    return sorted(frames, key=lambda frame: frame.name)


def _frame(name: str, pose: tuple[np.ndarray, np.ndarray], camera: _Camera) -> Frame:
    viewmat = np.eye(4)
    viewmat[:3, :3], viewmat[:3, 3] = _rotation(pose[0]), pose[1]
    return Frame(View(viewmat, camera.K, camera.width, camera.height), name, None, camera.lens)


def _rotation(quaternion: np.ndarray) -> np.ndarray:
    """[3,3] of a quaternion w, x, y, z of any length but 0."""
    length = np.linalg.norm(quaternion)
    if not 1e-6 < length < 1e6:
        raise ValueError("a rotation is not a quaternion")
    w, x, y, z = quaternion / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _camera(model: _Model, width: int, height: int, params: np.ndarray) -> _Camera:
    if not model.focals:
        raise UserError(
            f"The camera model {model.name} is not supported",
            "a splat is drawn without a fisheye lens",
            "Undistort the photos first (colmap image_undistorter) and give the folder that it writes",
        )
    if len(params) != model.parameters:
        raise ValueError(f"a {model.name} camera has {len(params)} parameters instead of {model.parameters}")
    fx, fy = params[0], params[model.focals - 1]
    cx, cy = params[model.focals : model.focals + 2]
    k, p = [0.0] * 6, [0.0] * 2
    for place, value in zip(model.lens, params[model.focals + 2 :], strict=True):
        if place > 0:
            k[place - 1] = float(value)
        else:
            p[-place - 1] = float(value)
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    return _Camera(K, width, height, Lens(tuple(k), (p[0], p[1])))


def _lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if not line.lstrip().startswith("#")]


def _text_cameras(path: Path) -> Iterator[tuple[int, _Camera]]:
    for line in filter(None, _lines(path)):
        number, name, width, height, *params = line.split()
        yield int(number), _camera(_BY_NAME[name], int(width), int(height), np.array(params, np.float64))


def _text_images(path: Path) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray], int]]:
    lines = iter(_lines(path))
    for line in lines:
        if line:  # a blank line between images is no image
            words = line.split(maxsplit=9)
            values = np.array(words[1:8], np.float64)
            yield words[9], (values[:4], values[4:]), int(words[8])
            next(lines, None)  # its 2D points, blank where it has none


class _Bytes:
    """Little-endian numbers read one after another."""

    def __init__(self, path: Path) -> None:
        self._data, self._at = path.read_bytes(), 0

    def take(self, form: str) -> tuple:
        values = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        return values

    def text(self) -> str:
        end = self._data.index(b"\0", self._at)
        value = self._data[self._at : end].decode("utf-8")
        self._at = end + 1
        return value

    def skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._data):
            raise ValueError("the file ends too early")


def _binary_cameras(path: Path) -> Iterator[tuple[int, _Camera]]:
    data = _Bytes(path)
    for _ in range(data.take("Q")[0]):
        number, model, width, height = data.take("iiQQ")
        params = np.array(data.take(f"{_MODELS[model].parameters}d"))
        yield number, _camera(_MODELS[model], width, height, params)


def _binary_images(path: Path) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray], int]]:
    data = _Bytes(path)
    for _ in range(data.take("Q")[0]):
        values = np.array(data.take("i7d")[1:])
        camera, name = data.take("i")[0], data.text()
        data.skip(24 * data.take("Q")[0])  # 2D points: x, y, id of the 3D point
        yield name, (values[:4], values[4:]), camera
