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
    """A camera model: its name, number of parameters, and their meaning."""

    name: str
    parameters: int
    focals: int  # number of focal lengths (1 or 2), the first parameters; cx, cy follow
    lens: tuple[int, ...] = ()  # the remaining parameters: k1.. as 1.., p1, p2 as -1, -2


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
"""By COLMAP's id; 0 focals: not supported, because the model is no pinhole."""
_BY_NAME = {model.name: model for model in _MODELS.values()}


class _Camera(NamedTuple):
    K: np.ndarray
    width: int
    height: int
    lens: Lens


def find_model(folder: Path) -> Path | None:
    """The folder of a sparse model in a scene's folder or its usual subfolders, or None."""
    for place in (".", "sparse/0", "sparse", "0"):
        where = folder / place
        if any((where / f"cameras{suffix}").is_file() for suffix in (".bin", ".txt")):
            return where
    return None


def read_colmap(folder: Path) -> list[Frame]:
    """Frames of a sparse model in the order of their names; `image` is not set yet.

    Args:
        folder: contains cameras.bin and images.bin, or cameras.txt and images.txt.

    Raises:
        UserError: if the model is incomplete, damaged, empty, or has a camera model without support.
    """
    suffix = ".bin" if (folder / "cameras.bin").is_file() else ".txt"
    paths = folder / f"cameras{suffix}", folder / f"images{suffix}"
    try:
        cameras = dict(_binary_cameras(paths[0]) if suffix == ".bin" else _text_cameras(paths[0]))
        images = list(_binary_images(paths[1]) if suffix == ".bin" else _text_images(paths[1]))
        frames = [_frame(name, pose, cameras[camera]) for name, pose, camera in images]
    except FileNotFoundError as error:
        why = f"{Path(error.filename).name} is missing"
        raise UserError(f"The COLMAP model {folder} cannot be read", why, "Choose the complete sparse model") from error
    except (OSError, ValueError, KeyError, IndexError, struct.error) as error:
        why = f"cameras{suffix} or images{suffix} is damaged ({type(error).__name__}: {error})"
        raise UserError(f"The COLMAP model {folder} cannot be read", why, "Export it from COLMAP again") from error
    return sorted(frames, key=lambda frame: frame.name)


def _frame(name: str, pose: tuple[np.ndarray, np.ndarray], camera: _Camera) -> Frame:
    viewmat = np.eye(4)
    viewmat[:3, :3], viewmat[:3, 3] = _rotation(pose[0]), pose[1]
    return Frame(View(viewmat, camera.K, camera.width, camera.height), name, None, camera.lens)


def _rotation(quaternion: np.ndarray) -> np.ndarray:
    """[3,3] rotation of a quaternion (w, x, y, z) of any nonzero length."""
    length = np.linalg.norm(quaternion)
    if not 1e-6 < length < 1e6:
        raise ValueError("a rotation is not a valid quaternion")
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
            "fisheye lenses cannot be rasterized",
            "Undistort the photos with `colmap image_undistorter` and choose its output folder",
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
        if line:  # blank lines can separate images
            words = line.split(maxsplit=9)
            values = np.array(words[1:8], np.float64)
            yield words[9], (values[:4], values[4:]), int(words[8])
            next(lines, None)  # the 2D points of the image; the line may be blank


class _Bytes:
    """A reader of little-endian binary data."""

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
            raise ValueError("the file ends early")


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
